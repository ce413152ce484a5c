"""The live picture with what is followed in it: when it is written, what it shows, and that it is never in the way."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.table import CATALOG
from worker.catalog.track import Track
from worker.errors import DiskFull
from worker.operations import camera
from worker.operations.track import Place, view_of
from worker.operations.track_marks import draw_tracks, hue_of
from worker.tracking.overlay import TRAIL, Overlay
from worker.tracking.session import Looked

FIELDS = CATALOG["track"].fields
SIZE = (200, 100)


def row(number, x, y, radius=20.0, **values):
    found = {**dict.fromkeys(FIELDS, 0.0), "id": number, "active": 1, "x": x, "y": y, "radius": radius, "code": -1, **values}
    return tuple(float(found[name]) for name in FIELDS)


class Shown:
    """An overlay whose pictures and trails are kept, with a clock."""

    def __init__(self, every_s):
        self.now, self.problem, self.written, self.trails = 100.0, None, [], []
        self.overlay = Overlay(FIELDS, self._draw, self._write, every_s, lambda: self.now)

    def _draw(self, _canvas, rows, trails):
        self.trails.append((len(rows), {number: list(places) for number, places in trails.items()}))

    def _write(self, canvas):
        if self.problem is not None:
            raise self.problem
        self.written.append(int(canvas[0, 0, 0]))

    def look(self, number, *rows, after_s=0.1):
        self.overlay.show(Looked(rows, len(rows), 9, SIZE), lambda: np.full((2, 2, 3), number, np.uint8))
        self.now += after_s


def test_frames_and_files():
    """A frame is written for each picture; a file once a second, and the last one when the source has ended."""
    frames, files = Shown(0.0), Shown(1.0)
    for shown in (frames, files):
        for number in range(25):
            shown.look(number)
        shown.overlay.finish()
        shown.overlay.finish()
    assert frames.written == list(range(25))
    assert files.written[0] == 0
    assert files.written[-1] == 24
    assert len(files.written) == 4


def test_trails():
    """Each object has its last places, also of pictures that were not written; what is gone and a slot without an object have none."""
    shown = Shown(0.0)
    for number in range(TRAIL + 5):
        shown.look(number, row(7, number, 5), row(8, 1, 1), row(0, 0, 0, active=0))
    shown.look(99, row(7, 99, 5))
    before, last = shown.trails[-2][1], shown.trails[-1][1]
    assert set(before) == {7, 8}
    assert before[7] == [(float(n), 5.0) for n in range(5, TRAIL + 5)]
    assert set(last) == {7}
    assert last[7][-1] == (99.0, 5.0)


def test_what_cannot_be_written():
    """It is a sentence, is tried again after a while and not at each picture, and passes."""
    shown = Shown(0.0)
    shown.problem = DiskFull("The disk is full.", "Make room.")
    for number in range(20):
        shown.look(number)
    assert shown.overlay.problem == "The overlay is not written: The disk is full. Make room."
    assert len(shown.trails) == 1
    shown.problem, shown.now = None, shown.now + 60
    shown.look(20)
    assert (shown.overlay.problem, shown.written) == ("", [20])


@pytest.mark.parametrize("what", ["circles", "markers"])
def test_what_is_drawn(what):
    """The outline, the trail and the id have the colour of the object; two objects differ; an object that is missing is dim."""
    canvas = np.zeros((300, 600, 3), np.uint8)
    trail = [(float(x), 150.0) for x in range(20, 100)]
    rows = (row(1, 100, 150), row(2, 300, 150), row(3, 480, 150, missing=2), row(0, 0, 0, active=0))
    draw_tracks(Track(source="a", what=what), canvas, FIELDS, rows, {1: trail})
    for number, x in ((1, 100), (2, 300)):
        assert (canvas[150, x + 15 : x + 26] == hue_of(number)).all(axis=1).any()
    oldest, newer = canvas[150, 30].astype(int), canvas[150, 60].astype(int)
    assert 0 < oldest.sum() < 0.8 * newer.sum()
    number = canvas[118:132, 119:130].astype(int)  # right above the circle
    assert (np.abs(number - hue_of(1)).max(axis=2) < 100).any()
    assert not (canvas == hue_of(3)).all(axis=2).any()
    assert (canvas[150, 480 + 15 : 480 + 26] == [round(0.5 * one) for one in hue_of(3)]).all(axis=1).any()
    assert len({hue_of(number) for number in range(1, 65)}) == 64


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.lists(st.tuples(*[st.floats(-1e7, 1e7)] * 3, st.floats(0, 360), st.integers(-1, 10**6)), max_size=4),
)
def test_any_places(size, objects):
    """Whatever is followed, in whatever picture: something is drawn or nothing, and the picture keeps its size."""
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    rows = [row(n + 1, x, y, abs(radius), angle=angle, code=code) for n, (x, y, radius, angle, code) in enumerate(objects)]
    for what in ("circles", "markers"):
        draw_tracks(Track(source="a", what=what), canvas, FIELDS, rows, {n + 1: [one[:2]] * 4 for n, one in enumerate(objects)})
    assert canvas.shape == (size[1], size[0], 3)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"region": "20 10 160 85", "rotate": 90, "flip": "horizontal"},
        {"width": 460},
        {"width": 100, "detect_width": 50},
        {"perspective": "10 5 190 10 180 95 5 90", "width": 300, "height": 200},
        {"lens": "a.json"},
        {"lens": "a.json", "perspective": "10 5 190 10 180 95 5 90"},
    ],
)
@pytest.mark.parametrize("channels", [0, 3, 4])
def test_marks_are_where_things_are(params, channels):
    """In the picture that is drawn into, a thing is where the results say that it is, however results are counted."""
    lens = camera.Camera(SIZE, np.array([[150.0, 0, 99.5], [0, 150, 49.5], [0, 0, 1]]), np.array([-0.2, 0.05, 0.001, 0.001, 0.0]))
    image = np.zeros((SIZE[1], SIZE[0]), np.uint8)
    cv2.circle(image, (70, 60), 7, 255, -1)
    if channels:
        image = np.dstack([image] * 3 + [np.full_like(image, 255)] * (channels - 3))
    view = view_of(Track(source="a", overlay="a.png", **params), SIZE, camera.to_json(lens, {}) if "lens" in params else None)
    canvas = view.picture(image)
    assert canvas.shape == (view.size[1], view.size[0], 3)
    assert canvas.dtype == np.uint8
    assert not np.may_share_memory(canvas, image)
    to_search = np.linalg.inv(view.to_source) @ (70, 60, 1)
    (place,) = view.out([Place(*(to_search[:2] / to_search[2]), 1.0)])
    y, x = np.argwhere(canvas[..., 0] > 100).mean(axis=0)
    assert (place.x, place.y) == pytest.approx((x, y), abs=1.0)
