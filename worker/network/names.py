"""Host names as addresses, looked up in a thread of its own."""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time

#: How often a name is looked up.
LOOK_AGAIN_S = 10.0
LOOK_AT_START_S = 2.0
MAX_KNOWN = 1000


def is_address(host: str) -> bool:
    """Whether this is a numeric address, not a name.

    >>> [is_address(host) for host in ("127.0.0.1", "::1", "fe80::1%eth0", "localhost")]
    [True, True, True, False]
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Names:
    """Host names as addresses. A thread of its own looks them up, because that may take seconds.

    Only fixed targets have names, so there are few. Packets carry addresses.

    Attributes:
        numeric: hosts that are known to be addresses, not names.
    """

    def __init__(self) -> None:
        self.numeric: set[str] = set()
        self._known: dict[str, tuple[str, float]] = {}
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def address(self, host: str) -> str:
        """The address of this host, or "" if it is not known yet. Never waits."""
        if host in self.numeric:
            return host
        known, until = self._known.get(host, ("", float("-inf")))
        now = time.monotonic()
        if now < until:
            return known
        if is_address(host):
            if len(self.numeric) >= MAX_KNOWN:
                self.numeric.clear()
            self.numeric.add(host)
            return host
        self._known[host] = known, now + LOOK_AGAIN_S  # so that it is asked for once, and the old answer counts meanwhile
        self._wanted.put(host)
        if self._thread is None:
            self._thread = threading.Thread(target=self._look_up, name="names", daemon=True)
            self._thread.start()
        return known

    def _look_up(self) -> None:
        while True:
            host = self._wanted.get()
            self._remember(host, address_of(host), time.monotonic() + LOOK_AGAIN_S)

    def _remember(self, host: str, address: str, until: float) -> None:
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[host] = address, until


def address_of(host: str) -> str:
    """The first address of a host, IPv4 before IPv6; "" if it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def address_soon(host: str) -> str:
    """Like `address_of`, but gives "" if the name service does not answer soon: the start of a worker must not wait for it."""
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(address_of(host)), name="name", daemon=True).start()
    try:
        return found.get(timeout=LOOK_AT_START_S)
    except queue.Empty:
        return ""
