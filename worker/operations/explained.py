"""A picture of how `find_circles` decided: the edges, every candidate in the colour of its reason, and a legend that counts them."""

from __future__ import annotations

import cv2
import numpy as np

from worker.operations.marks import HALO, MARK, draw_outline, draw_text, edged, line_width, text_width
from worker.pictures.pixels import Image, color, with_depth

#: Blue-green-red for reason 1 and following; 0, a circle that was found, has the colour of all finds.
_HUES = (
    *((200, 120, 255), (80, 160, 255), (60, 60, 255), (255, 80, 200), (255, 160, 60), (200, 200, 200), (120, 220, 220)),
    *((150, 150, 150), (0, 200, 255), (255, 200, 0), (220, 80, 160), (0, 120, 200), (180, 255, 180), (140, 140, 255)),
    *((255, 220, 220), (255, 255, 255)),
)
_EDGE = (110, 110, 110)
_DIM = 0.35  # of the picture's brightness, behind the marks
_ROW = 24  # pixels, the height of a line of the legend at line width 1
_NUMBER = (11, 15)  # pixels, width of a digit and height of a number at line width 1


def explain_circles(image: Image, mask: Image, candidates: Image, reasons: Image, words: tuple[str, ...]) -> Image:
    """Draws the decisions.

    Args:
        image: the picture that was searched.
        mask: `(h, w)`, not 0 where an edge is, at the size of the picture or a whole part of it.
        candidates: `(M, 4)`: x, y and radius in pixels, score.
        reasons: `(M,)`: for each candidate a place in `words`; 0 is a circle that was found.
        words: the reasons.

    Returns:
        8 bits BGR: the picture, and below it the legend, as wide as the wider of both. Numbers stand where there is room for them.
    """
    canvas: Image = (color(with_depth(image, 8)) * _DIM).astype(np.uint8)
    height, width = canvas.shape[:2]
    canvas[cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0] = _EDGE
    line = line_width(canvas)
    for found in (False, True):  # finds on top
        for (x, y, radius, _), reason in zip(candidates, reasons, strict=True):
            if found == (reason == 0):
                draw_outline(canvas, (x, y), radius, HALO, edged(line))
                draw_outline(canvas, (x, y), radius, _hue(reason), line)
    _write_numbers(canvas, candidates, reasons, line)
    legend = _legend(width, line, np.bincount(reasons, minlength=len(words)), words)
    if legend.shape[1] > width:
        canvas = cv2.copyMakeBorder(canvas, 0, 0, 0, legend.shape[1] - width, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    return np.vstack([canvas, legend])


def _write_numbers(canvas: Image, candidates: Image, reasons: Image, line: int) -> None:
    """The number of its reason beside each candidate that is no circle, large ones first; none covers another or a small candidate."""
    taken = np.zeros(canvas.shape[:2], np.bool_)
    digit, high = (side * line for side in _NUMBER)
    for place in np.argsort(-candidates[:, 2], kind="stable"):
        reason, (x, y, radius, _) = reasons[place], candidates[place]
        wide = digit * len(str(reason))
        if not reason or radius < high / 2:
            continue
        left, bottom = round(float(x + 0.71 * radius)), round(float(y + 0.71 * radius))
        box = taken[max(0, bottom - high) : max(0, bottom), max(0, left) : max(0, left + wide)]
        if box.shape == (high, wide) and not box.any():
            box[...] = True
            draw_text(canvas, str(reason), (left, bottom), _hue(reason), line)


def _hue(reason: int) -> tuple[int, int, int]:
    return _HUES[(reason - 1) % len(_HUES)] if reason else MARK


def _legend(width: int, line: int, counts: Image, words: tuple[str, ...]) -> Image:
    """One line for each reason that occurs: its number, the word, how many."""
    rows = [(f"{number}  {words[number]}: {counts[number]}", _hue(number)) for number in range(len(words)) if counts[number]]
    rows = rows or [("no candidates", _EDGE)]
    legend = np.zeros((_ROW * line * len(rows), max(width, *(text_width(text, line) + 16 * line for text, _ in rows)), 3), np.uint8)
    for place, (text, hue) in enumerate(rows):
        draw_text(legend, text, (8 * line, _ROW * line * place + 17 * line), hue, line)
    return legend
