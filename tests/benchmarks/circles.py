"""find_circles beside what else there is, on pictures with known truth. Run as `python -m tests.benchmarks.circles`.

    python -m tests.benchmarks.circles                          the table, on the held-out seeds; then real pictures; then the cost
    python -m tests.benchmarks.circles --train --count 5        on the seeds that may be looked at while the search is changed
    python -m tests.benchmarks.circles --contrib-python PATH    with this Python for EDCircles; without it an environment is made
    python -m tests.benchmarks.circles --search                 the best single settings of HoughCircles over all families, on a grid
    python -m tests.benchmarks.circles --pictures FOLDER        how many circles each rival finds in photographs of yours
    python -m tests.benchmarks.circles --cost                   only CPU time and memory at 0.3 to 24 megapixel

A circle counts as found if its part inside the picture and that of the truth have an intersection over union of 0.8; each truth is
found once. F is the harmonic mean of precision and recall over all pictures of a family. CPU times are those of one thread; of other
machines the ratios are what to look at. All of a family's figures are from the same pictures, the rivals taking turns.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil

from tests.benchmarks.circle_pictures import FAMILIES, NEGATIVES, Floats, Picture, Scene, large, scene_of
from tests.benchmarks.circle_rivals import RIVALS, Finder, Settings, alt_grid, contrib_python, edcircles, gradient_grid, hough
from tests.benchmarks.circle_things import THINGS, thing_of
from tests.benchmarks.circle_truth import matched, real_pictures
from worker.catalog.circles import FindCircles
from worker.operations.circles import find_circles

TRAIN, HELD_OUT = 0, 50_000  # the first seed
SIZES = (0.3, 2, 8, 12, 24)  # megapixel

#: Counts what a finder finds in scenes.
Counter = Callable[[Sequence[Scene]], "Tally"]


def ours(picture: Picture) -> Floats:
    """The product at its defaults; only the number of rows is not limited."""
    return np.asarray(find_circles(picture, FindCircles(image="unused", max_items=10_000))[:, :3])


@dataclass
class Tally:
    """What was counted over the pictures of a family."""

    found: int = 0
    false: int = 0
    missed: int = 0
    center: float = 0.0
    radius: float = 0.0
    found_loosely: int = 0
    pictures: int = 0
    cpu: float = 0.0

    def add(self, circles: Floats, truth: Floats, size: tuple[int, int]) -> None:
        self.pictures += 1
        pairs = matched(circles, truth, size, 0.8)
        self.found_loosely += len(matched(circles, truth, size, 0.6))
        self.found += len(pairs)
        self.false += len(circles) - len(pairs)
        self.missed += len(truth) - len(pairs)
        for i, j in pairs:
            self.center += float(np.hypot(*(circles[i, :2] - truth[j, :2])))
            self.radius += abs(float(circles[i, 2] - truth[j, 2]))

    @property
    def f(self) -> float:
        return 2 * self.found / max(1, 2 * self.found + self.false + self.missed)

    @property
    def f_loose(self) -> float:
        return 2 * self.found_loosely / max(1, 2 * self.found + self.false + self.missed)

    @property
    def recall(self) -> float:
        return self.found / max(1, self.found + self.missed)

    @property
    def precision(self) -> float:
        return self.found / max(1, self.found + self.false)


def tally(finder: Finder, scenes: Sequence[Scene]) -> Tally:
    result = Tally()
    for scene in scenes:
        start = time.process_time()
        circles = finder(scene.picture)
        result.cpu += time.process_time() - start
        result.add(circles, scene.truth, scene.picture.shape[1::-1])
    return result


def tally_edcircles(python: str, scenes: Sequence[Scene]) -> Tally:
    result = Tally()
    found, spent = edcircles(python, [scene.picture for scene in scenes])
    result.cpu = sum(spent)
    for circles, scene in zip(found, scenes, strict=True):
        result.add(circles, scene.truth, scene.picture.shape[1::-1])
    return result


def table(finders: dict[str, Counter], first_seed: int, count: int, families: Sequence[str]) -> None:
    """One block per family, one line per finder; then the means."""
    print(f"{'family':15s}{'finder':21s}   F 0.8   F 0.6  precis.  recall   center  radius   false/picture   CPU ms   x ours")
    sums: dict[str, list[float]] = {name: [] for name in finders}
    ratios: dict[str, list[float]] = {name: [] for name in finders}
    for family in families:
        scenes = [(thing_of if family in THINGS else scene_of)(family, first_seed + number) for number in range(count)]
        ours_spent = 0.0
        for name, counter in finders.items():
            result = counter(scenes)
            cpu = 1e3 * result.cpu / result.pictures
            ours_spent = ours_spent or cpu
            ratios[name].append(cpu / ours_spent)
            measures = " " * 51
            if family not in NEGATIVES:
                sums[name].append(result.f)
                measures = f"{result.f:8.3f}{result.f_loose:8.3f}{result.precision:8.3f}{result.recall:8.3f}" + (
                    f"{result.center / result.found:10.2f}{result.radius / result.found:9.2f}" if result.found else f"{'-':>10s}{'-':>9s}"
                )
            print(f"{family:15s}{name:21s}{measures}{result.false / result.pictures:13.2f}{cpu:13.1f}{cpu / ours_spent:9.2f}", flush=True)
    for name, values in sums.items():
        if values:
            print(
                f"mean of {len(values)} families  {name:21s} F {np.mean(values):.3f}  lowest {min(values):.3f}  "
                f"CPU x ours, median of all families {np.median(ratios[name]):.2f}"
            )


def real(finders: dict[str, Finder]) -> None:
    """Real pictures: what is known in them, and what is false."""
    for one in real_pictures():
        for name, finder in finders.items():
            found, false = one.counted(finder(one.picture()))
            print(f"{one.name:18s}{name:21s} found {found} of {len(one.truth)}, false {false}", flush=True)


def folder(finders: dict[str, Finder], path: Path) -> None:
    """How many circles are found in each picture of a folder."""
    for file in sorted(path.iterdir()):
        picture = cv2.imread(str(file))
        if picture is not None:
            counts = (f"{name} {len(finder(np.asarray(picture, np.uint8)))}" for name, finder in finders.items())
            print(f"{file.name:30s}" + "  ".join(counts), flush=True)


def best_settings(grid: Iterable[Settings], count: int) -> None:
    """Prints the settings of a grid with the highest mean F over all families: one setting for all, on the seeds for development."""
    scenes = {family: [scene_of(family, TRAIN + number) for number in range(count)] for family in FAMILIES}
    scores = []
    for settings in grid:
        values = [tally(hough(settings), of_family).f for of_family in scenes.values()]
        scores.append((float(np.mean(values)), min(values), settings))
    scores.sort(reverse=True)
    print(f"of {len(scores)} settings (method, dp, minDist, param1, param2, median), mean F and lowest:")
    for mean, lowest, settings in scores[:3]:
        print(f"  {mean:.3f} {lowest:.3f} {settings}", flush=True)


def cost(contrib: str) -> None:
    """CPU time beside the rivals, what is lost, and how much the memory grows, each size in a process of its own."""
    print("megapixel  finder             CPU ms   x ours   growth MB   found        false   center   radius")
    for megapixels in SIZES:
        scene = large(megapixels)
        with tempfile.TemporaryDirectory() as place:
            file = f"{place}/picture.npy"
            np.save(file, scene.picture)
            command = [sys.executable, "-m", __spec__.name, "--one", file, str(megapixels)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
        lines = [line.split() for line in done.stdout.splitlines()]
        spent = float(lines[0][1])
        for name, cpu, growth, *measures in lines:
            _print_cost(megapixels, name.replace("_", " "), float(cpu), spent, growth, measures)
        if contrib:
            (circles,), (cpu,) = edcircles(contrib, [scene.picture])
            _print_cost(megapixels, "EDCircles", 1e3 * cpu, spent, "-", _measures(circles, scene))


def _print_cost(megapixels: float, name: str, cpu: float, spent: float, growth: str, measures: Sequence[str]) -> None:  # noqa: PLR0917
    found, of, false, center, radius = measures
    print(
        f"{megapixels:9g}  {name:17s}{cpu:8.0f}{cpu / spent:9.2f}{growth:>12s}   {found:>3s} of {of}{false:>12s}{center:>9s}{radius:>9s}",
        flush=True,
    )


def _measures(circles: Floats, scene: Scene) -> list[str]:
    result = Tally()
    result.add(circles, scene.truth, scene.picture.shape[1::-1])
    errors = [f"{error / result.found:.2f}" if result.found else "-" for error in (result.center, result.radius)]
    return [str(result.found), str(len(scene.truth)), str(result.false), *errors]


def cost_of(file: str, megapixels: float) -> None:
    """In a process that has held nothing larger than the picture, so that its peak is the search's own."""
    picture = np.load(file)
    ours(np.ascontiguousarray(picture[:480, :640]))  # all is loaded
    before = _peak()
    rounds = 15 if megapixels < 1 else 3  # a process that is new has cold caches, as no child of a worker has after a few pictures
    times, rival_times = [], []
    for _ in range(rounds):
        start = time.process_time()
        circles = ours(picture)
        times.append(time.process_time() - start)
    growth = _peak() - before
    for _ in range(rounds):
        start = time.process_time()
        rival = RIVALS["ALT documented"](picture)
        rival_times.append(time.process_time() - start)
    scene = large(megapixels)
    print("ours", 1e3 * min(times), growth, *_measures(circles, scene))
    print("ALT_documented", 1e3 * min(rival_times), "-", *_measures(rival, scene))


