"""Letters on a picture. OpenCV 5 brings a font with it; earlier versions have line drawings of ASCII letters only."""

from __future__ import annotations

from typing import Any

import cv2

from worker.pictures.pixels import Image

#: Height of a capital letter, as a share of the size.
_CAPITAL = 0.73
_HERSHEY = cv2.FONT_HERSHEY_DUPLEX


def _font() -> Any | None:
    """OpenCV's own font; None if this version has none."""
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def can_draw(text: str) -> bool:
    """Whether each letter of a text can be drawn here; ends of lines count as letters."""
    return _font() is not None or all(" " <= letter <= "~" or letter in "\r\n" for letter in text)


def line_width_of(text: str, size: float) -> int:
    """Width in pixels of one line of text, of letters of this size in pixels."""
    font = _font()
    if font is not None:
        x, _, width, _ = cv2.getTextSize((1, 1), text, (0, 0), font, round(size))
        return int(x + width)
    (width, _), _ = cv2.getTextSize(text, _HERSHEY, _scale(size), _line(size))
    return int(width)


def draw_line(letters: Image, text: str, place: tuple[int, int], size: float) -> None:
    """Draws one line of text with the value 255.

    Args:
        letters: `(height, width)`, 8 bits; what lies outside is cut off.
        text: for which `can_draw` is true.
        place: x and y in pixels of its left end, on the line that the letters stand on.
        size: of the letters, in pixels.
    """
    font = _font()
    if font is not None:
        cv2.putText(letters, text, place, 255, font, round(size))
    else:
        cv2.putText(letters, text, place, _HERSHEY, _scale(size), 255, _line(size), cv2.LINE_AA)


def _line(size: float) -> int:
    return max(1, round(size / 20))


def _scale(size: float) -> float:
    return float(cv2.getFontScaleFromHeight(_HERSHEY, max(1, round(size * _CAPITAL)), _line(size)))
