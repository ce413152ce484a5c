"""From a picture to the report of what is in it: `track` on a frame file, beside the search alone. `python -m tests.benchmarks.track`.

A program writes pictures with a moving disc into a frame file, as TouchDesigner does with a TOP's pixels (RGBA, 8 bits, bottom row first),
and hears the reports of a worker over UDP. Measured from before the picture is written until its report has come, taking turns:

    search      the same picture read and searched in one process, without a worker: what the report cannot be faster than
    track       the report of a live job, `detect_width` as in the table
    beside      the same while two other jobs keep the pool's children busy all the time
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from td import frames
from tests.reliability import running
from worker.operations.circles import find_circles
from worker.pictures.frames import FrameFile
from worker.protocol import osc
from worker.protocol.messages import Cancel, Hello, Job, Ready, Source, Tracked

SIZES = {"360p": (640, 360), "1080p": (1920, 1080)}
#: The search sees pictures no wider than this.
SEEN = 640
WARM = 10


def picture(size: tuple[int, int], n: int) -> np.ndarray:
    """A disc on a plain ground, as a TOP gives its pixels."""
    width, height = size
    image = np.full((height, width, 4), (40, 40, 40, 255), np.uint8)
    cv2.circle(image, (width // 4 + n * 3 % (width // 2), height // 2), height // 8, (230, 230, 230, 255), -1, cv2.LINE_AA)
    return image


def alone(folder: Path, size: tuple[int, int], count: int, rate: float) -> list[float]:
    """Seconds from before a picture is written until it was searched, all in this process."""
    took = []
    cv2.setNumThreads(1)
    writer = frames.Writer(str(folder / "alone.frame"))
    writer.write(picture(size, 0))
    with FrameFile.open(folder / "alone.frame") as file:
        for n in range(WARM + count):
            image = picture(size, n)
            began = time.perf_counter()
            writer.write(image)
            seen = file.read().image
            if seen.shape[1] > SEEN:
                seen = cv2.resize(seen, (SEEN, round(SEEN * size[1] / size[0])), interpolation=cv2.INTER_AREA)
            find_circles(np.ascontiguousarray(seen), min_radius=10)
            took.append(time.perf_counter() - began)
            time.sleep(max(0.0, 1 / rate - took[-1]))
    writer.close()
    return took[WARM:]


@contextlib.contextmanager
def client(port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**20)
        udp.connect(("127.0.0.1", port))
        udp.settimeout(30)
        udp.send(osc.encode(Hello("benchmark", 0, 0)))
        yield udp


def through(port: int, folder: Path, size: tuple[int, int], count: int, rate: float) -> list[float]:
    """Seconds from before a picture is written until its report has come; pictures that were left out are not among them."""
    job = f"t{time.monotonic_ns()}"
    writer = frames.Writer(str(folder / f"{job}.frame"))
    writer.write(picture(size, 0))
    began: dict[int, float] = {}
    took: list[float] = []
    with client(port) as udp:
        pairs = {"source": f"frame:{job}.frame", "rate": 240, "min_radius": 10, "detect_width": SEEN, "confirm": 1}
        udp.send(osc.encode(Job(job, "track", tuple(pairs.items()))))
        while not any(isinstance(report, Source) and report.word == "Live" for report in osc.decode_reports(udp.recv(65_535))):
            pass

        def hear() -> None:
            with contextlib.suppress(OSError):
                while len(took) < WARM + count:
                    heard = [report for report in osc.decode_reports(udp.recv(65_535)) if isinstance(report, Tracked) and report.id == job]
                    took.extend(time.perf_counter() - began.pop(report.frame) for report in heard if report.frame in began)

        hearing = threading.Thread(target=hear, daemon=True)
        hearing.start()
        n = 0
        while hearing.is_alive() and n < 5 * (WARM + count):
            n += 1
            image = picture(size, n)
            at = time.perf_counter()
            began[writer._sequence // 2 + 1] = at
            writer.write(image)
            time.sleep(max(0.0, 1 / rate - (time.perf_counter() - at)))
        udp.send(osc.encode(Cancel(job)))
        hearing.join(30)
    writer.close(remove=True)
    return took[WARM:]


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", type=float, default=30.0, help="pictures written per second")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    options = parser.parse_args()
    print(f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}\n")
    print("| picture | | p50 | p99 | p50 over the search |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        with running.worker(folder, "--no-journal", "--workers", "2") as port:
            for name in options.sizes:
                asked = SIZES[name], options.frames, options.rate
                search = alone(folder, *asked)
                found = {"search": search, "track": through(port, folder, *asked)}
                with busy(port):
                    found["beside"] = through(port, folder, *asked)
                for what, values in found.items():
                    p50, p99 = shares(values)
                    print(f"| {name} | {what} | {p50 * 1e3:.1f} ms | {p99 * 1e3:.1f} ms | {p50 / shares(search)[0]:.2f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
