"""JPEG 2000 files in YCC colours: OpenCV brings them to others than they mean. The boxes are those of ISO/IEC 15444-1, annex I."""

from __future__ import annotations

import struct

import cv2
import numpy as np

from worker.pictures.heif import boxes
from worker.pictures.pixels import Image

START = b"\0\0\0\x0cjP  "
_ENUMERATED, _RGB, _YCC = 1, 16, 18  # method; sRGB and sYCC (I.5.3.3)


def is_ycc(data: bytes) -> bool:
    """Whether the colours are said to be sYCC."""
    return data.startswith(START) and _place(data) > 0


def as_rgb(data: bytes) -> bytes:
    """The same file, which says that its colours are red, green and blue: OpenCV hands them out as they are stored then."""
    at = _place(data)
    return data[:at] + struct.pack(">I", _RGB) + data[at + 4 :]


def colors(stored: Image) -> Image:
    """`(height, width, 3 or 4)` with blue first, of what OpenCV hands out for a file that `as_rgb` gives: Cr, Cb, Y, and maybe alpha."""
    if stored.ndim == 2:
        return stored
    made = np.asarray(cv2.cvtColor(np.ascontiguousarray(stored[..., [2, 0, 1]]), cv2.COLOR_YCrCb2BGR))
    return np.dstack([made, stored[..., 3:]])


def _place(data: bytes) -> int:
    """Where the number of the colours stands, if it is that of sYCC; otherwise 0."""
    header = next((body for name, body in boxes(data) if name == b"jp2h"), b"")
    for name, body in boxes(header):
        if name == b"colr" and len(body) >= 7 and body[0] == _ENUMERATED:
            if struct.unpack_from(">I", body, 3)[0] != _YCC:
                return 0
            return data.find(b"colr" + body[:7], data.find(b"jp2h")) + 4 + 3
    return 0
