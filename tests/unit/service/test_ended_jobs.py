"""The operator's line about an ended job."""

from __future__ import annotations

import logging

import pytest

from worker.core.events import JobEnded
from worker.poller import Poller
from worker.service.ended_jobs import AT_ONCE, WITHIN_S, EndedJobs, log_ended


def ended(word="ready", code=200, message="", job_id="shot-1", name="td"):
    return JobEnded("10.0.0.1:9461", name, job_id, "find_circles", word, code, 3, 512, 4, 1, message)


def test_one_line(caplog):
    """Who, what, how, and the times."""
    caplog.set_level(logging.INFO)
    log_ended(ended())
    log_ended(ended("file", 404, "There is no file b.png."))
    assert caplog.messages == [
        "job 'shot-1' of 10.0.0.1:9461 'td': find_circles ready 200, waited 3 ms, ran 512 ms, attempt 1, 4 items",
        "job 'shot-1' of 10.0.0.1:9461 'td': find_circles file 404, waited 3 ms, ran 512 ms, attempt 1, 4 items: 'There is no file b.png.'",
    ]


@pytest.mark.parametrize(
    ("code", "level"),
    [(200, "INFO"), (499, "INFO"), (410, "INFO"), (503, "INFO"), (400, "WARNING"), (408, "WARNING"), (500, "ERROR"), (507, "ERROR")],
)
def test_levels(caplog, code, level):
    """Ours is an error, the client's mistake a warning, and what is well or was wanted is info."""
    caplog.set_level(logging.DEBUG)
    log_ended(ended("word", code))
    assert [record.levelname for record in caplog.records] == [level]


def test_no_forged_line(caplog):
    """Texts of clients are quoted: no line ends, no colours."""
    caplog.set_level(logging.INFO)
    log_ended(ended("file", 404, "a\n2026 INFO fake", job_id="a\x1b[31m\nERROR", name="x\r\n"))
    (line,) = caplog.messages
    assert line.isprintable()


class Times:
    """A clock that stands still until it is moved."""

    time = 100.0

    def __call__(self):
        return self.time


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)
    clock = Times()
    poller = Poller(clock)
    yield EndedJobs(poller), clock, poller
    poller.close()


def test_several_lines_at_a_time(lines, caplog):
    """Those of jobs that went well wait until there are some of them, or for a moment."""
    jobs, clock, poller = lines
    for number in range(AT_ONCE - 1):
        jobs.add(ended(job_id=f"{number}"))
    assert caplog.messages == []
    jobs.add(ended(job_id="last"))
    assert len(caplog.messages) == AT_ONCE
    jobs.add(ended(job_id="alone"))
    clock.time += WITHIN_S
    assert len(caplog.messages) == AT_ONCE
    poller.wait(clock.time)
    assert len(caplog.messages) == AT_ONCE + 1


def test_what_failed_is_written_at_once(lines, caplog):
    """And those before it, so that the order stays. The timer of those that waited rings for nothing."""
    jobs, clock, poller = lines
    jobs.add(ended(job_id="a"))
    jobs.add(ended("file", 404, "There is no file b.png.", job_id="b"))
    assert [message.split()[1] for message in caplog.messages] == ["'a'", "'b'"]
    jobs.add(ended(job_id="c"))
    jobs.write()
    clock.time += 10 * WITHIN_S
    poller.wait(clock.time)
    assert len(caplog.messages) == 3
