"""Tells those who watch what each child process does, from time to time; the worker has a round each second at least."""

from __future__ import annotations

from collections.abc import Callable

from worker.core.changes import ChildrenSeen, ChildSeen
from worker.executors.base import Executor
from worker.executors.pool import PoolExecutor
from worker.web.tap import Tap

EVERY_S = 0.1
_NOBODY = ("", "", "", "")


class ChildrenTeller:
    """See the module's docstring.

    Args:
        executor: has the children.
        about: client, id and operation of a task's job, and what the task does of it; None for no job's.
    """

    def __init__(self, executor: Executor, about: Callable[[int], tuple[str, str, str, str] | None]) -> None:
        self._executor = executor
        self._about = about
        self._due = 0.0
        self._told: list[ChildSeen] = []

    def tell(self, tap: Tap, now: float) -> None:
        """Puts the children into the queue, if they have changed and it is time."""
        if now < self._due or not isinstance(self._executor, PoolExecutor):
            return
        self._due = now + EVERY_S
        children = [ChildSeen(pid, state, *(self._about(task) or _NOBODY)) for pid, state, task in self._executor.seen()]
        if children != self._told:
            self._told = children
            tap.put(ChildrenSeen(tuple(children)))
