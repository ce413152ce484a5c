"""The pictures of a demo: `python -m worker.cli.demo_pictures FOLDER [GIF]`.

A contact sheet of all images that were drawn, in FOLDER; and an animation of what happened, whose story comes as JSON on standard input.
In a process of its own, because it needs OpenCV.
"""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.cli import examples

if TYPE_CHECKING:
    import numpy as np

    Picture = np.ndarray[Any, np.dtype[np.uint8]]

_COLUMNS = 25
_TILE_PX = 32
_SMALL_TILE_PX = 16
_DARK = 24
_STEPS = 16
_STEP_MS = 150
_LAST_MS = 4000
_MARGIN_PX = 16
_TEXT_PX = 300
_LINE_PX = 20
_GREY, _WHITE, _RED = (150, 150, 150), (255, 255, 255), (80, 80, 255)


def contact_sheet(folder: Path, tile_px: int = _TILE_PX) -> Picture:
    """All drawn images on one picture, (height, width, 3), each so many pixels wide; the place of what is missing stays dark."""
    import cv2
    import numpy as np

    rows = math.ceil(examples.IMAGES / _COLUMNS)
    sheet = np.full((rows * tile_px, _COLUMNS * tile_px, 3), _DARK, np.uint8)
    for n in range(examples.IMAGES):
        image = cv2.imread(str(folder / examples.DRAWN.replace("{n}", str(n))))
        if image is not None:
            y, x = n // _COLUMNS * tile_px, n % _COLUMNS * tile_px
            small = cv2.resize(image, (tile_px - 2, tile_px - 2), interpolation=cv2.INTER_AREA)
            sheet[y + 1 : y + tile_px - 1, x + 1 : x + tile_px - 1] = small
    return sheet


def first_of(sheet: Picture, count: int) -> Picture:
    """The sheet as it was when only so many images were there."""
    part = sheet.copy()
    row, column = divmod(count, _COLUMNS)
    tile_px = sheet.shape[1] // _COLUMNS
    part[(row + 1) * tile_px :] = _DARK
    part[row * tile_px : (row + 1) * tile_px, column * tile_px :] = _DARK
    return part


def frame(sheet: Picture, lines: list[tuple[str, tuple[int, int, int]]]) -> Picture:
    """One picture of the animation: the contact sheet, and lines of text beside it."""
    import cv2
    import numpy as np

    height, width = sheet.shape[:2]
    picture = np.zeros((height + 2 * _MARGIN_PX, width + _TEXT_PX + 3 * _MARGIN_PX, 3), np.uint8)
    picture[_MARGIN_PX : _MARGIN_PX + height, _MARGIN_PX : _MARGIN_PX + width] = sheet
    for number, (text, color) in enumerate(lines):
        at = (width + 2 * _MARGIN_PX, _MARGIN_PX + (number + 1) * _LINE_PX)
        cv2.putText(picture, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, color, 1, cv2.LINE_AA)
    return picture


def animation(folder: Path, story: dict[str, Any]) -> tuple[list[Picture], list[int]]:
    """What happened, slowed down: the images as they came, the status words, and at the end how long TouchDesigner waited.

    Args:
        folder: of the demo.
        story: `words`, each a time in ms and a text; `drawing`, each a time in ms and how many images were there then; `with_ms` and
            `without_ms`.

    Returns:
        The pictures, and how long each is shown, in ms.
    """
    begin, end = story["drawing"][0][0], story["drawing"][-1][0]
    sheet = contact_sheet(folder, _SMALL_TILE_PX)
    pictures, durations = [], []
    for step in range(_STEPS + 1):
        now = end if step == _STEPS else begin + (end - begin) * step / _STEPS
        count = max(count for at, count in story["drawing"] if at <= now)
        shown = [(f"{at:6.0f} ms  {word}", _WHITE) for at, word in story["words"] if at <= now or step == _STEPS][-7:]
        lines = [("TD Image Worker: demo", _WHITE), (f"{count} of {examples.IMAGES} images", _GREY), ("", _GREY), *shown]
        if step == _STEPS:
            lines += [("", _GREY), ("TouchDesigner waits", _GREY), (f"with the worker  {story['with_ms']:.1f} ms", _WHITE)]
            lines += [(f"without it  {story['without_ms']:.0f} ms", _RED)]
        pictures.append(frame(first_of(sheet, count), lines))
        durations.append(_LAST_MS if step == _STEPS else _STEP_MS)
    return pictures, durations


def write_animation(path: Path, pictures: list[Picture], durations: list[int]) -> None:
    """Writes a GIF that repeats for ever."""
    import cv2

    if not hasattr(cv2, "imwriteanimation"):
        sys.exit(f"OpenCV {cv2.__version__} writes no animations; 4.11 or later does.")
    moving = cv2.Animation()
    moving.frames, moving.durations = pictures, durations
    if not cv2.imwriteanimation(str(path), moving):
        sys.exit(f"{path} cannot be written.")


def main(arguments: list[str]) -> None:
    """Writes both."""
    import cv2

    folder = Path(arguments[0])
    cv2.imwrite(str(folder / examples.CONTACT_SHEET), contact_sheet(folder))
    if len(arguments) > 1:
        write_animation(Path(arguments[1]), *animation(folder, json.load(sys.stdin)))


if __name__ == "__main__":
    main(sys.argv[1:])
