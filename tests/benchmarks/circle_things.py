"""Pictures of small round things that people make, many of which stand in rows or beside text; as `tests.benchmarks.circle_pictures`."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tests.benchmarks.circle_pictures import HEIGHT, WIDTH, Canvas, Floats, Scene, apart, other_color

WORDS = ("on", "off", "power", "signal", "input", "level", "mono", "error", "ready", "mode", "north", "audio", "tape", "door", "open")


def write(canvas: Canvas, text: str, at: tuple[float, float], size: int, color: Floats | float) -> None:
    """Writes text whose left end and middle of the line are at a place."""
    layer = Image.new("L", (canvas.pixels.shape[1], canvas.pixels.shape[0]))
    ImageDraw.Draw(layer).text(at, text, font=ImageFont.load_default(size), fill=255, anchor="lm")
    canvas.blend(np.asarray(layer) / 255.0, color, (slice(None), slice(None)))


def box(canvas: Canvas, corners: tuple[float, float, float, float], color: Floats | float, line: float = 0.0) -> None:
    """A rectangle, left, top, right, bottom, filled or drawn as a line."""
    left, top, right, bottom = corners
    points = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float64)
    if not line:
        canvas.polygon(points, color)
        return
    mask = np.zeros(canvas.pixels.shape[:2], np.uint8)
    cv2.polylines(mask, [np.rint(points * 16).astype(np.int32)], True, 255, round(line), cv2.LINE_AA, 4)
    canvas.blend(mask / 255.0, color, (slice(None), slice(None)))


PIPS = {
    1: [(0, 0)],
    2: [(-1, -1), (1, 1)],
    3: [(-1, -1), (0, 0), (1, 1)],
    4: [(-1, -1), (-1, 1), (1, -1), (1, 1)],
    5: [(-1, -1), (-1, 1), (0, 0), (1, -1), (1, 1)],
    6: [(-1, -1), (-1, 0), (-1, 1), (1, -1), (1, 0), (1, 1)],
}


def pips(canvas: Canvas, x: float, y: float, side: float, color: Floats) -> None:
    """The pips of one face of a die."""
    for across, down in PIPS[int(canvas.rng.integers(1, 7))]:
        canvas.disc(x + across * 0.27 * side, y + down * 0.27 * side, 0.1 * side, color)


def dice(rng: np.random.Generator) -> Scene:
    """Rows of dice."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    side = float(rng.uniform(50, 90))
    face = other_color(rng, ground)
    color = other_color(rng, face, 90)
    for x in np.arange(0.7 * side, WIDTH - 0.6 * side, 1.3 * side):
        for y in np.arange(0.7 * side, HEIGHT - 0.6 * side, 1.3 * side):
            box(canvas, (x - side / 2, y - side / 2, x + side / 2, y + side / 2), face)
            pips(canvas, float(x), float(y), side, color)
    return canvas.scene(2)


def dominoes(rng: np.random.Generator) -> Scene:
    """Rows of dominoes, with a line between their halves."""
    ground = rng.uniform(20, 120, 3)
    canvas = Canvas(rng, ground)
    side = float(rng.uniform(44, 80))
    face, ink = rng.uniform(190, 250, 3), rng.uniform(0, 60, 3)
    for x in np.arange(0.7 * side, WIDTH - 0.6 * side, 1.25 * side):
        for y in np.arange(1.2 * side, HEIGHT - 1.1 * side, 2.3 * side):
            box(canvas, (x - side / 2, y - side, x + side / 2, y + side), face)
            box(canvas, (x - 0.4 * side, y - 1, x + 0.4 * side, y + 1), ink)
            pips(canvas, float(x), float(y) - side / 2, side, ink)
            pips(canvas, float(x), float(y) + side / 2, side, ink)
    return canvas.scene(2)


