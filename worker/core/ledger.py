"""The jobs that the worker knows: those that have yet to end, and the newest of those that have ended."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum

from worker.catalog.params import JobOptions, Params
from worker.config import Limits
from worker.core.backlog import Key
from worker.core.delivery import Client
from worker.core.jobs import Part, Phase, Plan, Result
from worker.protocol.messages import Final, Report


class State(Enum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


@dataclass(slots=True)
class Job:
    """One accepted job that has yet to end.

    Attributes:
        content: operation, params and options as JSON; two jobs with the same content are the same work.
        todo: tasks that may run now.
        running: the parts that run now by their task; None for a PLAN or FINISH.
        done: how many steps each running task has done.
        results: of the parts that ended, until all parts before them have.
        result: what is complete, in order.
        timers: of its timeout and its ttl, to be cancelled with it.
        latest: the newest report about it, for `query`.
    """

    client: Client
    id: str
    operation: str
    params: Params
    options: JobOptions
    content: bytes
    accepted_at: float
    state: State = State.QUEUED
    attempt: int = 0
    started_at: float = 0.0
    plan: Plan | None = None
    todo: deque[tuple[Phase, Part | None]] = field(default_factory=lambda: deque([(Phase.PLAN, None)]))
    running: dict[int, Part | None] = field(default_factory=dict)
    done: dict[int, int] = field(default_factory=dict)
    results: dict[int, Result] = field(default_factory=dict)
    parts_in_order: int = 0
    finished: bool = False
    steps_done: int = 0
    result: Result = field(default_factory=Result)
    progress_at: float = float("-inf")
    progress_due: bool = False
    timers: list[int] = field(default_factory=list)
    latest: Report | None = None

    @property
    def key(self) -> Key:
        return self.client.key, self.id

    @property
    def steps(self) -> int:
        """How many steps it takes, 1 before it is planned."""
        return max(1, self.plan.steps if self.plan else 1)

    @property
    def step(self) -> int:
        """How many of them are done."""
        return min(self.steps, self.steps_done + sum(self.done.values()))

    def start_over(self) -> None:
        """Forgets what this attempt has done, before the next."""
        self.state = State.QUEUED
        self.plan, self.parts_in_order, self.steps_done, self.finished = None, 0, 0, False
        self.results.clear()
        self.result = Result()
        self.todo = deque([(Phase.PLAN, None)])


@dataclass(slots=True)
class EndedJob:
    """What is kept of a job after its end: enough to recognise it and to tell again how it ended."""

    client: Client
    id: str
    content: bytes
    final: Final
    result: Result = field(default_factory=Result)

    @property
    def key(self) -> Key:
        return self.client.key, self.id


class Ledger:
    """Open jobs by key, in the order of their acceptance; ended ones likewise, as many as the limits allow."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.open: dict[Key, Job] = {}
        self._ended: OrderedDict[Key, EndedJob] = OrderedDict()
        self._with_result: OrderedDict[Key, EndedJob] = OrderedDict()
        self._result_size = 0

    def find(self, key: Key) -> Job | EndedJob | None:
        """The job of this key, if it is known."""
        return self.open.get(key) or self._ended.get(key)

    def end(self, job: Job, final: Final) -> None:
        """Moves a job from the open to the ended ones, and forgets the oldest of those."""
        del self.open[job.key]
        job.state = State.ENDED
        ended = EndedJob(job.client, job.id, job.content, final, job.result)
        self.restore(ended)
        self._with_result[ended.key] = ended
        self._result_size += _size(ended)
        while self._result_size > self._limits.result_rows_kept:
            self._drop_result(next(iter(self._with_result)))

    def restore(self, ended: EndedJob) -> None:
        """Takes in a job that has ended."""
        self._ended[ended.key] = ended
        self._ended.move_to_end(ended.key)
        while len(self._ended) > self._limits.remembered_jobs:
            key, _ = self._ended.popitem(last=False)
            if key in self._with_result:
                self._drop_result(key)

    def _drop_result(self, key: Key) -> None:
        ended = self._with_result.pop(key)
        self._result_size -= _size(ended)
        ended.result = Result()

    def finals_of(self, client: Client, from_seq: int) -> Iterator[EndedJob]:
        """This client's ended jobs from a final on, in the order of their finals."""
        wanted = (ended for ended in self._ended.values() if ended.client.key == client.key and ended.final.seq >= from_seq)
        return iter(sorted(wanted, key=lambda ended: ended.final.seq))


def _size(ended: EndedJob) -> int:
    return len(ended.result.rows) + len(ended.result.files)
