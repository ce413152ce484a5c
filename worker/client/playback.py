"""The clients of a recorded session, played again: what each sent, at its time, against a worker that runs now. No socket and no clock.

    playback = Playback(session, now)
    for sending in playback.due(now): ...      # bytes for the worker, from this client's socket
    playback.came(client, datagram, now)       # a packet came there; `due` sees to it
    playback.compared()                        # how the finals are, beside the recorded ones

Not the packets are played but what they ask for, by the rules of `client.core`: a job is sent again until the worker has it, a final is
acknowledged. So a network that loses packets ends no job in another way. Hello, ping, acknowledgements and questions about jobs are made
anew. What no client can repeat (set, unset, trigger, clear, packets that cannot be read, bundles of several jobs) is sent past the bad
network: lost, it would be lost in any case.

A job is sent when its time has come and every job has ended that had ended before it then, whatever client sent those. So it finds the
files that it found then. The jobs of a client arrive in their order, also through a bad network. This takes time: such a session may
become longer. What jobs that run at the same time make of each other's files is not played; it depends on chance. A job without an id
gets one, so that it can be sent again; such jobs, and those of triggers, are compared by what they did and not by their id.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

from worker.client.core import FIRST_RESEND_S, QUICK_TRIES, ClientCore, Effect, Ended, Transmit
from worker.errors import DecodeError
from worker.protocol import messages as wire
from worker.protocol import osc
from worker.protocol.messages import Command, Failed, Final, Hello, Job, Ready, Report
from worker.words import counted

#: How long a copy of a packet may wait in a network that changes their order.
REORDER_S = 0.02
CONNECT_S = 5.0
SILENCE_S = 60.0
#: How long the final of a job is waited for that a trigger has started under an id.
TRIGGERED_S = 60.0
#: How often a bundle of jobs is sent: about as long as a client waits for a silent worker.
_BUNDLE_TRIES = 24
#: How a job ends with these depends on when things happen, which no two sessions have in common.
TIMING = frozenset({408, 410, 429, 499})
#: What a client sends by itself.
_OWN = (wire.Hello, wire.Bye, wire.Ping, wire.Ack, wire.Query, wire.Replay, wire.Watch, wire.Quit)
#: What can be sent again, or need not arrive.
_REPEATABLE = (wire.GetStatus, wire.Describe, wire.ListPresets, wire.Sync)


_Outcome = tuple[str, str, int, int, int]


@dataclass(frozen=True, slots=True)
class Step:
    """One packet of a client.

    Attributes:
        at: seconds since the beginning of the session.
        client: `host:port` of its text reports, as the recorded worker knew it.
        commands: what is to be played of it.
        raw: its bytes, if they are sent as they are.
        ended: how many finals with an id of the client's own had been sent before it, to all clients.
    """

    at: float
    client: str
    commands: tuple[Command, ...]
    raw: bytes
    ended: int


@dataclass(slots=True)
class Session:
    """What was recorded of the clients.

    Attributes:
        steps: in order.
        finals: by client and id, the last one that is no refusal, otherwise the refusal.
        order: the finals with an id of the client's own, in the order in which they were first sent.
        made: the finals of jobs whose id the worker had made.
        names: what each client called itself.
    """

    steps: list[Step] = field(default_factory=list)
    finals: dict[tuple[str, str], Final] = field(default_factory=dict)
    order: list[tuple[str, str]] = field(default_factory=list)
    made: dict[tuple[str, str], Final] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


class Listener:
    """Makes a `Session` of packets and reports, in the order in which they were.

    Args:
        text_port: where the worker sends reports of clients that never said hello.
        fixed: the worker's fixed targets, which are no clients.
    """

    def __init__(self, session: Session, text_port: int, fixed: Iterable[str] = ()) -> None:
        self._session = session
        self._text_port = text_port
        self._fixed = set(fixed)
        self._clients: dict[tuple[str, int], str] = {}
        self._boots: set[int] = set()

    def came(self, at: float, peer: tuple[str, int], datagram: bytes, commands: tuple[Command | DecodeError, ...]) -> None:
        """The worker got this packet."""
        session = self._session
        for command in commands:
            if isinstance(command, Hello):
                client = f"{command.host or peer[0]}:{command.text_port or peer[1]}"
                self._clients[peer] = client
                session.names[client] = command.name
        client = self._clients.setdefault(peer, f"{peer[0]}:{self._text_port}")
        unreadable = any(isinstance(command, DecodeError) for command in commands)
        played = tuple(command for command in commands if not isinstance(command, (DecodeError, *_OWN)))
        raw = b""
        if unreadable or sum(isinstance(command, Job) for command in played) > 1:
            raw = datagram
            if any(isinstance(command, _OWN) for command in commands):  # a hello in it would lead the reports elsewhere
                raw = osc.encode_bundle(played)
        if played or raw:
            session.steps.append(Step(at, client, played, raw, len(session.order)))

    def sent(self, peer: tuple[str, int], report: Report) -> None:
        """The worker sent this report."""
        client = f"{peer[0]}:{peer[1]}"
        if not isinstance(report, (Ready, Failed)) or (client in self._fixed and client not in self._session.names):
            return
        self._boots.add(report.boot)
        key = client, report.id
        if any(report.id.startswith(f"w{boot}-") for boot in self._boots):
            self._session.made.setdefault(key, report)
            return
        before = self._session.finals.get(key)
        if before is None or before.seq == 0:
            self._session.finals[key] = report
            if before is None:
                self._session.order.append(key)


@dataclass(frozen=True, slots=True)
class Sending:
    """Send these bytes from this client's socket."""

    client: str
    datagram: bytes


