"""Who gets which reports, and whether the finals have arrived. Pure: is given the time, answers with effects.

A client is known by where its text reports go, `host:port`; so a TouchDesigner that restarts, and two senders of one project, are the
same client. That text is its key, and all that a job, a final or a timer holds of it: a `Client` may be pushed out by newer ones at any
time, and be another object when it is heard again. Reports of a job go to the client that sent it and to the fixed targets of `--report`.

What must be known after a restart is stored: how each client wants its reports, which senders it is, and which finals it has got.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import msgspec

from worker.config import Config
from worker.core.chores import Chores
from worker.core.events import Effect, Send, Store, StoreClient, StorePeer, StoreTold
from worker.errors import QueueFull
from worker.protocol.addresses import Peer
from worker.protocol.messages import Error, Final, Hello, Report
from worker.timers import Timers, TokenBucket

FIRST_RESEND_S = 0.1
LONGEST_RESEND_S = 5.0
ERRORS_PER_SECOND = 5
#: How often finals are repeated to a client that does not acknowledge them, all of them together; the others wait for a later turn.
RESENDS_PER_SECOND = 100
RESENDS_BURST = 1000
#: How many finals of all clients are repeated until they are acknowledged. The oldest beyond are not; `replay` has them.
MAX_UNACKNOWLEDGED = 20_000
#: Clients whose newest numbers are known, beside those that are known themselves.
MAX_NUMBERED = 65_536
MAX_NAME_LENGTH = 100
#: A client whose job ended so lately goes after those that had none.
RECENT_S = 60.0


class Client(msgspec.Struct):
    """One receiver of reports.

    Attributes:
        key: `host:port` of its text reports.
        numbers: where its number reports go; None for none.
        leased: it said hello, so it counts as present only while it is heard.
        heard_at: when its last packet came.
        ended_at: when its last job ended.
        errors: how many `/worker/error` it may still get.
        resends: how many finals may be repeated to it.
        bundles: it takes several reports in one datagram.
    """

    key: str
    text: Peer
    numbers: Peer | None
    name: str = ""
    leased: bool = False
    acknowledges: bool = False
    gone: bool = False
    bundles: bool = False
    heard_at: float = 0.0
    ended_at: float = float("-inf")
    resends: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(RESENDS_PER_SECOND, RESENDS_BURST))
    errors: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(ERRORS_PER_SECOND, ERRORS_PER_SECOND))


class _Unsettled(NamedTuple):
    """A final that is to be sent again, and the timer of that."""

    final: Final
    timer: int


class Delivery:
    """All clients, and the finals on their way to them.

    Args:
        config: settings.
        timers: of the scheduler.
        emit: takes the effects.
        later: takes what is to be stored, and the time.
        is_busy: whether a client has jobs that have yet to end; it is not pushed out by newer ones.
        chores: takes what nobody waits for; None has it done at once.
    """

    def __init__(
        self,
        config: Config,
        timers: Timers,
        emit: Callable[[Effect], None],
        later: Callable[[Store, float], None] = lambda _record, _now: None,
        is_busy: Callable[[str], bool] = lambda _key: False,
        *,
        chores: Chores | None = None,
    ) -> None:
        self._config = config
        self._timers = timers
        self._emit = emit
        self._later = later
        self._is_busy = is_busy
        self._chores = chores
        self._lease_s = config.limits.lease_ms / 1000
        self._clients: OrderedDict[str, Client] = OrderedDict()
        self._keys: OrderedDict[Peer, str] = OrderedDict()
        self._numbered: OrderedDict[str, int] = OrderedDict()  # also of forgotten clients: their numbers must go on without a gap
        self._newest_seqs: dict[str, int] = {}
        self._unacknowledged: dict[str, dict[int, _Unsettled]] = {}
        self._repeated: OrderedDict[tuple[str, int], None] = OrderedDict()  # the same, the oldest first
        self._turned_away = TokenBucket(ERRORS_PER_SECOND, ERRORS_PER_SECOND)
        self._stored: dict[str, StoreClient] = {}  # of the clients that are known now

    # -------------------------------------------------------------------------------------------------- who is who

    def heard_from(self, peer: Peer, now: float) -> Client:
        """The client that a packet belongs to. An unknown sender becomes one with the default report ports.

        Raises:
            QueueFull: all clients that are known have open jobs.
        """
        known = self._keys.get(peer)
        key = known or f"{peer[0]}:{peer[1]}"  # one that gets its reports at its source port is known by that
        client = self._clients.get(key)
        if client is None and known is not None:  # it was pushed out by newer ones meanwhile
            client = self._made_anew(key, now)
        if client is None:
            client = self._client(peer[0], self._config.text_port, self._config.number_port, now)
            self._remember(peer, client)
        elif known is not None:
            self._keys.move_to_end(peer)
        client.heard_at = now
        client.gone = False
        self._clients.move_to_end(client.key)
        if (stored := self._stored.get(client.key)) is not None and stored.gone:
            self._keep(client, now)
        return client

    def hello(self, peer: Peer, hello: Hello, now: float) -> Client:
        """The client that this packet introduces. Raises as `heard_from`."""
        host = hello.host or peer[0]
        text_port = hello.text_port or peer[1]
        client = self._client(host, text_port, hello.number_port, now)
        self._clients.move_to_end(client.key)
        client.numbers = (host, hello.number_port) if hello.number_port else None
        client.name = hello.name[:MAX_NAME_LENGTH]
        client.leased = True
        client.acknowledges = bool(hello.acknowledges)
        client.bundles = bool(hello.bundles)
        client.gone = False
        client.heard_at = now
        if self._keys.get(peer) != client.key:
            self._later(StorePeer(peer, client.key), now)
        self._remember(peer, client)
        self._keep(client, now)
        return client

    def may_report_to(self, peer: Peer, hello: Hello, knows: Callable[[str], bool]) -> bool:
        """Only to the sender itself, or to somebody known to want it; otherwise anybody could be flooded in somebody else's name."""
        if hello.host in ("", peer[0]):
            return True
        if "%" not in hello.host and knows(hello.host):  # "::1%anything" is this computer, under endless names
            return True
        return any(hello.host == target for target, _ in (*self._config.report, *self._config.report_numbers))

    def bye(self, client: Client, now: float) -> None:
        """Sends nothing more to this client until it sends something."""
        client.gone = True
        self._keep(client, now)
        if client.acknowledges:
            for seq in self.unacknowledged(client.key):
                self._settled(client.key, seq)

    def keep_absent(self, now: float) -> None:
        """Has it stored which clients' leases have ended: the next start leaves them alone, too."""
        for client in self._clients.values():
            if client.leased and not self.is_present(client, now):
                self._keep(client, now)

    def _keep(self, client: Client, now: float) -> None:
        """Has it stored how this client wants its reports, if that has changed."""
        number_port = client.numbers[1] if client.numbers else 0
        gone = not self.is_present(client, now)
        record = StoreClient(client.key, number_port, client.name, client.leased, client.acknowledges, gone)
        if self._stored.get(client.key) != record:
            self._stored[client.key] = record
            self._later(record, now)

    def restore(self, clients: Iterable[StoreClient], peers: Iterable[StorePeer], now: float) -> None:
        """Takes over the clients of an earlier run. Those that had not left are present for the time of a lease."""
        for kept in clients:
            host, port = _peer(kept.key)
            client = self._client(host, port, kept.number_port, now, restored=True)
            client.name, client.leased, client.acknowledges, client.gone = kept.name, kept.leased, kept.acknowledges, kept.gone
            client.heard_at = now
            self._stored[kept.key] = kept
        self._keys.update((kept.peer, kept.client) for kept in peers)

    def restore_client(self, key: str, now: float) -> None:
        """Makes the client of an earlier run's jobs, if it is not known yet.

        One at another than the default port has said hello to that run, so it has a lease, in which it may say hello to this one.
        """
        if key not in self._clients:
            self._made_anew(key, now)

    def _made_anew(self, key: str, now: float) -> Client:
        host, port = _peer(key)
        default = port == self._config.text_port
        client = self._client(host, port, self._config.number_port if default else 0, now, restored=True)
        client.leased = not default
        client.heard_at = now
        return client

    def client(self, key: str) -> Client | None:
        """The client with this key, if it is known now."""
        return self._clients.get(key)

    def name(self, key: str) -> str:
        """What a client calls itself, "" if it said nothing or is not known any more."""
        client = self._clients.get(key)
        return client.name if client else ""

    def __iter__(self) -> Iterator[Client]:
        """All clients that are known."""
        return iter(self._clients.values())

    def present(self, now: float) -> Iterator[Client]:
        """The clients that get the heartbeat."""
        return (client for client in self._clients.values() if self.is_present(client, now))

    def is_present(self, client: Client, now: float) -> bool:
        """Whether there is reason to send to it: it has not left, and its lease has not ended."""
        return not client.gone and (not client.leased or now - client.heard_at < self._lease_s)

    def _client(self, host: str, text_port: int, number_port: int, now: float, *, restored: bool = False) -> Client:
        key = f"{host}:{text_port}"
        if key not in self._clients:
            self._make_room(now, at_any_price=restored or self._is_busy(key))
            self._clients[key] = Client(key, (host, text_port), (host, number_port) if number_port else None)
        return self._clients[key]

    def _remember(self, peer: Peer, client: Client) -> None:
        self._keys[peer] = client.key
        self._keys.move_to_end(peer)
        while len(self._keys) > 4 * self._config.limits.clients:  # the senders of clients that were pushed out go first
            oldest = next((one for one, key in self._keys.items() if key not in self._clients), next(iter(self._keys)))
            del self._keys[oldest]

    def _make_room(self, now: float, *, at_any_price: bool) -> None:
        """Pushes clients out for a new one: first those that have left, then those without recent jobs, never one with open jobs.

        Args:
            now: the time.
            at_any_price: the new one has jobs of its own, so if all have, the oldest goes; its jobs go on.

        Raises:
            QueueFull: all clients have open jobs.
        """
        while len(self._clients) >= self._config.limits.clients:
            idle = [one for one in self._clients.values() if not self._is_busy(one.key) and one.key not in self._unacknowledged]
            left = min(idle, key=lambda one: (not one.gone, now - one.ended_at < RECENT_S), default=None)  # of equals the first, the oldest
            if left is None and not at_any_price:
                raise QueueFull(f"The worker knows {len(self._clients)} clients, which is the limit, and all have open jobs.", "Try later.")
            oldest = left.key if left is not None else next(iter(self._clients))
            del self._clients[oldest]
            self._stored.pop(oldest, None)

    def turn_away(self, peer: Peer, refusals: Iterable[Report], now: float) -> None:
        """Tells a sender why it cannot become a client, where a client of that kind gets its reports. At most 5 reports a second for all.

        The sender may be forged, and one datagram may hold a thousand jobs.
        """
        for refusal in refusals:
            if not self._turned_away.take(now):
                return
            self._emit(Send((peer[0], self._config.text_port), refusal))

    # ------------------------------------------------------------------------------------------------------- sending

    def send(self, key: str, report: Report) -> None:
        """Sends a report about a job: to its client, unless that one has left, and to the fixed targets."""
        client = self._clients.get(key)
        own = client.text if client else _peer(key)
        gone = client is not None and client.gone
        if not gone:
            self._emit(Send(own, report, client is not None and client.bundles))
        for target in self._config.report:
            if gone or target != own:
                self._emit(Send(target, report))

    def stream(self, key: str, reports: Iterable[Report], numbers: Iterable[Report], now: float) -> None:
        """Sends what a live job of a client sees to it, while it is present, and to the fixed targets. Nothing of it is ever repeated."""
        client = self._clients.get(key)
        if client is not None and not self.is_present(client, now):
            client = None
        texts = {**dict.fromkeys(self._config.report, False), **({client.text: client.bundles} if client else {})}
        for target, bundled in texts.items():
            for report in reports:
                self._emit(Send(target, report, bundled))
        for target in dict.fromkeys([*self._config.report_numbers, *([client.numbers] if client and client.numbers else [])]):
            for number in numbers:
                self._emit(Send(target, number, bundled=True))

    def answer(self, key: str, report: Report) -> None:
        """Sends to this client alone."""
        client = self._clients.get(key)
        self._emit(Send(client.text, report, client.bundles) if client else Send(_peer(key), report))

    def answer_late(self, key: str, report: Report) -> None:
        """As `answer`, long after the question: nothing is sent to a client that has said bye meanwhile."""
        client = self._clients.get(key)
        if client is None or not client.gone:
            self.answer(key, report)

    def complain(self, client: Client, error: Callable[[], Error], now: float) -> None:
        """Sends `/worker/error`, at most 5 a second to a client. What is not sent is not made, either."""
        if client.errors.take(now):
            self.answer(client.key, error())

    # -------------------------------------------------------------------------------------------------------- finals

    def next_seq(self, key: str) -> int:
        """The number for the next final of this client."""
        self._numbered[key] = seq = self._numbered.get(key, 0) + 1
        self._numbered.move_to_end(key)
        while len(self._numbered) > MAX_NUMBERED:  # that client's numbers begin again, as after a lost journal
            self._newest_seqs.pop(self._numbered.popitem(last=False)[0], None)
        return seq

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
        if self._chores is None:
            self._delivered(key, final, now)
        else:
            self._chores.add(lambda now: self._delivered(key, final, now))

    def _delivered(self, key: str, final: Final, now: float) -> None:
        """A final is on its way."""
        client = self._clients.get(key)
        if client is None or not (client.gone or client.acknowledges):
            self._later(StoreTold(key, final.id), now)
        if client is not None:
            client.ended_at = now
        self._settled(key, final.seq)
        self._resend_later(key, final, FIRST_RESEND_S, now)
        self._repeated[key, final.seq] = None
        while len(self._repeated) > MAX_UNACKNOWLEDGED:
            self._settled(*next(iter(self._repeated)))

    def deliver_again(self, key: str, final: Final, now: float) -> None:
        """Delivers a final that an earlier run may not have brought to its client, unless the client has left."""
        client = self._clients.get(key)
        if client is None or self.is_present(client, now):
            self.deliver(key, final, now)

    def acknowledged(self, key: str, seq: int, now: float) -> None:
        """Stops resending this final."""
        final = self._settled(key, seq)
        if final is not None:
            self._later(StoreTold(key, final.id), now)

    def _settled(self, key: str, seq: int) -> Final | None:
        waiting = self._unacknowledged.get(key, {})
        unsettled = waiting.pop(seq, None)
        if unsettled is None:
            return None
        self._timers.cancel(unsettled.timer)
        del self._repeated[key, seq]
        if not waiting:
            del self._unacknowledged[key]
        return unsettled.final

    def unacknowledged(self, key: str) -> list[int]:
        """The numbers of the finals that are to be sent to this client again."""
        return list(self._unacknowledged.get(key, ()))

    def _resend_later(self, key: str, final: Final, delay: float, now: float) -> None:
        """Is cancelled with the final's acknowledgement: a timer that rings for nothing would wake the worker once for each job."""

        def resend(now: float) -> None:
            client = self._clients.get(key)
            if client is None or not client.acknowledges:
                self._settled(key, final.seq)
                self.send(key, final)
            elif self.is_present(client, now):
                if client.resends.take(now):
                    self.answer(key, final)
                self._resend_later(key, final, min(2 * delay, LONGEST_RESEND_S), now)
            else:  # it can ask for a replay when it is back
                self._settled(key, final.seq)

        timer = self._timers.at(now + delay, resend)
        self._unacknowledged.setdefault(key, {})[final.seq] = _Unsettled(final, timer)

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
            if any((key, seq) not in self._repeated for seq in finals) or len(self._repeated) > MAX_UNACKNOWLEDGED:
                yield f"the finals that are to be sent again to {key} are not counted right"
            if any(seq > self.newest_seq(key) for seq in finals):
                yield f"a final of {key} is to be sent again that was never sent"


def _peer(key: str) -> Peer:
    host, _, port = key.rpartition(":")
    return host, int(port)
