"""Images of a batch that can be read, but do not fit."""

import json

import numpy as np
import pytest

from worker.core.jobs import Failure
from worker.operations.camera import Camera, to_json
from worker.pictures.images import write_image


def pictures(desk, *sizes):
    for n, (width, height) in enumerate(sizes):
        write_image(desk.root / f"p{n}.png", np.random.default_rng(n).integers(0, 255, (height, width, 3), dtype=np.uint8))


def skipped(result):
    assert not isinstance(result, Failure), result
    return {one.path.rpartition("/")[2]: one.why for one in result.skipped}


def images_of(result):
    return {row[-1] for row in result.rows}


@pytest.fixture
def calibration(desk):
    camera = Camera((64, 48), np.array([[60.0, 0, 31.5], [0, 60, 23.5], [0, 0, 1]]), np.zeros(5))
    (desk.root / "lens.json").write_bytes(to_json(camera, {}))
    return "lens.json"


@pytest.mark.parametrize("slots", [0, 1, 2])
def test_motion(desk, slots):
    """A picture that has another size than the one before it is left out, however the batch is cut; the others are compared."""
    desk.slots = slots
    pictures(desk, (64, 48), (64, 48), (48, 64), (48, 64), (48, 64))
    left_out = skipped(desk.job("optical_flow", image="p*.png", step=0))
    assert list(left_out) == ["p2.png"]
    assert left_out["p2.png"].message == "optical_flow compares pictures of the same size; this one has 48x64 pixels, the other 64x48."
    assert images_of(desk.job("optical_flow", image="p*.png", step=0)) == {1, 3, 4}


@pytest.mark.parametrize("slots", [0, 1, 2, 4])
@pytest.mark.parametrize("broken", [False, True])
def test_motion_past_an_odd_picture(desk, slots, broken):
    """One picture that is broken or of another size costs itself only: the next one is compared with the one before it."""
    desk.slots = slots
    pictures(desk, (64, 48), (64, 48), (32, 32), (64, 48), (64, 48))
    if broken:
        (desk.root / "p2.png").write_bytes(b"no picture")
    result = desk.job("optical_flow", image="p*.png", step=0)
    assert list(skipped(result)) == ["p2.png"]
    assert images_of(result) == {1, 3, 4}
    alone = desk.job("optical_flow", image="p3.png", reference="p1.png", step=0)
    assert [row[:-1] for row in result.rows if row[-1] == 3] == list(alone.rows)


def test_motion_against_one_picture(desk):
    """Each picture that has another size than `reference` is left out."""
    pictures(desk, (64, 48), (48, 64), (64, 48))
    assert list(skipped(desk.job("find_motion", image="p*.png", reference="p0.png"))) == ["p1.png"]


def test_undistort(desk, calibration):
    """A picture of other proportions than the calibration is left out; one of the same proportions is not."""
    pictures(desk, (64, 48), (64, 64), (128, 96))
    result = desk.job("undistort", image="p*.png", output="flat/{name}.png", calibration=calibration)
    assert list(skipped(result)) == ["p1.png"]
    assert desk.names("flat") == ["p0.png", "p2.png"]


def test_pose(desk, calibration):
    pictures(desk, (64, 64), (64, 48))
    assert list(skipped(desk.job("pose", image="p*.png", calibration=calibration))) == ["p0.png"]


def test_region(desk):
    """A region that lies outside of one picture leaves that one out."""
    pictures(desk, (64, 48), (200, 100))
    assert list(skipped(desk.job("crop", image="p*.png", output="c/{name}.png", region="100 0 50 50"))) == ["p0.png"]


def test_stop(desk, calibration):
    """With on_error=stop the first one ends the job, and so does a single image."""
    pictures(desk, (64, 48), (64, 64))
    values = {"output": "flat/{name}.png", "calibration": calibration}
    for failure in (desk.job("undistort", image="p*.png", on_error="stop", **values), desk.job("undistort", image="p1.png", **values)):
        assert isinstance(failure, Failure)
        assert "64x48" in failure.message
        assert failure.code == 400


def test_none_fits(desk, calibration):
    """If no image fits, the job fails, and says why the first one does not."""
    pictures(desk, (64, 64), (48, 64))
    failure = desk.job("undistort", image="p*.png", output="flat/{name}.png", calibration=calibration)
    assert isinstance(failure, Failure)
    assert failure.message.startswith("Each of the 2 files was skipped. The first: The calibration is of pictures of 64x48 pixels")


def test_a_wrong_file_is_not_the_images_fault(desk):
    """What is wrong with the job itself ends it, whatever `on_error` says."""
    pictures(desk, (64, 48), (64, 48))
    (desk.root / "no.json").write_text(json.dumps({"kind": "other"}))
    failure = desk.job("undistort", image="p*.png", output="flat/{name}.png", calibration="no.json")
    assert isinstance(failure, Failure)
    assert not failure.message.startswith("Each of")
