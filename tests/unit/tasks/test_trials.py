"""An operation tried with several values, as a job."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from tests.unit.tasks.desk import paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Plan
from worker.operations import circles
from worker.operations.camera import Camera, to_json
from worker.operations.table import OPERATIONS
from worker.pictures.images import read_image
from worker.pictures.pixels import size_of
from worker.tasks import trials

TRIED = [name for name in CATALOG if trials.can_be_tried(CATALOG[name], OPERATIONS[name])]


@pytest.fixture
def sweep(desk):
    desk.discs("a.png", "b.png")

    def swept(**values):
        return desk.job("sweep", **{"image": "a.png", "target": "find_circles", "output": "sheet.png", "tile_width": 100, **values})

    swept.desk = desk
    return swept


def test_sweep(sweep):
    """A sheet, a row for each tile, a table of them; nothing else is written, and the progress counts the tiles."""
    result = sweep(param="min_radius", values="5 30", second_param="nested", second_values="0 1", data="t.csv", settings="max_radius=40")
    assert (result.kind, result.items) == ("sweep", 4)
    assert [row[2] for row in result.rows] == [1, 0, 1, 0]  # the disc has a radius of 20
    assert paths(result, sweep.desk.root) == ["sheet.png", "t.csv"]
    assert sweep.desk.names() == ["a.png", "b.png", "sheet.png", "t.csv"]
    assert read_image(sweep.desk.root / "sheet.png").shape[1] == 10 + 2 * 110
    assert sweep.desk.progress == [1, 2, 3, 4]
    with (sweep.desk.root / "t.csv").open() as file:
        assert [(row["value"], row["second_value"]) for row in csv.DictReader(file)] == [("5", "0"), ("30", "0"), ("5", "1"), ("30", "1")]


def test_a_tile_that_fails(sweep):
    """What does not fit together fails in its tile, with the operation's own sentence; the others are there."""
    result = sweep(param="min_radius", values="10 60", settings="max_radius=50")
    assert [row[4] for row in result.rows] == [0, 1]
    assert result.texts[1] == ("60", "", "find_circles: min_radius 60 is larger than max_radius 50.")


def test_a_crash_in_a_tile(sweep, monkeypatch, caplog):
    """A mistake in an operation costs its tile, and stands in the log; too little memory is said as such."""
    real = circles.detect_circles

    def breaks(image, params):
        if params.sensitivity > 0.5:
            raise MemoryError if params.sensitivity > 0.8 else ZeroDivisionError
        return real(image, params)

    monkeypatch.setattr(OPERATIONS["find_circles"].__class__, "find", property(lambda _: breaks), raising=False)
    result = sweep(param="sensitivity", values="0.4 0.6 0.9")
    assert [row[2:] for row in result.rows] == [(1, 0, 0), (0, 0, 1), (0, 0, 1)]
    assert result.texts[1][2] == "find_circles failed inside the worker; the log says more."
    assert "memory" in result.texts[2][2]
    assert "ZeroDivisionError" in caplog.text


def test_time(sweep, monkeypatch):
    """After `max_seconds` nothing further is tried, and the tiles say so."""
    moments = iter((0.0, 1.0, 4.0, 6.0, 7.0))
    monkeypatch.setattr(trials, "_now", lambda: next(moments))
    result = sweep(param="sensitivity", values="0.2 0.4 0.6 0.8", max_seconds=5)
    assert [row[4] for row in result.rows] == [0, 0, 1, 1]
    assert result.texts[3][2] == "Not tried: max_seconds=5 are over."


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"target": "find_circle", "param": "sensitivity", "values": "1"}, "no operation 'find_circle'; did you mean find_circles?"),
        ({"param": "sensitivty", "values": "1"}, "find_circles has no parameter 'sensitivty'; did you mean sensitivity?"),
        ({"param": "sensitivity", "values": "0.5 2"}, "find_circles: sensitivity must be a number from 0 to 1; got 2."),
        ({"param": "sensitivity", "values": "1", "settings": "min_radios=3"}, "did you mean min_radius?"),
        ({"param": "sensitivity", "values": "1", "settings": "sensitivity=0.2"}, "sensitivity was given twice"),
        ({"param": "sensitivity", "values": "1", "settings": "data=a.csv"}, "data of find_circles cannot be set here"),
        ({"param": "image", "values": "b.png"}, "image of find_circles cannot be set here"),
        ({"param": "priority", "values": "0 1"}, "priority belongs to a job, not to find_circles"),
        ({"param": "sensitivity", "values": "1", "show": "expalin"}, "makes no picture 'expalin'; did you mean explain?"),
        ({"param": "sensitivity", "values": "1", "image": "*.png"}, "sweep takes one image file; image names 2 of them."),
        ({"target": "stitch", "param": "mode", "values": "scans"}, "one picture; stitch does not."),
        ({"target": "sweep", "param": "show", "values": "a"}, "one picture; sweep does not."),
        ({"param": "sensitivity", "values": "1", "output": "a.png"}, "would write over a.png"),
        (
            {"target": "find_object", "param": "method", "values": "orb sift", "settings": "reference=b.png", "output": "b.png"},
            "would write over b.png, which is one of its own inputs",
        ),
        ({"param": "sensitivity", "values": "1", "data": "sheet.png"}, ".json or .csv"),
        ({"param": "sensitivity", "values": "1", "output": "sheet.txt"}, "no .txt images"),
    ],
)
def test_refusals(sweep, values, words):
    """Each mistake has the sentence that it would have in the operation itself, before anything is done."""
    failure = sweep(**values)
    assert words in failure.message
    assert sweep.desk.names() == ["a.png", "b.png"]


