"""The orientation that a camera noted in an image file.

`cv2.imdecode` turns an image upright only with flags that also drop its alpha channel and its 16 bits. `IMREAD_UNCHANGED` keeps them and
ignores the orientation, so this file reads that number.
"""

from __future__ import annotations

import struct

from worker.pictures import heif

UPRIGHT = 1
_TAG = 0x0112  # Orientation, in "Exif 2.32", table 4 (TIFF Rev. 6.0 attribute information)
#: The tag is a short number; some programs write a long one.
_NUMBERS = {3: "H", 4: "I"}
#: Any marker may stand behind any number of bytes FF (ITU-T T.81, B.1.1.2).
FILL = 0xFFFF
#: Somebody can make a gigabyte of empty ones.
_MOST_CHUNKS = 1_000_000


def orientation(data: bytes) -> int:
    """The EXIF orientation of a JPEG, PNG or WebP file, or what means the same in AVIF, 1 to 8; 1 (upright) if there is none.

    AVIF is turned by its own properties, and its EXIF block counts for nothing (ISO/IEC 23008-12, annex A). TIFF files are not looked
    into: OpenCV turns them by itself, under every flag.
    """
    if heif.is_heif(data):
        return heif.orientation(data)
    try:
        return _in_tiff(_block(data))
    except (struct.error, ValueError):
        return UPRIGHT


def _block(data: bytes) -> bytes:
    """The EXIF block, which is a small TIFF file by itself; empty if there is none."""
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(b"\x89PNG"):
        return _chunk(data, 8, ">I4s", size_first=True, name=b"eXIf", overhead=12, even=False)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return _chunk(data, 12, "<4sI", size_first=False, name=b"EXIF", overhead=8, even=True).removeprefix(b"Exif\0\0")
    return b""


def _in_jpeg(data: bytes) -> bytes:
    """The body of the APP1 segment; segments stand between the start of image and the start of scan (FF DA)."""
    at = 2
    while at + 4 <= len(data):
        marker, size = struct.unpack_from(">HH", data, at)
        if marker == FILL:
            at += 1
            continue
        if marker == 0xFFE1 and data[at + 4 : at + 10] == b"Exif\0\0":
            return data[at + 10 : at + 2 + size]
        if marker == 0xFFDA or marker < 0xFF00:
            break
        at += 2 + size
    return b""


def _chunk(data: bytes, at: int, header: str, *, size_first: bool, name: bytes, overhead: int, even: bool) -> bytes:
    """The body of the chunk called `name`, in a file that is a list of chunks."""
    for _ in range(_MOST_CHUNKS):
        if at + 8 > len(data):
            break
        first, second = struct.unpack_from(header, data, at)
        size, found = (first, second) if size_first else (second, first)
        if found == name:
            return data[at + 8 : at + 8 + size]
        at += overhead + size + (size % 2 if even else 0)
    return b""


def _in_tiff(block: bytes) -> int:
    """The orientation in a TIFF header and its first directory: entries of tag, type, count and value, 12 bytes each."""
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return UPRIGHT
    (at,) = struct.unpack_from(order + "I", block, 4)
    (entries,) = struct.unpack_from(order + "H", block, at)
    for entry in range(entries):
        tag, kind = struct.unpack_from(order + "HH", block, at + 2 + 12 * entry)
        if tag == _TAG and kind in _NUMBERS:
            (value,) = struct.unpack_from(order + _NUMBERS[kind], block, at + 2 + 12 * entry + 8)
            return int(value) if 1 <= value <= 8 else UPRIGHT
    return UPRIGHT
