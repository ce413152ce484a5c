"""PAM files (Netpbm's P7): OpenCV exchanges their red and blue. The format is that of the manual page pam(5)."""

from __future__ import annotations

import re

import numpy as np

from worker.pictures.pixels import Image
from worker.pictures.ranges import full_range

_HEADER = re.compile(rb"P7\n(?:.{0,200}\n){1,100}?ENDHDR\n")
_NUMBER = re.compile(rb"^(WIDTH|HEIGHT|DEPTH|MAXVAL)[ \t]+(\d{1,9})[ \t]*$", re.MULTILINE)
#: Other kinds are grey or red, green and blue, by their number of channels.
_CMYK = re.compile(rb"^TUPLTYPE[ \t]+CMYK", re.MULTILINE)
#: Red, green, blue as OpenCV has them, by the number of channels.
_ORDER = {1: [0], 2: [0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}


def is_pam(data: bytes) -> bool:
    return data.startswith((b"P7\n", b"P7\r"))


def decode(data: bytes) -> Image | None:
    """The picture: `(height, width)`, or `(height, width, 2 to 4)` with blue first and alpha last; None if it cannot be read."""
    header = _HEADER.match(data)
    if header is None or _CMYK.search(header[0]):
        return None
    found = {name: int(number) for name, number in _NUMBER.findall(header[0])}
    width, height, depth, most = (found.get(name, 0) for name in (b"WIDTH", b"HEIGHT", b"DEPTH", b"MAXVAL"))
    if not width * height or not 1 <= depth <= 4 or not 1 <= most <= 65535:
        return None
    size, kind = width * height * depth, ">u2" if most > 255 else "u1"
    if len(data) - header.end() < size * np.dtype(kind).itemsize:
        return None
    image = np.frombuffer(data, kind, size, header.end()).astype(np.uint16 if most > 255 else np.uint8).reshape(height, width, depth)
    ordered = np.ascontiguousarray(image[..., _ORDER[depth]])
    return full_range(ordered[..., 0] if depth == 1 else ordered, 0 if most in (255, 65535) else most)
