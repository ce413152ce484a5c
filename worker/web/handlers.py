"""What all handlers of the HTTP server have in common: the guard is asked first, and every answer carries the same headers."""

from __future__ import annotations

import time
from typing import Any, ClassVar

import msgspec
import tornado.web

from worker.web.guard import COOKIE, Access, Asked, Refused
from worker.web.hub import Hub

#: No script, style or picture from elsewhere, none in the page itself, and no frame around it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; "
    "connect-src 'self' ws://{host} wss://{host}; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Server": "td-image-worker",
}


class Guarded(tornado.web.RequestHandler):
    """Base of all handlers.

    Attributes:
        needs: what a request must be allowed to do. `Access.NOTHING` is for what everybody may see, such as the page that asks for a token.
        access: what this request may do.
    """

    needs: ClassVar[Access] = Access.READ

    @property
    def hub(self) -> Hub:
        """What the handlers share."""
        hub = self.settings["hub"]
        assert isinstance(hub, Hub)  # noqa: S101 - the server sets it
        return hub

    def set_default_headers(self) -> None:
        """The same for every answer, errors included."""
        for name, value in _HEADERS.items():
            self.set_header(name, value)
        self.set_header("Content-Security-Policy", POLICY.format(host=self.request.host if self._host_is_plain() else "'none'"))

    def _host_is_plain(self) -> bool:
        return all(one.isalnum() or one in ".-:[]_" for one in self.request.host)

    def prepare(self) -> None:
        """Asks the guard. What it refuses ends here."""
        self.started_at = time.monotonic()
        found = self.hub.guard.access(asked_of(self.request), self.started_at)
        if isinstance(found, Refused):
            self.refuse(found.status, found.message)
            return
        self.access = found
        if self.needs > found:
            self.refuse(*self._why_not(found))

    def _why_not(self, found: Access) -> tuple[int, str]:
        if self.hub.guard.has_token:
            what = "change anything" if found else "see this"
            return (
                401,
                f"From another computer only somebody with the worker's token may {what}. Log in, or send it as Authorization: Bearer.",
            )
        if found:
            return 403, "Another computer may look only. Start the worker with --token, and log in, to change something from here."
        return 403, "This computer may not look. Start the worker with --allow and its address, or with --token."

    def refuse(self, status: int, message: str) -> None:
        """Answers with an error, in a sentence."""
        self.set_status(status)
        self.answer({"error": message})

    def answer(self, what: Any) -> None:
        """Answers with JSON."""
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(msgspec.json.encode(what))

    def body(self, kind: type[Any]) -> Any:
        """What came as JSON.

        Raises:
            tornado.web.HTTPError: it is none, or has other fields.
        """
        if not self.request.headers.get("Content-Type", "").startswith("application/json"):
            raise tornado.web.HTTPError(415, reason="Send Content-Type: application/json.")
        try:
            return msgspec.json.decode(self.request.body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise tornado.web.HTTPError(400, reason=_one_line(f"The body does not fit: {error}")) from None

    def write_error(self, status_code: int, **kwargs: Any) -> None:  # noqa: ARG002 - as Tornado calls it
        """An error that was raised, as JSON. What is in our own mistakes stays in the log."""
        error = kwargs.get("exc_info", (None, None))[1]
        reason = error.reason if isinstance(error, tornado.web.HTTPError) and error.reason else self._reason
        self.answer({"error": reason})

    def check_xsrf_cookie(self) -> None:
        """The guard looks at where a request comes from; the cookie is sent by our own page only (`SameSite=Strict`)."""


class Missing(Guarded):
    """There is nothing at this address."""

    def prepare(self) -> None:
        """Says so, after the guard has looked."""
        super().prepare()
        if not self._finished:
            self.refuse(404, "There is nothing at this address.")


def asked_of(request: Any) -> Asked:
    """What the guard looks at of a request."""
    headers = {name.lower(): value for name, value in request.headers.get_all()}
    found = request.cookies.get(COOKIE)
    return Asked(str(request.method), str(request.remote_ip), headers, found.value if found else "")


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
