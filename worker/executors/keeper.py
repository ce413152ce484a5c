"""Starts child processes and waits until they are gone, in a thread of its own, so that nobody else waits."""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import queue
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

from worker.core.jobs import Failure
from worker.errors import ChildDied, LimitExceeded
from worker.executors import memory
from worker.executors.mark import Mark

log = logging.getLogger(__name__)

#: How long a child may take to be gone after its socket has ended, or after it was killed.
GONE_WITHIN_S = 5.0


Started = Callable[[BaseProcess, socket.socket, Mark], None]


class Keeper:
    """The thread that does what takes its time: starts processes, and waits until killed ones are gone.

    It lives as long as they do: Linux ends a child together with the *thread* that started it (see child.py). So whatever goes wrong with
    one order, a system without handles or threads among it, is reported, and the next order is carried out.

    Args:
        target: what a child runs. Importable by name.
        arguments: what it is given, before its end of the socket pair and its mark.
    """

    def __init__(self, target: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self._target = target
        self._arguments = arguments
        self._context = multiprocessing.get_context("spawn")
        self._orders: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._links: dict[BaseProcess, tuple[socket.socket, Mark]] = {}
        self._call: Callable[[Callable[[], None]], None] | None = None
        self._unsaid: list[Callable[[], None]] = []
        self._saying = threading.Lock()
        self._thread: threading.Thread | None = None

    def run(self, ended: Callable[[], None]) -> None:
        """Begins to carry out orders. What it has to say, that it has ended too, waits for `tell`."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, args=(ended,), name="child-keeper", daemon=True)
            self._thread.start()

    def tell(self, call: Callable[[Callable[[], None]], None]) -> None:
        """From now on it says what it has to say through `call`."""
        with self._saying:
            self._call = call
            for something in self._unsaid:
                call(something)
            self._unsaid.clear()

    def start(self, call: Callable[[Callable[[], None]], None], ended: Callable[[], None]) -> None:
        """Both at once."""
        self.tell(call)
        self.run(ended)

    def begin(self, started: Started, failed: Callable[[Exception], None]) -> None:
        """Starts a child."""
        self._orders.put(lambda: self._begin(started, failed))

    def bury(self, process: BaseProcess, buried: Callable[[], None]) -> None:
        """Waits until a child is gone."""
        self._orders.put(lambda: self._bury(process, buried))

    def close(self) -> None:
        """Ends all children and itself. None is left when it returns."""
        if self._thread is None:
            return
        self._orders.put(None)
        self._thread.join()
        for process in self._links:
            process.kill()
        for process, (link, mark) in self._links.items():
            process.join(GONE_WITHIN_S)
            link.close()
            mark.close()
        self._thread = None

    def _run(self, ended: Callable[[], None]) -> None:
        try:
            while (order := self._orders.get()) is not None:
                order()
        finally:
            self._say(ended)

    def _say(self, something: Callable[[], None]) -> None:
        with self._saying:
            if self._call is None:
                self._unsaid.append(something)
            else:
                self._call(something)

    def _begin(self, started: Started, failed: Callable[[Exception], None]) -> None:
        try:
            process, link, mark = self._child()
        except Exception as error:  # noqa: BLE001 - out of memory, handles, processes or threads
            problem = error
            self._say(lambda: failed(problem))
        else:
            self._links[process] = link, mark
            self._say(lambda: started(process, link, mark))

    def _child(self) -> tuple[BaseProcess, socket.socket, Mark]:
        ours, its = socket.socketpair()
        mark: Mark | None = None
        try:
            mark = Mark.made()
            ours.setblocking(False)
            process = self._context.Process(
                target=self._target, args=(*self._arguments, its, mark), name="td-image-worker-child", daemon=True
            )
            with _deaf():
                process.start()
            mark.handed_over()
        except BaseException:
            ours.close()
            if mark is not None:
                mark.close()
            raise
        finally:
            its.close()  # the child has its own by now, so that ours ends when it dies
        return process, ours, mark

    def _bury(self, process: BaseProcess, buried: Callable[[], None]) -> None:
        try:
            process.kill()  # in case it only closed its socket
            process.join(GONE_WITHIN_S)
            del self._links[process]
        except Exception:
            log.exception("child %s could not be waited for", process.pid)
        self._say(buried)


@contextlib.contextmanager
def _deaf() -> Iterator[None]:
    """What this thread starts meanwhile hears neither Ctrl-C nor SIGTERM, until it says so itself (`child.prepare`).

    Both reach the whole group. A child that has not yet said that it leaves them to its parent would end with a traceback.
    """
    if sys.platform == "win32":
        yield
        return
    from multiprocessing import resource_tracker  # there is none on Windows

    resource_tracker.ensure_running()  # when it begins it lets these signals through again, in this thread
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def death(process: BaseProcess) -> Failure:
    """Why a process ended that should not have."""
    log.warning("child %s died while it ran a task: %s", process.pid, cause(process))
    if process.exitcode == memory.OVER_MEMORY:
        return Failure.of(LimitExceeded("The job took more memory than a job may take.", "The worker's --max-child-mb changes this limit."))
    message = f"The child process that ran the job ended unexpectedly ({cause(process)})."
    return Failure.of(ChildDied(message, "Other jobs are not affected; the worker's log may say more."))


def processor_s(process: BaseProcess) -> float:
    """How much processor time a process has used, in seconds. One that hangs, or was stopped, uses none.

    Raises:
        OSError: it has ended.
    """
    if process.pid is None:
        return 0.0
    if sys.platform == "linux":  # the clock of clock_getcpuclockid(3); psutil takes 6 MB of the parent's memory
        with contextlib.suppress(OSError):  # some sandboxes of containers do not have it
            return time.clock_gettime(~process.pid << 3 | 2)
    import psutil

    try:
        used = psutil.Process(process.pid).cpu_times()
    except psutil.Error as error:
        raise OSError(str(error)) from error
    return float(used.user + used.system)


def cause(process: BaseProcess) -> str:
    """How a process ended, in words."""
    code = process.exitcode
    if code is None:
        return "it does not end"
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
