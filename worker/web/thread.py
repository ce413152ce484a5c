"""The HTTP server from its settings to its end. Binds its port in the worker's thread, so that a taken one is said at the start; all else
happens in a thread of its own, the imports included: Tornado, and all of the page but its tap.
"""

from __future__ import annotations

import errno
import functools
import importlib.util
import logging
import os
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from worker import extras
from worker.catalog.catalog import Catalog
from worker.config import Config
from worker.core.changes import LogLine
from worker.core.events import Event
from worker.core.gate import Gate
from worker.files.paths import FileRules
from worker.protocol.addresses import Peer, reachable
from worker.web.figures import Figures
from worker.web.making import Maker
from worker.web.tap import Tap

if TYPE_CHECKING:
    from worker.web.hub import Hub

log = logging.getLogger(__name__)

#: How long the worker waits at its end for the server to close its connections.
CLOSE_WITHIN_S = 3.0
BACKLOG = 128
#: While nobody looks and nothing happens but the regular changes of levels, clients and children, the queue is emptied so rarely.
RARELY_S = 0.25
IDLE = 3
#: How long a worker that was asked to leave may keep the port.
LEAVES_WITHIN_S = 5.0


class NotServed(Exception):
    """The page cannot be served. The message says why, and what helps."""


class Web:
    """The server's thread.

    Args:
        place: host and port; port 0 takes a free one.
        config: the worker's settings.

    Raises:
        NotServed: a package is missing, the port is taken, or others could reach it and nobody is allowed to.

    Attributes:
        figures: reads what the worker has counted; to be set before the start.
        journal: the worker's, or None; likewise.
        name: of the worker, for people; likewise.
    """

    def __init__(self, place: Peer, config: Config) -> None:
        if importlib.util.find_spec("tornado") is None:
            raise NotServed(f"the package tornado is missing: {extras.install('page')}, or --http off")
        if not (Gate.is_this_computer(place[0]) or place[0] == "localhost" or config.allow or config.token):
            raise NotServed(f"--http {place[0]}:{place[1]} can be reached by other computers, so it needs --allow or --token")
        self._config = config
        self._socket = _bound(place, LEAVES_WITHIN_S if config.replace else 0.0)
        self.address: Peer = self._socket.getsockname()[:2]
        self.tap = Tap()
        self.figures: Callable[[], Figures] = Figures
        self.journal: Path | None = None
        self.name = "TD Image Worker"
        self._log = _ToTap(self.tap)
        logging.getLogger().addHandler(self._log)  # behind the log's own handler
        self._end: Callable[[], None] = lambda: None
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        """What a person types into a browser on this computer."""
        host = reachable(self.address[0])
        return f"http://[{host}]:{self.address[1]}/" if ":" in host else f"http://{host}:{self.address[1]}/"

    def start(self, command_port: int, rules: FileRules, catalog: Catalog, tell: Callable[[Event], None], maker: Maker) -> None:
        """Begins to serve.

        Args:
            command_port: where the worker listens for OSC.
            rules: which files may be seen.
            catalog: the operations.
            tell: lets something happen in the worker's thread.
            maker: makes pictures of files.
        """
        hub = functools.partial(self._hub, command_port, rules, catalog, tell, maker)
        self._thread = threading.Thread(target=self._run, args=(hub,), name="web", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Ends the server. Nothing listens on its port when this returns."""
        logging.getLogger().removeHandler(self._log)
        self._closed = True
        self._end()
        if self._thread is not None:
            self._thread.join(CLOSE_WITHIN_S)
        self._socket.close()

    def _run(self, made: Callable[[], Hub]) -> None:
        try:
            hub = made()
            if not self._config.show:
                self._until_somebody_comes(hub)
            if self._closed:
                return
            from worker.web.server import run

            run(hub, self._socket, self._set_end)
        except Exception:  # the worker works without its page
            log.exception("the page has ended; the worker goes on")
            self._socket.close()  # otherwise browsers would wait for an answer for ever
        finally:
            self.tap.close()

    def _until_somebody_comes(self, hub: Hub) -> None:
        """Tornado and its server take six megabytes and a fifth of a second, and most workers are never looked at.

        During a show they are there from the start: somebody who looks must not take time from the frames then.
        """
        from worker.web.hub import EVERY_S

        pause_s = EVERY_S
        while not self._closed and not select.select((self._socket,), (), (), pause_s)[0]:
            pause_s = EVERY_S if hub.drain() > IDLE else RARELY_S
            hub.nobody_looks()

    def _hub(self, command_port: int, rules: FileRules, catalog: Catalog, tell: Callable[[Event], None], maker: Maker) -> Hub:
        from worker.web.guard import Guard
        from worker.web.hub import Hub

        names = (socket.gethostname(), socket.gethostname().partition(".")[0], self._config.http[0] if self._config.http else "")
        guard = Guard(self._config.allow, self._config.token, names)
        hub = Hub(self._config, catalog, rules, self.address, command_port, self.tap, tell, guard, maker)
        hub.figures, hub.journal, hub.name = self.figures, self.journal, self.name
        return hub

    def _set_end(self, end: Callable[[], None]) -> None:
        self._end = end
        if self._closed:  # before the server was there
            end()


class _ToTap(logging.Handler):
    """Brings the log to the page, too. There is a line for each job, so the worker's thread does no more than hand it over."""

    def __init__(self, tap: Tap) -> None:
        super().__init__()
        self._tap = tap

    def handle(self, record: logging.LogRecord) -> bool:
        """In place of what every handler does: the queue needs no lock. What an error holds on to is not kept."""
        if record.exc_info is None:
            self._tap.put(record)
            return True
        try:
            self._tap.put(LogLine(record.created, record.levelno, record.name, record.getMessage()))
        except Exception:  # noqa: BLE001 - as the handlers of the standard library do
            self.handleError(record)
        return True


def _bound(place: Peer, wait_s: float) -> socket.socket:
    """A socket that listens.

    Args:
        place: host and port.
        wait_s: how long to wait for a port that is taken: the worker that was asked to leave is about to give it up.

    Raises:
        NotServed: the port is taken, or the address is none of this computer.
    """
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _listening(place)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or time.monotonic() >= deadline:
                reason = error.strerror or str(error)
                sentence = f"port {place[1]} of {place[0]} cannot be used ({reason}); choose another one with --http, or --http off"
                raise NotServed(sentence) from None
        time.sleep(0.1)


def _listening(place: Peer) -> socket.socket:
    family = socket.AF_INET6 if ":" in place[0] else socket.AF_INET
    link = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":  # on Windows this would let two workers share the port
            link.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)  # type: ignore[attr-defined,unused-ignore]
        link.bind(place)
        link.listen(BACKLOG)
        link.setblocking(False)
    except OSError:
        link.close()
        raise
    return link
