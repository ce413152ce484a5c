"""A camera measured from pictures of a printed board, and pictures without its distortion.

Z. Zhang, A flexible new technique for camera calibration, 2000, as OpenCV does it.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.calibration import Calibrate, Undistort
from worker.errors import ArgumentError, WorkerError
from worker.operations.bending import bent, check_side
from worker.operations.boards import Board, Finder, Sighting, check_board, rms
from worker.operations.camera import Camera, of_json, projected, rays, to_json
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, HALO, MARK, draw_label, fixed
from worker.operations.shapes import Found, Picture
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

Floats = NDArray[np.float64]

_MODELS = {
    "simple": cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K3,
    "standard": 0,
    "rational": cv2.CALIB_RATIONAL_MODEL,
}
_FISHEYE = ("CALIB_RECOMPUTE_EXTRINSIC", "CALIB_FIX_SKEW")
_COEFFICIENTS = {"simple": 5, "standard": 5, "rational": 8}
_LEAST_PICTURES = 3
_LEAST_TILT = 8.0  # degrees between the two boards that differ most
_LEAST_SURE = 0.03  # of the focal length, standard deviation
_BORDER_POINTS = 101  # on each side of a picture
_TILE = 400  # pixels, width of an image on the sheet
_MOST_TILES = 35
_ENLARGED = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)  # how many times as long errors may be drawn on the sheet
_DRAWN = 12  # pixels of a tile; a common error is drawn about as long
_VARIETY = "Move the board to all parts of the picture, and tilt it by 20 to 45 degrees to the left, the right, the top and the bottom."


@dataclass(frozen=True, slots=True)
class _View:
    """One picture in which a board is seen; `tile` is a smaller copy, if it may be shown."""

    n: int
    name: str
    size: tuple[int, int]
    sighting: Sighting
    tile: Image | None


@dataclass(frozen=True, slots=True, eq=False)
class _Solution:
    """A camera, and for each view: where the board is, how far the points are off, `(N, 2)` pixels each."""

    camera: Camera
    rms: float
    unsure: float
    poses: list[tuple[Floats, Floats]]
    residuals: list[Floats]


def check(params: Calibrate) -> None:
    """Raises ArgumentError if there is no such board, or the calibration would not be JSON."""
    check_board(_board(params))
    if not params.output.lower().endswith(".json"):
        raise ArgumentError(f"calibrate: output must end in .json; got {params.output[:80]!r}.")


def _board(params: Calibrate) -> Board:
    return Board(params.board, params.columns, params.rows, params.size, params.marker, params.dictionary)


@takes_keywords(Calibrate, check)
def calibrate(pictures: Iterator[Picture], params: Calibrate) -> Found:
    """Measures a camera from several pictures of a board: focal lengths, principal point, distortion.

    Args:
        pictures: of the same camera at the same zoom and focus, of the same size. Those in which no board is seen are left out.
        params: which board it is, and how distortion is described.

    Returns:
        One row per picture that counts: error, the root of the mean squared distance in pixels between the points found and those that
        the camera would see; points, how many; tilt, degrees between the board and a plane that faces the camera; distance of the board's
        middle, in the unit of `size`; then the same in all rows, because they are one camera's: the error of all points; fx fy cx cy in
        pixels, a pixel's middle is its coordinate; k1 k2 p1 p2 k3, of a fisheye lens its k1 k2 0 0 k3 (k4 is in the file); fields of
        view across and down in degrees. The file `output` is that
        of `worker.operations.camera`, with all pictures.

    Raises:
        ArgumentError: fewer than 3 pictures show the board, or they are too much alike to measure a camera.
    """
    board = _board(params)
    views, skipped = _views(pictures, board, params)
    if len(views) < _LEAST_PICTURES:
        raise _too_few(board, views, skipped)
    solution = _solved(views, params)
    while params.max_error:
        errors = [rms(residual) for residual in solution.residuals]
        worst = int(np.argmax(errors))
        if errors[worst] <= params.max_error:
            break
        view = views[worst]
        skipped[view.n] = ArgumentError(f"{view.name}: its error of {errors[worst]:.2f} px is larger than max_error={params.max_error:g}.")
        views = [other for other in views if other is not view]
        if len(views) < _LEAST_PICTURES:
            raise ArgumentError(
                f"calibrate: with max_error={params.max_error:g} fewer than {_LEAST_PICTURES} images are left; "
                f"the last one had an error of {errors[worst]:.2f} px.",
                "A larger max_error keeps more; blurred images and a board that is not flat have large errors.",
            )
        solution = _solved(views, params)
    images = {"overlay": _sheet(views, solution)} if params.overlay else {}
    return Found(_rows(views, solution), images, {"output": _file(views, solution, skipped, params)}, skipped=skipped)


def _views(pictures: Iterator[Picture], board: Board, params: Calibrate) -> tuple[list[_View], dict[int, WorkerError]]:
    """The pictures that show the board, of the size that most of them have; and why others do not count."""
    finder = Finder(board)
    views: list[_View] = []
    skipped: dict[int, WorkerError] = {}
    other = ""
    for picture in pictures:
        plain = grey(with_depth(picture.image, 8))
        sighting = finder.find(plain)
        if sighting is None:
            other = other or ("" if views else finder.other(plain))
            skipped[picture.n] = ArgumentError(f"{picture.name}: no {board} is seen.", other)
            continue
        shown = params.overlay and len(views) < _MOST_TILES
        views.append(_View(picture.n, picture.name, size_of(plain), sighting, _tile(picture.image) if shown else None))
    if not views:
        return views, skipped
    size = Counter(view.size for view in views).most_common(1)[0][0]
    for view in views:
        if view.size != size:
            skipped[view.n] = ArgumentError(f"{view.name} has {view.size[0]}x{view.size[1]} pixels, and most have {size[0]}x{size[1]}.")
    return [view for view in views if view.size == size], skipped


def _too_few(board: Board, views: Sequence[_View], skipped: dict[int, WorkerError]) -> ArgumentError:
    count = len(views) + len(skipped)
    if not count:
        return ArgumentError(f"calibrate needs {_LEAST_PICTURES} images or more; there is none.")
    seen = "none" if not views else f"only {len(views)}"
    hints = [error.hint for error in skipped.values() if error.hint]
    counted = "columns and rows count squares, not the corners between them." if board.kind in ("chessboard", "charuco") else ""
    return ArgumentError(
        f"calibrate needs {_LEAST_PICTURES} images or more that show a {board}; of {count} {seen} {'does' if len(views) < 2 else 'do'}.",
        (hints[0] if hints else f"Is it flat, sharp, and whole in the picture? {counted}").strip(),
    )


def _solved(views: Sequence[_View], params: Calibrate) -> _Solution:
    if params.model == "fisheye":
        return _fisheye(views)
    size = views[0].size
    on_board = [view.sighting.board.astype(np.float32) for view in views]
    seen = [view.sighting.picture.astype(np.float32)[:, None] for view in views]
    solve: Any = cv2.calibrateCameraExtended
    try:
        error, matrix, distortion, turns, moves, unsure, _, _ = solve(on_board, seen, size, None, None, flags=_MODELS[params.model])
    except cv2.error:
        raise _too_alike("no camera fits them") from None
    matrix, coefficients = np.asarray(matrix, np.float64), np.asarray(distortion, np.float64).ravel()[: _COEFFICIENTS[params.model]]
    if not (np.isfinite(error) and np.isfinite(matrix).all() and np.isfinite(coefficients).all() and min(matrix[0, 0], matrix[1, 1]) > 0):
        raise _too_alike("no camera fits them")
    poses = [(np.asarray(turn, np.float64).ravel(), np.asarray(move, np.float64).ravel()) for turn, move in zip(turns, moves, strict=True)]
    camera = Camera(size, matrix, coefficients)
    doubt = float(max(abs(np.asarray(unsure).ravel()[axis]) / matrix[axis, axis] for axis in (0, 1)))
    solution = _Solution(camera, float(error), doubt, poses, _residuals(camera, views, poses))
    _check_variety(solution)
    return solution


def _residuals(camera: Camera, views: Sequence[_View], poses: Sequence[tuple[Floats, Floats]]) -> list[Floats]:
    """How far the points are from where the camera would see them, for each view."""
    return [
        projected(camera, view.sighting.board @ np.asarray(cv2.Rodrigues(turn)[0], np.float64).T + move) - view.sighting.picture
        for view, (turn, move) in zip(views, poses, strict=True)
    ]


def _fisheye(views: Sequence[_View]) -> _Solution:
    """As `_solved`, for a fisheye lens."""
    size = views[0].size
    on_board = [np.ascontiguousarray(view.sighting.board, np.float64)[None] for view in views]
    seen = [np.ascontiguousarray(view.sighting.picture, np.float64)[None] for view in views]
    flags = sum(getattr(cv2.fisheye, name, None) or getattr(cv2, name) for name in _FISHEYE)
    solve: Any = cv2.fisheye.calibrate
    try:
        _, matrix, distortion, turns, moves = solve(on_board, seen, size, np.eye(3), np.zeros(4), flags=flags)
    except cv2.error:
        raise _too_alike("no fisheye lens fits them") from None
    camera = Camera(size, np.asarray(matrix, np.float64), np.asarray(distortion, np.float64).ravel())
    if not (
        np.isfinite(camera.matrix).all() and np.isfinite(camera.distortion).all() and min(camera.matrix[0, 0], camera.matrix[1, 1]) > 0
    ):
        raise _too_alike("no fisheye lens fits them")
    poses = [(np.asarray(turn, np.float64).ravel(), np.asarray(move, np.float64).ravel()) for turn, move in zip(turns, moves, strict=True)]
    residuals = _residuals(camera, views, poses)
    solution = _Solution(camera, rms(np.concatenate(residuals)), _doubt(camera, views, poses, residuals), poses, residuals)
    _check_variety(solution)
    return solution


def _doubt(camera: Camera, views: Sequence[_View], poses: Sequence[tuple[Floats, Floats]], residuals: Sequence[Floats]) -> float:
    """The standard deviation of the focal length, as a share of it, by the Jacobian of what is seen: numbers are moved by little steps."""
    inner = np.concatenate([camera.matrix[[0, 1, 0, 1], [0, 1, 2, 2]], camera.distortion])
    state = np.concatenate([inner, *(np.concatenate(pose) for pose in poses)])

    def off(state: Floats) -> Floats:
        matrix = np.array([[state[0], 0, state[2]], [0, state[1], state[3]], [0, 0, 1]])
        moved = [(part[:3], part[3:]) for part in state[len(inner) :].reshape(-1, 6)]
        return np.concatenate(_residuals(Camera(camera.size, matrix, state[4 : len(inner)]), views, moved)).ravel()

    steps = 1e-6 * np.maximum(1, np.abs(state))
    slopes = np.column_stack([(off(state + step) - off(state - step)) / (2 * step.sum()) for step in np.diag(steps)])
    spread = float(np.square(np.concatenate(residuals)).sum()) / max(1, len(slopes) - len(state))
    covariance = spread * np.linalg.pinv(slopes.T @ slopes)
    return float(max(np.sqrt(abs(covariance[axis, axis])) / state[axis] for axis in (0, 1)))


def _check_variety(solution: _Solution) -> None:
    """Raises ArgumentError if the boards are seen from too few sides: then any focal length fits about as well."""
    normals = [_normal(turn) for turn, _ in solution.poses]
    widest = max((_angle(one, other) for one, other in itertools.combinations(normals, 2)), default=0.0)
    if widest < _LEAST_TILT:
        raise _too_alike(f"all are seen from one angle, within {widest:.0f} degrees")
    if not solution.unsure < _LEAST_SURE:
        raise _too_alike(f"the focal length stays unsure by {100 * solution.unsure:.0f} %")


def _too_alike(reason: str) -> ArgumentError:
    return ArgumentError(f"calibrate: the images show the board in too few ways: {reason}.", _VARIETY)


def _normal(turn: Floats) -> Floats:
    """The direction out of a board, in the camera's axes."""
    return np.asarray(cv2.Rodrigues(turn)[0], np.float64)[:, 2]