@dataclass(slots=True)
class BadNetwork:
    """What becomes of packets.

    Attributes:
        loss: the share that is lost, 0 to 1.
        doubles: the share that comes twice.
        reorder: each waits for a random time, and may overtake others.
    """

    random: random.Random
    loss: float = 0.0
    doubles: float = 0.0
    reorder: bool = False
    counts: Counter[str] = field(default_factory=Counter)

    @property
    def is_bad(self) -> bool:
        """Whether packets may come in another order than they were sent, or not at all."""
        return self.reorder or self.loss > 0

    def delays(self) -> list[float]:
        """How long each copy of a packet is under way, in seconds; none if it is lost."""
        self.counts["packets"] += 1
        copies = 0 if self.random.random() < self.loss else 2 if self.random.random() < self.doubles else 1
        self.counts["lost"] += copies == 0
        self.counts["doubled"] += copies == 2
        return [self.random.random() * REORDER_S if self.reorder else 0.0 for _ in range(copies)]


@dataclass(frozen=True, slots=True)
class Compared:
    """How the finals are, beside the recorded ones.

    Attributes:
        recorded: how many finals were recorded.
        same: how many came out the same.
        differences: one sentence for each other one.
        by_timing: one for each that differs in a way that depends on when things happen.
        without: how many jobs had no final in the recording.
    """

    recorded: int
    same: int
    differences: tuple[str, ...]
    by_timing: tuple[str, ...]
    without: int


