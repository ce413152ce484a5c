"""From `serve` to the first answer and to the first job, and what an idle worker costs. Run as `python -m tests.benchmarks.start`.

    pong        from the start of the process until it answers a ping
    first job   from the start of the process to the `ready` of a `noop`
    first image the same for a `write_text`, `draw_circles` job: a child with OpenCV
    page ...    the first two of a worker that also starts its page and discovery, if their packages are installed; the others have none
    python      an interpreter that starts and does nothing, for comparison

Each start takes its turn in one run, and finds its modules compiled, as those of an installed package are: a start before the others sees
to that, and Python is let write what it compiles, into a folder of this run. Idle: processor time of the parent and of all, per second of a
minute in which nothing is asked, in percent of a core; and the parent's memory: what is resident (RSS), and its share of that (PSS, where
the system counts it). Once without page and discovery, and once with both, while nobody looks.
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
import time
from pathlib import Path

import psutil

from tests.benchmarks.roundtrip import BARE
from tests.ports import free_port
from tests.reliability import running
from worker.protocol import osc
from worker.protocol.messages import Command, Hello, Job, Ping, Pong, Ready, Report

#: On a port that nobody has.
PAGE = ("--http", "127.0.0.1:0")
#: How often a question is repeated until the socket is there.
ASK_EVERY_S = 0.005


def ask(udp: socket.socket, questions: tuple[Command, ...], kind: type[Report], within_s: float = 60.0) -> None:
    """Repeats the questions until a report of this kind comes."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(ConnectionError, TimeoutError):
            udp.send(osc.encode_bundle(questions))
            while not any(isinstance(report, kind) for report in osc.decode_reports(udp.recv(65_535))):
                pass
            return
    raise TimeoutError(f"no {kind.__name__} within {within_s:g} s")


def one_start(folder: Path, *options: str) -> tuple[float, float, float]:
    """Seconds to the pong, to the first job that does nothing, and to the first picture."""
    port = free_port()
    began = time.perf_counter()
    process = running.start(port, folder, *options)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.connect(("127.0.0.1", port))
            udp.settimeout(ASK_EVERY_S)
            hello = Hello("start", 0, 0)
            ask(udp, (hello, Ping(1)), Pong)
            pong = time.perf_counter() - began
            udp.settimeout(60)
            ask(udp, (hello, Job("first", "noop")), Ready)
            job = time.perf_counter() - began
            ask(udp, (Job("picture", "draw_circles", (("output", "a.png"), ("count", 1))),), Ready)
            return pong, job, time.perf_counter() - began
    finally:
        process.terminate()
        process.wait(20)


def nothing() -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - began


def idle(folder: Path, seconds: float, *options: str) -> tuple[float, float, str]:
    """Percent of a core that the parent uses, and that all use; the parent's memory in words."""

    def used(processes: list[psutil.Process]) -> float:
        return sum(sum(process.cpu_times()[:2]) for process in processes)

    port = free_port()
    process = running.start(port, folder, *options)
    try:
        running.wait_until_it_answers(port)
        parent = psutil.Process(process.pid)
        time.sleep(5)  # until all children are warm
        everybody = [parent, *parent.children(recursive=True)]
        before = used([parent]), used(everybody)
        time.sleep(seconds)
        after = used([parent]), used(everybody)
        full = parent.memory_full_info()
        share = f" ({full.pss / 2**20:.1f} MB PSS)" if hasattr(full, "pss") else ""
        memory = f"{full.rss / 2**20:.1f} MB{share}"
        return 100 * (after[0] - before[0]) / seconds, 100 * (after[1] - before[1]) / seconds, memory
    finally:
        process.terminate()
        process.wait(20)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--starts", type=int, default=8)
    parser.add_argument("--idle-s", type=float, default=60.0)
    options = parser.parse_args()
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    found: dict[str, list[float]] = {name: [] for name in ("python", "pong", "first job", "first image", "page pong", "page job")}
    with tempfile.TemporaryDirectory() as directory, tempfile.TemporaryDirectory() as compiled:
        folder = Path(directory)
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = compiled
        one_start(folder, "--state", f"{folder}/state")
        for _ in range(options.starts):
            found["python"].append(nothing())
            for name, seconds in zip(
                ("pong", "first job", "first image"), one_start(folder, "--state", f"{folder}/state", *BARE), strict=True
            ):
                found[name].append(seconds)
            for name, seconds in zip(("page pong", "page job"), one_start(folder, "--state", f"{folder}/state", *PAGE)[:2], strict=True):
                found[name].append(seconds)
        print(f"{'':12} {'median ms':>10} {'fastest':>8} {'slowest':>8} {'x python':>9}")
        base = statistics.median(found["python"])
        for name, values in found.items():
            median = statistics.median(values)
            print(f"{name:12} {median * 1e3:10.0f} {min(values) * 1e3:8.0f} {max(values) * 1e3:8.0f} {median / base:9.1f}")
        for name, given in (("bare", BARE), ("page", PAGE)):
            parent, everybody, memory = idle(folder, options.idle_s, "--state", f"{folder}/state", *given)
            print(f"idle, {name}: the parent {parent:.2f} % of a core, with its children {everybody:.2f} %; the parent has {memory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
