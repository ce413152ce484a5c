"""Tasks on the machines of a Dask cluster (https://distributed.dask.org), each in a killable child of a node of ours (`node.py`).

    the loop's thread                         the cluster's thread (`link.py`)            a node
    execute -> the queue  ----------------->  client.submit(carry_out, frames) -------->  children of its pool
    deliver <- poller.call  <---------------  events: the frames that ended them <----------  Done, Found, Failed

Dask places the tasks, and knows which nodes there are. Whether a lost task may run again is decided here: what crosses is the frame that a
child of this machine would get (`frames.py`), under a key of its own, with `retries=0`; short ones travel together (`bundles.py`). A task
whose node is lost, or whose scheduler is, goes to the next one if its parameters say that it may be repeated; otherwise it ends as 502. A
scheduler may give a lost task to another node by itself (`distributed.scheduler.allowed-failures`). So a task that may not be repeated, or
a bundle, leaves a mark with the scheduler before it begins, and a node that finds the mark does not run it.

One thread owns the client. It sends every millisecond, and not every 10 ms as Dask's do; scheduler and node collect for some more.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from worker.catalog.fields import fields_of
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Outcome, Task
from worker.errors import ChildDied, NoNode, Unavailable
from worker.executors.base import Deliver, Executor
from worker.executors.dask import NO_CERTIFICATES, Certificates, security
from worker.executors.link import MAX_OPEN, Ended, Link
from worker.executors.roll import Nodes
from worker.executors.shipping import Shipper
from worker.files.frames import PREFIX
from worker.poller import Poller

#: Tasks are on their way to a node, or back, for about so long. Meanwhile it should have others.
ON_THE_WAY_S = 0.05
#: For each slot of the nodes at most so many tasks are under way, and so many until it is known how long a task takes.
MAX_OPEN_PER_SLOT = 64
OPEN_PER_SLOT = 2
#: Without any node for this long, a task fails, as without any child.
NO_NODE_S = 30.0

_ABORTED = Failure.of(ChildDied("The task was aborted."))


def open_per_slot(task_s: float) -> int:
    """How many tasks are under way for each slot, if one takes so long in its child.

    Those that wait at a node count as running, so of long ones there are few.

    >>> open_per_slot(0.0001), open_per_slot(0.005), open_per_slot(10.0)
    (64, 11, 2)
    """
    return min(MAX_OPEN_PER_SLOT, 1 + math.ceil(ON_THE_WAY_S / max(task_s, 1e-6)))


class LocalExecutor(Executor, Protocol):
    """One that knows how many tasks it runs at a time."""

    @property
    def workers(self) -> int:
        """How many."""


def _frame_of(task: Task) -> str:
    """A frame that a task reads or writes; empty if there is none."""
    values = (getattr(task.params, field.name) for field in fields_of(type(task.params)) if field.role)
    return next((value for value in values if isinstance(value, str) and value.startswith(PREFIX)), "")


_NO_FRAMES = "Name a file in the folder that the nodes share; or start a worker without --cluster for frames."


class ClusterExecutor:
    """See the module's docstring. What is open belongs to the poller's thread, everything that Dask made to the cluster's thread.

    Args:
        address: of the scheduler, such as tcp://10.0.0.5:8786.
        certificates: for TLS; without them the connection is open.
        version: ours. Nodes of another major version get no task.
        local: children of this machine.
        stands_in: `local` runs all tasks while the cluster has no node; otherwise they wait, and fail after `NO_NODE_S`.
        shipper: takes the files of tasks along; tasks that it does not take are run by `local`. None: the nodes see the same files.

    Raises:
        Unavailable: the extra is not installed.
    """

    def __init__(
        self,
        address: str,
        certificates: Certificates = NO_CERTIFICATES,
        version: str = "0",
        local: LocalExecutor | None = None,
        *,
        stands_in: bool = True,
        shipper: Shipper | None = None,
    ) -> None:
        self._local = local
        self._stand_in = local if stands_in else None
        self._shipper = shipper
        self._local_works = False
        self._deliver: Deliver = lambda _: None
        self._here: set[int] = set()
        self._local_missing: Mapping[str, str] = {}
        self._open: dict[int, Task] = {}
        self._nodes = Nodes({}, {}, f"The cluster {address} has not answered yet.")
        self._since = 0.0
        self._task_s: float | None = None
        self._slots = 0
        self._link = Link(address, security(certificates), version, self.hear, shipper)

    def start(self, deliver: Deliver, poller: Poller) -> None:
        self._deliver, self._poller, self._since = deliver, poller, poller.now()
        self._link.start()
        if self._local is not None:
            self._local.start(self._heard_here, poller)

    def execute(self, task: Task) -> None:
        if self._stand_in is not None and not self._nodes.slots:
            self._run_here(task)
            return
        if self._shipper is not None and not self._shipper.takes(task) and not _frame_of(task):
            self._run_here(msgspec.structs.replace(task, part_bytes=self._shipper.most))
            return
        self._open[task.id] = task
        if frame := _frame_of(task):
            self._ended(
                task.id,
                Failure.of(
                    Unavailable(f"{frame} is in this computer's memory, where no node of the cluster can read or write it.", _NO_FRAMES)
                ),
            )
            return
        if not self._nodes.slots and self._poller.now() - self._since > NO_NODE_S:
            self._ended(task.id, Failure.of(NoNode(self._nodes.reason)))
        else:
            self._link.tell(task)

    def abort(self, task_id: int) -> None:
        if task_id in self._here:
            assert self._local is not None  # noqa: S101 - it has the task
            self._local.abort(task_id)
        elif self._open.pop(task_id, None) is not None:
            self._link.tell(task_id)
            self._deliver(Finished(task_id, _ABORTED))

    def close(self) -> None:
        if self._local is not None:
            self._local.close()
        self._link.close()
        for task_id in list(self._open):
            self._ended(task_id, _ABORTED)

    @property
    def reason(self) -> str:
        """Why there is no node, in a sentence; "" if there is one."""
        return self._nodes.reason

    # ------------------------------------------------------------------- what the cluster's thread says, in the poller's

    def hear(self, said: Sequence[Progressed | Ended | Nodes]) -> None:
        """From the cluster's thread: something has happened there."""
        self._poller.call(lambda: self._heard(said))

    def _heard(self, said: Sequence[Progressed | Ended | Nodes]) -> None:
        for what in said:
            if isinstance(what, Ended):
                if what.took_s is not None:
                    self._task_s = what.took_s if self._task_s is None else self._task_s + (what.took_s - self._task_s) / 16
                self._ended(what.task_id, what.outcome)
            elif isinstance(what, Progressed):
                if what.task_id in self._open:
                    self._deliver(what)
            else:
                self._counted(what)

    def _ended(self, task_id: int, outcome: Outcome) -> None:
        if self._open.pop(task_id, None) is not None:
            self._deliver(Finished(task_id, outcome))

    def _counted(self, nodes: Nodes) -> None:
        before, self._nodes = self._nodes, nodes
        if bool(before.slots) != bool(nodes.slots):
            self._since = self._poller.now()
        if not nodes.slots:
            self._without_nodes(nodes.reason)
        if (before.slots, before.missing, before.gone, self._slots) != (nodes.slots, nodes.missing, nodes.gone, self._wanted()):
            self._tell_of_children()

    def _without_nodes(self, reason: str) -> None:
        """What waits for a node in vain runs here if it may be repeated; otherwise it ends after a while."""
        too_long = self._poller.now() - self._since > NO_NODE_S
        for task in list(self._open.values()):
            if self._stand_in is not None and task.params.repeatable():
                self._link.tell(task.id)
                del self._open[task.id]
                self._run_here(task)
            elif too_long:
                self._link.tell(task.id)
                self._ended(task.id, Failure.of(NoNode(reason)))

    def _wanted(self) -> int:
        """How many tasks are to be under way."""
        each = OPEN_PER_SLOT if self._task_s is None else open_per_slot(self._task_s)
        return min(MAX_OPEN, each * sum(self._nodes.slots.values()))

    def _tell_of_children(self) -> None:
        nodes, self._slots = self._nodes, self._wanted()
        if nodes.slots:
            self._deliver(ChildrenChanged(True, nodes.missing, self._slots, len(nodes.slots), nodes.gone, sum(nodes.slots.values())))
        else:
            slots, missing = (self._stand_in.workers, self._local_missing) if self._stand_in is not None else (0, {})
            self._deliver(
                ChildrenChanged(
                    working=self._stand_in is not None and self._local_works, missing=missing, slots=slots, nodes=0, gone=nodes.gone
                )
            )

    # ---------------------------------------------------------------------------------------------------- without nodes

    def _run_here(self, task: Task) -> None:
        assert self._local is not None  # noqa: S101 - the callers ask
        self._here.add(task.id)
        self._local.execute(task)

    def _heard_here(self, event: Progressed | Finished | ChildrenChanged) -> None:
        """From the children of this machine."""
        if isinstance(event, ChildrenChanged):
            self._local_works, self._local_missing = event.working, event.missing or self._local_missing
            if not self._nodes.slots:
                self._tell_of_children()
            return
        if isinstance(event, Finished):
            self._here.discard(event.task_id)
        self._deliver(event)
