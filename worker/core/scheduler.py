"""Decides everything about jobs: events in, effects out. No socket, no process, no clock; the time is an argument.

    effects = scheduler.handle(event, now)     # carry them out in this order; or, with what somebody waits for before the rest:
    scheduler.take(event, now); effects = scheduler.end_of_round(now); rest = scheduler.afterwards(now)
    scheduler.next_deadline()                  # when to call again with Woke(), at the latest

This file hears the commands. `admission` takes jobs, `running` runs them, `ending` ends them, `questions` answers about them. `ledger`
knows where each is in its life, and its table `TRANSITIONS` is the only way through it. `barrier` holds back what must be stored first.

    command -> rejected                                    (`failed` with seq 0; nothing is kept)
    command -> QUEUED -> RUNNING -> ENDED                  (`accepted`, `processing`, ..., one final)
               QUEUED -> ENDED                             (cancelled, expired, replaced, or its `after` failed)
                         RUNNING -> QUEUED                 (a retry)
               QUEUED, RUNNING -> WITHDRAWN                (it could not be stored: rejected after all)
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Sequence

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core import reports
from worker.core.admission import Admission
from worker.core.delivery import Client
from worker.core.ending import Ending
from worker.core.events import (
    CancelAsked,
    CatalogChanged,
    ChildrenChanged,
    Effect,
    Event,
    Exit,
    Finished,
    Kept,
    NotStored,
    Progressed,
    Received,
    ReportAsked,
    Seen,
    SessionEnded,
    SourceChanged,
    StopAsked,
    Stored,
    StoringChanged,
    Throttled,
    WatchAsked,
    Woke,
)
from worker.core.following import Following
from worker.core.gate import Gate
from worker.core.ledger import State
from worker.core.preset_commands import PresetCommands
from worker.core.presets import Presets
from worker.core.questions import Questions
from worker.core.running import CANARY_INTERVAL_S, Running
from worker.core.shared import Shared
from worker.core.standstill import Standstill
from worker.core.telling import Telling
from worker.core.wishes import Wishes
from worker.errors import DecodeError, Draining, PathError, QueueFull, TokenError, WorkerError
from worker.protocol import addresses
from worker.protocol import messages as wire
from worker.protocol.addresses import PROTOCOL_VERSION, Peer


class InvariantError(Exception):
    """The scheduler contradicts itself. The message says in what."""


class Scheduler:
    """See the module's docstring.

    Args:
        config: settings; `config.workers` tasks run at a time. With `config.state` there is a journal, and `Commit` has to be answered.
        boot: number of this start, sent to every client.
        now: the time of the start, in seconds of a clock that never goes back.
        version: sent in `welcome`.
        gate: knows which other computers reports may be sent to, and who may end the worker.
        children: there are child processes already; if not, the executor says when.
        catalog: the operations that jobs can ask for.
        checked: calls `validate` after each event. Slow with many jobs.
        watched: emits `worker.core.changes`, too.
    """

    def __init__(
        self,
        config: Config,
        boot: int,
        now: float,
        version: str = "",
        gate: Gate | None = None,
        *,
        children: bool = True,
        catalog: Catalog = CATALOG,
        checked: bool = False,
        watched: bool = False,
    ) -> None:
        self._config = config
        self._boot = boot
        self._started_at = now
        self._version = version
        self._gate = gate or Gate(config.allow, config.token)
        self._is_checked = checked
        self._effects: list[Effect] = []
        self._leaving = False
        self._has_decided = self._has_released = False  # whether this round has taken another event than `Stored`, and such a one
        self._presets = Presets(catalog)
        for name, key, value in config.presets:
            self._presets.restore(name, key, value)
        self._emit = self._effects.append
        shared = Shared.of(config, catalog, boot, self._emit, watched=watched)
        self._chores = shared.chores
        self._timers = shared.timers
        self._ledger = shared.ledger
        self._slots = shared.slots
        self._barrier = shared.barrier
        self._delivery = shared.delivery
        self._board = shared.board
        self._telling = Telling(shared, self._presets)
        self._ending = Ending(shared)
        self._admission = Admission(shared, self._ending)
        self._running = Running(shared, self._ending, self._presets)
        self._following = Following(shared, self._ending)
        self._standstill = Standstill(shared.timers, shared.board, lambda why, now: self._stop(why, at_once=True, now=now))
        self._preset_commands = PresetCommands(shared, self._admission, self._presets)
        self._watching = shared.watching
        self._questions = Questions(shared, self._admission, self._ending, self._presets)
        self._wishes = Wishes(self._questions, self._board, self._telling)
        self.about = self._slots.about
        self._board.children = children
        self._board.start(now)
        self._timers.at(now + CANARY_INTERVAL_S, self._running.send_canary)

    # ------------------------------------------------------------------------------------------------- events

    def handle(self, event: Event, now: float) -> list[Effect]:
        """Takes note of an event and says what is to be done, in order."""
        self.take(event, now)
        return self.end_of_round(now) + self.afterwards(now)

    def take(self, event: Event, now: float) -> None:
        """Takes note of one of several events; `end_of_round` follows the last of them."""
        if type(event) is Stored:  # before the chores: it only lets go what waits for it
            self._barrier.stored(event.number, now)
            self._has_released = True
            return
        self._has_decided = True
        if self._chores.waiting:
            try:
                self._chores.do(now)
            finally:  # if one fails, the event happens all the same
                Scheduler.take(self, event, now)
            return
        kind = type(event)  # those that each job brings first, and not by `match`, which takes several times as long
        if kind is Received:
            self._received(event.peer, event.commands, now)  # type: ignore[union-attr]
        elif kind is Finished:
            self._running.finished(event.task_id, event.outcome, now)  # type: ignore[union-attr]
        else:
            self._take_rare(event, now)

    def _take_rare(self, event: Event, now: float) -> None:
        match event:
            case Seen() | SourceChanged() | SessionEnded():
                self._following.heard(event, now)
            case Progressed(task_id, done):
                self._running.progressed(task_id, done, now)
            case NotStored(number, reason):
                self._running.not_stored(number, reason, now)
            case StoringChanged(reason):
                self._board.storing = not reason
            case StopAsked(reason, at_once):
                self._stop(reason, at_once=at_once, now=now)
            case Throttled(peer, dropped):
                self._admission.throttled(peer, dropped, now)
            case ChildrenChanged(working, missing, slots, nodes, gone, node_slots):
                if working:
                    self._questions.missing = missing
                if slots:
                    self._slots.resize(slots)
                self._board.nodes, self._board.gone, self._board.node_slots = nodes, gone, node_slots
                self._running.children_changed(working=working)
            case ReportAsked() | WatchAsked() | CancelAsked():
                self._wishes.take(event, now)
            case CatalogChanged():
                self._questions.catalog_changed(event, now)
            case Woke():
                pass

    def end_of_round(self, now: float) -> list[Effect]:
        """Says what is to be done after the events that were taken, in order. The next thing that is called is `afterwards`."""
        if self._has_decided or not self._has_released:  # what was released sets no job free to start
            self._timers.run_due(now)
            self._ending.release_waiting(now)
            if not self._leaving:
                self._following.start_waiting(now)
                self._running.fill_slots(now)
        self._has_decided = self._has_released = False
        self._barrier.ask()
        # Otherwise after what the new status tells of has been released; but not for ever, if jobs come without a pause.
        if not self._barrier.is_waiting or self._board.is_overdue(now):
            self._board.report(now)
        return self._wanted()

    def afterwards(self, now: float) -> list[Effect]:
        """Says what else is to be done: what nobody waits for. Again, until it is nothing."""
        self._chores.do(now)
        if not self._barrier.is_waiting:
            self._exit_when_done(now)
        self._telling.end_of_round(now)
        if self._is_checked:
            self.validate()
        return self._wanted()

    def _wanted(self) -> list[Effect]:
        effects = self._effects.copy()
        self._effects.clear()
        return effects

    @property
    def load(self) -> tuple[int, int]:
        """How many accepted jobs run, and how many wait."""
        return self._ledger.running, self._ledger.queued

    def next_deadline(self) -> float | None:
        """When `handle` wants to be called again, if nothing happens before."""
        return self._timers.next_deadline()

    def restore(self, kept: Kept, now: float) -> list[Effect]:
        """Takes over what an earlier run left, before anything else is handled."""
        for key, newest_seq in kept.newest_seqs:
            self._delivery.restore_seq(key, newest_seq)
        ours = {(name, key) for name, key, _ in self._config.presets}
        for setting in kept.presets:
            if (setting.preset, setting.key) not in ours:  # what the operator wrote counts more than what was sent to an earlier run
                self._presets.restore(setting.preset, setting.key, setting.value)
        self._delivery.restore(kept.clients, kept.peers, now)
        for job in kept.jobs:
            self._admission.restore(job, now)
        self._telling.restored(kept.jobs)
        self._ending.release_waiting(now)
        self._chores.do(now)
        self._barrier.ask()
        return self._wanted()

    # ----------------------------------------------------------------------------------------------- commands

    def _received(self, peer: Peer, commands: Sequence[wire.Command | DecodeError], now: float) -> None:
        if not commands:
            return
        try:
            client = self._who(peer, commands, now)
        except QueueFull as error:
            refused = [reports.failed(job_id, self._boot, error) for job_id in _jobs_named(commands)]
            whole = wire.Error(error.code, addresses.ROOT, reports.sentence(error))
            self._delivery.turn_away(peer, refused or [whole], now)
            return
        jobs = [command for command in commands if _means_a_job(command)] if len(commands) > 1 else ()
        bundled = len(jobs) > 1
        for command in commands:
            if type(command) is wire.Ack:
                self._chores.add(functools.partial(self._delivery.acknowledged, client.key, command.seq))
            elif bundled and _means_a_job(command):  # all of them at the place of the first
                if jobs:
                    self._admission.bundle(client, jobs, now)
                    jobs = ()
            elif type(command) is wire.Job:
                self._admission.job(client, command, now)
            else:
                self._chores.do(now)
                self._command(peer, client, command, now)

    def _who(self, peer: Peer, commands: Sequence[wire.Command | DecodeError], now: float) -> Client:
        """The client that a packet belongs to, all of it: the one that a hello in it introduces, otherwise the one that is known there."""
        for command in commands:
            if type(command) is wire.Hello and self._delivery.may_report_to(peer, command, self._gate.knows):
                return self._delivery.hello(peer, command, now)
        return self._delivery.heard_from(peer, now)

    def _hello(self, peer: Peer, client: Client, hello: wire.Hello, now: float) -> None:
        if not self._delivery.may_report_to(peer, hello, self._gate.knows):
            error = PathError(f"Reports may not go to {hello.host!r:.100}.", "Start the worker with --allow and that computer's address.")
            self._admission.complain(client, hello.address, error, now)
            return
        newest_seq = self._delivery.newest_seq(client.key)
        self._delivery.answer(
            client.key, wire.Welcome(self._version, PROTOCOL_VERSION, self._boot, self._config.limits.lease_ms, newest_seq)
        )
        self._board.answer(client)
        self._questions.tell_catalog(client)

    def _command(self, peer: Peer, client: Client, command: wire.Command | DecodeError, now: float) -> None:
        match command:
            case DecodeError():
                self._admission.unreadable(client, command, now)
            case wire.Hello():
                self._hello(peer, client, command, now)
            case wire.Cancel(id=job_id):
                self._questions.cancel(client, job_id, now)
            case wire.Clear():
                self._questions.clear(client, now)
            case wire.Query(id=job_id):
                self._questions.query(client, job_id, now)
            case wire.Sync(n=number):
                self._questions.sync(client, number, now)
            case wire.Ping(nonce=nonce):
                self._delivery.answer(client.key, wire.Pong(nonce, self._boot, now - self._started_at))
            case wire.GetStatus():
                self._board.answer(client)
            case wire.Describe(operation=name):
                self._questions.describe(client, name, now)
            case wire.Replay(from_seq=seq):
                self._questions.replay(client, seq, now)
            case wire.Set():
                self._preset_commands.set(client, command, now)
            case wire.Unset():
                self._preset_commands.unset(client, command, now)
            case wire.ListPresets():
                self._questions.presets(client, now)
            case wire.Trigger():
                self._preset_commands.trigger(peer, client, command, now)
            case wire.Bye():
                self._watching.end(client.key)
                self._delivery.bye(client, now)
            case wire.Watch():
                self._watch(peer, client, command, now)
            case wire.Quit(token=token):
                self._quit(peer, client, token, now)

    def _watch(self, peer: Peer, client: Client, watch: wire.Watch, now: float) -> None:
        try:
            if not watch.on:
                self._watching.end(client.key)
            elif self._may_rule(peer, watch.token):
                self._watching.begin(client.key, now)
            else:
                message = "watch from another computer needs the worker's token."
                raise TokenError(message, "Start the worker with --token, and send the same.")
        except WorkerError as error:
            self._admission.complain(client, watch.address, error, now)

    def _may_rule(self, peer: Peer, token: str) -> bool:
        """Whether a sender may do what concerns all clients."""
        return self._gate.is_this_computer(peer[0]) or self._gate.is_token(token)

    def _quit(self, peer: Peer, client: Client, token: str, now: float) -> None:
        if not self._may_rule(peer, token):
            message = "quit from another computer needs the worker's token."
            error = TokenError(message, "Start the worker with --token, and send the same.")
            self._admission.complain(client, wire.Quit.address, error, now)
            return
        self._stop(f"asked by {client.name or client.key}", at_once=bool(self._admission.stopping), now=now)
        self._board.answer(client)

    # ------------------------------------------------------------------------------------------------- the end

    def _stop(self, reason: str, *, at_once: bool, now: float) -> None:
        """Takes no new jobs. At once also means: unfinished jobs wait in the journal for the next start, or end now without one."""
        self._admission.stopping = reason if at_once else self._admission.stopping or reason
        self._board.stopping = True
        self._following.stop(reason, now)
        if not at_once:
            self._standstill.begin(reason, now)
            return
        for job in list(self._ledger.open.values()):
            if self._config.state is None:
                self._ending.end(job, Draining(f"The worker was stopped ({reason}) before the job had ended."), now)
            else:
                self._slots.abort(job)
        self._leaving = True

    def _exit_when_done(self, now: float) -> None:
        done = self._admission.stopping and not self._following.is_work_left and self._barrier.is_empty
        if (done or self._leaving) and not self._board.exited:
            self._leaving = True
            self._board.report_last(now)
            self._barrier.store_later()  # it is written before the journal closes; nothing waits for it
            self._barrier.ask()
            self._emit(Exit(self._admission.stopping))

    # -------------------------------------------------------------------------------------------- for the reader

    def is_canary(self, task_id: int) -> bool:
        """Whether a task is nobody's job, but shows that the children work."""
        return task_id == self._slots.canary

    def open_jobs(self) -> dict[tuple[str, str], State]:
        """The accepted jobs that have no final yet: client and id, and where each is in its life."""
        return {key: job.state for key, job in self._ledger.open.items()}

    def story(self, job_id: str, client: str = "") -> list[str]:
        """What happened to a job, one line per step, the newest 1,000 jobs at least.

        Args:
            job_id: its id.
            client: its client's key, `host:port`; "" for the newest job with this id, of any client.
        """
        stories = self._ledger.stories
        keys = [(client, job_id)] if client else stories.keys_of(job_id)[-1:]
        return [line for key in keys for line in stories.of(key)]

    def validate(self) -> None:
        """Checks what must be true after each event.

        Raises:
            InvariantError: something is not.
        """
        if found := [*self._violations()]:
            raise InvariantError("; ".join(found))

    def _violations(self) -> Iterator[str]:
        yield from self._ledger.violations()
        yield from self._barrier.violations()
        yield from self._delivery.violations()
        yield from self._slots.violations()
        yield from self._ending.violations()
        yield from self._watching.violations()
        if not self._leaving:
            yield from itertools.chain(self._running.violations(), self._following.violations())


def _means_a_job(command: wire.Command | DecodeError) -> bool:
    """Whether it is a job, or was meant to be one."""
    return type(command) is wire.Job or (isinstance(command, DecodeError) and command.address == wire.Job.address)


def _jobs_named(commands: Iterable[wire.Command | DecodeError]) -> Iterator[str]:
    """The ids of jobs that somebody waits for, as far as a refusal can repeat them."""
    for command in commands:
        match command:
            case wire.Job() | wire.Trigger():
                job_id = command.id
            case DecodeError():
                job_id = command.job_id
            case _:
                continue
        if 0 < len(job_id.encode(errors="replace")) <= reports.LONGEST_ECHO:
            yield job_id
