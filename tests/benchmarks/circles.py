"""find_circles beside what else there is, on pictures with known truth. Run as `python -m tests.benchmarks.circles`.

    python -m tests.benchmarks.circles                       the table, on the held-out seeds; then real pictures; then the cost
    python -m tests.benchmarks.circles --train --count 5     on the seeds that may be looked at while the search is changed
    python -m tests.benchmarks.circles --contrib PYTHON      with EDCircles; PYTHON is an interpreter with opencv-contrib:
        python -m venv contrib && contrib/bin/pip install "opencv-contrib-python-headless<5"
    python -m tests.benchmarks.circles --pictures FOLDER     how many circles each rival finds in photographs of yours
    python -m tests.benchmarks.circles --cost                only CPU time and memory at 0.3 to 24 megapixel

A circle counts as found if its part inside the picture and that of the truth have an intersection over union of 0.8; each truth is
found once. F is the harmonic mean of precision and recall over all pictures of a family. CPU times are those of one thread; of other
machines the ratios are what to look at. All of a family's figures are from the same pictures, the rivals taking turns.
"""

from __future__ import annotations

import argparse
import functools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import psutil
from numpy.typing import NDArray

from tests.benchmarks.circle_pictures import FAMILIES, NEGATIVES, Floats, Picture, Scene, large, scene_of
from worker.catalog.circles import FindCircles
from worker.operations.circles import find_circles

DATA = Path(__file__).parents[1] / "data"
TRAIN, HELD_OUT = 0, 50_000  # the first seed
SIZES = (0.3, 2, 8, 12, 24)  # megapixel

#: Finds circles in a picture: `(N, 3)`, x, y, radius.
Finder = Callable[[Picture], Floats]
#: Counts what a finder finds in scenes.
Counter = Callable[[Sequence[Scene]], "Tally"]


def ours(picture: Picture) -> Floats:
    """The product at its defaults; only the number of rows is not limited."""
    return np.asarray(find_circles(picture, FindCircles(image="unused", max_items=10_000))[:, :3])


