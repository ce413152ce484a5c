from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from worker.core.backlog import PATIENCE, Backlog


def key(name):
    return ("td", name)


def order(backlog, priorities):
    """Lets each job have one turn, as a job of one task does."""
    names = []
    while (turn := backlog.take_turn()) is not None:
        names.append(turn[1])
        backlog.remove(turn, priorities[turn[1]])
    return names


def test_empty():
    """Nobody's turn."""
    assert Backlog().take_turn() is None


def test_priorities():
    """Live before normal before batch, and the older first."""
    priorities = {"b1": 2, "n1": 1, "l1": 0, "b2": 2, "l2": 0}
    backlog = Backlog()
    for name, priority in priorities.items():
        backlog.add(key(name), priority)
    assert order(backlog, priorities) == ["l1", "l2", "n1", "b1", "b2"]


def test_patience():
    """Of nine turns, one goes to the priority that was passed over; of those, again, one to the next."""
    backlog = Backlog()
    for name, priority in (("l", 0), ("n", 1), ("b", 2)):
        backlog.add(key(name), priority)
    turns = [backlog.take_turn()[1] for _ in range(900)]
    assert turns[: PATIENCE + 1] == ["l"] * PATIENCE + ["n"]
    assert turns.count("l") > 650
    assert turns.count("n") > 50
    assert turns.count("b") > 50


def test_a_batch_keeps_its_place():
    """A job stays until it is removed, so that a batch gets turn after turn."""
    backlog = Backlog()
    backlog.add(key("a"), 1)
    backlog.add(key("b"), 1)
    backlog.add(key("a"), 1)
    assert [backlog.take_turn()[1] for _ in range(3)] == ["a", "a", "a"]
    assert len(backlog) == 2


def test_first():
    """A running batch whose next tasks are known goes before those that have not begun."""
    backlog = Backlog()
    backlog.add(key("a"), 1)
    backlog.add_first(key("b"), 1)
    assert order(backlog, {"a": 1, "b": 1}) == ["b", "a"]


def test_take_over():
    """A newer job in the place of an older one."""
    backlog = Backlog()
    for name in "abc":
        backlog.add(key(name), 1)
    backlog.take_over(key("b"), key("new"), 1)
    backlog.remove(key("b"), 1)
    backlog.add(key("new"), 1)
    backlog.add(key("b"), 1)
    assert order(backlog, dict.fromkeys(("a", "b", "c", "new"), 1)) == ["a", "new", "c", "b"]


def test_position():
    """Ahead of a new job stand all of its own priority and of those above."""
    backlog = Backlog()
    for name, priority in (("l", 0), ("n", 1), ("b", 2)):
        backlog.add(key(name), priority)
    assert [backlog.ahead_of_new(priority) for priority in range(3)] == [1, 2, 3]


@given(st.lists(st.tuples(st.sampled_from(["add", "first", "remove", "turn"]), st.integers(0, 8)), max_size=200))
def test_any_use(steps):
    """A turn goes to a job that is there, and to one of a waiting priority after PATIENCE others at most."""
    backlog, there = Backlog(), {}
    since = [0, 0, 0]
    for what, number in steps:
        priority = number % 3
        if what == "add":
            backlog.add(key(number), priority)
            there[key(number)] = priority
        elif what == "first":
            backlog.add_first(key(number), priority)
            there[key(number)] = priority
        elif what == "remove":
            backlog.remove(key(number), priority)
            there.pop(key(number), None)
        else:
            turn = backlog.take_turn()
            assert turn in there if there else turn is None
            for waiting in set(there.values()):
                since[waiting] = 0 if turn and there[turn] == waiting else since[waiting] + 1
        for gone in {0, 1, 2} - set(there.values()):
            since[gone] = 0
        assert max(since) <= 2 * PATIENCE + 2
        assert len(backlog) == len(there)


NAMES = st.sampled_from("abcde")
STEPS = st.lists(st.tuples(st.sampled_from(["add", "first", "over", "remove"]), NAMES, NAMES), max_size=40)


@given(STEPS)
def test_as_a_list(steps):
    """Whatever comes and goes, and takes over whose place, and comes back: the order is that of a plain list for each priority."""
    backlog, lists = Backlog(), ([], [], [])
    for what, name, other in steps:
        priority = ord(name) % 3
        row = lists[priority]
        if what == "over":
            if name in row and all(other not in one for one in lists):
                backlog.take_over(key(name), key(other), priority)
                row[row.index(name)] = other
        elif any(name in one for one in lists if one is not row):  # it took over a place of another priority than its name's
            continue
        elif what == "remove":
            backlog.remove(key(name), priority)
            row[:] = [one for one in row if one != name]
        else:
            (backlog.add if what == "add" else backlog.add_first)(key(name), priority)
            row[:] = row if name in row and what == "add" else [*row, name] if what == "add" else [name, *(o for o in row if o != name)]
        assert list(backlog) == [key(one) for row in lists for one in row]
        assert len(backlog) == sum(map(len, lists))
        assert [key(one) in backlog for one in "abcde"] == [any(one in row for row in lists) for one in "abcde"]
        assert backlog.ahead_of_new(1) == len(lists[0]) + len(lists[1])
