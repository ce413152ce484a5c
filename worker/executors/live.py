"""A process for each live job, beside the pool's children. Each has a socket pair of its own, as they do.

    the loop's thread                                                      process
    follow -> keeper starts a process -> Given  ------------------------>  prepares itself for this one source
    deliver(Seen) <- poller: its socket can be read  <------- Looked ----  looks at a picture
              Taken  --------------------------------------------------->  may send the next one

The process sends what it sees in one picture, and the next only after `Taken`: so no picture ever waits in a queue, the newest wins, and
one that a stream has taken over can send no more than `rate` allows. What it says otherwise is bounded by the frames of `framing`; one that
says anything else is ended.
"""

from __future__ import annotations

import logging
import math
import socket
import time
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from typing import Protocol

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.live import LiveParams
from worker.catalog.table import CATALOG
from worker.core.events import Seen, SessionEnded, SourceChanged
from worker.core.jobs import Failure, Task
from worker.errors import ChildDied, InternalError, NoChild, ResultLost
from worker.executors import framing, live_child
from worker.executors.keeper import Keeper, death
from worker.executors.live_child import MakeFollow
from worker.executors.mark import Mark
from worker.poller import Poller
from worker.timers import TokenBucket

log = logging.getLogger(__name__)

#: Called from any thread; must return at once.
DeliverLive = Callable[[Seen | SourceChanged | SessionEnded], None]

#: The maximum of pictures under way: one is sent while another is looked at.
WINDOW = 2
_READ_AT_ONCE = 2**16
#: How much faster than `rate` a process may be before it has to wait, and how many pictures at once.
_FASTER, _AT_ONCE = 1.25, 4
_LONGEST_DELAY_MS = 1e6


class LiveExecutor(Protocol):
    """Runs live jobs somewhere else. For each that is followed one `SessionEnded` is delivered, unless it was unfollowed before.

    All methods are called in the thread of the poller.
    """

    def start(self, deliver: DeliverLive, poller: Poller) -> None:
        """Makes it ready."""

    def follow(self, task: Task) -> None:
        """Starts a live job. Never blocks, never raises."""

    def unfollow(self, number: int) -> None:
        """Ends it, native code included. One that has ended already is no error."""

    def close(self) -> None:
        """Ends all of them. None is left when it returns."""


class _Session(msgspec.Struct, eq=False):
    """One live job.

    Attributes:
        columns: how many numbers each row has.
        open: how many pictures the process may still send.
        unwanted: nobody wants to hear of it any more.
        ended: how it ended, in its own words.
        is_away: its source is lost, and the log has said so.
    """

    task: Task
    columns: int
    bucket: TokenBucket
    process: BaseProcess | None = None
    link: socket.socket | None = None
    pieces: framing.Frames = msgspec.field(default_factory=framing.Frames)
    unsent: bytes = b""
    open: int = WINDOW
    unwanted: bool = False
    reason: str = ""
    ended: framing.Ended | None = None
    lost: Failure | None = None
    is_away: bool = False

    def level(self, word: str) -> int:
        """How loud the log says what has become of the source. One that is away for weeks is tried every half a minute, and said once."""
        again = self.is_away and word in ("Opening", "Lost")
        self.is_away = word == "Lost" or again
        return logging.DEBUG if again else logging.WARNING if word == "Lost" else logging.INFO


