"""Edges in images: where brightness or colour changes abruptly, to a fraction of a pixel, and in which direction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.pictures.pixels import Image

Floats = NDArray[np.float32]

#: Working values per grey level of 8 bits, so that blurring does not round the weak edges away.
GAIN = 8
_BLUR = 1.0  # pixels, standard deviation
_STEP_RESPONSE = 2.7  # Sobel's answer to a step of height 1 after this blur
_CONTRAST = 10  # grey levels; a lower step is no edge
_NOISE = 3.3  # an edge's gradient is at least so many times the picture's median gradient
_MOST = 200_000  # the strongest so many are kept


@dataclass(frozen=True, slots=True)
class Edges:
    """The edges of one image.

    Attributes:
        x, y: places in pixels, `(N,)`.
        nx, ny: the gradients' directions, of length 1.
        index: `(height + 2, width + 2)`, a frame of one pixel around the image: which edge lies in a pixel, -1 for none.
    """

    x: Floats
    y: Floats
    nx: Floats
    ny: Floats
    index: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.index.shape[0] - 2, self.index.shape[1] - 2

    def at(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.int32]:
        """Which edge lies in the pixel at each place, -1 for none and outside of the image."""
        height, width = self.shape
        column = np.clip(np.rint(x).astype(np.int32) + 1, 0, width + 1)
        row = np.clip(np.rint(y).astype(np.int32) + 1, 0, height + 1)
        return np.asarray(self.index.ravel()[row * (width + 2) + column], np.int32)


def find_edges(image: Image) -> Edges:
    """Finds the edges with Canny's method (1986) on the strongest channel of each pixel.

    The thresholds follow the picture: the gradients of noise alone are Rayleigh distributed, and next to none of them lie above
    3.3 times their median.

    Args:
        image: `(height, width)` or `(height, width, channels)`, 16 bits signed, `GAIN` per grey level.
    """
    dx, dy = _gradients(image)
    magnitude = np.asarray(cv2.magnitude(dx.astype(np.float32), dy.astype(np.float32)), np.float32)
    high = max(_STEP_RESPONSE * GAIN * _CONTRAST, _NOISE * float(np.median(magnitude[::2, ::2])))
    found = np.asarray(cv2.Canny(dx, dy, high * 0.5, high, L2gradient=True))
    rows, columns = np.nonzero(found)
    if len(rows) > _MOST:
        strongest = np.sort(np.argpartition(-magnitude[rows, columns], _MOST)[:_MOST])
        rows, columns = rows[strongest], columns[strongest]
    return _located(rows, columns, dx, dy, magnitude)


def _gradients(image: Image) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Both derivatives, from the channel in which they are largest."""
    blurred = np.asarray(cv2.GaussianBlur(image, (0, 0), _BLUR, borderType=cv2.BORDER_REPLICATE))
    channels = cv2.split(blurred)
    best_dx, best_dy, best = _derivatives(channels[0])
    for channel in channels[1:]:
        dx, dy, size = _derivatives(channel)
        larger = cv2.compare(size, best, cv2.CMP_GT)
        for source, target in ((dx, best_dx), (dy, best_dy), (size, best)):
            cv2.copyTo(source, larger, target)
    return best_dx, best_dy


def _derivatives(channel: Image) -> tuple[Image, Image, Image]:
    dx, dy = (np.asarray(cv2.Sobel(channel, cv2.CV_16S, *order, borderType=cv2.BORDER_REPLICATE)) for order in ((1, 0), (0, 1)))
    return dx, dy, np.abs(dx) + np.abs(dy)


def _located(rows: NDArray[np.intp], columns: NDArray[np.intp], dx: Image, dy: Image, magnitude: Floats) -> Edges:
    """Moves each edge along its gradient to the top of the parabola through the magnitudes one pixel before, at and after it."""
    height, width = magnitude.shape
    index = np.full((height + 2, width + 2), -1, np.int32)
    index[rows + 1, columns + 1] = np.arange(len(rows), dtype=np.int32)
    middle = magnitude[rows, columns]
    nx, ny = (np.asarray(slope[rows, columns] / middle, np.float32) for slope in (dx, dy))
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    before, after = (_sampled(magnitude, x + sign * nx, y + sign * ny) for sign in (-1, 1))
    bend = np.maximum(2 * middle - before - after, 1e-6)
    shift = np.clip((after - before) / (2 * bend), -0.7, 0.7)
    return Edges(x + shift * nx, y + shift * ny, nx, ny, index)


def _sampled(values: Floats, x: Floats, y: Floats) -> Floats:
    """The values at places between the pixels. `cv2.remap` takes maps of less than 32768 columns, so they are laid out in rows."""
    count, columns = len(x), 4096
    padded = -(-count // columns) * columns
    map_x, map_y = (np.pad(place, (0, padded - count)).reshape(-1, columns) for place in (x, y))
    if not count:
        return np.empty(0, np.float32)
    sampled = cv2.remap(values, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled, np.float32).ravel()[:count]
