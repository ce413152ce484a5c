"""The worker as a running program: wires endpoint, scheduler and executor together. The only file that knows everybody.

One thread owns the scheduler. Everything that happens anywhere is put into its inbox; it waits there for the next event or the
scheduler's next deadline, whichever comes first, and carries out what the scheduler wants.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import secrets
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.config import Config, installed_version
from worker.core.events import (
    Abort,
    Effect,
    Event,
    Execute,
    Exit,
    NotStored,
    Send,
    SendNumbers,
    StopAsked,
    Store,
    StoreJob,
    StorePreset,
    Throttled,
    Woke,
)
from worker.core.gate import Gate
from worker.core.scheduler import Scheduler
from worker.errors import DecodeError
from worker.executors.base import Executor
from worker.network import gateways, unreachable
from worker.network.endpoint import Endpoint
from worker.network.names import Names
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.messages import Accepted, Command, Hello, Processing
from worker.storage.journal import Journal, JournalError

log = logging.getLogger(__name__)

#: How many events are handled before their effects are carried out together.
BATCH = 256
#: How many finals wait for the journal while it cannot be written.
MAX_UNWRITTEN = 100_000

#: What the system counts for a small packet in its buffer, and for how many of them a buffer is large enough.
BYTES_PER_PACKET = 768

TELL_OF_STRANGERS_S = 10.0

_Inbox = queue.SimpleQueue[tuple[bytes, Peer] | unreachable.Unreachable | Event]


class Service:
    """A worker that listens, works and reports until it is asked to stop.

    Args:
        config: settings.
        executor: runs the tasks.
        catalog: the operations that jobs can ask for; the executor's children have their functions.

    Raises:
        OSError: the port cannot be bound.
        JournalError: `config.state` is given and holds no usable journal.
    """

    def __init__(self, config: Config, executor: Executor, catalog: Catalog = CATALOG) -> None:
        self._inbox: _Inbox = queue.SimpleQueue()
        self._executor = executor
        self._unreachable = unreachable.Unreachables(self._inbox.put)
        self._limits = config.limits
        self._gate = Gate(config.allow, config.token, config.limits.packets_per_s, config.limits.packets_burst)
        self._endpoint = Endpoint((config.host, config.port), self._arrived, self._unreachable)
        if not self._gate.has_token:  # else everybody may say hello
            self._endpoint.keep_only(self._gate.allow)
        self._tell_of_strangers_at = 0.0
        self._senders = gateways.senders(config.gateway_is)
        self._names = Names()
        config = gateways.with_addresses(config)
        try:
            self._journal = _open_journal(config, self._endpoint.address[1])
        except JournalError:
            self._endpoint.close()
            raise
        self._unwritten: list[Store] = []
        boot = self._journal.boot if self._journal else _random_boot()
        self._scheduler = Scheduler(config, boot, time.monotonic(), installed_version(), self._gate, children=False, catalog=catalog)
        self._exited = False

    @property
    def address(self) -> Peer:
        """Where it listens."""
        return self._endpoint.address

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Asks it to end: after its accepted jobs, or at once. From any thread or signal handler."""
        self._inbox.put(StopAsked(reason, at_once))

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
        self._executor.start(self._inbox.put)
        try:
            if self._journal is not None:
                self._carry_out(self._scheduler.restore(self._journal.kept(), time.monotonic()))
            self._endpoint.start()
            self._carry_out(self._handle([Woke()]))
            while not self._exited:
                self._carry_out(self._handle(self._next_events()))
        finally:
            self._executor.close()
            self._tell_dropped()
            self._endpoint.close()
            if self._journal is not None:
                self._journal.close()

    def _tell_dropped(self) -> None:
        """Strangers get no answer, but they are counted."""
        strangers, dropped = self._gate.strangers, self._endpoint.dropped
        if strangers or dropped:
            log.info("%d packets of strangers were left unread; the system dropped %d, strangers' or over its buffer", strangers, dropped)

    def _arrived(self, datagram: bytes, sender: Peer) -> None:
        """Called by the reading thread for every datagram, so it does as little as can be: in, or not."""
        if not self._gate.admits(datagram, sender):
            return
        dropped = self._gate.throttled(sender, time.monotonic())
        if dropped is None:
            if self._inbox.qsize() < self._limits.inbox:
                self._inbox.put((datagram, sender))
        elif dropped:
            self._inbox.put(Throttled(sender, dropped))

    def _next_events(self) -> list[Event]:
        """Waits for what happens next, at the longest until the scheduler's deadline; then that is what happened."""
        deadline = self._scheduler.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        events: list[Event] = []
        with contextlib.suppress(queue.Empty):
            events += self._events(self._inbox.get(timeout=timeout))
            while len(events) < BATCH:
                events += self._events(self._inbox.get_nowait())
        return events or [Woke()]

    def _events(self, item: tuple[bytes, Peer] | unreachable.Unreachable | Event) -> Iterator[Event]:
        if isinstance(item, tuple):
            datagram, sender = item
            commands = osc.decode_commands(datagram)
            if self._is_introduced(sender, commands):
                yield self._senders.received(sender, commands)
        elif isinstance(item, unreachable.Unreachable):
            unreachable.log_unreachable(item)
        elif isinstance(item, Throttled):
            yield replace(item, peer=self._senders.in_truth(item.peer))
        else:
            yield item

    def _is_introduced(self, sender: Peer, commands: Sequence[Command | DecodeError]) -> bool:
        """A stranger's hello is answered only with the right token."""
        for command in commands:
            if isinstance(command, Hello) and not self._gate.introduces(sender[0], command.token):
                now = time.monotonic()
                if now >= self._tell_of_strangers_at:  # whoever knocks all the time shall not fill the log
                    self._tell_of_strangers_at = now + TELL_OF_STRANGERS_S
                    log.warning("a hello from %s has no token or a wrong one; it is not answered", sender[0])
        return self._gate.knows(sender[0])

    def _handle(self, events: Sequence[Event]) -> list[Effect]:
        now = time.monotonic()
        effects: list[Effect] = []
        for event in events:
            try:
                effects += self._scheduler.handle(event, now)
            except Exception:  # a worker that runs for months outlives a mistake in one command
                log.exception("the scheduler failed on %.500r", event)
        return effects

    def _carry_out(self, effects: list[Effect]) -> None:
        """Stores first, because `accepted` promises it. Then the children, so that they work while the reports are sent."""
        for effect in self._stored(effects):
            match effect:
                case Execute(task):
                    self._executor.execute(task)
                case Abort(task_id):
                    self._executor.abort(task_id)
        for effect in effects:
            match effect:
                case Send(peer, report):
                    self._send(osc.encode(report), peer)
                case SendNumbers(peer, numbers):
                    self._send(osc.encode_bundle(numbers), peer)
                case Exit(reason):
                    log.info("stopping: %s", reason)
                    self._exited = True

    def _send(self, datagram: bytes, peer: Peer) -> None:
        host, port = peer
        if address := self._names.address(host):
            self._endpoint.send(datagram, (address, port))
        else:
            self._unreachable(peer, "the name is not known, or not yet")

    def _stored(self, effects: list[Effect]) -> list[Effect]:
        """Commits what is to be kept, in one transaction. Jobs that cannot be kept are taken back: `effects` is changed in place."""
        stores = [*self._unwritten, *(effect for effect in effects if isinstance(effect, Store))]
        if self._journal is None or not stores:
            return effects
        try:
            self._journal.commit(stores)
        except JournalError as error:
            log.error("the journal cannot be written: %s", error)  # noqa: TRY400 - the sentence is enough
            self._take_back(effects, stores, str(error))
        else:
            self._unwritten = []
        return effects

    def _take_back(self, effects: list[Effect], stores: Sequence[Store], reason: str) -> None:
        """Nothing of this round was stored: its new jobs end as 507 instead of being accepted, the rest is tried again."""
        lost = {(store.client, store.job_id) for store in stores if isinstance(store, StoreJob)}
        self._unwritten = [store for store in stores if isinstance(store, StorePreset) or (store.client, store.job_id) not in lost][
            -MAX_UNWRITTEN:
        ]
        refusals = self._handle([NotStored(client, job_id, reason) for client, job_id in lost])
        self._unwritten += [effect for effect in refusals if isinstance(effect, Store)]
        aborted = {effect.task_id for effect in refusals if isinstance(effect, Abort)}
        ids = {job_id for _, job_id in lost}

        def stands(effect: Effect) -> bool:
            if isinstance(effect, Send) and isinstance(effect.report, Accepted | Processing):
                return effect.report.id not in ids
            return not (isinstance(effect, Execute) and effect.task.id in aborted)

        effects[:] = [*filter(stands, effects), *refusals]


def _open_journal(config: Config, port: int) -> Journal | None:
    """A worker that was asked to keep jobs does not start without keeping them."""
    return Journal(config.state / f"{port}.sqlite3", config.durability, config.limits) if config.state else None


def _random_boot() -> int:
    """A number that earlier starts did not have, below 2**24 so that a float channel carries it exactly."""
    return secrets.randbelow(2**24 - 1) + 1
