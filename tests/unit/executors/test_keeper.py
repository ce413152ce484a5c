"""The thread that starts children."""

import json
import queue
import signal
import sys

import pytest

from worker.executors import child
from worker.executors.keeper import Keeper


def says_what_it_is_deaf_to(link, _mark):
    """A child that says which signals were blocked when it began, and which were left so once it had prepared itself."""
    blocked = [sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ()))]
    child.prepare(link)
    blocked.append(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())))
    link.setblocking(True)
    link.sendall(json.dumps(blocked).encode())


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals that can be blocked")
def test_a_child_hears_no_ctrl_c_before_it_can_leave_it_to_its_parent():
    """In the first moments it would end with a traceback."""
    came = queue.SimpleQueue()
    keeper = Keeper(says_what_it_is_deaf_to, ())
    keeper.start(lambda call: call(), lambda: None)
    keeper.begin(lambda *started: came.put(started), came.put)
    _, link, _ = came.get(timeout=60)
    link.setblocking(True)
    link.settimeout(60)
    at_first, later = json.loads(link.recv(4096))
    assert {signal.SIGINT, signal.SIGTERM} <= set(at_first)
    assert not {signal.SIGINT, signal.SIGTERM} & set(later)
    keeper.close()
