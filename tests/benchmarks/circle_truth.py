"""How circles that were found are compared with those that are there, and the real pictures of which the truth is known.

`tests/data/circles.json` has, for each picture, its circles (x, y, radius in pixels) and the regions of which nothing is known (left, top,
right, bottom): what is found there beside the circles is neither right nor wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from tests.benchmarks.circle_pictures import Floats, Picture

DATA = Path(__file__).parents[1] / "data"
COINS_AND_SWEETS = ("coins.png", "smarties.png")


def overlap(first: Floats, second: Floats, size: tuple[int, int]) -> float:
    """Intersection over union of the parts of two circles that lie inside the picture, summed over 201 rows."""
    top = max(-0.5, min(first[1] - first[2], second[1] - second[2]))
    bottom = min(size[1] - 0.5, max(first[1] + first[2], second[1] + second[2]))
    rows = np.linspace(top, bottom, 201)
    spans = []
    for x, y, radius in (first, second):
        half = np.sqrt(np.clip(radius**2 - (rows - y) ** 2, 0, None))
        left, right = np.clip(x - half, -0.5, size[0] - 0.5), np.clip(x + half, -0.5, size[0] - 0.5)
        spans.append((left, np.where(half > 0, right, left)))
    (a, b), (c, d) = spans
    common = np.clip(np.minimum(b, d) - np.maximum(a, c), 0, None).sum()
    union = (b - a).sum() + (d - c).sum() - common
    return float(common / union) if union > 0 else 0.0


def matched(circles: Floats, truth: Floats, size: tuple[int, int], least: float) -> list[tuple[int, int]]:
    """Pairs of a circle found and a true one that overlap by at least so much, the best first, each used once."""
    near = [
        (overlap(circle, true, size), i, j)
        for i, circle in enumerate(circles)
        for j, true in enumerate(truth)
        if np.hypot(*(circle[:2] - true[:2])) < true[2] and 0.4 * true[2] < circle[2] < 2.5 * true[2]
    ]
    pairs: list[tuple[int, int]] = []
    for value, i, j in sorted(near, reverse=True):
        if value >= least and all(i != a and j != b for a, b in pairs):
            pairs.append((i, j))
    return pairs


@dataclass(frozen=True, slots=True)
class Real:
    """A real picture: the file's name, the circles that are known in it, `(N, 3)`, and the regions of which nothing is known, `(M, 4)`."""

    name: str
    truth: Floats
    unknown: Floats

    def picture(self) -> Picture:
        return np.asarray(cv2.imread(str(DATA / self.name)), np.uint8)

    def counted(self, circles: Floats, least: float = 0.8) -> tuple[int, int]:
        """How many of the known circles were found, and how many false ones outside of the unknown regions."""
        pairs = matched(circles, self.truth, self.picture().shape[1::-1], least)
        others = np.delete(circles, [found for found, _ in pairs], axis=0)
        for left, top, right, bottom in self.unknown:
            x, y = others[:, 0], others[:, 1]
            others = others[(x < left) | (x > right) | (y < top) | (y > bottom)]
        return len(pairs), len(others)


def real_pictures() -> list[Real]:
    """The pictures of `tests/data/circles.json`."""
    entries = json.loads((DATA / "circles.json").read_text(encoding="utf-8"))
    return [
        Real(name, np.array(entry["circles"], float).reshape(-1, 3), np.array(entry["unknown"], float).reshape(-1, 4))
        for name, entry in entries.items()
    ]
