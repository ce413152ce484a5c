"""Each image of a batch beside the one before it."""

import numpy as np
import pytest

from tests import small
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.files.paths import FileRules
from worker.operations.shapes import Detector
from worker.pictures.images import write_image
from worker.tasks.run import run_task


def differences(image, reference, _params):
    """One row with the picture's value, and that of the one it is compared with; -1 if there is none."""
    return np.array([(image[0, 0], -1 if reference is None else reference[0, 0], 0)], float)


@pytest.fixture
def compare(tmp_path):
    """Runs a job over pictures with the values 0, 10, 20 and so on; the slots are the children that share it."""
    files = FileRules((tmp_path.resolve(),))
    for n in range(7):
        write_image(tmp_path / f"p{n}.png", np.full((4, 6), 10 * n, np.uint8))
    operations = {**small.OPERATIONS, "find_changes": Detector(differences, None, references=("reference",), previous="reference")}
    optional = small.CATALOG

    def run(slots=1, **values):
        params, _ = optional.parse_job("find_changes", {"reference": "p6.png", **values}.items())
        if "reference" not in values:
            params = type(params)(image=params.image, reference="", overlay="", data="", max_items=params.max_items)

        def task(phase, part=None, joined=None):
            asked = Task(1, "find_changes", params, phase, slots, part, joined or Result(), skips=True)
            return run_task(asked, files, run.steps.append, optional, operations)

        outcome = task(Phase.PLAN)
        if not isinstance(outcome, Plan):
            return outcome
        run.parts = len(outcome.parts)
        assert outcome.steps == 7
        result = outcome.base
        for part in outcome.parts:
            result = result.joined(task(Phase.PART, part))
        return result

    run.folder, run.steps, run.parts = tmp_path, [], 0
    return run


def pairs(result):
    return [row[:2] for row in result.rows]


@pytest.mark.parametrize("slots", [0, 1, 3])
def test_each_beside_the_one_before(compare, slots):
    """The first one has none before it; however the batch is cut, each of the others has its neighbour."""
    result = compare(slots, image="p*.png")
    assert compare.parts == (1 if slots == 0 else 7)
    assert pairs(result) == [(0, -1), *((10 * n, 10 * n - 10) for n in range(1, 7))]
    assert [row[-1] for row in result.rows] == list(range(7))


@pytest.mark.parametrize("slots", [0, 2])
def test_after_one_that_cannot_be_read(compare, slots):
    """It is reported once, and the next one is compared with the one before it."""
    (compare.folder / "p3.png").write_bytes(b"no picture")
    result = compare(slots, image="p*.png")
    assert pairs(result) == [(0, -1), (10, 0), (20, 10), (40, 20), (50, 40), (60, 50)]
    assert len(result.skipped) == 1


def test_a_reference_for_all(compare):
    """If the parameter names a picture, each is compared with that one."""
    assert pairs(compare(2, image="p*.png", reference="p6.png")) == [(10 * n, 60) for n in range(7)]


def test_two_pictures(compare):
    """One image needs a reference; the sentence says what else would do."""
    assert pairs(compare(image="p1.png", reference="p0.png")) == [(10, 0)]
    failure = compare(image="p1.png")
    assert isinstance(failure, Failure)
    assert failure.message == "find_changes compares pictures; image names one, and reference is empty."
    assert "a folder or a pattern" in failure.hint


def test_progress(compare):
    """The image that comes along is no step of its own."""
    compare(0, image="p*.png")
    assert compare.steps == [1, 2, 3, 4, 5, 6, 7]
    compare.steps.clear()
    compare(1, image="p*.png")
    assert max(compare.steps) == 1
