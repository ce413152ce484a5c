"""One address, one frozen struct. The order of the fields is the order of the OSC arguments.

`COMMANDS` travel to the worker, `REPORTS` from it. `parse` turns an address and its arguments into one of them; it is the border
where arity and types are checked, so that nobody inside checks them again.
"""

from __future__ import annotations

import ipaddress
import math
import operator
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import msgspec

from worker.errors import BadArguments, UnknownAddress
from worker.protocol import addresses
from worker.words import nearest

#: What an OSC argument is in Python. Lists come from OSC's arrays, None is nil.
Argument = int | float | str | bytes | bool | None | list["Argument"]
#: What travels outward: `i`, `f` and `s` only.
Plain = int | float | str

#: Maximum length of a job's id, so that every report about it fits into one datagram.
MAX_ID_BYTES = 200

_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1

#: What a value of a job may be as it came.
_SIMPLE = frozenset({str, int, float, bool})
_TYPE_NAMES = {"int": "a whole number", "float": "a number", "str": "text"}


class Impulse(float):
    """OSC's `I`, which OSC 1.0 calls infinite and OSC 1.1 an impulse, such as a bang. It has no other value than infinity."""


class Message(msgspec.Struct, frozen=True, gc=False):
    """Base of all commands and reports. Structs, because thousands are made a second, and a frozen dataclass takes many times as long."""

    address: ClassVar[str]
    #: How many of the fields are parts of the address (`/name`) and not arguments. They come first.
    tail: ClassVar[int] = 0

    @property
    def full_address(self) -> str:
        """The address as it is sent."""
        if not self.tail:
            return self.address
        return "/".join([self.address, *(str(getattr(self, name)) for name in _names(type(self))[: self.tail])])

    def arguments(self) -> tuple[Plain, ...]:
        """The arguments as they are sent."""
        getter = _GETTERS.get(type(self))
        if getter is None:
            getter = _GETTERS[type(self)] = _getter(_names(type(self))[self.tail :])
        return getter(self)

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        """Makes the message from the names behind its address, and its arguments.

        Raises:
            BadArguments: too few, too many, or one of the wrong type.
        """
        exact, least = _SHAPES.get(cls) or _shape(cls)
        given = tuple(map(type, arguments))
        if given == exact or (least <= len(given) and given == exact[: len(given)]):  # nothing to convert
            return cls(*names, *arguments)
        wanted = fields(cls)[cls.tail :]
        if not least <= len(arguments) <= len(wanted):
            raise BadArguments(f"{cls.address} takes {usage(cls)}; got {len(arguments)} arguments.", address=cls.address)
        values: dict[str, Any] = dict(zip((field.name for field in fields(cls)), names, strict=False))
        for field, argument in zip(wanted, arguments, strict=False):
            if argument is None and not field.required:  # OSC's nil: as if left out
                continue
            values[field.name] = _converted(cls, field.name, field.type, argument)
        return cls(**values)


class Field(NamedTuple):
    """A field of a message, its type as it is written."""

    name: str
    type: str
    required: bool


#: Looked up once for each class: this is on the way of every datagram.
_NAMES: dict[type, tuple[str, ...]] = {}
_GETTERS: dict[type, Callable[[Any], tuple[Plain, ...]]] = {}
#: The types of the arguments, and how many must be there.
_SHAPES: dict[type, tuple[tuple[type | None, ...], int]] = {}
_PLAIN_TYPES: dict[str, type] = {"str": str, "int": int, "float": float}


def fields(message: type[Message]) -> tuple[Field, ...]:
    """The fields of a message, in order."""
    names, optional = message.__struct_fields__, len(message.__struct_defaults__)
    types = message.__annotations__
    return tuple(Field(name, str(types[name]), place < len(names) - optional) for place, name in enumerate(names))


def _shape(cls: type[Message]) -> tuple[tuple[type | None, ...], int]:
    wanted = fields(cls)[cls.tail :]
    shape = tuple(_PLAIN_TYPES.get(field.type) for field in wanted), sum(field.required for field in wanted)
    _SHAPES[cls] = shape
    return shape


