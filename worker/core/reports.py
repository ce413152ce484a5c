"""Makes reports from what the worker knows of a job, each short enough for one datagram. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions, Value
from worker.catalog.rows import OperationInfo
from worker.core.jobs import Failure, Result
from worker.errors import WorkerError
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import Failed, File, OperationDescription, PresetValue, ResultRows, Skipped

#: More chunks than this are not sent; the rows go into a file instead.
MAX_CHUNKS = 64
#: The name with which `describe` speaks about all operations.
EVERY = "*"
#: Bytes of texts, so that a report fits into one datagram beside an id of `MAX_ID_BYTES`.
LONGEST_MESSAGE = 600
LONGEST_HINT = 250
#: What `failed` takes beside id, message and hint; and an id that leaves too little room for those.
FAILED_HEAD = 100
LONGEST_ECHO = 800
FILE_HEAD = 100
LONGEST_ADDRESS = 400


def failed(job_id: str, boot: int, why: WorkerError | Failure, seq: int = 0) -> Failed:
    """A `failed` report from an error. With seq 0 it says that a job was refused."""
    room = MAX_DATAGRAM_OUT - FAILED_HEAD - len(job_id.encode(errors="replace"))
    message = shortened(why.message, min(LONGEST_MESSAGE, 2 * room // 3))
    return Failed(job_id, seq, boot, why.code, why.word, message, shortened(why.hint, min(LONGEST_HINT, room // 3)))


def cut(text: str, size_bytes: int) -> str:
    """The text, or as much of its beginning as fits into `size_bytes` of UTF-8.

    >>> cut("größer", 4)
    'grö'
    """
    data = text.encode(errors="replace")
    return text if len(data) <= size_bytes else data[:size_bytes].decode(errors="ignore")


def shortened(text: str, size_bytes: int) -> str:
    """The text, or its first words and three dots that say that more follows.

    >>> shortened("Images end in .png .jpg .tif.", 24)
    'Images end in .png ...'
    """
    if len(text.encode(errors="replace")) <= size_bytes:
        return text
    start = cut(text, size_bytes - len(" ..."))
    return (start[: start.rfind(" ")] if " " in start[-80:] else start) + " ..."


def ended_with(text: str, size_bytes: int) -> str:
    """The text, or three dots and as much of its end as fits.

    >>> ended_with("shots/2026/größer.png", 15)
    '...größer.png'
    """
    data = text.encode(errors="replace")
    return text if len(data) <= size_bytes else "..." + data[3 - size_bytes :].decode(errors="ignore")


def sentence(error: WorkerError) -> str:
    """An error's message and hint in one text."""
    return shortened(f"{error.message} {error.hint}".strip(), LONGEST_MESSAGE)


def files(job_id: str, result: Result) -> Iterator[File]:
    """One report per file that was written. Of a path that is too long for a datagram the end is sent, behind three dots."""
    room = MAX_DATAGRAM_OUT - FILE_HEAD - len(job_id.encode(errors="replace"))
    return (File(job_id, ended_with(written.path, room), written.size_bytes, written.width, written.height) for written in result.files)


def skipped(job_id: str, result: Result) -> Iterator[Skipped]:
    """One report per image that could not be read. A path that is too long for a datagram is shortened as that of a file is."""
    room = MAX_DATAGRAM_OUT - FILE_HEAD - len(job_id.encode(errors="replace"))
    for left in result.skipped:
        message = shortened(f"{left.why.message} {left.why.hint}".strip(), min(LONGEST_MESSAGE, room // 2))
        yield Skipped(job_id, ended_with(left.path, room - len(message.encode(errors="replace"))), left.why.code, message)


def chunks(job_id: str, result: Result) -> int:
    """The number of datagrams for the rows. Without rows it is one."""
    return max(1, -(-len(result.rows) // _rows_per_chunk(job_id, result))) if result.kind else 0


def rows(job_id: str, result: Result) -> Iterator[ResultRows]:
    """The rows in chunks, or nothing if they are too many for datagrams."""
    count = chunks(job_id, result)
    if not count or count > MAX_CHUNKS:
        return
    per_chunk = _rows_per_chunk(job_id, result)
    for chunk in range(count):
        first = chunk * per_chunk
        numbers = tuple(itertools.chain.from_iterable(result.rows[first : first + per_chunk]))
        yield ResultRows(result.kind, job_id, chunk, count, first, len(result.rows), len(result.fields), numbers)


def _rows_per_chunk(job_id: str, result: Result) -> int:
    """A number takes four bytes and one for its tag; the rest is for the address, the id and six counts."""
    head = 100 + len(result.kind) + len(job_id.encode())
    return max(1, (MAX_DATAGRAM_OUT - head) // (5 * max(1, len(result.fields))))


def presets(values: Mapping[str, Mapping[str, Value]]) -> Iterator[PresetValue]:
    """One report per value. One that is too long for a datagram is shortened."""
    total = sum(map(len, values.values()))
    if not total:
        yield PresetValue(0, 0, "", "", "")
    number = itertools.count()
    for preset, pairs in values.items():
        for key, value in pairs.items():
            room = MAX_DATAGRAM_OUT - 100 - len(preset.encode()) - len(key.encode())
            yield PresetValue(next(number), total, preset, key, shortened(str(value), room))


def descriptions(
    catalog: Mapping[str, OperationInfo], name: str = "", missing: Mapping[str, str] = MappingProxyType({})
) -> Iterator[OperationDescription]:
    """One operation, or all of them and then what they have in common, as JSON that is cut into parts.

    Args:
        catalog: all operations by name.
        name: of an operation; `EVERY` for what all have in common; empty for everything.
        missing: what this build cannot do, by operation or "operation key=value", each with the reason.
    """
    for row in catalog.values():
        if name in ("", row.name):
            cannot = {what: why for what, why in missing.items() if what.partition(" ")[0] == row.name}
            yield from _described(row.name, row.as_object() | ({"missing": cannot} if cannot else {}))
    if name in ("", EVERY):
        every_job = {field.name: field.as_object() for field in fields_of(JobOptions)}
        yield from _described(EVERY, {"operations": tuple(catalog), "every_job": every_job, "missing": dict(missing)})


def _described(name: str, what: dict[str, Any]) -> Iterator[OperationDescription]:
    parts = tuple(_pieces(msgspec.json.encode(what).decode(), MAX_DATAGRAM_OUT - 100 - len(name.encode())))
    for part, text in enumerate(parts):
        yield OperationDescription(name, text, part, len(parts))


def _pieces(text: str, size_bytes: int) -> Iterator[str]:
    """The text in pieces that take at most `size_bytes` as UTF-8. No character is cut.

    >>> list(_pieces("größer", 4))
    ['grö', 'ßer']
    """
    while text:
        piece = cut(text, size_bytes)
        yield piece
        text = text[len(piece) :]
