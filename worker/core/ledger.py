"""The jobs that the worker knows: those that have yet to end, and the newest of those that have ended. Pure.

`Ledger.move` is the only place where a job's state changes, and with it the counts and the bytes that wait.
"""

from __future__ import annotations

import bisect
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from worker.catalog.params import JobOptions, Params
from worker.config import Limits
from worker.core.backlog import Key
from worker.core.jobs import NOTHING, Part, Phase, Plan, Result
from worker.core.stories import Stories
from worker.protocol.messages import Final, Report

try:  # hashlib has it from there, and brings a library of ciphers: 4 MB, and some milliseconds of the first job
    from _blake2 import blake2b
except ImportError:  # a Python that was built otherwise
    from hashlib import blake2b


class State(StrEnum):
    """Where a job is in its life. Strings, because any other enum hashes in Python, at each look into a table."""

    CHECKED = "checked"
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"
    WITHDRAWN = "withdrawn"


#: The life of a job: from each state to which others. There is no other way.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.CHECKED: frozenset({State.QUEUED}),  # accepted
    State.QUEUED: frozenset(
        {
            State.RUNNING,  # its first task is executed
            State.ENDED,  # cancelled, expired, replaced, its `after` failed, or quarantined
            State.WITHDRAWN,  # it could not be stored, so it never was accepted
        }
    ),
    State.RUNNING: frozenset(
        {
            State.QUEUED,  # a retry, or its start could not be stored
            State.ENDED,  # ready, failed, cancelled, or out of time
            State.WITHDRAWN,  # started in the round in which it could not be stored
        }
    ),
    State.ENDED: frozenset(),
    State.WITHDRAWN: frozenset(),
}


#: Numbers of forgotten finals are removed from a list once there are this many.
_GONE_AT_ONCE = 1000
#: Of a job that has not started; nothing can be put into them.
_WHOLE: Any = ((Phase.PLAN, None),)
_NONE: Any = MappingProxyType({})


class Job(msgspec.Struct, eq=False):
    """One job that has yet to end.

    Attributes:
        client: its client's key. Not the client: that one may be pushed out and come back as another object.
        key: `client` and `id`, made once: every table of jobs has it.
        content: operation, params and options as JSON; two jobs with the same content are the same work.
        params: None until it starts, when they are read from the content: thousands may wait. What else a job needs only to run is made
            then, too (`start`).
        todo: tasks that may run now.
        running: the parts that run now by their task; None for a PLAN or FINISH.
        done: how many steps each running task has done.
        results: of the parts that ended, until all parts before them have.
        result: what is complete, in order.
        timers: of its `ttl`, the `timeout` of its attempt and its `again`, the time of the next one; to be cancelled with it.
        stored_in: number of the commit that stores its newest record; what is reported about it waits for that.
        latest: the newest report about it, for `query`.
        live: it lives until it is cancelled or its source ends, beside the slots (`tracks`).
    """

    client: str
    id: str
    operation: str
    options: JobOptions
    content: bytes
    accepted_at: float
    params: Params | None = None
    state: State = State.CHECKED
    attempt: int = 0
    started_at: float = 0.0
    plan: Plan | None = None
    todo: deque[tuple[Phase, Part | None]] = _WHOLE
    running: dict[int, Part | None] = _NONE
    done: dict[int, int] = _NONE
    results: dict[int, Result] = _NONE
    parts_in_order: int = 0
    finished: bool = False
    steps_done: int = 0
    result: Result = NOTHING
    progress_at: float = float("-inf")
    progress_due: bool = False
    timers: dict[str, int] = _NONE
    latest: Report | None = None
    stored_in: int = 0
    live: bool = False
    key: Key = ("", "")

    def __post_init__(self) -> None:
        self.key = self.client, self.id

    @property
    def steps(self) -> int:
        """How many steps it takes, 1 before it is planned."""
        return max(1, self.plan.steps if self.plan else 1)

    @property
    def step(self) -> int:
        """How many of them are done."""
        return min(self.steps, self.steps_done + sum(self.done.values()))

    def set_timer(self, name: str, number: int) -> None:
        """Notes a timer that is to be cancelled with the job."""
        if self.timers is _NONE:
            self.timers = {}
        self.timers[name] = number

    def start(self) -> None:
        """Makes what an attempt needs."""
        self.todo = deque(_WHOLE)
        self.running, self.done, self.results = {}, {}, {}

    def start_over(self) -> None:
        """Forgets what this attempt has done, before the next."""
        self.plan, self.parts_in_order, self.steps_done, self.finished = None, 0, 0, False
        self.result = NOTHING
        self.todo, self.running, self.done, self.results = _WHOLE, _NONE, _NONE, _NONE