def _getter(names: tuple[str, ...]) -> Callable[[Any], tuple[Plain, ...]]:
    """What gives the values of these attributes, in order."""
    if len(names) > 1:
        return operator.attrgetter(*names)
    return lambda message: tuple([getattr(message, name) for name in names])


def _names(message: type[Message]) -> tuple[str, ...]:
    """The names of the fields."""
    names = _NAMES.get(message)
    if names is None:
        names = _NAMES[message] = message.__struct_fields__
    return names


def usage(message: type[Message]) -> str:
    """The arguments of a message, as a person reads them.

    >>> usage(Sync), usage(Unset)
    ('n (whole number)', 'preset (text), [key (text)]')
    """
    parts = []
    for field in fields(message)[message.tail :]:
        text = f"{field.name} ({_TYPE_NAMES.get(field.type, 'any').removeprefix('a ')})"
        parts.append(text if field.required else f"[{text}]")
    return ", ".join(parts) or "no arguments"


def _converted(cls: type[Message], name: str, wanted: str, argument: Argument) -> Any:
    """TouchDesigner's CHOPs send every number as float, its DATs send truth values; people send text."""
    if wanted == "str" and isinstance(argument, str):
        return argument
    try:
        if wanted == "str" and isinstance(argument, (int, float)):
            return number_as_text(argument)
        if wanted in ("int", "float") and isinstance(argument, (int, float, str)):
            number = float(argument)
            if wanted == "float":
                return number
            if number == int(number):
                return int(argument) if isinstance(argument, int) else int(number)
    except (ValueError, OverflowError):
        pass
    shown = repr(argument)[:80]
    raise BadArguments(
        f"{cls.address}: {name} must be {_TYPE_NAMES[wanted]}; got {shown}.", f"The arguments are {usage(cls)}.", address=cls.address
    )


def number_as_text(number: float) -> str:
    """A number as text, as a person writes it. A CHOP sends the id "1234567" as 1234567.0.

    >>> number_as_text(1234567.0), number_as_text(0.10000000149011612), number_as_text(True)
    ('1234567', '0.1', '1')
    """
    whole = isinstance(number, int) or (number.is_integer() and abs(number) < 1e15)
    return str(int(number)) if whole else f"{number:g}"


def _within_datagram(cls: type[Message], job_id: str) -> None:
    size = len(job_id.encode())
    odd = next((one for one in job_id if not one.isprintable()), "")
    if size > MAX_ID_BYTES or odd:
        has = f"has the character {odd!r}" if odd else f"has {size:,} bytes"
        said = f"{cls.address}: id must be printable and at most {MAX_ID_BYTES} bytes; this one {has}."
        raise BadArguments(said, address=cls.address)


def _as_sent_back(cls: type[Message], name: str, number: int) -> None:
    """The answer carries this number, and has 32 bits for it."""
    if not _INT_MIN <= number <= _INT_MAX:
        said = (
            f"{cls.address}: {name} must be a whole number from {_INT_MIN} to {_INT_MAX}, because the answer repeats it; got {number:.6g}."
        )
        raise BadArguments(said, address=cls.address)


# ---------------------------------------------------------------------------------------------------------- commands


class Hello(Message, frozen=True):
    """Says where this client wants its reports. Port 0 means: the port this packet came from (text), or none (numbers).

    `nonce` is there only if it answers a `Challenge`, or if `bundles` follows: 1 asks for the reports of a moment in one datagram.

    >>> wire(Hello("td", 9461, 9462))
    '/worker/hello ,siissi td 9461 9462   0'
    """

    address = addresses.HELLO
    name: str
    text_port: int
    number_port: int
    host: str = ""
    token: str = ""
    acknowledges: int = 0
    nonce: int = 0
    bundles: int = 0

    def arguments(self) -> tuple[Plain, ...]:
        told = super().arguments()
        return told if self.bundles else told[:-1] if self.nonce else told[:-2]

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        hello = super().parse(names, arguments)
        for name in ("text_port", "number_port"):
            if not 0 <= getattr(hello, name) <= 65_535:
                raise BadArguments(f"{cls.address}: {name} must be 0 to 65535; got {getattr(hello, name)}.", address=cls.address)
        if hello.host == "localhost":
            return msgspec.structs.replace(hello, host="127.0.0.1")
        try:
            if hello.host:
                ipaddress.ip_address(hello.host)
        except ValueError:  # looking a name up may take seconds, in which nobody else would be served
            sentence = f"{cls.address}: host must be an IP address, or empty for the one this packet came from; got {hello.host!r:.80}."
            raise BadArguments(sentence, address=cls.address) from None
        return hello


