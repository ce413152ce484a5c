"""A catalogue of other operations, in real child processes."""

from __future__ import annotations

import functools
import queue

import numpy as np

from tests import small
from tests.polling import Polled
from worker.core.events import ChildrenChanged, Finished
from worker.core.jobs import Failure, Result, Task
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.pictures.images import write_image
from worker.tasks.prepare import find_missing, make_run_task


def test_children_say_what_is_missing(tmp_path):
    """The first that works names what this build cannot do, in its own words."""
    make = functools.partial(make_run_task, FileRules((tmp_path.resolve(),)), small.CATALOG, "tests.small:OPERATIONS")
    missing = functools.partial(find_missing, "tests.small:OPERATIONS")
    pool, said = Polled(PoolExecutor(1, make, spares=0, find_missing=missing)), queue.SimpleQueue()
    pool.start(said.put)
    try:
        assert said.get(timeout=60) == ChildrenChanged(
            working=True, missing={"magic": "the package `wand` is missing; install td-image-worker[magic]."}
        )
    finally:
        pool.close()


def test_children_get_their_catalogue(tmp_path):
    """A child has the operations that the parent names, and no others."""
    write_image(tmp_path / "a.png", np.full((4, 4), 200, np.uint8))
    rules = FileRules((tmp_path.resolve(),))
    pool = Polled(PoolExecutor(1, functools.partial(make_run_task, rules, small.CATALOG, "tests.small:OPERATIONS"), spares=0))
    ended = queue.SimpleQueue()
    pool.start(lambda event: ended.put(event) if isinstance(event, Finished) else None)
    try:
        params, _ = small.CATALOG.parse_job("threshold", [("image", "a.png"), ("output", "b.png")])
        pool.execute(Task(1, "threshold", params))
        outcome = ended.get(timeout=60).outcome
        assert isinstance(outcome, Result)
        assert outcome.rows == ((1.0,),)
        pool.execute(Task(2, "find_circles", params))
        assert isinstance(ended.get(timeout=60).outcome, Failure)
    finally:
        pool.close()
    assert (tmp_path / "b.png").exists()
