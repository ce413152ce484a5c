"""Changes, for those who watch the worker: the page, OSCQuery, the metrics. Effects of the scheduler, and only if somebody watches.

They are not sent to anybody; they go into a queue that another thread empties (`worker.web.tap`). Together with `JobEnded` they say
everything that happens to a job. Times are not among them: what was in the queue together happened at the same time, within a twentieth of
a second; within a quarter of one if nobody has looked yet and it was quiet before.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from worker.catalog.params import Value
from worker.protocol.addresses import Peer
from worker.protocol.messages import Error, Failed, File, Final, Number, Progress, Report, Skipped, Source, Status

#: The sender of what the page asks for, as if a packet had come from it. No computer has this name, so nothing for it leaves the worker.
PAGE_HOST = "page"
PAGE: Peer = (PAGE_HOST, 1)


def visitor(ip: str, number: int) -> Peer:
    """The sender of packets that come over a WebSocket of the HTTP server. All those of one computer are one client, as over UDP.

    >>> visitor("10.0.0.5", 2)
    ('page~10.0.0.5', 2)
    """
    return f"{PAGE_HOST}~{ip}", number


def stays_here(peer: Peer) -> bool:
    """Whether this is the page or a visitor, for whom nothing leaves over UDP. No host has such a name.

    >>> stays_here(PAGE), stays_here(visitor("10.0.0.5", 2)), stays_here(("10.0.0.5", 2)), stays_here(("pages.example", 2))
    (True, True, False, False)
    """
    return peer[0] == PAGE_HOST or peer[0].startswith(PAGE_HOST + "~")


class Change(msgspec.Struct, frozen=True, gc=False):
    """Base of all changes."""


class JobAccepted(Change, frozen=True):
    """A job waits.

    Attributes:
        client: its key, `host:port`.
        content: operation, parameters and options as JSON.
        priority: 0 live, 1 normal, 2 batch.
    """

    client: str
    job_id: str
    operation: str
    content: bytes
    priority: int


class JobMoved(Change, frozen=True):
    """A job runs, waits again, or was withdrawn because it could not be stored.

    Attributes:
        state: of `worker.core.ledger.State`.
        attempt: how often it was started.
        why: a few words.
    """

    client: str
    job_id: str
    state: str
    attempt: int
    why: str


class AllOpen(Change, frozen=True):
    """All open jobs follow anew; a job that is not among them has ended unseen."""


class JobReported(Change, frozen=True):
    """A job has come further, has written a file or has left one out; or the source of a live job came or went."""

    client: str
    report: Progress | File | Skipped | Source


class JobRemembered(Change, frozen=True):
    """A job of an earlier run of the worker, which has ended."""

    client: str
    final: Final


class LevelsChanged(Change, frozen=True):
    """The state of the worker as a whole, at most 20 times a second and once a second at least."""

    status: Status
    numbers: tuple[Number, ...]


class ClientSeen(msgspec.Struct, frozen=True, gc=False):
    """One client.

    Attributes:
        key: `host:port` of its text reports.
        present: it gets the heartbeat.
        leased: it said hello.
        heard_s: how long ago its last packet came, in seconds.
    """

    key: str
    name: str
    present: bool
    leased: bool
    heard_s: float


class ClientsSeen(Change, frozen=True):
    """All clients, once a second."""

    clients: tuple[ClientSeen, ...]


class PresetsChanged(Change, frozen=True):
    """All presets."""

    presets: Mapping[str, Mapping[str, Value]]


class Answered(Change, frozen=True):
    """A report to the page or to a visitor, as the clients that they are."""

    report: Report
    peer: Peer = PAGE


class Refused(Change, frozen=True):
    """A packet could not be used, or a job was refused: no job tells of it. `peer` is who hears it."""

    report: Failed | Error
    peer: Peer


#: The reports that may be a refusal.
REFUSING = frozenset({Failed, Error})


def refusal(report: Report, peer: Peer) -> Refused | None:
    """For the page: a report that refuses a job or a packet. A `failed` with a number is the final of a job.

    >>> refusal(Error(404, "/worker/jbo", "Unknown address."), ("10.0.0.5", 9461)).report.message
    'Unknown address.'
    >>> refusal(Failed("a", 7, 1, 404, "file", "There is no file a.png.", ""), ("10.0.0.5", 9461))
    """
    if isinstance(report, Error) or (isinstance(report, Failed) and not report.seq):
        return Refused(report, peer)
    return None


class ChildSeen(msgspec.Struct, frozen=True, gc=False):
    """One child process.

    Attributes:
        state: `starting`, `free`, `works` or `ends`.
        client: of the job that it works on, "" for none.
        what: which part of the job it does, in words.
    """

    pid: int
    state: str
    client: str = ""
    job_id: str = ""
    operation: str = ""
    what: str = ""


class ChildrenSeen(Change, frozen=True):
    """All child processes, at most ten times a second and once a second at least."""

    children: tuple[ChildSeen, ...]


class LogLine(Change, frozen=True):
    """A line of the worker's log.

    Attributes:
        at: seconds since 1970.
        level: as `logging` numbers it.
    """

    at: float
    level: int
    name: str
    text: str
