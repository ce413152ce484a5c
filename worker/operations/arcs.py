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
    long = np.flatnonzero(2 * length[start] >= 3 * lag)
    start, lag = start[long], lag[long]
    one, begin, count = at[start], first[start], length[start]
    two = at[begin + (start - begin + lag) % count]
    ax, ay = edges.nx[two] - edges.nx[one], edges.ny[two] - edges.ny[one]
    turn = ax * ax + ay * ay
    good = np.flatnonzero(turn > 0.12)  # normals at least 20 degrees apart
    one, two, ax, ay, turn, start, lag = one[good], two[good], ax[good], ay[good], turn[good], start[good], lag[good]
    x1, y1, x2, y2 = edges.x[one], edges.y[one], edges.x[two], edges.y[two]
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
    one, two, signed, radius, start, lag = one[good], two[good], signed[good], radius[good], start[good], lag[good]
    x = (edges.x[one] + edges.x[two] + signed * (edges.nx[one] + edges.nx[two])) / 2
    y = (edges.y[one] + edges.y[two] + signed * (edges.ny[one] + edges.ny[two])) / 2
    begin, count = first[start], length[start]
    middle = at[begin + (start - begin + lag // 2) % count]
    away = np.hypot(edges.x[middle] - x, edges.y[middle] - y)
    good = np.flatnonzero(np.abs(away - radius) < 0.06 * radius + 0.7)
    return x[good], y[good], radius[good], _step(lag[good]).astype(np.float32)


def _step(lag: NDArray[np.int32]) -> NDArray[np.int32]:
    """How many steps lie between the starts of pairs."""
    return np.maximum(lag // 8, 2)


def _grouped(x: Floats, y: Floats, radius: Floats, weight: Floats) -> Floats:
    """Means of the circles that fall into one cell, in two grids of cells, half a cell apart. Cells grow with the radius."""
    place, key = (np.concatenate(values) for values in zip(*(_cells(x, y, radius, weight, shift) for shift in (0, 1)), strict=True))
    if not len(key):
        return np.empty((0, 4), np.float32)
    order = np.argsort(key, kind="stable")
    place, key = place[order], key[order]
    starts = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    weight = weight[place]
    total = np.add.reduceat(weight, starts)
    mean_x, mean_y, mean_radius = (np.add.reduceat(values[place] * weight, starts) / total for values in (x, y, radius))
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
    rough = (key ^ (key >> 15) ^ (key >> 31)) & 0xFFFF  # different cells may share it, so it lets through too many, never too few
    place = np.flatnonzero(np.bincount(rough, weight, minlength=1 << 16)[rough] >= _FEWEST)
    return place, key[place]
