"""Which tasks travel together."""

import pytest

from worker.catalog.noop import Noop
from worker.core.jobs import Phase, Task
from worker.executors import bundles as module
from worker.executors.bundles import BUNDLE_S, MOST_TASKS, PLACES_PER_SLOT, SHORT_S, Bundles


def task(number, operation="noop", phase=Phase.PLAN):
    return Task(number, operation, Noop(), phase)


def waiting(count, seconds):
    """A number of tasks, each with the time that it takes."""
    made = Bundles()
    made.took(task(0), seconds)
    for number in range(1, count + 1):
        made.add(task(number))
    return made


def ids(tasks):
    return [one.id for one in tasks]


def all_taken(made, slots, room=10_000):
    """What goes at once, while nothing ends."""
    taken = []
    while tasks := made.take(slots, len(taken), room):
        taken.append(ids(tasks))
    return taken


def test_few_do_not_wait():
    """While each slot has room for it, each task travels at once and alone, in order."""
    assert all_taken(waiting(4, 0.001), slots=2) == [[1], [2], [3], [4]]


def test_many_are_spread():
    """More than there are places are divided among them; none waits while a place is free."""
    taken = all_taken(waiting(21, 0.0001), slots=2)
    assert [number for one in taken for number in one] == list(range(1, 22))
    assert [len(one) for one in taken] == [6, 5, 5, 5]


def test_most():
    """A bundle has a limit in tasks, and one in time; the rest waits for the next place."""
    assert [len(one) for one in all_taken(waiting(500, 0.0001), slots=1)] == [MOST_TASKS] * PLACES_PER_SLOT
    made = waiting(500, BUNDLE_S / 4.5)
    assert [len(one) for one in all_taken(made, slots=1)] == [4] * PLACES_PER_SLOT
    assert len(made) == 500 - 4 * PLACES_PER_SLOT


def test_room():
    """No more than may be under way are taken."""
    made = waiting(10, 0.0001)
    assert made.take(1, 0, 0) == []
    assert len(made.take(1, 0, 3)) == 3


@pytest.mark.parametrize("seconds", [SHORT_S * 1.1, 100.0])
def test_long_ones_travel_alone(seconds):
    """Long tasks go at once, however many there are, one by one, as do those of which nothing is known."""
    assert all_taken(waiting(9, seconds), slots=1) == [[n] for n in range(1, 10)]
    unknown = Bundles()
    for number in range(9):
        unknown.add(task(number, "other"))
    assert all_taken(unknown, slots=1) == [[n] for n in range(9)]


def test_kinds():
    """How long a task takes is known for each operation and phase; those of different ones may share a bundle if all are short."""
    made = waiting(1, 0.001)
    made.took(task(0, "other"), 0.001)
    made.add(task(2, "other"))
    made.add(task(3, phase=Phase.PART))
    assert ids(made.take(1, 1, 9)) == [1, 2]
    assert ids(made.take(1, 2, 9)) == [3]


def test_becomes_long():
    """A task that was long makes the next ones travel alone, until they have been short for a while."""
    made = waiting(0, 0.001)
    made.took(task(0), 10.0)
    assert not made.is_short(task(1))
    for _ in range(60):
        made.took(task(0), 0.001)
    assert made.is_short(task(1))


def test_alone_and_again():
    """What must be alone goes before the others and needs no place; what was sent before goes first of all."""
    made = waiting(4, 0.001)
    made.add(task(7), alone=True)
    made.add_again(task(8))
    assert ids(made.take(1, PLACES_PER_SLOT, 9)) == [8]
    assert ids(made.take(1, PLACES_PER_SLOT, 9)) == [7]
    assert made.take(1, PLACES_PER_SLOT, 9) == []


def test_remove():
    """What is not wanted any more is not sent; one that is not there is no error."""
    made = waiting(2, 0.001)
    made.add(task(7), alone=True)
    for number in (1, 7, 99):
        made.remove(number)
    assert all_taken(made, slots=1) == [[2]]


def test_names_without_end(monkeypatch):
    """It remembers a limited number of operations."""
    monkeypatch.setattr(module, "_MOST_KNOWN", 10)
    made = Bundles()
    for number in range(95):
        made.took(task(0, f"operation {number}"), 0.001)
    assert len(made._seconds) <= 10
    assert made.is_short(task(0, "operation 94"))
