"""The worker as a running program: wires endpoint, scheduler and executor together. The only file that knows everybody.

One thread owns the scheduler. Everything that happens anywhere is put into its inbox; it waits there for the next event or the
scheduler's next deadline, whichever comes first, and carries out what the scheduler wants.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version

from worker.config import Config
from worker.endpoint import Endpoint
from worker.events import (
    Abort,
    Effect,
    Event,
    Execute,
    Exit,
    Peer,
    Received,
    Send,
    SendNumbers,
    StopAsked,
    Woke,
)
from worker.executors.base import Executor, RunTask
from worker.executors.pool import PoolExecutor
from worker.paths import FileRules
from worker.protocol import osc
from worker.scheduler import Scheduler

log = logging.getLogger(__name__)

#: How many events are handled before their effects are carried out together.
BATCH = 256

_Inbox = queue.SimpleQueue[tuple[bytes, Peer] | Event]


class Service:
    """A worker that listens, works and reports until it is asked to stop.

    Args:
        config: settings.
        executor: runs the tasks.
        boot: number of this start.

    Raises:
        OSError: the port cannot be bound.
    """

    def __init__(self, config: Config, executor: Executor, boot: int) -> None:
        self._inbox: _Inbox = queue.SimpleQueue()
        self._executor = executor
        self._endpoint = Endpoint((config.host, config.port), lambda datagram, sender: self._inbox.put((datagram, sender)))
        self._scheduler = Scheduler(config, boot, time.monotonic(), installed_version())
        self._exited = False

    @property
    def address(self) -> Peer:
        """Where it listens."""
        return self._endpoint.address

    def stop(self, reason: str, *, at_once: bool = False) -> None:
        """Asks it to end: after its accepted jobs, or at once. From any thread or signal handler."""
        self._inbox.put(StopAsked(reason, at_once))

    def run(self) -> None:
        """Works until it is asked to stop."""
        self._executor.start(self._inbox.put)
        self._endpoint.start()
        try:
            self._carry_out(self._scheduler.handle(Woke(), time.monotonic()))
            while not self._exited:
                self._carry_out(list(self._effects(self._next_events())))
        finally:
            self._executor.close()
            self._endpoint.close()

    def _next_events(self) -> list[Event]:
        """Waits for what happens next, at the longest until the scheduler's deadline; then that is what happened."""
        deadline = self._scheduler.next_deadline()
        timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
        events: list[Event] = []
        with contextlib.suppress(queue.Empty):
            events.append(self._event(self._inbox.get(timeout=timeout)))
            while len(events) < BATCH:
                events.append(self._event(self._inbox.get_nowait()))
        return events or [Woke()]

    @staticmethod
    def _event(item: tuple[bytes, Peer] | Event) -> Event:
        if isinstance(item, tuple):
            datagram, sender = item
            return Received(sender, osc.decode_commands(datagram))
        return item

    def _effects(self, events: Sequence[Event]) -> Iterator[Effect]:
        now = time.monotonic()
        for event in events:
            yield from self._scheduler.handle(event, now)

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        """Children first, so that they work while the reports are sent. A task's own reports come after this in any case."""
        for effect in effects:
            match effect:
                case Execute(task):
                    self._executor.execute(task)
                case Abort(task_id):
                    self._executor.abort(task_id)
        for effect in effects:
            match effect:
                case Send(peer, report):
                    self._endpoint.send(osc.encode(report), peer)
                case SendNumbers(peer, numbers):
                    self._endpoint.send(osc.encode_bundle(numbers), peer)
                case Exit(reason):
                    log.info("stopping: %s", reason)
                    self._exited = True


def make_run_task(rules: FileRules) -> RunTask:
    """Called in each child: imports OpenCV there, and only there."""
    import cv2

    from worker.tasks import run_task

    cv2.setNumThreads(1)  # the children share the cores between them
    return lambda task, progress: run_task(task, rules, progress)


def installed_version() -> str:
    """The version of this distribution."""
    try:
        return version("td-image-worker")
    except PackageNotFoundError:  # run from a source tree
        return "0"


def serve(config: Config, announce: Callable[[str], None] = print) -> int:
    """Runs a worker until it is asked to stop: by `quit`, Ctrl-C or SIGTERM. A second Ctrl-C stops it at once.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 if the port is taken.
    """
    rules = FileRules(roots=tuple(root.resolve() for root in config.roots), maps=config.maps)
    executor = PoolExecutor(config.workers, functools.partial(make_run_task, rules))
    try:
        service = Service(config, executor, boot=_boot_number())
    except OSError as error:
        announce(f"Cannot listen on {config.host}:{config.port}: {error.strerror or error}. Is a worker running already? Else choose another --port.")
        return 1
    _stop_on_signals(service)
    for line in announcement(config, service.address):
        announce(line)
    service.run()
    announce("Stopped.")
    return 0


def _boot_number() -> int:
    """A number that the last start did not have, below 2**24 so that a float channel carries it exactly."""
    return int(time.time() * 4) & 0xFFFFFF


def announcement(config: Config, address: Peer) -> Iterator[str]:
    """What a person who has started a worker wants to know."""
    host, port = address
    yield f"TD Image Worker {installed_version()}"
    yield f"  commands       udp {host}:{port}"
    fixed = "".join(f", and {host}:{port}" for host, port in config.report)
    yield f"  text reports   to each sender's port {config.text_port}{fixed}"
    fixed = "".join(f", and {host}:{port}" for host, port in config.report_numbers)
    yield f"  number reports to each sender's port {config.number_port}{fixed}"
    for root in config.roots:
        yield f"  reads, writes  {root.resolve()}"
    for sender, here in config.maps:
        yield f"  maps           {sender} -> {here}"
    yield f"  children       {config.workers}, and one in reserve"
    yield "Ready. Ctrl-C stops it."


def _stop_on_signals(service: Service) -> None:
    asked = threading.Event()

    def stop(number: int, _frame: object) -> None:
        service.stop(signal.Signals(number).name, at_once=asked.is_set())
        asked.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
