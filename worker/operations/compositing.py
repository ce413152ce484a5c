"""Pictures laid on pictures, text on pictures, and many pictures on one sheet."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.compositing import ContactSheet, Overlay
from worker.catalog.tuning import Sweep
from worker.errors import ArgumentError
from worker.operations.keywords import takes_keywords
from worker.operations.lettering import can_draw, draw_line, drawable, fitted, line_width_of, write_on
from worker.operations.shapes import Found, Picture
from worker.pictures.pixels import Image, bgr, color, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Size

Floats = NDArray[np.float32]
_BLENDS: Mapping[str, Callable[[Floats, Floats], Floats]] = {
    "normal": lambda _below, above: above,
    "multiply": lambda below, above: above * below,
    "screen": lambda below, above: above + below - above * below,
    "add": lambda below, above: np.minimum(above + below, 1),
    "difference": lambda below, above: np.abs(above - below),
}
#: Longest side of a sheet; what graphics cards commonly take.
_LONGEST_SIDE = 16384
#: From one line of text to the next, in sizes of a letter.
_LEADING = 1.35
#: From the top of a line to what its letters stand on, in the same unit.
_BASELINE = 0.95
_LABEL_PX = 14
_LABEL_ROOM_PX = 22
#: A dark ground gets bright labels, a bright one dark ones.
_BRIGHT, _DARK = 230, 20


def check_overlay(params: Overlay) -> None:
    """Raises ArgumentError if there is nothing to lay on top, or a letter that cannot be drawn here."""
    if not params.picture and not params.text:
        raise ArgumentError("overlay needs a picture, a text, or both; got neither.")
    if not can_draw(params.text):
        raise ArgumentError(f"overlay: this build of OpenCV draws ASCII letters only; got {params.text[:60]!r}.", "OpenCV 5 draws others.")


@takes_keywords(Overlay)
def overlay(image: Image, picture: Image | None, params: Overlay) -> Image:
    """The image with a picture, a text, or both on top. What lies outside of the image is cut off.

    Args:
        image: what lies below.
        picture: what is laid on top; its alpha counts.
        params: where and how.

    Returns:
        An image of the same size and depth, in colour, with alpha if the image below has it. Colours are put together as the W3C's
        *Compositing and Blending Level 1* says.

    Raises:
        ArgumentError: the picture on top would be higher than 16384 pixels.
    """
    made = image if image.ndim == 3 else color(image)
    if picture is not None:
        resized = _resized(picture, params.width)
        place = _place(size_of(image), size_of(resized), params)
        made = _with_picture(made, resized, place, params)
    return _with_text(made, params) if params.text else np.ascontiguousarray(made)


def _resized(picture: Image, width: int) -> Image:
    size = size_of(picture)
    if not width or width == size[0]:
        return picture
    wanted = width, max(1, round(size[1] * width / size[0]))
    if wanted[1] > _LONGEST_SIDE:
        raise ArgumentError(f"overlay: with width={width} the picture on top would be {wanted[1]} px high; the limit is {_LONGEST_SIDE}.")
    method = cv2.INTER_AREA if width < size[0] else cv2.INTER_CUBIC
    if picture.ndim == 2 or picture.shape[2] != 4:
        return np.asarray(cv2.resize(picture, wanted, interpolation=method))
    white = float(np.iinfo(picture.dtype).max)
    values = picture.astype(np.float32)
    values[..., :3] *= values[..., 3:] / white  # what lies invisible under transparent pixels must not bleed out
    values = np.asarray(cv2.resize(values, wanted, interpolation=method))
    values[..., :3] *= white / np.maximum(values[..., 3:], 1)
    return np.rint(np.clip(values, 0, white)).astype(picture.dtype)


def _place(size: Size, top: Size, params: Overlay) -> tuple[int, int]:
    """Where the top left corner of a thing of size `top` lies."""
    left = 0 if "left" in params.anchor else size[0] - top[0] if "right" in params.anchor else (size[0] - top[0]) // 2
    above = 0 if "top" in params.anchor else size[1] - top[1] if "bottom" in params.anchor else (size[1] - top[1]) // 2
    return left + params.x, above + params.y


def _with_picture(image: Image, picture: Image, place: tuple[int, int], params: Overlay) -> Image:
    width, height = size_of(image)
    wide, high = size_of(picture)
    left, top = max(0, place[0]), max(0, place[1])
    right, bottom = min(width, place[0] + wide), min(height, place[1] + high)
    if left >= right or top >= bottom:
        return image
    part = picture[top - place[1] : bottom - place[1], left - place[0] : right - place[0]]
    white = float(np.iinfo(part.dtype).max)
    values = (part / np.float32(white)).astype(np.float32)
    if values.ndim == 2:
        values = np.dstack([values] * 3)
    alpha = values[..., 3:] if values.shape[2] == 4 else np.ones((*values.shape[:2], 1), np.float32)
    made = image.copy()
    made[top:bottom, left:right] = _composed(
        image[top:bottom, left:right], values[..., :3], alpha * np.float32(params.opacity), params.blend
    )
    return made


def _with_text(image: Image, params: Overlay) -> Image:
    lines = params.text.splitlines() or [""]
    step = params.text_size * _LEADING
    widths = [line_width_of(line, params.text_size) for line in lines]
    left, top = _place(size_of(image), (max(widths), round(step * len(lines))), params)
    letters = np.zeros(image.shape[:2], np.uint8)
    for n, (line, width) in enumerate(zip(lines, widths, strict=True)):
        aside = 0 if "left" in params.anchor else max(widths) - width if "right" in params.anchor else (max(widths) - width) // 2
        draw_line(letters, line, (left + aside, round(top + n * step + _BASELINE * params.text_size)), params.text_size)
    made = image
    if params.text_edge:
        side = 2 * params.text_edge + 1
        wider = cv2.dilate(letters, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
        made = _painted(made, np.asarray(wider), (0, 0, 0), params)
    return _painted(made, letters, bgr(params.text_color), params)


def _painted(image: Image, letters: Image, hue: tuple[int, int, int], params: Overlay) -> Image:
    rows, columns = np.flatnonzero(letters.any(axis=1)), np.flatnonzero(letters.any(axis=0))
    if not len(rows):
        return image
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    alpha = letters[box][..., None].astype(np.float32) * np.float32(params.opacity / 255)
    paint = np.broadcast_to(np.array(hue, np.float32) / 255, (*alpha.shape[:2], 3))
    made = image.copy()
    made[box] = _composed(image[box], np.asarray(paint), alpha, params.blend)
    return made


def _composed(below: Image, above: Floats, alpha: Floats, blend: str) -> Image:
    """Source over backdrop, all from 0 to 1: the backdrop's alpha counts, and colours are not weighted by alpha before or after."""
    white = float(np.iinfo(below.dtype).max)
    values = (below / np.float32(white)).astype(np.float32)
    colors = values[..., :3]
    ground = values[..., 3:] if below.shape[2] == 4 else np.ones_like(alpha)
    mixed = _BLENDS[blend](colors, above)
    source = (1 - ground) * above + ground * mixed
    together = alpha + ground * (1 - alpha)
    made = (alpha * source + (1 - alpha) * ground * colors) / np.maximum(together, np.float32(1e-6))
    whole = made if below.shape[2] == 3 else np.concatenate([made, together], axis=2)
    return np.asarray(np.rint(np.clip(whole, 0, 1) * white), below.dtype)


