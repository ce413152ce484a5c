"""Pictures bent by a map of their pixels, whatever their depth, with or without alpha."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from worker.errors import UnfitImage
from worker.pictures.pixels import Image, bgr, grey, with_depth

#: OpenCV's maps between pictures count pixels in 16 bits.
_LONGEST_SIDE = 32766


def check_side(longest: int) -> None:
    """Raises UnfitImage if a side of so many pixels is more than OpenCV can map."""
    if longest > _LONGEST_SIDE:
        raise UnfitImage(f"A side of {longest} pixels is too long to be turned or bent; the limit is {_LONGEST_SIDE}.")


def bent(image: Image, bend: Callable[[Image, tuple[float, ...]], Any], background: str) -> Image:
    """The image, bent. What is outside of it gets the background, or is transparent.

    Colours are weighted by their alpha meanwhile, so that what lies invisible under transparent pixels does not bleed out.

    Args:
        image: any.
        bend: makes the bent picture of one of 8 or 16 bits or of floating point values, and the values of what is outside.
        background: as #rrggbb.
    """
    if image.ndim == 2 or image.shape[2] != 4:
        return np.asarray(bend(image, _border(image, background)))
    white = np.iinfo(image.dtype).max
    values = image.astype(np.float32)
    values[..., :3] *= values[..., 3:] / white
    values = np.asarray(bend(values, (0.0, 0.0, 0.0, 0.0)))
    values[..., :3] *= white / np.maximum(values[..., 3:], 1)
    return np.rint(np.clip(values, 0, white)).astype(image.dtype)


def _border(image: Image, background: str) -> tuple[float, ...]:
    paint = with_depth(np.array([[bgr(background)]], np.uint8), image.dtype.itemsize * 8)
    return tuple(float(value) for value in (grey(paint).ravel() if image.ndim == 2 else paint.ravel()))
