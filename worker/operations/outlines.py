"""Outlines: contours of what is bright or dark, blobs, and straight lines."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.outlines import FindBlobs, FindContours, FindLines
from worker.operations.angles import direction, within
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, HALO, MARK, draw_cross, draw_outline, draw_polygon, edged, line_width
from worker.operations.regions import check_region, mask_of
from worker.operations.shapes import Found
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Rows

Points = NDArray[np.int32]

_SAME_PX = 1.0  # blobs of both kinds whose centres are nearer are one
_LEAST_SIDE = 8  # pixels; smaller pictures have no line, and the detector fails on some of them


def check(params: FindContours | FindBlobs | FindLines) -> None:
    """Raises ArgumentError if the region cannot be read."""
    check_region(params.region)


def _uv(x: Any, y: Any, image: Image) -> tuple[Any, Any]:
    width, height = size_of(image)
    return (x + 0.5) / width, 1 - (y + 0.5) / height


# ------------------------------------------------------------------------------------------------------------ contours


@takes_keywords(FindContours, check)
def find_contours(image: Image, params: FindContours) -> Found:
    """Finds the contours of what is bright, dark or opaque (S. Suzuki and K. Abe, 1985).

    Args:
        image: any; colour is looked at as grey.
        params: what has contours, and how small they may be.

    Returns:
        One row per contour, the largest first: x, y of its centre of mass in pixels; u, v; area, the number of its pixels; perimeter;
        left, top, width and height of its upright box; long and short side of the smallest box in any direction, and the direction of
        the long one, 0 to 180 degrees clockwise from the right; solidity, its area as a share of its hull's; parent, the number of
        the row that it lies in, or -1.
    """
    found, parents = _traced(_mask(image, params), holes=params.holes)
    areas = [_pixels(contour, is_hole=_depth(parents, n) % 2 == 1) for n, contour in enumerate(found)]
    large = [n for n, area in enumerate(areas) if area >= max(params.min_area, 1)]
    kept = sorted(large, key=lambda n: (-areas[n], *found[n][0].tolist()))[: params.max_items]
    place = {n: row for row, n in enumerate(kept)}
    rows = [(*_contour_row(found[n], areas[n], image), place.get(parents[n], -1)) for n in kept]
    chosen = [found[n] for n in kept]
    files = {"points": _points_json(chosen, params.tolerance)} if params.points else {}
    images = {"overlay": _contours_marked(image, chosen)} if params.overlay else {}
    return Found(np.array(rows, np.float64).reshape(-1, 15), images, files, total=len(large))


def _mask(image: Image, params: FindContours) -> Image:
    """255 for what has contours."""
    if params.of == "alpha":
        eight = with_depth(image, 8)
        plain = eight[..., 3] if eight.ndim == 3 and eight.shape[2] == 4 else np.full(eight.shape[:2], 255, np.uint8)
    else:
        plain = grey(with_depth(image, 8))
    inside = mask_of(image, params.region, None)
    threshold = params.threshold or (127.0 if params.of == "alpha" else _otsu(plain if inside is None else plain[inside > 0]))
    mask = np.where((plain <= threshold) if params.of == "dark" else (plain > threshold), 255, 0).astype(np.uint8)
    return mask if inside is None else np.asarray(cv2.bitwise_and(mask, inside))


def _otsu(values: Image) -> float:
    if not values.size or values.min() == values.max():
        return 127.0  # nothing to tell apart
    threshold, _ = cv2.threshold(np.ascontiguousarray(values.reshape(1, -1)), 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    return float(threshold)


def _traced(mask: Image, *, holes: bool) -> tuple[list[Points], list[int]]:
    """All points of each contour, `(N, 2)`, and the index of the one around it, or -1."""
    found, tree = cv2.findContours(mask, cv2.RETR_TREE if holes else cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    parents = [] if tree is None else np.asarray(tree).reshape(-1, 4)[:, 3].tolist()
    return [np.asarray(contour, np.int32).reshape(-1, 2) for contour in found], parents


def _depth(parents: list[int], n: int) -> int:
    """How many contours are around one. Every second one is a hole."""
    depth = 0
    while (n := parents[n]) >= 0:
        depth += 1
    return depth


def _pixels(contour: Points, *, is_hole: bool) -> float:
    """The number of pixels within, by G. Pick's theorem (1899). A hole's contour runs on the pixels around it; a thing's on its own."""
    if len(contour) == 1:
        return 1.0
    half = len(contour) / 2
    return cv2.contourArea(contour) + (1 - half if is_hole else 1 + half)