class Bye(Message, frozen=True):
    """Ends this client's lease. The worker sends nothing more to it.

    >>> wire(Bye())
    '/worker/bye ,'
    """

    address = addresses.BYE


class Ping(Message, frozen=True):
    """Asks for a `Pong` with the same number.

    >>> wire(Ping(7))
    '/worker/ping ,i 7'
    """

    address = addresses.PING
    nonce: int = 0

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        ping = super().parse(names, arguments)
        _as_sent_back(cls, "nonce", ping.nonce)
        return ping


class Job(Message, frozen=True):
    """A unit of work. An empty id asks the worker to make one. The pairs are the operation's parameters and the job's own keys.

    >>> wire(Job("j1", "draw_circles", (("output", "a{n}.png"), ("count", 3))))
    '/worker/job ,sssssi j1 draw_circles output a{n}.png count 3'
    """

    address = addresses.JOB
    id: str
    operation: str
    pairs: tuple[tuple[str, int | float | str | bool | None], ...] = ()

    def arguments(self) -> tuple[Plain, ...]:
        return (self.id, self.operation, *(_plain(part) for pair in self.pairs for part in pair))

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:  # noqa: ARG003 - as the others
        if len(arguments) < 2:
            raise BadArguments("/worker/job takes id (text), operation (text), then pairs of key and value.", address=cls.address)
        job_id, operation = arguments[0], arguments[1]
        if type(job_id) is not str:
            job_id = _converted(cls, "id", "str", "" if job_id is None else job_id)
        _within_datagram(cls, job_id)
        if type(operation) is not str:
            try:
                operation = _converted(cls, "operation", "str", operation)
            except BadArguments as error:
                error.job_id = job_id
                raise
        if len(arguments) == 2:
            return cls(job_id, operation)
        rest = arguments[2:]
        if len(rest) % 2:
            raise BadArguments(
                f"/worker/job: after id and operation come pairs of key and value; the last key, {rest[-1]!r:.80}, has no value.",
                address=cls.address,
                job_id=job_id,
            )
        return cls(job_id, operation, tuple([cls._pair(job_id, rest[i], rest[i + 1]) for i in range(0, len(rest), 2)]))

    @classmethod
    def _pair(cls, job_id: str, key: Argument, value: Argument) -> tuple[str, int | float | str | bool | None]:
        if type(key) is str and type(value) in _SIMPLE:
            return key, value  # type: ignore[return-value] # it is one of these types
        if not isinstance(key, str):
            raise BadArguments(f"/worker/job: a key must be text; got {key!r:.80}.", address=cls.address, job_id=job_id)
        try:
            return key, _simple(value)
        except TypeError as error:
            raise BadArguments(f"/worker/job: {key} {error}", address=cls.address, job_id=job_id) from None


def _simple(value: Argument) -> int | float | str | bool | None:
    """A value of a job or a preset as one of the types that all code behind here knows.

    Raises:
        TypeError: it is none; in words that stand behind the name of its key.
    """
    if isinstance(value, list):  # an OSC array of numbers reads like the same numbers as text, such as centers
        return " ".join(_flat(value))
    if isinstance(value, bytes):
        raise TypeError("came as a blob; send a number or text. Images travel as file paths.")
    return float(value) if isinstance(value, Impulse) else value


def _flat(values: Iterable[Argument]) -> Iterator[str]:
    for value in values:
        if isinstance(value, list):  # pairs of numbers, [[x, y], [x, y]]
            yield from _flat(value)
        elif value is None or isinstance(value, bytes):
            raise TypeError("came as an array with a blob or nil in it; send numbers or text.")
        else:
            yield number_as_text(value) if isinstance(value, bool) else str(value)


class Cancel(Message, frozen=True):
    """Ends a job of this client. Its final has code 499, unless it had already ended.

    >>> wire(Cancel("j1"))
    '/worker/cancel ,s j1'
    """

    address = addresses.CANCEL
    id: str


