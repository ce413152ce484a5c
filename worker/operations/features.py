"""Feature points: places in an image that can be found again in another one."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.features import FindFeatures
from worker.errors import ArgumentError
from worker.operations.keywords import takes_keywords
from worker.operations.marks import FIXED, HALO, MARK, edged, fixed, line_width
from worker.operations.regions import check_region, mask_of
from worker.operations.shapes import Found
from worker.pictures.arrays import npz
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from worker.operations.shapes import Rows

_CORNER_BLOCK = 3  # pixels; side of the square over which a corner's gradients are summed
_PYRAMIDS = ("orb", "brisk", "akaze", "kaze")  # they fail on images that vanish on the way up their pyramid
_SMALLEST_SIDE = 32  # pixels
_CANDIDATES = 2  # times the wanted number are looked at; more would fill weak parts of a picture with points that no other view shows
_PER_CELL = 4
_SPARSE = 1.0  # points within a square as wide as the distance between them, on average; more are looked up one by one
_ORB_CANDIDATES, _MOST_CANDIDATES = 6, 60_000  # times the wanted number; no more than so many, or than `_CANDIDATES` times
_ORB_THRESHOLDS = (20, 10)  # grey levels a corner of ORB stands out by; the second if the first finds few, as in ORB-SLAM
_PER_FIELD = 4.0  # of ORB's corners, on average, in each of the fields of which none with a corner stays empty
_DOT_OF_SPACING = 0.22  # of the distance between marks, at most, is the radius of one with its dark edge: a seventh of the ground
_SMALLEST_DOT, _HAND_FROM = 0.5, 1.8  # pixels; radius of a dot, and from which on it has a hand
_EDGE_FROM = 4.5  # pixels between marks; nearer ones have no dark edge, or the picture would vanish
_NEIGHBOURHOOD = 12  # line widths on each side of a mark in which others count as near
_SAME_CORNER = 1.5  # pixels; corners of two levels that lie in the same square of this side or next but one are the same

#: How each method's detector is made, given the largest number of features. `corners` is no class in OpenCV, but a function.
_MAKERS: dict[str, tuple[str, Callable[[Any, int], Any]]] = {
    "orb": ("ORB_create", lambda create, most: create(nfeatures=max(500, most), fastThreshold=10)),
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
    """Raises ArgumentError if this build of OpenCV lacks the method, the method has no descriptors, or the region is no rectangle."""
    reason = missing_methods().get(params.method)
    if reason:
        raise ArgumentError(f"find_features: {reason}", "Other methods are orb, sift, fast and corners.")
    if params.descriptors and params.method in ("fast", "corners"):
        raise ArgumentError(f"find_features: {params.method} has no descriptors.", "orb and sift have.")
    if params.descriptors and not params.descriptors.lower().endswith(".npz"):
        raise ArgumentError(f"find_features: descriptors must name an .npz file; got {params.descriptors[-60:]!r}.")
    check_region(params.region)


@takes_keywords(FindFeatures, check)
def find_features(image: Image, mask: Image | None, params: FindFeatures) -> Found:
    """Finds feature points, the strongest first.

    Args:
        image: any; colour is looked at as grey.
        mask: where to look, white on black, as large as the image; None looks everywhere.
        params: how they are found and how many are wanted.

    Returns:
        `(N, 7)`: x, y in pixels from the centre of the top left one, size in pixels (a diameter), angle in degrees clockwise from
        the right, -1 if the method has none, response (the method's own measure of strength), u, v. And the file `descriptors`:
        arrays `points` `(N, 7)` and `descriptors` `(N, D)`, unsigned bytes (orb, akaze, brisk: Hamming distance) or floats (sift, kaze).
    """
    check(params)
    plain = grey(with_depth(image, 8))
    inside = mask_of(plain, params.region, mask)
    if params.method == "corners":
        return Found(_corners(plain, inside, params))
    keypoints = _detected(plain, inside, params)
    if not params.descriptors:
        return Found(_rows(keypoints, plain))
    described: Any = (keypoints, None)
    if keypoints:
        described = detector(params.method, params.max_items).compute(plain, keypoints)
    rows = _rows(described[0], plain)
    descriptors = np.empty((0, 0), np.uint8) if described[1] is None else described[1]
    return Found(rows, files={"descriptors": npz(points=rows, descriptors=descriptors)})


def spread_out(
    points: Rows,
    responses: NDArray[Any],
    size: tuple[int, int],
    wanted: int,
    *,
    spread: bool,
    min_distance: float,
    among: float = _CANDIDATES,
) -> list[int]:
    """Indices of the chosen points, the strongest first.

    With `spread` every part of the picture has its turn: the picture is cut into cells, and the strongest of each cell is taken before
    the second of any (bucketing, as in Kitt, Geiger and Lategahn, Visual odometry based on stereo image sequences, 2010).

    Args:
        points: `(N, 2)` in pixels.
        responses: `(N,)`, higher is stronger.
        size: width and height of the picture.
        wanted: how many to choose at most.
        spread: take turns.
        min_distance: a point nearer than this to one that is chosen already is left out; in pixels, 0 leaves none out.
        among: times the wanted number, so many of the strongest take turns.
    """
    if spread and len(points) > among * wanted:
        strongest = np.sort(np.lexsort((points[:, 0], points[:, 1], -responses))[: int(among * wanted)])
        kept = spread_out(points[strongest], responses[strongest], size, wanted, spread=True, min_distance=min_distance)
        return [int(index) for index in strongest[kept]]
    ranks = np.zeros(len(points), np.int64)
    if spread and len(points) > wanted:
        order = np.lexsort((points[:, 0], points[:, 1], -responses))
        ranks[order] = _ranks(_cells(points[order], size, wanted / _PER_CELL))
    order = np.lexsort((points[:, 0], points[:, 1], -responses, ranks))
    chosen = order[~_too_near(points[order], min_distance, size)][:wanted].tolist()
    return sorted(chosen, key=lambda index: (-responses[index], points[index, 1], points[index, 0]))


def _cells(points: Rows, size: tuple[int, int], count: float) -> NDArray[np.int64]:
    """In which cell of the picture each point lies, of about so many cells, which are about square."""
    width, height = size
    across = max(1, round(min(count, (count * width / height) ** 0.5)))
    down = max(1, round(count / across))
    column = np.clip(points[:, 0] * across / width, 0, across - 1).astype(np.int64)
    return np.asarray(np.clip(points[:, 1] * down / height, 0, down - 1).astype(np.int64) * across + column)


def _ranks(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    """How many points before each one lie in the same cell."""
    order = np.argsort(cells, kind="stable")
    firsts = np.flatnonzero(np.diff(cells[order], prepend=-1))
    ranks = np.empty(len(cells), np.int64)
    ranks[order] = np.arange(len(cells)) - np.repeat(firsts, np.diff(np.append(firsts, len(cells))))
    return ranks


def _too_near(points: Rows, distance: float, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which points are nearer than a distance to one before them that is not left out itself."""
    gone = np.zeros(len(points), np.bool_)
    if not distance or not len(points):
        return gone
    if len(points) * distance**2 > _SPARSE * size[0] * size[1]:
        near, places = _Near(distance), points.tolist()
        return np.array([not near.takes(*place) for place in places])
    first, second = _pairs(points, distance)
    by_second = np.argsort(second, kind="stable")
    left_out = bytearray(len(points))
    for before, after in zip(first[by_second].tolist(), second[by_second].tolist(), strict=True):
        if not left_out[before]:
            left_out[after] = 1
    gone[:] = np.frombuffer(left_out, np.bool_)
    return gone


def _pairs(points: Rows, distance: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of points that are nearer than a distance, the earlier point first; by squares of this side, each with its neighbours."""
    column, row = np.floor((points - points.min(axis=0)) / max(distance, 0.01)).astype(np.int64).T
    stride = int(column.max()) + 3
    square = row * stride + column
    order = np.argsort(square, kind="stable")
    square = square[order]
    pairs = []
    for beside in (0, 1, stride - 1, stride, stride + 1):  # itself, and those that come after it in reading order
        start = np.arange(1, len(order) + 1) if not beside else np.searchsorted(square, square + beside)
        count = np.maximum(np.searchsorted(square, square + beside, "right") - start, 0)
        at = np.repeat(np.arange(len(order)), count)
        other = np.arange(len(at)) - np.repeat(np.cumsum(count) - count, count) + np.repeat(start, count)
        pairs.append(np.column_stack([order[at], order[other]]))
    both = np.vstack(pairs)
    apart = points[both[:, 0]] - points[both[:, 1]]
    first, second = np.sort(both[(apart**2).sum(axis=1) < distance**2], axis=1).T
    return first, second


class _Near:
    """Points that keep a distance from each other, in a grid of squares as wide as this distance.

    Args:
        distance: in pixels; 0 lets all points in.
    """

    def __init__(self, distance: float) -> None:
        self._distance = distance
        self._side = max(distance, 0.01)
        self._squares: dict[tuple[int, int], list[tuple[float, float]]] = {}

    def takes(self, x: float, y: float) -> bool:
        """Takes a point, unless one that was taken is nearer than the distance; whether it did."""
        if not self._distance:
            return True
        column, row, limit = int(x // self._side), int(y // self._side), self._distance**2
        for across in (column - 1, column, column + 1):
            for down in (row - 1, row, row + 1):
                for other_x, other_y in self._squares.get((across, down), ()):
                    if (x - other_x) ** 2 + (y - other_y) ** 2 < limit:
                        return False
        self._squares.setdefault((column, row), []).append((x, y))
        return True


def detector(method: str, most: int) -> Any:
    """OpenCV's detector of this name, for at most so many features.

    Raises:
        ArgumentError: this build of OpenCV lacks it.
    """
    reason = missing_methods().get(method)
    if reason:
        raise ArgumentError(reason, "sift and orb are always there.")
    name, make = _MAKERS[method]
    return make(_creator(name), most)


def _creator(name: str) -> Any:
    """Looked up in the main module and, where the contributed modules are installed, among those."""
    return getattr(cv2, name, None) or getattr(getattr(cv2, "xfeatures2d", None), name, None)


def _detected(plain: Image, inside: Image | None, params: FindFeatures) -> list[cv2.KeyPoint]:
    """The chosen keypoints, the strongest first; equals in reading order, so that the result is the same on every machine."""
    if params.method in _PYRAMIDS and min(plain.shape) < _SMALLEST_SIDE:
        return []
    lasting = params.spread and params.method == "orb"
    finder = detector(params.method, _candidates(params, lasting=lasting))
    if lasting:
        keypoints = _by_thresholds(finder, plain, inside, 2 * params.max_items)
    else:  # KAZE knows its angles only when it has described what it found
        keypoints = finder.detectAndCompute(plain, inside)[0] if params.method == "kaze" else finder.detect(plain, inside)
    if not keypoints:
        return []
    points = np.asarray(cv2.KeyPoint.convert(keypoints), np.float64)
    responses = np.array([keypoint.response for keypoint in keypoints])
    if lasting:
        levels = _levels(points, np.array([keypoint.octave for keypoint in keypoints]), size_of(plain))
        kept = _lasting(points, responses, levels, size_of(plain), params)
    else:
        kept = spread_out(points, responses, size_of(plain), params.max_items, spread=params.spread, min_distance=params.min_distance)
    return [keypoints[index] for index in kept]


def _by_thresholds(finder: Any, plain: Image, inside: Image | None, enough: int) -> Sequence[cv2.KeyPoint]:
    """Corners that stand out clearly, and fainter ones if these are few (as in Mur-Artal, Montiel and Tardos, ORB-SLAM, 2015)."""
    keypoints: Sequence[cv2.KeyPoint] = ()
    for threshold in _ORB_THRESHOLDS:
        finder.setFastThreshold(threshold)
        keypoints = finder.detect(plain, inside)
        if len(keypoints) >= enough:
            break
    return keypoints


def _candidates(params: FindFeatures, *, lasting: bool) -> int:
    if not params.spread:
        return params.max_items
    few = _CANDIDATES * params.max_items
    return max(few, min(_ORB_CANDIDATES * params.max_items, _MOST_CANDIDATES)) if lasting else few


def _levels(points: Rows, octaves: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """On how many levels of the pyramid a corner is seen where each of the points is."""
    width, height = (int(side / _SAME_CORNER) + 1 for side in size)
    column, row = (points / _SAME_CORNER).astype(np.intp).T
    count = np.zeros(len(points), np.int64)
    for octave in np.unique(octaves):
        seen = np.zeros((height, width), np.uint8)
        at = octaves == octave
        seen[row[at], column[at]] = 1
        count += cv2.dilate(seen, np.ones((5, 5), np.uint8))[row, column]
    return count


def _lasting(points: Rows, responses: NDArray[Any], levels: NDArray[np.int64], size: tuple[int, int], params: FindFeatures) -> list[int]:
    """As `spread_out`, for corners that a pyramid finds on several levels: what many of them see is seen again in another picture."""
    scores, wanted = responses * levels, params.max_items
    order = np.lexsort((points[:, 0], points[:, 1], -scores))
    if params.min_distance:  # of the points in a square that has room for one, the best; most corners stand there on several levels
        column, row = (points[order] * (2**0.5 / max(params.min_distance, 0.01))).astype(np.int64).T
        _, firsts = np.unique(row * (column.max() + 1) + column, return_index=True)
        order = order[np.sort(firsts)]
    looked_at = 3 * wanted
    while True:
        best = order[:looked_at]
        apart = best[~_too_near(points[best], params.min_distance, size)]
        if len(apart) >= wanted or looked_at >= len(order):
            break
        looked_at *= 2
    chosen = apart[:wanted] if len(apart) <= wanted else _into_empty_fields(points, order, apart[:wanted], size, params.min_distance)
    return sorted(chosen.tolist(), key=lambda index: (-responses[index], points[index, 1], points[index, 0]))


def _into_empty_fields(
    points: Rows, order: NDArray[np.int64], chosen: NDArray[np.int64], size: tuple[int, int], min_distance: float
) -> NDArray[np.int64]:
    """The chosen points; but the best of each field that has points and none of these takes the place of the worst in a crowded field.

    Args:
        points: `(N, 2)` in pixels.
        order: indices of all points, the best first.
        chosen: those of the chosen ones, the best first.
        size: width and height of the picture.
        min_distance: as in `spread_out`.
    """
    fields = _cells(points, size, len(chosen) / _PER_FIELD)
    others = order[~np.isin(fields[order], fields[chosen])]
    _, firsts = np.unique(fields[others], return_index=True)
    added = others[np.sort(firsts)]
    near = _too_near(points[np.concatenate([chosen, added])], min_distance, size)
    added = added[~near[len(chosen) :]]
    by_turns = chosen[np.argsort(_ranks(fields[chosen]), kind="stable")]
    return np.concatenate([by_turns[: max(0, len(chosen) - len(added))], added])[: len(chosen)]


def _rows(keypoints: Sequence[cv2.KeyPoint], image: Image) -> Rows:
    values = [(*keypoint.pt, keypoint.size, keypoint.angle, keypoint.response) for keypoint in keypoints]
    return _with_uv(np.array(values, np.float64).reshape(-1, 5), image)


def _corners(image: Image, inside: Image | None, params: FindFeatures) -> Rows:
    """Shi and Tomasi, Good Features to Track, 1994: the smaller eigenvalue of the gradients' covariance, refined below a pixel."""
    find: Callable[..., Any] = cv2.goodFeaturesToTrackWithQuality
    wanted = _CANDIDATES * params.max_items if params.spread else params.max_items
    points, responses = find(image, wanted, 0.01, 3, inside, blockSize=_CORNER_BLOCK)
    if points is None or len(points) == 0:
        return np.empty((0, 7))
    stop = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 30, 0.01)
    if min(image.shape) > 11:  # the refinement's window has to fit
        points = cv2.cornerSubPix(image, points, (3, 3), (-1, -1), stop)
    rows = np.empty((len(points), 5))
    rows[:, :2] = points.reshape(-1, 2)
    rows[:, 2:4] = _CORNER_BLOCK, -1
    rows[:, 4] = np.asarray(responses).ravel()
    if inside is not None:  # the refinement may have moved a corner out
        pixels = np.clip(np.rint(rows[:, :2]).astype(int), 0, np.array(size_of(image)) - 1)
        rows = rows[inside[pixels[:, 1], pixels[:, 0]] > 0]
    size = size_of(image)
    kept = spread_out(rows[:, :2], rows[:, 4], size, params.max_items, spread=params.spread, min_distance=params.min_distance)
    return _with_uv(rows[kept], image)


def _with_uv(rows: Rows, image: Image) -> Rows:
    width, height = size_of(image)
    return np.column_stack([rows, (rows[:, 0] + 0.5) / width, 1 - (rows[:, 1] + 0.5) / height])


def mark_features(image: Image, _mask: Image | None, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each feature as a dot, larger for a larger size, and a hand for its angle.

    The dots grow with the logarithm of the size, and shrink where features are crowded, so that thousands can be told apart and the
    picture stays visible. A dot that has become too small for a hand has none. Rows begin x, y, size, angle.
    """
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for (x, y, size, angle), spacing in zip(rows[:, :4], _spacings(rows[:, :2], canvas), strict=True):
        room = _DOT_OF_SPACING * spacing
        edge = min((edged(width) - width) / 2, room / 3) if spacing > _EDGE_FROM else 0.0
        wanted = width * (1.0 + math.log2(max(1.0, size / (4 * width))) / 2)
        radius = max(_SMALLEST_DOT, min(wanted, room - edge)) if edge else _SMALLEST_DOT
        line = max(1, round(width * radius / wanted))
        turn = math.radians(angle)
        tip = (x + 3 * radius * math.cos(turn), y + 3 * radius * math.sin(turn))
        for wider, hue in ((edge, HALO), (0.0, MARK)) if edge else ((0.0, MARK),):
            if angle >= 0 and radius >= _HAND_FROM:
                cv2.line(canvas, fixed(x, y), fixed(*tip), hue, line + 2 * math.ceil(wider), cv2.LINE_AA, FIXED)
            cv2.circle(canvas, fixed(x, y), round((radius + wider) * 2**FIXED), hue, -1, cv2.LINE_AA, FIXED)
    return canvas


def _spacings(points: Rows, canvas: Image) -> NDArray[np.float64]:
    """How far apart the points around each one are, `(N,)`, in pixels: the square root of the area that each of them has."""
    width, height = size_of(canvas)
    places = np.clip(np.rint(points).astype(int), 0, (width - 1, height - 1))
    counts = np.zeros((height, width), np.float32)
    np.add.at(counts, (places[:, 1], places[:, 0]), 1)
    side = 2 * _NEIGHBOURHOOD * line_width(canvas) + 1
    around = cv2.boxFilter(counts, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(side / np.sqrt(np.maximum(1.0, around[places[:, 1], places[:, 0]])), np.float64)
