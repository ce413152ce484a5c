"""Calls to be made later, and limits on how often something may happen, for code that is given the time and never asks for it."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import msgspec

Call = Callable[[float], None]


class TokenBucket(msgspec.Struct):
    """A limit on a rate that lets a burst through: the bucket holds `burst` tokens, and `per_second` new ones flow in.

    >>> bucket = TokenBucket(per_second=10, burst=2)
    >>> [bucket.take(now) for now in (5.0, 5.0, 5.0, 5.25)]
    [True, True, False, True]
    """

    per_second: float
    burst: float
    _tokens: float = -1.0  # full, before the first is taken
    _filled_at: float = 0.0

    def take(self, now: float, cost: float = 1) -> bool:
        """Takes one token, or as many as something costs, if there are enough. A full bucket is enough for anything."""
        tokens = self.burst if self._tokens < 0 else min(self.burst, self._tokens + (now - self._filled_at) * self.per_second)
        self._filled_at = now
        taken = tokens >= min(cost, self.burst)
        self._tokens = max(0.0, tokens - cost) if taken else tokens
        return taken


class AtMostEvery(msgspec.Struct):
    """Limits something to at most once in `seconds`.

    >>> warning = AtMostEvery(10.0)
    >>> [warning.is_due(now) for now in (0.0, 9.9, 10.0, 10.1)]
    [True, False, True, False]
    """

    seconds: float
    _last_at: float = float("-inf")

    def is_due(self, now: float) -> bool:
        """Whether it may happen now. True counts as "it happened"."""
        if now - self._last_at < self.seconds:
            return False
        self._last_at = now
        return True


class Timers:
    """A heap of (time, call).

    >>> timers, seen = Timers(), []
    >>> late = timers.at(2.0, lambda now: seen.append(("late", now)))
    >>> early = timers.at(1.0, lambda now: seen.append(("early", now)))
    >>> timers.next_deadline()
    1.0
    >>> timers.run_due(1.5); seen
    [('early', 1.5)]
    >>> timers.cancel(late); timers.next_deadline()
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._calls: dict[int, Call] = {}
        self._order = itertools.count()

    def at(self, when: float, call: Call) -> int:
        """Wants `call(now)` as soon as the time is `when`. Returns a number with which it can be cancelled."""
        number = next(self._order)
        self._calls[number] = call
        heapq.heappush(self._heap, (when, number))
        return number

    def cancel(self, number: int) -> None:
        """Forgets a call, and whatever it holds on to. One that was made already is no error."""
        self._calls.pop(number, None)
        if len(self._heap) > 2 * len(self._calls) + 64:  # otherwise 10-minute timeouts of millisecond jobs pile up
            self._heap = [entry for entry in self._heap if entry[1] in self._calls]
            heapq.heapify(self._heap)

    def next_deadline(self) -> float | None:
        """When `run_due` has something to do again."""
        while self._heap and self._heap[0][1] not in self._calls:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def run_due(self, now: float) -> None:
        """Makes the calls whose time has come. What they add for now or earlier waits for the next round."""
        if not self._heap or self._heap[0][0] > now:
            return
        due = []
        while self._heap and self._heap[0][0] <= now:
            due.append(heapq.heappop(self._heap)[1])
        for number in due:
            call = self._calls.pop(number, None)
            if call is not None:  # not cancelled, not even by one of the calls before
                call(now)
