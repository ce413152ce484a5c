"""Edges in images: where brightness or colour changes abruptly, to a fraction of a pixel, and in which direction."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.pictures.pixels import Image

Floats = NDArray[np.float32]

SHORTEST = 8  # steps of a contour
#: Working values per grey level of 8 bits, so that blurring does not round the weak edges away.
GAIN = 8
_BLUR = 1.0  # pixels, standard deviation
_STEP_RESPONSE = 2.7  # Sobel's answer to a step of height 1 after this blur
_CONTRAST = 3.0  # grey levels; a lower step is no edge
_BETWEEN_BLOCKS = 8.0  # the same after strong compression, which leaves such steps between its blocks
_NOISE = 3.3  # an edge's gradient is at least so many times the picture's median gradient
_NOTHING = 0.9  # of the highest hundredth of the gradients: with a limit above that, nothing stands out
_FLAT = 0.09  # a third of what the lowest twentieth of noise is to its median
_PATTERN = 0.4  # of the highest hundredth of the gradients, the limit in a pattern
_WAVE = 0.4  # of the strongest edge in its block, the largest wave that strong compression leaves, and a little
_BAND = 128  # rows; the intermediate pictures of so many stay in the processor's cache
_WIDEST = 32767  # pixels; `cv2.remap` takes images of less
_MARGIN = 6  # rows; the blur and the derivatives look so far and no further
_AROUND = ((-1, -1), (-1, 1), (1, -1), (1, 1), (-1, 0), (1, 0), (0, -1), (0, 1), (0, 0))


@dataclass(frozen=True, slots=True)
class Contours:
    """The edges in the order in which they follow each other. A curve is walked along on one side and back on the other.

    Attributes:
        at: the number of the edge at each step, `(N,)`.
        first: at which step its contour begins, `(N,)`.
        length: of how many steps its contour is, `(N,)`.
        boxes: left, top, width and height of what hangs together, `(M, 4)`, in pixels.
    """

    at: NDArray[np.int32]
    first: NDArray[np.int32]
    length: NDArray[np.int32]
    boxes: NDArray[np.int32]


@dataclass(frozen=True)
class Edges:
    """The edges of one image.

    Attributes:
        x, y: places in pixels, `(N,)`.
        nx, ny: the gradients' directions, of length 1, towards the brighter side.
        mask: `(height, width)`, 1 in each pixel with an edge.
        index: `(height + 4, width + 4)`, a frame of two pixels around the image: which edge lies in a pixel or next to it, -1 for none.
    """

    x: Floats
    y: Floats
    nx: Floats
    ny: Floats
    mask: NDArray[np.uint8]
    index: NDArray[np.int32]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        height, width = self.mask.shape
        return height, width

    @functools.cached_property
    def contours(self) -> Contours:
        """The contours of at least `SHORTEST` steps."""
        contours, _ = cv2.findContours(self.mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        kept = [contour for contour in contours if len(contour) >= SHORTEST]
        if not kept:
            none = np.empty(0, np.int32)
            return Contours(none, none, none, np.empty((0, 4), np.int32))
        lengths = np.array([len(contour) for contour in kept], np.int32)
        places = np.concatenate(kept).reshape(-1, 2)
        starts = np.cumsum(lengths, dtype=np.int32) - lengths
        at = self.index.ravel().take((places[:, 1] + 2) * self.index.shape[1] + places[:, 0] + 2)
        low, high = np.minimum.reduceat(places, starts), np.maximum.reduceat(places, starts)
        first = np.repeat(starts, lengths)
        x, y = (places - places[first]).T  # small numbers, so that no area overflows
        area = np.add.reduceat(x[:-1] * y[1:] - x[1:] * y[:-1], starts) if len(x) > 1 else starts
        boxes = np.hstack([low, high - low + 1])[area <= 0]  # borders of holes are walked along the other way round
        return Contours(at, first, np.repeat(lengths, lengths), boxes)

    def near(self, x: Floats, y: Floats) -> NDArray[np.int32]:
        """Which edge lies in the pixel at each place or next to it, -1 for none. At places outside of the image, any edge."""
        stride = self.index.shape[1]
        place = np.rint(y)
        place *= stride
        place += np.rint(x)
        place += 2 * stride + 2
        np.clip(place, 0, self.index.size - 1, out=place)
        return np.asarray(self.index.ravel().take(place.astype(np.int32)))


def find_edges(image: Image, waves: int = 0) -> Edges:
    """Finds the edges with Canny's method (1986) on the strongest channel of each pixel.

    The thresholds follow the picture: the gradients of noise alone are Rayleigh distributed, and next to none of them lie above
    3.3 times their median.

    Args:
        image: `(height, width)` or `(height, width, channels)`, 16 bits signed, `GAIN` per grey level; or `(height, width)`, 8 bits.
        waves: strong compression leaves waves beside strong edges; what is much weaker than an edge so many pixels away is none.
    """
    dx, dy = _gradients(image)
    step = max(1, round((dx.size / 6_000) ** 0.5))
    sample = cv2.magnitude(dx[::step, ::step].astype(np.float32), dy[::step, ::step].astype(np.float32))
    high = max(_STEP_RESPONSE * GAIN * (_BETWEEN_BLOCKS if waves else _CONTRAST), _of_noise(sample.ravel()))
    clean_dx, clean_dy = _without_waves(dx, dy, waves) if waves else (dx, dy)
    mask = np.asarray(cv2.Canny(clean_dx, clean_dy, high * 0.5, high, L2gradient=True), np.uint8)
    at = np.flatnonzero(mask != 0)
    if not len(at):
        none = np.empty(0, np.float32)
        return Edges(none, none, none, none, mask, np.full((mask.shape[0] + 4, mask.shape[1] + 4), -1, np.int32))
    return _located(at, dx, dy, mask)


def _of_noise(sizes: NDArray[Any]) -> float:
    """The gradient above which there is next to no noise.

    A grid, a halftone or bricks may fill most of a picture, so that half of the gradients are those of edges. Then next to nothing lies
    above that limit, and the lowest gradients are far lower than those of noise; the limit follows the highest ones.
    """
    low, middle, top = np.partition(sizes, [len(sizes) // 20, len(sizes) // 2, len(sizes) * 99 // 100])[
        [len(sizes) // 20, len(sizes) // 2, len(sizes) * 99 // 100]
    ].tolist()
    is_pattern = _NOISE * middle > _NOTHING * top and low < _FLAT * middle
    return float(min(_NOISE * middle, _PATTERN * top)) if is_pattern else _NOISE * float(middle)


def _without_waves(dx: Image, dy: Image, reach: int) -> tuple[Image, Image]:
    """The derivatives, 0 where they are weak beside the strongest within `reach` pixels."""
    size = cv2.magnitude(dx.astype(np.float32), dy.astype(np.float32))
    strongest = cv2.dilate(size, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    strong = size >= _WAVE * strongest
    return dx * strong, dy * strong


def _gradients(image: Image) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Both derivatives, from the channel in which they are largest, made in bands of rows."""
    height, width = image.shape[:2]
    all_dx, all_dy = np.empty((height, width), np.int16), np.empty((height, width), np.int16)
    for top in range(0, height, _BAND):
        bottom = min(height, top + _BAND)
        first, last = max(0, top - _MARGIN), min(height, bottom + _MARGIN)
        dx, dy = _band_gradients(image[first:last])
        all_dx[top:bottom], all_dy[top:bottom] = dx[top - first : bottom - first], dy[top - first : bottom - first]
    return all_dx, all_dy


