"""What is stored as rows of plain values, and the journal's rows as values again.

Those are checked one by one: a row that cannot be read shall cost one job, not the start of the worker.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from typing import Final as Constant

import msgspec

from worker.core.events import (
    Store,
    StoreAttempt,
    StoreBegun,
    StoreClient,
    StoreFinal,
    StoreJob,
    StorePeer,
    StorePreset,
    StoreTold,
    StoreUnset,
)
from worker.protocol.messages import Failed, Final, Ready

_FINALS: Constant[dict[str, type[Final]]] = {"ready": Ready, "failed": Failed}
_WORDS: Constant[dict[type[Final], str]] = {kind: word for word, kind in _FINALS.items()}
_Pairs = dict[str, int | float | str | bool]
_content_decoder = msgspec.json.Decoder(tuple[str, _Pairs, _Pairs])
_value_decoder = msgspec.json.Decoder(int | float | str | bool)


#: How each record is written: a word, then plain values. The files of the commit log hold them: a change of them is a new format.
_WRITTEN: Constant[dict[type[Store], Callable[[Any], tuple[Any, ...]]]] = {
    StoreJob: lambda job: ("job", job.client, job.job_id, job.content),
    StoreAttempt: lambda attempt: ("attempt", attempt.client, attempt.job_id, attempt.attempt, attempt.begun),
    StoreBegun: lambda begun: ("begun", begun.client, begun.job_id),
    StoreFinal: lambda ended: ("final", ended.client, ended.job_id, ended.final.seq, _plain(ended.final)),
    StoreTold: lambda told: ("told", told.client, told.job_id),
    StoreClient: lambda one: ("client", one.key, one.number_port, one.name, one.leased, one.acknowledges, one.gone),
    StorePeer: lambda peer: ("peer", *peer.peer, peer.client),
    StorePreset: lambda preset: ("preset", preset.preset, preset.key, json(preset.value)),
    StoreUnset: lambda unset: ("unset", unset.preset, unset.key),
}


class RowError(Exception):
    """A row does not hold what it should. The text says which part of it."""


def written(store: Store) -> tuple[Any, ...]:
    """A record as a row.

    >>> written(StoreAttempt("10.0.0.1:9461", "a", 2))
    ('attempt', '10.0.0.1:9461', 'a', 2, True)
    """
    return _WRITTEN[type(store)](store)


def text_or_bytes(raw: bytes) -> str | bytes:
    """For SQLite, whose own way is to end the whole query at a text that is no UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def client_key(value: object) -> str:
    """`host:port`.

    Raises:
        RowError: it is something else.
    """
    if isinstance(value, str):
        host, _, port = value.rpartition(":")
        if host and port.isascii() and port.isdigit() and int(port) < 2**16:
            return value
    raise RowError(f"the client is {value!r:.100}")


def text(value: object, name: str, *, empty: bool = False) -> str:
    """A text, which may be empty or not.

    Raises:
        RowError: it is something else.
    """
    if isinstance(value, str) and (value or empty):
        return value
    raise RowError(f"the {name} is {value!r:.100}")


def count(value: object, name: str) -> int:
    """A whole number from 0.

    Raises:
        RowError: it is something else.
    """
    if isinstance(value, int) and value >= 0:
        return value
    raise RowError(f"{name} is {value!r:.100}")


def seconds(value: object, name: str) -> float:
    """A number of seconds.

    Raises:
        RowError: it is something else.
    """
    if isinstance(value, int | float):
        return float(value)
    raise RowError(f"{name} is {value!r:.100}")


def content(value: object, *, to_run: bool) -> bytes:
    """Operation, params and options as JSON. Of a job that has ended it is their digest, any bytes.

    Raises:
        RowError: it is something else.
    """
    if not isinstance(value, bytes):
        raise RowError(f"the content is {value!r:.100}")
    if to_run:
        try:
            _content_decoder.decode(value)
        except (msgspec.DecodeError, RecursionError) as error:
            raise RowError(f"the content cannot be read: {error}") from error
    return value


def preset_value(value: object) -> int | float | str | bool:
    """The value of a preset's key, from its JSON.

    Raises:
        RowError: it is something else.
    """
    try:
        decoded: int | float | str | bool = _value_decoder.decode(value)  # type: ignore[arg-type] # whatever stands there
    except (TypeError, RecursionError, msgspec.DecodeError) as error:
        raise RowError(f"the value is {value!r:.100}") from error
    return decoded


def final_text(final: Final) -> str:
    """A final as JSON: its kind, then its arguments."""
    return json(_plain(final))


def json(value: object) -> str:
    """Plain values as JSON."""
    return msgspec.json.encode(value).decode()


def _plain(final: Final) -> tuple[Any, ...]:
    return (_WORDS[type(final)], *msgspec.structs.astuple(final))


def final(value: object) -> Final:
    """A final from its JSON.

    Raises:
        RowError: it is something else.
    """
    try:
        word, *arguments = msgspec.json.decode(value)  # type: ignore[call-overload] # whatever stands there
        return _checked(_FINALS[word], arguments)
    except (TypeError, ValueError, KeyError, RecursionError, msgspec.DecodeError) as error:
        raise RowError(f"the final is {value!r:.200}") from error


def _checked(kind: type[Final], arguments: Sequence[Any]) -> Final:
    names = kind.__struct_fields__
    if len(arguments) > len(names):
        raise ValueError(f"{len(arguments)} arguments")
    return msgspec.convert(dict(zip(names, arguments, strict=False)), kind)  # the last ones may be left out