class Clear(Message, frozen=True):
    """Cancels all waiting jobs of this client. Running jobs go on.

    >>> wire(Clear())
    '/worker/clear ,'
    """

    address = addresses.CLEAR


class Query(Message, frozen=True):
    """Asks for a job's latest report again.

    >>> wire(Query("j1"))
    '/worker/query ,s j1'
    """

    address = addresses.QUERY
    id: str


class Ack(Message, frozen=True):
    """Confirms the final with this number. The worker does not repeat it any more.

    >>> wire(Ack(12))
    '/worker/ack ,i 12'
    """

    address = addresses.ACK
    seq: int


class Replay(Message, frozen=True):
    """Asks for all finals from this number on again.

    >>> wire(Replay(3))
    '/worker/replay ,i 3'
    """

    address = addresses.REPLAY
    from_seq: int


class Sync(Message, frozen=True):
    """Asks for a `Synced` with the same number as soon as all earlier jobs of this client have ended.

    >>> wire(Sync(1))
    '/worker/sync ,i 1'
    """

    address = addresses.SYNC
    n: int

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        sync = super().parse(names, arguments)
        _as_sent_back(cls, "n", sync.n)
        return sync


class GetStatus(Message, frozen=True):
    """Asks for the `Status` now.

    >>> wire(GetStatus())
    '/worker/status ,'
    """

    address = addresses.STATUS


class Describe(Message, frozen=True):
    """Asks what an operation does; without a name, what all of them do; with `*`, what they have in common.

    >>> wire(Describe("noop"))
    '/worker/describe ,s noop'
    """

    address = addresses.DESCRIBE
    operation: str = ""


class Set(Message, frozen=True):
    """Sets one value of a preset; the key `operation` names its operation.

    >>> wire(Set("logo", "count", 12))
    '/worker/set/logo/count ,i 12'
    """

    address = addresses.SET
    tail = 2
    preset: str
    key: str
    value: int | float | str | bool

    def arguments(self) -> tuple[Plain, ...]:
        return (_plain(self.value),)

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        address = "/".join([cls.address, *names])
        if len(arguments) == 1 and isinstance(arguments[0], list) and len(arguments[0]) < 2:  # an array of one is this one
            arguments = arguments[0]
        if len(arguments) != 1 or arguments[0] is None:
            came = "nil" if arguments else "no argument"
            came = f"{len(arguments)} arguments" if len(arguments) > 1 else came
            raise BadArguments(f"/worker/set/<preset>/<key> takes one number or text; got {came}.", address=address)
        try:
            value = _simple(arguments[0])
        except TypeError as error:
            raise BadArguments(f"{address[:200]} {error}", address=address) from None
        assert value is not None  # noqa: S101 # nosec B101 - it was not, and an array becomes text
        return cls(names[0], names[1], value)


class Unset(Message, frozen=True):
    """Deletes one value of a preset, or without a key the whole preset. The names are text, so that no CHOP can do this by chance.

    >>> wire(Unset("logo", "count"))
    '/worker/unset ,ss logo count'
    """

    address = addresses.UNSET
    preset: str
    key: str = ""


class ListPresets(Message, frozen=True):
    """Asks for all presets, one `PresetValue` for each value.

    >>> wire(ListPresets())
    '/worker/presets ,'
    """

    address = addresses.PRESETS


class Trigger(Message, frozen=True):
    """Starts a job from a preset when the number rises through 0.5. The job has the id that is given, otherwise one of the worker's.

    An infinite value is a press that is over at once: OSC's impulse, or no value at all. A number that came is never infinite.

    >>> wire(Trigger("logo", 1.0))
    '/worker/trigger/logo ,f 1.0'
    """

    address = addresses.TRIGGER
    tail = 1
    preset: str
    value: float = math.inf
    id: str = ""

    @property
    def is_impulse(self) -> bool:
        """Whether it is a press that is over at once."""
        return self.value == math.inf

    def arguments(self) -> tuple[Plain, ...]:
        if self.is_impulse and not self.id:
            return ()
        return (self.value, self.id) if self.id else (self.value,)

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        address = "/".join([cls.address, *names])
        given = [] if len(arguments) == 1 and arguments[0] == "" else list(arguments)  # TouchDesigner's rendering of "no arguments"
        job_id = given[1] if len(given) > 1 else ""
        if not isinstance(job_id, str | None):  # a CHOP of several samples means no id
            raise BadArguments(f"{cls.address} takes {usage(cls)}; got {job_id!r:.80} for id.", address=address)
        try:
            if job_id:
                _within_datagram(cls, job_id)
            trigger = super().parse(names, given)
        except BadArguments as error:
            error.address, error.job_id = address, job_id or ""
            raise
        is_number = bool(given) and given[0] is not None and not isinstance(given[0], Impulse)
        return msgspec.structs.replace(trigger, value=sys.float_info.max) if is_number and trigger.is_impulse else trigger


