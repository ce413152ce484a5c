"""What happened (events, past tense) and what is wanted (effects, imperative). The scheduler turns one into the other.

Most are structs of msgspec: thousands are made a second, and a frozen dataclass takes several times as long to make.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

import msgspec

from worker.catalog.catalog import Catalog
from worker.core.changes import Change
from worker.core.jobs import Outcome, Task
from worker.errors import DecodeError
from worker.protocol.addresses import Peer as Peer  # noqa: PLC0414 - used everywhere together with the events
from worker.protocol.messages import Command, Final, Number, Report

# ------------------------------------------------------------------------------------------------------------ events


class Received(msgspec.Struct, frozen=True):
    """A datagram came. A bundle holds several commands."""

    peer: Peer
    commands: tuple[Command | DecodeError, ...]


class Progressed(msgspec.Struct, frozen=True):
    """A task has done `done` of its steps; the same number again shows that it is still worked on."""

    task_id: int
    done: int


class Finished(msgspec.Struct, frozen=True):
    """A task ended, one way or the other. Comes exactly once for each executed task, aborted ones included."""

    task_id: int
    outcome: Outcome


class Woke(msgspec.Struct, frozen=True):
    """The time given by `next_deadline` has come."""


class StopAsked(msgspec.Struct, frozen=True):
    """Somebody wants the worker to end: after the accepted jobs, or at once."""

    reason: str
    at_once: bool = False


class Stored(msgspec.Struct, frozen=True):
    """Everything that was to be stored up to `Commit(number)` is stored."""

    number: int


class NotStored(msgspec.Struct, frozen=True):
    """Nothing was stored of what was to be since the last `Stored` or `NotStored`, up to `Commit(number)`."""

    number: int
    reason: str


class Throttled(msgspec.Struct, frozen=True):
    """Packets of this sender were dropped, because it sends too many; this says how many."""

    peer: Peer
    dropped: int


class ChildrenChanged(msgspec.Struct, frozen=True):
    """The executor has its first child that works, or none any more and cannot start one.

    Attributes:
        working: whether there is one.
        missing: what it cannot do, by operation or "operation key=value", each with the reason.
        slots: how many tasks run at a time from now on; 0 leaves that as it is.
        nodes: how many machines of a cluster there are; None without a cluster.
        gone: the names of those that were there lately, and are not now.
        node_slots: how many tasks they run at a time.
    """

    working: bool
    missing: Mapping[str, str] = {}
    slots: int = 0
    nodes: int | None = None
    gone: tuple[str, ...] = ()
    node_slots: int = 0


class CatalogChanged(msgspec.Struct, frozen=True):
    """The operations of an artist's own have come, changed or gone, or a file with some cannot be used.

    Attributes:
        catalog: all operations from now on.
        message: what has happened, in a sentence.
        usable: whether it can be used; if not, the sentence says why.
    """

    catalog: Catalog
    message: str
    usable: bool = True


class CancelAsked(msgspec.Struct, frozen=True):
    """The operator wants jobs of any client to end.

    Attributes:
        jobs: client and id of each; empty for all.
        waiting_only: those that run go on.
    """

    jobs: tuple[tuple[str, str], ...] = ()
    waiting_only: bool = False


class ReportAsked(msgspec.Struct, frozen=True):
    """All clients are to get the status and all numbers now, whether or not they have changed."""


class WatchAsked(msgspec.Struct, frozen=True):
    """Somebody who watches has missed something, and wants to know of all open jobs and presets again."""


class StoringChanged(msgspec.Struct, frozen=True):
    """Nothing can be stored from now on, for this reason; or it can again, with "".

    Comes in addition to `NotStored`, and also if nobody wants to store anything.
    """

    reason: str


class Seen(msgspec.Struct, frozen=True, gc=False):
    """A live job has looked at one picture.

    Attributes:
        session: the number of its session.
        frame: counts the pictures of the source.
        delay_ms: from the picture to now.
        ratio: the time that a picture takes, over the time between two of the source; above 1 some are left out.
        per_second: how many were looked at in the last second or so.
        next_id: the id that the next new object gets.
        size: width and height of the picture that the rows belong to.
        rows: the columns as in the catalogue.
        count: how many objects there are.
    """

    session: int
    frame: int
    delay_ms: float
    ratio: float
    per_second: float
    next_id: int
    size: tuple[int, int]
    rows: tuple[tuple[float, ...], ...]
    count: int


class SourceChanged(msgspec.Struct, frozen=True):
    """The source of a live job has come or gone: Opening, Live, Lost or Ended, with a sentence."""

    session: int
    word: str
    message: str


class SessionEnded(msgspec.Struct, frozen=True):
    """The process of a live job has ended. Comes exactly once for each `Follow`, unless it was aborted."""

    session: int
    outcome: Outcome


Event = (
    Seen
    | SourceChanged
    | SessionEnded
    | Throttled
    | Received
    | Progressed
    | Finished
    | Woke
    | StopAsked
    | Stored
    | NotStored
    | ChildrenChanged
    | StoringChanged
    | CatalogChanged
    | CancelAsked
    | WatchAsked
    | ReportAsked
)

# ----------------------------------------------------------------------------------------------------------- effects


class Send(msgspec.Struct, frozen=True, gc=False):
    """Send one report.

    Attributes:
        bundled: it may share a datagram with other reports to this peer, which has asked for that.
    """

    peer: Peer
    report: Report
    bundled: bool = False


class SendNumbers(msgspec.Struct, frozen=True):
    """Send several numbers as one bundle."""

    peer: Peer
    numbers: tuple[Number, ...]


class Execute(msgspec.Struct, frozen=True):
    """Run this task in a child."""

    task: Task


class Abort(msgspec.Struct, frozen=True):
    """Stop this task, native code included."""

    task_id: int


class Follow(msgspec.Struct, frozen=True):
    """Run this live job in a process of its own. The task's id is the number of the session."""

    task: Task


