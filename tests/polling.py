"""An executor with a poller of its own, for tests that have no service: everything happens in a thread, as it does there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, ClassVar

from worker.core.jobs import Task
from worker.executors.base import Deliver, Executor
from worker.poller import Poller


class Polled:
    """Hands every call over to the thread of the poller. What is raised there is raised again by `close`."""

    #: Started and not closed.
    running: ClassVar[set[Polled]] = set()

    def __init__(self, executor: Executor) -> None:
        self.inner: Any = executor
        self.error: BaseException | None = None
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="poller", daemon=True)

    def start(self, deliver: Deliver) -> None:
        self._deliver = deliver
        self._ready = threading.Event()
        self.running.add(self)
        self._thread.start()
        self._ready.wait()

    def execute(self, task: Task) -> None:
        self._poller.call(lambda: self.inner.execute(task))

    def abort(self, task_id: int) -> None:
        self._poller.call(lambda: self.inner.abort(task_id))

    def call(self, something: Callable[[], None]) -> None:
        self._poller.call(something)

    @property
    def pids(self) -> tuple[int, ...]:
        return self.inner.pids

    def close(self) -> None:
        self.running.discard(self)
        if self._thread.is_alive():
            self._poller.call(self._end)
            self._thread.join()
        if self.error is not None:
            raise self.error

    def _end(self) -> None:
        self._ending = True

    def _run(self) -> None:
        self._poller = Poller()
        self.inner.start(self._deliver, self._poller)
        self._ready.set()
        try:
            while not self._ending:
                self._poller.wait()
        except Exception as error:  # noqa: BLE001 - whatever it is, `close` raises it
            self.error = error
        finally:
            self.inner.close()
            self._poller.close()
