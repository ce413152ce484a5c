"""The names of the files that a batch writes."""

from __future__ import annotations

from tests.unit.tasks.desk import paths


def test_braces_in_names(desk):
    """A file that is called {n} does no harm, and other braces stay."""
    desk.discs("in/{n}.png")
    result = desk.job("convert", image="in", output="{x}{name}{n}.png")
    assert paths(result, desk.root) == ["{x}{n}0.png"]
