"""What was tried to make the worker faster, and did not help. Run as `python -m tests.benchmarks.tried`.

gc          Python's collector in the parent process: as it is, with everything that was imported frozen, at a threshold of 50,000 in
            place of 700, and switched off. Jobs a second with 64 under way, without a journal; the median of the rounds
buffer      a socket that asks the system for a larger receive buffer, and how many of 5,000 small datagrams it keeps while nobody reads

Others were tried once, in turns with the worker as it was (November 2026, 2 cores, load 8 to 14), and taken out again, so they are not
measured here:

- to give way (`sched_yield`) each time the parent has looked for a result in vain (`worker.executors.spin`): on a machine where others want
  the core they get it for milliseconds. p95 of an empty job 4.0 ms in place of 0.6
- a child that always stays awake after a task: 1.2 times as many jobs a second with 64 under way, but one at a time an empty job takes
  0.36 ms in place of 0.25, because three processes want two cores. It does so now only while tasks come that fast
- to take one datagram from the socket if they come one by one, and so not to hear that there is no other: p50 as before, and 5 % fewer jobs
  a second
- to send the status behind a final in a datagram of its own, so that the final leaves earlier: 3 % longer, because of one more datagram
- a shorter way for a task in the child: hot it takes 4 us, the other 17 are cold caches
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.roundtrip import throughput
from tests.ports import free_port
from tests.reliability import running

SETTINGS = {
    "as it is": "",
    "frozen": "import worker.cli.serve, worker.service.serve; gc.collect(); gc.freeze()",
    "threshold 50,000": "gc.set_threshold(50_000)",
    "off": "gc.disable()",
}
DATAGRAM = b"x" * 60
SENT = 5_000
_FORCE = 33  # SO_RCVBUFFORCE of Linux, which only root may use


@contextlib.contextmanager
def worker(setting: str) -> Iterator[int]:
    """A worker whose parent process has begun with these words. Gives its port."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["serve", "--port", str(port), "--root", folder, "--no-journal", "--nice", "0", "--text-port", "1", "--number-port", "1"]
        lines = (
            "import gc, runpy, sys",
            setting or "pass",
            f"sys.argv = {['worker', *options]!r}",
            "runpy.run_module('worker', run_name='__main__')",
        )
        script = Path(folder, "start.py")
        script.write_text("if __name__ == '__main__':\n    " + "\n    ".join(lines), encoding="utf-8")
        with Path(folder, "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, str(script)], cwd=running.REPOSITORY, env=_environment(), stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
            try:
                running.wait_until_it_answers(port)
                yield port
            finally:
                process.terminate()
                process.wait(20)


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(running.REPOSITORY)}


def collector(jobs: int, rounds: int) -> None:
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, setting in SETTINGS.items():
            with worker(setting) as port:
                throughput(port, jobs // 4)
                rates[name].append(throughput(port, jobs))
    base = statistics.median(rates["as it is"])
    for name, measured in rates.items():
        rate = statistics.median(measured)
        spread = (max(measured) - min(measured)) / rate
        print(f"gc {name:20} {rate:8.0f} jobs/s   {rate / base:5.2f} of it as it is; the rounds differ by {spread:.0%}")


def buffer() -> None:
    choices: list[tuple[str, int | None, int]] = [("as it is", None, socket.SO_RCVBUF), ("4 MB asked for", 4 * 2**20, socket.SO_RCVBUF)]
    if platform.system() == "Linux":
        choices.append(("4 MB by force, as root", 4 * 2**20, _FORCE))
    for name, wanted, option in choices:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as reader, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            reader.bind(("127.0.0.1", 0))
            try:
                if wanted:
                    reader.setsockopt(socket.SOL_SOCKET, option, wanted)
            except PermissionError:
                print(f"buffer {name:24} not allowed for this user")
                continue
            for _ in range(SENT):
                sender.sendto(DATAGRAM, reader.getsockname())
            reader.setblocking(False)
            kept = 0
            with contextlib.suppress(BlockingIOError):
                while reader.recv(100):
                    kept += 1
            got = reader.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 1024
            print(f"buffer {name:24} {got:6} kB given, {kept:5} of {SENT} datagrams kept")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    collector(options.jobs, options.rounds)
    buffer()
    return 0


if __name__ == "__main__":
    sys.exit(main())
