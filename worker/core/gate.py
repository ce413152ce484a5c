"""Who may send to the worker. OSC carries no identity, so the sender's address counts, and a token in its `hello`.

Always let in are this computer (127.0.0.1, ::1) and those that `--allow` names; any other after a hello with the right `--token`.
Everybody else is a stranger: counted, never answered, so that nobody can forge a sender and have us flood him.

The thread that reads the socket asks `admits` for every datagram, before anything else is done with it.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

from worker.protocol import addresses
from worker.protocol.addresses import Network, Peer
from worker.timers import AtMostEvery, TokenBucket

THIS_COMPUTER: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))
TELL_AGAIN_S = 1.0
MAX_SENDERS = 4096
_HELLO = addresses.HELLO.encode() + b"\0"
_BUNDLE = b"#bundle\0"


@dataclass(slots=True)
class _Sender:
    """How many packets this sender may still send, and what was dropped since it last got a report about that."""

    packets: TokenBucket
    report: AtMostEvery
    dropped: int = 0


class Gate:
    """Knows the strangers from the others, and who sends too much.

    Args:
        allow: networks whose computers are let in.
        token: lets in any computer whose hello has it; "" lets none in this way.
        packets_per_s: how many packets a sender may send, on the long run.
        burst: how many at once.
    """

    def __init__(self, allow: Sequence[Network] = (), token: str = "", packets_per_s: int = 10_000, burst: int = 20_000) -> None:
        self.allow = (*THIS_COMPUTER, *allow)
        self._token = token.encode()
        self._rate = packets_per_s
        self._burst = burst
        self._verdicts: OrderedDict[str, bool] = OrderedDict()
        self._introduced: set[str] = set()
        self._senders: OrderedDict[Peer, _Sender] = OrderedDict()
        self.strangers = 0

    @property
    def has_token(self) -> bool:
        """Whether computers are let in that `allow` does not name."""
        return bool(self._token)

    def admits(self, datagram: bytes, sender: Peer) -> bool:
        """Whether a packet is to be read. A stranger's is, if there is a token and the packet may be or hold a hello."""
        if self.knows(sender[0]) or (self._token and datagram.startswith((_HELLO, _BUNDLE)) and _HELLO in datagram):
            return True
        self.strangers += 1
        return False

    def throttled(self, sender: Peer, now: float) -> int | None:
        """None if the packet is within the sender's rate. Otherwise how many were dropped and are to be reported now, 0 for "not yet"."""
        one = self._senders.get(sender)
        if one is None:
            one = self._senders[sender] = _Sender(TokenBucket(self._rate, self._burst), AtMostEvery(TELL_AGAIN_S))
            while len(self._senders) > MAX_SENDERS:
                self._senders.popitem(last=False)
        if one.packets.take(now):
            return None
        one.dropped += 1
        if not one.report.is_due(now):
            return 0
        dropped, one.dropped = one.dropped, 0
        return dropped

    def knows(self, host: str) -> bool:
        """Whether this computer is let in, by its address."""
        if host in self._introduced:
            return True
        verdict = self._verdicts.get(host)
        if verdict is None:
            verdict = self._verdicts[host] = any(_address(host) in network for network in self.allow)
            while len(self._verdicts) > MAX_SENDERS:
                self._verdicts.popitem(last=False)
        return verdict

    def introduces(self, host: str, token: str) -> bool:
        """Lets in a computer whose hello has the token. True if it is let in, for any reason."""
        if self._token and self.is_token(token):
            self._introduced.add(host)
        return self.knows(host)

    def is_token(self, token: str) -> bool:
        """Whether this is the token. Takes as long for a wrong one as for the right one."""
        return bool(self._token) and hmac.compare_digest(token.encode(), self._token)

    @staticmethod
    def is_this_computer(host: str) -> bool:
        """Whether the packet comes from the computer that the worker runs on."""
        return any(_address(host) in network for network in THIS_COMPUTER)


_NOWHERE = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - in no network that is ever allowed


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a name
        return _NOWHERE
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 sender on an IPv6 socket
    return mapped or address
