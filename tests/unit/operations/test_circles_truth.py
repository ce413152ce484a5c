"""Real pictures with the truth beside them, in `tests/data/circles.json`."""

import numpy as np
import pytest

from tests.benchmarks.circle_pictures import NEGATIVES, scene_of
from tests.benchmarks.circle_things import THINGS, thing_of
from tests.benchmarks.circle_truth import COINS_AND_SWEETS, Real, matched, overlap, real_pictures
from worker.operations.circles import find_circles

PICTURES = {real.name: real for real in real_pictures()}


@pytest.mark.parametrize("name", PICTURES)
def test_real_picture(name):
    """At the default, every circle of a real picture is found, with an overlap of at least 0.8, and at most one that is none.

    Among coins and sweets nothing else is found.
    """
    real = PICTURES[name]
    found, false = real.counted(find_circles(real.picture())[:, :3])
    assert found == len(real.truth)
    assert false <= (0 if name in COINS_AND_SWEETS else 1)


def test_coins_and_sweets():
    """There are at least 34 coins and balls in the real pictures, and all that is round in these pictures is known."""
    assert sum(len(PICTURES[name].truth) for name in COINS_AND_SWEETS) >= 34
    assert not any(len(PICTURES[name].unknown) for name in COINS_AND_SWEETS)


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_turned_coins(turns):
    """The coins are found in the picture turned by quarters, too."""
    real = PICTURES["coins.png"]
    rows = find_circles(np.ascontiguousarray(np.rot90(real.picture(), turns)))
    assert len(rows) == len(real.truth)


@pytest.mark.parametrize(("family", "most"), [("polygons", 0), ("text", 5), ("shapes", 1), ("only noise", 0)])
def test_no_circles(family, most):
    """Polygons of 4 to 8 corners and noise have no circles, a page of text at most five, and other shapes at most one."""
    assert family in NEGATIVES
    for seed in range(4):
        assert len(find_circles(scene_of(family, 71_000 + seed).picture)) <= most


@pytest.mark.parametrize("family", THINGS)
def test_small_things(family):
    """Small round things that stand in rows, in boxes or beside text are found, nearly all of them, and nothing else."""
    scene = thing_of(family, 71_000)
    rows = find_circles(scene.picture, max_items=10_000)
    found = len(matched(rows[:, :3], scene.truth, scene.picture.shape[1::-1], 0.8))
    assert 2 * found >= 0.97 * (len(rows) + len(scene.truth))
    assert found > 5


def test_overlap():
    """The overlap of two circles counts what lies inside the picture."""
    size = (100, 100)
    assert overlap(np.array([50, 50, 20.0]), np.array([50, 50, 20.0]), size) == pytest.approx(1)
    assert overlap(np.array([50, 50, 20.0]), np.array([50, 50, 10.0]), size) == pytest.approx(0.25, abs=0.01)
    assert overlap(np.array([20, 50, 10.0]), np.array([70, 50, 10.0]), size) == 0
    beyond = overlap(np.array([-0.5, 50, 20.0]), np.array([-0.5, 50, 20 * 2**0.5]), size)
    assert beyond == pytest.approx(0.5, abs=0.01)


def test_what_is_unknown_is_not_counted():
    """A circle in an unknown region is not false, and one that is known is found there."""
    real = Real("smarties.png", np.array([[100.0, 100, 20]]), np.array([[0.0, 0, 200, 200]]))
    assert real.counted(np.array([[100.0, 100, 20], [150, 150, 10], [300, 300, 10]])) == (1, 1)
