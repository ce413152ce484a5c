"""Tasks on the machines of a Dask cluster (https://distributed.dask.org), each in a killable child of a node of ours (`node.py`).

    the loop's thread                         the cluster's thread                        a node
    execute -> the queue  ----------------->  client.submit(carry_out, frame) --------->  a child of its pool
    deliver <- poller.call  <---------------  the future: the frame that ended it <-----------  Done, Found, Failed

Dask places the tasks, and knows which nodes there are. Whether a lost task may run again is decided here: what crosses is the frame that a
child of this machine would get (`frames.py`), under a key of its own, with `retries=0`. A task whose node is lost, or whose scheduler is,
goes to the next one if its parameters say that it may be repeated; otherwise it ends as 502. A scheduler may give a lost task to another
node by itself (`distributed.scheduler.allowed-failures`). So a task that may not be repeated leaves a mark with the scheduler before it
begins, and a node that finds the mark does not run it.

One thread owns the client. It sends every millisecond, and not every 10 ms as Dask's do; scheduler and node collect for some more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import math
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from worker.catalog.fields import fields_of
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Outcome, Task
from worker.errors import ChildDied, InternalError, LimitExceeded, NodeLost, NoNode, ResultLost, Unavailable
from worker.executors import frames
from worker.executors.base import Deliver, Executor
from worker.executors.shipping import OUTPUT_TIMES, Shipper
from worker.files.frames import PREFIX
from worker.poller import Poller

if TYPE_CHECKING:
    from distributed import Client, Future
    from distributed.security import Security

log = logging.getLogger(__name__)

#: Our name in the cluster.
TOPIC = "td-image-worker"
#: Under which a node tells the scheduler what it is.
INFORMATION = "td_image_worker"
#: More tasks than this wait here, not in the scheduler's memory.
MAX_OPEN = 2000
#: Tasks are on their way to a node, or back, for about so long. Meanwhile it should have others.
ON_THE_WAY_S = 0.05
#: For each slot of the nodes at most so many tasks are under way, and so many until it is known how long a task takes.
MAX_OPEN_PER_SLOT = 64
OPEN_PER_SLOT = 2
#: Dask's client collects messages for 10 ms, for those who submit thousands in a loop. Ours come from a queue, together already.
SEND_EVERY_S = 0.001
#: So often the nodes are counted.
COUNT_EVERY_S = 1.0
CONNECT_WITHIN_S = 5.0
#: How long to wait after the cluster could not be reached: twice as long each time, up to the maximum.
AGAIN_S = 1.0
AGAIN_MAX_S = 30.0
#: A task that may be repeated is given up after it has lost so many nodes.
MAX_LOST = 3
#: Without any node for this long, a task fails, as without any child.
NO_NODE_S = 30.0
#: A node that is not there any more is named for so long.
MISSED_S = 3600.0

_ABORTED = Failure.of(ChildDied("The task was aborted."))


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in PEM form, as Dask names them. Without them nothing is encrypted, and anybody who reaches the scheduler can run code."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def __bool__(self) -> bool:
        return bool(self.ca and self.cert and self.key)


#: An open connection.
NO_CERTIFICATES = Certificates()


def resource_of(version: str) -> str:
    """What a node has as many of as tasks may run on it at a time. Another major version has another, so it gets no task.

    >>> resource_of("1.4.2")
    'td-image-worker-1-slot'
    """
    return f"{TOPIC}-{version.partition('.')[0]}-slot"


def security(certificates: Certificates) -> Security | None:
    """What Dask wants to have of it; None without certificates.

    Raises:
        Unavailable: the extra is not installed.
    """
    distributed = library()
    if not certificates:
        return None
    found: Security = distributed.Security(
        tls_ca_file=str(certificates.ca),
        tls_client_cert=str(certificates.cert),
        tls_client_key=str(certificates.key),
        tls_worker_cert=str(certificates.cert),
        tls_worker_key=str(certificates.key),
        tls_scheduler_cert=str(certificates.cert),
        tls_scheduler_key=str(certificates.key),
        require_encryption=True,
    )
    return found


def library() -> Any:
    """Dask distributed. It is imported only by those that use a cluster.

    Raises:
        Unavailable: it is not installed.
    """
    try:
        import distributed
    except ImportError as error:
        raise Unavailable(
            f"A cluster needs Dask distributed, which is not installed ({error}).", 'Install it: pip install "td-image-worker[cluster]".'
        ) from None
    import dask

    dask.config.set({"distributed.admin.large-graph-warning-threshold": "1TB"})  # the files of a task are part of what Dask calls its graph
    if not log.isEnabledFor(logging.DEBUG):  # what a lost connection means is said here in a sentence; there it is a traceback
        for name in list(logging.root.manager.loggerDict):
            if name.partition(".")[0] == "distributed":
                logging.getLogger(name).setLevel(logging.CRITICAL)
    return distributed


def open_per_slot(task_s: float) -> int:
    """How many tasks are under way for each slot, if one takes so long in its child.

    Those that wait at a node count as running, so of long ones there are few.

    >>> open_per_slot(0.0001), open_per_slot(0.005), open_per_slot(10.0)
    (64, 11, 2)
    """
    return min(MAX_OPEN_PER_SLOT, 1 + math.ceil(ON_THE_WAY_S / max(task_s, 1e-6)))


@dataclass(frozen=True, slots=True)
class _Ended:
    """A task has ended; its child worked on it for so long, or it is not known how long."""

    task_id: int
    outcome: Outcome
    took_s: float | None = None


@dataclass(frozen=True, slots=True)
class Nodes:
    """What is known of the cluster.

    Attributes:
        slots: by the address of each node: how many tasks it runs at a time.
        missing: what one of them cannot do, by operation or "operation key=value", each with the reason.
        reason: why there is none, in a sentence; "" if there is one.
        gone: the names of those that were there within `MISSED_S`, and are not now.
    """

    slots: Mapping[str, int]
    missing: Mapping[str, str]
    reason: str = ""
    gone: tuple[str, ...] = ()


class Roll:
    """Who was there, and is missed.

    A node that is started again has another name, because its process id is in it: `render-2-4711`. It takes the place of the one that was
    missed longest on its machine.

    >>> roll = Roll()
    >>> roll.call(["render-1-100", "render-2-200"], 0.0)
    >>> roll.call(["render-1-100"], 10.0)
    >>> roll.names(10.0), roll.names(MISSED_S + 1)
    (('render-2-200',), ())
    >>> roll.call(["render-1-100", "render-2-300"], 20.0)
    >>> roll.names(20.0)
    ()
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._here: set[str] = set()

    def call(self, names: Iterable[str], now: float) -> None:
        """These are there now."""
        here = set(map(str, names))
        for name in here - self._seen.keys():
            machine = _machine(name)
            gone = [other for other in self._seen if other not in here and _machine(other) == machine]
            if gone:
                del self._seen[min(gone, key=lambda other: self._seen[other])]
        self._seen = {name: at for name, at in self._seen.items() if now - at <= MISSED_S} | dict.fromkeys(here, now)
        self._here = here

    def names(self, now: float) -> tuple[str, ...]:
        """Those that are missed, in alphabetical order."""
        missed = (name for name, at in self._seen.items() if name not in self._here and now - at <= MISSED_S)
        return tuple(sorted(missed))


