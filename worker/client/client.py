"""The Python client: jobs to a running worker, and their reports.

    async with Client(port=9460, name="demo") as client:
        job = await client.submit("find_circles", {"image": "smarties.png"})
        async for report in job:
            print(report)
        result = await job.result()

`ClientCore` makes all decisions. This file moves bytes, keeps the time and wakes waiting code. It works on every asyncio loop,
because the socket is read by a thread of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import struct
import uuid
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from worker.catalog.catalog import Catalog
from worker.catalog.params import as_value
from worker.catalog.rows import OperationInfo
from worker.catalog.table import CATALOG
from worker.client.core import Announce, Answered, ClientCore, Deliver, Effect, Ended, Found, Transmit
from worker.errors import DecodeError
from worker.network.endpoint import Endpoint
from worker.protocol import addresses
from worker.protocol.messages import (
    Ack,
    Bye,
    Command,
    Describe,
    Error,
    Failed,
    Final,
    GetStatus,
    Hello,
    ListPresets,
    OperationDescription,
    Ping,
    Pong,
    PresetValue,
    Quit,
    Ready,
    Report,
    Set,
    Skipped,
    Status,
    Sync,
    Synced,
    Tracked,
    Trigger,
    Unset,
    Welcome,
)
from worker.protocol.messages import File as FileReport
from worker.protocol.messages import Job as JobCommand
from worker.protocol.osc import decode_reports, encode, encode_bundle
from worker.words import counted

log = logging.getLogger(__name__)

R = TypeVar("R", bound=Report)

CONNECT_S = 3.0
PRESET_ROUNDS = 5
DESCRIBE_ROUNDS = 10
TELL_TIMES = 2
ANSWER_S = 10.0
#: How long an acknowledgement waits for company, and how many go together: so many that their datagram stays small.
ACKS_WITHIN_S = 0.02
ACKS_AT_ONCE = 32
_INT_MAX = 2**31 - 1


class RemoteError(Exception):
    """The worker did not answer, or refused."""


class WorkerSilent(RemoteError):
    """The worker does not answer."""


class ResultIncomplete(RemoteError):
    """The job is ready, but the worker does not remember its whole result any more."""


class CommandRefused(RemoteError):
    """The worker refused a command other than a job."""

    def __init__(self, error: Error) -> None:
        self.code = error.code
        super().__init__(error.message)


class JobFailed(RemoteError):
    """The job was refused, or ended without a result.

    Attributes:
        refused: the worker did not accept the job and stores nothing of it. The id may be used again.
        code: as in `protocol.md`; 4xx is the sender's mistake, 5xx the worker's.
    """

    def __init__(self, failed: Failed) -> None:
        self.refused = failed.seq == 0
        self.code = failed.code
        self.word = failed.word
        self.message = failed.message
        self.hint = failed.hint
        super().__init__(failed.message)


@dataclass(frozen=True, slots=True)
class JobResult:
    """What a job found and wrote.

    Attributes:
        fields: the names of the columns of `rows`.
        rows: one tuple of numbers per item found, in order.
        files: what was written, in order.
        skipped: the images of a folder or pattern that could not be read, in order.
    """

    ready: Ready
    fields: tuple[str, ...]
    rows: tuple[tuple[float, ...], ...]
    files: tuple[FileReport, ...]
    skipped: tuple[Skipped, ...] = ()

    @property
    def items(self) -> list[dict[str, float]]:
        """The rows with the names of their columns."""
        return [dict(zip(self.fields, row, strict=True)) for row in self.rows]


class Job:
    """One submitted job. Iterating over it gives its reports in order, the final last; one reader at a time."""

    def __init__(self, job_id: str, operation: str, info: OperationInfo | None) -> None:
        self.id = job_id
        self.operation = operation
        self._info = info
        self._reports: deque[Report] = deque()
        self._news = asyncio.Event()
        self._answered = asyncio.Event()
        self._end: Ended | None = None

    @property
    def done(self) -> bool:
        """Whether its final has come, or will never come."""
        return self._end is not None

    async def __aiter__(self) -> AsyncIterator[Report]:
        while True:
            while self._reports:
                yield self._reports.popleft()
            if self._end is not None:
                self._raise_if_lost()
                return
            self._news.clear()
            await self._news.wait()

    async def final(self) -> Final:
        """How the job ended.

        Raises:
            WorkerSilent: that cannot be known.
        """
        while self._end is None:
            self._news.clear()
            await self._news.wait()
        self._raise_if_lost()
        assert self._end.final is not None  # noqa: S101 - said by the line above
        return self._end.final

    async def result(self) -> JobResult:
        """What the job found and wrote.

        Raises:
            JobFailed: the job failed.
            ResultIncomplete: parts of the result were lost on the way, and the worker does not have them any more.
            WorkerSilent: the worker went away.
        """
        final = await self.final()
        if isinstance(final, Failed):
            raise JobFailed(final)
        assert self._end is not None  # noqa: S101 - it has a final
        found = self._end.found
        if not found.complete:
            raise ResultIncomplete(f"Job {self.id} is ready, but {_missing(final, found)} of its result did not arrive.")
        rows = tuple(tuple(map(_as_written, row)) for row in found.rows)
        return JobResult(final, self._fields(found), rows, found.files, found.skipped)

    async def _accepted(self) -> None:
        """Waits for the first report.

        Raises:
            JobFailed: it says that the job is refused.
        """
        await self._answered.wait()
        if self._end is not None:
            self._raise_if_lost()
            if isinstance(self._end.final, Failed) and self._end.final.seq == 0:
                raise JobFailed(self._end.final)

    def _fields(self, found: Found) -> tuple[str, ...]:
        """The names of the columns. If a worker of another version has other columns, their names are numbers."""
        width = len(found.rows[0]) if found.rows else 0
        known = self._info.fields if self._info else ()
        if width == len(known) + 1:  # of several images: which one
            return (*known, "image")
        return known if not found.rows or len(known) == width else tuple(str(column) for column in range(width))

    def _raise_if_lost(self) -> None:
        if self._end is not None and self._end.problem:
            raise WorkerSilent(f"Job {self.id} is lost: {self._end.problem}")

    def _deliver(self, report: Report) -> None:
        if isinstance(report, Tracked) and report.chunk == 0:  # the newest picture counts, for a reader who is slow
            self._reports = deque(one for one in self._reports if not isinstance(one, Tracked) or one.frame == report.frame)
        self._reports.append(report)
        self._wake()

    def _ended(self, end: Ended) -> None:
        self._end = end
        self._wake()

    def _wake(self) -> None:
        self._answered.set()
        self._news.set()


def _as_written(value: float) -> float:
    """The shortest number that has the same 32 bits: what the worker had before OSC made it a little longer.

    >>> _as_written(0.8837890028953552)
    0.883789
    """
    if value == int(value):
        return value
    bits = struct.pack(">f", value)
    return next(short for digits in range(6, 10) if struct.pack(">f", short := float(f"{value:.{digits}g}")) == bits)


def _missing(ready: Ready, found: Found) -> str:
    parts = [counted(len(found.rows), "row") if found.kind else "", counted(len(found.files), "file") if found.files else ""]
    return f"more than {' and '.join(part for part in parts if part) or 'nothing'} ({counted(ready.items, 'item')})"


class Client:
    """A connection to one worker.

    Args:
        host: where the worker is.
        port: its command port.
        name: what the worker calls this client in its log.
        token: if the worker wants one.
        silence_s: if the worker sends nothing for this time while jobs are open, it counts as gone.
        connect_s: how long entering waits for the worker's welcome.
        on_report: called with each report about a job or the worker, without repeats; must return at once.

    Raises (on entering):
        WorkerSilent: no worker answers there.
        CommandRefused: it wants another token.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = addresses.COMMAND_PORT,
        name: str = "python",
        token: str = "",
        *,
        silence_s: float = 30.0,
        connect_s: float = CONNECT_S,
        on_report: Callable[[Report], None] | None = None,
        catalog: Catalog = CATALOG,
    ) -> None:
        self.host = addresses.reachable(host)
        self.port = port
        self.welcome: Welcome | None = None
        self.last_status: Status | None = None
        self._connect_s = connect_s
        self._on_report = on_report
        self._catalog = catalog
        self._core = ClientCore(Hello(name, 0, 0, "", token, acknowledges=1, bundles=1), silence_s, catalog)
        self._id_stem = uuid.uuid4().hex[:12]
        self._ids = 0
        self._jobs: dict[str, Job] = {}
        self._questions: dict[int, asyncio.Future[Report | None]] = {}
        self._inbox: deque[bytes] = deque()
        self._inbox_noticed = False
        self._acks: list[Ack] = []
        self._preset_values: dict[int, PresetValue] = {}
        self._refusal: Error | None = None
        self._described: dict[str, dict[int, OperationDescription]] = {}
        self._status_news = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        return self if self.welcome else await self.connect()

    async def connect(self) -> Self:
        """Connects; the same as entering. Raises as the class says."""
        self._loop = asyncio.get_running_loop()
        self._peer, local = await self._loop.run_in_executor(None, _addresses_of, self.host, self.port)
        self._endpoint = Endpoint((local, 0), self._datagram_came)
        self._endpoint.start()
        try:
            number, effects = self._core.connect(self._loop.time(), self._connect_s)
            self.welcome = await self._answer_of(number, effects, Welcome)
        except BaseException:
            self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        self._perform(self._core.tell(Bye()))
        self._close()

    def _close(self) -> None:
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self._endpoint.close()

    # ------------------------------------------------------------------------------------------------------------ jobs

    async def submit(self, operation: str, params: Mapping[str, Any] | None = None, id: str | None = None) -> Job:  # noqa: A002 - the protocol's word
        """Sends a job and waits until the worker has accepted it.

        Args:
            operation: its name.
            params: its parameters, and the keys that every job may carry. None means the default.
            id: unique among this client's jobs; None makes one.

        Raises:
            JobFailed: the worker refused it.
            WorkerSilent: the worker does not answer.
            ValueError: it is too large for a datagram.
        """
        job = self.submit_soon(operation, params, id)
        await job._accepted()  # noqa: SLF001 - the two classes are one thing
        return job

    def submit_soon(self, operation: str, params: Mapping[str, Any] | None = None, id: str | None = None) -> Job:  # noqa: A002
        """Like `submit`, without waiting; a refusal is the job's final."""
        self._ids += 1
        job_id = id or f"{self._id_stem}-{self._ids}"
        command = JobCommand(job_id, operation, _pairs(params or {}))
        size = len(encode(command))
        if size > addresses.MAX_DATAGRAM_IN:
            raise ValueError(f"The job is {size:,} bytes and a datagram holds {addresses.MAX_DATAGRAM_IN:,}; put long values into a file.")
        effects = self._core.submit(command, self._loop.time())
        self._jobs[job_id] = job = Job(job_id, operation, self._catalog.get(operation))
        self._perform(effects)
        return job

    def cancel(self, job_id: str) -> None:
        """Asks the worker to cancel a job until its final comes. The final may still be `ready`."""
        self._perform(self._core.cancel(job_id, self._loop.time()))

    # ------------------------------------------------------------------------------------------------------- questions

    async def status(self) -> Status:
        """The worker's status now."""
        return await self._ask(GetStatus(), Status)

    async def ping(self) -> Pong:
        """Asks the worker for a sign of life."""
        self._ids += 1
        return await self._ask(Ping(-self._ids), Pong, lambda pong: pong.nonce == -self._ids)

    async def sync(self, n: int | None = None, wait_s: float = 86_400.0) -> Synced:
        """Waits until all jobs submitted before have ended. The answer counts the jobs since the last sync that succeeded and failed."""
        for job in list(self._jobs.values()):
            await job._answered.wait()  # noqa: SLF001 - a job that was lost on its way would not be waited for
        self._ids += 1
        number = self._ids if n is None else n
        return await self._ask(Sync(number), Synced, lambda synced: synced.n == number, wait_s)

    async def describe(self, operation: str = "") -> list[OperationDescription]:
        """One operation of the worker, or all of them; `*` gives what they have in common. Each text comes in one piece.

        Raises:
            CommandRefused: there is no such operation.
            WorkerSilent: the worker does not answer, or its answer is never complete.
        """
        self._described.clear()
        for _ in range(DESCRIBE_ROUNDS):  # a part of the answer may be lost
            await self._ask(Describe(operation), OperationDescription)
            await self.ping()
            whole = {name: text for name, parts in self._described.items() if (text := _joined(parts))}
            names = [operation] if operation else json.loads(whole.get("*", '{"operations": ["*"]}'))["operations"]
            if all(name in whole for name in names):
                return [OperationDescription(name, whole[name], 0, 1) for name in names]
        raise WorkerSilent(
            f"The description of {operation or 'the operations'} is not complete after {DESCRIBE_ROUNDS} tries; packets are being lost."
        )

    async def presets(self) -> dict[str, dict[str, str]]:
        """All presets of the worker, their values as text."""
        for _ in range(PRESET_ROUNDS):
            self._preset_values.clear()
            await self._ask(ListPresets(), PresetValue)
            await self.ping()
            total = next(iter(self._preset_values.values())).total
            if total == 0 or len(self._preset_values) == total:
                break
        presets: dict[str, dict[str, str]] = {}
        for _, one in sorted(self._preset_values.items()):
            if one.total:
                presets.setdefault(one.preset, {})[one.key] = one.value
        return presets

    async def set_preset(self, name: str, params: Mapping[str, Any]) -> None:
        """Sets values of a preset; the key `operation` names its operation.

        Raises:
            CommandRefused: the worker refuses one of them.
        """
        for key, value in params.items():
            await self._told(Set(name, key, _wire_value(value)))

    async def unset_preset(self, name: str, key: str = "") -> None:
        """Deletes one value of a preset, or without a key the whole preset.

        Raises:
            CommandRefused: there is no such preset, or it has no such key.
        """
        await self._told(Unset(name, key), again_is_refused=True)

    async def trigger(self, name: str) -> None:
        """Presses a preset's button once. Raises CommandRefused if there is no such preset, or if its job is refused."""
        await self._told(Trigger(name, 1.0))
        await self._told(Trigger(name, 0.0))

    async def _told(self, command: Command, *, again_is_refused: bool = False) -> None:
        """Sends a command that is answered only if it is bad. The answer to a ping after it shows that the worker has read it.

        Args:
            command: what to send. Each datagram may be lost, so it is sent again, which changes nothing.
            again_is_refused: a refusal of the second only says that the first has arrived.
        """
        self._refusal = None
        for time in range(TELL_TIMES):
            self._perform(self._core.tell(command))
            await self.ping()
            if self._refusal is not None and not (time and again_is_refused):
                raise CommandRefused(self._refusal)

    async def quit(self, token: str = "", wait_s: float = CONNECT_S) -> None:
        """Asks the worker to finish its accepted jobs and to end."""
        await self._ask(Quit(token), Status, lambda status: status.word in ("Draining", "Stopping"), wait_s)

    async def statuses(self) -> AsyncIterator[Status]:
        """Each status that the worker sends from now on. If several came at once, only the newest."""
        while True:
            self._status_news.clear()
            await self._status_news.wait()
            if self.last_status is not None:
                yield self.last_status

    async def _ask(self, command: Command, kind: type[R], fits: Callable[[R], bool] = lambda _: True, wait_s: float = ANSWER_S) -> R:
        number, effects = self._core.ask(command, lambda report: isinstance(report, kind) and fits(report), self._loop.time(), wait_s)
        return await self._answer_of(number, effects, kind)

    async def _answer_of(self, number: int, effects: list[Effect], kind: type[R]) -> R:
        self._questions[number] = future = self._loop.create_future()
        self._perform(effects)
        answer = await future
        if isinstance(answer, kind):
            return answer
        if isinstance(answer, Error):
            raise CommandRefused(answer)
        raise WorkerSilent(
            f"No worker answers at {self.host}:{self.port} (UDP); start one with `td-image-worker serve`, or give the address of one."
        )

    # ------------------------------------------------------------------------------------------------- bytes and time

    def _datagram_came(self, datagram: bytes, sender: tuple[str, int]) -> None:  # noqa: ARG002 - behind a NAT it is not the worker's
        """In the reading thread. Many datagrams wake the loop once."""
        self._inbox.append(datagram)
        if not self._inbox_noticed:
            self._inbox_noticed = True
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(self._read_inbox)

    def _read_inbox(self) -> None:
        self._inbox_noticed = False  # before reading, so that a datagram that comes meanwhile wakes the loop again
        while self._inbox and not self._closed:
            for report in decode_reports(self._inbox.popleft()):
                if isinstance(report, DecodeError):
                    log.debug("not a report: %s", report)
                else:
                    self._perform(self._core.handle(report, self._loop.time()))

    def _perform(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit((Ack() as ack,)):
                    self._acknowledge_soon(ack)
                case Transmit(commands):
                    self._send(commands)
                case Deliver(job_id, report):
                    self._jobs[job_id]._deliver(report)  # noqa: SLF001
                    self._hear(report)
                case Ended(job_id):
                    self._jobs.pop(job_id)._ended(effect)  # noqa: SLF001
                case Announce(report):
                    self._announced(report)
                case Answered(number, answer):
                    self._answered(number, answer)
        self._set_timer()

    def _acknowledge_soon(self, ack: Ack) -> None:
        """With the next command that is sent, or with the other acknowledgements of a moment: long before the worker repeats the final."""
        self._acks.append(ack)
        if len(self._acks) >= ACKS_AT_ONCE:
            self._send_acks()
        elif len(self._acks) == 1:
            self._loop.call_later(ACKS_WITHIN_S, self._send_acks)

    def _send_acks(self) -> None:
        acks, self._acks = self._acks, []
        if acks and not self._closed:
            self._endpoint.send(encode_bundle(acks) if len(acks) > 1 else encode(acks[0]), self._peer)

    def _send(self, commands: tuple[Command, ...]) -> None:
        acks, self._acks = self._acks, []
        commands = (*acks, *commands)
        datagrams = [encode_bundle(commands)] if len(commands) > 1 else [encode(commands[0])]
        if len(datagrams[0]) > addresses.MAX_DATAGRAM_IN:
            datagrams = [encode(command) for command in commands]
        for datagram in datagrams:
            self._endpoint.send(datagram, self._peer)

    def _announced(self, report: Report) -> None:
        if isinstance(report, Status):
            self.last_status = report
            self._status_news.set()
        elif isinstance(report, OperationDescription):
            self._described.setdefault(report.name, {})[report.part] = report
        elif isinstance(report, PresetValue):
            self._preset_values[report.number] = report
        elif isinstance(report, Error):
            self._refusal = report
        self._hear(report)

    def _hear(self, report: Report) -> None:
        if self._on_report is not None:
            self._on_report(report)

    def _answered(self, number: int, answer: Report | None) -> None:
        future = self._questions.pop(number)
        if not future.done():
            future.set_result(answer)

    def _set_timer(self) -> None:
        deadline = self._core.next_deadline()
        if self._closed or deadline is None:
            return
        if self._timer is not None:
            if self._timer.when() <= deadline:  # it rings earlier and looks again
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(deadline, self._timer_rang)

    def _timer_rang(self) -> None:
        self._timer = None
        # A loop may call slightly early, within the resolution of its clock.
        deadline = self._core.next_deadline() or 0.0
        self._perform(self._core.due(max(self._loop.time(), min(deadline, self._loop.time() + 0.001))))


def _addresses_of(host: str, port: int) -> tuple[tuple[str, int], str]:
    """The worker's address as numbers, and where to listen for its answers.

    Raises:
        WorkerSilent: the name cannot be resolved.
    """
    try:
        family, _, _, _, resolved = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
    except OSError as error:
        raise WorkerSilent(f"The host name {host!r} cannot be resolved: {error}.") from None
    address = str(resolved[0])
    here = address.startswith("127.") or address == "::1"
    everywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"  # noqa: S104 - answers of a worker on another machine
    return (address, port), address if here else everywhere


def _joined(parts: Mapping[int, OperationDescription]) -> str:
    """A description as one text; empty if a part of it has not come."""
    count = next(iter(parts.values())).parts
    return "".join(parts[number].description for number in range(count)) if all(number in parts for number in range(count)) else ""


def _pairs(params: Mapping[str, Any]) -> tuple[tuple[str, int | float | str | bool | None], ...]:
    return tuple((key, _wire_value(value)) for key, value in params.items() if value is not None)


def _wire_value(value: Any) -> int | float | str:
    """A value as OSC can carry it. Whole numbers beyond 32 bits travel as text, which the worker reads as a number."""
    value = as_value(value)
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, int) and not -_INT_MAX <= value <= _INT_MAX:
        return str(value)
    if isinstance(value, (int, float, str)):
        return value
    return str(value)
