"""Finds out who sent a packet to a worker in a container, and where its reports go.

A worker in a container sees all packets come from one address: the gateway of its network. The engine brings back replies to the source
port of a packet. It does not always bring back reports to another port (9461), because the gateway is not always the computer of the
sender. `--gateway-is HOST` says which name that computer has in the container (`host.docker.internal`).
"""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import msgspec
from msgspec.structs import replace

from worker.config import Config
from worker.core.changes import stays_here
from worker.core.events import Received
from worker.errors import DecodeError
from worker.network.names import address_soon
from worker.protocol.addresses import Peer
from worker.protocol.messages import Command, Hello

log = logging.getLogger(__name__)

_ROUTES = Path("/proc/net/route")
#: Docker Desktop's own name for a second gateway that packets may seem to come from.
_DESKTOP_GATEWAY = "gateway.docker.internal"


def default_gateway(routes: str) -> str:
    r"""The gateway in the text of Linux's /proc/net/route, "" if there is none.

    >>> default_gateway("Iface Destination Gateway Flags\neth0 00000000 010011AC 0003\neth0 000011AC 00000000 0001")
    '172.17.0.1'
    """
    for line in routes.splitlines()[1:]:
        fields = line.split()
        if len(fields) > 3 and fields[1] == "00000000" and int(fields[3], 16) & 2:
            return socket.inet_ntoa(bytes.fromhex(fields[2])[::-1])
    return ""


def own_gateways() -> frozenset[str]:
    """The addresses that a container's senders seem to have."""
    try:
        routes = _ROUTES.read_text(encoding="ascii")
    except OSError:
        return frozenset()
    return frozenset({default_gateway(routes), address_soon(_DESKTOP_GATEWAY)} - {""})


class Senders:
    """Replaces the gateway by the sender's own computer.

    Args:
        gateway_is: the address that packets from one of the `gateways` really come from; "" changes nothing.
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
        """The packet as the scheduler should see it."""
        if sender[0] not in self._gateways:
            return Received(sender, commands)
        return Received(self.origin(sender), tuple(_to_its_port(sender[0], command) for command in commands))

    def origin(self, sender: Peer) -> Peer:
        """The computer and port that a packet comes from, seen from here as `sender`."""
        return (self._stands_for, sender[1]) if sender[0] in self._gateways else sender


def _to_its_port(gateway: str, command: Command | DecodeError) -> Command | DecodeError:
    """A hello without a port wants its reports at its source port, and only the gateway leads back there."""
    if isinstance(command, Hello) and not command.host and not command.text_port:
        return msgspec.structs.replace(command, host=gateway)
    return command


def senders(gateway_is: str) -> Senders:
    """For a worker that runs here, now."""
    address = address_soon(gateway_is) if gateway_is else ""
    gateways = own_gateways() if address else frozenset()
    if address and gateways:
        log.info("packets from %s count as coming from %s, %s", " and ".join(sorted(gateways)), gateway_is, address)
    return Senders(address, gateways)


def _outside(host: str) -> str:
    """A computer may have the name by which the worker calls its own page; with a dot at its end it is the same computer.

    >>> _outside("page"), _outside("show-pc")
    ('page.', 'show-pc')
    """
    return f"{host}." if stays_here((host, 0)) else host


def with_addresses(config: Config) -> Config:
    """The fixed targets as addresses, so that a client that is one of them is known as such. Names that are not found stay names."""

    def found(targets: tuple[Peer, ...]) -> tuple[Peer, ...]:
        return tuple(dict.fromkeys((address_soon(host) or _outside(host), port) for host, port in targets))

    return replace(config, report=found(config.report), report_numbers=found(config.report_numbers))
