"""Circles drawn from numbers, and marks drawn over what was found."""

from __future__ import annotations

import functools
import math
import re
from typing import TYPE_CHECKING

import cv2
import numpy as np

from worker.errors import ArgumentError
from worker.pictures.pixels import Image, bgr, color, with_depth

if TYPE_CHECKING:
    from worker.catalog.parse import DrawCircles
    from worker.operations.shapes import Rows

_MASK = 2**64 - 1
_FARTHEST = 100_000  # pixels; cv2 counts in 16.16 fixed point numbers, which end not far from there

_MARK = (60, 255, 60)
_CENTER = (60, 60, 255)
_HALO = (0, 0, 0)
_FIXED = 4  # bits behind the point, for cv2's drawing functions


def rand(seed: int, n: int) -> float:
    """The n-th number of the random sequence `seed`, from 0 up to but not including 1; the same on every machine.

    This is SplitMix64 (G. L. Steele, D. Lea, C. H. Flood: Fast splittable pseudorandom number generators, OOPSLA 2014, with the
    constants of S. Vigna's public domain version), whose n-th number needs none of those before it; of its 64 bits the
    upper 53 are taken, which is what a float can hold.

    >>> rand(0, 0)
    0.8833108082136426
    """
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return float(((z ^ (z >> 31)) >> 11) / 2**53)


def check(params: DrawCircles) -> None:
    """Raises ArgumentError if the centres cannot be read, or are more than `count`."""
    centers = _centers(params.centers)
    if len(centers) > params.count:
        raise ArgumentError(f"draw_circles: centers holds {len(centers)} centres, but count is {params.count}; give count={len(centers)}.")


def count(params: DrawCircles) -> int:
    """How many images there will be: one for each centre; `count` where no centres are given."""
    return len(_centers(params.centers)) or params.count


def draw_circle(params: DrawCircles, n: int) -> tuple[Image, Rows]:
    """Draws image number `n`: one circle on a plain background.

    The centre is x = int(rand(n) * width), y = int(rand(n + 1) * height), so that on a square image y of one image is x of the
    next; or it is number `n` of `centers`.

    Returns:
        The image, `(height, width, 3)` of 8 bits, and one row x, y, radius, u, v, score.
    """
    x, y = _center(params, n)
    image = np.empty((params.height, params.width, 3), np.uint8)
    image[:] = bgr(params.background)
    if params.thickness:
        cv2.circle(image, (x, y), params.radius, bgr(params.color), params.thickness)
    u, v = (x + 0.5) / params.width, 1 - (y + 0.5) / params.height
    return image, np.array([[x, y, params.radius, u, v, 1.0]])


def mark_circles(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each circle's outline and centre. Rows begin with x, y, radius."""
    canvas = color(with_depth(image, 8)).copy()
    width = _line_width(canvas)
    for x, y, radius in rows[:, :3]:
        arm = max(2.0, min(radius * 0.3, 3.0 * width + 2))
        for line, outline, cross in ((width + 2, _HALO, _HALO), (width, _MARK, _CENTER)):
            _circle(canvas, (x, y), radius, outline, line)
            _cross(canvas, (x, y), arm, cross, line)
    return canvas


def mark_features(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each feature's size as a circle and its angle as a hand. Rows begin x, y, size, angle."""
    canvas = color(with_depth(image, 8)).copy()
    width = _line_width(canvas)
    for x, y, size, angle in rows[:, :4]:
        radius = max(2.0, size / 2)
        turn = math.radians(angle)
        tip = (x + radius * math.cos(turn), y + radius * math.sin(turn))
        for line, hue in ((width + 1, _HALO), (width, _MARK)):
            _circle(canvas, (x, y), radius, hue, line)
            if angle >= 0:
                cv2.line(canvas, _fixed(x, y), _fixed(*tip), hue, line, cv2.LINE_AA, _FIXED)
    return canvas


def _center(params: DrawCircles, n: int) -> tuple[int, int]:
    centers = _centers(params.centers)
    if centers:
        return centers[n]
    return int(rand(params.seed, n) * params.width), int(rand(params.seed, n + 1) * params.height)


@functools.lru_cache(maxsize=4)  # every image of a job asks for them
def _centers(text: str) -> tuple[tuple[int, int], ...]:
    """The centres in the text; numbers are cut to whole ones as `int()` does it, commas count as spaces."""
    words = re.findall(r"[^\s,;]+", text)
    if len(words) % 2:
        raise ArgumentError(f"draw_circles: centers must be pairs x y x y ...; it holds {len(words)} numbers.")
    numbers = [_pixel(word) for word in words]
    return tuple(zip(numbers[::2], numbers[1::2], strict=True))


def _pixel(word: str) -> int:
    try:
        number = float(word)
    except ValueError:
        number = math.nan
    if not -_FARTHEST <= number <= _FARTHEST:  # false for NaN, too
        raise ArgumentError(f"draw_circles: centers must be numbers from -{_FARTHEST} to {_FARTHEST}; got {word[:40]!r}.")
    return int(number)


def _line_width(canvas: Image) -> int:
    return int(max(1, round(max(canvas.shape[:2]) / 500)))


def _fixed(x: float, y: float) -> tuple[int, int]:
    return round(float(x) * 2**_FIXED), round(float(y) * 2**_FIXED)


def _circle(canvas: Image, center: tuple[float, float], radius: float, hue: tuple[int, int, int], line: int) -> None:
    cv2.circle(canvas, _fixed(*center), round(radius * 2**_FIXED), hue, line, cv2.LINE_AA, _FIXED)


def _cross(canvas: Image, center: tuple[float, float], arm: float, hue: tuple[int, int, int], line: int) -> None:
    x, y = center
    cv2.line(canvas, _fixed(x - arm, y), _fixed(x + arm, y), hue, line, cv2.LINE_AA, _FIXED)
    cv2.line(canvas, _fixed(x, y - arm), _fixed(x, y + arm), hue, line, cv2.LINE_AA, _FIXED)
