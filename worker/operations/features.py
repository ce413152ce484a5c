"""Feature points: places in an image that can be found again in another one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from worker.catalog.features import FindFeatures
from worker.errors import ArgumentError
from worker.operations.keywords import takes_keywords
from worker.operations.marks import FIXED, HALO, MARK, draw_outline, fixed, line_width
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.operations.shapes import Rows

_CORNER_BLOCK = 3  # pixels; side of the square over which a corner's gradients are summed
_PYRAMIDS = ("orb", "brisk", "akaze", "kaze")  # they fail on images that vanish on the way up their pyramid
_SMALLEST_SIDE = 32  # pixels

#: How each method's detector is made, given the largest number of features. `corners` is no class in OpenCV, but a function.
_MAKERS: dict[str, tuple[str, Callable[[Any, int], Any]]] = {
    "orb": ("ORB_create", lambda create, most: create(nfeatures=max(500, most))),
    "sift": ("SIFT_create", lambda create, most: create(nfeatures=most)),
    "fast": ("FastFeatureDetector_create", lambda create, _most: create()),
    "akaze": ("AKAZE_create", lambda create, _most: create()),
    "kaze": ("KAZE_create", lambda create, _most: create()),
    "brisk": ("BRISK_create", lambda create, _most: create()),
}


def missing_methods() -> dict[str, str]:
    """The methods that this build of OpenCV does not have, each with the reason as a sentence."""
    return {
        method: f"OpenCV {cv2.__version__} does not contain {method.upper()}; the packages opencv-python before 5.0 do."
        for method, (name, _) in _MAKERS.items()
        if _creator(name) is None
    }


def unavailable() -> dict[str, str]:
    """What this build of OpenCV cannot do, each with the reason."""
    return {f"method={method}": reason for method, reason in missing_methods().items()}


def check(params: FindFeatures) -> None:
    """Raises ArgumentError if this build of OpenCV lacks the method."""
    reason = missing_methods().get(params.method)
    if reason:
        raise ArgumentError(f"find_features: {reason}", "Other methods are orb, sift, fast and corners.")


@takes_keywords(FindFeatures, check)
def find_features(image: Image, params: FindFeatures) -> Rows:
    """Finds feature points, the strongest first.

    Args:
        image: any; colour is looked at as grey.
        params: how they are found and how many are wanted.

    Returns:
        `(N, 7)`: x, y in pixels from the centre of the top left one, size in pixels (a diameter), angle in degrees clockwise from
        the right, -1 if the method has none, response (the method's own measure of strength), u, v.
    """
    plain = grey(with_depth(image, 8))
    if params.method == "corners":
        return _corners(plain, params.max_items)
    return _rows(_detected(plain, params), plain)


def _creator(name: str) -> Any:
    """Looked up in the main module and, where the contributed modules are installed, among those."""
    return getattr(cv2, name, None) or getattr(getattr(cv2, "xfeatures2d", None), name, None)


def _detector(params: FindFeatures) -> Any:
    check(params)
    name, make = _MAKERS[params.method]
    return make(_creator(name), params.max_items)


def _detected(plain: Image, params: FindFeatures) -> list[cv2.KeyPoint]:
    """The strongest keypoints first; equals in reading order, so that the result is the same on every machine."""
    detector = _detector(params)
    if _vanishes(plain, params):
        return []
    # KAZE knows its angles only when it has described what it found.
    keypoints = detector.detectAndCompute(plain, None)[0] if params.method == "kaze" else detector.detect(plain, None)
    return sorted(keypoints, key=_strength)[: params.max_items]


def _vanishes(plain: Image, params: FindFeatures) -> bool:
    """Whether the image is too small for the method's pyramid."""
    return params.method in _PYRAMIDS and min(plain.shape) < _SMALLEST_SIDE


def _strength(keypoint: cv2.KeyPoint) -> tuple[float, float, float]:
    x, y = keypoint.pt
    return -keypoint.response, y, x


def _rows(keypoints: Sequence[cv2.KeyPoint], image: Image) -> Rows:
    values = [(*keypoint.pt, keypoint.size, keypoint.angle, keypoint.response) for keypoint in keypoints]
    return _with_uv(np.array(values, np.float64).reshape(-1, 5), image)


def _corners(image: Image, most: int) -> Rows:
    """Shi and Tomasi, Good Features to Track, 1994: the smaller eigenvalue of the gradients' covariance, refined below a pixel."""
    points, responses = cv2.goodFeaturesToTrackWithQuality(  # type: ignore[call-overload]
        image, most, 0.01, 3, None, blockSize=_CORNER_BLOCK
    )
    if points is None or len(points) == 0:
        return np.empty((0, 7))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
    if min(image.shape) > 11:  # the refinement's window has to fit
        points = cv2.cornerSubPix(image, points, (3, 3), (-1, -1), stop)
    rows = np.empty((len(points), 5))
    rows[:, :2] = points.reshape(-1, 2)
    rows[:, 2:4] = _CORNER_BLOCK, -1
    rows[:, 4] = np.asarray(responses).ravel()
    return _with_uv(rows, image)


def _with_uv(rows: Rows, image: Image) -> Rows:
    width, height = size_of(image)
    return np.column_stack([rows, (rows[:, 0] + 0.5) / width, 1 - (rows[:, 1] + 0.5) / height])


def mark_features(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each feature's size as a circle and its angle as a hand. Rows begin x, y, size, angle."""
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for x, y, size, angle in rows[:, :4]:
        radius = max(2.0, size / 2)
        turn = math.radians(angle)
        tip = (x + radius * math.cos(turn), y + radius * math.sin(turn))
        for line, hue in ((width + 1, HALO), (width, MARK)):
            draw_outline(canvas, (x, y), radius, hue, line)
            if angle >= 0:
                cv2.line(canvas, fixed(x, y), fixed(*tip), hue, line, cv2.LINE_AA, FIXED)
    return canvas
