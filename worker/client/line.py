"""One blocking socket for commands that ask one thing after the other and must start fast, such as `health` and `doctor`."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from typing import Any, Self

import msgspec

from worker.protocol import osc
from worker.protocol.addresses import Peer, reachable
from worker.protocol.messages import Bye, Challenge, Command, Hello, Report

ASK_AGAIN_S = 0.25
_ON_ITS_WAY_S = 0.1


class NobodyListens(Exception):
    """Nobody listens at that address and port."""


class Line:
    """A UDP socket to a worker.

    Args:
        host: where the worker is.
        port: its command port.
        local_port: port for the answers; 0 takes a free one.
        connected: read datagrams of this worker only. Then the system also says if nobody listens there.

    Raises:
        OSError: the name cannot be resolved, or the local port is taken.
    """

    def __init__(self, host: str, port: int, *, local_port: int = 0, connected: bool = True) -> None:
        family, _, _, _, resolved = socket.getaddrinfo(reachable(host), port, type=socket.SOCK_DGRAM)[0]
        self._peer: Any = resolved
        self._connected = connected
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        try:
            self._socket.bind(("", local_port))
            if connected:
                self._socket.connect(self._peer)
        except OSError:
            self._socket.close()
            raise

    def close(self) -> None:
        """Gives the port back."""
        self._socket.close()

    def tell(self, *commands: Command) -> None:
        """Sends commands, once.

        Raises:
            NobodyListens: that is what an earlier datagram met.
        """
        for command in commands:
            try:
                self._socket.send(osc.encode(command)) if self._connected else self._socket.sendto(osc.encode(command), self._peer)
            except ConnectionError:
                raise NobodyListens from None

    def hear(self, wait_s: float) -> Iterator[Report]:
        """What comes within this time.

        Raises:
            NobodyListens: that came back instead of an answer.
        """
        return (report for report, _ in self.hear_from(wait_s))

    def hear_from(self, wait_s: float) -> Iterator[tuple[Report, Peer]]:
        """What comes within this time, and from where. Raises as `hear`."""
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                datagram, sender = self._socket.recvfrom(65_535)
            except TimeoutError:
                return
            except ConnectionError:
                raise NobodyListens from None
            for report in osc.decode_reports(datagram):
                if not isinstance(report, Exception):
                    yield report, sender[:2]

    def ask(self, commands: tuple[Command, ...], fits: Callable[[Report], bool], wait_s: float) -> Report | None:
        """Sends the commands until a fitting answer comes; None if none came in time. Raises as `tell`.

        If the worker asks for a number first, a hello among the commands brings it back.
        """
        deadline = time.monotonic() + wait_s
        while (left := deadline - time.monotonic()) > 0:
            self.tell(*commands)
            for report in self.hear(min(ASK_AGAIN_S, left)):
                if fits(report):
                    return report
                if isinstance(report, Challenge) and (answer := tuple(_with(report.nonce, command) for command in commands)) != commands:
                    commands = answer
                    self.tell(*commands)
        return None

    def leave(self) -> None:
        """Says bye, and reads what is still on its way, so that the worker does not find the port closed."""
        self.tell(Bye())
        for _ in self.hear(_ON_ITS_WAY_S):
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _with(nonce: int, command: Command) -> Command:
    return msgspec.structs.replace(command, nonce=nonce) if isinstance(command, Hello) else command
