import cv2
import numpy as np

from worker.operations import lettering
from worker.operations.angles import direction, within
from worker.operations.marks import draw_label, draw_polygon, edged


def test_never_a_whole_turn():
    """What would be rounded up to a whole turn is 0; a line that is nearly level has the same direction from both sides."""
    angles = direction(np.array([1.0, 1, 1]), np.array([-1e-7, 0, 1e-7]))
    assert angles.tolist() == [0, 0, 0]
    assert direction(np.array([-0.0]), np.array([0.0])).tolist() == [0]
    assert within(np.array([179.996, 180.0, 359.0]), 180).tolist() == [0, 0, 179]
    assert float(direction(*np.array([0.0, -2.0]))) == 270


def test_the_edge_grows_with_the_line():
    """A line on a large picture has a dark edge that can be seen, too."""
    assert [edged(width) for width in (1, 2, 3, 6, 12)] == [3, 4, 5, 10, 20]
    canvas = np.full((4000, 6000, 3), 255, np.uint8)
    draw_polygon(canvas, np.array([[1000.0, 2000], [5000, 2000]]), closed=False)
    column = canvas[:, 3000].astype(int)
    assert (column.max(axis=1) < 60).sum() >= 6  # black, above and below together
    assert ((column[:, 1] > 200) & (column[:, 0] < 100)).sum() >= 10


def test_a_label_of_other_letters(monkeypatch):
    """A letter that the font has is drawn; another version of OpenCV draws a question mark in its place."""
    canvas = {text: np.full((300, 600, 3), 90, np.uint8) for text in ("Küche", "K?che")}
    for text, picture in canvas.items():
        draw_label(picture, text, np.array([300.0, 150]))
    assert (canvas["Küche"] != canvas["K?che"]).any() == hasattr(cv2, "FontFace")
    monkeypatch.setattr(lettering, "_font", lambda: None)
    for text, picture in canvas.items():
        picture[:] = 90
        draw_label(picture, text, np.array([300.0, 150]))
    assert (canvas["Küche"] == canvas["K?che"]).all()
    assert (canvas["Küche"] != 90).any()
