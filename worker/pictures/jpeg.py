"""How much smaller a JPEG may be decoded when only a small picture of it is wanted.

libjpeg can decode at a half, a quarter or an eighth of the size, straight from the coefficients: less work, and less memory. The result
differs from a full decoding and averages over areas, unless the areas cover whole pixels of the smaller picture. What is left to average
decides how much. Measured over 32 photographs of 9 to 22 megapixels, half the size and an average over 3 or more pixels gave 45 dB and
more against the full way, a quarter and 6 pixels 48 dB. No way of averaging makes 45 dB of each at a quarter and 3 pixels: what is finer
is lost by then. A page of small letters is sharper than a photograph, and comes out with 40 dB.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import cv2

from worker.pictures.exif import FILL

Size = tuple[int, int]

#: For each part of the size: how to read it, in grey and in colour.
_FLAGS = {
    8: (cv2.IMREAD_REDUCED_GRAYSCALE_8, cv2.IMREAD_REDUCED_COLOR_8),
    4: (cv2.IMREAD_REDUCED_GRAYSCALE_4, cv2.IMREAD_REDUCED_COLOR_4),
    2: (cv2.IMREAD_REDUCED_GRAYSCALE_2, cv2.IMREAD_REDUCED_COLOR_2),
}
#: Start of a frame: baseline, extended and progressive Huffman coding. Others are left to the full way.
_FRAMES = (0xFFC0, 0xFFC1, 0xFFC2)
_SCAN = 0xFFDA
_START, _END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class Reduction:
    """How `cv2.imdecode` is to read a file, and its pixels for one of the result, in a row."""

    flag: int
    part: int


WHOLE = Reduction(cv2.IMREAD_UNCHANGED, 1)


def reduction(data: bytes, size: Size, wanted: Size) -> Reduction:
    """How to read just enough of a JPEG; `WHOLE` if it is none, or is needed whole.

    Args:
        data: the file.
        size: width and height of the picture in it.
        wanted: width and height that it will be brought to by averages over areas; both as it lies in the file.
    """
    components = _components(data)
    if components not in (1, 3):
        return WHOLE
    for part, flags in _FLAGS.items():
        even = all(whole % (part * small) == 0 for whole, small in zip(size, wanted, strict=True))
        enough = all(whole >= 1.5 * part * part * small for whole, small in zip(size, wanted, strict=True))
        if even or enough:
            return Reduction(int(flags[components == 3]) | cv2.IMREAD_IGNORE_ORIENTATION, part)
    return WHOLE


def is_cut(data: bytes) -> bool:
    """Whether a JPEG ends before its end marker. OpenCV 5 refuses such a file; earlier versions fill the rest with grey."""
    scan = next((at for marker, at in _segments(data) if marker == _SCAN), len(data))
    return data.startswith(_START) and data.rfind(_END, scan) < 0  # from the end, where it stands as a rule


def _components(data: bytes) -> int:
    """1 for grey, 3 for colour, as the start of the frame says; 0 if this is no JPEG of 8 bits."""
    for marker, at in _segments(data):
        if marker in _FRAMES and at + 10 <= len(data):
            return data[at + 9] if data[at + 4] == 8 else 0
    return 0


def _segments(data: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of each segment, up to the first scan."""
    at = 2 if data.startswith(_START) else len(data)
    while at + 4 <= len(data):
        marker, size = struct.unpack_from(">HH", data, at)
        if marker == FILL:
            at += 1
            continue
        if marker < 0xFFC0:
            return
        yield marker, at
        if marker == _SCAN:
            return
        at += 2 + size
