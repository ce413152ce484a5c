"""Tasks that draw images."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.unit.tasks.desk import paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Plan
from worker.pictures.images import read_image
from worker.tasks.base import PARTS_PER_SLOT

FEW_DRAWINGS = CATALOG["draw_circles"].few


def test_few_drawings(desk):
    """A few images are drawn at once."""
    result = desk.task("draw_circles", output="c/{n}.png", count=3)
    assert paths(result, desk.root) == ["c/0.png", "c/1.png", "c/2.png"]
    assert (result.kind, result.fields) == ("circles", ("x", "y", "radius", "u", "v", "score"))
    assert len(result.rows) == 3
    assert desk.progress == [1, 2, 3]
    assert (result.files[0].width, result.files[0].height) == (512, 512)


def test_many_drawings(desk):
    """Many images are a plan, whose parts give the same rows and files as one part would, in order."""
    plan = desk.task("draw_circles", output="c/{n}.png", count=50, width=64, height=64)
    assert isinstance(plan, Plan)
    assert plan.steps == 50
    assert len(plan.parts) == desk.slots * PARTS_PER_SLOT
    assert not plan.finish
    result = desk.job("draw_circles", output="c/{n}.png", count=50, width=64, height=64)
    assert paths(result, desk.root) == [f"c/{n}.png" for n in range(50)]
    assert len(result.rows) == 50
    for n, (x, y, *_) in enumerate(result.rows):
        assert read_image(desk.root / f"c/{n}.png")[int(y), int(x)].tolist() == [0, 0, 255]


@pytest.mark.parametrize(("count", "slots"), [(FEW_DRAWINGS, 1), (FEW_DRAWINGS, 64), (500, 3), (17, 2)])
def test_parts(desk, count, slots):
    """Parts cover all items without gaps, each holds at least one, and none more than one more than another."""
    desk.slots = slots
    plan = desk.task("draw_circles", output="{n}.png", count=count)
    assert plan.parts[0].first == 0
    assert plan.parts[-1].stop == count
    assert all(before.stop == after.first for before, after in pairwise(plan.parts))
    assert [part.index for part in plan.parts] == list(range(len(plan.parts)))
    assert max(part.steps for part in plan.parts) - min(part.steps for part in plan.parts) <= 1
    assert min(part.steps for part in plan.parts) >= 1
    assert len(plan.parts) <= slots * PARTS_PER_SLOT
