"""A scheduler whose events and effects are recorded, and a recording played to a new scheduler: the same events have the same effects.

scheduler = RecordedScheduler(recorder, config, ...)     # in a worker with --record
found = play(run)                                        # anywhere: the first round that differs, if one does
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.config import Config, Limits, LiveSettings
from worker.core.changes import Change
from worker.core.events import Effect, Event, Kept, Received
from worker.core.gate import Gate
from worker.core.plain import NotPlain, effect_as_plain, event_as_plain, event_of, kept_as_plain, kept_of, peer_as_text, peer_of
from worker.core.scheduler import Scheduler
from worker.files.limits import DEFAULT_LIMITS
from worker.network.gateways import Senders
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.greeting import token_in
from worker.storage.recording import FORMAT, Line, Recorder, RecordingError, Run

log = logging.getLogger(__name__)


class RecordedScheduler(Scheduler):
    """A scheduler that has everything recorded.

    Args:
        recorder: writes it down.
        config, boot, now, version: as for `Scheduler`, as all others are.
    """

    def __init__(self, recorder: Recorder, config: Config, boot: int, now: float, version: str, *args: Any, **named: Any) -> None:
        self._recorder = recorder
        self._datagrams: dict[int, tuple[bytes | None, Peer]] = {}
        self._token = config.token.encode()
        head = head_of(config, boot, now, version)
        recorder.add(lambda: {"run": head})
        super().__init__(config, boot, now, version, *args, **named)

    def came(self, event: Received, datagram: bytes, sender: Peer) -> None:
        """These are the bytes of a packet that `take` gets soon."""
        if self._recorder.is_open:
            self._datagrams[id(event)] = datagram, sender

    def take(self, event: Event, now: float) -> None:
        """As the class above."""
        if isinstance(event, Received):
            datagram, sender = self._datagrams.pop(id(event), (None, event.peer))
            self._recorder.add(_packet(now, event, _encoded(event) if datagram is None else datagram, sender, self._token))
        else:
            self._recorder.add(lambda: {"t": now, **event_as_plain(event)})
        super().take(event, now)

    def end_of_round(self, now: float) -> list[Effect]:
        """As the class above."""
        try:
            effects = super().end_of_round(now)
        except Exception as error:
            text = _problem(error)
            self._recorder.add(lambda: {"t": now, "effects": [], "error": text})
            raise
        effects, problem = _with_the_rest(effects, super().afterwards, now)
        if problem:
            log.error("the scheduler failed after a round: %s", problem)
        self._recorder.add(lambda: {"t": now, "effects": _plain(effects), **({"error": problem} if problem else {})})
        return effects

    def afterwards(self, now: float) -> list[Effect]:  # noqa: ARG002 - as above
        """Nothing: in a recording, a round is one line."""
        return []

    def restore(self, kept: Kept, now: float) -> list[Effect]:
        """As the class above."""
        self._recorder.add(lambda: {"t": now, "kept": kept_as_plain(kept)})
        effects = super().restore(kept, now)
        self._recorder.add(lambda: {"t": now, "effects": _plain(effects)})
        return effects


def _with_the_rest(effects: list[Effect], afterwards: Callable[[float], list[Effect]], now: float) -> tuple[list[Effect], str]:
    """All effects of a round, and what went wrong in its second half; then those of the first are wanted all the same."""
    try:
        return effects + afterwards(now), ""
    except Exception as error:  # noqa: BLE001 - it is recorded, and logged
        return effects, _problem(error)


def _problem(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _encoded(event: Received) -> bytes:
    """What the page asks for never was a packet."""
    return osc.encode_bundle([command for command in event.commands if not isinstance(command, Exception)])


def _plain(effects: Sequence[Effect]) -> list[Any]:
    """Without changes for the page: they go nowhere else, and all of them stand in other effects and events."""
    return [effect_as_plain(effect) for effect in effects if not isinstance(effect, Change)]


#: In bytes. A wrong token that is shorter is recorded as it came.
_SHORTEST_SECRET = 4


def _packet(now: float, event: Received, datagram: bytes, sender: Peer, token: bytes) -> Line:
    def line() -> dict[str, Any]:
        clean = _without_tokens(datagram, event, token)
        entry: dict[str, Any] = {"t": now, "in": peer_as_text(event.peer), "packet": clean.decode("latin-1")}
        if sender != event.peer:  # it came through the gateway of a container
            entry["through"] = sender[0]
        return entry

    return line


def _without_tokens(datagram: bytes, event: Received, token: bytes) -> bytes:
    """With stars for the token, and dashes for any other: it may be nearly right, or that of something else.

    A few bytes are no secret, and may stand anywhere in a packet that cannot be read.
    """
    others = {getattr(command, "token", "").encode(errors="replace") for command in event.commands} | {token_in(datagram) or b""}
    for other in others - {token}:
        if len(other) < _SHORTEST_SECRET:
            continue
        datagram = datagram.replace(other, b"-" * len(other))
    return datagram.replace(token, b"*" * len(token)) if token else datagram


# -------------------------------------------------------------------------------------------------------- the first line


def head_of(config: Config, boot: int, now: float, version: str) -> dict[str, Any]:
    """What a new scheduler must know to do the same."""
    return {
        "format": FORMAT,
        "version": version,
        "boot": boot,
        "t": now,
        "time": time.time(),
        "listens": f"{config.host}:{config.port}",
        "journal": config.state is not None,
        "token": len(config.token.encode()),
        "allow": [str(network) for network in config.allow],
        "workers": config.workers,
        "text_port": config.text_port,
        "number_port": config.number_port,
        "report": [peer_as_text(peer) for peer in config.report],
        "report_numbers": [peer_as_text(peer) for peer in config.report_numbers],
        "presets": config.presets,
        "limits": msgspec.to_builtins(config.limits),
        "live": msgspec.to_builtins(config.live),
        "max_rows": config.files.rows,
    }


def config_of(head: dict[str, Any]) -> Config:
    """The settings of `head_of`.

    Raises:
        RecordingError: they are not of this version.
    """
    try:
        return Config(
            workers=head["workers"],
            state=Path("journal") if head["journal"] else None,
            token="*" * head["token"],
            allow=tuple(ipaddress.ip_network(network) for network in head["allow"]),
            text_port=head["text_port"],
            number_port=head["number_port"],
            report=tuple(peer_of(peer) for peer in head["report"]),
            report_numbers=tuple(peer_of(peer) for peer in head["report_numbers"]),
            presets=tuple((name, key, value) for name, key, value in head["presets"]),
            limits=msgspec.convert(head["limits"], Limits),
            live=msgspec.convert(head["live"], LiveSettings),
            files=replace(DEFAULT_LIMITS, rows=head["max_rows"]),
        )
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise RecordingError(f"The settings of the recorded worker cannot be read: {type(error).__name__}: {error}.") from None


# ------------------------------------------------------------------------------------------------------- played to a core


@dataclass(frozen=True, slots=True)
class Played:
    """What became of a run that was played.

    Attributes:
        events, rounds, effects: how many of each were compared.
        difference: the first one, in a sentence; "" if there is none.
    """

    events: int
    rounds: int
    effects: int
    difference: str = ""


def play(run: Run, catalog: Catalog = CATALOG) -> Played:
    """Plays the events of a run to a new scheduler, at their times, and compares what it wants with what was wanted then.

    Raises:
        RecordingError: the recording is not of this version, or something of it is missing.
    """
    config, head = config_of(run.head), run.head
    gate = Gate(config.allow, config.token)
    scheduler = Scheduler(config, head["boot"], head["t"], head["version"], gate, children=False, catalog=catalog)
    events = rounds = compared = 0
    restored: Sequence[Effect] | None = None
    for number, line in run.lines:
        if "lost" in line:
            raise RecordingError(f"Line {number}: {line['lost']} lines are missing here, so what follows cannot be played.")
        if "kept" in line:
            restored = scheduler.restore(_readable(number, line, lambda line: kept_of(line["kept"])), line["t"])
        elif "effects" in line:
            effects, problem = (restored, "") if restored is not None else _end_of_round(scheduler, line["t"])
            restored = None
            wanted = _normal(_plain(effects))
            if found := _difference(line, wanted, problem):
                return Played(events, rounds, compared, f"Round {rounds + 1}, line {number}, {_at(run, line)}: {found}")
            rounds, compared = rounds + 1, compared + len(wanted)
        elif "in" in line or "event" in line:
            event = _readable(number, line, lambda line: _event(line, gate, catalog))
            events += 1
            _take(scheduler, event, line["t"])
    return Played(events, rounds, compared)


def _take(scheduler: Scheduler, event: Event, now: float) -> None:
    with contextlib.suppress(Exception):  # as in the worker: it logs this and goes on, and the round shows what came of it
        scheduler.take(event, now)


def _end_of_round(scheduler: Scheduler, now: float) -> tuple[Sequence[Effect], str]:
    try:
        effects = scheduler.end_of_round(now)
    except Exception as error:  # noqa: BLE001 - it is compared with what was raised then
        return [], _problem(error)
    return _with_the_rest(effects, scheduler.afterwards, now)


def _readable(number: int, line: dict[str, Any], read: Any) -> Any:
    try:
        return read(line)
    except (NotPlain, KeyError, TypeError, ValueError) as error:
        raise RecordingError(f"Line {number} cannot be played: {error}") from None


def _event(line: dict[str, Any], gate: Gate, catalog: Catalog) -> Event:
    if "event" in line:
        return event_of(line, catalog)
    peer = peer_of(line["in"])
    gate.let_in(peer[0])  # otherwise it would not have come so far
    return received(line)


def received(line: dict[str, Any]) -> Received:
    """The packet of a line. Raises KeyError, ValueError if it has none."""
    host, port = peer_of(line["in"])
    through = line.get("through", "")
    senders = Senders(host if through else "", frozenset({through} if through else ()))
    return senders.received((through or host, port), osc.decode_commands(line["packet"].encode("latin-1")))


def _normal(plain: Any) -> Any:
    """As it looks when it was written and read."""
    return json.loads(json.dumps(plain))


def _difference(line: dict[str, Any], wanted: list[Any], problem: str) -> str:
    """The first one, in a sentence.

    >>> _difference({"effects": [["Abort", 1]]}, [["Abort", 2]], "")
    'effect 1 was ["Abort", 1] and is ["Abort", 2].'
    >>> _difference({"effects": []}, [["Abort", 2]], "")
    'effect 1 was nothing and is ["Abort", 2].'
    """
    recorded = line["effects"]
    if problem != line.get("error", ""):
        return f"the scheduler raised {line.get('error') or 'nothing'} and raises {problem or 'nothing'}."
    if json.dumps(recorded) == json.dumps(wanted):  # as text, because NaN differs from itself
        return ""
    for place in range(max(len(recorded), len(wanted))):
        was, now = (json.dumps(effects[place]) if place < len(effects) else "nothing" for effects in (recorded, wanted))
        if was != now:
            return f"effect {place + 1} was {was:.300} and is {now:.300}."
    return ""


def _at(run: Run, line: dict[str, Any]) -> str:
    return f"{line['t'] - run.head['t']:.3f} s after the start"


# ------------------------------------------------------------------------------------------------------- as a person reads it


def described(run: Run) -> Iterator[str]:
    """Each packet and each event as one line, with the seconds since the start. Raises RecordingError if a line cannot be read."""
    for number, line in run.lines:
        if "t" in line:
            at = f"{line['t'] - run.head['t']:12.6f}"
            yield from (f"{at} {text}" for text in _readable(number, line, lambda line: [*_described(line)]))
        elif "lost" in line:
            yield f"             {line['lost']} lines are missing here"


def _described(line: dict[str, Any]) -> Iterator[str]:
    if "in" in line:
        for command in received(line).commands:
            if isinstance(command, Exception):
                yield f"<- {line['in']} {command}"
            else:
                yield f"<- {line['in']} {command.full_address} {_words(command.arguments())}"
    elif "effects" in line:
        for name, *rest in line["effects"]:
            if name == "Send":
                yield f"-> {rest[0]} {rest[2]} {_words(rest[3:])}"
            elif name in ("Execute", "Abort", "JobEnded", "Exit"):
                yield f"   {name} {json.dumps(rest)}"
        if "error" in line:
            yield f"   the scheduler raised {line['error']}"
    elif "event" in line:
        yield f"   {line['event']} {json.dumps({key: value for key, value in line.items() if key not in ('event', 't')}):.200}"
    else:
        yield f"   {len(line['kept']['jobs'])} jobs of an earlier run"


def _words(arguments: Sequence[Any]) -> str:
    return " ".join(json.dumps(argument) if isinstance(argument, str) else str(argument) for argument in arguments)