@takes_keywords(ContactSheet)
def contact_sheet(pictures: Iterator[Picture], params: ContactSheet) -> Found:
    """All pictures on one sheet, row by row, each within its tile, with its name below it.

    No more is kept than the sheet will hold, and a sheet has no side longer than 16384 pixels.

    Returns:
        The picture `output`, 8 bits, in colour.

    Raises:
        ArgumentError: the sheet would be too large.
    """
    cell = params.tile_width + params.gap, params.tile_height + params.gap + (_LABEL_ROOM_PX if params.labels else 0)
    across, down = ((_LONGEST_SIDE - params.gap) // side for side in cell)
    fit = (params.columns or across) * down
    if params.columns > across:
        raise ArgumentError(f"{params.columns} columns of {cell[0]} px are too wide; {across} fit into {_LONGEST_SIDE} px.")
    tiles: list[tuple[str, Image]] = []
    for picture in pictures:
        if len(tiles) == fit:
            raise ArgumentError(
                f"There are more than {fit} images, and no more fit on a sheet of {_LONGEST_SIDE} px.",
                "Smaller tiles or more columns help.",
            )
        tiles.append((picture.name, tile_of(picture.image, params)))
    columns = params.columns or min(across, max(math.ceil(math.sqrt(len(tiles))), math.ceil(len(tiles) / down)))
    columns = min(columns, max(1, len(tiles)))
    rows = max(1, math.ceil(len(tiles) / columns))
    sheet = np.empty((rows * cell[1] + params.gap, columns * cell[0] + params.gap, 3), np.uint8)
    sheet[...] = bgr(params.background)
    for n, (name, tile) in enumerate(tiles):
        _lay(sheet, tile, (params.gap + n % columns * cell[0], params.gap + n // columns * cell[1]), name, params)
    return Found(images={"output": sheet})


def tile_of(image: Image, params: ContactSheet | Sweep) -> Image:
    """The image in 8 bits BGR, made small enough for a tile; never larger than it was."""
    plain = color(with_depth(image, 8))
    width, height = size_of(plain)
    scale = min(params.tile_width / width, params.tile_height / height)
    if scale >= 1:
        return plain.copy()
    wanted = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(plain, wanted, interpolation=cv2.INTER_AREA))


def _lay(sheet: Image, tile: Image, place: tuple[int, int], name: str, params: ContactSheet) -> None:
    """In the middle of its tile; the name is cut if it is too long."""
    left, top = place
    width, height = size_of(tile)
    x, y = left + (params.tile_width - width) // 2, top + (params.tile_height - height) // 2
    sheet[y : y + height, x : x + width] = tile
    if not params.labels:
        return
    text = fitted(drawable(name), _LABEL_PX, params.tile_width)
    value = _DARK if sum(bgr(params.background)) > 3 * 128 else _BRIGHT
    indent = (params.tile_width - line_width_of(text, _LABEL_PX)) // 2
    write_on(sheet, text, (left + indent, top + params.tile_height + _LABEL_PX + 2), _LABEL_PX, (value, value, value))
