"""The one queue between the worker's thread and the one that watches.

The worker's thread puts in what happens, which takes a fraction of a microsecond; waking another thread for each of it (asyncio's
`call_soon_threadsafe`) takes 24. The other thread empties the queue 20 times a second. If it does not come, the worker does not wait for
it: what finds no room is dropped, and the other thread hears that it has missed something.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

#: About ten seconds of a worker that does nothing but tell.
MOST = 200_000


class Tap:
    """See the module's docstring. `put` and `take` may be called from any thread.

    Args:
        most: how much may wait.

    Attributes:
        since: when the first of what waits came, in seconds since 1970.

    >>> tap = Tap(most=3)
    >>> tap.put(1, 2); tap.put(3, 4); tap.put(5)
    >>> tap.take()
    ([1, 2, 3, 4], True)
    >>> tap.put(6); tap.take()
    ([6], False)
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._waiting: deque[Any] = deque()
        self._missed = False
        self.since = 0.0

    def put(self, *happened: Any) -> None:
        """Something has happened."""
        if not self._waiting:
            self.since = time.time()
        if len(self._waiting) < self._most:
            self._waiting.extend(happened)
        else:
            self._missed = True

    def close(self) -> None:
        """Nobody takes any more: nothing is kept from now on."""
        self._most = 0
        self._waiting.clear()

    def take(self) -> tuple[list[Any], bool]:
        """Everything that has happened since the last time, and whether something is missing."""
        missed, self._missed = self._missed, False
        waiting = self._waiting
        return [waiting.popleft() for _ in range(len(waiting))], missed
