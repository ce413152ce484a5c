"""What runs in the process of a live job: it gets its task, makes itself ready for it, and follows it to its end. Never raises.

Everything here is importable by name, because processes are spawned.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import sys
import traceback
from collections.abc import Callable

from worker.core.jobs import Failure, Outcome, Task
from worker.errors import InternalError, ResultLost
from worker.executors import child, framing
from worker.executors.child import Parent
from worker.executors.mark import Mark

log = logging.getLogger(__name__)

_READ_AT_ONCE = 2**16
#: As many as the parent lets be under way.
WINDOW = 2


class Mouth:
    """What a live job may say to its parent.

    Args:
        parent: the other end.
        link: the same end, to read from.
        number: of the session.
    """

    def __init__(self, parent: Parent, link: socket.socket, number: int) -> None:
        self._parent = parent
        self._link = link
        self._number = number
        self._pieces = framing.Frames()
        self._room = WINDOW

    def may_send(self, wait_s: float = 0.0) -> bool:
        """Whether a picture may be sent now: the parent has taken those before. Waits so long for that at most.

        Raises:
            SystemExit: the parent is gone.
        """
        while select.select([self._link], [], [], 0 if self._room else wait_s)[0]:
            data = self._link.recv(_READ_AT_ONCE)
            if not data:
                raise SystemExit(0)
            self._room += sum(isinstance(framing.told(body), framing.Taken) for body in self._pieces.received(data))
        return self._room > 0

    def send(self, looked: framing.Looked) -> None:
        """Sends what was seen in one picture. Only if `may_send`."""
        self._room -= 1
        self._parent.say(framing.frame(looked))

    def say(self, word: str, message: str) -> None:
        """Tells what has become of the source: Opening, Live, Lost or Ended."""
        self._parent.say(framing.frame(framing.SourceSaid(self._number, word, child.clean(message[: framing.LONGEST_REASON]))))  # type: ignore[arg-type]


#: Carries a live job out; never returns before its source has ended.
Follow = Callable[[Task, Mouth], Outcome]
#: Called once in each process with its task, to make it ready: what bounds it must stand before anything from outside is seen.
MakeFollow = Callable[[Task], Follow]


def main(make_follow: MakeFollow, link: socket.socket, _mark: Mark) -> None:
    """The whole life of the process."""
    parent = child.prepare(link)
    with contextlib.suppress(OSError):  # a parent that is gone
        task = _task(link)
        if task is None:
            return
        try:
            follow = make_follow(task)
        except Exception:  # noqa: BLE001 - the parent gets every error as a value
            parent.say(framing.frame(framing.CannotStart(child.clean(traceback.format_exc()[-framing.LONGEST_LOG :]))))
            sys.exit(1)
        try:
            outcome = follow(task, Mouth(parent, link, task.id))
        except Exception:
            log.exception("%s failed", task.operation)
            outcome = Failure.of(InternalError(f"{task.operation} failed inside the worker; the log says more."))
        try:
            frame = framing.ended(task.id, outcome)
        except Exception:
            log.exception("the outcome of %s cannot be sent to the parent", task.operation)
            frame = framing.ended(task.id, Failure.of(ResultLost()))
        parent.say(frame)


def _task(link: socket.socket) -> Task | None:
    pieces = framing.Frames()
    while data := link.recv(_READ_AT_ONCE):
        for body in pieces.received(data):
            told = framing.told(body)
            if isinstance(told, framing.Given):
                return framing.task_of(told)
    return None
