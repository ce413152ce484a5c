import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from tests.pictures import any_picture
from worker.catalog.reading import FindText
from worker.errors import ArgumentError, Unavailable
from worker.operations import reading
from worker.operations.lettering import draw_line, line_width_of

_MISSING = reading.unavailable().get("", "")
with_models = pytest.mark.skipif(bool(_MISSING), reason=f"not on this system: {_MISSING}" if cv2.__version__ < "5" else _MISSING)
LINES = ("Hello World 2024", "TAKE 12 Scene 4", "exit only", "TouchDesigner 60 fps")
SIZE = 40


def lettered(ink=0, paper=255, lines=LINES, shape=(400, 700)):
    """Lines of text, and of each its box: left, top, right, bottom of the letters."""
    mask, boxes = np.zeros(shape, np.uint8), []
    for n, line in enumerate(lines):
        alone = np.zeros(shape, np.uint8)
        draw_line(alone, line, (40 + 10 * n, 70 + 90 * n), SIZE)
        left, top, width, height = cv2.boundingRect((alone > 127).astype(np.uint8))
        boxes.append((left, top, left + width - 1, top + height - 1))
        mask = np.maximum(mask, alone)
    alpha = mask[..., None] / 255
    return np.rint(paper * (1 - alpha) + ink * alpha).astype(np.uint8).repeat(3, axis=2), np.array(boxes, float)


def found_in(picture, **values):
    return reading.find_text(picture, FindText(image="a", **values))


def texts(found):
    return [text for (text,) in found.texts]


@with_models
@pytest.mark.parametrize(("ink", "paper"), [(0, 255), (255, 0), (40, 190)])
@pytest.mark.parametrize("depth", [8, 16])
def test_rendered_lines(ink, paper, depth):
    """Every line is read, in order, and its box is where the letters are, within a third of their size."""
    picture, boxes = lettered(ink, paper)
    found = found_in(picture if depth == 8 else picture.astype(np.uint16) * 257)
    assert texts(found) == list(LINES)
    quads = found.rows[:, 8:].reshape(-1, 4, 2)
    np.testing.assert_allclose(quads[:, 0], boxes[:, :2], atol=SIZE / 3)
    np.testing.assert_allclose(quads[:, 2], boxes[:, 2:], atol=SIZE / 3)
    np.testing.assert_allclose(found.rows[:, :2], (boxes[:, :2] + boxes[:, 2:]) / 2, atol=SIZE / 6)
    np.testing.assert_allclose(found.rows[:, 2:4], np.column_stack([(found.rows[:, 0] + 0.5) / 700, 1 - (found.rows[:, 1] + 0.5) / 400]))
    assert found.rows[:, 7].min() > 0.9
    assert (np.minimum(found.rows[:, 6], 360 - found.rows[:, 6]) < 3).all()


@with_models
@pytest.mark.parametrize("quarters", range(4))
def test_turned(quarters):
    """Text that stands on its head or on its side is read, and its angle and its first corner say how it stands."""
    picture, boxes = lettered()
    found = found_in(np.ascontiguousarray(np.rot90(picture, -quarters)))  # clockwise
    assert sorted(texts(found)) == sorted(LINES)
    apart = (found.rows[:, 6] - 90 * quarters + 180) % 360 - 180
    assert np.abs(apart).max() < 4
    row = found.rows[texts(found).index(LINES[0])]
    x, y = boxes[0, :2]
    corner = [(x, y), (399 - y, x), (699 - x, 399 - y), (y, 699 - x)][quarters]
    np.testing.assert_allclose(row[8:10], corner, atol=SIZE / 3)


@with_models
@pytest.mark.parametrize("angle", [-15, 10, 25])
def test_slanted(angle):
    """A line at an angle is read, and the angle is right within 2 degrees."""
    picture, _ = lettered(lines=("", "Scene 12 Take 4"), shape=(300, 500))
    turn = cv2.getRotationMatrix2D((250, 150), -angle, 0.8)
    found = found_in(cv2.warpAffine(picture, turn, (500, 300), borderValue=(255, 255, 255)))
    assert texts(found) == ["Scene 12 Take 4"]
    assert found.rows[0, 6] == pytest.approx(angle % 360, abs=2)


