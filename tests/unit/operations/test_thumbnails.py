import base64

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.thumbnails import THUMBNAILS, Thumbnail
from worker.operations.thumbnails import OPERATIONS, thumbnail


def made(image, size=256):
    """The thumbnail as a picture again, and the row beside it."""
    found = thumbnail(image, Thumbnail(image="a.png", size=size))
    return cv2.imdecode(np.frombuffer(base64.b64decode(found.texts[0][0]), np.uint8), cv2.IMREAD_UNCHANGED), found.rows.tolist()


def test_longest_side():
    """The longest side becomes the size that is asked for, the other one keeps the proportion; the row says how large the picture is."""
    picture, rows = made(np.zeros((600, 1200, 3), np.uint8))
    assert picture.shape == (128, 256, 3)
    assert rows == [[1200, 600]]


def test_small_pictures_stay():
    assert made(np.zeros((10, 20), np.uint8))[0].shape == (10, 20, 3)


def test_white_stays_white():
    """16 bits become 8, and what is transparent becomes black, as TouchDesigner shows it."""
    picture, _ = made(np.full((300, 300, 3), 65535, np.uint16))
    assert picture.min() > 250
    clear = np.full((300, 300, 4), 255, np.uint8)
    clear[..., 3] = 0
    assert made(clear)[0].max() < 5


@given(
    width=st.integers(1, 40),
    height=st.integers(1, 40),
    channels=st.sampled_from([1, 3, 4]),
    depth=st.sampled_from([np.uint8, np.uint16]),
    size=st.integers(16, 64),
)
def test_any_picture(width, height, channels, depth, size):
    """Every picture has one, and it is never larger than asked for."""
    shape = (height, width) if channels == 1 else (height, width, channels)
    picture, _ = made(np.ones(shape, depth), size)
    assert max(picture.shape[:2]) <= max(size, width, height)


def test_tables():
    """The catalogue of its own and its functions name the same."""
    assert set(THUMBNAILS) == set(OPERATIONS)


@pytest.mark.parametrize("size", [15, 4097])
def test_sizes(size):
    import msgspec

    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"image": "a.png", "size": size}, Thumbnail)
