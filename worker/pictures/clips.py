"""What there is to know of a video before its frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clip:
    """What the header of a video says.

    Attributes:
        frames: how many there are; an estimate in some kinds of files, 0 if it is not known.
        fps: frames per second on average.
    """

    width: int
    height: int
    frames: int
    fps: float
