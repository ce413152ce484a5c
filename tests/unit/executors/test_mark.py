"""Unit tests of `worker.executors.mark`."""

import multiprocessing
import os
import sys

import psutil
import pytest

from worker.executors.mark import Mark

LONG_S = 60.0


def begins(mark, task_id):
    mark.set(task_id)
    os._exit(3)


def test_seen_after_a_death():
    """What a child noted is there when it has died without another word; another child's page is another."""
    context = multiprocessing.get_context("spawn")
    marks = [Mark.made(), Mark.made()]
    process = context.Process(target=begins, args=(marks[0], 2**62))
    process.start()
    marks[0].handed_over()
    process.join(LONG_S)
    assert process.exitcode == 3
    assert [mark.task_id for mark in marks] == [2**62, 0]
    for mark in marks:
        mark.close()


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: counts handles of POSIX")
def test_no_handle_is_left():
    """A worker that replaces children for months keeps nothing of those that have gone."""
    before = psutil.Process().num_fds()
    for _ in range(20):
        mark = Mark.made()
        mark.handed_over()
        mark.close()
        mark.close()
    assert psutil.Process().num_fds() == before
