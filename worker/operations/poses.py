"""Where markers and boards are in space, seen from a calibrated camera, in the axes that 3D scenes have.

T. Collins and A. Bartoli, Infinitesimal plane-based pose estimation, 2014, as OpenCV does it, then Levenberg and Marquardt.

A marker, or a board, has its origin in its middle; x points to its right, y up, z out of it. The camera, too, is as in a 3D scene: x to
the right, y up, and it looks along -z. A marker that faces the camera upright is not turned at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.calibration import Pose
from worker.errors import ArgumentError
from worker.operations.boards import Board, Finder, Sighting, check_board, rms
from worker.operations.camera import Camera, of_json, projected, rays, with_field_of_view
from worker.operations.keywords import takes_keywords
from worker.operations.markers import square_markers
from worker.operations.marks import HALO, draw_label, edged, fixed, line_width
from worker.operations.shapes import Found
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

Floats = NDArray[np.float64]

#: From the axes of vision (y down, z forward) to those of a 3D scene (y up, z backward), and back.
_SCENE = np.diag([1.0, -1, -1, 1])
_AXES = ((60, 60, 255), (60, 255, 60), (255, 120, 60))
_WIDEST_SIGHT = 11.0  # tangent, 85 degrees; what lies further aside of a fisheye lens is not measured
_SAME = 2.0  # degrees; poses that differ by less are one
_FAR = 30_000  # pixels; what lies farther outside is not drawn


@dataclass(frozen=True, slots=True, eq=False)
class _Placed:
    """One marker or board: number, `(4, 4)` from its axes to those of the camera in a scene, and how well this fits."""

    id: int
    matrix: Floats
    error: float
    ambiguity: float


def check(params: Pose) -> None:
    """Raises ArgumentError if nothing is known about the camera, too much, or if there can be no such board."""
    if bool(params.calibration) == bool(params.field_of_view):
        came = "both" if params.calibration else "neither"
        raise ArgumentError(f"pose needs calibration or field_of_view, one of them; got {came}.", "calibrate writes a calibration.")
    if params.board != "markers":
        check_board(_board(params))


def _board(params: Pose) -> Board:
    return Board(params.board, params.columns, params.rows, params.size, params.marker, params.dictionary)


@takes_keywords(Pose)
def pose(image: Image, calibration: bytes | None, params: Pose) -> Found:
    """Finds where markers of a known size, or a board, are in front of the camera.

    Args:
        image: any; colour is looked at as grey.
        calibration: the bytes of the file that `calibrate` wrote; None for a lens without distortion of `field_of_view`.
        params: what is looked for, and how large it is.

    Returns:
        One row per marker, the largest first, or one for the board: id, -1 for a board; x, y of its origin in pixels; u, v; tx ty tz in
        the unit of `size`, rx ry rz in degrees, applied in this order; the distance; error, the root of the mean squared distance of its
        corners in pixels from where this pose would show them; ambiguity, this error as a share of that of the next best pose: near 1
        both are as likely, as with small markers that face the camera; m00 m10 m20 m30 to m33, the matrix column by column.

    Raises:
        ArgumentError: the file is no calibration.
        UnfitImage: it is of pictures with other proportions.
    """
    camera = with_field_of_view(image, params.field_of_view or 60.0) if calibration is None else of_json(calibration).for_picture(image)
    plain = grey(with_depth(image, 8))
    found = [placed for number, sighting in _sightings(plain, params) if (placed := _placed(camera, number, sighting)) is not None]
    kept = found[: params.max_items]
    rows = np.array([_row(placed, camera, image, params.place) for placed in kept], np.float64).reshape(-1, 30)
    images = {"overlay": _drawn(image, camera, kept, params)} if params.overlay else {}
    return Found(rows, images, total=len(found))


def _sightings(plain: Image, params: Pose) -> Iterator[tuple[int, Sighting]]:
    if params.board != "markers":
        sighting = Finder(_board(params)).find(plain)
        if sighting is not None:
            yield -1, sighting
        return
    half = params.size / 2
    square = np.array([(-half, half, 0), (half, half, 0), (half, -half, 0), (-half, -half, 0)])  # as IPPE_SQUARE wants it
    for number, corners in square_markers(plain, params.dictionary):
        yield number, Sighting(square, corners)


def _placed(camera: Camera, number: int, sighting: Sighting) -> _Placed | None:
    """The better one of the two poses that look alike; None if there is none in front of the camera."""
    flag = cv2.SOLVEPNP_IPPE_SQUARE if number >= 0 else cv2.SOLVEPNP_IPPE
    solve: Any = cv2.solvePnPGeneric
    scale = float(np.abs(sighting.board).max())
    points = sighting.board / scale  # so that very large and very small units are solved alike
    flat = _flat(camera, sighting.picture)
    if flat is None:
        return None
    seen, distortion = np.ascontiguousarray(flat)[:, None], np.zeros(5) if camera.is_fisheye else camera.distortion
    try:
        _, turns, moves, _ = solve(points[:, None], seen, camera.matrix, distortion, flags=flag)
    except cv2.error:
        return None
    poses: list[tuple[float, Floats, Floats]] = []
    for turn, move in zip(turns, moves, strict=True):
        start = _matrix(turn, move)
        try:
            matrix = _matrix(*cv2.solvePnPRefineLM(points[:, None], seen, camera.matrix, distortion, turn.copy(), move.copy()))
        except cv2.error:
            matrix = start
        if np.isfinite(matrix).all() and np.isfinite(start).all() and min(matrix[2, 3], start[2, 3]) > 0:
            poses.append((_error(camera, matrix, points, sighting.picture), matrix, start))
    if not poses:
        return None
    error, best, _ = min(poses, key=lambda one: one[0])
    # Others are taken as they were found: refined, they often become the best one.
    others = [_error(camera, start, points, sighting.picture) for _, _, start in poses if _apart(start, best) > _SAME]
    ambiguity = min(1.0, error / max(min(others), 1e-9)) if others else 0.0
    placed = best.copy()
    placed[:3, 3] *= scale
    return _Placed(number, np.asarray(_SCENE @ placed, np.float64), error, ambiguity)


def _flat(camera: Camera, seen: Floats) -> Floats | None:
    """Pixels of a fisheye lens as a lens without distortion would show them; None if one lies too far aside. Others stay as they are."""
    if not camera.is_fisheye:
        return seen
    found = rays(camera, seen)
    if np.hypot(*found.T).max() > _WIDEST_SIGHT:
        return None
    return np.asarray(found * camera.matrix[[0, 1], [0, 1]] + camera.matrix[:2, 2])


def _apart(one: Floats, other: Floats) -> float:
    """By how many degrees two poses are turned against each other."""
    return math.degrees(float(np.linalg.norm(cv2.Rodrigues(one[:3, :3] @ other[:3, :3].T)[0])))


def _matrix(turn: Any, move: Any) -> Floats:
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = cv2.Rodrigues(turn)[0], np.asarray(move).ravel()
    return matrix


def _error(camera: Camera, matrix: Floats, points: Floats, seen: Floats) -> float:
    return rms(projected(camera, points @ matrix[:3, :3].T + matrix[:3, 3]) - seen)


def _row(placed: _Placed, camera: Camera, image: Image, place: str) -> tuple[float, ...]:
    width, height = size_of(image)
    x, y = _seen(camera, placed.matrix, np.zeros((1, 3)))[0]
    matrix = placed.matrix if place == "board" else np.asarray(np.linalg.inv(placed.matrix), np.float64)
    move = matrix[:3, 3]
    where = (x, y, (x + 0.5) / width, 1 - (y + 0.5) / height)
    fit = (float(np.linalg.norm(move)), placed.error, placed.ambiguity)
    return (placed.id, *where, *move.tolist(), *turns_of(matrix), *fit, *matrix.T.ravel().tolist())


def turns_of(matrix: Floats) -> tuple[float, float, float]:
    """The turns in degrees around x, y and z, which one after the other, x first, make the rotation of a matrix.

    >>> turns_of(np.array([[0.0, -1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]))
    (0.0, 0.0, 90.0)
    """
    upward = float(np.clip(-matrix[2, 0], -1, 1))
    if abs(upward) > 1 - 1e-9:  # straight up or down: x and z turn the same way, so one of them does it
        turn = math.atan2(-matrix[1, 2], matrix[1, 1])
        return math.degrees(turn), math.degrees(math.asin(upward)), 0.0
    around_x, around_z = math.atan2(matrix[2, 1], matrix[2, 2]), math.atan2(matrix[1, 0], matrix[0, 0])
    return math.degrees(around_x) + 0.0, math.degrees(math.asin(upward)) + 0.0, math.degrees(around_z) + 0.0


def _seen(camera: Camera, matrix: Floats, points: Floats) -> Floats:
    """The pixels of points `(N, 3)` in the axes of a marker."""
    there = _SCENE @ matrix
    return projected(camera, points @ there[:3, :3].T + there[:3, 3])


def _drawn(image: Image, camera: Camera, found: Sequence[_Placed], params: Pose) -> Image:
    """A copy of the image, 8 bits BGR, with the axes of each marker or board: x red, y green, z blue."""
    canvas = color(with_depth(image, 8)).copy()
    length = params.size * (0.75 if params.board == "markers" else 2)
    width = 2 * line_width(canvas)
    for placed in found:
        ends = _seen(camera, placed.matrix, np.vstack([np.zeros(3), np.eye(3) * length]))
        nearer = (_SCENE @ placed.matrix)[2, :3] * length + (_SCENE @ placed.matrix)[2, 3] > 0
        for axis, hue in enumerate(_AXES):
            if not nearer[axis] or np.abs(ends).max() > _FAR:
                continue
            for line, paint in ((edged(width), HALO), (width, hue)):
                cv2.line(canvas, fixed(*ends[0]), fixed(*ends[axis + 1]), paint, line, cv2.LINE_AA, 4)
    for placed in found:
        at = _seen(camera, placed.matrix, np.array([[0, -0.7 * length, 0]]))[0]
        if np.abs(at).max() < _FAR:
            away = f"{np.linalg.norm(placed.matrix[:3, 3]):.4g}"
            draw_label(canvas, away if placed.id < 0 else f"{placed.id}: {away}", at)
    return canvas