class Watch(Message, frozen=True):
    """Asks for news of all jobs of all clients, a `Watched` for each change; 0 ends that. From another computer it needs the token.

    >>> wire(Watch(1))
    '/worker/watch ,is 1 '
    """

    address = addresses.WATCH
    on: int = 1
    token: str = ""


class Quit(Message, frozen=True):
    """Asks the worker to finish its accepted jobs and to end.

    >>> wire(Quit("secret"))
    '/worker/quit ,s secret'
    """

    address = addresses.QUIT
    token: str = ""


# ----------------------------------------------------------------------------------------------------------- reports


class Challenge(Message, frozen=True):
    """Answers the first `Hello` of a computer that only the token lets in: the hello must come again, with this number at its end.

    >>> wire(Challenge(7))
    '/worker/challenge ,i 7'
    """

    address = addresses.CHALLENGE
    nonce: int


class Welcome(Message, frozen=True):
    """Answers `Hello`.

    >>> wire(Welcome("0.1.0", 1, 3, 15000, 12))
    '/worker/welcome ,siiii 0.1.0 1 3 15000 12'
    """

    address = addresses.WELCOME
    version: str
    protocol: int
    boot: int
    lease_ms: int
    newest_seq: int


class Pong(Message, frozen=True):
    """Answers `Ping`.

    >>> wire(Pong(7, 3, 60.5))
    '/worker/pong ,iif 7 3 60.5'
    """

    address = addresses.PONG
    nonce: int
    boot: int
    uptime_s: float


class Status(Message, frozen=True):
    """The state of the worker, on each change and once a second.

    >>> wire(Status("Processing", 1, 4, 3))
    '/worker/status ,siii Processing 1 4 3'
    """

    address = addresses.STATUS
    word: str
    running: int
    queued: int
    boot: int


class Health(Message, frozen=True):
    """Once a second: the time in seconds since a child process last finished a job or the canary.

    >>> wire(Health(0.5, 60))
    '/worker/health ,fi 0.5 60'
    """

    address = addresses.HEALTH
    canary_s: float
    beat: int


class Accepted(Message, frozen=True):
    """The job is stored. `position` counts the jobs before it; 0 is the next one to run.

    >>> wire(Accepted("j1", 2, 0))
    '/worker/accepted ,sii j1 2 0'
    """

    address = addresses.ACCEPTED
    id: str
    position: int
    duplicate: int


class Processing(Message, frozen=True):
    """The job has started. `attempt` counts its starts from 1.

    >>> wire(Processing("j1", 1))
    '/worker/processing ,si j1 1'
    """

    address = addresses.PROCESSING
    id: str
    attempt: int


class Progress(Message, frozen=True):
    """How far a running job is. `eta_ms` -1 means not known yet.

    >>> wire(Progress("j1", 0.25, 125, 500, 900, ""))
    '/worker/progress ,sfiiis j1 0.25 125 500 900 '
    """

    address = addresses.PROGRESS
    id: str
    fraction: float
    step: int
    steps: int
    eta_ms: int
    note: str


