"""Who a packet comes from: answered here, once, before anything else is done with it.

The gate says whether its computer is let in, a hello with the right token lets it in, and a gateway's address stands for the computer
behind it. Nothing goes past this door that the gate does not know. Which client of that computer it is, the scheduler finds out, once per
packet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from worker.core.events import Received, Throttled
from worker.core.gate import Gate
from worker.errors import DecodeError
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.messages import Command, Hello
from worker.timers import AtMostEvery

log = logging.getLogger(__name__)

LOG_STRANGERS_S = 10.0


class Door:
    """See the module's docstring.

    Args:
        gate: knows who is let in.
        senders: knows which addresses are gateways.
    """

    def __init__(self, gate: Gate, senders: Senders) -> None:
        self._gate = gate
        self._senders = senders
        self._warning = AtMostEvery(LOG_STRANGERS_S)

    def arrived(self, datagram: bytes, sender: Peer) -> tuple[bytes, Peer] | Throttled | None:
        """What of a packet goes on, if anything. Called by the thread that reads the socket, so it does little."""
        if not self._gate.admits(datagram, sender):
            return None
        dropped = self._gate.throttled(sender, time.monotonic())
        if dropped is None:
            return datagram, sender
        if dropped and self._gate.knows(sender[0]):
            return Throttled(self._senders.origin(sender), dropped)
        return None

    def opened(self, datagram: bytes, sender: Peer) -> Received | None:
        """The packet as the scheduler is to see it; None for a stranger's."""
        commands = osc.decode_commands(datagram)
        if not self._lets_in(sender, commands):
            return None
        return self._senders.received(sender, commands)

    def _lets_in(self, sender: Peer, commands: Sequence[Command | DecodeError]) -> bool:
        """A hello anywhere in the packet counts. A stranger's is answered only with the right token."""
        for command in commands:
            if (
                isinstance(command, Hello)
                and not self._gate.introduces(sender[0], command.token)
                and self._warning.is_due(time.monotonic())
            ):
                log.warning("a hello from %s has no token or a wrong one; it is not answered", sender[0])
        return self._gate.knows(sender[0])