class EndedJob(msgspec.Struct, eq=False):
    """What is kept of a job after its end: enough to recognise it and to tell again how it ended.

    Attributes:
        digest: of its content, which may be 60 kB.
    """

    client: str
    id: str
    digest: bytes
    final: Final
    result: Result = NOTHING
    stored_in: int = 0

    @property
    def key(self) -> Key:
        return self.client, self.id


class _Finals(msgspec.Struct):
    """One client's ended jobs by the numbers of their finals, and these in order: a replay begins anywhere without a search.

    The oldest goes with each new one, as soon as there are as many as are remembered. So those that went stand at the head of the list for
    a while: to move thousands of numbers for each job took 2 % of the worker's time.
    """

    numbers: list[int] = msgspec.field(default_factory=list)
    jobs: dict[int, EndedJob] = msgspec.field(default_factory=dict)
    first: int = 0

    def add(self, ended: EndedJob) -> None:
        seq = ended.final.seq
        if not self.numbers or seq > self.numbers[-1]:
            self.numbers.append(seq)
        elif seq not in self.jobs:
            bisect.insort(self.numbers, seq, self.first)
        self.jobs[seq] = ended

    def remove(self, ended: EndedJob) -> None:
        seq = ended.final.seq
        if self.jobs.get(seq) is ended:
            del self.jobs[seq]
            place = bisect.bisect_left(self.numbers, seq, self.first)
            if place > self.first:
                del self.numbers[place]
            elif self.first < _GONE_AT_ONCE:
                self.first += 1
            else:
                del self.numbers[: self.first + 1]
                self.first = 0

    def next(self, from_seq: int) -> EndedJob | None:
        """The one with the smallest number that is not below this."""
        place = bisect.bisect_left(self.numbers, from_seq, self.first)
        return self.jobs[self.numbers[place]] if place < len(self.numbers) else None


