"""How long TouchDesigner's main thread is busy in the demo, with the worker and without it. Run as `python -m tests.benchmarks.demo`.

The demo measures both itself, in one run, and shows them in its table; this runs it several times. With the worker it must be less than a
quarter.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

AT_MOST = 1 / 4
ROOT = Path(__file__).parents[2]


def waits(folder: str) -> tuple[float, float]:
    """Milliseconds with and without the worker, of one run."""
    command = [sys.executable, "-m", "worker", "demo"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "", "PYTHONSAFEPATH": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    rows = [line.split("\t") for line in done.stdout.splitlines() if line.count("\t") == 5]
    busy, blocked = (float(cell.removesuffix(" ms")) for cell in rows[-1][2:4])
    return busy, blocked


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    measured = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            measured.append(waits(folder))
    busy, blocked = (statistics.median(column) for column in zip(*measured, strict=True))
    print(f"with the worker {busy:.1f} ms, without it {blocked:.0f} ms, {busy / blocked:.3f} of it; the aim is below {AT_MOST}")
    return int(busy >= blocked * AT_MOST)


if __name__ == "__main__":
    sys.exit(main())
