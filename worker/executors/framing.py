"""What parent and child say to each other, as bytes: a size, then msgpack. Nothing here is ever unpickled.

A child reads files that strangers may have made; one that a picture has taken over may say whatever it likes. So the parent takes nothing
from below but the messages of `Said`, each field of its type, none larger than `MAX_FRAME`, and the pool ends a child that says anything
else. Downwards the parent names the class of a task's parameters, which the child imports: it trusts its parent.

    <I size> <msgpack [tag, field, field, ...]>
"""

from __future__ import annotations

import functools
import importlib
import struct
from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from worker.catalog.live import LAST_ID
from worker.catalog.own import MAX_OPERATIONS, OwnOperation, OwnParams, OwnValues
from worker.catalog.params import Params, Value
from worker.catalog.rows import OwnFile
from worker.core.jobs import NOTHING, Description, Failure, Outcome, Part, Phase, Plan, Result, Shipped, Task
from worker.errors import InternalError

#: A million rows of eight numbers have 72 MB, a hundred thousand files about 20.
MAX_FRAME = 256 * 2**20
LONGEST_LOG = 20_000
LONGEST_NAME = 200
LONGEST_REASON = 1000
MOST_MISSING = 1000
#: Of one live job in one picture.
MOST_OBJECTS = 1024

_SIZE = struct.Struct("<I")
#: Bytes of a frame before its body.
HEAD = _SIZE.size

TaskId = Annotated[int, Meta(ge=1)]


class BadFrame(InternalError):
    """A child has said something that no child says."""


# ---------------------------------------------------------------------------------------------------- upwards, from a child


