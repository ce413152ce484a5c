"""Who a packet comes from and where its reports go, as the network shows it: names, container gateways, and ports where nobody listens.

A worker in a container sees one sender, the gateway of its network, whoever sent the packet. Replies to the very port that a packet came
from are brought back by the engine; reports to a port of their own (9461) are not on every system, because the gateway is not always the
computer on which the sender runs. `--gateway-is HOST` says which name that computer has inside (`host.docker.internal`).
"""

from __future__ import annotations

import ipaddress
import logging
import queue
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from worker.config import Config
from worker.core.events import Peer, Received
from worker.errors import DecodeError
from worker.protocol.messages import Command, Hello

log = logging.getLogger(__name__)

#: How often a name is looked up.
LOOK_AGAIN_S = 10.0
LOOK_AT_START_S = 2.0
MAX_KNOWN = 1000
#: A target where nobody listens is told about this often.
TELL_AGAIN_S = 60.0
MAX_TOLD = 1000

_ROUTES = Path("/proc/net/route")
#: Docker Desktop's own name for a second gateway that packets may seem to come from.
_DESKTOP_GATEWAY = "gateway.docker.internal"


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Packets to this target find nobody."""

    peer: Peer
    reason: str


class Unreachables:
    """Tells each target at most once a minute. Cheap, because the thread that reads the socket calls it."""

    def __init__(self, tell: Callable[[Unreachable], None]) -> None:
        self._tell = tell
        self._told: dict[Peer, float] = {}

    def __call__(self, peer: Peer, reason: str) -> None:
        """A packet to `peer` found nobody."""
        now = time.monotonic()
        if now - self._told.get(peer, float("-inf")) < TELL_AGAIN_S:
            return
        if len(self._told) >= MAX_TOLD:
            self._told.clear()
        self._told[peer] = now
        self._tell(Unreachable(peer, reason))


def log_unreachable(what: Unreachable) -> None:
    """The clear word about it."""
    log.warning(
        "nobody listens at %s:%d, where reports go (%s); open that port there (in TouchDesigner: an OSC In DAT or CHOP), "
        "or name another place with hello, --report, --text-port or --number-port",
        *what.peer,
        what.reason,
    )


def is_address(host: str) -> bool:
    """Whether it is an address in numbers and no name.

    >>> [is_address(host) for host in ("127.0.0.1", "::1", "fe80::1%eth0", "localhost")]
    [True, True, True, False]
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Names:
    """Host names as addresses. Looked up in a thread of its own, because that may take seconds.

    Only fixed targets have names; what a packet says are addresses, so there are few.
    """

    def __init__(self) -> None:
        self._known: dict[str, tuple[str, float]] = {}
        self._wanted: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def address(self, host: str) -> str:
        """The address of this host, "" while there is none. Never waits."""
        known, until = self._known.get(host, ("", float("-inf")))
        now = time.monotonic()
        if now < until:
            return known
        if is_address(host):
            self._remember(host, host, float("inf"))
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
    """Its first address, IPv4 before IPv6; "" where it has none."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError):
        return ""
    return str(min(found, key=lambda entry: entry[0] != socket.AF_INET)[4][0])


def address_soon(host: str) -> str:
    """Like `address_of`, but a name service that does not answer counts as "no address": a worker must not wait for it to start."""
    found: queue.SimpleQueue[str] = queue.SimpleQueue()
    threading.Thread(target=lambda: found.put(address_of(host)), name="name", daemon=True).start()
    try:
        return found.get(timeout=LOOK_AT_START_S)
    except queue.Empty:
        return ""


def default_gateway(routes: str) -> str:
    r"""The gateway in the text of Linux's /proc/net/route, "" where there is none.

    >>> default_gateway("Iface Destination Gateway Flags\neth0 00000000 010011AC 0003\neth0 000011AC 00000000 0001")
    '172.17.0.1'
    """
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and int(fields[3], 16) & 2:
            return socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
    return ""


def own_gateways() -> frozenset[str]:
    """Who a container's senders seem to be."""
    try:
        routes = _ROUTES.read_text(encoding="ascii")
    except OSError:
        return frozenset()
    return frozenset({default_gateway(routes), address_soon(_DESKTOP_GATEWAY)} - {""})


class Senders:
    """Puts the sender's own computer in the place of the gateway.

    Args:
        gateway_is: the address that packets from one of the `gateways` come from in truth; "" changes nothing.
        gateways: their addresses.

    >>> senders = Senders("192.168.65.254", frozenset({"172.17.0.1"}))
    >>> senders.received(("172.17.0.1", 5000), (Hello("td", 9461, 9462),)).peer
    ('192.168.65.254', 5000)
    >>> senders.received(("172.17.0.1", 5000), (Hello("send", 0, 0),)).commands[0].host
    '172.17.0.1'
    """

    def __init__(self, gateway_is: str, gateways: frozenset[str]) -> None:
        self._stands_for = gateway_is
        self._gateways = gateways if gateway_is else frozenset()

    def received(self, sender: Peer, commands: tuple[Command | DecodeError, ...]) -> Received:
        """The packet as the scheduler is to see it."""
        if sender[0] not in self._gateways:
            return Received(sender, commands)
        return Received(self.in_truth(sender), tuple(_to_its_port(sender[0], command) for command in commands))

    def in_truth(self, sender: Peer) -> Peer:
        """Where a packet comes from that seems to come from `sender`."""
        return (self._stands_for, sender[1]) if sender[0] in self._gateways else sender


def _to_its_port(gateway: str, command: Command | DecodeError) -> Command | DecodeError:
    """A hello without a port wants its reports where the packet came from; that way back leads through the gateway only."""
    if isinstance(command, Hello) and not command.host and not command.text_port:
        return replace(command, host=gateway)
    return command


def senders(gateway_is: str) -> Senders:
    """For a worker that runs here, now."""
    address = address_soon(gateway_is) if gateway_is else ""
    gateways = own_gateways() if address else frozenset()
    if address and gateways:
        log.info("packets from %s count as coming from %s, %s", " and ".join(sorted(gateways)), gateway_is, address)
    return Senders(address, gateways)


def with_addresses(config: Config) -> Config:
    """The fixed targets as addresses, so that a client that is one of them is known as such. Names that are not found stay names."""

    def found(targets: tuple[Peer, ...]) -> tuple[Peer, ...]:
        return tuple(dict.fromkeys((address_soon(host) or host, port) for host, port in targets))

    return replace(config, report=found(config.report), report_numbers=found(config.report_numbers))
