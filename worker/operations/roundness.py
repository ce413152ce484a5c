"""How round a thing is: what tells a circle from an oval, from a polygon, and from a shape that only passes by."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import Circles, Floats, Support, support, turned

_COUNT = 64  # directions
_WIDE = (0.06, 1.5)  # how far from the circle an edge may lie: share of the radius, pixels
_WINDOW = (-2, -1, 0, 1, 2)  # directions over which the turning of the gradient is measured, an arc of a 13th


@dataclass(frozen=True, slots=True)
class Roundness:
    """How round the edges near circles are, `(circles,)` each; 0 is perfect, 1 about the limit.

    Attributes:
        swing: how far the edges lie from an ellipse, by the median.
        oval: how far that ellipse is from a circle.
        straight: the share of short arcs along which the gradient does not turn as it should: the sides of a polygon.
        whole: how much of the circumference the edges hold up, or the longest arc, as `Support.evidence`, but up to 1.4.
        visible: the share of the circumference that lies within the image.
    """

    swing: Floats
    oval: Floats
    straight: Floats
    whole: Floats
    visible: Floats

    @property
    def flaw(self) -> Floats:
        """All in one number."""
        return np.asarray(0.25 * np.minimum(self.swing, 1) + 0.2 * np.minimum(self.oval, 1) + 0.3 * self.straight)


def roundness(edges: Edges, circles: Circles, sign: NDArray[np.int64] | None = None) -> Roundness:
    """Measures the edges in a wide ring about each circle.

    The distances of the edges are taken as a series in the direction. Its terms up to the second are an ellipse, which a circle seen
    at an angle is, too; what is left, smoothed over three directions, is noise for a circle and a saw-tooth for a polygon.

    Args:
        edges: of the image.
        circles: `(N, 4)`.
        sign: as for `support`.
    """
    radius = circles[:, 2]
    held_up = support(edges, circles, _WIDE[0] * radius + _WIDE[1], _COUNT, sign)
    held = held_up.held.astype(np.float64)
    columns, products = _series(_COUNT)
    normal = (held @ products).reshape(-1, 5, 5) + np.eye(5) * (0.02 * _COUNT)
    terms = np.linalg.solve(normal, ((held * held_up.away) @ columns)[..., None])[..., 0]
    left = (held_up.away - terms @ columns.T) * held
    near = held + turned(held, 1) + turned(held, -1)
    smooth = np.abs(left + turned(left, 1) + turned(left, -1)) / np.maximum(near, 1)
    ordered = np.sort(np.where(held_up.held, smooth, np.inf), axis=1)
    middle = ordered[np.arange(len(ordered)), np.minimum(held_up.held.sum(axis=1) // 2, _COUNT - 1)]
    swing = np.where(np.isfinite(middle), middle, 0) / (0.3 + 0.008 * radius)
    # Small rings are often letters, and those are a little oval.
    oval = np.hypot(terms[:, 3], terms[:, 4]) / (0.05 + radius * np.clip(0.03 + (radius - 6) * 0.0075, 0.03, 0.06))
    whole = np.maximum(held_up.share(), 1.4 * held_up.arc())
    return Roundness(swing, oval, straightness(held_up), whole, held_up.visible.mean(axis=1))


@functools.cache
def _series(count: int) -> tuple[Floats, Floats]:
    """1, cos a, sin a, cos 2a, sin 2a for each direction a, `(count, 5)`, and their products, `(count, 25)`."""
    angles = np.arange(count) * (2 * np.pi / count)
    columns = np.column_stack([np.ones(count), np.cos(angles), np.sin(angles), np.cos(2 * angles), np.sin(2 * angles)])
    return columns, (columns[:, :, None] * columns[:, None, :]).reshape(count, 25)


def straightness(held_up: Support) -> Floats:
    """The share of short arcs on which the gradient turns less than half as fast as the radius does.

    The gradient along a circle points to its centre, so its lean stays 0, also where the circle is seen at an angle or is uneven. Along a
    straight side the gradient stays as it is, so its lean falls as fast as the direction rises. For a regular polygon of n sides the share
    is that of the windows that fit into a side, at least a half up to octagons; for noise it is next to nothing.
    """
    held = held_up.held.astype(np.float32)
    lean = held_up.lean * held
    sums = np.zeros((5, *held.shape), np.float32)  # of 1, a, aa, lean, a * lean
    for step in _WINDOW:
        one, value = (turned(held, -step), turned(lean, -step)) if step else (held, lean)
        angle = np.float32(step * 2 * np.pi / _COUNT)
        sums += np.stack([one, one * angle, one * angle * angle, value, value * angle])
    n, a, aa, value, rising = sums
    full = (n >= len(_WINDOW) - 1) & held_up.held
    slope = (n * rising - a * value) / np.where(full, n * aa - a * a, 1)
    return np.asarray((full & (slope < -0.5)).sum(axis=1) / np.maximum(full.sum(axis=1), 1))
