"""What the service expects of whatever runs the tasks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Outcome, Task
from worker.poller import Poller

#: Called from any thread; must return at once.
Deliver = Callable[[Progressed | Finished | ChildrenChanged], None]
#: What a child does with a task, telling how many steps are done; never raises.
RunTask = Callable[[Task, Callable[[int], None]], Outcome]
#: Called once in each child, to make it ready.
MakeRunTask = Callable[[], RunTask]
#: Called once in each child, when it is ready: what cannot be done here, by operation or "operation key=value", each with the reason.
FindMissing = Callable[[], Mapping[str, str]]


class Executor(Protocol):
    """Runs tasks somewhere else.

    For each executed task exactly one `Finished` is delivered, whatever becomes of it: a result, a failure, a child that died, an
    abort. A late `Progressed` may follow it and means nothing. While a task makes no progress, but its child works on it, the same
    `Progressed` is delivered again from time to time. `ChildrenChanged` says when the first child works, and when none is left
    and none can be started.

    All methods are called in the thread of the poller.
    """

    def start(self, deliver: Deliver, poller: Poller) -> None:
        """Makes it ready to run tasks; returns before the children are warm. What it waits for, it waits for through the poller."""

    def execute(self, task: Task) -> None:
        """Runs a task as soon as a child is free. Never blocks, never raises."""

    def abort(self, task_id: int) -> None:
        """Stops a task, native code included. A task that has ended already is no error."""

    def close(self) -> None:
        """Ends all children, whatever they are doing. None is left when it returns."""
