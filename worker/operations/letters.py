"""Which circles are letters: strokes, bent round, among others of the same height and ink in one line."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.operations.edges import Edges
from worker.operations.support import Circles, directions
from worker.pictures.pixels import Image

Floats = NDArray[np.float32]

_DIRECTIONS = 32
_GRID = 8  # samples across and down a neighbour
_HEIGHT = (1.2, 7.0)  # radii; how high the neighbours of a letter are
_REACH = 16.0  # radii; how far along the line they are looked for
_IN_LINE = 0.5  # radii; by which they may stand higher or lower
_WIDE = 2.0  # radii; a neighbour that is longer counts as several letters that touch
_MOST = 6.0  # so many at most
_ALIKE = (0.5, 2.0)  # of the neighbours' median height
_FEWEST = (3.0, 5.0)  # letters beside a part of a circle, and beside a whole one
_INSIDE = 2.3  # radii; what is longer does not lie inside of a circle
_WHOLE = 0.97  # share of the circumference that edges hold up
_BACK = (
    -0.25,
    0.45,
    0.3,
)  # of the contrast: how far the ground inside of a stroke may differ, from the ink, to the ink, and to other colours
_HOLE = 0.4  # of the hole that must be ground
_CONTRAST = 0.03  # of the range that the image uses
_PURE = 0.8  # of a neighbour's pixels that must be ink, ground or between both


def among_letters(edges: Edges, image: Image, circles: Circles, others: Circles) -> NDArray[np.bool_]:
    """Which circles are a letter of a line of text, or a part of one.

    Args:
        edges: of the image.
        image: `(height, width)` or `(height, width, channels)`.
        circles: in question.
        others: all circles that were found. What lies inside of one is no neighbour.
    """
    letter = np.zeros(len(circles), np.bool_)
    if not len(circles):
        return letter
    planes = image if image.ndim == 3 else image[..., None]
    ink, ground, is_stroke = _strokes(planes, circles)
    if not is_stroke.any():
        return letter
    boxes = _boxes(edges, others)
    for at in np.flatnonzero(is_stroke):
        for along in (0, 1):
            near = _alike(_in_line(boxes, circles[at], along), along)
            near = near[_of_ink(planes, near, ink[at], ground[at])]
            count = np.clip(near[:, 2 + along] / (_WIDE * circles[at, 2]), 1, _MOST).sum()
            letter[at] |= count >= _FEWEST[int(circles[at, 3] > _WHOLE)]
    return letter


def _alike(boxes: NDArray[np.float64], along: int) -> NDArray[np.float64]:
    """The boxes that are about as high as most of them."""
    if not len(boxes):
        return boxes
    heights = boxes[:, 3 - along]
    low, high = (share * np.median(heights) for share in _ALIKE)
    return np.asarray(boxes[(heights >= low) & (heights <= high)])


def _boxes(edges: Edges, circles: Circles) -> NDArray[np.float64]:
    """The connected edges: left, top, width, height. Without those inside of circles."""
    _, _, found, _ = cv2.connectedComponentsWithStats((edges.mask != 0).astype(np.uint8), connectivity=8)
    boxes = np.asarray(found[1:, :4], np.float64)
    boxes = boxes[boxes[:, 2:].max(axis=1) > 4]
    middle, longer = boxes[:, :2] + (boxes[:, 2:] - 1) / 2, boxes[:, 2:].max(axis=1)
    inside = np.zeros(len(boxes), np.bool_)
    for x, y, radius in circles[:, :3]:
        inside |= (np.hypot(middle[:, 0] - x, middle[:, 1] - y) < radius) & (longer < _INSIDE * radius)
    return np.asarray(boxes[~inside])


def _in_line(boxes: NDArray[np.float64], circle: NDArray[np.float64], along: int) -> NDArray[np.float64]:
    """The boxes that stand in one line with a circle, across (0) or down (1) the image, and are about as high."""
    low, high = (value * circle[2] for value in _HEIGHT)
    top, height, away = _from(boxes, circle, along)
    near = (height > low) & (height < high) & (away < _REACH * circle[2])
    above, below = np.abs(top + circle[2]), np.abs(top + height - circle[2])
    return np.asarray(boxes[near & (np.minimum(above, below) < _IN_LINE * circle[2])])


def _from(boxes: NDArray[np.float64], circle: NDArray[np.float64], along: int) -> tuple[NDArray[np.float64], ...]:
    """Seen from a circle's centre: where the boxes begin across the line, how high they are, and how far away along the line."""
    across = 1 - along
    away = np.abs(boxes[:, along] + boxes[:, 2 + along] / 2 - circle[along]) - boxes[:, 2 + along] / 2
    return boxes[:, across] - circle[across], boxes[:, 2 + across], away


