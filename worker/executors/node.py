"""A node of a cluster: a worker of Dask, in its own process, that runs each task in a killable child of the pool (`pool.py`).

A child is killed if its task is not wanted any more, as on the worker's own machine: native code hears nothing else. Dask says so when the
task's state goes from executing to another that is no end.

It has no nanny, because processes that a nanny starts may not have children. It connects again by itself when the scheduler is back.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
import platform
import shutil
import socket
import tempfile
import threading
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from distributed import Worker, WorkerPlugin

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Outcome, Result, Task
from worker.errors import ChildDied, DiskFull, ResultLost, Unavailable, WorkerError
from worker.executors import framing
from worker.executors.base import Executor
from worker.executors.dask import INFORMATION, NO_CERTIFICATES, TOPIC, Certificates, resource_of, security, versions
from worker.executors.link import ABORT, Said
from worker.files import shipped
from worker.poller import Poller

log = logging.getLogger(__name__)

#: A node says at most so often how far a task is.
PROGRESS_INTERVAL_S = 0.2
#: How long to wait after the scheduler could not be reached, or was lost.
AGAIN_S = 1.0
CONNECT_WITHIN_S = 10.0
#: An outcome of more bytes is fetched by the worker. The scheduler keeps the last events.
MOST_REPORTED = 4096
#: Those of a bundle are reported together that end within this time.
TELL_EVERY_S = 0.002
#: A bundle should have ended by then. Its tasks that have not begun are given back, and go to whichever node has a child for them.
GIVE_BACK_S = 0.5

_ABORTED = Failure.of(ChildDied("The task was aborted."))


@dataclass(frozen=True, slots=True)
class _Ended:
    """A child has worked on a task for so long; without an outcome it was not begun."""

    task_id: int
    outcome: Outcome | None
    took_s: float | None


@dataclass(eq=False, slots=True)
class _Bundle:
    """What came in one submission.

    Attributes:
        key: its name in the cluster.
        topic: takes the reports.
        open: the tasks of it that have not ended: our number of each, and its own.
        reports: how a task ended is reported as soon as that is known; otherwise it is said at the end.
        told: what is to be reported with the next event.
        left: how the others have ended.
        ended: is set when all have.
        is_due: the next event goes out soon.
    """

    key: str
    topic: str
    open: dict[int, int]
    reports: bool
    ended: asyncio.Future[None]
    told: list[tuple[int, bytes | None, float | None]] = field(default_factory=list)
    left: list[tuple[int, Outcome, float | None]] = field(default_factory=list)
    is_due: bool = False


class Node(WorkerPlugin):  # type: ignore[misc]
    """The children of this machine, and the tasks of the cluster that they run. A plugin of Dask's worker.

    Args:
        executor: runs the tasks; nobody else gives it any.
        scratch: a folder for the files that come with tasks, which its children may read and write; None takes no such tasks.
    """

    name = TOPIC
    idempotent = False

    def __init__(self, executor: Executor, scratch: Path | None = None) -> None:
        self._executor = executor
        self._scratch = scratch
        self._poller = Poller()
        self._thread = threading.Thread(target=self._run, name="children", daemon=True)
        self._ending = False
        # the poller's
        self._running: dict[int, tuple[float, deque[Task]]] = {}
        # Dask's
        self._numbers = 0
        self._keys: dict[str, _Bundle] = {}
        self._bundles: dict[int, _Bundle] = {}
        self._told: dict[int, float] = {}
        self._worker: Any = None
        # the one appends, the other takes
        self._happenings: deque[Progressed | _Ended] = deque()
        self.working = threading.Event()
        self.missing: Mapping[str, str] = {}

    # ------------------------------------------------------------------------------------------------ the children

    @property
    def tasks(self) -> int:
        """How many tasks it was given so far."""
        return self._numbers

    def start(self) -> None:
        """Starts the children; `working` is set when the first of them is warm."""
        self._thread.start()

    def close(self) -> None:
        """Ends all children."""
        self._poller.call(functools.partial(setattr, self, "_ending", True))
        self._thread.join()

    def _run(self) -> None:
        self._executor.start(self._happened, self._poller)
        try:
            while not self._ending:
                self._poller.wait()
        finally:
            self._executor.close()
            self._poller.close()

    def _take(self, tasks: Sequence[Task]) -> None:
        """In the thread of the poller, as all that follows here. A bundle has one child at a time, as Dask counts its slots."""
        line = deque(tasks)
        self._begin(line)
        if line:
            self._poller.at(self._poller.now() + GIVE_BACK_S, lambda _: self._give_back(line))

    def _begin(self, line: deque[Task]) -> None:
        if line:
            task = line.popleft()
            self._running[task.id] = self._poller.now(), line
            self._executor.execute(task)

    def _give_back(self, line: deque[Task]) -> None:
        while line:
            self._report(_Ended(line.popleft().id, None, None))

    def _abort(self, numbers: Collection[int]) -> None:
        for _, line in self._running.values():
            for task in [task for task in line if task.id in numbers]:
                line.remove(task)
                self._report(_Ended(task.id, _ABORTED, None))
        for number in numbers:
            if number in self._running:
                self._executor.abort(number)

    def _happened(self, event: Progressed | Finished | ChildrenChanged) -> None:
        if isinstance(event, Finished):
            began, line = self._running.pop(event.task_id)
            took_s = self._poller.now() - began
            self._begin(line)
            self._report(_Ended(event.task_id, event.outcome, took_s))
        elif isinstance(event, Progressed):
            self._report(event)
        elif event.working:
            self.missing = event.missing
            self.working.set()
        else:
            log.error("no child process works on this node")

    def _report(self, happening: Progressed | _Ended) -> None:
        self._happenings.append(happening)
        if len(self._happenings) == 1 and self._worker is not None:
            self._worker.loop.add_callback(self._hear)

    # -------------------------------------------------------------------------------------------- in Dask's own thread

    def setup(self, worker: Any) -> None:
        """Called by Dask, once for each worker of it that this node is, one after the other."""
        self._worker = worker
        worker.handlers[ABORT] = self._abort_some

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - its name is part of the call
        """Called by Dask when its worker ends: what runs is not wanted any more."""
        self._poller.call(functools.partial(self._abort, list(self._bundles)))

    def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
        """Called by Dask: a task has changed its state."""
        if start in ("executing", "cancelled") and finish in ("released", "cancelled", "resumed", "forgotten"):
            bundle = self._keys.get(key)
            if bundle is not None:
                self._poller.call(functools.partial(self._abort, list(bundle.open)))

    async def _abort_some(self, key: str, task_ids: list[int]) -> None:
        """Asked by a worker: these tasks of a bundle are not wanted any more."""
        bundle = self._keys.get(key)
        if bundle is not None:
            self._poller.call(functools.partial(self._abort, [number for number, own in bundle.open.items() if own in task_ids]))

    async def carry_out(self, packed: Sequence[bytes], key: str, topic: str, files: list[bytes] | None = None, most: int = 0) -> list[Said]:
        """Runs the tasks of one submission, one after the other, each in a child.

        Args:
            packed: the tasks.
            key: its name in the cluster.
            topic: takes the reports.
            files: those that have come with the only task; None if this machine sees them.
            most: how many bytes of files may travel back.

        Returns:
            What was not reported: of each such task its number, the frame that ended it, without its size; the seconds that a child
            worked on it; and the files that it has written, in the order of its result, if they travel.
        """
        tasks = [framing.unpacked(frame) for frame in packed]
        if files is None or tasks[0].shipped is None:
            return [(number, _body(number, outcome), took_s, []) for number, outcome, took_s in await self._ended(tasks, key, topic)]
        return [await self._carry_out_with_files(tasks[0], key, topic, files, most)]

    async def _carry_out_with_files(self, given: Task, key: str, topic: str, files: list[bytes], most: int) -> Said:
        if self._scratch is None:
            return given.id, _body(given.id, Failure.of(Unavailable("This node takes no files that come with a task."))), None, []
        assert given.shipped is not None  # noqa: S101 - the caller asks
        folder: Path | None = None
        made: list[bytes] = []
        took_s: float | None = None
        try:
            folder = await asyncio.to_thread(shipped.unpack, self._scratch, tuple(given.shipped.inputs.values()), files)
            there = msgspec.structs.replace(given.shipped, folder=str(folder))
            task = msgspec.structs.replace(given, shipped=there)
            ((_, outcome, took_s),) = await self._ended([task], key, topic, reports=False)
            if isinstance(outcome, Result):
                made = await asyncio.to_thread(shipped.pack, folder, [file.path for file in outcome.files], most)
        except WorkerError as error:
            outcome = Failure.of(error)
        except OSError as error:
            log.error("the files of a task cannot be kept in %s: %s", self._scratch, error.strerror)  # noqa: TRY400 - the sentence is enough
            outcome = Failure.of(DiskFull(f"The files of a task cannot be kept on the node {platform.node()}: {error.strerror}."))
        finally:
            if folder is not None:
                await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))
        return given.id, _body(given.id, outcome), took_s, made

    async def _ended(self, tasks: Sequence[Task], key: str, topic: str, *, reports: bool = True) -> list[tuple[int, Outcome, float | None]]:
        """Waits until these tasks have ended; gives what was not reported."""
        first = self._numbers + 1
        self._numbers += len(tasks)
        given = [msgspec.structs.replace(task, id=first + n) for n, task in enumerate(tasks)]  # another worker's may have the same numbers
        numbers = {task.id: own.id for task, own in zip(given, tasks, strict=True)}
        bundle = _Bundle(key, topic, dict(numbers), reports, asyncio.get_running_loop().create_future())
        self._keys[key] = bundle
        self._bundles |= dict.fromkeys(numbers, bundle)
        if len(tasks) > 1:
            self._say(topic, ("begun", key, self._worker.address))
        self._poller.call(functools.partial(self._take, given))
        try:
            await bundle.ended
        finally:
            if self._keys.get(key) is bundle:  # else it runs once more
                del self._keys[key]
            for number in numbers:
                self._bundles.pop(number, None)
                self._told.pop(number, None)
        return bundle.left

    def _hear(self) -> None:
        while self._happenings:
            happening = self._happenings.popleft()
            bundle = self._bundles.get(happening.task_id)
            if bundle is None or happening.task_id not in bundle.open:
                continue
            try:
                if isinstance(happening, Progressed):
                    self._stepped(bundle, happening)
                else:
                    self._end(bundle, happening)
            except Exception:  # the next ones must be heard
                log.exception("what a child has said about a task is lost")

    def _end(self, bundle: _Bundle, ended: _Ended) -> None:
        own = bundle.open.pop(ended.task_id)
        body = None if ended.outcome is None else _body(own, ended.outcome)
        if bundle.reports and (body is None or len(body) <= MOST_REPORTED):
            bundle.told.append((own, body, ended.took_s))
        elif ended.outcome is not None:
            bundle.left.append((own, ended.outcome, ended.took_s))
        if not bundle.open:
            self._tell(bundle)
            if not bundle.ended.done():
                bundle.ended.set_result(None)
        elif bundle.told and not bundle.is_due:
            bundle.is_due = True
            self._worker.loop.call_later(TELL_EVERY_S, self._tell, bundle)

    def _tell(self, bundle: _Bundle) -> None:
        bundle.is_due = False
        if bundle.told:
            told, bundle.told = bundle.told, []
            self._say(bundle.topic, ("ended", bundle.key, told))

    def _stepped(self, bundle: _Bundle, event: Progressed) -> None:
        now = time.monotonic()
        if now - self._told.get(event.task_id, 0.0) >= PROGRESS_INTERVAL_S:
            self._told[event.task_id] = now
            self._say(bundle.topic, ("stepped", bundle.key, bundle.open[event.task_id], event.done))

    def _say(self, topic: str, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # the scheduler is gone, and what is open here with it
            self._worker.log_event(topic, message)


def _body(task_id: int, outcome: Outcome) -> bytes:
    """The frame that ends a task, without its size."""
    try:
        return framing.ended(task_id, outcome)[framing.HEAD :]
    except framing.BadFrame as error:
        log.error("an outcome cannot travel: %s", error.message)  # noqa: TRY400 - the sentence is enough
        return framing.ended(task_id, Failure.of(ResultLost()))[framing.HEAD :]


async def run(address: str, node: Node, slots: int, *, version: str, certificates: Certificates = NO_CERTIFICATES, name: str = "") -> None:
    """Works for a cluster until it is cancelled. If the scheduler is not there, or not any more, it tries again.

    Args:
        address: of the scheduler.
        node: its children work already.
        slots: how many tasks run here at a time.
        version: ours; the scheduler gives tasks of the same major version only.
        certificates: for TLS.
        name: under which the scheduler shows it.
    """
    how = security(certificates)
    said = ""
    while True:
        try:
            with tempfile.TemporaryDirectory(prefix="td-image-worker-node-") as scratch:
                worker = Worker(
                    address,
                    host=_own_address(address),
                    nthreads=slots,
                    resources={resource_of(version): slots},
                    name=name or f"{platform.node()}-{os.getpid()}",
                    plugins=[node],
                    memory_limit=0,  # each child has its own; Dask would pause the node for what it holds of others
                    dashboard=False,
                    dashboard_address="127.0.0.1:0",  # what Dask serves over HTTP all the same is nobody's business elsewhere
                    death_timeout=CONNECT_WITHIN_S,
                    local_directory=scratch,
                    security=how,
                )
                worker.startup_information[INFORMATION] = functools.partial(_about, node, version)
                async with worker:
                    log.info("works for the cluster %s with %d slots, as %s", address, slots, worker.address)
                    said = ""
                    await worker.finished()
            reason = f"The scheduler {address} is gone."
        except (OSError, ValueError) as error:
            reason = f"The scheduler {address} cannot be reached ({type(error).__name__})."
        if reason != said:
            log.warning("%s The next attempt follows by itself.", reason)
            said = reason
        await asyncio.sleep(AGAIN_S)


def _own_address(address: str) -> str:
    """The address of this machine under which the scheduler sees it. Dask's worker would listen on all, and who reaches it can run code.

    >>> _own_address("tcp://127.0.0.1:8786")
    '127.0.0.1'

    Raises:
        OSError: the scheduler's name is not known, or no way leads there.
    """
    host, _, port = address.rpartition("/")[2].rpartition(":")
    family, kind, protocol, _, target = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as way:
        way.connect(target)  # nothing is sent: the system only looks up the way
        own: str = way.getsockname()[0]
    return own


async def _about(node: Node, version: str, _worker: Any) -> dict[str, Any]:
    """What the scheduler says about this node."""
    return {"version": version, "versions": versions(version), "missing": dict(node.missing)}
