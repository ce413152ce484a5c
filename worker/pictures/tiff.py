"""TIFF files that OpenCV reads as another picture: their first directory is read here, and the pixels are mended by what it says.

OpenCV takes separate planes of more than 8 bits for one plane, leaves white-is-zero of more than 8 bits as a negative, multiplies colours
of 8 bits by their alpha, takes multiplied ones of 16 bits as they are, and drops the alpha of a grey picture. A copy of the directory with
other values makes it decode the samples as they are stored, in every compression that it knows; the rest is arithmetic.

Tags and values are those of "TIFF Revision 6.0" (Adobe, 1992); for BigTIFF see libtiff's "BigTIFF File Format Design".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import cv2
import numpy as np

from worker.pictures.pixels import Image, over_alpha, upright

_SUBFILE, _WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 258, 259, 262
_STRIPS, _ORIENTATION, _SAMPLES, _STRIP_BYTES, _PLANAR, _PREDICTOR = 273, 274, 277, 279, 284, 317
_TILE_WIDTH, _TILES, _TILE_BYTES, _EXTRA, _FORMAT, _DNG = 322, 324, 325, 338, 339, 50706
_HEIGHT, _ROWS, _TILE_HEIGHT = 257, 278, 323
_SEPARATE, _HORIZONTAL, _MULTIPLIED = 2, 2, 1
_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
#: How many samples a pixel has without its alpha; other kinds of colour are refused.
_COLORS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _PALETTE: 1, _CMYK: 4, _YCBCR: 3, 32844: 1, 32845: 3}
_NAMES = {
    4: "a mask",
    8: "Lab colours",
    9: "Lab colours",
    10: "Lab colours",
    32803: "the raw data of a camera",
    34892: "the raw data of a camera",
}
#: Compressions whose samples can be read as a picture of twice the width: none, LZW, Deflate (two numbers), PackBits, Zstandard.
_PLAIN = (1, 5, 8, 32946, 32773, 50000)
#: Compressions that libtiff knows: fax, JPEG, SGI's and LZMA beside these. OpenCV gives a black picture for others.
_READ = (*_PLAIN, 2, 3, 4, 6, 7, 32771, 34676, 34677, 34887, 34925, 50001)
#: By the type of a value: how it is packed. Others are not looked at.
_TYPES = {1: "B", 3: "H", 4: "I", 16: "Q"}
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}


class NotRead(Exception):
    """Why a TIFF file is refused, as the end of a sentence that begins with its name."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One tag: its type, the number of its values, and their bytes; `at` is where they stand in the file."""

    kind: int
    count: int
    data: bytes
    at: int


@dataclass(frozen=True, slots=True)
class Directory:
    """The first directory of a file. `order` is that of the bytes, for `struct`; `big` says whether it is a BigTIFF."""

    order: str
    big: bool
    entries: dict[int, _Entry]

    def values(self, tag: int) -> tuple[int, ...]:
        """All values of a tag; none if it is missing or holds no whole numbers."""
        entry = self.entries.get(tag)
        if entry is None or entry.kind not in _TYPES:
            return ()
        return struct.unpack(f"{self.order}{entry.count}{_TYPES[entry.kind]}", entry.data)

    def value(self, tag: int, otherwise: int) -> int:
        return next(iter(self.values(tag)), otherwise)

    @property
    def samples(self) -> int:
        return self.value(_SAMPLES, 1)

    @property
    def bits(self) -> int:
        return self.value(_BITS, 1)

    @property
    def color(self) -> int:
        return self.value(_PHOTOMETRIC, _RGB if self.samples >= 3 else _BLACK_IS_ZERO)

    @property
    def has_alpha(self) -> bool:
        return self.samples > _COLORS.get(self.color, self.samples)

    @property
    def is_separate(self) -> bool:
        return self.samples > 1 and self.value(_PLANAR, 1) == _SEPARATE


