"""Which jobs are taken: new ones, repeated ones, bundles, and those of an earlier run. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence

import msgspec

from worker.catalog.live import LiveParams
from worker.catalog.params import JobOptions, Params
from worker.catalog.parse import parse_pairs
from worker.core import reports
from worker.core.delivery import Client
from worker.core.ending import Ending
from worker.core.events import KeptJob, StoreJob
from worker.core.ledger import EndedJob, Job, State, digest
from worker.core.shared import Shared
from worker.errors import (
    ChildDied,
    ClientError,
    DecodeError,
    Draining,
    Expired,
    IdReused,
    QueueFull,
    UnknownJob,
    WorkerError,
)
from worker.protocol import messages as wire
from worker.protocol.addresses import ROOT, Peer

#: Broken runs of the worker after which a job that was running in each of them is not tried again.
MAX_CRASHES = 3


class Admission:
    """Checks jobs and accepts or rejects them.

    Args:
        shared: the scheduler's parts.
        ending: ends what is replaced or expires, and knows who waits for whom.
    """

    def __init__(self, shared: Shared, ending: Ending) -> None:
        self._known = shared.known
        self._limits = shared.config.limits
        self._boot = shared.boot
        self._timers = shared.timers
        self._ledger = shared.ledger
        self._backlog = shared.backlog
        self._barrier = shared.barrier
        self._delivery = shared.delivery
        self._quarantine = shared.quarantine
        self._suspects = shared.suspects
        self._sessions = shared.sessions
        self._ending = ending
        self._watching = shared.watching
        self._made_ids = itertools.count(1)
        self.stopping = ""  # why no new jobs are taken, "" if they are

    # ------------------------------------------------------------------------------------------------ commands

    def job(self, client: Client, command: wire.Job, now: float, preset: str = "") -> None:
        """Takes one job, or rejects it. Who presses a button knows no id, so the sentence names the preset."""
        try:
            job = self._checked(client, command, now)
        except WorkerError as error:
            if preset:
                error.say_first(f"Preset {preset!r}")
            self.reject(client, command.id, error, now)
        else:
            self._accept(job, now)

    def bundle(self, client: Client, commands: Sequence[wire.Command | DecodeError], now: float) -> None:
        """Takes the jobs of one bundle, all or none."""
        jobs: list[Job] = []
        for place, command in enumerate(commands):
            try:
                if isinstance(command, DecodeError):
                    raise command
                assert isinstance(command, wire.Job)  # noqa: S101 - the caller picked them
                job = self._checked(client, command, now, siblings=jobs)
            except WorkerError as error:
                self._reject_bundle(client, commands, place, error, now)
                return
            jobs += [job] if job else []
        for job in jobs:
            self._accept(job, now)

    def _reject_bundle(
        self, client: Client, commands: Sequence[wire.Command | DecodeError], place: int, error: WorkerError, now: float
    ) -> None:
        others = ClientError(f"Job {place + 1} of the same bundle was refused, so none of them was taken: {error.message}")
        for number, command in enumerate(commands):
            if isinstance(command, DecodeError):
                self.unreadable(client, command, now)
            elif isinstance(command, wire.Job):
                self.reject(client, command.id, error if number == place else others, now)

    def unreadable(self, client: Client, error: DecodeError, now: float) -> None:
        """Answers a command that could not be read."""
        if error.job_id:
            self.reject(client, error.job_id, error, now)
        else:
            self.complain(client, error.address, error, now)

    def reject(self, client: Client, job_id: str, error: WorkerError, now: float) -> None:
        """Answers a command about a job that is not accepted, or not known: `failed` with seq 0.

        An id that no job can have, and that is too long to be repeated, gets an `error`.
        """
        if len(job_id.encode(errors="replace")) > reports.LONGEST_ECHO:
            self.complain(client, (error.address if isinstance(error, DecodeError) else "") or wire.Job.address, error, now)
            return
        self._delivery.answer(client.key, reports.failed(job_id, self._boot, error))

    def throttled(self, peer: Peer, dropped: int, now: float) -> None:
        """Tells a sender that some of its packets were dropped."""
        limit = self._limits.packets_per_s
        error = QueueFull(f"{dropped} packets were dropped, because more than {limit} a second came from here (--packets-per-second).")
        self.complain(self._delivery.heard_from(peer, now), ROOT, error, now)

    def complain(self, client: Client, address: str, error: WorkerError, now: float) -> None:
        """Answers a command that belongs to no job."""

        def report() -> wire.Error:
            return wire.Error(error.code, reports.cut(address, reports.LONGEST_ADDRESS), reports.sentence(error))

        self._delivery.complain(client, report, now)

    # -------------------------------------------------------------------------------------------------- checks

    def _checked(self, client: Client, command: wire.Job, now: float, siblings: Collection[Job] = ()) -> Job | None:
        """The job, checked but not yet accepted; None after answering a repeated command.

        Args:
            client: who sends it.
            command: the job.
            now: the time.
            siblings: checked jobs of the same bundle.

        Raises:
            WorkerError: it is rejected.
        """
        row = self._known.find(command.operation)
        if row.live:  # it takes another operation's parameters, too
            params, options = self._known.catalog.parse_job(command.operation, command.pairs)
        else:
            params, options = parse_pairs(command.operation, row.params, command.pairs)
        content = msgspec.json.encode([command.operation, params, options])
        known = self._ledger.find((client.key, command.id)) if command.id else None
        if known is not None:
            self._accept_again(known, content, now)
            return None
        if self.stopping:
            message = f"The worker is shutting down ({self.stopping}) and takes no new jobs."
            raise Draining(message, "Start it again, then send the job again.")
        self._check_limits(content, siblings)
        self._quarantine.check(content)
        job_id = command.id or f"w{self._boot}-{next(self._made_ids)}"
        ids = {job.id for job in siblings}
        if job_id in ids:
            raise IdReused(f"Two jobs of one bundle have the id {job_id!r}.")
        if options.after and options.after not in ids and self._ledger.find((client.key, options.after)) is None:
            message = f"after: there is no job {options.after!r} of this client."
            raise UnknownJob(message, "Send the job that must be ready first before this one.")
        if isinstance(params, LiveParams):
            self._sessions.check(client.key, params, sum(job.live for job in siblings))
        at_once = not self._ledger.queued  # then it starts soon, and its params need not be read from the content again
        return Job(client.key, job_id, row.name, options, content, now, params if row.own or at_once else None, live=row.live)

    def _accept_again(self, job: Job | EndedJob, content: bytes, now: float) -> None:
        if (digest(content) != job.digest) if isinstance(job, EndedJob) else (content != job.content):
            raise IdReused(f"The id {job.id!r} already belongs to a job with other content.", "Use a new id for each new job.")
        self._ending.answer(job, wire.Accepted(job.id, self.position(job), 1), now)
        if isinstance(job, EndedJob):
            self._ending.answer(job, job.final, now)

    def position(self, job: Job | EndedJob) -> int:
        """How many jobs go before a queued one, as far as is known; 0 for any other."""
        return self._backlog.ahead_of_new(job.options.priority) if isinstance(job, Job) and job.state is State.QUEUED else 0

    def _check_limits(self, content: bytes, siblings: Collection[Job]) -> None:
        limits, queued = self._limits, self._ledger.queued
        if queued + len(siblings) >= limits.queue_jobs:
            raise QueueFull(f"{queued} jobs are waiting and the limit is {limits.queue_jobs} (--queue-jobs).", "Send it again later.")
        if self._ledger.queued_bytes + sum([len(job.content) for job in siblings]) + len(content) > limits.queue_bytes:
            megabytes = limits.queue_bytes / 2**20
            raise QueueFull(f"The waiting jobs hold {megabytes:g} MB of text, which is the limit.", "Send it again later.")

    # ----------------------------------------------------------------------------------------------- acceptance

    def _accept(self, job: Job | None, now: float) -> None:
        if job is None:
            return
        job.stored_in = self._barrier.store(StoreJob(job.client, job.id, job.content))
        self._ending.send(job, wire.Accepted(job.id, self._backlog.ahead_of_new(job.options.priority), 0), now)
        self._take(job, job.operation, now)

    def _take(self, job: Job, why: str, now: float) -> None:
        """Lets an accepted job wait for its turn, with all that its options ask for."""
        self._ledger.move(job, State.QUEUED, now, why)
        self._watching.changed(job, now)
        self._ending.replace(job, now)
        if job.options.ttl_ms:
            job.set_timer("ttl", self._timers.at(job.accepted_at + job.options.ttl_ms / 1000, lambda now: self._expire(job, now)))
        self._ending.enqueue(job, now)

    def _expire(self, job: Job, now: float) -> None:
        if job.state is State.QUEUED and job.attempt == 0:
            self._ending.end(job, Expired(f"The job waited for longer than its ttl_ms of {job.options.ttl_ms}."), now)

    def restore(self, kept: KeptJob, now: float) -> None:
        """Takes over a job of an earlier run."""
        self._delivery.restore_client(kept.client, now)
        if kept.final is None:
            self._restore_open(kept, now)
        else:
            self._ending.restore(EndedJob(kept.client, kept.job_id, kept.content, kept.final), now, told=kept.told)

    def _restore_open(self, kept: KeptJob, now: float) -> None:
        """Takes over a job that has yet to end, with its age.

        One that had started is run again, alone, if it may be repeated and the worker has not ended too often while it ran, otherwise it
        ends as 502. One that had not started simply waits again.
        """
        operation, own, every = msgspec.json.decode(kept.content)
        failure: WorkerError | None = None
        try:
            parsed = self._known.catalog.parse_job(operation, [*own.items(), *every.items()])
        except WorkerError as error:  # written by a version that knew more
            failure, parsed = error, (Params(), JobOptions())
        params, options = parsed
        live = isinstance(params, LiveParams)
        job = Job(kept.client, kept.job_id, operation, options, kept.content, now - kept.age_s, params, attempt=kept.attempt, live=live)
        if failure is None and kept.attempt and not params.repeatable():
            failure = ChildDied("The worker ended while the job ran, and its operation may not be repeated.")
        if failure is None and kept.crashes >= MAX_CRASHES and not live:
            message = f"The worker ended unexpectedly {kept.crashes} times while the job ran. It is not tried again."
            failure = ChildDied(message, "Make the job smaller, or give the worker more memory; then send it with a new id.")
        if failure is not None:
            self._ledger.move(job, State.QUEUED, now, "after a restart")
            self._ending.end(job, failure, now)
        else:
            if kept.crashes and not live:
                self._suspects.add(job, kept.crashes)
            self._take(job, "after a restart", now)
