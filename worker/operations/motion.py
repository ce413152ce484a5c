"""What moved from one picture to the next: things that changed place, and the motion of each pixel.

T. Kroeger, R. Timofte, D. Dai and L. Van Gool, Fast optical flow using dense inverse search, 2016, as OpenCV does it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.motion import FindMotion, OpticalFlow
from worker.errors import ArgumentError, UnfitImage
from worker.operations.angles import direction
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, HALO, MARK, draw_polygon, edged, fixed, line_width
from worker.operations.shapes import Found
from worker.pictures import exr, npy
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

Floats = NDArray[np.float32]

_PRESETS = {
    "low": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "high": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
_SMALLEST_FLOW = 32  # pixels; the search has patches of 8 on several scales, so smaller pictures are continued at their edges
_WORKING_SIDE = 1280  # pixels of the copy in which things that moved are sought
_SMOOTH = 1.2  # pixels, standard deviation
# Of white noise: what is left of it after the blur, as a share of what the blur takes away.
_FINE_TO_SMOOTH = 0.257
_NOISE = 5.0  # standard deviations that a change must be above the noise
_MOST_NOISE = 6.0  # levels, after the blur; if most of the picture moved, this is no noise
_LIGHT_SIDE = 96  # pixels of the copy in which light is measured
_LIGHT_WINDOW = 0.4  # of its shorter side, for local light
_LIGHT_LEVELS = 80  # of a change by the factor e
_DARK = 2.0  # levels, added before ratios are taken, as those of dark values are mostly noise
_SURE = (1.0, 0.05)  # pixels, and share of the length, by which the way there and back may differ
_MOVED = 0.4  # pixels
_FLOW_ENDINGS = (".exr", ".npy", ".png", ".tif", ".tiff")
_SPACING = 24  # arrows on a picture's shorter side, about


def _check_pair(operation: str, image: Image, reference: Image | None) -> None:
    if reference is not None and size_of(image) != size_of(reference):
        (width, height), (wide, high) = size_of(image), size_of(reference)
        raise UnfitImage(f"{operation} compares pictures of the same size; this one has {width}x{height} pixels, the other {wide}x{high}.")


# ------------------------------------------------------------------------------------------------------------- things that moved


@dataclass(frozen=True, slots=True, eq=False)
class _Thing:
    """What changed in one place; the box is left, top, width, height; lengths in pixels of the picture in full size."""

    middle: tuple[float, float]
    area: float
    box: tuple[float, float, float, float]
    moved: tuple[float, float]
    score: float


@takes_keywords(FindMotion)
def find_motion(image: Image, reference: Image | None, params: FindMotion) -> Found:
    """Finds what is not where it was in an earlier picture of the same camera. Changes of light and noise do not count.

    A thing that moved farther than its own size is seen twice: where it is, and where it was; there its score is low.

    Args:
        image: any.
        reference: an earlier picture of the same size; None if there is none, and then nothing moved.
        params: what counts as a change.

    Returns:
        One row per thing, the largest first: x, y, the middle of the changed pixels; u, v; area, how many they are; left, top, width,
        height of the box around them; dx, dy, how far it moved since the earlier picture, in pixels, x right and y down; speed, the
        length of this; score, the share of it whose motion is sure, because the way back ends where it began; share of the picture.

    Raises:
        UnfitImage: both pictures have different sizes.
    """
    _check_pair("find_motion", image, reference)
    things: list[_Thing] = []
    mask = np.zeros(image.shape[:2], np.uint8)
    if reference is not None:
        things, mask = _things(image, reference, params)
    kept = things[: params.max_items]
    rows = np.array([_row(thing, image) for thing in kept], np.float64).reshape(-1, 14)
    images = {}
    if params.mask:
        images["mask"] = mask
    if params.overlay:
        images["overlay"] = _boxes_drawn(image, kept)
    return Found(rows, images, total=len(things))


def _things(image: Image, reference: Image, params: FindMotion) -> tuple[list[_Thing], Image]:
    scale = min(1.0, _WORKING_SIDE / max(image.shape[:2]))
    after, before = (_smaller(color(with_depth(one, 8)), scale) for one in (image, reference))
    lit = _lit(before, after, params.light)
    changed = _changed(after.astype(np.float32), lit, params)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(_joined(changed, params.join * scale), connectivity=8)
    least = params.min_area or image.shape[0] * image.shape[1] / 5000
    there, sure = _motion(grey(after), grey(np.rint(np.clip(lit, 0, 255)).astype(np.uint8)), "high") if count > 1 else (None, None)
    things, mask = [], np.zeros_like(changed)
    for number in range(1, count):
        left, top, wide, high = (int(stats[number, part]) for part in range(4))
        part = np.s_[top : top + high, left : left + wide]
        within = labels[part] == number
        pixels = within & (changed[part] > 0)
        area = float(pixels.sum()) / scale**2
        if area < least or there is None or sure is None:
            continue
        mask[part][within] = 255
        y, x = np.nonzero(pixels)
        middle = tuple(float((np.mean(at) + start + 0.5) / scale - 0.5) for at, start in ((x, left), (y, top)))
        moved, score = _moved(there[part][within], sure[part][within])
        box = (left / scale, top / scale, wide / scale, high / scale)
        things.append(_Thing((middle[0], middle[1]), area, box, (moved[0] / scale, moved[1] / scale), score))
    things.sort(key=lambda thing: (-thing.area, thing.box))
    return things, np.asarray(cv2.resize(mask, size_of(image), interpolation=cv2.INTER_NEAREST))


def _smaller(picture: Image, scale: float) -> Image:
    return picture if scale == 1 else np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _lit(before: Image, after: Image, light: str) -> Floats:
    """The earlier picture as it would be in the later one's light."""
    if light == "changes":
        return _as_bright_as(before, after)
    floats = before.astype(np.float32)
    return floats if light == "steady" else _softly_lit(floats, after.astype(np.float32))


