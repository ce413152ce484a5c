"""Everything that the page shows, made of what happens in the worker. Pure: no socket, no clock.

    state.take(change, now)         # each of what the tap gave
    state.tick(now)                 # then, 20 times a second
    state.whole()                   # a new browser gets everything once, as JSON
    state.frame()                   # and then what has changed since the last frame; the same bytes for all browsers

A job is a row of plain values, in JSON an array, because 10,000 of them are sent at once. Times are seconds since 1970.
"""

from __future__ import annotations

import re
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator
from logging import LogRecord
from typing import Any

import msgspec

from worker.core import reports
from worker.core.changes import (
    AllOpen,
    ChildrenSeen,
    ChildSeen,
    ClientSeen,
    ClientsSeen,
    JobAccepted,
    JobMoved,
    JobRemembered,
    JobReported,
    LevelsChanged,
    LogLine,
    PresetsChanged,
    Refused,
)
from worker.core.events import CatalogChanged, ChildrenChanged, JobEnded, Received
from worker.errors import DecodeError
from worker.protocol.addresses import Peer
from worker.protocol.messages import Ack, Failed, File, Ping, Progress, Ready, Skipped, Source
from worker.web.series import Series

#: How many ended jobs are kept, and how large the parameters of all jobs may be together: they are there for another try.
MOST_ENDED = 10_000
CONTENT_BYTES = 32 * 2**20
#: How many files of a job are kept, and how long a text of it may be.
MOST_FILES = 24
LONGEST_TEXT = 600
#: Lines of the log, packets, and how many packets of one moment are looked at.
MOST_LINES = 500
MOST_PACKETS = 60
PACKETS_AT_ONCE = 4
LONGEST_PACKET = 160

#: A parameter that names one picture, and not a folder or a pattern, in a job's content.
_PICTURE = re.compile(rb'"image":"[^"*?\[]+\.(?:avif|bmp|exr|gif|hdr|hei[cf]|jp2|jpe?g|p[abgnp]m|png|tiff?|webp)"', re.IGNORECASE)
#: Packets that say nothing but that something has arrived.
_UNTOLD = (Ack, Ping)

QUEUED, RUNNING, READY, FAILED = "queued", "running", "ready", "failed"
Key = tuple[str, str]


class Row(msgspec.Struct, array_like=True):
    """A job as the page shows it.

    Attributes:
        n: its number in this run; a later job has a larger one.
        state: `queued`, `running`, `ready` or `failed`.
        accepted, started: when; 0 for not yet, or not known.
        word: of its failure.
        files: the newest that it wrote.
        wrote: how many there were.
        skipped: how many inputs were left out.
        name: what its client calls itself.
        reads: its parameter `image` names a single picture.
    """

    n: int
    client: str
    job_id: str
    operation: str
    state: str
    priority: int
    accepted: float
    started: float = 0.0
    wait_ms: int = 0
    run_ms: int = 0
    step: int = 0
    steps: int = 0
    eta_ms: int = -1
    attempt: int = 0
    code: int = 0
    word: str = ""
    message: str = ""
    hint: str = ""
    items: int = 0
    files: list[str] = []
    wrote: int = 0
    skipped: int = 0
    name: str = ""
    reads: bool = False


class Packet(msgspec.Struct, array_like=True):
    """One of the newest packets: when, from where, and what was in it. Or that one was refused, and why: then `peer` is who hears it."""

    at: float
    peer: str
    text: str
    refused: bool = False


class Line(msgspec.Struct, array_like=True):
    """A line of the log; `n` counts them."""

    n: int
    at: float
    level: int
    name: str
    text: str


