"""The live picture with what is followed in it, for people: written beside the reports, and never in their way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from worker.errors import WorkerError
from worker.pictures.pixels import Image
from worker.tracking.session import Looked, Row

#: The pictures back to which a trail goes.
TRAIL = 30
#: Seconds between two image files: programs that read them look at names, not at every picture.
IMAGES_EVERY_S = 1.0
#: When a picture that could not be written is tried again.
_AGAIN_S = 5.0

Trails = Mapping[int, Sequence[tuple[float, float]]]


@dataclass(slots=True)
class Overlay:
    """Draws and writes.

    Attributes:
        fields: the names of the columns of rows.
        draw: draws rows and trails into a picture.
        write: writes it; raises WorkerError if that is not possible.
        every_s: at least so many seconds between two; 0 for each picture.
        problem: why it was not written last time, as a sentence; empty if it was.
    """

    fields: tuple[str, ...]
    draw: Callable[[Image, Sequence[Row], Trails], None]
    write: Callable[[Image], None]
    every_s: float = 0.0
    clock: Callable[[], float] = time.monotonic
    problem: str = ""
    _trails: dict[int, deque[tuple[float, float]]] = field(default_factory=dict)
    _due_at: float = 0.0
    _left: tuple[Looked, Callable[[], Image]] | None = None

    def show(self, looked: Looked, picture: Callable[[], Image]) -> None:
        """A picture was looked at.

        Args:
            looked: what was seen in it.
            picture: gives the one to draw into; called only if it is time for one.
        """
        self._follow(looked.rows)
        self._left = looked, picture
        if self.clock() >= self._due_at:
            self.finish()

    def finish(self) -> None:
        """Writes the last picture, if it was not time for it: the source has ended, so none comes after it."""
        if self._left is None:
            return
        (looked, picture), self._left = self._left, None
        now, canvas = self.clock(), picture()
        self.draw(canvas, looked.rows, self._trails)
        try:
            self.write(canvas)
            self.problem, wait_s = "", self.every_s
        except WorkerError as error:
            self.problem = f"The overlay is not written: {error.message} {error.hint}".strip()
            wait_s = max(self.every_s, _AGAIN_S)
        self._due_at = now + wait_s

    def _follow(self, rows: Sequence[Row]) -> None:
        active, number, x, y = (self.fields.index(name) for name in ("active", "id", "x", "y"))
        places = {int(row[number]): (row[x], row[y]) for row in rows if row[active]}
        self._trails = {one: self._trails.get(one, deque(maxlen=TRAIL)) for one in places}
        for one, place in places.items():
            self._trails[one].append(place)
