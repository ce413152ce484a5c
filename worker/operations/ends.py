"""Arcs that are open on one side, and which of them are only the rounded end of something long: a rod, a finger, an arch, a letter.

The contour of such a thing follows a circle for half a turn or more, and then goes straight on, at both ends of the arc, along the
tangents. What hides a part of a circle does not: its contour crosses the circle's.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import Circles, Floats, directions, support, turned

Booleans = NDArray[np.bool_]

#: Share of the circumference; a gap that is wider is an open side.
OPEN = 0.2

_HEART = 0.34  # share of the circumference; with a wider gap one end that goes straight on is enough: a heart has two such arcs

_COUNT = 64  # directions
_WIDE = (0.04, 1.0)  # how far from the circle an edge may lie: share of the radius, pixels
_ALONG = (0.25, 1.0)  # radii; where along the tangent the edges are looked for
_PLACES = 24  # so many of them
_LEANS = (math.radians(-10), math.radians(40))  # to the tangent, where the arc ends; the straight part begins a little before
_APART = 1.5  # pixels at its end between two leans
_MOST_LEANS = 51
_ALIGNED = math.cos(math.radians(20))  # of the angle between an edge's gradient and the normal of the tangent
_STRAIGHT, _SURELY_STRAIGHT = 0.75, 0.95  # of the places, how many must have an edge: at both ends, and if one is enough


@dataclass(frozen=True, slots=True)
class Openings:
    """The widest gap in each circle's edges, `(circles,)` each. What lies outside of the image is no gap.

    Attributes:
        width: as a share of the circumference.
        last, first: the directions, of 64, of the last edge before and of the first one after it.
        before, after: how many pixels outside of the circle these edges lie.
    """

    width: Floats
    last: NDArray[np.intp]
    first: NDArray[np.intp]
    before: Floats
    after: Floats


def openings(edges: Edges, circles: Circles, sign: NDArray[np.int64]) -> Openings:
    """Looks for the widest gap of each circle; gaps of two directions are closed.

    Args:
        edges: of the image.
        circles: `(N, 3)` or more columns.
        sign: as for `support`.
    """
    held_up = support(edges, circles, _WIDE[0] * circles[:, 2] + _WIDE[1], _COUNT, sign)
    held = held_up.held | ~held_up.visible
    before, after = turned(held, 1), turned(held, -1)
    held = held | (before & after) | (before & turned(held, -2)) | (turned(held, 2) & after)
    twice = np.concatenate([held, held], axis=1)
    number = np.arange(2 * _COUNT)
    last_held = np.maximum.accumulate(np.where(twice, number, -1), axis=1)
    gap = np.where(last_held < 0, 0, number - last_held)
    end = gap.argmax(axis=1)
    rows = np.arange(len(circles))
    width = gap[rows, end]
    last, first = (end - width) % _COUNT, (end + 1) % _COUNT
    whole = np.where(held.any(axis=1), width / _COUNT, 1)
    return Openings(whole, last, first, held_up.away[rows, last], held_up.away[rows, first])


def rounded_ends(edges: Edges, circles: Circles, sign: NDArray[np.int64], gaps: Openings) -> Booleans:
    """Which circles have one open side, on both ends of which their contour goes straight on; or surely on one end of a wide one.

    Args:
        edges: of the image.
        circles: `(N, 3)` or more columns.
        sign: as for `support`.
        gaps: the `openings` of the circles.
    """
    ends = np.zeros(len(circles), np.bool_)
    for number in np.flatnonzero((gaps.width > OPEN) & (gaps.width < 1)):
        x, y, radius = (float(value) for value in circles[number, :3])
        straight = (
            _straightness_beyond(edges, (x, y), radius, float(away[number]), int(end[number]), turn, int(sign[number]))
            for end, away, turn in ((gaps.last, gaps.before, 1), (gaps.first, gaps.after, -1))
        )
        ends[number] = _is_end(straight, is_wide=bool(gaps.width[number] > _HEART))
    return ends


def _is_end(straight: Iterator[float], *, is_wide: bool) -> bool:
    """Whether both sides of a gap go straight on, or surely one of a wide one. The second side is looked at only if it matters."""
    one = next(straight)
    if one < _STRAIGHT and not is_wide:
        return False
    if one >= _SURELY_STRAIGHT and is_wide:
        return True
    other = next(straight)
    return min(one, other) >= _STRAIGHT or (is_wide and other >= _SURELY_STRAIGHT)


def _straightness_beyond(  # noqa: PLR0917
    edges: Edges, center: tuple[float, float], radius: float, away: float, end: int, turn: int, sign: int
) -> float:
    """At how many of the places along the tangent from one end of an arc on edges follow it, as a share.

    Args:
        edges: of the image.
        center: x and y of the circle.
        radius: of the circle.
        away: how many pixels outside of the circle its last edge lies.
        end: the direction of that edge.
        turn: 1 if the gap comes at larger angles, -1 at smaller ones.
        sign: as for `support`.
    """
    outward = directions(_COUNT)[end].astype(np.float64)
    onward = turn * np.array([-outward[1], outward[0]])
    leans = np.linspace(*_LEANS, min(_MOST_LEANS, math.ceil((_LEANS[1] - _LEANS[0]) * radius / _APART) + 1))[:, None]
    along = np.linspace(*_ALONG, _PLACES) * radius
    cosine, sine = np.cos(leans), np.sin(leans)
    place_x, place_y = (
        middle + (radius + away) * out + along * (cosine * on + sine * out) for middle, out, on in zip(center, outward, onward, strict=True)
    )
    height, width = edges.shape
    inside = (place_x >= 0) & (place_y >= 0) & (place_x < width) & (place_y < height)
    index = edges.near(place_x.astype(np.float32), place_y.astype(np.float32)).astype(np.intp)
    normal_x, normal_y = (cosine * out - sine * on for out, on in zip(outward, onward, strict=True))
    towards = edges.nx.take(index) * normal_x + edges.ny.take(index) * normal_y
    follows = inside & (index >= 0) & ((sign * towards if sign else np.abs(towards)) > _ALIGNED)
    return float((follows.sum(axis=1) / np.maximum(inside.sum(axis=1), _PLACES / 2)).max())
