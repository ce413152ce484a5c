"""What the log says of the source of a live job."""

import logging
import socket

from worker.core.jobs import Task
from worker.executors.live import Followers, _Session
from worker.poller import Poller
from worker.timers import TokenBucket


def test_a_source_that_is_away_is_logged_once():
    """It is tried every half a minute, for weeks if need be; the log is for what changes. Lost a second time, it is a warning again."""
    session = _Session(Task(1, "track", None), 16, TokenBucket(1, 1))
    words = ["Opening", "Lost", "Opening", "Lost", "Opening", "Live", "Lost", "Opening", "Live", "Ended"]
    loud = [word for word in words if session.level(word) > logging.DEBUG]
    assert loud == ["Opening", "Lost", "Live", "Lost", "Live", "Ended"]
    assert session.level("Lost") == logging.WARNING
    assert session.level("Live") == logging.INFO


def test_a_process_that_has_gone_is_allowed_another_picture():
    """That is done some time after its newest one. Its socket may be closed by then, while nobody has said yet how it ended."""
    poller = Poller()
    followers = Followers(None)
    followers.start(lambda _: None, poller)
    ours, theirs = socket.socketpair()
    theirs.close()
    ours.close()
    session = followers._sessions[1] = _Session(Task(1, "track", None), 16, TokenBucket(1, 1), link=ours)
    followers._take(session)
    poller.wait(poller.now())
    assert session.open > 0
    poller.close()
