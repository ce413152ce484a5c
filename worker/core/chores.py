"""What has to be done with each job and nobody waits for: counts, the log's line, the timer of a repetition. Pure.

    chores.add(lambda now: board.job_ended(final, run_ms))
    chores.do(now)                                    # after what somebody waits for has been carried out, and before the next event

A job's final leaves a third of its time earlier for it: one job at a time, everything that is done finds cold caches.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

Chore = Callable[[float], None]


class Chores:
    """First come, first done. The next event finds them all done, so nothing else can tell that they were put off.

    >>> chores, done = Chores(), []
    >>> chores.add(lambda now: done.append(now))
    >>> chores.do(5.0); chores.do(6.0); done
    [5.0]
    """

    def __init__(self) -> None:
        self.waiting: deque[Chore] = deque()
        self.add = self.waiting.append

    def do(self, now: float) -> None:
        """Does them all. One that raises is done with; those behind it stay."""
        while self.waiting:
            self.waiting.popleft()(now)
