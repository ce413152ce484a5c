"""Pictures with circles of which the truth is known, made from seeds. `FAMILIES` has one maker per kind of difficulty.

All shapes are drawn by their exact distance, one pixel of anti-aliasing wide, so that the truth holds to a hundredth of a pixel. Places
are in pixels, x right, y down, and whole numbers are the centres of pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture and its truth.

    Attributes:
        picture: `(height, width, 3)`, 8 bits, blue-green-red.
        truth: `(N, 3)`, x, y and radius of each circle.
    """

    picture: Picture
    truth: Floats


class Canvas:
    """A picture while it is drawn, in floats, so that nothing is rounded before the noise is added."""

    def __init__(self, rng: np.random.Generator, background: Floats | float, width: int = WIDTH, height: int = HEIGHT) -> None:
        self.rng = rng
        self.pixels = np.empty((height, width, 3))
        self.pixels[:] = background
        self.truth: list[tuple[float, float, float]] = []

    def blend(self, alpha: Floats, color: Floats | float, box: tuple[slice, slice]) -> None:
        """Lays a colour over the box, as opaque as alpha, `(height, width)`, says."""
        self.pixels[box] += alpha[..., None] * (color - self.pixels[box])

    def away(self, x: float, y: float, reach: float) -> tuple[Floats, tuple[slice, slice]]:
        """Distances from a place, and the box of the picture in which they are at most `reach`."""
        height, width = self.pixels.shape[:2]
        left, right = (int(np.clip(v, 0, width)) for v in (x - reach - 2, x + reach + 3))
        top, bottom = (int(np.clip(v, 0, height)) for v in (y - reach - 2, y + reach + 3))
        rows, columns = np.mgrid[top:bottom, left:right]
        return np.hypot(columns - x, rows - y), (slice(top, bottom), slice(left, right))

    def disc(self, x: float, y: float, radius: float, color: Floats | float, *, is_truth: bool = True) -> None:
        distance, box = self.away(x, y, radius)
        self.blend(np.clip(radius + 0.5 - distance, 0, 1), color, box)
        if is_truth:
            self.truth.append((x, y, radius))

    def line(self, x: float, y: float, radius: float, color: Floats | float, width: float) -> None:
        """A circle drawn as a line, `width` wide, the radius in its middle."""
        distance, box = self.away(x, y, radius + width)
        self.blend(np.clip(width / 2 + 0.5 - np.abs(distance - radius), 0, 1), color, box)
        self.truth.append((x, y, radius))

    def polygon(self, points: Floats, color: Floats | float) -> None:
        mask = np.zeros(self.pixels.shape[:2], np.uint8)
        cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
        self.blend(mask / 255.0, color, (slice(None), slice(None)))

    def ball(self, x: float, y: float, radius: float, color: Floats, highlight: float = 0.0) -> None:
        """A shaded ball: Lambert's law, a little ambient light, and a highlight of so many grey levels."""
        distance, box = self.away(x, y, radius)
        rows, columns = np.mgrid[box]
        nx, ny = (columns - x) / radius, (rows - y) / radius
        nz = np.sqrt(np.clip(1 - nx**2 - ny**2, 0, 1))
        light = np.array([-0.5, -0.5, 0.7]) / np.linalg.norm([-0.5, -0.5, 0.7])
        cosine = nx * light[0] + ny * light[1] + nz * light[2]
        shade = 0.25 + 0.75 * np.clip(cosine, 0, 1)
        shine = np.clip(2 * cosine * nz - light[2], 0, 1) ** 25
        lit = np.clip(color * shade[..., None] + highlight * shine[..., None], 0, 255)
        self.pixels[box] += np.clip(radius + 0.5 - distance, 0, 1)[..., None] * (lit - self.pixels[box])
        self.truth.append((x, y, radius))

    def blurred(self, sigma: float) -> None:
        self.pixels = np.asarray(cv2.GaussianBlur(self.pixels, (0, 0), sigma))

    def scene(self, noise: float = 0.0) -> Scene:
        pixels = self.pixels + self.rng.normal(0, noise, self.pixels.shape) if noise else self.pixels
        return Scene(np.clip(np.rint(pixels), 0, 255).astype(np.uint8), np.array(self.truth, float).reshape(-1, 3))


