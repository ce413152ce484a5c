"""Candidates for circles: two edges on one contour and their gradients fix a circle, and an edge between them has to confirm it.

The idea that arcs of contours vote, in place of single edges, is that of EDCircles (Akinlar and Topal, Pattern Recognition 46, 2013);
the centre from two gradients is that of Rad, Faez and Qaragozlou (2003).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Contours, Edges

Floats = NDArray[np.float32]

_LAGS = (5, 9, 16, 28, 50, 90, 160)  # pixels along a contour between two edges
_BINS = 5  # of the radius, per octave
_ROUGH_CELLS = 1 << 14  # cells that share a number are separated later
_FEWEST = 6  # pixels of contour that speak for a candidate
_SHORT = 4000  # steps of contours
_LEAST = 0.2  # of the circumference (a thin contour is walked along twice, so 2 is all of it)


def candidates(edges: Edges, low: float, high: float) -> NDArray[np.float64]:
    """Circles of which arcs are seen.

    Args:
        edges: of the image.
        low: the smallest radius looked for, in pixels.
        high: the largest one.

    Returns:
        `(N, 4)`: x, y, radius, and how much of the circumference speaks for it; the most first.
    """
    contours = edges.contours
    found = [_pairs(edges, contours, lags, low, high) for lags in _together(len(contours.at), low, high)]
    if not found:
        return np.empty((0, 4))
    grouped = _grouped(*(np.concatenate(values) for values in zip(*found, strict=True)))
    return np.asarray(grouped[np.argsort(-grouped[:, 3], kind="stable")], np.float64)


def _together(steps: int, low: float, high: float) -> list[tuple[int, ...]]:
    """The lags that can matter: all at once on short contours, one by one on long ones, so that their tables stay in the cache."""
    lags = tuple(lag for lag in _LAGS if 0.3 * low < lag < 3 * high)
    return [lags] if lags and steps < _SHORT else [(lag,) for lag in lags]


def _pairs(edges: Edges, contours: Contours, lags: tuple[int, ...], low: float, high: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Circles through edges so many steps apart: x, y, radius, and for how many pixels of contour each speaks."""
    at, first, length = contours.at, contours.first, contours.length
    numbers = np.array(lags, np.int32)
    starts = [np.arange(0, len(at), step, dtype=np.int32) for step in _step(numbers)]
    start = np.concatenate(starts)
    lag = np.repeat(numbers, [len(one) for one in starts])
    long = np.flatnonzero(2 * length.take(start) >= 3 * lag)
    start, lag = start.take(long), lag.take(long)
    one, two = at.take(start), at.take(_ahead(start, lag, first, length))
    nx1, ny1, nx2, ny2 = edges.nx.take(one), edges.ny.take(one), edges.nx.take(two), edges.ny.take(two)
    ax, ay = nx2 - nx1, ny2 - ny1
    turn = ax * ax + ay * ay
    good = np.flatnonzero(turn > 0.12)  # normals at least 20 degrees apart
    one, two, start, lag = (steps.take(good) for steps in (one, two, start, lag))
    ax, ay, turn = (values.take(good) for values in (ax, ay, turn))
    sum_nx, sum_ny = nx1.take(good) + nx2.take(good), ny1.take(good) + ny2.take(good)
    x1, y1, x2, y2 = edges.x.take(one), edges.y.take(one), edges.x.take(two), edges.y.take(two)
    dx, dy = x2 - x1, y2 - y1
    signed = -(dx * ax + dy * ay) / turn
    radius = np.abs(signed)
    off2 = (dx + signed * ax) ** 2 + (dy + signed * ay) ** 2
    good = np.flatnonzero(
        (radius > 0.85 * low)
        & (radius < 1.15 * high)
        & (off2 < (0.12 * radius + 0.6) ** 2)
        & (dx * dx + dy * dy > 0.25 * np.minimum(lag, 9) ** 2)
    )
    x, y = (x1 + x2 + signed * sum_nx).take(good) / 2, (y1 + y2 + signed * sum_ny).take(good) / 2
    radius, start, lag = radius.take(good), start.take(good), lag.take(good)
    middle = at.take(_ahead(start, lag // 2, first, length))
    across, down = edges.x.take(middle) - x, edges.y.take(middle) - y
    away = np.sqrt(across * across + down * down)
    good = np.flatnonzero(np.abs(away - radius) < 0.06 * radius + 0.7)
    return x.take(good), y.take(good), radius.take(good), _step(lag.take(good)).astype(np.float32)


def _ahead(start: NDArray[np.int32], lag: NDArray[np.int32], first: NDArray[np.int32], length: NDArray[np.int32]) -> NDArray[np.int32]:
    """The steps of closed contours that are so many ahead; less than once round."""
    ahead = start + lag
    count = length.take(start)
    ahead -= count * (ahead >= first.take(start) + count)
    return ahead


def _step(lag: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many steps lie between the starts of pairs."""
    return np.maximum(lag // 8, 2)


def _grouped(x: Floats, y: Floats, radius: Floats, weight: Floats) -> Floats:
    """Means of the circles that fall into one cell, in two grids of cells, half a cell apart. Cells grow with the radius."""
    place, key = (np.concatenate(values) for values in zip(*(_cells(x, y, radius, weight, shift) for shift in (0, 1)), strict=True))
    if not len(key):
        return np.empty((0, 4), np.float32)
    order = np.argsort(key, kind="stable")
    place, key = place.take(order), key.take(order)
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    weight = weight.take(place)
    total = np.add.reduceat(weight, starts)
    mean_x, mean_y, mean_radius = (np.add.reduceat(values.take(place) * weight, starts) / total for values in (x, y, radius))
    share = total / (2 * np.pi * mean_radius)
    good = (share > _LEAST) & (total >= _FEWEST)
    return np.column_stack([mean_x, mean_y, mean_radius, share])[good].astype(np.float32)


def _cells(x: Floats, y: Floats, radius: Floats, weight: Floats, grid: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """The circles that may not be alone in their cells, and the keys of these."""
    shift = np.float32(grid / 2)
    octave = np.floor(np.log2(radius) * _BINS + shift)
    cell = np.exp2((octave - shift + np.float32(0.5)) / _BINS) * np.float32(0.2) + np.float32(0.4)
    column, row = (np.clip(np.floor(place / cell + shift), -(2**17), 2**17).astype(np.int64) + 2**18 for place in (x, y))
    key = (grid << 50) | (octave.astype(np.int64) + 64 << 40) | (row << 20) | column
    rough = (key ^ (key >> 15) ^ (key >> 31)) & (
        _ROUGH_CELLS - 1
    )  # different cells may share it, so it lets through too many, never too few
    place = np.flatnonzero(np.bincount(rough, weight, minlength=_ROUGH_CELLS).take(rough) >= _FEWEST)
    return place, key.take(place)
