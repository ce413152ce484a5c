"""What holds a circle up: the edges next to it, seen from its centre in many directions, and the fit of the circle to them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges

if TYPE_CHECKING:
    from collections.abc import Iterator

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]

#: Circles while they are sought: `(N, 4)`, x, y, radius in pixels, evidence from 0 to 1.
Circles = NDArray[np.float64]

NO_CIRCLES: Circles = np.empty((0, 4))

T = TypeVar("T", bound=np.generic)

#: How far from the circle an edge may lie in the last step of a fit: share of the radius, pixels.
TIGHT = (0.025, 0.65)

_ALIGNED = math.cos(math.radians(20))  # of the angle between an edge's gradient and the line to the centre
_BESIDE = 1.2  # pixels; so far beside the line from the centre an edge may lie
_LONG = 1.45  # an unbroken arc counts so many times its share of the circumference
_SEEN = 0.33  # of the circumference; a circle of which less lies within the picture is measured by this share
_NONE = np.float32(9999)
_SAME_CENTRE = (0.01, 0.3)  # share of the radius, pixels: circles about one centre
_SAME_RING = (0.03, 1.5)  # and so far apart in radius at most they are one, not two rings
_FEW = 150  # circles; so few are compared each with each
_AT_ONCE = 1 << 15  # places that are looked at together, so that their tables stay in the processor's cache


@dataclass(frozen=True, slots=True)
class Support:
    """What holds circles up, `(circles, directions)` each.

    Attributes:
        away: how many pixels outside of the circle the next aligned edge lies, 0 if there is none.
        lean: sine of the angle from the radius to that edge's gradient.
        held: whether there is such an edge.
        visible: whether the circle's place in that direction lies within the picture.
    """

    away: Floats
    lean: NDArray[np.float32]
    held: Booleans
    visible: Booleans

    def share(self) -> Floats:
        """How much of the visible circumference is held up; gaps of one direction are closed."""
        held = self.held | (turned(self.held, 1) & turned(self.held, -1))
        seen = self.visible.sum(axis=1).clip(_SEEN * held.shape[1])
        return np.asarray((held & self.visible).sum(axis=1) / seen)

    def arc(self, at: NDArray[np.intp] | slice = slice(None)) -> Floats:
        """The longest unbroken arc of the circles `at`, as a share of the circumference; gaps of two directions are closed."""
        held = self.held[at]
        before, after = turned(held, 1), turned(held, -1)
        held = held | (before & after) | (before & turned(held, -2)) | (turned(held, 2) & after)
        count = held.shape[1]
        twice = np.concatenate([held, held], axis=1)
        number = np.arange(2 * count, dtype=np.int32)
        last_gap = np.maximum.accumulate(np.where(twice, np.int32(-1), number), axis=1)
        return np.asarray(np.minimum((number - last_gap).max(axis=1), count) / count)

    def evidence(self, radius: Floats) -> Floats:
        """The share that is held up, or a long unbroken arc. The arcs of small circles are not long enough to tell."""
        evidence = self.share()
        at = np.flatnonzero((radius > 8) & (evidence < 0.99))
        long = np.minimum(_LONG * self.arc(at), 0.99) * np.clip((radius[at] - 8) / 6, 0, 1)
        evidence[at] = np.maximum(evidence[at], long)
        return evidence


def turned(values: NDArray[T], by: int) -> NDArray[T]:
    """As `np.roll` along the directions, without its cost."""
    return np.concatenate([values[:, -by:], values[:, :-by]], axis=1)


@functools.cache
def directions(count: int) -> NDArray[np.float32]:
    """Directions all the way round, `(count, 2)`: cosine and sine."""
    angles = np.arange(count) * (2 * np.pi / count)
    return np.column_stack([np.cos(angles), np.sin(angles)]).astype(np.float32)


@functools.cache
def _normal_columns(count: int) -> tuple[Floats, Floats]:
    """The derivatives of the distance in each direction, `(count, 3)`, and their products, `(count, 9)`."""
    columns = np.column_stack([directions(count).astype(np.float64), np.ones(count)])
    return columns, (columns[:, :, None] * columns[:, None, :]).reshape(count, 9)


def support(edges: Edges, circles: Circles, reach: Floats, count: int, sign: NDArray[np.int64] | None = None) -> Support:
    """Looks outward from the centres for the aligned edge next to each circle.

    Args:
        edges: of the image.
        circles: `(N, 3)` or more columns.
        reach: for each circle, how many pixels from it an edge may lie.
        count: how many directions.
        sign: for each circle, 1 if only edges count from which it gets brighter outward, -1 for darker, 0 for both.
    """
    table = np.empty((len(circles), 5), np.float32)
    table[:, :3], table[:, 3], table[:, 4] = circles[:, :3], reach, 0 if sign is None else sign
    away, lean = np.full((len(circles), count), _NONE), np.zeros((len(circles), count), np.float32)
    for at, rings in _parts(table[:, 3], count) if len(edges.x) else ():
        away[at], lean[at] = _look(edges, table[at], rings, count)
    held = away < _NONE
    cosine, sine = directions(count).T
    rim_x, rim_y = table[:, :1] + table[:, 2:3] * cosine, table[:, 1:2] + table[:, 2:3] * sine
    height, width = edges.shape
    visible = (rim_x >= 1) & (rim_y >= 1) & (rim_x <= width - 2) & (rim_y <= height - 2)
    return Support(np.where(held, away, 0).astype(np.float64), lean, held, visible)


def _parts(reach: NDArray[np.float32], count: int) -> Iterator[tuple[NDArray[np.intp] | slice, int]]:
    """Circles to be looked at together, and in how many rings. A ring sees the pixels next to it, too, so they lie 1.6 pixels apart."""
    rings = np.maximum(np.ceil((2 * reach - 2) / 1.6), 1).astype(np.intp) | 1
    if rings.sum() * count <= _AT_ONCE or len(rings) == 1:
        yield slice(None), int(rings.max(initial=1))
        return
    order = np.argsort(rings, kind="stable")
    ordered = rings[order]
    start = 0
    while start < len(order):
        alike = int(np.searchsorted(ordered, ordered[start] + ordered[start] // 2, side="right"))
        end = min(alike, start + max(1, _AT_ONCE // (count * int(ordered[alike - 1]))))
        yield order[start:end], int(ordered[end - 1])
        start = end


def _look(edges: Edges, circles: NDArray[np.float32], rings: int, count: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """For circles (x, y, radius, reach, sign), in each direction: where the nearest aligned edge lies, or `_NONE`, and its lean.

    The tables are large, so what is no longer needed is written over.
    """
    x, y, radius, reach, sign = (column[:, None] for column in circles.T)
    cosine, sine = directions(count).T
    offsets = np.linspace(-1, 1, rings, dtype=np.float32)[:, None, None] if rings > 1 else np.zeros((1, 1, 1), np.float32)
    looked = radius + offsets * np.maximum(reach - np.float32(0.7), 0)
    one, two = looked * cosine, looked * sine
    one += x
    two += y
    index = edges.near(one, two).astype(np.intp)
    across, down, nx, ny = edges.x.take(index), edges.y.take(index), edges.nx.take(index), edges.ny.take(index)
    across -= x
    down -= y
    far = across * across
    far += np.multiply(down, down, out=one)
    np.sqrt(far, out=far)
    off = far - radius
    size = np.abs(off)
    outward = across * nx
    outward += np.multiply(down, ny, out=one)
    towards = np.abs(outward, out=two)
    if sign.any():
        towards = np.where(sign == 0, towards, sign * outward)
    none = index < 0
    none |= size > reach
    none |= towards < np.multiply(far, _ALIGNED, out=one)
    beside = np.multiply(down, cosine, out=one)
    beside -= across * sine
    none |= np.abs(beside, out=beside) >= _BESIDE
    size[none] = _NONE
    chosen: NDArray[np.intp] = np.arange(len(circles) * count)
    nearest = size[0]
    for ring in range(1, rings):
        nearer = np.flatnonzero(size[ring] < nearest)
        chosen[nearer] = chosen.size * ring + nearer
        nearest = np.minimum(nearest, size[ring])
    across, down, nx, ny, far, off, outward = (values.take(chosen) for values in (across, down, nx, ny, far, off, outward))
    lean = (across * ny - down * nx) * np.sign(outward) / np.maximum(far, np.float32(0.1))
    gone = nearest == _NONE
    return np.where(gone, _NONE, off.reshape(nearest.shape)), np.where(gone, 0, lean.reshape(nearest.shape))


def fit(
    edges: Edges, circles: Circles, steps: tuple[tuple[float, float], ...], count: int = 64, sign: NDArray[np.int64] | None = None
) -> Circles:
    """Gauss-Newton on the distances of the edges from each circle, each step with edges from a narrower ring.

    A step looks outward from the centre in many directions a, finds the edge next to the circle, at distance d, and solves
    d - radius = cos(a) * dx + sin(a) * dy + dr for the corrections dx, dy, dr by least squares.

    Args:
        edges: of the image.
        circles: `(N, 3)` or more columns.
        steps: how far from the circle an edge may lie: share of the radius, and pixels.
        count: how many directions.
        sign: as for `support`.

    Returns:
        `(N, 4)`: the circles, and the evidence for them.
    """
    if not len(circles):
        return NO_CIRCLES
    moved = circles[:, :4].copy()
    columns, products = _normal_columns(count)
    for share, pixels in steps:
        reach = share * moved[:, 2] + pixels
        held_up = support(edges, moved, reach, count, sign)
        moved[:, 3] = held_up.evidence(moved[:, 2])
        weights = held_up.held * (
            (1 - (held_up.away / reach[:, None]) ** 2) ** 2 + 0.05
        )  # Tukey's biweight, and a little for those far out
        normal = (weights @ products).reshape(-1, 3, 3) + np.eye(3) * (0.01 * count)
        moved[:, :3] += np.linalg.solve(normal, ((weights * held_up.away) @ columns)[..., None])[..., 0]
        moved[:, 2] = np.maximum(moved[:, 2], 1)
    return moved


def distinct(circles: Circles, *, rows: bool = True) -> Circles:
    """Each circle once, the best first: without those that nearly coincide with a better one. The evidence is in the fourth column.

    Args:
        circles: `(N, 4)`.
        rows: whether circles of a row, each near the next one, may stay; otherwise the best takes all away, which leaves fewer.
    """
    circles = circles[np.lexsort((-circles[:, 2], -np.round(circles[:, 3], 2)))]
    if rows:
        return np.asarray(circles[~doubles(circles)])
    alone = np.ones(len(circles), np.bool_)
    alone[_near_pairs(circles)[1]] = False
    return np.asarray(circles[alone])


def doubles(circles: Circles) -> Booleans:
    """Which circles nearly coincide with one further up in the array that is no double itself: a row of rings is not one circle."""
    better, worse = _near_pairs(circles)
    between = np.hypot(*(circles[better, :2] - circles[worse, :2]).T)
    apart, radius = np.abs(circles[better, 2] - circles[worse, 2]), circles[worse, 2]
    alike = (between > _SAME_CENTRE[0] * radius + _SAME_CENTRE[1]) | (apart < _SAME_RING[0] * radius + _SAME_RING[1])
    better, worse = better[alike], worse[alike]
    double = [False] * len(circles)
    for one, other in sorted(zip(worse.tolist(), better.tolist(), strict=True)):
        double[one] = double[one] or not double[other]
    return np.array(double, np.bool_)


def _near_pairs(circles: Circles) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs of circles that nearly coincide: the places of those further up in the array, and of the others."""
    order = np.arange(len(circles)) if len(circles) <= _FEW else np.argsort(circles[:, 0], kind="stable")
    x, y, radius = circles[order, :3].T
    near = 0.06 * radius + 1.5
    if len(circles) <= _FEW:
        between = np.minimum(near[:, None], near)
        between -= np.abs(radius[:, None] - radius)
        across, down = x[:, None] - x, y[:, None] - y
        is_near = across * across + down * down < between * np.abs(between)  # negative if the radii alone are too far apart
        worse, better = np.nonzero(np.tril(is_near, -1))
        return better, worse
    widest = near.max(initial=0)
    found = []
    for apart in range(1, len(circles)):
        dx = x[apart:] - x[:-apart]
        if dx.min() >= widest:
            break
        away = np.hypot(dx, y[apart:] - y[:-apart]) + np.abs(radius[apart:] - radius[:-apart])
        pairs = np.flatnonzero(away < np.minimum(near[apart:], near[:-apart]))
        found.append(np.sort(np.stack([order[pairs], order[pairs + apart]]), axis=0))
    better, worse = np.concatenate(found, axis=1) if found else np.empty((2, 0), np.intp)
    return better, worse
