"""A program that writes frame files and shares no code with ours: only what the table in protocol.md says.

python -m tests.frame_files FILE HALF    writes frames for ever; with HALF 1 it stops itself (SIGSTOP) in the middle of the tenth
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

OFFSET = 4096


def header(
    shape: tuple[int, int, int], kind: int = 1, *, slots: int = 3, generation: int = 0, rows: int = 0, slot_bytes: int | None = None
) -> bytearray:
    """The 64 bytes of a header, for pictures of (height, width, channels)."""
    height, width, channels = shape
    data = bytearray(64)
    data[:8] = b"TDFRAMES"
    struct.pack_into("<IIQ", data, 8, 1, slots, generation)
    struct.pack_into("<IIIIII", data, 24, width, height, channels, kind, rows, 0)
    struct.pack_into("<QQ", data, 48, OFFSET, height * width * channels * kind if slot_bytes is None else slot_bytes)
    return data


def slot(sequence: int, time_ns: int = 0, lease_ns: int = 0) -> bytes:
    return struct.pack("<QQQQ", sequence, time_ns, lease_ns, 0)


def whole(pictures: list[NDArray] | NDArray, *, rows: int = 0, sequences: list[int] | None = None, slots: int | None = None) -> bytes:
    """The bytes of a file with these pictures, as they come (bottom row first, RGBA), one in each slot."""
    pictures = pictures if isinstance(pictures, list) else [pictures]
    first = pictures[0]
    count = slots or len(pictures)
    data = bytearray(OFFSET + count * first.nbytes)
    data[:64] = header(first.shape, first.dtype.itemsize, slots=count, rows=rows)
    for index, picture in enumerate(pictures):
        sequence = 2 * index + 2 if sequences is None else sequences[index]
        data[64 + 32 * index : 96 + 32 * index] = slot(sequence, 1_700_000_000_000_000_000 + sequence)
        data[OFFSET + index * first.nbytes : OFFSET + (index + 1) * first.nbytes] = picture.tobytes()
    return bytes(data)


def newest(data: bytes) -> list[NDArray]:
    """The newest picture in a file, by the table alone: top row first, blue first, and numbers in floating point as 16 bits.

    Several if their sequences are the same, as a broken file may have them.
    """
    (slots,) = struct.unpack_from("<I", data, 12)
    width, height, channels, kind, rows = struct.unpack_from("<IIIII", data, 24)
    offset, slot_bytes = struct.unpack_from("<QQ", data, 48)
    sequences = [struct.unpack_from("<Q", data, 64 + 32 * index)[0] for index in range(slots)]
    highest = max(number for number in sequences if number and number % 2 == 0)
    return [
        _decoded(data, offset + index * slot_bytes, (height, width, channels), kind, rows)
        for index, number in enumerate(sequences)
        if number == highest
    ]


def _decoded(data: bytes, begin: int, shape: tuple[int, int, int], kind: int, rows: int) -> NDArray:
    height, width, channels = shape
    form = {1: "<u1", 2: "<u2", 4: "<f4"}[kind]
    pixels = np.frombuffer(data[begin : begin + width * height * channels * kind], form).reshape(shape)
    if kind == 4:
        pixels = np.rint(np.clip(np.nan_to_num(pixels, nan=0, posinf=1, neginf=0), 0, 1) * 65535).astype(np.uint16)
    pixels = pixels[..., {1: [0], 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[channels]]
    return pixels[::-1] if rows == 0 else pixels


def plain(n: int, height: int = 480, width: int = 640) -> NDArray[np.uint8]:
    """The picture of the n-th frame: one value everywhere, so that two halves show."""
    return np.full((height, width, 4), n % 251, np.uint8)


def write_for_ever(path: Path, *, half: bool) -> None:
    """Frame n is `plain(n)`; its sequence is 2n."""
    size = plain(0).nbytes
    path.write_bytes(whole([plain(1)] * 3, sequences=[2, 0, 0]))
    n = 1
    with path.open("r+b", buffering=0) as file:
        while True:
            n += 1
            index, pixels = (n - 1) % 3, plain(n).tobytes()
            os.pwrite(file.fileno(), struct.pack("<Q", 2 * n - 1), 64 + 32 * index)
            os.pwrite(file.fileno(), pixels[: size // 2], OFFSET + index * size)
            if half and n == 10:
                os.kill(os.getpid(), signal.SIGSTOP)
            os.pwrite(file.fileno(), pixels[size // 2 :], OFFSET + index * size + size // 2)
            os.pwrite(file.fileno(), struct.pack("<Q", 2 * n), 64 + 32 * index)


if __name__ == "__main__":
    write_for_ever(Path(sys.argv[1]), half=sys.argv[2] == "1")
