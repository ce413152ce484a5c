"""Decides everything about jobs: events in, effects out. No socket, no process, no clock; the time is an argument.

    effects = scheduler.handle(event, now)     # carry them out in this order
    scheduler.next_deadline()                  # when to call again with Woke(), at the latest

The life of a job, and the only ways through it:

    command -> refused                                     (`failed` with seq 0; nothing is kept)
    command -> QUEUED -> RUNNING -> ENDED                  (`accepted`, `processing`, ..., one final)
               QUEUED -> ENDED                             (cancelled, expired, replaced, or its `after` failed)
                         RUNNING -> QUEUED                 (a retry)
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import msgspec

from worker.backlog import Backlog
from worker.catalog import CATALOG, JobOptions, OperationInfo, Params, fields_of, operation_info, parse_job
from worker.config import Config
from worker.delivery import Client, Delivery
from worker.errors import (
    Cancelled,
    ChildDied,
    ClientError,
    DeadlineExceeded,
    DecodeError,
    Draining,
    Expired,
    IdReused,
    NotYet,
    QueueFull,
    UnknownJob,
    WorkerError,
)
from worker.events import (
    Abort,
    Effect,
    Event,
    Execute,
    Exit,
    Finished,
    Peer,
    Progressed,
    Received,
    Send,
    SendNumbers,
    StopAsked,
    StoreAttempt,
    StoreFinal,
    StoreJob,
    Woke,
)
from worker.jobs import Failure, Outcome, Part, Phase, Plan, Result, Task
from worker.protocol import messages as wire
from worker.protocol.addresses import MAX_DATAGRAM_OUT, PROTOCOL_VERSION
from worker.timers import Timers

HEARTBEAT_S = 1.0
STATUS_INTERVAL_S = 0.05  # changes of the status are sent at most this often, the newest wins
PROGRESS_INTERVAL_S = 0.1
MAX_CHUNKS = 64
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
DEATHS_TO_QUARANTINE = 2
LONGEST_TEXT = 500  # of a message or hint, so that a report fits into one datagram

#: A job's key: its client, and its id there.
Key = tuple[str, str]


class State(Enum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(slots=True)
class Job:
    """All that is known of one accepted job.

    Attributes:
        content: operation, params and options as JSON; two jobs with the same content are the same work.
        todo: tasks that may run now.
        running: the parts that run now by their task; None for a PLAN or FINISH.
        done: how many steps each running task has done.
        results: of the parts that ended, until all parts before them have.
        result: what is complete, in order.
        latest: the newest report about it, for `query`.
    """

    client: Client
    id: str
    operation: str
    params: Params
    options: JobOptions
    content: bytes
    accepted_at: float
    state: State = State.QUEUED
    attempt: int = 0
    started_at: float = 0.0
    plan: Plan | None = None
    todo: deque[tuple[Phase, Part | None]] = field(default_factory=lambda: deque([(Phase.PLAN, None)]))
    running: dict[int, Part | None] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)
    parts_in_order: int = 0
    steps_done: int = 0
    result: Result = field(default_factory=Result)
    progress_at: float = float("-inf")
    progress_due: bool = False
    latest: wire.Report | None = None
    final: wire.Final | None = None

    @property
    def key(self) -> Key:
        return self.client.key, self.id

    @property
    def blocks(self) -> bool:
        """Whether it has yet to end."""
        return self.state is not State.ENDED


@dataclass(slots=True)
class _Sync:
    number: int
    awaited: set[Key]


@dataclass(slots=True)
class _Tally:
    """A client's ended jobs since its last `sync`, and its open and newest syncs."""

    ready: int = 0
    failed: int = 0
    open: list[_Sync] = field(default_factory=list)
    answered: wire.Synced | None = None


