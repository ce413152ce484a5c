"""Packets that wait to be read: of all senders together, bounded in number and in bytes."""

from __future__ import annotations

from collections import deque

from worker.protocol.addresses import Peer

#: What Python keeps for a packet beside its bytes.
PACKET_COST = 200


class Inbox:
    """First in, first out. What finds no room is lost, as in the buffer of the system.

    Args:
        packets: how many may wait.
        size_bytes: how large they may be together.

    >>> inbox = Inbox(packets=2, size_bytes=1000)
    >>> [inbox.add(datagram, ("127.0.0.1", 5000)) for datagram in (b"a", bytes(900), b"b", b"c")]
    [True, False, True, False]
    >>> inbox.take(), len(inbox)
    ((b'a', ('127.0.0.1', 5000)), 1)
    """

    def __init__(self, packets: int, size_bytes: int) -> None:
        self._limit = packets
        self._limit_bytes = size_bytes
        self._packets: deque[tuple[bytes, Peer]] = deque()
        self._bytes = 0
        self.lost = 0

    def __len__(self) -> int:
        return len(self._packets)

    def add(self, datagram: bytes, sender: Peer) -> bool:
        """Whether there was room for it."""
        size = len(datagram) + PACKET_COST
        if len(self._packets) >= self._limit or self._bytes + size > self._limit_bytes:
            self.lost += 1
            return False
        self._packets.append((datagram, sender))
        self._bytes += size
        return True

    def take(self) -> tuple[bytes, Peer]:
        """The oldest."""
        datagram, sender = self._packets.popleft()
        self._bytes -= len(datagram) + PACKET_COST
        return datagram, sender