def test_files_outside(desk, tmp_path_factory):
    """A file named in the other settings must lie in the roots, too."""
    desk.discs("a.png")
    outside = tmp_path_factory.mktemp("outside").resolve() / "b.png"
    outside.write_bytes((desk.root / "a.png").read_bytes())
    values = {"image": "a.png", "target": "find_object", "param": "method", "values": "orb", "output": "s.png"}
    assert desk.job("sweep", **values, settings=f"reference={outside.as_posix()}").code == 403


def test_what_can_be_tried():
    """All that make a picture of one picture, whichever they are; nothing that takes a folder, or makes none."""
    assert {"find_circles", "find_features", "find_object", "filter", "warp", "align", "convert"} <= set(TRIED)
    assert not {"stitch", "contact_sheet", "draw_circles", "write_text", "noop", "sweep"} & set(TRIED)


#: Parameters that an operation needs beside the image, and one to vary.
NEEDED = {
    "find_object": "reference=b.png",
    "match_features": "reference=b.png",
    "align": "reference=b.png",
    "compare": "reference=b.png",
    "find_color_regions": "color=#ffffff",
    "filter": "steps=gray",
    "match_palette": "palette=#ff0000 #000000",
    "warp": "corners=5 5 90 5 90 90 5 90",
    "overlay": "text=hello",
    "undistort": "calibration=lens.json",
    "pose": "calibration=lens.json",
}
#: What is varied of an operation that takes no numbers.
VARIED = {"measure": ("region", "0;0;50;50 0;0;90;90"), "tune": ("examples", "60;50;20 61;50;20")}


@pytest.mark.parametrize("name", TRIED)
def test_every_operation(sweep, name):
    """Each of them makes its tile: the first number of the catalogue is varied, at its default and at its largest."""
    width, height = size_of(read_image(sweep.desk.root / "a.png"))
    lens = Camera((width, height), np.array([[width, 0, width / 2], [0, width, height / 2], [0, 0, 1.0]]), np.zeros(5))
    (sweep.desk.root / "lens.json").write_bytes(to_json(lens, {}))
    fields = [
        field for field in CATALOG[name].parameters if field.type in ("int", "float") and f"{field.name}=" not in NEEDED.get(name, "")
    ]
    field = fields[0] if fields else None
    varied = (
        VARIED.get(name, ("quality", "50 90"))
        if field is None
        else (field.name, f"{field.default} {field.maximum:g}" if field.default != field.maximum else f"{field.default}")
    )
    result = sweep(target=name, param=varied[0], values=varied[1], settings=NEEDED.get(name, ""), tile_height=80)
    assert result.kind == "sweep", result
    if not OPERATIONS[name].unavailable().get(""):
        assert result.rows[0][4] == 0 or "has no model" in result.texts[0][2], result.texts
    assert (read_image(sweep.desk.root / "sheet.png") > 60).any()


def test_one_task(desk):
    """A sweep is a plan of one part, so that it has progress, and one child makes it."""
    desk.discs("a.png")
    plan = desk.task("sweep", image="a.png", target="find_circles", param="sensitivity", values="0.1 0.9", output="s.png")
    assert isinstance(plan, Plan)
    assert (len(plan.parts), plan.steps, plan.finish) == (1, 2, False)


def test_sixteen_bits_and_alpha(desk):
    """Deep pictures and pictures with alpha are tried as others are."""
    from worker.pictures.images import write_image

    write_image(desk.root / "deep.png", np.full((40, 60, 4), 40_000, np.uint16))
    result = desk.job("sweep", image="deep.png", target="crop", param="trim", values="0 5", output="s.png", tile_width=64, tile_height=64)
    assert [row[4] for row in result.rows] == [0, 0]
