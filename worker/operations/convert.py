"""Images in another size, depth and format; the format is the business of `worker.pictures.images`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import msgspec
import numpy as np

from worker.catalog.convert import Convert
from worker.errors import Unavailable
from worker.operations.keywords import takes_keywords
from worker.operations.shapes import Found
from worker.pictures import icc
from worker.pictures.pixels import Image, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Size


def unavailable() -> dict[str, str]:
    """What needs a package that is not installed, with the reason."""
    return {} if icc.can_convert() else {"profile=srgb": icc.MISSING}


def check(params: Convert) -> None:
    """Raises Unavailable if colours are to be converted, and the package for it is missing."""
    if params.profile == "srgb" and not icc.can_convert():
        raise Unavailable(f"convert: {icc.MISSING}", "profile=keep needs no package.")


def convert_file(image: Image, profile: bytes, params: Convert) -> Found:
    """The image as `convert` makes it, and the profile that its file shall have.

    Raises:
        UnsupportedFormat: its colours cannot be brought to sRGB.
    """
    if params.profile == "keep":
        return Found(images={"output": convert(image, params)}, profile=profile)
    # In the depth of the file, so that the steps stay fine; and after the resizing, because that leaves less to do.
    made = icc.to_srgb(convert(image, msgspec.structs.replace(params, depth=0)), profile)
    return Found(images={"output": with_depth(made, params.depth) if params.depth else made})


@takes_keywords(Convert)
def convert(image: Image, params: Convert) -> Image:
    """The image in the size and depth that are asked for; alpha stays. What its numbers mean as colours is left alone.

    Returns:
        An image of `target_size`, with `params.depth` bits, or as many as before.
    """
    size = target_size(size_of(image), params)
    resized = image if size == size_of(image) else _resized(image, size)
    return with_depth(resized, params.depth) if params.depth else resized


def target_size(size: Size, params: Convert) -> Size:
    """Width and height in pixels. A new side of 0 follows the other one, so that the picture keeps its proportions.

    >>> from worker.catalog.convert import Convert
    >>> target_size((640, 480), Convert(image="a.png", output="b.png", width=320))
    (320, 240)
    """
    if not params.width and not params.height:
        return size
    width, height = size
    return (
        params.width or max(1, round(width * params.height / height)),
        params.height or max(1, round(height * params.width / width)),
    )


def _resized(image: Image, size: Size) -> Image:
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
