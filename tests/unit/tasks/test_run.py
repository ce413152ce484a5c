import csv
import errno
import json
import logging
import os
import re
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from worker.catalog.parse import parse_job
from worker.catalog.table import Noop, operation_info
from worker.core.jobs import Failure, Part, Phase, Plan, Result, Task
from worker.files.handles import Folder
from worker.files.paths import FileRules
from worker.operations.shapes import Nothing
from worker.operations.table import OPERATIONS
from worker.pictures.images import read_image, write_image
from worker.tasks import run as tasks
from worker.tasks.base import PARTS_PER_SLOT
from worker.tasks.drawing import FEW_DRAWINGS
from worker.tasks.run import run_task
from worker.tasks.writing import FEW_LINES


class Desk:
    """A folder with rules, in which jobs are run as a scheduler would run them, without one."""

    def __init__(self, root, slots=2, maps=()):
        self.root, self.slots = root, slots
        self.files = FileRules((root,), maps=maps)
        self.progress = []

    def task(self, operation, phase=Phase.PLAN, part=None, joined=None, **values):
        params, _ = parse_job(operation, values.items())
        return run_task(Task(1, operation, params, phase, self.slots, part, joined or Result()), self.files, self.progress.append)

    def job(self, operation, **values):
        """All phases, joined."""
        outcome = self.task(operation, **values)
        if not isinstance(outcome, Plan):
            return outcome
        result = outcome.base
        for part in outcome.parts:
            done = self.task(operation, Phase.PART, part, **values)
            if isinstance(done, Failure):
                return done
            result = result.joined(done)
        if not outcome.finish:
            return result
        last = self.task(operation, Phase.FINISH, joined=result, **values)
        return last if isinstance(last, Failure) else result.joined(last)

    def names(self, folder="."):
        return sorted(path.name for path in (self.root / folder).iterdir())

    def discs(self, *names, x=60):
        """Images of one circle each, every next one 5 pixels further to the right."""
        for n, name in enumerate(names):
            image = np.zeros((100, 200, 3), np.uint8)
            cv2.circle(image, (x + 5 * n, 50), 20, (255, 255, 255), -1, cv2.LINE_AA)
            write_image(self.root / name, image)


@pytest.fixture
def desk(tmp_path):
    return Desk(tmp_path.resolve())


def paths(result, root):
    return [Path(written.path).relative_to(root).as_posix() for written in result.files]


def test_every_operation_has_a_batch():
    """For each shape an operation can have there is a way to run it."""
    assert {type(operation) for operation in OPERATIONS.values()} == set(tasks._BATCHES)


def test_noop(desk):
    """The empty job is done at once, with an empty result."""
    assert desk.task("noop") == Result()


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


def test_one_image(desk):
    """One image is searched at once; its rows have the catalogue's fields."""
    desk.discs("a.png")
    result = desk.task("find_circles", image="a.png", overlay="{name}-{n}.jpg", data="a.json")
    assert result.fields == operation_info("find_circles").fields
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
    assert result.fields == (*operation_info("find_circles").fields, "image")
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


def test_features(desk):
    """Features come with their own fields, and overlay and table as circles do."""
    desk.discs("a.png", "b.png")
    result = desk.job("find_features", image="*.png", method="sift", overlay="o/{n}.webp", data="o/all.json")
    assert result.kind == "features"
    assert result.fields == (*operation_info("find_features").fields, "image")
    assert {row[-1] for row in result.rows} == {0, 1}
    assert desk.names("o") == ["0.webp", "1.webp", "all.json"]


def test_readable_numbers(desk):
    """Numbers in results have no more digits than mean something."""
    desk.discs("a.png")
    for row in desk.job("find_features", image="a.png", method="sift").rows:
        assert all(len(f"{value:.12g}") <= 11 for value in row)


def test_convert(desk):
    """One image is converted at once, several are a plan; results have files and no rows."""
    desk.discs("in/a.png", "in/b.png")
    result = desk.task("convert", image="in/a.png", output="a.jpg", width=50)
    assert (result.kind, result.rows, result.items) == ("", (), 1)
    assert read_image(desk.root / "a.jpg").shape == (25, 50, 3)
    result = desk.job("convert", image="in", output="out/{n}-{name}.tif", depth=16)
    assert paths(result, desk.root) == ["out/0-a.tif", "out/1-b.tif"]
    assert read_image(desk.root / "out/0-a.tif").dtype == np.uint16


def test_braces_in_names(desk):
    """A file that is called {n} does no harm, and other braces stay."""
    desk.discs("in/{n}.png")
    result = desk.job("convert", image="in", output="{x}{name}{n}.png")
    assert paths(result, desk.root) == ["{x}{n}0.png"]


def test_maps(tmp_path):
    """Paths go out as the sender spells them, and sources spelled that way are found again."""
    desk = Desk(tmp_path.resolve(), maps=(("C:/show", str(tmp_path.resolve())),))
    desk.discs("in/a.png", "in/b.png")
    result = desk.job("convert", image="C:\\show\\in", output="C:/show/out/{name}.jpg")
    assert result.sources == ("C:/show/in/a.png", "C:/show/in/b.png")
    assert [written.path for written in result.files] == ["C:/show/out/a.jpg", "C:/show/out/b.jpg"]


