"""Rectangles seen in perspective: a sheet of paper, a screen, a picture on a wall.

1. On a smaller copy, contours of edges and of bright and dark areas are simplified to four corners, in grey and in each channel; and
   straight edges that meet are put together (`worker.operations.line_quads`).
2. Each side is laid onto the picture in full size: along its normals the strongest step is looked for, and a line is fitted to these
   places (least squares with Huber's weights). The corners are where the lines meet.
3. A rectangle counts if enough of each side is such a step, on one line. Of several in the same place, the one that is seen best counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.outlines import FindRectangles
from worker.operations.angles import direction
from worker.operations.keywords import takes_keywords
from worker.operations.line_quads import figures
from worker.operations.marks import CENTER, draw_dot, draw_polygon
from worker.operations.shapes import Found, Rows
from worker.pictures.pixels import Image, color, size_of, with_depth

Quad = NDArray[np.float64]

_WORKING_SIDE = 900  # pixels of the smaller copy's longer side
_LEAST_SIDE = 16
_EPSILONS = (0.015, 0.03, 0.05)  # of the contour's length
_SAMPLES = 60  # along each side
_REACH = 6.0  # pixels of the smaller copy to each side of an edge
_ROUNDS = 3
_STRAIGHT = 1.5  # pixels that an edge may lie off the side's line
_STEP = 8.0  # grey levels; a lower one is no edge
_SAME = 0.85  # of the union's area; more in common makes two rectangles one
_SHARPEST = 25.0  # degrees; the corners of a rectangle are hardly ever seen under a smaller angle
_MOST_CANDIDATES = 60
_LEVELS = (0.0, 0.3, 0.55, 0.75)  # thresholds, from the middle to the brightest
_BRIDGE = 9  # pixels


@takes_keywords(FindRectangles)
def find_rectangles(image: Image, params: FindRectangles) -> Found:
    """Finds rectangles in any perspective, and lays the first one straight.

    Args:
        image: any.
        params: how large they are, how well their outline must be seen, and what is written.

    Returns:
        One row per rectangle, the largest first: x, y of its middle in pixels (where its diagonals cross); u, v; width and height, the
        mean lengths of the upper and lower, and of the left and right side; angle of its upper side in degrees clockwise from the
        right; score, the share that is an edge of the side that is seen worst; x1 y1 to x4 y4, its corners in pixels, clockwise from
        the one that is farthest to the upper left.
    """
    picture = color(with_depth(image, 8))
    found = _found(picture, params) if min(picture.shape[:2]) >= _LEAST_SIDE else []
    kept = found[: params.max_items]
    rows = np.array([_row(quad, score, image) for score, quad in kept], np.float64).reshape(-1, 16)
    images = {"warped": _straight(image, kept[0][1], params) if kept else _black(image, params)} if params.warped else {}
    return Found(rows, images, total=len(found))


def _found(picture: Image, params: FindRectangles) -> list[tuple[float, Quad]]:
    """Score and corners of each, the largest first."""
    scale = min(1.0, _WORKING_SIDE / max(picture.shape[:2]))
    small = np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)) if scale < 1 else picture
    least = params.min_area * picture.shape[0] * picture.shape[1]
    channels = (cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), *cv2.split(small))
    smallest = 0.8 * least * scale**2
    candidates = [
        quad
        for quads in (figures(channels, smallest), _candidates(channels, smallest))
        for _, quad in _apart([(cv2.contourArea(quad.astype(np.float32)), quad) for quad in quads], 0.97)[:_MOST_CANDIDATES]
    ]
    laid = []
    for quad in candidates:
        score, corners = _laid(picture, (quad + 0.5) / scale - 0.5, _REACH / scale)
        if score >= params.support and _is_plausible(corners) and cv2.contourArea(corners.astype(np.float32)) >= least:
            laid.append((score, _ordered(corners)))
    return sorted(_apart(laid, _SAME), key=lambda one: -cv2.contourArea(one[1].astype(np.float32)))


def _candidates(channels: Sequence[Image], least: float) -> Iterator[Quad]:
    for channel in channels:
        smooth = cv2.GaussianBlur(channel, (5, 5), 0)
        middle, _ = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
        edges = cv2.dilate(cv2.Canny(smooth, 0.4 * middle, 0.8 * middle), np.ones((3, 3), np.uint8))
        brightest = float(smooth.max())
        levels = [middle + share * (brightest - middle) for share in _LEVELS]
        bright = [np.where(smooth > level, 255, 0).astype(np.uint8) for level in levels]
        # What touches the sheet by a thin bridge is cut off.
        opened = [cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((_BRIDGE, _BRIDGE), np.uint8)) for mask in (*bright, 255 - bright[0])]
        for mask in (edges, bright[0], 255 - bright[0], *opened):
            contours, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
            for contour in contours:
                hull = cv2.convexHull(contour)
                if cv2.contourArea(hull) < least:
                    continue
                for epsilon in _EPSILONS:
                    corners = cv2.approxPolyDP(hull, epsilon * cv2.arcLength(hull, True), True)
                    if len(corners) == 4:
                        yield corners.reshape(4, 2).astype(np.float64)
                        break


def _apart(scored: list[tuple[float, Quad]], share: float) -> list[tuple[float, Quad]]:
    """The best first, without those that have more than this share of their area in common with a better one."""
    kept: list[tuple[float, Quad]] = []
    for score, quad in sorted(scored, key=lambda one: (-one[0], *one[1].ravel().tolist())):
        if all(_common(quad, other) < share for _, other in kept):
            kept.append((score, quad))
    return kept


def _common(one: Quad, other: Quad) -> float:
    """The shared part of two convex areas, as a share of what they cover together."""
    first, second = one.astype(np.float32), other.astype(np.float32)
    shared, _ = cv2.intersectConvexConvex(first, second)
    together = cv2.contourArea(first) + cv2.contourArea(second) - shared
    return shared / together if together > 0 else 1.0


def _laid(picture: Image, quad: Quad, reach: float) -> tuple[float, Quad]:
    """The share that is seen of the side that is seen worst, and the corners where the fitted sides meet."""
    score = 0.0
    for _ in range(_ROUNDS):
        lines, seen = [], []
        for start, end in zip(quad, np.roll(quad, -1, axis=0), strict=True):
            places, looked = _edge_places(picture, start, end, reach)
            if len(places) < 6:
                return 0.0, quad
            line = np.asarray(cv2.fitLine(places.astype(np.float32), cv2.DIST_HUBER, 0, 0.01, 0.01), np.float64).ravel()
            off = np.abs((places - line[2:]) @ np.array([-line[1], line[0]]))
            seen.append((off <= _STRAIGHT).sum() / looked)
            lines.append(line)
        corners = np.array([_meeting(before, line) for before, line in zip([lines[-1], *lines[:-1]], lines, strict=True)])
        if not np.isfinite(corners).all() or np.abs(corners - quad).max() > 6 * reach:
            return 0.0, quad
        quad, score, reach = corners, float(min(seen)), max(2.0, reach / 2)
    return score, quad


def _edge_places(picture: Image, start: Quad, end: Quad, reach: float) -> tuple[Quad, int]:
    """Where the strongest step across a side is, `(N, 2)`, to a fraction of a pixel; and at how many places it was looked for."""
    length = float(np.linalg.norm(end - start))
    if length < _LEAST_SIDE / 2:
        return np.empty((0, 2)), 0
    along = (end - start) / length
    normal = np.array([-along[1], along[0]])
    shares = np.linspace(0.04, 0.96, min(_SAMPLES, max(8, int(length))))
    offsets = np.arange(-math.ceil(reach) - 2, math.ceil(reach) + 3, 0.5)
    grid = start + shares[:, None, None] * (end - start) + offsets[None, :, None] * normal
    maps = grid.astype(np.float32)
    profiles = np.asarray(cv2.remap(picture, maps[..., 0], maps[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE), np.float64)
    steps = np.abs(profiles[:, 4:] - profiles[:, :-4]).max(axis=2)  # over two pixels, in the channel where it is largest
    best = np.clip(steps.argmax(axis=1), 1, steps.shape[1] - 2)
    rows = np.arange(len(shares))
    before, middle, after = (steps[rows, best + shift] for shift in (-1, 0, 1))
    bend = np.maximum(2 * middle - before - after, 1e-6)
    shift = np.clip((after - before) / (2 * bend), -1, 1)
    place = offsets[2] + (best + shift) * 0.5
    is_edge = (middle >= _STEP) & (np.abs(place) <= reach)
    return (start + shares[:, None] * (end - start) + place[:, None] * normal)[is_edge], len(shares)


def _meeting(one: NDArray[np.float64], other: NDArray[np.float64]) -> Quad:
    """Where two lines (direction x, y and a point x, y) cross; infinite if they do not."""
    turn = one[0] * other[1] - one[1] * other[0]
    if abs(turn) < 1e-6:
        return np.full(2, np.inf)
    apart = other[2:] - one[2:]
    return np.asarray(one[2:] + one[:2] * (apart[0] * other[1] - apart[1] * other[0]) / turn)


def _is_plausible(quad: Quad) -> bool:
    """Whether a rectangle can look like this: convex, no corner too sharp."""
    sides = np.roll(quad, -1, axis=0) - quad
    lengths = np.linalg.norm(sides, axis=1)
    if lengths.min() < 4 or not cv2.isContourConvex(quad.astype(np.float32)):
        return False
    directions = sides / lengths[:, None]
    turns = np.degrees(np.arccos(np.clip((directions * np.roll(directions, -1, axis=0)).sum(axis=1), -1, 1)))
    return bool(turns.min() > _SHARPEST and turns.max() < 180 - _SHARPEST)


def _ordered(quad: Quad) -> Quad:
    """Clockwise, as seen with y down, from the corner that is farthest to the upper left."""
    clockwise = quad if cv2.contourArea(quad.astype(np.float32), True) > 0 else quad[::-1]
    return np.roll(clockwise, -int(np.argmin(clockwise.sum(axis=1))), axis=0)


def _sides(quad: Quad) -> tuple[float, float]:
    lengths = np.linalg.norm(np.roll(quad, -1, axis=0) - quad, axis=1)
    return float(lengths[[0, 2]].mean()), float(lengths[[1, 3]].mean())


def _row(quad: Quad, score: float, image: Image) -> tuple[float, ...]:
    width, height = size_of(image)
    diagonals = [np.concatenate([quad[end] - quad[start], quad[start]]) for start, end in ((0, 2), (1, 3))]
    x, y = _meeting(*diagonals)
    wide, high = _sides(quad)
    upper = quad[1] - quad[0]
    angle = float(direction(*upper))
    return x, y, (x + 0.5) / width, 1 - (y + 0.5) / height, wide, high, angle, score, *quad.ravel().tolist()


def _straight(image: Image, quad: Quad, params: FindRectangles) -> Image:
    """What is within the corners, as large as it is seen if no size is wanted."""
    wide, high = _sides(quad)
    width, height = params.width or max(1, round(wide)), params.height or max(1, round(high))
    target = np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)], np.float32)
    transform = cv2.getPerspectiveTransform(quad.astype(np.float32), target)
    return np.asarray(cv2.warpPerspective(image, transform, (width, height), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))


def _black(image: Image, params: FindRectangles) -> Image:
    """What is written if there is no rectangle: a file that a job asks for always comes."""
    width, height = size_of(image)
    return np.zeros((params.height or height, params.width or width, *image.shape[2:]), image.dtype)


def mark_rectangles(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each outline and a dot at its first corner. Corners stand in the last eight columns."""
    canvas = color(with_depth(image, 8)).copy()
    for row in rows:
        corners = row[8:].reshape(4, 2)
        draw_polygon(canvas, corners)
        draw_dot(canvas, corners[0], CENTER)
    return canvas
