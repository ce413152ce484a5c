"""What else finds circles: OpenCV's own functions, and EDCircles from opencv-contrib in an environment of its own."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.circle_pictures import Floats, Picture

#: Finds circles in a picture: `(N, 3)`, x, y, radius.
Finder = Callable[[Picture], Floats]
#: Method, dp, minDist, param1, param2, and the size of the median filter before, 0 for none.
Settings = tuple[int, float, float, float, float, int]

#: As in OpenCV's documentation and tutorials.
ALT_DOCUMENTED: Settings = (cv2.HOUGH_GRADIENT_ALT, 1.5, 10, 300, 0.9, 5)
GRADIENT_DOCUMENTED: Settings = (cv2.HOUGH_GRADIENT, 1, 10, 100, 30, 5)
#: What `--search --count 1` finds: of all settings in the grids below, those with the highest mean F over all families.
ALT_BEST: Settings = (cv2.HOUGH_GRADIENT_ALT, 1, 10, 100, 0.9, 3)
GRADIENT_BEST: Settings = (cv2.HOUGH_GRADIENT, 1, 10, 100, 40, 5)


def alt_grid() -> Iterator[Settings]:
    values = itertools.product((1, 1.5), (50, 100, 200, 300), (0.8, 0.85, 0.9, 0.95), (3, 5))
    return ((cv2.HOUGH_GRADIENT_ALT, dp, 10, first, second, blur) for dp, first, second, blur in values)


def gradient_grid() -> Iterator[Settings]:
    values = itertools.product((1, 1.5), (100, 200), (20, 24, 30, 40, 60), (5, 7))
    return ((cv2.HOUGH_GRADIENT, dp, 10, first, second, blur) for dp, first, second, blur in values)


def grey(picture: Picture) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def hough(settings: Settings) -> Finder:
    """HoughCircles with the given settings."""
    method, dp, distance, first, second, blur = settings

    def find(picture: Picture) -> Floats:
        shade = np.asarray(cv2.medianBlur(grey(picture), blur)) if blur else grey(picture)
        found = cv2.HoughCircles(shade, method, dp, distance, param1=first, param2=second, minRadius=4, maxRadius=max(picture.shape) // 2)
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


RIVALS: dict[str, Finder] = {
    "ALT documented": hough(ALT_DOCUMENTED),
    "ALT best": hough(ALT_BEST),
    "GRADIENT documented": hough(GRADIENT_DOCUMENTED),
    "GRADIENT best": hough(GRADIENT_BEST),
    "blobs": blobs,
    "contours": contours,
}

_CONTRIB = "opencv-contrib-python-headless<5"  # ximgproc is in no wheel of OpenCV 5

#: Runs in the other environment: reads pictures, prints circles and CPU seconds, one line of JSON per picture.
_EDCIRCLES = """
import json, sys, time
import cv2, numpy as np
cv2.setNumThreads(1)
def find(picture):
    detector = cv2.ximgproc.createEdgeDrawing()
    detector.detectEdges(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY))
    return detector.detectEllipses()
find(np.zeros((480, 640, 3), np.uint8))
for name in sys.argv[1:]:
    picture = np.load(name)
    start = time.process_time()
    found = find(picture)
    spent = time.process_time() - start
    rows = [] if found is None else np.asarray(found, float).reshape(-1, 6)
    circles = [(x, y, r if r > 0 else (a * b) ** 0.5) for x, y, r, a, b, _ in rows if r > 0 or min(a, b) > 0.85 * max(a, b)]
    print(json.dumps({"circles": circles, "cpu": spent}))
"""


def contrib_python() -> str:
    """A Python with opencv-contrib, made on the first call. Raises CalledProcessError if pip cannot install it."""
    folder = Path(tempfile.gettempdir()) / "td-image-worker-contrib"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if subprocess.run([str(python), "-c", "import cv2.ximgproc"], check=False, capture_output=True).returncode if python.exists() else True:
        print(f"Making an environment with {_CONTRIB} in {folder}.", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", _CONTRIB], check=True)
    return str(python)


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
