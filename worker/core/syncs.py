"""`/worker/sync`: tells a client when all its jobs so far have ended, and how. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator

import msgspec

from worker.core.backlog import Key
from worker.errors import LimitExceeded
from worker.protocol.messages import Synced

#: Of one client; each holds the keys of all its unfinished jobs.
MAX_OPEN = 64
#: Clients whose ended jobs are counted; one that is forgotten begins at 0 again.
MAX_TALLIES = 4096


class _Tally(msgspec.Struct):
    """One client: its jobs that ended since its last sync, the jobs each open sync waits for, and its newest answer."""

    ready: int = 0
    failed: int = 0
    open: dict[int, set[Key]] = msgspec.field(default_factory=dict)
    answered: Synced | None = None


class Syncs:
    """All clients' syncs.

    >>> syncs = Syncs()
    >>> list(syncs.asked("td", 1, [("td", "a")]))
    []
    >>> list(syncs.ended(("td", "a"), ready=True))
    [Synced(n=1, ready=1, failed=0)]
    """

    def __init__(self) -> None:
        self._tallies: OrderedDict[str, _Tally] = OrderedDict()

    def asked(self, client: str, number: int, unfinished: Iterable[Key]) -> Iterator[Synced]:
        """A client wants to know. Gives the answers that are due now; the same again if the first was lost.

        Raises:
            LimitExceeded: too many of its syncs are open.
        """
        tally = self._tally(client)
        if tally.answered is not None and tally.answered.n == number:
            return iter([tally.answered])
        if number not in tally.open:
            if len(tally.open) >= MAX_OPEN:
                raise LimitExceeded(f"{MAX_OPEN} syncs of this client are open, which is the limit.", "Wait for an answer first.")
            tally.open[number] = set(unfinished)
        return self._answers(tally)

    def ended(self, key: Key, *, ready: bool) -> Iterator[Synced]:
        """A job has ended. Gives the answers that are due now."""
        tally = self._tally(key[0])
        tally.ready += ready
        tally.failed += not ready
        if not tally.open:
            return iter(())
        for awaited in tally.open.values():
            awaited.discard(key)
        return self._answers(tally)

    def withdrawn(self, key: Key) -> Iterator[Synced]:
        """A job was not accepted after all, so no sync waits for it or counts it. Gives the answers that are due now."""
        tally = self._tally(key[0])
        for awaited in tally.open.values():
            awaited.discard(key)
        return self._answers(tally)

    def _tally(self, client: str) -> _Tally:
        tally = self._tallies.get(client)
        if tally is None:
            tally = self._tallies[client] = _Tally()
            if len(self._tallies) > MAX_TALLIES:
                idle = next(one for one, other in self._tallies.items() if not other.open)  # the new one at the latest
                del self._tallies[idle]
        else:
            self._tallies.move_to_end(client)
        return tally

    def awaited(self) -> Iterator[Key]:
        """All jobs that a sync waits for."""
        for tally in self._tallies.values():
            for keys in tally.open.values():
                yield from keys

    @staticmethod
    def _answers(tally: _Tally) -> Iterator[Synced]:
        due = [number for number, awaited in tally.open.items() if not awaited]
        for number in due:
            del tally.open[number]
            tally.answered = Synced(number, tally.ready, tally.failed)
            tally.ready = tally.failed = 0
            yield tally.answered
