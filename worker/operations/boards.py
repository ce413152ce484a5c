"""The boards that are printed for calibration, found in a picture.

The points of a board are those in which its squares meet, or the middles of its circles. Its axes begin in the middle of these points: x
right, y up, z out of the board towards who looks at it. A chessboard is turned so that the square at its top left is dark. If it looks the
same upside down (columns and rows both even, or both odd), x points to the right in the picture.

Chessboards: A. Duda and U. Frese, Accurate detection and localization of checkerboard corners for calibration, 2018, in OpenCV.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.errors import ArgumentError
from worker.operations.markers import dictionary_of
from worker.pictures.pixels import Image

Points = NDArray[np.float64]

_WORKING_SIDE = 1600  # pixels; in larger pictures boards are found in a smaller copy, and points are then laid in full size
_SMALLEST_SIDE = 40
_LEAST_POINTS = 6
_AUTO = ("4x4_1000", "5x5_1000", "6x6_1000", "7x7_1000", "apriltag_36h11", "mip_36h12", "original")
_PLAIN = cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_ACCURACY
_FINE = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_COUNT, 40, 0.001)
_NAMES = {"chessboard": "chessboard", "charuco": "ChArUco board", "circles": "circle grid", "asymmetric_circles": "asymmetric circle grid"}
_COUNTED = {"chessboard": "squares", "charuco": "squares", "circles": "circles", "asymmetric_circles": "circles"}


@dataclass(frozen=True, slots=True)
class Board:
    """What is looked for: see the parameters of `calibrate`."""

    kind: str
    columns: int
    rows: int
    size: float
    marker: float
    dictionary: str

    def __str__(self) -> str:
        return f"{_NAMES[self.kind]} of {self.columns}x{self.rows} {_COUNTED[self.kind]}"

    @property
    def grid(self) -> tuple[int, int]:
        """How many points there are in a row, and rows of points."""
        return (self.columns, self.rows) if "circles" in self.kind else (self.columns - 1, self.rows - 1)

    @property
    def points(self) -> Points:
        """`(N, 3)`, row by row from the top left, in the board's own axes and unit."""
        across, down = self.grid
        row, column = np.divmod(np.arange(across * down), across)
        x = 2 * column + row % 2 if self.kind == "asymmetric_circles" else column
        flat = np.column_stack([x - (x.min() + x.max()) / 2, (down - 1) / 2 - row, np.zeros(len(row))])
        return flat * self.size


class Sighting(NamedTuple):
    """A board in a picture: `(N, 3)` points on the board, and `(N, 2)` where they are seen, in pixels."""

    board: Points
    picture: Points


def check_board(board: Board) -> None:
    """Raises ArgumentError if there can be no such board."""
    least = 4 if board.kind == "chessboard" else 3
    if min(board.columns, board.rows) < least:
        raise ArgumentError(f"A {_NAMES[board.kind]} needs {least} columns and {least} rows or more; got {board}.")
    if board.kind == "charuco" and board.marker >= board.size:
        raise ArgumentError(f"marker={board.marker:g} must be smaller than a square, which has size={board.size:g}.")


