"""Pictures changed by steps, one after the other. `worker.catalog.filtering.STEPS` says what each takes; here is what each does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.filtering import STEPS, FilterSteps, parsed_steps
from worker.errors import ArgumentError, UnfitImage
from worker.operations.keywords import takes_keywords
from worker.pictures.pixels import Image, color, grey, with_depth

#: What a channel's value may be in the steps, whatever the picture's depth.
_WHITE = 255.0
_SEPIA = np.array([[0.131, 0.534, 0.272], [0.168, 0.686, 0.349], [0.189, 0.769, 0.393]], np.float32)  # rows blue, green, red
_EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]], np.float32)


def check(params: FilterSteps) -> None:
    """Raises ArgumentError if a step is unknown, or a value is missing or out of its range, or two do not go together."""
    for name, values in parsed_steps(params.steps):
        if name == "levels" and float(values[0]) >= float(values[1]):
            raise ArgumentError(f"filter: levels needs black below white; got {values[0]:g} and {values[1]:g}.")
        if name == "edges" and float(values[0]) > float(values[1]):
            raise ArgumentError(f"filter: edges needs low no higher than high; got {values[0]:g} and {values[1]:g}.")


@takes_keywords(FilterSteps, check)
def filter_image(image: Image, params: FilterSteps) -> Image:
    """The image after all steps. Alpha is taken off before the first step, and put back unchanged after the last.

    >>> filter_image(np.array([[10, 200]], np.uint8), steps="invert; threshold 100").tolist()
    [[255, 0]]

    Returns:
        An image of the same size; grey if a step makes it so and it has no alpha; of 8 bits if a step needs them.

    Raises:
        UnfitImage: a step cannot work on 16 bits with these values.
    """
    has_alpha = image.ndim == 3 and image.shape[2] == 4
    made = np.ascontiguousarray(image[..., :3]) if has_alpha else image
    for name, values in parsed_steps(params.steps):
        made = DOES[name](made, *values)
    if not has_alpha:
        return made
    alpha = with_depth(image[..., 3], made.dtype.itemsize * 8)
    return np.dstack([color(made), alpha])


def _white(image: Image) -> float:
    return float(np.iinfo(image.dtype).max)


def _rounded(values: NDArray[Any], like: Image) -> Image:
    return np.asarray(np.rint(np.clip(values, 0, _white(like))), like.dtype)


def _curve(image: Image, value: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> Image:
    """Each value replaced by a function of it, 0 to 1. A table is filled once, so a large picture needs no floating point."""
    white = _white(image)
    table = np.rint(np.clip(value(np.arange(int(white) + 1) / white), 0, 1) * white).astype(image.dtype)
    return np.asarray(cv2.LUT(image, table)) if image.dtype == np.uint8 else np.asarray(table[image])


def _of_light(image: Image, change: Callable[[Image], Image]) -> Image:
    """Changes brightness only: L of CIELAB for colour, in 8 bits."""
    if image.ndim == 2:
        return np.asarray(change(image))
    lab = cv2.cvtColor(with_depth(image, 8), cv2.COLOR_BGR2LAB)
    lab[..., 0] = change(np.ascontiguousarray(lab[..., 0]))
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR))


def _in_hsv(image: Image, change: Callable[[NDArray[np.float32]], None]) -> Image:
    """Changes hue (degrees), saturation and value (0 to 1) in place."""
    if image.ndim == 2:
        return image
    hsv = np.asarray(cv2.cvtColor((image / np.float32(_white(image))).astype(np.float32), cv2.COLOR_BGR2HSV), np.float32)
    change(hsv)
    return _rounded(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR) * np.float32(_white(image)), image)


def _channel(image: Image, name: str) -> Image:
    if name in ("blue", "green", "red"):
        return image if image.ndim == 2 else np.ascontiguousarray(image[..., ("blue", "green", "red").index(name)])
    hsv = np.asarray(cv2.cvtColor((color(image) / np.float32(_white(image))).astype(np.float32), cv2.COLOR_BGR2HSV), np.float32)
    values = hsv[..., 0] / 360 if name == "hue" else hsv[..., 1 if name == "saturation" else 2]
    return _rounded(values * _white(image), image)


def _stretch(image: Image, percent: float) -> Image:
    plain = grey(image)
    low, high = np.percentile(plain, [percent, 100 - percent]) / _white(image)
    return image if high <= low else _curve(image, lambda x: (x - low) / (high - low))


def _saturation(image: Image, factor: float) -> Image:
    def change(hsv: NDArray[np.float32]) -> None:
        hsv[..., 1] = np.clip(hsv[..., 1] * factor, 0, 1)

    return _in_hsv(image, change)


def _hue(image: Image, degrees: float) -> Image:
    def change(hsv: NDArray[np.float32]) -> None:
        hsv[..., 0] = np.mod(hsv[..., 0] + degrees, 360)

    return _in_hsv(image, change)


def _sepia(image: Image) -> Image:
    return _rounded(cv2.transform(color(image).astype(np.float32), _SEPIA), image)


def _clahe(image: Image, limit: float, tiles: float) -> Image:
    """No tile has less than 2 pixels each way: OpenCV divides by the pixels of a tile."""
    across, down = (int(max(1, min(tiles, side // 2))) for side in image.shape[1::-1])
    return _of_light(image, cv2.createCLAHE(limit, (across, down)).apply)


def _median(image: Image, size: float) -> Image:
    if image.dtype == np.uint16 and size > 5:
        raise UnfitImage(f"filter: median of a 16 bit picture takes size 3 or 5; got {size:g}.", "convert depth=8 makes 8 bits of it.")
    return np.asarray(cv2.medianBlur(image, int(size)))


def _bilateral(image: Image, size: float, difference: float) -> Image:
    scale = _white(image) / _WHITE
    plain = image if image.dtype == np.uint8 else image.astype(np.float32)
    made = cv2.bilateralFilter(plain, int(size), difference * scale, size / 3)
    return np.asarray(made) if image.dtype == np.uint8 else _rounded(made, image)


def _blur(image: Image, radius: float) -> Image:
    return np.asarray(cv2.GaussianBlur(image, (0, 0), radius)) if radius else image


def _sharpen(image: Image, amount: float, radius: float) -> Image:
    return np.asarray(cv2.addWeighted(image, 1 + amount, _blur(image, radius), -amount, 0))


def _pixelate(image: Image, size: float) -> Image:
    """Squares counted from the top left; those at the right and the bottom may be cut."""
    side = int(size)
    height, width = image.shape[:2]
    wide, high = -(-width // side), -(-height // side)
    padded = cv2.copyMakeBorder(image, 0, high * side - height, 0, wide * side - width, cv2.BORDER_REPLICATE)
    small = cv2.resize(padded, (wide, high), interpolation=cv2.INTER_AREA)
    rows, columns = np.arange(height) // side, np.arange(width) // side
    return np.asarray(small)[rows[:, None], columns]


def _edges(image: Image, low: float, high: float) -> Image:
    return np.asarray(cv2.Canny(grey(with_depth(image, 8)), low, high, L2gradient=True))


def _sobel(image: Image) -> Image:
    """Length of the gradient; a step from black to white gives white."""
    plain = grey(image).astype(np.float32)
    return _rounded(cv2.magnitude(cv2.Sobel(plain, cv2.CV_32F, 1, 0), cv2.Sobel(plain, cv2.CV_32F, 0, 1)) / 4, image)


def _laplace(image: Image, size: float) -> Image:
    """Scaled by the sum of the kernel's positive weights, so that no size leaves the range."""
    plain = grey(image).astype(np.float32)
    impulse = np.zeros((2 * int(size) + 3,) * 2, np.float32)
    impulse[int(size) + 1, int(size) + 1] = 1
    weight = np.abs(cv2.Laplacian(impulse, cv2.CV_32F, ksize=int(size))).sum() / 2
    return _rounded(np.abs(cv2.Laplacian(plain, cv2.CV_32F, ksize=int(size))) / weight, image)