def lamps(rng: np.random.Generator) -> Scene:
    """Front panels: lamps in rows with words beside or below them, in the colour of some of the lamps."""
    ground = rng.uniform(0, 70, 3) if rng.random() < 0.5 else rng.uniform(180, 245, 3)
    canvas = Canvas(rng, ground)
    ink = rng.uniform(200, 250, 3) if ground.mean() < 100 else rng.uniform(0, 50, 3)
    radius, size = float(rng.uniform(4.5, 12)), int(rng.integers(13, 26))
    below = rng.random() < 0.5
    for row in range(int(rng.integers(2, 5))):
        y = 60.0 + 95 * row
        for column in range(5):
            x = 45.0 + 122 * column
            color = ink if rng.random() < 0.4 else other_color(rng, ground, 80)
            canvas.disc(x, y, radius, color)
            word = str(rng.choice(WORDS))
            place = (x - radius, y + radius + 0.9 * size) if below else (x + radius + 8, y)
            write(canvas, word, place, size, ink)
    return canvas.scene(2)


def traffic_lights(rng: np.random.Generator) -> Scene:
    """Traffic lights: three lamps in a box, one of which shines."""
    canvas = Canvas(rng, rng.uniform(120, 230, 3))
    for place in range(int(rng.integers(2, 5))):
        radius = float(rng.uniform(14, 42))
        x = 75.0 + 155 * place
        top = float(rng.uniform(5, max(6, HEIGHT - 8 * radius - 10)))
        dark = rng.uniform(10, 40, 3)
        box(canvas, (x - 1.35 * radius, top, x + 1.35 * radius, top + 7.9 * radius), dark)
        on = int(rng.integers(0, 3))
        for number, hue in enumerate(((30, 30, 230), (20, 190, 240), (60, 220, 40))):
            canvas.disc(
                x, top + (1.45 + 2.5 * number) * radius, radius, np.array(hue, float) if number == on else dark + 0.22 * np.array(hue)
            )
    return canvas.scene(3)


def dotted(rng: np.random.Generator) -> Scene:
    """Dotted lines and curves: discs of one size one behind the other."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for row in range(int(rng.integers(3, 7))):
        radius = float(rng.uniform(4, 8))
        step, height, color = float(rng.uniform(3.2, 5)) * radius, float(rng.uniform(0, 18)), other_color(rng, ground, 60)
        phase = rng.uniform(0, 6)
        for x in np.arange(20, WIDTH - 15, step):
            canvas.disc(float(x), 45.0 + 65 * row + height * float(np.sin(x / 70 + phase)), radius, color)
    return canvas.scene(2)


def buttons(rng: np.random.Generator) -> Scene:
    """Buttons with two or four holes in a row, on cloth."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    cloth = rng.uniform(60, 130, 3) + (7 * np.sin(columns / 2.1) * np.sin(rows / 2.3))[..., None]
    canvas = Canvas(rng, cloth)
    radius = float(rng.uniform(20, 42))
    color, holes = rng.uniform(170, 240, 3), int(rng.choice([2, 4]))
    for x in np.arange(1.5 * radius, WIDTH - 1.2 * radius, 3 * radius):
        y = HEIGHT / 2 + float(rng.uniform(-0.5, 0.5)) * radius
        turn = rng.uniform(0, np.pi)
        canvas.disc(float(x), y, radius, color)
        for hole in range(holes):
            angle = turn + 2 * np.pi * hole / holes
            canvas.disc(
                float(x) + 0.3 * radius * np.cos(angle), y + 0.3 * radius * np.sin(angle), max(4.0, 0.13 * radius), rng.uniform(20, 60, 3)
            )
    return canvas.scene(3)


def calibration_grid(rng: np.random.Generator) -> Scene:
    """The circle grids with which cameras are calibrated, symmetric or not, a little turned."""
    canvas = Canvas(rng, rng.uniform(200, 250))
    step, asymmetric = float(rng.uniform(34, 60)), bool(rng.random() < 0.5)
    radius, turn = step * float(rng.uniform(0.2, 0.32)), float(rng.uniform(-0.2, 0.2))
    for row in range(20):
        for column in range(30):
            x, y = (column + 0.5 * (row % 2)) * step - 200, row * step * (0.5 if asymmetric else 1) - 100
            if not asymmetric:
                x = column * step - 200
            elif row % 2 == 0 and radius > 0.25 * step:
                continue
            at = x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)
            if radius + 4 < at[0] < WIDTH - radius - 5 and radius + 4 < at[1] < HEIGHT - radius - 5:
                canvas.disc(*at, radius, rng.uniform(10, 40))
    return canvas.scene(2)


