"""Circles in images: arcs of edges propose them, and each must be held up by edges and be round.

1. Edges are found in all colour channels at once, with a threshold that follows the picture's own noise, and located to a fraction of
   a pixel (`worker.operations.edges`).
2. Two edges on one contour and their gradients fix a circle; where many agree, there is a candidate (`worker.operations.arcs`).
3. Each candidate is fitted to the edges around it by least squares (`worker.operations.support`), and stays if edges hold up enough of
   what is visible of it, or a long unbroken arc.

This happens on a pyramid of the image, each level a quarter as wide as the one before, from the smallest level to the largest. Large
circles, noise and blur are seen best on small levels, and the fit is repeated on each larger one. At the end each circle is judged once
(`_judged`): how round it is (`worker.operations.roundness`), whether chance would explain it, and whether its edges belong to a better one.

Images of more than 3 megapixel are searched at a half or a quarter of their size. What is too small to be seen there is
searched at full size in strips, in the one channel in which edges are clearest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.circles import FindCircles
from worker.errors import ArgumentError
from worker.operations.arcs import candidates
from worker.operations.blocks import waves
from worker.operations.dashes import dashed_circles
from worker.operations.edges import GAIN, Edges, find_edges
from worker.operations.ends import OPEN, openings, rounded_ends
from worker.operations.explained import explain_circles
from worker.operations.keywords import takes_keywords
from worker.operations.letters import among_letters, like_letters
from worker.operations.marks import CENTER, HALO, MARK, draw_cross, draw_outline, edged, line_width
from worker.operations.roundness import roundness
from worker.operations.shapes import Found
from worker.operations.support import NO_CIRCLES, TIGHT, Booleans, Circles, Floats, directions, distinct, doubles, fit, support, turned
from worker.operations.targets import further_rings
from worker.operations.tones import plain
from worker.pictures.pixels import Image, color, is_opaque, over_black, size_of, with_depth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.operations.shapes import Rows

_AUTOMATIC = 3.0  # pixels, the smallest radius if none is given
_LARGER = 8.0  # pixels of its level; the smallest radius looked for on the smaller levels, as the larger one sees the rest
_SMALL = 24.0  # pixels of its level; the largest radius looked for in strips
_FAR = 56.0  # pixels of its level; the largest radius looked for on all but the smallest level
_STEP = 4  # how many times wider a level of the pyramid is than the next one
_ENOUGH = 112.0  # pixels; no smaller level is made once the largest radius is no larger than this
_MOST_PIXELS = 3_000_000  # a larger image is searched as a whole at half its size
_STRIP = 512  # rows; the part of a large image that is searched at full size at a time
_BAND = 64  # rows; what is made of so many at a time needs little memory
_MARGIN = 64  # rows that are seen above and below that part
_ROUGH, _FINER, _CLOSE_BY = ((0.08, 1.5),), ((0.05, 1.0), (0.03, 0.8)), ((0.03, 0.7),)
_FOLLOWED = ((0.03, 1.5), (0.025, 0.8))  # from one level to the next larger one
_AWAY = 0.005  # of the evidence per pixel: of two sides that are held up alike, the nearer one is taken
_CLOSER = ((0.02, 2.0), (0.02, 0.8))  # rings of a target, and dashes
_SIDE = ((0.05, 6.2),)  # from the middle of a line to one of its sides
_LINE = (6.25, 0.1)  # the widest line with which a circle is drawn: 6 pixels and what a measured one is off by, or share of the radius
_ON_IT = 0.15  # the largest swing of dashes; of polygons with a radius of 16 pixels and more it is at least 0.23
_DASHES, _INTERRUPTED = 6, 0.85  # so many at least, and the share of the circumference that they hold up at most
_BENT = 0.76  # square pixels; the blur moves a bent edge inwards by this over the radius, as measured on discs and lines of 4 to 30 pixels
_BAND_WIDTH = 4.0  # pixels; what is narrower is a line, whatever is beside it
_CHANCE = 18.0  # how much rarer than by chance, as a natural logarithm, the support of a circle must be
_ROUND = 20.0  # pixels; a texture holds up no circle of this radius by edges of both signs
_BY_BOTH = 0.72  # of the circumference: arcs of rising and of falling edges that hold up a smaller one together
_SWING, _OVAL, _STRAIGHT = 1.1, 1.0, 0.3  # the limits of roundness
_MIXED = 0.05  # so much less worth is a circle that edges of both signs hold up together
_BRIGHT = 0.2  # so much more may the bright part of a ball be worth than the ball
_PERFECT = 0.97  # share of the circumference that must be held up among many candidates that failed
_CLEAN = 0.06  # the flaw of a small disc that is found in busy detail, too, if it is plain
_LARGEST_LETTER = 24.0  # pixels; the largest radius of which many candidates in one place are letters
_FAILURES = 14  # so many candidates that failed nearby are many
_OWN = 0.6  # of its edges a circle must not share with a better one
_SEEN = 0.5  # of the evidence that a circle needs, the share that edges of the largest level must hold up
_PARTLY = (0.75, 0.85)  # share of the circumference that is held up: of a part, and of nearly all
_SMALL_THING = (15.0, 18.0)  # pixels; up to this radius a part must be more round, and from that one on no more than a whole
_PART_FLAW, _LARGEST_FLAW = 0.25, 0.5  # the largest flaw of such a part, and of what is not very small
_SWINGING = 0.15  # what swings less is round on any level

#: Why a candidate is no circle, in the order in which it is judged. 0 is a circle.
REASONS = (
    "found",
    "radius outside min_radius to max_radius",
    "too little of its outline shows (sensitivity)",
    "not round",
    "oval",
    "straight sides",
    "edges of a texture",
    "no clearer than its surroundings",
    "the same as a better one",
    "its edges belong to a better one",
    "part of a larger one",
    "in small busy detail",
    "a letter among others",
    "the rounded end of something long",
    "inside another circle",
    "closer than min_distance to a better one",
    "beyond max_items",
)
(
    _FOUND,
    _RADIUS,
    _LITTLE,
    _ROUGH_SHAPE,
    _OVAL_SHAPE,
    _SIDES,
    _TEXTURE,
    _BY_CHANCE,
    _SAME,
    _CLAIMED,
    _PART,
    _BUSY,
    _LETTER,
    _END,
    _INSIDE,
    _CLOSE,
    _BEYOND,
) = range(len(REASONS))


@dataclass(frozen=True, slots=True)
class Search:
    """The outcome of a search.

    Attributes:
        rows: the circles found, as `find_circles` returns them.
        total: how many there were before `max_items`.
        candidates: `(M, 4)`: all that were judged: x, y and radius in pixels, score.
        reasons: `(M,)`: for each of them a place in `REASONS`.
    """

    rows: Rows
    total: int
    candidates: Circles
    reasons: NDArray[np.int64]


def check(params: FindCircles) -> None:
    """Raises ArgumentError if the radii contradict each other."""
    if params.max_radius and params.min_radius > params.max_radius:
        raise ArgumentError(f"find_circles: min_radius {params.min_radius:g} is larger than max_radius {params.max_radius:g}.")


@takes_keywords(FindCircles, check)
def find_circles(image: Image, params: FindCircles) -> Rows:
    """Finds circles, filled or outlined, the best first.

    Args:
        image: any; colours and alpha are looked at one by one, so that a circle shows if it stands out in one of them.
        params: radii and distances in pixels, 0 if the image decides. Circles of less than 3 pixels are not found.

    Returns:
        `(N, 6)`: x, y, radius in pixels from the centre of the top left one, u, v, and the score: of the circumference that lies within
        the image, the share that edges hold up, 0 to 1.
    """
    return search(image, params).rows


def detect_circles(image: Image, params: FindCircles) -> Found:
    """The operation: the rows of `find_circles`, how many there were before `max_items`, and the picture of the decisions if asked for."""
    outcome = search(image, params)
    images = {"explain": _explained(image, outcome)} if params.explain else {}
    return Found(outcome.rows, images, total=outcome.total)


def _explained(image: Image, outcome: Search) -> Image:
    image = one_channel(image)
    scale, level = next(searched_levels(image))
    return explain_circles(image, find_edges(level, waves(image) // scale).mask, outcome.candidates, outcome.reasons, REASONS)


def search(image: Image, params: FindCircles) -> Search:
    """As `find_circles`, and tells how many circles there were and why the other candidates are none."""
    image = one_channel(image)
    low, high = radii(image, params)
    least = 0.98 - 0.6 * params.sensitivity
    parts = [_whole(image, low, high, least, params.sensitivity), *_small(image, low, high, least, params.sensitivity)]
    judged = _joined([part for part in parts if len(part.circles)])
    reasons = _chosen(judged, params, low, high)
    kept = np.flatnonzero(reasons == _FOUND)
    kept = kept[_best_first(judged.circles[kept])]
    reasons[kept[params.max_items :]] = _BEYOND
    return Search(_rows(judged.circles[kept[: params.max_items]], image), len(kept), judged.circles, reasons)


def radii(image: Image, params: FindCircles) -> tuple[float, float]:
    """The smallest and the largest radius to look for; 0 means from 3 pixels to half the image's longer side."""
    high = params.max_radius or max(image.shape[:2]) / 2
    return params.min_radius or min(_AUTOMATIC, high / 2), high