def _of_ink(planes: Image, boxes: NDArray[np.float64], ink: Floats, ground: Floats) -> NDArray[np.bool_]:
    """In which boxes there is little but ink and ground, and both."""
    steps = (np.arange(_GRID) + 0.5) / _GRID
    column = np.rint(boxes[:, :1] + steps * (boxes[:, 2:3] - 1)).astype(np.intp)
    row = np.rint(boxes[:, 1:2] + steps * (boxes[:, 3:4] - 1)).astype(np.intp)
    values = planes[row[:, :, None], column[:, None, :]].reshape(len(boxes), _GRID * _GRID, planes.shape[2]).astype(np.float32) - ground
    share, off = _towards(values, (ink - ground)[None])
    pure = (off < 0.25) & (share > -0.4) & (share < 1.5)
    dark, light = ((share > 0.6) & pure).mean(axis=1), ((share < 0.4) & pure).mean(axis=1)
    return np.asarray((pure.mean(axis=1) > _PURE) & (dark > 0.1) & (light > 0.1))


def _strokes(planes: Image, circles: Circles) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    """For each circle the tones of ink and ground, `(N, channels)`, and whether it is a side or the middle of a stroke."""
    radius = circles[:, 2]
    hole = np.concatenate([_samples(planes, circles, share * radius) for share in (0.3, 0.45, 0.6)], axis=1)
    rim = [_tone(planes, circles, at) for at in (np.minimum(0.75 * radius, radius - 1.2), radius - 1.2, radius)]
    beyond = [_tone(planes, circles, at) for at in (radius + 1.2, 1.2 * radius, 1.4 * radius)]
    outside = [_tone(planes, circles, at) for at in (np.maximum(1.2 * radius, radius + 2.5), np.maximum(1.7 * radius, radius + 4))]
    ink, is_stroke = _stroke(rim, outside[0], hole)
    ink_outside, is_inner = _stroke(beyond, outside[1], hole)
    inner = (is_inner & ~is_stroke)[:, None]
    ink, ground = np.where(inner, ink_outside, ink), np.where(inner, outside[1], outside[0])
    enough = np.abs(ink - ground).max(axis=1) > _CONTRAST * max(1.0, float(planes[::16, ::16].max()))
    return ink, ground, (is_stroke | is_inner) & enough


def _stroke(inks: list[Floats], ground: Floats, hole: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """The ink that differs most from the ground, and whether much of the hole is ground again."""
    stacked = np.stack(inks)
    apart = np.linalg.norm(stacked - ground, axis=2)
    ink = stacked[apart.argmax(axis=0), np.arange(len(ground))]
    share, off = _towards(hole - ground[:, None], ink - ground)
    same = (share > _BACK[0]) & (share < _BACK[1]) & (off < _BACK[2])
    return ink, np.asarray(same.mean(axis=1) >= _HOLE)


def _towards(values: Floats, ink: Floats) -> tuple[Floats, Floats]:
    """How far values lead to the ink, and aside, as shares of its contrast.

    Args:
        values: differences from the ground, `(N, samples, channels)`.
        ink: likewise, `(N, channels)`.
    """
    square = np.maximum((ink * ink).sum(axis=1), np.float32(1e-6))[:, None]
    share = (values * ink[:, None]).sum(axis=2) / square
    off = np.linalg.norm(values - share[..., None] * ink[:, None], axis=2) / np.sqrt(square)
    return np.asarray(share, np.float32), np.asarray(off, np.float32)


def _tone(planes: Image, circles: Circles, radius: NDArray[np.float64]) -> Floats:
    """The median along circles of this radius, `(N, channels)`."""
    return np.asarray(np.median(_samples(planes, circles, radius), axis=1), np.float32)


def _samples(planes: Image, circles: Circles, radius: NDArray[np.float64]) -> Floats:
    places = circles[:, None, :2] + np.maximum(radius, 0)[:, None, None] * directions(_DIRECTIONS)
    column = np.clip(np.rint(places[..., 0]).astype(np.intp), 0, planes.shape[1] - 1)
    row = np.clip(np.rint(places[..., 1]).astype(np.intp), 0, planes.shape[0] - 1)
    return planes[row, column].astype(np.float32)