def apart(  # noqa: PLR0917
    rng: np.random.Generator, count: int, low: float, high: float, gap: float = 6.0, size: tuple[int, int] = (WIDTH, HEIGHT)
) -> Floats:
    """Up to `count` circles within the picture that do not touch, `(N, 3)`; the radii are spread evenly over octaves."""
    found: list[tuple[float, float, float]] = []
    for _ in range(60 * count):
        radius = float(np.exp(rng.uniform(np.log(low), np.log(high))))
        if 2 * radius + 8 > min(size):
            continue
        x, y = (float(rng.uniform(radius + 3, side - radius - 4)) for side in size)
        if all(np.hypot(x - a, y - b) > radius + r + gap for a, b, r in found):
            found.append((x, y, radius))
            if len(found) == count:
                break
    return np.array(found).reshape(-1, 3)


def other_color(rng: np.random.Generator, ground: Floats, least: float = 50.0) -> Floats:
    """A colour that differs from the ground by at least so many grey levels in one channel and in grey by half as many."""
    weights = np.array([0.114, 0.587, 0.299])
    while True:
        color = rng.uniform(0, 255, 3)
        if np.abs(color - ground).max() >= least and abs(float((color - ground) @ weights)) >= least / 2:
            return np.asarray(color)


def shapes(canvas: Canvas, count: int) -> None:
    """Lines, boxes, bars, curves and letters that are no circles."""
    rng, height, width = canvas.rng, *canvas.pixels.shape[:2]
    for _ in range(count):
        color = rng.uniform(0, 255, 3)
        layer = np.zeros((height, width), np.uint8)
        at = (int(rng.integers(0, width)), int(rng.integers(0, height)))
        match rng.integers(0, 4):
            case 0:
                to = (int(rng.integers(0, width)), int(rng.integers(0, height)))
                cv2.line(layer, at, to, 255, int(rng.integers(1, 5)), cv2.LINE_AA)
            case 1:
                to = (at[0] + int(rng.integers(15, 120)), at[1] + int(rng.integers(15, 120)))
                cv2.rectangle(layer, at, to, 255, int(rng.choice([-1, 1, 2, 3])), cv2.LINE_AA)
            case 2:
                long = int(rng.integers(20, 80))
                axes = (long, int(long * rng.uniform(0.2, 0.6)))
                cv2.ellipse(layer, at, axes, float(rng.uniform(0, 180)), 0, 360, 255, int(rng.choice([-1, 2])), cv2.LINE_AA)
            case _:
                cv2.putText(
                    layer,
                    "KNTWHXMVAZ"[rng.integers(0, 6) :],
                    at,
                    cv2.FONT_HERSHEY_SIMPLEX,
                    float(rng.uniform(0.5, 1.5)),
                    255,
                    2,
                    cv2.LINE_AA,
                )
        canvas.blend(layer / 255.0, color, (slice(None), slice(None)))


def _discs(rng: np.random.Generator, low: float = 8, high: float = 80, count: tuple[int, int] = (4, 12), least: float = 50) -> Canvas:
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(*count)), low, high):
        canvas.disc(x, y, radius, other_color(rng, ground, least))
    return canvas


def easy(rng: np.random.Generator) -> Scene:
    """Discs on a plain ground."""
    return _discs(rng).scene(2)


def noise(rng: np.random.Generator) -> Scene:
    """Discs under strong noise."""
    return _discs(rng, 10, least=70).scene(float(rng.uniform(15, 30)))


def blur(rng: np.random.Generator) -> Scene:
    """Discs out of focus."""
    canvas = _discs(rng, 15)
    canvas.blurred(float(rng.uniform(3, 6)))
    return canvas.scene(2)


def clutter(rng: np.random.Generator) -> Scene:
    """Discs and drawn circles over lines, boxes, bars and letters."""
    canvas = Canvas(rng, rng.uniform(20, 235, 3))
    shapes(canvas, int(rng.integers(15, 40)))
    for x, y, radius in apart(rng, int(rng.integers(4, 10)), 10, 70):
        if rng.random() < 0.7:
            canvas.disc(x, y, radius, rng.uniform(0, 255, 3))
        else:
            canvas.line(x, y, radius, rng.uniform(0, 255, 3), float(rng.uniform(2, 4)))
    return canvas.scene(4)


