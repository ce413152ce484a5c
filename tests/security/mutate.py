"""Breaks real image files in every way that comes to mind, and lets a child read them.

    python -m tests.security.mutate --files 5000     pictures of every format
    python -m tests.security.mutate --frames 1000    frame files: their headers and the entries of their slots

A frame file whose header is wrong may still be one: then the child's picture must be what the table in protocol.md makes of these bytes.
Whatever they hold: no hang, no memory over the cap, no dead child, no answer but 200, 413 or 415, and the next job runs. The last line
says how many of each there were; the exit code is 1 where something else happened.
"""

from __future__ import annotations

import argparse
import collections
import dataclasses
import itertools
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import cv2
import msgspec
import numpy as np

from tests import frame_files
from tests.security.bombs import bombs, seeds
from tests.security.children import Child, Hang, failed
from worker.files.limits import DEFAULT_LIMITS

CAP_MB = 1024
#: The header of a frame file and the entries of two slots.
HEAD = 128
_LIMITS = msgspec.structs.replace(DEFAULT_LIMITS, megapixels=50, child_mb=CAP_MB)
_EXTREMES = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE, 60_000, 2**20, 2**30]


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The file, broken once or several times, most often near its beginning, where the sizes stand."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        if not body:
            break
        at = chance.randrange(min(len(body), chance.choice((32, 200, 10**9))))
        match chance.randrange(7):
            case 0:
                body[at] ^= 1 << chance.randrange(8)
            case 1:
                body[at] = chance.randrange(256)
            case 2:
                size = chance.choice((1, 2, 4))
                number = chance.choice(_EXTREMES) & (256**size - 1)
                body[at : at + size] = number.to_bytes(size, chance.choice(("big", "little")))
            case 3:
                del body[at : at + chance.choice((1, 2, 8, 100))]
            case 4:
                body[at:at] = chance.randbytes(chance.choice((1, 4, 100)))
            case 5:
                body[at:at] = body[at : at + chance.choice((4, 16, 200))]
            case 6:
                del body[chance.randrange(len(body)) :]
    return bytes(body)


@dataclasses.dataclass
class Findings:
    codes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    peak_mb: float = 0.0
    slowest_s: float = 0.0
    wrong: list[str] = dataclasses.field(default_factory=list)


def break_files(root: Path, count: int, seed: int) -> Findings:
    """Lets a child read `count` broken files. What it should not have survived stays in `root`."""
    chance, found = random.Random(seed), Findings()
    real = [*seeds().items(), *bombs().items()]
    child = Child(root, _LIMITS)
    try:
        for n, (name, data) in zip(range(count), itertools.cycle(real), strict=False):
            path = root / f"{n}{Path(name).suffix}"
            path.write_bytes(mutated(data, chance))
            old = time.time() - 60
            os.utime(path, (old, old))
            began = time.monotonic()
            try:
                code = failed(child.job("convert", image=path.name, output="out.png", width=8, height=8))
            except Hang:
                code = 408
            found.slowest_s = max(found.slowest_s, time.monotonic() - began)
            found.codes[code] += 1
            if code in (200, 413, 415):
                path.unlink()
                if n % 100 == 0:
                    found.peak_mb = max(found.peak_mb, child.peak_mb())
            else:
                found.wrong.append(f"{path.name} ({name}): {code}")
        found.peak_mb = max(found.peak_mb, child.peak_mb())
        if failed(child.job("draw_circles", output="next.png", count=1)) != 200:
            found.wrong.append("the next job does not run")
    finally:
        child.close()
    return found


def framed(data: bytes, chance: random.Random) -> bytes:
    """A frame file, broken where its numbers stand; sometimes it is cut or longer, too."""
    body = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 3, 8))):
        at = chance.randrange(HEAD)
        match chance.randrange(4):
            case 0:
                body[at] ^= 1 << chance.randrange(8)
            case 1:
                body[at] = chance.randrange(256)
            case 2:
                at, size = at // 4 * 4, chance.choice((4, 8))
                number = chance.choice((*_EXTREMES, 2, 3, 4, 5, 2**63, 2**64 - 1, 4096, 4095, len(data))) % 256**size
                body[at : at + size] = number.to_bytes(size, "little")
            case 3:
                at = at // 8 * 8
                body[at : at + 8] = body[(other := chance.randrange(HEAD) // 8 * 8) : other + 8]
    if not chance.randrange(10):
        del body[chance.randrange(len(body)) :]
    return bytes(body) + bytes(chance.choice((0, 0, 0, 100, 70_000)))


def break_frames(root: Path, count: int, seed: int) -> Findings:
    """Lets a child read `count` broken frame files. Wrong pictures are findings, too."""
    chance, found = random.Random(seed), Findings()
    pixels = np.random.default_rng(seed)
    child = Child(root, _LIMITS)
    pid = None
    try:
        for n in range(count):
            shape = (chance.randrange(1, 40), chance.randrange(1, 40), chance.randrange(1, 5))
            kind = chance.choice((np.uint8, np.uint16, np.float32))
            pictures = [(pixels.random(shape) * (1 if kind == np.float32 else np.iinfo(kind).max)).astype(kind) for _ in range(2)]
            data = framed(frame_files.whole(pictures, sequences=chance.choice(([2, 4], [8, 6], [5, 4]))), chance)
            path = root / f"{n}.frame"
            path.write_bytes(data)
            began = time.monotonic()
            try:
                code = failed(child.job("convert", image=f"frame:{path.name}", output="out.png"))
            except Hang:
                code = 408
            found.slowest_s = max(found.slowest_s, time.monotonic() - began)
            found.codes[code] += 1
            pid = pid or child.pid
            wrong = code not in (200, 404, 413, 415) or child.pid != pid or (code == 200 and not _is_right(root / "out.png", data))
            if wrong:
                found.wrong.append(f"{path.name}: {code}")
            else:
                path.unlink()
        found.peak_mb = child.peak_mb()
        if failed(child.job("draw_circles", output="next.png", count=1)) != 200:
            found.wrong.append("the next job does not run")
    finally:
        child.close()
    return found


def _is_right(made: Path, data: bytes) -> bool:
    got = cv2.imread(str(made), cv2.IMREAD_UNCHANGED)
    return any(got.dtype == wanted.dtype and np.array_equal(got.reshape(*got.shape[:2], -1), wanted) for wanted in frame_files.newest(data))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--frames", type=int, default=0, help="so many frame files in place of pictures")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="mutate-"))
    count = arguments.frames or arguments.files
    found = (break_frames if arguments.frames else break_files)(root, count, arguments.seed)
    for line in found.wrong:
        print(line)
    codes = ", ".join(f"{code}: {number}" for code, number in sorted(found.codes.items()))
    print(
        f"{count} files, seed {arguments.seed}; {codes}; slowest {found.slowest_s:.2f} s; "
        f"peak {found.peak_mb:.0f} MB of {CAP_MB} MB; {len(found.wrong)} wrong" + (f", kept in {root}" if found.wrong else "")
    )
    return bool(found.wrong)


if __name__ == "__main__":
    sys.exit(main())
