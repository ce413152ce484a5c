"""Tells those who watch in this process, such as the page, what happens: makes `worker.core.changes`. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from worker.core.changes import AllOpen, JobAccepted, JobMoved, JobRemembered, PresetsChanged
from worker.core.events import KeptJob
from worker.core.ledger import Job, State
from worker.core.presets import Presets
from worker.core.shared import Shared

#: Presets that are set by a CHOP change with each frame; those who watch hear of it so rarely.
PRESETS_EVERY_S = 0.25
#: Those who watch hear of at most this number of ended jobs of an earlier run.
REMEMBERED = 1000


class Telling:
    """See the module's docstring. What the other parts know best they tell themselves: progress and ends, the levels, the clients.

    Args:
        shared: the scheduler's parts. Nothing happens if `shared.watched` is not set.
        presets: all of them.
    """

    def __init__(self, shared: Shared, presets: Presets) -> None:
        self._watched = shared.watched
        self._emit = shared.emit
        self._ledger = shared.ledger
        self._presets = presets
        self._presets_told = 0
        self._presets_due = float("-inf")
        if self._watched:
            self._ledger.moved = self._moved

    def _moved(self, job: Job, before: State, why: str) -> None:
        """How a job ended, `JobEnded` says."""
        if before is State.CHECKED:
            self._accepted(job)
        elif job.state is not State.ENDED:
            self._emit(JobMoved(job.client, job.id, str(job.state), job.attempt, why))

    def _accepted(self, job: Job) -> None:
        self._emit(JobAccepted(job.client, job.id, job.operation, job.content, job.options.priority))

    def restored(self, jobs: Sequence[KeptJob]) -> None:
        """An earlier run has left these. The newest of those that had ended are history."""
        if not self._watched:
            return
        finals = [(job.client, job.final) for job in jobs if job.final is not None]
        for client, final in finals[-REMEMBERED:]:
            self._emit(JobRemembered(client, final))

    def end_of_round(self, now: float) -> None:
        """Tells of the presets, if they have changed."""
        if self._watched and self._presets.version != self._presets_told and now >= self._presets_due:
            self._tell_presets(now)

    def _tell_presets(self, now: float) -> None:
        self._presets_told, self._presets_due = self._presets.version, now + PRESETS_EVERY_S
        self._emit(PresetsChanged(self._presets.as_dict()))

    def all(self, now: float) -> None:
        """Tells of everything that is open, and of the presets."""
        if not self._watched:
            return
        self._emit(AllOpen())
        for job in self._ledger.open.values():
            self._accepted(job)
            if job.state is State.RUNNING:
                self._emit(JobMoved(job.client, job.id, str(job.state), job.attempt, ""))
        self._tell_presets(now)
