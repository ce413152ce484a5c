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
from collections.abc import Collection, Iterable, Iterator, Sequence

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.params import JobOptions, Params
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core import reports
from worker.core.backlog import Backlog, Key
from worker.core.delivery import Client, Delivery
from worker.core.events import (
    Abort,
    ChildrenChanged,
    Effect,
    Event,
    Execute,
    Exit,
    Finished,
    Kept,
    KeptJob,
    NotStored,
    Progressed,
    Received,
    StopAsked,
    StoreAttempt,
    StoreFinal,
    StoreJob,
    StorePreset,
    Throttled,
    Woke,
)
from worker.core.gate import Gate
from worker.core.jobs import Failure, Outcome, Part, Phase, Plan, Result, Task
from worker.core.ledger import EndedJob, Job, Ledger, State
from worker.core.presets import Presets
from worker.core.status import StatusBoard
from worker.core.syncs import Syncs
from worker.errors import (
    Cancelled,
    ChildDied,
    ClientError,
    DeadlineExceeded,
    DecodeError,
    DiskFull,
    Draining,
    Expired,
    IdReused,
    LimitExceeded,
    PathError,
    QueueFull,
    TokenError,
    UnknownJob,
    WorkerError,
)
from worker.protocol import addresses
from worker.protocol import messages as wire
from worker.protocol.addresses import PROTOCOL_VERSION, Peer
from worker.timers import Timers

PROGRESS_INTERVAL_S = 0.1
CANARY_INTERVAL_S = 5.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0
DEATHS_TO_QUARANTINE = 2
QUARANTINE_SIZE = 1000
REPLAY_AT_ONCE = 500


