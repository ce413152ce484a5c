"""From a picture to the report of what is in it: `track` on a frame file, beside the search alone. `python -m tests.benchmarks.track`.

A program writes pictures with a moving disc into a frame file, as TouchDesigner does with a TOP's pixels (RGBA, 8 bits, bottom row first),
and hears the reports of a worker over UDP. Measured from before the picture is written until its report has come:

    search      the same picture written, read and searched in one process, without a worker: what the report cannot be faster than
    track       the report of a live job, `detect_width` as in the table
    beside      the same while two other jobs keep the pool's children busy all the time
    overlay     as track, which also writes the picture with what it sees as a frame; the next picture comes while it still draws

The ways take turns, `--rounds` times; "over the search" is the median of the turns, because each has its own load. The next picture is
written after the report of the one before, or after a second without one. Otherwise a picture that comes while another is searched would
wait for it, and that would be measured. `--rate` writes so many a second instead, as a show does; then the newest wins, and the last
column says how many were left out.

Below are the parts of `search`: writing, reading (turned and in OpenCV's order), making smaller and searching; and what `track` adds: until
the picture is noticed and between the processes, and the report over UDP.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import platform
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from td import frames
from tests.reliability import running
from worker.catalog.track import Track
from worker.executors import memory
from worker.operations.circles import find_circles
from worker.operations.track import view_of
from worker.pictures.frames import FrameFile
from worker.protocol import osc
from worker.protocol.messages import Cancel, Failed, Hello, Job, Ready, Source, Tracked

SIZES = {"360p": (640, 360), "720p": (1280, 720), "1080p": (1920, 1080), "2160p": (3840, 2160)}
PARTS = ("write", "read", "smaller", "find")
#: The search sees pictures no wider than this.
SEEN = 640
WARM = 5
#: A picture that nobody reports within this time was left out.
LEFT_OUT_S = 1.0
#: A process of a live job imports OpenCV first.
PATIENCE_S = 120.0


def picture(size: tuple[int, int], n: int) -> np.ndarray:
    """A disc on a plain ground, as a TOP gives its pixels."""
    width, height = size
    image = np.full((height, width, 4), (40, 40, 40, 255), np.uint8)
    cv2.circle(image, (width // 4 + n * 3 % (width // 2), height // 2), height // 8, (230, 230, 230, 255), -1, cv2.LINE_AA)
    return image


@functools.cache
def pictures(size: tuple[int, int]) -> list[np.ndarray]:
    """Some of them, drawn before: drawing takes longer than all the rest, and a processor of its own."""
    return [picture(size, 40 * n) for n in range(8)]


def alone(folder: Path, size: tuple[int, int], count: int) -> dict[str, list[float]]:
    """Seconds from before a picture is written until it was searched, all in this process, and of each part of it."""
    took: dict[str, list[float]] = {name: [] for name in ("all", *PARTS)}
    cv2.setNumThreads(1)
    memory.keep_pages()  # as a live job does
    view = view_of(Track(source="-", detect_width=SEEN), size, None)
    writer = frames.Writer(str(folder / "alone.frame"))
    writer.write(pictures(size)[0])
    with FrameFile.open(folder / "alone.frame") as file:
        for n in range(WARM + count):
            image = pictures(size)[n % len(pictures(size))]
            times = [time.perf_counter()]
            writer.write(image)
            times.append(time.perf_counter())
            found = file.read().image
            times.append(time.perf_counter())
            seen = view.seen(found)
            times.append(time.perf_counter())
            find_circles(seen, min_radius=10)
            times.append(time.perf_counter())
            took["all"].append(times[-1] - times[0])
            for name, before, after in zip(PARTS, times, times[1:], strict=False):
                took[name].append(after - before)
    writer.close(remove=True)
    return {name: values[WARM:] for name, values in took.items()}


@contextlib.contextmanager
def client(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        udp.connect(("127.0.0.1", port))
        udp.settimeout(30)
        udp.send(osc.encode(Hello("benchmark", 0, 0)))
        yield udp


@dataclass
class Heard:
    """What the reports of a live job say.

    Attributes:
        took: seconds from before a picture is written until its report has come.
        after: seconds of it after the worker had the report ready to be sent.
        left_out: pictures that have no report.
        ratios: of each turn, its p50 over that of the search in the same turn.
    """

    took: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    left_out: int = 0
    ratios: list[float] = field(default_factory=list)

    def add(self, other: Heard, search: list[float]) -> None:
        if other.took:
            self.ratios.append(shares(other.took)[0] / shares(search)[0])
        self.took += other.took
        self.after += other.after
        self.left_out += other.left_out


def through(port: int, folder: Path, size: tuple[int, int], count: int, rate: float, *, overlay: str = "") -> Heard:
    """What `count` pictures take through a live job; with a rate of 0 each is written after the report of the one before."""
    job = f"t{time.monotonic_ns()}"
    writer = frames.Writer(str(folder / f"{job}.frame"))
    writer.write(pictures(size)[0])
    began: dict[int, float] = {}
    heard = Heard()
    came = threading.Semaphore(0)
    ended = threading.Event()
    with client(port) as udp:
        pairs = {"source": f"frame:{job}.frame", "rate": 240, "min_radius": 10, "detect_width": SEEN, "confirm": 1}
        pairs |= {"overlay": overlay} if overlay else {}
        udp.send(osc.encode(Job(job, "track", tuple(pairs.items()))))
        _wait_until_live(udp, job)

        def hear() -> None:
            udp.settimeout(0.2)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    for report in osc.decode_reports(udp.recv(65_535)):
                        if isinstance(report, Tracked) and report.id == job and report.frame in began:
                            took = time.perf_counter() - began.pop(report.frame)
                            heard.took.append(took)
                            heard.after.append(max(0.0, took - report.delay_ms / 1000))
                            came.release()

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        for n in range(WARM + count):
            image = pictures(size)[n % len(pictures(size))]
            at = time.perf_counter()
            began[writer._sequence // 2 + 1] = at
            writer.write(image)
            if rate:
                time.sleep(max(0.0, 1 / rate - (time.perf_counter() - at)))
            else:
                came.acquire(timeout=LEFT_OUT_S)
        time.sleep(LEFT_OUT_S if began else 0.0)
        ended.set()
        hearing.join(30)
        udp.send(osc.encode(Cancel(job)))
    writer.close(remove=True)
    return Heard(heard.took[WARM:], heard.after[WARM:], len(began))


def _wait_until_live(udp: socket.socket, job: str) -> None:
    """Raises SystemExit if the job ends instead, and TimeoutError with what was heard of it last."""
    last: object = None
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(TimeoutError):
            for report in osc.decode_reports(udp.recv(65_535)):
                if getattr(report, "id", "") == job:
                    last = report
                if isinstance(last, Failed):
                    sys.exit(f"track failed: {last.message}")
                if isinstance(last, Source) and last.word == "Live":
                    return
    raise TimeoutError(f"no picture was seen in {PATIENCE_S:g} s; the last report was {last}")


@contextlib.contextmanager
def busy(port: int, jobs: int = 2) -> Iterator[None]:
    """Other jobs all the time: as soon as one is ready, the next is sent."""
    ended = threading.Event()

    def work(number: int) -> None:
        with client(port) as udp:
            n = 0
            while not ended.is_set():
                n += 1
                job = f"b{number}-{n}"  # finals come twice, so its own is waited for
                udp.send(osc.encode(Job(job, "draw_circles", (("output", f"b{number}-{{n}}.png"), ("count", 20)))))
                while not any(isinstance(report, Ready) and report.id == job for report in osc.decode_reports(udp.recv(65_535))):
                    pass

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(jobs)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        for thread in threads:
            thread.join(30)


def shares(values: list[float]) -> tuple[float, float]:
    ordered = sorted(values)
    return ordered[len(ordered) // 2], ordered[int(len(ordered) * 0.99)]


def table(name: str, searched: dict[str, list[float]], heard: dict[str, Heard]) -> None:
    all_of_them = {"search": Heard(searched["all"], ratios=[1.0]), **heard}
    for what, one in all_of_them.items():
        p50, p99 = shares(one.took)
        print(f"| {name} | {what} | {p50 * 1e3:.1f} ms | {p99 * 1e3:.1f} ms | {statistics.median(one.ratios):.2f} | {one.left_out} |")


def parts(name: str, searched: dict[str, list[float]], track: Heard) -> str:
    """Where the time goes, as medians."""
    middle = {part: shares(searched[part])[0] for part in PARTS}
    after = shares(track.after)[0]
    rest = shares(track.took)[0] - shares(searched["all"])[0] - after
    return "| " + " | ".join([name, *(f"{value * 1e3:.1f}" for value in (*middle.values(), rest, after))]) + " |"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300, help="of each way")
    parser.add_argument("--rounds", type=int, default=10, help="turns that the ways take")
    parser.add_argument("--rate", type=float, default=0.0, help="pictures written per second; 0 = each after the report of the one before")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| picture | | p50 | p99 | p50 over the search | left out |")
    print("|---|---|---|---|---|---|")
    ends = []
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        with running.worker(folder, "--no-journal", "--workers", "2") as port:
            for name in options.sizes:
                size, count = SIZES[name], max(1, options.frames // options.rounds)
                searched: dict[str, list[float]] = {part: [] for part in ("all", *PARTS)}
                heard = {"track": Heard(), "beside": Heard(), "overlay": Heard()}
                for _ in range(options.rounds):
                    turn = alone(folder, size, count)
                    for part, values in turn.items():
                        searched[part] += values
                    heard["track"].add(through(port, folder, size, count, options.rate), turn["all"])
                    with busy(port):
                        heard["beside"].add(through(port, folder, size, count, options.rate), turn["all"])
                    heard["overlay"].add(through(port, folder, size, count, options.rate, overlay="frame:overlay.frame"), turn["all"])
                table(name, searched, heard)
                ends.append(parts(name, searched, heard["track"]))
    print("\n| picture | " + " | ".join((*PARTS, "until it is noticed, and between processes", "the report")) + " |")
    print("|---|" + "---|" * (len(PARTS) + 2))
    print("\n".join(ends))
    return 0


if __name__ == "__main__":
    sys.exit(main())
