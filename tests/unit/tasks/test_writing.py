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


def test_tables_grow(desk):
    """Rows are added below those of before, and the columns stand only once; the same with lines of JSON."""
    for n in range(3):
        desk.job("write_csv", output="a.csv", columns="shot,take", rows=f"3\t{n}", append=1)
        desk.job("write_json", output="a.jsonl", value=f'{{"take": {n}}}', append=1)
    assert (desk.root / "a.csv").read_text() == "shot,take\n3,0\n3,1\n3,2\n"
    assert (desk.root / "a.jsonl").read_text() == '{"take": 0}\n{"take": 1}\n{"take": 2}\n'
    desk.job("write_csv", output="a.csv", columns="shot,take", rows="4\t1")
    assert (desk.root / "a.csv").read_text() == "shot,take\n4,1\n"


def test_refused_json_leaves_the_file(desk):
    """A value that is no JSON is refused, and the file stays as it was."""
    desk.job("write_json", output="a.json", value="[1]")
    failure = desk.job("write_json", output="a.json", value="[1")
    assert failure.code == 400
    assert (desk.root / "a.json").read_text() == "[\n  1\n]\n"