def perspective(rng: np.random.Generator) -> Scene:
    """Discs on a board seen at a slight angle, so that each is an ellipse with axes that differ by up to a tenth."""
    canvas = _discs(rng, 10, 70)
    width, height = WIDTH, HEIGHT
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = (corners + rng.uniform(-0.045, 0.045, (4, 2)) * (width, height)).astype(np.float32)
    matrix = cv2.getPerspectiveTransform(corners, moved)
    canvas.pixels = np.asarray(cv2.warpPerspective(canvas.pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE))
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    seen = []
    for x, y, radius in canvas.truth:
        rim = np.column_stack([x + radius * np.cos(angles), y + radius * np.sin(angles)])
        (cx, cy), axes, _ = cv2.fitEllipse(cv2.perspectiveTransform(rim[None].astype(np.float32), matrix)[0])
        if min(axes) / max(axes) > 0.9 and 0 < cx < width and 0 < cy < height:
            seen.append((cx, cy, (axes[0] * axes[1]) ** 0.5 / 2))
        else:
            grey = canvas.pixels[0, 0]
            canvas.disc(cx, cy, max(axes) / 2 + 3, grey, is_truth=False)
    canvas.truth = seen
    return canvas.scene(2)


def equally_bright(rng: np.random.Generator) -> Scene:
    """Red on green that are the same grey."""
    green = rng.uniform(90, 140)
    ground = np.array([40.0, green, 20.0])
    canvas = Canvas(rng, ground)
    red = 0.9 * green * 0.587 / 0.299
    color = np.array([40.0, green - (red - 20) * 0.299 / 0.587, red])
    for x, y, radius in apart(rng, int(rng.integers(4, 12)), 8, 80):
        canvas.disc(x, y, radius, np.clip(color, 0, 255))
    return canvas.scene(2)


def cut_off(rng: np.random.Generator) -> Scene:
    """Discs of which the border leaves a third to nine tenths of the circumference."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    found: list[tuple[float, float, float]] = []
    for _ in range(200):
        radius = float(np.exp(rng.uniform(np.log(15), np.log(90))))
        side, along, depth = int(rng.integers(0, 4)), rng.random(), float(rng.uniform(-0.35, 0.85)) * radius
        x, y = ((depth, along * HEIGHT), (WIDTH - 1 - depth, along * HEIGHT), (along * WIDTH, depth), (along * WIDTH, HEIGHT - 1 - depth))[
            side
        ]
        inside = shown((x, y, radius), (WIDTH, HEIGHT))
        if 0.33 < inside < 0.9 and all(np.hypot(x - a, y - b) > radius + r + 6 for a, b, r in found):
            found.append((x, y, radius))
            canvas.disc(x, y, radius, other_color(rng, ground))
        if len(found) == 8:
            break
    return canvas.scene(2)


def shown(circle: tuple[float, float, float], size: tuple[int, int]) -> float:
    """Which share of a circumference lies within the picture."""
    x, y, radius = circle
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    px, py = x + radius * np.cos(angles), y + radius * np.sin(angles)
    return float(((px >= 0) & (py >= 0) & (px <= size[0] - 1) & (py <= size[1] - 1)).mean())


def concentric(rng: np.random.Generator) -> Scene:
    """Targets: each border between two rings is a circle."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(1, 4)), 60, 200):
        rings = int(rng.integers(3, 6))
        last = ground
        for ring in range(rings):
            last = other_color(rng, last)
            canvas.disc(x, y, radius * (rings - ring) / rings, last)
    return canvas.scene(2)


def many_small(rng: np.random.Generator) -> Scene:
    """300 discs with a radius of 4 to 10 pixels."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    columns, rows = 20, 15
    for place in range(columns * rows):
        radius = float(rng.uniform(4, 10))
        room = 16 - radius - 2
        x = (place % columns) * 32 + 15.5 + float(rng.uniform(-room, room))
        y = (place // columns) * 32 + 15.5 + float(rng.uniform(-room, room))
        canvas.disc(x, y, radius, other_color(rng, ground, 60))
    return canvas.scene(2)


def heap(rng: np.random.Generator) -> Scene:
    """Discs that lie on each other; truth is what shows at least half of its circumference."""
    canvas = Canvas(rng, rng.uniform(20, 235, 3))
    placed: list[tuple[float, float, float]] = []
    for _ in range(int(rng.integers(40, 70))):
        radius = float(rng.uniform(15, 45))
        placed.append((float(rng.uniform(radius, WIDTH - radius)), float(rng.uniform(radius, HEIGHT - radius)), radius))
    last: Floats = canvas.pixels[0, 0]
    for x, y, radius in placed:
        last = other_color(rng, last, 40)
        canvas.disc(x, y, radius, last * 0.35, is_truth=False)
        canvas.disc(x, y, radius - 1.5, last, is_truth=False)
    angles = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    for number, (x, y, radius) in enumerate(placed):
        px, py = x + radius * np.cos(angles), y + radius * np.sin(angles)
        seen = np.ones(180, bool)
        for a, b, r in placed[number + 1 :]:
            seen &= np.hypot(px - a, py - b) > r
        if seen.mean() >= 0.5:
            canvas.truth.append((x, y, radius))
    return canvas.scene(2)


def balls(rng: np.random.Generator) -> Scene:
    """Balls lit from one side on a ramp, so that they are brighter than the ground on one side and darker on the other."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    turn = rng.uniform(0, 2 * np.pi)
    along = (columns / WIDTH - 0.5) * np.cos(turn) + (rows / HEIGHT - 0.5) * np.sin(turn)
    ramp = 115 + 130 * along
    canvas = Canvas(rng, ramp[..., None] * rng.uniform(0.8, 1.1, 3))
    for x, y, radius in apart(rng, int(rng.integers(5, 14)), 12, 70):
        canvas.ball(x, y, radius, rng.uniform(120, 255, 3))
    return canvas.scene(2)


