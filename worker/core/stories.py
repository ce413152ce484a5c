"""What happened to each job, in short, for a person who asks why. Pure, and bounded: the newest jobs, the newest entries of each."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from worker.core.backlog import Key

MAX_JOBS = 1000
MAX_ENTRIES = 50


class Stories:
    """Entries by job, each a time and a few words.

    >>> stories = Stories()
    >>> stories.note(("td", "a"), 5.0, "queued")
    >>> stories.note(("td", "a"), 5.25, "running", "attempt 1")
    >>> stories.of(("td", "a"))
    ['0.000 queued', '0.250 running: attempt 1']
    """

    def __init__(self) -> None:
        self._entries: OrderedDict[Key, list[tuple[float, str, str]]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def begin(self, key: Key, now: float, what: str, why: str = "") -> None:
        """A new job has this key now; the story of an older one is forgotten."""
        self._entries.pop(key, None)
        self._entries[key] = [(now, what, why)]
        if len(self._entries) > MAX_JOBS:
            self._entries.popitem(last=False)

    def note(self, key: Key, now: float, what: str, why: str = "") -> None:
        """Adds an entry."""
        entries = self._entries.get(key)
        if entries is None:
            self.begin(key, now, what, why)
            return
        entries.append((now, what, why))
        if len(entries) > MAX_ENTRIES:
            del entries[0]

    def keys_of(self, job_id: str) -> Sequence[Key]:
        """The keys of all clients' jobs with this id, the oldest first."""
        return [key for key in self._entries if key[1] == job_id]

    def of(self, key: Key) -> list[str]:
        """One line per entry, with the seconds since the first one that is kept. Empty if nothing is known."""
        entries = [*self._entries.get(key, ())]
        return [f"{at - entries[0][0]:.3f} {what}{why and ': '}{why}" for at, what, why in entries]
