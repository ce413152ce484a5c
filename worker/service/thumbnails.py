"""Makes the small pictures of the page in a child process of its own, so that no job waits for one.

The child is started when somebody wants a picture, works with a lower priority than the others, and ends when nobody has wanted one for a
minute. It reads files by the same rules, and in the same sandbox.
"""

from __future__ import annotations

import base64
import functools
import itertools
import logging
import threading
from collections.abc import Callable

from worker.catalog.thumbnails import THUMBNAIL, THUMBNAILS, Thumbnail
from worker.config import Config
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.core.jobs import Failure, Result, Task
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.poller import Poller
from worker.tasks.prepare import make_run_task
from worker.web.making import Answer, Picture

log = logging.getLogger(__name__)

OPERATIONS = "worker.operations.thumbnails:OPERATIONS"
#: How many may wait to be made.
MOST_WAITING = 200
#: The child ends after so long without work, and one picture may take so long. That includes the start of the child, which gives way to
#: all jobs.
IDLE_S = 60.0
WITHIN_S = 60.0
LOWER = 15


class Thumbnails:
    """A thread with a child. `ask` and `close` may be called from any thread.

    Args:
        config: the worker's settings.
        rules: which files may be read.
    """

    def __init__(self, config: Config, rules: FileRules) -> None:
        confined = config.sandbox == "on"
        self._make = functools.partial(make_run_task, rules, THUMBNAILS, OPERATIONS, confined=confined, nice=max(config.nice, LOWER))
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        self._closed = False

    def ask(self, path: str, size: int, answer: Answer) -> bool:
        """Wants a picture. `answer` is called in another thread, once; or False comes back because too many are wanted already."""
        with self._lock:
            if self._closed:
                return False
            if self._thread is None or not self._thread.begin(path, size, answer):
                if self._thread is not None and self._thread.is_alive() and self._thread.is_full:
                    return False
                self._thread = _Thread(self._make)
                self._thread.begin(path, size, answer)
                self._thread.start()
            return True

    def close(self) -> None:
        """Ends the child. What was wanted is answered with a failure."""
        with self._lock:
            self._closed = True
            thread = self._thread
        if thread is not None:
            thread.end()
            thread.join()


class _Thread(threading.Thread):
    def __init__(self, make: Callable[[], object]) -> None:
        super().__init__(name="thumbnails", daemon=True)
        self._pool = PoolExecutor(1, make, spares=0)  # type: ignore[arg-type]  # a partial of `make_run_task`
        self._poller = Poller()
        self._lock = threading.Lock()
        self._ids = itertools.count(1)
        self._wanted: dict[int, tuple[Answer, int]] = {}
        self._ending = False
        self._idle_at = self._poller.now() + IDLE_S

    @property
    def is_full(self) -> bool:
        return len(self._wanted) >= MOST_WAITING

    def begin(self, path: str, size: int, answer: Answer) -> bool:
        with self._lock:
            if self._ending or self.is_full:
                return False
            number = next(self._ids)
            task = Task(number, THUMBNAIL, Thumbnail(image=path, size=size))
            self._wanted[number] = answer, -1
        self._poller.call(lambda: self._execute(task))
        return True

    def end(self) -> None:
        with self._lock:
            self._ending = True
        self._poller.call(lambda: None)

    def run(self) -> None:
        self._pool.start(self._deliver, self._poller)
        try:
            while not self._has_ended():
                self._poller.wait(self._idle_at)
        finally:
            for number in list(self._wanted):
                self._answer(number, "The worker ends.")
            self._pool.close()
            self._poller.close()

    def _has_ended(self) -> bool:
        with self._lock:
            if not self._wanted and self._poller.now() >= self._idle_at:
                self._ending = True
            return self._ending

    def _execute(self, task: Task) -> None:
        answer, _ = self._wanted[task.id]
        self._wanted[task.id] = answer, self._poller.at(self._poller.now() + WITHIN_S, lambda _: self._pool.abort(task.id))
        self._pool.execute(task)

    def _deliver(self, event: Progressed | Finished | ChildrenChanged) -> None:
        if not isinstance(event, Finished) or event.task_id not in self._wanted:
            return
        outcome = event.outcome
        if isinstance(outcome, Result) and outcome.texts and outcome.rows:
            width, height = outcome.rows[0][:2]
            self._answer(event.task_id, Picture(base64.b64decode(outcome.texts[0][0]), int(width), int(height)))
        else:
            self._answer(event.task_id, outcome.message if isinstance(outcome, Failure) else "This is no picture.")

    def _answer(self, number: int, what: Picture | str) -> None:
        answer, timer = self._wanted.pop(number)
        self._poller.cancel(timer)
        self._idle_at = self._poller.now() + IDLE_S
        try:
            answer(what)
        except Exception:
            log.exception("a picture for the page could not be handed over")