class Finder:
    """Finds one kind of board in one picture after the other. It remembers which markers a ChArUco board had, and tries these first."""

    def __init__(self, board: Board) -> None:
        self.board = board
        names = _AUTO if board.dictionary == "auto" else (board.dictionary,)
        self._layouts = list(itertools.product(names, (False, True)))

    def find(self, plain: Image) -> Sighting | None:
        """The board in a picture, grey, 8 bits; None if it is not seen."""
        if min(plain.shape) < _SMALLEST_SIDE:
            return None
        if self.board.kind == "charuco":
            return self._charuco(plain)
        scale = min(1.0, _WORKING_SIDE / max(plain.shape))
        small = plain if scale == 1 else np.asarray(cv2.resize(plain, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
        found = _chessboard(small, self.board.grid) if self.board.kind == "chessboard" else _circles(small, self.board)
        if found is None:
            return None
        at = (found + 0.5) / scale - 0.5
        if self.board.kind == "chessboard":
            at = _upright(plain, at.reshape(*self.board.grid[::-1], 2))
            at = _finer(plain, at, 0.25, 2 + 2 / scale)
        else:
            at = _centered(plain, at)
        return Sighting(self.board.points, at) if _is_plausible(at) else None

    def _charuco(self, plain: Image) -> Sighting | None:
        best = _NO_CORNERS
        chosen = self._layouts[0]
        for layout in self._layouts:
            found = _charuco_corners(plain, self.board, *layout)
            if found.fitting > best.fitting:
                best, chosen = found, layout
            if found.fitting == found.markers > self.board.columns * self.board.rows // 4:
                break
        points = self.board.points[best.numbers]
        if not _is_spread(points):
            return None
        self._layouts.sort(key=lambda layout: layout != chosen)
        at = _finer(plain, best.at, 0.1, 5)  # a marker begins at an eighth of a square from its corner
        return Sighting(points, at) if _is_plausible(at) else None

    def other(self, plain: Image) -> str:
        """A sentence about a board in this picture that is another one than what is looked for; empty if there is none."""
        if self.board.kind == "chessboard":
            return _other_chessboard(plain)
        if self.board.kind == "charuco":
            seen = {name: len(_markers(plain, name)) for name in _AUTO}
            name = max(seen, key=lambda one: seen[one])
            return f"There are {seen[name]} markers of {name}." if seen[name] > 3 else ""
        return ""


def _chessboard(small: Image, grid: tuple[int, int]) -> Points | None:
    """By three searches, the fastest first, as each finds boards that the others do not."""
    searches: tuple[tuple[Any, int], ...] = (
        (cv2.findChessboardCorners, cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_FAST_CHECK),
        (cv2.findChessboardCornersSB, _PLAIN),
        (cv2.findChessboardCornersSB, _PLAIN | cv2.CALIB_CB_EXHAUSTIVE),
    )
    for search, flags in searches:
        try:
            done, corners = search(small, grid, flags=flags)
        except cv2.error:  # on odd pictures their own checks fail
            continue
        if done and corners is not None and len(corners) == grid[0] * grid[1]:
            return np.asarray(corners, np.float64).reshape(-1, 2)
    return None


def _other_chessboard(plain: Image) -> str:
    scale = min(1.0, _WORKING_SIDE / max(plain.shape))
    small = np.asarray(cv2.resize(plain, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    try:
        done, _, meta = cv2.findChessboardCornersSBWithMeta(small, (3, 3), _PLAIN | cv2.CALIB_CB_LARGER)
    except cv2.error:
        return ""
    if not done or meta is None:
        return ""
    shorter, longer = sorted(meta.shape[:2])
    return f"There is a chessboard of {longer + 1}x{shorter + 1} squares."


def _upright(plain: Image, at: Points) -> Points:
    """The points `(rows, columns, 2)` in the board's own order, as `(N, 2)`; the finder begins at any corner."""
    right, down = at[0, -1] - at[0, 0], at[-1, 0] - at[0, 0]
    if right[0] * down[1] - right[1] * down[0] < 0:
        at = at[:, ::-1]
    rows, columns = at.shape[:2]
    upside_down = _darkness(plain, at) > _darkness(plain, at[::-1, ::-1]) if (rows + columns) % 2 else at[0, -1, 0] < at[0, 0, 0]
    return (at[::-1, ::-1] if upside_down else at).reshape(-1, 2)


def _darkness(plain: Image, at: Points) -> float:
    """Grey level of the squares on the diagonal from the first corner: those inside of it, which are as dark as the one outside."""
    count = min(at.shape[:2]) - 1
    middles = np.array([at[n : n + 2, n : n + 2].mean(axis=(0, 1)) for n in range(count)], np.float32)
    return float(np.mean(cv2.remap(plain, middles[:, :1], middles[:, 1:], cv2.INTER_LINEAR)))


def _finer(plain: Image, at: Points, share: float, most: float) -> Points:
    """The points where corners are, to a fraction of a pixel, in the picture in full size.

    Args:
        plain: the picture.
        at: `(N, 2)`, about where they are.
        share: of the distance to the next point, that the window around each may reach.
        most: pixels that it reaches at most.
    """
    reach = int(np.clip(share * _apart(at).min(), 2, most))
    start = np.ascontiguousarray(at, np.float32).reshape(-1, 1, 2)
    return np.asarray(cv2.cornerSubPix(plain, start, (reach, reach), (-1, -1), _FINE), np.float64).reshape(-1, 2)


def _apart(at: Points) -> Points:
    """`(N,)`, the distance from each point to the nearest other one."""
    apart = np.linalg.norm(at[:, None] - at[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    return np.asarray(apart.min(axis=1))


def _circles(small: Image, board: Board) -> Points | None:
    """By the outline of all blobs, if there are no others; otherwise as OpenCV assembles grids."""
    for shade in (0, 255):
        detector = _blobs(small, board, shade)
        at = _laid_by_outline(np.array([blob.pt for blob in detector.detect(small)], np.float64).reshape(-1, 2), board)
        if at is None:
            at = _assembled(small, board, detector)
        if at is not None:
            return _turned(at.reshape(*board.grid[::-1], 2), symmetric=board.kind == "circles")
    return None


def _laid_by_outline(blobs: Points, board: Board) -> Points | None:
    """The blobs in the order of the board's points: its outline is laid onto theirs, in each way in which its corners can go round."""
    printed = board.points[:, :2] * (1, -1)
    if len(blobs) != len(printed):
        return None
    model, seen = (np.asarray(cv2.convexHull(points.astype(np.float32)), np.float64).reshape(-1, 2) for points in (printed, blobs))
    model = _with_corners(model, len(model))
    if len(seen) < len(model):
        return None
    seen = _with_corners(seen, len(model))
    for turn in range(len(model)):
        order = _matched(np.roll(model, turn, axis=0), seen, printed, blobs)
        if order is not None:
            return blobs[order]
    return None


def _with_corners(polygon: Points, count: int) -> Points:
    """The polygon without the corners that matter least, until so many are left; those in line with their neighbours always go."""
    while len(polygon) > 3:
        before, after = np.roll(polygon, 1, axis=0) - polygon, np.roll(polygon, -1, axis=0) - polygon
        areas = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
        if len(polygon) <= count and areas.min() > 1e-6 * areas.max():
            break
        polygon = np.delete(polygon, int(areas.argmin()), axis=0)
    return polygon


def _matched(model: Points, seen: Points, printed: Points, blobs: Points) -> NDArray[np.intp] | None:
    """For each point of the print its blob, if these corners of both outlines are the same."""
    for _ in range(2):  # first by the corners alone, then by all points
        fitted, _ = cv2.findHomography(model, seen)
        if fitted is None or not np.isfinite(fitted).all():
            return None
        places = cv2.perspectiveTransform(printed[None], fitted)[0]
        if not np.isfinite(places).all():
            return None
        distances = np.linalg.norm(places[:, None] - blobs[None], axis=2)
        order = np.asarray(distances.argmin(axis=1))
        if len(set(order.tolist())) != len(blobs) or (distances.min(axis=1) > 0.4 * _apart(blobs)[order]).any():
            return None
        model, seen = printed, blobs[order]
    return order


def _assembled(picture: Image, board: Board, detector: Any) -> Points | None:
    shape = cv2.CALIB_CB_ASYMMETRIC_GRID if board.kind == "asymmetric_circles" else cv2.CALIB_CB_SYMMETRIC_GRID
    for flags in (shape, shape | cv2.CALIB_CB_CLUSTERING):
        try:
            done, middles = cv2.findCirclesGrid(picture, board.grid, flags=flags, blobDetector=detector)
        except cv2.error:  # on odd pictures its own checks fail
            continue
        if done and middles is not None and len(middles) == board.columns * board.rows:
            return np.asarray(middles, np.float64).reshape(-1, 2)
    return None


def _turned(at: Points, *, symmetric: bool) -> Points:
    """The points of a grid in the board's own order; a symmetric one looks the same upside down, and then x points to the right."""
    right, down = at[0, -1] - at[0, 0], at[-1, 0] - at[0, 0]
    if symmetric and right[0] * down[1] - right[1] * down[0] < 0:
        at = at[:, ::-1]
    if symmetric and at[0, -1, 0] < at[0, 0, 0]:
        at = at[::-1, ::-1]
    return at.reshape(-1, 2)


def _blobs(small: Image, board: Board, shade: int) -> Any:
    settings = cv2.SimpleBlobDetector.Params()
    settings.blobColor = shade
    settings.minArea = 12
    settings.maxArea = small.size / (board.columns * board.rows)
    settings.minDistBetweenBlobs = 3
    settings.filterByCircularity = False
    settings.filterByInertia = True
    settings.minInertiaRatio = 0.05
    settings.filterByConvexity = True
    settings.minConvexity = 0.85
    return cv2.SimpleBlobDetector.create(settings)


def _centered(plain: Image, at: Points) -> Points:
    """The middles of the circles by their weight: how far each pixel around has the circle's grey level and not that of the ground."""
    middles = at.copy()
    for n, reach in enumerate(0.5 * _apart(at)):
        left, top = np.maximum(np.floor(at[n] - reach), 0).astype(int)
        part = plain[top : int(np.ceil(at[n, 1] + reach)) + 1, left : int(np.ceil(at[n, 0] + reach)) + 1].astype(np.float64)
        y, x = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
        near = np.hypot(x - at[n, 0], y - at[n, 1]) <= reach
        if near.sum() < 9:
            continue
        ends = np.percentile(part[near], (4, 96))
        column, row = np.clip(np.rint(at[n]).astype(int), 0, np.array(plain.shape[::-1]) - 1)
        inside, ground = ends if abs(ends[0] - plain[row, column]) < abs(ends[1] - plain[row, column]) else ends[::-1]
        share = np.clip((part - ground) / (inside - ground), 0, 1) * near if inside != ground else np.zeros_like(part)
        share[share < 0.15] = 0
        if share.sum() > 3:
            middle = np.array([(share * x).sum(), (share * y).sum()]) / share.sum()
            middles[n] = middle if np.linalg.norm(middle - at[n]) < 0.3 * reach + 0.5 else at[n]
    return middles


class _Corners(NamedTuple):
    """Corners of a ChArUco board: how many of its markers are seen, how many of them lie as they should; `(N, 2)` pixels, and numbers."""

    markers: int
    fitting: int
    at: Points
    numbers: NDArray[np.intp]


_NO_CORNERS = _Corners(0, 0, np.empty((0, 2)), np.empty(0, np.intp))


def _charuco_corners(plain: Image, board: Board, name: str, legacy: bool) -> _Corners:
    """As OpenCV finds them on a board of the markers `name`; `legacy`: with an even number of rows its first square is white."""
    marker = board.marker or 0.75 * board.size
    try:
        printed = cv2.aruco.CharucoBoard((board.columns, board.rows), board.size, marker, dictionary_of(name))
        printed.setLegacyPattern(legacy)
        corners, numbers, quads, ids = cv2.aruco.CharucoDetector(printed).detectBoard(plain)
    except cv2.error:  # too few markers in the dictionary, or on odd pictures its own checks fail
        return _NO_CORNERS
    if corners is None or numbers is None or not len(numbers) or ids is None:
        return _NO_CORNERS
    fitting = _fitting(printed, quads, ids)
    return _Corners(len(quads), fitting, np.asarray(corners, np.float64).reshape(-1, 2), np.asarray(numbers, np.intp).ravel())


def _fitting(printed: Any, quads: Sequence[Any], ids: Any) -> int:
    """How many markers lie as on this board; on one whose first square has the other colour, those at the ends of rows do not."""
    on_board = dict(zip(np.asarray(printed.getIds()).ravel().tolist(), printed.getObjPoints(), strict=True))
    known = [(on_board[number], quad) for number, quad in zip(ids.ravel().tolist(), quads, strict=True) if number in on_board]
    if len(known) < 2:
        return 0
    there = np.concatenate([np.asarray(corners, np.float64).reshape(4, 3)[:, :2] for corners, _ in known])
    seen = np.concatenate([np.asarray(quad, np.float64).reshape(4, 2) for _, quad in known])
    fitted, _ = cv2.findHomography(there, seen, cv2.LMEDS)
    if fitted is None or not np.isfinite(fitted).all():
        return 0
    off = np.linalg.norm(cv2.perspectiveTransform(there[None], fitted)[0] - seen, axis=1).reshape(-1, 4).max(axis=1)
    sides = np.linalg.norm(seen[1::4] - seen[::4], axis=1)
    return int((off < 0.3 * sides).sum())


def _markers(plain: Image, name: str) -> Sequence[Any]:
    try:
        corners, _, _ = cv2.aruco.ArucoDetector(dictionary_of(name)).detectMarkers(plain)
    except cv2.error:
        return ()
    return tuple(corners)


def _is_spread(points: Points) -> bool:
    """Whether these are points enough of a board, and not all on one line."""
    return len(points) >= _LEAST_POINTS and np.linalg.matrix_rank(points[:, :2] - points[:, :2].mean(axis=0), tol=1e-9) == 2


def _is_plausible(at: Points) -> bool:
    return bool(np.isfinite(at).all()) and len(np.unique(np.round(at, 1), axis=0)) == len(at)


def rms(differences: Points) -> float:
    """The root of the mean squared length of `(N, 2)` differences."""
    return float(np.sqrt((differences**2).sum(axis=1).mean()))
