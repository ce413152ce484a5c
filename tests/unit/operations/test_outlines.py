import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.outlines import FindBlobs, FindContours, FindLines
from worker.errors import ArgumentError
from worker.operations import outlines

DATA = Path(__file__).parents[2] / "data"


def contours_in(picture, **values):
    return outlines.find_contours(picture, FindContours(image="a", **values))


def two_boxes():
    """A box of 60 by 30 pixels with a hole of 20 by 10 and a dot in that, and a box of 20 by 20."""
    picture = np.zeros((100, 200), np.uint8)
    picture[10:40, 20:80] = 200
    picture[20:30, 30:50] = 0
    picture[23:27, 36:44] = 200
    picture[60:80, 150:170] = 200
    return picture


@pytest.mark.parametrize("depth", [8, 16])
def test_boxes(depth):
    """Centre, area, box, sides and solidity are those that were drawn; areas are counted in pixels."""
    picture = two_boxes() if depth == 8 else two_boxes().astype(np.uint16) * 257
    rows = contours_in(picture).rows
    assert rows[:, 4].tolist() == [1800, 400]
    np.testing.assert_allclose(rows[:, :2], [(49.5, 24.5), (159.5, 69.5)])
    np.testing.assert_allclose(rows[:, 2:4], [(0.25, 0.75), (0.8, 0.3)])
    assert rows[:, 6:10].tolist() == [[20, 10, 60, 30], [150, 60, 20, 20]]
    np.testing.assert_allclose(rows[0, 10:14], (60, 30, 0, 1), atol=0.01)
    assert rows[:, 14].tolist() == [-1, -1]


def test_holes():
    """A hole has the number of its pixels, and the row of what it lies in; what lies in the hole does, too."""
    found = contours_in(two_boxes(), holes=True)
    assert found.rows[:, 4].tolist() == [1800, 400, 200, 32]
    assert found.rows[:, 14].tolist() == [-1, -1, 0, 2]


def test_turned_box():
    """A turned box has its own sides and direction."""
    picture = np.zeros((200, 200), np.uint8)
    corners = cv2.boxPoints(((100, 90), (120, 40), 30))
    cv2.fillPoly(picture, [np.rint(corners * 16).astype(np.int32)], 255, shift=4)
    (row,) = contours_in(picture).rows
    np.testing.assert_allclose(row[:2], (100, 90), atol=0.3)
    np.testing.assert_allclose(row[10:13], (120, 40, 30), atol=2)


def test_what_has_contours():
    """Dark things, opaque things, and those above a given threshold."""
    picture = np.full((50, 50), 200, np.uint8)
    picture[10:20, 10:30] = 90
    assert contours_in(picture, of="dark").rows[0, 4] == 200
    assert contours_in(picture, threshold=50).rows[0, 4] == 2500
    alpha = np.zeros((50, 50, 4), np.uint8)
    alpha[5:15, 5:15, 3] = 255
    assert contours_in(alpha, of="alpha").rows[0, 4] == 100
    assert contours_in(picture, of="alpha").rows[0, 4] == 2500
    assert contours_in(picture, of="dark", region="0 0 20 50").rows[0, 4] == 100
    assert contours_in(np.full((50, 50), 7, np.uint8)).rows.shape == (0, 15)


def test_points():
    """The file holds the corners of each contour and its hull, in the order of the rows."""
    found = contours_in(two_boxes(), points="p.json", overlay="o.png", max_items=1)
    assert found.total == 2
    (item,) = json.loads(found.files["points"])["contours"]
    assert sorted(item["points"]) == [[20, 10], [20, 39], [79, 10], [79, 39]]
    assert sorted(item["hull"]) == sorted(item["points"])
    exact = json.loads(contours_in(two_boxes(), points="p.json", tolerance=0).files["points"])["contours"]
    assert len(exact[0]["points"]) == 2 * (59 + 29)
    assert np.abs(found.images["overlay"][10, 50].astype(int) - (60, 255, 60)).max() < 60


@pytest.mark.parametrize("bright", [True, False])
@pytest.mark.parametrize("noise", [0, 6])
def test_blobs(bright, noise):
    """Drawn spots have middle and radius within half a pixel, the largest first."""
    spots = ((60.25, 50.5, 12), (150.75, 60.25, 7.5), (100.5, 140, 25), (220, 130.5, 5))
    fine = np.full((200 * 8, 280 * 8), 60 if bright else 200, np.uint8)
    for x, y, radius in spots:
        cv2.circle(fine, (round((x + 0.5) * 8), round((y + 0.5) * 8)), round(radius * 8), 180 if bright else 70, -1)
    picture = cv2.resize(fine, (280, 200), interpolation=cv2.INTER_AREA)
    picture = np.clip(picture + np.random.default_rng(1).normal(0, noise, picture.shape), 0, 255).astype(np.uint8)
    for of in ("both", "bright" if bright else "dark"):
        rows = outlines.find_blobs(picture, FindBlobs(image="a", of=of)).rows
        assert len(rows) == 4
        np.testing.assert_allclose(rows[:, :3], sorted(spots, key=lambda spot: -spot[2]), atol=0.5 if not noise else 1)
        assert (rows[:, 5] == bright).all()
        np.testing.assert_allclose(rows[:, 3], (rows[:, 0] + 0.5) / 280)
    assert not len(outlines.find_blobs(picture, FindBlobs(image="a", of="dark" if bright else "bright")).rows)
    assert len(outlines.find_blobs(picture, FindBlobs(image="a", min_radius=10)).rows) == 2
    assert len(outlines.find_blobs(picture, FindBlobs(image="a", max_radius=10)).rows) == 2
    assert len(outlines.find_blobs(picture, FindBlobs(image="a", region="0 0 200 100")).rows) == 2
    few = outlines.find_blobs(picture, FindBlobs(image="a", max_items=1))
    assert (len(few.rows), few.total) == (1, 4)
    assert outlines.mark_blobs(picture, few.rows).shape == (200, 280, 3)


