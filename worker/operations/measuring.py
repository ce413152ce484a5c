"""Pictures measured: brightness, contrast, clipping, noise, sharpness, histogram; and the best one of a series."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.measuring import Measure, PickBest
from worker.operations.keywords import takes_keywords
from worker.operations.marks import FIXED as FIXED_BITS
from worker.operations.marks import HALO, fixed
from worker.operations.regions import check_region, mask_of
from worker.operations.shapes import Found
from worker.operations.sharpness import noise_of, sharpness_of
from worker.pictures.pixels import Image, color, grey, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Picture

#: A channel is clipped from so near to black or white on.
_CLIPPED = 1.5 / 255
_LOW, _HIGH = 1.0, 99.0  # percent of the pixels
_BINS = 256
_PAINTS = {"r": (80, 80, 255), "g": (90, 220, 90), "b": (255, 120, 80), "grey": (230, 230, 230)}
#: The place of what decides among the columns, and whether more is better. Clipping is the sum of two.
_DECIDES = {"brightness": (0, 1), "contrast": (1, 1), "noise": (6, -1), "sharpness": (7, 1)}


def check(params: Measure | PickBest) -> None:
    """Raises ArgumentError if the region cannot be read."""
    check_region(params.region)


@takes_keywords(Measure, check)
def measure(image: Image, params: Measure) -> Found:
    """Measures an image, laid on black; all values but sharpness are from 0 to 1.

    Args:
        image: any.
        params: the part to look at, and what is written.

    Returns:
        One row: brightness, the mean of grey; contrast, its standard deviation; low and high, the grey values that 1 % of the pixels are
        below and above of; dark and bright, the shares of the pixels of which all colours are black, or one is full; noise, the standard
        deviation after J. Immerkær 1996; sharpness, as `worker.operations.sharpness.sharpness_of`: to compare pictures of one scene.
    """
    part = _part(image, params.region)
    files = {"histogram": _json(_histogram(part))} if params.histogram else {}
    images = {"overlay": _drawn(image, _histogram(part))} if params.overlay else {}
    return Found(np.array([_measured(part)], np.float64), images, files)


@takes_keywords(PickBest, check)
def pick_best(pictures: Iterator[Picture], params: PickBest) -> Found:
    """Ranks images and picks the best one, or the best one of each `every` images that follow each other.

    Returns:
        One row per image, best first: best, 1 for those that are picked; the columns of `measure`; image. Beside them the picture `output`,
        the best one of all.
    """
    values: list[tuple[float, ...]] = []
    numbers: list[int] = []
    best: Image | None = None
    for picture in pictures:
        row = _measured(_part(picture.image, params.region))
        if params.output and (best is None or _worth(row, params) > max(_worth(other, params) for other in values)):
            best = picture.image
        values.append(row)
        numbers.append(picture.n)
    worth = np.array([_worth(row, params) for row in values])
    order = np.lexsort((np.array(numbers), -worth))
    picked, rows, seen = set[int](), [], set[int]()
    for index in order:
        series = numbers[index] // params.every if params.every else 0
        if series not in seen:
            seen.add(series)
            picked.add(int(index))
        rows.append((index in picked, *values[index], numbers[index]))
    images = {} if best is None else {"output": best}
    return Found(np.array(rows, np.float64).reshape(-1, 10), images)


def _worth(row: tuple[float, ...], params: PickBest) -> float:
    """What decides, larger for the better picture."""
    if params.by == "clipping":
        return -(row[4] + row[5])
    place, sign = _DECIDES[params.by]
    return sign * row[place]


def _part(image: Image, region: str) -> Image:
    inside = mask_of(image, region, None)
    if inside is None:
        return image
    left, top, width, height = cv2.boundingRect(inside)
    return image[top : top + height, left : left + width]


def _measured(image: Image) -> tuple[float, ...]:
    white = np.float32(np.iinfo(image.dtype).max)
    colors = color(image)
    values = np.asarray(grey(colors), np.float32) / white
    low, high = np.percentile(values, (_LOW, _HIGH))
    brightest = colors.max(axis=2)
    dark, bright = np.mean(brightest < _CLIPPED * white), np.mean(brightest > (1 - _CLIPPED) * white)
    mean, deviation = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    return mean, deviation, float(low), float(high), float(dark), float(bright), noise_of(values), sharpness_of(values)


def _histogram(image: Image) -> dict[str, NDArray[np.float64]]:
    """The share of the pixels in each of 256 steps, for each colour and for grey."""
    colors = color(with_depth(image, 8))
    planes = dict(zip("bgr", cv2.split(colors), strict=True)) | {"grey": grey(colors)}
    return {name: np.bincount(planes[name].ravel(), minlength=_BINS) / colors[..., 0].size for name in _PAINTS}


def _json(histogram: dict[str, NDArray[np.float64]]) -> bytes:
    made: dict[str, Any] = {name: [float(f"{share:.6g}") for share in shares] for name, shares in histogram.items()}
    return (json.dumps(made) + "\n").encode()


def _drawn(image: Image, histogram: dict[str, NDArray[np.float64]]) -> Image:
    """A copy of the image, 8 bits BGR, with the histogram in its lower third on a dark ground."""
    canvas = color(with_depth(image, 8)).copy()
    height, width = canvas.shape[:2]
    high = max(1, height // 3)
    ground = canvas[-high:]
    ground[...] = ground // 4
    # A single plain colour would make all others flat: the scale is that of the highest but a few steps, and higher ones are cut.
    most = max(float(np.sort(shares)[-4]) for shares in histogram.values()) or 1.0
    across = (np.arange(_BINS) + 0.5) / _BINS * width - 0.5
    for name, shares in histogram.items():
        tops = height - 1 - np.minimum(shares / most, 1) * (high - 1)
        line = np.array([fixed(x, y) for x, y in zip(across, tops, strict=True)], np.int32)
        for thick, paint in ((3, HALO), (1, _PAINTS[name])):
            cv2.polylines(canvas, [line], False, paint, thick, cv2.LINE_AA, FIXED_BITS)
    return canvas
