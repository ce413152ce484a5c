"""Draw the ellipse, then find it."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.ellipses import FindEllipses
from worker.errors import ArgumentError
from worker.operations.ellipses import check, detect_ellipses, find_ellipses, mark_ellipses

X, Y, WIDTH, HEIGHT, ANGLE, U, V, SCORE = range(8)


def search(picture, **params):
    return find_ellipses(picture, FindEllipses(image="unused", **params))


def plain(width=320, height=240, grey=90):
    return np.full((height, width, 3), grey, np.uint8)


def draw(picture, x, y, axes, angle, color=(230, 230, 230), thickness=-1):  # noqa: PLR0917 - as in cv2.ellipse
    """Draws to a sixteenth of a pixel; the axes are whole ones."""
    center, half = (round(16 * x), round(16 * y)), (round(8 * axes[0]), round(8 * axes[1]))
    cv2.ellipse(picture, center, half, angle, 0, 360, color, thickness, cv2.LINE_AA, 4)
    return picture


def assert_found(rows, truth, center=1.0, axis=2.5, turn=3.0):
    """Exactly the ellipses of the truth were found, to so many pixels and degrees."""
    assert len(rows) == len(truth), rows.round(2)
    for x, y, (width, height), angle in truth:
        nearest = rows[np.argmin(np.hypot(rows[:, X] - x, rows[:, Y] - y))]
        assert np.hypot(nearest[X] - x, nearest[Y] - y) <= center
        assert nearest[WIDTH] == pytest.approx(width, abs=axis)
        assert nearest[HEIGHT] == pytest.approx(height, abs=axis)
        assert abs((nearest[ANGLE] - angle + 90) % 180 - 90) <= turn


@pytest.mark.parametrize("angle", [0, 30, 90, 145])
@pytest.mark.parametrize("axes", [(120, 60), (80, 60), (60, 20), (200, 150)])
def test_filled(axes, angle):
    """A filled ellipse is found with its axes and its angle, clockwise from the x axis."""
    assert_found(search(draw(plain(), 158.3, 121.6, axes, angle)), [(158.3, 121.6, axes, angle)])


def test_circle():
    """A circle is an ellipse with equal axes."""
    rows = search(cv2.circle(plain(), (150, 120), 50, (230, 230, 230), -1, cv2.LINE_AA))
    assert len(rows) == 1
    assert rows[0, [WIDTH, HEIGHT]] == pytest.approx([101, 101], abs=1.5)


def test_cut_by_the_border():
    """An ellipse of which the border cuts off a part is found; its score speaks of the part inside the picture."""
    rows = search(draw(plain(), 20, 120, (120, 60), 10))
    assert_found(rows, [(20, 120, (120, 60), 10)], center=1.5)
    assert rows[0, SCORE] > 0.9


def test_partly_hidden():
    """An ellipse of which a bar hides a quarter is found from what is left of it."""
    picture = draw(plain(), 150, 120, (160, 90), 20)
    picture[:, 180:200] = (20, 80, 20)
    assert_found(search(picture), [(150, 120, (160, 90), 20)], center=2)


@pytest.mark.parametrize("corners", [3, 4, 5, 6, 8])
def test_polygons(corners):
    """A polygon is no ellipse, also if it is drawn out."""
    angles = 0.4 + np.arange(corners) * 2 * np.pi / corners
    points = np.rint(np.array([160, 120]) + np.column_stack([90 * np.cos(angles), 55 * np.sin(angles)])).astype(np.int32)
    assert len(search(cv2.fillPoly(plain(), [points], (230, 230, 230), cv2.LINE_AA))) == 0


def test_nothing():
    """Plain pictures, noise and tiny ones have no ellipses."""
    noise = np.random.default_rng(0).integers(0, 256, (200, 200), dtype=np.uint8)
    for picture in (plain(), noise, np.zeros((1, 1), np.uint8), np.zeros((7, 50, 4), np.uint8)):
        assert search(picture).shape == (0, 8)


def test_sizes_and_limits():
    """min_size and max_size speak of the longer axis, the last filter; max_items says how many there were."""
    picture = draw(draw(plain(), 70, 120, (60, 40), 0), 220, 120, (120, 80), 0)
    assert_found(search(picture, min_size=90), [(220, 120, (120, 80), 0)])
    assert_found(search(picture, max_size=90), [(70, 120, (60, 40), 0)])
    found = detect_ellipses(picture, FindEllipses(image="unused", max_items=1))
    assert (len(found.rows), found.total) == (1, 2)
    with pytest.raises(ArgumentError, match="min_size 20 is larger than max_size 10"):
        check(FindEllipses(image="a.png", min_size=20, max_size=10))


def test_coordinates():
    """u, v count from 0 to 1 with v up from the bottom."""
    rows = search(draw(plain(), 100, 60, (80, 50), 0))
    np.testing.assert_allclose(rows[:, U], (rows[:, X] + 0.5) / 320)
    np.testing.assert_allclose(rows[:, V], 1 - (rows[:, Y] + 0.5) / 240)


def test_large_picture():
    """A picture of more than 3 megapixel is searched at half its size; the places are those of the whole."""
    picture = draw(np.full((1800, 2400, 3), 90, np.uint8), 1200.3, 900.8, (700, 400), 25)
    assert_found(search(picture), [(1200.3, 900.8, (700, 400), 25)], axis=3)


def test_mark():
    """Each ellipse is outlined on a copy of the picture."""
    picture = draw(plain(), 150, 120, (120, 60), 0)
    marked = mark_ellipses(picture, search(picture))
    assert marked.shape == picture.shape
    assert (marked[120, 88:93] != picture[120, 88:93]).any()
    np.testing.assert_array_equal(mark_ellipses(picture, np.empty((0, 8))), picture)


@pytest.mark.parametrize("thickness", [1, 2, 3])
@pytest.mark.parametrize("angle", [0, 40, 110])
@pytest.mark.parametrize("axes", [(120, 80), (180, 100), (150, 150)])
def test_drawn(axes, angle, thickness):
    """An ellipse drawn as a line is one ellipse, in the middle of its line."""
    turn = 180 if axes[0] == axes[1] else 3  # a circle's axes have no direction
    assert_found(search(draw(plain(), 158.7, 120.3, axes, angle, thickness=thickness)), [(158.7, 120.3, axes, angle)], turn=turn)


@pytest.mark.parametrize("tilt", [0.06, 0.12, 0.2])
def test_board_at_an_angle(tilt):
    """Discs on a board that is seen at an angle are all found, to half a pixel, and nothing else."""
    board, width, height = plain(640, 480), 640, 480
    discs = [(110 + 140 * column, 100 + 140 * row, 30 + 8 * ((row + column) % 3)) for row in range(3) for column in range(4)]
    for x, y, radius in discs:
        cv2.circle(board, (x, y), radius, (230, 40 * (x % 4), 40 * (y % 5)), -1, cv2.LINE_AA)
    corners = np.array([(0, 0), (width, 0), (width, height), (0, height)], np.float32)
    moved = np.array([(tilt * width, tilt * height), ((1 - tilt / 2) * width, 0), (width, height), (0, (1 - tilt) * height)], np.float32)
    seen = cv2.getPerspectiveTransform(corners, moved)
    rows = search(cv2.warpPerspective(board, seen, (width, height), borderMode=cv2.BORDER_REPLICATE))
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    truth = []
    for x, y, radius in discs:
        rim = np.column_stack([x + (radius + 0.5) * np.cos(angles), y + (radius + 0.5) * np.sin(angles)])
        (cx, cy), axes, _ = cv2.fitEllipse(cv2.perspectiveTransform(rim[None].astype(np.float32), seen)[0])
        truth.append((cx, cy, max(axes), min(axes)))
    assert len(rows) == len(truth)
    for cx, cy, long, short in truth:
        nearest = rows[np.argmin(np.hypot(rows[:, X] - cx, rows[:, Y] - cy))]
        assert np.hypot(nearest[X] - cx, nearest[Y] - cy) < 0.5
        assert nearest[[WIDTH, HEIGHT]] == pytest.approx([long, short], abs=1.5)


@settings(max_examples=25, deadline=None)
@given(long=st.floats(40, 180), flat=st.floats(0.4, 1), angle=st.floats(0, 179), step=st.sampled_from([-60, -30, 30, 60]))
def test_any_ellipse(long, flat, angle, step):
    """A filled ellipse at any angle that stands out by 30 grey levels is found."""
    rows = search(draw(plain(), 158.7, 120.3, (long, long * flat), angle, (90 + step,) * 3))
    assert len(rows) == 1
    assert np.hypot(rows[0, X] - 158.7, rows[0, Y] - 120.3) < 1
    assert rows[0, WIDTH] == pytest.approx(long, abs=3)
    assert rows[0, HEIGHT] == pytest.approx(long * flat, abs=3)
