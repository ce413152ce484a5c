"""What the log says of the source of a live job."""

import logging

from worker.core.jobs import Task
from worker.executors.live import _Session
from worker.timers import TokenBucket


def test_a_source_that_is_away_is_logged_once():
    """It is tried every half a minute, for weeks if need be; the log is for what changes. Lost a second time, it is a warning again."""
    session = _Session(Task(1, "track", None), 16, TokenBucket(1, 1))
    words = ["Opening", "Lost", "Opening", "Lost", "Opening", "Live", "Lost", "Opening", "Live", "Ended"]
    loud = [word for word in words if session.level(word) > logging.DEBUG]
    assert loud == ["Opening", "Lost", "Live", "Lost", "Live", "Ended"]
    assert session.level("Lost") == logging.WARNING
    assert session.level("Live") == logging.INFO