class Scheduler:
    """See the module's docstring.

    Args:
        config: settings; `config.workers` tasks run at a time.
        boot: number of this start, told to every client.
        now: the time of the start, in seconds of a clock that never goes back.
        version: told in `welcome`.
    """

    def __init__(self, config: Config, boot: int, now: float, version: str = "") -> None:
        self._config = config
        self._boot = boot
        self._started_at = now
        self._version = version
        self._effects: list[Effect] = []
        self._timers = Timers()
        self._delivery = Delivery(config, self._timers, self._emit)
        self._backlog = Backlog()
        self._jobs: dict[Key, Job] = {}
        self._ended: deque[Key] = deque()
        self._kept_results: OrderedDict[Key, int] = OrderedDict()
        self._tasks: dict[int, Job] = {}
        self._waiting_for: dict[Key, list[Job]] = {}
        self._replaceable: dict[tuple[str, str], Job] = {}
        self._tallies: dict[str, _Tally] = {}
        self._deaths: OrderedDict[bytes, int] = OrderedDict()
        self._task_ids = itertools.count(1)
        self._job_ids = itertools.count(1)
        self._queued = self._running = self._queued_bytes = 0
        self._stopping = ""
        self._exited = False
        self._counters = {"done": 0, "failed": 0, "last_code": 0, "last_ms": 0, "beat": 0}
        self._progress = 0.0
        self._status_sent: wire.Status | None = None
        self._status_at = float("-inf")
        self._numbers_changed = False
        self._status_timer = False
        self._beat(now)  # the fixed targets of --report learn at once that a worker is there

    # ------------------------------------------------------------------------------------------------- events

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Takes note of an event and says what is to be done, in order."""
        match event:
            case Received(peer, commands):
                self._received(peer, commands, now)
            case Progressed(task_id, done):
                self._progressed(task_id, done, now)
            case Finished(task_id, outcome):
                self._finished(task_id, outcome, now)
            case StopAsked(reason, at_once):
                self._stop(reason, at_once=at_once, now=now)
            case Woke():
                pass
        self._timers.run_due(now)
        self._fill_slots(now)
        self._report_status(now)
        self._exit_when_done()
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When `handle` wants to be called again, if nothing happens before."""
        return self._timers.next_deadline()

    @property
    def unfinished(self) -> int:
        """How many accepted jobs have no final yet."""
        return self._queued + self._running

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    # ----------------------------------------------------------------------------------------------- commands

    def _received(self, peer: Peer, commands: Sequence[wire.Command | DecodeError], now: float) -> None:
        jobs = [command for command in commands if isinstance(command, wire.Job) or (isinstance(command, DecodeError) and command.job_id)]
        if len(jobs) > 1:
            self._bundled_jobs(self._delivery.heard_from(peer, now), jobs, now)
        for command in commands:
            if len(jobs) > 1 and any(command is job for job in jobs):
                continue
            if isinstance(command, wire.Hello):
                self._hello(peer, command, now)
            else:
                self._command(self._delivery.heard_from(peer, now), command, now)

    def _hello(self, peer: Peer, hello: wire.Hello, now: float) -> None:
        client = self._delivery.hello(peer, hello, now)
        lease_ms = self._config.limits.lease_ms
        self._delivery.answer(client, wire.Welcome(self._version, PROTOCOL_VERSION, self._boot, lease_ms, client.newest_seq))
        self._delivery.answer(client, self._status())
        self._send_numbers([client.numbers] if client.numbers else [])

    def _command(self, client: Client, command: wire.Command | DecodeError, now: float) -> None:
        match command:
            case DecodeError():
                self._bad_command(client, command, now)
            case wire.Job():
                self._job(client, command, now)
            case wire.Cancel(id=job_id):
                self._cancel(client, job_id, now)
            case wire.Clear():
                for job in [job for job in self._jobs.values() if job.client is client and job.state is State.QUEUED]:
                    self._end(job, Cancelled("Cancelled by clear."), now)
            case wire.Query(id=job_id):
                self._query(client, job_id)
            case wire.Sync(n=number):
                self._sync(client, number)
            case wire.Ping(nonce=nonce):
                self._delivery.answer(client, wire.Pong(nonce, self._boot, now - self._started_at))
            case wire.GetStatus():
                self._delivery.answer(client, self._status())
                self._send_numbers([client.numbers] if client.numbers else [])
            case wire.Describe(operation=name):
                self._describe(client, name, now)
            case wire.Ack(seq=seq):
                self._delivery.acknowledged(client, seq)
            case wire.Bye():
                self._delivery.bye(client)
            case wire.Quit():
                self._stop(f"asked by {client.name or client.key}", at_once=bool(self._stopping), now=now)
                self._delivery.answer(client, self._status())
            case wire.Replay() | wire.Set() | wire.Trigger():
                not_yet = NotYet(f"{command.address} is not in this version yet.")
                self._delivery.refuse(client, wire.Error(not_yet.code, command.full_address, not_yet.message), now)

    def _bad_command(self, client: Client, error: DecodeError, now: float) -> None:
        if error.job_id:
            self._refuse(client, error.job_id, error)
        else:
            self._delivery.refuse(client, wire.Error(error.code, error.address[:200], _sentence(error)), now)

    # ------------------------------------------------------------------------------------------- taking a job

    def _job(self, client: Client, command: wire.Job, now: float) -> None:
        try:
            job = self._admitted(client, command, now)
        except WorkerError as error:
            self._refuse(client, command.id, error)
        else:
            self._accept(job, now)

    def _bundled_jobs(self, client: Client, commands: Sequence[wire.Command | DecodeError], now: float) -> None:
        """The jobs of one bundle are stored all or none."""
        jobs: list[Job | None] = []
        for place, command in enumerate(commands):
            try:
                if isinstance(command, DecodeError):
                    raise command
                assert isinstance(command, wire.Job)  # noqa: S101 - the caller picked them
                jobs.append(self._admitted(client, command, now, with_it=jobs))
            except WorkerError as error:
                for other_place, other in enumerate(commands):
                    other_id = other.id if isinstance(other, wire.Job) else other.job_id if isinstance(other, DecodeError) else ""
                    reason = ClientError(f"Job {place + 1} of the same bundle was refused, so none of them was taken.")
                    self._refuse(client, other_id, error if other_place == place else reason)
                return
        for job in jobs:
            self._accept(job, now)

    def _admitted(self, client: Client, command: wire.Job, now: float, with_it: Sequence[Job | None] = ()) -> Job | None:
        """The job, checked but not yet kept; None after answering a repeated command.

        Raises:
            WorkerError: it is refused.
        """
        params, options = parse_job(command.operation, command.pairs)
        content = msgspec.json.encode([command.operation, params, options])
        known = self._jobs.get((client.key, command.id)) if command.id else None
        if known is not None:
            self._accept_again(known, content)
            return None
        if self._stopping:
            raise Draining(f"The worker is shutting down ({self._stopping}) and takes no new jobs.", "Start it again, then send the job again.")
        self._check_limits(content, [job for job in with_it if job is not None])
        self._check_quarantine(content)
        job_id = command.id or f"w{self._boot}-{next(self._job_ids)}"
        siblings = {job.id for job in with_it if job is not None}
        if job_id in siblings:
            raise IdReused(f"Two jobs of one bundle have the id {job_id!r}.")
        if options.after and (client.key, options.after) not in self._jobs and options.after not in siblings:
            raise UnknownJob(f"after: there is no job {options.after!r} of this client.", "Send the job that must be ready first before this one.")
        return Job(client, job_id, command.operation, params, options, content, now)

    def _accept_again(self, job: Job, content: bytes) -> None:
        if job.content != content:
            raise IdReused(f"The id {job.id!r} already belongs to a job with other content.", "Use a new id for each new job.")
        self._delivery.send(job.client, wire.Accepted(job.id, self._position(job), 1))
        if job.final is not None:
            self._delivery.send(job.client, job.final)

    def _check_limits(self, content: bytes, with_it: Sequence[Job]) -> None:
        limits = self._config.limits
        if self._queued + len(with_it) >= limits.queue_jobs:
            raise QueueFull(f"{self._queued} jobs are waiting and the limit is {limits.queue_jobs} (--queue-jobs).", "Send the job again later.")
        if self._queued_bytes + sum(len(job.content) for job in with_it) + len(content) > limits.queue_bytes:
            megabytes = limits.queue_bytes / 2**20
            raise QueueFull(f"The waiting jobs are {megabytes:.0f} MB of text, which is the limit (--queue-megabytes).", "Send the job again later.")

    def _check_quarantine(self, content: bytes) -> None:
        if self._deaths.get(content, 0) >= DEATHS_TO_QUARANTINE:
            raise ChildDied(
                f"This job has killed {DEATHS_TO_QUARANTINE} child processes and is quarantined.",
                "Check its input file; a restart of the worker lifts the quarantine.",
            )

    def _accept(self, job: Job | None, now: float) -> None:
        if job is None:
            return
        self._emit(StoreJob(job.client.key, job.id, job.content))
        self._delivery.send(job.client, wire.Accepted(job.id, self._backlog.ahead_of_new(job.options.priority), 0))
        self._jobs[job.key] = job
        self._queued += 1
        self._queued_bytes += len(job.content)
        self._replace_older(job, now)
        if job.options.ttl_ms:
            self._timers.at(now + job.options.ttl_ms / 1000, lambda now: self._expire(job, now))
        self._enqueue(job, now)

    def _replace_older(self, job: Job, now: float) -> None:
        if not job.options.replace:
            return
        slot = (job.client.key, job.options.replace)
        older = self._replaceable.get(slot)
        if older is not None and older.state is State.QUEUED:
            self._end(older, Expired(f"Replaced by the newer job {job.id!r} (replace={job.options.replace!r})."), now)
        self._replaceable[slot] = job

    def _enqueue(self, job: Job, now: float) -> None:
        """Lets the job wait for its turn, or for the job that must be ready first."""
        first = self._jobs.get((job.client.key, job.options.after)) if job.options.after else None
        if first is not None and first.state is not State.ENDED:
            self._waiting_for.setdefault(first.key, []).append(job)
        elif isinstance(first.final if first else None, wire.Failed):
            self._after_failed(job, now)
        else:
            self._backlog.add(job.key, job.options.priority)

    def _after_failed(self, job: Job, now: float) -> None:
        self._end(job, Expired(f"The job {job.options.after!r}, which had to be ready first, did not become ready."), now)

    def _expire(self, job: Job, now: float) -> None:
        if job.state is State.QUEUED and job.attempt == 0:
            self._end(job, Expired(f"The job waited for longer than its ttl_ms of {job.options.ttl_ms}."), now)

    def _refuse(self, client: Client, job_id: str, error: WorkerError) -> None:
        self._delivery.answer(client, wire.Failed(job_id, 0, self._boot, error.code, error.word, error.message[:LONGEST_TEXT], error.hint[:LONGEST_TEXT]))

    def _position(self, job: Job) -> int:
        return self._backlog.ahead_of_new(job.options.priority) if job.state is State.QUEUED else 0

    # ---------------------------------------------------------------------------------------------- running it

    def _fill_slots(self, now: float) -> None:
        while len(self._tasks) < self._config.workers:
            key = self._backlog.take_turn()
            if key is None:
                return
            self._execute(self._jobs[key], now)  # type: ignore[index]

    def _execute(self, job: Job, now: float) -> None:
        if job.state is State.QUEUED:
            self._start(job, now)
        phase, part = job.todo.popleft()
        if not job.todo:
            self._backlog.remove(job.key, job.options.priority)
        task_id = next(self._task_ids)
        self._tasks[task_id] = job
        job.running[task_id] = part
        params = self._spilled(job) if phase is Phase.FINISH else job.params
        joined = job.result if phase is Phase.FINISH else Result()
        self._emit(Execute(Task(task_id, job.operation, params, phase, self._config.workers, part, joined)))

    def _start(self, job: Job, now: float) -> None:
        job.state = State.RUNNING
        job.attempt += 1
        job.started_at = now
        self._queued -= 1
        self._queued_bytes -= len(job.content)
        self._running += 1
        self._emit(StoreAttempt(job.client.key, job.id, job.attempt))
        job.latest = wire.Processing(job.id, job.attempt)
        self._delivery.send(job.client, job.latest)
        timeout_ms = job.options.timeout_ms or self._config.limits.timeout_ms
        if timeout_ms:
            attempt = job.attempt
            self._timers.at(now + timeout_ms / 1000, lambda now: self._overrun(job, attempt, timeout_ms, now))

    def _overrun(self, job: Job, attempt: int, timeout_ms: int, now: float) -> None:
        if job.state is State.RUNNING and job.attempt == attempt:
            sentence = f"The job was stopped after {timeout_ms} ms, at {job.steps_done} of {self._steps(job)} steps."
            self._end(job, DeadlineExceeded(sentence, "Raise its timeout_ms, or the worker's --timeout-ms."), now)

    def _progressed(self, task_id: int, done: int, now: float) -> None:
        job = self._tasks.get(task_id)
        if job is None or job.plan is None:  # a job of one task is short; its final says it all
            return
        job.done[task_id] = done
        self._report_progress(job, now)

    def _report_progress(self, job: Job, now: float) -> None:
        """At most 10 a second for a job; the newest wins."""
        if now - job.progress_at >= PROGRESS_INTERVAL_S:
            self._send_progress(job, now)
        elif not job.progress_due:
            job.progress_due = True
            self._timers.at(job.progress_at + PROGRESS_INTERVAL_S, lambda now: self._send_due_progress(job, now))

    def _send_due_progress(self, job: Job, now: float) -> None:
        if job.progress_due and job.state is State.RUNNING:
            self._send_progress(job, now)

    def _send_progress(self, job: Job, now: float) -> None:
        steps = self._steps(job)
        step = min(steps, job.steps_done + sum(job.done.values()))
        elapsed_ms = (now - job.started_at) * 1000
        eta_ms = round(elapsed_ms * (steps - step) / step) if step else -1
        job.progress_due = False
        job.progress_at = now
        self._progress = step / steps
        job.latest = wire.Progress(job.id, step / steps, step, steps, eta_ms, "")
        self._delivery.send(job.client, job.latest)
        self._numbers_changed = True

    def _steps(self, job: Job) -> int:
        return max(1, job.plan.steps if job.plan else 1)

    # ------------------------------------------------------------------------------------------ what it found

    def _finished(self, task_id: int, outcome: Outcome, now: float) -> None:
        job = self._tasks.pop(task_id, None)
        if job is None:  # aborted: its job has ended already
            return
        part = job.running.pop(task_id)
        job.done.pop(task_id, None)
        match outcome:
            case Failure():
                self._task_failed(job, outcome, now)
            case Plan():
                self._planned(job, outcome, now)
            case Result() if part is not None:
                self._part_done(job, part, outcome, now)
            case Result():
                self._found(job, outcome)
                self._finish_or_conclude(job, now)

    def _planned(self, job: Job, plan: Plan, now: float) -> None:
        job.plan = plan
        self._found(job, plan.base)
        if plan.parts:
            job.todo.extend((Phase.PART, part) for part in plan.parts)
            self._backlog.add_first(job.key, job.options.priority)
            self._send_progress(job, now)
        else:
            self._finish_or_conclude(job, now)

    def _part_done(self, job: Job, part: Part, result: Result, now: float) -> None:
        """Parts end in any order; files and rows are told in the order of the inputs."""
        job.steps_done += part.steps
        job.results[part.index] = result
        while job.parts_in_order in job.results:
            self._found(job, job.results.pop(job.parts_in_order))
            job.parts_in_order += 1
        assert job.plan is not None  # noqa: S101 - parts come from a plan
        if job.parts_in_order < len(job.plan.parts):
            self._report_progress(job, now)
        else:
            self._send_progress(job, now)
            self._finish_or_conclude(job, now)

    def _found(self, job: Job, result: Result) -> None:
        job.result = job.result.joined(result)
        for written in result.files:
            self._delivery.send(job.client, wire.File(job.id, written.path, written.size_bytes, written.width, written.height))

    def _finish_or_conclude(self, job: Job, now: float) -> None:
        """One FINISH task where a table is to be written of all rows, then the final."""
        finished = job.plan is not None and job.parts_in_order > len(job.plan.parts)
        asked = job.plan is not None and job.plan.finish
        if (asked or self._too_long(job)) and not finished:
            job.plan = job.plan or Plan(())
            job.parts_in_order = len(job.plan.parts) + 1
            job.todo.append((Phase.FINISH, None))
            self._backlog.add_first(job.key, job.options.priority)
        else:
            self._send_rows(job, job.client)
            self._end(job, None, now)

    def _too_long(self, job: Job) -> bool:
        """More rows than are told in datagrams, and no table of the job's own that holds them."""
        chunks = -(-len(job.result.rows) // _rows_per_chunk(job))
        return chunks > MAX_CHUNKS and not getattr(job.params, "data", "")

    def _spilled(self, job: Job) -> Params:
        """The params with a table of the worker's own choice, where the rows are too many for datagrams."""
        if not self._too_long(job) or not hasattr(job.params, "data"):
            return job.params
        name = re.sub(r"[^A-Za-z0-9._-]", "_", job.id)
        return msgspec.structs.replace(job.params, data=f"td-image-worker-results/{name}.json")

    def _send_rows(self, job: Job, client: Client) -> None:
        result = job.result
        per_chunk = _rows_per_chunk(job)
        chunks = -(-len(result.rows) // per_chunk)
        if not result.kind or chunks > MAX_CHUNKS:
            return
        for chunk in range(max(1, chunks)):  # finding nothing is told, too
            first = chunk * per_chunk
            numbers = tuple(itertools.chain.from_iterable(result.rows[first : first + per_chunk]))
            self._delivery.send(
                client, wire.ResultRows(result.kind, job.id, chunk, max(1, chunks), first, len(result.rows), len(result.fields), numbers)
            )

    # ------------------------------------------------------------------------------------------------- its end

    def _task_failed(self, job: Job, failure: Failure, now: float) -> None:
        died = failure.code == ChildDied.code and failure.word == ChildDied.word
        if died:
            self._deaths[job.content] = self._deaths.get(job.content, 0) + 1
            while len(self._deaths) > self._config.limits.remembered_jobs:
                self._deaths.popitem(last=False)
        may_pass = failure.transient or died
        quarantined = self._deaths.get(job.content, 0) >= DEATHS_TO_QUARANTINE
        if may_pass and not quarantined and job.attempt <= job.options.retries and job.params.repeatable():
            self._retry(job, now)
        elif quarantined and died:
            self._end(job, ChildDied(f"{failure.message} It was the second one with this input, which is quarantined.", failure.hint), now)
        else:
            self._end(job, failure, now)

    def _retry(self, job: Job, now: float) -> None:
        self._abort_tasks(job)
        self._running -= 1
        self._queued += 1
        self._queued_bytes += len(job.content)
        job.state = State.QUEUED
        job.plan, job.parts_in_order, job.steps_done = None, 0, 0
        job.results.clear()
        job.result = Result()
        job.todo = deque([(Phase.PLAN, None)])
        self._backlog.remove(job.key, job.options.priority)
        delay = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (job.attempt - 1))
        self._timers.at(now + delay, lambda _: self._backlog.add(job.key, job.options.priority) if job.state is State.QUEUED else None)

    def _cancel(self, client: Client, job_id: str, now: float) -> None:
        job = self._jobs.get((client.key, job_id))
        if job is None:
            error = UnknownJob(f"There is no job {job_id!r} of this client.")
            self._delivery.refuse(client, wire.Error(error.code, wire.Cancel.address, error.message), now)
        elif job.final is not None:
            self._delivery.answer(client, job.final)
        else:
            self._end(job, Cancelled(), now)

    def _abort_tasks(self, job: Job) -> None:
        for task_id in job.running:
            del self._tasks[task_id]
            self._emit(Abort(task_id))
        job.running.clear()
        job.done.clear()

    def _end(self, job: Job, why: WorkerError | Failure | None, now: float) -> None:
        """The only place where a job gets its final."""
        if job.state is State.RUNNING:
            self._running -= 1
        else:
            self._queued -= 1
            self._queued_bytes -= len(job.content)
        self._abort_tasks(job)
        self._backlog.remove(job.key, job.options.priority)
        run_ms = round((now - job.started_at) * 1000) if job.attempt else 0
        wait_ms = round(((job.started_at if job.attempt else now) - job.accepted_at) * 1000)
        if why is None:
            final: wire.Final = wire.Ready(job.id, 0, self._boot, wait_ms, run_ms, job.result.items, job.operation)
        else:
            final = wire.Failed(job.id, 0, self._boot, why.code, why.word, why.message[:LONGEST_TEXT], why.hint[:LONGEST_TEXT])
        job.final = self._delivery.number(job.client, final)
        job.latest = job.final
        job.state = State.ENDED
        self._emit(StoreFinal(job.client.key, job.id, job.final.seq, job.final))
        self._delivery.deliver(job.client, job.final, now)
        self._count(job, run_ms)
        self._forget(job)
        self._release_waiting(job, now)
        self._settle_syncs(job)

    def _count(self, job: Job, run_ms: int) -> None:
        ready = isinstance(job.final, wire.Ready)
        self._counters["done" if ready else "failed"] += 1
        self._counters["last_ms"] = run_ms
        if isinstance(job.final, wire.Failed):
            self._counters["last_code"] = job.final.code
        else:
            self._counters["last_code"] = 200
        self._progress = 1.0
        tally = self._tallies.setdefault(job.client.key, _Tally())
        tally.ready += ready
        tally.failed += not ready

    def _forget(self, job: Job) -> None:
        """Keeps memory bounded: the ids of the newest jobs, the rows of fewer."""
        job.todo.clear()
        job.results.clear()
        if self._replaceable.get((job.client.key, job.options.replace)) is job:
            del self._replaceable[job.client.key, job.options.replace]
        self._kept_results[job.key] = len(job.result.rows) + len(job.result.files)
        total = sum(self._kept_results.values()) if len(self._kept_results) % 64 == 0 else 0  # counted now and then
        while total > self._config.limits.result_rows_kept:
            key, size = self._kept_results.popitem(last=False)
            total -= size
            if key in self._jobs:
                self._jobs[key].result = Result()
        self._ended.append(job.key)
        while len(self._ended) > self._config.limits.remembered_jobs:
            key = self._ended.popleft()
            self._jobs.pop(key, None)
            self._kept_results.pop(key, None)

    def _release_waiting(self, job: Job, now: float) -> None:
        for waiting in self._waiting_for.pop(job.key, ()):
            if waiting.state is not State.QUEUED:
                continue
            if isinstance(job.final, wire.Ready):
                self._backlog.add(waiting.key, waiting.options.priority)
            else:
                self._after_failed(waiting, now)

    # ------------------------------------------------------------------------------------------------ questions

    def _query(self, client: Client, job_id: str) -> None:
        job = self._jobs.get((client.key, job_id))
        if job is None:
            self._refuse(client, job_id, UnknownJob(f"There is no job {job_id!r} of this client."))
        elif job.final is not None:
            for written in job.result.files:
                self._delivery.answer(client, wire.File(job.id, written.path, written.size_bytes, written.width, written.height))
            self._send_rows(job, client)
            self._delivery.answer(client, job.final)
        else:
            self._delivery.answer(client, job.latest or wire.Accepted(job.id, self._position(job), 1))

    def _sync(self, client: Client, number: int) -> None:
        tally = self._tallies.setdefault(client.key, _Tally())
        if tally.answered is not None and tally.answered.n == number:  # asked again because the answer was lost
            self._delivery.answer(client, tally.answered)
            return
        if any(sync.number == number for sync in tally.open):
            return
        awaited = {job.key for job in self._jobs.values() if job.client is client and job.blocks}
        tally.open.append(_Sync(number, awaited))
        self._answer_syncs(client, tally)

    def _settle_syncs(self, job: Job) -> None:
        tally = self._tallies[job.client.key]
        for sync in tally.open:
            sync.awaited.discard(job.key)
        self._answer_syncs(job.client, tally)

    def _answer_syncs(self, client: Client, tally: _Tally) -> None:
        while tally.open and not tally.open[0].awaited:
            tally.answered = wire.Synced(tally.open.pop(0).number, tally.ready, tally.failed)
            tally.ready = tally.failed = 0
            self._delivery.answer(client, tally.answered)

    def _describe(self, client: Client, name: str, now: float) -> None:
        try:
            rows = [operation_info(name)] if name else list(CATALOG.values())
        except WorkerError as error:
            self._delivery.refuse(client, wire.Error(error.code, wire.Describe.address, _sentence(error)), now)
            return
        for row in rows:
            self._delivery.answer(client, wire.OperationDescription(row.name, description(row)))

    # --------------------------------------------------------------------------------------------------- status

    def _status(self) -> wire.Status:
        if self._exited:
            word = "Stopping"
        elif self._stopping:
            word = "Draining"
        else:
            word = "Processing" if self.unfinished else "Ready"
        return wire.Status(word, self._running, self._queued, self._boot)

    def _report_status(self, now: float, *, at_once: bool = False) -> None:
        """On each change, but at most 20 a second; the newest wins."""
        status = self._status()
        if status == self._status_sent and not self._numbers_changed and not at_once:
            return
        if now - self._status_at < STATUS_INTERVAL_S and not at_once:
            if not self._status_timer:
                self._status_timer = True
                self._timers.at(self._status_at + STATUS_INTERVAL_S, self._status_timer_rang)
            return
        self._numbers_changed = False
        self._status_sent, self._status_at = status, now
        for target in self._everybody(now):
            self._emit(Send(target, status))
        clients = (client.numbers for client in self._delivery.present(now) if client.numbers)
        self._send_numbers(list(dict.fromkeys([*self._config.report_numbers, *clients])))

    def _status_timer_rang(self, now: float) -> None:  # noqa: ARG002 - handle() reports right after the timers
        self._status_timer = False

    def _everybody(self, now: float) -> Iterable[Peer]:
        return dict.fromkeys([*self._config.report, *(client.text for client in self._delivery.present(now))])

    def _send_numbers(self, targets: Iterable[Peer]) -> None:
        numbers = tuple(self._numbers())
        for target in targets:
            self._emit(SendNumbers(target, numbers))

    def _numbers(self) -> Iterator[wire.Number]:
        busy = self.unfinished > 0
        levels: Mapping[str, float] = {
            "ready": not busy and not self._stopping,
            "busy": busy,
            "queued": self._queued,
            "running": self._running,
            "progress": self._progress,
            **self._counters,
            "boot": self._boot,
        }
        return (wire.Number(name, float(value)) for name, value in levels.items())

    def _beat(self, now: float) -> None:
        self._counters["beat"] += 1
        self._timers.at(now + HEARTBEAT_S, self._beat)
        self._report_status(now, at_once=True)

    # ------------------------------------------------------------------------------------------------- the end

    def _stop(self, reason: str, *, at_once: bool, now: float) -> None:
        self._stopping = self._stopping or reason
        if at_once:
            for job in [job for job in self._jobs.values() if job.blocks]:
                self._end(job, Draining(f"The worker was stopped ({reason}) before the job had ended."), now)

    def _exit_when_done(self) -> None:
        if self._stopping and not self.unfinished and not self._exited:
            self._exited = True
            status = self._status()
            for target in self._everybody(self._status_at):
                self._emit(Send(target, status))
            self._emit(Exit(self._stopping))


def description(row: OperationInfo) -> str:
    """One operation as JSON, short enough for one datagram."""

    def build(keep: Callable[[str], bool]) -> str:
        parameters: dict[str, dict[str, Any]] = {}
        for one in fields_of(row.params):
            entry: dict[str, Any] = {"type": one.type, "default": one.default, "required": one.required or None, "min": one.minimum, "max": one.maximum}
            entry |= {"choices": list(one.choices) or None, "unit": one.unit or None, "help": one.description}
            parameters[one.name] = {key: value for key, value in entry.items() if value is not None and keep(key)}
        whole = {"name": row.name, "summary": row.summary, "result": row.kind, "fields": row.fields, "parameters": parameters}
        return msgspec.json.encode(whole).decode()

    text = build(lambda _: True)
    return text if len(text) < MAX_DATAGRAM_OUT - 100 else build(lambda key: key != "help")


def _rows_per_chunk(job: Job) -> int:
    """How many rows go into a datagram: five bytes for a number and its tag, the rest for address, id and six numbers."""
    head = 100 + len(job.result.kind) + len(job.id.encode())
    return max(1, (MAX_DATAGRAM_OUT - head) // (5 * max(1, len(job.result.fields))))


def _sentence(error: WorkerError) -> str:
    return f"{error.message} {error.hint}".strip()[:LONGEST_TEXT]
