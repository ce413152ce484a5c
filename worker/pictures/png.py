"""PNG files of 8 bits, written fast: one filter, and runs only. OpenCV writes all others; and what it drops when it reads one.

Rows that repeat the one above, as plain ground does, become zeros under the filter Up. What zeros pack into does not depend on the picture,
so it is packed once and used again. A picture of 512x512 with one disc takes a quarter of the time so.

The format is W3C's Portable Network Graphics (Third Edition); the names of its parts are used here. That packed pieces can stand one behind
the other is RFC 1951 (a full flush ends at a whole byte and refers to nothing before); that checks can be combined is zlib's
`adler32_combine`.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator

import cv2
import numpy as np

from worker.pictures.pixels import Image

#: An image of more bytes might not fit into one chunk.
MAX_BYTES = 2**30

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY = 0  # colour type
_SUB = 1  # filter type: each byte is the difference to the one of the pixel on its left
_UP = 2  # filter type: each byte is the difference to the one above
#: By the number of channels: the colour type, and how OpenCV brings our order to PNG's.
_COLORS = {1: (0, None), 3: (2, cv2.COLOR_BGR2RGB), 4: (6, cv2.COLOR_BGRA2RGBA)}
#: Bytes filtered and packed at a time; more would not stay in the processor's cache.
_BAND_BYTES = 2**19
#: A shorter run of rows is packed as it is.
_SHORTEST_RUN = 16
#: The number of pairs of rows that are compared first. In a photograph no row repeats another, and comparing all of them would be in vain.
_LOOKS = 16
_ADLER_BASE = 65521
_ZLIB_HEADER = b"\x78\x01"


def encode(image: Image, level: int = 1) -> bytes:
    """The file of an image of 8 bits; every pixel is kept.

    Args:
        image: `(height, width)` grey, or `(height, width, 3 or 4)` BGR or BGRA.
        level: 1 to 9, how hard zlib tries. With runs only it makes next to no difference.
    """
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    color, order = _COLORS[channels]
    packed, check = [_ZLIB_HEADER], 1
    for first, stop, repeats in _runs(image):
        if repeats:
            for rows in _powers(stop - first):
                piece, its_check, size = _zeros(rows, width * channels, level)
                packed.append(piece)
                check = _combined(check, its_check, size)
        else:
            pieces, check = _packed(image[first:stop], channels, order, level, check)
            packed += pieces
    packed += [_raw_packer(level).flush(), struct.pack(">I", check)]
    header = struct.pack(">IIBBBBB", width, height, 8, color, 0, 0, 0)
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", b"".join(packed)), *_chunk(b"IEND", b"")])


def still(data: bytes) -> bytes:
    """An animated PNG as the picture that programs without animations show; the same bytes of any other file.

    It is the first one of the animation, unless the file has one beside the animation. The others need not be decoded then.
    """
    at = len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and at + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"acTL":
            return data[:at] + data[at + 12 + size :]
        if name == b"IDAT":
            break
        at += 12 + size
    return data


def with_transparency(image: Image, data: bytes) -> Image:
    """The grey image of this file with the alpha that its chunk `tRNS` asks for, as `(height, width, 4)`; OpenCV drops it.

    Args:
        image: `(height, width)`, 8 or 16 bits, as OpenCV reads it. Others are handed back: their transparency has been read.
        data: the file.
    """
    value = _transparent_grey(data)
    if value is None or image.ndim != 2:
        return image
    depth = data[24]
    white = np.iinfo(image.dtype).max
    invisible = image == (value if depth >= 8 else value * (white // (2**depth - 1)))
    return np.dstack([image, image, image, np.where(invisible, 0, white).astype(image.dtype)])


def _transparent_grey(data: bytes) -> int | None:
    """The grey value that is invisible, in the bits of the file; None if there is none, or the file is not grey."""
    if not data.startswith(_SIGNATURE) or len(data) < 26 or data[25] != _GREY:
        return None
    at = len(_SIGNATURE)
    while at + 10 <= len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"tRNS" and size == 2:
            return int(struct.unpack_from(">H", data, at + 8)[0]) & ((1 << data[24]) - 1)
        if name == b"IDAT":
            return None
        at += 12 + size
    return None


def _runs(image: Image) -> Iterator[tuple[int, int, bool]]:
    """Cuts the rows into pieces: the first one, the one behind the last, and whether each of them repeats the row above."""
    height = len(image)
    looked = range(1, height, max(1, (height - 1) // _LOOKS)) if height > _SHORTEST_RUN else ()
    if not any((image[at] == image[at - 1]).all() for at in looked):
        yield 0, height, False
        return
    rows = np.ascontiguousarray(image).reshape(height, -1)
    rows = rows.view(np.uint64) if rows.shape[1] % 8 == 0 else rows
    repeats = np.concatenate(([False], (rows[1:] == rows[:-1]).all(axis=1), [False]))
    first = 0
    edges = np.flatnonzero(repeats[1:] != repeats[:-1]) + 1
    for begin, end in edges.reshape(-1, 2).tolist():
        if end - begin >= _SHORTEST_RUN:
            if begin > first:
                yield first, begin, False
            yield begin, end, True
            first = end
    if first < height:
        yield first, height, False


def _powers(count: int) -> Iterator[int]:
    """The powers of two that a number is the sum of, so that few lengths of runs need to be remembered."""
    while count:
        yield 1 << (count.bit_length() - 1)
        count -= 1 << (count.bit_length() - 1)


def _raw_packer(level: int) -> zlib._Compress:
    """Packs without a header and a check."""
    return zlib.compressobj(level, zlib.DEFLATED, -15, 8, zlib.Z_RLE)


@functools.lru_cache(maxsize=64)
def _zeros(rows: int, row_bytes: int, level: int) -> tuple[bytes, int, int]:
    """A number of rows that repeat the one above: packed, their check, and their size."""
    data = (bytes([_UP]) + bytes(row_bytes)) * rows
    packer = _raw_packer(level)
    return packer.compress(data) + packer.flush(zlib.Z_FULL_FLUSH), zlib.adler32(data), len(data)


def _combined(check: int, more: int, size: int) -> int:
    """The check of one piece and another of `size` bytes behind it, as zlib's `adler32_combine` has it."""
    low = ((check & 0xFFFF) + (more & 0xFFFF) - 1) % _ADLER_BASE
    high = ((check >> 16) + (more >> 16) + size * ((check & 0xFFFF) - 1)) % _ADLER_BASE
    return high << 16 | low


def _packed(image: Image, channels: int, order: int | None, level: int, check: int) -> tuple[list[bytes], int]:
    """Rows as they are, and the check with them."""
    packer = _raw_packer(level)
    pieces = []
    rows = max(1, _BAND_BYTES // (image.shape[1] * channels))
    for first in range(0, len(image), rows):
        band = _filtered(image[first : first + rows], channels, order).data
        pieces.append(packer.compress(band))
        check = zlib.adler32(band, check)
    return [*pieces, packer.flush(zlib.Z_FULL_FLUSH)], check


def _filtered(band: Image, channels: int, order: int | None) -> Image:
    """The rows as they are packed: `(rows, 1 + width * channels)`, each behind the type of its filter."""
    plain = band if order is None else cv2.cvtColor(band, order)
    pixels = plain.reshape(len(band), -1)
    rows = np.empty((len(band), 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = _SUB
    rows[:, 1 : 1 + channels] = pixels[:, :channels]
    np.subtract(pixels[:, channels:], pixels[:, :-channels], out=rows[:, 1 + channels :])
    return rows


def _chunk(name: bytes, data: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    """Its length, type, data and check."""
    return struct.pack(">I", len(data)), name, data, struct.pack(">I", zlib.crc32(data, zlib.crc32(name)))
