"""Live jobs: each runs in a process of its own until it is cancelled or its source ends, and reports what it sees. Pure.

They take no slot, have no timeout, and do not count as work that must end before the worker can. What they see is neither stored nor
repeated nor acknowledged: the next picture is newer.

A live job of an earlier run of the worker is started again, as a job that may be repeated. How often the worker ended while it ran does not
count: it runs all the time, so it is there at every end.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator

import msgspec

from worker.catalog.live import LAST_ID, LiveParams, check_host, source_of, tuio_target
from worker.config import Config
from worker.core.backlog import Key
from worker.core.barrier import Barrier
from worker.core.delivery import Delivery
from worker.core.events import Effect, Follow, Seen, SendBytes, Unfollow
from worker.core.ledger import Job, Ledger
from worker.core.reports import shortened
from worker.errors import PathError, QueueFull
from worker.protocol import messages as wire
from worker.protocol.addresses import MAX_DATAGRAM_OUT, Peer
from worker.protocol.tuio import Profile, Touch, Tuio

#: Objects with channels on the number port, if the job has no slots of its own; and the maximum.
CHANNELS = 8
MOST_CHANNELS = 32
#: The columns that become channels, each with a number behind it.
_CHANNEL_OF = {"x": "x", "y": "y", "radius": "r", "u": "u", "v": "v", "id": "id", "active": "active"}
#: With each start of the worker the ids of a live job go on at the next of these, so that none of those before comes again: the number of
#: its start is stored before it begins, and that of a further one before it needs more.
IDS_OF_A_START = 10_000
_STARTS = LAST_ID // IDS_OF_A_START
#: More is not said of a source.
LONGEST_WORDS = 300


class Session(msgspec.Struct, eq=False):
    """One live job that runs.

    Attributes:
        number: of the session: of its process, so another one after a restart.
        name: in addresses and channels.
        fields: the names of the columns of what it reports.
        next_id: the id that the next new object gets.
        frames: how many pictures were reported.
        deaths: how many processes in a row have died soon.
        begun_at: when its process was wanted.
        heard_at: when its process said something last.
        target: where TUIO goes; None for nowhere.
        tuio: makes it.
    """

    job: Job
    number: int
    name: str
    params: LiveParams
    fields: tuple[str, ...]
    next_id: int = 1
    frames: int = 0
    deaths: int = 0
    begun_at: float = 0.0
    heard_at: float = 0.0
    target: Peer | None = None
    tuio: Tuio | None = None
    state: wire.Source | None = None
    rows: tuple[tuple[float, ...], ...] = msgspec.field(default_factory=tuple)


class Sessions:
    """The live jobs that wait to be started, and those that run.

    Args:
        config: settings; at most `config.live.sessions` are open.
        ledger: knows all open jobs.
        barrier: a session begins once its job is stored.
        delivery: knows who gets what.
        emit: takes the effects.

    """

    def __init__(self, config: Config, ledger: Ledger, barrier: Barrier, delivery: Delivery, emit: Callable[[Effect], None]) -> None:
        self._config = config
        self._ledger = ledger
        self._barrier = barrier
        self._delivery = delivery
        self._emit = emit
        self._numbers = itertools.count(1)
        self._waiting: dict[Key, Job] = {}
        self._running: dict[Key, Session] = {}
        self._of: dict[int, Session] = {}
        self._held: set[int] = set()

    # ------------------------------------------------------------------------------------------------- before they run

    def check(self, client: str, params: LiveParams, others: int = 0) -> None:
        """Whether a new live job can be taken.

        Args:
            client: the key of the client that sends it.
            params: its parameters.
            others: how many jobs of the same bundle are live.

        Raises:
            QueueFull: there are as many as there may be.
            ArgumentError, PathError: its source or its target is none, or none that is allowed.
        """
        source = source_of(params.source)
        if source.kind == "stream":
            check_host(source.text, self._config.live.hosts)
        if params.tuio:
            host = tuio_target(params.tuio)[0]
            if host != client.rpartition(":")[0] and not any(host == target for target, _ in self._config.report) and host not in _HERE:
                raise PathError(
                    f"TUIO may not go to {host!r:.100}: only to this computer, to the client's own, and to those of --report.",
                    "Start the worker with --report and that computer's address.",
                )
        most = self._config.live.sessions
        count = sum(job.live and not self._gives_way(job, client, params) for job in self._ledger.open.values())
        if count + others >= most:
            raise QueueFull(f"{most} live jobs run, which is the limit (--live).", "Cancel one first.")

    def _gives_way(self, job: Job, client: str, params: LiveParams) -> bool:
        """Whether a job ends when one with these parameters begins: the same client uses its name again."""
        session = self._running.get(job.key)
        return bool(params.name) and job.client == client and session is not None and session.params.name == params.name

    def replaced(self, job: Job, params: LiveParams) -> list[Job]:
        """The jobs that end when this one begins."""
        return [one.job for one in self._running.values() if one.job is not job and self._gives_way(one.job, job.client, params)]

    def wait(self, job: Job) -> None:
        """Lets a live job be started as soon as may be."""
        self._waiting[job.key] = job

    def take_waiting(self) -> list[Job]:
        """Those that may be started."""
        waiting, self._waiting = list(self._waiting.values()), {}
        return waiting

    # ----------------------------------------------------------------------------------------------------- while they run

    def begin(self, job: Job, params: LiveParams, fields: tuple[str, ...]) -> Session:
        """A session for a job. `follow` starts its process."""
        taken = {one.name for one in self._running.values()}
        name = params.name or next(str(n) for n in itertools.count(1) if str(n) not in taken)
        session = self._running[job.key] = Session(job, 0, name, params, fields, first_id(job.attempt))
        if params.tuio:
            profile = _PROFILES.get(params.tuio_profile) or ("2Dobj" if params.what in _OBJECTS else "2Dblb")
            session.target = tuio_target(params.tuio)
            session.tuio = Tuio(f"td-image-worker-{name}@{job.client.rpartition(':')[0]}", profile, MAX_DATAGRAM_OUT)
            self._send(session, session.tuio.begin())
        return session

    def follow(self, session: Session, make: Callable[[int, int], Follow], now: float) -> None:
        """Has a process of a session started, as soon as what is known of its job is stored."""
        number = session.number = next(self._numbers)
        session.begun_at = now
        self._of[number] = session
        self._held.add(number)

        def release(_now: float) -> None:
            if number in self._held:
                self._held.remove(number)
                self._emit(make(number, session.next_id))

        self._barrier.after(session.job.stored_in, release, now)

    def ended(self, number: int) -> None:
        """The process of a session has ended. The session waits for another one, or for its end."""
        del self._of[number]

    def of(self, number: int) -> Session | None:
        """The session with this process."""
        return self._of.get(number)

    def of_job(self, job: Job) -> Session | None:
        """The session of a job that runs."""
        return self._running.get(job.key)

    def __iter__(self) -> Iterator[Session]:
        return iter(self._running.values())

    def waits(self, job: Job) -> bool:
        """Whether a job is to be started."""
        return job.key in self._waiting

    def abort(self, job: Job) -> None:
        """Ends a live job's process, and forgets the session. For any other job nothing happens."""
        self._waiting.pop(job.key, None)
        session = self._running.pop(job.key, None)
        if session is not None and session.tuio is not None:
            self._send(session, session.tuio.end())
        if session is not None:
            self.unfollow(session)

    def unfollow(self, session: Session) -> None:
        """Ends a session's process, if it has one."""
        if self._of.pop(session.number, None) is None:
            return
        if session.number in self._held:
            self._held.remove(session.number)
        else:
            self._emit(Unfollow(session.number))

    # ------------------------------------------------------------------------------------------------------------ reports

    def report(self, session: Session, seen: Seen, now: float) -> None:
        """Sends what was seen: rows to the client and the fixed targets, numbers likewise."""
        session.frames += 1
        session.next_id = seen.next_id
        session.rows = seen.rows
        self._delivery.stream(session.job.client, tracked(session, seen), numbers(session, seen), now)
        if session.tuio is not None:
            self._send(session, session.tuio.frame(touches(session, seen), now - seen.delay_ms / 1000))

    def say(self, session: Session, word: str, message: str, now: float) -> wire.Source:
        """Sends what has become of the source."""
        state = session.state = wire.Source(session.job.id, session.name, word, shortened(message, LONGEST_WORDS))
        nothing = numbers(session, Seen(session.number, 0, 0.0, 0.0, 0.0, session.next_id, (1, 1), (), 0)) if word == "Lost" else ()
        self._delivery.stream(session.job.client, (state,), nothing, now)
        if word == "Lost" and session.tuio is not None:  # otherwise a finger would stay on the table until the source is back
            self._send(session, session.tuio.frame((), now))
        return state

    def tell_idle(self, now: float) -> None:
        """Says, for those who read TUIO, that what was there still is. Once a second."""
        for session in self._running.values():
            if session.tuio is not None:
                self._send(session, session.tuio.idle(now))

    def _send(self, session: Session, datagrams: Iterable[bytes]) -> None:
        if session.target is not None:
            for datagram in datagrams:
                self._emit(SendBytes(session.target, datagram))

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        for key, session in self._running.items():
            if self._ledger.open.get(key) is not session.job:
                yield f"{key} is followed and not open"
        if any(self._running.get(one.job.key) is not one for one in self._of.values()):
            yield "a process follows for a job that has no session"
        if not self._held <= self._of.keys():
            yield "a session is held back that no job has"
        if any(key not in self._ledger.open for key in self._waiting):
            yield "a live job waits that is not open"


