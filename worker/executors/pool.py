"""Warm child processes, one task at a time each.

Each child is a `concurrent.futures.ProcessPoolExecutor` of its own with one worker. That gives what a pool of several does not:
a child that crashes or is killed breaks its own pool and nothing else, no lock or pipe is shared between children, and the death is
noticed through the process's sentinel, without polling. (Pebble, the other well-kept candidate, took as long for the round trip when both were
measured, 134 against 142 us at p50; its children share locks, it looks for dead ones every 0.1 s, and gives a hanging one 3 s before
SIGKILL.) Timeouts are the scheduler's: it knows a job's deadline over all its tasks and aborts them.

There is one child more than tasks run at a time: a warm spare, so that after a kill the next task does not wait for a start.
"""

from __future__ import annotations

import functools
import logging
import multiprocessing
import os
import threading
import time
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from worker.errors import ChildDied
from worker.events import Finished, Progressed
from worker.executors import child
from worker.executors.base import Deliver, MakeRunTask
from worker.jobs import Failure, Outcome, Task

log = logging.getLogger(__name__)

#: How long to wait after a child could not even be started, before the next is tried.
START_AGAIN_S = 1.0


@dataclass(eq=False, slots=True)
class _Slot:
    """One child and its pool.

    Attributes:
        progress: the reading end of its own pipe; at its end when the child is dead.
        warm: it has imported everything and waits for tasks, or runs one.
        broken: its pool has noticed that it died, maybe before the keeper did.
        aborted: it is being killed because its task is not wanted any more.
    """

    pool: ProcessPoolExecutor
    process: BaseProcess
    progress: Connection
    warm: bool = False
    task: Task | None = None
    broken: bool = False
    aborted: bool = False

    @property
    def free(self) -> bool:
        return self.warm and self.task is None and not self.broken and not self.aborted