def _peak() -> int:
    """The most memory that this process ever held, in megabytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset) >> 20
    if sys.platform == "linux":  # getrusage would tell of the parent, which has made the picture
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) >> 10
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="the seeds for development, not the held-out ones")
    parser.add_argument("--count", type=int, default=10, help="pictures per family")
    parser.add_argument("--contrib-python", default="", help="a Python with opencv-contrib, for EDCircles; otherwise one is made")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    parser.add_argument("--family", action="append", help="only these")
    parser.add_argument("--search", action="store_true", help="only the search for the best settings of HoughCircles")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--cost", action="store_true", help="only CPU time and memory")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.one:
        return cost_of(arguments.one[0], float(arguments.one[1]))
    if arguments.search:
        best_settings(alt_grid(), arguments.count)
        return best_settings(gradient_grid(), arguments.count)
    finders = {"ours": ours, **({} if arguments.alone else RIVALS)}
    if arguments.pictures:
        return folder(finders, arguments.pictures)
    contrib = "" if arguments.alone else arguments.contrib_python or _contrib()
    if arguments.cost:
        return cost(contrib)
    counters: dict[str, Counter] = {name: functools.partial(tally, finder) for name, finder in finders.items()}
    if contrib:
        counters["EDCircles"] = functools.partial(tally_edcircles, contrib)
        finders["EDCircles"] = lambda picture: edcircles(contrib, [picture])[0][0]
    table(counters, TRAIN if arguments.train else HELD_OUT, arguments.count, arguments.family or [*FAMILIES, *THINGS, *NEGATIVES])
    if not arguments.family:
        real(finders)
        cost(contrib)
    return None


def _contrib() -> str:
    try:
        return contrib_python()
    except subprocess.CalledProcessError as error:
        print(f"EDCircles is skipped: pip could not install opencv-contrib ({error}). --contrib-python PATH names another Python.")
        return ""


if __name__ == "__main__":
    main()