def first_id(start: int) -> int:
    """The first id of a live job that is started for the n-th time.

    >>> first_id(1), first_id(2), first_id(LAST_ID // IDS_OF_A_START + 1)
    (1, 10001, 1)
    """
    return (start - 1) % _STARTS * IDS_OF_A_START + 1


def needs_more_ids(session: Session) -> bool:
    """Whether nine tenths of the ids of its start are used."""
    used = (session.next_id - first_id(session.job.attempt)) % LAST_ID
    return 0.9 * IDS_OF_A_START <= used < LAST_ID / 2  # if it is more, `next_id` is still among those of the start before


def touches(session: Session, seen: Seen) -> Iterator[Touch]:
    """The objects as TUIO has them."""
    place = {name: number for number, name in enumerate(session.fields)}
    for row in seen.rows:
        if row[place["active"]]:
            size = 2 * row[place["radius"]]
            yield Touch.in_picture(
                int(row[place["id"]]),
                (row[place["x"]] + 0.5, row[place["y"]] + 0.5),
                seen.size,
                size=(size, size),
                angle=math.radians(row[place["angle"]]),
                marker=int(row[place["code"]]),
                velocity=(row[place["vx"]], row[place["vy"]]),
            )


_PROFILES: dict[str, Profile] = {"cursor": "2Dcur", "object": "2Dobj", "blob": "2Dblb"}
#: Things with a name or an angle of their own.
_OBJECTS = frozenset({"markers", "template"})
_HERE = frozenset({"127.0.0.1", "::1"})


