"""A live job without a worker around it: what it reads and writes, and what it refuses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from tests.unit.tasks.desk import Desk
from worker.catalog.live import source_of
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Result, Task
from worker.operations.table import OPERATIONS
from worker.tasks.live import LiveJob, Nobody


@pytest.fixture
def desk(tmp_path):
    """A folder with a series of three images, in which a disc moves."""
    (tmp_path / "series").mkdir()
    for n in range(3):
        image = np.zeros((120, 160, 3), np.uint8)
        cv2.circle(image, (60 + 5 * n, 60), 25, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.imwrite(str(tmp_path / "series" / f"{n}.png"), image)
    return Desk(tmp_path.resolve())


def test_an_overlay_is_the_last_picture(desk):
    """At the end of its source the overlay shows the last picture, with a mark."""
    for overlay in ("seen.png", "frame:live/seen.frame"):
        found = desk.job("track", source="series", speed=0, rate=240, min_radius=10, overlay=overlay)
        assert isinstance(found, Result), found
        assert len(found.rows) == 1
    seen = cv2.imread(str(desk.root / "seen.png"))
    last = cv2.imread(str(desk.root / "series" / "2.png"))
    assert seen.shape == last.shape
    assert 100 < (seen != last).any(axis=2).sum() < 4000
    desk.job("convert", image="frame:live/seen.frame", output="frame.png")
    np.testing.assert_array_equal(cv2.imread(str(desk.root / "frame.png")), seen)


@pytest.mark.parametrize(
    ("overlay", "sentence"),
    [
        ("series/1.png", "track would write the overlay over its own source, series."),
        ("seen.txt", "seen.txt cannot be written: this job writes an image, and .txt is not an ending of it."),
        ("/etc/seen.png", "/etc/seen.png is outside the folders in which files may be written."),
        ("frame:a.frame#1", "frame:a.frame#1 names a slot, and the worker chooses the slot of a frame that it writes."),
    ],
)
def test_an_overlay_that_is_refused(desk, overlay, sentence):
    """Before the first picture, in one sentence."""
    found = desk.job("track", source="series", speed=0, overlay=overlay)
    assert isinstance(found, Failure)
    assert found.message == sentence


def test_a_source_on_the_network(desk):
    """Its process may read what is in the overlay's folder, so that is not the root with everything in it."""
    params, _ = CATALOG.parse_job("track", {"source": "rtsp://10.0.0.7/live", "overlay": "seen.png"}.items())
    job = LiveJob(desk.files, CATALOG, OPERATIONS, Task(1, "track", params), source_of(params.source))
    with pytest.raises(Exception, match="goes into a folder of its own") as raised:
        job.rows(Nobody())
    assert raised.value.hint == "Name it live/seen.png, with frame: before it if it is a frame."
