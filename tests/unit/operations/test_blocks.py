"""The measure of how strongly a picture was compressed."""

import cv2
import numpy as np
import pytest

from tests.benchmarks.circle_pictures import scene_of
from worker.operations.blocks import BLOCK, blockiness, waves


@pytest.mark.parametrize("seed", range(3))
def test_a_compressed_picture_is_told_from_one_that_is_not(seed):
    picture = scene_of("easy", seed).picture
    compressed = cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], cv2.IMREAD_COLOR)
    assert blockiness(picture) < 1.1
    assert waves(picture) == 0
    assert blockiness(compressed) > 1.3
    assert waves(compressed) == BLOCK
    assert waves(np.ascontiguousarray(compressed[..., 1])) == BLOCK


@pytest.mark.parametrize("picture", [np.zeros((40, 40), np.uint16), np.zeros((40, 15), np.uint8), np.zeros((1, 1, 4), np.uint8)])
def test_what_has_no_blocks(picture):
    assert blockiness(picture) == 1


def test_a_plain_picture():
    assert waves(np.full((64, 64, 3), 90, np.uint8)) == 0
