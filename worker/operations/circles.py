"""Circles in images: edges vote for centres, and each candidate must be held up by edges all the way round.

The search runs on a pyramid of the image, each level half as large as the one before. On every level

1. edges are found in all colour channels at once, with a threshold that follows the picture's own noise, and located to a fraction of
   a pixel (`worker.operations.edges`);
2. each edge votes for the centres that lie along its gradient, for a row of radii (the gradient method among those that Yuen,
   Princen, Illingworth and Kittler compared in 1990), in cells that grow with the radius;
3. each peak of the votes is fitted to the edges around it by least squares on the distances (Gauss-Newton with robust weights), and
   is kept if enough of its circumference has an edge whose gradient points to or from the centre, and more than chance would give.

Circles found on a small level are fitted again on the next larger one, so that they end as precise as the image allows. At last those
that a better one explains are left out.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.circles import FindCircles
from worker.errors import ArgumentError
from worker.operations.edges import GAIN, Edges, find_edges
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, HALO, MARK, draw_cross, draw_outline, line_width
from worker.pictures.pixels import Image, color, over_black, size_of, with_depth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from worker.operations.shapes import Rows

Floats = NDArray[np.float64]

#: Circles while they are sought: `(N, 4)`, x, y, radius in pixels of the original image, score.
Circles = NDArray[np.float64]

_AUTOMATIC = 4.5  # pixels, the smallest radius where none is given
_SMALLEST = 4.0  # pixels, the smallest radius voted for; on smaller levels twice as much, as the larger one has seen the rest
_OCTAVES = 6  # so that radii of up to 256 pixels are voted for on each level
_RADII_PER_OCTAVE = 6
_ENOUGH = 48.0  # pixels; no smaller level is made once the largest radius is no larger than this
_ROUND = 20.0  # pixels of its level; a circle of this radius cannot be confused with a square any more
_ALIGNED = math.cos(math.radians(20))  # of the angle between an edge's gradient and the line to the centre
_PEAK = 0.5  # a peak needs so many of the votes that the least score would give
_MOST_PEAKS = 150  # per octave and level
_STEPS = ((0.10, 1.5), (0.05, 1.0), (0.03, 0.7), (0.025, 0.65))  # how far from the circle an edge may lie: share of radius, pixels
_LINE = (0.25, 4.0)  # the widest line with which a circle is drawn: share of radius, pixels
_CHANCE = 18.0  # how much rarer than by chance, as a natural logarithm, the support of a circle must be
_NO_CIRCLES = np.empty((0, 4))


def check(params: FindCircles) -> None:
    """Raises ArgumentError where the radii contradict each other."""
    if params.max_radius and params.min_radius > params.max_radius:
        raise ArgumentError(f"find_circles: min_radius {params.min_radius:g} is larger than max_radius {params.max_radius:g}.")


@takes_keywords(FindCircles, check)
def find_circles(image: Image, params: FindCircles) -> Rows:
    """Finds circles, filled or outlined, the best first.

    Args:
        image: any; colours and alpha are looked at one by one, so that a circle shows if it stands out in one of them.
        params: radii and distances in pixels, 0 where the image decides. Circles of less than about 4 pixels are not found.

    Returns:
        `(N, 6)`: x, y, radius in pixels from the centre of the top left one, u, v, and the score: the share of the circumference, 0
        to 1, that edges hold up.
    """
    low, high = radii(image, params)
    least = 0.98 - 0.6 * params.sensitivity
    circles = _NO_CIRCLES
    for scale, level in reversed(list(_levels(_working(image), high))):
        edges = find_edges(level)
        circles = _improved(edges, scale, circles, least)
        candidates = _candidates(edges, max(low / scale, _SMALLEST if scale == 1 else 2 * _SMALLEST), high / scale, least)
        circles = _distinct(np.vstack([circles, _on_image(_fitted(edges, candidates, least), scale)]))
    kept = circles[(circles[:, 2] >= low) & (circles[:, 2] <= high) & (circles[:, 3] >= _needed(circles[:, 2], least))]
    kept = _sharpened(edges, level, kept, least)
    spread = _apart(kept, params.min_distance) if params.min_distance else _outermost(kept)
    return _rows(spread[: params.max_items], image)


def radii(image: Image, params: FindCircles) -> tuple[float, float]:
    """The smallest and the largest radius to look for; 0 means from 4.5 pixels to half the image's longer side."""
    high = params.max_radius or max(image.shape[:2]) / 2
    return params.min_radius or min(_AUTOMATIC, high / 2), high