def glossy(rng: np.random.Generator) -> Scene:
    """Balls with a highlight, which is round but no circle of its own, on a plain ground."""
    ground = rng.uniform(0, 90, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(5, 14)), 12, 70):
        canvas.ball(x, y, radius, rng.uniform(140, 255, 3), 130)
    return canvas.scene(2)


def half_hidden(rng: np.random.Generator) -> Scene:
    """Discs of which a bar hides a third to a half."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(3, 8)), 20, 75, gap=30):
        color = other_color(rng, ground)
        canvas.disc(x, y, radius, color)
        turn, away = rng.uniform(0, 2 * np.pi), float(rng.uniform(0.0, 0.45)) * radius
        out, side = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
        near, far = np.array([x, y]) + out * away, np.array([x, y]) + out * (radius + 8)
        reach = side * (radius + 10)
        canvas.polygon(np.array([near - reach, near + reach, far + reach, far - reach]), other_color(rng, color))
    return canvas.scene(2)


def faint(rng: np.random.Generator) -> Scene:
    """Discs that differ from the ground by 4 to 10 grey levels: 4 and more without noise, 6 and more with a noise of 1."""
    quiet = rng.random() < 0.5
    ground = rng.uniform(30, 225)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(3, 9)), 10, 80):
        canvas.disc(x, y, radius, np.round(ground) + float(rng.choice([-1, 1])) * round(float(rng.uniform(4 if quiet else 6, 10))))
    return canvas.scene(0 if quiet else 1)


def thin(rng: np.random.Generator) -> Scene:
    """Circles drawn as lines, 1 to 3 pixels wide."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(4, 12)), 8, 90):
        canvas.line(x, y, radius, other_color(rng, ground, 80), float(rng.uniform(1, 3)))
    return canvas.scene(2)


def rings(rng: np.random.Generator) -> Scene:
    """Flat rings: the outer and the inner border are circles, the middle is none."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(3, 7)), 35, 90):
        canvas.disc(x, y, radius, other_color(rng, ground))
        canvas.disc(x, y, radius * float(rng.uniform(0.45, 0.75)), ground)
    return canvas.scene(2)


def crossing(rng: np.random.Generator) -> Scene:
    """Drawn circles that cross each other."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    found: list[tuple[float, float, float]] = []
    for _ in range(300):
        radius = float(rng.uniform(25, 90))
        x, y = float(rng.uniform(radius, WIDTH - radius)), float(rng.uniform(radius, HEIGHT - radius))
        if all(np.hypot(x - a, y - b) > 0.6 * max(radius, r) for a, b, r in found):
            found.append((x, y, radius))
            canvas.line(x, y, radius, other_color(rng, ground, 70), float(rng.uniform(1.5, 3)))
        if len(found) == 9:
            break
    return canvas.scene(2)


