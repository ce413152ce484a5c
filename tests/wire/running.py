"""A real service on a free port of this machine, and a peer that talks to it over real UDP."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from worker.config import Config
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Outcome, Result, Task
from worker.executors.base import Deliver, Executor
from worker.executors.live import LiveExecutor
from worker.poller import Poller
from worker.protocol import osc
from worker.protocol.messages import Message, Report
from worker.service.loop import Service

#: Long enough for the slowest machine; nothing waits for it unless something is wrong.
LONG_S = 60.0


class HoldingExecutor:
    """A double that holds tasks until it is told how they end. The canary, which is nobody's job, ends at once."""

    def __init__(self) -> None:
        self.tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self.aborted: queue.SimpleQueue[int] = queue.SimpleQueue()
        self.is_canary: Callable[[Task], bool] = lambda _: False
        self._deliver: Deliver = lambda _: None

    def start(self, deliver: Deliver, _poller: Poller | None = None) -> None:
        self._deliver = deliver
        deliver(ChildrenChanged(working=True))

    def execute(self, task: Task) -> None:
        if self.is_canary(task):
            self.finish(task)
        else:
            self.tasks.put(task)

    def abort(self, task_id: int) -> None:
        self.aborted.put(task_id)
        self._deliver(Finished(task_id, Result()))

    def close(self) -> None:
        """Nothing: there are no children."""

    def next_task(self) -> Task:
        """The next task that was to be run."""
        return self.tasks.get(timeout=LONG_S)

    def finish(self, task: Task, outcome: Outcome | None = None) -> None:
        self._deliver(Finished(task.id, outcome or Result()))

    def progress(self, task: Task, done: int) -> None:
        self._deliver(Progressed(task.id, done))


class Peer:
    """A program beside the worker: one socket that sends, one that hears text reports, one that hears numbers.

    Reading threads empty the two latter at once, so that what is missing was not lost here.
    """

    def __init__(self) -> None:
        self._sending, self._text, self._numbers = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(3))
        self._inboxes: dict[socket.socket, queue.SimpleQueue[bytes]] = {}
        for udp in (self._sending, self._text, self._numbers):
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 2**20)
            udp.bind(("127.0.0.1", 0))
            self._inboxes[udp] = queue.SimpleQueue()
            threading.Thread(target=self._read, args=(udp,), daemon=True).start()
        self.worker = ("127.0.0.1", 0)

    @property
    def port(self) -> int:
        return self._sending.getsockname()[1]

    @property
    def text_port(self) -> int:
        return self._text.getsockname()[1]

    @property
    def number_port(self) -> int:
        return self._numbers.getsockname()[1]

    def send(self, *messages: Message) -> None:
        """Each in a datagram of its own."""
        for message in messages:
            self.send_bytes(osc.encode(message))

    def send_bytes(self, datagram: bytes) -> None:
        self._sending.sendto(datagram, self.worker)

    def datagram(self, which: str = "text") -> bytes:
        """The next datagram that came: to the `text` port, to that of the `numbers`, or to the one that commands were `sending` from."""
        return self._inboxes[getattr(self, f"_{which}")].get(timeout=LONG_S)

    def reports(self, which: str = "text") -> Iterator[Report]:
        """What comes, for ever."""
        while True:
            for report in osc.decode_reports(self.datagram(which)):
                assert isinstance(report, Message), report
                yield report

    def until(self, wanted: type[Message] | Callable[[Any], bool], which: str = "text") -> Any:
        """Waits for a report of this class, or one of which this is true."""
        is_it = wanted if not isinstance(wanted, type) else lambda report: isinstance(report, wanted)
        return next(report for report in self.reports(which) if is_it(report))

    def close(self) -> None:
        for udp in self._inboxes:
            with contextlib.suppress(OSError):
                udp.sendto(b"", udp.getsockname())  # wakes its reading thread, which closes it

    def _read(self, udp: socket.socket) -> None:
        while True:
            try:
                datagram = udp.recv(65_535)
            except ConnectionError:
                continue
            if not datagram:
                udp.close()
                return
            self._inboxes[udp].put(datagram)


@contextlib.contextmanager
def running(executor: Executor, peer: Peer, followers: LiveExecutor | None = None, **settings: Any) -> Iterator[Service]:
    """A service whose default report ports are the peer's."""
    config = replace(Config(host="127.0.0.1", port=0, workers=2, text_port=peer.text_port, number_port=peer.number_port), **settings)
    service = Service(config, executor, live=followers)
    if isinstance(executor, HoldingExecutor):
        executor.is_canary = lambda task: service._scheduler.is_canary(task.id)
    thread = threading.Thread(target=service.run)
    thread.start()
    peer.worker = service.address
    try:
        yield service
    finally:
        service.stop("end of the test", at_once=True)
        thread.join(LONG_S)
        assert not thread.is_alive()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
