"""The kinds of images the worker knows, and the ways between them.

An image is an array `(height, width)` for grey, `(height, width, 3)` for blue-green-red, or `(height, width, 4)` with alpha last,
of 8 or 16 bits unsigned.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
#: From this EXIF orientation on width and height are exchanged.
LIES = 5


def size_of(image: Image) -> tuple[int, int]:
    """Width and height in pixels."""
    return image.shape[1], image.shape[0]


def with_depth(image: Image, bits: int) -> Image:
    """The image with 8 or 16 bits per channel. Black stays black and white stays white, so the factor is 257."""
    if image.dtype == (np.uint8 if bits == 8 else np.uint16):
        return image
    if bits == 8:
        return np.asarray(cv2.convertScaleAbs(image, alpha=1 / 257))
    return np.asarray(image.astype(np.uint16) * 257, np.uint16)


def from_floats(image: Image) -> Image:
    """Floating point values, 0 black to 1 white, as 16 bits. Values outside are clipped; NaN becomes 0."""
    clean = np.nan_to_num(image, nan=0.0, posinf=1.0, neginf=0.0)
    return np.asarray(np.rint(np.clip(clean, 0, 1) * 65535), np.uint16)


def over_black(image: Image) -> Image:
    """The image without its alpha channel, as it looks on black, which is how TouchDesigner shows it, too."""
    if image.ndim == 2 or image.shape[2] != 4:
        return image
    white = np.iinfo(image.dtype).max
    if is_opaque(image):
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR))
    alpha = image[..., 3:].astype(np.float32) / white
    return np.rint(image[..., :3] * alpha).astype(image.dtype)


def is_opaque(image: Image) -> bool:
    """Whether nothing shines through an image with alpha, as in nearly all frames of a TOP."""
    return bool(cv2.minMaxLoc(cv2.extractChannel(image, 3))[0] == np.iinfo(image.dtype).max)


def over_alpha(image: Image) -> Image:
    """An image whose colours were multiplied by their alpha, which is last, with the colours as they were before. Invisible is black."""
    alpha = image[..., -1:].astype(np.float32)
    if image.dtype.kind == "f":
        divided = np.divide(image[..., :-1], alpha, out=np.zeros_like(image[..., :-1]), where=alpha > 0)
        return np.concatenate([divided, image[..., -1:]], axis=2)
    white = np.iinfo(image.dtype).max
    values = np.rint(image[..., :-1] * (white / np.maximum(alpha, 1)))
    values[alpha[..., 0] == 0] = 0
    return np.concatenate([np.minimum(values, white).astype(image.dtype), image[..., -1:]], axis=2)


def upright(image: Image, turned: int) -> Image:
    """Undoes an EXIF orientation: 2-4 are mirrored and turned in place, 5-8 lie on their side."""
    if turned >= LIES:
        image = image.swapaxes(0, 1)
    if turned in (2, 3, 6, 7):
        image = image[:, ::-1]
    if turned in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def color(image: Image) -> Image:
    """The image as `(height, width, 3)`, without alpha."""
    flat = over_black(image)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_GRAY2BGR)) if flat.ndim == 2 else flat


def grey(image: Image) -> Image:
    """The image as `(height, width)`, without alpha."""
    flat = over_black(image)
    return flat if flat.ndim == 2 else np.asarray(cv2.cvtColor(flat, cv2.COLOR_BGR2GRAY))


def bgr(text: str) -> tuple[int, int, int]:
    """The colour `#rrggbb` in OpenCV's order.

    >>> bgr("#ff8000")
    (0, 128, 255)
    """
    return int(text[5:7], 16), int(text[3:5], 16), int(text[1:3], 16)