def plot(rng: np.random.Generator) -> Scene:
    """Scatter plots: small markers between axes with ticks and numbers, a title and a legend."""
    dark = rng.random() < 0.3
    ground, ink = (rng.uniform(15, 40), 220.0) if dark else (255.0, rng.uniform(0, 60))
    canvas = Canvas(rng, ground)
    box(canvas, (60, 40, 620, 430), ink, 1)
    for tick in range(6):
        x, y = 80 + 104 * tick, 410 - 70 * tick
        box(canvas, (x, 430, x + 1, 435), ink)
        box(canvas, (55, y, 60, y + 1), ink)
        write(canvas, f"{20 * tick}", (x - 6, 447), 13, ink)
        write(canvas, f"{0.5 * tick:.1f}", (30, y), 13, ink)
    write(canvas, "level over time, o = model", (230, 20), 16, ink)
    radius = float(rng.uniform(4, 8))
    hues = [other_color(rng, np.full(3, ground), 80) for _ in range(3)]
    for number, hue in enumerate(hues):
        canvas.disc(500, 70.0 + 24 * number, radius, hue)
        write(canvas, str(rng.choice(WORDS)), (515, 70 + 24 * number), 14, ink)
    for x, y, _ in apart(rng, int(rng.integers(20, 60)), radius, radius * 1.0001, 3, (410, 360)):
        canvas.disc(x + 70, y + 55, radius, hues[int(rng.integers(0, 3))])
    return canvas.scene(0)


def form(rng: np.random.Generator) -> Scene:
    """Lists with a large dot before each line, and a few discs as large as capital letters between words."""
    ground, ink = (rng.uniform(225, 255), rng.uniform(0, 50)) if rng.random() < 0.7 else (rng.uniform(10, 40), rng.uniform(200, 250))
    canvas = Canvas(rng, ground)
    size = int(rng.integers(20, 40))
    radius = max(4.5, float(rng.uniform(0.26, 0.4)) * size)
    for y in np.arange(40, HEIGHT - 30, 1.7 * size):
        canvas.disc(40, float(y), radius, ink)
        write(canvas, " ".join(rng.choice(WORDS, 3)), (50 + 2 * radius, float(y)), size, ink)
    return canvas.scene(2)