class Followers:
    """See the module's docstring. A `LiveExecutor`.

    Args:
        make_follow: called in each process with its task; gives the function that carries it out. Importable by name.
        catalog: knows how many columns the rows have.
    """

    def __init__(self, make_follow: MakeFollow, catalog: Catalog = CATALOG) -> None:
        self._keeper = Keeper(live_child.main, (make_follow,))
        self._catalog = catalog
        self._deliver: DeliverLive = lambda _: None
        self._poller: Poller | None = None
        self._sessions: dict[int, _Session] = {}
        self._is_started = False
        self._closing = False

    def start(self, deliver: DeliverLive, poller: Poller) -> None:
        self._deliver = deliver
        self._poller = poller

    @property
    def pids(self) -> tuple[int, ...]:
        """The process ids of the live jobs."""
        return tuple(one.process.pid or 0 for one in list(self._sessions.values()) if one.process is not None)

    def follow(self, task: Task) -> None:
        assert isinstance(task.params, LiveParams)  # noqa: S101 - the scheduler's
        rate = task.params.rate
        bucket = TokenBucket(rate * _FASTER, max(_AT_ONCE, rate / 4))
        session = self._sessions[task.id] = _Session(task, len(self._catalog.find(task.operation).fields), bucket)
        if not self._is_started:  # a worker that follows nothing has no thread for it
            self._is_started = True
            self._keeper.start(self._poller_of().call, lambda: None)
        self._keeper.begin(
            lambda process, link, mark: self._started(session, process, link, mark), lambda error: self._not_started(session, error)
        )

    def unfollow(self, number: int) -> None:
        session = self._sessions.pop(number, None)
        if session is None:
            return
        session.unwanted = True
        if session.process is not None:
            self._gone(session)

    def close(self) -> None:
        self._closing = True
        for session in self._sessions.values():
            if session.link is not None:
                self._poller_of().forget(session.link)
                session.link.close()
        self._sessions.clear()
        self._keeper.close()

    # ------------------------------------------------------------------------------------------------------ life and death

    def _started(self, session: _Session, process: BaseProcess, link: socket.socket, mark: Mark) -> None:
        mark.close()  # of the pool's tasks
        session.process, session.link = process, link
        if session.unwanted or self._closing:
            self._gone(session)
            return
        try:
            session.unsent = framing.given(session.task)
        except (InternalError, TypeError, ValueError):
            log.exception("a live job of %s cannot be sent to its process", session.task.operation)
            session.lost = Failure.of(InternalError())
            self._gone(session)
            return
        self._send_rest(session)

    def _not_started(self, session: _Session, error: Exception) -> None:
        if self._sessions.pop(session.task.id, None) is not None:
            log.error("the process of a live job cannot be started: %s", error)
            self._deliver(SessionEnded(session.task.id, Failure.of(ChildDied("The system starts no process for this live job."))))

    def _gone(self, session: _Session) -> None:
        """Its socket has ended, or is not listened to any longer. How it ended is said when the keeper knows."""
        assert session.process is not None and session.link is not None  # noqa: S101, PT018 - it has started
        self._poller_of().forget(session.link)
        session.link.close()
        session.process.kill()  # native code hears nothing else
        process = session.process
        self._keeper.bury(process, lambda: self._buried(session, process))

    def _buried(self, session: _Session, process: BaseProcess) -> None:
        if self._sessions.pop(session.task.id, None) is None:  # nobody wants to hear of it
            return
        if session.ended is not None:
            outcome = framing.outcome_of(session.ended)
        elif session.reason:
            log.error("the process of a live job cannot work:\n%s", session.reason.rstrip())
            outcome = Failure.of(NoChild("The process of this live job could not make itself ready.", "The worker's log says why."))
        else:
            outcome = session.lost or death(process)
        self._deliver(SessionEnded(session.task.id, outcome))

    # --------------------------------------------------------------------------------------------------------- what it says

    def _read(self, session: _Session) -> None:
        assert session.link is not None  # noqa: S101 - it is watched
        if session.link.fileno() < 0:  # it was closed in this very round
            return
        try:
            data = session.link.recv(_READ_AT_ONCE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._gone(session)
            return
        try:
            for body in session.pieces.received(data):
                self._heard(session, framing.said(body))
        except framing.BadFrame as error:
            log.error("the process of a live job is ended: %s", error.message)  # noqa: TRY400 - the sentence is enough
            session.lost = Failure.of(ResultLost("The process of this live job said what none says, so it was ended."))
            self._gone(session)

    def _heard(self, session: _Session, said: framing.Said) -> None:
        number = session.task.id
        match said:
            case framing.Looked(task_id=told) if told == number and session.open > 0:
                session.open -= 1
                self._deliver(self._seen(session, said))
                self._take(session)
            case framing.SourceSaid(told, word, message) if told == number:
                log.log(session.level(word), "live job %d: %s: %s", number, word, message)
                self._deliver(SourceChanged(number, word, message))
            case framing.Logged(level, name, text):
                logging.getLogger(name).log(level, "live job %d: %s", number, text)
            case framing.CannotStart(reason):
                session.reason = reason
            case framing.Done(told) | framing.Found(told, _) | framing.Failed(told, _) if told == number and session.ended is None:
                session.ended = said
            case _:
                raise framing.BadFrame(f"It sent {type(said).__name__}.")

    @staticmethod
    def _seen(session: _Session, said: framing.Looked) -> Seen:
        if any(len(row) != session.columns for row in said.rows) or not math.isfinite(sum(map(sum, said.rows))):
            raise framing.BadFrame("It sent rows that do not fit their columns.")
        delay_ms = (time.monotonic() - said.taken_at) * 1000
        delay_ms = min(max(0.0, delay_ms), _LONGEST_DELAY_MS) if math.isfinite(delay_ms) else 0.0
        return Seen(said.task_id, said.frame, delay_ms, said.ratio, said.per_second, said.next_id, said.size, said.rows, said.count)

    def _take(self, session: _Session) -> None:
        """Lets the process send another picture: at once, or when it is its time again."""
        now = self._poller_of().now()
        if session.bucket.take(now):
            self._allow(session)
        else:
            self._poller_of().at(now + 1 / session.bucket.per_second, lambda _: self._take(session))

    def _allow(self, session: _Session) -> None:
        if session.unwanted or self._closing or session.task.id not in self._sessions:
            return
        session.open += 1
        session.unsent += framing.frame(framing.Taken())
        self._send_rest(session)

    def _send_rest(self, session: _Session) -> None:
        """Never waits: what the process does not read now is sent when it does."""
        assert session.link is not None  # noqa: S101 - it has started
        if session.link.fileno() < 0:  # its process has gone, and the keeper has yet to say how
            return
        try:
            sent = session.link.send(session.unsent) if session.unsent else 0
        except BlockingIOError:
            sent = 0
        except OSError:  # it has just died, as the next reading will notice
            sent = len(session.unsent)
        session.unsent = session.unsent[sent:]
        writable = (lambda: self._send_rest(session)) if session.unsent else None
        self._poller_of().watch(session.link, lambda: self._read(session), writable)

    def _poller_of(self) -> Poller:
        assert self._poller is not None, "start() comes first"  # noqa: S101
        return self._poller