def _machine(name: str) -> str:
    return re.sub(r"-\d+$", "", name)


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
_LOST = "The connection to the cluster {} is lost."


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
        self._link = _Link(address, security(certificates), resource_of(version), self, shipper)

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

    def hear(self, what: Progressed | _Ended | Nodes) -> None:
        """From the cluster's thread: something has happened there."""
        self._poller.call(lambda: self._heard(what))

    def _heard(self, what: Progressed | _Ended | Nodes) -> None:
        if isinstance(what, _Ended):
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
            self._deliver(ChildrenChanged(working=True, missing=nodes.missing, slots=self._slots, nodes=len(nodes.slots), gone=nodes.gone))
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


class _Link:
    """The cluster's thread: connects, submits, and tells the executor what has become of each task.

    Args:
        address: of the scheduler.
        how: certificates, as Dask has them.
        resource: what each task takes one of.
        executor: hears everything.
        shipper: takes the files of tasks along; None if the nodes see them.
    """

    def __init__(
        self, address: str, how: Security | None, resource: str, executor: ClusterExecutor, shipper: Shipper | None = None
    ) -> None:
        self._address = address
        self._security = how
        self._resource = resource
        self._hear = executor.hear
        self._name = f"{TOPIC}-{secrets.token_hex(4)}"
        self._orders: deque[Task | int] = deque()
        self._waiting: deque[Task] = deque()
        self._tries: dict[int, int] = {}
        self._submitted = itertools.count()
        self._carried: dict[int, asyncio.Task[None]] = {}
        self._client: Client | None = None
        self._shipper = shipper
        self._roll = Roll()
        self._shipped = 0
        self._packing = asyncio.Lock()
        self._freed = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    # ---------------------------------------------------------------------------------------- from the poller's thread

    def start(self) -> None:
        self._thread.start()

    def tell(self, order: Task | int) -> None:
        """A task to be carried out, or the number of one that is not wanted any more."""
        self._orders.append(order)
        self._call(self._take_orders)

    def close(self) -> None:
        """Gives all tasks up, and waits until the scheduler has heard of it."""
        self._call(self._ending.set)
        if self._thread.is_alive():
            self._thread.join(2 * CONNECT_WITHIN_S)

    def _call(self, what: Callable[[], object]) -> None:
        with contextlib.suppress(RuntimeError):  # its loop has ended
            self._loop.call_soon_threadsafe(what)

    # --------------------------------------------------------------------------------------------- the cluster's thread

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._stay_connected())

    async def _stay_connected(self) -> None:
        failed, said = 0, ""
        while not self._ending.is_set():
            reason = await self._connected()
            if self._ending.is_set():
                return
            self._roll.call((), time.monotonic())
            self._hear(Nodes({}, {}, reason, self._roll.names(time.monotonic())))
            failed = 1 if reason == _LOST.format(self._address) else failed + 1
            if reason != said:
                log.error("%s The next attempt follows by itself.", reason)
            said = reason
            await self._pause(min(AGAIN_MAX_S, AGAIN_S * 2 ** min(failed - 1, 30)))

    async def _connected(self) -> str:
        """Works with the cluster for as long as it is there; says why it is not, or not any more."""
        client = library().Client(
            self._address, asynchronous=True, security=self._security, timeout=CONNECT_WITHIN_S, set_as_default=False, name=TOPIC
        )
        try:
            async with client:
                log.info("connected to the cluster %s", self._address)
                client.subscribe_topic(self._name, self._stepped)
                await self._work(client)
        except (asyncio.CancelledError, RuntimeError):  # so Dask ends what waits for a connection that it closes
            log.debug("the connection was closed", exc_info=True)
        except (OSError, ValueError, TypeError) as error:  # CommClosedError is an OSError
            log.debug("the cluster cannot be reached", exc_info=True)
            return self._sentence(error)
        except Exception:  # whatever it is, this thread must go on
            log.exception("the cluster's client failed")
        return _LOST.format(self._address)

    async def _work(self, client: Client) -> None:
        self._client = client
        if client.scheduler_comm is not None:
            client.scheduler_comm.interval = SEND_EVERY_S
        known: set[str] = set()
        try:
            while client.status == "running" and not self._ending.is_set():
                found = await asyncio.wait_for(client.scheduler.identity(n_workers=-1), CONNECT_WITHIN_S)
                known = self._count(found["workers"], known)
                self._take_orders()
                await self._pause(COUNT_EVERY_S)
        finally:
            self._client = None
            for task_id in list(self._carried):
                self._carried[task_id].cancel()
            await asyncio.gather(*self._carried.values(), return_exceptions=True)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), seconds)

    def _sentence(self, error: Exception) -> str:
        if self._security is None:
            remedy = "Is the scheduler running there? If it uses TLS, give --cluster-ca, --cluster-cert and --cluster-key."
        else:
            remedy = "Is the scheduler running there, with TLS, and are --cluster-ca, --cluster-cert and --cluster-key made for it?"
        return f"The cluster {self._address} cannot be reached ({type(error).__name__}). {remedy}"

    # ----------------------------------------------------------------------------------------------------------- nodes

    def _count(self, workers: Mapping[str, Mapping[str, Any]], known: set[str]) -> set[str]:
        """Tells the executor which nodes there are; what is new and strange about one goes to the log."""
        slots: dict[str, int] = {}
        missing: dict[str, str] = {}
        for address, worker in workers.items():
            about = worker.get(INFORMATION)
            count = int(worker.get("resources", {}).get(self._resource, 0))
            if count:
                slots[address] = count
                missing.update(about["missing"] if about else {})
            if address not in known:
                self._introduce(address, count, about)
        for address in known - workers.keys():
            log.warning("the node %s has left the cluster", address)
        reason = (
            "" if slots else f"The cluster {self._address} has no node that takes our tasks; start `td-image-worker node` on its machines."
        )
        self._roll.call([worker["name"] for address, worker in workers.items() if address in slots], time.monotonic())
        self._hear(Nodes(slots, missing, reason, self._roll.names(time.monotonic())))
        return set(workers)

    def _introduce(self, address: str, count: int, about: Mapping[str, Any] | None) -> None:
        if about is None:
            log.warning("%s is a worker of Dask, and no node of ours: it gets no task. Start `td-image-worker node` there.", address)
        elif not count:
            log.error("the node %s has version %s of the worker, which does not fit ours: it gets no task", address, about["version"])
        else:
            log.info("the node %s has %d slots; %s", address, count, about["versions"])

    # ----------------------------------------------------------------------------------------------------------- tasks

    def _take_orders(self) -> None:
        while self._orders:
            order = self._orders.popleft()
            if isinstance(order, Task):
                self._waiting.append(order)
            elif order in self._carried:
                self._carried[order].cancel()
            else:
                self._waiting = deque(task for task in self._waiting if task.id != order)
        while self._client is not None and self._waiting and len(self._carried) < MAX_OPEN:
            task = self._waiting.popleft()
            self._carried[task.id] = asyncio.ensure_future(self._carry_out(self._client, task))

    async def _carry_out(self, client: Client, task: Task) -> None:
        key = f"{self._name}-{task.id}-{next(self._submitted)}"
        once = not task.params.repeatable()
        try:
            ended = await self._outcome(client, task, key, once=once)
        except asyncio.CancelledError:
            if self._client is not None:  # aborted; otherwise the connection is lost, and with it what ran
                return
            ended = None
        except _NotSubmittedError:  # it waits for the next connection
            self._waiting.appendleft(task)
            return
        finally:
            del self._carried[task.id]
            if once and self._client is not None:
                client.loop.add_callback(_forget, client, key)
        if ended is None and not once and self._tries.get(task.id, 0) < MAX_LOST:
            self._waiting.appendleft(task)
        else:
            self._tries.pop(task.id, None)
            self._hear(ended or _Ended(task.id, Failure.of(NodeLost())))
        self._take_orders()

    async def _outcome(self, client: Client, task: Task, key: str, *, once: bool) -> _Ended | None:
        """How it ended; None if its node is lost, or its scheduler."""
        try:
            async with self._with_files(task) as (travels, files):
                return await self._outcome_of(client, travels, files, key, once=once)
        except LimitExceeded as error:
            return _Ended(task.id, Failure.of(error))
        except _NotSubmittedError:
            raise
        except Exception:
            log.exception("the files of a task of %s cannot travel", task.operation)
            return _Ended(task.id, Failure.of(InternalError()))

    @contextlib.asynccontextmanager
    async def _with_files(self, task: Task) -> AsyncIterator[tuple[Task, list[bytes] | None]]:
        """The task and the files that travel with it. It waits while too much is under way, because all of it is in memory here."""
        if self._shipper is None:
            yield task, None
            return
        async with self._packing:
            while self._shipped >= self._shipper.most:
                self._freed.clear()
                await self._freed.wait()
            travels, files = await asyncio.to_thread(self._shipper.packed, task)
        size = sum(map(len, files))
        self._shipped += size
        try:
            yield travels, files
        finally:
            self._shipped -= size
            self._freed.set()

    async def _outcome_of(self, client: Client, task: Task, files: list[bytes] | None, key: str, *, once: bool) -> _Ended | None:
        from distributed import KilledWorker

        try:
            frame = frames.packed(task)
        except (InternalError, TypeError, ValueError):
            log.exception("a task of %s cannot be sent to a node", task.operation)
            return _Ended(task.id, Failure.of(InternalError()))
        most = OUTPUT_TIMES * self._shipper.most if self._shipper is not None else 0
        try:
            future = client.submit(
                *(carry_out, frame, key, self._name, files, most), once=once, key=key, pure=False, retries=0, resources={self._resource: 1}
            )
        except Exception as error:
            log.debug("a task could not be submitted", exc_info=True)
            raise _NotSubmittedError from error
        wanted = threading.Event()
        wanted.set()
        try:
            body, took_s, made = await future
            outcome = frames.outcome_of(frames.said(body))  # type: ignore[arg-type]
            if self._shipper is not None:
                outcome = await asyncio.to_thread(self._shipper.written, task, outcome, made, wanted.is_set)
            return _Ended(task.id, outcome, took_s)
        except asyncio.CancelledError:
            wanted.clear()
            await asyncio.shield(_cancel(client, future))
            raise
        except KilledWorker:
            self._tries[task.id] = self._tries.get(task.id, 0) + 1
            return None
        except (CancelledError, OSError):  # the scheduler was lost or started again
            return None
        except frames.BadFrame as error:
            log.error("a node has sent what is no outcome: %s", error.message)  # noqa: TRY400 - the sentence is enough
            return _Ended(task.id, Failure.of(ResultLost()))
        except Exception as error:
            log.exception("a node could not run %s", task.operation)
            return _Ended(
                task.id, Failure.of(InternalError(f"A node of the cluster could not run {task.operation}: {type(error).__name__}."))
            )

    def _stepped(self, event: tuple[float, Any]) -> None:
        _, (task_id, done) = event
        self._hear(Progressed(int(task_id), int(done)))


