"""Tasks that read images: what they find, mark and convert, and what they never write over."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from tests.unit.tasks.desk import Desk, paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Part, Phase, Result
from worker.errors import DiskFull
from worker.pictures.images import read_image


def test_one_image(desk):
    """One image is searched at once; its rows have the catalogue's fields."""
    desk.discs("a.png")
    result = desk.task("find_circles", image="a.png", overlay="{name}-{n}.jpg", data="a.json")
    assert result.fields == CATALOG.find("find_circles").fields
    assert result.sources == ()
    ((x, y, radius, u, v, score),) = result.rows
    assert (x, y, radius) == pytest.approx((60, 50, 20), abs=1)
    assert (u, v) == pytest.approx((60.5 / 200, 1 - 50.5 / 100), abs=0.01)
    assert score > 0.9
    assert paths(result, desk.root) == ["a-0.jpg", "a.json"]
    assert desk.progress == [1]
    table = json.loads((desk.root / "a.json").read_text())
    assert table["operation"] == "find_circles"
    assert table["fields"] == [*result.fields, "image"]
    assert table["items"] == [{**dict(zip(result.fields, result.rows[0], strict=True)), "image": "a.png"}]


def test_folder(desk):
    """A folder is a plan; its rows say which image they belong to, in natural order."""
    desk.discs("in/img2.png", "in/img10.png", "in/img1.png")
    plan = desk.task("find_circles", image="in", overlay="out/{name}.png", data="out/all.csv")
    assert [Path(source).name for source in plan.base.sources] == ["img1.png", "img2.png", "img10.png"]
    assert plan.finish
    assert plan.steps == 3
    assert not (desk.root / "out").exists()
    result = desk.job("find_circles", image="in", overlay="out/{name}.png", data="out/all.csv")
    assert result.fields == (*CATALOG.find("find_circles").fields, "image")
    assert [row[-1] for row in result.rows] == [0, 1, 2]
    assert [row[0] for row in result.rows] == pytest.approx([70, 60, 65], abs=1)
    assert paths(result, desk.root) == ["out/img1.png", "out/img2.png", "out/img10.png", "out/all.csv"]
    with (desk.root / "out/all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == ["img1.png", "img2.png", "img10.png"]
    assert [float(row["x"]) for row in rows] == [row[0] for row in result.rows]


def test_folder_of_one(desk):
    """A folder stays a folder, also with one image in it: its rows have the column `image`."""
    desk.discs("in/a.png")
    result = desk.job("find_circles", image="in/*.png")
    assert result.fields[-1] == "image"
    assert len(result.sources) == 1


def test_features(desk):
    """Features come with their own fields, and overlay and table as circles do."""
    desk.discs("a.png", "b.png")
    result = desk.job("find_features", image="*.png", method="sift", overlay="o/{n}.webp", data="o/all.json")
    assert result.kind == "features"
    assert result.fields == (*CATALOG.find("find_features").fields, "image")
    assert {row[-1] for row in result.rows} == {0, 1}
    assert desk.names("o") == ["0.webp", "1.webp", "all.json"]


def test_convert(desk):
    """One image is converted at once, several are a plan; results have files and no rows."""
    desk.discs("in/a.png", "in/b.png")
    result = desk.task("convert", image="in/a.png", output="a.jpg", width=50)
    assert (result.kind, result.rows, result.items) == ("", (), 1)
    assert read_image(desk.root / "a.jpg").shape == (25, 50, 3)
    result = desk.job("convert", image="in", output="out/{n}-{name}.tif", depth=16)
    assert paths(result, desk.root) == ["out/0-a.tif", "out/1-b.tif"]
    assert read_image(desk.root / "out/0-a.tif").dtype == np.uint16


def test_maps(tmp_path):
    """Paths go out as the sender spells them, and sources spelled that way are found again."""
    desk = Desk(tmp_path.resolve(), maps=(("C:/show", str(tmp_path.resolve())),))
    desk.discs("in/a.png", "in/b.png")
    result = desk.job("convert", image="C:\\show\\in", output="C:/show/out/{name}.jpg")
    assert result.sources == ("C:/show/in/a.png", "C:/show/in/b.png")
    assert [written.path for written in result.files] == ["C:/show/out/a.jpg", "C:/show/out/b.jpg"]


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("convert", {"image": "in/a.png", "output": "in/a.png"}),
        ("convert", {"image": "in/a.png", "output": "in/../in/{name}.png", "width": 10}),
        ("convert", {"image": "in", "output": "in/{name}.png"}),
        ("convert", {"image": "in/a.png", "output": "link.png"}),
        ("find_circles", {"image": "in/a.png", "overlay": "in/a.png"}),
    ],
)
def test_never_over_an_input(desk, operation, values):
    """No job writes over an image that it reads, under whatever name: run twice, it would not do the same."""
    desk.discs("in/a.png", "in/b.png")
    os.link(desk.root / "in/a.png", desk.root / "link.png")
    before = (desk.root / "in/a.png").read_bytes()
    outcome = desk.task(operation, **values)
    assert isinstance(outcome, Failure)
    assert "one of its own inputs" in outcome.message
    assert (desk.root / "in/a.png").read_bytes() == before


