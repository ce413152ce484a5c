"""How sharp and how noisy a picture is, as numbers."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_IMMERKAER = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
#: Detail is looked at through a Gaussian of this deviation in pixels: noise of single pixels has next to no part in it.
_SIGMA = 1.0
#: A picture of less contrast has nothing that could be sharp.
_LEAST_CONTRAST = 1 / 255


def noise_of(values: Floats) -> float:
    """Standard deviation of the noise (J. Immerkær, Fast noise variance estimation, 1996); 0 for a picture of less than 3 x 3 pixels.

    Fine texture counts as noise: the estimate holds for pictures with plain parts.

    Args:
        values: `(height, width)`, 0 to 1.
    """
    height, width = values.shape
    if height < 3 or width < 3:
        return 0.0
    response = np.asarray(cv2.filter2D(values, cv2.CV_32F, _IMMERKAER))[1:-1, 1:-1]
    return math.sqrt(math.pi / 2) * float(np.abs(response).mean()) / 6


def sharpness_of(values: Floats) -> float:
    """How much fine detail there is for the contrast there is; 0 for a plain picture.

    The deviation of the Laplacian (S. Pertuz, D. Puig, M. Garcia: Analysis of focus measure operators, 2013) behind a Gaussian, without
    the part that noise has in it, divided by that of the picture: neither exposure nor noise makes a picture sharper.

    Args:
        values: `(height, width)`, 0 to 1.
    """
    smooth = cv2.GaussianBlur(values, (0, 0), _SIGMA)
    detail = float(np.asarray(cv2.Laplacian(smooth, cv2.CV_32F)).var(dtype=np.float64)) - _GAIN * noise_of(values) ** 2
    contrast = float(smooth.std(dtype=np.float64))
    return math.sqrt(max(0.0, detail)) / max(contrast, _LEAST_CONTRAST)


def _gain() -> float:
    """The variance that the Laplacian behind the Gaussian leaves of noise whose variance is 1."""
    point = np.zeros((31, 31))
    point[15, 15] = 1
    return float(np.square(cv2.Laplacian(cv2.GaussianBlur(point, (0, 0), _SIGMA), cv2.CV_64F)).sum())


_GAIN = _gain()
