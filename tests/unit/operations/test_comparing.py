from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.comparing import Compare, FindDoubles
from worker.operations import comparing
from worker.operations.comparing import MOST_PSNR_DB, compare, dhash, find_doubles, phash, ssim_map
from worker.operations.shapes import Picture

DATA = Path(__file__).parents[2] / "data"
NAMES = ("astronaut.jpg", "board.jpg", "graf1.jpg", "graf3.jpg", "smarties.png", "box.png", "box_in_scene.png")
PHOTOGRAPHS = {name: cv2.imread(str(DATA / name)) for name in NAMES}
COLUMNS = ("mse", "psnr", "ssim", "phash", "dhash", "changed", "scaled")


def compared(one, other, **values):
    found = compare(one, other, Compare(image="a", reference="b", **values))
    return dict(zip(COLUMNS, found.rows[0], strict=True)), found.images


def packed(picture, quality):
    return cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_the_same(depth, channels):
    """A picture is the same as itself, in every depth and with every number of channels."""
    picture = PHOTOGRAPHS["board.jpg"]
    image = {1: picture[..., 0], 3: picture, 4: np.dstack([picture, picture[..., 0]])}[channels]
    image = image if depth == 8 else image.astype(np.uint16) * 257
    values, _ = compared(image, image)
    assert values == {"mse": 0, "psnr": MOST_PSNR_DB, "ssim": 1, "phash": 0, "dhash": 0, "changed": 0, "scaled": 0}
    other, _ = compared(PHOTOGRAPHS["board.jpg"], PHOTOGRAPHS["board.jpg"].astype(np.uint16) * 257)
    assert other["psnr"] == MOST_PSNR_DB


def test_known_errors():
    """A difference of 5 steps everywhere has the error that the formulas say."""
    image = np.full((50, 60, 3), 100, np.uint8)
    values, _ = compared(image, image + 5, threshold=4)
    assert values["mse"] == pytest.approx((5 / 255) ** 2)
    assert values["psnr"] == pytest.approx(20 * np.log10(255 / 5))
    assert values["changed"] == 1
    assert compared(image, image + 5, threshold=5)[0]["changed"] == 0
    # Without variance only the term of the means is left.
    one, other = 100 / 255, 105 / 255
    assert values["ssim"] == pytest.approx((2 * one * other + 1e-4) / (one**2 + other**2 + 1e-4), abs=1e-5)


def test_ssim_is_that_of_the_paper():
    """The map is what the sums of the paper give, taken one by one with the weights of an 11 x 11 Gaussian of deviation 1.5."""
    one = cv2.cvtColor(PHOTOGRAPHS["graf1.jpg"], cv2.COLOR_BGR2GRAY)[100:140, 200:250].astype(np.float32) / 255
    other = np.clip(one * 0.8 + np.random.default_rng(2).normal(0, 0.1, one.shape), 0, 1).astype(np.float32)
    found = ssim_map(one, other)
    assert found.shape == (30, 40)
    offsets = np.arange(-5, 6)
    weights = np.exp(-(offsets[:, None] ** 2 + offsets**2) / (2 * 1.5**2))
    weights /= weights.sum()
    for y, x in ((0, 0), (7, 31), (29, 39), (15, 2)):
        a, b = (picture[y : y + 11, x : x + 11].astype(float) for picture in (one, other))
        mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
        variance_a, variance_b = (weights * (a - mean_a) ** 2).sum(), (weights * (b - mean_b) ** 2).sum()
        covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
        wanted = (
            (2 * mean_a * mean_b + 1e-4) * (2 * covariance + 9e-4) / ((mean_a**2 + mean_b**2 + 1e-4) * (variance_a + variance_b + 9e-4))
        )
        assert found[y, x] == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("rows", [11, 12, 40, 100, 469, 470, 480])
def test_strips(monkeypatch, rows):
    """Large pictures are looked at in strips, and it comes out the same."""
    one = PHOTOGRAPHS["board.jpg"]
    other = packed(one, 40)
    whole, drawn = compared(one, other, difference="d.png", overlay="o.png")
    monkeypatch.setattr(comparing, "_STRIP", rows * 640)
    values, images = compared(one, other, difference="d.png", overlay="o.png")
    assert values == pytest.approx(whole, rel=1e-9)
    for name, image in images.items():
        np.testing.assert_array_equal(image, drawn[name])


def test_ssim_sees_structure():
    """Of three changes with about the same error, the one that leaves the structure is the most alike."""
    picture = PHOTOGRAPHS["board.jpg"]
    brighter = cv2.convertScaleAbs(picture, alpha=1, beta=14)
    noisy = np.clip(picture + np.random.default_rng(3).normal(0, 14, picture.shape), 0, 255).astype(np.uint8)
    found = [compared(picture, other)[0] for other in (brighter, noisy)]
    assert found[0]["mse"] == pytest.approx(found[1]["mse"], rel=0.15)
    assert found[0]["ssim"] > found[1]["ssim"] + 0.05


def test_hashes_tell_pictures_apart():
    """What was scaled, packed, brightened or blurred is near; other pictures are far."""
    hashes = {name: phash(picture) for name, picture in PHOTOGRAPHS.items()}
    for name, picture in PHOTOGRAPHS.items():
        for changed in (
            cv2.resize(picture, (211, 157), interpolation=cv2.INTER_AREA),
            packed(picture, 20),
            cv2.convertScaleAbs(picture, alpha=0.7, beta=30),
            cv2.GaussianBlur(picture, (0, 0), 2),
            picture.astype(np.uint16) * 257,
        ):
            assert np.count_nonzero(phash(changed) != hashes[name]) <= 6, name
            assert np.count_nonzero(dhash(changed) != dhash(picture)) <= 8, name
        others = [np.count_nonzero(hashes[name] != hashes[other]) for other in NAMES if other != name]
        assert min(others) >= 16, name


