"""What the worker cannot be faster than: a UDP echo with the same OSC in a second process, and a hop through a pipe to a third."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks import roundtrip
from tests.benchmarks.peers import Calls

PACKAGE = ""
WHAT = "UDP, one pipe, nothing else"


class _OneByOne:
    """The floor answers one trip after the other."""

    def __init__(self, trip: roundtrip.Trip) -> None:
        self._trip, self._last = trip, 0

    def send(self, number: int) -> None:
        self._last = number

    def take(self) -> int:
        self._trip(self._last)
        return self._last


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    with roundtrip.floor() as trip:
        yield _OneByOne(trip)
