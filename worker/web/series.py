"""The last minutes of the worker, a number of figures for each second. Pure."""

from __future__ import annotations

from collections import deque

import msgspec

#: How many seconds are kept.
SECONDS = 600
#: How many times of one second are kept for its percentiles; of more, the first.
MOST_TIMES = 4096


class Second(msgspec.Struct, array_like=True):
    """What happened in one second.

    Attributes:
        at: its beginning, in seconds since 1970.
        ready, failed: how many jobs ended so.
        run_p50, run_p95, wait_p95: of the jobs that ended in it, in milliseconds; -1 if there were none.
        queued, running: at its end.
    """

    at: int
    ready: int = 0
    failed: int = 0
    run_p50: int = -1
    run_p95: int = -1
    wait_p95: int = -1
    queued: int = 0
    running: int = 0


def percentile(values: list[int], part: float) -> int:
    """The value that this part of all values does not exceed; -1 without values. They are sorted in place.

    >>> percentile([3, 1, 2], 0.5), percentile([3, 1, 2], 0.95), percentile([], 0.5)
    (2, 3, -1)
    """
    values.sort()
    return values[min(len(values) - 1, int(part * len(values)))] if values else -1


class Series:
    """The seconds that are over, and the one that is not.

    >>> series = Series()
    >>> series.tick(100.0); series.ended(ready=True, wait_ms=1, run_ms=5); series.tick(101.2, running=2)
    >>> series.new()
    [Second(at=100, ready=1, failed=0, run_p50=5, run_p95=5, wait_p95=1, queued=0, running=2)]
    """

    def __init__(self) -> None:
        self._seconds: deque[Second] = deque(maxlen=SECONDS)
        self._new: list[Second] = []
        self._now: Second | None = None
        self._run: list[int] = []
        self._wait: list[int] = []

    def ended(self, *, ready: bool, wait_ms: int, run_ms: int) -> None:
        """A job has ended."""
        if self._now is None:
            return
        if ready:
            self._now.ready += 1
        else:
            self._now.failed += 1
        if len(self._run) < MOST_TIMES:
            self._run.append(run_ms)
            self._wait.append(wait_ms)

    def tick(self, now: float, queued: float = 0, running: float = 0) -> None:
        """It is `now`. Ends the second if a new one has begun; seconds in which nobody came are left out."""
        if self._now is None:
            self._now = Second(int(now))
        if int(now) <= self._now.at:
            return
        one = self._now
        one.run_p50, one.run_p95 = percentile(self._run, 0.5), percentile(self._run, 0.95)
        one.wait_p95 = percentile(self._wait, 0.95)
        one.queued, one.running = int(queued), int(running)
        self._seconds.append(one)
        self._new.append(one)
        self._now = Second(int(now))
        self._run, self._wait = [], []

    def whole(self) -> list[Second]:
        """All seconds that are over."""
        return list(self._seconds)

    def new(self) -> list[Second]:
        """Those that are over since this was last asked for."""
        new, self._new = self._new[-SECONDS:], []
        return new
