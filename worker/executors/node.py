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
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from distributed import Worker, WorkerPlugin

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Outcome, Result, Task
from worker.errors import DiskFull, Unavailable, WorkerError
from worker.executors import frames
from worker.executors.base import Executor
from worker.executors.cluster import INFORMATION, NO_CERTIFICATES, TOPIC, Certificates, resource_of, security
from worker.files import shipped
from worker.poller import Poller

log = logging.getLogger(__name__)

#: A node says at most so often how far a task is.
PROGRESS_INTERVAL_S = 0.2
#: How long to wait after the scheduler could not be reached, or was lost.
AGAIN_S = 1.0
CONNECT_WITHIN_S = 10.0


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
        self._numbers = 0
        self._keys: dict[str, int] = {}
        self._waiting: dict[int, asyncio.Future[Outcome]] = {}
        self._topics: dict[int, tuple[str, int]] = {}
        self._told: dict[int, float] = {}
        self._ending = False
        self._worker: Any = None
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

    def _happened(self, event: Progressed | Finished | ChildrenChanged) -> None:
        """In the thread of the poller."""
        if isinstance(event, ChildrenChanged):
            if event.working:
                self.missing = event.missing
                self.working.set()
            else:
                log.error("no child process works on this node")
            return
        worker = self._worker
        if worker is not None:
            worker.loop.add_callback(self._ended if isinstance(event, Finished) else self._stepped, event)

    # -------------------------------------------------------------------------------------------- in Dask's own thread

    def setup(self, worker: Any) -> None:
        """Called by Dask, once."""
        self._worker = worker

    def teardown(self, worker: Any) -> None:  # noqa: ARG002 - its name is part of the call
        """Called by Dask when its worker ends: what runs is not wanted any more."""
        for number in self._waiting:
            self._poller.call(functools.partial(self._executor.abort, number))

    def transition(self, key: str, start: str, finish: str, **_: Any) -> None:
        """Called by Dask: a task has changed its state."""
        if start in ("executing", "cancelled") and finish in ("released", "cancelled", "resumed", "forgotten"):
            number = self._keys.get(key)
            if number is not None:
                self._poller.call(functools.partial(self._executor.abort, number))

    async def carry_out(
        self, frame: bytes, key: str, topic: str, files: list[bytes] | None = None, most: int = 0
    ) -> tuple[bytes, list[bytes]]:
        """Runs one task in a child.

        Args:
            frame: the task.
            key: its name in the cluster.
            topic: takes the reports of its progress.
            files: those that have come with it; None if this machine sees them.
            most: how many bytes of files may travel back.

        Returns:
            The frame that ended it, without its size; and the files that it has written, in the order of its result, if they travel.
        """
        given = frames.unpacked(frame)
        if files is None or given.shipped is None:
            return frames.ended(given.id, await self._run_in_child(given, key, topic))[frames.HEAD :], []
        if self._scratch is None:
            outcome: Outcome = Failure.of(Unavailable("This node takes no files that come with a task."))
            return frames.ended(given.id, outcome)[frames.HEAD :], []
        folder: Path | None = None
        made: list[bytes] = []
        try:
            folder = await asyncio.to_thread(shipped.unpack, self._scratch, tuple(given.shipped.inputs.values()), files)
            there = msgspec.structs.replace(given.shipped, folder=str(folder))
            outcome = await self._run_in_child(msgspec.structs.replace(given, shipped=there), key, topic)
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
        return frames.ended(given.id, outcome)[frames.HEAD :], made

    async def _run_in_child(self, given: Task, key: str, topic: str) -> Outcome:
        self._numbers += 1
        task = msgspec.structs.replace(given, id=self._numbers)  # another worker's may have the same number
        self._keys[key], self._topics[task.id] = task.id, (topic, given.id)
        ended = self._waiting[task.id] = asyncio.get_running_loop().create_future()
        self._poller.call(functools.partial(self._executor.execute, task))
        try:
            outcome: Outcome = await ended
            return outcome
        finally:
            del self._keys[key], self._topics[task.id], self._waiting[task.id]
            self._told.pop(task.id, None)

    def _ended(self, event: Finished) -> None:
        future = self._waiting.get(event.task_id)
        if future is not None and not future.done():
            future.set_result(event.outcome)

    def _stepped(self, event: Progressed) -> None:
        now = time.monotonic()
        if event.task_id in self._topics and now - self._told.get(event.task_id, 0.0) >= PROGRESS_INTERVAL_S:
            self._told[event.task_id] = now
            topic, number = self._topics[event.task_id]
            self._worker.log_event(topic, (number, event.done))


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
                    nthreads=slots,
                    resources={resource_of(version): slots},
                    name=name or f"{platform.node()}-{os.getpid()}",
                    plugins=[node],
                    memory_limit=0,  # each child has its own; Dask would pause the node for what it holds of others
                    dashboard=False,
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


async def _about(node: Node, version: str, _worker: Any) -> dict[str, Any]:
    """What the scheduler says about this node."""
    return {"version": version, "versions": versions(version), "missing": dict(node.missing)}


def versions(version: str) -> str:
    """Of everything whose version matters, in one line."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as installed

    found = [f"td-image-worker {version}", f"Python {platform.python_version()}"]
    for package in ("opencv-python-headless", "opencv-python", "numpy", "distributed"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{package} {installed(package)}")
    return ", ".join(found)
