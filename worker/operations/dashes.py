"""Candidates for circles drawn with dashes: what hangs together once the gaps are closed, if its outline is round."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import NO_CIRCLES, Circles

_SHORT = 64  # steps; a contour of a dash is no longer
_LEAST = 1.5 * _SHORT / (2 * np.pi)  # pixels; a smaller circle may be one contour, and no dashes
_FEWEST, _MOST = 6, 600  # dashes; more are a text or noise
_GAPS = (3, 6)  # pixels; gaps up to twice as wide are closed, at half of the size
_ROUGH = (0.03, 1.5)  # how far an outline lies from its circle on average: share of the radius, pixels


def dashed_circles(edges: Edges, low: float, high: float) -> Circles:
    """Circles around which dashes stand.

    The edges of short contours are made so thick that they touch each other, and a circle is fitted to each outline of what they make
    (Kasa, A circle fitting procedure and its error analysis, 1976).

    Args:
        edges: of the image.
        low: the smallest radius looked for, in pixels.
        high: the largest one.

    Returns:
        `(N, 4)`: x, y, radius, and 1.
    """
    low = max(low, _LEAST)
    contours = edges.contours
    short = np.flatnonzero(contours.length <= _SHORT)
    if not _FEWEST <= np.count_nonzero(contours.first[short] == short) <= _MOST:
        return NO_CIRCLES
    height, width = (side // 2 + 1 for side in edges.shape)
    mask = np.zeros((height, width), np.uint8)
    column, row = (
        np.clip(values[contours.at[short]] / 2, 0, side - 1).astype(np.intp) for values, side in ((edges.x, width), (edges.y, height))
    )
    mask[row, column] = 1
    found = np.vstack([NO_CIRCLES, *(_round_outlines(mask, gap / 2, low / 2, high / 2) for gap in _GAPS)])
    return np.column_stack([2 * found[:, :2] + 0.5, 2 * found[:, 2], found[:, 3]])


def _round_outlines(mask: NDArray[np.uint8], gap: float, low: float, high: float) -> Circles:
    size = round(2 * gap) | 1
    thick = cv2.dilate(mask, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)))
    outlines, _ = cv2.findContours(thick, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    outlines = [outline for outline in outlines if len(outline) > 5 * max(low, gap)]
    if not outlines:
        return NO_CIRCLES
    lengths = np.array([len(outline) for outline in outlines])
    starts = np.cumsum(lengths) - lengths
    points = np.concatenate(outlines).reshape(-1, 2).astype(np.float64)
    means = np.add.reduceat(points, starts) / lengths[:, None]
    x, y = (points - np.repeat(means, lengths, axis=0)).T
    xx, yy, xy, xz, yz, z = (
        np.add.reduceat(values, starts) for values in (x * x, y * y, x * y, x * (x * x + y * y), y * (x * x + y * y), x * x + y * y)
    )
    scale = 2 * np.maximum(xx * yy - xy * xy, 1e-9)
    across, down = (xz * yy - yz * xy) / scale, (yz * xx - xz * xy) / scale
    radius = np.sqrt(z / lengths + across**2 + down**2)
    away = np.abs(np.hypot(x - np.repeat(across, lengths), y - np.repeat(down, lengths)) - np.repeat(radius, lengths))
    rough = np.add.reduceat(away, starts) / lengths
    outer = np.array([cv2.contourArea(outline, True) < 0 for outline in outlines])
    at_dashes = radius + np.where(outer, -gap, gap)
    good = (rough < _ROUGH[0] * radius + _ROUGH[1]) & (at_dashes >= low) & (at_dashes <= high)
    return np.asarray(np.column_stack([means[:, 0] + across, means[:, 1] + down, at_dashes, np.ones(len(means))])[good])
