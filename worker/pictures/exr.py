"""OpenEXR files of floating point channels, written without loss: what builds of OpenCV mostly cannot.

The layout is that of the OpenEXR specification, "OpenEXR File Layout": one part of scan lines, channels of 32 bits, compressed by ZIP in
blocks of 16 lines.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

_MAGIC, _VERSION = 20_000_630, 2
_FLOAT = 2
_ZIP, _LINES = 3, 16
_LEVEL = 4


def encode(channels: Mapping[str, NDArray[np.float32]]) -> bytes:
    """The bytes of a file with these channels, such as R and G; each `(height, width)`, all of the same size."""
    names = sorted(channels)
    height, width = channels[names[0]].shape
    # A line of the file holds all values of one channel, then those of the next.
    lines = np.concatenate([np.asarray(channels[name], "<f4") for name in names], axis=1)
    blocks = [_packed(lines[top : top + _LINES].tobytes()) for top in range(0, height, _LINES)]
    head = _head(names, width, height)
    first = len(head) + 8 * len(blocks)
    places = first + np.cumsum([0, *(8 + len(block) for block in blocks[:-1])])
    parts = [head, places.astype("<u8").tobytes()]
    for n, block in enumerate(blocks):
        parts += [struct.pack("<ii", n * _LINES, len(block)), block]
    return b"".join(parts)


def _head(names: list[str], width: int, height: int) -> bytes:
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    listed = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", _FLOAT, 0, 1, 1) for name in names) + b"\0"
    attributes = (
        ("channels", "chlist", listed),
        ("compression", "compression", bytes([_ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", b"\0"),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    )
    written = b"".join(
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value for name, kind, value in attributes
    )
    return struct.pack("<ii", _MAGIC, _VERSION) + written + b"\0"


def _packed(raw: bytes) -> bytes:
    """A block as ZIP compression stores it: even bytes, then odd ones, then differences, then zlib; raw if that is no smaller."""
    data = np.frombuffer(raw, np.uint8)
    halves = np.concatenate([data[::2], data[1::2]])
    steps = halves.copy()
    steps[1:] = halves[1:] - halves[:-1] + np.uint8(128)
    packed = zlib.compress(steps.tobytes(), _LEVEL)
    return packed if len(packed) < len(raw) else raw