def _angle(one: Floats, other: Floats) -> float:
    return math.degrees(math.acos(float(np.clip(one @ other, -1, 1))))


def _facts(view: _View, solution: _Solution, n: int) -> tuple[float, int, float, float]:
    turn, move = solution.poses[n]
    tilt = _angle(_normal(turn), np.array([0.0, 0, -1]))
    return rms(solution.residuals[n]), len(view.sighting.picture), min(tilt, 180 - tilt), float(np.linalg.norm(move))


def _rows(views: Sequence[_View], solution: _Solution) -> Floats:
    camera = solution.camera
    k1, k2, *others = camera.distortion
    bent = (k1, k2, 0, 0, others[0]) if camera.is_fisheye else camera.distortion[:5]
    lenses = (camera.matrix[0, 0], camera.matrix[1, 1], camera.matrix[0, 2], camera.matrix[1, 2], *bent)
    same = (solution.rms, *lenses, *camera.fields_of_view)
    return np.array([(*_facts(view, solution, n), *same, view.n) for n, view in enumerate(views)], np.float64)


def _file(views: Sequence[_View], solution: _Solution, skipped: dict[int, WorkerError], params: Calibrate) -> bytes:
    seen = []
    for n, view in enumerate(views):
        error, points, tilt, distance = _facts(view, solution, n)
        turn, move = solution.poses[n]
        seen.append(
            {
                "name": view.name,
                "error": round(error, 4),
                "points": points,
                "tilt": round(tilt, 2),
                "distance": float(f"{distance:.6g}"),
                "rotation_vector": turn.tolist(),
                "translation": move.tolist(),
            }
        )
    board = {"kind": params.board, "columns": params.columns, "rows": params.rows, "size": params.size}
    notes = {
        "model": params.model,
        "error": round(solution.rms, 4),
        "board": board,
        "images": seen,
        "left_out": [error.message for _, error in sorted(skipped.items())],
    }
    return to_json(solution.camera, notes)


