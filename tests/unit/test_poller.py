import selectors
import socket
import threading

import pytest

from worker import poller as poller_module
from worker.poller import Poller


class Clock:
    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time


class Selector:
    """A double that sleeps by moving the clock: as long as it is told, and longer if the machine does."""

    def __init__(self, clock):
        self.clock = clock
        self.timeouts = []
        self.asleep_s = 0.0

    def register(self, *_):
        pass

    def select(self, timeout):
        self.timeouts.append(timeout)
        self.clock.time += (timeout or 0.0) + self.asleep_s
        return []

    def close(self):
        pass


@pytest.fixture
def asleep(monkeypatch):
    """A poller without a socket or a real clock."""
    clock = Clock()
    selector = Selector(clock)
    monkeypatch.setattr(poller_module.selectors, "DefaultSelector", lambda: selector)
    poller = Poller(clock)
    yield poller, clock, selector
    poller.close()


def test_time_passes(asleep):
    """It sleeps until the next time that somebody wants, and no longer; then it makes the call."""
    poller, clock, selector = asleep
    calls = []
    poller.at(poller.now() + 1.0, calls.append)
    poller.wait(poller.now() + 0.25)
    assert (selector.timeouts, calls) == ([0.25], [])
    poller.wait()
    assert (selector.timeouts, calls) == ([0.25, 0.75], [101.0])
    assert poller.now() == clock.time


@pytest.mark.parametrize("asleep_s", [12.0, 100_000.0])
def test_sleep_does_not_count(asleep, asleep_s):
    """The time stands still while the process does not run, whether it was waiting or in the middle of something."""
    poller, clock, selector = asleep
    calls = []
    poller.at(poller.now() + 5.0, calls.append)
    selector.asleep_s = asleep_s
    poller.wait(poller.now() + 1.0)
    assert poller.now() == pytest.approx(101.0)
    assert calls == []
    selector.asleep_s = 0.0
    clock.time += asleep_s
    assert poller.now() == pytest.approx(101.0)
    poller.wait(poller.now() + 1.0)
    assert poller.now() == pytest.approx(102.0)
    assert calls == []


def test_a_busy_machine_is_no_sleep(asleep):
    """To be late by a second or so is time that passes."""
    poller, _, selector = asleep
    selector.asleep_s = 1.5
    poller.wait(poller.now() + 1.0)
    assert poller.now() == pytest.approx(102.5)


class Busy(Selector):
    """A double for which time goes by with each look, until something happens."""

    ready_at = float("inf")

    def select(self, timeout):
        super().select(timeout)
        self.clock.time += 0.00001
        return [KEY] if self.clock.time >= self.ready_at else []

    def get_map(self):
        return {}


HEARD = []
KEY = (selectors.SelectorKey(None, 0, 0, (lambda: HEARD.append("read"), None)), selectors.EVENT_READ)


@pytest.mark.parametrize(("ready_in", "found"), [(0.0001, True), (0.01, False)])
def test_staying_awake(monkeypatch, ready_in, found):
    """It looks again and again for a while, then it sleeps; once, and it says whether that was in vain."""
    clock = Clock()
    selector = Busy(clock)
    monkeypatch.setattr(poller_module.selectors, "DefaultSelector", lambda: selector)
    poller, looked = Poller(clock), []
    HEARD.clear()
    selector.ready_at = clock.time + ready_in
    poller.stay_awake(0.00015, looked.append)
    poller.wait(poller.now() + 1.0)
    assert looked == [found]
    assert HEARD == ["read"]
    assert len(selector.timeouts) == pytest.approx(10 if found else 16, abs=2)
    assert (selector.timeouts[-1] > 0) is not found
    del selector.timeouts[:]
    poller.wait(poller.now() + 1.0)
    assert len(selector.timeouts) == 1
    poller.close()


def test_awake_with_something_to_do(asleep):
    """If it is not to sleep at all, it looks once, and nothing is said about it."""
    poller, _, selector = asleep
    poller.stay_awake(0.00015, lambda _: pytest.fail("it was said"))
    poller.wait(poller.now())
    assert selector.timeouts == [0.0]


def test_calls_from_other_threads():
    """A call from another thread is made in the thread that waits, soon, however long that meant to wait."""
    poller = Poller()
    made = []
    thread = threading.Thread(target=lambda: poller.call(lambda: made.append(threading.get_ident())))
    thread.start()
    while not made:
        poller.wait(poller.now() + 60)
    thread.join()
    assert made == [threading.get_ident()]
    poller.close()


def test_reading_and_writing():
    """A socket is reported when there is something to read, and when there is room to write, if that is wanted; none that is forgotten."""
    poller = Poller()
    ours, theirs = socket.socketpair()
    seen = []
    poller.watch(ours, lambda: seen.append(ours.recv(10)))
    theirs.send(b"a")
    poller.wait(poller.now() + 60)
    poller.watch(ours, lambda: seen.append("read"), lambda: seen.append("room"))
    poller.wait(poller.now() + 60)
    assert seen == [b"a", "room"]
    poller.forget(ours)
    poller.forget(ours)
    theirs.send(b"b")
    poller.wait(poller.now())
    assert seen == [b"a", "room"]
    for link in (ours, theirs):
        link.close()
    poller.close()


def test_what_is_forgotten_in_this_very_round():
    """Whoever finds that the other end has gone closes the socket, while there is room to write, too. Nothing more is called for it."""
    poller = Poller()
    pairs = [socket.socketpair() for _ in range(2)]
    seen = []

    def gone(number):
        seen.append(number)
        for ours, _ in pairs:
            poller.forget(ours)
            ours.close()

    for number, (ours, theirs) in enumerate(pairs):
        poller.watch(ours, lambda number=number: gone(number), lambda: seen.append("room"))
        theirs.close()
    poller.wait(poller.now() + 60)
    assert len(seen) == 1
    assert seen[0] in (0, 1)
    poller.close()
