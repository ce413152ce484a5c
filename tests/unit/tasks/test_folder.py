"""Images of a folder that an operation reads and then does not count."""

from pathlib import Path

import numpy as np
import pytest

from tests import small
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.errors import ArgumentError
from worker.files.paths import FileRules
from worker.operations.shapes import Folder, Found
from worker.pictures.images import write_image
from worker.tasks.run import run_task


def bright_ones(pictures, _params):
    """All images side by side that are not black."""
    seen = list(pictures)
    dark = {picture.n: ArgumentError(f"{picture.name} is black.") for picture in seen if not picture.image.any()}
    return Found(np.empty((0, 2)), {"output": np.hstack([one.image for one in seen if one.n not in dark])}, skipped=dark)


@pytest.fixture
def combine(tmp_path):
    for n, value in enumerate((200, 0, 100, 0)):
        write_image(tmp_path / f"p{n}.png", np.full((4, 6), value, np.uint8))
    (tmp_path / "p4.png").write_bytes(b"no picture")
    files = FileRules((tmp_path.resolve(),))
    params, _ = small.CATALOG.parse_job("sheet", {"image": "p*.png", "output": "s.png"}.items())
    operations = {**small.OPERATIONS, "sheet": Folder(bright_ones)}

    def run(skips):
        def task(phase, part=None):
            return run_task(Task(1, "sheet", params, phase, 1, part, skips=skips), files, lambda _: None, small.CATALOG, operations)

        plan = task(Phase.PLAN)
        assert isinstance(plan, Plan)
        return task(Phase.PART, plan.parts[0])

    return run


def test_images_that_do_not_count_are_reported(combine):
    """With those that cannot be read, in the order of the folder."""
    result = combine(skips=True)
    assert isinstance(result, Result)
    assert [(Path(left.path).name, left.why.code) for left in result.skipped] == [("p1.png", 400), ("p3.png", 400), ("p4.png", 415)]
    assert result.skipped[0].why.message == "p1 is black."
    assert result.files[0].width == 12


def test_the_first_one_ends_a_job_that_stops_at_errors(combine, tmp_path):
    """Then nothing is written."""
    (tmp_path / "p4.png").unlink()
    failure = combine(skips=False)
    assert isinstance(failure, Failure)
    assert not (tmp_path / "s.png").exists()
