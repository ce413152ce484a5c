"""Ellipses in images, such as circles seen at an angle: arcs of contours are fitted, and each fit must be held up by edges.

1. The contours of the edges (`worker.operations.edges`) are cut where they turn a corner. An ellipse is laid through each long enough
   arc (Fitzgibbon, Pilu and Fisher, Direct Least Square Fitting of Ellipses, 1999), and through pairs of arcs that fit the same one.
2. Each is fitted again to the edges next to it, looked for along its normals, a few times.
3. It stays if edges hold up enough of what is visible of it and lie close to it, and if their gradients turn as its normals do, which
   those along the sides of a polygon do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.ellipses import FindEllipses
from worker.errors import ArgumentError
from worker.operations.angles import within
from worker.operations.blocks import waves
from worker.operations.circles import one_channel, searched_levels
from worker.operations.edges import Edges, find_edges
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, FIXED, HALO, MARK, draw_cross, edged, fixed, line_width
from worker.operations.roundness import straightness
from worker.operations.shapes import Found
from worker.operations.support import Support, directions
from worker.pictures.pixels import Image, color, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Rows

Floats = NDArray[np.float64]
Booleans = NDArray[np.bool_]
#: `(N, 5)`: x, y, half of the longer axis, half of the shorter one, angle of the longer axis in radians.
Ellipses = NDArray[np.float64]

_AUTOMATIC = 12.0  # pixels, the smallest longer axis if none is given
_COUNT = 64  # directions of the normal
_FLATTEST = 0.2  # shorter axis by longer one
_CORNER = 0.6  # of the cosine between gradients a few steps apart; a sharper turn cuts a contour
_STEPS = 5  # of a contour between those gradients
_SHORTEST = 16  # steps of an arc
_REACHES = (0.08, 1.5), (0.05, 1.0), (0.03, 0.8)  # how far from the ellipse an edge may lie: share of the shorter half axis, pixels
_LINE = (7.0, 0.1)  # the widest line with which an ellipse is drawn: pixels, or share of the longer half axis
_ALIGNED = 0.94  # cosine between the gradient and the normal, 20 degrees
_MISS, _STRAIGHT = 1.0, 0.3  # limits of what is left over, and of straight sides


def check(params: FindEllipses) -> None:
    """Raises ArgumentError if the sizes contradict each other."""
    if params.max_size and params.min_size > params.max_size:
        raise ArgumentError(f"find_ellipses: min_size {params.min_size:g} is larger than max_size {params.max_size:g}.")


@takes_keywords(FindEllipses, check)
def find_ellipses(image: Image, params: FindEllipses) -> Rows:
    """Finds ellipses, filled or outlined, the best first. A circle is one, too.

    Args:
        image: any.
        params: sizes in pixels, 0 if the image decides.

    Returns:
        `(N, 8)`: x, y in pixels from the centre of the top left one; width and height, the longer and the shorter axis in pixels; the
        longer axis' angle in degrees, 0 to 180, clockwise from the x axis; u, v; and the score: of the part inside the picture, the
        share that edges hold up, 0 to 1.
    """
    return detect_ellipses(image, params).rows


def detect_ellipses(image: Image, params: FindEllipses) -> Found:
    """The operation: the rows of `find_ellipses`, and how many there were before `max_items`."""
    image = one_channel(image)
    scale, level = next(searched_levels(image))
    edges = find_edges(level, waves(image) // scale)
    low = (params.min_size or _AUTOMATIC) / 2 / scale
    high = (params.max_size or max(image.shape[:2])) / 2 / scale
    found, score = _fitted(edges, _candidates(edges, 0.8 * low, 1.2 * high), 0.98 - 0.6 * params.sensitivity)
    inside = (found[:, 2] >= low) & (found[:, 2] <= high)
    rows = _rows(found[inside], score[inside], scale, image)
    return Found(rows[: params.max_items], total=len(rows))


def mark_ellipses(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each ellipse's outline and centre. Rows begin with x, y, width, height, angle."""
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for x, y, long, short, angle in rows[:, :5]:
        axes = (round(long / 2 * 2**FIXED), round(short / 2 * 2**FIXED))
        for line, outline, cross in ((edged(width), HALO, HALO), (width, MARK, CENTER)):
            cv2.ellipse(canvas, fixed(x, y), axes, angle, 0, 360, outline, line, cv2.LINE_AA, FIXED)
            draw_cross(canvas, (x, y), max(2.0, min(short * 0.15, 3.0 * width + 2)), cross, line)
    return canvas


def _candidates(edges: Edges, low: float, high: float) -> Ellipses:
    """Ellipses through arcs, and through pairs of arcs."""
    arcs = _arcs(edges)
    single = [_through(arc) for arc in arcs]
    found = [one for one in single if one is not None]
    large = sorted(range(len(arcs)), key=lambda number: -len(arcs[number]))[:40]  # pairs grow with the square
    for place, first in enumerate(large):
        for second in large[place + 1 :]:
            pair = _through(np.concatenate([arcs[first], arcs[second]]))
            if pair is not None and _misses(pair, arcs[first]) < 0.6 and _misses(pair, arcs[second]) < 0.6:
                found.append(pair)
    ellipses = np.array(found).reshape(-1, 5)
    good = (ellipses[:, 2] >= low) & (ellipses[:, 2] <= high) & (ellipses[:, 3] >= _FLATTEST * ellipses[:, 2]) & (ellipses[:, 3] >= 3)
    return np.asarray(ellipses[good])