def tracked(session: Session, seen: Seen) -> tuple[wire.Tracked, ...]:
    """The rows in as many reports as they need; one without rows if there are none."""
    columns = len(session.fields)
    head = 120 + len(session.name) + len(session.job.id.encode())
    per_chunk = max(1, (MAX_DATAGRAM_OUT - head) // (5 * columns))
    total = len(seen.rows)
    chunks = max(1, -(-total // per_chunk))
    return tuple(
        wire.Tracked(
            *(session.name, session.job.id, seen.frame, seen.delay_ms, chunk, chunks, chunk * per_chunk, total, columns),
            tuple(itertools.chain.from_iterable(seen.rows[chunk * per_chunk : (chunk + 1) * per_chunk])),
        )
        for chunk in range(chunks)
    )


def numbers(session: Session, seen: Seen) -> tuple[wire.TrackNumber, ...]:
    """The channels of a session: a fixed number of them, so that a CHOP never changes its length."""
    name, slots = session.name, min(session.params.slots or CHANNELS, MOST_CHANNELS)
    values: list[tuple[str, float]] = [
        ("count", seen.count),
        ("delay_ms", seen.delay_ms),
        ("real_time_ratio", seen.ratio),
        ("isRealTime", seen.ratio <= 1),
        ("fps", seen.per_second),
    ]
    places = [(place, _CHANNEL_OF[field]) for place, field in enumerate(session.fields) if field in _CHANNEL_OF]
    row_at = session.fields.index("row")
    by_slot = {int(row[row_at]): row for row in seen.rows}
    for slot in range(slots):
        row = by_slot.get(slot)
        values += [(f"{channel}{slot}", row[place] if row is not None else 0.0) for place, channel in places]
    return tuple(wire.TrackNumber(name, channel, float(value)) for channel, value in values)
