"""Who gets which reports, and whether the finals have arrived. Pure: told the time, answers with effects.

A client is known by where its text reports go, `host:port`; so a TouchDesigner that restarts, and two senders of one project, are the
same client. Reports of a job go to the client that sent it and to the fixed targets of `--report`.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from worker.config import Config
from worker.core.events import Effect, Send
from worker.protocol.addresses import Peer
from worker.protocol.messages import Error, Final, Hello, Report
from worker.timers import Timers

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
        unacknowledged: finals that it has not acknowledged yet, by their number.
    """

    key: str
    text: Peer
    numbers: Peer | None
    name: str = ""
    leased: bool = False
    acknowledges: bool = False
    gone: bool = False
    heard_at: float = 0.0
    unacknowledged: dict[int, Final] = field(default_factory=dict)
    error_credit: float = ERRORS_PER_SECOND
    error_credit_at: float = 0.0


class Delivery:
    """All clients, and the finals on their way to them."""

    def __init__(self, config: Config, timers: Timers, emit: Callable[[Effect], None]) -> None:
        self._config = config
        self._timers = timers
        self._emit = emit
        self._lease_s = config.limits.lease_ms / 1000
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._keys: OrderedDict[Peer, str] = OrderedDict()
        self._newest_seqs: dict[str, int] = {}  # kept for clients that are forgotten, too: their numbers must go on without a gap

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
        """Nothing more is sent to this client until it is heard again."""
        client.gone = True
        client.unacknowledged.clear()

    def by_key(self, key: str, now: float) -> Client:
        """The client of this key, made anew where it is not known (jobs of an earlier run).

        One at another than the default port has said hello to that run, so it has a lease, in which it may say hello to this one.
        """
        if key not in self._clients:
            host, _, port = key.rpartition(":")
            default = int(port) == self._config.text_port
            client = self._client(host, int(port), self._config.number_port if default else 0)
            client.leased = not default
            client.heard_at = now
        return self._clients[key]

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

    def targets(self, client: Client) -> Iterator[Peer]:
        """Everybody who wants this client's reports."""
        if not client.gone:
            yield client.text
        yield from (target for target in self._config.report if client.gone or target != client.text)

    def send(self, client: Client, report: Report) -> None:
        """Sends a report about a job: to its client and to the fixed targets."""
        for target in self.targets(client):
            self._emit(Send(target, report))

    def answer(self, client: Client, report: Report) -> None:
        """Sends to this client alone."""
        self._emit(Send(client.text, report))

    def refuse(self, client: Client, error: Error, now: float) -> None:
        """Sends `/worker/error`, at most 5 a second to a client."""
        client.error_credit = min(ERRORS_PER_SECOND, client.error_credit + (now - client.error_credit_at) * ERRORS_PER_SECOND)
        client.error_credit_at = now
        if client.error_credit >= 1:
            client.error_credit -= 1
            self.answer(client, error)

    # -------------------------------------------------------------------------------------------------------- finals

    def number(self, client: Client, final: Final) -> Final:
        """The final with the next number of this client."""
        self._newest_seqs[client.key] = self.newest_seq(client) + 1
        return replace(final, seq=self._newest_seqs[client.key])

    def newest_seq(self, client: Client) -> int:
        """The number of this client's newest final, 0 before the first."""
        return self._newest_seqs.get(client.key, 0)

    def restore_seq(self, key: str, newest_seq: int) -> None:
        """Goes on counting where an earlier run ended."""
        self._newest_seqs[key] = newest_seq

    def deliver(self, client: Client, final: Final, now: float) -> None:
        """Sends a numbered final: until it is acknowledged to a client that does so, twice to any other."""
        self.send(client, final)
        if client.acknowledges:
            client.unacknowledged[final.seq] = final
            self._resend_later(client, final.seq, FIRST_RESEND_S, now)
        else:
            self._timers.at(now + FIRST_RESEND_S, lambda _: self.send(client, final))

    def acknowledged(self, client: Client, seq: int) -> None:
        """Stops resending this final."""
        client.unacknowledged.pop(seq, None)

    def _resend_later(self, client: Client, seq: int, delay: float, now: float) -> None:
        def resend(now: float) -> None:
            final = client.unacknowledged.get(seq)
            if final is None:
                return
            if not self.is_present(client, now):  # it can ask for a replay when it is back
                del client.unacknowledged[seq]
                return
            self.answer(client, final)
            self._resend_later(client, seq, min(2 * delay, LONGEST_RESEND_S), now)

        self._timers.at(now + delay, resend)
