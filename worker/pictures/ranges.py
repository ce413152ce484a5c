"""Which number is white in a file. OpenCV hands out the numbers as they are stored, so that a white of 1023 comes out nearly black.

That is so for AVIF and JPEG 2000 of 10 and 12 bits, and for Netpbm (PGM, PPM) of another maximum than 255 and 65535.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from worker.pictures import heif
from worker.pictures.pixels import Image

_NUMBERS = rb"\s(?:\s|#[^\n]*\n)*"
_NETPBM = re.compile(rb"P[2356]" + _NUMBERS + rb"\d{1,10}" + _NUMBERS + rb"\d{1,10}" + _NUMBERS + rb"(\d{1,6})\s")
_LONGEST_HEADER = 2**16
#: Start of a JPEG 2000 codestream, and its marker SIZ (ISO/IEC 15444-1, A.5.1): the number of components stands 36 bytes behind.
_CODESTREAM = b"\xff\x4f\xff\x51"
_JP2 = b"\0\0\0\x0cjP  "


class NotRead(Exception):
    """Why a file is refused, as the end of a sentence that begins with its name."""


def brightest(data: bytes) -> int:
    """The number that is white; 0 if it is the largest of 8 or 16 bits, or the file does not say.

    Raises:
        NotRead: the numbers of its channels mean different things.
    """
    try:
        if heif.is_heif(data):
            return _of_bits(heif.bits(data))
        if data.startswith((_JP2, _CODESTREAM)):
            return _of_bits(_bits_of_jpeg2000(data))
    except (struct.error, IndexError):
        return 0
    found = _NETPBM.match(data, 0, _LONGEST_HEADER)
    most = int(found[1]) if found else 0
    return most if 0 < most < 65535 and most != 255 else 0


def as_stored(data: bytes, white: int) -> bytes:
    """A Netpbm file in text as OpenCV hands out its numbers unchanged; the same bytes of any other file.

    OpenCV stretches text of 8 bits, and no other kind, by itself unless its maximum is 255, and wants a blank behind the last number.
    """
    if not data.startswith((b"P1", b"P2", b"P3")):
        return data
    found = _NETPBM.match(data, 0, _LONGEST_HEADER) if 0 < white < 255 else None
    if found is not None:
        data = data[: found.start(1)] + b"255" + data[found.end(1) :]
    return data if data[-1:].isspace() else data + b"\n"


def full_range(image: Image, white: int) -> Image:
    """The image with `white` as the largest number of its type, 8 or 16 bits. 0 leaves it as it is."""
    if not white or image.dtype.kind != "u":
        return image
    largest = np.iinfo(image.dtype).max
    table = np.minimum(np.rint(np.arange(largest + 1) * (largest / white)), largest).astype(image.dtype)
    return np.asarray(table[image])


def _of_bits(bits: int) -> int:
    return 0 if bits in (0, 8, 16) else 2**bits - 1


def _bits_of_jpeg2000(data: bytes) -> int:
    at = data.find(_CODESTREAM) + 2
    if at < 2:
        return 0
    (count,) = struct.unpack_from(">H", data, at + 38)
    depths = {data[at + 40 + 3 * component] for component in range(min(count, 16))}
    if any(depth & 0x80 for depth in depths):
        raise NotRead("has numbers with a sign")
    if len(depths) > 1:
        raise NotRead("has channels of different depths")
    return depths.pop() + 1 if depths else 0
