"""How jobs end, and what their end sets free: jobs that wait for them with `after`, and syncs. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from worker.core import reports
from worker.core.backlog import Key
from worker.core.changes import JobReported
from worker.core.events import JobEnded, Store, StoreFinal, StoreJob
from worker.core.jobs import Failure
from worker.core.ledger import EndedJob, Job, State
from worker.core.shared import Shared
from worker.core.status import NO_FAILURE
from worker.errors import DiskFull, Expired, WorkerError
from worker.protocol import messages as wire

#: How finals of an earlier run are sent.
RESTORED_AT_ONCE = 100
RESTORED_EVERY_S = 0.05
#: Reports that those who watch hear of, too.
_TOLD = frozenset({wire.Progress, wire.File, wire.Skipped, wire.Source})


class Ending:
    """The only place where a job gets its final.

    Args:
        shared: the scheduler's parts.
    """

    def __init__(self, shared: Shared) -> None:
        self._boot = shared.boot
        self._emit = shared.emit
        self._chores = shared.chores
        self._timers = shared.timers
        self._ledger = shared.ledger
        self._backlog = shared.backlog
        self._slots = shared.slots
        self._sessions = shared.sessions
        self._barrier = shared.barrier
        self._delivery = shared.delivery
        self._board = shared.board
        self._syncs = shared.syncs
        self._watching = shared.watching
        self._watched = shared.watched
        self._waiting_for: dict[Key, dict[Key, Job]] = {}
        self._just_ended: deque[tuple[Key, bool]] = deque()
        self._replaceable: dict[tuple[str, str], Job] = {}
        self._undelivered: dict[Key, EndedJob] = {}
        self._restored = 0

    # ------------------------------------------------------------------------------------------------ reports

    def tell(self, job: Job, report: wire.Report) -> None:
        """Tells those who watch, and nobody else."""
        if self._watched and type(report) in _TOLD:
            self._emit(JobReported(job.client, report))  # type: ignore[arg-type]  # one of these

    def send(self, job: Job, report: wire.Report, now: float) -> None:
        """Sends a report about a job that has yet to end, once what is known of the job is stored."""
        self.tell(job, report)
        if self._barrier.is_stored(job.stored_in):
            if job.state is not State.WITHDRAWN:
                self._delivery.send(job.client, report)
            return

        def release(_now: float) -> None:
            if job.state is not State.WITHDRAWN:
                self._delivery.send(job.client, report)

        self._barrier.after(job.stored_in, release, now)

    def answer(self, job: Job | EndedJob, report: wire.Report, now: float) -> None:
        """Answers the client that asked for a job, once what the answer says is stored."""
        self._barrier.after(job.stored_in, lambda _: self._delivery.answer(job.client, report), now)

    # ---------------------------------------------------------------------------------------------------- ends

    def end(self, job: Job, why: WorkerError | Failure | None, now: float) -> None:
        """Ends a job: ready, or for the reason `why`."""
        started = job.state is State.RUNNING
        seq = self._delivery.next_seq(job.client)
        run_s = now - job.started_at if started else 0.0
        wait_s = (job.started_at if started else now) - job.accepted_at
        run_ms, wait_ms = round(run_s * 1000), round(wait_s * 1000)
        final: wire.Final
        if why is None:
            found = job.result
            final = wire.Ready(job.id, seq, self._boot, wait_ms, run_ms, found.items, job.operation, len(found.skipped), found.left_out)
            word, code, message, hint = "ready", NO_FAILURE, "", ""
        else:
            final = reports.failed(job.id, self._boot, why, seq)
            word, code, message, hint = why.word, why.code, why.message, why.hint
        self._clear_away(job)
        ended = self._ledger.end(job, final, now, word)
        self._store_final(ended)
        self._board.job_ended(final, run_ms)
        self._lets_go_on(job, ready=why is None)
        self._deliver(ended, now)

        def tell(later: float) -> None:
            name, items = self._delivery.name(job.client), job.result.items
            times = wait_s, run_s, now - job.accepted_at
            told = JobEnded(job.client, name, job.id, job.operation, word, code, wait_ms, run_ms, items, job.attempt, message, hint, *times)
            self._emit(told)
            self._watching.ended(job, told, later)

        self._chores.add(tell)

    def _store_final(self, ended: EndedJob) -> None:
        ended.stored_in = self._barrier.store(StoreFinal(ended.client, ended.id, ended.final))

    def _deliver(self, ended: EndedJob, now: float) -> None:
        """Sends the final once it is stored, and then what waits for it."""
        number = ended.stored_in
        if self._barrier.is_stored(number):
            self._deliver_now(ended, now)
            return
        self._undelivered[ended.key] = ended

        def release(now: float) -> None:
            if ended.stored_in != number:  # a later commit stores it again
                return
            if self._undelivered.get(ended.key) is ended:
                del self._undelivered[ended.key]
            self._deliver_now(ended, now)

        self._barrier.after(number, release, now)

    def _deliver_now(self, ended: EndedJob, now: float) -> None:
        self._delivery.deliver(ended.client, ended.final, now)
        self._chores.add(lambda _: self._answer_syncs(ended))

    def _answer_syncs(self, ended: EndedJob) -> None:
        for answer in self._syncs.ended(ended.key, ready=isinstance(ended.final, wire.Ready)):
            self._delivery.answer_late(ended.client, answer)

    def restore(self, ended: EndedJob, now: float, *, told: bool) -> None:
        """Takes over a job that ended in an earlier run. Its client may not have got its final; a few are sent at a time, of thousands."""
        self._ledger.restore(ended)
        if told:
            return
        self._restored += 1
        at = now + self._restored // RESTORED_AT_ONCE * RESTORED_EVERY_S
        self._timers.at(at, lambda now: self._delivery.deliver_again(ended.client, ended.final, now))

    def unfinished(self, client: str) -> list[Key]:
        """The jobs of this client whose final has not been sent yet, apart from live ones, which may never end."""
        undelivered = [key for key in self._undelivered if key[0] == client]
        return [*undelivered, *(job.key for job in self._ledger.open_of(client) if not job.live)]

    def _clear_away(self, job: Job) -> None:
        """Takes a job out of everything that would let it go on."""
        self._slots.abort(job)
        self._sessions.abort(job)
        self._backlog.remove(job.key, job.options.priority)
        options = job.options
        if options.replace and self._replaceable.get((job.client, options.replace)) is job:
            del self._replaceable[job.client, options.replace]
        for timer in job.timers.values():
            self._timers.cancel(timer)
        if not options.after:
            return
        first = (job.client, options.after)
        if job.key in (waiting := self._waiting_for.get(first, {})):
            del waiting[job.key]
            if not waiting:
                del self._waiting_for[first]

    # ---------------------------------------------------------------------------------------- one after the other

    def replace(self, job: Job, now: float) -> None:
        """Ends the queued job that this one replaces, and gives its place in the queue to this one."""
        options = job.options
        if not options.replace:
            return
        place = (job.client, options.replace)
        older = self._replaceable.get(place)
        if older is not None and older.state is State.QUEUED:
            if older.key in self._backlog and older.options.priority == options.priority and not options.after:
                self._backlog.take_over(older.key, job.key, options.priority)
            self.end(older, Expired(f"Replaced by the newer job {job.id!r} (replace={options.replace!r})."), now)
        self._replaceable[place] = job

    def enqueue(self, job: Job, now: float) -> None:
        """Lets a job wait for its turn, or for the job that must be ready first."""
        first = self._ledger.find((job.client, job.options.after)) if job.options.after else None
        if isinstance(first, Job):
            self._waiting_for.setdefault(first.key, {})[job.key] = job
        elif isinstance(first, EndedJob) and isinstance(first.final, wire.Failed):
            self._after_failed(job, now)
        else:
            self.line_up(job)

    def line_up(self, job: Job) -> None:
        """Lets a job wait for its turn. A live one needs none."""
        if job.live:
            self._sessions.wait(job)
        else:
            self._backlog.add(job.key, job.options.priority)

    def _lets_go_on(self, job: Job, *, ready: bool) -> None:
        """Notes that a job has ended, if others wait for it."""
        if self._waiting_for and job.key in self._waiting_for:
            self._just_ended.append((job.key, ready))

    def release_waiting(self, now: float) -> None:
        """Lets those go on that waited for jobs which have just ended. A queue, because one failure may end a long chain of them."""
        while self._just_ended:
            key, ready = self._just_ended.popleft()
            for waiting in self._waiting_for.pop(key, {}).values():
                if ready:
                    self.line_up(waiting)
                else:
                    self._after_failed(waiting, now)

    def _after_failed(self, job: Job, now: float) -> None:
        self.end(job, Expired(f"The job {job.options.after!r}, which had to be ready first, did not become ready."), now)

    def waits(self, job: Job) -> bool:
        """Whether a job waits for another one."""
        return job.key in self._waiting_for.get((job.client, job.options.after), {})

    # ------------------------------------------------------------------------------------ what could not be stored

    def withdraw(self, job: Job, reason: str, now: float) -> None:
        """Refuses a job that could not be stored. It never was accepted: nothing of it is kept, and its id is free."""
        self._clear_away(job)
        self._ledger.move(job, State.WITHDRAWN, now, reason)
        self._lets_go_on(job, ready=False)
        error = DiskFull(f"The job could not be stored: {reason}.", "Make room on the disk of the state directory (--state).")
        self._delivery.answer(job.client, reports.failed(job.id, self._boot, error))
        told = JobEnded(job.client, "", job.id, job.operation, error.word, error.code, 0, 0, 0, job.attempt, error.message)
        self._watching.ended(job, told, now)
        for answer in self._syncs.withdrawn(job.key):
            self._delivery.answer_late(job.client, answer)

    def store_again(self, lost: StoreJob | StoreFinal, now: float) -> list[Store]:
        """What is to be stored of an ended job, after a first try failed; its final waits for that. Empty if the job was withdrawn."""
        ended = self._undelivered.get((lost.client, lost.job_id))
        if ended is None:
            return []
        ended.stored_in = self._barrier.next
        self._deliver(ended, now)
        final = StoreFinal(ended.client, ended.id, ended.final)
        return [final] if isinstance(lost, StoreFinal) else [lost, final]

    # ----------------------------------------------------------------------------------------------- invariants

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        if self._just_ended:
            yield "jobs that wait for an ended one were not released"
        for first, waiting in self._waiting_for.items():
            if first not in self._ledger.open:
                yield f"jobs wait for {first}, which is not open"
            for job in waiting.values():
                if job.state is not State.QUEUED or (job.client, job.options.after) != first:
                    yield f"{job.key} waits for {first}, is {job.state} and names {job.options.after!r}"
        for (client, name), job in self._replaceable.items():
            if self._ledger.open.get(job.key) is not job or (job.client, job.options.replace) != (client, name):
                yield f"{job.key} stands for replace={name!r} and is {job.state}"
        for key, ended in self._undelivered.items():
            if self._barrier.is_stored(ended.stored_in):
                yield f"the final of {key} is stored and was not sent"
        if not set(self._syncs.awaited()) <= self._ledger.open.keys() | self._undelivered.keys():
            yield "a sync waits for a job that has ended"