def _needed(radius: Floats, least: float) -> Floats:
    """The score that a circle of this radius needs: small ones more, because a few pixels of a texture are soon round."""
    small = np.clip((12 - radius) / 7, 0, 1)
    return np.asarray(least + 0.35 * (1 - least) * small)


def _working(image: Image) -> Image:
    """The image as 16 bits signed, 0 to 255 * GAIN, alpha as a further channel; 16 bits are stretched to what they use of their range."""
    flat = over_black(image)
    if flat.dtype == np.uint8:
        scaled = flat.astype(np.int16) * GAIN
    else:
        scaled = np.rint(flat * np.float32(255 * GAIN / max(255, flat.max()))).astype(np.int16)
    if flat is image or image[..., 3].min() == image[..., 3].max():
        return scaled
    return np.dstack([scaled, with_depth(image[..., 3], 8).astype(np.int16) * GAIN])


def _levels(image: Image, high: float) -> Iterator[tuple[int, Image]]:
    """The image, and halves of it, until the largest radius comes within reach."""
    scale = 1
    while True:
        yield scale, image
        if high / scale <= _ENOUGH or min(image.shape[:2]) < 24:
            return
        height, width = (side // 2 for side in image.shape[:2])
        image = np.asarray(cv2.resize(image[: height * 2, : width * 2], (width, height), interpolation=cv2.INTER_AREA))
        scale *= 2


def _on_level(circles: Circles, scale: int) -> Circles:
    """From pixels of the image to pixels of a level. Centres of pixels are whole numbers on both, hence the halves."""
    return np.column_stack([(circles[:, :2] + 0.5) / scale - 0.5, circles[:, 2] / scale, circles[:, 3]])


def _on_image(circles: Circles, scale: int) -> Circles:
    return np.column_stack([(circles[:, :2] + 0.5) * scale - 0.5, circles[:, 2] * scale, circles[:, 3]])


def _candidates(edges: Edges, low: float, high: float, least: float) -> Circles:
    """Peaks of the votes, for all radii between `low` and `high`, octave by octave."""
    found = [_NO_CIRCLES]
    for octave in range(_OCTAVES):
        start = _SMALLEST * 2**octave
        steps = start * 2 ** (np.arange(_RADII_PER_OCTAVE) / _RADII_PER_OCTAVE)
        near = steps[(steps > low * 0.88) & (steps < high * 1.14)]
        if len(near) and len(edges.x):
            found.append(_peaks(edges, near, max(1, round(start / 8)), _PEAK * least))
    return np.vstack(found)


def _peaks(edges: Edges, steps: Floats, cell: int, least: float) -> Circles:
    """The highest peaks of the votes for centres at the given radii, in square cells of `cell` pixels."""
    frame = math.ceil(steps[-1] / cell) + 1  # cells around the image, so that every vote falls into one
    found = [_NO_CIRCLES]
    for radius in steps:
        votes = _votes(edges, radius, cell, frame)
        row, column = _maxima(votes, least)
        place = np.column_stack([column - frame, row - frame]) * cell
        found.append(np.column_stack([place, np.full(len(row), radius), votes[row, column]]))
    peaks = np.vstack(found)
    return peaks[np.argsort(-peaks[:, 3], kind="stable")[:_MOST_PEAKS]]


def _votes(edges: Edges, radius: float, cell: int, frame: int) -> NDArray[np.float32]:
    """The votes of all edges for centres at this radius, both ways along the gradient, as a share of those of a whole circle."""
    height, width = (side // cell + 1 + 2 * frame for side in edges.shape)
    x, y = edges.x / cell + (frame + 0.5), edges.y / cell + (frame + 0.5)
    across, down = edges.nx * np.float32(radius / cell), edges.ny * np.float32(radius / cell)
    ahead = (y + down).astype(np.intp) * width + (x + across).astype(np.intp)
    behind = (y - down).astype(np.intp) * width + (x - across).astype(np.intp)
    votes = np.bincount(np.concatenate([ahead, behind]), minlength=height * width).astype(np.float32).reshape(height, width)
    # An edge one pixel wide along a circle has 4 * sqrt(2) pixels per pixel of radius.
    return np.asarray(cv2.boxFilter(votes, -1, (3, 3), normalize=False, borderType=cv2.BORDER_CONSTANT)) / np.float32(5.66 * radius)


def _maxima(values: NDArray[np.float32], least: float) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns where the values are at least `least`, and the largest among their neighbours."""
    high = values >= least
    if not high.any():
        return np.empty(0, np.intp), np.empty(0, np.intp)
    row, column = np.divmod(np.flatnonzero(high), values.shape[1])
    around = np.asarray(cv2.dilate(values, np.ones((3, 3), np.uint8)))
    top = values[row, column] >= around[row, column]
    return row[top], column[top]


def _fitted(edges: Edges, candidates: Circles, least: float) -> Circles:
    """Fits each candidate to the edges and keeps those that are circles."""
    found = [_NO_CIRCLES]
    for group in _by_radius(candidates):
        rough = _fit(edges, group, _STEPS[:1], most=40)
        circles = _fit(edges, _distinct(rough[rough[:, 3] >= 0.8 * least]), _STEPS[1:])
        circles = _distinct(circles[circles[:, 3] >= least])
        found.append(circles[_beyond_chance(edges, circles)])
    return np.vstack(found)


def _improved(edges: Edges, scale: int, circles: Circles, least: float) -> Circles:
    """Circles of the next smaller level, fitted to the finer edges of this one.

    A circle that was small on its level has to prove itself here, because small squares look round. A larger one may stay as it is
    if only noise is added by the finer edges.
    """
    improved = [_NO_CIRCLES]
    for group in _by_radius(_on_level(circles, scale)):
        finer = _fit(edges, group, _STEPS[1:])
        near = np.hypot(*(finer - group)[:, :2].T) + np.abs(finer - group)[:, 2] < 3 + 0.05 * group[:, 2]
        proved = group[:, 2] >= 2 * _ROUND
        better = near & (finer[:, 3] >= np.where(proved, group[:, 3] - 0.1, least))
        improved.append(np.where(better[:, None], finer, group)[better | proved])
    return _on_image(np.vstack(improved), scale)


def _sharpened(edges: Edges, image: Image, circles: Circles, least: float) -> Circles:
    """The circles, each on one side of its line, or, where it is drawn as a line, in the middle of it.

    A drawn line has an edge on either side, of opposite signs; a circle fitted to both may lean to one here and to the other there.
    A small circle that only edges of both signs together hold up is left out: in a texture these come together by chance.
    """
    sharp = [_NO_CIRCLES]
    for group in _by_radius(circles):
        brighter, darker = (_fit(edges, group, (_LINE, *_STEPS[1:]), sign=sign) for sign in (1, -1))
        single = np.where((brighter[:, 3] >= darker[:, 3])[:, None], brighter, darker)
        clean = (single[:, 3] >= np.maximum(group[:, 3] - 0.1, least)) & (
            np.abs(single - group)[:, :3].max(axis=1) <= 3 + 0.05 * group[:, 2]
        )
        middle = (brighter + darker) / 2
        middle[:, 3] = np.maximum(np.maximum(brighter[:, 3], darker[:, 3]), group[:, 3])
        line = _is_line(image, brighter, darker) & (middle[:, 3] >= least)
        result = np.where(line[:, None], middle, np.where(clean[:, None], single, group))
        sharp.append(result[line | clean | (group[:, 2] >= _ROUND)])
    return np.vstack(sharp)


def _is_line(image: Image, first: Circles, second: Circles) -> NDArray[np.bool_]:
    """Whether two circles are the two sides of a line: concentric, close together, both held up, and the same colour on either side."""
    inner, outer = np.minimum(first[:, 2], second[:, 2]), np.maximum(first[:, 2], second[:, 2])
    concentric = np.hypot(*(first - second)[:, :2].T) <= 0.75 + 0.02 * inner
    near = (outer - inner <= _LINE[0] * outer + _LINE[1]) & (outer - inner > 0.5)
    held = np.minimum(first[:, 3], second[:, 3]) >= 0.5
    center = (first + second)[:, :2] / 2
    inside, line, outside = (_tone(image, center, radius) for radius in (inner - 2.5, (inner + outer) / 2, outer + 2.5))
    contrast = np.minimum(np.abs(line - inside).max(axis=1), np.abs(line - outside).max(axis=1))
    return np.asarray(concentric & near & held & (np.abs(inside - outside).max(axis=1) < 0.6 * contrast))


def _tone(image: Image, center: Floats, radius: Floats) -> Floats:
    """The mean colour along circles, `(circles, channels)`."""
    directions = _directions(64)
    places = center[:, None, :] + np.maximum(radius, 0)[:, None, None] * directions
    column = np.clip(np.rint(places[..., 0]).astype(np.intp), 0, image.shape[1] - 1)
    row = np.clip(np.rint(places[..., 1]).astype(np.intp), 0, image.shape[0] - 1)
    return np.asarray(image[row, column].reshape(len(center), 64, -1).mean(axis=1))


def _by_radius(circles: Circles) -> Iterator[Circles]:
    """Groups of like radius, because all circles of a group are looked at in as many directions."""
    octave = np.floor(np.log2(np.maximum(circles[:, 2], 1)))
    for one in np.unique(octave):
        group = circles[octave == one]
        for first in range(0, len(group), 200):
            yield group[first : first + 200]


def _fit(edges: Edges, circles: Circles, steps: tuple[tuple[float, float], ...], *, sign: int = 0, most: int = 256) -> Circles:
    """Gauss-Newton on the distances of the edges from each circle, each step with edges from a narrower ring.

    A step looks outward from the centre in many directions a, finds the edge next to the circle, at distance d, and solves
    d - radius = cos(a) * dx + sin(a) * dy + dr for the corrections dx, dy, dr by least squares. With a `sign`, only edges count from
    which it gets brighter outward (1) or inward (-1). `most` is the largest number of directions.
    """
    x, y, radius = circles[:, 0].copy(), circles[:, 1].copy(), circles[:, 2].copy()
    count = int(np.clip(4 * radius.max(initial=4), 32, most))
    directions = _directions(count)
    columns = np.column_stack([directions, np.ones(count)])
    products = (columns[:, :, None] * columns[:, None, :]).reshape(count, 9)
    score = np.zeros(len(circles))
    for share, pixels in steps:
        reach = share * radius + pixels
        away = _nearest(edges, (x, y, radius), reach, directions, sign)
        held = np.isfinite(away)
        score = (held | (np.roll(held, 1, axis=1) & np.roll(held, -1, axis=1))).mean(axis=1)  # a ray may slip between two pixels
        away = np.where(held, away, 0)
        weights = held * ((1 - (away / reach[:, None]) ** 2) ** 2 + 0.05)  # Tukey's biweight, and a little for those far out
        normal = (weights @ products).reshape(-1, 3, 3) + np.eye(3) * (0.01 * count)
        dx, dy, dr = np.linalg.solve(normal, ((weights * away) @ columns)[..., None])[..., 0].T
        x, y, radius = x + dx, y + dy, np.maximum(radius + dr, 1)
    return np.column_stack([x, y, radius, score])


def _directions(count: int) -> Floats:
    """Directions all the way round, `(count, 2)`: cosine and sine."""
    angles = np.arange(count) * (2 * np.pi / count)
    return np.column_stack([np.cos(angles), np.sin(angles)])


def _nearest(edges: Edges, circles: tuple[Floats, Floats, Floats], reach: Floats, directions: Floats, sign: int = 0) -> Floats:
    """How far outside of each circle the next aligned edge lies in each direction, `(circles, directions)`; NaN where there is none."""
    x, y, radius = circles
    rings = max(3, math.ceil(reach.max(initial=0) / 0.375) | 1)  # so that no edge slips between two of them
    offsets = np.linspace(-1, 1, rings)
    offsets = offsets[np.argsort(-np.abs(offsets))]  # from far to near, so that the nearest edge is written last and stays
    distance = radius + offsets[:, None] * reach
    index = edges.at(
        x[:, None] + distance[:, :, None] * directions[:, 0],
        y[:, None] + distance[:, :, None] * directions[:, 1],
    )
    at = np.flatnonzero(index >= 0)
    hit = index.ravel()[at]
    circle, direction = np.divmod(at % (len(x) * len(directions)), len(directions))
    across, down = edges.x[hit] - x[circle], edges.y[hit] - y[circle]
    far = np.hypot(across, down)
    away = far - radius[circle]
    outward = across * edges.nx[hit] + down * edges.ny[hit]
    good = (np.abs(away) <= reach[circle]) & ((sign * outward if sign else np.abs(outward)) >= _ALIGNED * far)
    nearest = np.full((len(x), len(directions)), np.nan)
    nearest[circle[good], direction[good]] = away[good]
    return nearest


def _beyond_chance(edges: Edges, circles: Circles) -> NDArray[np.bool_]:
    """Which circles have more support than four others of their size beside them, by more than chance would give.

    By Chernoff's bound, n places of which each is held up with probability p are held up to a share s with a probability of at most
    exp(-n * D(s, p)), where D is the relative entropy.
    """
    if not len(circles):
        return np.empty(0, np.bool_)
    share, pixels = _STEPS[-1]
    chance = np.full(len(circles), 0.02)
    x, y, radius, score = circles.T
    for dx, dy in ((0.6, 0.3), (-0.3, 0.6), (-0.6, -0.3), (0.3, -0.6)):
        beside = _nearest(edges, (x + dx * radius, y + dy * radius, radius), share * radius + pixels, _directions(64))
        chance += np.isfinite(beside).mean(axis=1) / 4
    p, s = np.clip(chance, 0.02, 0.98), np.clip(score, 0.02, 0.98)
    entropy = s * np.log(s / p) + (1 - s) * np.log((1 - s) / (1 - p))
    return np.asarray((s > p) & (np.pi * radius * entropy > _CHANCE))


def _best_first(circles: Circles) -> Circles:
    """By score, and of equals the larger one first."""
    return np.asarray(circles[np.lexsort((-circles[:, 2], -np.round(circles[:, 3], 2)))], np.float64)


def _distinct(circles: Circles) -> Circles:
    """Each circle once: without those that nearly coincide with a better one."""
    return _without(circles, lambda best, x, y, radius: np.hypot(x - best[0], y - best[1]) + np.abs(radius - best[2]) < best[2] / 4 + 1)


def _apart(circles: Circles, distance: float) -> Circles:
    """The best circles whose centres lie at least `distance` apart."""
    return _without(circles, lambda best, x, y, _: np.hypot(x - best[0], y - best[1]) < distance)


def _outermost(circles: Circles) -> Circles:
    """One circle for each round thing: without those whose centre lies within a larger one, such as highlights, holes and rims.

    A larger circle that is held up much worse does not count.
    """
    circles = _best_first(circles)
    x, y, radius, score = circles.T
    between = np.hypot(x[:, None] - x, y[:, None] - y)
    inner = (between < 0.9 * radius) & (radius[:, None] < radius) & (score[:, None] < score + 0.25)
    return np.asarray(circles[~inner.any(axis=1)], np.float64)


def _without(circles: Circles, same: Callable[[Floats, Floats, Floats, Floats], NDArray[np.bool_]]) -> Circles:
    """The best circle, without those that are the `same` the next best, and so on."""
    left, kept = _best_first(circles), []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[~same(best, *left[:, :3].T)]
    return np.array(kept).reshape(-1, 4)


def _rows(circles: Circles, image: Image) -> Rows:
    width, height = size_of(image)
    x, y, radius, score = circles.T
    return np.column_stack([x, y, radius, (x + 0.5) / width, 1 - (y + 0.5) / height, score])


def mark_circles(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each circle's outline and centre. Rows begin with x, y, radius."""
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for x, y, radius in rows[:, :3]:
        arm = max(2.0, min(radius * 0.3, 3.0 * width + 2))
        for line, outline, cross in ((width + 2, HALO, HALO), (width, MARK, CENTER)):
            draw_outline(canvas, (x, y), radius, outline, line)
            draw_cross(canvas, (x, y), arm, cross, line)
    return canvas