class ResultRows(Message, frozen=True):
    """One chunk of what a job found: `fields` numbers per row, row after row; `first` is the number of its first row.

    >>> wire(ResultRows("circles", "j1", 0, 1, 0, 1, 3, (447.0, 63.0, 63.0)))
    '/worker/result/circles ,siiiiifff j1 0 1 0 1 3 447.0 63.0 63.0'
    """

    address = addresses.RESULT
    tail = 1
    kind: str
    id: str
    chunk: int
    chunks: int
    first: int
    total: int
    fields: int
    numbers: tuple[float, ...] = ()

    def arguments(self) -> tuple[Plain, ...]:
        return (self.id, self.chunk, self.chunks, self.first, self.total, self.fields, *map(float, self.numbers))

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        if len(arguments) < 6:
            raise BadArguments("/worker/result/<kind> takes id, chunk, chunks, first, total, fields, then numbers.", address=cls.address)
        chunk, chunks, first, total, columns = (_converted(cls, "count", "int", part) for part in arguments[1:6])
        job_id = _converted(cls, "id", "str", arguments[0])
        numbers = tuple(_converted(cls, "number", "float", part) for part in arguments[6:])
        return cls(names[0], job_id, chunk, chunks, first, total, columns, numbers)


class File(Message, frozen=True):
    """A complete file was written. Width and height are 0 if it is not an image.

    >>> wire(File("j1", "out/a0.png", 1893, 512, 512))
    '/worker/file ,ssiii j1 out/a0.png 1893 512 512'
    """

    address = addresses.FILE
    id: str
    path: str
    size_bytes: int
    width: int
    height: int


class Skipped(Message, frozen=True):
    """An image of a folder or pattern could not be read and is left out. `code` is that of the error; `message` says what helps, too.

    >>> wire(Skipped("j1", "shots/a7.png", 415, "a7.png is empty."))
    '/worker/skipped ,ssis j1 shots/a7.png 415 a7.png is empty.'
    """

    address = addresses.SKIPPED
    id: str
    path: str
    code: int
    message: str


class Ready(Message, frozen=True):
    """The final of a job that succeeded. The last two arguments are there only as far as one of them is not 0.

    `skipped` counts images that could not be read, `left_out` what was found beyond `max_items`.

    >>> wire(Ready("j1", 12, 3, 4, 900, 500, "draw_circles"))
    '/worker/ready ,siiiiis j1 12 3 4 900 500 draw_circles'
    """

    address = addresses.READY
    id: str
    seq: int
    boot: int
    wait_ms: int
    run_ms: int
    items: int
    operation: str
    skipped: int = 0
    left_out: int = 0

    def arguments(self) -> tuple[Plain, ...]:
        told = super().arguments()
        return told if self.left_out else told[:-1] if self.skipped else told[:-2]


class Failed(Message, frozen=True):
    """The final of a job that failed. With seq 0 it is a refusal: nothing of the job is stored.

    >>> wire(Failed("j1", 13, 3, 404, "file", "There is no file a.png.", ""))
    '/worker/failed ,siiisss j1 13 3 404 file There is no file a.png. '
    """

    address = addresses.FAILED
    id: str
    seq: int
    boot: int
    code: int
    word: str
    message: str
    hint: str


class Error(Message, frozen=True):
    """A packet that belongs to no job could not be used.

    >>> wire(Error(404, "/worker/jbo", "Unknown address; did you mean /worker/job?"))
    '/worker/error ,iss 404 /worker/jbo Unknown address; did you mean /worker/job?'
    """

    address = addresses.ERROR
    code: int
    at: str
    message: str


class Synced(Message, frozen=True):
    """Answers `Sync` with the numbers of this client's jobs that succeeded and failed.

    >>> wire(Synced(1, 3, 0))
    '/worker/synced ,iii 1 3 0'
    """

    address = addresses.SYNCED
    n: int
    ready: int
    failed: int


class PresetValue(Message, frozen=True):
    """One value of a preset as text, number `number` of `total`; with a total of 0 there are no presets.

    >>> wire(PresetValue(0, 2, "logo", "count", "12"))
    '/worker/preset ,iisss 0 2 logo count 12'
    """

    address = addresses.PRESET
    number: int
    total: int
    preset: str
    key: str
    value: str


class OperationDescription(Message, frozen=True):
    """One operation with its parameters, as JSON. A long text is cut: this is part `part`, from 0, of `parts`.

    >>> wire(OperationDescription("noop", "{}", 0, 1))
    '/worker/operation ,ssii noop {} 0 1'
    """

    address = addresses.OPERATION
    name: str
    description: str
    part: int
    parts: int


