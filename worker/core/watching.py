"""Clients that watch: they hear of every job of every client, one line for each change, and what the child processes do. Pure.

Changes are collected for a moment and the newest of a job wins, so a watcher costs a bounded number of datagrams, and a job that is short
is heard of once, when it has ended. Nothing is repeated: the picture mends itself, because all open jobs are reported again and again.
A watcher has to be heard: its time ends with the lease after its last packet, whether or not it said hello.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterator

from worker.core import reports
from worker.core.backlog import Key
from worker.core.delivery import Delivery
from worker.core.events import Effect, JobEnded, Send
from worker.core.ledger import Job, Ledger, State
from worker.core.slots import Slots
from worker.core.status import NO_FAILURE
from worker.errors import QueueFull
from worker.protocol.messages import Children, Watched
from worker.timers import Timers

INTERVAL_S = 0.1
#: The maximum of changes in one interval. The others wait for the next one.
AT_ONCE = 400
#: How many changes may wait. The oldest beyond are not told.
MAX_WAITING = 20_000
MAX_WATCHERS = 8
CHILDREN_S = 1.0
#: Open jobs are reported again in turn, this number a second: a lost datagram is made good, and a watcher that comes late hears of all.
AGAIN_PER_S = 200
_LONGEST_TASKS = 900
_LONGEST_MESSAGE = 300
_LONGEST_NAME = 100


class Watching:
    """See the module's docstring.

    Args:
        lease_s: how long a watcher is one after its last packet.
        children: whether a child process works.
    """

    def __init__(
        self,
        delivery: Delivery,
        ledger: Ledger,
        slots: Slots,
        timers: Timers,
        emit: Callable[[Effect], None],
        *,
        lease_s: float,
        children: Callable[[], bool],
    ) -> None:
        self._delivery = delivery
        self._ledger = ledger
        self._slots = slots
        self._timers = timers
        self._emit = emit
        self._lease_s = lease_s
        self._children = children
        self._watchers: dict[str, None] = {}
        self._news: OrderedDict[Key, Watched] = OrderedDict()
        self._is_due = False
        self._told = 0
        self._round = 0

    def begin(self, key: str, now: float) -> None:
        """This client hears of all jobs from now on.

        Raises:
            QueueFull: others watch already, and more cannot.
        """
        if key in self._watchers:
            return
        if len(self._watchers) >= MAX_WATCHERS:
            raise QueueFull(f"{MAX_WATCHERS} clients watch already, which is the limit.", "End one of them first.")
        self._watchers[key] = None
        self._told = 0
        if len(self._watchers) == 1:
            self._round += 1
            self._tell_children(now, self._round)

    def end(self, key: str) -> None:
        """It hears of its own jobs only."""
        self._watchers.pop(key, None)
        if not self._watchers:
            self._news.clear()

    def changed(self, job: Job, now: float) -> None:
        """A job waits, runs, or has come further."""
        if not self._watchers:
            return
        running = job.state is State.RUNNING
        since = job.started_at if running else now
        wait_ms, run_ms = round((since - job.accepted_at) * 1000), round((now - since) * 1000)
        name = self._delivery.name(job.client)
        word = "running" if running else "waiting"
        self._note(job, JobEnded(job.client, name, job.id, job.operation, word, 0, wait_ms, run_ms, 0, job.attempt), now)

    def ended(self, job: Job, end: JobEnded, now: float) -> None:
        """A job has ended, or was withdrawn."""
        if self._watchers:
            self._note(job, end, now)

    def _note(self, job: Job, told: JobEnded, now: float) -> None:
        name, text = reports.shortened(told.name, _LONGEST_NAME), reports.shortened(told.message, _LONGEST_MESSAGE)
        step = job.steps if told.code == NO_FAILURE else job.step
        self._news.pop(job.key, None)
        self._news[job.key] = Watched(
            *(job.client, name, job.id, job.operation, told.word, told.code), *(step, job.steps, told.wait_ms, told.run_ms), text
        )
        while len(self._news) > MAX_WAITING:
            self._news.popitem(last=False)
        if not self._is_due:
            self._is_due = True
            self._timers.at(now + INTERVAL_S, self._tell)

    def _tell(self, now: float) -> None:
        self._is_due = False
        for _ in range(min(AT_ONCE, len(self._news))):
            self._send(self._news.popitem(last=False)[1])
        if self._news:
            self._is_due = True
            self._timers.at(now + INTERVAL_S, self._tell)

    def _send(self, report: Watched | Children) -> None:
        for key in self._watchers:
            client = self._delivery.client(key)
            if client is not None:
                self._emit(Send(client.text, report, client.bundles))

    def _tell_children(self, now: float, number: int) -> None:
        if number != self._round:  # a later one has begun
            return
        for key in [*self._watchers]:
            client = self._delivery.client(key)
            if client is None or client.gone or now - client.heard_at >= self._lease_s:
                self.end(key)
        if not self._watchers:
            return
        tasks = reports.shortened("; ".join(self._tasks(now)), _LONGEST_TASKS)
        self._send(Children(int(self._children()), self._slots.count, self._slots.busy, tasks))
        self._tell_again(now)
        self._timers.at(now + CHILDREN_S, lambda now: self._tell_children(now, number))

    def _tasks(self, now: float) -> Iterator[str]:
        for job, ran_s in self._slots.running(now):
            yield f"{job.operation} {reports.cut(job.id, 60)} {ran_s:.1f} s"

    def _tell_again(self, now: float) -> None:
        """The open jobs, a slice of them at a time and then the next one."""
        jobs = [*itertools.islice(self._ledger.open.values(), self._told, self._told + AGAIN_PER_S)]
        self._told = self._told + len(jobs) if len(jobs) == AGAIN_PER_S else 0
        for job in jobs:
            if job.key not in self._news:
                self.changed(job, now)

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        if len(self._watchers) > MAX_WATCHERS:
            yield f"{len(self._watchers)} clients watch, the limit is {MAX_WATCHERS}"
        if self._news and not self._is_due:
            yield "changes wait to be told to those who watch, and no timer is set"