@dataclass(frozen=True, slots=True)
class _Judged:
    """Candidates after they were judged, `(M, ...)` each; circles in pixels of the image.

    Attributes:
        circles: x, y, radius, score.
        worth: the evidence less the flaws, by which circles that compete are compared.
        flaw: how far from round, `Roundness.flaw`.
        reasons: places in `REASONS`.
    """

    circles: Circles
    worth: Floats
    flaw: Floats
    reasons: NDArray[np.int64]


def _joined(parts: list[_Judged]) -> _Judged:
    if not parts:
        return _Judged(NO_CIRCLES, np.empty(0), np.empty(0), np.empty(0, np.int64))
    return _Judged(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("circles", "worth", "flaw", "reasons")))


def _whole(image: Image, low: float, high: float, least: float, sensitivity: float) -> _Judged:
    """The search on the pyramid; an image of many pixels enters it at half its size or less."""
    levels = list(_levels(image, high))
    reach = waves(image)
    circles, smaller = NO_CIRCLES, []
    for scale, level in reversed(levels):
        edges = find_edges(level, reach // scale)
        circles = _followed(edges, scale, circles)
        smallest = low / scale if scale == levels[0][0] else max(low / scale, _LARGER)
        largest = high / scale if scale == levels[-1][0] else min(high / scale, _FAR)
        new = _on_image(_searched(edges, 0.9 * max(smallest, _AUTOMATIC), 1.1 * largest, least, _on_level(circles, scale)), scale)
        circles = distinct(np.vstack([circles, new]), rows=False)
        more = further_rings(edges, _on_level(circles, scale), max(smallest, _AUTOMATIC), high / scale)
        if scale == levels[0][0]:
            more = np.vstack([more, dashed_circles(edges, max(smallest, _LARGER), high / scale)])
        more = more[~_known(more, _on_level(circles, scale))]
        if len(more):
            circles = distinct(np.vstack([circles, _on_image(fit(edges, more, _CLOSER), scale)]))
        smaller.append((scale, edges))
    return _judged(smaller, level, circles, least, sensitivity)


def _levels(image: Image, high: float) -> Iterator[tuple[int, Image]]:
    """The image, and quarters of it, until the largest radius comes within reach; the first is small enough to be searched as a whole."""
    scale = 1
    while image.shape[0] * image.shape[1] > _MOST_PIXELS * scale * scale:
        scale *= 2
    level = _working(image) if scale == 1 else _reduced_in_strips(image, scale)
    while True:
        yield scale, level
        if high / scale <= _ENOUGH or min(level.shape[:2]) < 12 * _STEP:
            return
        step = _STEP if high / scale > 2 * _ENOUGH else 2
        level = _reduced(level, step)
        scale *= step


def searched_levels(image: Image) -> Iterator[tuple[int, Image]]:
    """The scale and the working image at which an image is searched as a whole, and no smaller ones."""
    return _levels(image, 0.0)


def _reduced(image: Image, by: int) -> Image:
    """Each pixel the mean of `by` times `by` of the image."""
    height, width = (side // by for side in image.shape[:2])
    return np.asarray(cv2.resize(image[: height * by, : width * by], (width, height), interpolation=cv2.INTER_AREA))


def _reduced_in_strips(image: Image, by: int) -> Image:
    """The working image at a part of its size, without one at full size."""
    height = image.shape[0] // by * by
    if image.dtype == np.uint8 and image.shape[2:] != (4,):
        return _working(_reduced(image, by))
    brightest = _brightest(image)
    bands = range(0, height, _BAND * by)
    return np.concatenate([_reduced(_working(image[top : min(top + _BAND * by, height)], brightest), by) for top in bands])


def _brightest(image: Image) -> float:
    """Of 16 bits, the range that the image uses."""
    return 255.0 if image.dtype == np.uint8 else float(max(255, image[..., :3].max() if image.ndim == 3 else image.max()))


def _working(image: Image, brightest: float | None = None) -> Image:
    """The image as 16 bits signed, 0 to 255 * GAIN, alpha as a further channel; 16 bits are stretched to what they use of their range."""
    flat = over_black(image)
    if flat.dtype == np.uint8:
        scaled = flat.astype(np.int16)
        scaled *= GAIN
    else:
        scaled = np.rint(flat * np.float32(255 * GAIN / (brightest or _brightest(image)))).astype(np.int16)
    if flat is image:
        return scaled
    return np.dstack([scaled, with_depth(image[..., 3], 8).astype(np.int16) * GAIN])


def one_channel(image: Image) -> Image:
    """A grey image that is stored in colour as one channel. An alpha channel through which nothing shines has no edges, and is left out."""
    if image.shape[2:] == (4,) and is_opaque(image):
        image = over_black(image)
    if image.ndim == 2 or image.shape[2] == 4 or (image[::16, ::16] != image[::16, ::16, :1]).any() or (image != image[..., :1]).any():
        return image
    return np.ascontiguousarray(image[..., 0])


def _on_level(circles: Circles, scale: int) -> Circles:
    """From pixels of the image to pixels of a level. Centres of pixels are whole numbers on both, hence the halves."""
    return np.column_stack([(circles[:, :2] + 0.5) / scale - 0.5, circles[:, 2] / scale, circles[:, 3]])


def _on_image(circles: Circles, scale: int) -> Circles:
    return np.column_stack([(circles[:, :2] + 0.5) * scale - 0.5, circles[:, 2] * scale, circles[:, 3]])


def _searched(edges: Edges, low: float, high: float, least: float, known: Circles) -> Circles:
    """Circles on one level, without those already known from a smaller one."""
    new = distinct(candidates(edges, low, high), rows=False)
    rough = distinct(fit(edges, new[~_known(new, known)], _ROUGH, 24), rows=False)
    finer = fit(edges, rough[rough[:, 3] >= 0.7 * least], _FINER, 48)
    return distinct(finer[finer[:, 3] >= 0.9 * least], rows=False)


def _known(circles: Circles, known: Circles) -> Booleans:
    """Which circles lie next to one of the known ones."""
    away = np.hypot(circles[:, None, 0] - known[:, 0], circles[:, None, 1] - known[:, 1]) + np.abs(circles[:, None, 2] - known[:, 2])
    return np.asarray((away < 0.05 * known[:, 2] + 1).any(axis=1))


def _followed(edges: Edges, scale: int, circles: Circles) -> Circles:
    """Circles of the next smaller level, fitted to the finer edges of this one, or as they were if these do not hold them up."""
    before = _on_level(circles, scale)
    finer = fit(edges, before, _FOLLOWED, 48)
    return _on_image(np.where((finer[:, 3] >= before[:, 3] - 0.1)[:, None], finer, before), scale)


def _least_swing(levels: list[tuple[int, Edges]], circles: Circles, swing: Floats) -> Floats:
    """The least swing on any level. An edge out of focus swings by its noise on a large level, but not on a small one.

    Args:
        levels: scale and edges of the smaller levels.
        circles: in pixels of the original image.
        swing: on the largest level.
    """
    for scale, edges in levels:
        at = np.flatnonzero((swing > _SWINGING) & (circles[:, 2] >= 16 * scale) & (circles[:, 2] < 90 * scale))
        if len(at):
            swing[at] = np.minimum(swing[at], roundness(edges, _on_level(circles[at], scale)).swing)
    return swing


def _small(image: Image, low: float, high: float, least: float, sensitivity: float) -> Iterator[_Judged]:
    """What is too small to be seen at the size at which the image is searched as a whole."""
    scale = 1
    while image.shape[0] * image.shape[1] > _MOST_PIXELS * scale * scale:
        if low < 2 * _AUTOMATIC * scale:
            yield from _small_on(image, scale, low, min(high, _SMALL * scale), least, sensitivity)
        scale *= 2


def _small_on(  # noqa: PLR0917
    image: Image, scale: int, low: float, high: float, least: float, sensitivity: float
) -> Iterator[_Judged]:
    """Small circles in strips of the image, reduced by `scale`."""
    channel, brightest = _clearest(image), _brightest(image)
    margin = _MARGIN * scale
    reach = waves(image) // scale
    for top in range(0, image.shape[0], _STRIP * scale):
        first, last = max(0, top - margin), min(image.shape[0], top + _STRIP * scale + margin)
        strip = _plane(image[first:last], channel, brightest)
        strip = _reduced(strip, scale) if scale > 1 else strip
        edges = find_edges(strip, reach)
        new = _searched(edges, 0.9 * max(low / scale, _AUTOMATIC), 1.1 * high / scale, least, NO_CIRCLES)
        judged = _judged([(scale, edges)], strip, _on_image(new, scale), least, sensitivity)
        judged.circles[:, 1] += first
        inside = (
            (judged.circles[:, 1] >= top - 0.5) & (judged.circles[:, 1] < top + _STRIP * scale - 0.5) & (judged.circles[:, 2] < 1.1 * high)
        )
        yield _Judged(judged.circles[inside], judged.worth[inside], judged.flaw[inside], judged.reasons[inside])


def _clearest(image: Image) -> int:
    """The channel in which the image's edges stand out most from its noise. Green, of which cameras record most, is taken if in doubt."""
    if image.ndim == 2:
        return 0
    step = max(1, round((image.shape[0] * image.shape[1] / 30_000) ** 0.5))
    change = np.abs(np.diff(_working(image[::step, ::step]), axis=1)).reshape(-1, image.shape[2]).astype(np.float32)
    noise = np.partition(change, len(change) // 2, axis=0)[len(change) // 2]
    clear = (np.maximum(change - 3 * noise - GAIN, 0) ** 2).sum(axis=0)
    return int(np.argmax(clear * np.where(np.arange(len(clear)) == 1, 1.2, 1)))


def _plane(image: Image, channel: int, brightest: float) -> Image:
    """One channel of the working image, or of an image of 8 bits as it is."""
    if image.shape[2:] == (4,):  # the colours depend on the alpha
        return np.concatenate([_working(image[top : top + _BAND], brightest)[..., channel] for top in range(0, len(image), _BAND)])
    plane = image if image.ndim == 2 else np.asarray(cv2.extractChannel(image, channel))
    return plane if plane.dtype == np.uint8 else _working(plane, brightest)


def _judged(levels: list[tuple[int, Edges]], image: Image, found: Circles, least: float, sensitivity: float) -> _Judged:
    """Decides about each candidate, once, on the largest level.

    Args:
        levels: scale (how many pixels of the original image one of its pixels is wide) and edges of each level, the largest last.
        image: the largest level.
        found: in pixels of the original image.
        least: the evidence that a circle needs.
        sensitivity: as in the params.
    """
    if not len(found):
        return _joined([])
    scale, edges = levels[-1]
    circles, round_one, sign, width = _sharpened(edges, image, _on_level(found, scale), least)
    shape = roundness(edges, round_one, sign)
    swing = _least_swing(levels[:-1], _on_image(round_one, scale), shape.swing)
    straight = np.where(_is_dashed(edges, round_one, sign, swing, shape.straight), 0, shape.straight)
    flaw = 0.25 * np.minimum(swing, 1) + 0.2 * np.minimum(shape.oval, 1) + 0.3 * straight
    line = width > 0
    seen = circles[:, 2] * shape.visible  # the radius of a whole circle of which as many pixels are seen
    worth = circles[:, 3] - flaw - np.where(sign == 0, _MIXED, 0)
    whole = 0.03 + np.interp(shape.whole, (0.9, 1.2), (0, 1)) * np.interp(
        circles[:, 2], (12, 18), (0.08, 0.24)
    )  # coins are a little uneven
    reasons = np.select(
        [
            (circles[:, 3] < _needed(circles[:, 2], least)) | (shape.whole < 0.6 * least),
            straight > _STRAIGHT,
            swing > _SWING,
            shape.oval > _OVAL,
            flaw > np.interp(seen, (4, 12), (0.09, _LARGEST_FLAW)),  # among many specks some are nearly round
            worth < least - whole - np.where(sign == 0, _MIXED, 0),
            (shape.whole < 0.9) & (flaw > 0.2),  # less than two thirds of it must be the more round
        ],
        [_LITTLE, _SIDES, _ROUGH_SHAPE, _OVAL_SHAPE, _ROUGH_SHAPE, _LITTLE, _ROUGH_SHAPE],
        _FOUND,
    )
    perfect = (flaw < 0.1) & (circles[:, 3] > _PERFECT) & (circles[:, 2] > 10)
    doubtful = np.flatnonzero((reasons == _FOUND) & ~line & (sign == 0) & (circles[:, 2] < _ROUND) & ~perfect)
    if len(doubtful):
        reasons[doubtful[_arcs(edges, round_one[doubtful]) < _BY_BOTH]] = _TEXTURE
    good = np.flatnonzero(reasons == _FOUND)
    reasons[good[~_beyond_chance(edges, round_one[good], width[good])]] = _BY_CHANCE
    _without_rivals(edges, circles, width, sign, worth, flaw, reasons)
    good = np.flatnonzero(reasons == _FOUND)
    reach = TIGHT[0] * round_one[good, 2] + TIGHT[1] + 0.2
    circles[good, 3] = np.minimum(support(edges, round_one[good], reach, 64, sign[good]).share(), 1)
    reasons[good[circles[good, 3] < _SEEN * least]] = _LITTLE  # what only a smaller level has seen
    good = np.flatnonzero(reasons == _FOUND)
    gaps = openings(edges, round_one[good], sign[good])
    reasons[good[rounded_ends(edges, round_one[good], sign[good], gaps)]] = _END
    reasons[good[(gaps.width > OPEN) & (flaw[good] > _flawed(circles[good]))]] = _ROUGH_SHAPE
    _by_surroundings(edges, image, circles, flaw, reasons, sensitivity)
    circles[:, 2] += _BENT / np.maximum(circles[:, 2], 1)
    return _Judged(_on_image(circles, scale), worth, flaw, reasons)


def _by_surroundings(  # noqa: PLR0917
    edges: Edges, image: Image, circles: Circles, flaw: Floats, reasons: NDArray[np.int64], sensitivity: float
) -> None:
    """Notes in `reasons` which circles are part of a texture or of a text, as what is around them shows."""
    busy = _busy(edges, circles, reasons, sensitivity)
    reasons[busy[~((flaw[busy] < _CLEAN) & (circles[busy, 3] > _PERFECT) & plain(image, circles[busy]))]] = _BUSY
    reasons[_among_failures(circles, reasons)] = _BUSY
    good = np.flatnonzero(reasons == _FOUND)
    reasons[good[among_letters(edges, image, circles[good], circles[good])]] = _LETTER
    good = np.flatnonzero(reasons == _FOUND)
    reasons[good[like_letters(image, circles[good], circles[reasons == _LETTER])]] = _LETTER


def _flawed(circles: Circles) -> Floats:
    """The flaw from which on a circle with an open side is not round: of small ones less, as leaves and letters have such arcs, too."""
    part = np.interp(circles[:, 3], _PARTLY, (1, 0)) * np.interp(circles[:, 2], _SMALL_THING, (1, 0))
    return np.asarray(_LARGEST_FLAW - (_LARGEST_FLAW - _PART_FLAW) * part)


def _needed(radius: Floats, least: float) -> Floats:
    """The evidence that a circle of this radius needs: small ones more, because a few pixels of a texture are soon round."""
    return np.asarray(least + 0.7 * (1 - least) * np.clip((12 - radius) / 7, 0, 1))


def _sharpened(edges: Edges, image: Image, circles: Circles, least: float) -> tuple[Circles, Circles, NDArray[np.int64], Floats]:
    """The circles, each on one side of its line, or, if it is drawn as a line, in the middle of it.

    A drawn line has an edge on either side, of opposite signs; a circle fitted to both may lean to one here and to the other there.

    Returns:
        the circles; for each the circle of one side, on which its roundness is measured; the sign of the edges of that side, 0 if both
        signs hold it up together; the width of its line, 0 if it is none.
    """
    both = fit(edges, circles, (TIGHT,))
    both = np.where((both[:, 3] >= circles[:, 3] - 0.1)[:, None], both, circles)
    count = len(circles)
    signs = np.repeat([1, -1], count)
    sides = fit(edges, fit(edges, np.vstack([both, both]), _SIDE, 32, signs), _CLOSE_BY, sign=signs)
    rising, falling = sides[:count], sides[count:]
    up = rising[:, 3] - _AWAY * np.abs(rising[:, 2] - both[:, 2]) >= falling[:, 3] - _AWAY * np.abs(falling[:, 2] - both[:, 2])
    single = np.where(up[:, None], rising, falling)
    clean = (single[:, 3] >= np.maximum(both[:, 3] - 0.1, least)) & (np.abs(single - both)[:, :3].max(axis=1) <= 3 + 0.05 * both[:, 2])
    clean &= ~_touches_inside(single, both)  # the bright part of a ball
    middle = (rising + falling) / 2
    middle[:, 3] = np.maximum(np.maximum(rising[:, 3], falling[:, 3]), both[:, 3])
    line = _is_line(image, rising, falling, least) & (middle[:, 3] >= least)
    sided = clean | line
    measured = np.where(sided[:, None], single, both)
    middle[:, 3] -= 0.02 * np.hypot(*(rising - falling)[:, :2].T)  # of equals, the line of which the sides agree
    width = np.where(line, np.abs(rising[:, 2] - falling[:, 2]), 0)
    reported = np.where(line[:, None], middle, measured)
    reported[:, 2] += np.where(clean & ~line, _pushed(single, np.where(up[:, None], falling, rising)), 0)
    return reported, measured, np.where(sided, np.where(up, 1, -1), 0), width


def _pushed(circles: Circles, others: Circles) -> Floats:
    """How far to move each radius back towards the other side of a thin rim, whose two edges push each other apart in a blur.

    Measured on straight lines of known width: edges that are 2.66 pixels apart belong to a line 1 pixel wide, and so on.
    """
    apart = others[:, 2] - circles[:, 2]
    rim = (np.hypot(*(circles - others)[:, :2].T) <= 0.5 + 0.02 * circles[:, 2]) & (others[:, 3] >= 0.5)
    push = np.interp(np.abs(apart), (2.66, 2.81, 2.95, 3.11, 3.33, 3.66, 4.05), (0.83, 0.65, 0.47, 0.31, 0.17, 0.08, 0))
    return np.asarray(np.where(rim, np.sign(apart) * push, 0))


def _is_line(image: Image, first: Circles, second: Circles, least: float) -> Booleans:
    """Whether two circles are the two sides of a line: concentric, close together, both held up, and the same colour on either side."""
    inner, outer = np.minimum(first[:, 2], second[:, 2]), np.maximum(first[:, 2], second[:, 2])
    concentric = np.hypot(*(first - second)[:, :2].T) <= 0.75 + 0.02 * inner
    near = (outer - inner <= np.maximum(_LINE[0], _LINE[1] * outer)) & (outer - inner > 0.5)
    held = np.minimum(first[:, 3], second[:, 3]) >= min(0.5, least)
    line: Booleans = np.asarray(concentric & near & held)
    at = np.flatnonzero(line)
    if not len(at):
        return line
    center = (first + second)[at, :2] / 2
    inside, between, outside = (_tone(image, center, radius[at]) for radius in (inner - 2.5, (inner + outer) / 2, outer + 2.5))
    contrast = np.minimum(np.abs(between - inside).max(axis=1), np.abs(between - outside).max(axis=1))
    line[at] = (np.abs(inside - outside).max(axis=1) < 0.6 * contrast) & ~_is_band(image, center, inner[at], outer[at], between, contrast)
    return line


def _is_band(  # noqa: PLR0917
    image: Image, center: Floats, inner: Floats, outer: Floats, between: Floats, contrast: Floats
) -> Booleans:
    """Whether the next ring on either side, as wide as this one, has its colour again: a target's bands are no lines."""
    width = outer - inner
    again = [
        np.abs(_tone(image, center, radius) - between).max(axis=1) < 0.3 * contrast for radius in (inner - 1.5 * width, outer + 1.5 * width)
    ]
    room = width >= _BAND_WIDTH
    return np.asarray(room & ((again[0] & (inner > 2 * width)) | again[1]))


def _tone(image: Image, center: Floats, radius: Floats) -> Floats:
    """The mean colour along circles, `(circles, channels)`."""
    places = center[:, None, :] + np.maximum(radius, 0)[:, None, None] * directions(64)
    column = np.clip(np.rint(places[..., 0]).astype(np.intp), 0, image.shape[1] - 1)
    row = np.clip(np.rint(places[..., 1]).astype(np.intp), 0, image.shape[0] - 1)
    return np.asarray(image[row, column].reshape(len(center), 64, -1).mean(axis=1))


def _is_dashed(edges: Edges, circles: Circles, sign: NDArray[np.int64], swing: Floats, straight: Floats) -> Booleans:
    """Which circles seem to have straight sides only because they are interrupted: the ends of dashes bend the other way.

    The sides of polygons leave the circle. Dashes lie on it more exactly than polygons ever do.
    """
    dashed = (swing < _ON_IT) & (straight > 0.1)
    at = np.flatnonzero(dashed)
    if len(at):
        held = support(edges, circles[at], TIGHT[0] * circles[at, 2] + TIGHT[1], 128, sign[at]).held
        dashed[at] = ((held & ~turned(held, 1)).sum(axis=1) >= _DASHES) & (held.mean(axis=1) < _INTERRUPTED)
    return dashed


def _arcs(edges: Edges, circles: Circles) -> Floats:
    """The longest arc of rising edges and that of falling ones together: a ball is brighter on one side and darker on the other."""
    reach = TIGHT[0] * circles[:, 2] + TIGHT[1] + 0.5
    return np.asarray(sum(support(edges, circles, reach, 48, np.full(len(circles), sign)).arc() for sign in (1, -1)))


def _beyond_chance(edges: Edges, circles: Circles, width: Floats) -> Booleans:
    """Which circles have more support than four others of their size beside them, by more than chance would give.

    By Chernoff's bound, n places of which each is held up with probability p are held up to a share s with a probability of at most
    exp(-n * D(s, p)), where D is the relative entropy. This is the a-contrario reasoning of Desolneux, Moisan and Morel (2000). The
    others are looked at outside of the circle only, so that its own edges do not count.
    """
    if not len(circles):
        return np.empty(0, np.bool_)
    beside = np.array([(1.1, 0.5), (-0.5, 1.1), (-1.1, -0.5), (0.5, -1.1)])
    home = np.repeat(circles, len(beside), axis=0)
    others = home.copy()
    others[:, :2] += np.tile(beside, (len(circles), 1)) * home[:, 2:3]
    places = others[:, None, :2] + others[:, 2, None, None] * directions(32)
    outside = np.hypot(*(places - home[:, None, :2]).transpose(2, 0, 1)) > (home[:, 2] + np.repeat(width, len(beside)) + 2)[:, None]
    held = support(edges, others, TIGHT[0] * others[:, 2] + TIGHT[1], 32).held & outside
    p = held.reshape(len(circles), -1).sum(axis=1) / np.maximum(outside.reshape(len(circles), -1).sum(axis=1), 1)
    p, s = np.clip(0.02 + p, 0.02, 0.98), np.clip(circles[:, 3], 0.02, 0.98)
    entropy = s * np.log(s / p) + (1 - s) * np.log((1 - s) / (1 - p))
    return np.asarray((s > p) & (np.pi * circles[:, 2] * entropy > _CHANCE))


def _without_rivals(  # noqa: PLR0917
    edges: Edges,
    circles: Circles,
    width: Floats,
    sign: NDArray[np.int64],
    worth: Floats,
    flaw: Floats,
    reasons: NDArray[np.int64],
) -> None:
    """Sets the reasons of those circles that a better one explains."""
    kept = np.flatnonzero(reasons == _FOUND)
    rank = _after_the_ball(circles[kept], (worth + np.where(width > 0, 0.08, 0))[kept], sign[kept])  # a line before its sides
    kept = kept[np.argsort(-rank, kind="stable")]
    double = doubles(circles[kept]) | _sides(circles[kept], width[kept])
    reasons[kept[double]] = _SAME
    kept = kept[~double]
    claimed = _claimed(edges, circles[kept])
    reasons[kept[claimed]] = _CLAIMED
    kept = kept[~claimed]
    reasons[kept[_parts(circles[kept], worth[kept], flaw[kept])]] = _PART


def _after_the_ball(circles: Circles, worth: Floats, sign: NDArray[np.int64]) -> Floats:
    """The worths; but the bright part of a ball comes after the ball.

    It touches the ball from inside and is brighter all the way round, while the ball's edges are of both signs: bright on the side of the
    light, dark on the other.
    """
    part = _touches_inside(circles[:, None], circles) & (sign[:, None] != 0) & (sign == 0) & (worth > worth[:, None] - _BRIGHT)
    return np.asarray(np.minimum(worth, np.where(part, worth - 0.001, np.inf).min(axis=1, initial=np.inf)))


def _touches_inside(small: Circles, large: Circles) -> Booleans:
    """Whether circles touch others, a little larger, from inside; the columns are last."""
    radius = large[..., 2]
    between, apart = np.hypot(small[..., 0] - large[..., 0], small[..., 1] - large[..., 1]), radius - small[..., 2]
    touches = np.abs(apart - between) < 0.8 + 0.03 * radius
    return np.asarray(touches & (apart > 0) & (apart < 0.35 * radius) & (between > 0.1 * radius))


def _parts(circles: Circles, worth: Floats, flaw: Floats) -> Booleans:
    """Which circles are only a part or another view of a better one: highlights, holes, reliefs, rims.

    What is not clean gives way: near a better one at all, inside of one unless it is much better, on its centre if it is worse. Of two
    circles that nearly coincide and cross each other the worse gives way, clean or not.
    """
    x, y, radius = circles[:, :3].T
    between, apart = np.hypot(x[:, None] - x, y[:, None] - y), np.abs(radius[:, None] - radius)
    larger = np.maximum(radius[:, None], radius)
    inside = (between < 0.9 * radius) & (radius[:, None] < radius)
    concentric = between <= 0.04 * larger + 0.5
    near = (between + apart < 0.3 * larger) & ~np.eye(len(circles), dtype=np.bool_)
    rival = np.select([near, concentric, inside], [worth, worth - 0.1, worth + 0.25], -1)
    return np.asarray((((flaw > 0.1)[:, None] | (near & (between > apart))) & (worth[:, None] < rival)).any(axis=1))


def _sides(circles: Circles, width: Floats) -> Booleans:
    """Which circles are a side of a line that was found as a circle and stands further up."""
    lines = np.flatnonzero(width)
    between = np.hypot(*(circles[:, None, :2] - circles[lines, :2]).transpose(2, 0, 1))
    away = np.abs(circles[:, None, 2] - circles[lines, 2])
    side = (between < 1 + 0.02 * circles[lines, 2]) & (away > 0.25 * width[lines]) & (away < 0.5 * width[lines] + 1)
    return np.asarray((side & (lines < np.arange(len(circles))[:, None])).any(axis=1))


def _claimed(edges: Edges, circles: Circles) -> Booleans:
    """Which circles have more than two fifths of their edges on better ones, which stand further up."""
    x, y, radius = circles[:, :3].T
    reach = 1.2 + 0.03 * radius
    between = np.hypot(x[:, None] - x, y[:, None] - y)
    room = reach[:, None] + reach
    touching = (between < radius[:, None] + radius + room) & (between > np.abs(radius[:, None] - radius) - room)
    gone = np.zeros(len(circles), np.bool_)
    pairs = np.argwhere(np.triu(touching, 1))  # in order of the better one
    if not len(pairs):
        return gone
    held_up = support(edges, circles, 0.03 * radius + 0.8, 48)
    rim_x, rim_y = (circles[:, axis, None] + (radius[:, None] + held_up.away) * directions(48)[:, axis] for axis in (0, 1))
    own = held_up.held.copy()
    for better, worse in pairs:
        if not gone[better] and not gone[worse]:
            away = np.hypot(rim_x[worse] - x[better], rim_y[worse] - y[better]) - radius[better]
            own[worse] &= np.abs(away) >= reach[better]
            gone[worse] = own[worse].sum() < _OWN * held_up.held[worse].sum()
    return gone


def _busy(edges: Edges, circles: Circles, reasons: NDArray[np.int64], sensitivity: float) -> NDArray[np.intp]:
    """Small circles among edges that belong to no circle, such as letters."""
    found = np.flatnonzero(reasons == _FOUND)
    small: NDArray[np.intp] = np.asarray(found[circles[found, 2] < 9])
    if not len(small):
        return small
    mask = (edges.mask > 0).astype(np.uint8)
    for x, y, radius, _ in circles[found]:
        cv2.circle(mask, (round(16 * x), round(16 * y)), round(16 * radius), 0, 5, cv2.LINE_8, 4)
    sums = cv2.integral(mask)
    x, y, radius = circles[small, :3].T
    left, right = (np.clip(np.rint(x + sign * 4 * radius), 0, mask.shape[1]).astype(np.intp) for sign in (-1, 1))
    top, bottom = (np.clip(np.rint(y + sign * 4 * radius), 0, mask.shape[0]).astype(np.intp) for sign in (-1, 1))
    other = (sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]) / np.maximum((right - left) * (bottom - top), 1)
    limit = 0.32 * sensitivity**4 * np.interp(radius, (8, 9), (1, 4.5))
    return np.asarray(small[other > limit])


def _among_failures(circles: Circles, reasons: NDArray[np.int64]) -> NDArray[np.intp]:
    """Circles that are not perfect, among many places where a candidate of their size failed: of so many trials one succeeds by chance."""
    found = np.flatnonzero(reasons == _FOUND)
    tried = found[(circles[found, 3] < _PERFECT) & (circles[found, 2] < _LARGEST_LETTER)]
    failed = np.flatnonzero(~np.isin(reasons, (_FOUND, _RADIUS, _SAME, _CLAIMED, _PART)))
    if not len(tried) or len(failed) <= _FAILURES:
        return np.empty(0, np.intp)
    inside = np.hypot(*(circles[failed, None, :2] - circles[found, :2]).transpose(2, 0, 1)) < 1.1 * circles[found, 2]
    failed = failed[~inside.any(axis=1)]
    among = []
    for x, y, radius, _ in circles[tried]:
        near = np.hypot(circles[failed, 0] - x, circles[failed, 1] - y) < 12 * radius
        alike = circles[failed[near & (np.abs(circles[failed, 2] - radius) < 0.5 * radius)], :2]
        among.append(len(np.unique(np.floor(alike / (2 * radius)), axis=0)) > _FAILURES)
    return np.asarray(tried[np.array(among)])


def _chosen(judged: _Judged, params: FindCircles, low: float, high: float) -> NDArray[np.int64]:
    """The reasons, after what the caller asked for. The range of radii comes first, so that no circle gives way to one out of range."""
    circles = judged.circles
    reasons: NDArray[np.int64] = judged.reasons.copy()
    reasons[(circles[:, 2] < low) | (circles[:, 2] > high)] = _RADIUS
    order = np.flatnonzero(reasons == _FOUND)
    order = order[np.argsort(-judged.worth[order], kind="stable")]
    reasons[order[doubles(circles[order])]] = _SAME  # what both a strip and the whole have found
    order = order[reasons[order] == _FOUND]
    reasons[order[_parts(circles[order], judged.worth[order], judged.flaw[order])]] = _PART
    order = order[reasons[order] == _FOUND]
    if not params.nested:
        x, y, radius = circles[order, :3].T
        between = np.hypot(x[:, None] - x, y[:, None] - y)
        inside: Booleans = np.asarray(((between < 0.9 * radius) & (radius[:, None] < radius)).any(axis=1))
        reasons[order[inside]] = _INSIDE
        order = order[reasons[order] == _FOUND]
    if params.min_distance:
        order = order[_best_first(circles[order])]
        for place, this in enumerate(order):
            if reasons[this] == _FOUND:
                rest = order[place + 1 :]
                near = np.hypot(*(circles[rest, :2] - circles[this, :2]).T) < params.min_distance
                reasons[rest[near & (reasons[rest] == _FOUND)]] = _CLOSE
    return reasons


def _best_first(circles: Circles) -> NDArray[np.intp]:
    """The order by score, and of equals the larger one first."""
    return np.lexsort((circles[:, 1], circles[:, 0], -circles[:, 2], -np.round(circles[:, 3], 2)))


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
        for line, outline, cross in ((edged(width), HALO, HALO), (width, MARK, CENTER)):
            draw_outline(canvas, (x, y), radius, outline, line)
            draw_cross(canvas, (x, y), arm, cross, line)
    return canvas
