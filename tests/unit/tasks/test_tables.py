"""The tables that a job writes beside its result."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest

from tests.unit.tasks.desk import paths
from worker.files import results
from worker.pictures.images import write_image


def test_same_names(desk):
    """Images of the same name in different folders are told apart by their whole paths in the table."""
    desk.discs("in/1/a.png", "in/2/a.png")
    desk.job("find_circles", image="in/*/a.png", data="all.json")
    names = [item["image"] for item in json.loads((desk.root / "all.json").read_text())["items"]]
    assert [name.endswith(f"in/{n}/a.png") for name, n in zip(names, (1, 2), strict=True)] == [True, True]


def test_nothing_found(desk):
    """Finding nothing is an empty result, and a table without rows."""
    write_image(desk.root / "a.png", np.zeros((50, 50), np.uint8))
    for name in ("a.json", "a.csv"):
        result = desk.job("find_circles", image="a.png", data=name)
        assert result.rows == ()
        assert result.kind == "circles"
    assert json.loads((desk.root / "a.json").read_text())["items"] == []
    assert (desk.root / "a.csv").read_text() == "x,y,radius,u,v,score,image\n"


def test_readable_numbers(desk):
    """Numbers in results have no more digits than mean something."""
    desk.discs("a.png")
    for row in desk.job("find_features", image="a.png", method="sift").rows:
        assert all(len(f"{value:.12g}") <= 11 for value in row)


@pytest.mark.parametrize("count", [2, 20])
def test_drawn_circles_as_a_table(desk, count):
    """`data` lists each drawn circle with its image, whether the job is small or cut into parts."""
    result = desk.job("draw_circles", output="c{n}.png", count=count, width=64, height=64, data="centres.csv")
    lines = (desk.root / "centres.csv").read_text().splitlines()
    assert lines[0] == "x,y,radius,u,v,score,image"
    assert [line.rpartition(",")[2] for line in lines[1:]] == [f"c{n}.png" for n in range(count)]
    assert [float(line.split(",")[0]) for line in lines[1:]] == [row[0] for row in result.rows]
    assert paths(result, desk.root)[-1] == "centres.csv"


@pytest.mark.skipif(os.name == "nt", reason="rights are others on Windows")
def test_a_table_of_the_workers_own_is_private(desk):
    """Only this user can read the worker's result files and their folder; a table that a job names is a file like others."""
    before = os.umask(0o022)
    try:
        for name in (results.name_of("10.0.0.1:9461", "j1"), "mine.json"):
            desk.job("draw_circles", output="c{n}.png", count=2, width=64, height=64, data=name)
    finally:
        os.umask(before)
    own = desk.root / results.name_of("10.0.0.1:9461", "j1")
    assert (own.stat().st_mode & 0o777, own.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert (desk.root / "mine.json").stat().st_mode & 0o777 == 0o644