def test_difference():
    """The difference picture holds how far each colour is; the overlay has colour only where something differs."""
    picture = PHOTOGRAPHS["box.png"]
    changed = picture.copy()
    changed[40:60, 50:90] = 255 - changed[40:60, 50:90]
    values, images = compared(changed, picture, difference="d.png", overlay="o.png")
    np.testing.assert_array_equal(images["difference"], cv2.absdiff(picture, changed))
    tinted = np.ptp(images["overlay"].astype(int), axis=2) > 0
    differs = cv2.absdiff(picture, changed).max(axis=2) > 8
    np.testing.assert_array_equal(tinted, differs)
    assert values["changed"] == pytest.approx(differs.mean())


@pytest.mark.parametrize("size", [(320, 240), (640, 240), (1280, 960)])
def test_other_size(size):
    """Of two sizes the smaller one counts, side by side; the same thing in another size is much alike."""
    picture = PHOTOGRAPHS["board.jpg"]
    other = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if size[0] < 1000 else cv2.INTER_LINEAR)
    values, images = compared(other, picture, difference="d.png")
    assert values["scaled"] == 1
    assert images["difference"].shape[:2] == (min(size[1], 480), min(size[0], 640))
    assert values["ssim"] > 0.95
    assert values["phash"] <= 2


@settings(max_examples=60, deadline=None)
@given(any_picture(), any_picture(), st.floats(0, 255))
def test_any_pictures(one, other, threshold):
    """Any two pictures have numbers in their ranges, the same whichever comes first."""
    values, images = compared(one, other, threshold=threshold, difference="d.png", overlay="o.png")
    assert 0 <= values["mse"] <= 1
    assert 0 <= values["psnr"] <= MOST_PSNR_DB
    assert -1.0001 <= values["ssim"] <= 1.0001
    assert 0 <= values["phash"] <= 64
    assert 0 <= values["changed"] <= 1
    assert images["overlay"].shape == images["difference"].shape
    again, _ = compared(other, one, threshold=threshold)
    assert again["mse"] == pytest.approx(values["mse"], abs=1e-9)
    assert (again["phash"], again["changed"], again["ssim"]) == pytest.approx(
        (values["phash"], values["changed"], values["ssim"]), abs=1e-5
    )


# ------------------------------------------------------------------------------------------------------------- doubles


def doubles(images, **values):
    found = find_doubles((Picture(n, f"p{n}", image) for n, image in enumerate(images)), FindDoubles(image="a", **values))
    return [tuple(int(row[place]) for place in (0, 1, 6)) for row in found.rows], found


def album():
    """Seven pictures: of the astronaut and the board three each, one of them in colours of 16 bits and one smaller; the sweets once."""
    person, board = PHOTOGRAPHS["astronaut.jpg"], PHOTOGRAPHS["board.jpg"]
    return [
        cv2.resize(person, (160, 160), interpolation=cv2.INTER_AREA),
        board,
        packed(person, 15),
        PHOTOGRAPHS["smarties.png"],
        person.astype(np.uint16) * 257,
        cv2.GaussianBlur(board, (0, 0), 1.2),
        cv2.convertScaleAbs(board, alpha=0.8, beta=10),
    ]


def test_doubles():
    """Groups of the same thing, the largest and sharpest first; what has no double is not named."""
    rows, found = doubles(album())
    assert {(group, image) for group, _, image in rows} == {(0, 0), (0, 2), (0, 4), (1, 1), (1, 5), (1, 6)}
    assert [best for _, best, _ in rows] == [1, 0, 0, 1, 0, 0]
    assert rows[2][2] == 0  # the small one
    assert [row[2] for row in rows if row[0] == 1][-1] == 5  # the blurred one
    assert found.total == 6


def test_most_groups():
    rows, found = doubles(album(), max_items=1)
    assert ({group for group, *_ in rows}, len(rows), found.total) == ({0}, 3, 6)


def test_structure_decides():
    """Plain pictures have the same hash whatever their colour; their structure tells them apart."""
    grounds = [np.full((90, 120, 3), value, np.uint8) for value in (0, 40, 110, 255, 41)]
    rows, _ = doubles(grounds)
    assert {image for *_, image in rows} == {1, 4}
    assert len(doubles(grounds, min_ssim=-1)[0]) == 5


def test_nothing_is_turned():
    """A mirrored picture is no double."""
    picture = PHOTOGRAPHS["astronaut.jpg"]
    assert doubles([picture, picture[:, ::-1], picture[::-1]])[0] == []


def test_more_than_a_thousand():
    """Many pictures of which each is another, and the first one once more."""
    random = np.random.default_rng(5)
    pictures = [cv2.resize(random.integers(0, 255, (6, 6), np.uint8), (24, 24), interpolation=cv2.INTER_CUBIC) for _ in range(1100)]
    rows, found = doubles([*pictures, pictures[0]], max_distance=2, min_ssim=0.95, overlay="o.png")
    assert [image for *_, image in rows] == [0, 1100]
    assert found.images["overlay"].ndim == 3


@settings(max_examples=40, deadline=None)
@given(st.lists(any_picture(32), max_size=6))
def test_any_album(pictures):
    """Any pictures: groups of two or more, one of each best; also of none."""
    rows, found = doubles(pictures, overlay="o.png")
    for group in {group for group, *_ in rows}:
        members = [best for number, best, _ in rows if number == group]
        assert len(members) > 1
        assert sum(members) == members[0] == 1
    assert len({image for *_, image in rows}) == len(rows) == found.total
    assert found.images["overlay"].dtype == np.uint8