def grey(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def hough(method: int, first: float, second: float, blur: int = 5) -> Finder:
    """HoughCircles with the given settings."""

    def find(picture: Picture) -> Floats:
        shade = np.asarray(cv2.medianBlur(grey(picture), blur)) if blur else grey(picture)
        resolution = 1.5 if method == cv2.HOUGH_GRADIENT_ALT else 1.0
        found = cv2.HoughCircles(shade, method, resolution, 10, param1=first, param2=second, minRadius=4, maxRadius=max(picture.shape) // 2)
        return np.empty((0, 3)) if found is None else np.asarray(found, float).reshape(-1, found.shape[-1])[:, :3]

    return find


def blobs(picture: Picture) -> Floats:
    """SimpleBlobDetector, dark and bright, circularity 0.8 and more."""
    found = []
    for color in (0, 255):
        params = cv2.SimpleBlobDetector_Params()
        params.filterByArea, params.minArea, params.maxArea = True, 40, picture.shape[0] * picture.shape[1] / 2
        params.filterByCircularity, params.minCircularity = True, 0.8
        params.filterByConvexity = params.filterByInertia = False
        params.filterByColor, params.blobColor = True, color
        found += [(*point.pt, point.size / 2) for point in cv2.SimpleBlobDetector_create(params).detect(grey(picture))]
    return np.array(found).reshape(-1, 3)


def contours(picture: Picture) -> Floats:
    """Contours of Otsu's threshold with a circularity of 0.85 and more."""
    _, mask = cv2.threshold(cv2.medianBlur(grey(picture), 5), 0, 255, cv2.THRESH_OTSU)
    found = []
    for contour in cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)[0]:
        area, length = cv2.contourArea(contour), cv2.arcLength(contour, closed=True)
        if area > 40 and 4 * np.pi * area > 0.85 * length**2:
            (x, y), _ = cv2.minEnclosingCircle(contour)
            found.append((x, y, (area / np.pi) ** 0.5))
    return np.array(found).reshape(-1, 3)


#: HoughCircles with the settings of OpenCV's documentation and tutorials, and the single settings that do best over all families.
RIVALS: dict[str, Finder] = {
    "ALT documented": hough(cv2.HOUGH_GRADIENT_ALT, 300, 0.9),
    "ALT best": hough(cv2.HOUGH_GRADIENT_ALT, 50, 0.9),
    "GRADIENT documented": hough(cv2.HOUGH_GRADIENT, 100, 30),
    "GRADIENT best": hough(cv2.HOUGH_GRADIENT, 100, 24),
    "blobs": blobs,
    "contours": contours,
}

#: Runs in the other environment: reads pictures, prints circles and CPU seconds, one line of JSON per picture.
_EDCIRCLES = """
import json, sys, time
import cv2, numpy as np
cv2.setNumThreads(1)
for name in sys.argv[1:]:
    picture = np.load(name)
    start = time.process_time()
    detector = cv2.ximgproc.createEdgeDrawing()
    detector.detectEdges(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    found = detector.detectEllipses()
    spent = time.process_time() - start
    rows = [] if found is None else np.asarray(found, float).reshape(-1, 6)
    circles = [(x, y, r if r > 0 else (a * b) ** 0.5) for x, y, r, a, b, _ in rows if r > 0 or min(a, b) > 0.85 * max(a, b)]
    print(json.dumps({"circles": circles, "cpu": spent}))
"""


def edcircles(python: str, pictures: Sequence[Picture]) -> tuple[list[Floats], list[float]]:
    """EDCircles (Akinlar and Topal 2013) from opencv-contrib: circles, and ellipses that are nearly round; and CPU seconds."""
    with tempfile.TemporaryDirectory() as folder:
        names = []
        for number, picture in enumerate(pictures):
            names.append(f"{folder}/{number}.npy")
            np.save(names[-1], picture)
        done = subprocess.run([python, "-c", _EDCIRCLES, *names], check=True, capture_output=True, text=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    return [np.array(answer["circles"], float).reshape(-1, 3) for answer in answers], [answer["cpu"] for answer in answers]


def overlap(first: Floats, second: Floats, size: tuple[int, int]) -> float:
    """Intersection over union of the parts of two circles that lie inside the picture, summed over 201 rows."""
    top = max(-0.5, min(first[1] - first[2], second[1] - second[2]))
    bottom = min(size[1] - 0.5, max(first[1] + first[2], second[1] + second[2]))
    rows = np.linspace(top, bottom, 201)
    spans = []
    for x, y, radius in (first, second):
        half = np.sqrt(np.clip(radius**2 - (rows - y) ** 2, 0, None))
        left, right = np.clip(x - half, -0.5, size[0] - 0.5), np.clip(x + half, -0.5, size[0] - 0.5)
        spans.append((left, np.where(half > 0, right, left)))
    (a, b), (c, d) = spans
    common = np.clip(np.minimum(b, d) - np.maximum(a, c), 0, None).sum()
    union = (b - a).sum() + (d - c).sum() - common
    return float(common / union) if union > 0 else 0.0


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


def matched(circles: Floats, truth: Floats, size: tuple[int, int], least: float) -> list[tuple[int, int]]:
    """Pairs of a circle found and a true one, the best first, each used once."""
    near = [
        (overlap(circle, true, size), i, j)
        for i, circle in enumerate(circles)
        for j, true in enumerate(truth)
        if np.hypot(*(circle[:2] - true[:2])) < true[2] and 0.4 * true[2] < circle[2] < 2.5 * true[2]
    ]
    pairs: list[tuple[int, int]] = []
    for value, i, j in sorted(near, reverse=True):
        if value >= least and all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return pairs


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


@dataclass(frozen=True, slots=True)
class Real:
    """A real picture, the circles that are known in it, and the region of which nothing is known: left, top, right, bottom."""

    name: str
    truth: Sequence[tuple[float, float, float]]
    unknown: tuple[float, float, float, float]

    def counted(self, finder: Finder) -> tuple[int, int]:
        """How many of the known circles were found, and how many false ones outside of the unknown region."""
        picture = np.asarray(cv2.imread(str(DATA / self.name)), np.uint8)
        left, top, right, bottom = self.unknown
        circles = finder(picture)
        x, y = circles[:, 0], circles[:, 1]
        circles = circles[~((x >= left) & (x <= right) & (y >= top) & (y <= bottom))]
        found = len(matched(circles, np.array(self.truth, float), picture.shape[1::-1], 0.75))
        return found, len(circles) - found


REAL = (
    Real(
        "smarties.png",
        [
            *((x, y, 27) for x, y in ((377, 82), (269, 118), (387, 170), (205, 211), (288, 213), (33, 229))),
            *((x, y, 27) for x, y in ((348, 238), (98, 259), (152, 271), (220, 306), (294, 320), (134, 328))),
        ],
        (0, 335, 413, 400),  # two that the lower edge cuts off
    ),
    Real(
        "detect_blob.png",
        [(64, 68, 23), (181, 61, 15.5), (132, 157, 52.5), (62, 238, 29.5), (230, 215, 23), (213, 567, 50)],
        (340, 455, 541, 640),  # a heap
    ),
)


def table(finders: dict[str, Counter], first_seed: int, count: int, families: Sequence[str]) -> None:
    """One block per family, one line per finder."""
    print(f"{'family':15s}{'finder':21s}   F 0.8   F 0.6  precis.  recall   center  radius   false/picture   CPU ms   x ours")
    sums: dict[str, list[float]] = {name: [] for name in finders}
    for family in families:
        scenes = [scene_of(family, first_seed + number) for number in range(count)]
        fastest = 0.0
        for name, counter in finders.items():
            result = counter(scenes)
            cpu = 1e3 * result.cpu / result.pictures
            fastest = fastest or cpu
            measures = " " * 51
            if family in FAMILIES:
                sums[name].append(result.f)
                measures = f"{result.f:8.3f}{result.f_loose:8.3f}{result.precision:8.3f}{result.recall:8.3f}" + (
                    f"{result.center / result.found:10.2f}{result.radius / result.found:9.2f}" if result.found else f"{'-':>10s}{'-':>9s}"
                )
            print(f"{family:15s}{name:21s}{measures}{result.false / result.pictures:13.2f}{cpu:13.1f}{cpu / fastest:9.2f}", flush=True)
    for name, values in sums.items():
        if values:
            print(f"mean of {len(values)} families  {name:21s} F {np.mean(values):.3f}  lowest {min(values):.3f}")


def real(finders: dict[str, Finder]) -> None:
    """Real pictures: what is known in them, and negatives of the test data."""
    for one in REAL:
        for name, finder in finders.items():
            found, false = one.counted(finder)
            print(f"{one.name:18s}{name:21s} found {found} of {len(one.truth)}, false {false}")


def folder(finders: dict[str, Finder], path: Path) -> None:
    """How many circles are found in each picture of a folder."""
    for file in sorted(path.iterdir()):
        picture = cv2.imread(str(file))
        if picture is not None:
            print(
                f"{file.name:30s}" + "  ".join(f"{name} {len(finder(np.asarray(picture, np.uint8)))}" for name, finder in finders.items()),
                flush=True,
            )


def cost() -> None:
    """CPU time beside HoughCircles ALT, what is lost, and how much the memory grows, each size in a process of its own."""
    print("megapixel   CPU ms   ALT ms   growth MB   found   false   center   radius")
    for megapixels in SIZES:
        done = subprocess.run([sys.executable, "-m", __spec__.name, "--one", str(megapixels)], check=True, capture_output=True, text=True)
        print(done.stdout.strip(), flush=True)


def cost_of(megapixels: float) -> None:
    scene = large(megapixels)
    ours(large(0.3).picture)  # all is loaded
    before = _peak()
    times = []
    for _ in range(3):
        start = time.process_time()
        circles = ours(scene.picture)
        times.append(time.process_time() - start)
    growth = _peak() - before
    start = time.process_time()
    RIVALS["ALT documented"](scene.picture)
    alt = time.process_time() - start
    result = Tally()
    result.add(circles, scene.truth, scene.picture.shape[1::-1])
    print(
        f"{megapixels:9g}{1e3 * min(times):9.0f}{1e3 * alt:9.0f}{growth:12d}{result.found:5d} of {len(scene.truth)}{result.false:6d}"
        f"{result.center / result.found:9.2f}{result.radius / result.found:9.2f}"
    )


def _peak() -> int:
    """The most memory that this process ever held, in megabytes."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset) >> 20
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> (10 if sys.platform != "darwin" else 20)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="the seeds for development, not the held-out ones")
    parser.add_argument("--count", type=int, default=10, help="pictures per family")
    parser.add_argument("--contrib", default="", help="a Python with opencv-contrib, for EDCircles")
    parser.add_argument("--alone", action="store_true", help="without the rivals")
    parser.add_argument("--family", action="append", help="only these")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs")
    parser.add_argument("--cost", action="store_true", help="only CPU time and memory")
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    if arguments.one:
        return cost_of(arguments.one)
    if arguments.cost:
        return cost()
    finders = {"ours": ours, **({} if arguments.alone else RIVALS)}
    if arguments.pictures:
        return folder(finders, arguments.pictures)
    counters: dict[str, Counter] = {name: functools.partial(tally, finder) for name, finder in finders.items()}
    if arguments.contrib:
        counters["EDCircles"] = functools.partial(tally_edcircles, arguments.contrib)
    elif not arguments.alone:
        print("EDCircles is skipped: --contrib names no Python with opencv-contrib.")
    table(counters, TRAIN if arguments.train else HELD_OUT, arguments.count, arguments.family or [*FAMILIES, *NEGATIVES])
    if not arguments.family:
        real(finders)
        cost()
    return None


if __name__ == "__main__":
    main()