def _as_bright_as(before: Image, after: Image) -> Floats:
    """The earlier picture in the later one's light: for each channel the line through most pairs of values, by trimmed least squares."""
    side = max(before.shape[:2])
    small = [_smaller(one, min(1.0, _LIGHT_SIDE / side)).reshape(-1, 3).astype(np.float64) for one in (before, after)]
    lit = np.empty(before.shape, np.float32)
    for channel in range(3):
        first, second = small[0][:, channel], small[1][:, channel]
        gain, offset = 1.0, float(np.median(second - first))
        for _ in range(8):
            off = np.abs(second - gain * first - offset)
            near = off <= max(2.0, 2.5 * float(np.median(off)))
            spread = float(np.var(first[near])) if near.any() else 0.0
            if spread < 1:
                offset = float(np.median(second - gain * first))
                break
            gain = float(np.clip(np.mean((first[near] - first[near].mean()) * (second[near] - second[near].mean())) / spread, 0.2, 5))
            offset = float(second[near].mean() - gain * first[near].mean())
        lit[..., channel] = gain * before[..., channel] + offset
    return lit


def _changed(after: Floats, before: Floats, params: FindMotion) -> Image:
    """255 where the pictures differ by more than noise, in the channel in which they differ most."""
    rough = after - before
    difference = np.asarray(cv2.GaussianBlur(rough, (0, 0), _SMOOTH), np.float32)
    noise = _FINE_TO_SMOOTH * 1.4826 * np.median(np.abs(rough - difference).reshape(-1, 3), axis=0)
    least = (params.threshold + _NOISE * np.minimum(noise, _MOST_NOISE)).astype(np.float32)
    above = (np.abs(difference) - least).max(axis=2) > 0
    return np.asarray(cv2.morphologyEx(above.astype(np.uint8) * 255, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))


def _softly_lit(before: Floats, after: Floats) -> Floats:
    """The earlier picture with light that changes slowly over the picture: by the ratios' median over windows that things do not fill."""
    height, width = before.shape[:2]
    scale = min(1.0, _LIGHT_SIDE / max(height, width))
    first, second = (
        np.maximum(np.asarray(cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.float32), 0) + _DARK
        for one in (before, after)
    )
    window = int(_LIGHT_WINDOW * min(first.shape[:2])) // 2 * 2 + 1
    levels = np.rint(np.clip(np.log(second / first) * _LIGHT_LEVELS + 128, 0, 255)).astype(np.uint8)
    middle = np.dstack([cv2.medianBlur(np.ascontiguousarray(levels[..., n]), window) for n in range(3)]).astype(np.float32)
    smooth = cv2.GaussianBlur((middle - np.float32(128)) / np.float32(_LIGHT_LEVELS), (0, 0), max(1.0, window / 6))
    gain = np.exp(np.asarray(cv2.resize(smooth, (width, height), interpolation=cv2.INTER_CUBIC), np.float32).reshape(before.shape))
    return np.asarray((before + np.float32(_DARK)) * gain - np.float32(_DARK), np.float32)


