"""BMP files that say by masks where a pixel's colours are: OpenCV takes some for others, and refuses those of 16 bits in newer headers.

The format is Microsoft's: BITMAPINFOHEADER, BITMAPV4HEADER and BITMAPV5HEADER in "Windows GDI".
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from worker.pictures.pixels import Image

_FILE_HEADER = 14
_MASKS = _FILE_HEADER + 40  # behind the oldest header, and in the same place within the newer ones
_BIT_FIELDS, _WITH_ALPHA = 3, 6
#: The length of headers that hold a mask for alpha, too.
_HEADER_WITH_ALPHA = 56
_PIXELS = {16: "<u2", 32: "<u4"}
#: The oldest header, of OS/2: width and height have 16 bits.
_CORE_HEADER = 12


def size(data: bytes) -> tuple[int, int]:
    """Width and height in pixels."""
    if struct.unpack_from("<I", data, _FILE_HEADER)[0] == _CORE_HEADER:
        width, height = struct.unpack_from("<HH", data, _FILE_HEADER + 4)
    else:
        width, height = struct.unpack_from("<ii", data, _FILE_HEADER + 4)
    return abs(width), abs(height)


def as_newer(data: bytes) -> bytes:
    """A file of OS/2, whose colours OpenCV does not find, as one with the header of Windows 3; the same bytes of any other file."""
    if not data.startswith(b"BM") or len(data) < 26 or struct.unpack_from("<I", data, _FILE_HEADER)[0] != _CORE_HEADER:
        return data
    (start,) = struct.unpack_from("<I", data, 10)
    width, height, planes, bits = struct.unpack_from("<HHHH", data, _FILE_HEADER + 4)
    colors = b""
    if bits <= 8:
        first = _FILE_HEADER + _CORE_HEADER
        last = min(start, first + 3 * 2**bits, len(data))
        colors = b"".join(data[at : at + 3] + b"\0" for at in range(first, last - 2, 3))
    header = struct.pack("<IiiHHIIiiII", 40, width, height, planes, bits, 0, 0, 0, 0, len(colors) // 4, 0)
    begin = _FILE_HEADER + len(header) + len(colors)
    return struct.pack("<2sIHHI", b"BM", begin + len(data[start:]), 0, 0, begin) + header + colors + data[start:]


def has_masks(data: bytes) -> bool:
    """Whether this is a BMP file of 16 or 32 bits a pixel with masks."""
    if not data.startswith(b"BM") or len(data) < _MASKS + 16:
        return False
    header, bits, packing = struct.unpack_from("<I", data, _FILE_HEADER)[0], *struct.unpack_from("<HI", data, _FILE_HEADER + 14)
    return header >= _MASKS - _FILE_HEADER and bits in _PIXELS and packing in (_BIT_FIELDS, _WITH_ALPHA)


def decode(data: bytes) -> Image | None:
    """The picture of a file that `has_masks`: `(height, width, 3)` with blue first, or with alpha last; None if it cannot be read.

    8 bits; 16 if a mask is wider than 8.
    """
    (start,), (header,) = struct.unpack_from("<I", data, 10), struct.unpack_from("<I", data, _FILE_HEADER)
    width, height, _, bits, packing = struct.unpack_from("<iiHHI", data, _FILE_HEADER + 4)
    red, green, blue, alpha = struct.unpack_from("<IIII", data, _MASKS)
    if header < _HEADER_WITH_ALPHA and packing != _WITH_ALPHA:
        alpha = 0
    masks = [blue, green, red, *([alpha] if alpha else [])]
    pitch, rows = (width * bits + 31) // 32 * 4, abs(height)
    if width <= 0 or not rows or not all(_is_one_run(mask, bits) for mask in masks) or len(data) < start + pitch * rows:
        return None
    values = np.frombuffer(data, np.uint8, pitch * rows, start).reshape(rows, pitch)[:, : width * bits // 8].copy().view(_PIXELS[bits])
    values = values if height < 0 else values[::-1]
    wide = any(mask.bit_count() > 8 for mask in masks)
    return np.dstack([_channel(values, mask, np.uint16 if wide else np.uint8) for mask in masks])


def _is_one_run(mask: int, bits: int) -> bool:
    """Whether the ones of a mask stand side by side, within a pixel, and are no more than 16."""
    low = mask & -mask
    return 0 < mask < 1 << bits and (mask + low) & mask == 0 and mask.bit_count() <= 16


def _channel(values: NDArray[np.uint16] | NDArray[np.uint32], mask: int, kind: type[np.uint8 | np.uint16]) -> Image:
    """What stands under a mask, from black to white."""
    white, largest = (1 << mask.bit_count()) - 1, np.iinfo(kind).max
    found = (values & mask) >> ((mask & -mask).bit_length() - 1)
    if white == largest:
        return found.astype(kind)
    return np.asarray(np.rint(np.arange(white + 1) * (largest / white)).astype(kind)[found])
