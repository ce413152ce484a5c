"""Who gets which reports, and whether the finals have arrived. Pure: is given the time, answers with effects.

A client is known by where its text reports go, `host:port`; so a TouchDesigner that restarts, and two senders of one project, are the
same client. That text is its key, and all that a job, a final or a timer holds of it: a `Client` may be pushed out by newer ones at any
time, and be another object when it is heard again. Reports of a job go to the client that sent it and to the fixed targets of `--report`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from worker.config import Config
from worker.core.events import Effect, Send
from worker.protocol.addresses import Peer
from worker.protocol.messages import Error, Final, Hello, Report
from worker.timers import Timers, TokenBucket

FIRST_RESEND_S = 0.1
LONGEST_RESEND_S = 5.0
ERRORS_PER_SECOND = 5


@dataclass(slots=True)
class Client:
    """One receiver of reports.

    Attributes:
        key: `host:port` of its text reports.
        numbers: where its number reports go; None for none.
        leased: it said hello, so it counts as present only while it is heard.
        heard_at: when its last packet came.
        errors: how many `/worker/error` it may still get.
    """

    key: str
    text: Peer
    numbers: Peer | None
    name: str = ""
    leased: bool = False
    acknowledges: bool = False
    gone: bool = False
    heard_at: float = 0.0
    errors: TokenBucket = field(default_factory=lambda: TokenBucket(ERRORS_PER_SECOND, ERRORS_PER_SECOND))


class Delivery:
    """All clients, and the finals on their way to them."""

    def __init__(self, config: Config, timers: Timers, emit: Callable[[Effect], None]) -> None:
        self._config = config
        self._timers = timers
        self._emit = emit
        self._lease_s = config.limits.lease_ms / 1000
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._keys: OrderedDict[Peer, str] = OrderedDict()
        self._numbered: dict[str, int] = {}  # kept for clients that are forgotten, too: their numbers must go on without a gap
        self._newest_seqs: dict[str, int] = {}
        self._unacknowledged: dict[str, dict[int, Final]] = {}

    # -------------------------------------------------------------------------------------------------- who is who

    def heard_from(self, peer: Peer, now: float) -> Client:
        """The client that a packet belongs to. An unknown sender becomes one with the default report ports."""
        key = self._keys.get(peer, f"{peer[0]}:{peer[1]}")  # one that gets its reports at its source port is known by that
        client = self._clients.get(key)
        if client is None:
            client = self._client(peer[0], self._config.text_port, self._config.number_port)
            self._remember(peer, client)
        client.heard_at = now
        client.gone = False
        self._clients.move_to_end(client.key)
        return client

    def hello(self, peer: Peer, hello: Hello, now: float) -> Client:
        """The client that this packet introduces."""
        host = hello.host or peer[0]
        text_port = hello.text_port or peer[1]
        client = self._client(host, text_port, hello.number_port)
        client.numbers = (host, hello.number_port) if hello.number_port else None
        client.name = hello.name
        client.leased = True
        client.acknowledges = bool(hello.acknowledges)
        client.gone = False
        client.heard_at = now
        self._remember(peer, client)
        return client

    def bye(self, client: Client) -> None:
        """Sends nothing more to this client until it sends something."""
        client.gone = True
        if client.acknowledges:
            self._unacknowledged.pop(client.key, None)

    def restore_client(self, key: str, now: float) -> None:
        """Makes the client of an earlier run's jobs, if it is not known yet.

        One at another than the default port has said hello to that run, so it has a lease, in which it may say hello to this one.
        """
        if key not in self._clients:
            host, port = _peer(key)
            default = port == self._config.text_port
            client = self._client(host, port, self._config.number_port if default else 0)
            client.leased = not default
            client.heard_at = now

    def name(self, key: str) -> str:
        """What a client calls itself, "" if it said nothing or is not known any more."""
        client = self._clients.get(key)
        return client.name if client else ""

    def present(self, now: float) -> Iterator[Client]:
        """The clients that get the heartbeat."""
        return (client for client in self._clients.values() if self.is_present(client, now))

    def is_present(self, client: Client, now: float) -> bool:
        """Whether there is reason to send to it: it has not left, and its lease has not ended."""
        return not client.gone and (not client.leased or now - client.heard_at < self._lease_s)

    def _client(self, host: str, text_port: int, number_port: int) -> Client:
        key = f"{host}:{text_port}"
        if key not in self._clients:
            self._clients[key] = Client(key, (host, text_port), (host, number_port) if number_port else None)
            self._forget_oldest()
        return self._clients[key]

    def _remember(self, peer: Peer, client: Client) -> None:
        self._keys[peer] = client.key
        self._keys.move_to_end(peer)
        while len(self._keys) > 4 * self._config.limits.clients:
            self._keys.popitem(last=False)

    def _forget_oldest(self) -> None:
        while len(self._clients) > self._config.limits.clients:
            left = next((key for key, client in self._clients.items() if client.gone), next(iter(self._clients)))
            del self._clients[left]

    # ------------------------------------------------------------------------------------------------------- sending

    def send(self, key: str, report: Report) -> None:
        """Sends a report about a job: to its client, unless that one has left, and to the fixed targets."""
        client = self._clients.get(key)
        own = client.text if client else _peer(key)
        gone = client is not None and client.gone
        if not gone:
            self._emit(Send(own, report))
        for target in self._config.report:
            if gone or target != own:
                self._emit(Send(target, report))

    def answer(self, key: str, report: Report) -> None:
        """Sends to this client alone."""
        client = self._clients.get(key)
        self._emit(Send(client.text if client else _peer(key), report))

    def answer_late(self, key: str, report: Report) -> None:
        """As `answer`, long after the question: nothing is sent to a client that has said bye meanwhile."""
        client = self._clients.get(key)
        if client is None or not client.gone:
            self.answer(key, report)

    def complain(self, client: Client, error: Error, now: float) -> None:
        """Sends `/worker/error`, at most 5 a second to a client."""
        if client.errors.take(now):
            self.answer(client.key, error)

    # -------------------------------------------------------------------------------------------------------- finals

    def number(self, key: str, final: Final) -> Final:
        """The final with the next number of this client."""
        self._numbered[key] = self._numbered.get(key, 0) + 1
        return replace(final, seq=self._numbered[key])

    def newest_number(self, key: str) -> int:
        """The newest number that a final of this client was given, whether or not it was sent. 0 before the first."""
        return self._numbered.get(key, 0)

    def newest_seq(self, key: str) -> int:
        """The number of the newest final that was sent to this client, 0 before the first."""
        return self._newest_seqs.get(key, 0)

    def restore_seq(self, key: str, newest_seq: int) -> None:
        """Goes on counting after the last number of an earlier run."""
        self._numbered[key] = self._newest_seqs[key] = newest_seq

    def deliver(self, key: str, final: Final, now: float) -> None:
        """Sends a numbered final: until it is acknowledged to a client that does so, twice to any other."""
        self._newest_seqs[key] = max(final.seq, self.newest_seq(key))
        self.send(key, final)
        self._unacknowledged.setdefault(key, {})[final.seq] = final
        self._resend_later(key, final.seq, FIRST_RESEND_S, now)

    def acknowledged(self, key: str, seq: int) -> None:
        """Stops resending this final."""
        waiting = self._unacknowledged.get(key, {})
        waiting.pop(seq, None)
        if not waiting:
            self._unacknowledged.pop(key, None)

    def unacknowledged(self, key: str) -> list[int]:
        """The numbers of the finals that are to be sent to this client again."""
        return list(self._unacknowledged.get(key, ()))

    def _resend_later(self, key: str, seq: int, delay: float, now: float) -> None:
        def resend(now: float) -> None:
            final = self._unacknowledged.get(key, {}).get(seq)
            if final is None:
                return
            client = self._clients.get(key)
            if client is None or not client.acknowledges:
                self.acknowledged(key, seq)
                self.send(key, final)
            elif self.is_present(client, now):
                self.answer(key, final)
                self._resend_later(key, seq, min(2 * delay, LONGEST_RESEND_S), now)
            else:  # it can ask for a replay when it is back
                self.acknowledged(key, seq)

        self._timers.at(now + delay, resend)

    # ---------------------------------------------------------------------------------------------------- invariants

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        if len(self._clients) > self._config.limits.clients:
            yield f"{len(self._clients)} clients are known, the limit is {self._config.limits.clients}"
        for key, client in self._clients.items():
            if client.key != key:
                yield f"the client {client.key} is known as {key}"
        for key, newest in self._newest_seqs.items():
            if newest > self._numbered.get(key, 0):
                yield f"{key} was sent seq {newest}, which no final has"
        for key, finals in self._unacknowledged.items():
            if not finals:
                yield f"{key} has an empty list of finals to be sent again"
            if any(seq > self.newest_seq(key) for seq in finals):
                yield f"a final of {key} is to be sent again that was never sent"


def _peer(key: str) -> Peer:
    host, _, port = key.rpartition(":")
    return host, int(port)
