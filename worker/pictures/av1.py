"""How large the pictures in an AVIF are, whatever its boxes claim: the coded pictures say it themselves, and the decoder goes by that.

A file whose boxes speak of 64 x 64 pixels had a decoder take 467 MB for the 36 megapixels that were coded in it. So every size counts
that stands anywhere: in the properties of the items (`ispe`), in the tracks of an animation, and in each sequence header of the coded
pictures. The boxes are those of ISO/IEC 14496-12 (iloc, stsd, stsz, stco, co64) and 23008-12 (ispe); the coded form is that of the AV1
Bitstream & Decoding Process Specification, 5.3 and 5.5.
"""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Collection, Iterator

from worker.pictures.heif import boxes

Size = tuple[int, int]

#: A grid of tiles has 256 at most; each may have its alpha.
MOST_ITEMS = 2000
#: Units of the coded pictures that are looked through, of a whole file.
MOST_UNITS = 200_000
_SEQUENCE_HEADER = 1
_META, _TRACK = (b"meta",), (b"moov", b"trak", b"mdia", b"minf", b"stbl")


class TooMany(Exception):
    """More items or units than a picture has."""


def sizes(data: bytes) -> list[Size]:
    """Width and height of each picture that the file speaks of.

    Raises:
        TooMany: there are more parts than are looked through.
    """
    return [*_claimed(data), *_coded(data)]


def frames(data: bytes) -> int:
    """The number of pictures in the longest track, 0 if there is none."""
    return max((_samples(table) for table in _inside(data, _TRACK)), default=0)


def _claimed(data: bytes) -> Iterator[Size]:
    for meta in _inside(data, _META):
        for properties in _inside(meta[4:], (b"iprp", b"ipco")):
            for name, body in boxes(properties):
                if name == b"ispe" and len(body) >= 12:
                    yield struct.unpack_from(">II", body, 4)
    for table in _inside(data, _TRACK):
        for descriptions in _inside(table, (b"stsd",)):
            for _, body in boxes(descriptions[8:]):
                if len(body) >= 28:
                    yield struct.unpack_from(">HH", body, 24)


def _coded(data: bytes) -> Iterator[Size]:
    left = [MOST_UNITS]
    with contextlib.suppress(IndexError, struct.error):  # a broken table: no decoder finds more than what was found until then
        for coded in _pictures(data):
            with contextlib.suppress(IndexError):  # a broken picture, likewise
                yield from _sequences(coded, left)


def _pictures(data: bytes) -> Iterator[bytes]:
    """The coded bytes of each item, and of the first picture of each track."""
    for meta in _inside(data, _META):
        inside = _by_name(meta[4:])
        if b"iloc" in inside:
            yield from _items(data, inside[b"iloc"], inside.get(b"idat", b""), _pictures_among(inside.get(b"iinf", b"")))
    for table in _inside(data, _TRACK):
        inside = _by_name(table)
        if _samples(table) and (first := _first_chunk(inside)) is not None:
            size, _ = struct.unpack_from(">II", inside[b"stsz"], 4)
            yield data[first : first + (size or struct.unpack_from(">I", inside[b"stsz"], 12)[0])]


def _inside(data: bytes, path: tuple[bytes, ...]) -> Iterator[bytes]:
    """The bodies of all boxes at this path."""
    for name, body in boxes(data):
        if name == path[0]:
            yield from _inside(body, path[1:]) if path[1:] else (body,)


def _by_name(data: bytes) -> dict[bytes, bytes]:
    """The first box of each name."""
    found: dict[bytes, bytes] = {}
    for name, body in boxes(data):
        found.setdefault(name, body)
    return found


def _pictures_among(iinf: bytes) -> frozenset[int]:
    """The numbers of the items that are coded pictures, and no Exif or other text."""
    found = set()
    for name, body in boxes(iinf[6 if iinf[:1] == b"\0" else 8 :]):
        wide = body[:1] == b"\3"
        if name == b"infe" and body[8 + 2 * wide : 12 + 2 * wide] == b"av01":
            found.add(int.from_bytes(body[4 : 8 if wide else 6], "big"))
    return frozenset(found)