def _contour_row(contour: Points, area: float, image: Image) -> tuple[float, ...]:
    moments = cv2.moments(contour)
    if moments["m00"] > 0:
        x, y = moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]
    else:  # a line or a point
        x, y = (float(value) for value in contour.mean(axis=0))
    left, top, wide, high = cv2.boundingRect(contour)
    long, short, angle = _turned_box(contour)
    hull = cv2.convexHull(contour)
    filled = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    solidity = min(1.0, area / filled)
    return x, y, *_uv(x, y, image), area, cv2.arcLength(contour, True), left, top, wide, high, long, short, angle, solidity


def _turned_box(contour: Points) -> tuple[float, float, float]:
    """Long side, short side, both with the pixels' own width, and direction of the smallest box around."""
    _, (wide, high), angle = cv2.minAreaRect(contour)
    if wide < high:
        wide, high, angle = high, wide, angle + 90
    return wide + 1, high + 1, float(within(angle, 180))


def _points_json(contours: list[Points], tolerance: float) -> bytes:
    """The contours with their simplified points (D. Douglas and T. Peucker, 1973) and hulls, in the order of the rows."""
    items = [
        {
            "contour": n,
            "points": cv2.approxPolyDP(contour, tolerance, True).reshape(-1, 2).tolist() if tolerance else contour.tolist(),
            "hull": cv2.convexHull(contour).reshape(-1, 2).tolist(),
        }
        for n, contour in enumerate(contours)
    ]
    return (json.dumps({"contours": items}) + "\n").encode()


def _contours_marked(image: Image, contours: list[Points]) -> Image:
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for line, hue in ((edged(width), HALO), (width, MARK)):
        cv2.drawContours(canvas, [contour.reshape(-1, 1, 2) for contour in contours], -1, hue, line, cv2.LINE_AA)
    return canvas


# --------------------------------------------------------------------------------------------------------------- blobs


@takes_keywords(FindBlobs, check)
def find_blobs(image: Image, params: FindBlobs) -> Found:
    """Finds spots that differ from what is around them, over all thresholds (OpenCV's simple blob detector).

    Args:
        image: any; colour is looked at as grey.
        params: which spots, how large, how round.

    Returns:
        One row per blob, the largest first: x, y of its middle in pixels, radius, u, v, and bright: 1 if it is brighter than what is
        around it, otherwise 0.
    """
    plain = grey(with_depth(image, 8))
    inside = mask_of(image, params.region, None)
    largest = params.max_radius or min(plain.shape) / 4
    # Noise has spots of its own, which are smaller than those that are wanted.
    smooth = np.asarray(cv2.GaussianBlur(plain, (0, 0), min(1.0, params.min_radius / 3)))
    detector = _blob_detector(params, largest)
    found: list[tuple[float, float, float, int]] = []
    for bright in (1, 0) if params.of == "both" else (int(params.of == "bright"),):
        for keypoint in detector.detect(smooth if bright else 255 - smooth):
            x, y = keypoint.pt
            column, line = min(max(round(x), 0), plain.shape[1] - 1), min(max(round(y), 0), plain.shape[0] - 1)
            if inside is None or inside[line, column]:
                found.append((x, y, keypoint.size / 2 + 0.5, bright))  # its radius ends in the middle of the outermost pixels
    kept: list[tuple[float, float, float, int]] = []
    for blob in sorted(found, key=lambda blob: (-blob[2], blob[1], blob[0])):
        if all(math.hypot(blob[0] - other[0], blob[1] - other[1]) > _SAME_PX for other in kept):
            kept.append(blob)
    rows = [(x, y, radius, *_uv(x, y, image), bright) for x, y, radius, bright in kept[: params.max_items]]
    return Found(np.array(rows, np.float64).reshape(-1, 6), total=len(kept))


