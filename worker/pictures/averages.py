"""Averages over areas, of a picture that was decoded at a part of its size.

`cv2.resize` with INTER_AREA is exact, but slow between whole ratios. A sum over neighbours and an interpolation do the same in less time.
Three equal weights and then INTER_LINEAR are exactly the average over an area three pixels wide, in a fifth of the time. For wider areas
five weights and INTER_CUBIC come as near to the average of the picture at its full size as INTER_AREA does, because that sees the smaller
picture only, too; they take a half.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pictures.pixels import Image

#: Widths of an area, in pixels. Measured over photographs of 9 to 22 megapixels: within these the quick ways are as good as INTER_AREA.
_THREE = (3.0, 3.2)
_FIVE = (3.0, 4.4)
_UNIT = 256  # OpenCV filters 8 bits with weights of so many parts
_PHASES, _CELLS, _REACH = 8, 8, 8  # of the area within a pixel; of a pixel; pixels to each side


def averaged(image: Image, across: float, down: float) -> Image:
    """The picture with each of its pixels an average over an area.

    Args:
        image: 8 bits, `(height, width)` or `(height, width, 3)`.
        across: how wide the areas are, in pixels; need not be whole. The first begins at the left edge, and the last may end a little
            before the right one: of a JPEG whose width is no multiple of 8, the last pixel of the smaller picture is no whole one.
        down: how high they are.
    """
    if across == int(across) and down == int(down):
        return _resized(image, across, down, cv2.INTER_AREA)
    if all(_THREE[0] <= width <= _THREE[1] for width in (across, down)):
        return _resized(cv2.blur(image, (3, 3)), across, down, cv2.INTER_LINEAR)
    if all(_FIVE[0] <= width <= _FIVE[1] for width in (across, down)):
        spread = cv2.sepFilter2D(image, -1, _weights(across), _weights(down), borderType=cv2.BORDER_REPLICATE)
        return _resized(np.asarray(spread), across, down, cv2.INTER_CUBIC)
    return _resized(image, across, down, cv2.INTER_AREA)


def _resized(image: Image, across: float, down: float, method: int) -> Image:
    return np.asarray(cv2.resize(image, None, fx=1 / across, fy=1 / down, interpolation=method))


@functools.lru_cache(maxsize=16)
def _weights(width: float) -> NDArray[np.float32]:
    """Five weights for `cv2.sepFilter2D`, so that INTER_CUBIC behind it comes nearest to averages over areas of this width.

    Least squares over where an area may lie. What is made small is the running sum of the difference between the two: that is the error in
    a picture whose neighbours differ by chance, and the spectra of natural pictures fall in that way (D. Field, Relations between the
    statistics of natural images and the response properties of cortical cells, 1987).
    """
    pixels = np.arange(-_REACH, _REACH + 1)
    cells = (np.arange(-_REACH * _CELLS, _REACH * _CELLS) + 0.5) / _CELLS
    within = np.floor(cells + 0.5).astype(int) + _REACH
    known, wanted = [], []
    for middle in (np.arange(_PHASES) + 0.5) / _PHASES - 0.5:
        area = np.clip((width / 2 - abs(cells - middle)) * _CELLS + 0.5, 0, 1) / width
        each = [_cubic(pixels - middle - shift)[within] for shift in range(-2, 3)]
        known.append(np.cumsum([each[3] + each[1] - 2 * each[2], each[4] + each[0] - 2 * each[2]], axis=1).T)
        wanted.append(np.cumsum(area - each[2]))
    near, far = np.linalg.lstsq(np.concatenate(known), np.concatenate(wanted), rcond=None)[0]
    near, far = round(near * _UNIT), round(far * _UNIT)
    return np.array([far, near, _UNIT - 2 * (near + far), near, far], np.float32) / np.float32(_UNIT)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """The curve of OpenCV's INTER_CUBIC."""
    d = abs(distance)
    return np.where(d <= 1, (1.25 * d - 2.25) * d * d + 1, np.where(d < 2, ((-0.75 * d + 3.75) * d - 6) * d + 3, 0))