class Warm(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """It has imported everything and waits for tasks. `missing` is what cannot be done here, each with the reason."""

    missing: Annotated[
        dict[Annotated[str, Meta(max_length=LONGEST_NAME)], Annotated[str, Meta(max_length=LONGEST_REASON)]], Meta(max_length=MOST_MISSING)
    ]


class CannotStart(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """It ends now, and this is the traceback."""

    reason: Annotated[str, Meta(max_length=LONGEST_LOG)]


class Logged(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A line for the log."""

    level: Annotated[int, Meta(ge=0, le=100)]
    name: Annotated[str, Meta(max_length=LONGEST_NAME)]
    text: Annotated[str, Meta(max_length=LONGEST_LOG)]


class Alive(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """Answers `Probe`."""


class Stepped(msgspec.Struct, frozen=True, array_like=True, tag=6):
    """This number of steps is done."""

    task_id: TaskId
    done: Annotated[int, Meta(ge=0)]


class Done(msgspec.Struct, frozen=True, array_like=True, tag=7):
    """The task ended with an empty result. The shortest form of `Found`."""

    task_id: TaskId


class Found(msgspec.Struct, frozen=True, array_like=True, tag=8):
    """The task ended with a result."""

    task_id: TaskId
    result: Result


class Planned(msgspec.Struct, frozen=True, array_like=True, tag=9):
    """The task ended with a plan."""

    task_id: TaskId
    plan: Plan


class Failed(msgspec.Struct, frozen=True, array_like=True, tag=10):
    """The task failed."""

    task_id: TaskId
    failure: Failure


class Described(msgspec.Struct, frozen=True, array_like=True, tag=11):
    """What is in a file with operations."""

    task_id: TaskId
    operations: Annotated[tuple[OwnOperation, ...], Meta(max_length=MAX_OPERATIONS)]


class Looked(msgspec.Struct, frozen=True, array_like=True, tag=12):
    """A live job has looked at a picture. The next may follow once the parent has `Taken` this one.

    `taken_at` is the time of the picture, by this machine's monotonic clock.
    """

    task_id: TaskId
    frame: Annotated[int, Meta(ge=0, le=2**31 - 1)]
    taken_at: float
    ratio: Annotated[float, Meta(ge=0, le=1e6)]
    per_second: Annotated[float, Meta(ge=0, le=1e6)]
    next_id: Annotated[int, Meta(ge=1, le=LAST_ID)]
    size: tuple[Annotated[int, Meta(ge=1, le=2**16)], Annotated[int, Meta(ge=1, le=2**16)]]
    rows: Annotated[tuple[tuple[float, ...], ...], Meta(max_length=MOST_OBJECTS)]
    count: Annotated[int, Meta(ge=0, le=MOST_OBJECTS)]


class SourceSaid(msgspec.Struct, frozen=True, array_like=True, tag=13):
    """The source of a live job has come or gone."""

    task_id: TaskId
    word: Literal["Opening", "Live", "Lost", "Ended"]
    message: Annotated[str, Meta(max_length=LONGEST_REASON)]


Ended = Done | Found | Planned | Failed | Described
ENDED = (Done, Found, Planned, Failed, Described)
Said = Warm | CannotStart | Logged | Alive | Stepped | Done | Found | Planned | Failed | Described | Looked | SourceSaid

# --------------------------------------------------------------------------------------------------- downwards, to a child


class Probe(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """Asks an idle child whether it hears."""


class Given(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A task, its parameters by the name of their class."""

    id: int
    operation: str
    kind: str
    params: msgspec.Raw
    phase: Phase
    slots: int
    part: Part | None
    joined: Result | None
    skips: bool = False
    own: str = ""
    step_s: float = 0.0
    next_id: int = 1
    part_bytes: int = 0
    shipped: Shipped | None = None


class Taught(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A file with operations, before the first task that needs it. The child runs nothing of it before that task has begun."""

    where: str
    digest: str
    text: bytes


class Taken(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """The picture that a live job has looked at last has gone out; another may follow."""


Told = Probe | Given | Taught | Taken

_OWN = (OwnParams, OwnValues)
_encode = msgspec.msgpack.Encoder().encode
_values = msgspec.msgpack.Decoder(dict[str, Value]).decode


@functools.cache
def _reader(kind: Any) -> Any:
    """What reads one of these messages. Made when the first one comes: a parent says `Told` only, and has to be there soon."""
    return msgspec.msgpack.Decoder(kind).decode


def frame(message: Said | Told) -> bytes:
    """The bytes of one message.

    Raises:
        BadFrame: it is too large.
        TypeError, ValueError: it holds what is no plain value.
    """
    body = _encode(message)
    if len(body) > MAX_FRAME:
        raise BadFrame(f"A message of {len(body)} bytes is too large; the limit is {MAX_FRAME}.")
    return _SIZE.pack(len(body)) + body


def ended(task_id: int, outcome: Outcome) -> bytes:
    """The frame that ends a task. Raises as `frame`; also TypeError for what is no outcome."""
    if isinstance(outcome, Result):
        return frame(Done(task_id) if outcome == NOTHING else Found(task_id, outcome))
    if isinstance(outcome, Plan):
        return frame(Planned(task_id, outcome))
    if isinstance(outcome, Failure):
        return frame(Failed(task_id, outcome))
    if isinstance(outcome, Description):
        return frame(Described(task_id, outcome.operations))
    raise TypeError(f"{type(outcome).__name__} is no outcome of a task")


def outcome_of(message: Ended) -> Outcome:
    """How a task ended."""
    if isinstance(message, Done):
        return NOTHING
    if isinstance(message, Found):
        return message.result
    if isinstance(message, Described):
        return Description(message.operations)
    return message.plan if isinstance(message, Planned) else message.failure


def given(task: Task) -> bytes:
    """The frame of a task. Raises as `frame`."""
    joined = None if task.joined is NOTHING or task.joined == NOTHING else task.joined
    params, kind, own = task.params, "", task.own.digest if task.own else ""
    if isinstance(params, _OWN):
        raw = msgspec.Raw(_encode(params.values if isinstance(params, OwnValues) else params))
    else:
        raw, kind = msgspec.Raw(_encode(params)), _name(type(params))
    job = (task.id, task.operation, kind, raw, task.phase, task.slots, task.part, joined)
    return frame(Given(*job, task.skips, own, task.step_s, task.next_id, task.part_bytes, task.shipped))


def taught(file: OwnFile) -> bytes:
    """The frame of a file with operations. Raises as `frame`."""
    return frame(Taught(file.where, file.digest, file.text))


def task_of(message: Given, taught: Iterable[OwnFile] = ()) -> Task:
    """The task, as it was; the parameters of an operation that is not the worker's as `OwnValues`.

    Args:
        message: what the parent said.
        taught: the files with operations that it has sent before.
    """
    params: Params = _params(message.kind)(message.params) if message.kind else OwnValues(values=_values(message.params))
    own = next((file for file in taught if file.digest == message.own), None) if message.own else None
    phase, slots, part, joined = message.phase, message.slots, message.part, message.joined or NOTHING
    rest = (message.skips, own, message.step_s, message.next_id, message.part_bytes, message.shipped)
    return Task(message.id, message.operation, params, phase, slots, part, joined, *rest)


def packed(task: Task) -> bytes:
    """A task and all that a child must know before it, for one who passes it on. Raises as `frame`."""
    return (taught(task.own) if task.own else b"") + given(task)


def unpacked(data: bytes) -> Task:
    """The task of `packed`.

    Raises:
        BadFrame: it is none.
    """
    known: list[OwnFile] = []
    for body in Frames().received(data):
        message = told(body)
        if isinstance(message, Taught):
            known.append(OwnFile(message.where, message.digest, message.text))
        elif isinstance(message, Given):
            return task_of(message, known)
    raise BadFrame("This is no task.")


def said(body: bytes | memoryview) -> Said:
    """Reads what a child said.

    Raises:
        BadFrame: no child says this.
    """
    try:
        message: Said = _reader(Said)(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadFrame(f"A child process has sent {len(body)} bytes that are no message: {error}"[:300]) from None
    kind = type(message)
    if kind is Found:
        _check(message.result)  # type: ignore[union-attr] # as its type says
    elif kind is Planned:
        _check(message.plan.base)  # type: ignore[union-attr]
    return message


def told(body: bytes | memoryview) -> Told:
    """Reads what the parent said."""
    message: Told = _reader(Told)(body)
    return message


def _check(result: Result) -> None:
    """What the types cannot say: each row has its columns, and the kind can be a part of an address."""
    if result.rows and set(map(len, result.rows)) != {len(result.fields)}:
        raise BadFrame("A child process has sent rows that do not fit their columns.")
    if result.kind and not (result.kind.isascii() and result.kind.replace("_", "").isalnum() and len(result.kind) <= LONGEST_NAME):
        raise BadFrame(f"A child process has sent a result of the kind {result.kind!r:.80}.")


@functools.cache
def _name(params: type[Params]) -> str:
    return f"{params.__module__}:{params.__qualname__}"


@functools.cache
def _params(kind: str) -> Any:
    module, _, name = kind.partition(":")
    found = getattr(importlib.import_module(module), name)
    if not issubclass(found, Params):
        raise InternalError(f"{kind} is no class of parameters.")
    return msgspec.msgpack.Decoder(found).decode


class Frames:
    """Puts frames together from the pieces in which they come.

    >>> frames = Frames()
    >>> pieces = frame(Alive()) + frame(Done(7))
    >>> [said(body) for body in frames.received(pieces[:9])], [said(body) for body in frames.received(pieces[9:])]
    ([Alive()], [Done(task_id=7)])
    """

    def __init__(self) -> None:
        self._rest = bytearray()

    def received(self, data: bytes) -> Iterable[bytes | memoryview]:
        """The bodies of all frames that are whole by now.

        Raises:
            BadFrame: one claims to be larger than any is. While they are looked through, not before.
        """
        if not self._rest and len(data) > _SIZE.size and _SIZE.unpack_from(data)[0] == len(data) - _SIZE.size:  # most come alone and whole
            return (data[_SIZE.size :],)
        return self._pieces(data)

    def _pieces(self, data: bytes) -> Iterator[bytes | memoryview]:
        if self._rest:
            self._rest += data
            if len(self._rest) < _SIZE.size + self._wanted():
                return
            data, self._rest = bytes(self._rest), bytearray()
        at, end = 0, len(data)
        while end - at >= _SIZE.size:
            (size,) = _SIZE.unpack_from(data, at)
            if size > MAX_FRAME:
                raise BadFrame(f"A child process claims a message of {size} bytes; the limit is {MAX_FRAME}.")
            if end - at - _SIZE.size < size:
                break
            yield data[at + _SIZE.size : at + _SIZE.size + size]
            at += _SIZE.size + size
        if at < end:
            self._rest += memoryview(data)[at:]

    def _wanted(self) -> int:
        """The size that the first frame claims; 0 while that itself is not whole."""
        if len(self._rest) < _SIZE.size:
            return 0
        size: int = _SIZE.unpack_from(self._rest)[0]
        return 0 if size > MAX_FRAME else size
