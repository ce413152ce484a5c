"""Draw the truth, then find it."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.circles import FindCircles
from worker.errors import ArgumentError
from worker.operations.circles import check, find_circles

DATA = Path(__file__).parents[2] / "data"
X, Y, RADIUS, U, V, SCORE = range(6)


def search(picture, **params):
    return find_circles(picture, FindCircles(image="unused", **params))


def sample(name):
    return cv2.imread(str(DATA / name), cv2.IMREAD_UNCHANGED)


def plain(width=320, height=240, grey=90):
    return np.full((height, width, 3), grey, np.uint8)


def noisy(width=320, height=240):
    return np.clip(np.random.default_rng(1).normal(90, 20, (height, width, 3)), 0, 255).astype(np.uint8)


def cloudy(width=320, height=240):
    coarse = np.random.default_rng(2).integers(50, 130, (height // 16, width // 16, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def striped(width=320, height=240):
    row, column = np.mgrid[:height, :width]
    return np.repeat((80 + 25 * np.sin(column / 9 + row / 15))[..., None], 3, axis=2).astype(np.uint8)


def checkered(width=320, height=240):
    row, column = np.mgrid[:height, :width]
    return np.repeat(np.where((row // 20 + column // 20) % 2, 70, 110)[..., None], 3, axis=2).astype(np.uint8)


def draw(picture, x, y, radius, color=(230, 230, 230), thickness=-1):  # noqa: PLR0917 - as in cv2.circle
    """Draws to a sixteenth of a pixel."""
    cv2.circle(picture, (round(16 * x), round(16 * y)), round(16 * radius), color, thickness, cv2.LINE_AA, 4)
    return picture


def assert_found(rows, truth, center=0.5, radius=1.0):
    """Exactly the circles of the truth were found, to so many pixels."""
    assert len(rows) == len(truth), rows[:, [X, Y, RADIUS, SCORE]].round(2)
    for x, y, r in truth:
        nearest = rows[np.argmin(np.hypot(rows[:, X] - x, rows[:, Y] - y))]
        assert math.hypot(nearest[X] - x, nearest[Y] - y) <= center
        assert nearest[RADIUS] == pytest.approx(r, abs=radius)


@pytest.mark.parametrize("thickness", [-1, 1, 2, 3])
@pytest.mark.parametrize("radius", [5, 8, 13, 21.3, 34.7, 60, 110])
def test_size(radius, thickness):
    """A circle is found to half a pixel, whatever its size, filled or drawn as a line."""
    picture = draw(plain(), 158.3, 121.6, radius, thickness=thickness)
    assert_found(search(picture), [(158.3, 121.6, radius)])


@pytest.mark.parametrize("thickness", [-1, 2])
def test_largest(thickness):
    """A circle with a radius of 300 pixels is found to half a pixel."""
    picture = draw(plain(800, 640), 401.2, 318.7, 300, thickness=thickness)
    assert_found(search(picture), [(401.2, 318.7, 300)])


@pytest.mark.parametrize("background", [noisy, cloudy, striped, checkered])
@pytest.mark.parametrize("thickness", [-1, 3])
def test_background(background, thickness):
    """Circles are found on noise and on textures, and the background adds none."""
    truth = [(60.4, 70.2, 40), (160.7, 60.1, 12), (230.2, 150.8, 64.5), (60.3, 180.6, 25)]
    picture = background()
    for circle in truth:
        draw(picture, *circle, thickness=thickness)
    assert_found(search(picture), truth)


@pytest.mark.parametrize("color", [(0, 0, 255), (255, 60, 10), (20, 250, 20), (10, 10, 10)])
def test_color(color):
    """A circle of any colour is found, also of one as bright as the background."""
    assert_found(search(draw(plain(), 150, 120, 40, color)), [(150, 120, 40)])


def test_only_color_differs():
    """A circle that cannot be seen in grey is found."""
    red_as_grey = round(0.299 * 200)
    picture = draw(plain(grey=red_as_grey), 150, 120, 40, (0, 0, 200))
    assert_found(search(picture), [(150, 120, 40)])


def test_touching():
    """Circles that touch each other are found each for itself."""
    truth = [(100, 100, 40), (180, 100, 40), (140, 100 + 40 * math.sqrt(3), 40), (240, 100, 20)]
    picture = plain()
    for circle in truth:
        draw(picture, *circle)
    assert_found(search(picture), truth)


def test_many():
    """A grid of a hundred small circles is found completely."""
    truth = [(20.3 + 30 * column, 15.8 + 22 * row, 8) for row in range(10) for column in range(10)]
    picture = plain()
    for circle in truth:
        draw(picture, *circle)
    assert_found(search(picture), truth)


def test_cut_by_the_border():
    """A circle of which the border cuts a little off is found, and scores less."""
    rows = search(draw(plain(), 30, 120, 40))
    assert_found(rows, [(30, 120, 40)])
    assert 0.7 < rows[0, SCORE] < 0.9


@pytest.mark.parametrize(
    "picture", [plain(), noisy(), striped(), checkered(), cloudy()], ids=["flat", "noise", "stripes", "checkers", "clouds"]
)
def test_nothing(picture):
    """Where no circle is, none is found."""
    assert search(picture).shape == (0, 6)


def test_white_noise():
    """Noise over the whole range of values has no circles."""
    assert len(search(np.random.default_rng(0).integers(0, 256, (400, 400), dtype=np.uint8))) == 0


def test_other_shapes():
    """Squares, bars, ellipses and lines are no circles."""
    picture = plain(400, 300)
    cv2.rectangle(picture, (20, 20), (80, 80), (240, 240, 240), -1)
    cv2.rectangle(picture, (20, 120), (44, 144), (240, 240, 240), -1)
    cv2.rectangle(picture, (120, 20), (240, 50), (0, 0, 240), 3)
    cv2.ellipse(picture, (180, 150), (70, 30), 20, 0, 360, (0, 240, 0), -1)
    cv2.ellipse(picture, (320, 80), (60, 40), 0, 0, 360, (240, 240, 240), 2)
    cv2.line(picture, (20, 200), (380, 290), (250, 250, 250), 4)
    cv2.fillPoly(picture, [np.array([(300, 200), (380, 260), (280, 265)])], (0, 0, 0))
    assert len(search(picture)) == 0


def test_empty_and_tiny_images():
    """Images of a few pixels give no circles and no errors."""
    for shape in [(1, 1), (1, 50, 3), (2, 2, 4), (7, 5), (23, 300, 3)]:
        assert search(np.zeros(shape, np.uint8)).shape == (0, 6)


def test_kinds_of_images():
    """Grey, 16 bits, 16 bits that use little of their range, and alpha: the same circle is found in all of them."""
    picture = draw(plain(), 150.5, 120.2, 40)
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    alpha = np.dstack([np.full_like(picture, 255), draw(np.zeros((240, 320), np.uint8), 150.5, 120.2, 40, 255)])
    deep_alpha = alpha.astype(np.uint16) * 257
    for kind in (picture, grey, picture.astype(np.uint16) * 257, grey.astype(np.uint16) * 16, alpha, deep_alpha):
        assert_found(search(kind), [(150.5, 120.2, 40)])


def test_visible_only_in_alpha():
    """A black disc on nothing is found, though both look black."""
    picture = np.zeros((240, 320, 4), np.uint8)
    picture[..., 3] = draw(np.zeros((240, 320), np.uint8), 150.5, 120.2, 40, 255)
    assert_found(search(picture), [(150.5, 120.2, 40)])


def test_order_and_coordinates():
    """The best come first; u, v count from 0 to 1 with v up from the bottom."""
    picture = draw(draw(plain(), 30, 120, 40), 200, 60, 30)
    rows = search(picture)
    assert list(rows[:, SCORE]) == sorted(rows[:, SCORE], reverse=True)
    assert (rows[:, SCORE] <= 1).all()
    np.testing.assert_allclose(rows[:, U], (rows[:, X] + 0.5) / 320)
    np.testing.assert_allclose(rows[:, V], 1 - (rows[:, Y] + 0.5) / 240)


def test_radii():
    """min_radius and max_radius leave out what is smaller or larger."""
    picture = draw(draw(draw(plain(), 50, 60, 10), 120, 60, 30), 230, 120, 60)
    assert_found(search(picture, min_radius=20), [(120, 60, 30), (230, 120, 60)])
    assert_found(search(picture, max_radius=40), [(50, 60, 10), (120, 60, 30)])
    assert_found(search(picture, min_radius=20, max_radius=40), [(120, 60, 30)])


def test_one_circle_per_round_thing():
    """Of a disc with a hole the outer circle is reported; a small min_distance asks for the inner one, too."""
    picture = draw(draw(plain(), 150, 120, 60), 150, 120, 25, (0, 0, 0))
    assert_found(search(picture), [(150, 120, 60)])
    assert len(search(picture, min_distance=0.001)) == 2


def test_min_distance():
    """Of two circles whose centres lie closer than min_distance, only the better one is reported."""
    picture = draw(draw(plain(), 100, 120, 30), 170, 120, 30)
    assert len(search(picture, min_distance=60)) == 2
    assert len(search(picture, min_distance=80)) == 1


def test_max_items():
    """No more than max_items are reported, and these are the best ones."""
    picture = draw(draw(draw(plain(), 10, 60, 30), 120, 60, 30), 230, 120, 60)
    assert len(search(picture, max_items=2)) == 2
    assert search(picture, max_items=1)[0, SCORE] == search(picture)[0, SCORE]


def test_sensitivity():
    """An arc of half a circle is a circle at sensitivity 1 and none at 0.5; a whole one is one at 0, too."""
    arc = plain()
    cv2.ellipse(arc, (150, 120), (50, 50), 0, 0, 190, (250, 250, 250), 3, cv2.LINE_AA)
    assert len(search(arc)) == 0
    assert_found(search(arc, sensitivity=1, min_distance=40), [(150, 120, 50)], center=1)
    assert len(search(draw(plain(), 150, 120, 50), sensitivity=0)) == 1


def test_contradicting_radii():
    """A min_radius above max_radius is refused."""
    with pytest.raises(ArgumentError, match="min_radius 20 is larger than max_radius 10"):
        check(FindCircles(image="a.png", min_radius=20, max_radius=10))
    check(FindCircles(image="a.png", min_radius=20))


def test_smarties():
    """The twelve whole sweets are found, and nothing else but the two that the lower edge cuts off."""
    whole = [
        *((377, 82), (269, 118), (387, 170), (205, 211), (288, 213), (33, 229)),
        *((348, 238), (98, 259), (152, 271), (220, 306), (294, 320), (134, 328)),
    ]
    rows = search(sample("smarties.png"))
    inside = rows[rows[:, Y] < 335]
    assert_found(inside, [(x, y, 27) for x, y in whole], center=2.5, radius=2)
    assert len(rows) - len(inside) <= 2


def test_smarties_enlarged():
    """The same sweets are found in a picture six times as large, at six times the place."""
    large = cv2.resize(sample("smarties.png"), None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    rows = search(large)
    small = search(sample("smarties.png"))
    assert_found(rows, [((x + 0.5) * 6 - 0.5, (y + 0.5) * 6 - 0.5, 6 * radius) for x, y, radius in small[:, :3]], center=6, radius=6)


def test_detect_blob():
    """Round things are found among squares, bars and ellipses, and none of those is."""
    rows = search(sample("detect_blob.png"))
    alone = [(64, 68, 23), (181, 61, 15.5), (132, 157, 52.5), (62, 238, 29.5), (230, 215, 23), (213, 567, 50)]
    heap = (rows[:, X] > 340) & (rows[:, Y] > 455) & (rows[:, Y] < 640)
    assert_found(rows[~heap], alone, center=1.5, radius=2)
    assert rows[heap, RADIUS] == pytest.approx(15.5, abs=1)


def test_board():
    """On a circuit board the capacitors' caps are found, and little else."""
    rows = search(sample("board.jpg"))
    caps = [(99, 165, 13), (143, 159, 13), (189, 252, 14), (188, 354, 11), (47, 351, 11), (38, 181, 17), (262, 216, 9), (190, 298, 10)]
    for x, y, radius in caps:
        away = np.hypot(rows[:, X] - x, rows[:, Y] - y) + np.abs(rows[:, RADIUS] - radius)
        assert away.min() < 3
    assert len(rows) <= 30


@settings(max_examples=25, deadline=None)
@given(x=st.floats(40, 280), y=st.floats(40, 200), radius=st.floats(5, 36), grey=st.integers(0, 255), thickness=st.sampled_from([-1, 1, 2]))
def test_any_circle(x, y, radius, grey, thickness):
    """Any circle that stands out by 40 grey levels is found."""
    background = grey + 40 if grey < 128 else grey - 40
    picture = draw(plain(grey=background), x, y, radius, (grey, grey, grey), thickness)
    assert_found(search(picture), [(x, y, radius)])


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 60), width=st.integers(1, 60), channels=st.sampled_from([1, 3, 4]))
def test_any_image(seed, height, width, channels):
    """No image makes the search fail, and all it returns are finite numbers."""
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    rows = search(picture[..., 0] if channels == 1 else picture, sensitivity=1)
    assert rows.shape[1] == 6
    assert np.isfinite(rows).all()
