"""How what a live job follows is drawn: each object in a colour of its own, with its id and the way that it came."""

from __future__ import annotations

import colorsys
import math
from collections.abc import Mapping, Sequence

import cv2
import numpy as np

from worker.catalog.track import Track
from worker.operations.marks import FIXED, HALO, draw_dot, draw_text, edged, fixed, line_width
from worker.pictures.pixels import Image

#: Followed as things with sides. Everything else is drawn as the circle of its area.
_SQUARE = frozenset({"markers", "template", "rectangles", "faces"})
#: Neighbouring ids get colours far apart: the golden section of the circle of hues.
_STEP = 0.618034
#: Of an object that is not seen at the moment, and of the parts of a trail, the oldest first: the share of its colour.
_DIM, _FADING = 0.5, (0.4, 0.7, 1.0)
#: The dark edge is seen behind the colour only, and need not be smooth: that takes a fifth of the time.
_EDGE = cv2.LINE_8

Hue = tuple[int, int, int]
#: Of each id its last places, the oldest first.
Trails = Mapping[int, Sequence[tuple[float, float]]]


def draw_tracks(params: Track, canvas: Image, fields: Sequence[str], rows: Sequence[Sequence[float]], trails: Trails) -> None:
    """Draws objects into a picture.

    Args:
        params: of the job.
        canvas: `(h, w, 3)`, 8 bits BGR.
        fields: the names of the columns of `rows`.
        rows: as they are reported; those without an object are left out.
        trails: places in pixels of the canvas.
    """
    line = line_width(canvas)
    objects = [dict(zip(fields, row, strict=True)) for row in rows]
    objects = [one for one in objects if one["active"]]
    for one in objects:
        _draw_trail(canvas, trails.get(int(one["id"]), ()), hue_of(int(one["id"])), line)
    for one in objects:
        _draw_object(canvas, one, line, square=params.what in _SQUARE)


def hue_of(number: int) -> Hue:
    """The colour of an id, as BGR.

    >>> hue_of(1) == hue_of(1) != hue_of(2)
    True
    """
    red, green, blue = colorsys.hsv_to_rgb(number * _STEP % 1, 0.75, 1)
    return round(255 * blue), round(255 * green), round(255 * red)


def _draw_trail(canvas: Image, places: Sequence[tuple[float, float]], hue: Hue, line: int) -> None:
    points = np.array([fixed(*place) for place in places], np.int32)
    count = len(points)
    if count > 1:
        cv2.polylines(canvas, [points], False, HALO, edged(line), _EDGE, FIXED)
    for part, share in enumerate(_FADING):
        piece = points[count * part // len(_FADING) : count * (part + 1) // len(_FADING) + 1]
        if len(piece) > 1:
            cv2.polylines(canvas, [piece], False, _dimmed(hue, share), line, cv2.LINE_AA, FIXED)


def _draw_object(canvas: Image, one: Mapping[str, float], line: int, *, square: bool) -> None:
    x, y, radius = one["x"], one["y"], one["radius"]
    hue = hue_of(int(one["id"])) if not one["missing"] else _dimmed(hue_of(int(one["id"])), _DIM)
    if radius < 1:
        draw_dot(canvas, np.array([x, y]), hue)
    elif square:
        turn = math.radians(one["angle"] + 45)
        arm = radius * math.sqrt(2)
        corners = [(x + arm * math.cos(turn + n * math.pi / 2), y + arm * math.sin(turn + n * math.pi / 2)) for n in range(4)]
        points = np.array([fixed(*corner) for corner in corners], np.int32)
        for width, paint, smooth in ((edged(line + 1), HALO, _EDGE), (line + 1, hue, cv2.LINE_AA)):
            cv2.polylines(canvas, [points], True, paint, width, smooth, FIXED)
    else:
        for width, paint, smooth in ((edged(line + 1), HALO, _EDGE), (line + 1, hue, cv2.LINE_AA)):
            cv2.circle(canvas, fixed(x, y), round(radius * 2**FIXED), paint, width, smooth, FIXED)
    text = f"{one['id']:.0f}" if one["code"] < 0 else f"{one['id']:.0f} #{one['code']:.0f}"
    away = 0.71 * radius + 3 * line
    height, width = canvas.shape[:2]
    place = min(x + away, width - 10 * line * len(text)), max(y - away, 14 * line)
    draw_text(canvas, text, (place[0], min(place[1], height - 4 * line)), hue, line)


def _dimmed(hue: Hue, share: float) -> Hue:
    return round(share * hue[0]), round(share * hue[1]), round(share * hue[2])