# ------------------------------------------------------------------------------------------------------------------ undistort


def check_undistort(params: Undistort) -> None:
    """Raises ArgumentError if the new calibration would not be JSON."""
    if params.new_calibration and not params.new_calibration.lower().endswith(".json"):
        raise ArgumentError(f"undistort: new_calibration must end in .json; got {params.new_calibration[:80]!r}.")


@takes_keywords(Undistort, check_undistort)
def undistort(image: Image, calibration: bytes, params: Undistort) -> Found:
    """The image as a lens without distortion would show it: what is straight, is straight.

    Args:
        image: of the calibrated camera, of any size with the same proportions.
        calibration: the bytes of the file that `calibrate` wrote.
        params: how much is kept, and what is outside.

    Returns:
        The picture `output`, of the same size, or smaller with `crop`; and one row: fx fy cx cy of its camera matrix in pixels, fields
        of view across and down in degrees, and the part of the uncropped output without empty edges: left, top, width, height. The file
        `new_calibration` holds the camera that would take the output.

    Raises:
        ArgumentError: the file is no calibration.
        UnfitImage: it is of pictures with other proportions, or the picture is too large.
    """
    camera = of_json(calibration).for_picture(image)
    check_side(max(camera.size))
    matrix, (left, top, width, height) = _without_edges(camera, params.alpha)
    make: Any = cv2.fisheye.initUndistortRectifyMap if camera.is_fisheye else cv2.initUndistortRectifyMap
    maps = make(camera.matrix, camera.distortion, np.eye(3), matrix, camera.size, cv2.CV_32FC1)
    x, y = (np.asarray(part) for part in maps)
    outside = (x < -0.5) | (y < -0.5) | (x > camera.size[0] - 0.5) | (y > camera.size[1] - 0.5)

    def bend(values: Image, border: tuple[float, ...]) -> Image:
        mapped = np.asarray(cv2.remap(values, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
        mapped[outside] = border if mapped.ndim == 3 else border[0]
        return mapped

    made = bent(image, bend, params.background)
    if params.crop:
        made = np.ascontiguousarray(made[top : top + height, left : left + width])
        matrix[:2, 2] -= left, top
    flat = Camera(size_of(made), matrix, np.zeros(5))
    row = (matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2], *flat.fields_of_view, left, top, width, height)
    files = {"new_calibration": to_json(flat, {"model": "none"})} if params.new_calibration else {}
    return Found(np.array([row], np.float64), {"output": made}, files)


def _without_edges(camera: Camera, alpha: float) -> tuple[Floats, tuple[int, int, int, int]]:
    """A camera matrix, and left, top, width and height of what has no empty edges then.

    OpenCV's `getOptimalNewCameraMatrix` stretches a picture to fill both sides; here a square stays a square.
    """
    width, height = camera.size
    share = np.linspace(0, 1, _BORDER_POINTS)
    x, y = share * width - 0.5, share * height - 0.5
    low, right, bottom = np.full_like(share, -0.5), np.full_like(share, width - 0.5), np.full_like(share, height - 0.5)
    sides = [rays(camera, np.column_stack(side)) for side in ((low, y), (right, y), (x, low), (x, bottom))]
    every = np.concatenate(sides)
    inner = np.array([(sides[0][:, 0].max(), sides[2][:, 1].max()), (sides[1][:, 0].min(), sides[3][:, 1].min())])
    outer = np.array([every.min(axis=0), every.max(axis=0)])
    if not np.isfinite(every).all() or (inner[1] - inner[0] <= 0).any():
        raise ArgumentError(
            "undistort: with this calibration the edges of the picture would cross; the distortion was measured too far from them.",
            "Calibrate with the board in all parts of the picture, too, or with model=simple.",
        )
    sizes = np.array([width, height]) / camera.matrix[[0, 1], [0, 1]]
    zooms = float((sizes / (inner[1] - inner[0])).max()), float((sizes / (outer[1] - outer[0])).min())
    zoom = (1 - alpha) * zooms[0] + alpha * zooms[1]
    middle = (1 - alpha) * inner.mean(axis=0) + alpha * outer.mean(axis=0)
    focal = camera.matrix[[0, 1], [0, 1]] * zoom
    center = (np.array([width, height]) - 1) / 2 - focal * middle
    matrix = np.array([[focal[0], 0, center[0]], [0, focal[1], center[1]], [0, 0, 1]])
    first = np.clip(np.ceil(inner[0] * focal + center), 0, (width - 1, height - 1)).astype(int)
    last = np.clip(np.floor(inner[1] * focal + center), first, (width - 1, height - 1)).astype(int)
    return matrix, (int(first[0]), int(first[1]), int(last[0] - first[0] + 1), int(last[1] - first[1] + 1))


# -------------------------------------------------------------------------------------------------------------------- overlay


def _tile(image: Image) -> Image:
    """The picture as wide as a tile."""
    width, height = size_of(image)
    wanted = _TILE, max(1, round(height * _TILE / width))
    plain = color(with_depth(image, 8))
    return np.asarray(cv2.resize(plain, wanted, interpolation=cv2.INTER_AREA if width > _TILE else cv2.INTER_LINEAR))


def _sheet(views: Sequence[_View], solution: _Solution) -> Image:
    """The first tile has the points of all images; then each image has its points, and the errors enlarged."""
    scale = _TILE / solution.camera.size[0]
    every = np.full_like(next(view.tile for view in views if view.tile is not None), 32)
    for view in views:
        for place in _scaled(view.sighting.picture, scale):
            cv2.circle(every, fixed(*place), 24, MARK, cv2.FILLED, cv2.LINE_AA, 4)
    longer = min(_ENLARGED, key=lambda times: abs(math.log(times * max(1e-6, solution.rms * scale) / _DRAWN)))
    _write(every, f"{len(views)} images, error {solution.rms:.2f} px, drawn x{longer}")
    tiles = [every]
    for n, view in enumerate(views):
        if view.tile is None:
            continue
        tile = view.tile.copy()
        for place, off in zip(_scaled(view.sighting.picture, scale), solution.residuals[n] * scale * longer, strict=True):
            for line, hue in ((3, HALO), (1, MARK)):
                cv2.circle(tile, fixed(*place), 4 * 16, hue, line, cv2.LINE_AA, 4)
            for line, hue in ((3, HALO), (1, CENTER)):
                cv2.line(tile, fixed(*place), fixed(*(place + np.clip(off, -_TILE, _TILE))), hue, line, cv2.LINE_AA, 4)
        _write(tile, f"{view.name[:22]}  {rms(solution.residuals[n]):.2f} px")
        tiles.append(tile)
    across = math.ceil(math.sqrt(len(tiles)))
    tiles += [np.full_like(every, 32)] * (-len(tiles) % across)
    return np.vstack([np.hstack(tiles[start : start + across]) for start in range(0, len(tiles), across)])


def _scaled(at: Floats, scale: float) -> Floats:
    return (at + 0.5) * scale - 0.5


def _write(tile: Image, text: str) -> None:
    draw_label(tile, text, np.array([tile.shape[1] / 2, tile.shape[0] - 14.0]))
