"""What clients ask about their jobs: cancel, query, sync, replay. Pure."""

from __future__ import annotations

import itertools

from worker.core import reports
from worker.core.admission import Admission
from worker.core.delivery import Client
from worker.core.ending import Ending
from worker.core.ledger import EndedJob, State
from worker.core.shared import Shared
from worker.errors import Cancelled, UnknownJob, WorkerError
from worker.protocol import messages as wire

REPLAY_AT_ONCE = 500


class Questions:
    """Answers what is known; a final only once it is stored.

    Args:
        shared: the scheduler's parts.
        admission: rejects questions about unknown jobs.
        ending: ends what is cancelled.
    """

    def __init__(self, shared: Shared, admission: Admission, ending: Ending) -> None:
        self._ledger = shared.ledger
        self._barrier = shared.barrier
        self._delivery = shared.delivery
        self._syncs = shared.syncs
        self._admission = admission
        self._ending = ending

    def cancel(self, client: Client, job_id: str, now: float) -> None:
        """Ends a job; one that has ended already gives its final again."""
        job = self._ledger.find((client.key, job_id))
        if job is None:
            self._admission.complain(client, wire.Cancel.address, UnknownJob(f"There is no job {job_id!r} of this client."), now)
        elif isinstance(job, EndedJob):
            self._ending.answer(job, job.final, now)
        else:
            self._ending.end(job, Cancelled(), now)

    def clear(self, client: Client, now: float) -> None:
        """Ends all queued jobs of this client."""
        for job in self._ledger.open_of(client.key):
            if job.state is State.QUEUED:
                self._ending.end(job, Cancelled("Cancelled by clear."), now)

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
            self._admission.reject(client, job_id, UnknownJob(f"There is no job {job_id!r} of this client."))
        elif isinstance(job, EndedJob):
            for report in (*reports.files(job.id, job.result), *reports.rows(job.id, job.result), job.final):
                self._ending.answer(job, report, now)
        else:
            self._ending.answer(job, job.latest or wire.Accepted(job.id, self._admission.position(job), 1), now)

    def replay(self, client: Client, from_seq: int) -> None:
        """Sends this client's finals again, from a number on."""
        ended = (ended for ended in self._ledger.finals_of(client.key, from_seq) if self._barrier.is_stored(ended.stored_in))
        for one in itertools.islice(ended, REPLAY_AT_ONCE):
            self._delivery.answer(client.key, one.final)
