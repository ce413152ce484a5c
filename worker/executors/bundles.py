"""Which tasks travel to a node together. Pure.

A scheduler of Dask needs about a millisecond for each thing that it places, whatever is in it. So short tasks that wait at the same moment
travel as one *bundle*; the node runs its tasks one after the other, and reports each as it ends. Nothing waits for company: while there is
room each task goes at once, and only what comes while the nodes have enough to do gathers, as with Nagle's algorithm (RFC 896).
"""

from __future__ import annotations

import math
from collections import deque

from worker.core.jobs import Phase, Task

#: Tasks that have taken longer than this lately travel alone.
SHORT_S = 0.01
#: The tasks of a bundle should not take longer than this together.
BUNDLE_S = 0.02
MOST_TASKS = 32
#: Of short tasks so many bundles are under way for each slot: one is worked on, the next is there when it ends.
PLACES_PER_SLOT = 2
#: Of so many operations it is kept how long they take. Only a list of invented names could have more.
_MOST_KNOWN = 1000


class Bundles:
    """Tasks that wait to be sent.

    >>> from worker.catalog.noop import Noop
    >>> bundles = Bundles()
    >>> for number in range(5):
    ...     bundles.add(Task(number, "noop", Noop()))
    >>> [task.id for task in bundles.take(slots=1, under_way=2, room=9)]    # it is not known how long one takes
    [0]
    >>> bundles.took(Task(0, "noop", Noop()), 0.001)
    >>> bundles.take(slots=1, under_way=2, room=9)                          # no place is free
    []
    >>> [task.id for task in bundles.take(slots=1, under_way=1, room=9)]
    [1, 2, 3, 4]
    """

    def __init__(self) -> None:
        self._alone: deque[Task] = deque()
        self._waiting: deque[Task] = deque()
        self._seconds: dict[tuple[str, Phase], float] = {}

    def __len__(self) -> int:
        return len(self._alone) + len(self._waiting)

    def add(self, task: Task, *, alone: bool = False) -> None:
        """One more, at the end; `alone`: it must not be in a bundle."""
        (self._alone if alone else self._waiting).append(task)

    def add_again(self, task: Task) -> None:
        """One that was sent before goes before all others, and alone, so that it comes back for nobody else's sake again."""
        self._alone.appendleft(task)

    def remove(self, task_id: int) -> None:
        """Not wanted any more; one that is not here is no error."""
        for tasks in (self._alone, self._waiting):
            for task in [task for task in tasks if task.id == task_id]:
                tasks.remove(task)

    def took(self, task: Task, seconds: float) -> None:
        """A child has worked on a task for so long."""
        known = self._seconds.get(_kind(task))
        if known is None and len(self._seconds) >= _MOST_KNOWN:
            self._seconds.clear()
        self._seconds[_kind(task)] = seconds if known is None else known + (seconds - known) / 8

    def take(self, slots: int, under_way: int, room: int) -> list[Task]:
        """The next ones that travel together; empty if nothing is to be sent now.

        Args:
            slots: of all nodes.
            under_way: how many bundles are; a short task that travels alone is one, too.
            room: how many tasks may be sent.
        """
        if room <= 0:
            return []
        if self._alone:
            return [self._alone.popleft()]
        if not self._waiting:
            return []
        seconds = self._seconds_of(self._waiting[0])
        if seconds > SHORT_S:
            return [self._waiting.popleft()]
        places = PLACES_PER_SLOT * max(1, slots) - under_way
        if places <= 0:
            return []
        most = min(MOST_TASKS, room, math.ceil(len(self._waiting) / places))
        tasks = [self._waiting.popleft()]
        while self._waiting and len(tasks) < most and (seconds := seconds + self._seconds_of(self._waiting[0])) <= BUNDLE_S:
            tasks.append(self._waiting.popleft())
        return tasks

    def is_short(self, task: Task) -> bool:
        """Whether it may travel in a bundle, by what is known now."""
        return self._seconds_of(task) <= SHORT_S

    def _seconds_of(self, task: Task) -> float:
        """What it will take; for ever if that is not known."""
        return self._seconds.get(_kind(task), math.inf)


def _kind(task: Task) -> tuple[str, Phase]:
    return task.operation, task.phase