def read_directory(data: bytes) -> Directory | None:
    """The first directory; None if this is no TIFF file, or it cannot be read."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    try:
        version = struct.unpack_from(f"{order}H", data, 2)[0] if order else 0
        return _directory(data, order or "", big=version == 43) if version in (42, 43) else None
    except struct.error:
        return None


def _directory(data: bytes, order: str, *, big: bool) -> Directory:
    head, field, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
    (count,) = struct.unpack_from(order + head, data, at)
    at += struct.calcsize(order + head)
    entries: dict[int, _Entry] = {}
    for _ in range(min(count, 4096)):
        tag, kind, number = struct.unpack_from(order + field, data, at)
        size, place = number * _SIZES.get(kind, 1), at + struct.calcsize(order + field)
        if size > inline:
            (place,) = struct.unpack_from(order + ("Q" if big else "I"), data, place)
        if place + size > len(data):
            raise struct.error(f"tag {tag} lies outside the file")
        entries.setdefault(tag, _Entry(kind, number, data[place : place + size], place))
        at += struct.calcsize(order + field) + inline
    return Directory(order, big, entries)


def decode(data: bytes) -> Image | None:
    """The first picture of a TIFF file, upright, with its alpha not multiplied; None if it cannot be read.

    Returns:
        `(height, width)`, or `(height, width, 2 to 4)` with alpha last, in the type of the file: 8 or 16 bits, or floating point.

    Raises:
        NotRead: it would come out as another picture.
        cv2.error, MemoryError: from the decoder.
    """
    directory = read_directory(data)
    if directory is None:
        return _imdecode(np.frombuffer(data, np.uint8))
    _check(directory)
    if _TILES in directory.entries and directory.value(_COMPRESSION, 1) == 1 and directory.bits == 8:
        data = _in_strips(data, directory)
        directory = read_directory(data) or directory
    image = _samples(data, directory)
    if image is None:
        return None
    if directory.color == _CMYK and image.ndim == 3:
        return np.ascontiguousarray(image[..., :3])  # libtiff has made red, green and blue of it, and an alpha that says nothing
    image = _black_is_zero(image, directory)
    if directory.has_alpha and directory.value(_EXTRA, 0) == _MULTIPLIED:
        image = over_alpha(image)
    return image


def _check(directory: Directory) -> None:
    """Raises NotRead if OpenCV would read something else than the picture, and nothing here can mend it."""
    samples, color, bits = directory.samples, directory.color, directory.bits
    if _DNG in directory.entries:
        raise NotRead("is the raw file of a camera (DNG)")
    if directory.value(_SUBFILE, 0) & 1:
        raise NotRead("begins with a small preview, as raw files of cameras do")
    if directory.value(_COMPRESSION, 1) not in _READ:
        raise NotRead(f"is packed in a way that is not read (compression {directory.value(_COMPRESSION, 1)})")
    if color not in _COLORS:
        raise NotRead(f"holds {_NAMES.get(color, f'colours of kind {color}')}, not red, green and blue")
    extra = samples - _COLORS[color]
    if extra not in ((0, 1) if color in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB) else (0,)):
        raise NotRead(f"has {samples} channels for each pixel; colours and one alpha channel are read")
    if len(set(directory.values(_BITS))) > 1:
        raise NotRead("has channels of different depths")
    if color in (_CMYK, _YCBCR) and bits != 8:
        raise NotRead(f"holds {'CMYK' if color == _CMYK else 'YCbCr'} colours of {bits} bits; they are read with 8")
    if extra and bits not in (8, 16, 32, 64):
        raise NotRead(f"has {bits} bits a channel and an alpha channel")


def _samples(data: bytes, directory: Directory) -> Image | None:
    """The samples as they are stored, in OpenCV's order of colours, upright."""
    if directory.samples == 2 or (directory.is_separate and directory.bits > 8):
        image = _planes(data, directory) if directory.is_separate else _pairs(data, directory)
        return None if image is None else upright(image, directory.value(_ORIENTATION, 1))
    if directory.has_alpha and directory.bits == 8 and _EXTRA in directory.entries:
        # libtiff multiplies colours by an alpha that it knows. If the meaning of the fourth sample is unknown, it leaves them alone.
        entry, patched = directory.entries[_EXTRA], bytearray(data)
        patched[entry.at : entry.at + len(entry.data)] = bytes(len(entry.data))
        return _imdecode(np.frombuffer(patched, np.uint8))
    return _imdecode(np.frombuffer(data, np.uint8))


