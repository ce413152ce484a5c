"""The tasks that run now, at most one per child, and the canary beside them. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

from worker.catalog.rows import OperationInfo
from worker.core.barrier import Barrier
from worker.core.events import Abort, Effect, Execute
from worker.core.jobs import Task
from worker.core.ledger import Job, State

#: Canaries that may be due (a minute) before one that is still out counts as lost in a child that hangs.
CANARY_PATIENCE = 12


class Slots:
    """Which job each task belongs to. A job's `running` names the same tasks.

    Args:
        count: how many tasks run at a time.
        probe: the operation of the canary.
        barrier: a task is executed once the start of its job is stored.
        emit: takes the effects.

    Attributes:
        count: how many tasks run at a time, by now.
    """

    def __init__(self, count: int, probe: OperationInfo, barrier: Barrier, emit: Callable[[Effect], None]) -> None:
        self.count = count
        self._largest = count
        self._probe = probe
        self._barrier = barrier
        self._emit = emit
        self._ids = itertools.count(1)
        self._jobs: dict[int, Job] = {}
        self._held: set[int] = set()  # not executed yet, because their job's start is not stored yet
        self._since: dict[int, float] = {}
        self.canary: int | None = None
        self._canary_waits = 0

    @property
    def is_free(self) -> bool:
        """Whether another task may run."""
        return len(self._jobs) < self.count

    def resize(self, count: int) -> None:
        """Changes how many tasks run at a time. Those that run already go on."""
        self.count = count
        self._largest = max(self._largest, count)

    def job(self, task_id: int) -> Job | None:
        """The job of a task that runs; None for the canary, and for tasks that were aborted or not executed yet."""
        return None if task_id in self._held else self._jobs.get(task_id)

    def about(self, task_id: int) -> tuple[str, str, str, str] | None:
        """Client, id and operation of a task's job, and what the task does of it, in words; None if it is no job's."""
        job = self._jobs.get(task_id)
        if job is None:
            return None
        part = job.running.get(task_id)
        what = "" if part is None else f"items {part.first + 1} to {part.stop} of {job.steps}"
        return job.client, job.id, job.operation, what

    def belongs_to(self, task_id: int, job: Job) -> bool:
        """Whether a task is this job's, executed or not."""
        return self._jobs.get(task_id) is job

    def next_id(self) -> int:
        """The number for the next task."""
        return next(self._ids)

    def execute(self, job: Job, task: Task, now: float) -> None:
        """Runs a task of a job, as soon as what is known of the job is stored."""
        task_id = task.id
        self._jobs[task_id] = job
        job.running[task_id] = task.part
        if self._barrier.is_stored(job.stored_in):
            self._since[task_id] = now
            self._emit(Execute(task))
            return
        self._held.add(task_id)

        def release(now: float) -> None:
            if task_id in self._held:  # otherwise its job has ended meanwhile
                self._held.remove(task_id)
                self._since[task_id] = now
                self._emit(Execute(task))

        self._barrier.after(job.stored_in, release, now)

    @property
    def busy(self) -> int:
        """How many tasks run, or are about to."""
        return len(self._jobs)

    def running(self, now: float) -> Iterator[tuple[Job, float]]:
        """The job of each task that runs, and for how long it has, in seconds."""
        return ((job, self.ran_s(task_id, now)) for task_id, job in self._jobs.items() if task_id not in self._held)

    def ran_s(self, task_id: int, now: float) -> float:
        """How long a task has been under way."""
        return now - self._since.get(task_id, now)

    def ended(self, task_id: int) -> None:
        """A task of a job has ended."""
        job = self._jobs.pop(task_id)
        self._since.pop(task_id, None)
        del job.running[task_id]
        job.done.pop(task_id, None)

    def abort(self, job: Job) -> None:
        """Stops all tasks of a job. Those that were not executed yet never are."""
        if not job.running:
            return
        for task_id in job.running:
            del self._jobs[task_id]
            self._since.pop(task_id, None)
            if task_id in self._held:
                self._held.remove(task_id)
            else:
                self._emit(Abort(task_id))
        job.running.clear()
        job.done.clear()

    def send_canary(self) -> None:
        """Runs a task that nobody asked for, through a real child. One that does not come back is aborted, and its child with it."""
        if self.canary is None:
            self.canary, self._canary_waits = next(self._ids), 0
            self._emit(Execute(Task(self.canary, self._probe.name, self._probe.params())))
            return
        self._canary_waits += 1
        if self._canary_waits >= CANARY_PATIENCE:
            self._emit(Abort(self.canary))
            self.canary = None

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        if len(self._jobs) > self._largest:
            yield f"{len(self._jobs)} tasks run in {self._largest} slots"
        for task_id, job in self._jobs.items():
            if job.state is not State.RUNNING or task_id not in job.running:
                yield f"task {task_id} runs for {job.key}, which is {job.state} and runs {sorted(job.running)}"
        if not self._held <= self._jobs.keys():
            yield "a task is held back that no job has"
        if self.canary in self._jobs:
            yield "the canary belongs to a job"