class CatalogChanged(Message, frozen=True):
    """An operation of your own has come, changed or gone, or its file cannot be used. `changes` counts since the start.

    >>> wire(CatalogChanged(1, "my_ops.py has glow."))
    '/worker/catalog ,is 1 my_ops.py has glow.'
    """

    address = addresses.CATALOG
    changes: int
    message: str


class Watched(Message, frozen=True):
    """To those who watch: how it stands with a job of any client. `code` is 0 while it waits or runs, 200 if it is ready.

    >>> wire(Watched("127.0.0.1:9461", "td", "j1", "find_circles", "running", 0, 3, 10, 4, 250, ""))
    '/worker/watched ,sssssiiiiis 127.0.0.1:9461 td j1 find_circles running 0 3 10 4 250 '
    """

    address = addresses.WATCHED
    client: str
    name: str
    id: str
    operation: str
    word: str
    code: int
    step: int
    steps: int
    wait_ms: int
    run_ms: int
    message: str


class Children(Message, frozen=True):
    """To those who watch, once a second: whether a child process works, how many tasks may run, how many do, and which.

    >>> wire(Children(1, 3, 1, "find_circles j1 0.3 s"))
    '/worker/children ,iiis 1 3 1 find_circles j1 0.3 s'
    """

    address = addresses.CHILDREN
    working: int
    slots: int
    busy: int
    tasks: str


class Nodes(Message, frozen=True):
    """With a cluster: how many nodes work for this worker, how many were there within the last hour and are not now, and their names.

    >>> wire(Nodes(1, 1, "render-2-4711"))
    '/worker/nodes ,iis 1 1 render-2-4711'
    """

    address = addresses.NODES
    working: int
    missing: int
    names: str


class Number(Message, frozen=True):
    """One level or counter for an OSC In CHOP.

    >>> wire(Number("queued", 4.0))
    '/worker/n/queued ,f 4.0'
    """

    address = addresses.NUMBER
    tail = 1
    name: str
    value: float


class Tracked(Message, frozen=True):
    """What a live job sees in one picture: `fields` numbers per object, one object after the other, as in `ResultRows`.

    `frame` counts the pictures of the source, so numbers are left out; `delay_ms` is the time from the picture to this report.

    >>> wire(Tracked("cam", "j1", 812, 17.5, 0, 1, 0, 1, 3, (0.0, 7.0, 1.0)))
    '/worker/tracked/cam ,sifiiiiifff j1 812 17.5 0 1 0 1 3 0.0 7.0 1.0'
    """

    address = addresses.TRACKED
    tail = 1
    name: str
    id: str
    frame: int
    delay_ms: float
    chunk: int
    chunks: int
    first: int
    total: int
    fields: int
    numbers: tuple[float, ...] = ()

    def arguments(self) -> tuple[Plain, ...]:
        counts = self.chunk, self.chunks, self.first, self.total, self.fields
        return (self.id, self.frame, float(self.delay_ms), *counts, *map(float, self.numbers))

    @classmethod
    def parse(cls, names: Sequence[str], arguments: Sequence[Argument]) -> Self:
        if len(arguments) < 8:
            message = "/worker/tracked/<name> takes id, frame, delay_ms, chunk, chunks, first, total, fields, then numbers."
            raise BadArguments(message, address=cls.address)
        job_id, frame = _converted(cls, "id", "str", arguments[0]), _converted(cls, "frame", "int", arguments[1])
        delay_ms = _converted(cls, "delay_ms", "float", arguments[2])
        chunk, chunks, first, total, columns = (_converted(cls, "count", "int", part) for part in arguments[3:8])
        numbers = tuple([_converted(cls, "number", "float", part) for part in arguments[8:]])
        return cls(names[0], job_id, frame, delay_ms, chunk, chunks, first, total, columns, numbers)


class Source(Message, frozen=True):
    """The source of a live job: Opening, Live, Lost or Ended, with a sentence.

    >>> wire(Source("j1", "cam", "Live", "camera:0, 1280x720"))
    '/worker/source ,ssss j1 cam Live camera:0, 1280x720'
    """

    address = addresses.SOURCE
    id: str
    name: str
    word: str
    message: str