def _band_gradients(image: Image) -> tuple[Image, Image]:
    if image.dtype == np.uint8:
        slope, smooth = _kernels()
        kernels = ((slope, smooth), (smooth, slope))
        dx, dy = (np.asarray(cv2.sepFilter2D(image, cv2.CV_16S, *pair, borderType=cv2.BORDER_REPLICATE)) for pair in kernels)
        return dx, dy
    channels = [np.asarray(cv2.GaussianBlur(channel, (5, 5), _BLUR, borderType=cv2.BORDER_REPLICATE)) for channel in cv2.split(image)]
    best_dx, best_dy = _derivatives(channels[0])
    if len(channels) == 1:
        return best_dx, best_dy
    best = np.abs(best_dx)
    best += np.abs(best_dy)
    for channel in channels[1:]:
        dx, dy = _derivatives(channel)
        size = np.abs(dx)
        size += np.abs(dy)
        larger = cv2.compare(size, best, cv2.CMP_GT)
        cv2.copyTo(dx, larger, best_dx)
        cv2.copyTo(dy, larger, best_dy)
        cv2.max(size, best, best)
    return best_dx, best_dy


@functools.cache
def _kernels() -> tuple[Floats, Floats]:
    """Blur and Sobel's derivative in one, along and across; `GAIN` times as strong."""
    blur = np.asarray(cv2.getGaussianKernel(5, _BLUR)).ravel()
    return np.convolve(blur, [-GAIN, 0, GAIN]).astype(np.float32), np.convolve(blur, [1, 2, 1]).astype(np.float32)