class Ledger:
    """Open jobs by key, in the order of their acceptance; ended ones likewise, as many as the limits allow.

    Attributes:
        open: the jobs that wait or run.
        queued: how many wait.
        running: how many run.
        live: how many of those are live.
        queued_bytes: how large the content of those that wait is.
        stories: what happened to each.
        moved: hears of each job that has moved, from where, and why; None if nobody watches.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: dict[Key, Job] = {}
        self.queued = 0
        self.running = 0
        self.live = 0
        self.queued_bytes = 0
        self.stories = Stories()
        self.moved: Callable[[Job, State, str], None] | None = None
        self._ended: OrderedDict[Key, EndedJob] = OrderedDict()
        self._finals: dict[str, _Finals] = {}
        self._with_result: OrderedDict[Key, EndedJob] = OrderedDict()
        self._result_size = 0
        self._result_bytes = 0
        self._open_of: dict[str, int] = {}

    def find(self, key: Key) -> Job | EndedJob | None:
        """The job of this key, if it is known."""
        return self.open.get(key) or self._ended.get(key)

    def ended(self, key: Key) -> EndedJob | None:
        """The job of this key, if it has ended and is remembered."""
        return self._ended.get(key)

    def has_open(self, client: str) -> bool:
        """Whether this client has open jobs."""
        return client in self._open_of

    def open_of(self, client: str) -> list[Job]:
        """This client's open jobs, in the order of their acceptance."""
        return [job for job in self.open.values() if job.client == client]

    def move(self, job: Job, state: State, now: float, why: str = "") -> None:
        """Moves a job to another state. Nothing else changes a state or a count.

        Args:
            job: one that is new, or open.
            state: its next state, one that `TRANSITIONS` allows.
            now: the time.
            why: a few words for its story.
        """
        assert state in TRANSITIONS[job.state], f"{job.key} cannot go from {job.state} to {state}"  # noqa: S101 - a mistake of ours
        key, client, before = job.key, job.client, job.state
        if before is State.CHECKED:
            self.open[key] = job
            self._open_of[client] = self._open_of.get(client, 0) + 1
            self.stories.begin(key, now, state, why)
        else:
            self._count(job, -1)
            self.stories.note(key, now, state, why)
        job.state = state
        if state is State.QUEUED or state is State.RUNNING:
            self._count(job, 1)
        else:
            del self.open[key]
            if self._open_of[client] > 1:
                self._open_of[client] -= 1
            else:
                del self._open_of[client]
        if self.moved is not None:
            self.moved(job, before, why)

    def _count(self, job: Job, by: int) -> None:
        if job.state is State.QUEUED:
            self.queued += by
            self.queued_bytes += by * len(job.content)
        elif job.state is State.RUNNING:
            self.running += by
            self.live += by * job.live

    def end(self, job: Job, final: Final, now: float, why: str = "") -> EndedJob:
        """Moves a job from the open to the ended ones, and forgets the oldest of those."""
        self.move(job, State.ENDED, now, why)
        ended = EndedJob(job.client, job.id, digest(job.content), final, job.result)
        self.restore(ended)
        if ended.result is NOTHING:
            return ended
        self._with_result[ended.key] = ended
        self._result_size += _size(ended)
        self._result_bytes += memory_of(ended.result)
        while self._with_result and (
            self._result_size > self._limits.result_rows_kept or self._result_bytes > self._limits.result_bytes_kept
        ):
            self._drop_result(next(iter(self._with_result)))
        return ended

    def restore(self, ended: EndedJob) -> None:
        """Takes in a job that has ended."""
        key = ended.key
        if key in self._ended:
            self._forget(key)
        self._ended[key] = ended
        self._finals.setdefault(ended.client, _Finals()).add(ended)
        while len(self._ended) > self._limits.remembered_jobs:
            self._forget(next(iter(self._ended)))

    def _forget(self, key: Key) -> None:
        ended = self._ended.pop(key)
        finals = self._finals[ended.client]
        finals.remove(ended)
        if not finals.jobs:
            del self._finals[ended.client]
        if key in self._with_result:
            self._drop_result(key)

    def _drop_result(self, key: Key) -> None:
        ended = self._with_result.pop(key)
        self._result_size -= _size(ended)
        self._result_bytes -= memory_of(ended.result)
        ended.result = NOTHING

    def next_final(self, client: str, from_seq: int) -> EndedJob | None:
        """This client's ended job with the smallest number that is not below `from_seq`; None if there is none."""
        finals = self._finals.get(client)
        return finals.next(from_seq) if finals is not None else None

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        if sum(self._open_of.values()) != len(self.open):
            yield "the open jobs of the clients are not counted right"
        states = Counter(job.state for job in self.open.values())
        if set(states) - {State.QUEUED, State.RUNNING}:
            yield f"an open job is {', '.join(sorted(states))}"
        if (self.queued, self.running) != (states[State.QUEUED], states[State.RUNNING]):
            yield f"{states[State.QUEUED]} jobs wait and {states[State.RUNNING]} run, but {self.queued} and {self.running} are counted"
        waiting_bytes = sum(len(job.content) for job in self.open.values() if job.state is State.QUEUED)
        if self.queued_bytes != waiting_bytes:
            yield f"the waiting jobs hold {waiting_bytes} bytes, but {self.queued_bytes} are counted"
        if sum(len(finals.numbers) - finals.first for finals in self._finals.values()) != len(
            {(one.client, one.final.seq) for one in self._ended.values()}
        ):
            yield "the finals are not indexed as they are remembered"
        if self.open.keys() & self._ended.keys():
            yield "a job is open and ended at once"
        if any(key != job.key for key, job in self.open.items()) or any(key != ended.key for key, ended in self._ended.items()):
            yield "a job is kept under another key than its own"
        if len(self._ended) > self._limits.remembered_jobs:
            yield f"{len(self._ended)} ended jobs are remembered, the limit is {self._limits.remembered_jobs}"
        if self._result_size != sum(map(_size, self._with_result.values())) or self._result_size > max(0, self._limits.result_rows_kept):
            yield f"the results of ended jobs are counted as {self._result_size} rows and files"
        result_bytes = sum(memory_of(ended.result) for ended in self._with_result.values())
        if self._result_bytes != result_bytes or result_bytes > max(0, self._limits.result_bytes_kept):
            yield f"the results of ended jobs take {result_bytes} bytes and are counted as {self._result_bytes}"


def digest(content: bytes) -> bytes:
    """What tells two jobs' contents apart, in 20 bytes."""
    return blake2b(content, digest_size=20).digest()


def memory_of(result: Result) -> int:
    """About how many bytes of memory a result takes.

    >>> from worker.files.whole import WrittenFile
    >>> memory_of(Result("circles", ("x", "y"), ((1.0, 2.0),) * 1000, (WrittenFile("a.png", 1, 4, 3),)))
    128305
    """
    if result is NOTHING:
        return 0
    rows = len(result.rows) * (64 + 32 * len(result.fields))
    files = sum([300 + len(written.path) for written in result.files])
    return (
        rows
        + files
        + sum([64 + len(source) for source in result.sources])
        + sum([64 + len(text) for texts in result.texts for text in texts])
        + sum([500 + len(left.path) + len(left.why.message) + len(left.why.hint) for left in result.skipped])
    )


def _size(ended: EndedJob) -> int:
    return len(ended.result.rows) + len(ended.result.files) + len(ended.result.skipped)
