"""Texts that belong to rows: reports carry numbers only, so they stand in the tables."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
from click.testing import CliRunner

from worker.catalog.noop import Noop
from worker.catalog.rows import OperationInfo
from worker.cli.run import run
from worker.pictures.images import write_image


def plain(desk, name, bgr):
    write_image(desk.root / name, np.full((8, 8, 3), bgr, np.uint8))


def test_one_image(desk):
    """Each row of the table has its numbers, its texts, and the image, in this order."""
    plain(desk, "a.png", (0, 128, 255))
    result = desk.job("find_colors", image="a.png", data="a.csv")
    assert result.texts == (("#ff8000",),)
    with (desk.root / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == [*result.fields, "hex", "image"]
    assert (row["share"], row["hex"], row["image"]) == ("1.0", "#ff8000", "a.png")


def test_several_images(desk):
    """Texts stay with their rows when the parts of a batch are joined."""
    for n in range(5):
        plain(desk, f"{n}.png", (n, n, n))
    desk.job("find_colors", image="*.png", data="all.json")
    items = json.loads((desk.root / "all.json").read_text())["items"]
    assert [(item["hex"], item["image"]) for item in items] == [(f"#{n:02x}{n:02x}{n:02x}", f"{n}.png") for n in range(5)]


def test_no_rows(desk):
    """A table without rows has the text's column, too."""
    write_image(desk.root / "a.png", np.zeros((4, 4, 4), np.uint8))
    desk.job("find_colors", image="a.png", data="a.csv")
    assert (desk.root / "a.csv").read_text() == "share,r,g,b,lab_l,lab_a,lab_b,hex,image\n"


def test_run(tmp_path):
    """`run` shows texts, as a table and as JSON."""
    cv2.imwrite(str(tmp_path / "a.png"), np.full((8, 8, 3), (0, 128, 255), np.uint8))
    arguments = ["find_colors", f"image={tmp_path / 'a.png'}"]
    assert json.loads(CliRunner().invoke(run, [*arguments, "--json"]).stdout)["items"][0]["hex"] == "#ff8000"
    assert "#ff8000" in CliRunner().invoke(run, arguments).stdout


def test_texts_need_rows():
    """An operation without rows cannot have texts; a mistake in a table shows at once."""
    with pytest.raises(ValueError, match="texts belong to rows"):
        OperationInfo("a", Noop, "Does.", texts=("word",))
