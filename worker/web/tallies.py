"""What is counted of all jobs from the start on, for `/metrics`: how they ended, and how long they took. Needs no library."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Collection
from typing import Final

from worker.core.events import JobEnded

#: The upper bounds of the buckets, in seconds: from an operation that does nothing to a batch of half an hour.
BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
#: Stands for an operation that is in the catalogue no longer, so that the number of series stays bounded.
OTHER: Final = "other"


class Times:
    """A histogram.

    >>> times = Times()
    >>> times.add(0.001); times.add(0.3); times.add(5000.0)
    >>> times.counts[0], times.counts[8], times.counts[-1], times.total_s
    (1, 1, 1, 5000.301)

    Attributes:
        counts: how many lie in each bucket of its own; the last one has no upper bound.
        total_s: their sum.
    """

    __slots__ = ("counts", "total_s")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.total_s = 0.0

    def add(self, seconds: float) -> None:
        """One more."""
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total_s += seconds


class Tallies:
    """See the module's docstring.

    Args:
        operations: the names of the operations, as they are now.

    Attributes:
        ended: how many jobs ended, by operation and outcome.
        times: by operation: from acceptance to the start of the last attempt, the last attempt, and from acceptance to the end.
    """

    def __init__(self, operations: Callable[[], Collection[str]]) -> None:
        self._operations = operations
        self.ended: dict[tuple[str, str], int] = {}
        self.times: dict[str, tuple[Times, Times, Times]] = {}

    def add(self, job: JobEnded) -> None:
        """A job has ended."""
        times = self.times.get(job.operation)
        name = job.operation
        if times is None or (name, job.word) not in self.ended:
            name = name if name in self._operations() else OTHER
            times = self.times.setdefault(name, (Times(), Times(), Times()))
        self.ended[name, job.word] = self.ended.get((name, job.word), 0) + 1
        wait, run, trip = times
        wait.add(job.wait_s)
        run.add(job.run_s)
        trip.add(job.total_s)
