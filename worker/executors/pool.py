"""Warm child processes, one task at a time each, every one on a pipe of its own. Built on the standard library's multiprocessing.

    this process                                                        child
    execute -> (lock) -> a child that is free  ---- Task ------------>  run_task
    deliver <- that child's listening thread   <--- progress, Outcome -
                         keeper thread: starts missing children

Nothing is shared between children, so one that crashes or is killed harms no other; its pipe ends, so its death is noticed at once and
without polling. Timeouts are the scheduler's: it knows a job's deadline over all its tasks, and aborts them.

Why no ready-made pool: `noop` through a worker took 455 us at p50 on `ProcessPoolExecutor` (one per child, so that they cannot break each
other; two more threads for each, and every task goes through both) and 293 us on plain pipes, measured in one run. Pebble's pool is as
fast as `ProcessPoolExecutor`, but its children share locks, it looks for dead ones every 0.1 s, and gives a hanging one 3 s.

There is one child more than tasks run at a time: a warm spare, so that after a kill the next task does not wait for a start.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess

from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Task
from worker.errors import ChildDied, LimitExceeded, NoChild, ResultLost
from worker.executors import child, memory
from worker.executors.base import Deliver, MakeRunTask

log = logging.getLogger(__name__)

#: How long to wait after a child could not even be started, before the next is tried: twice as long each time, up to the maximum.
START_AGAIN_S = 1.0
START_AGAIN_MAX_S = 60.0
#: How long a child may take to be gone after its pipe has ended, or after it was killed.
GONE_WITHIN_S = 5.0

_ABORTED = Failure.of(ChildDied("The task was aborted."))


@dataclass(eq=False, slots=True)
class _Child:
    """One child process.

    Attributes:
        warm: it has imported everything and waits for tasks, or runs one.
        aborted: it is being killed because its task is not wanted any more.
        broken: it was found dead before its own thread heard of it.
        reason: the traceback of a child that could not make itself ready.
    """

    process: BaseProcess
    pipe: Connection
    warm: bool = False
    aborted: bool = False
    broken: bool = False
    reason: str = ""
    task: Task | None = None

    @property
    def free(self) -> bool:
        return self.warm and self.task is None and not self.aborted and not self.broken


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
        self._children: dict[_Child, threading.Thread] = {}
        self._waiting: deque[Task] = deque()
        self._start_at = 0.0
        self._failed_starts = 0
        self._reason = ""
        self._working = False
        self._closing = False
        self._lock = threading.Lock()  # around what stands above; held for moments only
        self._look = threading.Event()  # wakes the keeper
        # Linux ends a child together with the *thread* that started it (see child.py), so one thread starts them all and lives on.
        self._keeper = threading.Thread(target=self._keep, name="child-keeper", daemon=True)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._keeper.start()

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the warm children."""
        with self._lock:
            return tuple(one.process.pid or 0 for one in self._children if one.warm)

    def execute(self, task: Task) -> None:
        with self._lock:
            hopeless = self._failed_starts and not any(one.warm for one in self._children) and time.monotonic() < self._start_at
            if not hopeless:
                self._waiting.append(task)
                self._assign()
        if hopeless:
            self._deliver(Finished(task.id, Failure.of(NoChild())))

    def abort(self, task_id: int) -> None:
        with self._lock:
            waiting = [task for task in self._waiting if task.id == task_id]
            for task in waiting:
                self._waiting.remove(task)
            for one in self._children:
                if one.task is not None and one.task.id == task_id:
                    one.aborted = True
                    one.process.kill()  # native code hears nothing else
        for task in waiting:
            self._deliver(Finished(task.id, _ABORTED))

    def close(self) -> None:
        with self._lock:
            self._closing = True
        if self._keeper.is_alive():
            self._look.set()
            self._keeper.join()
        with self._lock:
            waiting, self._waiting = self._waiting, deque()
            children = dict(self._children)
        for one in children:
            one.aborted = True
            one.process.kill()
        for listener in children.values():
            listener.join(GONE_WITHIN_S)
        for task in waiting:
            self._deliver(Finished(task.id, _ABORTED))

    def _assign(self) -> None:
        """Gives waiting tasks to free children. Called with the lock held."""
        for one in self._children:
            if not self._waiting:
                return
            if one.free:
                one.task = self._waiting.popleft()
                try:
                    one.pipe.send(one.task)
                except OSError:  # it has just died, as its own thread will hear; the task has not begun
                    self._waiting.appendleft(one.task)
                    one.task, one.broken = None, True

    # ------------------------------------------------------------------------------------------------ the keeper thread

    def _keep(self) -> None:
        """Starts missing children. Sleeps until one has died."""
        while not self._closing:
            self._look.clear()
            self._start_missing()
            missing = len(self._children) < self._size
            self._look.wait(max(0.0, self._start_at - time.monotonic()) if missing else None)

    def _start_missing(self) -> None:
        while len(self._children) < self._size and time.monotonic() >= self._start_at and not self._closing:
            if self._failed_starts and any(not one.warm for one in self._children):
                return  # one attempt at a time, until one succeeds
            ours, its = self._context.Pipe()
            process = self._context.Process(target=child.main, args=(self._make_run_task, its), name="td-image-worker-child", daemon=True)
            try:
                process.start()
            except OSError as error:  # out of memory or processes
                ours.close()
                self._cannot_start(f"the system starts none: {error}")
                return
            finally:
                its.close()  # the child has its own by now, so that ours ends when it dies
            one = _Child(process, ours)
            listener = threading.Thread(target=self._listen, args=(one,), name=f"child-{process.pid}", daemon=True)
            with self._lock:
                self._children[one] = listener
            listener.start()

    # ---------------------------------------------------------------------------------------- each child's own thread

    def _listen(self, one: _Child) -> None:
        """Passes on what a child says, until it is dead."""
        while self._read(one):
            pass
        self._died(one)

    def _read(self, one: _Child) -> bool:
        """Waits for one message. False when there will be no more."""
        try:
            task_id, said = one.pipe.recv()
        except (EOFError, OSError):
            return False
        except Exception:
            log.exception("the outcome of a task could not be brought back from child %s", one.process.pid)
            task_id = one.task.id if one.task else 0
            said = Failure.of(ResultLost())
        if task_id == child.LOG:
            level, name, text = said
            logging.getLogger(name).log(level, "child %s: %s", one.process.pid, text)
        elif task_id == child.CANNOT_START:
            one.reason = said
        elif isinstance(said, int):
            self._deliver(Progressed(task_id, said))
        else:
            with self._lock:
                one.warm, one.task = True, None
                self._assign()
            if task_id == child.WARM:
                self._can_start()
            else:
                self._deliver(Finished(task_id, said))
        return True

    def _died(self, one: _Child) -> None:
        one.process.kill()  # in case it only closed its pipe
        one.process.join(GONE_WITHIN_S)
        with self._lock:
            del self._children[one]
        one.pipe.close()
        if one.task is not None:
            self._deliver(Finished(one.task.id, _ABORTED if one.aborted else _death(one)))
        elif not one.warm:
            self._cannot_start(f"it ended while it was starting, {_cause(one)}", one.reason)
        self._look.set()

    def _can_start(self) -> None:
        """A child has made itself ready."""
        with self._lock:
            failed, self._failed_starts, self._start_at, self._reason = self._failed_starts, 0, 0.0, ""
            was_working, self._working = self._working, True
        if failed:
            log.info("a child process works, after %d attempts", failed)
            self._look.set()  # those that are missing
        if not was_working:
            self._deliver(ChildrenChanged(working=True))

    def _cannot_start(self, cause: str, reason: str = "") -> None:
        """The next attempt follows after a pause. If no child is left, a job fails now instead of waiting for its timeout."""
        if self._closing:
            return
        with self._lock:
            left = any(one.warm for one in self._children)
            waiting, self._waiting = (self._waiting, deque()) if not left else (deque(), self._waiting)
            was_working, self._working = self._working, self._working and left
            now = time.monotonic()
            is_next = now >= self._start_at  # the others that were started together with one that failed say nothing new
            if is_next:
                self._failed_starts += 1
                pause = min(START_AGAIN_MAX_S, START_AGAIN_S * 2 ** min(self._failed_starts - 1, 30))
                self._start_at = now + pause
            is_new, self._reason = reason != self._reason, reason
        if is_next:
            traceback = f"\n{reason.rstrip()}" if is_new else ""  # once, then only the count
            log.error("a child process cannot start: %s; attempt %d, the next in %g s%s", cause, self._failed_starts, pause, traceback)
        for task in waiting:
            self._deliver(Finished(task.id, Failure.of(NoChild())))
        if was_working and not left:
            self._deliver(ChildrenChanged(working=False))


def _death(one: _Child) -> Failure:
    log.warning("child %s died while it ran a task: %s", one.process.pid, _cause(one))
    if one.process.exitcode == memory.OVER_MEMORY:
        return Failure.of(LimitExceeded("The job took more memory than a job may take.", "The worker's --max-child-mb changes this limit."))
    message = f"The child process that ran the job ended unexpectedly ({_cause(one)})."
    return Failure.of(ChildDied(message, "Other jobs are not affected; the worker's log may say more."))


def _cause(one: _Child) -> str:
    code = one.process.exitcode
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