class PoolExecutor:
    """See the module's docstring.

    Args:
        workers: how many tasks run at a time.
        make_run_task: called once in each child; gives the function that carries out its tasks. Importable by name.
        spares: how many warm children more are kept.
    """

    def __init__(self, workers: int, make_run_task: MakeRunTask, spares: int = 1) -> None:
        self._size = workers + spares
        self._make_run_task = make_run_task
        self._context = multiprocessing.get_context("spawn")
        self._deliver: Deliver = lambda _: None
        self._slots: dict[Connection, _Slot] = {}
        self._waiting: deque[Task] = deque()
        self._start_at = 0.0
        self._closing = False
        # Held by every public method and callback for a moment; nothing that may block is done under it. Re-entrant, because a
        # future that is done already calls back at once.
        self._lock = threading.RLock()
        self._woken, self._wake = multiprocessing.Pipe(duplex=False)
        # Linux ends a child together with the *thread* that started it (see child.py), so one thread starts them all and lives on.
        self._keeper = threading.Thread(target=self._keep, name="child-keeper", daemon=True)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._keeper.start()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the warm children."""
        with self._lock:
            return tuple(slot.process.pid or 0 for slot in self._slots.values() if slot.warm)

    def execute(self, task: Task) -> None:
        with self._lock:
            self._waiting.append(task)
            self._assign()

    def abort(self, task_id: int) -> None:
        aborted: list[Task] = []
        with self._lock:
            aborted = [task for task in self._waiting if task.id == task_id]
            for task in aborted:
                self._waiting.remove(task)
            for slot in self._slots.values():
                if slot.task is not None and slot.task.id == task_id:
                    slot.aborted = True
                    slot.process.kill()  # SIGKILL: native code hears nothing else
        for task in aborted:
            self._deliver(Finished(task.id, _ABORTED))

    def close(self) -> None:
        with self._lock:
            self._closing = True
            waiting, self._waiting = self._waiting, deque()
        self._wake.send(None)
        if self._keeper.is_alive():
            self._keeper.join()
        for slot in list(self._slots.values()):
            slot.process.kill()
            slot.pool.shutdown(wait=True, cancel_futures=True)
            slot.progress.close()
        for task in waiting:
            self._deliver(Finished(task.id, _ABORTED))

    # ------------------------------------------------------------------------------------------------------- tasks

    def _assign(self) -> None:
        """Gives waiting tasks to children that are warm and free. Called with the lock held."""
        for slot in self._slots.values():
            if not self._waiting:
                return
            if not slot.free:
                continue
            task = self._waiting[0]
            try:
                future = slot.pool.submit(child.run, task)
            except BrokenProcessPool:  # it has just died, and the keeper will hear of it
                slot.broken = True
                continue
            self._waiting.popleft()
            slot.task = task
            future.add_done_callback(functools.partial(self._ended, slot, task))

    def _ended(self, slot: _Slot, task: Task, future: Future[Outcome]) -> None:
        outcome = _outcome(slot, future)
        with self._lock:
            slot.task = None
            slot.broken = isinstance(future.exception(), BrokenProcessPool)
            self._assign()
        self._deliver(Finished(task.id, outcome))

    # ------------------------------------------------------------------------------------------------ the keeper thread

    def _keep(self) -> None:
        """Starts children where some are missing, passes their progress on, and notices their death. Waits, never polls."""
        while not self._closing:
            self._start_missing()
            timeout = self._start_at - time.monotonic() if len(self._slots) < self._size else None
            for ready in wait([self._woken, *self._slots], timeout):
                if ready is self._woken:
                    self._woken.recv()
                else:
                    self._read(self._slots[ready])  # type: ignore[index]

    def _start_missing(self) -> None:
        while len(self._slots) < self._size and time.monotonic() >= self._start_at and not self._closing:
            slot = self._started()
            with self._lock:
                self._slots[slot.progress] = slot

    def _started(self) -> _Slot:
        receiving, sending = self._context.Pipe(duplex=False)
        pool = ProcessPoolExecutor(1, self._context, child.prepare, (self._make_run_task, sending))
        others = set(multiprocessing.active_children())
        pool.submit(os.getpid)  # the pool starts its process with its first call
        (process,) = set(multiprocessing.active_children()) - others
        sending.close()  # the child has its own by now, so that ours ends when it dies
        return _Slot(pool, process, receiving)

    def _read(self, slot: _Slot) -> None:
        try:
            task_id, done = slot.progress.recv()
        except (EOFError, OSError):
            self._died(slot)
            return
        if task_id == child.WARM:
            with self._lock:
                slot.warm = True
                self._assign()
        else:
            self._deliver(Progressed(task_id, done))

    def _died(self, slot: _Slot) -> None:
        with self._lock:
            del self._slots[slot.progress]
        slot.progress.close()
        slot.pool.shutdown(wait=False)
        if not slot.warm and not self._closing:
            self._start_at = time.monotonic() + START_AGAIN_S
            log.error("a child process ended while it was starting (see its message above); trying again in %g s", START_AGAIN_S)
            self._fail_waiting()

    def _fail_waiting(self) -> None:
        """When children cannot even start, a job is better told so than left waiting for its timeout."""
        with self._lock:
            if any(slot.warm and not slot.broken for slot in self._slots.values()):
                return
            waiting, self._waiting = self._waiting, deque()
        for task in waiting:
            self._deliver(Finished(task.id, Failure.of(ChildDied("No child process can be started.", "The worker's log says why."))))


_ABORTED = Failure.of(ChildDied("The task was aborted."))


def _outcome(slot: _Slot, future: Future[Outcome]) -> Outcome:
    error = future.exception()
    if error is None:
        return future.result()
    if slot.aborted:
        return _ABORTED
    if isinstance(error, BrokenProcessPool):
        log.warning("child %s died while it ran a task: %s", slot.process.pid, error)
        message = "The child process that ran the job ended unexpectedly."
        return Failure.of(ChildDied(message, "Other jobs are not affected; the worker's log may say more."))
    log.error("a task's outcome could not be brought back from child %s", slot.process.pid, exc_info=error)
    return Failure.of(ChildDied("The operation's result could not be brought back from the child process."))