def _joined(changed: Image, join: float) -> Image:
    reach = round(join)
    if reach < 1:
        return changed
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach // 2 * 2 + 1, reach // 2 * 2 + 1))
    edge = reach + 1
    framed = cv2.copyMakeBorder(changed, edge, edge, edge, edge, cv2.BORDER_CONSTANT, value=0)
    return np.ascontiguousarray(cv2.morphologyEx(framed, cv2.MORPH_CLOSE, kernel)[edge:-edge, edge:-edge])


def _moved(there: Floats, sure: NDArray[np.bool_]) -> tuple[tuple[float, float], float]:
    """How far a thing moved: the median over its pixels that are sure to have moved, if they are not just a few."""
    score = float(sure.mean()) if len(sure) else 0.0
    certain = there[sure]
    going = certain[np.hypot(*certain.T) > _MOVED]
    chosen = going if len(going) > 0.15 * len(certain) else certain
    if len(chosen) < 6:
        return (0.0, 0.0), score
    x, y = np.median(chosen, axis=0)
    return (float(x), float(y)), score


def _row(thing: _Thing, image: Image) -> tuple[float, ...]:
    width, height = size_of(image)
    x, y = thing.middle
    share = thing.area / (width * height)
    where = (x, y, (x + 0.5) / width, 1 - (y + 0.5) / height, thing.area, *thing.box)
    return (*where, *thing.moved, math.hypot(*thing.moved), thing.score, share)


def _boxes_drawn(image: Image, things: Sequence[_Thing]) -> Image:
    """A copy of the image, 8 bits BGR, with a box around each thing and an arrow to where it is from where it was."""
    canvas = color(with_depth(image, 8)).copy()
    for thing in things:
        left, top, wide, high = thing.box
        right, bottom = left + wide - 1, top + high - 1
        draw_polygon(canvas, np.array([(left, top), (right, top), (right, bottom), (left, bottom)]))
        if math.hypot(*thing.moved) >= 1:
            _draw_arrow(canvas, np.subtract(thing.middle, thing.moved), np.array(thing.middle), 2 * line_width(canvas))
    return canvas


def _draw_arrow(canvas: Image, start: NDArray[Any], end: NDArray[Any], width: int) -> None:
    tip = min(0.5, 5 * width / max(1e-6, float(np.linalg.norm(end - start))))
    for line, hue in ((edged(width), HALO), (width, CENTER)):
        cv2.arrowedLine(canvas, fixed(*start), fixed(*end), hue, line, cv2.LINE_AA, 4, tip)


# ------------------------------------------------------------------------------------------------------- motion of each pixel


def check_flow(params: OpticalFlow) -> None:
    """Raises ArgumentError if motion cannot be written under this name."""
    if params.flow and not params.flow.lower().endswith(_FLOW_ENDINGS):
        raise ArgumentError(f"optical_flow: flow must end in one of {' '.join(_FLOW_ENDINGS)}; got {params.flow[:80]!r}.")


@takes_keywords(OpticalFlow, check_flow)
def optical_flow(image: Image, reference: Image | None, params: OpticalFlow) -> Found:
    """Measures how far what is seen at each pixel has moved since an earlier picture.

    Args:
        image: any; colour is looked at as grey.
        reference: the earlier picture, of the same size; None if there is none, and then nothing moved.
        params: which vectors are reported, and what is written.

    Returns:
        One row per vector, from the top left line by line: x, y in pixels of the image; u, v; dx, dy, the motion in pixels, x right and y
        down; length; angle in degrees clockwise from the right; error, by how many pixels the way back misses: a large one says that
        something was covered or uncovered there, or that nothing can be seen to move. With `step=0` one row for the middle of the
        picture, with the means of dx, dy and error. The file `flow` holds the motion of all pixels.

    Raises:
        UnfitImage: both pictures have different sizes.
    """
    _check_pair("optical_flow", image, reference)
    width, height = size_of(image)
    there, error = np.zeros((height, width, 2), np.float32), np.zeros((height, width), np.float32)
    if reference is not None:
        there, error = _flow(grey(with_depth(image, 8)), grey(with_depth(reference, 8)), params.detail)
    vectors = _vectors(there, error, params) if reference is not None else np.empty((0, 5))
    kept = vectors[: params.max_items]
    x, y, across, down, missed = kept.T
    angles = direction(across, down)
    rows = np.column_stack([x, y, (x + 0.5) / width, 1 - (y + 0.5) / height, across, down, np.hypot(across, down), angles, missed])
    images = {}
    if params.wheel:
        images["wheel"] = _wheel(there, params.range)
    if params.overlay:
        images["overlay"] = _arrows_drawn(image, there)
    files = {}
    if params.flow.lower().endswith((".exr", ".npy")):
        files["flow"] = _file(there, params)
    elif params.flow:
        images["flow"] = _texture(there, params)
    return Found(rows, images, files, total=len(vectors))


