"""Further rings around a centre that several circles share: those of a target stand so close that arcs alone mix them up."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import NO_CIRCLES, Circles

_FEWEST = 3  # circles of one centre
_CLOSE = (0.02, 1.0)  # how near to each other centres are one: share of the radius, pixels
_CELL = 4.0  # pixels
_MOST = 8  # centres
_ALIGNED = 0.97  # of an edge's gradient and the direction from the centre
_BIN = 0.5  # pixels
_HELD = 0.5  # of a ring's circumference, at least, that has edges
_APART = 4  # bins; the highest of so many on either side is a ring


def further_rings(edges: Edges, circles: Circles, low: float, high: float) -> Circles:
    """Rings around the centres that circles share.

    Around such a centre the edges that point to it are counted by their distance. Each peak is a ring.

    Args:
        edges: of the image.
        circles: `(N, 4)`, what was found so far.
        low: the smallest radius looked for, in pixels.
        high: the largest one.

    Returns:
        `(M, 4)`: x, y, radius, and how much of the circumference has edges.
    """
    found = [_around(edges, x, y, low, high) for x, y in _centres(circles[_together(circles)])]
    return np.vstack([NO_CIRCLES, *found])


def _together(circles: Circles) -> NDArray[np.intp]:
    """Which circles have enough others near their centre, seen in cells, so that only these are compared with each other."""
    kept = np.zeros(len(circles), np.bool_)
    for shift in (0.0, 0.5):
        column, row = np.floor(circles[:, :2].T / _CELL + shift).astype(np.int64)
        _, place, count = np.unique(row * 2**20 + column, return_inverse=True, return_counts=True)
        kept |= count[place] >= _FEWEST
    return np.flatnonzero(kept)


def _centres(circles: Circles) -> list[tuple[float, float]]:
    x, y, radius = circles[:, :3].T
    alike = np.hypot(x[:, None] - x, y[:, None] - y) < _CLOSE[0] * np.minimum(radius[:, None], radius) + _CLOSE[1]
    count = alike.sum(axis=1)
    centres: list[tuple[float, float]] = []
    left = count >= _FEWEST
    while left.any() and len(centres) < _MOST:
        members = alike[int(np.argmax(np.where(left, count, 0)))]
        centres.append((float(np.median(x[members])), float(np.median(y[members]))))
        left &= ~members
    return centres


def _around(edges: Edges, x: float, y: float, low: float, high: float) -> Circles:
    across, down = edges.x - np.float32(x), edges.y - np.float32(y)
    away = np.sqrt(across * across + down * down)
    aligned = (np.abs(across * edges.nx + down * edges.ny) > _ALIGNED * away) & (away > low) & (away < high)
    counts = np.bincount((away[aligned] / _BIN).astype(np.intp), minlength=3).astype(np.float64)
    share = np.convolve(counts, np.ones(3), "same") / (2 * np.pi * _BIN * np.maximum(np.arange(len(counts)) + 0.5, 1))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(share, _APART), 2 * _APART + 1)
    peaks = np.flatnonzero((share >= _HELD) & (share >= windows.max(axis=1)))
    rows = np.empty((len(peaks), 4))
    rows[:] = (x, y, 0, 0)
    rows[:, 2], rows[:, 3] = (peaks + 0.5) * _BIN, np.minimum(share[peaks], 1)
    return rows
