"""The double of an executor: runs tasks in this process. The contract tests hold it to what the pool promises."""

from __future__ import annotations

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Task
from worker.executors.base import Deliver, RunTask
from worker.poller import Poller


class InlineExecutor:
    """Runs each task to its end inside `execute`."""

    def __init__(self, run_task: RunTask) -> None:
        self._run_task = run_task
        self._deliver: Deliver = lambda _: None

    def start(self, deliver: Deliver, _poller: Poller | None = None) -> None:
        self._deliver = deliver
        deliver(ChildrenChanged(working=True))

    def execute(self, task: Task) -> None:
        outcome = self._run_task(task, lambda done: self._deliver(Progressed(task.id, done)))
        self._deliver(Finished(task.id, outcome))

    def abort(self, task_id: int) -> None:
        """Nothing: a task has ended before anybody could abort it."""

    def close(self) -> None:
        """Nothing: there are no children."""
