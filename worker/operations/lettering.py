"""Letters on a picture. OpenCV 5 brings a font with it; earlier versions have line drawings of ASCII letters only."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from worker.pictures.pixels import Image

#: Height of a capital letter, as a share of the size.
CAPITAL = 0.73
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


def drawable(text: str) -> str:
    """The text with a question mark for each letter that cannot be drawn here."""
    return text if can_draw(text) else "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def fitted(text: str, size: float, width: int) -> str:
    """The text, cut and with three dots at its end if it is wider than `width` pixels."""
    while len(text) > 1 and line_width_of(text, size) > width:
        text = text.removesuffix("...")[:-1] + "..." if len(text) > 4 else text[:-1]
    return text


def wrapped(text: str, size: float, width: int) -> list[str]:
    """The text in lines that are no wider than `width` pixels, broken between words; a word that is too wide is cut."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and line_width_of(longer, size) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return [fitted(line, size, width) for line in lines]


def write_on(canvas: Image, text: str, place: tuple[int, int], size: float, hue: tuple[int, int, int]) -> None:
    """Writes one line on a picture of 8 bits BGR, in place. `place` and `text` as for `draw_line`."""
    above, below = round(size * 1.1), round(size * 0.4)
    top, bottom = max(0, place[1] - above), min(canvas.shape[0], place[1] + below)
    left, right = max(0, place[0] - 2), min(canvas.shape[1], place[0] + line_width_of(text, size) + 2)
    if top >= bottom or left >= right:
        return
    band = canvas[top:bottom, left:right]
    letters = np.zeros(band.shape[:2], np.uint8)
    draw_line(letters, text, (place[0] - left, place[1] - top), size)
    alpha = letters[..., None] / 255
    band[...] = np.rint(band * (1 - alpha) + np.array(hue) * alpha)


def _line(size: float) -> int:
    return max(1, round(size / 20))


def _scale(size: float) -> float:
    return float(cv2.getFontScaleFromHeight(_HERSHEY, max(1, round(size * CAPITAL)), _line(size)))