def _samples(table: bytes) -> int:
    return max((struct.unpack_from(">I", body, 8)[0] for name, body in boxes(table) if name == b"stsz" and len(body) >= 12), default=0)


def _first_chunk(table: dict[bytes, bytes]) -> int | None:
    for name, form in ((b"stco", ">I"), (b"co64", ">Q")):
        body = table.get(name, b"")
        if len(body) >= 8 + struct.calcsize(form):
            return int(struct.unpack_from(form, body, 8)[0])
    return None


def _items(data: bytes, iloc: bytes, idat: bytes, wanted: Collection[int]) -> Iterator[bytes]:
    """The bytes of these items. Sizes of the fields are given in half bytes; an extent of length 0 goes to the end."""
    version = iloc[0]
    offset_size, length_size = iloc[4] >> 4, iloc[4] & 15
    base_size, index_size = iloc[5] >> 4, iloc[5] & 15 if version else 0
    wide = version == 2
    reader = _Fields(iloc, 6)
    count = reader.take(4 if wide else 2)
    if count > MOST_ITEMS:
        raise TooMany(f"It has {count} items")
    room = 2 * len(data)  # extents may overlap, and be the same again and again
    for _ in range(count):
        number = reader.take(4 if wide else 2)
        method = reader.take(2) & 15 if version else 0
        reader.take(2)
        base = reader.take(base_size)
        source = idat if method == 1 else data
        parts = []
        for _ in range(reader.take(2)):
            reader.take(index_size)
            start, length = base + reader.take(offset_size), reader.take(length_size)
            parts.append(source[start : start + length] if length else source[start:])
            room -= len(parts[-1])
            if room < 0:
                raise TooMany("Its items are longer than the file")
        if number in wanted:
            yield b"".join(parts)


class _Fields:
    """Whole numbers of so many bytes each, one after the other."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self._at = at

    def take(self, size: int) -> int:
        part = self._data[self._at : self._at + size]
        if len(part) < size:
            raise IndexError
        self._at += size
        return int.from_bytes(part, "big")


def _sequences(coded: bytes, left: list[int]) -> Iterator[Size]:
    """The sizes in the sequence headers among the units of a coded picture."""
    at = 0
    while at < len(coded):
        left[0] -= 1
        if left[0] < 0:
            raise TooMany(f"Its pictures have more than {MOST_UNITS} units")
        head = coded[at]
        at += 2 if head & 4 else 1
        if not head & 2:  # no length: it goes to the end
            size = len(coded) - at
        else:
            size, at = _length(coded, at)
        if head >> 3 & 15 == _SEQUENCE_HEADER:
            yield _size(coded[at : at + min(size, 512)])
        at += size


def _length(coded: bytes, at: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first; and where it ends."""
    value = 0
    for place in range(8):
        byte = coded[at + place]
        value |= (byte & 127) << (7 * place)
        if not byte & 128:
            return value, at + place + 1
    raise IndexError


def _size(header: bytes) -> Size:
    """The largest width and height of a sequence, from its header."""
    bits = _Bits(header)
    bits.take(3 + 1)  # profile, still picture
    if bits.take(1):  # a reduced header
        bits.take(5)
    else:
        has_model, delay_bits = False, 0
        if bits.take(1):  # timing info
            bits.take(32 + 32)
            if bits.take(1):
                bits.skip_variable()
            has_model = bool(bits.take(1))
            if has_model:
                delay_bits = bits.take(5) + 1
                bits.take(32 + 5 + 5)
        has_delays = bits.take(1)
        for _ in range(bits.take(5) + 1):
            bits.take(12)
            if bits.take(5) > 7:
                bits.take(1)
            if has_model and bits.take(1):
                bits.take(2 * delay_bits + 1)
            if has_delays and bits.take(1):
                bits.take(4)
    width_bits, height_bits = bits.take(4) + 1, bits.take(4) + 1
    return bits.take(width_bits) + 1, bits.take(height_bits) + 1


class _Bits:
    """Bits, the highest first."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise IndexError
        return self._value >> self._left & ((1 << count) - 1)

    def skip_variable(self) -> None:
        """A number behind as many zeros as it has bits."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        self.take(min(zeros, 32))