@with_models
def test_side_by_side():
    """Reading order: what stands beside each other from left to right, then the next line."""
    picture, _ = lettered(lines=())
    for text, place in (("right", (450, 80)), ("left", (60, 90)), ("below", (60, 250))):
        letters = np.zeros(picture.shape[:2], np.uint8)
        draw_line(letters, text, place, 50)
        picture[letters > 127] = 0
    assert texts(found_in(picture)) == ["left", "right", "below"]


@with_models
def test_region_and_limits():
    """A region leaves out the rest, and rows count in the whole picture; the limit leaves out lines and says how many."""
    picture, boxes = lettered()
    found = found_in(picture, region="0 110 700 90", overlay="o.png")
    assert texts(found) == [LINES[1]]
    np.testing.assert_allclose(found.rows[0, 8:10], boxes[1, :2], atol=SIZE / 3)
    assert found.images["overlay"].shape == (400, 1400, 3)
    few = found_in(picture, max_items=2)
    assert (len(few.rows), few.total) == (2, 4)
    assert len(found_in(picture, min_score=1).rows) == 0


@with_models
def test_small_letters_need_a_large_side():
    """Letters of 12 pixels in a picture of 2400 are found if the picture is looked at in its size."""
    picture = np.full((1600, 2400, 3), 255, np.uint8)
    letters = np.zeros(picture.shape[:2], np.uint8)
    draw_line(letters, "small print of the house", (1500, 1200), 17)
    picture[letters > 127] = 0
    assert line_width_of("small print of the house", 17) < 250
    assert "print" in " ".join(texts(found_in(picture, max_side=2400)))


@with_models
@pytest.mark.parametrize("shape", [(1, 1), (1, 3000), (3000, 1), (5, 5), (2000, 2000)])
def test_nothing(shape):
    """A plain picture of any size has no text."""
    assert found_in(np.full(shape, 200, np.uint8)).rows.shape == (0, 16)


@with_models
@settings(max_examples=12, deadline=None)
@given(any_picture())
def test_any_picture(picture):
    """Whatever is in a picture, there are rows with texts or none."""
    found = found_in(picture, min_score=0, overlay="o.png", max_side=320)
    assert found.rows.shape == (len(found.texts), 16)
    assert np.isfinite(found.rows).all()
    assert found.images["overlay"].shape == (picture.shape[0], 2 * picture.shape[1], 3)


@with_models
def test_letters_of_the_model():
    """The letters come from the model's own metadata: as many as it has outputs, without the one for nothing and the space."""
    letters = reading._letters()
    assert len(letters) == 6623
    assert set("ABCXYZabcxyz0123456789!?.,:;-") <= set(letters)


def test_decoded(monkeypatch):
    """Repeated steps are one letter, unless there is nothing between them; the last number is a space."""
    monkeypatch.setattr(reading, "_letters", lambda: ("a", "b"))
    steps = np.full((7, 4), 0.1, np.float32)
    for step, letter in enumerate((1, 1, 0, 1, 3, 2, 0)):
        steps[step, letter] = 0.8
    assert reading._decoded(steps) == ("aa b", pytest.approx(0.8))
    assert reading._decoded(np.array([[0.9, 0.05, 0.05]], np.float32)) == ("", 0.0)


def test_old_opencv(monkeypatch):
    """OpenCV 4 crashes with these models, so it is not asked."""
    monkeypatch.setattr(reading, "_can_run", lambda: False)
    assert "OpenCV 5 can" in reading.unavailable()[""]
    with pytest.raises(Unavailable, match="cannot run the models; OpenCV 5 can"):
        reading.find_text(np.zeros((9, 9), np.uint8), min_score=0.5)


def test_without_the_models(monkeypatch):
    """Without the package the job is refused with what to install."""
    monkeypatch.setattr(reading, "_can_run", lambda: True)
    monkeypatch.setattr(reading, "is_installed", lambda _module: False)
    assert "pip install --no-deps rapidocr-onnxruntime" in reading.unavailable()[""]
    with pytest.raises(Unavailable, match="install the package rapidocr-onnxruntime"):
        reading.find_text(np.zeros((9, 9), np.uint8), min_score=0.5)
    monkeypatch.setattr(reading, "packaged", lambda *_: None)
    with pytest.raises(Unavailable):
        reading._model("any")


def test_region_is_checked(monkeypatch):
    monkeypatch.setattr(reading, "_can_run", lambda: True)
    monkeypatch.setattr(reading, "is_installed", lambda _module: True)
    with pytest.raises(ArgumentError, match="region must be"):
        reading.check(FindText(image="a", region="1 2"))
