"""The part of a picture that an operation looks at: a rectangle, a mask picture, or both."""

from __future__ import annotations

import re

import numpy as np

from worker.errors import ArgumentError, UnfitImage
from worker.pictures.pixels import Image, grey, size_of, with_depth


def numbers_of(text: str, key: str) -> tuple[float, ...]:
    """The numbers in a text; spaces, commas and semicolons stand between them.

    Raises:
        ArgumentError: a word is no number.

    >>> numbers_of("10 20,30", "region")
    (10.0, 20.0, 30.0)
    """
    numbers = []
    for word in re.findall(r"[^\s,;]+", text):
        try:
            number = float(word)
        except ValueError:
            number = float("nan")
        if not -1e9 <= number <= 1e9:
            raise ArgumentError(f"{key} must hold numbers; got {word[:40]!r}.")
        numbers.append(number)
    return tuple(numbers)


def check_region(text: str) -> None:
    """Raises ArgumentError if the text is neither empty nor x, y, width and height of a rectangle."""
    if not text:
        return
    numbers = numbers_of(text, "region")
    if len(numbers) != 4 or numbers[2] < 1 or numbers[3] < 1:
        raise ArgumentError(f"region must be x y width height in pixels, such as 100 50 640 480; got {text[:60]!r}.")


def mask_of(image: Image, region: str, mask: Image | None) -> Image | None:
    """Where to look, as OpenCV takes it: `(height, width)`, 255 inside and 0 outside. None means everywhere.

    Raises:
        UnfitImage: the region lies outside the picture, or the mask has another size.
    """
    if not region and mask is None:
        return None
    width, height = size_of(image)
    inside = np.full((height, width), 255, np.uint8)
    if mask is not None:
        if size_of(mask) != (width, height):
            raise UnfitImage(
                f"The mask has {mask.shape[1]}x{mask.shape[0]} pixels and the picture {width}x{height}; they must have the same size."
            )
        inside = np.where(grey(with_depth(mask, 8)) > 127, inside, 0).astype(np.uint8)
    if region:
        x, y, wide, high = (round(number) for number in numbers_of(region, "region"))
        if x >= width or y >= height or x + wide <= 0 or y + high <= 0:
            raise UnfitImage(f"region {region!r} lies outside the picture, which has {width}x{height} pixels.")
        outside = np.ones((height, width), bool)
        outside[max(0, y) : y + high, max(0, x) : x + wide] = False
        inside[outside] = 0
    return inside
