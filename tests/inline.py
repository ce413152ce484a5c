"""The doubles of the executors: run tasks in this process. The contract tests hold the first to what the pool promises."""

from __future__ import annotations

from worker.core.events import ChildrenChanged, Finished, Progressed, SessionEnded
from worker.core.jobs import Task
from worker.executors.base import Deliver, RunTask
from worker.executors.live import DeliverLive
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


class InlineFollowers:
    """Runs each live job to its end inside `follow`, and delivers how it ended."""

    def __init__(self, run_task: RunTask) -> None:
        self._run_task = run_task
        self._deliver: DeliverLive = lambda _: None

    def start(self, deliver: DeliverLive, _poller: Poller | None = None) -> None:
        self._deliver = deliver

    def follow(self, task: Task) -> None:
        self._deliver(SessionEnded(task.id, self._run_task(task, lambda _: None)))

    def unfollow(self, number: int) -> None:
        """Nothing: it has ended before anybody could end it."""

    def close(self) -> None:
        """Nothing: there are no processes."""
