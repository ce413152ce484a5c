"""How finds are marked on a picture: lines with a dark edge, seen on every ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.operations.lettering import CAPITAL, drawable, line_width_of, write_on
from worker.pictures.pixels import Image

MARK = (60, 255, 60)
CENTER = (60, 60, 255)
HALO = (0, 0, 0)
FIXED = 4  # bits behind the point, for cv2's drawing functions


def line_width(canvas: Image) -> int:
    return int(max(1, round(max(canvas.shape[:2]) / 500)))


def edged(width: int) -> int:
    """The width of a line together with its dark edge on both sides."""
    return width + 2 * max(1, round(width / 3))


def fixed(x: float, y: float) -> tuple[int, int]:
    return round(float(x) * 2**FIXED), round(float(y) * 2**FIXED)


def draw_outline(canvas: Image, center: tuple[float, float], radius: float, hue: tuple[int, int, int], line: int) -> None:
    cv2.circle(canvas, fixed(*center), round(radius * 2**FIXED), hue, line, cv2.LINE_AA, FIXED)


def draw_cross(canvas: Image, center: tuple[float, float], arm: float, hue: tuple[int, int, int], line: int) -> None:
    x, y = center
    cv2.line(canvas, fixed(x - arm, y), fixed(x + arm, y), hue, line, cv2.LINE_AA, FIXED)
    cv2.line(canvas, fixed(x, y - arm), fixed(x, y + arm), hue, line, cv2.LINE_AA, FIXED)


def draw_polygon(canvas: Image, corners: NDArray[np.float64], hue: tuple[int, int, int] = MARK, *, closed: bool = True) -> None:
    """The line through the corners, `(N, 2)`, with its dark edge."""
    points, width = np.array([fixed(*corner) for corner in corners], np.int32), line_width(canvas)
    for line, paint in ((edged(width), HALO), (width, hue)):
        cv2.polylines(canvas, [points], closed, paint, line, cv2.LINE_AA, FIXED)


def draw_dot(canvas: Image, place: NDArray[np.float64], hue: tuple[int, int, int]) -> None:
    width = line_width(canvas)
    radius = 2 * width
    for wider, paint in ((edged(width) - width, HALO), (0, hue)):
        cv2.circle(canvas, fixed(*place), (radius + wider) * 2**FIXED, paint, -1, cv2.LINE_AA, FIXED)


def draw_label(canvas: Image, text: str, middle: NDArray[np.float64]) -> None:
    """A short text in a dark box around a place. Letters that cannot be drawn here become question marks."""
    width = line_width(canvas)
    said, size = drawable(" ".join(text.split())), 15.0 * width + 3
    wide, high = line_width_of(said, size), round(CAPITAL * size)
    place = round(float(middle[0]) - wide / 2), round(float(middle[1]) + high / 2)
    corner = place[0] - 2 * width, place[1] + 3 * width
    cv2.rectangle(canvas, corner, (place[0] + wide + 2 * width, place[1] - high - 2 * width), HALO, cv2.FILLED)
    write_on(canvas, said, place, size, MARK)


def draw_text(canvas: Image, text: str, place: tuple[float, float], hue: tuple[int, int, int], line: int) -> None:
    """A short text of ASCII with a dark edge; `place` is its lower left corner."""
    at = (round(float(place[0])), round(float(place[1])))
    for width, shade in ((3 * line, HALO), (line, hue)):
        cv2.putText(canvas, text, at, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * line, shade, width, cv2.LINE_AA)


def text_width(text: str, line: int) -> int:
    """How many pixels wide `draw_text` writes a text."""
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * line, 3 * line)
    return int(width)
