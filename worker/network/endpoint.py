"""A UDP socket with a reading thread. Moves bytes and decides nothing.

Why a thread and not asyncio's datagram endpoint: the thread only empties the socket, so a burst waits in memory and not in the system's
small buffer while commands are handled. And a blocking socket behaves the same on Windows, where asyncio's proactor loop may receive
nothing more after a peer has closed its port.
"""

from __future__ import annotations

import contextlib
import functools
import ipaddress
import logging
import socket
import sys
import threading
from collections.abc import Callable, Sequence

from worker.network import kernel_filter
from worker.network.unreachable import ErrorQueue
from worker.protocol.addresses import MAX_DATAGRAM_IN, Network, reachable

log = logging.getLogger(__name__)

#: Size that we ask for; the system may give less (Linux: net.core.rmem_max).
RECEIVE_BUFFER_BYTES = 8 * 2**20
_WINDOWS_IGNORE_RESETS = 0x9800000C  # SIO_UDP_CONNRESET
_SO_RCVBUFFORCE = 33  # Linux, needs CAP_NET_ADMIN; socket does not export it
_SEND_TRIES = 3
_BUFFERS = (
    *([(_SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)] if sys.platform == "linux" else []),
    *((socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES // divisor) for divisor in (1, 2, 4, 8, 16)),
)


class Endpoint:
    """One bound UDP socket.

    Args:
        address: host and port to listen on; port 0 takes a free one.
        deliver: called in the reading thread with (datagram, sender) for each datagram; must return at once.
        unreachable: called with (peer, reason) if nobody listens at a peer; from any thread, must return at once.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(
        self,
        address: tuple[str, int],
        deliver: Callable[[bytes, tuple[str, int]], None],
        unreachable: Callable[[tuple[str, int], str], None] | None = None,
    ) -> None:
        self._deliver = deliver
        self._unreachable = unreachable
        family, _, _, _, resolved = socket.getaddrinfo(*address, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)[0]
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            _configure(self._socket)
            self._socket.bind(resolved)
        except OSError:
            self._socket.close()
            raise
        self._closing = False
        self._own = _Outlet(self._socket, unreachable)
        self._outward: dict[int, _Outlet] = {}
        self._is_loopback = _is_loopback(self.address[0])
        self._thread = threading.Thread(target=self._read, name="udp-reader", daemon=True)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self) -> None:
        """Begins to deliver."""
        self._thread.start()

    def send(self, datagram: bytes, peer: tuple[str, int]) -> None:
        """Sends one datagram. UDP promises nothing: a peer that cannot be reached is reported to `unreachable` and raises no error."""
        self._outlet(peer[0]).send(datagram, peer)

    def _outlet(self, host: str) -> _Outlet:
        """What is bound to the loopback cannot send to another computer (EINVAL), so a socket of its own does that."""
        if not self._is_loopback or _is_loopback(host):
            return self._own
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        if family not in self._outward:
            try:
                self._outward[family] = _Outlet(socket.socket(family, socket.SOCK_DGRAM), self._unreachable)
            except OSError:  # no IPv6 here; our own socket's error says that the peer cannot be reached
                return self._own
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
        """Stops reading and gives the port back."""
        self._closing = True
        if self._thread.is_alive():
            self._wake_reader()
            self._thread.join(1)
        for outlet in (self._own, *self._outward.values()):
            outlet.socket.close()

    def _wake_reader(self) -> None:
        """A blocking recvfrom does not notice a close, and keeps the port. On Linux a shutdown ends it, on other systems an empty
        datagram to ourselves. On Linux the datagram alone is not enough: a waiting error can make it fail, or the kernel's filter drops it.
        """
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RD)
        host, port = self.address
        with contextlib.suppress(OSError):
            self._socket.sendto(b"", (reachable(host), port))

    def _read(self) -> None:
        # Looked up once: this loop is what keeps a burst from being lost.
        receive, deliver = self._socket.recvfrom, self._deliver
        while not self._closing:
            try:
                datagram, sender = receive(MAX_DATAGRAM_IN + 1)
            except OSError as error:
                # Windows and Linux report here that an earlier packet of ours found nobody. That is the peer's matter.
                if not self._closing:
                    log.debug("receive: %s", error)
                    self._own.errors.read()
                continue
            if datagram:
                deliver(datagram, sender[:2])


class _Outlet:
    """A socket that datagrams leave by, and the answers that say that nobody took them."""

    def __init__(self, udp: socket.socket, unreachable: Callable[[tuple[str, int], str], None] | None) -> None:
        self.socket = udp
        self.errors = ErrorQueue(udp, unreachable)
        self._unreachable = unreachable

    def send(self, datagram: bytes, peer: tuple[str, int]) -> None:
        self.errors.watch()
        for _ in range(_SEND_TRIES):
            try:
                self.socket.sendto(datagram, peer)
            except ConnectionRefusedError:  # an earlier packet, maybe to another peer, found nobody; this one has not been sent yet
                self.errors.read()
                continue
            except (OSError, OverflowError, TypeError, ValueError) as error:  # all but the first: no possible port or host name
                log.debug("cannot send %d bytes to %s:%d: %s", len(datagram), *peer, error)
                if self._unreachable is not None:
                    self._unreachable(peer, getattr(error, "strerror", None) or str(error))
            return


@functools.lru_cache(maxsize=1024)
def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name that nobody has resolved; the system says what is wrong with it
        return True


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
