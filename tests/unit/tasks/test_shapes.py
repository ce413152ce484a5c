"""Every shape of operation on files, each with a small operation out of a catalogue of its own."""

import csv
import json

import numpy as np
import pytest

from tests import small
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.files.paths import FileRules
from worker.operations.table import unavailable
from worker.pictures.images import read_image, write_image
from worker.tasks.run import run_task


@pytest.fixture
def job(tmp_path):
    """Runs a job in a folder with pictures, as a scheduler would run it; `job.steps` are its reports of progress."""
    files = FileRules((tmp_path.resolve(),))
    for n in range(3):
        image = np.zeros((4, 6), np.uint8)
        image[n, : n + 1] = 200
        write_image(tmp_path / f"p{n}.png", image)
    write_image(tmp_path / "black.bmp", np.zeros((4, 6), np.uint8))

    def run(operation, **values):
        params, _ = small.CATALOG.parse_job(operation, values.items())

        def task(phase, part=None, joined=None):
            asked = Task(1, operation, params, phase, 2, part, joined or Result())
            return run_task(asked, files, run.steps.append, small.CATALOG, small.OPERATIONS)

        outcome = task(Phase.PLAN)
        if not isinstance(outcome, Plan):
            return outcome
        result = outcome.base
        for part in outcome.parts:
            done = task(Phase.PART, part)
            if isinstance(done, Failure):
                return done
            result = result.joined(done)
        return result.joined(task(Phase.FINISH, joined=result)) if outcome.finish else result

    run.folder, run.steps = tmp_path, []
    return run


def names(result):
    return [written.path.replace("\\", "/").rpartition("/")[2] for written in result.files]


def test_nothing(job):
    """An operation can do nothing but be called."""
    assert job("rest") == Result()


def test_detector_with_a_reference(job):
    """Two pictures are compared; the overlay has seen both."""
    result = job("find_changes", image="p1.png", reference="black.bmp", overlay="o.png")
    assert (result.kind, result.fields, result.rows) == ("changes", ("x", "y", "change"), ((0.0, 1.0, 200.0), (1.0, 1.0, 200.0)))
    assert names(result) == ["o.png"]
    assert read_image(job.folder / "o.png")[1, 0].tolist() == [0, 0, 255]


def test_one_reference_for_many_images(job):
    """Each image of a batch is compared with the same reference."""
    result = job("find_changes", image="p*.png", reference="black.bmp", data="t.csv")
    assert result.fields == ("x", "y", "change", "image")
    assert [row[-1] for row in result.rows] == [0, 1, 1, 2, 2, 2]
    with (job.folder / "t.csv").open() as file:
        assert [row["image"] for row in csv.DictReader(file)] == ["p0.png", "p1.png", "p1.png", "p2.png", "p2.png", "p2.png"]


@pytest.mark.parametrize(
    ("reference", "overlay", "code", "words"),
    [("none.png", "", 404, "none.png"), ("black.bmp", "black.bmp", 400, "write over black.bmp, which is one of its own inputs")],
)
def test_references_are_inputs(job, reference, overlay, code, words):
    """A reference must exist, and nothing is written over it."""
    failure = job("find_changes", image="p1.png", reference=reference, overlay=overlay)
    assert failure.code == code
    assert words in failure.message


def test_left_out(job):
    """What was found beyond max_items is counted, over all images."""
    assert job("find_changes", image="p2.png", reference="black.bmp", max_items=1).left_out == 2
    assert job("find_changes", image="p*.png", reference="black.bmp", max_items=1).left_out == 3
    assert job("find_changes", image="p*.png", reference="black.bmp").left_out == 0


def test_filter_with_rows(job):
    """A filter can write more pictures than one, and report rows beside them."""
    result = job("threshold", image="p*.png", output="b/{name}.png", dark="d{n}.png", data="t.json")
    assert result.rows == ((0.04, 0), (0.08, 1), (0.12, 2))
    assert names(result) == ["p0.png", "d0.png", "p1.png", "d1.png", "p2.png", "d2.png", "t.json"]
    np.testing.assert_array_equal(read_image(job.folder / "b/p1.png"), 255 - read_image(job.folder / "d1.png"))
    assert json.loads((job.folder / "t.json").read_text())["items"][2] == {"share": 0.12, "image": "p2.png"}


def test_filter_without_its_second_picture(job):
    """A picture that nobody asked for is not written."""
    result = job("threshold", image="p0.png", output="b.png")
    assert (names(result), result.rows) == (["b.png"], ((0.04,),))


def test_each_picture_needs_a_name_of_its_own(job):
    """One file for many images is refused for each parameter that names one."""
    assert "dark names one file for many images" in job("threshold", image="p*.png", output="{n}.png", dark="d.png").message


def test_folder(job):
    """All images become one: a picture, another file, rows that name their image, and a table of them."""
    result = job("sheet", image="p*.png", output="s.png", names="n.txt", data="t.json")
    assert names(result) == ["s.png", "n.txt", "t.json"]
    assert read_image(job.folder / "s.png").shape[:2] == (4, 18)
    assert (job.folder / "n.txt").read_text() == "p0\np1\np2"
    assert (result.fields, result.rows) == (("mean", "image"), ((8.3, 0.0), (16.7, 1.0), (25.0, 2.0)))
    assert [name.rpartition("/")[2] for name in result.sources] == ["p0.png", "p1.png", "p2.png"]
    assert json.loads((job.folder / "t.json").read_text())["items"][1] == {"mean": 16.7, "image": "p1.png"}
    assert job.steps == [1, 2, 3]


@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"output": "p1.png"}, 400, "write over p1.png"),
        ({"output": "s.png", "names": "s.png"}, 400, "written twice: as output and as names"),
        ({"output": "s.jpgg"}, 415, "s.jpgg"),
        ({"output": "s.png", "data": "t.txt"}, 415, "must end in .json or .csv"),
    ],
)
def test_folder_refusals(job, values, code, words):
    """What cannot be written is refused before an image is read."""
    failure = job("sheet", image="p*.png", **values)
    assert failure.code == code
    assert words in failure.message
    assert job.steps == []


def test_unavailable(job):
    """What cannot be done here is refused with its reason, and listed with it."""
    failure = job("magic", image="p0.png")
    assert (failure.code, failure.word) == (501, "unavailable")
    assert failure.message == "magic is not available here: the package `wand` is missing; install td-image-worker[magic]."
    assert unavailable(small.OPERATIONS) == {"magic": "the package `wand` is missing; install td-image-worker[magic]."}
