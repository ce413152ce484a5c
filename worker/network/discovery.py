"""Lets other programs find the worker by themselves (zeroconf, also called Bonjour): its OSC port and its HTTP port.

Registering takes a second or more, and networks come and go while a worker runs for months. So a thread of its own does it, looks every
half minute whether this computer has other addresses by now, and registers anew if it has. The library belongs to the extra `discovery`.
Without it nothing is announced and nothing is said: nobody has asked for it.

What listens on 127.0.0.1 is announced there only. Otherwise other computers would show a worker that they cannot reach.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import re
import socket
import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from worker.protocol.addresses import Peer

if TYPE_CHECKING:
    from zeroconf import ServiceInfo, Zeroconf

log = logging.getLogger(__name__)

OSC: Final = "_osc._udp.local."
OSCQUERY: Final = "_oscjson._tcp.local."
LOOPBACK: Final = "127.0.0.1"
#: Not while the worker starts: the library takes a fifth of a second of a core.
START_AFTER_S = 1.0
#: How often the addresses of this computer are looked at; and how long its end waits until the network knows that it has gone.
LOOK_EVERY_S = 30.0
GONE_WITHIN_S = 2.0
#: A name that is announced has at most 63 bytes.
_LONGEST = 63


class Announced(msgspec.Struct, frozen=True):
    """One service.

    Attributes:
        kind: `OSC` or `OSCQUERY`.
        listens: where; 0.0.0.0 stands for all addresses of this computer.
        says: further words about it, such as its version.
    """

    kind: str
    listens: Peer
    says: Mapping[str, str] = msgspec.field(default_factory=dict)

    def addresses(self, ours: Sequence[str]) -> tuple[str, ...]:
        """Where it can be reached.

        Args:
            ours: the IPv4 addresses of this computer.

        >>> ours = ["127.0.0.1", "10.0.0.5"]
        >>> [Announced(OSC, (host, 9460)).addresses(ours) for host in ("127.0.0.1", "0.0.0.0", "10.0.0.5")]
        [('127.0.0.1',), ('10.0.0.5',), ('10.0.0.5',)]
        """
        host = self.listens[0]
        if host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
            return (host,)
        return tuple(one for one in ours if not ipaddress.ip_address(one).is_loopback) or (LOOPBACK,)


def name_of(computer: str, port: int) -> str:
    """The name under which a worker appears in lists. Another one for each worker of a computer.

    >>> name_of("show-pc", 9460)
    'TD Image Worker on show-pc, 9460'
    """
    end = f", {port}"
    text = f"TD Image Worker on {computer}"
    while len(text.encode()) + len(end) > _LONGEST:
        text = text[:-1]
    return text + end


def our_addresses() -> tuple[str, ...]:
    """The IPv4 addresses of this computer, in an order that stays the same. Known clients read no other ones."""
    import ifaddr  # it comes with zeroconf, and is smaller than psutil

    found = {str(address.ip) for adapter in ifaddr.get_adapters() for address in adapter.ips if address.is_IPv4}
    return tuple(sorted(found, key=lambda one: ipaddress.ip_address(one).packed))


class Discovery:
    """Announces services until it is closed.

    Args:
        name: see `name_of`.
        services: what is announced.
    """

    def __init__(self, name: str, services: Sequence[Announced]) -> None:
        self._name = name
        self._services = services
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="discovery", daemon=True)

    def start(self) -> None:
        """Begins; returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Lets the network know that the worker has gone, if that takes no longer than `GONE_WITHIN_S`."""
        self._ending.set()
        if self._thread.is_alive():
            self._thread.join(GONE_WITHIN_S)

    def _run(self) -> None:
        if self._ending.wait(START_AFTER_S):
            return
        try:
            import zeroconf as library
        except ImportError:
            log.debug("the worker is not announced, because the package zeroconf is not installed (extra: discovery)")
            return
        failed = ""
        while not self._ending.is_set():
            ours = our_addresses()
            try:
                with contextlib.ExitStack() as opened:
                    names = [name for addresses, ones in self._groups(ours) for name in self._register(opened, addresses, ones, ours)]
                    log.info("announced to OSC programs as %r", names[0])
                    failed = ""
                    while not self._ending.wait(LOOK_EVERY_S) and our_addresses() == ours:
                        pass
            except (OSError, library.Error) as error:  # no network, or one without multicast
                if str(error) != failed:  # once, then only again if it is another one
                    log.info("the worker cannot be announced: %s", error or type(error).__name__)
                failed = str(error)
                self._ending.wait(LOOK_EVERY_S)

    def _groups(self, ours: Sequence[str]) -> list[tuple[tuple[str, ...], list[Announced]]]:
        """The services, by the interfaces on which they are announced."""
        groups: dict[tuple[str, ...], list[Announced]] = {}
        for service in self._services:
            groups.setdefault(service.addresses(ours), []).append(service)
        return list(groups.items())

    def _register(
        self, opened: contextlib.ExitStack, addresses: tuple[str, ...], services: list[Announced], ours: Sequence[str]
    ) -> list[str]:
        """Registers services, to be ended with `opened`; the names that they have got, which another computer may have had already."""
        from zeroconf import Zeroconf

        responder = Zeroconf(interfaces=_interfaces(addresses, ours))
        opened.callback(responder.close)
        return [self._register_one(responder, service, addresses) for service in services]

    def _register_one(self, responder: Zeroconf, service: Announced, addresses: tuple[str, ...]) -> str:
        info = self._info(service, addresses)
        responder.register_service(info, allow_name_change=True)
        return str(info.name).removesuffix("." + service.kind)

    def _info(self, service: Announced, addresses: tuple[str, ...]) -> ServiceInfo:
        from zeroconf import ServiceInfo

        port = service.listens[1]
        return ServiceInfo(
            service.kind,
            f"{self._name}.{service.kind}",
            port=port,
            properties=dict(service.says),
            # Not the computer's own name, which the system announces with other addresses.
            server=f"td-image-worker-{port}-{_as_host(socket.gethostname())}.local.",
            parsed_addresses=list(addresses),
        )


def _interfaces(addresses: tuple[str, ...], ours: Sequence[str]) -> list[str]:
    """Where services at these addresses are announced: programs of this computer may ask on its loopback.

    >>> _interfaces(("127.0.0.1",), ["127.0.0.1", "10.0.0.5"]), _interfaces(("10.0.0.5",), ["127.0.0.1", "10.0.0.5"])
    (['127.0.0.1'], ['10.0.0.5', '127.0.0.1'])
    """
    return list(dict.fromkeys([*addresses, *(one for one in ours if one == LOOPBACK)]))


def _as_host(name: str) -> str:
    """A computer's name as it can stand in an address.

    >>> _as_host("Show PC.local")
    'show-pc'
    """
    return re.sub(r"[^a-z0-9-]+", "-", name.partition(".")[0].lower()).strip("-")[: _LONGEST // 2] or "computer"
