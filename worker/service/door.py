"""Who a packet comes from: answered here, once, before anything else is done with it.

The gate says whether its computer is let in. A hello with the right token lets it in, if it brings back the number that was sent to where
its reports are to go. A gateway's address stands for the computer behind it. Nothing goes past this door that the gate does not know: what
strangers send ends here, and is kept nowhere. Which client of that computer it is, the scheduler finds out, once per packet.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from worker.core.events import Received, Throttled
from worker.core.gate import Gate
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.greeting import token_in
from worker.protocol.messages import Challenge, Hello
from worker.timers import AtMostEvery

log = logging.getLogger(__name__)

LOG_STRANGERS_S = 10.0


class Door:
    """See the module's docstring.

    Args:
        gate: knows who is let in.
        senders: knows which addresses are gateways.
        send: sends a report to an address.
    """

    def __init__(self, gate: Gate, senders: Senders, send: Callable[[Challenge, Peer], None]) -> None:
        self._gate = gate
        self._senders = senders
        self._send = send
        self._warning = AtMostEvery(LOG_STRANGERS_S)

    def arrived(self, datagram: bytes, sender: Peer) -> tuple[bytes, Peer] | Throttled | None:
        """What of a packet goes on, if anything. Called for every packet as it comes, so it does little."""
        now = time.monotonic()
        if not self._gate.knows(sender[0]) and not self._lets_in(datagram, sender, now):
            return None
        dropped = self._gate.throttled(sender, now, len(datagram))
        if dropped is None:
            return datagram, sender
        return Throttled(self._senders.origin(sender), dropped) if dropped else None

    def opened(self, datagram: bytes, sender: Peer) -> Received:
        """The packet as the scheduler is to see it."""
        return self._senders.received(sender, osc.decode_commands(datagram))

    def _lets_in(self, datagram: bytes, sender: Peer, now: float) -> bool:
        """Whether a stranger's packet has a hello with the right token, anywhere in it, and the number that was sent to him.

        It is decoded only if its bytes hold the token. If it has the token only, the number is sent. That is all that a stranger gets, and
        it is shorter than any hello.
        """
        if not self._gate.hears(datagram, now):
            return False
        if not self._gate.trusts(token_in(datagram) or b"", now):
            if self._warning.is_due(now):
                log.warning("a hello from %s has no token or a wrong one; it is not answered", sender[0])
            return False
        greeting = next((command for command in osc.decode_commands(datagram) if isinstance(command, Hello)), None)
        if greeting is None or not self._gate.is_token(greeting.token):  # what looked like a hello is none
            return False
        peer = (sender[0], greeting.text_port or sender[1])
        if self._gate.introduces(peer, greeting.nonce, now):
            return True
        answer_to = self._senders.origin(sender)[0] if greeting.text_port else sender[0]
        self._send(Challenge(self._gate.challenge(peer, now)), (answer_to, peer[1]))
        return False