def _threshold(image: Image, value: float | str) -> Image:
    plain = grey(image)
    white = _white(image)
    if value == "otsu":
        return np.asarray(cv2.threshold(with_depth(plain, 8), 0, _WHITE, cv2.THRESH_BINARY | cv2.THRESH_OTSU)[1])
    return np.asarray(cv2.threshold(plain, float(value) * white / _WHITE, white, cv2.THRESH_BINARY)[1])


def _adaptive(image: Image, size: float, offset: float) -> Image:
    plain = grey(with_depth(image, 8))
    return np.asarray(cv2.adaptiveThreshold(plain, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, int(size), offset))


def _shapes(kind: int) -> Callable[[Image, float], Image]:
    def does(image: Image, radius: float) -> Image:
        side = 2 * int(radius) + 1
        return np.asarray(cv2.morphologyEx(image, kind, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))))

    return does


#: What each step does: an image without alpha and the values come in, an image of the same size goes out.
DOES: Mapping[str, Callable[..., Image]] = {
    # colours
    "gray": grey,
    "channel": _channel,
    "invert": cv2.bitwise_not,
    "brightness": lambda image, amount: _curve(image, lambda x: x + amount / _WHITE),
    "contrast": lambda image, factor: _curve(image, lambda x: (x - 0.5) * factor + 0.5),
    "gamma": lambda image, gamma: _curve(image, lambda x: x ** (1 / gamma)),
    "levels": lambda image, black, white, gamma: _curve(
        image, lambda x: np.clip((x * _WHITE - black) / (white - black), 0, 1) ** (1 / gamma)
    ),
    "stretch": _stretch,
    "equalize": lambda image: _of_light(with_depth(image, 8), cv2.equalizeHist),
    "clahe": _clahe,
    "saturation": _saturation,
    "hue": _hue,
    "posterize": lambda image, values: _curve(image, lambda x: np.rint(x * (values - 1)) / (values - 1)),
    "solarize": lambda image, above: _curve(image, lambda x: np.where(x * _WHITE > above, 1 - x, x)),
    "sepia": _sepia,
    # sharp and soft
    "blur": _blur,
    "box": lambda image, size: np.asarray(cv2.blur(image, (int(size), int(size)))),
    "median": _median,
    "bilateral": _bilateral,
    "sharpen": _sharpen,
    "pixelate": _pixelate,
    # edges
    "edges": _edges,
    "sobel": _sobel,
    "laplace": _laplace,
    "emboss": lambda image: np.asarray(cv2.filter2D(image, -1, _EMBOSS)),
    # black and white
    "threshold": _threshold,
    "adaptive": _adaptive,
    # bright shapes
    "dilate": _shapes(cv2.MORPH_DILATE),
    "erode": _shapes(cv2.MORPH_ERODE),
    "open": _shapes(cv2.MORPH_OPEN),
    "close": _shapes(cv2.MORPH_CLOSE),
}
if DOES.keys() != STEPS.keys():
    raise LookupError(f"Steps without a twin: {sorted(DOES.keys() ^ STEPS.keys())}")
