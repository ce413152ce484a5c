"""The colours of circles: what they are filled with, what they are drawn with, and what they lie on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.operations.support import Circles, directions
from worker.pictures.pixels import Image

Floats = NDArray[np.float32]
Booleans = NDArray[np.bool_]

_PLAIN = 0.75  # of the way from the ground to the ink; beyond it is ink
_HOLE = 0.4  # of the inside of a stroke that is no ink
_UNEVEN = 0.12  # of the way from the ground to the ink; what differs so much from the rest is uneven
OFF = 0.3  # of the contrast: how far a colour may lie beside those between ground and ink
_CONTRAST = 0.03  # of the range that the image uses
_SMOOTH, _NEARLY_ALL = 0.25, 0.9  # of the contrast between a disc and its ground: what is one colour; of the pixels
_DIRECTIONS = 32


@dataclass(frozen=True, slots=True)
class Tone:
    """The colours of a circle.

    Attributes:
        ink, ground: `(channels,)`.
        is_stroke: it is a stroke, or a side of one: much of its inside is no ink.
        middle: the colour of its middle.
        beyond: that next to it.
        is_disc: it is filled with the colour of its middle.
    """

    ink: Floats
    ground: Floats
    is_stroke: bool
    middle: Floats
    beyond: Floats
    is_disc: bool


def tones(planes: Image, circles: Circles) -> Iterator[Tone]:
    """The colours of each circle of an image `(height, width, channels)`."""
    radius = circles[:, 2]
    rings = [0.3 * radius, 0.45 * radius, 0.6 * radius]  # inside
    rings += [np.minimum(0.75 * radius, radius - 1.2), radius - 1.2, radius]  # the ink of a stroke seen from outside
    rings += [radius + 1.2, 1.2 * radius, 1.4 * radius]  # of one seen from inside
    rings += [np.maximum(1.2 * radius, radius + 2.5), np.maximum(1.7 * radius, radius + 4)]  # the ground of the one and of the other
    samples = _samples(planes, circles, np.stack(rings))
    tone = np.sort(samples, axis=2)[:, :, _DIRECTIONS // 2 - 1 : _DIRECTIONS // 2 + 1].mean(axis=2, dtype=np.float32)
    hole = samples[:3].transpose(1, 0, 2, 3).reshape(len(circles), 3 * _DIRECTIONS, -1).astype(np.float32)
    ink, is_stroke = _stroke(tone[3:6], tone[9], hole)
    ink_outside, is_inner = _stroke(tone[6:9], tone[10], hole)
    inner = (is_inner & ~is_stroke)[:, None]
    ink, ground = np.where(inner, ink_outside, ink), np.where(inner, tone[10], tone[9])
    least = _CONTRAST * max(1.0, float(planes[::16, ::16].max()))
    is_stroke = (is_stroke | is_inner) & (np.abs(ink - ground).max(axis=1) > least)
    share, off = towards(hole - tone[9][:, None], tone[0] - tone[9])
    is_disc = (((share > 0.5) & (off < OFF)).mean(axis=1) > 0.9) & (np.abs(tone[0] - tone[9]).max(axis=1) > least)
    return map(Tone, ink, ground, is_stroke, tone[0], tone[9], is_disc)


def plain(image: Image, circles: Circles) -> Booleans:
    """Which circles are discs of one colour, or a smooth one, on a ground of one colour around them."""
    planes = image if image.ndim == 3 else image[..., None]
    radius = circles[:, 2]
    rings = np.stack([0.3 * radius, 0.45 * radius, 0.6 * radius, np.maximum(1.2 * radius, radius + 2.5)])
    samples = _samples(planes, circles, rings).astype(np.float32)
    middle, ground = (np.median(samples[ring], axis=1) for ring in (0, 3))
    apart = np.linalg.norm(middle - ground, axis=1)
    filled = (np.linalg.norm(samples[:3] - middle[:, None], axis=3) < _SMOOTH * apart[:, None]).mean(axis=(0, 2))
    around = (np.linalg.norm(samples[3] - ground[:, None], axis=2) < _SMOOTH * apart[:, None]).mean(axis=1)
    return np.asarray((np.minimum(filled, around) > _NEARLY_ALL) & (apart > _CONTRAST * max(1.0, float(planes[::16, ::16].max()))))


def _stroke(inks: Floats, ground: Floats, hole: Floats) -> tuple[Floats, Booleans]:
    """The ink that differs most from the ground, and whether much of the hole is none, or it is uneven."""
    apart = np.linalg.norm(inks - ground, axis=2)
    ink = inks[apart.argmax(axis=0), np.arange(len(ground))]
    share, off = towards(hole - ground[:, None], ink - ground)
    empty = (share > -0.25) & (share < _PLAIN) & (off < OFF)
    uneven = np.abs(share - np.median(share, axis=1)[:, None]) > _UNEVEN
    return ink, (empty.mean(axis=1) >= _HOLE) | (uneven.mean(axis=1) > 0.25)


def towards(values: Floats, ink: Floats) -> tuple[Floats, Floats]:
    """How far values lead to the ink, and aside, as shares of its contrast.

    Args:
        values: differences from the ground, `(N, samples, channels)`.
        ink: likewise, `(N, channels)`.
    """
    square = np.maximum((ink * ink).sum(axis=1), np.float32(1e-6))[:, None]
    share = (values * ink[:, None]).sum(axis=2) / square
    off = np.linalg.norm(values - share[..., None] * ink[:, None], axis=2) / np.sqrt(square)
    return np.asarray(share, np.float32), np.asarray(off, np.float32)


def _samples(planes: Image, circles: Circles, radii: NDArray[np.float64]) -> Image:
    """The pixels along circles of these radii, `(radii, N, directions, channels)`."""
    places = circles[:, None, :2] + np.maximum(radii, 0)[..., None, None] * directions(_DIRECTIONS)
    return pixels(planes, places[..., 0], places[..., 1])


def pixels(planes: Image, x: NDArray[np.float64], y: NDArray[np.float64]) -> Image:
    """The pixels at places, those of the border for places outside."""
    height, width = planes.shape[:2]
    column, row = np.clip(np.rint(x), 0, width - 1), np.clip(np.rint(y), 0, height - 1)
    return np.asarray(planes.reshape(height * width, -1).take((row * width + column).astype(np.intp), axis=0))