def _arcs(edges: Edges) -> list[NDArray[np.float32]]:
    """Smooth pieces of contours, `(n, 2)` each. A contour is walked along twice, once on either side of an open curve."""
    at, first, length = edges.contours.at, edges.contours.first, edges.contours.length
    if not len(at):
        return []
    place = np.arange(len(at), dtype=np.int32)
    ahead = at[first + (place - first + _STEPS) % length]
    smooth = edges.nx[at] * edges.nx[ahead] + edges.ny[at] * edges.ny[ahead] > _CORNER
    begins = np.flatnonzero((place == first) | (smooth & ~np.concatenate([[False], smooth[:-1]])))
    arcs = []
    for begin, end in zip(begins, [*begins[1:], len(at)], strict=True):
        run = np.flatnonzero(~smooth[begin:end])
        stop = begin + (run[0] if len(run) else end - begin)
        if stop - begin >= _SHORTEST:
            arcs.append(np.column_stack([edges.x[at[begin:stop]], edges.y[at[begin:stop]]]))
    return arcs


def _through(points: NDArray[np.float32]) -> Ellipses | None:
    """The ellipse through the points, None if they lie on none."""
    if len(points) < 6:
        return None
    (x, y), (width, height), angle = cv2.fitEllipseDirect(np.ascontiguousarray(points))
    if not np.isfinite([x, y, width, height, angle]).all() or min(width, height) <= 0 or max(width, height) > 1e5:
        return None
    turn = angle if width >= height else angle + 90
    return np.array([x, y, max(width, height) / 2, min(width, height) / 2, np.radians(turn)])


def _misses(ellipse: Ellipses, points: NDArray[np.float32]) -> float:
    """How many pixels the points lie beside the ellipse, by the mean."""
    x, y, long, short, angle = ellipse
    dx, dy = points[:, 0] - x, points[:, 1] - y
    along, across = dx * np.cos(angle) + dy * np.sin(angle), dy * np.cos(angle) - dx * np.sin(angle)
    level = np.sqrt((along / long) ** 2 + (across / short) ** 2)
    slope = np.hypot(along / long**2, across / short**2) / np.maximum(level, 1e-9)
    return float(np.mean(np.abs(level - 1) / np.maximum(slope, 1e-9)))


@dataclass(frozen=True, slots=True)
class _Look:
    """The edges next to ellipses: what holds them up, by the direction of the normal, and where those edges lie, `(N, directions, 2)`."""

    held_up: Support
    places: Floats
    weights: Floats

    def share(self) -> Floats:
        """Of the visible perimeter, how much is held up."""
        held = self.held_up.held | (np.roll(self.held_up.held, 1, axis=1) & np.roll(self.held_up.held, -1, axis=1))
        seen = (self.weights * self.held_up.visible).sum(axis=1)
        return np.asarray((self.weights * (held & self.held_up.visible)).sum(axis=1) / np.maximum(seen, 0.33 * self.weights.sum(axis=1)))


def _look(edges: Edges, ellipses: Ellipses, reach: tuple[float, float]) -> _Look:
    """Looks along the normals, which are spread evenly, so that the share of straight sides means the same as for circles."""
    x, y, long, short, angle = (column[:, None] for column in ellipses.T)
    cosine, sine = directions(_COUNT).astype(np.float64).T
    root = np.sqrt((long * cosine) ** 2 + (short * sine) ** 2)
    along, across = long**2 * cosine / root, short**2 * sine / root
    turn_x, turn_y = np.cos(angle), np.sin(angle)
    rim_x, rim_y = x + along * turn_x - across * turn_y, y + along * turn_y + across * turn_x
    nx, ny = cosine * turn_x - sine * turn_y, cosine * turn_y + sine * turn_x
    height, width = edges.shape
    visible = (rim_x >= 1) & (rim_y >= 1) & (rim_x <= width - 2) & (rim_y <= height - 2)
    far_out = reach[0] * short + reach[1]
    away, lean, hits = np.full(rim_x.shape, 99.0), np.zeros(rim_x.shape, np.float32), np.full(rim_x.shape, -1, np.int64)
    steps = max(1, int(np.ceil((2 * float(far_out.max(initial=0)) - 2) / 1.6)) | 1)
    for offset in np.linspace(-1, 1, steps) if steps > 1 else (0.0,):
        step = offset * np.maximum(far_out - 0.7, 0)
        index = edges.near((rim_x + step * nx).astype(np.float32), (rim_y + step * ny).astype(np.float32))
        dx, dy = edges.x[index] - rim_x, edges.y[index] - rim_y
        off, beside = dx * nx + dy * ny, np.abs(dy * nx - dx * ny)
        outward, tilt = edges.nx[index] * nx + edges.ny[index] * ny, edges.ny[index] * nx - edges.nx[index] * ny
        good = (index >= 0) & (np.abs(off) <= far_out) & (beside < 1.2) & (np.abs(outward) >= _ALIGNED) & (np.abs(off) < np.abs(away))
        away, hits = np.where(good, off, away), np.where(good, index, hits)
        lean = np.where(good, tilt * np.sign(outward), lean).astype(np.float32)
    held = away < 99
    places = np.stack([edges.x[hits], edges.y[hits]], axis=2).astype(np.float64)
    return _Look(Support(np.where(held, away, 0), lean, held, visible), places, (long * short) ** 2 / root**3)


