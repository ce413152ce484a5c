"""Where the time of the worker's own process goes. Run as `python -m tests.benchmarks.parent`; on some systems as root.

py-spy looks at it 250 times a second while 64 empty jobs are under way with the journal: twice, for the picture
`docs/performance/parent.svg` and for the table. The table has the functions of the thread that does the work, by the share of its time that
passed in each and in what it called.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.benchmarks.roundtrip import BARE, WARM_S, throughput
from tests.ports import free_port
from tests.reliability import running

PICTURE = running.REPOSITORY / "docs" / "performance" / "parent.svg"
RATE = 250
SHOWN = 24
LOOP = "Service.run"


def shares(raw: str) -> tuple[Counter[str], int]:
    r"""How many samples had each function in them, of the thread that runs the loop; and how many samples that thread has.

    Args:
        raw: one stack a line, its functions separated by semicolons, and then its count.

    >>> shares("main (worker/__main__.py:1);Service.run (worker/service/loop.py:9);encode (worker/protocol/osc.py:7) 3\n_run (a.py:1) 9")
    (Counter({'Service.run': 3, 'osc.encode': 3}), 3)
    """
    found: Counter[str] = Counter()
    total = 0
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [_named(frame) for frame in stack.split(";")]
        if LOOP in functions:
            total += int(count)
            for function in dict.fromkeys(functions[functions.index(LOOP) :]):
                found[function] += int(count)
    return found, total


def _named(frame: str) -> str:
    """The function of a frame; with its module, if it is of no class."""
    function, _, place = frame.partition(" (")
    return function if "." in function else f"{Path(place.partition(':')[0]).stem}.{function}"


def record(program: str, pid: int, seconds: float, form: str, file: Path) -> None:
    command = [
        program,
        "record",
        "--pid",
        str(pid),
        "--rate",
        str(RATE),
        "--duration",
        f"{seconds:g}",
        "--format",
        form,
        "--output",
        str(file),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def titled(picture: str) -> str:
    """The picture under a title of its own, in place of the command with its paths.

    >>> titled('<text id="title" x="1">/usr/bin/py-spy record</text>')
    '<text id="title" x="1">The worker: 64 empty jobs under way, with the journal</text>'
    """
    return re.sub(r'(<text id="title"[^>]*>)[^<]*', r"\1The worker: 64 empty jobs under way, with the journal", picture)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="of each of the two")
    parser.add_argument("--picture", type=Path, default=PICTURE)
    parser.add_argument("--load", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        throughput(options.load, 10**9)
    program = shutil.which("py-spy")
    if program is None:
        sys.exit('py-spy is not installed: pip install ".[bench]"')
    with tempfile.TemporaryDirectory() as directory:
        folder, port = Path(directory), free_port()
        worker = running.start(port, folder, "--state", f"{folder}/state", *BARE)
        load: subprocess.Popen[bytes] | None = None
        try:
            running.wait_until_it_answers(port)
            load = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.parent", "--load", str(port)], cwd=running.REPOSITORY)
            time.sleep(2 * WARM_S)
            record(program, worker.pid, options.seconds, "flamegraph", options.picture)
            options.picture.write_text(titled(options.picture.read_text(encoding="utf-8")), encoding="utf-8")
            record(program, worker.pid, options.seconds, "raw", folder / "raw")
        except subprocess.CalledProcessError as error:
            sys.exit(f"py-spy cannot look into the worker: {error.stderr.strip().splitlines()[-1]}")
        finally:
            for process in (load, worker):
                if process is not None:
                    process.terminate()
                    process.wait(60)
        found, total = shares((folder / "raw").read_text(encoding="utf-8"))
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {total} samples")
    for function, count in found.most_common(SHOWN):
        print(f"{100 * count / total:5.1f} %  {function}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