class _NotSubmittedError(Exception):
    """The client has no connection any more."""


async def _cancel(client: Client, future: Future[bytes]) -> None:
    """The node kills the child when it sees that the task is not wanted any more. Without a connection there is nothing to be done."""
    with contextlib.suppress(Exception):
        await client.cancel([future], force=True)


async def _forget(client: Client, key: str) -> None:
    """The mark of a task that ran once is not needed after its end."""
    with contextlib.suppress(Exception):
        await client.scheduler.event_clear(name=key)


async def carry_out(
    frame: bytes, key: str, topic: str, files: list[bytes] | None = None, most: int = 0, *, once: bool
) -> tuple[bytes, float | None, list[bytes]]:
    """What Dask calls on a node: runs one task in a child there.

    Args:
        frame: the task, as a child of the worker's own machine would get it.
        key: its name in the cluster.
        topic: takes the reports of its progress.
        files: those that have come with it; None if the node sees them.
        most: how many bytes of files may travel back.
        once: it may not be repeated, so it first leaves a mark with the scheduler; if there is one already, an earlier try was lost.

    Returns:
        The frame that ended it, without its size; the seconds that its child worked on it; and the files that it has written, if they
        travel.
    """
    from distributed import get_worker

    worker = get_worker()
    if once:
        if await worker.scheduler.event_is_set(name=key):
            return frames.ended(1, Failure.of(NodeLost()))[frames.HEAD :], None, []
        await worker.scheduler.event_set(name=key)
    started = time.monotonic()
    ended, made = await worker.plugins[TOPIC].carry_out(frame, key, topic, files, most)
    return ended, time.monotonic() - started, made