def _in_strips(data: bytes, directory: Directory) -> bytes:
    """A file whose tiles are not packed, with one strip in their place, or one for each plane: from memory OpenCV refuses such tiles.

    The same bytes if a tile is missing. The samples have 8 bits.
    """
    width, height, wide, high = (directory.value(tag, 0) for tag in (_WIDTH, _HEIGHT, _TILE_WIDTH, _TILE_HEIGHT))
    if not all((width, height, wide, high)):
        return data
    across, down = -(-width // wide), -(-height // high)
    planes = directory.samples if directory.is_separate else 1
    pixel = directory.samples // planes
    places, size = directory.values(_TILES), wide * high * pixel
    if len(places) < planes * across * down or max(places) + size > len(data):
        return data
    strips = np.empty((planes, height, width * pixel), np.uint8)
    for number, place in enumerate(places[: planes * across * down]):
        plane, row, column = number // (across * down), number // across % down * high, number % across * wide * pixel
        tile = np.frombuffer(data, np.uint8, size, place).reshape(high, wide * pixel)
        there = strips[plane, row : row + high, column : column + wide * pixel]
        there[...] = tile[: there.shape[0], : there.shape[1]]
    head, each = data[:16], height * width * pixel
    changes: dict[int, tuple[int, ...]] = {_TILES: (), _TILE_BYTES: (), _TILE_WIDTH: (), _TILE_HEIGHT: (), _ROWS: (height,)}
    changes |= {_STRIPS: tuple(len(head) + each * plane for plane in range(planes)), _STRIP_BYTES: (each,) * planes}
    return _with_directory(head + strips.tobytes(), directory, changes).tobytes()


def _planes(data: bytes, directory: Directory) -> Image | None:
    """Separate planes, each decoded as a grey picture of its own."""
    tags = (_TILES, _TILE_BYTES) if _TILES in directory.entries else (_STRIPS, _STRIP_BYTES)
    images: list[Image] = []
    for plane in range(directory.samples):
        changes: dict[int, tuple[int, ...]] = {}
        for tag in tags:
            places = directory.values(tag)
            each, rest = divmod(len(places), directory.samples)
            if rest or (not each and tag == tags[0]):
                return None
            if each:
                changes[tag] = places[plane * each : (plane + 1) * each]
        image = _imdecode(_with_directory(data, directory, changes | _as_grey(directory)))
        if image is None or image.ndim != 2 or (images and image.shape != images[0].shape):
            return None
        images.append(image)
    ordered = images[2::-1] + images[3:] if directory.color == _RGB else images
    return np.dstack(ordered)


def _pairs(data: bytes, directory: Directory) -> Image | None:
    """Grey and alpha side by side, decoded as a grey picture of twice the width."""
    width, tile = directory.value(_WIDTH, 0), directory.value(_TILE_WIDTH, 0)
    predictor = directory.value(_PREDICTOR, 1)
    if directory.value(_COMPRESSION, 1) not in _PLAIN or predictor not in (1, _HORIZONTAL):
        raise NotRead("is grey with an alpha channel, in a compression that is not read with it")
    changes = _as_grey(directory) | {_WIDTH: (2 * width,), _PREDICTOR: ()}
    if tile:
        changes[_TILE_WIDTH] = (2 * tile,)
    image = _imdecode(_with_directory(data, directory, changes))
    if image is None or image.ndim != 2 or image.shape[1] != 2 * width:
        return None
    pairs = image.reshape(image.shape[0], width, 2)
    if predictor == _HORIZONTAL:  # each sample is the difference to the one of the pixel on its left, within a row of its tile
        if pairs.dtype.kind != "u":
            raise NotRead("is grey with an alpha channel, in differences of numbers that are not whole")
        for first in range(0, width, tile or width):
            block = pairs[:, first : first + (tile or width)]
            np.cumsum(block, axis=1, dtype=block.dtype, out=block)
    return pairs


def _as_grey(directory: Directory) -> dict[int, tuple[int, ...]]:
    one_format = {_FORMAT: directory.values(_FORMAT)[:1]} if directory.values(_FORMAT) else {}
    return {
        _SAMPLES: (1,),
        _BITS: (directory.bits,),
        _PHOTOMETRIC: (_BLACK_IS_ZERO,),
        _PLANAR: (1,),
        _EXTRA: (),
        _ORIENTATION: (),
        **one_format,
    }


def _with_directory(data: bytes, directory: Directory, changes: dict[int, tuple[int, ...]]) -> Image:
    """The file with another first directory behind its end. Tags that are changed to no values are left out."""
    order, wide = directory.order, 16 if directory.big else 4
    entries = {tag: (entry.kind, entry.count, entry.data) for tag, entry in directory.entries.items()}
    for tag, values in changes.items():
        entries[tag] = (wide, len(values), struct.pack(f"{order}{len(values)}{_TYPES[wide]}", *values))
        # Short numbers stay short: libtiff is strict about some of them.
        if values and max(values) < 2**16 and tag not in (_STRIPS, _STRIP_BYTES, _TILES, _TILE_BYTES):
            entries[tag] = (3, len(values), struct.pack(f"{order}{len(values)}H", *values))
    return np.frombuffer(_with_entries(data, directory, entries), np.uint8)


def with_tag(data: bytes, tag: int, kind: int, value: bytes) -> bytes:
    """The file with one more tag of single bytes in its first directory, now the last one. The same bytes if it cannot be read."""
    directory = read_directory(data)
    if directory is None:
        return data
    entries = {known: (entry.kind, entry.count, entry.data) for known, entry in directory.entries.items()}
    return bytes(_with_entries(data, directory, {**entries, tag: (kind, len(value), value)}))


def _with_entries(data: bytes, directory: Directory, entries: dict[int, tuple[int, int, bytes]]) -> bytearray:
    """The file with a directory of these tags, each with its type, count and bytes, behind its end."""
    order, (head, field, inline, pointer) = directory.order, ("Q", "HHQ", 8, "Q") if directory.big else ("H", "HHI", 4, "I")
    kept = sorted((tag, *entry) for tag, entry in entries.items() if entry[1])
    buffer = bytearray(data)
    buffer += bytes(-len(buffer) % 8)
    rows = []
    for tag, kind, count, values_data in kept:
        place = values_data.ljust(inline, b"\0")
        if len(values_data) > inline:
            place = struct.pack(order + pointer, len(buffer))
            buffer += values_data + bytes(-len(values_data) % 8)
        rows.append(struct.pack(order + field, tag, kind, count) + place)
    struct.pack_into(order + pointer, buffer, 8 if directory.big else 4, len(buffer))
    buffer += struct.pack(order + head, len(rows)) + b"".join(rows) + struct.pack(order + pointer, 0)
    return buffer


def _black_is_zero(image: Image, directory: Directory) -> Image:
    """Turns a negative round. libtiff has done it for single samples of up to 8 bits."""
    if directory.color != _WHITE_IS_ZERO or (directory.samples == 1 and directory.bits <= 8):
        return image
    white = 1.0 if image.dtype.kind == "f" else np.iinfo(image.dtype).max
    if 8 < directory.bits < 16:
        white = (2**directory.bits - 1) << (16 - directory.bits)  # as far as OpenCV brings it up
    grey = image if image.ndim == 2 else image[..., :1]
    np.subtract(np.asarray(white, image.dtype), grey, out=grey)
    return image


def described(directory: Directory) -> str:
    """What a file holds, for a sentence."""
    kinds = {2: "whole numbers with a sign", 3: "floating point"}
    kind = kinds.get(directory.value(_FORMAT, 1), "whole numbers")
    return f"{directory.samples} channels of {directory.bits} bits ({kind}), compression {directory.value(_COMPRESSION, 1)}"


def is_cut(data: bytes, directory: Directory) -> bool:
    """Whether strips or tiles lie outside the file."""
    places = directory.values(_TILES) or directory.values(_STRIPS)
    sizes = directory.values(_TILE_BYTES) or directory.values(_STRIP_BYTES)
    return any(place + size > len(data) for place, size in zip(places, sizes, strict=False))


def _imdecode(data: Image) -> Image | None:
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