class Scheduler:
    """See the module's docstring.

    Args:
        config: settings; `config.workers` tasks run at a time.
        boot: number of this start, told to every client.
        now: the time of the start, in seconds of a clock that never goes back.
        version: told in `welcome`.
        gate: knows which other computers reports may be sent to, and who may end the worker.
        children: there are child processes already; if not, the executor says when.
        catalog: the operations that jobs can ask for.
    """

    def __init__(
        self,
        config: Config,
        boot: int,
        now: float,
        version: str = "",
        gate: Gate | None = None,
        *,
        children: bool = True,
        catalog: Catalog = CATALOG,
    ) -> None:
        self._config = config
        self._catalog = catalog
        self._boot = boot
        self._started_at = now
        self._version = version
        self._gate = gate or Gate(config.allow, config.token)
        self._effects: list[Effect] = []
        self._timers = Timers()
        self._delivery = Delivery(config, self._timers, self._emit)
        self._board = StatusBoard(boot, config, self._delivery, self._timers, self._emit)
        self._backlog = Backlog()
        self._ledger = Ledger(config.limits)
        self._syncs = Syncs()
        self._presets = Presets(catalog)
        for name, key, value in config.presets:
            self._presets.restore(name, key, value)
        self._tasks: dict[int, Job] = {}
        self._waiting_for: dict[Key, list[Job]] = {}
        self._just_ended: deque[tuple[Key, wire.Final]] = deque()
        self._replaceable: dict[tuple[str, str], Job] = {}
        self._deaths: OrderedDict[bytes, int] = OrderedDict()
        self._canary: int | None = None
        self._queued_bytes = 0
        self._task_ids = itertools.count(1)
        self._job_ids = itertools.count(1)
        self._stopping = ""
        self._board.children = children
        self._board.start(now)
        self._timers.at(now + CANARY_INTERVAL_S, self._send_canary)

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
            case Throttled(peer, dropped):
                self._throttled(peer, dropped, now)
            case NotStored(client, job_id, reason):
                self._not_stored((client, job_id), reason, now)
            case ChildrenChanged(working):
                self._board.children = working
            case Woke():
                pass
        self._timers.run_due(now)
        self._release_waiting(now)
        self._fill_slots(now)
        self._board.report(now)
        self._exit_when_done(now)
        effects, self._effects = self._effects, []
        return effects

    def next_deadline(self) -> float | None:
        """When `handle` wants to be called again, if nothing happens before."""
        return self._timers.next_deadline()

    def restore(self, kept: Kept, now: float) -> list[Effect]:
        """Takes over what an earlier run left, before anything else is handled.

        A job that had started is run again if it may be repeated, else it ends as 502; one that had not simply waits again.
        """
        for key, newest_seq in kept.newest_seqs:
            self._delivery.restore_seq(key, newest_seq)
        ours = {(name, key) for name, key, _ in self._config.presets}
        for setting in kept.presets:
            if (setting.preset, setting.key) not in ours:  # what the operator wrote counts more than what was sent to an earlier run
                self._presets.restore(setting.preset, setting.key, setting.value)
        for job in kept.jobs:
            client = self._delivery.by_key(job.client, now)
            if job.final is not None:
                self._ledger.restore(EndedJob(client, job.job_id, job.content, job.final))
            else:
                self._restore_open(client, job, now)
        self._release_waiting(now)
        effects, self._effects = self._effects, []
        return effects

    def _restore_open(self, client: Client, kept: KeptJob, now: float) -> None:
        operation, params, options = msgspec.json.decode(kept.content)
        failure: WorkerError | None = None
        try:
            parsed = self._catalog.parse_job(operation, [*params.items(), *options.items()])
        except WorkerError as error:  # written by a version that knew more
            failure, parsed = error, (Params(), JobOptions())
        job = Job(client, kept.job_id, operation, *parsed, kept.content, now, attempt=kept.attempt)
        self._ledger.open[job.key] = job
        self._board.queued += 1
        self._queued_bytes += len(job.content)
        if failure is None and kept.attempt and not job.params.repeatable():
            failure = ChildDied("The worker ended while the job ran, and its operation may not be repeated.")
        if failure is not None:
            self._end(job, failure, now)
        else:
            self._enqueue(job, now)

    def _emit(self, effect: Effect) -> None:
        self._effects.append(effect)

    # ----------------------------------------------------------------------------------------------- commands

    def _received(self, peer: Peer, commands: Sequence[wire.Command | DecodeError], now: float) -> None:
        jobs = [command for command in commands if _means_a_job(command)]
        bundled = len(jobs) > 1
        for command in commands:
            if bundled and _means_a_job(command):  # all of them at the place of the first, so that a hello before them counts
                if jobs:
                    self._bundled_jobs(self._delivery.heard_from(peer, now), jobs, now)
                    jobs = []
            elif isinstance(command, wire.Hello):
                self._hello(peer, command, now)
            else:
                self._command(peer, self._delivery.heard_from(peer, now), command, now)

    def _hello(self, peer: Peer, hello: wire.Hello, now: float) -> None:
        if hello.host not in ("", peer[0]) and not self._may_report_to(hello.host):
            refusal = PathError(f"Reports may not go to {hello.host!r:.100}.", "Start the worker with --allow and that computer's address.")
            self._complain(self._delivery.heard_from(peer, now), hello.address, refusal, now)
            return
        client = self._delivery.hello(peer, hello, now)
        newest_seq = self._delivery.newest_seq(client)
        self._delivery.answer(client, wire.Welcome(self._version, PROTOCOL_VERSION, self._boot, self._config.limits.lease_ms, newest_seq))
        self._board.answer(client)

    def _may_report_to(self, host: str) -> bool:
        """Only where somebody is known to want it; else anybody could be flooded in somebody else's name."""
        return self._gate.knows(host) or any(host == target for target, _ in (*self._config.report, *self._config.report_numbers))

    def _throttled(self, peer: Peer, dropped: int, now: float) -> None:
        limit = self._config.limits.packets_per_s
        error = QueueFull(f"{dropped} packets were dropped, because more than {limit} a second came from here (--packets-per-second).")
        self._complain(self._delivery.heard_from(peer, now), addresses.ROOT, error, now)

    def _command(self, peer: Peer, client: Client, command: wire.Command | DecodeError, now: float) -> None:
        match command:
            case DecodeError():
                self._bad_command(client, command, now)
            case wire.Job():
                self._job(client, command, now)
            case wire.Cancel(id=job_id):
                self._cancel(client, job_id, now)
            case wire.Clear():
                for job in [job for job in self._open_jobs(client) if job.state is State.QUEUED]:
                    self._end(job, Cancelled("Cancelled by clear."), now)
            case wire.Query(id=job_id):
                self._query(client, job_id)
            case wire.Sync(n=number):
                self._sync(client, number, now)
            case wire.Ping(nonce=nonce):
                self._delivery.answer(client, wire.Pong(nonce, self._boot, now - self._started_at))
            case wire.GetStatus():
                self._board.answer(client)
            case wire.Describe(operation=name):
                self._describe(client, name, now)
            case wire.Ack(seq=seq):
                self._delivery.acknowledged(client, seq)
            case wire.Replay(from_seq=seq):
                finals = (ended.final for ended in self._ledger.finals_of(client, seq))
                self._answer_all(client, itertools.islice(finals, REPLAY_AT_ONCE))
            case wire.Set():
                self._set(client, command, now)
            case wire.ListPresets():
                self._list_presets(client)
            case wire.Trigger():
                self._trigger(peer, client, command, now)
            case wire.Bye():
                self._delivery.bye(client)
            case wire.Quit(token=token):
                self._quit(peer, client, token, now)

    def _quit(self, peer: Peer, client: Client, token: str, now: float) -> None:
        if not self._gate.is_this_computer(peer[0]) and not self._gate.is_token(token):
            refusal = TokenError(
                "quit from another computer needs the worker's token.", "Start the worker with --token, and send the same."
            )
            self._complain(client, wire.Quit.address, refusal, now)
            return
        self._stop(f"asked by {client.name or client.key}", at_once=bool(self._stopping), now=now)
        self._board.answer(client)

    def _bad_command(self, client: Client, error: DecodeError, now: float) -> None:
        if error.job_id:
            self._refuse(client, error.job_id, error)
        else:
            self._complain(client, error.address, error, now)

    def _complain(self, client: Client, address: str, error: WorkerError, now: float) -> None:
        """About a command that belongs to no job."""
        report = wire.Error(error.code, reports.cut(address, reports.LONGEST_ADDRESS), reports.sentence(error))
        self._delivery.refuse(client, report, now)

    def _answer_all(self, client: Client, answers: Iterable[wire.Report]) -> None:
        for answer in answers:
            self._delivery.answer(client, answer)

    # ----------------------------------------------------------------------------------------------- presets

    def _set(self, client: Client, command: wire.Set, now: float) -> None:
        try:
            self._presets.set(command.preset, command.key, command.value)
        except WorkerError as error:
            self._complain(client, command.full_address, error, now)
        else:
            self._emit(StorePreset(command.preset, command.key, command.value))

    def _list_presets(self, client: Client) -> None:
        values = [(preset, key, str(value)) for preset, pairs in self._presets.as_dict().items() for key, value in pairs.items()]
        answers = [wire.PresetValue(number, len(values), *value) for number, value in enumerate(values)]
        self._answer_all(client, answers or [wire.PresetValue(0, 0, "", "", "")])

    def _trigger(self, peer: Peer, client: Client, command: wire.Trigger, now: float) -> None:
        if not self._presets.pressed(peer, command.preset, command.value):
            return
        try:
            operation, pairs = self._presets.job(command.preset)
        except WorkerError as error:
            self._complain(client, command.full_address, error, now)
        else:
            self._job(client, wire.Job("", operation, pairs), now)

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
                self._refuse_bundle(client, commands, place, error, now)
                return
        for job in jobs:
            self._accept(job, now)

    def _refuse_bundle(
        self, client: Client, commands: Sequence[wire.Command | DecodeError], place: int, error: WorkerError, now: float
    ) -> None:
        others = ClientError(f"Job {place + 1} of the same bundle was refused, so none of them was taken.")
        for number, command in enumerate(commands):
            if isinstance(command, DecodeError):
                self._bad_command(client, command, now)
            elif isinstance(command, wire.Job):
                self._refuse(client, command.id, error if number == place else others)

    def _admitted(self, client: Client, command: wire.Job, now: float, with_it: Sequence[Job | None] = ()) -> Job | None:
        """The job, checked but not yet kept; None after answering a repeated command.

        Raises:
            WorkerError: it is refused.
        """
        params, options = self._catalog.parse_job(command.operation, command.pairs)
        content = msgspec.json.encode([command.operation, params, options])
        known = self._ledger.find((client.key, command.id)) if command.id else None
        if known is not None:
            self._accept_again(known, content)
            return None
        if self._stopping:
            raise Draining(
                f"The worker is shutting down ({self._stopping}) and takes no new jobs.", "Start it again, then send the job again."
            )
        siblings = {job.id: job for job in with_it if job is not None}
        self._check_limits(content, siblings.values())
        self._check_quarantine(content)
        job_id = command.id or f"w{self._boot}-{next(self._job_ids)}"
        if job_id in siblings:
            raise IdReused(f"Two jobs of one bundle have the id {job_id!r}.")
        if options.after and options.after not in siblings and self._ledger.find((client.key, options.after)) is None:
            raise UnknownJob(
                f"after: there is no job {options.after!r} of this client.", "Send the job that must be ready first before this one."
            )
        return Job(client, job_id, command.operation, params, options, content, now)

    def _accept_again(self, job: Job | EndedJob, content: bytes) -> None:
        if job.content != content:
            raise IdReused(f"The id {job.id!r} already belongs to a job with other content.", "Use a new id for each new job.")
        if isinstance(job, EndedJob):
            self._answer_all(job.client, [wire.Accepted(job.id, 0, 1), job.final])
        else:
            self._delivery.answer(job.client, wire.Accepted(job.id, self._position(job), 1))

    def _check_limits(self, content: bytes, with_it: Collection[Job]) -> None:
        limits = self._config.limits
        if self._board.queued + len(with_it) >= limits.queue_jobs:
            raise QueueFull(
                f"{self._board.queued} jobs are waiting and the limit is {limits.queue_jobs} (--queue-jobs).", "Send it again later."
            )
        if self._queued_bytes + sum(len(job.content) for job in with_it) + len(content) > limits.queue_bytes:
            megabytes = limits.queue_bytes / 2**20
            raise QueueFull(f"The waiting jobs hold {megabytes:g} MB of text, which is the limit.", "Send it again later.")

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
        self._ledger.open[job.key] = job
        self._board.queued += 1
        self._queued_bytes += len(job.content)
        self._replace_older(job, now)
        if job.options.ttl_ms:
            job.timers.append(self._timers.at(now + job.options.ttl_ms / 1000, lambda now: self._expire(job, now)))
        self._enqueue(job, now)

    def _replace_older(self, job: Job, now: float) -> None:
        if not job.options.replace:
            return
        place = (job.client.key, job.options.replace)
        older = self._replaceable.get(place)
        if older is not None and older.state is State.QUEUED:
            if older.key in self._backlog and older.options.priority == job.options.priority and not job.options.after:
                self._backlog.take_over(older.key, job.key, job.options.priority)
            self._end(older, Expired(f"Replaced by the newer job {job.id!r} (replace={job.options.replace!r})."), now)
        self._replaceable[place] = job

    def _enqueue(self, job: Job, now: float) -> None:
        """Lets the job wait for its turn, or for the job that must be ready first."""
        first = self._ledger.find((job.client.key, job.options.after)) if job.options.after else None
        if isinstance(first, Job):
            self._waiting_for.setdefault(first.key, []).append(job)
        elif isinstance(first, EndedJob) and isinstance(first.final, wire.Failed):
            self._after_failed(job, now)
        else:
            self._backlog.add(job.key, job.options.priority)

    def _after_failed(self, job: Job, now: float) -> None:
        self._end(job, Expired(f"The job {job.options.after!r}, which had to be ready first, did not become ready."), now)

    def _expire(self, job: Job, now: float) -> None:
        if job.state is State.QUEUED and job.attempt == 0:
            self._end(job, Expired(f"The job waited for longer than its ttl_ms of {job.options.ttl_ms}."), now)

    def _refuse(self, client: Client, job_id: str, error: WorkerError) -> None:
        self._delivery.answer(client, reports.failed(job_id, self._boot, error))

    def _not_stored(self, key: Key, reason: str, now: float) -> None:
        job = self._ledger.open.get(key)
        if job is not None:
            self._end(
                job, DiskFull(f"The job could not be stored: {reason}.", "Make room on the disk of the state directory (--state)."), now
            )

    def _position(self, job: Job) -> int:
        return self._backlog.ahead_of_new(job.options.priority) if job.state is State.QUEUED else 0

    # ---------------------------------------------------------------------------------------------- running it

    def _fill_slots(self, now: float) -> None:
        while len(self._tasks) < self._config.workers and not self._board.exited:
            key = self._backlog.take_turn()
            if key is None:
                return
            job = self._ledger.open[key]
            try:
                if job.state is State.QUEUED:  # a twin of it may have killed children since this one was accepted
                    self._check_quarantine(job.content)
            except ChildDied as error:
                self._end(job, error, now)
                self._release_waiting(now)
            else:
                self._execute(job, now)

    def _execute(self, job: Job, now: float) -> None:
        if job.state is State.QUEUED:
            self._start(job, now)
        phase, part = job.todo.popleft()
        if not job.todo:
            self._backlog.remove(job.key, job.options.priority)
        task_id = next(self._task_ids)
        self._tasks[task_id] = job
        job.running[task_id] = part
        params, joined = (self._table_params(job), job.result) if phase is Phase.FINISH else (job.params, Result())
        self._emit(Execute(Task(task_id, job.operation, params, phase, self._config.workers, part, joined)))

    def _start(self, job: Job, now: float) -> None:
        job.state = State.RUNNING
        job.attempt += 1
        job.started_at = now
        self._board.queued -= 1
        self._board.running += 1
        self._queued_bytes -= len(job.content)
        self._emit(StoreAttempt(job.client.key, job.id, job.attempt))
        job.latest = wire.Processing(job.id, job.attempt)
        self._delivery.send(job.client, job.latest)
        timeout_ms = job.options.timeout_ms or self._config.limits.timeout_ms
        if timeout_ms:
            attempt = job.attempt
            job.timers.append(self._timers.at(now + timeout_ms / 1000, lambda now: self._overrun(job, attempt, timeout_ms, now)))

    def _overrun(self, job: Job, attempt: int, timeout_ms: int, now: float) -> None:
        if job.state is State.RUNNING and job.attempt == attempt:
            message = f"The job was stopped after {timeout_ms} ms, at {job.step} of {job.steps} steps."
            self._end(job, DeadlineExceeded(message, "Raise its timeout_ms, or the worker's --timeout-ms."), now)

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
        step, steps = job.step, job.steps
        eta_ms = round((now - job.started_at) * 1000 * (steps - step) / step) if step else -1
        job.progress_due = False
        job.progress_at = now
        job.latest = wire.Progress(job.id, step / steps, step, steps, eta_ms, "")
        self._delivery.send(job.client, job.latest)
        self._board.job_progressed(step / steps)

    def _send_canary(self, now: float) -> None:
        """A task that nobody asked for, through a real child: the spare one takes it while all others are busy."""
        if self._canary is None and not self._board.exited:
            self._canary = next(self._task_ids)
            self._emit(Execute(Task(self._canary, self._catalog.probe.name, self._catalog.probe.params())))
        self._timers.at(now + CANARY_INTERVAL_S, self._send_canary)

    # ------------------------------------------------------------------------------------------ what it found

    def _finished(self, task_id: int, outcome: Outcome, now: float) -> None:
        if not isinstance(outcome, Failure) or outcome.code != ChildDied.code:  # nor NoChild, which has the same
            self._board.alive_at = now
        if task_id == self._canary:
            self._canary = None
        job = self._tasks.pop(task_id, None)
        if job is None:  # the canary, or aborted: its job has ended already
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
        if len(job.result.rows) > self._config.files.rows:
            self._end(job, self._too_many_rows(job), now)
        elif job.running or job.todo or job.results:
            self._report_progress(job, now)
        else:
            self._send_progress(job, now)
            self._finish_or_conclude(job, now)

    def _too_many_rows(self, job: Job) -> LimitExceeded:
        """The sum over all parts; each part has been checked where it was found."""
        message = f"{job.operation} found {len(job.result.rows)} rows or more; a result may have {self._config.files.rows} (--max-rows)."
        return LimitExceeded(message, "A smaller max_items finds fewer.")

    def _found(self, job: Job, result: Result) -> None:
        job.result = job.result.joined(result)
        for report in reports.files(job.id, result):
            self._delivery.send(job.client, report)

    def _finish_or_conclude(self, job: Job, now: float) -> None:
        """One FINISH task where a table is to be written of all rows, then the final."""
        asked = job.plan is not None and job.plan.finish
        if (asked or self._needs_table(job)) and not job.finished:
            job.finished = True
            job.todo.append((Phase.FINISH, None))
            self._backlog.add_first(job.key, job.options.priority)
            return
        for report in reports.rows(job.id, job.result):
            self._delivery.send(job.client, report)
        self._end(job, None, now)

    @staticmethod
    def _needs_table(job: Job) -> bool:
        """More rows than are told in datagrams, and no table of the job's own that holds them."""
        return reports.chunks(job.id, job.result) > reports.MAX_CHUNKS and getattr(job.params, "data", None) == ""

    def _table_params(self, job: Job) -> Params:
        """The params with a table of the worker's own choice, where the job names none."""
        if not self._needs_table(job):
            return job.params
        name = re.sub(r"[^A-Za-z0-9._-]", "_", job.id)
        return msgspec.structs.replace(job.params, data=f"td-image-worker-results/job-{name}.json")

    # ------------------------------------------------------------------------------------------------- its end

    def _task_failed(self, job: Job, failure: Failure, now: float) -> None:
        died = failure.word == ChildDied.word  # by its own fault; that no child can be started is nobody's
        deaths = self._deaths.get(job.content, 0) + died
        if died:
            self._deaths[job.content] = deaths
            while len(self._deaths) > QUARANTINE_SIZE:
                self._deaths.popitem(last=False)
        if died and deaths >= DEATHS_TO_QUARANTINE:
            message = f"{failure.message} It was number {deaths} with this job, which is quarantined now."
            self._end(job, ChildDied(message, "Check its input file; a restart of the worker lifts the quarantine."), now)
        elif (failure.transient or died) and job.attempt <= job.options.retries and job.params.repeatable():
            self._retry(job, now)
        else:
            self._end(job, failure, now)

    def _retry(self, job: Job, now: float) -> None:
        self._abort_tasks(job)
        self._backlog.remove(job.key, job.options.priority)
        self._board.running -= 1
        self._board.queued += 1
        self._queued_bytes += len(job.content)
        job.start_over()
        delay = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (job.attempt - 1))
        self._timers.at(now + delay, lambda _: self._backlog.add(job.key, job.options.priority) if job.state is State.QUEUED else None)

    def _cancel(self, client: Client, job_id: str, now: float) -> None:
        job = self._ledger.find((client.key, job_id))
        if job is None:
            self._complain(client, wire.Cancel.address, UnknownJob(f"There is no job {job_id!r} of this client."), now)
        elif isinstance(job, EndedJob):
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
        started = job.state is State.RUNNING
        if started:
            self._board.running -= 1
        else:
            self._board.queued -= 1
            self._queued_bytes -= len(job.content)
        self._abort_tasks(job)
        self._backlog.remove(job.key, job.options.priority)
        run_ms = round((now - job.started_at) * 1000) if started else 0
        wait_ms = round(((job.started_at if started else now) - job.accepted_at) * 1000)
        if why is None:
            final: wire.Final = wire.Ready(job.id, 0, self._boot, wait_ms, run_ms, job.result.items, job.operation)
        else:
            final = reports.failed(job.id, self._boot, why)
        final = self._delivery.number(job.client, final)
        self._emit(StoreFinal(job.client.key, job.id, final))
        self._delivery.deliver(job.client, final, now)
        self._board.job_ended(final, run_ms)
        if self._replaceable.get((job.client.key, job.options.replace)) is job:
            del self._replaceable[job.client.key, job.options.replace]
        for timer in job.timers:
            self._timers.cancel(timer)
        self._ledger.end(job, final)
        self._just_ended.append((job.key, final))
        self._answer_all(job.client, self._syncs.ended(job.key, ready=isinstance(final, wire.Ready)))

    def _release_waiting(self, now: float) -> None:
        """Lets those go on that waited for jobs which have just ended. A queue, because one failure may end a long chain of them."""
        while self._just_ended:
            key, final = self._just_ended.popleft()
            for waiting in self._waiting_for.pop(key, ()):
                if waiting.state is not State.QUEUED:
                    continue
                if isinstance(final, wire.Ready):
                    self._backlog.add(waiting.key, waiting.options.priority)
                else:
                    self._after_failed(waiting, now)

    # ------------------------------------------------------------------------------------------------ questions

    def _open_jobs(self, client: Client) -> Iterator[Job]:
        """By key, because a client that was forgotten meanwhile is another object now."""
        return (job for job in self._ledger.open.values() if job.client.key == client.key)

    def _sync(self, client: Client, number: int, now: float) -> None:
        try:
            answers = self._syncs.asked(client.key, number, [job.key for job in self._open_jobs(client)])
        except WorkerError as error:
            self._complain(client, wire.Sync.address, error, now)
        else:
            self._answer_all(client, answers)

    def _query(self, client: Client, job_id: str) -> None:
        job = self._ledger.find((client.key, job_id))
        if job is None:
            self._refuse(client, job_id, UnknownJob(f"There is no job {job_id!r} of this client."))
        elif isinstance(job, EndedJob):
            self._answer_all(client, [*reports.files(job.id, job.result), *reports.rows(job.id, job.result), job.final])
        else:
            self._delivery.answer(client, job.latest or wire.Accepted(job.id, self._position(job), 1))

    def _describe(self, client: Client, name: str, now: float) -> None:
        try:
            if name not in ("", reports.EVERY):
                self._catalog.find(name)
        except WorkerError as error:
            self._complain(client, wire.Describe.address, error, now)
        else:
            self._answer_all(client, reports.descriptions(self._catalog, name))

    # ------------------------------------------------------------------------------------------------- the end

    def _stop(self, reason: str, *, at_once: bool, now: float) -> None:
        """Takes no new jobs. At once also means: unfinished jobs wait in the journal for the next start, or end now without one."""
        self._stopping = self._stopping or reason
        self._board.stopping = True
        if not at_once:
            return
        for job in list(self._ledger.open.values()):
            if self._config.state is None:
                self._end(job, Draining(f"The worker was stopped ({reason}) before the job had ended."), now)
            else:
                self._abort_tasks(job)
        self._exit(now)

    def _exit_when_done(self, now: float) -> None:
        if self._stopping and not self._ledger.open:
            self._exit(now)

    def _exit(self, now: float) -> None:
        if not self._board.exited:
            self._board.report_last(now)
            self._emit(Exit(self._stopping))


def _means_a_job(command: wire.Command | DecodeError) -> bool:
    """Whether it is a job, or was meant to be one."""
    return isinstance(command, wire.Job) or (isinstance(command, DecodeError) and command.address == wire.Job.address)
