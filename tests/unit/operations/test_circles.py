"""Draw the truth, then find it."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.benchmarks.circle_pictures import other_color, scene_of
from worker.catalog.circles import FindCircles
from worker.errors import ArgumentError
from worker.operations.circles import check, detect_circles, find_circles, one_channel

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
        nearest = rows[np.argmin(np.hypot(rows[:, X] - x, rows[:, Y] - y) + np.abs(rows[:, RADIUS] - r))]
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


@pytest.mark.parametrize(("x", "least"), [(30, 0.95), (0, 0.95), (-15, 0.9)])
def test_cut_by_the_border(x, least):
    """A circle of which the border cuts off a part is found; its score speaks of the part inside the picture."""
    rows = search(draw(plain(), x, 120, 40))
    assert_found(rows, [(x, 120, 40)])
    assert rows[0, SCORE] >= least


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


@pytest.mark.parametrize("white", [np.uint8(255), np.uint16(65535)])
def test_an_alpha_through_which_nothing_shines(white):
    """It changes nothing and costs nothing: it is left out before the search."""
    color = cv2.cvtColor(draw(np.full((240, 320), 60, np.uint8), 150.5, 120.2, 40, 200), cv2.COLOR_GRAY2BGR).astype(white.dtype)
    color[..., 0] //= 2
    covered = np.dstack([color, np.full(color.shape[:2], white)])
    assert one_channel(covered).shape == color.shape
    np.testing.assert_array_equal(find_circles(covered), find_circles(color))
    covered[0, 0, 3] -= 1
    assert one_channel(covered) is covered


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


def test_a_ring_is_two_circles():
    """The outer and the inner border of a flat ring are found, and not its middle; nested=0 leaves the outer one."""
    ring = draw(draw(plain(), 150, 120, 100), 150, 120, 75, (90, 90, 90))
    assert_found(search(ring), [(150, 120, 100), (150, 120, 75)])
    assert_found(search(ring, nested=False), [(150, 120, 100)])


@pytest.mark.parametrize(("low", "high", "radius"), [(95, 110, 100), (60, 80, 75), (70, 76, 75), (85, 90, None), (101.5, 300, None)])
def test_no_radius_outside_of_the_window(low, high, radius):
    """What is found lies within min_radius to max_radius, and a circle inside the window does not give way to one outside of it."""
    ring = draw(draw(plain(), 150, 120, 100), 150, 120, 75, (90, 90, 90))
    for nested in (True, False):
        assert_found(search(ring, min_radius=low, max_radius=high, nested=nested), [(150, 120, radius)] if radius else [])


def test_all_rings_of_a_target():
    """Each border between two rings of a target is a circle."""
    picture = plain(400, 300)
    radii = [130, 104, 78, 52, 26]
    for number, radius in enumerate(radii):
        draw(picture, 200.3, 150.2, radius, (230, 230, 230) if number % 2 else (20, 20, 160))
    assert_found(search(picture, nested=True), [(200.3, 150.2, radius) for radius in radii])
    assert_found(search(picture, nested=False), [(200.3, 150.2, 130)])


def test_highlights_are_no_circles():
    """A round highlight on a ball is not reported beside the ball."""
    picture = plain(grey=30)
    draw(picture, 150, 120, 60, (40, 60, 200))
    highlight = cv2.GaussianBlur(draw(np.zeros((240, 320), np.uint8), 130, 98, 9, 255), (0, 0), 4)[..., None] / 255
    picture = (picture + highlight * (255 - picture)).astype(np.uint8)
    assert_found(search(picture, nested=False), [(150, 120, 60)])


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


def test_total():
    """How many there were before max_items is told beside the rows."""
    picture = draw(draw(draw(plain(), 40, 60, 30), 120, 60, 30), 230, 120, 60)
    found = detect_circles(picture, FindCircles(image="unused", max_items=2))
    assert len(found.rows) == 2
    assert found.total == 3


def test_three_hundred():
    """300 small circles are found at the default, and none is cut off without a word."""
    scene = scene_of("300 small", 4711)
    assert len(search(scene.picture)) == pytest.approx(300, abs=6)


def test_sensitivity():
    """A third of a circle is a circle at sensitivity 1 and none at 0.5; half a one is one at 0.5 and none at 0; a whole one is one at 0."""
    half, third = plain(), plain()
    cv2.ellipse(half, (150, 120), (50, 50), 0, 0, 190, (250, 250, 250), 3, cv2.LINE_AA)
    cv2.ellipse(third, (150, 120), (50, 50), 0, 0, 130, (250, 250, 250), 3, cv2.LINE_AA)
    assert len(search(third)) == 0
    assert_found(search(third, sensitivity=1, min_distance=40), [(150, 120, 50)], center=1)
    assert_found(search(half), [(150, 120, 50)])
    assert len(search(half, sensitivity=0)) == 0
    assert len(search(draw(plain(), 150, 120, 50), sensitivity=0)) == 1


@pytest.mark.parametrize(("step", "noise"), [(4, 0), (-4, 0), (6, 1), (-6, 1)])
@pytest.mark.parametrize("radius", [12, 30, 70])
def test_faint(step, noise, radius):
    """A step of 4 grey levels is seen on a clean picture, one of 6 under a noise of 1."""
    picture = draw(plain(), 150.4, 120.3, radius, (90 + step,) * 3)
    picture = np.clip(np.rint(picture + np.random.default_rng(radius).normal(0, noise, picture.shape)), 0, 255).astype(np.uint8)
    assert_found(search(picture), [(150.4, 120.3, radius)])


@pytest.mark.parametrize("corners", [4, 5, 6, 7, 8])
@pytest.mark.parametrize("radius", [24, 40, 90])
@pytest.mark.parametrize("thickness", [-1, 3])
def test_polygons(corners, radius, thickness):
    """A regular polygon is no circle."""
    angles = 0.3 + np.arange(corners) * 2 * np.pi / corners
    points = np.rint(16 * (np.array([160, 120]) + radius * np.column_stack([np.cos(angles), np.sin(angles)]))).astype(np.int32)
    picture = plain()
    if thickness < 0:
        cv2.fillPoly(picture, [points], (230, 230, 230), cv2.LINE_AA, 4)
    else:
        cv2.polylines(picture, [points], True, (230, 230, 230), thickness, cv2.LINE_AA, 4)
    assert len(search(picture)) == 0


def test_light_from_one_side():
    """A ball that is brighter than the ground on one side and darker on the other is one circle."""
    picture = plain(grey=128)
    shade = np.clip(128 + 1.6 * (np.arange(320) - 150), 0, 255).astype(np.uint8)
    inside = draw(np.zeros((240, 320), np.uint8), 150, 120, 50, 255)[..., None] / 255
    picture = (picture + inside * (shade[None, :, None] - picture.astype(float))).astype(np.uint8)
    assert_found(search(picture), [(150, 120, 50)], center=1)


def test_half_hidden():
    """Of a disc that a bar hides almost to the half, the circle is found."""
    picture = draw(plain(), 150, 120, 60)
    picture[:, 151:230] = (20, 80, 20)
    assert_found(search(picture), [(150, 120, 60)])


@pytest.mark.parametrize("turn", ["flipped", "mirrored", "turned"])
@pytest.mark.parametrize("family", ["clutter", "balls", "noise", "half hidden"])
def test_turning_the_picture_turns_the_circles(family, turn):
    """The same circles are found in the picture turned or mirrored, at the turned places."""
    picture = scene_of(family, 99).picture
    height, width = picture.shape[:2]
    rows = search(picture)
    if turn == "flipped":
        other, x, y = picture[::-1], rows[:, X], height - 1 - rows[:, Y]
    elif turn == "mirrored":
        other, x, y = picture[:, ::-1], width - 1 - rows[:, X], rows[:, Y]
    else:
        other, x, y = np.rot90(picture), rows[:, Y], width - 1 - rows[:, X]
    found = search(np.ascontiguousarray(other))
    assert len(rows) > 2
    assert_found(found, list(zip(x, y, rows[:, RADIUS], strict=True)), center=1, radius=1)


@pytest.mark.parametrize("size", [(1224, 1632), (2000, 2600)])
def test_large_pictures(size):
    """In a picture of several megapixel large and small circles are found, also small ones that only colour shows."""
    picture = np.full((*size, 3), (40, 110, 20), np.uint8)
    truth = [(300.2, 300.7, 200), (900, 400, 60), (700, 800, 30), (1200, 200, 12), (1300, 700, 7), (1400, 900, 5), (256.4, 1000.3, 8)]
    for x, y, radius in truth:
        draw(picture, x, y, radius, (40, 28, 181))  # as bright as the ground
    assert_found(search(picture), truth)


@pytest.mark.parametrize("kind", ["grey", "16 bits", "alpha"])
def test_large_kinds(kind):
    """Large grey pictures, such of 16 bits, and what only alpha shows are searched in strips and bands like any other."""
    truth = [(300.2, 300.7, 150), (900.4, 512.3, 30), (1200, 1023.6, 8)]  # the last two lie across strips and bands
    shape = np.zeros((1800, 2400), np.uint8)
    for circle in truth:
        draw(shape, *circle, 255)
    pictures = {"grey": shape, "16 bits": shape.astype(np.uint16) * 120, "alpha": np.dstack([np.zeros((1800, 2400, 3), np.uint8), shape])}
    assert_found(search(pictures[kind]), truth)


@pytest.mark.parametrize("turned", [False, True])
def test_very_wide(turned):
    """A panorama of 40,000 pixels is searched like any picture."""
    picture = draw(plain(40_000, 64), 35_000.3, 30.2, 20)
    rows = search(np.ascontiguousarray(picture.transpose(1, 0, 2)) if turned else picture)
    assert_found(rows, [(30.2, 35_000.3, 20) if turned else (35_000.3, 30.2, 20)])


def test_contradicting_radii():
    """A min_radius above max_radius is refused."""
    with pytest.raises(ArgumentError, match="min_radius 20 is larger than max_radius 10"):
        check(FindCircles(image="a.png", min_radius=20, max_radius=10))
    check(FindCircles(image="a.png", min_radius=20))


SWEETS = [
    *((377, 82), (269, 118), (387, 170), (205, 211), (288, 213), (33, 229)),
    *((348, 238), (98, 259), (152, 271), (220, 306), (294, 320), (134, 328)),
]


@pytest.mark.parametrize(("enlarged", "center"), [(1, 2.5), (6, 3)])
def test_smarties(enlarged, center):
    """The twelve whole sweets are found, also six times as large, and nothing else but the two that the lower edge cuts off."""
    picture = cv2.resize(sample("smarties.png"), None, fx=enlarged, fy=enlarged, interpolation=cv2.INTER_CUBIC)
    rows = search(picture)
    rows[:, :2] = (rows[:, :2] + 0.5) / enlarged - 0.5
    rows[:, RADIUS] /= enlarged
    inside = rows[rows[:, Y] < 335]
    assert_found(inside, [(x, y, 27) for x, y in SWEETS], center=center, radius=2)
    assert len(rows) - len(inside) <= 2


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


@st.composite
def placed(draw, width=320, height=240, smallest=5.0):
    """A circle that lies within the picture, 3 pixels from its border at least."""
    radius = math.exp(draw(st.floats(math.log(smallest), math.log(min(width, height) / 2 - 6))))
    x, y = (draw(st.floats(radius + 3, side - 4 - radius)) for side in (width, height))
    return x, y, radius


def paint(picture, circle, step, width):
    """Draws exactly, 1 pixel of anti-aliasing wide: a disc, or a line of this width; 0 is a disc."""
    x, y, radius = circle
    row, column = np.mgrid[: picture.shape[0], : picture.shape[1]]
    away = np.hypot(column - x, row - y) - radius
    cover = np.clip(0.5 - (away if width == 0 else np.abs(away) - width / 2), 0, 1)
    return picture + step * cover[..., None]


@settings(max_examples=40, deadline=None)
@given(circle=placed(), grey=st.integers(40, 215), step=st.integers(4, 40), up=st.booleans())
def test_any_disc(circle, grey, step, up):
    """Any disc of a radius from 5 pixels up that stands out by 4 grey levels or more is found, and nothing else."""
    picture = paint(np.full((240, 320, 3), float(grey)), circle, step if up else -step, 0)
    assert_found(search(np.rint(picture).astype(np.uint8)), [circle], center=0.6, radius=1)


@settings(max_examples=40, deadline=None)
@given(circle=placed(smallest=8.0), step=st.integers(6, 100), up=st.booleans(), seed=st.integers(0, 1000))
def test_any_disc_on_noise(circle, step, up, seed):
    """Any disc of a radius from 8 pixels up that stands out by 6 grey levels or more is found under a noise of 1, and nothing else."""
    picture = paint(np.full((240, 320, 3), 128.0), circle, step if up else -step, 0)
    noise = np.random.default_rng(seed).normal(0, 1, picture.shape)
    assert_found(search(np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)), [circle], center=1, radius=1.2)


@settings(max_examples=40, deadline=None)
@example(circle=(60.0, 60.0, 56.33), width=6.0, step=20, up=False)
@given(circle=placed(smallest=8.0), width=st.floats(1, 6), step=st.integers(20, 120), up=st.booleans())
def test_any_line(circle, width, step, up):
    """Any circle of a radius from 8 pixels up that is drawn as a line of 1 to 6 pixels is one circle, in the middle of its line."""
    width = min(width, circle[2] / 3)
    picture = paint(np.full((240, 320, 3), 128.0), circle, step if up else -step, width)
    assert_found(search(np.rint(picture).astype(np.uint8)), [circle], center=0.6, radius=1)


@settings(max_examples=25, deadline=None)
@given(circles=st.lists(placed(), min_size=1, max_size=4), turns=st.integers(0, 3), mirrored=st.booleans())
def test_any_turn(circles, turns, mirrored):
    """Turning or mirroring the picture turns or mirrors the answer."""
    picture = np.full((240, 320, 3), 90.0)
    apart = []
    for circle in circles:
        if all(math.hypot(circle[0] - x, circle[1] - y) > circle[2] + r + 6 for x, y, r in apart):
            apart.append(circle)
            picture = paint(picture, circle, 60, 0)
    other, size = picture[:, ::-1] if mirrored else picture, (320, 240)
    truth = [(319 - x if mirrored else x, y, r) for x, y, r in apart]
    for _ in range(turns):
        truth, size = [(y, size[0] - 1 - x, r) for x, y, r in truth], size[::-1]
    assert_found(search(np.rint(picture).astype(np.uint8)), apart)
    assert_found(search(np.ascontiguousarray(np.rint(np.rot90(other, turns)).astype(np.uint8))), truth)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), height=st.integers(1, 60), width=st.integers(1, 60), channels=st.sampled_from([1, 3, 4]))
def test_any_image(seed, height, width, channels):
    """No image makes the search fail, and all it returns are finite numbers."""
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    rows = search(picture[..., 0] if channels == 1 else picture, sensitivity=1)
    assert rows.shape[1] == 6
    assert np.isfinite(rows).all()


def of_quality(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def test_small_discs_in_a_strongly_compressed_picture():
    """The waves beside their edges are no edges."""
    dice = np.random.default_rng(1)
    picture = plain(grey=dice.uniform(20, 235, 3))
    for number in range(24):
        x, y = (30 + place + dice.uniform(-4, 4) for place in (number % 6 * 52, number // 6 * 60))
        draw(picture, x, y, dice.uniform(5, 10), other_color(dice, picture[0, 0], 60).tolist())
    assert len(search(of_quality(picture, 30))) >= 21


def test_a_grid_that_fills_the_picture():
    """A fine grid is no noise above which nothing could stand out."""
    row, column = np.mgrid[:240, :320]
    picture = plain(grey=(60, 60, 200))
    picture[(row % 12 < 3) | (column % 12 < 3)] = (90, 60, 60)
    draw(picture, 90, 110, 30, (170, 240, 130))
    draw(picture, 210, 120, 55, (200, 0, 110))
    assert_found(search(picture), [(90, 110, 30), (210, 120, 55)], center=1, radius=1)


def test_the_bands_of_a_target_are_no_lines():
    picture, radii = plain(), [80, 73, 66, 59, 52, 45, 38]
    for number, radius in enumerate(radii):
        draw(picture, 160, 120, radius, (230, 230, 230) if number % 2 == 0 else (90, 90, 90))
    rows = search(picture)
    assert sorted(rows[:, RADIUS].astype(int)) == sorted(radii)  # cv2.circle draws half a pixel more


def test_fine_rings_of_a_target():
    picture, radii = plain(), list(range(20, 111, 10))
    for radius in radii:
        draw(picture, 160, 120, radius, thickness=2)
    assert sorted(search(picture)[:, RADIUS].round()) == radii


def test_a_dashed_circle():
    picture = plain()
    for start in range(0, 360, 12):
        cv2.ellipse(picture, (160, 120), (70, 70), 0, start, start + 8, (230, 230, 230), 3, cv2.LINE_AA)
    assert_found(search(picture), [(160, 120, 70)], center=1, radius=1)


@pytest.mark.parametrize("radius", [3.25, 4, 6])
def test_a_small_disc_is_exact(radius):
    """A blur moves bent edges inwards, those of small discs by a fifth of a pixel."""
    row, column = np.mgrid[:60, :60]
    cover = np.clip(radius + 0.5 - np.hypot(column - 30.3, row - 29.8), 0, 1)
    assert search((60 + 140 * cover).round().astype(np.uint8))[0, [X, Y, RADIUS]] == pytest.approx((30.3, 29.8, radius), abs=0.06)


def test_a_heart_is_no_circle():
    turn = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    x, y = 16 * np.sin(turn) ** 3, 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    picture = plain()
    cv2.fillPoly(picture, [np.rint(16 * np.column_stack([160 + 4 * x, 120 - 4 * y])).astype(np.int32)], (60, 60, 230), cv2.LINE_AA, 4)
    assert not len(search(picture))
