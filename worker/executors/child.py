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
import socket
import stat
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from multiprocessing import parent_process
from multiprocessing.connection import wait

from worker.catalog.rows import OwnFile
from worker.core.jobs import Failure, Outcome, Task
from worker.errors import InternalError, ResultLost
from worker.executors import framing, memory
from worker.executors.base import FindMissing, MakeRunTask, RunTask
from worker.executors.mark import Mark
from worker.executors.spin import AWAKE_S, Record, cores

log = logging.getLogger(__name__)

#: Minimum time between two progress reports of a child. The scheduler sends fewer.
PROGRESS_INTERVAL_S = 0.02
_READ_AT_ONCE = 2**16
_PR_SET_PDEATHSIG = 1
#: Windows has no such flag; there a child sleeps.
_DONT_WAIT: int = getattr(socket, "MSG_DONTWAIT", 0)


def main(make_run_task: MakeRunTask, find_missing: FindMissing, alert: bool, link: socket.socket, mark: Mark) -> None:
    """The whole life of a child: says when it is warm, then takes tasks until the parent is gone.

    Args:
        make_run_task: makes what runs tasks.
        find_missing: what cannot be done here.
        alert: it may stay awake for a moment after a task.
        link: the other end is the parent's.
        mark: where it notes which task it has begun.
    """
    parent = prepare(link)
    parent.is_alert = alert and cores() > 1 and _DONT_WAIT != 0
    with contextlib.suppress(OSError):  # a parent that is gone
        _serve(make_run_task, find_missing, parent, mark)


def prepare(link: socket.socket) -> Parent:
    """What every child does first: signals are the parent's, its death is the child's, and what is logged goes to it."""
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and a service manager reach the whole group; the parent decides
        signal.signal(number, signal.SIG_IGN)
    if sys.platform != "win32":
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})  # the parent's keeper has blocked them until now
    _die_with_parent()
    _silence()
    parent = Parent(link)
    logging.basicConfig(level=logging.INFO, handlers=[_ToParent(parent)], force=True)
    return parent


def _serve(make_run_task: MakeRunTask, find_missing: FindMissing, parent: Parent, mark: Mark) -> None:
    try:
        run_task = make_run_task()
        warm = framing.frame(framing.Warm(dict(find_missing())))
    except Exception:  # noqa: BLE001 - the parent gets every error as a value
        parent.say(framing.frame(framing.CannotStart(clean(traceback.format_exc()[-framing.LONGEST_LOG :]))))
        raise SystemExit(1) from None  # the parent says it once; a traceback of each attempt would fill a disk
    parent.say(warm)
    taught: dict[str, OwnFile] = {}
    holds_memory = True
    for told in parent.tells():
        if isinstance(told, framing.Probe):
            parent.say(framing.frame(framing.Alive()))
            if holds_memory:  # the parent asks who has been idle for some seconds; in a batch the next part follows at once
                memory.give_back()
                holds_memory = False
            continue
        if isinstance(told, framing.Taken):  # for those that follow a live job
            continue
        if isinstance(told, framing.Taught):
            taught[told.where] = OwnFile(told.where, told.digest, told.text)
            continue
        mark.set(told.id)
        holds_memory = True
        task = framing.task_of(told, taught.values())
        outcome = _outcome(run_task, task, parent)
        try:
            frame = framing.ended(task.id, outcome)
        except Exception:
            log.exception("the outcome of %s cannot be sent to the parent", task.operation)
            frame = framing.ended(task.id, Failure.of(ResultLost()))
        parent.say(frame)
        parent.has_ended_a_task = True


class Parent:
    """The other end.

    Attributes:
        is_alert: if tasks come fast, the child looks for the next one before it sleeps (`spin`).
        has_ended_a_task: since it last looked for one.
    """

    def __init__(self, link: socket.socket) -> None:
        self._link = link
        self.is_alert = self.has_ended_a_task = False
        self._record = Record(most=5)
        self._saying = threading.Lock()  # a thread of a library may log something meanwhile

    def say(self, frame: bytes) -> None:
        with self._saying:
            self._link.sendall(frame)

    def tells(self) -> Iterator[framing.Told]:
        """What it says, one after the other, until it is gone."""
        pieces = framing.Frames()
        while data := self._at_once() or self._link.recv(_READ_AT_ONCE):
            for body in pieces.received(data):
                yield framing.told(body)

    def _at_once(self) -> bytes:
        """What it says within a moment after a task has ended, if tasks come so fast; otherwise nothing."""
        ended, self.has_ended_a_task = self.has_ended_a_task, False
        if not (self.is_alert and ended and self._record.wanted()):
            return b""
        data, until = b"", time.monotonic() + AWAKE_S
        while not data and time.monotonic() < until:
            with contextlib.suppress(BlockingIOError):
                data = self._link.recv(_READ_AT_ONCE, _DONT_WAIT)
                break  # maybe with nothing, at the end
        self._record.looked(bool(data))
        return data


class _ToParent(logging.Handler):
    """Hands log records to the parent, which knows where the log goes. Only one process can write a file that is rotated."""

    def __init__(self, parent: Parent) -> None:
        super().__init__()
        self._parent = parent

    def emit(self, record: logging.LogRecord) -> None:
        level, name = max(0, min(100, record.levelno)), clean(record.name[: framing.LONGEST_NAME])
        text = clean(self.format(record)[: framing.LONGEST_LOG])
        with contextlib.suppress(OSError):  # a parent that is gone needs no log
            self._parent.say(framing.frame(framing.Logged(level, name, text)))


def clean(text: str) -> str:
    """Without half characters, which a frame cannot hold."""
    return text.encode(errors="replace").decode()


def _outcome(run_task: RunTask, task: Task, parent: Parent) -> Outcome:
    told_at = 0.0

    def progress(done: int) -> None:
        nonlocal told_at
        now = time.monotonic()
        if now - told_at >= PROGRESS_INTERVAL_S:
            told_at = now
            parent.say(framing.frame(framing.Stepped(task.id, done)))

    try:
        return run_task(task, progress)
    except Exception:
        log.exception("%s failed", task.operation)
        return Failure.of(InternalError())


def _silence() -> None:
    """What an operation prints must not fill a pipe that nobody reads: TouchDesigner's, or a container's log.

    Libraries write a line about many a picture to standard error. If that is a file, as TouchDesigner and launchd make one, it would grow
    for years. What matters of a picture stands in its job's reports, and how a child crashed still comes into the file.
    """
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 1)
    if sys.stderr is not None:
        faulthandler.enable(os.dup(2))
        if stat.S_ISREG(os.fstat(2).st_mode):
            os.dup2(sink, 2)
    os.close(sink)


def _die_with_parent() -> None:
    """No child outlives the worker, not even when it is killed. Linux's signal also ends one that never leaves native code."""
    parent = parent_process()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if parent is not None and not parent.is_alive():  # it went before we had asked
            os._exit(1)
    elif parent is not None:  # on Linux the sandbox would not bind a thread that runs before it
        threading.Thread(target=_exit_after, args=(parent.sentinel,), name="parent-watch", daemon=True).start()


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
