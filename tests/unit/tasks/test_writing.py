"""Tasks that write text."""

from __future__ import annotations

import pytest

from tests.unit.tasks.desk import paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Plan

FEW_LINES = CATALOG["write_text"].few


def test_short_text(desk):
    """A short text is written at once."""
    result = desk.task("write_text", output="new/a.txt", text="héllo")
    assert paths(result, desk.root) == ["new/a.txt"]
    assert (desk.root / "new/a.txt").read_text("utf-8") == "héllo"
    assert result.files[0].size_bytes == 6


def test_long_text(desk):
    """A long text is a plan of one part, whose progress comes in blocks; the file is the seed's."""
    words = {"header": "Start Working Function", "line": "For loop {n} entry", "footer": "Ending working Function", "count": 100_000}
    plan = desk.task("write_text", output="attempt1.txt", **words)
    assert isinstance(plan, Plan)
    assert plan.steps == 100_000
    desk.job("write_text", output="attempt1.txt", **words)
    data = (desk.root / "attempt1.txt").read_bytes()
    assert data.count(b"\n") == 100_001
    assert data.startswith(b"Start Working Function\nFor loop 0 entry\n")
    assert data.endswith(b"\nFor loop 99999 entry\nEnding working Function")
    assert desk.progress == sorted(desk.progress)
    assert desk.progress[-1] == 100_000
    assert len(desk.progress) >= 10


@pytest.mark.parametrize("count", [1, FEW_LINES])
def test_append(desk, count):
    """Appended lines start on a line of their own; an appended text is added as it is."""
    for _ in range(2):
        desk.job("write_text", output="a.txt", line="{n}", count=count, append=1)
    assert len((desk.root / "a.txt").read_text().splitlines()) == 2 * count
    desk.job("write_text", output="b.txt", text="x", append=1)
    desk.job("write_text", output="b.txt", text="y", append=1)
    assert (desk.root / "b.txt").read_text() == "xy"
