"""Who a packet comes from: answered here, once, before anything else is done with it.

The gate says whether its computer is let in, a hello with the right token lets it in, and a gateway's address stands for the computer
behind it. Nothing goes past this door that the gate does not know: what strangers send ends here, and is kept nowhere. Which client of
that computer it is, the scheduler finds out, once per packet.
"""

from __future__ import annotations

import logging
import time

from worker.core.events import Received, Throttled
from worker.core.gate import Gate
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.messages import Hello
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
        """What of a packet goes on, if anything. Called for every packet as it comes, so it does little."""
        now = time.monotonic()
        if not self._gate.knows(sender[0]) and not self._lets_in(datagram, sender[0], now):
            return None
        dropped = self._gate.throttled(sender, now, len(datagram))
        if dropped is None:
            return datagram, sender
        return Throttled(self._senders.origin(sender), dropped) if dropped else None

    def opened(self, datagram: bytes, sender: Peer) -> Received:
        """The packet as the scheduler is to see it."""
        return self._senders.received(sender, osc.decode_commands(datagram))

    def _lets_in(self, datagram: bytes, host: str, now: float) -> bool:
        """Whether a stranger's packet has a hello with the right token, anywhere in it."""
        if not self._gate.hears(datagram, now):
            return False
        greeting = next((command for command in osc.decode_commands(datagram) if isinstance(command, Hello)), None)
        if greeting is not None and self._gate.introduces(host, greeting.token, now):
            return True
        if self._warning.is_due(now):
            log.warning("a hello from %s has no token or a wrong one; it is not answered", host)
        return False