def shape_sheet(rng: np.random.Generator) -> Scene:
    """Rows of discs and rings among squares and triangles of the same size and colour."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    color, radius = other_color(rng, ground, 80), float(rng.uniform(12, 30))
    for y in np.arange(1.6 * radius, HEIGHT - 1.3 * radius, 2.9 * radius):
        for x in np.arange(1.6 * radius, WIDTH - 1.3 * radius, 2.9 * radius):
            kind = int(rng.integers(0, 4))
            if kind == 0:
                canvas.disc(float(x), float(y), radius, color)
            elif kind == 1:
                canvas.line(float(x), float(y), radius - 1.5, color, 3)
            elif kind == 2:
                line = int(rng.choice([0, 3]))
                half = radius - line / 2
                box(canvas, (x - half, y - half, x + half, y + half), color, line)
            else:
                canvas.polygon(np.array([(x, y - radius), (x + radius, y + radius), (x - radius, y + radius)]), color)
    return canvas.scene(2)


def halftone(rng: np.random.Generator) -> Scene:
    """A coarse screen of dots whose sizes follow a ramp."""
    canvas = Canvas(rng, rng.uniform(215, 255))
    step, turn, ink = float(rng.uniform(20, 30)), float(rng.uniform(-0.6, 0.6)), rng.uniform(0, 60)
    for row in range(-30, 40):
        for column in range(-30, 60):
            x, y = (column * np.cos(turn) - row * np.sin(turn)) * step, (column * np.sin(turn) + row * np.cos(turn)) * step
            radius = 4.2 + (0.42 * step - 4.2) * x / WIDTH
            if radius + 4 < x < WIDTH - radius - 5 and radius + 4 < y < HEIGHT - radius - 5:
                canvas.disc(float(x), float(y), radius, ink)
    return canvas.scene(2)


def compressed(rng: np.random.Generator) -> Scene:
    """Small discs in a JPEG picture of quality 30 to 60."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(20, 45)), 5, 14):
        canvas.disc(x, y, radius, other_color(rng, ground, 60))
    scene = canvas.scene(1)
    quality = int(rng.integers(30, 61))
    decoded = cv2.imdecode(cv2.imencode(".jpg", scene.picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)
    return Scene(np.asarray(decoded, np.uint8), scene.truth)


def fine_grid(rng: np.random.Generator) -> Scene:
    """Discs on the lines of a fine grid."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    step, width = int(rng.integers(10, 30)), int(rng.integers(1, 4))
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    canvas.pixels[(columns % step < width) | (rows % step < width)] = other_color(rng, ground, 60)
    for x, y, radius in apart(rng, int(rng.integers(4, 9)), 14, 80):
        canvas.disc(x, y, radius, other_color(rng, ground, 70))
    return canvas.scene(2)


def dashed(rng: np.random.Generator) -> Scene:
    """Circles drawn with dashes, which are two thirds to four fifths of the circumference."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(3, 8)), 24, 100):
        width, share = float(rng.uniform(2, 4)), float(rng.uniform(0.67, 0.8))
        dashes = round(2 * np.pi * radius / float(rng.uniform(12, 22)))
        distance, place = canvas.away(x, y, radius + width)
        rows, columns = np.mgrid[place]
        drawn = np.arctan2(rows - y, columns - x) / (2 * np.pi) * dashes % 1 < share
        canvas.blend(np.clip(width / 2 + 0.5 - np.abs(distance - radius), 0, 1) * drawn, other_color(rng, ground, 90), place)
        canvas.truth.append((x, y, radius))
    return canvas.scene(2)


def fine_targets(rng: np.random.Generator) -> Scene:
    """Targets with bands of 6 to 9 pixels, in two colours by turns, or with thin rings 10 to 16 pixels apart."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, 3, 50, 120):
        color, is_bands = other_color(rng, ground, 80), rng.random() < 0.5
        gap = float(rng.uniform(6, 9) if is_bands else rng.uniform(10, 16))
        for number, ring in enumerate(np.arange(radius, 15, -gap)):
            if is_bands:
                canvas.disc(x, y, float(ring), ground if number % 2 else color)
            else:
                canvas.line(x, y, float(ring), color, 2)
    return canvas.scene(1)


def tiny(rng: np.random.Generator) -> Scene:
    """Discs with a radius of 3.2 to 6 pixels."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(10, 80)), 3.2, 6):
        canvas.disc(x, y, radius, other_color(rng, ground, 60))
    return canvas.scene(2)


#: More families of the table.
THINGS: dict[str, Callable[[np.random.Generator], Scene]] = {
    "dice": dice,
    "dominoes": dominoes,
    "lamps": lamps,
    "traffic lights": traffic_lights,
    "dotted": dotted,
    "buttons": buttons,
    "circle grids": calibration_grid,
    "plots": plot,
    "lists": form,
    "shape sheets": shape_sheet,
    "halftone": halftone,
    "compressed": compressed,
    "fine grid": fine_grid,
    "dashed": dashed,
    "fine targets": fine_targets,
    "tiny": tiny,
}


def thing_of(family: str, seed: int) -> Scene:
    """As `scene_of`."""
    return THINGS[family](np.random.default_rng([seed, *family.encode()]))
