"""How jobs run: from their turn to what they found. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from worker.catalog.params import Params
from worker.catalog.rows import OwnFile
from worker.core import reports
from worker.core.barrier import STORE_AGAIN_S
from worker.core.ending import Ending
from worker.core.events import Store, StoreAttempt, StoreBegun, StoreFinal, StoreJob, StorePreset, StoreUnset
from worker.core.jobs import NOTHING, Failure, Outcome, Part, Phase, Plan, Result, Task, nothing_read
from worker.core.ledger import Job, State
from worker.core.pace import Pace
from worker.core.presets import OPERATION, Presets
from worker.core.quarantine import DEATHS_TO_QUARANTINE
from worker.core.shared import Shared
from worker.errors import ChildDied, DeadlineExceeded, LimitExceeded, UnknownOperation, WorkerError
from worker.files import results
from worker.protocol import messages as wire

PROGRESS_INTERVAL_S = 0.1
CANARY_INTERVAL_S = 5.0
FIRST_RETRY_S = 0.5
LONGEST_RETRY_S = 30.0


class Running:
    """Starts tasks while there are free slots, and makes a job's result of what they find.

    Args:
        shared: the scheduler's parts.
        ending: ends jobs.
        presets: some jobs find settings, which become a preset.
    """

    def __init__(self, shared: Shared, ending: Ending, presets: Presets) -> None:
        self._config = shared.config
        self._known = shared.known
        self._timers = shared.timers
        self._ledger = shared.ledger
        self._backlog = shared.backlog
        self._slots = shared.slots
        self._sessions = shared.sessions
        self._pace = Pace()
        self._barrier = shared.barrier
        self._board = shared.board
        self._quarantine = shared.quarantine
        self._suspects = shared.suspects
        self._ending = ending
        self._watching = shared.watching
        self._presets = presets

    # -------------------------------------------------------------------------------------------------- starts

    def fill_slots(self, now: float) -> None:
        """Starts what may run."""
        while self._slots.is_free:
            key = self._suspects.take_turn()
            if key is None:
                return
            job = self._ledger.open[key]
            try:
                if job.state is State.QUEUED:  # a twin of it may have killed children since this one was accepted
                    self._quarantine.check(job.content)
                own = self._known.find(job.operation).own
            except (ChildDied, UnknownOperation) as error:
                self._ending.end(job, error, now)
                self._ending.release_waiting(now)
            else:
                self._execute(job, own, now)

    def _execute(self, job: Job, own: OwnFile | None, now: float) -> None:
        if job.state is State.QUEUED:
            self._start(job, now)
        phase, part = job.todo.popleft()
        if not job.todo:
            self._backlog.remove(job.key, job.options.priority)
        params, joined = (_table_params(job), job.result) if phase is Phase.FINISH else (job.params, NOTHING)
        assert params is not None  # noqa: S101 - a job that has started has them
        if (tries := params.tries()) and (other := self._known.catalog.get(tries)):
            own = own or other.own
        slots, skips, step_s = self._slots.count, job.options.on_error == "skip", self._pace.step_s(job.operation)
        task = Task(self._slots.next_id(), job.operation, params, phase, slots, part, joined, skips, own, step_s)
        self._slots.execute(job, task, now)

    def _start(self, job: Job, now: float) -> None:
        job.attempt += 1
        job.started_at = now
        job.start()
        if job.params is None:
            job.params = self._known.catalog.unpacked(job.operation, job.content)
        self._ledger.move(job, State.RUNNING, now, f"attempt {job.attempt}")
        job.stored_in = self._barrier.store(StoreAttempt(job.client, job.id, job.attempt, begun=self._board.children))
        job.latest = wire.Processing(job.id, job.attempt)
        self._ending.send(job, job.latest, now)
        self._watching.changed(job, now)
        timeout_ms = job.options.timeout_ms or self._config.limits.timeout_ms
        if timeout_ms:
            job.set_timer("timeout", self._timers.at(now + timeout_ms / 1000, lambda now: self._overrun(job, timeout_ms, now)))

    def children_changed(self, *, working: bool) -> None:
        """A first child works, so what was started before runs from now on; or none works any more."""
        self._board.children = working
        if not working:
            return
        for job in self._ledger.open.values():
            if job.state is State.RUNNING and not job.live:
                self._barrier.store(StoreBegun(job.client, job.id))

    def _overrun(self, job: Job, timeout_ms: int, now: float) -> None:
        message = f"The job was stopped after {timeout_ms} ms, at {job.step} of {job.steps} steps."
        self._ending.end(job, DeadlineExceeded(message, "Raise its timeout_ms, or the worker's --timeout-ms."), now)

    def take_back(self, job: Job, now: float) -> None:
        """Undoes a start that could not be stored. Nothing of it was executed; the job tries again later."""
        job.attempt -= 1
        job.latest = wire.Processing(job.id, job.attempt) if job.attempt else None
        self._queue_again(job, STORE_AGAIN_S, "its start could not be stored", now)

    def not_stored(self, number: int, reason: str, now: float) -> None:
        """New jobs are rejected after all, started ones wait again; everything else is stored later."""
        again: list[Store] = []
        both: set[tuple[str, str]] = set()
        for record in self._barrier.not_stored(number):
            if isinstance(record, StorePreset | StoreUnset):
                again.append(record)
                continue
            if not isinstance(record, StoreJob | StoreAttempt | StoreFinal):
                self._barrier.later(record, now)
                continue
            key = record.client, record.job_id
            job = self._ledger.open.get(key)
            match record:
                case StoreJob() if job is not None:
                    self._ending.withdraw(job, reason, now)
                case StoreJob():  # it has ended since
                    again += (records := self._ending.store_again(record, now))
                    both.update([key] if records else [])
                case StoreAttempt() if job is not None and job.state is State.RUNNING:
                    self.take_back(job, now)
                case StoreFinal() if key not in both:
                    again += self._ending.store_again(record, now)
        self._barrier.again(again, now)

    def _queue_again(self, job: Job, delay: float, why: str, now: float) -> None:
        self._slots.abort(job)
        self._sessions.abort(job)
        if "timeout" in job.timers:
            self._timers.cancel(job.timers.pop("timeout"))
        self._backlog.remove(job.key, job.options.priority)
        job.start_over()
        job.stored_in = 0
        self._ledger.move(job, State.QUEUED, now, why)
        self._watching.changed(job, now)
        job.set_timer("again", self._timers.at(now + delay, lambda _: self._try_again(job)))

    def _try_again(self, job: Job) -> None:
        del job.timers["again"]
        self._ending.line_up(job)

    # ------------------------------------------------------------------------------------------------ progress

    def progressed(self, task_id: int, steps: int, now: float) -> None:
        """A task has done some of its steps."""
        job = self._slots.job(task_id)
        if job is None:
            return
        self._board.worked(now)
        if job.plan is None:  # a job of one task is short; its final says it all
            return
        job.done[task_id] = steps
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
        self._ending.send(job, job.latest, now)
        self._board.job_progressed(step / steps)
        self._watching.changed(job, now)

    def send_canary(self, now: float) -> None:
        """Sends a task that nobody asked for through a real child. While all others are busy the spare one takes it; that proves little."""
        if not self._board.exited:
            self._slots.send_canary()
        self._timers.at(now + CANARY_INTERVAL_S, self.send_canary)

    # ------------------------------------------------------------------------------------------ what it found

    def finished(self, task_id: int, outcome: Outcome, now: float) -> None:
        """A task has ended."""
        is_canary = task_id == self._slots.canary
        lives = not isinstance(outcome, Failure) or outcome.code != ChildDied.code  # nor NoChild, which has the same
        if lives and (self._slots.is_free or not is_canary):  # otherwise the spare child ran it, and those that serve may hang
            self._board.worked(now, canary=is_canary)
        if is_canary:
            self._slots.canary = None
        job = self._slots.job(task_id)
        if job is None:  # the canary, or aborted: its job has ended already
            return
        part = job.running[task_id]
        if part is not None and isinstance(outcome, Result):
            self._pace.took(job.operation, part.steps, self._slots.ran_s(task_id, now))
        self._slots.ended(task_id)
        match outcome:
            case Failure():
                self._task_failed(job, outcome, now)
            case Plan():
                self._planned(job, outcome, now)
            case Result() if part is not None:
                self._part_done(job, part, outcome, now)
            case Result():
                self._found(job, outcome, now)
                self._finish_or_conclude(job, now)

    def _planned(self, job: Job, plan: Plan, now: float) -> None:
        job.plan = plan
        self._ledger.stories.note(job.key, now, "planned", f"{len(plan.parts)} parts, {plan.steps} steps")
        self._found(job, plan.base, now)
        if plan.parts:
            job.todo.extend((Phase.PART, part) for part in plan.parts)
            self._backlog.add_first(job.key, job.options.priority)
            self._send_progress(job, now)
        else:
            self._finish_or_conclude(job, now)

    def _part_done(self, job: Job, part: Part, result: Result, now: float) -> None:
        """Parts end in any order; files and rows are reported in the order of the inputs."""
        job.steps_done += part.steps
        job.results[part.index] = result
        while job.parts_in_order in job.results:
            self._found(job, job.results.pop(job.parts_in_order), now)
            job.parts_in_order += 1
        if len(job.result.rows) > self._config.files.rows:
            self._ending.end(job, self._too_many_rows(job), now)
        elif job.running or job.todo or job.results:
            self._report_progress(job, now)
        else:
            self._send_progress(job, now)
            self._finish_or_conclude(job, now)

    def _too_many_rows(self, job: Job) -> LimitExceeded:
        """The sum over all parts; each part has been checked where it was found."""
        message = f"{job.operation} found {len(job.result.rows)} rows or more; a result may have {self._config.files.rows} (--max-rows)."
        return LimitExceeded(message, "A smaller max_items finds fewer.")

    def _found(self, job: Job, result: Result, now: float) -> None:
        if result is NOTHING:
            return
        job.result = job.result.joined(result)
        for report in reports.files(job.id, result):
            self._ending.send(job, report, now)
        for left in reports.skipped(job.id, result):
            self._ending.send(job, left, now)

    def _finish_or_conclude(self, job: Job, now: float) -> None:
        """One FINISH task if a table is to be written of all rows, then the final."""
        if job.plan is not None and (why := nothing_read(job.plan, job.result)) is not None:
            self._ending.end(job, why, now)
            return
        asked = job.plan is not None and job.plan.finish
        if (asked or _needs_table(job)) and not job.finished:
            job.finished = True
            job.todo.append((Phase.FINISH, None))
            self._backlog.add_first(job.key, job.options.priority)
            return
        try:
            self._keep_preset(job)
        except WorkerError as error:
            self._ending.end(job, error, now)
            return
        for report in reports.rows(job.id, job.result):
            self._ending.send(job, report, now)
        self._ending.end(job, None, now)

    def _keep_preset(self, job: Job) -> None:
        """Keeps the settings that a job found under the name that it gives. They are stored with its final or before."""
        if len(job.result.rows) != 1:
            return
        row = self._known.catalog.get(job.operation)
        target = row.presets if row is not None else ""
        name = getattr(job.params, "preset", "") if target else ""
        if not name:
            return
        name = self._presets.known_as(name)
        keys = {field.name for field in self._known.find(target).parameters}
        found = [(key, _whole(value)) for key, value in zip(job.result.fields, job.result.rows[0], strict=True) if key in keys]
        has_image = self._presets.get(name, OPERATION) == target and self._presets.get(name, "image")
        image = [] if has_image else [("image", getattr(job.params, "image", ""))]
        pairs = [*image, *found]
        if self._presets.fill(name, target, pairs):
            self._barrier.store(StoreUnset(name))
        for key, value in ((OPERATION, target), *pairs):
            self._barrier.store(StorePreset(name, key, value))

    # ------------------------------------------------------------------------------------------------ failures

    def _task_failed(self, job: Job, failure: Failure, now: float) -> None:
        died = failure.word == ChildDied.word  # by its own fault; that no child can be started is nobody's
        deaths = self._quarantine.died(job.content) if died else 0
        if died and deaths >= DEATHS_TO_QUARANTINE:
            message = f"{failure.message} It was number {deaths} with this job, which is quarantined now."
            error = ChildDied(message, "Check its input file; a restart of the worker lifts the quarantine.")
            self._ending.end(job, error, now)
        elif (failure.transient or died) and job.attempt <= job.options.retries and _may_repeat(job):
            delay = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2 ** (job.attempt - 1))
            self._queue_again(job, delay, f"{failure.word}, again in {delay:g} s", now)
        else:
            self._ending.end(job, failure, now)

    # ---------------------------------------------------------------------------------------------- invariants

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        yield from self._suspects.violations()
        for key in self._backlog:
            if key not in self._ledger.open:
                yield f"{key} is to have its turn, but is not open"
        for job in self._ledger.open.values():
            in_backlog = job.key in self._backlog
            if job.state is State.RUNNING and not job.live and not job.running and not job.todo:
                yield f"{job.key} runs without a task"
            if job.state is State.RUNNING and bool(job.todo) != in_backlog:
                yield f"{job.key} has {len(job.todo)} tasks to do and is {'' if in_backlog else 'not '}in the backlog"
            if job.state is State.QUEUED and (job.running or not job.todo):
                yield f"{job.key} waits, but has {len(job.running)} running tasks and {len(job.todo)} to do"
            if (
                job.state is State.QUEUED
                and in_backlog + self._sessions.waits(job) + self._ending.waits(job) + ("again" in job.timers) != 1
            ):
                yield f"{job.key} waits for nothing, or for more than one of: its turn, another job, its next attempt"
            if not all(self._slots.belongs_to(task_id, job) for task_id in job.running):
                yield f"a task of {job.key} is not in the slots"


def _needs_table(job: Job) -> bool:
    """More rows than are sent in datagrams, and no table of the job's own that holds them."""
    return reports.chunks(job.id, job.result) > reports.MAX_CHUNKS and getattr(job.params, "data", None) == ""


def _whole(value: float) -> float:
    return int(value) if value == int(value) else value


def _may_repeat(job: Job) -> bool:
    return job.params is not None and job.params.repeatable()


def _table_params(job: Job) -> Params | None:
    """The params with a table of the worker's own choice, if the job names none."""
    if job.params is None or not _needs_table(job):
        return job.params
    return msgspec.structs.replace(job.params, data=results.name_of(job.client, job.id))