def textured(rng: np.random.Generator) -> Scene:
    """Discs with a texture of their own on a ground with another one."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    coarse = rng.uniform(50, 130, (HEIGHT // 16, WIDTH // 16, 3))
    canvas = Canvas(rng, np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)))
    stripes = 18 * np.sin(columns / rng.uniform(3, 8) + rows / rng.uniform(5, 15))
    for x, y, radius in apart(rng, int(rng.integers(4, 9)), 14, 75):
        distance, box = canvas.away(x, y, radius)
        canvas.blend(np.clip(radius + 0.5 - distance, 0, 1), rng.uniform(165, 220, 3) + stripes[box][..., None], box)
        canvas.truth.append((x, y, radius))
    return canvas.scene(6)


#: The families of the table, and below them more of our own.
FAMILIES: dict[str, Callable[[np.random.Generator], Scene]] = {
    "easy": easy,
    "noise": noise,
    "blur": blur,
    "clutter": clutter,
    "perspective": perspective,
    "equally bright": equally_bright,
    "cut off": cut_off,
    "concentric": concentric,
    "300 small": many_small,
    "heap": heap,
    "balls": balls,
    "half hidden": half_hidden,
    "faint": faint,
    "thin lines": thin,
    "rings": rings,
    "crossing": crossing,
    "textured": textured,
    "glossy": glossy,
}


def polygons(rng: np.random.Generator) -> Scene:
    """Regular polygons of 4 to 8 corners, filled or drawn, from a radius of 24 pixels up; none of them is a circle."""
    ground = rng.uniform(20, 235, 3)
    canvas = Canvas(rng, ground)
    for x, y, radius in apart(rng, int(rng.integers(4, 10)), 24, 150):
        corners = int(rng.integers(4, 9))
        angles = rng.uniform(0, 2 * np.pi) + np.arange(corners) * 2 * np.pi / corners
        rim = np.column_stack([np.cos(angles), np.sin(angles)])
        canvas.polygon(np.array([x, y]) + radius * rim, other_color(rng, ground))
        if rng.random() < 0.4:
            canvas.polygon(np.array([x, y]) + (radius - float(rng.uniform(2, 5))) * rim, ground)
    return canvas.scene(float(rng.choice([0, 2, 6])))


TEXT = (
    "Each edge votes for the centres that lie along its gradient, 60 of 100 at a time; a page of text has none. "
    "What looks round to a machine (8, 0, o, e, Q) need not be so: 'good book', 3.5 %, No. 9."
)


def text_page(rng: np.random.Generator) -> Scene:
    """A page of text."""
    canvas = Canvas(rng, rng.uniform(200, 255), 800, 1000)
    words = TEXT.split()
    size, font = (
        float(rng.uniform(0.5, 1.0)),
        int(rng.choice([cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX])),
    )
    layer = np.zeros(canvas.pixels.shape[:2], np.uint8)
    for y in range(60, 960, round(42 * size)):
        line = " ".join(rng.choice(words, 16))
        cv2.putText(layer, line[: int(42 / size)], (40, y), font, size, 255, max(1, round(1.6 * size)), cv2.LINE_AA)
    canvas.blend(layer / 255.0, float(rng.uniform(0, 60)), (slice(None), slice(None)))
    return canvas.scene(2)


def nothing(rng: np.random.Generator) -> Scene:
    """Lines, boxes, bars, ellipses and letters, and no circle."""
    canvas = Canvas(rng, rng.uniform(20, 235, 3))
    shapes(canvas, int(rng.integers(15, 50)))
    return canvas.scene(3)


def only_noise(rng: np.random.Generator) -> Scene:
    """Noise of several grain sizes."""
    canvas = Canvas(rng, 128.0)
    grain = rng.normal(0, 1, canvas.pixels.shape)
    sigma = float(rng.choice([0, 1, 2, 4]))
    grain = np.asarray(cv2.GaussianBlur(grain, (0, 0), sigma)) if sigma else grain
    canvas.pixels += grain / grain.std() * float(rng.uniform(10, 40))
    return canvas.scene(0)


#: Families without any circle.
NEGATIVES: dict[str, Callable[[np.random.Generator], Scene]] = {
    "polygons": polygons,
    "text": text_page,
    "shapes": nothing,
    "only noise": only_noise,
}


def scene_of(family: str, seed: int) -> Scene:
    """The scene of a family for a seed; the same seed gives the same scene."""
    maker = {**FAMILIES, **NEGATIVES}[family]
    return maker(np.random.default_rng([seed, *family.encode()]))


def large(megapixels: float, seed: int = 0) -> Scene:
    """A picture of a given size for measuring time: clouds, and discs and balls in proportion to the size, with a little noise."""
    width = round((megapixels * 1e6 * 4 / 3) ** 0.5 / 4) * 4
    height = width * 3 // 4
    rng = np.random.default_rng([seed, 77])
    clouds = rng.normal(0, 25, (7, 9, 3))
    canvas = Canvas(rng, 110 + np.asarray(cv2.resize(clouds, (width, height), interpolation=cv2.INTER_CUBIC)), width, height)
    scale = width / WIDTH
    for x, y, radius in apart(rng, 40, 10, 60 * scale, size=(width, height)):
        if rng.random() < 0.5:
            canvas.ball(x, y, radius, rng.uniform(120, 255, 3))
        else:
            canvas.disc(x, y, radius, rng.choice([rng.uniform(0, 30, 3), rng.uniform(225, 255, 3)]))
    return canvas.scene(2)
