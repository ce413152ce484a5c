"""A UDP socket that never waits. Moves bytes and decides nothing.

The poller says when there is something to read; then the socket is emptied at once, so that a burst waits in memory and not in the system's
small buffer while commands are handled. What the system cannot send now is sent when it can, in order.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from worker.network import kernel_filter
from worker.network.unreachable import ErrorQueue
from worker.poller import Poller
from worker.protocol.addresses import MAX_DATAGRAM_IN, Network
from worker.timers import AtMostEvery

log = logging.getLogger(__name__)

#: Size that we ask for; the system may give less (Linux: net.core.rmem_max).
RECEIVE_BUFFER_BYTES = 8 * 2**20
_WINDOWS_IGNORE_RESETS = 0x9800000C  # SIO_UDP_CONNRESET
_SO_RCVBUFFORCE = 33  # Linux, needs CAP_NET_ADMIN; socket does not export it
_SEND_TRIES = 3
LOG_TOO_LONG_S = 10.0
#: How many datagrams wait for a network that takes no more; what comes on top is lost, as on the network itself.
MAX_UNSENT = 10_000
_BUFFERS = (
    *([(_SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)] if sys.platform == "linux" else []),
    *((socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES // divisor) for divisor in (1, 2, 4, 8, 16)),
)


class Endpoint:
    """One bound UDP socket.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        deliver: called with (datagram, sender) for each datagram, in the thread of the poller; must return at once.
        unreachable: called with (peer, reason) if nobody listens at a peer; must return at once.
        longest: a longer datagram is not sent, because networks would split it; whoever wants that has made a mistake, which is logged.

    Attributes:
        packets_in: how many datagrams have come, and how many bytes: `bytes_in`.
        packets_out: how many were given to the system, or wait for it: `bytes_out`.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        address: tuple[str, int],
        deliver: Callable[[bytes, tuple[str, int]], None],
        unreachable: Callable[[tuple[str, int], str], None] | None = None,
        longest: int = MAX_DATAGRAM_IN,
    ) -> None:
        self._longest = longest
        self._too_long = AtMostEvery(LOG_TOO_LONG_S)
        self._deliver = deliver
        self._unreachable = unreachable
        host = address[0].encode() if address[0].isascii() else address[0]  # as text it would bring Unicode's tables along
        family, _, _, _, resolved = socket.getaddrinfo(host, address[1], type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        try:
            _configure(self._socket)
            self._socket.bind(resolved)
        except OSError:
            self._socket.close()
            raise
        self._own = _Outlet(self._socket, unreachable)
        self._outward: dict[int, _Outlet] = {}
        self._kind = _kind(self.address[0]) or _Kind(4)
        self._poller: Poller | None = None
        self._thread: threading.Thread | None = None
        self._closing = False
        self.packets_in = self.bytes_in = self.packets_out = self.bytes_out = 0

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self, poller: Poller | None = None) -> None:
        """Begins to deliver: in the thread of this poller, or in one of its own."""
        self._poller = poller or Poller()
        self._poller.watch(self._socket, self.read)
        if poller is None:
            self._thread = threading.Thread(target=self._run, name="udp-reader", daemon=True)
            self._thread.start()

    def read(self) -> None:
        """Delivers everything that has come."""
        receive, deliver = self._socket.recvfrom, self._deliver  # looked up once: this loop is what keeps a burst from being lost
        nothing = True
        while True:
            try:
                datagram, sender = receive(MAX_DATAGRAM_IN + 1)
            except BlockingIOError:
                if nothing:  # then what woke us is an answer to an earlier packet
                    self._own.errors.read()
                return
            except OSError as error:
                # Windows and Linux report here that an earlier packet of ours found nobody. That is the peer's matter.
                log.debug("receive: %s", error)
                self._own.errors.read()
                return
            nothing = False
            self.packets_in += 1
            self.bytes_in += len(datagram)
            if datagram:
                deliver(datagram, sender if len(sender) == 2 else sender[:2])

    def send(self, datagram: bytes, peer: tuple[str, int]) -> None:
        """Sends one datagram. UDP promises nothing: a peer that cannot be reached is reported to `unreachable` and raises no error."""
        if len(datagram) > self._longest:
            if self._too_long.is_due(time.monotonic()):
                log.error("a datagram of %d bytes was not sent; the limit is %d: %r", len(datagram), self._longest, datagram[:60])
            return
        self.packets_out += 1
        self.bytes_out += len(datagram)
        outlet = self._outlet(peer[0])
        if outlet.unsent or not outlet.send(datagram, peer):
            self._send_later(outlet, datagram, peer)

    def _send_later(self, outlet: _Outlet, datagram: bytes, peer: tuple[str, int]) -> None:
        if self._poller is None or len(outlet.unsent) >= MAX_UNSENT:
            return
        outlet.unsent.append((datagram, peer))
        if len(outlet.unsent) == 1:
            readable = self.read if outlet is self._own else outlet.errors.read
            self._poller.watch(outlet.socket, readable, lambda: self._send_rest(outlet, readable))

    def _send_rest(self, outlet: _Outlet, readable: Callable[[], None]) -> None:
        while outlet.unsent:
            if not outlet.send(*outlet.unsent[0]):
                return
            outlet.unsent.popleft()
        if self._poller is not None:
            self._poller.watch(outlet.socket, readable) if outlet is self._own else self._poller.forget(outlet.socket)

    def _outlet(self, host: str) -> _Outlet:
        """What can send there: our own socket, or another one.

        What is bound to the loopback cannot send to another computer (EINVAL), and what is bound to a network's address not everywhere to
        the loopback. A socket of IPv4 sends to no address of IPv6, nor the other way round.
        """
        kind = _kind(host)
        if kind is None or (kind.version == self._kind.version and (kind.is_loopback == self._kind.is_loopback or self._kind.is_any)):
            return self._own
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if family not in self._outward:
            try:
                udp = socket.socket(family, socket.SOCK_DGRAM)
            except OSError:  # no IPv6 here; our own socket's error says that the peer cannot be reached
                return self._own
            udp.setblocking(False)
            self._outward[family] = _Outlet(udp, self._unreachable)
        return self._outward[family]

    def keep_only(self, networks: Sequence[Network]) -> None:
        """Makes the system drop other senders' packets before they reach us, if it can."""
        kernel_filter.keep_only(self._socket, networks)

    @property
    def receive_buffer_bytes(self) -> int:
        """Size of the system's buffer for packets that we have not read yet; a small packet takes about 800 bytes."""
        return self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)

    @property
    def dropped(self) -> int:
        """How many packets the system dropped here, if it says so: other senders' packets, and those that found the buffer full."""
        return kernel_filter.dropped(self._socket)

    def close(self) -> None:
        """Stops reading and gives the port back. In the thread of the poller, if that is not its own."""
        self._closing = True
        if self._poller is not None and self._thread is not None:
            self._poller.call(lambda: None)
            self._thread.join()
            self._poller.close()
        for outlet in (self._own, *self._outward.values()):
            if self._poller is not None and self._thread is None:
                self._poller.forget(outlet.socket)
            outlet.socket.close()

    def _run(self) -> None:
        while not self._closing:
            if self._poller is not None:
                self._poller.wait()


