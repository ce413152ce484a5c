"""One real child process with its bounds, and a look at it from outside."""

from __future__ import annotations

import contextlib
import functools
import itertools
import queue
import time
from pathlib import Path

from tests.polling import Polled
from worker.catalog.table import CATALOG
from worker.core.events import Finished
from worker.core.jobs import Failure, Outcome, Task
from worker.executors.pool import PoolExecutor
from worker.files.limits import FileLimits
from worker.files.paths import FileRules
from worker.tasks.prepare import make_run_task


class Hang(AssertionError):
    """The child gave no answer in time."""


class Child:
    """Gives tasks to a pool of one child.

    Args:
        root: where it may read and write.
        limits: its bounds.
    """

    def __init__(self, root: Path, limits: FileLimits) -> None:
        self._told: queue.SimpleQueue = queue.SimpleQueue()
        self._pool = Polled(PoolExecutor(1, functools.partial(make_run_task, FileRules((root,), limits=limits)), spares=0))
        self._ids = itertools.count(1)
        self._pool.start(self._told.put)

    def job(self, operation: str, patience_s: float = 20.0, **values) -> Outcome:
        """The outcome of a small job. Raises Hang, and ends the child, if there is none in time."""
        params, _ = CATALOG.parse_job(operation, values.items())
        task = Task(next(self._ids), operation, params)
        self._pool.execute(task)
        until = time.monotonic() + patience_s
        while (left := until - time.monotonic()) > 0:
            with contextlib.suppress(queue.Empty):
                told = self._told.get(timeout=left)
                if isinstance(told, Finished) and told.task_id == task.id:
                    return told.outcome
        self._pool.abort(task.id)
        raise Hang(f"{operation} {values} gave no answer in {patience_s} s")

    @property
    def pid(self) -> int:
        (pid,) = self._pool.pids
        return pid

    def peak_mb(self) -> float:
        """The most memory that it ever took, as Linux counts it."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        (peak,) = (line for line in lines if line.startswith("VmHWM"))
        return int(peak.split()[1]) / 1024

    def close(self) -> None:
        self._pool.close()


def failed(outcome: Outcome) -> int:
    """The code of a failure, 200 for a result."""
    return outcome.code if isinstance(outcome, Failure) else 200
