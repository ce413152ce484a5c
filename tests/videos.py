"""Frames that carry their number, as those of `tests/data/numbered.mp4` do."""

from __future__ import annotations

import numpy as np

#: Of `numbered.mp4` and `numbered.webm`.
FRAMES = 60
#: When each of their frames is shown, in seconds.
TIMES = tuple(sum(0.1 if n % 3 == 0 else 0.04 for n in range(1, frame + 1)) for frame in range(FRAMES))


def numbered(number, width=96, height=64):
    """A frame that shows its number, 0 to 255, as eight bars."""
    frame = np.full((height, width, 3), 90, np.uint8)
    step = width // 8.7
    for bit in range(8):
        left = int(width * 0.04 + bit * step)
        frame[height // 8 : height - height // 8, left : left + int(step * 0.8)] = 230 if number >> bit & 1 else 20
    return frame


def number_of(frame):
    """The number that a frame shows, whatever its size."""
    height, width = frame.shape[:2]
    step = width // 8.7
    places = [int(width * 0.04 + bit * step + step * 0.4) for bit in range(8)]
    return sum(int(frame[height // 2 - 1 : height // 2 + 2, at - 1 : at + 2].mean() > 125) << bit for bit, at in enumerate(places))
