"""Breaks real image files in every way that comes to mind, and lets a child read them: `python -m tests.security.mutate --files 5000`.

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

from tests.security.bombs import bombs, seeds
from tests.security.children import Child, Hang, failed
from worker.files.limits import DEFAULT_LIMITS

CAP_MB = 1024
_LIMITS = dataclasses.replace(DEFAULT_LIMITS, megapixels=50, child_mb=CAP_MB)
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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    root = Path(tempfile.mkdtemp(prefix="mutate-"))
    found = break_files(root, arguments.files, arguments.seed)
    for line in found.wrong:
        print(line)
    codes = ", ".join(f"{code}: {number}" for code, number in sorted(found.codes.items()))
    print(
        f"{arguments.files} files, seed {arguments.seed}; {codes}; slowest {found.slowest_s:.2f} s; "
        f"peak {found.peak_mb:.0f} MB of {CAP_MB} MB; {len(found.wrong)} wrong" + (f", kept in {root}" if found.wrong else "")
    )
    return bool(found.wrong)


if __name__ == "__main__":
    sys.exit(main())
