from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.features import FindFeatures
from worker.errors import ArgumentError
from worker.operations import features
from worker.operations.features import check, find_features, missing_methods
from worker.operations.table import unavailable
from worker.pictures.pixels import grey

DATA = Path(__file__).parents[2] / "data"
X, Y, SIZE, ANGLE, RESPONSE, U, V = range(7)
METHODS = [method for method in ("orb", "sift", "fast", "corners", "akaze", "kaze", "brisk") if method not in missing_methods()]


def params(method, **more):
    return FindFeatures(image="unused", method=method, **more)


def sample(name):
    return cv2.imread(str(DATA / name), cv2.IMREAD_UNCHANGED)


@pytest.mark.parametrize("method", METHODS)
def test_box(method):
    """Every method finds features in a real picture, the strongest first, inside of the picture, and no more than asked for."""
    image = sample("box.png")
    rows = find_features(image, params(method, max_items=50))
    assert rows.shape == (50, 7)
    assert (np.diff(rows[:, RESPONSE]) <= 0).all()
    assert ((rows[:, X] >= -0.5) & (rows[:, X] <= 323.5) & (rows[:, Y] >= -0.5) & (rows[:, Y] <= 222.5)).all()
    assert (rows[:, SIZE] > 0).all()
    np.testing.assert_allclose(rows[:, U], (rows[:, X] + 0.5) / 324)
    np.testing.assert_allclose(rows[:, V], 1 - (rows[:, Y] + 0.5) / 223)


@pytest.mark.parametrize("method", METHODS)
def test_angle(method):
    """Angles lie from 0 to 360 degrees, and are -1 where the method has none."""
    angles = find_features(sample("box.png"), params(method))[:, ANGLE]
    if method in ("fast", "corners"):
        assert (angles == -1).all()
    else:
        assert ((angles >= 0) & (angles <= 360)).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("shape", [(1, 1), (5, 5, 3), (30, 40, 4), (200, 200)])
def test_nothing(method, shape):
    """An empty picture has no features, whatever its size."""
    assert find_features(np.zeros(shape, np.uint8), params(method)).shape == (0, 7)


def test_kinds_of_images():
    """Colour, alpha and 16 bits change nothing."""
    grey = sample("box.png")
    expected = find_features(grey, params("orb"))
    color = np.dstack([grey] * 3)
    for image in (color, np.dstack([color, np.full_like(grey, 255)]), grey.astype(np.uint16) * 257):
        np.testing.assert_allclose(find_features(image, params("orb")), expected)


def test_corner_of_a_square():
    """The corners of a drawn square are found to half a pixel."""
    image = np.zeros((100, 100), np.uint8)
    image[30:70, 20:60] = 255
    rows = find_features(image, params("corners"))
    assert len(rows) == 4
    for x, y in [(19.5, 29.5), (59.5, 29.5), (59.5, 69.5), (19.5, 69.5)]:
        assert np.hypot(rows[:, X] - x, rows[:, Y] - y).min() < 0.75


def described(image):
    """The features' positions, and OpenCV's descriptors of what surrounds each of them."""
    found = set(map(tuple, find_features(image, params("sift"))[:, :2].tolist()))
    keypoints, descriptors = cv2.SIFT_create(nfeatures=500).detectAndCompute(grey(image), None)
    ours = [keypoint.pt in found for keypoint in keypoints]
    return np.array([keypoint.pt for keypoint in keypoints])[ours], descriptors[ours]


def test_homography():
    """SIFT features of two views of a wall match as the measured homography says."""
    storage = cv2.FileStorage(str(DATA / "H1to3p.xml"), cv2.FILE_STORAGE_READ)
    homography = storage.getFirstTopLevelNode().mat()
    storage.release()
    first, first_descriptors = described(sample("graf1.jpg"))
    second, second_descriptors = described(sample("graf3.jpg"))
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(first_descriptors, second_descriptors, k=2)
    matches = [best for best, other in pairs if best.distance < 0.75 * other.distance]
    found = np.array([second[match.trainIdx, :2] for match in matches]).reshape(-1, 1, 2)
    points = np.array([first[match.queryIdx, :2] for match in matches]).reshape(-1, 1, 2)
    right = np.linalg.norm(found - cv2.perspectiveTransform(points, homography), axis=2) < 4
    assert right.sum() > 100
    assert right.mean() > 0.65


def test_missing_method(monkeypatch):
    """A method that this build of OpenCV lacks is listed with the reason, and refused with it; it never crashes."""
    monkeypatch.setattr(features, "_creator", lambda name: None if name == "AKAZE_create" else getattr(cv2, name, None))
    assert "does not contain AKAZE" in unavailable()["find_features method=akaze"]
    for ask in (check, lambda asked: find_features(sample("box.png"), asked)):
        with pytest.raises(ArgumentError, match="does not contain AKAZE"):
            ask(params("akaze"))


def test_available_methods():
    """The methods that every build has are never missing."""
    assert {"orb", "sift", "fast", "corners"}.isdisjoint(missing_methods())


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.sampled_from(METHODS))
def test_any_image(seed, height, width, method):
    """No image makes a method fail, and all it returns are finite numbers."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert np.isfinite(find_features(image, params(method))).all()
