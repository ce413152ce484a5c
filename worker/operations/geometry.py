"""Pictures cut, turned, and bent by their corners.

A pixel's middle is its coordinate, so the corners of a picture of 640 x 480 lie at -0.5 and 639.5, -0.5 and 479.5: what `find_object`
reports can be given to `warp` as it is.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.geometry import Crop, Rotate, Warp
from worker.errors import ArgumentError, UnfitImage
from worker.operations.bending import bent, check_side
from worker.operations.homography import outline
from worker.operations.keywords import takes_keywords
from worker.operations.regions import check_region, numbers_of
from worker.pictures.pixels import Image, size_of

if TYPE_CHECKING:
    from worker.operations.shapes import Size

#: Automatic sizes are no larger than what can be given.
_WIDEST = 16384


def check_crop(params: Crop) -> None:
    """Raises ArgumentError if the region or the proportions make no sense."""
    check_region(params.region)
    if params.aspect:
        _proportions(params.aspect)
    if params.margin and params.trim < 0:
        raise ArgumentError(f"crop: margin={params.margin} stays around what trim keeps, but trim is -1.", "Set trim to 0 or more.")


@takes_keywords(Crop, check_crop)
def crop(image: Image, params: Crop) -> Image:
    """A part of the image: first `region`, then without edges of one colour, then the largest part of the wished proportions.

    >>> crop(np.zeros((480, 640), np.uint8), aspect="1:1").shape
    (480, 480)

    Raises:
        UnfitImage: the region lies outside the picture.
    """
    part = image
    if params.region:
        width, height = size_of(image)
        x, y, wide, high = (round(number) for number in numbers_of(params.region, "region"))
        if x >= width or y >= height or x + wide <= 0 or y + high <= 0:
            raise UnfitImage(f"region {params.region!r} lies outside the picture, which has {width}x{height} pixels.")
        part = image[max(0, y) : y + high, max(0, x) : x + wide]
    if params.trim >= 0:
        part = _trimmed(part, params.trim, params.margin)
    if params.aspect:
        part = _with_proportions(part, _proportions(params.aspect), params.anchor)
    return np.ascontiguousarray(part)


def _proportions(text: str) -> float:
    """Width by height.

    >>> _proportions("16:9") > _proportions("4/3") > _proportions("1")
    True
    """
    found = re.fullmatch(r"\s*(\d{1,6}(?:\.\d{1,6})?)\s*(?:[:/x]\s*(\d{1,6}(?:\.\d{1,6})?))?\s*", text)
    width, height = (float(found[1]), float(found[2] or 1)) if found else (0.0, 0.0)
    if not (width and height and 0.001 <= width / height <= 1000):
        raise ArgumentError(f"crop: aspect must be width:height, such as 16:9, or one number, from 0.001 to 1000; got {text!r}.")
    return width / height


def _trimmed(image: Image, tolerance: int, margin: int) -> Image:
    """Without the rows and columns at the edges that have the colour of the top left pixel. A picture of one colour stays as it is."""
    allowed = tolerance * (257 if image.dtype == np.uint16 else 1)
    corner = np.full_like(image, image[0, 0])
    differs: Any = cv2.absdiff(image, corner) > allowed
    inside = differs if image.ndim == 2 else differs.any(axis=2)
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return image
    top, left = max(0, rows[0] - margin), max(0, columns[0] - margin)
    return image[top : rows[-1] + 1 + margin, left : columns[-1] + 1 + margin]


def _with_proportions(image: Image, proportions: float, anchor: str) -> Image:
    width, height = size_of(image)
    wide, high = min(width, max(1, round(height * proportions))), min(height, max(1, round(width / proportions)))
    left = {"left": 0, "right": width - wide}.get(anchor, (width - wide) // 2)
    top = {"top": 0, "bottom": height - high}.get(anchor, (height - high) // 2)
    return image[top : top + high, left : left + wide]


def rotated_size(size: Size, params: Rotate) -> Size:
    """Width and height of the picture after it has turned.

    >>> rotated_size((640, 480), Rotate(image="a", output="b", angle=90))
    (480, 640)
    """
    if not params.expand:
        return size
    width, height = size
    quarters, rest = divmod(params.angle, 90)
    if not rest:
        return size if quarters % 2 == 0 else (height, width)
    cosine, sine = (abs(part(math.radians(params.angle))) for part in (math.cos, math.sin))
    return math.ceil(width * cosine + height * sine - 1e-6), math.ceil(width * sine + height * cosine - 1e-6)


@takes_keywords(Rotate)
def rotate(image: Image, params: Rotate) -> Image:
    """The image mirrored, then turned clockwise around its middle. Quarter turns keep every pixel.

    Raises:
        UnfitImage: a side is longer than OpenCV can turn.
    """
    flipped = {"horizontal": np.fliplr, "vertical": np.flipud}.get(params.flip, np.asarray)(image)
    size = rotated_size(size_of(image), params)
    quarters, rest = divmod(params.angle, 90)
    if not rest and (params.expand or quarters % 2 == 0):
        return np.ascontiguousarray(np.rot90(flipped, -int(quarters)))
    width, height = size_of(image)
    transform = np.asarray(cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), -params.angle, 1), np.float64)
    transform[:, 2] += np.array([size[0] - width, size[1] - height]) / 2
    return _mapped(np.ascontiguousarray(flipped), np.vstack([transform, (0, 0, 1)]), size, params.background)


def check_warp(params: Warp) -> None:
    """Raises ArgumentError if the corners are not those of a shape without dents and crossings."""
    corners_of(params.corners)


def warped_size(size: Size, params: Warp) -> Size:
    """Width and height of the output: as given, otherwise the longer of two opposite sides (flatten), or as the picture (pin).

    >>> warped_size((640, 480), Warp(image="a", output="b", corners="0 0 100 0 100 50 0 50"))
    (100, 50)
    """
    if params.mode == "pin":
        return params.width or size[0], params.height or size[1]
    top_left, top_right, bottom_right, bottom_left = corners_of(params.corners)
    wide = max(math.dist(top_left, top_right), math.dist(bottom_left, bottom_right))
    high = max(math.dist(top_left, bottom_left), math.dist(top_right, bottom_right))
    return params.width or min(_WIDEST, max(1, round(wide))), params.height or min(_WIDEST, max(1, round(high)))


@takes_keywords(Warp, check_warp)
def warp(image: Image, params: Warp) -> Image:
    """The image seen as if its four corners, or those of a flat thing in it, were moved: a homography.

    Returns:
        An image of `warped_size`, of the same depth and channels.

    Raises:
        UnfitImage: a side is longer than OpenCV can map.
    """
    size = warped_size(size_of(image), params)
    corners = corners_of(params.corners)
    source, target = (outline(image), corners) if params.mode == "pin" else (corners, _outline_of(size))
    transform = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
    return _mapped(image, np.asarray(transform), size, params.background)


def _outline_of(size: Size) -> NDArray[np.float64]:
    width, height = size
    return np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])


def corners_of(text: str, key: str = "corners") -> NDArray[np.float64]:
    """`(4, 2)`."""
    numbers = numbers_of(text, key)
    if len(numbers) != 8:
        raise ArgumentError(f"{key} must be 8 numbers, x and y of four corners in pixels; got {len(numbers)}.")
    corners = np.array(numbers).reshape(4, 2)
    if np.abs(corners).max() > 100_000:
        raise ArgumentError(f"{key} must lie from -100000 to 100000; got {np.abs(corners).max():g}.")
    sides = np.roll(corners, -1, axis=0) - corners
    following = np.roll(sides, -1, axis=0)
    turns = sides[:, 0] * following[:, 1] - sides[:, 1] * following[:, 0]
    if not ((turns > 0.5).all() or (turns < -0.5).all()):
        raise ArgumentError(
            f"The corners {text[:80]!r} make no shape with four corners: three are in line, or sides cross.",
            "The order is top left, top right, bottom right, bottom left.",
        )
    return corners


def _mapped(image: Image, transform: NDArray[np.float64], size: Size, background: str) -> Image:
    """The image under a map of its pixels, by a cubic curve. What is outside gets the background, or is transparent."""
    check_side(max(*size_of(image), *size))
    return bent(
        image, lambda values, border: cv2.warpPerspective(values, transform, size, flags=cv2.INTER_CUBIC, borderValue=border), background
    )
