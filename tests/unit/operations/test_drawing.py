from itertools import pairwise

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.drawing import DrawCircles
from worker.errors import ArgumentError
from worker.operations.circles import mark_circles
from worker.operations.drawing import check, count, draw_circle, rand
from worker.operations.features import mark_features


def drawing(**params):
    return DrawCircles(output="{n}.png", **params)


def test_rand_reference():
    """The generator is SplitMix64: these are the first numbers of Vigna's splitmix64.c for the seeds 0 and 1234567."""
    assert [rand(0, n) for n in range(3)] == [
        v >> 11 and (v >> 11) / 2**53 for v in (0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F)
    ]
    reference = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
    assert [rand(1234567, n) for n in range(5)] == [(value >> 11) / 2**53 for value in reference]


@given(st.integers(0, 2**31 - 1), st.integers(0, 10**6))
def test_rand_range(seed, n):
    """Numbers lie from 0 up to but not including 1."""
    assert 0 <= rand(seed, n) < 1


def test_rand_is_even():
    """The numbers are spread evenly, and neighbours know nothing of each other."""
    numbers = np.array([rand(7, n) for n in range(20_000)])
    counts = np.histogram(numbers, 10, (0, 1))[0]
    assert counts.min() > 1850
    assert counts.max() < 2150
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.03


def test_seed_image():
    """With given centres an image is the seed's, pixel by pixel."""
    centers = [(447, 63), (0, 0), (511, 300)]
    params = drawing(centers=" ".join(f"{x} {y}" for x, y in centers))
    assert count(params) == 3
    for n, center in enumerate(centers):
        expected = np.zeros((512, 512, 3), np.uint8)
        cv2.circle(expected, center, 63, (0, 0, 255), -1)
        image, rows = draw_circle(n, params)
        np.testing.assert_array_equal(image, expected)
        u, v = (center[0] + 0.5) / 512, 1 - (center[1] + 0.5) / 512
        assert rows.tolist() == [[*center, 63, u, v, 1]]


def test_chain():
    """On a square image y of one image is x of the next."""
    rows = [draw_circle(n, drawing(seed=5))[1][0] for n in range(20)]
    for before, after in pairwise(rows):
        assert before[1] == after[0]


def test_rule():
    """The centre is int(rand(n) * width), int(rand(n + 1) * height)."""
    _, rows = draw_circle(9, drawing(seed=3, width=640, height=360))
    assert rows[0, :2].tolist() == [int(rand(3, 9) * 640), int(rand(3, 10) * 360)]


def test_look():
    """Size, colours and line width are as asked for; a width of 0 draws nothing."""
    params = drawing(centers="20 10", width=40, height=20, radius=5, color="#102030", background="#405060", thickness=1)
    image, _ = draw_circle(0, params)
    assert image.shape == (20, 40, 3)
    assert image[10, 25].tolist() == [0x30, 0x20, 0x10]
    assert image[10, 20].tolist() == [0x60, 0x50, 0x40]
    assert (draw_circle(0, drawing(centers="20 10", thickness=0))[0] == 0).all()


def test_centers_and_count():
    """The number of centres is the number of images, unless it is more than count: then nothing is left out silently."""
    assert count(drawing()) == 500
    assert count(drawing(centers="1 2, 3 4")) == 2
    with pytest.raises(ArgumentError, match="holds 2 centres, but count is 1; give count=2"):
        check(drawing(centers="1 2 3 4", count=1))


def test_fractions_are_cut():
    """Centres are cut to whole pixels as the seed does it."""
    assert draw_circle(0, drawing(centers="10.9 20.2"))[1][0, :2].tolist() == [10, 20]


@pytest.mark.parametrize(("centers", "words"), [("1", "pairs"), ("1 2 3", "pairs"), ("1 x", "'x'"), ("1 nan", "nan"), ("1e9 2", "1e9")])
def test_wrong_centers(centers, words):
    """Centres that cannot be drawn are refused."""
    with pytest.raises(ArgumentError, match=words):
        check(drawing(centers=centers))


@pytest.mark.parametrize("kind", [np.zeros((50, 60), np.uint8), np.zeros((50, 60, 4), np.uint16), np.full((50, 60, 3), 255, np.uint8)])
def test_marks(kind):
    """Marks can be seen on every kind of image, and the image itself stays as it was."""
    before = kind.copy()
    for marked in (
        mark_circles(kind, np.array([[30.5, 20.2, 10, 0, 0, 1]])),
        mark_features(kind, None, np.array([[30, 20, 12, 45, 1, 0, 0.0]])),
    ):
        assert marked.shape == (50, 60, 3)
        assert marked.dtype == np.uint8
        assert (marked != marked[0, 0]).any()
    np.testing.assert_array_equal(kind, before)


def test_no_marks():
    """Where nothing was found the picture is unchanged."""
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    np.testing.assert_array_equal(mark_circles(picture, np.empty((0, 6))), picture)
    np.testing.assert_array_equal(mark_features(picture, None, np.empty((0, 7))), picture)


@pytest.mark.parametrize(("width", "height", "count"), [(800, 640, 500), (800, 640, 5000), (3840, 3072, 5000), (160, 128, 500)])
def test_many_features_leave_the_picture_visible(width: int, height: int, count: int) -> None:
    """However many there are, most of the picture is to be seen, and each one has its mark."""
    places = np.random.default_rng(count + width).uniform((0, 0), (width - 1, height - 1), (count, 2))
    rows = np.column_stack([places, np.full(count, 31.0), np.linspace(0, 359, count), np.ones((count, 3))])
    picture = np.full((height, width, 3), 128, np.uint8)
    marked = mark_features(picture, None, rows)
    assert (marked != picture).any(axis=2).mean() < 0.5
    column, row = np.rint(places).astype(int).T
    near = cv2.dilate(marked[..., 1], np.ones((3, 3), np.uint8))
    assert (near[row, column] > 150).mean() > 0.95


def test_a_feature_alone_has_a_hand() -> None:
    """It points where the angle says: 90 degrees are down."""
    marked = mark_features(np.zeros((200, 200, 3), np.uint8), None, np.array([[100, 100, 31, 90, 1, 0.5, 0.5]]))
    rows, columns = np.nonzero(marked[..., 1] > 200)
    assert rows.max() - 100 > 2 * (100 - rows.min())
    assert abs(columns.mean() - 100) < 0.5
