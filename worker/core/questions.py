"""What clients ask: cancel, query, sync and replay about their jobs, describe and presets about the worker. Pure.

What may be long is an iterator that `answers` sends a slice at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

from worker.core import reports
from worker.core.admission import Admission
from worker.core.answers import MAX_OPEN
from worker.core.delivery import Client
from worker.core.ending import Ending
from worker.core.events import CancelAsked, CatalogChanged
from worker.core.ledger import EndedJob, State
from worker.core.presets import Presets
from worker.core.shared import Shared
from worker.errors import Cancelled, QueueFull, UnknownJob, WorkerError
from worker.protocol import messages as wire

REPLAY_AT_ONCE = 500


class Questions:
    """Answers what is known; a final only once it is stored.

    Args:
        shared: the scheduler's parts.
        admission: rejects questions about unknown jobs.
        ending: ends what is cancelled.
        presets: are listed.

    Attributes:
        missing: what this build cannot do, as the first child that worked has said.
    """

    def __init__(self, shared: Shared, admission: Admission, ending: Ending, presets: Presets) -> None:
        self._known = shared.known
        self._board = shared.board
        self._quarantine = shared.quarantine
        self._ledger = shared.ledger
        self._barrier = shared.barrier
        self._delivery = shared.delivery
        self._answers = shared.answers
        self._syncs = shared.syncs
        self._admission = admission
        self._ending = ending
        self._presets = presets
        self.missing: Mapping[str, str] = {}

    def cancel(self, client: Client, job_id: str, now: float) -> None:
        """Ends a job; one that has ended already gives its final again."""
        job = self._ledger.find((client.key, job_id))
        if job is None:
            self._admission.reject(client, job_id, UnknownJob(f"There is no job {job_id!r} of this client."), now)
        elif isinstance(job, EndedJob):
            self._ending.answer(job, job.final, now)
        else:
            self._ending.end(job, Cancelled(), now)

    def clear(self, client: Client, now: float) -> None:
        """Ends all queued jobs of this client."""
        for job in self._ledger.open_of(client.key):
            if job.state is State.QUEUED:
                self._ending.end(job, Cancelled("Cancelled by clear."), now)

    def cancel_asked(self, asked: CancelAsked, now: float) -> None:
        """Ends jobs as the operator wants. Their clients get a final."""
        wanted = asked.jobs or tuple(self._ledger.open)
        for job in [job for key in wanted if (job := self._ledger.open.get(key)) is not None]:
            if job.state is State.QUEUED or (job.state is State.RUNNING and not asked.waiting_only):
                self._ending.end(job, Cancelled("Cancelled by the operator."), now)

    def sync(self, client: Client, number: int, now: float) -> None:
        """Answers when all this client's jobs of now have ended."""
        try:
            answers = self._syncs.asked(client.key, number, self._ending.unfinished(client.key))
        except WorkerError as error:
            self._admission.complain(client, wire.Sync.address, error, now)
        else:
            for answer in answers:
                self._delivery.answer(client.key, answer)

    def query(self, client: Client, job_id: str, now: float) -> None:
        """Sends the latest report about a job again; of an ended one everything that is kept."""
        job = self._ledger.find((client.key, job_id))
        if job is None:
            self._admission.reject(client, job_id, UnknownJob(f"There is no job {job_id!r} of this client."), now)
        elif isinstance(job, EndedJob):
            self._barrier.after(job.stored_in, lambda now: self._begin(client, wire.Query.address, job_id, _told_again(job), now), now)
        else:
            self._ending.answer(job, job.latest or wire.Accepted(job.id, self._admission.position(job), 1), now)

    def replay(self, client: Client, from_seq: int, now: float) -> None:
        """Sends this client's finals again, from a number on."""
        finals = itertools.islice(self._finals(client.key, from_seq), REPLAY_AT_ONCE)
        self._begin(client, wire.Replay.address, "", finals, now)

    def _finals(self, client: str, from_seq: int) -> Iterator[wire.Final]:
        while (ended := self._ledger.next_final(client, from_seq)) is not None:
            from_seq = ended.final.seq + 1
            if self._barrier.is_stored(ended.stored_in):
                yield ended.final

    def describe(self, client: Client, name: str, now: float) -> None:
        """Sends the description of one operation, or of all."""
        try:
            if name not in ("", reports.EVERY):
                self._known.find(name)
        except WorkerError as error:
            self._admission.complain(client, wire.Describe.address, error, now)
        else:
            self._begin(client, wire.Describe.address, name, reports.descriptions(self._known.catalog, name, self.missing), now)

    def tell_catalog(self, client: Client) -> None:
        """Tells a client that there are operations of the artist's own, if there are some."""
        if self._known.changes:
            self._delivery.answer(client.key, self._about_catalog())

    def catalog_changed(self, event: CatalogChanged, now: float) -> None:
        """Uses another catalogue from now on. What has killed children may have been mended with it, so it may be tried again."""
        self._known.change(event.catalog, event.message, usable=event.usable)
        self._presets.catalog = event.catalog
        self._quarantine.lift()
        self._board.announce(self._about_catalog(), now)

    def _about_catalog(self) -> wire.CatalogChanged:
        return wire.CatalogChanged(self._known.changes, reports.shortened(self._known.message, reports.LONGEST_MESSAGE))

    def presets(self, client: Client, now: float) -> None:
        """Sends all values of all presets."""
        self._begin(client, wire.ListPresets.address, "", self._all_presets(), now)

    def _all_presets(self) -> Iterator[wire.Report]:
        """As they are when the answer begins: a question that is asked again meanwhile costs nothing."""
        yield from reports.presets(self._presets.as_dict())

    def _begin(self, client: Client, address: str, about: str, answer: Iterator[wire.Report], now: float) -> None:
        if not self._answers.begin(client.key, (address, about), answer, now):
            error = QueueFull(f"{MAX_OPEN} answers to this client are under way, which is the limit.", "Wait for one to end first.")
            self._admission.complain(client, address, error, now)


def _told_again(job: EndedJob) -> Iterator[wire.Report]:
    """Everything that is kept of a job, its final last."""
    yield from reports.files(job.id, job.result)
    yield from reports.skipped(job.id, job.result)
    yield from reports.rows(job.id, job.result)
    yield job.final
