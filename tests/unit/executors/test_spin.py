"""For which tasks the parent stays awake."""

from __future__ import annotations

from worker.executors.spin import RECENT_S, Spin

STEP_S = 0.001


def stayed(spin: Spin, found: list[bool], operation: str = "noop", begin: float = 0.0) -> list[bool]:
    """For which of so many tasks, one right after the other, it does; `found` says of each whether it would be in time."""
    seen = []
    for number, one in enumerate(found):
        record = spin.given(operation, begin + number * STEP_S)
        seen.append(record is not None)
        if record is not None:
            record.looked(one)
    return seen


def test_short_tasks():
    """For all but the first."""
    assert stayed(Spin(cores=2), [True] * 5) == [False, True, True, True, True]


def test_seldom():
    """A task of which none like it came lately: such as the canary of an idle worker."""
    spin = Spin(cores=2)
    assert [spin.given("noop", number * RECENT_S) for number in range(5)] == [None] * 5
    assert stayed(spin, [True], begin=4.5 * RECENT_S) == [True]


def test_long_tasks():
    """In vain once: not for the next one, then not for two, for four. A thousand of them cost ten tries."""
    assert stayed(Spin(cores=2), [False] * 13) == [False, True, False, True, False, False, True, False, False, False, False, True, False]
    assert sum(stayed(Spin(cores=2), [False] * 1000)) == 10


def test_operations_by_themselves():
    """What takes long does not spoil what does not."""
    spin = Spin(cores=2)
    stayed(spin, [False] * 100, "find_circles")
    assert stayed(spin, [True] * 3) == [False, True, True]


def test_shorter_again():
    """Tasks that have become short are found out."""
    spin = Spin(cores=2)
    stayed(spin, [False] * 50)
    later = stayed(spin, [True] * 200, begin=0.1)
    assert not any(later[:10])
    assert all(later[-10:])


def test_one_core():
    """The child needs it."""
    assert stayed(Spin(cores=1), [True] * 5) == [False] * 5