def test_roundness():
    """A stick is no blob, unless any shape is."""
    picture = np.zeros((100, 100), np.uint8)
    picture[48:54, 10:90] = 220
    assert not len(outlines.find_blobs(picture, FindBlobs(image="a", max_radius=50)).rows)
    assert len(outlines.find_blobs(picture, FindBlobs(image="a", max_radius=50, roundness=0)).rows) == 1


def test_real_blobs():
    """OpenCV's own test picture: five discs, two rings' holes, a shaded disc, squares, and what is left of a shaded bar; nothing long."""
    picture = cv2.imread(str(DATA / "detect_blob.png"))
    assert len(outlines.find_blobs(picture, FindBlobs(image="a")).rows) == 12


def test_lines():
    """The sides of a turned box are found within a pixel, with length and direction; directions can be asked for."""
    fine = np.full((300 * 4, 400 * 4), 40, np.uint8)
    corners = cv2.boxPoints(((200, 150), (200, 100), 20))
    cv2.fillPoly(fine, [np.rint((corners + 0.5) * 4 - 0.5).astype(np.int32)], 210)
    picture = cv2.resize(fine, (400, 300), interpolation=cv2.INTER_AREA)
    rows = outlines.find_lines(picture, FindLines(image="a")).rows
    assert len(rows) == 4
    np.testing.assert_allclose(rows[:, 8], (200, 200, 100, 100), atol=6)
    np.testing.assert_allclose(rows[:, 9], (20, 20, 110, 110), atol=0.5)
    sides = list(zip(corners, np.roll(corners, -1, axis=0), strict=True))
    for row in rows:
        for x, y in row[:4].reshape(2, 2):
            distances = [abs(np.linalg.det([end - start, (x, y) - start])) / np.linalg.norm(end - start) for start, end in sides]
            assert min(distances) < 1
        assert row[0] <= row[2]
    np.testing.assert_allclose(rows[:, 4], (rows[:, 0] + 0.5) / 400)
    np.testing.assert_allclose(rows[:, 7], 1 - (rows[:, 3] + 0.5) / 300)
    assert len(outlines.find_lines(picture, FindLines(image="a", angle=18)).rows) == 2
    assert len(outlines.find_lines(picture, FindLines(image="a", angle=112)).rows) == 2
    assert len(outlines.find_lines(picture, FindLines(image="a", min_length=150)).rows) == 2
    assert len(outlines.find_lines(picture, FindLines(image="a", region="0 0 400 140")).rows) == 2
    few = outlines.find_lines(picture, FindLines(image="a", max_items=3))
    assert (len(few.rows), few.total) == (3, 4)
    assert (outlines.mark_lines(picture, rows) != cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)).any()


@pytest.mark.parametrize("operation", [outlines.find_contours, outlines.find_blobs, outlines.find_lines])
def test_bad_region(operation):
    """A region that cannot be read is refused in a sentence."""
    with pytest.raises(ArgumentError, match="region must be x y width height"):
        operation(np.zeros((9, 9), np.uint8), region="1 2")


@settings(max_examples=30, deadline=None)
@given(any_picture(), st.sampled_from(("bright", "dark")), st.floats(0, 1))
def test_any_picture(picture, of, share):
    """No picture makes an operation fail; areas, places and texts are within the picture."""
    pixels = picture.shape[0] * picture.shape[1]
    found = contours_in(picture, of=of, holes=share > 0.5, min_area=1, points="p.json", overlay="o.png")
    assert ((found.rows[:, 4] >= 1) & (found.rows[:, 4] <= pixels)).all()
    assert ((found.rows[:, 13] > 0) & (found.rows[:, 13] <= 1)).all()
    assert len(json.loads(found.files["points"])["contours"]) == len(found.rows)
    assert contours_in(picture, of="alpha").rows.shape[1] == 15
    blobs = outlines.find_blobs(picture, FindBlobs(image="a", of=of, roundness=share, min_radius=0.5, contrast=1 + 30 * share)).rows
    assert outlines.mark_blobs(picture, blobs).shape == (*picture.shape[:2], 3)
    lines = outlines.find_lines(picture, FindLines(image="a", angle=180 * share)).rows
    assert lines.shape[1] == 10
    assert outlines.mark_lines(picture, lines).shape == (*picture.shape[:2], 3)