def test_broken_image_in_a_folder(desk):
    """With on_error=stop one image that cannot be read fails its part with that file's sentence."""
    desk.discs("in/a.png", "in/c.png")
    (desk.root / "in/b.png").write_bytes(b"no image")
    outcome = desk.job("find_circles", image="in", on_error="stop")
    assert isinstance(outcome, Failure)
    assert outcome.code == 415
    assert "b.png" in outcome.message


def test_image_gone_since_the_plan(desk):
    """An image that goes away between plan and part fails the part."""
    outcome = desk.task("find_circles", Phase.PART, Part(0, 0, 1, ("gone.png",)), image="in", on_error="stop")
    assert isinstance(outcome, Failure)
    assert outcome.code == 404


def test_broken_images_are_skipped(desk):
    """A folder goes on without the images that cannot be read; the others keep their numbers, and the table has their names."""
    desk.discs("in/a.png", "in/c.png", "in/e.png")
    (desk.root / "in/b.png").write_bytes(b"no image")
    (desk.root / "in/d.png").touch()
    result = desk.job("find_circles", image="in", overlay="out/{n}-{name}.png", data="out/all.json")
    assert isinstance(result, Result)
    assert [(left.path[-8:], left.why.code) for left in result.skipped] == [("in/b.png", 415), ("in/d.png", 415)]
    assert [row[-1] for row in result.rows] == [0, 2, 4]
    assert paths(result, desk.root) == ["out/0-a.png", "out/2-c.png", "out/4-e.png", "out/all.json"]
    table = json.loads((desk.root / "out/all.json").read_text())
    assert [item["image"] for item in table["items"]] == ["a.png", "c.png", "e.png"]


def test_nothing_but_broken_images(desk):
    """If no image can be read, the job fails with the error of the first, and writes no table."""
    for name in ("a.png", "b.png"):
        put = desk.root / "in" / name
        put.parent.mkdir(exist_ok=True)
        put.touch()
    outcome = desk.job("find_circles", image="in/*.png", data="all.csv")
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == (415, "Each of the 2 files was skipped. The first: a.png is empty.")
    assert not (desk.root / "all.csv").exists()


def test_one_broken_image(desk):
    """A single file that cannot be read is no batch: the job fails, whatever on_error says. So does a folder of that file."""
    desk.root.joinpath("in").mkdir()
    (desk.root / "in/a.png").touch()
    for image in ("in/a.png", "in"):
        outcome = desk.job("find_circles", image=image)
        assert isinstance(outcome, Failure)
        assert outcome.message == "a.png is empty."


def test_full_disk_is_no_broken_image(desk, monkeypatch):
    """What is wrong with the output ends the job: the next image would not be written, either."""
    desk.discs("in/a.png", "in/b.png")
    monkeypatch.setattr("worker.tasks.reading.write_image", Mock(side_effect=DiskFull("full")))
    outcome = desk.job("convert", image="in", output="out/{name}.jpg")
    assert isinstance(outcome, Failure)
    assert outcome.code == 507
