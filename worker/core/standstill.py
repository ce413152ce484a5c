"""A worker that was asked to end waits for its jobs, but not for ever for those that hang. Pure."""

from __future__ import annotations

import functools
from collections.abc import Callable

from worker.core.status import StatusBoard
from worker.timers import Timers

#: It waits no longer if no job has gone on for so long: their children hang, or the disk does.
STANDSTILL_S = 60.0


class Standstill:
    """See the module's docstring.

    Args:
        timers: the scheduler's.
        board: knows when a job was last worked on.
        give_up: ends the worker; it gets the reason and the time.
    """

    def __init__(self, timers: Timers, board: StatusBoard, give_up: Callable[[str, float], None]) -> None:
        self._timers = timers
        self._board = board
        self._give_up = give_up

    def begin(self, reason: str, now: float) -> None:
        """From now on the worker waits for its jobs; for this reason."""
        self._look_at(now + STANDSTILL_S, reason, now)

    def _look_at(self, when: float, reason: str, began: float) -> None:
        self._timers.at(when, functools.partial(self._look, reason, began))

    def _look(self, reason: str, began: float, now: float) -> None:
        until = max(began, self._board.worked_at) + STANDSTILL_S
        if self._board.exited:
            return
        if now < until:
            self._look_at(until, reason, began)
        else:
            self._give_up(f"{reason}; no job has gone on for {STANDSTILL_S:g} s", now)
