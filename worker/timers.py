"""Calls to be made later, for a core that is told the time and never asks for it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable


class Timers:
    """A heap of (time, call). A call finds out itself whether it is still wanted, so nothing is ever taken out.

    >>> timers, seen = Timers(), []
    >>> timers.at(2.0, lambda now: seen.append(("late", now)))
    >>> timers.at(1.0, lambda now: seen.append(("early", now)))
    >>> timers.next_deadline()
    1.0
    >>> timers.run_due(1.5); seen
    [('early', 1.5)]
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._order = itertools.count()

    def at(self, when: float, call: Callable[[float], None]) -> None:
        """Wants `call(now)` as soon as the time is `when`."""
        heapq.heappush(self._heap, (when, next(self._order), call))

    def next_deadline(self) -> float | None:
        """When `run_due` has something to do again."""
        return self._heap[0][0] if self._heap else None

    def run_due(self, now: float) -> None:
        """Makes the calls whose time has come. What they add for now or earlier waits for the next round."""
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[2])
        for call in due:
            call(now)
