"""Folders of photographs of 12 megapixel through the worker, beside OpenCV alone. Run as `python -m tests.benchmarks.photographs`.

    convert     to 640 pixels wide
    find_colors with its defaults
    filter      "blur 3"
    loop        one process calls OpenCV for one photograph after the other: `imread`, `resize` or `GaussianBlur`, `imwrite`. There is no
                find_colors in OpenCV, so that one is ours
    pool        `ProcessPoolExecutor` with a process per core over the same calls
    ours, pool  `ProcessPoolExecutor` over the function that the worker's children call for a photograph
    worker      one job for the whole folder, from its datagram to its `ready`, with the journal; it has come to rest before

The photographs are made from the pictures in tests/data by their number, with noise as of a camera. `CPU` is what all processes worked, and
`MB` the most memory that they had together, looked at every 50 ms. All have warmed up with two photographs.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import multiprocessing
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks import photos, seed
from tests.reliability import running
from worker.protocol.messages import Job

WIDTH, HEIGHT = 4000, 3000
SMALL = 640
OPERATIONS = ("convert", "find_colors", "filter")
WHO = ("loop", "pool", "ours, pool", "worker")
QUALITY = 90
AIMS = {"pool": 0.97}
_LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one folder: seconds, seconds of work, and the most memory at a time."""

    wall_s: float
    cpu_s: float
    most_mb: float


# ------------------------------------------------------------------------------------------------------- OpenCV alone


