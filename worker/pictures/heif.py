"""How an AVIF file says that its picture is to be turned: the properties `irot` and `imir` of its primary item.

libavif and OpenCV hand out the pixels as they are stored. The boxes are those of ISO/IEC 14496-12 (meta, pitm, iprp) and 23008-12
(ipco, ipma, irot, imir, clap); MIAF (23000-22, 7.3.6.7) sets their order: first cut, then turned, then mirrored.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

UPRIGHT = 1
#: The EXIF orientation of a picture that is turned anticlockwise by so many right angles, and then: not mirrored, or with its top
#: and bottom (0) or its left and right (1) exchanged.
_TURNED = {
    None: (1, 8, 3, 6),
    0: (4, 5, 2, 7),
    1: (2, 7, 4, 5),
}
_CLEAN_APERTURE = b"clap"
#: In one row. A picture has about ten.
_MOST_BOXES = 100_000


def is_heif(data: bytes) -> bool:
    return data[4:8] == b"ftyp"


def brands(data: bytes) -> frozenset[bytes]:
    """What the file says it is; the first one is its main kind."""
    (size,) = struct.unpack_from(">I", data.ljust(8, b"\0"))
    body = data[8 : min(size, 256)]
    return frozenset(body[at : at + 4] for at in range(0, len(body) - 3, 4) if at != 4)


def orientation(data: bytes) -> int:
    """The EXIF orientation, 1 to 8, that means the same; 1 if the file says nothing or cannot be read."""
    properties = _properties(data)
    turn = properties.get(b"irot", b"\0")
    mirror = properties.get(b"imir")
    return _TURNED[mirror[0] & 1 if mirror else None][turn[0] & 3 if turn else 0]


def profile(data: bytes) -> bytes:
    """The ICC profile of the primary item; empty if there is none."""
    kind, body = (found := _properties(data).get(b"colr", b""))[:4], found[4:]
    return body if kind in (b"prof", b"rICC") else b""


def bits(data: bytes) -> int:
    """How many bits a channel of an AVIF has: 8, 10 or 12; 0 if the file does not say (AV1-ISOBMFF, 2.3.3)."""
    found = _properties(data).get(b"av1C", b"")
    if len(found) < 3:
        return 0
    return (12 if found[2] & 0x20 else 10) if found[2] & 0x40 else 8


def is_cropped(data: bytes) -> bool:
    """Whether the file says that only a part of its pixels is the picture."""
    return _CLEAN_APERTURE in _properties(data)


def _properties(data: bytes) -> dict[bytes, bytes]:
    """The properties of the primary item, by name; none if they cannot be read."""
    try:
        meta = next(body for name, body in boxes(data) if name == b"meta")[4:]
        inside = dict(boxes(meta))
        primary = _primary(inside[b"pitm"])
        parts = list(boxes(inside[b"iprp"]))
        every = list(boxes(next(body for name, body in parts if name == b"ipco")))
        numbers = [number for name, body in parts if name == b"ipma" for number in _associated(body, primary)]
        chosen = [every[number - 1] for number in numbers if 1 <= number <= len(every)]
        # A picture may name its colours twice; a profile says more than numbers do.
        return dict(sorted(chosen, key=lambda found: found[0] == b"colr" and found[1][:4] != b"nclx"))
    except (struct.error, KeyError, StopIteration, IndexError):
        return {}


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each box, one after the other; those of a long row are not read to its end."""
    at = 0
    for _ in range(_MOST_BOXES):
        if at + 8 > len(data):
            return
        size, name = struct.unpack_from(">I4s", data, at)
        head = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
            head = 16
        end = at + size if size else len(data)
        if end < at + head:
            return
        yield name, data[at + head : end]
        at = end


def _primary(body: bytes) -> int:
    return int(struct.unpack_from(">I" if body[0] else ">H", body, 4)[0])


def _associated(body: bytes, item: int) -> Iterator[int]:
    """The numbers of an item's properties, from 1. The first bit of each says whether it is essential."""
    version, wide = body[0], body[3] & 1
    (count,) = struct.unpack_from(">I", body, 4)
    at = 8
    for _ in range(count):
        (found,) = struct.unpack_from(">I" if version else ">H", body, at)
        at += 4 if version else 2
        number = body[at]
        at += 1
        if found == item:
            for place in range(at, at + number * (1 + wide), 1 + wide):
                yield (struct.unpack_from(">H", body, place)[0] & 0x7FFF) if wide else body[place] & 0x7F
            return
        at += number * (1 + wide)
