"""The order in which jobs get their turn.

Three priorities. A live job goes before a normal one, a normal one before a batch job, and within a priority the older job goes first;
but after `PATIENCE` turns in which a lower priority was passed over, it gets one. So live work waits for one task of a batch at most,
and a batch is never left for ever.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Iterator

PRIORITIES = 3
PATIENCE = 8


#: A job's key.
Key = tuple[str, str]
#: In a queue: the key of the job that had it first, with a number if that one has come back meanwhile.
Place = tuple[str, str] | tuple[str, str, int]


class Backlog:
    """Keys of jobs that have something to run. A job stays until it is removed, so a batch gets turn after turn.

    >>> backlog = Backlog()
    >>> backlog.add(("td", "b"), 2); backlog.add(("td", "n"), 1); backlog.add(("td", "l"), 0)
    >>> backlog.take_turn()
    ('td', 'l')
    """

    def __init__(self) -> None:
        # Keys by place. A place is named after the first who had it, so nearly always after the one who has it: thousands may wait.
        self._queues: tuple[OrderedDict[Place, Key], ...] = tuple(OrderedDict() for _ in range(PRIORITIES))
        self._places: dict[Key, Place] = {}  # of those that have another one's
        self._numbers = itertools.count()
        self._passed_over = [0] * PRIORITIES
        self._any_passed_over = False

    def __len__(self) -> int:
        return sum([len(queue) for queue in self._queues])

    def __iter__(self) -> Iterator[Key]:
        return itertools.chain.from_iterable(queue.values() for queue in self._queues)

    def __contains__(self, key: Key) -> bool:
        return any(self._is_in(queue, key) for queue in self._queues)

    def _is_in(self, queue: OrderedDict[Place, Key], key: Key) -> bool:
        return queue.get(self._places.get(key, key)) == key

    def add(self, key: Key, priority: int) -> None:
        """Puts a job at the end of its priority; one that is there already keeps its place."""
        queue = self._queues[priority]
        if self._is_in(queue, key):
            return
        if key in queue:  # somebody has its place
            self._places[key] = place = (*key, next(self._numbers))
            queue[place] = key
        else:
            queue[key] = key

    def add_first(self, key: Key, priority: int) -> None:
        """Puts a job at the head of its priority: a running batch whose next tasks are known now."""
        self.add(key, priority)
        self._queues[priority].move_to_end(self._places.get(key, key), last=False)

    def take_over(self, older: Key, newer: Key, priority: int) -> None:
        """Gives an older job's place to a newer one of the same priority; without it, one that is replaced all the time would never run."""
        self._places[newer] = place = self._places.pop(older, older)
        self._queues[priority][place] = newer

    def remove(self, key: Key, priority: int) -> None:
        """Takes a job out, if it is there."""
        queue = self._queues[priority]
        place = self._places.get(key, key) if self._places else key
        if queue.get(place) == key:
            del queue[place]
            self._places.pop(key, None)

    def ahead_of_new(self, priority: int) -> int:
        """How many jobs would go before one that is added now."""
        return sum([len(queue) for queue in self._queues[: priority + 1]])

    def take_turn(self) -> Key | None:
        """Whose turn it is, or None. The job stays in its place."""
        waiting = [priority for priority, queue in enumerate(self._queues) if queue]
        if not waiting:
            return None
        if len(waiting) == 1 and not self._any_passed_over:  # nearly always
            return next(iter(self._queues[waiting[0]].values()))
        chosen = next((priority for priority in waiting[1:] if self._passed_over[priority] >= PATIENCE), waiting[0])
        for priority in waiting:
            if priority > chosen:
                self._passed_over[priority] += 1
        self._passed_over[chosen] = 0
        self._any_passed_over = any(self._passed_over)
        return next(iter(self._queues[chosen].values()))
