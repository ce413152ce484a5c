import cv2
import numpy as np
import pytest

from worker.pictures.averages import averaged

#: How much finer the picture is that the averages are compared with.
PART = 2


def natural(width, height, channels=3, seed=0):
    """A picture whose spectrum falls as that of a photograph: noise of all scales."""
    dice = np.random.default_rng(seed)
    image = np.zeros((height, width, channels), np.float32)
    cells = 4
    while cells < width:
        coarse = dice.normal(0, 80 / cells**0.5, (cells, cells, channels)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC).reshape(image.shape)
        cells *= 2
    return np.clip(image + 128, 0, 255).astype(np.uint8).squeeze()


def psnr(first, second):
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("across", [2.0, 2.5, 3.0, 3.05, 3.125, 3.2, 3.25, 3.6, 4.0, 4.3, 4.5, 5.7])
def test_like_the_finer_picture(across, channels):
    """An average over an area of the half picture is that of the whole one, as near as OpenCV's own way comes, and 45 dB at least."""
    size = round(400 / across)
    fine = natural(400 * PART, 300 * PART, channels)
    half = cv2.resize(fine, (400, 300), interpolation=cv2.INTER_AREA)
    wanted = (size, round(size * 0.75))
    expected = cv2.resize(fine, wanted, interpolation=cv2.INTER_AREA)
    made = averaged(half, 400 / wanted[0], 300 / wanted[1])
    assert made.shape == expected.shape
    usual = psnr(cv2.resize(half, wanted, interpolation=cv2.INTER_AREA), expected)
    assert psnr(made, expected) >= max(45, min(usual, 60) - 1.5)


@pytest.mark.parametrize("across", [3.1, 3.3, 4.2, 5.5])
@pytest.mark.parametrize("value", [0, 7, 128, 254, 255])
def test_even_pictures_stay(across, value):
    """Not a grey level is added or taken, up to the edges."""
    image = np.full((90, 120, 3), value, np.uint8)
    assert (averaged(image, across, across) == value).all()


@pytest.mark.parametrize("down", [3.125, 3.7, 6.25])
def test_a_point_stays_in_its_place(down):
    """The middle of a small light is where it was, in both directions, also if the picture becomes narrower than it was."""
    image = np.zeros((400, 400), np.uint8)
    cv2.circle(image, (251, 133), 20, 255, -1)
    made = averaged(image, 3.15, down).astype(float)
    y, x = np.indices(made.shape)
    assert (x * made).sum() / made.sum() == pytest.approx((251 + 0.5) / 3.15 - 0.5, abs=0.03)
    assert (y * made).sum() / made.sum() == pytest.approx((133 + 0.5) / down - 0.5, abs=0.03)


def test_an_edge_that_is_no_whole_pixel():
    """The areas begin at the left and upper edge and are as large as is said, whatever is left over at the other edges."""
    image = natural(401, 301)
    made = averaged(image, 400.4 / 125, 300.4 / 94)
    assert made.shape == (94, 125, 3)
    within = averaged(image[:, :200], 400.4 / 125, 300.4 / 94)
    assert psnr(made[:, :60], within[:, :60]) > 60
