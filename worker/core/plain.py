"""Events and effects of the scheduler as plain values, which JSON can carry, and events back again. For recordings. Pure.

An effect is a list: its name, then its fields. `Send` and `SendNumbers` hold reports as their address and arguments. What is large and
follows from earlier events is counted and not repeated: the rows so far in an `Execute`, and the text of a file with operations.

    ["Send", "127.0.0.1:9461", false, "/worker/accepted", "j1", 0, 0]
    ["Execute", {"id": 1, "operation": "noop", ...}]

An event is an object with its name under `event`, and its fields. A packet that came is not among them: it is kept as its bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.own import OwnOperation, described, row_of
from worker.catalog.rows import OwnFile
from worker.core.events import (
    CatalogChanged,
    Effect,
    Event,
    Execute,
    Finished,
    Kept,
    KeptJob,
    Received,
    Send,
    SendNumbers,
    SessionEnded,
    StoreClient,
    StorePeer,
    StorePreset,
)
from worker.core.jobs import Outcome, Task
from worker.protocol.addresses import Peer
from worker.protocol.messages import Failed, Final, Ready, Report

_EVENTS: Mapping[str, type[Any]] = {event.__name__: event for event in get_args(Event)}
_OUTCOMES: Mapping[str, type[Any]] = {outcome.__name__: outcome for outcome in get_args(Outcome)}


class NotPlain(Exception):
    """What stands there is no event of this version. The text is a sentence."""


def peer_as_text(peer: Peer) -> str:
    """A peer as one word.

    >>> peer_as_text(("127.0.0.1", 9461)), peer_of(peer_as_text(("::1", 9461)))
    ('127.0.0.1:9461', ('::1', 9461))
    """
    return f"{peer[0]}:{peer[1]}"


def peer_of(text: str) -> Peer:
    """The peer of `peer_as_text`. Raises ValueError if it is none."""
    host, _, port = text.rpartition(":")
    return host, int(port)


# --------------------------------------------------------------------------------------------------------------- effects


def effect_as_plain(effect: Effect) -> list[Any]:
    """See the module's docstring."""
    name = type(effect).__name__
    match effect:
        case Send(peer, report, bundled):
            return [name, peer_as_text(peer), bundled, *report_as_plain(report)]
        case SendNumbers(peer, numbers):
            return [name, peer_as_text(peer), {number.name: number.value for number in numbers}]
        case Execute(task):
            return [name, _task_as_plain(task)]
        case _:
            return [name, *_builtins(effect).values()]


def report_as_plain(report: Report) -> list[Any]:
    """The address and the arguments."""
    return [report.full_address, *report.arguments()]


def _task_as_plain(task: Task) -> dict[str, Any]:
    joined, own = task.joined, task.own
    plain: dict[str, Any] = _builtins({name: getattr(task, name) for name in task.__struct_fields__ if name not in ("joined", "own")})
    plain["joined"] = {"rows": len(joined.rows), "files": len(joined.files), "skipped": len(joined.skipped)}
    plain["own"] = [own.where, own.digest] if own else None
    return plain


# ---------------------------------------------------------------------------------------------------------------- events


def event_as_plain(event: Event) -> dict[str, Any]:
    """See the module's docstring."""
    head = {"event": type(event).__name__}
    match event:
        case Received():
            raise TypeError("a packet is kept as its bytes")
        case Finished() | SessionEnded():
            return {**head, **_builtins(event), "kind": type(event.outcome).__name__}
        case CatalogChanged(catalog, message, usable):
            own = [row for row in catalog.values() if row.own is not None]
            rows = [[row.own.where, row.own.digest, _builtins(described(row))] for row in own if row.own is not None]
            return {**head, "rows": rows, "message": message, "usable": usable}
        case _:
            return {**head, **_builtins(event)}


def event_of(plain: Mapping[str, Any], catalog: Catalog) -> Event:
    """The event of `event_as_plain`.

    Args:
        plain: what stands in the recording.
        catalog: the worker's own operations; those of an artist are added to it.

    Raises:
        NotPlain: it is none.
    """
    fields = {key: value for key, value in plain.items() if key not in ("event", "t")}
    try:
        kind = _EVENTS[plain["event"]]
        if kind is Finished or kind is SessionEnded:
            outcome = msgspec.convert(fields.pop("outcome"), _OUTCOMES[fields.pop("kind")])
            ended: Event = kind(*fields.values(), outcome)
            return ended
        if kind is CatalogChanged:
            rows = [row_of(msgspec.convert(row, OwnOperation), OwnFile(where, digest)) for where, digest, row in fields["rows"]]
            return CatalogChanged(catalog.with_rows(*rows), fields["message"], fields["usable"])
        event: Event = msgspec.convert(fields, kind)
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise NotPlain(f"{str(plain.get('event'))!r:.60} is no event of this version: {type(error).__name__}: {error}.") from None
    return event


# ----------------------------------------------------------------------------------------------------- an earlier run


def kept_as_plain(kept: Kept) -> dict[str, Any]:
    """What an earlier run left, as a plain value."""
    return {
        "jobs": _builtins(kept.jobs),
        "newest_seqs": _builtins(kept.newest_seqs),
        "presets": _builtins(kept.presets),
        "clients": _builtins(kept.clients),
        "peers": _builtins(kept.peers),
    }


def kept_of(plain: Mapping[str, Any]) -> Kept:
    """What `kept_as_plain` was given.

    Raises:
        NotPlain: it is nothing of this version.
    """
    try:
        return Kept(
            tuple(_kept_job(job) for job in plain["jobs"]),
            msgspec.convert(plain["newest_seqs"], tuple[tuple[str, int], ...]),
            msgspec.convert(plain["presets"], tuple[StorePreset, ...]),
            msgspec.convert(plain["clients"], tuple[StoreClient, ...]),
            msgspec.convert(plain["peers"], tuple[StorePeer, ...]),
        )
    except (KeyError, TypeError, msgspec.ValidationError) as error:
        raise NotPlain(f"What an earlier run left cannot be read: {type(error).__name__}: {error}.") from None


class _Kept(msgspec.Struct):
    """`KeptJob` without its final."""

    client: str
    job_id: str
    content: bytes
    attempt: int
    told: bool
    crashes: int
    age_s: float


def _kept_job(plain: Mapping[str, Any]) -> KeptJob:
    final, rest = plain["final"], msgspec.convert(plain, _Kept)
    kind: Any = Failed if final is not None and "code" in final else Ready
    told: Final | None = None if final is None else msgspec.convert(final, kind)
    return KeptJob(rest.client, rest.job_id, rest.content, rest.attempt, told, rest.told, rest.crashes, rest.age_s)


def _builtins(value: Any) -> Any:
    return msgspec.to_builtins(value)
