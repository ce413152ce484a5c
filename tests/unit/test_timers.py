from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.timers import Timers


def test_order():
    """Calls are made in the order of their times, and in that of their asking where the times are the same."""
    timers, seen = Timers(), []
    for when, name in ((3.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "later")):
        timers.at(when, lambda _, name=name: seen.append(name))
    timers.run_due(5.0)
    assert seen == ["a", "b", "c"]
    assert timers.next_deadline() == 9.0


def test_a_call_that_asks_for_another():
    """What a call adds for now waits for the next round, so that a round always ends."""
    timers, seen = Timers(), []

    def again(now):
        seen.append(now)
        timers.at(now, again)

    timers.at(1.0, again)
    timers.run_due(1.0)
    timers.run_due(1.0)
    assert seen == [1.0, 1.0]


def test_cancelled_by_a_call_of_the_same_round():
    """A call can still be cancelled by one that was due with it."""
    timers, seen = Timers(), []
    timers.at(1.0, lambda _: timers.cancel(second))
    second = timers.at(1.0, seen.append)
    timers.run_due(2.0)
    assert seen == []


def test_memory():
    """Cancelled calls do not pile up, however far their time is."""
    timers = Timers()
    for n in range(10_000):
        timers.cancel(timers.at(600.0 + n, lambda _: None))
    assert len(timers._heap) < 200
    assert timers.next_deadline() is None


@given(st.lists(st.tuples(st.sampled_from(["at", "cancel", "run"]), st.integers(0, 20)), max_size=200))
def test_any_use(steps):
    """Each call is made once, not before its time, and never after it was cancelled."""
    timers, now = Timers(), 0
    wanted, made = {}, []
    for what, number in steps:
        if what == "at":
            handle = timers.at(now + number, made.append)
            wanted[handle] = now + number
        elif what == "cancel" and wanted:
            handle = list(wanted)[number % len(wanted)]
            timers.cancel(handle)
            del wanted[handle]
        else:
            now += number
            made.clear()
            timers.run_due(now)
            due = [handle for handle, when in wanted.items() if when <= now]
            assert made == [now] * len(due)
            for handle in due:
                del wanted[handle]
        assert timers.next_deadline() == min(wanted.values(), default=None)
