"""Frames in the place of pictures: every operation that reads a picture takes one, by the rules of paths."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest

from tests import frame_files
from tests.unit.tasks.desk import Desk, paths
from worker.core.jobs import Failure, Result
from worker.files.frames import FrameName
from worker.pictures.frames import read_frame
from worker.pictures.images import read_image


def disc(x):
    """What a TOP gives of a white disc whose middle is at (x, 50) from the top left: RGBA, the bottom row first."""
    image = np.zeros((120, 200, 4), np.uint8)
    cv2.circle(image, (x, 50), 20, (255, 255, 255), -1, cv2.LINE_AA)
    image[..., 3] = 255
    return np.ascontiguousarray(image[::-1])


@pytest.fixture
def camera(desk):
    """Three slots: the second is the newest."""
    (desk.root / "frames").mkdir()
    (desk.root / "frames" / "cam1.frame").write_bytes(frame_files.whole([disc(60), disc(110), disc(90)], sequences=[8, 12, 10]))
    return desk


@pytest.mark.parametrize(
    ("reference", "x"),
    [("frame:frames/cam1.frame", 110), ("frame:frames/cam1.frame#0", 60), ("frame:frames\\cam1.frame#2@10", 90)],
)
def test_one_frame(camera, reference, x):
    """The newest, a slot, or one frame in it; {name} is the name of its file."""
    result = camera.task("find_circles", image=reference, overlay="{name}.png")
    ((found_x, found_y, *_),) = result.rows
    assert (found_x, found_y) == pytest.approx((x, 50), abs=1)
    assert paths(result, camera.root) == ["cam1.png"]
    assert result.sources == ()


def test_filters_folders_and_references(camera):
    """Also where two pictures are read, where one result is made of all, and where an operation is tried."""
    same = camera.job("compare", image="frame:frames/cam1.frame#0", reference="frame:frames/cam1.frame#0")
    other = camera.job("compare", image="frame:frames/cam1.frame#0", reference="frame:frames/cam1.frame#1")
    assert dict(zip(same.fields, same.rows[0], strict=True))["ssim"] == 1
    assert dict(zip(other.fields, other.rows[0], strict=True))["ssim"] < 0.99
    camera.job("convert", image="frame:frames/cam1.frame#0", output="a.png", width=100)
    assert read_image(camera.root / "a.png").shape[:2] == (60, 100)
    camera.job("contact_sheet", image="frame:frames/cam1.frame", output="sheet.png")
    tried = camera.job(
        "sweep", image="frame:frames/cam1.frame", output="tried.png", target="find_circles", param="sensitivity", values="0.3,0.6"
    )
    assert isinstance(tried, Result), tried
    assert {"a.png", "sheet.png", "tried.png"} <= set(camera.names())


def test_floats_become_16_bits(camera):
    """As of other pictures in floating point."""
    (camera.root / "f.frame").write_bytes(frame_files.whole(disc(60).astype(np.float32) / 255))
    camera.job("convert", image="frame:f.frame", output="f.png")
    assert read_image(camera.root / "f.png").dtype == np.uint16
    ((x, *_),) = camera.task("find_circles", image="frame:f.frame").rows
    assert x == pytest.approx(60, abs=1)


def test_maps(tmp_path):
    """A path of Windows, as the sender's map says; the table names the frame as the sender does."""
    desk = Desk(tmp_path, maps=(("C:/show", str(tmp_path)),))
    (tmp_path / "cam1.frame").write_bytes(frame_files.whole(disc(60)))
    assert isinstance(desk.job("find_circles", image="frame:C:\\show\\cam1.frame#0@2", data="a.json"), Result)
    assert '"cam1.frame#0@2"' in (tmp_path / "a.json").read_text()


