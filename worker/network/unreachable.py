"""Which of a UDP socket's packets were refused: "port unreachable", which the other side's system sends back when nobody listens.

Linux keeps these answers in an error queue of the socket once it is asked to (IP_RECVERR). Each of them also interrupts the next call on
the socket, so a flood of reports to nobody would cost time: after a few answers the queue is switched off for the rest of the second.
Other systems do not report this on an unconnected socket, or report it in a way that must be ignored (Windows).
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

import msgspec

from worker.protocol.addresses import Peer
from worker.timers import AtMostEvery

log = logging.getLogger(__name__)

WATCH_AGAIN_S = 1.0
ANSWERS_AT_A_TIME = 16

_IP_RECVERR = 11
_IPV6_RECVERR = 25


class ErrorQueue:
    """The "port unreachable" answers to one socket.

    Args:
        udp: the socket.
        tell: called with the target and the reason, from any thread; it must return at once.
    """

    def __init__(self, udp: socket.socket, tell: Callable[[tuple[str, int], str], None] | None) -> None:
        self._socket = udp
        self._tell = tell
        ipv6 = udp.family == socket.AF_INET6
        self._option = (socket.IPPROTO_IPV6, _IPV6_RECVERR) if ipv6 else (socket.IPPROTO_IP, _IP_RECVERR)
        self._watch_at = 0.0 if tell is not None and sys.platform == "linux" else float("inf")
        self._answers = 0
        self._lock = threading.Lock()

    def watch(self) -> None:
        """Called before packets are sent."""
        now = time.monotonic()
        if now >= self._watch_at:
            with self._lock:
                self._watch_at = now + WATCH_AGAIN_S
                self._answers = 0
                self._switch(on=True)

    def read(self) -> None:
        """Called after an error on the socket. Empties the queue, which also takes the error off the socket."""
        if sys.platform != "linux" or self._tell is None:
            return
        with self._lock:
            with contextlib.suppress(BlockingIOError):
                while self._answers < ANSWERS_AT_A_TIME:
                    _, ancillary, _, peer = self._socket.recvmsg(0, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
                    self._answers += 1
                    for level, kind, data in ancillary:
                        if (level, kind) == self._option and peer:
                            self._tell(peer[:2], os.strerror(struct.unpack_from("=I", data)[0]))
            if self._answers >= ANSWERS_AT_A_TIME:
                self._switch(on=False)  # also empties the queue

    def _switch(self, *, on: bool) -> None:
        with contextlib.suppress(OSError):
            self._socket.setsockopt(*self._option, int(on))


_REFUSED = os.strerror(errno.ECONNREFUSED)

#: Minimum time between two warnings about the same target.
TELL_AGAIN_S = 60.0
MAX_TOLD = 1000


class Unreachable(msgspec.Struct, frozen=True):
    """What is sent to this target does not arrive."""

    peer: Peer
    reason: str


class Unreachables:
    """Reports each target at most once a minute. Fast, because the thread that reads the socket calls it."""

    def __init__(self, tell: Callable[[Unreachable], None]) -> None:
        self._tell = tell
        self._told: dict[Peer, AtMostEvery] = {}

    def __call__(self, peer: Peer, reason: str) -> None:
        """What was sent to `peer` has not arrived."""
        if peer not in self._told and len(self._told) >= MAX_TOLD:
            self._told.clear()
        if self._told.setdefault(peer, AtMostEvery(TELL_AGAIN_S)).is_due(time.monotonic()):
            self._tell(Unreachable(peer, reason))


def log_unreachable(what: Unreachable) -> None:
    """Logs the warning. Only a refusal says that the other side is there and listens at other ports."""
    elsewhere = "or name another place with hello, --report, --text-port or --number-port"
    if what.reason == _REFUSED:
        advice = "open that port there (in TouchDesigner: an OSC In DAT or CHOP)"
        log.warning("nobody listens at %s:%d, where reports go (%s); %s, %s", *what.peer, what.reason, advice, elsewhere)
    else:
        advice = "check that address, and the network and the firewall of this computer"
        log.warning("reports do not get to %s:%d (%s); %s, %s", *what.peer, what.reason, advice, elsewhere)