def convert(source: str, target: str) -> None:
    import cv2

    image: Any = cv2.imread(source)
    height = round(image.shape[0] * SMALL / image.shape[1])
    cv2.imwrite(target, cv2.resize(image, (SMALL, height), interpolation=cv2.INTER_AREA), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def find_colors(source: str, _target: str) -> int:
    import cv2

    from worker.catalog.colors import FindColors
    from worker.operations import colors

    image: Any = cv2.imread(source)
    return len(colors.find_colors(image, FindColors(image=source)).rows)


def blur(source: str, target: str) -> None:
    import cv2

    image: Any = cv2.imread(source)
    cv2.imwrite(target, cv2.GaussianBlur(image, (0, 0), 3), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


PLAIN: dict[str, Callable[[str, str], object]] = {"convert": convert, "find_colors": find_colors, "filter": blur}
PAIRS: dict[str, tuple[tuple[str, int | float | str], ...]] = {
    "convert": (("output", "out/{name}.jpg"), ("width", SMALL)),
    "find_colors": (),
    "filter": (("output", "out/{name}.jpg"), ("steps", "blur 3")),
}


def one_of_ours(operation: str, root: str, source: str) -> None:
    """What a child does for one photograph of a batch."""
    from worker.catalog.table import CATALOG
    from worker.core.jobs import Failure, Part, Phase, Task
    from worker.files.paths import FileRules
    from worker.tasks.run import run_task

    params = CATALOG.find(operation).params(image=source, **dict(PAIRS[operation]))
    outcome = run_task(
        Task(1, operation, params, phase=Phase.PART, part=Part(0, 0, 1, (source,))), FileRules((Path(root),)), lambda _: None
    )
    assert not isinstance(outcome, Failure), outcome


# ------------------------------------------------------------------------------------------------------- contestants


def contestant(who: str, operation: str, root: str, names: list[str], pipe: Connection) -> None:
    """One of the first three, in a process of its own: says when it is warm, waits for the start, and says when it is done."""
    import cv2

    cv2.setNumThreads(1 if who != "loop" else -1)
    call = functools.partial(one_of_ours, operation, root) if who == "ours, pool" else functools.partial(_plain, operation, root)
    if who == "loop":
        _run(pipe, [call(name) for name in names[:2]] and (lambda: [call(name) for name in names]))
        return
    with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn"), initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        _run(pipe, list(pool.map(call, names[:2] * (os.cpu_count() or 1))) and (lambda: list(pool.map(call, names))))


def _run(pipe: Connection, work: Callable[[], object]) -> None:
    pipe.send("warm")
    pipe.recv()
    work()
    pipe.send("done")
    pipe.recv()


def _plain(operation: str, root: str, name: str) -> None:
    PLAIN[operation](f"{root}/{name}", f"{root}/out/{Path(name).stem}.jpg")


def in_processes(who: str, operation: str, root: Path, names: list[str]) -> Spent:
    near, far = multiprocessing.get_context("spawn").Pipe()
    process = multiprocessing.get_context("spawn").Process(target=contestant, args=(who, operation, str(root), names, far))
    if who != "loop":  # as our children have it: processes that share the cores do not start threads for each, too
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
    process.start()
    os.environ.pop("OPENBLAS_NUM_THREADS", None)
    far.close()
    near.recv()
    spent = measured(psutil.Process(process.pid), lambda: (near.send("go"), near.recv()))
    near.send("end")
    process.join()
    return spent


def in_the_worker(operation: str, root: Path, _names: list[str]) -> Spent:
    options = ("--nice", "0")  # whatever else the machine does hits all alike
    with tempfile.TemporaryDirectory() as state, running.worker(root, "--state", state, *options) as port, seed._client(port) as udp:
        udp.settimeout(3600)
        seed.come_to_rest(port)
        process = seed.working(port)[0]
        pairs = (("timeout_ms", 3_600_000), *PAIRS[operation])
        warm = Job(f"warm-{time.time_ns()}", operation, (("image", "warm"), *pairs))
        seed.ours(udp, warm)
        job = Job(f"photos-{time.time_ns()}", operation, (("image", "shots"), *pairs))
        return measured(process, lambda: seed.ours(udp, job))


def measured(process: psutil.Process, work: Callable[[], object]) -> Spent:
    with watched(process) as most:
        before, started = _cpu_s(process), time.perf_counter()
        work()
        wall_s = time.perf_counter() - started
        return Spent(wall_s, _cpu_s(process) - before, most())


def _family(process: psutil.Process) -> list[psutil.Process]:
    return [process, *process.children(recursive=True)]


def _sum(process: psutil.Process, figure: Callable[[psutil.Process], float]) -> float:
    """Over the process and its children. One may end while it is looked at."""
    total = 0.0
    for one in _family(process):
        with contextlib.suppress(psutil.NoSuchProcess):
            total += figure(one)
    return total


def _cpu_s(process: psutil.Process) -> float:
    return _sum(process, lambda one: float(sum(one.cpu_times()[:2])))


@contextmanager
def watched(process: psutil.Process) -> Iterator[Callable[[], float]]:
    """Gives the most memory that the process and its children have had, in MB; shared pages count once for each."""
    most, ended = 0.0, threading.Event()

    def look() -> None:
        nonlocal most
        while not ended.wait(_LOOK_EVERY_S):
            most = max(most, _sum(process, lambda one: float(one.memory_info().rss)) / 2**20)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield lambda: most
    finally:
        ended.set()
        thread.join()


# ------------------------------------------------------------------------------------------------------- the table


def race(count: int, rounds: int, width: int, height: int) -> dict[str, dict[str, Spent]]:
    """For each operation and contestant the round with the least wall time of this contestant."""
    best: dict[str, dict[str, Spent]] = {operation: {} for operation in OPERATIONS}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos.folder_of(root / "shots", count, width, height)
        photos.folder_of(root / "warm", 2, width, height)
        (root / "out").mkdir()
        names = [f"shots/p{number}.jpg" for number in range(count)]
        for turn in range(rounds):
            for operation in OPERATIONS:
                for who in (*WHO[turn % len(WHO) :], *WHO[: turn % len(WHO)]):
                    spent = in_the_worker(operation, root, names) if who == "worker" else in_processes(who, operation, root, names)
                    if who not in best[operation] or spent.wall_s < best[operation][who].wall_s:
                        best[operation][who] = spent
    return best


def show(best: dict[str, dict[str, Spent]], count: int) -> None:
    print(
        f"{'':12} {'':10} {'ms each':>8} {'CPU ms':>8} {'MB':>6} {'CPU, loop over it':>18} {'rate over pool':>15} {'over ours, pool':>16}"
    )
    for operation, spent in best.items():
        for who in WHO:
            one = spent[who]
            cheaper = spent["loop"].cpu_s / one.cpu_s if one.cpu_s else float("nan")  # the system counts in steps of 10 ms
            rates = f"{spent['pool'].wall_s / one.wall_s:15.2f} {spent['ours, pool'].wall_s / one.wall_s:16.2f}"
            each = f"{one.wall_s / count * 1000:8.1f} {one.cpu_s / count * 1000:8.1f} {one.most_mb:6.0f}"
            print(f"{operation:12} {who:10} {each} {cheaper:18.2f} {rates}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--width", type=int, default=WIDTH)
    parser.add_argument("--height", type=int, default=HEIGHT)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    options = parser.parse_args()
    machine = f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    print(f"{machine}; {options.count} photographs of {options.width}x{options.height}")
    best = race(options.count, options.rounds, options.width, options.height)
    show(best, options.count)
    if options.json:
        options.json.write_text(json.dumps({name: {who: asdict(one) for who, one in row.items()} for name, row in best.items()}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