@pytest.mark.parametrize(
    ("values", "code", "match"),
    [
        ({"image": "frame:../cam1.frame"}, 403, "is outside the folders in which files may be read"),
        ({"image": "frame:"}, 400, "A path is empty"),
        ({"image": "frame:frames"}, 400, "frames is a folder"),
        ({"image": "frame:frames/cam2.frame"}, 404, r"There is no file cam2.frame in .*frames"),
        ({"image": "frame:frames/cam1.frame#3"}, 400, "cam1.frame has the slots #0 to #2; #3 is none of them"),
        ({"image": "frame:frames/cam1.frame#0@6"}, 410, "The frame cam1.frame#0@6 is gone"),
        ({"image": "frame:a.png"}, 415, "a.png is not a frame file: it begins with"),
        ({"image": "frames/cam1.frame"}, 415, "cam1.frame is a frame file, which this worker does not read"),
    ],
)
def test_refused(camera, values, code, match):
    """Every mistake has a sentence."""
    camera.discs("a.png")
    outcome = camera.task("find_circles", **values)
    assert isinstance(outcome, Failure)
    assert outcome.code == code
    assert re.search(match, outcome.message), outcome.message


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("copy", {"source": "frame:frames/cam1.frame", "output": "copies/"}),
        ("read_video", {"video": "frame:frames/cam1.frame", "output": "{n}.png"}),
    ],
)
def test_where_a_file_is_needed(camera, operation, values):
    """What takes no pictures says so."""
    outcome = camera.task(operation, **values)
    assert (outcome.code, outcome.message) == (400, "frame:frames/cam1.frame names a frame, and here a file is needed.")


# ------------------------------------------------------------------------------------------------------------------- out


def test_pictures_come_back_as_frames(camera):
    """Overlays and filtered pictures; the report names the frame, and the next job takes it by that name."""
    result = camera.job("find_circles", image="frame:frames/cam1.frame#0", overlay="frame:out/{name}.frame")
    (written,) = result.files
    assert written.path == f"frame:{camera.root.as_posix()}/out/cam1.frame#{FrameName.of(written.path).slot}@2"
    assert (written.width, written.height, written.size_bytes) == (200, 120, 200 * 120 * 3)
    camera.job("filter", image="frame:frames/cam1.frame#0", output="frame:out/soft.frame", steps="blur 3")
    assert (read_frame(camera.root / "out/cam1.frame", FrameName.of(written.path)).image[..., 2] > 200).any()
    ((x, y, *_),) = camera.task("find_circles", image="frame:out/soft.frame").rows
    assert (x, y) == pytest.approx((60, 50), abs=1)


def test_many_frames(camera):
    """A folder needs a name for each, as for files; a source of pictures, too."""
    camera.discs("in/a.png", "in/b.png")
    camera.job("find_circles", image="in", overlay="frame:out/{name}.frame")
    assert camera.names("out") == ["a.frame", "b.frame"]
    assert "names one file for many images" in camera.task("find_circles", image="in", overlay="frame:out/a.frame").message
    camera.job("draw_circles", output="frame:drawn/{n}.frame", count=2, width=64, height=64)
    assert camera.names("drawn") == ["0.frame", "1.frame"]


@pytest.mark.parametrize(
    ("operation", "values", "code", "match"),
    [
        ("convert", {"output": "frame:../x.frame"}, 403, "is outside the folders in which files may be written"),
        ("convert", {"output": "frame:x.png"}, 415, "x.png has no ending that this worker writes"),
        ("convert", {"output": "x.frame"}, 415, "x.frame has no ending that this worker writes"),
        ("convert", {"output": "frame:x.frame#1"}, 400, "names a slot, and the worker chooses the slot"),
        ("convert", {"output": "frame:frames/cam1.frame"}, 400, "would write over frame:frames/cam1.frame, which is one of its own inputs"),
        ("find_circles", {"data": "frame:x.frame"}, 415, "frame"),
        ("measure", {"histogram": "frame:x.frame"}, 400, "histogram is no picture, so it cannot be a frame"),
    ],
)
def test_frames_that_are_not_written(camera, operation, values, code, match):
    """Every mistake has a sentence, and nothing is written."""
    before = camera.names()
    outcome = camera.task(operation, image="frame:frames/cam1.frame#0", **values)
    assert isinstance(outcome, Failure)
    assert re.search(match, outcome.message), outcome.message
    assert outcome.code == code
    assert camera.names() == before


def test_a_text_is_no_frame(desk):
    outcome = desk.task("write_text", output="frame:a.frame", text="hello")
    assert (outcome.code, outcome.message) == (400, "frame:a.frame names a frame, and this job writes text.")