def _blob_detector(params: FindBlobs, largest: float) -> Any:
    opencv: Any = cv2  # its annotations lack this detector
    settings = opencv.SimpleBlobDetector_Params()
    settings.thresholdStep = max(1.0, params.contrast / 4)
    settings.minThreshold, settings.maxThreshold = settings.thresholdStep, 255.0
    settings.minRepeatability = 3  # of four steps within the contrast
    settings.minDistBetweenBlobs = max(1.0, params.min_radius)
    settings.filterByColor, settings.blobColor = True, 255
    settings.filterByArea = True
    settings.minArea = math.pi * params.min_radius**2
    settings.maxArea = math.pi * max(largest, params.min_radius) ** 2 + 1
    settings.filterByCircularity, settings.minCircularity = params.roundness > 0, max(params.roundness, 1e-3)
    settings.filterByConvexity, settings.minConvexity = params.roundness > 0, max(0.8 * params.roundness, 1e-3)
    settings.filterByInertia, settings.minInertiaRatio = params.roundness > 0, max(0.5 * params.roundness, 1e-3)
    return opencv.SimpleBlobDetector_create(settings)


def mark_blobs(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each blob's outline and middle. Rows begin x, y, radius."""
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for x, y, radius in rows[:, :3]:
        for line, outline, cross in ((edged(width), HALO, HALO), (width, MARK, CENTER)):
            draw_outline(canvas, (x, y), radius, outline, line)
            draw_cross(canvas, (x, y), width + 1.0, cross, line)
    return canvas


# --------------------------------------------------------------------------------------------------------------- lines


@takes_keywords(FindLines, check)
def find_lines(image: Image, params: FindLines) -> Found:
    """Finds straight line segments (R. Grompone von Gioi and others, LSD: a line segment detector, 2012).

    A line is an edge between bright and dark; a drawn stroke has two, one on each side.

    Args:
        image: any; colour is looked at as grey.
        params: how long lines are, and in which direction they run.

    Returns:
        One row per line, the longest first: x1, y1, x2, y2 of its ends in pixels, the left or upper one first; u1, v1, u2, v2; length;
        angle, 0 up to 180 degrees clockwise from the right.
    """
    plain = grey(with_depth(image, 8))
    inside = mask_of(image, params.region, None)
    lines = None
    if min(plain.shape) >= _LEAST_SIDE:
        lines = cv2.createLineSegmentDetector(cv2.LSD_REFINE_ADV).detect(plain)[0]
    segments = np.asarray(lines if lines is not None else np.empty((0, 4)), np.float64).reshape(-1, 4)
    segments = segments[_wanted(segments, params, plain, inside)]
    ends = segments.reshape(-1, 2, 2)
    swapped = (ends[:, 0, 0] > ends[:, 1, 0]) | ((ends[:, 0, 0] == ends[:, 1, 0]) & (ends[:, 0, 1] > ends[:, 1, 1]))
    ends[swapped] = ends[swapped, ::-1]
    across = ends[:, 1] - ends[:, 0]
    lengths, angles = np.hypot(*across.T), direction(across[:, 0], across[:, 1], 180)
    order = np.lexsort((ends[:, 0, 0], ends[:, 0, 1], -lengths))[: params.max_items]
    x1, y1, x2, y2 = ends.reshape(-1, 4).T
    rows = np.column_stack([x1, y1, x2, y2, *_uv(x1, y1, image), *_uv(x2, y2, image), lengths, angles])
    return Found(rows[order], total=len(rows))


def _wanted(segments: NDArray[np.float64], params: FindLines, plain: Image, inside: Image | None) -> NDArray[np.bool_]:
    across = segments[:, 2:] - segments[:, :2]
    wanted = np.hypot(*across.T) >= (params.min_length or math.hypot(*plain.shape) / 50)
    if params.angle >= 0:
        off = np.abs((np.degrees(np.arctan2(across[:, 1], across[:, 0])) - params.angle + 90) % 180 - 90)
        wanted &= off <= params.angle_tolerance
    if inside is not None:
        middle = np.clip(np.rint((segments[:, :2] + segments[:, 2:]) / 2).astype(int), 0, np.array(plain.shape[::-1]) - 1)
        wanted &= inside[middle[:, 1], middle[:, 0]] > 0
    return np.asarray(wanted)


def mark_lines(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with the lines on it. Rows begin x1, y1, x2, y2."""
    canvas = color(with_depth(image, 8)).copy()
    for row in rows:
        draw_polygon(canvas, row[:4].reshape(2, 2), closed=False)
    return canvas
