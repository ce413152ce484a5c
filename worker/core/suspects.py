"""Jobs that ran when an earlier run of the worker ended unexpectedly: each of them runs alone, before all others. Pure.

One of them may be what ended the worker, and it is tried a few times only. If the others ran beside it each time, they would be given up
with it. Alone, each is blamed for what it does itself: those that did nothing end, and only one is left that ends the worker again.
"""

from __future__ import annotations

from collections.abc import Iterator

from worker.core.backlog import Backlog, Key
from worker.core.ledger import Job, Ledger, State


class Suspects:
    """Whose turn it is, with regard to them.

    Args:
        ledger: where each job is in its life.
        backlog: which jobs have something to run.
    """

    def __init__(self, ledger: Ledger, backlog: Backlog) -> None:
        self._ledger = ledger
        self._backlog = backlog
        self._jobs: dict[Key, tuple[int, Job]] = {}

    def add(self, job: Job, crashes: int) -> None:
        """A job of an earlier run, and how many runs ended unexpectedly while it ran."""
        self._jobs[job.key] = crashes, job

    def take_turn(self) -> Key | None:
        """Whose turn it is, or None. Those that were there at fewer crashes go first: they are more likely to end well."""
        if not self._jobs:
            return self._backlog.take_turn()
        self._forget_ended()
        ready = [(crashes, job) for crashes, job in self._jobs.values() if job.state is State.RUNNING or job.key in self._backlog]
        if not ready:  # they wait for their next attempt
            return self._backlog.take_turn()
        _, suspect = min(ready, key=lambda one: (one[1].state is not State.RUNNING, one[0]))
        if self._ledger.running - self._ledger.live > (suspect.state is State.RUNNING):  # what has begun meanwhile ends first
            return next((key for key in self._backlog if self._ledger.open[key].state is State.RUNNING), None)
        return suspect.key if suspect.key in self._backlog else None

    def _forget_ended(self) -> None:
        for key, (_, job) in list(self._jobs.items()):
            if self._ledger.open.get(key) is not job:
                del self._jobs[key]

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        running = [job for _, job in self._jobs.values() if job.state is State.RUNNING]
        if running and self._ledger.running - self._ledger.live > 1:
            yield f"{running[0].key} is to run alone, and {self._ledger.running} jobs run"
