import io
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

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


@given(
    st.lists(st.tuples(st.integers(1, 70), st.booleans()), min_size=1, max_size=12),
    st.integers(1, 40),
    st.sampled_from([(), (3,), (4,)]),
    st.integers(0, 2**32 - 1),
)
def test_rows_that_repeat(runs, width, channels, seed):
    """Long and short runs of equal rows, between rows that differ, come back as they were; Pillow checks what OpenCV lets pass."""
    dice = np.random.default_rng(seed)
    rows = [
        np.repeat(dice.integers(0, 256, (1, width, *channels), np.uint8), count, axis=0)
        if alike
        else dice.integers(0, 256, (count, width, *channels), np.uint8)
        for count, alike in runs
    ]
    image = np.concatenate(rows)
    data = png.encode(image)
    np.testing.assert_array_equal(read(data), image)
    with Image.open(io.BytesIO(data)) as picture:
        shown = np.asarray(picture)
    order = {(): ..., (3,): (..., [2, 1, 0]), (4,): (..., [2, 1, 0, 3])}[channels]
    np.testing.assert_array_equal(shown[order], image)


@given(st.binary(max_size=300), st.binary(max_size=70_000))
def test_checks_can_be_combined(first, second):
    assert png._combined(zlib.adler32(first), zlib.adler32(second), len(second)) == zlib.adler32(first + second)


def test_most_of_a_plain_picture_is_not_packed_again():
    """Only the rows of the disc are; the ground above and below has been packed for another picture."""
    image = np.zeros((512, 512, 3), np.uint8)
    cv2.circle(image, (256, 200), 63, (0, 0, 255), -1)
    packed = sum(stop - first for first, stop, repeats in png._runs(image) if not repeats)
    assert packed <= 2 * 63 + 4
    assert list(png._runs(np.random.default_rng(1).integers(0, 256, (512, 512, 3), np.uint8))) == [(0, 512, False)]
