"""Reports to a port where nobody listens: the worker is told, the others lose nothing."""

from __future__ import annotations

import queue
import socket
import sys
import time

import pytest

from tests.ports import free_port
from worker.network.endpoint import Endpoint
from worker.network.unreachable import Unreachable, Unreachables, log_unreachable

linux = pytest.mark.skipif(sys.platform != "linux", reason="not on this system: it does not tell which packets were refused")

HERE = ("127.0.0.1", 0)


@pytest.fixture
def told():
    return queue.SimpleQueue()


@pytest.fixture
def received():
    return queue.SimpleQueue()


@pytest.fixture
def endpoint(told, received):
    endpoint = Endpoint(HERE, lambda datagram, _: received.put(datagram), lambda peer, reason: told.put((peer, reason)))
    endpoint.start()
    yield endpoint
    endpoint.close()


@linux
def test_the_target_is_told(endpoint, told):
    """Which one it was, and why."""
    nobody = ("127.0.0.1", free_port())
    endpoint.send(b"hello", nobody)
    assert told.get(timeout=2) == (nobody, "Connection refused")


@linux
def test_a_target_that_listens_loses_nothing_beside_one_that_does_not(endpoint, told):
    """The answer to one packet interrupts the sending of the next, which is sent all the same."""
    nobody = ("127.0.0.1", free_port())
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(HERE)
        listener.settimeout(2)
        for number in range(500):
            endpoint.send(b"lost", nobody)
            endpoint.send(b"%d" % number, listener.getsockname())
            assert listener.recv(100) == b"%d" % number
    assert told.get(timeout=2)[0] == nobody


@linux
def test_a_flood_to_nobody_costs_few_answers(endpoint, told, received):
    """After some answers the system is not asked for the rest of the second, and what comes in comes in."""
    nobody = ("127.0.0.1", free_port())
    for _ in range(5000):
        endpoint.send(b"lost", nobody)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        for number in range(100):
            sender.sendto(b"%d" % number, endpoint.address)
    assert [received.get(timeout=2) for _ in range(100)] == [b"%d" % number for number in range(100)]
    assert 1 <= told.qsize() <= 100


@linux
def test_it_goes_on_in_the_next_second(endpoint, told):
    """A target that goes away later is noticed, too."""
    for _ in range(50):
        endpoint.send(b"lost", ("127.0.0.1", free_port()))
    time.sleep(1.1)
    late = ("127.0.0.1", free_port())
    endpoint.send(b"lost", late)
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline and told.get(timeout=2)[0] != late:
        pass
    assert time.monotonic() < deadline


def test_each_target_is_told_once_a_minute():
    """However often it is refused."""
    told = []
    unreachables = Unreachables(told.append)
    for port in (1, 2, 1, 1, 2):
        unreachables(("127.0.0.1", port), "Connection refused")
    assert [one.peer[1] for one in told] == [1, 2]


@linux
@pytest.mark.parametrize(
    ("peer", "words"),
    [(("127.0.0.1", 0), "nobody listens at 127.0.0.1:"), (("255.255.255.255", 9461), "reports do not get to 255.255.255.255:9461")],
)
def test_what_is_said_blames_who_it_was(caplog, peer, words):
    """Only a refused packet was the other side's; one that could not even leave is not for want of an OSC In DAT there."""
    told = []
    endpoint = Endpoint(HERE, lambda *_: None, lambda *about: told.append(Unreachable(*about)))
    peer = (peer[0], peer[1] or free_port())
    for _ in range(3):
        endpoint.send(b"lost", peer)
    log_unreachable(told[0])
    endpoint.close()
    assert words in caplog.text
    assert ("OSC In DAT" in caplog.text) == words.startswith("nobody")
