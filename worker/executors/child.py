"""What runs in a child process: prepares itself once, then carries out one task after the other. Never raises.

Everything here is importable by name, because children are spawned.
"""

from __future__ import annotations

import contextlib
import ctypes
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
import traceback
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler

from worker.core.jobs import Failure, Outcome, Task
from worker.errors import InternalError, ResultLost
from worker.executors.base import MakeRunTask, RunTask

log = logging.getLogger(__name__)

LONGEST_LOG = 20_000
#: Minimum time between two progress reports of a child. The scheduler sends fewer.
PROGRESS_INTERVAL_S = 0.02
#: Stand in the place of the task id: in the first message of a child, before a line for the log, and before the reason why it ends at once.
WARM = 0
LOG = -1
CANNOT_START = -2

_PR_SET_PDEATHSIG = 1


def main(make_run_task: MakeRunTask, pipe: Connection) -> None:
    """The whole life of a child: says when it is warm, then takes tasks until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and a service manager reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    _die_with_parent()
    _silence_stdout()
    if sys.stderr is not None:
        faulthandler.enable()
    logging.basicConfig(level=logging.INFO, handlers=[_ToParent(pipe)], force=True)
    try:
        run_task = make_run_task()
    except Exception:  # noqa: BLE001 - the parent gets every error as a value
        with contextlib.suppress(OSError):
            pipe.send((CANNOT_START, traceback.format_exc()[-LONGEST_LOG:]))
        raise SystemExit(1) from None  # the parent says it once; a traceback of each attempt would fill a disk
    pipe.send((WARM, None))
    while True:
        try:
            task: Task = pipe.recv()
        except EOFError:
            return
        outcome = _outcome(run_task, task, pipe)
        try:
            message = ForkingPickler.dumps((task.id, outcome))
        except Exception:
            log.exception("the outcome of %s cannot be sent to the parent", task.operation)
            outcome = Failure.of(ResultLost())
            message = ForkingPickler.dumps((task.id, outcome))
        pipe.send_bytes(message)


class _ToParent(logging.Handler):
    """Hands log records to the parent, which knows where the log goes. Only one process can write a file that is rotated."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):  # a parent that is gone needs no log
            self._pipe.send((LOG, (record.levelno, record.name, self.format(record)[:LONGEST_LOG])))


def _outcome(run_task: RunTask, task: Task, pipe: Connection) -> Outcome:
    told_at = 0.0

    def progress(done: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= PROGRESS_INTERVAL_S:
            told_at = now
            pipe.send((task.id, done))

    try:
        return run_task(task, progress)
    except Exception:
        log.exception("%s failed", task.operation)
        return Failure.of(InternalError())


def _silence_stdout() -> None:
    """What an operation prints must not fill a pipe that nobody reads: TouchDesigner's, or a container's log."""
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    os.close(sink)


def _die_with_parent() -> None:
    """No child outlives the worker, not even when it is killed. Linux's signal also ends one that never leaves native code."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), name="parent-watch", daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
