"""The counters of the worker's thread, as others may read them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Figures(msgspec.Struct, frozen=True):
    """What the worker has counted since its start.

    Attributes:
        packets_in: datagrams that came to the OSC port and were read.
        bytes_in: of these.
        packets_out: datagrams that were sent.
        bytes_out: of these.
        dropped: datagrams that were not read, by reason.
        children_ended: child processes that ended and were replaced.
        children: how many child processes are warm, and how many of these have a task; None if others do the work.
    """

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    dropped: Mapping[str, int] = msgspec.field(default_factory=dict)
    children_ended: int = 0
    children: tuple[int, int] | None = None


def serving(children: tuple[int, int], workers: int) -> tuple[int, int]:
    """How many children serve, and how many of these are busy. There is one more than tasks run at a time; it serves nobody.

    Args:
        children: see `Figures`.
        workers: how many tasks run at a time.

    >>> serving((5, 2), 4), serving((1, 1), 4), serving((5, 5), 4)
    ((4, 2), (1, 1), (4, 4))
    """
    warm, busy = children
    return min(warm, workers), min(busy, workers)
