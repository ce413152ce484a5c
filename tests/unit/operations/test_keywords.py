"""Operations called by a program that imports them: no job, no path."""

import inspect

import numpy as np
import pytest

from worker.catalog.circles import FindCircles
from worker.errors import ArgumentError
from worker.operations.circles import find_circles
from worker.operations.convert import convert
from worker.operations.drawing import draw_circle
from worker.operations.features import find_features
from worker.operations.text import blocks


@pytest.fixture
def disc():
    """One disc of radius 20 at 60, 50."""
    return draw_circle(0, centers="60 50", radius=20, width=120, height=100)[0]


def test_keywords_and_params_give_the_same(disc):
    """Keywords make the same params as a job's, so that the same is found."""
    rows = find_circles(disc, min_radius=10, sensitivity=0.4)
    np.testing.assert_array_equal(rows, find_circles(disc, FindCircles(image="-", min_radius=10, sensitivity=0.4)))
    assert rows[0, :3] == pytest.approx((60, 50, 20), abs=0.5)


def test_without_keywords(disc):
    """The defaults are those of the params class."""
    np.testing.assert_array_equal(find_circles(disc), find_circles(disc, FindCircles(image="-")))


def test_rows_are_read_only(disc):
    """A result is a value; the caller's own picture stays writable."""
    rows = find_features(disc, method="corners").rows
    with pytest.raises(ValueError, match="read-only"):
        rows[0, 0] = 1
    same = convert(disc)
    assert not same.flags.writeable
    assert disc.flags.writeable


def test_text():
    """What makes text needs no file either."""
    assert b"".join(block for _, block in blocks(line="entry {n}", count=2)) == b"entry 0\nentry 1"


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"min_radius": -1}, "find_circles: min_radius must be a number from 0 to 16384; got -1."),
        ({"min_radios": 1}, "find_circles has no keyword 'min_radios'; did you mean min_radius?"),
        ({"image": "a.png"}, "find_circles has no keyword 'image'; known are min_radius"),
        ({"priority": 1}, "find_circles has no keyword 'priority'; known are min_radius"),
        ({"min_radius": 9, "max_radius": 8}, "min_radius 9 is larger than max_radius 8"),
    ],
)
def test_refusals(disc, keywords, words):
    """A wrong call gets the sentence that a job would get; paths and a job's own keys are no keywords."""
    with pytest.raises(ArgumentError) as caught:
        find_circles(disc, **keywords)
    assert words in caught.value.message


def test_signature():
    """`help` shows the picture, and the keywords with their defaults."""
    signature = inspect.signature(find_circles)
    assert list(signature.parameters)[:3] == ["image", "min_radius", "max_radius"]
    assert signature.parameters["sensitivity"].default == 0.5
    assert not {"overlay", "data", "params"} & set(signature.parameters)
