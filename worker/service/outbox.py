"""Datagrams on their way out: to addresses and to names, and those of one moment to one peer as few as can be."""

from __future__ import annotations

from collections.abc import Callable

from worker.core.changes import stays_here
from worker.network.endpoint import Endpoint
from worker.network.names import Names
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT, Peer


class Outbox:
    """See the module's docstring.

    Args:
        endpoint: sends to addresses.
        unreachable: called with a peer that cannot be reached, and why.
    """

    def __init__(self, endpoint: Endpoint, unreachable: Callable[[Peer, str], None]) -> None:
        self._endpoint = endpoint
        self._unreachable = unreachable
        self._names = Names()
        self._together: dict[Peer, list[bytes]] = {}

    def leads_out(self, peer: Peer) -> bool:
        """Whether what is for this peer leaves the process; the page does not."""
        return peer[0] in self._names.numeric or not stays_here(peer)

    def send(self, datagram: bytes, peer: Peer) -> None:
        """Sends one datagram."""
        host, port = peer
        if host in self._names.numeric:
            self._endpoint.send(datagram, peer)
        elif address := self._names.address(host):
            self._endpoint.send(datagram, (address, port))
        else:
            self._unreachable(peer, "the name is not known, or not yet")

    def add(self, report: bytes, peer: Peer) -> None:
        """Sends an encoded report with the others for this peer, soon: at `send_together`."""
        if peer in self._together:
            self._together[peer].append(report)
        else:
            self._together[peer] = [report]

    def send_together(self) -> None:
        """Sends what was added."""
        for peer, reports in self._together.items():
            for datagram in osc.bundles(reports, MAX_DATAGRAM_OUT) if len(reports) > 1 else reports:
                self.send(datagram, peer)
        self._together.clear()
