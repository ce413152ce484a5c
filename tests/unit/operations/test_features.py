import io
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.features import FindFeatures
from worker.errors import ArgumentError
from worker.operations import features
from worker.operations.features import check, missing_methods, spread_out
from worker.operations.table import unavailable
from worker.pictures.pixels import grey

DATA = Path(__file__).parents[2] / "data"
X, Y, SIZE, ANGLE, RESPONSE, U, V = range(7)
METHODS = [method for method in ("orb", "sift", "fast", "corners", "akaze", "kaze", "brisk") if method not in missing_methods()]


def params(method, **more):
    return FindFeatures(image="unused", method=method, **more)


def find_features(image, wanted, mask=None):
    """The rows alone."""
    return features.find_features(image, mask, wanted).rows


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
    found = set(map(tuple, find_features(image, params("sift", spread=False, min_distance=0))[:, :2].tolist()))
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
    """OpenCV 5 lacks three methods if the contributed modules are not installed; each of the others can be made."""
    lacks = cv2.__version__ >= "5" and not hasattr(cv2, "xfeatures2d")
    assert set(missing_methods()) == ({"akaze", "kaze", "brisk"} if lacks else set())
    for method in METHODS:
        assert len(find_features(sample("box.png"), params(method))) > 100, method


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 70), st.integers(1, 70), st.sampled_from(METHODS))
def test_any_image(seed, height, width, method):
    """No image makes a method fail, and all it returns are finite numbers."""
    image = np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)
    assert np.isfinite(find_features(image, params(method))).all()


def emptiness(rows, image):
    """The share of 16 by 16 cells of the picture in which nothing was found."""
    height, width = image.shape[:2]
    cells = {(int(x * 16 / width), int(y * 16 / height)) for x, y in rows[:, :2]}
    return 1 - len(cells) / 256


@pytest.mark.parametrize("method", METHODS)
def test_spread(method):
    """With turns between the parts of the picture, as many features leave less of it empty, and none of them doubles another."""
    image = sample("board.jpg")
    spread = find_features(image, params(method, max_items=300))
    strongest = find_features(image, params(method, max_items=300, spread=False, min_distance=0))
    assert len(spread) == len(strongest) == 300
    assert emptiness(spread, image) < emptiness(strongest, image)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("distance", [3.0, 12.5])
def test_min_distance(method, distance):
    """No two features are nearer to each other than asked."""
    rows = find_features(sample("box.png"), params(method, min_distance=distance))
    apart = np.linalg.norm(rows[:, None, :2] - rows[None, :, :2], axis=2) + np.eye(len(rows)) * 1e9
    assert len(rows) > 20
    assert apart.min() >= distance - 1e-4  # corners are refined in 32 bits


@pytest.mark.parametrize("method", METHODS)
def test_region(method):
    """All features lie in the region, and there are some."""
    rows = find_features(sample("box.png"), params(method, region="100 50 120 100"))
    assert len(rows) > 5
    assert ((rows[:, X] >= 99) & (rows[:, X] <= 220) & (rows[:, Y] >= 49) & (rows[:, Y] <= 150)).all()


@pytest.mark.parametrize("method", METHODS)
def test_mask(method):
    """All features lie where the mask is white."""
    image = sample("box.png")
    mask = np.zeros_like(image)
    mask[:, :160] = 255
    rows = find_features(image, params(method), mask)
    assert len(rows) > 5
    assert (rows[:, X] <= 161).all()


def test_wrong_mask():
    """A mask of another size is refused, with both sizes."""
    with pytest.raises(ArgumentError, match=r"mask has 10x20 pixels and the picture 324x223"):
        find_features(sample("box.png"), params("orb"), np.zeros((20, 10), np.uint8))


@pytest.mark.parametrize(("method", "width", "kind"), [("orb", 32, np.uint8), ("sift", 128, np.float32)])
def test_descriptors(method, width, kind):
    """The file holds one descriptor for each row, and the rows."""
    found = features.find_features(sample("box.png"), None, params(method, descriptors="points.npz", max_items=100))
    with np.load(io.BytesIO(found.files["descriptors"])) as file:
        assert file["descriptors"].shape == (len(found.rows), width)
        assert file["descriptors"].dtype == kind
        np.testing.assert_array_equal(file["points"], found.rows)
    assert len(found.rows) > 50


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"method": "fast", "descriptors": "a.npz"}, "fast has no descriptors"),
        ({"method": "orb", "descriptors": "a.csv"}, "must name an .npz file; got 'a.csv'"),
        ({"method": "orb", "region": "1 2 3"}, "region must be x y width height in pixels, such as 100 50 640 480; got '1 2 3'"),
        ({"method": "orb", "region": "1 2 0 3"}, "region must be x y width height"),
        ({"method": "orb", "region": "a 2 3 4"}, "region must hold numbers; got 'a'"),
    ],
)
def test_refused(values, words):
    """What does not go together is refused in one sentence."""
    with pytest.raises(ArgumentError, match=re.escape(words)):
        check(params(**values))


def test_region_outside():
    """A region that the picture does not have is refused, with the picture's size."""
    with pytest.raises(ArgumentError, match="lies outside the picture, which has 324x223 pixels"):
        find_features(sample("box.png"), params("orb", region="400 0 10 10"))


@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.integers(1, 40), st.booleans(), st.floats(0, 30))
def test_spread_out(seed, count, wanted, spread, distance):
    """The choice has no doubles, keeps to its number, and goes by strength."""
    random = np.random.default_rng(seed)
    points, responses = random.uniform(-2, 101, (count, 2)), random.integers(0, 5, count).astype(float)
    chosen = spread_out(points, responses, (100, 100), wanted, spread=spread, min_distance=distance)
    assert len(set(chosen)) == len(chosen) <= wanted
    assert (np.diff(responses[chosen]) <= 0).all()
    if count:
        assert chosen
    if len(chosen) > 1:
        apart = np.linalg.norm(points[chosen][:, None] - points[chosen], axis=2) + np.eye(len(chosen)) * 1e9
        assert apart.min() >= distance * (1 - 1e-9)
    if not distance:
        assert len(chosen) == min(count, wanted)


def test_faint_parts_are_not_left_empty():
    """Of a picture with strong corners on the left, and few faint ones on the right, the right has points in all parts, too."""
    random = np.random.default_rng(1)
    picture = np.full((480, 640), 120, np.uint8)
    for x, y in zip(random.integers(0, 400, 250), random.integers(0, 470, 250), strict=True):
        picture[y : y + 12, x : x + 12] = random.integers(0, 256)
    for x in range(440, 640, 40):
        for y in range(20, 470, 40):
            picture[y : y + 10, x : x + 14] = 145
    points = find_features(picture, params("orb", max_items=400))[:, :2]
    assert len(points) == 400
    right = points[points[:, 0] > 430]
    quarters = {(x > 535, y > 245) for x, y in right}
    assert len(right) > 10
    assert len(quarters) == 4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.tuples(st.integers(1, 400), st.integers(1, 400)), st.floats(0.001, 60))
def test_pairs(seed, count, size, distance):
    """Exactly those pairs that are nearer than the distance are found, each once."""
    points = np.random.default_rng(seed).uniform(0, size, (count, 2))
    apart = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    expected = {(first, second) for first, second in np.argwhere(apart < distance).tolist() if first < second}
    first, second = features._pairs(points, distance)
    assert len(first) == len(expected)
    assert set(zip(first.tolist(), second.tolist(), strict=True)) == expected