class Playback:
    """See the module's docstring.

    Args:
        session: what is played.
        now: the time of its beginning.
        token: if the worker wants one.
        speed: how many times faster than it was.
        network: what the packets go through, both ways.
    """

    def __init__(self, session: Session, now: float, *, token: str = "", speed: float = 1.0, network: BadNetwork | None = None) -> None:
        self._session = session
        self._begun = now
        self._speed = speed
        self._network = network or BadNetwork(random.Random(0))  # noqa: S311 # nosec B311 - nothing is secret here
        self._steps = deque(session.steps)
        self._under_way: list[tuple[float, int, Callable[[float], Iterator[Sending]]]] = []
        self._count = 0
        self._finals: dict[tuple[str, str], Final] = {}
        self._made: dict[tuple[str, str], Final] = {}
        self._heard: set[tuple[str, str]] = set()
        self._open: dict[tuple[str, str], None] = {}
        self._bundled: dict[tuple[str, str], Job] = {}
        self._triggered: dict[tuple[str, str], float] = {}
        self._made_until = float("-inf")
        self._given = 0
        self._lost: dict[tuple[str, str], str] = {}
        self._last: dict[tuple[str, str], str] = {}
        self._newest: dict[str, str] = {}
        self._next_ended = 0
        self.clients = tuple(dict.fromkeys(step.client for step in session.steps))
        self._cores = {
            client: ClientCore(Hello(session.names.get(client, "replay"), 0, 0, "", token, acknowledges=1, bundles=1), SILENCE_S)
            for client in self.clients
        }
        self._welcomed: set[str] = set()

    def begin(self, now: float) -> Iterator[Sending]:
        """Says hello for each client."""
        for client, core in self._cores.items():
            _, effects = core.connect(now, CONNECT_S)
            yield from self._carry_out(client, effects, now)

    @property
    def is_connected(self) -> bool:
        """Whether the worker has answered every client."""
        return self._welcomed == set(self.clients)

    @property
    def is_done(self) -> bool:
        """Whether everything was played and every job has ended, those of triggers included, which have no id that is known before."""
        made = self._made_until == float("-inf") or len(self._made) >= len(self._session.made)
        return not self._steps and not self._open and not self._triggered and made

    @property
    def left(self) -> int:
        """How many packets are yet to be played."""
        return len(self._steps)

    def start(self, now: float) -> None:
        """The session begins now."""
        self._begun = now

    def next_deadline(self) -> float:
        """When to call `due`, at the latest."""
        times = [deadline for core in self._cores.values() if (deadline := core.next_deadline()) is not None]
        times += [self._under_way[0][0]] if self._under_way else []
        if self._steps and self.is_connected and self._may_go(self._steps[0]):
            times.append(self._begun + self._steps[0].at / self._speed)
        return min(times, default=self._begun)

    def due(self, now: float) -> Iterator[Sending]:
        """What is to be sent by now."""
        for key in [key for key, until in self._triggered.items() if until <= now]:
            del self._triggered[key]
        if self._made_until <= now:
            self._made_until = float("-inf")
        while self._under_way and self._under_way[0][0] <= now:
            yield from heapq.heappop(self._under_way)[2](now)
        for client, core in self._cores.items():
            if (deadline := core.next_deadline()) is not None and deadline <= now:
                yield from self._carry_out(client, core.due(now), now)
        while self.is_connected and self._steps and self._begun + self._steps[0].at / self._speed <= now and self._may_go(self._steps[0]):
            yield from self._play(self._steps.popleft(), now)

    def leave(self) -> Iterator[Sending]:
        """Says bye for each client."""
        return (Sending(client, osc.encode(wire.Bye())) for client in self.clients)

    def came(self, client: str, datagram: bytes, now: float) -> None:
        """A packet for this client is there; the network has it now."""
        for delay in self._network.delays():
            self._later(now + delay, lambda now: self._read(client, datagram, now))

    # ------------------------------------------------------------------------------------------------------- sending

    def _later(self, at: float, what: Callable[[float], Iterator[Sending]]) -> None:
        self._count += 1
        heapq.heappush(self._under_way, (at, self._count, what))

    def _may_go(self, step: Step) -> bool:
        """Whether all that had ended before it has ended now; and what it follows, or replaces, has arrived."""
        order = self._session.order
        while self._next_ended < step.ended and self._has_ended(order[self._next_ended]):
            self._next_ended += 1
        if self._next_ended < step.ended:
            return False
        return all(self._has_arrived(step.client, job) for job in step.commands if isinstance(job, Job))

    def _has_ended(self, key: tuple[str, str]) -> bool:
        return key not in self._open and key not in self._triggered

    def _has_arrived(self, client: str, job: Job) -> bool:
        pairs = dict(job.pairs)
        first, name = pairs.get("after"), pairs.get("replace")
        earlier = [str(first)] if first else []
        earlier += [self._newest[client]] if self._network.is_bad and client in self._newest else []
        earlier += [self._last[client, str(name)]] if (client, str(name)) in self._last else []
        return all((client, one) not in self._open or (client, one) in self._heard for one in earlier)

    def _play(self, step: Step, now: float) -> Iterator[Sending]:
        core = self._cores[step.client]
        if step.raw:
            jobs = {job.id: job for job in step.commands if isinstance(job, Job) and job.id and self._is_new(step.client, job)}
            for job in jobs.values():
                self._bundled[step.client, job.id] = job
                self._open[step.client, job.id] = None
            yield from self._send_bundle(step, set(jobs), 1, now)
            return
        for command in step.commands:
            match command:
                case Job():
                    yield from self._submit(step.client, command, now)
                case wire.Cancel(id=job_id):
                    yield from self._carry_out(step.client, core.cancel(job_id, now), now)
                case wire.Trigger(id=job_id) if job_id and command.value > 0:
                    self._triggered.setdefault((step.client, job_id), now + TRIGGERED_S)
                    yield from self._carry_out(step.client, core.tell(command), now, past=True)
                case _:
                    if isinstance(command, wire.Trigger) and command.value > 0:
                        self._made_until = now + TRIGGERED_S
                    past = not isinstance(command, _REPEATABLE)
                    yield from self._carry_out(step.client, core.tell(command), now, past=past)

    def _send_bundle(self, step: Step, ids: set[str], attempt: int, now: float) -> Iterator[Sending]:
        """All of it again, until the worker has said something about each of its jobs: it takes all of them or none."""
        waiting = {job_id for job_id in ids if (step.client, job_id) in self._bundled}
        if attempt > _BUNDLE_TRIES:
            for job_id in waiting:
                self._open.pop((step.client, job_id), None)
                self._lost[step.client, job_id] = "The worker did not answer this job."
        elif attempt == 1 or waiting:
            yield Sending(step.client, step.raw)
            delay = FIRST_RESEND_S * 2 ** min(attempt, QUICK_TRIES)
            self._later(now + delay, lambda now: self._send_bundle(step, ids, attempt + 1, now))

    def _is_new(self, client: str, job: Job) -> bool:
        """Whether it is no job that its client sent again, although it had been taken."""
        key = client, job.id
        return key not in self._open and (key not in self._finals or not self._finals[key].seq)

    def _submit(self, client: str, job: Job, now: float) -> Iterator[Sending]:
        if not job.id:
            self._given += 1
            job = msgspec.structs.replace(job, id=f"replay-{self._given}")
        key = client, job.id
        if not self._is_new(client, job):
            return
        self._open[key] = None
        self._newest[client] = job.id
        if name := dict(job.pairs).get("replace"):
            self._last[client, str(name)] = job.id
        yield from self._carry_out(client, self._cores[client].submit(job, now), now)

    def _carry_out(self, client: str, effects: Iterable[Effect], now: float, *, past: bool = False) -> Iterator[Sending]:
        for effect in effects:
            if isinstance(effect, Transmit):
                datagram = osc.encode(effect.commands[0]) if len(effect.commands) == 1 else osc.encode_bundle(effect.commands)
                if past:
                    yield Sending(client, datagram)
                    continue
                sending = Sending(client, datagram)
                for delay in self._network.delays():
                    if delay:
                        self._later(now + delay, lambda _now, sending=sending: iter((sending,)))  # type: ignore[misc]
                    else:
                        yield sending
            elif isinstance(effect, Ended):
                self._ended(client, effect)

    def _ended(self, client: str, ended: Ended) -> None:
        key = client, ended.job_id
        self._open.pop(key, None)
        if ended.final is None:
            self._lost[key] = ended.problem
        elif ended.job_id.startswith("replay-"):
            self._made[key] = ended.final
        else:
            self._finals[key] = ended.final

    # ------------------------------------------------------------------------------------------------------- hearing

    def _read(self, client: str, datagram: bytes, now: float) -> Iterator[Sending]:
        for report in osc.decode_reports(datagram):
            if isinstance(report, DecodeError):
                continue
            if isinstance(report, wire.Welcome):
                self._welcomed.add(client)
            job_id = getattr(report, "id", "")
            if job_id:
                self._heard.add((client, job_id))
                self._hear_of_bundled((client, job_id), report, now)
            if isinstance(report, (Ready, Failed)) and report.seq and job_id.startswith(f"w{report.boot}-"):
                self._made[client, job_id] = report
            elif isinstance(report, (Ready, Failed)) and self._triggered.pop((client, job_id), None) is not None:
                self._finals[client, job_id] = report
            yield from self._carry_out(client, self._cores[client].handle(report, now), now)

    def _hear_of_bundled(self, key: tuple[str, str], report: Report, now: float) -> None:
        """The first report about a job of a bundle. If the worker has it, the rest is as with any other job."""
        job = self._bundled.pop(key, None)
        if job is None:
            return
        if isinstance(report, Failed) and not report.seq:
            self._finals[key] = report
            self._open.pop(key, None)
        else:
            self._cores[key[0]].submit(job, now)  # what it wants to send is there already

    # ------------------------------------------------------------------------------------------------------ comparing

    def compared(self) -> Compared:
        """How the finals are by now."""
        same = 0
        differences: list[str] = []
        by_timing: list[str] = []
        for (client, job_id), was in self._session.finals.items():
            now = self._finals.get((client, job_id))
            if now is not None and outcome(was) == outcome(now):
                same += 1
                continue
            problem = self._lost.get((client, job_id)) or "it has no final"
            sentence = f"{job_id} of {client} was {_words(was)} and is {_words(now) if now is not None else f'open: {problem}'}."
            codes = {one.code for one in (was, now) if isinstance(one, Failed)}
            (by_timing if codes & TIMING else differences).append(sentence)
        was_made, is_made = _counted(self._session.made), _counted(self._made)
        same += (was_made & is_made).total()
        for (client, what), count in (was_made - is_made).items():
            differences.append(f"{count} jobs of {client} without an id of their own were {_outcome_words(what)}, and are not.")
        played = {(step.client, job.id) for step in self._session.steps for job in step.commands if isinstance(job, Job) and job.id}
        return Compared(
            len(self._session.finals) + len(self._session.made),
            same,
            tuple(differences),
            tuple(by_timing),
            len(played - self._session.finals.keys()),
        )


def _counted(finals: Mapping[tuple[str, str], Final]) -> Counter[tuple[str, _Outcome]]:
    return Counter((client, outcome(final)) for (client, _), final in finals.items())


def outcome(final: Final) -> _Outcome:
    """What two runs of a job have in common: not its number, not its times, not a sentence with a path."""
    if isinstance(final, Ready):
        return "ready", final.operation, final.items, final.skipped, final.left_out
    return "failed", final.word, final.code, 0, 0


def _words(final: Final) -> str:
    return _outcome_words(outcome(final)) + (f" ({final.message})" if isinstance(final, Failed) else "")


def _outcome_words(what: _Outcome) -> str:
    kind, word, number, skipped, left_out = what
    if kind == "failed":
        return f"{word} {number}"
    more = [f", {count} {text}" for count, text in ((skipped, "skipped"), (left_out, "left out")) if count]
    return f"ready, {word} with {counted(number, 'item')}{''.join(more)}"
