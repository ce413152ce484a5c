"""Which circles are letters, parts of letters or punctuation: what stands beside them in one line, of one ink, is text.

A line of text is a row of things that are about as high, stand on one line, differ in size, and show one ink on one ground. A circle
belongs to it in one of these ways:

- it is a stroke bent round, such as an o, and stands in the line itself;
- it is a part of a larger thing, such as the bowl of a d, and that thing stands in the line;
- it is the hole of such a thing;
- it is a dot, small beside the letters, and stands on their line, or above or below something that does.

Rings, discs or icons that are all alike are no text, however many stand in one line.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import Circles
from worker.operations.tones import OFF, Tone, pixels, tones, towards
from worker.pictures.pixels import Image

Floats = NDArray[np.float32]
Booleans = NDArray[np.bool_]
#: What hangs together: `(N, 4)`, left, top, width, height in pixels.
Boxes = NDArray[np.float64]
#: Lines in which a circle may stand, `(N, 10)`: see `_stands`.
Stands = NDArray[np.float64]
Places = NDArray[np.float64]

_GRID = 8  # samples across and down a neighbour, and along each of its sides
_SHORTEST = 4  # pixels; what is no longer is no letter
_HEIGHT, _ABOVE_DOT = (1.2, 7.0), (4.5, 16.0)  # radii; how high the neighbours of a letter and of a dot are
_OF_THING = (0.5, 2.0)  # heights; how high those of a thing are of which a circle is a part
_REACH, _FURTHER = 16.0, 6.0  # radii, or heights of the neighbour: how far along the line it may be
_IN_LINE, _ON_LINE, _LEVEL = 0.5, 0.35, 0.12  # radii of a letter, of a dot, height of a thing: by which the line may miss them
_MOST = 6.0  # a neighbour that is longer than high counts as several letters that touch; so many at most
_ALIKE = (0.5, 2.0)  # of the neighbours' median height
_NESTED = 3.0  # times as long and as high at most is a thing of which an edge inside is another side
_VARIED = (3.0, 0.15)  # pixels, and of that height: by which the sizes of letters differ
_FEWEST, _FEWEST_WHOLE, _APART = 3.0, 5.0, 3  # letters beside a part of a circle or a dot, and beside a whole circle; in so many things
_INSIDE = 2.3  # radii; what is longer does not lie inside of a circle
_WHOLE, _PART = 0.97, 0.9  # share of the circumference that edges hold up
_LARGER = (1.15, 4.0)  # diameters; how high a thing is of which a circle is a part
_AT_END = (1.2, 1.6)  # diameters; how high at least, and how wide at most, the thing is at whose end a whole circle is
_AROUND = 2.5  # of its height; how wide a thing may be in which a circle is a hole
_STEM = (1.5, 6.0, 5.0)  # radii; how far aside of a dot its stem may be, how wide, and how far away
_WEAK = 0.4  # of the contrast; a dot that is out of focus has so much of it, and its ground half as much at most
_STANDS = (0.3, 0.5)  # of the contrast: how close to the ground; of the pixels next to a neighbour that are so close to it
_PURE = 0.8  # of a neighbour's pixels that are ink, ground or between both
_TYPICAL = 5  # so many letters show how large and how dark those of a text are
_AS_LARGE, _AS_DARK = 0.15, (0.5, 2.0)  # of the radius, by which letters of a text differ; of their contrast, as the light may be uneven
_AT_ONCE = 1 << 20  # pairs of a stand and a box that are compared together

_OF, _KIND, _PLACE, _LOW, _HIGH, _SLACK, _LEAST, _MOST_HIGH, _FAR, _THING = range(10)
_LETTER, _DOT, _THE_PART, _HOLE_OF = range(4)


def among_letters(edges: Edges, image: Image, circles: Circles, others: Circles) -> Booleans:
    """Which circles are a letter of a line of text, a part of one, or a dot.

    Args:
        edges: of the image.
        image: `(height, width)` or `(height, width, channels)`.
        circles: in question.
        others: all circles that were found. What lies inside of one is no neighbour.
    """
    letter = np.zeros(len(circles), np.bool_)
    boxes = np.asarray(edges.contours.boxes[edges.contours.boxes[:, 2:].max(axis=1) > _SHORTEST], np.float64)
    if not len(circles) or len(boxes) < _APART:
        return letter
    free = ~_inside(boxes, others)
    planes = image if image.ndim == 3 else image[..., None]
    for along in (0, 1):
        turned = boxes if along == 0 else boxes[:, [1, 0, 3, 2]]
        stands = _stands(turned, circles[:, [along, 1 - along, 2, 3]])
        stands = stands[~letter[stands[:, _OF].astype(np.intp)]]
        crowded = list(_crowded(stands, turned, free))
        if crowded:
            _judge(letter, crowded, boxes, along, planes, circles)
    return letter


def like_letters(image: Image, circles: Circles, letters: Circles) -> Booleans:
    """Which circles look like letters that were found: in a text, an o that is not seen to stand in a line is as large as the others.

    They are strokes of about the same radius and contrast, and fewer than the letters that they look like.

    Args:
        image: as for `among_letters`.
        circles: in question.
        letters: those of which it is known.
    """
    like = np.zeros(len(circles), np.bool_)
    if not len(circles) or len(letters) < _TYPICAL:
        return like
    planes = image if image.ndim == 3 else image[..., None]
    seen = list(tones(planes, np.vstack([circles, letters])))
    contrast = np.stack([tone.ink - tone.ground for tone in seen])
    radius = np.concatenate([circles[:, 2], letters[:, 2]])
    stroke = np.array([tone.is_stroke for tone in seen])
    count = len(circles)
    share, off = towards(np.broadcast_to(contrast, (count, *contrast.shape)), contrast[:count])
    alike = (off < OFF) & (share > _AS_DARK[0]) & (share < _AS_DARK[1]) & stroke & stroke[:count, None]
    alike &= np.abs(radius - radius[:count, None]) <= _AS_LARGE * radius[:count, None]
    known, unknown = alike[:, count:].sum(axis=1), alike[:, :count].sum(axis=1)
    return np.asarray((known >= _TYPICAL) & (known > unknown))


def _judge(  # noqa: PLR0917
    letter: Booleans, crowded: list[tuple[Floats, NDArray[np.intp]]], boxes: Boxes, along: int, planes: Image, circles: Circles
) -> None:
    """Sets which circles are letters; the stands and the boxes near them are given."""
    asked = np.unique([int(stand[_OF]) for stand, _ in crowded])
    tone_of = dict(zip(asked.tolist(), tones(planes, circles[asked]), strict=True))
    for stand, near in crowded:
        this = int(stand[_OF])
        if not letter[this]:
            letter[this] = _stands_in_text(stand, near, boxes, along, planes, circles[this, 3], tone_of[this])


def _stands_in_text(  # noqa: PLR0917
    stand: Floats, near: NDArray[np.intp], boxes: Boxes, along: int, planes: Image, score: float, tone: Tone
) -> bool:
    fewest = _FEWEST_WHOLE if stand[_KIND] != _DOT and score > _WHOLE else _FEWEST
    heights = boxes[near, 3 - along]
    low, high = (share * np.median(heights) for share in _ALIKE)
    alike = _outer(boxes[near[(heights >= low) & (heights <= high)]])
    if _letters(alike, along) < fewest:
        return False
    ink, ground = tone.ink, tone.ground
    if stand[_KIND] == _LETTER:
        if not tone.is_stroke:
            return False
    else:
        ink, ground = _of_thing(planes, boxes[int(stand[_THING])] if stand[_THING] >= 0 else alike[0])
        if stand[_KIND] == _DOT and not (tone.is_disc and _same(tone.middle, tone.beyond, ink, ground)):
            return False
        if stand[_KIND] == _HOLE_OF and not (tone.is_disc and _same(tone.beyond, tone.middle, ink, ground)):
            return False
    return _letters(alike[_of_ink(planes, alike, ink, ground)], along) >= fewest


def _outer(boxes: Boxes) -> Boxes:
    """The boxes without those of the other sides of strokes, which lie inside of one that is not much larger."""
    begin, size = boxes[:, None, :2], boxes[:, None, 2:]
    inside = (begin >= boxes[:, :2]) & (begin + size <= boxes[:, :2] + boxes[:, 2:]) & (boxes[:, 2:] < _NESTED * size)
    return boxes[~(inside.all(axis=2) & ~np.eye(len(boxes), dtype=np.bool_)).any(axis=1)]


def _same(first: Floats, second: Floats, ink: Floats, ground: Floats) -> bool:
    """Whether two colours are an ink, which a blur may have made weaker, and a ground."""
    share, off = towards(np.stack([first, second])[None] - ground, (ink - ground)[None])
    return bool(share[0, 0] > _WEAK and share[0, 1] < _WEAK / 2 and off.max() < OFF)


def _letters(boxes: Boxes, along: int) -> float:
    """For how many letters the boxes stand; 0 if they are too few, or all alike."""
    if len(boxes) < _APART:
        return 0
    widths, heights = boxes[:, 2 + along], boxes[:, 3 - along]
    if max(np.ptp(widths), np.ptp(heights)) <= max(_VARIED[0], _VARIED[1] * np.median(heights)):
        return 0
    return float(np.clip(widths / heights, 1, _MOST).sum())


def _inside(boxes: Boxes, circles: Circles) -> Booleans:
    """Which boxes lie inside of circles."""
    x, y, radius = circles[:, :3].T
    inside = np.zeros(len(boxes), np.bool_)
    at_once = max(1, _AT_ONCE // max(1, len(circles)))
    for first in range(0, len(boxes), at_once):
        part = boxes[first : first + at_once, :, None]
        away = np.hypot(part[:, 0] + (part[:, 2] - 1) / 2 - x, part[:, 1] + (part[:, 3] - 1) / 2 - y)
        inside[first : first + at_once] = ((away < radius) & (part[:, 2:].max(axis=1) < _INSIDE * radius)).any(axis=1)
    return inside


def _stands(boxes: Boxes, circles: Circles) -> Stands:
    """The lines in which circles may stand; seen with the line across the image.

    Returns:
        `(N, 10)`: the number of the circle; `_LETTER`, `_DOT` or `_THE_PART`; its place along the line; where the line's letters begin or
        end, seen across the line, endless if that is open; by how much they may miss it; their least and largest height; how far along
        the line; the box that the circle is a part of, -1 for none.
    """
    x, y, radius, _ = circles.T
    endless = np.full(len(circles), np.inf)
    number, no_thing = np.arange(len(circles)), np.full(len(circles), -1)
    begin, end = y - radius, y + radius
    found = [_rows(number, _LETTER, x, begin, end, _IN_LINE * radius, _HEIGHT, radius, _REACH * radius, no_thing)]
    small = np.flatnonzero(radius < boxes[:, 3].max() / _ABOVE_DOT[0])
    for low, high in ((endless, end), (begin, endless)):  # letters end where a full stop ends, or begin there if they are upside down
        dots = _rows(number, _DOT, x, low, high, 0.7 + _ON_LINE * radius, _ABOVE_DOT, radius, 2 * _REACH * radius, no_thing)
        found.append(dots[small])
    at_once = max(1, _AT_ONCE // len(boxes))
    for first in range(0, len(circles), at_once):
        found += _things(boxes, circles[first : first + at_once], first)
    return np.vstack(found)


def _rows(  # noqa: PLR0917
    number: NDArray[np.intp],
    kind: NDArray[np.intp] | int,
    x: Places,
    low: Places,
    high: Places,
    slack: Places,
    heights: tuple[float, float],
    unit: Places,
    reach: Places,
    thing: NDArray[np.intp],
) -> Stands:
    least, most = (share * unit for share in heights)
    return np.column_stack([number, np.full(len(number), 0) + kind, x, low, high, slack, least, most, reach, thing])


def _things(boxes: Boxes, circles: Circles, first: int) -> Iterator[Stands]:
    """The lines of things of which circles are parts, and of the stems of dots. The circles are numbered from `first` on."""
    x, y, r, score = (column[:, None] for column in circles.T)
    left, top, width, height = boxes.T
    right, bottom = left + width - 1, top + height - 1
    slack, begin, end = 1 + 0.25 * r, y - r, y + r
    within = (left < x - r + slack) & (right > x + r - slack) & (top < begin + slack) & (bottom > end - slack)
    larger = (height > 2 * _LARGER[0] * r) & (height < 2 * _LARGER[1] * r)
    part, hole = larger & (score < _PART), larger & (width < _AROUND * height)
    at_end = (height > 2 * _AT_END[0] * r) & (width < 2 * _AT_END[1] * r) & (np.minimum(np.abs(top - begin), np.abs(bottom - end)) < slack)
    circle, thing = np.nonzero(within & (part | at_end | hole))
    number, size = first + circle, height[thing]
    reach = _REACH * circles[circle, 2]
    place = circles[circle, 0]
    kind = np.where((part | at_end)[circle, thing], _THE_PART, _HOLE_OF)
    yield _rows(number, kind, place, top[thing], bottom[thing], 1 + _LEVEL * size, _OF_THING, size, reach, thing)
    beside = (np.abs((left + right) / 2 - x) < _STEM[0] * r) & (width < _STEM[1] * r) & (height.max() > _ABOVE_DOT[0] * r)
    below = beside & (top > end - 1) & (top < end + _STEM[2] * r)
    above = beside & (bottom < begin + 1) & (bottom > begin - _STEM[2] * r)
    for near, low, high in ((below, np.full_like(top, np.inf), bottom), (above, top, np.full_like(top, np.inf))):
        circle, thing = np.nonzero(near)
        radius, slack_of = circles[circle, 2], 1 + _LEVEL * height[thing]
        place = circles[circle, 0]
        yield _rows(first + circle, _DOT, place, low[thing], high[thing], slack_of, _ABOVE_DOT, radius, 2 * _REACH * radius, thing)


def _crowded(stands: Stands, boxes: Boxes, free: Booleans) -> Iterator[tuple[Floats, NDArray[np.intp]]]:
    """The stands that have enough boxes near, with the numbers of these."""
    left, top, width, height = boxes.T
    bottom = top + height - 1
    at_once = max(1, _AT_ONCE // len(boxes))
    for first in range(0, len(stands), at_once):
        part = stands[first : first + at_once]
        column = part[:, :, None]
        near = (height > column[:, _LEAST]) & (height < column[:, _MOST_HIGH]) & free
        near &= np.minimum(np.abs(top - column[:, _LOW]), np.abs(bottom - column[:, _HIGH])) < column[:, _SLACK]
        away = np.abs(left + width / 2 - column[:, _PLACE]) - width / 2
        near &= away < np.maximum(column[:, _FAR], _FURTHER * height)
        for stand in np.flatnonzero(near.sum(axis=1) >= _APART):
            yield part[stand], np.flatnonzero(near[stand])


def _of_thing(planes: Image, box: Boxes) -> tuple[Floats, Floats]:
    """The ink and the ground of a thing: what lies next to it, and what differs most from that in it."""
    ground = np.median(_around(planes, box[None])[0], axis=0)
    inside = _grid(planes, box[None])[0]
    apart = np.linalg.norm(inside - ground, axis=1)
    return np.asarray(inside[apart >= np.quantile(apart, 0.85)].mean(axis=0), np.float32), np.asarray(ground, np.float32)


def _of_ink(planes: Image, boxes: Boxes, ink: Floats, ground: Floats) -> Booleans:
    """Which boxes stand on the ground, and have little but ink and ground in them, and both."""
    share, off = towards(_grid(planes, boxes) - ground, (ink - ground)[None])
    pure = (off < 0.25) & (share > -0.4) & (share < 1.5)
    dark, light = ((share > 0.6) & pure).mean(axis=1), ((share < 0.4) & pure).mean(axis=1)
    share, off = towards(_around(planes, boxes) - ground, (ink - ground)[None])
    stands = ((np.abs(share) < _STANDS[0]) & (off < _STANDS[0])).mean(axis=1) > _STANDS[1]
    return np.asarray((pure.mean(axis=1) > _PURE) & (dark > 0.1) & (light > 0.1) & stands)


def _around(planes: Image, boxes: Boxes) -> Floats:
    """Samples next to boxes, on all four sides, `(N, samples, channels)`."""
    left, top, width, height = boxes.T[..., None]
    steps = np.linspace(0, 1, _GRID)
    across, down = left - 2 + steps * (width + 3), top - 2 + steps * (height + 3)
    x = np.hstack([across, across, 0 * down + left - 2, 0 * down + left + width + 1])
    y = np.hstack([0 * across + top - 2, 0 * across + top + height + 1, down, down])
    return pixels(planes, x, y).astype(np.float32)


def _grid(planes: Image, boxes: Boxes) -> Floats:
    """Samples across and down boxes, `(N, samples, channels)`."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    column, row = boxes[:, :1] + steps * (boxes[:, 2:3] - 1), boxes[:, 1:2] + steps * (boxes[:, 3:4] - 1)
    shape = (len(boxes), _GRID, _GRID)
    values = pixels(planes, np.broadcast_to(column[:, None, :], shape), np.broadcast_to(row[:, :, None], shape))
    return np.asarray(values.reshape(len(boxes), _GRID * _GRID, planes.shape[2]), np.float32)