def _fitted(edges: Edges, ellipses: Ellipses, least: float) -> tuple[Ellipses, Floats]:
    """Fits each to the edges next to it, and keeps those that are ellipses, each once, the best first; and their scores."""
    if not len(ellipses) or not len(edges.x):
        return np.empty((0, 5)), np.empty(0)
    for reach in _REACHES:
        look = _look(edges, ellipses, reach)
        again = [_through(places[held].astype(np.float32)) for places, held in zip(look.places, look.held_up.held, strict=True)]
        ellipses = np.array([old if new is None else new for old, new in zip(ellipses, again, strict=True)])
        good = (ellipses[:, 3] >= _FLATTEST * ellipses[:, 2]) & (look.share() >= 0.7 * least)
        ellipses = _distinct(ellipses[good], look.share()[good])
        if not len(ellipses):
            return np.empty((0, 5)), np.empty(0)
    tight, wide = _look(edges, ellipses, _REACHES[-1]), _look(edges, ellipses, _REACHES[0])
    held = wide.held_up.held
    ordered = np.sort(np.where(held, np.abs(wide.held_up.away), np.inf), axis=1)
    middle = ordered[np.arange(len(ordered)), np.minimum(held.sum(axis=1) // 2, _COUNT - 1)]
    score = np.minimum(tight.share(), 1)
    miss = np.where(np.isfinite(middle), middle, 99) / (0.3 + 0.008 * ellipses[:, 2])
    small = np.clip((14 - ellipses[:, 3]) / 8, 0, 1)
    good = (score >= least + 0.7 * (1 - least) * small) & (miss <= _MISS) & (straightness(wide.held_up) <= _STRAIGHT)
    good &= held.sum(axis=1) >= 0.4 * _COUNT
    ellipses, score = _lines_joined(ellipses[good], score[good])
    order = np.lexsort((-ellipses[:, 2], -np.round(score, 2)))
    return ellipses[order], score[order]


def _lines_joined(ellipses: Ellipses, score: Floats) -> tuple[Ellipses, Floats]:
    """The two sides of a drawn line as one ellipse in its middle: concentric, turned alike, and no further apart than a line is wide."""
    left, joined, scores = list(range(len(ellipses))), [], []
    while left:
        one = ellipses[left[0]]
        others = ellipses[left[1:]]
        apart = np.abs(others[:, 2:4] - one[2:4])
        widest = max(_LINE[0], _LINE[1] * one[2])
        turned = np.abs((others[:, 4] - one[4] + np.pi / 2) % np.pi - np.pi / 2) * (one[2] - one[3])
        near = np.hypot(others[:, 0] - one[0], others[:, 1] - one[1]) < 1 + 0.02 * one[2]
        near &= (apart <= widest).all(axis=1) & (np.abs(apart[:, 0] - apart[:, 1]) < 2 + 0.02 * one[2]) & (turned < 2 + 0.02 * one[2])
        same = [left[0], *np.array(left[1:], np.intp)[near]]
        middle = ellipses[same].mean(axis=0)
        middle[4] = one[4]
        joined.append(middle)
        scores.append(score[same].max())
        left = [number for number in left if number not in same]
    return np.array(joined).reshape(-1, 5), np.array(scores)


def _distinct(ellipses: Ellipses, score: Floats) -> Ellipses:
    """Without those that nearly coincide with a better one."""
    ellipses = ellipses[np.lexsort((-ellipses[:, 2], -np.round(score, 2)))]
    kept: list[int] = []
    for number, (x, y, long, short, _) in enumerate(ellipses):
        others = ellipses[kept]
        away = np.hypot(others[:, 0] - x, others[:, 1] - y) + np.abs(others[:, 2] - long) + np.abs(others[:, 3] - short)
        if not (away < min(0.04 * short, 2) + 1).any():
            kept.append(number)
    return np.asarray(ellipses[kept])


def _rows(ellipses: Ellipses, score: Floats, scale: int, image: Image) -> Rows:
    width, height = size_of(image)
    x, y = ((ellipses[:, axis] + 0.5) * scale - 0.5 for axis in (0, 1))
    angle = within(np.degrees(ellipses[:, 4]), 180)
    return np.column_stack(
        [x, y, 2 * scale * ellipses[:, 2], 2 * scale * ellipses[:, 3], angle, (x + 0.5) / width, 1 - (y + 0.5) / height, score]
    )
