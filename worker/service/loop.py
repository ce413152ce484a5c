"""The worker as a running program: wires endpoint, scheduler and executor together. The only file that knows everybody.

One thread does everything: it waits for the socket, the children and the scheduler's next deadline, whichever comes first, hands what has
happened to the scheduler, and carries out what that wants. No call in it waits for anybody: other threads start and bury children, and
look names up. What a round stores is committed at its end, here or in the journal's thread (`storage.writer` says when); then the
scheduler hears of it and releases what depends on it. So a slow disk delays answers, and neither the heartbeat nor the children: if this
thread is stuck in a commit, the journal's thread leads the loop meanwhile.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.config import Config, installed_version
from worker.core.changes import REFUSING, Answered, Change, refusal
from worker.core.events import (
    STORES,
    Abort,
    CatalogChanged,
    ChildrenChanged,
    Commit,
    Effect,
    Event,
    Execute,
    Exit,
    Finished,
    Follow,
    JobEnded,
    Kept,
    NotStored,
    Send,
    SendBytes,
    SendNumbers,
    SessionEnded,
    StopAsked,
    Store,
    Stored,
    Throttled,
    Unfollow,
    Woke,
)
from worker.core.gate import Gate
from worker.core.jobs import Failure
from worker.core.scheduler import Scheduler
from worker.errors import Unavailable
from worker.executors.base import Executor
from worker.executors.live import LiveExecutor
from worker.network import gateways, unreachable
from worker.network.endpoint import Endpoint
from worker.poller import Poller
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT, Peer
from worker.service.children_seen import ChildrenTeller
from worker.service.door import Door
from worker.service.ended_jobs import EndedJobs
from worker.service.inbox import Inbox
from worker.service.nights import night_log
from worker.service.outbox import Outbox
from worker.service.own import KNOWN_WITHIN_S, OwnOperations
from worker.storage.journal import PRUNE_EVERY, Journal, JournalError
from worker.storage.writer import CLOSE_WITHIN_S, Writer
from worker.web.figures import Figures
from worker.web.tap import Tap

if TYPE_CHECKING:
    from worker.service.recorded import RecordedScheduler
    from worker.storage.recording import Recorder

log = logging.getLogger(__name__)

#: How many events are handled before their effects are carried out together.
BATCH = 256
#: Packets that are handled before the socket is emptied again, so that it does not run over meanwhile.
PACKETS_BETWEEN_READS = 32
#: What the system counts for a small packet in its buffer, and for how many of them a buffer is large enough.
BYTES_PER_PACKET = 768
#: When what can wait begins: by then who waited for the worker has its answer.
SOON_S = 0.05
#: How many times more rarely the journal is pruned in a show.
RARER_IN_A_SHOW = 50

#: Set to anything, the scheduler checks itself after each event. For finding mistakes; slow with many jobs.
VALIDATE_VARIABLE = "TD_IMAGE_WORKER_VALIDATE"


class Service:
    """A worker that listens, works and reports until it is asked to stop.

    Args:
        config: settings.
        executor: runs the tasks.
        catalog: the operations that jobs can ask for; the executor's children have their functions.
        tap: takes everything that happens, for another thread that watches; None if nobody does.
        live: runs live jobs; without it they fail.
        recorder: writes everything down that happens.

    Raises:
        OSError: the port cannot be bound.
        JournalError: `config.state` is given and holds no usable journal.
    """

    def __init__(
        self,
        config: Config,
        executor: Executor,
        catalog: Catalog = CATALOG,
        tap: Tap | None = None,
        *,
        live: LiveExecutor | None = None,
        recorder: Recorder | None = None,
    ) -> None:
        self._tap = tap
        self._recorder = recorder
        self._packets = Inbox(config.limits.inbox, config.limits.inbox_bytes)
        self._happened: deque[Event] = deque()
        self._thread = threading.get_ident()
        self._executor = executor
        self._live = live
        self._unreachable = unreachable.Unreachables(unreachable.log_unreachable)
        self._limits = config.limits
        self._gate = Gate(config.allow, config.token, config.limits.packets_per_s, config.limits.packets_burst, os.urandom(32))
        self._endpoint = Endpoint((config.host, config.port), self._arrived, self._unreachable, MAX_DATAGRAM_OUT)
        self._poller = Poller()
        if not self._gate.has_token:  # else everybody may say hello
            self._endpoint.keep_only(self._gate.allow)
        self._outbox = Outbox(self._endpoint, self._unreachable)
        self._door = Door(self._gate, gateways.senders(config.gateway_is), lambda report, peer: self._outbox.send(osc.encode(report), peer))
        config = gateways.with_addresses(config)
        try:
            self._journal = _open_journal(config, self._endpoint.address[1])
            self._kept = self._journal.kept() if self._journal else Kept()
        except JournalError:
            self._endpoint.close()
            self._poller.close()
            raise
        boot = self._journal.boot if self._journal else _random_boot()
        checked = bool(os.environ.get(VALIDATE_VARIABLE))
        version, now = installed_version(), self._poller.now()
        self._scheduler = _maker(recorder)(
            config, boot, now, version, self._gate, children=False, catalog=catalog, checked=checked, watched=tap is not None
        )
        self._children = ChildrenTeller(executor, self._scheduler.about)
        self._own = OwnOperations(config.operations, catalog, executor, self._poller, self._tell) if config.operations else None
        self._writer = Writer(self._journal, self._tell, self._stand_in) if self._journal else None
        self._ended_jobs = EndedJobs(self._poller)
        self._nights = night_log(config, self._endpoint.address[1])
        self._exited = False
        self._fault: BaseException | None = None

    @property
    def address(self) -> Peer:
        """Where it listens."""
        return self._endpoint.address

    @property
    def load(self) -> tuple[int, int]:
        """How many accepted jobs run, and how many wait."""
        return self._scheduler.load

    def tell(self, event: Event) -> None:
        """Lets something happen: a command of the page, or the operator's wish. From any thread."""
        self._tell(event)

    def soon(self, what: Callable[[], object]) -> None:
        """Something that can wait until the first packets are answered. It is called in the loop's thread, so it must not take long."""

        def begin(_now: float) -> None:
            what()

        self._poller.at(self._poller.now() + SOON_S, begin)

    def figures(self) -> Figures:
        """What was counted since the start. From any thread."""
        gate, endpoint = self._gate, self._endpoint
        dropped = {"stranger": gate.strangers, "rate": gate.dropped, "inbox": self._packets.lost, "system": endpoint.dropped}
        ended = getattr(self._executor, "children_ended", 0)
        counts = getattr(self._executor, "counts", None)
        return Figures(endpoint.packets_in, endpoint.bytes_in, endpoint.packets_out, endpoint.bytes_out, dropped, ended, counts)

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Asks it to end: after its accepted jobs, or at once. From any thread or signal handler."""
        self._poller.call(functools.partial(self._happened.append, StopAsked(reason, at_once)))

    @property
    def burst(self) -> int:
        """About how many small packets the system keeps for us while we are busy."""
        return self._endpoint.receive_buffer_bytes // BYTES_PER_PACKET

    @property
    def journal_path(self) -> Path | None:
        """Where accepted jobs are kept; None where they are not."""
        return self._journal.path if self._journal else None

    def run(self) -> None:
        """Works until it is asked to stop."""
        self._thread = threading.get_ident()
        try:
            self._executor.start(self._tell, self._poller)
            if self._live is not None:
                self._live.start(self._tell, self._poller)
            if self._own is not None:
                self._learn(self._own)
            if self._writer is not None:
                self._writer.start()
                if suspects := sum(job.final is None and job.crashes > 0 for job in self._kept.jobs):
                    log.warning("the worker ended unexpectedly while %d jobs ran; each of them runs alone now, before all others", suspects)
                self._carry_out(self._scheduler.restore(self._kept, self._poller.now()))
                self._kept = Kept()
            self._endpoint.start(self._poller)
            self._happens([Woke()])
            while not self._exited:
                self._round()
            if self._fault is not None:
                raise self._fault
        finally:
            if self._own is not None:
                self._own.close()
            self._executor.close()
            if self._live is not None:
                self._live.close()
            self._ended_jobs.write()
            self._log_dropped()
            self._endpoint.close()
            if self._writer is not None:
                self._writer.close()
            for part in (self._nights, self._recorder):
                if part is not None:
                    part.close()
            self._poller.close()

    def _round(self) -> None:
        now = self._poller.wait(self._next_deadline())
        events = self._next_events()
        deadline = None if events else self._scheduler.next_deadline()
        if events or (deadline is not None and deadline <= now):  # often only a child has said something that concerns nobody else
            self._happens(events)
        if self._nights is not None:
            self._nights.tick(now, self.load[1])

    def _happens(self, events: Sequence[Event]) -> None:
        """Carries out what is wanted because of these events: first what somebody waits for, then the rest."""
        self._carry_out(self._handle(events))
        while effects := self._afterwards():
            self._carry_out(effects)

    def _stand_in(self, is_wanted: Callable[[], bool]) -> None:
        """Leads the loop in another thread, while its own waits for the journal's disk."""
        self._thread = threading.get_ident()
        try:
            while is_wanted() and not self._exited:
                self._round()
        except BaseException as error:  # noqa: BLE001 - it belongs to the other thread, which ends with it
            self._fault = error
            self._exited = True
        if self._exited:
            self._end_within(CLOSE_WITHIN_S, is_wanted)

    def _end_within(self, seconds: float, is_wanted: Callable[[], bool]) -> None:
        """Everything is done, but the loop's own thread still waits for the disk. It has so long to end the process in order."""
        deadline = time.monotonic() + seconds
        while is_wanted() and time.monotonic() < deadline:
            time.sleep(0.05)
        if is_wanted():
            log.error("The worker ends without closing its journal, because the disk does not answer.")
            self._executor.close()
            os._exit(1)

    def _learn(self, own: OwnOperations) -> None:
        """Waits until the operations of the artist's own are known: jobs of an earlier run may need them. Packets wait meanwhile."""
        own.start()
        until = self._poller.now() + KNOWN_WITHIN_S
        while not own.settled and self._poller.now() < until and not any(isinstance(event, StopAsked) for event in self._happened):
            self._poller.wait(until)
        for event in [event for event in self._happened if isinstance(event, CatalogChanged)]:
            self._happened.remove(event)
            self._happens([event])

    def _log_dropped(self) -> None:
        """Strangers get no answer, but they are counted."""
        strangers, dropped = self._gate.strangers, self._endpoint.dropped
        if strangers or dropped:
            log.info("%d packets of strangers were left unread; the system dropped %d, strangers' or over its buffer", strangers, dropped)

    def _tell(self, event: Event) -> None:
        """Something has happened; from any thread."""
        if self._own is not None and isinstance(event, Finished) and self._own.finished(event):
            return
        if self._own is not None and isinstance(event, ChildrenChanged):
            self._own.children_changed(event)
        if self._tap is not None and isinstance(event, ChildrenChanged | CatalogChanged):
            self._tap.put(event)
        self._happened.append(event)
        if threading.get_ident() != self._thread:
            self._poller.call(lambda: None)

    def _arrived(self, datagram: bytes, sender: Peer) -> None:
        item = self._door.arrived(datagram, sender)
        if isinstance(item, Throttled):
            self._happened.append(item)
        elif item is not None:
            self._packets.add(*item)

    def _next_deadline(self) -> float | None:
        """Until when nothing needs to be done, if nothing happens."""
        return self._poller.now() if self._packets or self._happened else self._scheduler.next_deadline()

    def _next_events(self) -> list[Event]:
        """What has happened. The children first: they are waiting for their next task."""
        events: list[Event] = []
        while self._happened and len(events) < BATCH:
            event = self._happened.popleft()
            if self._writer is not None and isinstance(event, (Stored, NotStored)):
                self._writer.heard(event.number)
            events.append(event)
        if self._packets:
            packets = [self._opened(*self._packets.take()) for _ in range(min(len(self._packets), PACKETS_BETWEEN_READS))]
            if self._tap is not None:
                self._tap.put(*packets)
            events += packets
        return events

    def _opened(self, datagram: bytes, sender: Peer) -> Event:
        event = self._door.opened(datagram, sender)
        if self._recorder is not None:
            cast("RecordedScheduler", self._scheduler).came(event, datagram, sender)
        return event

    def _handle(self, events: Sequence[Event]) -> list[Effect]:
        now = self._poller.now()
        for event in events:
            try:
                self._scheduler.take(event, now)
            except Exception:  # a worker that runs for months outlives a mistake in one command
                log.exception("the scheduler failed on %.500r", event)
        try:
            return self._scheduler.end_of_round(now)
        except Exception:
            log.exception("the scheduler failed at the end of a round")
            return []

    def _afterwards(self) -> list[Effect]:
        try:
            return self._scheduler.afterwards(self._poller.now())
        except Exception:
            log.exception("the scheduler failed after a round")
            return []

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """The children first, so that they work while the reports are sent. What is stored at once sets more free.

        Last comes what nobody waits for.
        """
        ended: list[JobEnded] = []
        while effects:
            reports: list[Effect] = []
            records: list[Store] = []
            commit = 0
            for effect in effects:
                kind = type(effect)  # not `match`, which takes several times as long: this is on the way of every job
                if kind is Execute:
                    self._executor.execute(effect.task)  # type: ignore[union-attr]
                elif kind is Abort:
                    self._executor.abort(effect.task_id)  # type: ignore[union-attr]
                elif kind in STORES:
                    records.append(effect)  # type: ignore[arg-type]
                elif kind is JobEnded:
                    ended.append(effect)  # type: ignore[arg-type]
                elif kind is Commit:
                    commit = effect.number  # type: ignore[union-attr] # the highest is the last
                elif kind is Follow:
                    self._follow(effect)  # type: ignore[arg-type]
                elif kind is Unfollow:
                    self._unfollow(effect)  # type: ignore[arg-type]
                else:
                    reports.append(effect)
            if reports:
                self._report(reports)
            stored = self._store(records, commit) if commit else None
            effects = self._handle([stored]) if stored is not None else ()
        for job in ended:
            self._ended_jobs.add(job)
            if self._nights is not None:
                self._nights.ended(job)
        if self._tap is not None:
            self._tap.put(*ended)
            self._children.tell(self._tap, self._poller.now())

    def _follow(self, wanted: Follow) -> None:
        if self._live is None:
            self._tell(SessionEnded(wanted.task.id, Failure.of(Unavailable("This worker runs no live jobs."))))
        else:
            self._live.follow(wanted.task)

    def _unfollow(self, unwanted: Unfollow) -> None:
        if self._live is not None:
            self._live.unfollow(unwanted.session)

    def _report(self, effects: Sequence[Effect]) -> None:
        """Sends what is to be sent."""
        changes: list[Change] = []
        for effect in effects:
            if type(effect) is Send:
                peer, report = effect.peer, effect.report
                if self._tap is not None and type(report) in REFUSING and (refused := refusal(report, peer)) is not None:
                    changes.append(refused)
                if not self._outbox.leads_out(peer):
                    changes.append(Answered(report, peer))
                elif effect.bundled:
                    self._outbox.add(osc.encode(report), peer)
                else:
                    self._outbox.send(osc.encode(report), peer)
            elif isinstance(effect, Change):
                changes.append(effect)
            elif isinstance(effect, SendNumbers):
                if self._outbox.leads_out(effect.peer):
                    self._outbox.send(osc.encode_bundle(effect.numbers), effect.peer)
            elif isinstance(effect, SendBytes):
                if self._outbox.leads_out(effect.peer):
                    self._outbox.send(effect.datagram, effect.peer)
            elif isinstance(effect, Exit):
                log.info("stopping: %s", effect.reason)
                self._exited = True
        if changes and self._tap is not None:
            self._tap.put(*changes)
        self._outbox.send_together()

    def _store(self, records: Sequence[Store], number: int) -> Stored | None:
        """Has committed what is to be stored. If that takes time, the scheduler hears of it as of everything else that happens."""
        if self._writer is None:
            return None
        stored = self._writer.write(records, number)
        self._thread = threading.get_ident()  # another one may have stood in meanwhile
        return stored


def _maker(recorder: Recorder | None) -> Callable[..., Scheduler]:
    if recorder is None:
        return Scheduler
    from worker.service.recorded import RecordedScheduler  # nobody else needs it, and it brings much along

    return functools.partial(RecordedScheduler, recorder)


def _open_journal(config: Config, port: int) -> Journal | None:
    """A worker that was asked to keep jobs does not start without keeping them."""
    if config.state is None:
        return None
    prune_every = PRUNE_EVERY * (RARER_IN_A_SHOW if config.show else 1)
    return Journal(config.state / f"{port}.sqlite3", config.durability, config.limits, prune_every)


def _random_boot() -> int:
    """A number that earlier starts did not have, below 2**24 so that a float channel carries it exactly."""
    return random.SystemRandom().randrange(1, 2**24)
