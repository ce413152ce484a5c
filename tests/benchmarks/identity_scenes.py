"""Circles that move, cross, vanish and return, with what a detector makes of them; from seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from worker.catalog.circles import FindCircles
from worker.operations.circles import find_circles
from worker.tracking.identity import Detection

WIDTH, HEIGHT = 1280, 720


@dataclass(frozen=True, slots=True)
class Seen:
    """A circle that can be seen in a frame; the truth."""

    id: int
    x: float
    y: float
    radius: float


@dataclass(frozen=True, slots=True)
class Frame:
    """The truth of a frame, and what was detected in it."""

    at_s: float
    truth: tuple[Seen, ...]
    detections: tuple[Detection, ...]


@dataclass(frozen=True, slots=True)
class Scene:
    """How circles move, and how well they are detected.

    Attributes:
        circles: how many.
        radius: least and greatest, in pixels.
        speed: least and greatest, in pixels per second.
        bend: how fast directions turn, radians per second, at most.
        noise: standard deviation of a detected center, pixels; the radius has a twentieth of itself beside it.
        missed: share of circles that are not detected in a frame.
        false: detections of nothing in a frame, on average.
        hides: a circle is not seen while another, nearer one covers its center.
        vanishes: seconds between two times at which a circle vanishes, on average; 0 = never.
        away: for how many frames it vanishes, least and greatest. It moves on.
        new: a circle that vanished is another one when it returns, at another place.
        drawn: a video is made, and find_circles looks for the circles in its frames.
    """

    name: str
    circles: int = 20
    radius: tuple[float, float] = (12, 40)
    speed: tuple[float, float] = (60, 250)
    bend: float = 0.8
    fps: float = 30
    noise: float = 0.3
    missed: float = 0.0
    false: float = 0.0
    hides: bool = False
    vanishes: float = 0.0
    away: tuple[int, int] = (3, 12)
    new: bool = False
    drawn: bool = False


SCENES = (
    Scene("crossing"),
    Scene("noise, misses, false ones", noise=2, missed=0.1, false=1),
    Scene("hidden by others", noise=1, missed=0.02, false=0.2, hides=True),
    Scene("vanish and return", noise=1, missed=0.02, false=0.2, hides=True, vanishes=3),
    Scene("leave, others come", noise=1, missed=0.02, false=0.2, vanishes=4, away=(60, 120), new=True),
    Scene("fast, 25 per second", speed=(300, 800), fps=25, noise=1, missed=0.05, false=0.2),
    Scene("slow camera, 10 per second", speed=(60, 300), fps=10, noise=1, missed=0.05, false=0.2),
    Scene("80 of one size", circles=80, radius=(10, 10), noise=1, missed=0.02, false=0.2),
    Scene("a video, find_circles", hides=True, vanishes=3, away=(3, 12), drawn=True),
)


def frames(scene: Scene, count: int, seed: int) -> Iterator[Frame]:
    """The frames of a scene."""
    random = np.random.default_rng(seed)
    for number, truth in enumerate(_moved(scene, count, random)):
        yield Frame(number / scene.fps, truth, () if scene.drawn else _detected(scene, truth, random))


def _moved(scene: Scene, count: int, random: np.random.Generator) -> Iterator[tuple[Seen, ...]]:
    many = scene.circles
    radius = random.uniform(*scene.radius, many)
    x, y = random.uniform(50, WIDTH - 50, many), random.uniform(50, HEIGHT - 50, many)
    heading, speed = random.uniform(0, math.tau, many), random.uniform(*scene.speed, many)
    bend = random.uniform(-scene.bend, scene.bend, many)
    ids, away = np.arange(many), np.zeros(many, int)
    for _ in range(count):
        x, y = x + np.cos(heading) * speed / scene.fps, y + np.sin(heading) * speed / scene.fps
        heading = heading + bend / scene.fps
        out_x, out_y = (x < radius) | (x > WIDTH - radius), (y < radius) | (y > HEIGHT - radius)
        heading = np.where(out_x, math.pi - heading, heading)
        heading = np.where(out_y, -heading, heading)
        x, y = np.clip(x, radius, WIDTH - radius), np.clip(y, radius, HEIGHT - radius)
        if scene.vanishes:
            back = away == 1
            if scene.new:
                ids = np.where(back, np.cumsum(back) + ids.max(), ids)
                x = np.where(back, random.uniform(50, WIDTH - 50, many), x)
                y = np.where(back, random.uniform(50, HEIGHT - 50, many), y)
            away = np.maximum(away - 1, 0)
            goes = (away == 0) & ~back & (random.random(many) < 1 / scene.fps / scene.vanishes)
            away = np.where(goes, random.integers(*scene.away, many), away)
        shown = away == 0
        if scene.hides:  # the first is the nearest
            for k in range(1, many):
                covering = shown[:k] & (np.hypot(x[:k] - x[k], y[:k] - y[k]) < radius[:k])
                shown[k] &= not covering.any()
        yield tuple(Seen(int(ids[k]), float(x[k]), float(y[k]), float(radius[k])) for k in np.flatnonzero(shown))


def _detected(scene: Scene, truth: tuple[Seen, ...], random: np.random.Generator) -> tuple[Detection, ...]:
    found = []
    for one in truth:
        off, larger, seen = random.normal(0, scene.noise, 2), random.normal(1, 0.05 * (scene.noise > 0)), random.random() >= scene.missed
        if seen:
            found.append(Detection(one.x + off[0], one.y + off[1], one.radius * larger))
    false = random.poisson(scene.false)
    found += [Detection(random.uniform(0, WIDTH), random.uniform(0, HEIGHT), random.uniform(*scene.radius)) for _ in range(false)]
    random.shuffle(found)  # type: ignore[arg-type]
    return tuple(found)


def filmed(scene: Scene, count: int, seed: int, path: Path) -> list[Frame]:
    """The frames of a scene whose circles are drawn into a video of half the size, which is read again and searched."""
    truths = [*frames(scene, count, seed)]
    random = np.random.default_rng(seed + 1)
    ground = cv2.GaussianBlur(random.normal(110, 400, (HEIGHT // 2, WIDTH // 2, 3)), (0, 0), 25)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), scene.fps, (WIDTH // 2, HEIGHT // 2))
    for frame in truths:
        picture = ground.copy()
        for one in reversed(frame.truth):
            center, shade = (round(one.x * 8), round(one.y * 8)), 40 + one.id * 67 % 180
            color = (shade, (shade + 90) % 256, 255 - shade)
            cv2.circle(picture, center, round(one.radius * 8), color, -1, cv2.LINE_AA, 4)
        noisy = picture + random.normal(0, 6, picture.shape)
        writer.write(np.clip(noisy, 0, 255).astype(np.uint8))
    writer.release()
    reader, found = cv2.VideoCapture(str(path)), []
    for frame in truths:
        there, picture = reader.read()
        if not there:
            raise OSError(f"{path} ends after {len(found)} of {len(truths)} frames")
        rows = find_circles(picture, FindCircles(image="unused", min_radius=5, max_radius=22, nested=False, max_items=100))
        circles = tuple(Detection(2 * x, 2 * y, 2 * radius) for x, y, radius in rows[:, :3])
        found.append(Frame(frame.at_s, frame.truth, circles))
    reader.release()
    return found
