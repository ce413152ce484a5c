"""Whether to stay awake for a moment instead of sleeping until the other process answers, as an adaptive mutex does. Pure.

    record = spin.given(task.operation, now)      # None: sleep, as always
    poller.stay_awake(AWAKE_S, record.looked)     # otherwise the next `wait` looks for so long before it sleeps

To sleep until a child has done 30 us of work takes longer than the work: the system has to let the processor rest and to wake it again, and
then everything finds cold caches. With real-time priority an empty job takes 0.24 ms there and back in place of 0.42, and a third less of
the processor. Without, on a machine at rest, it takes 0.33 in place of 0.38, with all that was done beside this (tests/README.md).

A child that has ended a task stays awake likewise, while the next one comes as fast as that: with 64 jobs under way, a tenth more end
in a second. A client that waits for each final before it sends its next job is too slow; then it is tried once in 32 tasks.

It costs `AWAKE_S` of a core at most for each task, and only if that pays: not on a single core; not for the first task of an operation in a
second, so never while the worker is idle; and after a task that took longer not for the next one of its operation, then 2, 4, up to 1024.
"""

from __future__ import annotations

import os
import sys

import msgspec

#: A child does a small task within this time, or it was in vain.
AWAKE_S = 150e-6
#: The task before was given so lately.
RECENT_S = 1.0
#: Operations of an artist's own come and go with their files.
MOST = 1000


class Record(msgspec.Struct):
    """One operation, or all that a child does.

    Attributes:
        given_at: when its newest task was given to a child.
        skip: for how many tasks to come nobody stays awake.
        misses: how often it was in vain; half of it is forgotten each time that it was not.
        most: the most that is counted, so it is tried again after 2**most tasks.
    """

    given_at: float = float("-inf")
    skip: int = 0
    misses: int = 0
    most: int = 10

    def wanted(self) -> bool:
        """Whether to stay awake this time."""
        if self.skip:
            self.skip -= 1
            return False
        return True

    def looked(self, found: bool) -> None:
        """Notes whether something had happened before the time was over."""
        if found:
            self.misses //= 2
        else:
            self.skip = 2**self.misses
            self.misses = min(self.most, self.misses + 1)


class Spin:
    """See the module's docstring.

    Args:
        cores: how many this process may use.

    >>> spin = Spin(cores=2)
    >>> spin.given("noop", 5.0), spin.given("noop", 5.5)
    (None, Record(given_at=5.5, skip=0, misses=0, most=10))
    """

    def __init__(self, cores: int) -> None:
        self._on = cores > 1
        self._records: dict[str, Record] = {}

    def given(self, operation: str, now: float) -> Record | None:
        """A child was given a task of this operation. The record, if it pays to stay awake."""
        record = self._records.get(operation)
        if record is None:
            if self._on and len(self._records) < MOST:
                self._records[operation] = Record(now)
            return None
        before, record.given_at = record.given_at, now
        if now - before >= RECENT_S:
            return None
        return record if record.wanted() else None


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