class _Outlet:
    """A socket that datagrams leave by, and the answers that say that nobody took them."""

    def __init__(self, udp: socket.socket, unreachable: Callable[[tuple[str, int], str], None] | None) -> None:
        self.socket = udp
        self.errors = ErrorQueue(udp, unreachable)
        self.unsent: deque[tuple[bytes, tuple[str, int]]] = deque()
        self._unreachable = unreachable

    def send(self, datagram: bytes, peer: tuple[str, int]) -> bool:
        """Whether that was it; False if the system takes no more at the moment."""
        self.errors.watch()
        for _ in range(_SEND_TRIES):
            try:
                self.socket.sendto(datagram, peer)
            except ConnectionRefusedError:  # an earlier packet, maybe to another peer, found nobody; this one has not been sent yet
                self.errors.read()
                continue
            except BlockingIOError:
                return False
            except (OSError, OverflowError, TypeError, ValueError) as error:  # all but the first: no possible port or host name
                log.debug("cannot send %d bytes to %s:%d: %s", len(datagram), *peer, error)
                if self._unreachable is not None:
                    self._unreachable(peer, getattr(error, "strerror", None) or str(error))
            return True
        return True


class _Kind(NamedTuple):
    """What matters of an address."""

    version: int
    is_loopback: bool = False
    is_any: bool = False


@functools.lru_cache(maxsize=1024)
def _kind(host: str) -> _Kind | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:  # a name that nobody has resolved; the system says what is wrong with it
        return None
    return _Kind(address.version, address.is_loopback, address.is_unspecified)


def _configure(udp: socket.socket) -> None:
    for option, size in _BUFFERS:
        try:
            udp.setsockopt(socket.SOL_SOCKET, option, size)
            break
        except OSError:  # no right to force it; or macOS, which refuses what it cannot give instead of giving less
            continue
    if sys.platform == "win32":
        udp.ioctl(_WINDOWS_IGNORE_RESETS, False)
    elif sys.platform == "darwin":
        with contextlib.suppress(OSError):  # sending more than 9,216 bytes needs it
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MAX_DATAGRAM_IN)