class State:
    """See the module's docstring."""

    def __init__(self) -> None:
        self.rows: OrderedDict[Key, Row] = OrderedDict()
        self.by_number: dict[int, Row] = {}
        self.series = Series()
        self.levels: dict[str, float] = {}
        self.word = "Starting"
        self.boot = 0
        self.clients: tuple[ClientSeen, ...] = ()
        self.children: tuple[ChildSeen, ...] = ()
        self.presets: dict[str, dict[str, Any]] = {}
        self.lines: deque[Line] = deque(maxlen=MOST_LINES)
        self.packets: deque[Packet] = deque(maxlen=MOST_PACKETS)
        self.missing: dict[str, str] = {}
        self.catalog_version = 0
        self._contents: OrderedDict[int, bytes] = OrderedDict()
        self._content_bytes = 0
        self._ended: deque[int] = deque()
        self._numbers = 0
        self._line_numbers = 0
        self._told_again: set[Key] | None = None
        self._now = 0.0
        self._new_packets = self._new_refusals = 0
        self._has_packets, self._packets_at = False, 0
        self._changed: set[str] = set()
        self._changed_rows: dict[int, Row] = {}
        self._gone: list[int] = []
        self._new_lines: list[Line] = []
        self._takes: dict[type, Callable[[Any], None]] = {
            JobAccepted: self._accepted,
            JobMoved: self._moved,
            JobReported: self._reported,
            JobEnded: self._job_ended,
            JobRemembered: self._remembered,
            LevelsChanged: self._levels,
            ClientsSeen: self._clients,
            ChildrenSeen: self._children,
            ChildrenChanged: self._children_changed,
            CatalogChanged: self._catalog_changed,
            PresetsChanged: self._presets,
            LogLine: self._logged,
            LogRecord: self._recorded,
            Received: self._received,
            Refused: self._refused,
            AllOpen: self._all_open,
        }

    # ------------------------------------------------------------------------------------------------- what happens

    def take(self, change: Any, now: float) -> None:
        """Takes in something that has happened. What is of no interest is left alone."""
        self._now = now
        take = self._takes.get(type(change))
        if take is not None:
            take(change)

    def tick(self, now: float) -> None:
        """Some time has passed, and everything of it was taken in."""
        self._now = now
        self._new_packets = self._new_refusals = 0
        if self._told_again is not None:
            for key in [key for key, row in self.rows.items() if row.state in (QUEUED, RUNNING) and key not in self._told_again]:
                self._forget(key)
            self._told_again = None
        if self._has_packets and int(now) > self._packets_at:  # all of them are sent each time, so not often
            self._has_packets, self._packets_at = False, int(now)
            self._changed.add("packets")
        self.series.tick(now, self.levels.get("queued", 0), self.levels.get("running", 0))

    def _accepted(self, change: JobAccepted) -> None:
        key = (change.client, change.job_id)
        if self._told_again is not None:
            self._told_again.add(key)
            if key in self.rows:
                return
        reads = _PICTURE.search(change.content) is not None
        self._add(Row(0, *key, change.operation, QUEUED, change.priority, self._now, reads=reads), change.content)

    def _moved(self, change: JobMoved) -> None:
        row = self.rows.get((change.client, change.job_id))
        if row is None:
            return
        if change.state not in (QUEUED, RUNNING):
            self._forget((change.client, change.job_id))
            return
        row.state = change.state
        row.attempt = change.attempt
        row.step, row.steps, row.eta_ms, row.message = 0, 0, -1, ""
        row.started = self._now if change.state == RUNNING else 0.0
        self._changed_rows[row.n] = row

    def _reported(self, change: JobReported) -> None:
        report = change.report
        row = self.rows.get((change.client, report.id))
        if row is None:
            return
        match report:
            case Progress(_, _, step, steps, eta_ms):
                row.step, row.steps, row.eta_ms = step, steps, eta_ms
            case File(_, path):
                row.wrote += 1
                row.files = [*row.files[-MOST_FILES + 1 :], path]
            case Skipped():
                row.skipped += 1
            case Source(_, _, word, message):
                row.message = reports.shortened(f"{word}: {message}", LONGEST_TEXT)
        self._changed_rows[row.n] = row

    def _job_ended(self, ended: JobEnded) -> None:
        row = self.rows.get((ended.client, ended.job_id))
        if row is None:  # its beginning was missed
            row = Row(0, ended.client, ended.job_id, ended.operation, QUEUED, 1, self._now)
            self._add(row, b"")
        row.state = READY if ended.code < 400 else FAILED
        row.wait_ms, row.run_ms, row.items, row.attempt = ended.wait_ms, ended.run_ms, ended.items, ended.attempts
        row.code, row.word, row.name = ended.code, ended.word, ended.name
        row.message, row.hint = reports.shortened(ended.message, LONGEST_TEXT), reports.shortened(ended.hint, LONGEST_TEXT)
        row.eta_ms = -1
        self.count(ended)
        self._has_ended(row)

    def count(self, ended: JobEnded) -> None:
        """The end of a job counts for the curves; all of it, if the job has no row."""
        self.series.ended(ready=ended.code < 400, wait_ms=ended.wait_ms, run_ms=ended.run_ms)

    def _remembered(self, change: JobRemembered) -> None:
        final = change.final
        row = Row(0, change.client, final.id, "", READY, 1, 0.0)
        if isinstance(final, Ready):
            row.operation, row.wait_ms, row.run_ms, row.items, row.code = final.operation, final.wait_ms, final.run_ms, final.items, 200
        elif isinstance(final, Failed):
            row.state, row.code, row.word, row.message, row.hint = FAILED, final.code, final.word, final.message, final.hint
        self._add(row, b"")
        self._has_ended(row)

    def _levels(self, change: LevelsChanged) -> None:
        self.word, self.boot = change.status.word, change.status.boot
        self.levels = {number.name: number.value for number in change.numbers}
        self._changed.add("levels")

    def _clients(self, change: ClientsSeen) -> None:
        self.clients = change.clients
        self._changed.add("clients")

    def _children(self, change: ChildrenSeen) -> None:
        self.children = change.children
        self._changed.add("children")

    def _children_changed(self, change: ChildrenChanged) -> None:
        if change.working:
            self.missing = dict(change.missing)

    def _catalog_changed(self, change: CatalogChanged) -> None:  # noqa: ARG002 - the hub has the catalogue; browsers ask for it again
        self.catalog_version += 1
        self._changed.add("catalog")

    def _presets(self, change: PresetsChanged) -> None:
        self.presets = {name: dict(values) for name, values in change.presets.items()}
        self._changed.add("presets")

    def _logged(self, line: LogLine) -> None:
        self._line_numbers += 1
        one = Line(self._line_numbers, line.at, line.level, line.name, reports.shortened(line.text, 4 * LONGEST_TEXT))
        self.lines.append(one)
        self._new_lines.append(one)

    def _recorded(self, record: LogRecord) -> None:
        try:
            text = getattr(record, "message", None) or record.getMessage()  # the log's own handler has made it already, if there is one
        except Exception:  # noqa: BLE001 - the log's own handler has complained about it
            return
        self._logged(LogLine(record.created, record.levelno, record.name, text))

    def _received(self, packet: Received) -> None:
        if not is_told(packet):
            return
        self._new_packets += 1
        if self._new_packets <= PACKETS_AT_ONCE:
            self.packets.append(Packet(self._now, _place(packet.peer), in_words(packet)))
            self._has_packets = True

    def _refused(self, change: Refused) -> None:
        self._new_refusals += 1
        if self._new_refusals <= PACKETS_AT_ONCE:
            report = change.report
            why = " ".join(part for part in (report.message, getattr(report, "hint", "")) if part)
            text = reports.shortened(f"refused: {why}", LONGEST_TEXT)
            self.packets.append(Packet(self._now, _place(change.peer), text, refused=True))
            self._has_packets = True

    def _all_open(self, _change: AllOpen) -> None:
        self._told_again = set()

    # ------------------------------------------------------------------------------------------------------- rows

    def forget_ended(self, numbers: Iterable[int]) -> int:
        """Forgets those of these jobs that have ended; says how many."""
        rows = [row for number in numbers if (row := self.by_number.get(number)) is not None and row.state in (READY, FAILED)]
        for row in rows:
            self._forget((row.client, row.job_id))
        return len(rows)

    def content(self, number: int) -> bytes:
        """A job's operation, parameters and options as JSON; empty if they are not kept any more."""
        return self._contents.get(number, b"")

    def _add(self, row: Row, content: bytes) -> None:
        self._numbers += 1
        row.n = self._numbers
        key = (row.client, row.job_id)
        if key in self.rows:  # an id that was given again, after the worker forgot it
            self._forget(key)
        self.rows[key] = row
        self.by_number[row.n] = row
        self._changed_rows[row.n] = row
        if content:
            self._contents[row.n] = content
            self._content_bytes += len(content)
        while self._content_bytes > CONTENT_BYTES:
            self._drop_content(next(iter(self._contents)))

    def _has_ended(self, row: Row) -> None:
        self._changed_rows[row.n] = row
        self._ended.append(row.n)
        while len(self._ended) > MOST_ENDED:
            oldest = self.by_number.get(self._ended.popleft())
            if oldest is not None:
                self._forget((oldest.client, oldest.job_id))

    def _forget(self, key: Key) -> None:
        row = self.rows.pop(key)
        del self.by_number[row.n]
        self._drop_content(row.n)
        self._changed_rows.pop(row.n, None)
        self._gone.append(row.n)

    def _drop_content(self, number: int) -> None:
        self._content_bytes -= len(self._contents.pop(number, b""))

    # ------------------------------------------------------------------------------------------------- for browsers

    def whole(self) -> dict[str, Any]:
        """Everything, for a browser that knows nothing yet."""
        return {
            "whole": True,
            "now": self._now,
            "boot": self.boot,
            "rows": list(self.rows.values()),
            "lines": list(self.lines),
            "series": self.series.whole(),
            **{name: part for name in ("levels", "clients", "children", "presets", "packets") for part in [self._part(name)]},
            "catalog": self.catalog_version,
        }

    def frame(self) -> dict[str, Any] | None:
        """What has changed since the last frame; None if nothing has. To be sent to every browser, in order."""
        frame: dict[str, Any] = {name: self._part(name) for name in self._changed}
        if self._changed_rows:
            frame["rows"] = list(self._changed_rows.values())
        if self._gone:
            frame["gone"] = self._gone
        if self._new_lines:
            frame["lines"] = self._new_lines[-MOST_LINES:]
        if seconds := self.series.new():
            frame["series"] = seconds
        self._forget_changes()
        return {"now": self._now, **frame} if frame else None

    def nobody_looks(self) -> None:
        """In place of a frame: the next browser gets everything."""
        self.series.new()
        self._forget_changes()

    def _forget_changes(self) -> None:
        self._changed, self._changed_rows, self._gone, self._new_lines = set(), {}, [], []

    def _part(self, name: str) -> Any:
        match name:
            case "levels":
                return {**self.levels, "word": self.word}
            case "packets":
                return list(self.packets)
            case "catalog":
                return self.catalog_version
            case _:
                return getattr(self, name)


