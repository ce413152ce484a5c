import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pictures import png


def read(data):
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)


@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([(), (3,), (4,)]), st.integers(0, 2**32 - 1), st.integers(1, 9))
def test_there_and_back(height, width, channels, seed, level):
    """OpenCV reads the pixels that were written: grey, BGR and BGRA, of any size."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width, *channels), np.uint8)
    np.testing.assert_array_equal(read(png.encode(image, level)), image)


@pytest.mark.parametrize("channels", [(), (3,), (4,)])
def test_bands(channels):
    """A picture of many bands is whole, and a part of a larger picture is written as it looks."""
    image = np.random.default_rng(1).integers(0, 256, (1501, 1203, *channels), np.uint8)
    assert image.nbytes > 2 * png._BAND_BYTES
    np.testing.assert_array_equal(read(png.encode(image)), image)
    np.testing.assert_array_equal(read(png.encode(image[7:600:2, 90:33:-3])), image[7:600:2, 90:33:-3])


def test_flat_pictures_are_small():
    """What the worker draws by itself takes about 2,300 bytes, not the 4,600 of a compression level alone."""
    image = np.zeros((512, 512, 3), np.uint8)
    cv2.circle(image, (256, 256), 63, (0, 0, 255), -1)
    assert len(png.encode(image)) < 2_600
