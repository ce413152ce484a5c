"""The reports about the worker as a whole: the status words, the numbers, and the heartbeat. Pure.

A changed word goes out at once, changed numbers at most 20 times a second, the newest winning; and everything once a second in any case.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec

from worker.config import Config
from worker.core.changes import ClientSeen, ClientsSeen, LevelsChanged
from worker.core.delivery import Client, Delivery
from worker.core.events import Effect, Send, SendNumbers
from worker.core.ledger import Ledger
from worker.core.reports import LONGEST_MESSAGE, shortened
from worker.protocol.addresses import Peer
from worker.protocol.messages import Failed, Final, Health, Nodes, Number, Report, Status
from worker.timers import Timers, TokenBucket

HEARTBEAT_S = 1.0
INTERVAL_S = 0.05
WORDS_AT_ONCE = 20  # changes of the word go out at once, this many in a burst and a second; so that no short job goes unseen
OVERDUE_S = 0.25
NO_FAILURE = 200  # `last_code` after a job that became ready


class StatusBoard(msgspec.Struct):
    """The worker's state in the words of the protocol.

    Attributes:
        ledger: counts the jobs that run and those that wait.
        stopping: it takes no new jobs.
        storing: jobs can be stored; otherwise new ones are refused.
        exited: it is about to end.
        children: there is a child process that can run a job.
        nodes: how many machines of a cluster there are; None without a cluster.
        gone: the names of those that were there lately, and are not now.
        node_slots: how many tasks those that are there run at a time.
        watched: somebody hears of all changes.
        alive_at: when a child process that serves last proved that it works; None before the first.
        worked_at: the same, but by a job's task, and not by the canary.
    """

    boot: int
    config: Config
    delivery: Delivery
    ledger: Ledger
    timers: Timers
    emit: Callable[[Effect], None]
    stopping: bool = False
    storing: bool = True
    exited: bool = False
    children: bool = True
    nodes: int | None = None
    gone: tuple[str, ...] = ()
    node_slots: int = 0
    watched: bool = False
    alive_at: float | None = None
    worked_at: float = float("-inf")
    started_at: float = 0.0
    done: int = 0
    failed: int = 0
    last_code: int = 0
    last_ms: int = 0
    progress: float = 0.0
    beat: int = 0
    _sent: Status | None = None
    _sent_at: float = float("-inf")
    _numbers_changed: bool = False
    _waits_since: float | None = None
    _timer_set: bool = False
    _words: TokenBucket = msgspec.field(default_factory=lambda: TokenBucket(WORDS_AT_ONCE, WORDS_AT_ONCE))

    @property
    def word(self) -> str:
        """The status word."""
        if self.exited:
            return "Stopping"
        if self.stopping:
            return "Draining"
        if not self.storing:
            return "NotStoring"
        if self.ledger.running or self.ledger.queued:
            return "Processing"
        return "Ready" if self.children else "Starting"

    def start(self, now: float) -> None:
        """Begins the heartbeat. The fixed targets of --report learn at once that a worker is there."""
        self.started_at = now
        self._beat(now)

    def worked(self, now: float, *, canary: bool = False) -> None:
        """A child has ended a task, or goes on with one. The canary counts while a job could take its place, and not in the spare child."""
        self.alive_at = now
        if not canary:
            self.worked_at = now

    def job_progressed(self, fraction: float) -> None:
        """Notes how far the job is that was heard of last."""
        self.progress = fraction
        self._numbers_changed = True

    def job_ended(self, final: Final, run_ms: int) -> None:
        """Counts an ended job."""
        if isinstance(final, Failed):
            self.failed += 1
            self.last_code = final.code
        else:
            self.done += 1
            self.last_code = NO_FAILURE
        self.last_ms = run_ms
        self.progress = 1.0

    def report(self, now: float) -> None:
        """Sends everybody what has changed since the last time, now or as soon as the interval allows."""
        if not self._has_changed():
            return
        # The sum is the same as the timer's, or rounding lets it ring too early for ever.
        if self._is_new_word(now) or now >= self._sent_at + INTERVAL_S:
            self._tell_everybody(now, only_numbers=self._status() == self._sent)
        elif not self._timer_set:
            self._timer_set = True
            self.timers.at(self._sent_at + INTERVAL_S, self._timer_rang)

    def report_again(self, now: float) -> None:
        """Sends everybody everything, changed or not."""
        self._tell_everybody(now)

    def report_last(self, now: float) -> None:
        """Tells everybody that the worker ends."""
        self.exited = True
        self._tell_everybody(now)

    def is_overdue(self, now: float) -> bool:
        """Whether a change has waited for too long by now. The first look at a change begins the time."""
        if not self._has_changed():
            self._waits_since = None
        elif self._waits_since is None:
            self._waits_since = now
        return self._waits_since is not None and now - self._waits_since >= OVERDUE_S

    def answer(self, client: Client) -> None:
        """Tells one client who asked."""
        self.delivery.answer(client.key, self._status())
        if self.nodes is not None:
            self.delivery.answer(client.key, self._nodes(self.nodes))
        if client.numbers:
            self.emit(SendNumbers(client.numbers, tuple(self._numbers(client.heard_at))))

    def announce(self, report: Report, now: float) -> None:
        """Tells everybody something else."""
        for target in self._text_targets(now):
            self.emit(Send(target, report))

    def health(self, now: float) -> Health:
        """How long ago a child that serves last showed that it works, see `worked`."""
        return Health(now - (self.started_at if self.alive_at is None else self.alive_at), self.beat)

    def _has_changed(self) -> bool:
        """Whether there is something to tell. Asked several times for each job, so nothing is made for it."""
        sent, ledger = self._sent, self.ledger
        return (
            sent is None
            or sent.running != ledger.running
            or sent.queued != ledger.queued
            or self._numbers_changed
            or sent.word != self.word
        )

    def _is_new_word(self, now: float) -> bool:
        """Whether the word has changed, and not too often lately."""
        return (self._sent is None or self._sent.word != self.word) and self._words.take(now)

    def _timer_rang(self, now: float) -> None:  # noqa: ARG002 - the scheduler calls `report` right after its timers
        self._timer_set = False

    def _beat(self, now: float) -> None:
        self.beat += 1
        self.delivery.keep_absent(now)
        self._tell_everybody(now)
        health = self.health(now)
        for target, bundled in self._text_targets(now).items():
            self.emit(Send(target, health, bundled))
            if self.nodes is not None:
                self.emit(Send(target, self._nodes(self.nodes), bundled))
        if self.watched:
            self.emit(ClientsSeen(tuple(self._clients(now))))
        self.timers.at(now + HEARTBEAT_S, self._beat)

    def _tell_everybody(self, now: float, *, only_numbers: bool = False) -> None:
        self._sent, self._sent_at, self._numbers_changed = self._status(), now, False
        self._waits_since = None
        for target, bundled in {} if only_numbers else self._text_targets(now).items():
            self.emit(Send(target, self._sent, bundled))
        numbers = tuple(self._numbers(now))
        for target in self._number_targets(now):
            self.emit(SendNumbers(target, numbers))
        if self.watched:
            self.emit(LevelsChanged(self._sent, numbers))

    def _clients(self, now: float) -> Iterator[ClientSeen]:
        for client in self.delivery:
            present = self.delivery.is_present(client, now)
            yield ClientSeen(client.key, client.name, present, client.leased, now - client.heard_at)

    def _text_targets(self, now: float) -> dict[Peer, bool]:
        """Where the status goes, and whether bundles may go there."""
        clients = {client.text: client.bundles for client in self.delivery.present(now)}
        return {**dict.fromkeys(self.config.report, False), **clients}

    def _number_targets(self, now: float) -> Iterable[Peer]:
        clients = (client.numbers for client in self.delivery.present(now) if client.numbers)
        return dict.fromkeys([*self.config.report_numbers, *clients])

    def _nodes(self, count: int) -> Nodes:
        return Nodes(count, len(self.gone), shortened(", ".join(self.gone), LONGEST_MESSAGE))

    def _status(self) -> Status:
        return Status(self.word, self.ledger.running, self.ledger.queued, self.boot)

    def _numbers(self, now: float) -> Iterator[Number]:
        levels: dict[str, float] = {
            "ready": self.word == "Ready",
            "busy": self.ledger.running + self.ledger.queued > 0,
            "queued": self.ledger.queued,
            "running": self.ledger.running,
            "progress": self.progress,
            "done": self.done,
            "failed": self.failed,
            "last_code": self.last_code,
            "last_ms": self.last_ms,
            "beat": self.beat,
            "boot": self.boot,
            "canary_s": self.health(now).canary_s,
        }
        if self.nodes is not None:
            levels |= {"nodes": self.nodes, "node_slots": self.node_slots}
        return (Number(name, float(value)) for name, value in levels.items())
