from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from tests import scenes
from tests.pictures import any_picture
from worker.catalog.outlines import FindRectangles
from worker.operations import rectangles
from worker.operations.line_quads import figures

DATA = Path(__file__).parents[2] / "data"


def sample(name, size=(640, 480)):
    return cv2.resize(cv2.imread(str(DATA / name)), size)


def sheet():
    """A written sheet of paper, 210 by 297."""
    paper = np.full((594, 420), 245, np.uint8)
    for line in range(60, 540, 24):
        cv2.line(paper, (40, line), (380 - 90 * (line % 5 == 0), line), 90, 4)
    return paper


def found_in(picture, **values):
    return rectangles.find_rectangles(picture, FindRectangles(image="a", **values))


def nearest(found, corners):
    """How far the corners of the found rectangle that fits best are off, whichever comes first."""
    turns = [np.roll(corners, turn, axis=0) for turn in range(4)]
    return min(np.linalg.norm(row[8:].reshape(4, 2) - turned, axis=1).max() for row in found.rows for turned in turns)


@pytest.mark.parametrize("ground", ["board.jpg", "graf1.jpg"])
@pytest.mark.parametrize("seed", range(5))
def test_sheet(ground, seed):
    """A sheet of paper on a busy ground, turned and in perspective: its corners are found within 2 pixels, and it comes first."""
    corners = scenes.tilted(240, (320, 240), seed, ratio=1 / np.sqrt(2)) if seed % 2 else scenes.tilted(200, (320, 240), seed, ratio=1.4)
    found = found_in(scenes.laid_into(sample(ground), sheet(), corners, noise=4), min_area=0.05)
    assert nearest(found, corners) < 2


@pytest.mark.parametrize("seed", [0, 3, 7])
def test_sheet_that_runs_into_the_ground(seed):
    """A sheet that is hardly brighter than what lies behind a part of it is found by its sides, which meet in its corners."""
    corners = scenes.tilted(330, (400, 300), seed, ratio=1 / np.sqrt(2))
    found = found_in(scenes.laid_into(sample("astronaut.jpg", (800, 600)), sheet(), corners, noise=4))
    assert nearest(found, corners) < 1


def test_figures():
    """Sides that meet make a figure; one that goes on behind a corner makes none, and neither does a smaller one than is wanted."""
    plain = np.full((300, 400), 90, np.uint8)
    cv2.fillConvexPoly(plain, np.array([(60, 50), (330, 70), (310, 250), (90, 230)], np.int32), 200)
    (figure,) = {tuple(np.rint(quad[quad.sum(axis=1).argmin()]).astype(int)) for quad in figures([plain], 1000)}
    assert np.abs(np.array(figure) - (60, 50)).max() <= 1
    assert not figures([plain], 90_000)
    lines = np.full((300, 400), 90, np.uint8)
    for start, end in (((60, 0), (60, 299)), ((330, 0), (330, 299)), ((0, 50), (399, 50)), ((0, 250), (399, 250))):
        cv2.line(lines, start, end, 250, 9)
    assert not figures([lines], 20_000)


def test_screen():
    """A screen that shows a picture, before a plain ground: corners, middle, sides, direction, and the picture straight."""
    shown = sample("smarties.png", (320, 200))
    corners = np.array([(120.0, 90.0), (480.0, 120.0), (470.0, 380.0), (110.0, 340.0)])
    picture = scenes.laid_into(np.full((480, 640, 3), (60, 70, 80), np.uint8), shown, corners, noise=2)
    found = found_in(picture, warped="w.png", width=320, height=200, min_area=0.1)
    (row,) = found.rows
    np.testing.assert_allclose(row[8:].reshape(4, 2), corners, atol=1)
    middle = cv2.perspectiveTransform(
        np.array([[(0.5, 0.5)]], np.float32),
        cv2.getPerspectiveTransform(np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float32), corners.astype(np.float32)),
    )[0, 0]
    np.testing.assert_allclose(row[:2], middle, atol=1)
    np.testing.assert_allclose(row[2:4], ((row[0] + 0.5) / 640, 1 - (row[1] + 0.5) / 480))
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    np.testing.assert_allclose(row[4:6], ((sides[0] + sides[2]) / 2, (sides[1] + sides[3]) / 2), atol=1.5)
    assert row[6] == pytest.approx(np.degrees(np.arctan2(30, 360)), abs=0.3)
    assert row[7] > 0.9
    assert found.images["warped"].shape == (200, 320, 3)
    assert cv2.PSNR(found.images["warped"], shown) > 20
    natural = found_in(picture, warped="w.png", min_area=0.1).images["warped"]
    assert natural.shape[:2] == (round(row[5]), round(row[4]))


def test_several():
    """Several rectangles, the largest first; those that are too small are left out, the limit counts the others."""
    picture = np.full((400, 600, 3), 90, np.uint8)
    boxes = ((50, 50, 200, 150), (320, 80, 150, 100), (350, 250, 100, 90), (100, 300, 20, 15))
    for n, (x, y, wide, high) in enumerate(boxes):
        picture[y : y + high, x : x + wide] = (250, 250, 20 + 60 * n)
    found = found_in(picture)
    assert found.total == 3
    np.testing.assert_allclose(found.rows[:, 8:10], [(x - 0.5, y - 0.5) for x, y, _, _ in boxes[:3]], atol=0.6)
    few = found_in(picture, max_items=1, warped="w.png")
    assert (len(few.rows), few.total) == (1, 3)
    assert few.images["warped"].shape[:2] == (150, 200)
    assert rectangles.mark_rectangles(picture, found.rows).shape == picture.shape


def test_none():
    """Round things and plain pictures have no rectangle; then what is written is black, of the size that is wanted."""
    found = found_in(sample("smarties.png"), warped="w.png", width=30)
    assert found.rows.shape == (0, 16)
    assert found.images["warped"].shape == (480, 30, 3)
    assert not found.images["warped"].any()
    nothing = found_in(np.full((300, 310), 128, np.uint8), warped="w.png")
    assert (nothing.rows.shape, nothing.images["warped"].shape) == ((0, 16), (300, 310))
    assert not found_in(np.full((300, 310), 128, np.uint8)).images


@settings(max_examples=30, deadline=None)
@given(any_picture())
def test_any_picture(picture):
    """No picture makes the search fail; corners are finite, scores are shares."""
    found = found_in(picture, min_area=0.001, support=0.3, warped="w.png")
    assert np.isfinite(found.rows).all()
    assert ((found.rows[:, 7] >= 0.3) & (found.rows[:, 7] <= 1)).all()
    assert found.images["warped"].dtype == picture.dtype
    assert rectangles.mark_rectangles(picture, found.rows).shape == (*picture.shape[:2], 3)
