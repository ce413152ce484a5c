"""A press is a rise through 0.5, once, for each sender."""

from __future__ import annotations

import math

import pytest

from worker.catalog.table import CATALOG
from worker.core.presets import Presets, UnknownPreset
from worker.errors import ArgumentError, UnknownOperation

TD, OTHER = ("127.0.0.1", 5000), ("127.0.0.1", 5001)


def presses(presets: Presets, values, peer=TD) -> int:
    return sum(presets.pressed(peer, "go", value) for value in values)


def test_a_press_repeated_on_every_frame_counts_once():
    """120 frames with the button down are one press."""
    assert presses(Presets(CATALOG), [0.0] * 10 + [1.0] * 120 + [0.0] * 10) == 1


def test_a_trigger_is_armed_again_by_a_fall():
    """Each rise after a fall below 0.5 is a press."""
    assert presses(Presets(CATALOG), [1.0, 0.6, 0.4, 0.5, 0.49, 0.0, 1.0]) == 3


def test_each_sender_has_a_level_of_its_own():
    """Two clients that press are two presses."""
    presets = Presets(CATALOG)
    assert presses(presets, [0.0, 1.0]) + presses(presets, [1.0, 1.0], OTHER) == 2


def test_a_job_is_made_from_the_preset_as_it_is_now():
    """The key `operation` names the operation; the others are the job's pairs."""
    presets = Presets(CATALOG)
    presets.set("go", "operation", "draw_circles")
    presets.set("go", "output", "a{n}.png")
    presets.set("go", "count", 3.0)
    presets.set("go", "count", 4.0)
    assert presets.job("go") == ("draw_circles", (("output", "a{n}.png"), ("count", 4.0)))


def test_keys_may_come_before_the_operation():
    """A new preset comes into being with its first key, whichever it is."""
    presets = Presets(CATALOG)
    presets.set("go", "count", 3)
    with pytest.raises(ArgumentError, match="no operation"):
        presets.job("go")


def test_a_bad_value_is_told_at_once_and_changes_nothing():
    """A value that does not fit is refused, and the preset stays as it was."""
    presets = Presets(CATALOG)
    presets.set("go", "operation", "draw_circles")
    presets.set("go", "count", 3)
    with pytest.raises(ArgumentError, match="count must be a whole number"):
        presets.set("go", "count", -1)
    with pytest.raises(ArgumentError, match="did you mean count"):
        presets.set("go", "cuont", 1)
    with pytest.raises(UnknownOperation):
        presets.set("go", "operation", "draw_circle")
    assert presets.as_dict() == {"go": {"operation": "draw_circles", "count": 3}}


def test_an_unknown_preset_is_told_with_the_nearest_one():
    """Nobody presses in vain without a word."""
    presets = Presets(CATALOG)
    presets.set("logo", "operation", "noop")
    with pytest.raises(UnknownPreset, match="did you mean logo"):
        presets.job("loge")


def test_what_was_made_can_be_deleted():
    """One key, or all of it; what is not there is named with the nearest one."""
    presets = Presets(CATALOG)
    for name in ("go", "stay"):
        presets.set(name, "operation", "noop")
        presets.set(name, "priority", 0)
    presets.unset("go", "priority")
    assert presets.as_dict() == {"go": {"operation": "noop"}, "stay": {"operation": "noop", "priority": 0}}
    with pytest.raises(UnknownPreset, match=r"The preset 'stay' has no key 'prioryti'; did you mean priority\?"):
        presets.unset("stay", "prioryti")
    presets.unset("go", "operation")
    assert list(presets.as_dict()) == ["stay"]
    with pytest.raises(UnknownPreset, match=r"There is no preset 'sta'; did you mean stay\?"):
        presets.unset("sta")
    with pytest.raises(UnknownPreset, match=r"There is no preset 'x'; there are stay\."):
        presets.unset("x")
    presets.unset("stay")
    assert presets.as_dict() == {}
    with pytest.raises(UnknownPreset, match=r"There is no preset 'stay'; there are none\."):
        presets.unset("stay")
    presets.set("stay", "operation", "noop")
    assert presets.job("stay") == ("noop", ())


def test_several_values_at_once():
    """What a preset has for the same operation stays; for another operation it begins anew; a bad value changes nothing."""
    presets = Presets(CATALOG)
    assert not presets.fill("coins", "find_circles", [("min_radius", 9), ("nested", 0)])
    presets.set("coins", "image", "a.png")
    assert not presets.fill("coins", "find_circles", [("min_radius", 12)])
    wanted = {"operation": "find_circles", "min_radius": 12, "nested": 0, "image": "a.png"}
    assert presets.as_dict() == {"coins": wanted}
    with pytest.raises(ArgumentError, match="sensitivity must be a number from 0 to 1"):
        presets.fill("coins", "find_circles", [("min_radius", 13), ("sensitivity", 7)])
    with pytest.raises(ArgumentError, match="draw_circles has no parameter 'min_radius'"):
        presets.fill("coins", "draw_circles", [("count", 13), ("min_radius", 7)])
    with pytest.raises(UnknownOperation):
        presets.fill("new", "find_circle", [("min_radius", 7)])
    assert presets.as_dict() == {"coins": wanted}
    assert presets.fill("coins", "draw_circles", [("count", 3)])
    assert presets.as_dict() == {"coins": {"operation": "draw_circles", "count": 3}}


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_not_kept(value):
    """The journal could not give it back, so the next start would find a damaged value."""
    presets = Presets(CATALOG)
    with pytest.raises(ArgumentError, match=r"count must be a number or text; got -?(nan|inf)"):
        presets.set("go", "count", value)
    assert presets.as_dict() == {}
