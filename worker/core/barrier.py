"""Store, then release: nothing that depends on a record leaves before the record is stored. Pure.

    number = barrier.store(record)             # the record goes out with the next commit
    barrier.after(number, release, now)        # `release(now)` is called once that commit has succeeded, or never

A record that nothing depends on goes out with the next commit (`later`), and costs none of its own. Which finals were sent is noted many at
a time: if a note is lost, its finals are sent once more.

Each round of records ends with `Commit(number)`. `Stored(number)` releases what depends on it, in order. `NotStored(number)` drops it; the
scheduler decides what becomes of the lost records: a new job is rejected, a started one waits again, and how a job ended is stored `again`
until that succeeds. Without a journal nothing waits: `after` releases at once.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from worker.core.events import Commit, Effect, Store, StorePreset, StoreTold, StoreUnset
from worker.timers import Timers

#: After a commit that failed, the next one is tried this much later, or with the next record.
STORE_AGAIN_S = 1.0
#: How long what nothing depends on waits for something else to be stored with.
STORE_LATER_S = 5.0
#: The number of finals whose sending is noted in one commit.
TOLD_AT_ONCE = 64
#: How many deletions of presets may wait; while nothing can be stored, the oldest are given up.
MAX_UNSET = 10_000
#: How many records may wait that nothing depends on; while nothing can be stored, the oldest are given up.
MAX_LATER = 10_000

Release = Callable[[float], None]


class Barrier:
    """See the module's docstring.

    Args:
        journal: whether records are stored at all.
        timers: of the scheduler.
        emit: takes the effects.
    """

    def __init__(self, timers: Timers, emit: Callable[[Effect], None], *, journal: bool) -> None:
        self._timers = timers
        self._emit = emit
        self._journal = journal
        self._asked = 0  # the number of the newest commit
        self._answered: float = 0 if journal else math.inf
        self._records: deque[tuple[int, Store]] = deque()  # of commits that are not answered yet, and of the next one
        self._held: dict[int, list[Release]] = {}
        self._again: list[Store] = []
        self._again_timer: int | None = None
        self._later: list[Store] = []
        self._told: list[Store] = []
        self._later_timer: int | None = None

    @property
    def next(self) -> int:
        """The number of the commit in which a record of now is stored."""
        return self._asked + 1

    @property
    def is_waiting(self) -> bool:
        """Whether a commit is under way."""
        return self._asked > self._answered

    @property
    def is_empty(self) -> bool:
        """Whether everything is stored that something depends on."""
        return not self._records and not self._again

    def is_stored(self, number: int) -> bool:
        """Whether nothing has to wait for this commit."""
        return number <= self._answered

    def store(self, record: Store) -> int:
        """Wants a record to be stored. Returns the number of its commit, 0 without a journal."""
        if not self._journal:
            self._emit(record)
            return 0
        if self._again:
            self._store_again()
        if self._later:
            self._store_later()
        self._add(record)
        return self._asked + 1

    def later(self, record: Store, now: float) -> None:
        """Wants a record to be stored that nothing depends on: with the next commit, for whatever reason that comes."""
        if not self._journal:
            return
        if type(record) is StoreTold:
            self._told.append(record)
            if len(self._told) >= TOLD_AT_ONCE:
                self._later += self._told
                self._told.clear()
        else:
            self._later.append(record)
        if len(self._later) > MAX_LATER:
            del self._later[: len(self._later) - MAX_LATER]
        if self._later_timer is None:
            self._later_timer = self._timers.at(now + STORE_LATER_S, lambda _: self.store_later())

    def store_later(self) -> None:
        """Lets what nothing depends on wait no longer."""
        if self._later_timer is not None:
            self._timers.cancel(self._later_timer)
            self._later_timer = None
        self._later += self._told
        self._told = []
        self._store_later()

    def _store_later(self) -> None:
        if not self._later:
            return
        records, self._later = self._later, []
        if records:
            self._store_again()  # lost records are promised to the next commit, for whatever reason it comes
        for record in records:
            self._add(record)

    def after(self, number: int, release: Release, now: float) -> None:
        """Calls `release` when this commit has succeeded: now, if it has; never, if it fails."""
        if number <= self._answered:
            release(now)
        else:
            self._held.setdefault(number, []).append(release)

    def again(self, records: Sequence[Store], now: float) -> None:
        """Stores lost records with the next commit, before newer ones."""
        self._again = _without_superseded([*self._again, *records])
        if self._again and self._again_timer is None:
            self._again_timer = self._timers.at(now + STORE_AGAIN_S, lambda _: self._store_again())

    def ask(self) -> None:
        """Ends a round: wants a commit, if there is something new to be stored."""
        if self._records and self._records[-1][0] > self._asked:
            self._asked += 1
            self._emit(Commit(self._asked))

    def stored(self, number: int, now: float) -> None:
        """A commit has succeeded, and all before it."""
        self._settle(number)
        held = (number,) if len(self._held) == 1 and number in self._held else sorted(held for held in self._held if held <= number)
        for one in held:
            for release in self._held.pop(one):
                release(now)

    def not_stored(self, number: int) -> list[Store]:
        """A commit has failed, and all before it that had no answer yet. Returns its records."""
        for held in [held for held in self._held if held <= number]:
            del self._held[held]
        return self._settle(number)

    def _settle(self, number: int) -> list[Store]:
        self._answered = max(self._answered, number)
        settled = []
        while self._records and self._records[0][0] <= number:
            settled.append(self._records.popleft()[1])
        return settled

    def _add(self, record: Store) -> None:
        self._emit(record)
        self._records.append((self._asked + 1, record))

    def _store_again(self) -> None:
        if self._again_timer is not None:
            self._timers.cancel(self._again_timer)
            self._again_timer = None
        records, self._again = self._again, []
        for record in records:
            self._add(record)

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        numbers = [number for number, _ in self._records]
        if numbers != sorted(numbers):
            yield "records are out of order"
        if numbers and not self._answered < numbers[0] <= numbers[-1] <= self.next:
            yield f"records wait for the commits {numbers[0]} to {numbers[-1]}, {self._answered} is answered and {self.next} the next"
        if not self._journal and (self._records or self._held or self._again):
            yield "something waits to be stored, and there is no journal"
        if any(number <= self._answered or not held for number, held in self._held.items()):
            yield "something waits for a commit that is answered"
        known = {*numbers, self.next} if self._again else set(numbers)
        if not set(self._held) <= known:
            yield "something waits for a commit that has no records"


def _without_superseded(records: Sequence[Store]) -> list[Store]:
    """Without values of presets that later records set anew or delete: a channel may set one each frame while a disk is full for days."""
    seen: set[tuple[str, str]] = set()
    unset = 0
    left: list[Store] = []
    for record in reversed(records):
        if isinstance(record, StorePreset | StoreUnset):
            if (record.preset, "") in seen or (record.preset, record.key) in seen:
                continue
            seen.add((record.preset, record.key))
            unset += isinstance(record, StoreUnset)
            if isinstance(record, StoreUnset) and unset > MAX_UNSET:
                continue
        left.append(record)
    return left[::-1]