@pytest.mark.parametrize(
    ("operation", "values", "code", "words"),
    [
        ("draw_circles", {"output": "a.png", "count": 2}, 400, r"put \{n\} into it"),
        ("draw_circles", {"output": "{n}.xyz", "count": 2}, 415, r"\.xyz"),
        ("draw_circles", {"output": "../{n}.png"}, 403, "outside"),
        ("draw_circles", {"output": "{n}.png", "centers": "1"}, 400, "pairs"),
        ("write_text", {"output": "/etc/a.txt", "text": "x"}, 403, "outside"),
        ("write_text", {"output": "a.txt", "text": "x", "count": 1}, 400, "either"),
        ("write_text", {"output": "in", "text": "x"}, 400, "folder"),
        ("find_circles", {"image": "no.png"}, 404, r"no file no\.png"),
        ("find_circles", {"image": "no/*.png"}, 404, r"No image matches no/\*\.png"),
        ("find_circles", {"image": "clip.mp4"}, 415, "video"),
        ("find_circles", {"image": "in/a.png", "min_radius": 9, "max_radius": 8}, 400, "larger than"),
        ("find_circles", {"image": "in", "overlay": "a.png"}, 400, r"put \{name\} or \{n\} into it"),
        ("find_circles", {"image": "in", "data": "a.xml"}, 415, "must end in .json or .csv"),
        ("find_circles", {"image": "in", "overlay": "{name}.xyz"}, 415, "xyz"),
        ("find_circles", {"image": "in", "overlay": "../{name}.png"}, 403, "outside"),
        ("find_circles", {"image": "in", "data": "../a.csv"}, 403, "outside"),
        ("convert", {"image": "in", "output": "a.png"}, 400, r"put \{name\} or \{n\} into it"),
        ("convert", {"image": "in/**/*.png", "output": "out/{name}.png"}, 400, "written twice"),
        ("convert", {"image": "broken.png", "output": "a.png"}, 415, "not an image"),
    ],
)
def test_refusals(desk, operation, values, code, words):
    """What cannot be done is refused in the plan, with a code and a sentence, before anything is written."""
    desk.discs("in/a.png", "in/b.png", "in/deep/a.png")
    (desk.root / "broken.png").write_bytes(b"no image")
    before = sorted(desk.root.rglob("*"))
    outcome = desk.task(operation, **values)
    assert isinstance(outcome, Failure)
    assert outcome.code == code
    assert re.search(words, outcome.message)
    assert sorted(desk.root.rglob("*")) == before


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
    """One image that cannot be read fails its part with that file's sentence."""
    desk.discs("in/a.png", "in/c.png")
    (desk.root / "in/b.png").write_bytes(b"no image")
    outcome = desk.job("find_circles", image="in")
    assert isinstance(outcome, Failure)
    assert outcome.code == 415
    assert "b.png" in outcome.message


def test_image_gone_since_the_plan(desk):
    """An image that goes away between plan and part fails the part."""
    outcome = desk.task("find_circles", Phase.PART, Part(0, 0, 1, ("gone.png",)), image="in")
    assert isinstance(outcome, Failure)
    assert outcome.code == 404


def test_full_disk(desk, monkeypatch):
    """A full disk is a failure that may pass, so that a job with retries is tried again."""

    def refuse(self, old, new):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "rename", refuse)
    outcome = desk.task("draw_circles", output="a.png", count=1)
    assert (outcome.code, outcome.transient) == (507, True)
    assert "No space left" in outcome.message
    assert desk.names() == []


@pytest.mark.parametrize("error", [ValueError("secret detail"), cv2.error("secret detail"), RecursionError("secret detail"), KeyError(1)])
def test_never_raises(desk, monkeypatch, caplog, error):
    """Whatever goes wrong inside is a failure with a short sentence; the details go to the log."""

    def fail(image, params):
        raise error

    desk.discs("a.png")
    monkeypatch.setitem(tasks.OPERATIONS, "find_circles", tasks.Detector(fail, fail))
    with caplog.at_level(logging.ERROR):
        outcome = desk.task("find_circles", image="a.png")
    assert outcome == Failure(500, "internal", "find_circles failed inside the worker; the log says more.")
    assert "Traceback" in caplog.text


def test_out_of_memory(desk, monkeypatch):
    """Too little memory is a limit that the sender can do something about."""

    def fail(_params):
        raise MemoryError

    monkeypatch.setitem(tasks.OPERATIONS, "noop", Nothing())
    monkeypatch.setattr(tasks.Idle, "plan", fail)
    assert desk.task("noop").code == 413


def test_failing_progress(desk):
    """A progress function that fails, fails the task and not the child."""

    def fail(_done):
        raise BrokenPipeError

    params, _ = parse_job("draw_circles", [("output", "a.png"), ("count", 1)])
    assert isinstance(run_task(Task(1, "draw_circles", params), desk.files, fail), Failure)


def test_part_without_part(desk):
    """A task in phase PART that names no part is our own mistake."""
    assert run_task(Task(1, "draw_circles", Noop(), Phase.PART), desk.files, print).code == 500


@pytest.mark.parametrize("count", [2, 20])
def test_drawn_circles_as_a_table(desk, count):
    """`data` lists each drawn circle with its image, whether the job is small or cut into parts."""
    result = desk.job("draw_circles", output="c{n}.png", count=count, width=64, height=64, data="centres.csv")
    lines = (desk.root / "centres.csv").read_text().splitlines()
    assert lines[0] == "x,y,radius,u,v,score,image"
    assert [line.rpartition(",")[2] for line in lines[1:]] == [f"c{n}.png" for n in range(count)]
    assert [float(line.split(",")[0]) for line in lines[1:]] == [row[0] for row in result.rows]
    assert paths(result, desk.root)[-1] == "centres.csv"