def is_told(packet: Received) -> bool:
    """Whether a packet says more than that something has arrived."""
    return not packet.commands or not all(isinstance(command, _UNTOLD) for command in packet.commands)


def _place(peer: Peer) -> str:
    """Host and port as a person reads them; an IPv6 address in brackets.

    >>> _place(("10.0.0.1", 5000)), _place(("::1", 5000))
    ('10.0.0.1:5000', '[::1]:5000')
    """
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def in_words(packet: Received) -> str:
    """What was in a packet, in one line. Tokens are not shown.

    >>> from worker.protocol.messages import Cancel, Hello
    >>> in_words(Received(("10.0.0.1", 5000), (Cancel("a"), Hello("td", 1, 2, token="secret-of-the-show"))))
    '/worker/cancel a; /worker/hello td 1 2'
    """
    text = "; ".join(_all_in_words(packet))
    return reports.shortened(text, LONGEST_PACKET)


def _all_in_words(packet: Received) -> Iterator[str]:
    for command in packet.commands[:8]:
        if isinstance(command, DecodeError):
            yield f"{command.address or 'not OSC'}: {command.message:.100}"
            continue
        secret = getattr(command, "token", "")
        arguments = [reports.shortened(str(one), 60) for one in command.arguments()[:12]]
        if secret:
            arguments = arguments[: command.__struct_fields__.index("token")]
        while arguments and arguments[-1] in ("", "0"):
            arguments.pop()
        yield " ".join([command.full_address, *(one or "''" for one in arguments)])
    if len(packet.commands) > 8:
        yield f"and {len(packet.commands) - 8} more"
