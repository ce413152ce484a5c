"""Who may ask the HTTP server for what. Every request passes here before anything else is done with it. Knows no socket and no clock.

The rules are those of the OSC port (`worker.core.gate`), and what a browser makes necessary besides:

- This computer may do everything, and so may a computer with the token. The computers of `--allow` may look. Everybody else may do nothing.
- `Host` must be an address, `localhost`, or a name of this computer. A page of the internet whose name is made to lead here (DNS rebinding)
  comes with its own name.
- A request that another page has made (`Origin`, `Sec-Fetch-Site`) is refused, whatever it asks for.
- The token comes in a header or in a cookie, never in an address, which would stand in logs and histories.
"""

from __future__ import annotations

import enum
import hmac
import ipaddress
import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from worker.core.gate import WRONG_BURST, WRONG_PAUSE_S, WRONG_PER_S, Gate
from worker.protocol.addresses import Network
from worker.timers import TokenBucket

#: How many requests of one computer are answered, on the long run and at once. The page asks for a picture per row that is in view.
REQUESTS_PER_S = 200
REQUESTS_BURST = 600
#: Computers whose rates are known.
MAX_HOSTS = 1024
#: Browsers that have logged in, and for how long.
MAX_SESSIONS = 256
SESSION_S = 30 * 24 * 3600.0
COOKIE = "td_image_worker"


class Access(enum.IntEnum):
    """What a sender may do: each includes those before it."""

    NOTHING = 0
    READ = 1
    WRITE = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """What the guard looks at of a request.

    Attributes:
        ip: the address that it comes from.
        headers: by name in lower case.
        cookie: the value of `COOKIE`, "" for none.
    """

    method: str
    ip: str
    headers: Mapping[str, str]
    cookie: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a request is not answered.

    Attributes:
        status: of HTTP.
        message: in a sentence.
    """

    status: int
    message: str


@dataclass(slots=True)
class _Guesses:
    """Wrong tokens of one computer: how many it may still send, and until when it is not heard."""

    left: TokenBucket = field(default_factory=lambda: TokenBucket(WRONG_PER_S, WRONG_BURST))
    closed_until: float = float("-inf")


class Guard:
    """See the module's docstring. All methods are called in the server's thread.

    Args:
        allow: networks that may look.
        token: "" for none.
        names: under which this computer is known, beside its addresses and `localhost`.
    """

    def __init__(self, allow: Sequence[Network], token: str, names: Collection[str] = ()) -> None:
        self._gate = Gate(allow, token)
        self._names = {name.lower() for name in names if name} | {"localhost"}
        self._hosts: OrderedDict[str, TokenBucket] = OrderedDict()
        self._sessions: OrderedDict[str, float] = OrderedDict()
        self._guesses: OrderedDict[str, _Guesses] = OrderedDict()

    @property
    def has_token(self) -> bool:
        """Whether somebody can log in."""
        return self._gate.has_token

    def access(self, asked: Asked, now: float) -> Access | Refused:
        """What this request may do; or why it may not even be looked at.

        Args:
            asked: the request.
            now: seconds of a clock that never goes back.
        """
        if not self._bucket(asked.ip).take(now):
            return Refused(429, f"More than {REQUESTS_PER_S} requests a second came from here. Wait a second.")
        host = asked.headers.get("host", "")
        if not self._is_ours(host):
            return Refused(421, f"The name {host!r:.100} is none of this computer; use its address, such as http://127.0.0.1:9463.")
        if sentence := _from_elsewhere(asked, host):
            return Refused(403, sentence)
        given = _bearer(asked.headers.get("authorization", ""))
        if given:
            return Access.WRITE if self._trusts(asked.ip, given, now) else Refused(401, "The token is wrong.")
        if self._gate.is_this_computer(asked.ip) or self._has_session(asked.cookie, now):
            return Access.WRITE
        return Access.READ if self._gate.knows(asked.ip) else Access.NOTHING

    def log_in(self, ip: str, token: str, now: float) -> str:
        """The value of the cookie for a browser that brings the token; "" if it is wrong, or after many wrong ones within a second."""
        if not self._trusts(ip, token, now):
            return ""
        session = secrets.token_urlsafe(32)
        self._sessions[session] = now + SESSION_S
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return session

    def log_out(self, cookie: str) -> None:
        """Forgets a browser."""
        self._sessions.pop(cookie, None)

    def _trusts(self, ip: str, token: str, now: float) -> bool:
        """Whether this is the token. Who guesses waits alone: the others send it with each request."""
        guesses = self._guesses.get(ip)
        if guesses is not None and now < guesses.closed_until:
            return False
        if self._gate.is_token(token):
            return True
        if guesses is None:
            guesses = self._guesses[ip] = _Guesses()
            if len(self._guesses) > MAX_HOSTS:
                self._guesses.popitem(last=False)
        if not guesses.left.take(now):
            guesses.closed_until = now + WRONG_PAUSE_S
        return False

    def _has_session(self, cookie: str, now: float) -> bool:
        found = next((until for session, until in self._sessions.items() if hmac.compare_digest(session.encode(), cookie.encode())), None)
        return found is not None and now < found

    def _bucket(self, ip: str) -> TokenBucket:
        bucket = self._hosts.get(ip)
        if bucket is None:
            bucket = self._hosts[ip] = TokenBucket(REQUESTS_PER_S, REQUESTS_BURST)
            if len(self._hosts) > MAX_HOSTS:
                self._hosts.popitem(last=False)
        return bucket

    def _is_ours(self, host: str) -> bool:
        name = name_of(host)
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in self._names or name.removesuffix(".local") in self._names
        return True


def name_of(host: str) -> str:
    """The header `Host` without its port, in lower case.

    >>> name_of("127.0.0.1:9463"), name_of("[::1]:9463"), name_of("Show-PC")
    ('127.0.0.1', '::1', 'show-pc')
    """
    if host.startswith("["):
        name, closed, _ = host[1:].partition("]")
        return name.lower() if closed else ""
    return host.partition(":")[0].lower().rstrip(".")


def _from_elsewhere(asked: Asked, host: str) -> str:
    """Why another page may have made this request, in a sentence; "" if none has."""
    origin = asked.headers.get("origin", "")
    if origin and origin.lower() not in (f"http://{host.lower()}", f"https://{host.lower()}"):
        return "Another page has made this request, so it is refused."
    site, mode = asked.headers.get("sec-fetch-site", ""), asked.headers.get("sec-fetch-mode", "")
    followed = asked.method == "GET" and mode == "navigate"  # a link to here
    if site in ("cross-site", "same-site") and not followed:
        return "Another page has made this request, so it is refused."
    return ""


def _bearer(authorization: str) -> str:
    """The token of the header `Authorization`; "" for none.

    >>> _bearer("Bearer abc"), _bearer("Basic YWJj")
    ('abc', '')
    """
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
