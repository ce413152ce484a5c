"""Images in another size, depth and format; the format is the business of `worker.pictures.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np

from worker.pictures.pixels import Image, size_of, with_depth

if TYPE_CHECKING:
    from worker.catalog.convert import Convert


def check(params: Convert) -> None:
    """Every combination is possible."""


def convert(image: Image, params: Convert) -> Image:
    """The image in the size and depth that are asked for; alpha stays.

    Returns:
        An image of `target_size`, with `params.depth` bits, or as many as before.
    """
    size = target_size(*size_of(image), params.width, params.height)
    resized = image if size == size_of(image) else _resized(image, size)
    return with_depth(resized, params.depth) if params.depth else resized


def target_size(width: int, height: int, new_width: int, new_height: int) -> tuple[int, int]:
    """Width and height in pixels; a new side of 0 follows the other one, so that the picture keeps its proportions.

    >>> target_size(640, 480, 320, 0)
    (320, 240)
    """
    if not new_width and not new_height:
        return width, height
    return (
        new_width or max(1, round(width * new_height / height)),
        new_height or max(1, round(height * new_width / width)),
    )


def _resized(image: Image, size: tuple[int, int]) -> Image:
    """Area averages when it gets smaller, which is free of moiré; a cubic curve when it grows.

    Colours are weighted by their alpha meanwhile, so that what lies invisible under transparent pixels does not bleed out.
    """
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    if image.ndim == 2 or image.shape[2] != 4:
        return np.asarray(cv2.resize(image, size, interpolation=method))
    white = np.iinfo(image.dtype).max
    values = image.astype(np.float32)
    values[..., :3] *= values[..., 3:] / white
    values = np.asarray(cv2.resize(values, size, interpolation=method))
    values[..., :3] *= white / np.maximum(values[..., 3:], 1)
    return np.rint(np.clip(values, 0, white)).astype(image.dtype)
