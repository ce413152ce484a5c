"""How finds are marked on a picture: lines with a dark edge, seen on every ground."""

from __future__ import annotations

import cv2

from worker.pictures.pixels import Image

MARK = (60, 255, 60)
CENTER = (60, 60, 255)
HALO = (0, 0, 0)
FIXED = 4  # bits behind the point, for cv2's drawing functions


def line_width(canvas: Image) -> int:
    return int(max(1, round(max(canvas.shape[:2]) / 500)))


def fixed(x: float, y: float) -> tuple[int, int]:
    return round(float(x) * 2**FIXED), round(float(y) * 2**FIXED)


def draw_outline(canvas: Image, center: tuple[float, float], radius: float, hue: tuple[int, int, int], line: int) -> None:
    cv2.circle(canvas, fixed(*center), round(radius * 2**FIXED), hue, line, cv2.LINE_AA, FIXED)


def draw_cross(canvas: Image, center: tuple[float, float], arm: float, hue: tuple[int, int, int], line: int) -> None:
    x, y = center
    cv2.line(canvas, fixed(x - arm, y), fixed(x + arm, y), hue, line, cv2.LINE_AA, FIXED)
    cv2.line(canvas, fixed(x, y - arm), fixed(x, y + arm), hue, line, cv2.LINE_AA, FIXED)
