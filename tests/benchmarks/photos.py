"""Photographs for the benchmarks, made from the pictures in `tests/data`: the same number is the same picture everywhere."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

DATA = Path(__file__).parents[1] / "data"
SOURCES = ("astronaut.jpg", "board.jpg", "graf1.jpg", "graf3.jpg", "smarties.png")
#: Of the noise that a camera adds, in grey levels. Without it an enlarged picture would be far cheaper to decode than a photograph.
NOISE = 4.0


def photograph(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """A part of one of the sources, mirrored or not, enlarged, with noise and other colours. `(height, width, 3)`, BGR."""
    dice = np.random.default_rng(number)
    source: Any = cv2.imread(str(DATA / SOURCES[number % len(SOURCES)]))
    tall, wide = (int(side * dice.uniform(0.6, 0.95)) for side in source.shape[:2])
    top, left = (int(dice.integers(0, whole - part + 1)) for whole, part in zip(source.shape, (tall, wide), strict=False))
    picture = source[top : top + tall, left : left + wide]
    picture = cv2.flip(picture, 1) if dice.random() < 0.5 else picture
    picture = cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    picture *= dice.uniform(0.8, 1.2, 3).astype(np.float32)
    picture += dice.standard_normal((height, width, 1), np.float32) * NOISE
    return np.clip(picture, 0, 255).astype(np.uint8)


def write(path: str, number: int, width: int, height: int) -> None:
    cv2.imwrite(path, photograph(number, width, height), [cv2.IMWRITE_JPEG_QUALITY, 90])


def folder_of(folder: Path, count: int, width: int, height: int) -> list[Path]:
    """Writes so many photographs into the folder, `p0.jpg` and so on, with all cores."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"p{number}.jpg" for number in range(count)]
    with ProcessPoolExecutor() as pool:
        tasks = [pool.submit(write, str(path), number, width, height) for number, path in enumerate(paths)]
        for task in tasks:
            task.result()
    return paths
