"""What children do in the tests of faults: a double that needs no pictures, so that a child is there in a moment."""

from __future__ import annotations

import os
from collections.abc import Callable

from worker.core.jobs import Result, Task
from worker.executors.base import RunTask


def make_run_task() -> RunTask:
    """For `PoolExecutor`; the current folder is the first root."""
    return run_task


def run_task(task: Task, _progress: Callable[[int], None]) -> Result:
    """Appends what is to be appended; everything else is done at once."""
    if getattr(task.params, "append", False):
        descriptor = os.open(task.params.output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)  # type: ignore[attr-defined]
        os.write(descriptor, task.params.text.encode())  # type: ignore[attr-defined]
        os.close(descriptor)
    return Result()
