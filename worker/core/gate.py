"""Who may send to the worker. OSC carries no identity, so the sender's address counts, and a token in its `hello`.

Always let in are this computer (127.0.0.1, ::1) and those that `--allow` names; any other after a hello with the right `--token`.
Everybody else is a stranger: counted, never answered, so that nobody can forge a sender and have us flood him.

The token does not say that its sender is where he seems to be. So his first hello is answered with a number only, sent to where his
reports would go, in fewer bytes than came. He is let in when a hello brings that number back. The number is made of the address, the
time and a secret of this start, so that nothing has to be kept of strangers.

What strangers cost is bounded for all of them together: their datagrams are short, and few a second are read.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import msgspec

from worker.protocol.addresses import Network, Peer
from worker.protocol.greeting import HEAD
from worker.timers import AtMostEvery, TokenBucket

THIS_COMPUTER: tuple[Network, ...] = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))
TELL_AGAIN_S = 1.0
#: Of each table: senders, computers, verdicts, computers that had the token.
MAX_SENDERS = 4096
#: A token that is shorter can be guessed; a longer one does not fit into a stranger's hello.
MIN_TOKEN = 16
MAX_TOKEN = 128
#: A hello with the longest token and a name fits; nothing else of a stranger is of interest.
MAX_STRANGER_BYTES = 300
#: How many datagrams of all strangers together are looked into.
STRANGERS_PER_S = 50
STRANGERS_BURST = 100
#: How many wrong tokens of all strangers together are compared. After that none of their datagrams is read for a while.
WRONG_PER_S = 5
WRONG_BURST = 20
WRONG_PAUSE_S = 1.0
#: A datagram counts once, and once more for each of these bytes.
BYTES_PER_PACKET = 4096
#: How many times the rate of one sender all senders of one computer may have together.
SENDERS_PER_HOST = 2
#: How long a number that was sent to a stranger is good: until the end of the next such span.
CHALLENGE_S = 30.0
_BUNDLE = b"#bundle\0"


def check_token(token: str) -> str:
    """Why a token is no good, in a sentence; "" if it is, or if there is none."""
    size = len(token.encode())
    if not token or MIN_TOKEN <= size <= MAX_TOKEN:
        return ""
    return f"The token has {size} characters; a token must have {MIN_TOKEN} to {MAX_TOKEN}, so that nobody can guess it."


class _Sender(msgspec.Struct):
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
        secret: random bytes of this start; the numbers that strangers have to bring back are made with it.

    Attributes:
        strangers: how many packets of strangers were left unread.
        dropped: how many packets of others were, because they were too many.
    """

    def __init__(
        self,
        allow: Sequence[Network] = (),
        token: str = "",
        packets_per_s: int = 10_000,
        burst: int = 20_000,
        secret: bytes = b"",
    ) -> None:
        self.allow = (*THIS_COMPUTER, *allow)
        self._token = token.encode()
        self._secret = secret
        self._rate = packets_per_s
        self._burst = burst
        self._verdicts: OrderedDict[str, bool] = OrderedDict()
        self._introduced: OrderedDict[str, None] = OrderedDict()
        self._senders: OrderedDict[Peer, _Sender] = OrderedDict()
        self._hosts: OrderedDict[str, TokenBucket] = OrderedDict()
        self._from_strangers = TokenBucket(STRANGERS_PER_S, STRANGERS_BURST)
        self._wrong = TokenBucket(WRONG_PER_S, WRONG_BURST)
        self._closed_until = float("-inf")
        self.strangers = 0
        self.dropped = 0

    @property
    def has_token(self) -> bool:
        """Whether computers are let in that `allow` does not name."""
        return bool(self._token)

    def hears(self, datagram: bytes, now: float) -> bool:
        """Whether a stranger's packet is looked into, because it may be a hello with the token. All others are counted and forgotten."""
        may_greet = self._token and len(datagram) <= MAX_STRANGER_BYTES and datagram.startswith((HEAD, _BUNDLE)) and HEAD in datagram
        if may_greet and now >= self._closed_until and self._from_strangers.take(now):
            return True
        self.strangers += 1
        return False

    def throttled(self, sender: Peer, now: float, size_bytes: int = 0) -> int | None:
        """None if the packet is within the rates of its sender and its computer.

        Otherwise how many were dropped and are to be reported now, 0 for "not yet".
        """
        one = self._senders.get(sender)
        if one is None:
            one = self._senders[sender] = _Sender(TokenBucket(self._rate, self._burst), AtMostEvery(TELL_AGAIN_S))
            _bound(self._senders)
        computer = self._hosts.get(sender[0])
        if computer is None:
            computer = self._hosts[sender[0]] = TokenBucket(SENDERS_PER_HOST * self._rate, SENDERS_PER_HOST * self._burst)
            _bound(self._hosts)
        cost = 1 + size_bytes // BYTES_PER_PACKET
        if one.packets.take(now, cost) and computer.take(now, cost):
            return None
        one.dropped += 1
        self.dropped += 1
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
            _bound(self._verdicts)
        return verdict

    def trusts(self, token: bytes, now: float) -> bool:
        """Whether a stranger's hello has the token. A wrong one costs all strangers some patience."""
        if self._is_token(token):
            return True
        if not self._wrong.take(now):
            self._closed_until = now + WRONG_PAUSE_S
        return False

    def challenge(self, peer: Peer, now: float) -> int:
        """The number that is sent to this address now, 1 to 2**31 - 1. Only who reads there can know it."""
        return self._challenge(peer, int(now // CHALLENGE_S))

    def introduces(self, peer: Peer, nonce: int, now: float) -> bool:
        """Lets the computer of this address in, if this is a number that was sent there a short time ago."""
        import hmac  # here: with it comes a library of ciphers, and a worker has to be there soon

        span = int(now // CHALLENGE_S)
        if not any(hmac.compare_digest(str(nonce), str(self._challenge(peer, one))) for one in (span, span - 1)):
            return False
        self._introduced[peer[0]] = None
        _bound(self._introduced)
        return True

    def let_in(self, host: str) -> None:
        """Lets a computer in: a recording shows that it had been."""
        if not self.knows(host):
            self._introduced[host] = None
            _bound(self._introduced)

    def _challenge(self, peer: Peer, span: int) -> int:
        import hmac

        made_of = f"{peer[0]} {peer[1]} {span}".encode()
        return int.from_bytes(hmac.digest(self._secret, made_of, "sha256")[:4], "big") % (2**31 - 1) + 1

    def is_token(self, token: str) -> bool:
        """Whether this is the token. Takes as long for a wrong one as for the right one."""
        return self._is_token(token.encode())

    def _is_token(self, token: bytes) -> bool:
        if not self._token:
            return False
        import hmac

        return hmac.compare_digest(token, self._token)

    @staticmethod
    def is_this_computer(host: str) -> bool:
        """Whether the packet comes from the computer that the worker runs on."""
        return any(_address(host) in network for network in THIS_COMPUTER)


def _bound(table: OrderedDict[Any, Any]) -> None:
    """Forgets the oldest entry, if there is one too many."""
    if len(table) > MAX_SENDERS:
        table.popitem(last=False)


_NOWHERE = ipaddress.ip_address("0.0.0.0")  # noqa: S104 - in no network that is ever allowed


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a name
        return _NOWHERE
    mapped = getattr(address, "ipv4_mapped", None)  # an IPv4 sender on an IPv6 socket
    return mapped or address
