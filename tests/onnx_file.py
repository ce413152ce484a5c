"""A tiny ONNX file, written by hand: one convolution. Field numbers are those of `onnx.proto3`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def _number(value: int) -> bytes:
    """A varint."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def _field(number: int, value: int | str | bytes) -> bytes:
    if isinstance(value, int):
        return _number(number << 3) + _number(value)
    data = value.encode() if isinstance(value, str) else value
    return _number(number << 3 | 2) + _number(len(data)) + data


def _tensor(name: str, array: NDArray[np.float32]) -> bytes:
    sizes = b"".join(_field(1, size) for size in array.shape)
    return sizes + _field(2, 1) + _field(8, name) + _field(9, array.astype("<f4").tobytes())


def _ints(name: str, values: tuple[int, ...]) -> bytes:
    return _field(1, name) + b"".join(_field(8, value) for value in values) + _field(20, 7)


def _value(name: str, channels: int) -> bytes:
    sizes = (_field(1, 1), _field(1, channels), _field(2, "height"), _field(2, "width"))
    shape = b"".join(_field(1, size) for size in sizes)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, shape)))


def convolution(kernel: NDArray[np.float32]) -> bytes:
    """A network that convolves each channel with `kernel`, `(3, 3)`, and keeps the size.

    Returns:
        The bytes of a file that `cv2.dnn.readNetFromONNX` reads.
    """
    weights = np.zeros((3, 3, 3, 3), np.float32)
    for channel in range(3):
        weights[channel, channel] = kernel
    attributes = b"".join(_field(5, _ints(*one)) for one in (("kernel_shape", (3, 3)), ("pads", (1, 1, 1, 1)), ("strides", (1, 1))))
    node = _field(1, "in") + _field(1, "weights") + _field(2, "out") + _field(3, "conv") + _field(4, "Conv") + attributes
    graph = (
        _field(1, node)
        + _field(2, "graph")
        + _field(5, _tensor("weights", weights))
        + _field(11, _value("in", 3))
        + _field(12, _value("out", 3))
    )
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
