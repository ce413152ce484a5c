"""The two jobs that this project began with, beside the thread that did them before. Run as `python -m tests.benchmarks.seed`.

    circles     500 pictures of 512x512 with one disc each. The thread draws them with cv2 and writes them with `cv2.imwrite`
    text        100,002 lines. The thread puts the text together and writes it with `open(...).write`

The thread runs in a process of its own that does nothing else, with cv2 imported before the clock starts. Our time is from the datagram of
the job to the datagram of its `ready`, through a real worker with its journal. The two take turns.
    at once     the worker has just answered its first ping, so its children are still importing cv2
    first       the first job of a worker that was started some time before and has come to rest, as an artist's has
    warm        every later one
The thread has no such difference but for its first call. `CPU` is what all processes of a contestant worked: divided by the cores it is
what an idle machine would take, so it says something on a busy one, too.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import platform
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import psutil

from tests.reliability import running
from worker.protocol import osc
from worker.protocol.messages import Failed, Hello, Job, Ready

COUNT = 500
SIZE = 512
RADIUS = 63
LINES = 100_000
LONGEST_S = 60.0
WHO = ("thread", "ours")
STATES = ("at once", "first", "warm")
AIMS = {"circles": 1.8, "text": 3.0}
#: A worker that did nothing for this time has come to rest.
REST_S = 1.0

#: Real seconds, and those of work.
Spent = tuple[float, float]
Measured = dict[tuple[str, str, str], list[Spent]]


def centers() -> list[tuple[int, int]]:
    """The same places for both: y of one picture is x of the next."""
    dice = random.Random(7)
    numbers = [int(dice.random() * SIZE) for _ in range(COUNT + 1)]
    return list(itertools.pairwise(numbers))


def draw(folder: Path) -> None:
    """The thread's first job."""
    import cv2
    import numpy as np

    for n, center in enumerate(centers()):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        cv2.circle(image, center, RADIUS, (0, 0, 255), -1)
        cv2.imwrite(str(folder / f"thread{n}.png"), image)


def write(folder: Path) -> None:
    """The thread's second job."""
    text = "Start Working Function"
    for n in range(LINES):
        text += f"\nFor loop {n} entry"
    text += "\nEnding working Function"
    with (folder / "thread.txt").open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def thread(pipe: Connection, folder: Path) -> None:
    """The other process: runs each job that it is asked for in a thread, and says how long that took."""
    import cv2

    cv2.setNumThreads(1)
    jobs = {"circles": draw, "text": write}
    while True:
        job = threading.Thread(target=jobs[pipe.recv()], args=(folder,))
        started, worked = time.perf_counter(), time.process_time()
        job.start()
        job.join()
        pipe.send((time.perf_counter() - started, time.process_time() - worked))


def job(name: str, number: int) -> Job:
    """The same work as a command."""
    if name == "text":
        lines = (("header", "Start Working Function"), ("line", "For loop {n} entry"), ("footer", "Ending working Function"))
        return Job(f"seed-{os.getpid()}-{number}", "write_text", (("output", "ours.txt"), ("count", LINES), *lines))
    places = " ".join(f"{x} {y}" for x, y in centers())
    look = (("radius", RADIUS), ("color", "#ff0000"), ("thickness", -1), ("width", SIZE), ("height", SIZE))
    return Job(f"seed-{os.getpid()}-{number}", "draw_circles", (("output", "ours{n}.png"), ("count", COUNT), *look, ("centers", places)))


def ours(udp: socket.socket, command: Job) -> float:
    """From the job to its `ready`. Every report in between is read and decoded, as a client would."""
    started = time.perf_counter()
    udp.send(osc.encode(command))
    while True:
        for report in osc.decode_reports(udp.recv(65_535)):
            if isinstance(report, Ready | Failed) and report.id == command.id:
                if isinstance(report, Failed):
                    raise RuntimeError(report.message)
                return time.perf_counter() - started


