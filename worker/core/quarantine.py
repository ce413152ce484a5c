"""Work that has killed child processes is not run again in this run of the worker. Pure."""

from __future__ import annotations

from collections import OrderedDict

from worker.core.ledger import digest
from worker.errors import ChildDied

DEATHS_TO_QUARANTINE = 2
MAX_WORKS = 1000


class Quarantine:
    """Counts the deaths of children by the work that they did: operation, params and options as JSON.

    >>> quarantine = Quarantine()
    >>> quarantine.died(b"x"), quarantine.died(b"x")
    (1, 2)
    >>> quarantine.check(b"y")
    >>> quarantine.check(b"x")
    Traceback (most recent call last):
    worker.errors.ChildDied: This job has killed 2 child processes and is quarantined.
    """

    def __init__(self) -> None:
        self._deaths: OrderedDict[bytes, int] = OrderedDict()

    def deaths(self, content: bytes) -> int:
        """How many children this work has killed."""
        return self._deaths.get(digest(content), 0) if self._deaths else 0

    def died(self, content: bytes) -> int:
        """Counts a death. Returns how many there are now."""
        self._deaths[digest(content)] = self.deaths(content) + 1
        while len(self._deaths) > MAX_WORKS:
            self._deaths.popitem(last=False)
        return self.deaths(content)

    def lift(self) -> None:
        """Forgets all deaths."""
        self._deaths.clear()

    def check(self, content: bytes) -> None:
        """Does nothing if this work may run.

        Raises:
            ChildDied: it may not.
        """
        if self.deaths(content) >= DEATHS_TO_QUARANTINE:
            raise ChildDied(
                f"This job has killed {DEATHS_TO_QUARANTINE} child processes and is quarantined.",
                "Check its input file; a restart of the worker lifts the quarantine.",
            )
