"""The watch over memory that stands in where the system enforces no limit."""

from __future__ import annotations

import multiprocessing
import sys
import time

import pytest

from tests.polling import Polled
from worker.catalog.noop import Noop
from worker.core.events import Finished
from worker.core.jobs import Result, Task
from worker.executors import memory
from worker.executors.pool import PoolExecutor


def greedy():
    """A child that is watched, and whose task takes ever more."""
    memory.watch(200)

    def run(task, progress):
        if task.operation == "noop":
            return Result()
        held = []
        while True:
            held.append(b"x" * 2**20)
            time.sleep(0.001)

    return run


@pytest.mark.timeout(30)
def next_finished(told):
    """The next end of a task; how many children there are is not looked at."""
    while not isinstance(event := told.get(), Finished):
        pass
    return event


def test_watch():
    """A child over its memory ends, its job is 413 with the option, and the next job runs."""
    told = multiprocessing.get_context("spawn").SimpleQueue()
    pool = Polled(PoolExecutor(1, greedy))
    pool.start(lambda event: told.put(event) if isinstance(event, Finished) else None)
    try:
        pool.execute(Task(1, "greedy", Noop()))
        finished = next_finished(told)
        assert finished.outcome.code == 413
        assert "--max-child-mb" in finished.outcome.hint
        pool.execute(Task(2, "noop", Noop()))
        assert next_finished(told) == Finished(2, Result())
    finally:
        pool.close()


@pytest.mark.skipif(sys.platform != "linux", reason="not on this system: reads the limit that Linux enforces")
def test_no_cap(monkeypatch):
    """0 leaves the system's limit as it is; any other number sets it."""
    import resource

    asked = []
    monkeypatch.setattr(resource, "setrlimit", lambda which, limits: asked.append((which, limits[0])))
    memory.cap(0)
    assert asked == []
    memory.cap(1)
    assert asked == [(resource.RLIMIT_DATA, 2**20)]