def working(port: int) -> list[psutil.Process]:
    """The worker on this port and its children."""
    (worker,) = [one for one in psutil.Process().children() if str(port) in one.cmdline()]
    return [worker, *worker.children(recursive=True)]


def worked_s(processes: list[psutil.Process]) -> float:
    return sum(sum(process.cpu_times()[:2]) for process in processes)


def measure(rounds: int, warm: int, folder: Path) -> Measured:
    """What was spent, by who, job, and whether it was the first one."""
    measured: Measured = defaultdict(list)
    numbers = itertools.count(1)
    for _ in range(rounds):
        for name in ("circles", "text"):
            for state, spent in _of_the_thread(name, warm, folder):
                measured["thread", name, state].append(spent)
            for state, spent in _of_ours(name, warm, folder, numbers):
                measured["ours", name, state].append(spent)
    return measured


def _of_the_thread(name: str, warm: int, folder: Path) -> Iterator[tuple[str, Spent]]:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    process = context.Process(target=thread, args=(far, folder), daemon=True)
    process.start()
    for state in ["first", *["warm"] * warm]:
        near.send(name)
        spent = near.recv()
        yield state, spent
        if state == "first":
            yield "at once", spent
    process.kill()
    process.join()


def _of_ours(name: str, warm: int, folder: Path, numbers: Iterator[int]) -> Iterator[tuple[str, Spent]]:
    for states in (["at once"], ["first", *["warm"] * warm]):
        options = ("--nice", "0")  # whatever else the machine does hits both alike
        with tempfile.TemporaryDirectory() as state, running.worker(folder, "--state", state, *options) as port, _client(port) as udp:
            if states[0] == "first":
                come_to_rest(port)
            for one in states:
                processes = working(port)
                before = worked_s(processes)
                seconds = ours(udp, job(name, next(numbers)))
                yield one, (seconds, worked_s(processes) - before)


def come_to_rest(port: int) -> None:
    """Waits until the worker has started its children and does nothing any more."""
    deadline = time.monotonic() + LONGEST_S
    before, since = -1.0, time.monotonic()
    while time.monotonic() - since < REST_S:
        processes = working(port)
        if (now := worked_s(processes)) > before + 0.02 or len(processes) < 3:
            before, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise TimeoutError("The worker does not come to rest.")
        time.sleep(0.05)


def _client(port: int) -> socket.socket:
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.settimeout(LONGEST_S)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
    udp.connect(("127.0.0.1", port))
    udp.send(osc.encode(Hello("benchmark", 0, 0)))
    return udp


def same(folder: Path) -> bool:
    """Whether both have made the same: the text byte for byte, the pictures pixel for pixel."""
    import cv2

    texts = (folder / "thread.txt").read_bytes() == (folder / "ours.txt").read_bytes()
    pairs = ([cv2.imread(str(folder / f"{who}{n}.png")) for who in WHO] for n in range(COUNT))
    return texts and all((ours == theirs).all() for ours, theirs in pairs)


def show(measured: Measured) -> None:
    print(f"{'':10} {'':8} {'thread ms':>10} {'ours ms':>10} {'ratio':>8} {'aim':>6} {'thread CPU ms':>14} {'ours CPU ms':>12}")
    for name in ("circles", "text"):
        for state in STATES:
            theirs, our = ([statistics.median(kind) * 1000 for kind in zip(*measured[who, name, state], strict=True)] for who in WHO)
            aim = f"{AIMS[name]}x" if state != "at once" else ""
            times = f"{theirs[0]:10.1f} {our[0]:10.1f} {theirs[0] / our[0]:7.2f}x {aim:>6}"
            print(f"{name:10} {state:8} {times} {theirs[1]:14.0f} {our[1]:12.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", type=int, default=4)
    options = parser.parse_args()
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        measured = measure(options.rounds, options.warm, Path(folder))
        if not same(Path(folder)):
            print("The two have made different files.")
            return 1
    show(measured)
    return 0


if __name__ == "__main__":
    sys.exit(main())