def _flow(after: Image, before: Image, detail: str) -> tuple[Floats, Floats]:
    """The motion, `(height, width, 2)`, of what is seen at each pixel of the later picture; and by how much the way back misses."""
    height, width = after.shape
    below, beside = max(0, _SMALLEST_FLOW - height), max(0, _SMALLEST_FLOW - width)
    later, earlier = (cv2.copyMakeBorder(one, 0, below, 0, beside, cv2.BORDER_REPLICATE) for one in (after, before))
    search: Any = cv2.DISOpticalFlow.create(_PRESETS[detail])
    back = np.asarray(search.calc(later, earlier, None))[:height, :width]
    forth = np.asarray(search.calc(earlier, later, None))[:height, :width]
    back, forth = (np.ascontiguousarray(np.nan_to_num(one, posinf=0, neginf=0), np.float32) for one in (back, forth))
    column, row = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    met = cv2.remap(forth, column + back[..., 0], row + back[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return -back, np.linalg.norm(back + met.reshape(back.shape), axis=2)


def _motion(after: Image, before: Image, detail: str) -> tuple[Floats, NDArray[np.bool_]]:
    there, error = _flow(after, before, detail)
    return there, error <= _SURE[0] + _SURE[1] * np.linalg.norm(there, axis=2)


def _vectors(there: Floats, error: Floats, params: OpticalFlow) -> NDArray[np.float64]:
    """`(N, 5)`: x, y, dx, dy, error."""
    height, width = error.shape
    if not params.step:
        across, down = there.reshape(-1, 2).mean(axis=0, dtype=np.float64)
        vectors = np.array([((width - 1) / 2, (height - 1) / 2, across, down, error.mean(dtype=np.float64))])
    else:
        columns, rows = (np.arange((side - 1) % params.step // 2, side, params.step) for side in (width, height))
        x, y = (part.ravel() for part in np.meshgrid(columns, rows))
        vectors = np.column_stack([x, y, there[y, x], error[y, x]]).astype(np.float64)
    return np.asarray(vectors[np.hypot(vectors[:, 2], vectors[:, 3]) >= params.min_length])


def _turned(there: Floats, params: OpticalFlow) -> Floats:
    return there * np.array([1, -1 if params.up else 1], np.float32)


def _file(there: Floats, params: OpticalFlow) -> bytes:
    """The motion in pixels, 32 bits, as OpenEXR or as an array of NumPy."""
    motion = _turned(there, params)
    return exr.encode({"R": motion[..., 0], "G": motion[..., 1]}) if params.flow.lower().endswith(".exr") else npy.encode(motion)


def _texture(there: Floats, params: OpticalFlow) -> Image:
    """The motion as a picture of 16 bits, `(height, width, 3)` as blue, green, red."""
    values = np.rint(np.clip(0.5 + _turned(there, params) / (2 * params.range), 0, 1) * 65535).astype(np.uint16)
    return np.dstack([np.zeros_like(values[..., 0]), values[..., 1], values[..., 0]])


def _wheel(there: Floats, longest: float) -> Image:
    angles = np.degrees(np.arctan2(there[..., 1], there[..., 0])) % 360
    lengths = np.clip(np.linalg.norm(there, axis=2) / longest, 0, 1)
    colors = np.dstack([angles.astype(np.float32), np.ones_like(lengths), lengths.astype(np.float32)])
    return np.asarray(np.rint(cv2.cvtColor(colors, cv2.COLOR_HSV2BGR) * 255), np.uint8)


def _arrows_drawn(image: Image, there: Floats) -> Image:
    """A copy of the image, 8 bits BGR, with arrows to where things are from where they were."""
    canvas = color(with_depth(image, 8)).copy()
    step = max(12, min(image.shape[:2]) // _SPACING)
    for y in range(step // 2, image.shape[0], step):
        for x in range(step // 2, image.shape[1], step):
            move = np.median(there[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].reshape(-1, 2), axis=0)
            if np.hypot(*move) >= 1:
                _draw_arrow(canvas, np.array([x, y]) - move, np.array([x, y]), line_width(canvas))
            else:
                cv2.circle(canvas, (x, y), line_width(canvas), MARK, cv2.FILLED, cv2.LINE_AA)
    return canvas