def _derivatives(channel: Image) -> tuple[Image, Image]:
    dx, dy = (np.asarray(cv2.Sobel(channel, cv2.CV_16S, *order, borderType=cv2.BORDER_REPLICATE)) for order in ((1, 0), (0, 1)))
    return dx, dy


def _located(at: NDArray[np.intp], dx: Image, dy: Image, mask: Image) -> Edges:
    """Moves each edge along its gradient to the top of the parabola through the magnitudes one pixel before, at and after it."""
    height, width = mask.shape
    rows = at // width
    columns = at - rows * width
    nx: Floats = dx.ravel().take(at).astype(np.float32)
    ny: Floats = dy.ravel().take(at).astype(np.float32)
    middle = np.sqrt(nx * nx + ny * ny)
    nx /= middle
    ny /= middle
    x, y = columns.astype(np.float32), rows.astype(np.float32)
    before, after = (_magnitude(dx, dy, x + sign * nx, y + sign * ny) for sign in (np.float32(-1), np.float32(1)))
    bend = np.maximum(2 * middle - before - after, np.float32(1e-6))
    shift = np.clip((after - before) / (2 * bend), -0.7, 0.7)
    index = np.full((height + 4) * (width + 4), -1, np.int32)
    framed = at + 4 * rows + (2 * (width + 4) + 2)
    number = np.arange(len(at), dtype=np.int32)
    for down, across in _AROUND:  # a pixel's own edge is written last and stays
        index[framed + (down * (width + 4) + across)] = number
    return Edges(x + shift * nx, y + shift * ny, nx, ny, mask, index.reshape(height + 4, width + 4))


def _magnitude(dx: Image, dy: Image, x: Floats, y: Floats) -> Floats:
    """The gradient's length at places between the pixels. `cv2.remap` takes maps of less than 32767 columns, so they are laid in rows."""
    if max(dx.shape) >= _WIDEST:
        across, down = (_between(slope, x, y) for slope in (dx, dy))
        return np.asarray(np.sqrt(across * across + down * down))
    count, columns = len(x), 4096
    padded = -(-count // columns) * columns
    map_x, map_y = (np.pad(place, (0, padded - count)).reshape(-1, columns) for place in (x, y))
    across, down = (
        np.asarray(cv2.remap(slope, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)).ravel()[:count].astype(np.float32)
        for slope in (dx, dy)
    )
    return np.asarray(np.sqrt(across * across + down * down))


def _between(values: Image, x: Floats, y: Floats) -> Floats:
    """What `cv2.remap` does, for images that are too wide for it."""
    height, width = values.shape
    column, row = (np.clip(np.floor(place).astype(np.intp), 0, side - 2) for place, side in ((x, max(width, 2)), (y, max(height, 2))))
    right, below = np.minimum(column + 1, width - 1), np.minimum(row + 1, height - 1)
    column, row = np.minimum(column, width - 1), np.minimum(row, height - 1)
    along, down = np.clip(x - column, 0, 1), np.clip(y - row, 0, 1)
    upper = values[row, column] * (1 - along) + values[row, right] * along
    lower = values[below, column] * (1 - along) + values[below, right] * along
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