class TrackNumber(Message, frozen=True):
    """One number of a live job, for an OSC In CHOP.

    >>> wire(TrackNumber("cam", "x0", 447.0))
    '/worker/n/track/cam/x0 ,f 447.0'
    """

    address = addresses.TRACK_NUMBER
    tail = 2
    name: str
    channel: str
    value: float


Command = (
    Hello
    | Bye
    | Ping
    | Job
    | Cancel
    | Clear
    | Query
    | Ack
    | Replay
    | Sync
    | GetStatus
    | Describe
    | Set
    | Unset
    | ListPresets
    | Trigger
    | Watch
    | Quit
)
Report = (
    Challenge
    | Welcome
    | Pong
    | Status
    | Health
    | Accepted
    | Processing
    | Progress
    | ResultRows
    | File
    | Skipped
    | Ready
    | Failed
    | Error
    | Synced
    | PresetValue
    | OperationDescription
    | CatalogChanged
    | Watched
    | Children
    | Nodes
    | Number
    | Tracked
    | Source
    | TrackNumber
)
#: Exactly one of these ends each accepted job.
Final = Ready | Failed

COMMANDS: Mapping[str, type[Command]] = {
    message.address: message
    for message in (
        Hello,
        Bye,
        Ping,
        Job,
        Cancel,
        Clear,
        Query,
        Ack,
        Replay,
        Sync,
        GetStatus,
        Describe,
        Set,
        Unset,
        ListPresets,
        Trigger,
        Watch,
        Quit,
    )
}
REPORTS: Mapping[str, type[Report]] = {
    message.address: message
    for message in (
        Challenge, Welcome, Pong, Status, Health, Accepted, Processing, Progress, ResultRows, File, Skipped, Ready, Failed, Error, Synced,
        PresetValue, OperationDescription, CatalogChanged, Watched, Children, Nodes, Number, Tracked, Source, TrackNumber,
    )
}  # fmt: skip


def parse_command(address: str, arguments: Sequence[Argument]) -> Command:
    """Makes the command that has this address.

    Raises:
        UnknownAddress: there is none; the message names the nearest one.
        BadArguments: its arguments do not fit.
    """
    command: Command = _parse(COMMANDS, address, arguments)
    return command


def parse_report(address: str, arguments: Sequence[Argument]) -> Report:
    """Makes the report that has this address. Raises as `parse_command` does."""
    report: Report = _parse(REPORTS, address, arguments)
    return report


def _parse(table: Mapping[str, Any], address: str, arguments: Sequence[Argument]) -> Any:
    as_came = arguments
    if len(arguments) == 1 and isinstance(arguments[0], list):  # a nested list instead of a flat one
        arguments = arguments[0]
    message = table.get(address)
    if message is not None and not message.tail:
        # One empty text is TouchDesigner's rendering of "no arguments".
        return message.parse((), [] if len(arguments) == 1 and arguments[0] == "" else arguments)
    for base, candidate in table.items():
        names = address[len(base) + 1 :].split("/")
        if candidate.tail and address.startswith(base + "/") and len(names) == candidate.tail and all(names):
            return candidate.parse(names, as_came if candidate is Set else arguments)  # an array is one value of a preset
    raise UnknownAddress(f"Unknown address {address[:100]!r}; ", advice=lambda: _nearest(table, address), address=address)


def _nearest(table: Mapping[str, type[Message]], address: str) -> str:
    forms = {base: base + "".join(f"/<{field.name}>" for field in fields(message)[: message.tail]) for base, message in table.items()}
    near = nearest(address, forms, cutoff=0.5) or [base for base in forms if address.startswith(base)]
    return f"did you mean {forms[near[0]]}?" if near else f"all commands start with {addresses.ROOT}/."


def _plain(value: float | str | bool | None) -> Plain:
    """A value as one of the three types that travel outward."""
    if isinstance(value, bool):
        return int(value)
    return "" if value is None else value


def wire(message: Message) -> str:
    """The message as one line, for people and for the examples above."""
    arguments = message.arguments()
    tags = "".join("i" if isinstance(value, int) else "f" if isinstance(value, float) else "s" for value in arguments)
    return " ".join([message.full_address, "," + tags, *map(str, arguments)])