class Unfollow(msgspec.Struct, frozen=True):
    """End this session, native code included."""

    session: int


class SendBytes(msgspec.Struct, frozen=True, gc=False):
    """Send a datagram in another protocol than OSC's reports: TUIO."""

    peer: Peer
    datagram: bytes


class StoreJob(msgspec.Struct, frozen=True):
    """Keep an accepted job, so that it survives a crash. `content` is its operation, params and options as JSON."""

    client: str
    job_id: str
    content: bytes


@dataclass(frozen=True, slots=True)
class StoreAttempt:
    """Keep that a job was started for the n-th time. `begun`: a child is there that runs it at once."""

    client: str
    job_id: str
    attempt: int
    begun: bool = field(default=True, compare=False)


class StoreBegun(msgspec.Struct, frozen=True):
    """Keep that a job that was started runs by now: if the worker ends unexpectedly, that may be its doing."""

    client: str
    job_id: str


class StoreFinal(msgspec.Struct, frozen=True):
    """Keep how a job ended."""

    client: str
    job_id: str
    final: Final


class StoreTold(msgspec.Struct, frozen=True):
    """Keep that a job's final has been sent, and acknowledged if its client acknowledges: the next start need not send it again."""

    client: str
    job_id: str


class StoreClient(msgspec.Struct, frozen=True):
    """Keep how a client wants its reports.

    Attributes:
        key: `host:port` of its text reports.
        number_port: where its numbers go, 0 for nowhere.
        name: what it calls itself.
        leased: it said hello.
        acknowledges: it acknowledges finals.
        gone: it said bye, or was not heard for longer than its lease: nothing is sent to it until it is heard again.
    """

    key: str
    number_port: int = 0
    name: str = ""
    leased: bool = False
    acknowledges: bool = False
    gone: bool = False


class StorePeer(msgspec.Struct, frozen=True):
    """Keep which client packets from this sender belong to."""

    peer: Peer
    client: str


class StorePreset(msgspec.Struct, frozen=True):
    """Keep one value of a preset."""

    preset: str
    key: str
    value: int | float | str | bool


class StoreUnset(msgspec.Struct, frozen=True):
    """Forget one value of a preset, or all of them.

    Attributes:
        key: "" for all.
    """

    preset: str
    key: str = ""


class Commit(msgspec.Struct, frozen=True):
    """Store everything that is to be stored so far, all or nothing; then let `Stored` or `NotStored` happen with this number.

    One commit may stand for several: the highest number counts. Comes only if the worker has a journal.
    """

    number: int


class JobEnded(msgspec.Struct, frozen=True):
    """Tell the operator how a job ended. Comes once for each accepted job.

    Attributes:
        client: its key, `host:port`.
        name: what the client calls itself, if anything.
        word: `ready`, or the word of the failure.
        code: 200, or the code of the failure.
        wait_ms: from its acceptance to the start of its last attempt, or to its end.
        run_ms: of its last attempt.
        items: rows or files that it found.
        message: why it failed, "" if it is ready.
        hint: what helps, "" if nothing is known.
        wait_s, run_s: as `wait_ms` and `run_ms`, not rounded.
        total_s: from its acceptance to its end, over all attempts.
    """

    client: str
    name: str
    job_id: str
    operation: str
    word: str
    code: int
    wait_ms: int
    run_ms: int
    items: int
    attempts: int
    message: str = ""
    hint: str = ""
    wait_s: float = 0.0
    run_s: float = 0.0
    total_s: float = 0.0


class Exit(msgspec.Struct, frozen=True):
    """Everything is done: end the process."""

    reason: str


Store = StoreJob | StoreAttempt | StoreBegun | StoreFinal | StoreTold | StoreClient | StorePeer | StorePreset | StoreUnset
STORES = frozenset(get_args(Store))
Effect = Send | SendNumbers | SendBytes | Execute | Abort | Follow | Unfollow | Store | Commit | JobEnded | Change | Exit


# ------------------------------------------------------------------------------------------- what an earlier run left


class KeptJob(msgspec.Struct, frozen=True):
    """A job that was accepted by an earlier run.

    Attributes:
        content: its operation, params and options as JSON; their digest if it has ended.
        attempt: how often it was started.
        final: how it ended; None if it has yet to end.
        told: the final was sent, and acknowledged if its client acknowledges.
        crashes: how many runs of the worker broke off while the job ran.
        age_s: how long ago it was accepted, at least.
    """

    client: str
    job_id: str
    content: bytes
    attempt: int = 0
    final: Final | None = None
    told: bool = True
    crashes: int = 0
    age_s: float = 0.0


class Kept(msgspec.Struct, frozen=True):
    """Everything that an earlier run left.

    Attributes:
        jobs: the ended ones in the order of their ends, then the open ones in the order of their acceptance.
        newest_seqs: each client's newest final.
        clients: those that are known; a client that stands in `jobs` may be missing here.
        peers: the oldest first.
    """

    jobs: tuple[KeptJob, ...] = ()
    newest_seqs: tuple[tuple[str, int], ...] = ()
    presets: tuple[StorePreset, ...] = ()
    clients: tuple[StoreClient, ...] = ()
    peers: tuple[StorePeer, ...] = ()
