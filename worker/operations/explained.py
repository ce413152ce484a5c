"""A picture of how `find_circles` decided: the edges, every candidate in the colour of its reason, and a legend that counts them."""

from __future__ import annotations

import cv2
import numpy as np

from worker.operations.marks import HALO, MARK, draw_outline, draw_text, edged, line_width
from worker.pictures.pixels import Image, color, with_depth

#: Blue-green-red for reason 1 and following; 0, a circle that was found, has the colour of all finds.
_HUES = (
    *((200, 120, 255), (80, 160, 255), (60, 60, 255), (255, 80, 200), (255, 160, 60), (160, 160, 160), (120, 220, 220)),
    *(
        (110, 110, 110),
        (0, 200, 255),
        (255, 200, 0),
        (200, 0, 120),
        (0, 120, 200),
        (180, 255, 180),
        (140, 140, 255),
        (255, 220, 220),
        (255, 255, 255),
    ),
)
_EDGE = (110, 110, 110)
_DIM = 0.35  # of the picture's brightness, behind the marks
_ROW = 24  # pixels, the height of a line of the legend at line width 1


def explain_circles(image: Image, mask: Image, candidates: Image, reasons: Image, words: tuple[str, ...]) -> Image:
    """Draws the decisions.

    Args:
        image: the picture that was searched.
        mask: `(h, w)`, not 0 where an edge is, at the size of the picture or a whole part of it.
        candidates: `(M, 4)`: x, y and radius in pixels, score.
        reasons: `(M,)`: for each candidate a place in `words`; 0 is a circle that was found.
        words: the reasons.

    Returns:
        8 bits BGR: the picture, and below it the legend.
    """
    canvas = (color(with_depth(image, 8)) * _DIM).astype(np.uint8)
    height, width = canvas.shape[:2]
    canvas[cv2.resize(mask, (width, height), interpolation=cv2.INTER_NEAREST) > 0] = _EDGE
    line = line_width(canvas)
    for found in (False, True):  # finds on top
        for (x, y, radius, _), reason in zip(candidates, reasons, strict=True):
            if found == (reason == 0):
                draw_outline(canvas, (x, y), radius, HALO, edged(line))
                draw_outline(canvas, (x, y), radius, _hue(reason), line)
                if reason:
                    draw_text(canvas, str(reason), (x + 0.71 * radius, y + 0.71 * radius), _hue(reason), line)
    return np.vstack([canvas, _legend(width, line, np.bincount(reasons, minlength=len(words)), words)])


def _hue(reason: int) -> tuple[int, int, int]:
    return _HUES[(reason - 1) % len(_HUES)] if reason else MARK


def _legend(width: int, line: int, counts: Image, words: tuple[str, ...]) -> Image:
    """One line for each reason that occurs: its number, the word, how many."""
    rows = [number for number in range(len(words)) if counts[number]]
    legend = np.zeros((_ROW * line * max(1, len(rows)), width, 3), np.uint8)
    for place, number in enumerate(rows):
        text = f"{number}  {words[number]}: {counts[number]}"
        draw_text(legend, text, (8 * line, _ROW * line * place + 17 * line), _hue(number), line)
    if not rows:
        draw_text(legend, "no candidates", (8 * line, 17 * line), _EDGE, line)
    return legend
