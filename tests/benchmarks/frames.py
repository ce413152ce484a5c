"""Pixels from one program to another. Run as `python -m tests.benchmarks.frames`.

    python -m tests.benchmarks.frames                 1080p and 2160p, RGBA of 8 bits, the bottom row first, as a TOP gives them
    python -m tests.benchmarks.frames --rounds 9      so many turns of each way

Each way hands the same pixels over, in turn into one of four places. *out* is what TouchDesigner's thread does. *in* is what a child does
until OpenCV can use them (BGRA, the top row first). *copied* is what a reader does that wants them as they are.
    copy           one array into another, `np.copyto`: what memory allows; in: turned and converted as tutorials do it
    frame          a slot of a frame file: td/frames.py writes, worker/pictures/frames.py reads, td/frames.py copies
    mapped         a file mapped by both, without any sign of what is whole
    shared memory  `multiprocessing.shared_memory`, without any such sign
    JPEG, PNG      a file written and read by OpenCV with its own settings

All figures are processor time of one thread, user and system, as multiples of the copy of the same size. The ways take turns, and the
figure is the median. The last lines are the time of our scripts in a frame of TouchDesigner, on the stand-in and with a real worker: a job
is submitted in each frame, with a TOP's pixels or with a small file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import itertools
import mmap
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from multiprocessing import shared_memory
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.td.conftest import Project, Worker, load
from worker.executors import memory
from worker.pictures.frames import FrameFile

td_frames = load("frames")
SIZES = {"1080p": (1080, 1920), "2160p": (2160, 3840)}
AIM = 1.3
LIMIT_MS = 0.3
RUN = 40  # frames in a row with pixels, then without
PLACES = 4
#: Of each way: what it does out, in, and copied.
Way = tuple[Callable[[], object], Callable[[], object], Callable[[], object] | None]


def picture(height: int, width: int) -> NDArray[np.uint8]:
    """Something between a photograph and a plain colour, RGBA."""
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(1).normal(0, 4, (height, width))
    waves = [127 + 100 * np.sin(x / (90 + 20 * n) + y / 150) + noise for n in range(3)]
    return np.dstack([*waves, np.full((height, width), 255)]).clip(0, 255).astype(np.uint8)


def turned(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.flip(pixels, 0), cv2.COLOR_RGBA2BGRA), np.uint8)


@contextlib.contextmanager
def ways(pixels: NDArray[np.uint8], folder: Path) -> Iterator[dict[str, Way]]:
    """All ways, ready to be used again and again."""
    shape = (PLACES, *pixels.shape)
    writer = td_frames.Writer(str(folder / "a.frame"), PLACES)
    writer.write(pixels)
    reader = td_frames.Reader(str(folder / "a.frame"))
    (folder / "mapped").write_bytes(pixels.tobytes() * PLACES)
    shared = shared_memory.SharedMemory(create=True, size=pixels.nbytes * PLACES)
    with FrameFile.open(folder / "a.frame") as file, (folder / "mapped").open("r+b") as opened:
        places = {
            "copy": np.zeros(shape, np.uint8),
            "mapped": np.frombuffer(mmap.mmap(opened.fileno(), 0), np.uint8).reshape(shape),
            "shared memory": np.ndarray(shape, np.uint8, shared.buf),
        }
        private, counter = np.empty_like(pixels), itertools.count()

        def newest() -> None:
            reader.sequence = 0
            assert reader.newest() is not None

        def of_array(place: NDArray[np.uint8]) -> Way:
            return (
                lambda: np.copyto(place[next(counter) % PLACES], pixels),
                lambda: turned(place[next(counter) % PLACES]),
                lambda: np.copyto(private, place[next(counter) % PLACES]),
            )

        def of_picture(name: str) -> Way:
            path = str(folder / name)
            return (lambda: cv2.imwrite(path, turned(pixels)), lambda: cv2.imread(path, cv2.IMREAD_UNCHANGED), None)

        arrays = {name: of_array(place) for name, place in places.items()}
        frame = {"frame": (lambda: writer.write(pixels), file.read, newest)}
        yield {**frame, **arrays, "JPEG": of_picture("a.jpg"), "PNG": of_picture("a.png")}
        places.clear()
        arrays.clear()
    writer.close()
    reader.close()
    with contextlib.suppress(BufferError):  # an array on it may still be known to the collector
        shared.close()
    shared.unlink()


def took(do: Callable[[], object]) -> float:
    started = time.thread_time()
    do()
    return time.thread_time() - started


def measured(height: int, width: int, rounds: int) -> dict[str, list[float | None]]:
    """For each way the medians of out, in and copied, in seconds; None for what it does not do."""
    pixels = picture(height, width)
    with tempfile.TemporaryDirectory() as folder, ways(pixels, Path(folder)) as all_ways:
        seconds: dict[str, list[list[float]]] = {name: [[], [], []] for name in all_ways}
        for turn in range(rounds + 1):
            for name, steps in all_ways.items():
                slow = name in ("JPEG", "PNG")
                for kind, do in enumerate(steps):
                    for _ in range(1 if slow else 5):
                        if do is not None and turn and not (slow and turn > max(3, rounds // 4)):
                            seconds[name][kind].append(took(do))
                        elif do is not None and not turn:
                            do()
    return {name: [statistics.median(times) if times else None for times in kinds] for name, kinds in seconds.items()}


def show(name: str, medians: dict[str, list[float | None]]) -> float:
    """Prints a table of multiples of the copy; returns what a frame out costs."""
    copy = medians["copy"][0] or 1.0
    print(f"{name}, a copy takes {copy * 1e3:.2f} ms")
    print(f"{'x the copy':<16} {'out':>7} {'in':>7} {'copied':>7}")
    for way, kinds in medians.items():
        print(f"{way:<16} " + " ".join("      -" if seconds is None else f"{seconds / copy:7.2f}" for seconds in kinds))
    print()
    return (medians["frame"][0] or 0) / copy


# --------------------------------------------------------------------------------------------- our scripts in a frame of TouchDesigner


class _Patch:
    @staticmethod
    def setitem(mapping: Any, key: Any, value: Any) -> None:
        mapping[key] = value


def scripts(frames: int) -> float:
    """Prints what a job in each frame costs TouchDesigner, with pixels beyond their copy and without; the difference in milliseconds."""
    spent: dict[str, list[float]] = {"top": [], "image": []}
    copies: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        root, state = Path(folder, "root"), Path(folder, "state")
        root.mkdir()
        state.mkdir()
        cv2.imwrite(str(root / "small.png"), np.zeros((8, 8), np.uint8))
        worker = Worker(root, state).start()
        with contextlib.redirect_stdout(io.StringIO()):
            project = Project(2025, worker, monkeypatch=_Patch)
        project.component.par.Root = str(root)
        top = project.network.create("nullTOP", "null1")
        top.image = picture(*SIZES["1080p"])
        project.td.frames(120)
        copied = 0.0

        class Timed(mmap.mmap):
            def __setitem__(self, place: Any, value: Any) -> None:
                nonlocal copied
                seconds = took(lambda: super(Timed, self).__setitem__(place, value))
                copied += seconds if len(value) > td_frames.PAGE else 0

        project.component.op("frames").module.mmap = types.SimpleNamespace(mmap=Timed)
        values: dict[str, Any] = {"top": top, "image": "small.png"}
        for number in range(2 * frames):
            kind = ("top", "image")[number // RUN % 2]
            began, copied = time.monotonic(), 0.0
            submit = took(lambda kind=kind: project.component.Submit("measure", replace="live", priority=0, **{kind: values[kind]}))
            project.td.frame()  # with the pixels of the job before
            if number % RUN > RUN // 4:  # those before belong to the run before, too
                spent[kind].append(submit + project.td.spent[-1] - copied)
                copies += [copied] if copied else []
            time.sleep(max(0, 1 / 60 - (time.monotonic() - began)))
        project.td.until(lambda: all(word in ("Ready", "Failed") for word in project.words().values()), 60)
        project.td.crash()
        worker.kill()
    median = {kind: statistics.median(seconds) * 1e3 for kind, seconds in spent.items()}
    print(f"a job in each frame, our scripts, median of {len(spent['top'])} frames each:")
    print(f"  with a file as image           {median['image']:.3f} ms")
    print(f"  with 1080p pixels, less a copy {median['top']:.3f} ms; the copy {statistics.median(copies) * 1e3:.2f} ms")
    return median["top"] - median["image"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--frames", type=int, default=300, help="of TouchDesigner, with pixels and without")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    options = parser.parse_args()
    cv2.setNumThreads(1)
    memory.keep_pages()  # as a child does
    worst = max(show(name, measured(*SIZES[name], options.rounds)) for name in options.sizes)
    more = scripts(options.frames)
    print(f"a frame out takes {worst:.2f} x the copy (aim {AIM}); pixels cost our scripts {more:.3f} ms a frame beyond it (aim {LIMIT_MS})")
    return int(worst > AIM or more > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
