"""The page itself: its files, what it asks for, and the WebSocket over which it hears of changes."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import tornado.routing
import tornado.web
import tornado.websocket

from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions
from worker.config import installed_version
from worker.web.guard import COOKIE, SESSION_S, Access, Refused
from worker.web.handlers import Guarded, asked_of
from worker.web.hub import Hub

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
#: How many browsers may listen, all together and from one computer.
MAX_SOCKETS = 64
MAX_SOCKETS_OF_ONE = 24
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
    ".txt": "text/plain; charset=utf-8",
}


class WantsPage(tornado.routing.Matcher):
    """A browser that is sent to `/`. OSCQuery asks there, too, but not for HTML."""

    def match(self, request: Any) -> dict[str, Any] | None:
        """An empty dict if the page is wanted."""
        is_page = request.path == "/" and not request.query and "text/html" in request.headers.get("Accept", "")
        return {} if is_page and request.method in ("GET", "HEAD") and "Upgrade" not in request.headers else None


class Page(Guarded):
    """The page, or the question for the token."""

    needs: ClassVar[Access] = Access.NOTHING

    def get(self) -> None:
        """One small file; all else is asked for by its scripts."""
        if self.access is Access.NOTHING and not self.hub.guard.has_token:
            self.refuse(*self._why_not(self.access))
            return
        _send(self, "index.html" if self.access else "login.html")


class Static(Guarded):
    """A file of the page. Everybody may have it: nothing in it is a secret, and the question for the token needs its style."""

    needs: ClassVar[Access] = Access.NOTHING

    def get(self, name: str) -> None:
        """The names are those of the folder, so nothing else can be asked for."""
        if self.access is Access.NOTHING and not self.hub.guard.has_token:
            self.refuse(*self._why_not(self.access))
        elif name in _names():
            _send(self, name)
        else:
            self.refuse(404, "The page has no such file.")


class Login(Guarded):
    """The token, once; then a cookie."""

    needs: ClassVar[Access] = Access.NOTHING

    def post(self) -> None:
        """The token stands in the body of a form."""
        session = self.hub.guard.log_in(str(self.request.remote_ip), self.get_body_argument("token", ""), time.monotonic())
        if session:
            self.set_cookie(COOKIE, session, httponly=True, samesite="Strict", path="/", max_age=int(SESSION_S))
            self.redirect("/", status=303)
            return
        log.warning("somebody at %s tried to log in with a wrong token", self.request.remote_ip)
        _send(self, "login.html", status=401)


class Logout(Guarded):
    """Forgets the cookie."""

    needs: ClassVar[Access] = Access.NOTHING

    def post(self) -> None:
        """The next request asks for the token again."""
        found = self.request.cookies.get(COOKIE)
        self.hub.guard.log_out(found.value if found else "")
        self.clear_cookie(COOKIE, path="/")
        self.redirect("/", status=303)


class Told(Guarded, tornado.websocket.WebSocketHandler):
    """The browser hears of everything, in frames that hold what has changed. It says nothing itself: what it wants, it asks for over HTTP.

    A browser that is slow misses frames, and then gets everything anew; nothing waits for it.
    """

    async def get(self, *args: str) -> None:
        """Becomes a WebSocket, if there is room: one that is closed again would stay for seconds if its browser does not answer."""
        if _sockets(self.hub).have_room(self.request.remote_ip):
            await super().get(*args)
        else:
            self.refuse(503, f"{MAX_SOCKETS} browsers listen, or {MAX_SOCKETS_OF_ONE} on this computer, which is the limit.")

    def open(self, *_: str) -> None:
        """Sends everything that is known."""
        sockets = _sockets(self.hub)
        if not sockets.have_room(self.request.remote_ip):
            self.close(1013, "too many browsers")
            return
        self.set_nodelay(True)
        self.behind = True
        sockets.all.append(self)

    def on_message(self, message: str | bytes) -> None:
        """Nothing is expected."""
        if len(message) > 1000:
            self.close(1009, "too long")

    def on_close(self) -> None:
        """It has gone."""
        sockets = _sockets(self.hub)
        if self in sockets.all:
            sockets.all.remove(self)

    def check_origin(self, origin: str) -> bool:  # noqa: ARG002 - the guard finds it among the headers
        """The guard has looked at it already, and looks again."""
        return not isinstance(self.hub.guard.access(asked_of(self.request), time.monotonic()), Refused)

    @property
    def is_busy(self) -> bool:
        """Whether the last frame has not left yet."""
        stream = getattr(self.ws_connection, "stream", None)
        return stream is not None and stream.writing()


class Sockets:
    """All browsers that listen.

    Args:
        hub: whose state they show.
    """

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.all: list[Told] = []

    def have_room(self, ip: str | None) -> bool:
        """Whether another browser of this computer may listen."""
        return len(self.all) < MAX_SOCKETS and sum(one.request.remote_ip == ip for one in self.all) < MAX_SOCKETS_OF_ONE

    def tell(self, _happened: Sequence[Any], _now: float) -> None:
        """Sends the newest frame to all."""
        if not self.all:
            self._hub.nobody_looks()
            return
        frame = self._hub.state.frame()
        encoded = msgspec.json.encode(frame).decode() if frame else ""
        whole = ""
        for one in list(self.all):
            if one.is_busy:
                one.behind = True
            elif one.behind:
                whole = whole or msgspec.json.encode({**self._hub.state.whole(), "may": {}}).decode()
                self._send(one, whole)
                one.behind = False
            elif encoded:
                self._send(one, encoded)

    @staticmethod
    def _send(one: Told, text: str) -> None:
        try:
            one.write_message(text)
        except tornado.websocket.WebSocketClosedError:
            one.on_close()


class About(Guarded):
    """What the page has to know besides the changes: which operations there are, and what this browser may do."""

    def get(self) -> None:
        """As JSON."""
        hub = self.hub
        self.answer(
            {
                "version": installed_version(),
                "may_write": self.access >= Access.WRITE,
                "has_login": hub.guard.has_token,
                "command_port": hub.command_port,
                "text_port": hub.config.text_port,
                "number_port": hub.config.number_port,
                "roots": [str(root) for root in hub.rules.roots],
                "operations": [row.as_object() for row in hub.catalog.values() if not row.probe],
                "every_job": {one.name: one.as_object() for one in fields_of(JobOptions)},
                "missing": hub.missing,
            }
        )


def _names() -> dict[str, tuple[bytes, str]]:
    """The files of the page by name, each with its digest; read once."""
    if not _FILES:
        for path in STATIC.rglob("*"):
            if path.is_file() and path.suffix in _TYPES:
                content = path.read_bytes()
                _FILES[path.relative_to(STATIC).as_posix()] = content, hashlib.sha256(content).hexdigest()[:16]
    return _FILES


_FILES: dict[str, tuple[bytes, str]] = {}


def _send(handler: Guarded, name: str, status: int = 200) -> None:
    content, digest = _names()[name]
    handler.set_status(status)
    handler.set_header("Content-Type", _TYPES[Path(name).suffix])
    handler.set_header("Cache-Control", "no-cache")
    handler.set_header("ETag", f'"{digest}"')
    if status == 200 and handler.check_etag_header():
        handler.set_status(304)
        handler.finish()
    else:
        handler.finish(content)


def _sockets(hub: Hub) -> Sockets:
    for watcher in hub.watchers:
        owner = getattr(watcher, "__self__", None)
        if isinstance(owner, Sockets):
            return owner
    raise LookupError("The page has no routes.")


def close(hub: Hub) -> None:
    """Ends all WebSockets, in order."""
    for one in list(_sockets(hub).all):
        one.close(1001, "the worker ends")


def routes(hub: Hub) -> Sequence[Any]:
    """The routes of the page."""
    hub.watchers.append(Sockets(hub).tell)
    return [
        tornado.routing.Rule(WantsPage(), Page),
        (r"/page/(.*)", Static),
        (r"/login", Login),
        (r"/logout", Logout),
        (r"/api/told", Told),
        (r"/api/about", About),
    ]
