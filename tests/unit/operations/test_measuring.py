import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.measuring import Measure, PickBest
from worker.errors import ArgumentError
from worker.operations.measuring import measure, pick_best
from worker.operations.shapes import Picture
from worker.operations.sharpness import noise_of, sharpness_of

DATA = Path(__file__).parents[2] / "data"
COLUMNS = ("brightness", "contrast", "low", "high", "dark", "bright", "noise", "sharpness")
GREYS = {name: cv2.imread(str(DATA / name), 0) for name in ("board.jpg", "graf1.jpg", "astronaut.jpg", "smarties.png", "box_in_scene.png")}
RADII = (0, 0.5, 1, 1.5, 2, 3, 5)


def measured(image, **values):
    found = measure(image, Measure(image="a", **values))
    return dict(zip(COLUMNS, found.rows[0], strict=True)), found


@pytest.mark.parametrize("depth", [8, 16])
def test_halves(depth):
    """Half black, half a bright grey: each value is what can be counted."""
    image = np.zeros((40, 60), np.uint8)
    image[:, 30:] = 204
    values, _ = measured(image if depth == 8 else image.astype(np.uint16) * 257)
    assert values["brightness"] == pytest.approx(0.4)
    assert values["contrast"] == pytest.approx(0.4)
    assert (values["low"], values["high"]) == pytest.approx((0, 0.8))
    assert (values["dark"], values["bright"]) == (0.5, 0)


def test_clipping():
    """One full channel is clipped, though the grey is not; black is only what has no colour at all."""
    image = np.full((20, 20, 3), 90, np.uint8)
    image[:5, :, 2] = 255
    image[5:7] = 0
    image[7:9] = (0, 30, 0)
    values, _ = measured(image)
    assert (values["bright"], values["dark"]) == (5 / 20, 2 / 20)


@pytest.mark.parametrize("deviation", [0.005, 0.02, 0.06])
def test_noise(deviation):
    """Noise laid onto a smooth picture is found within 5 %."""
    y, x = np.mgrid[:300, :400]
    smooth = 0.5 + 0.2 * np.sin(x / 40) * np.cos(y / 55)
    noisy = (smooth + np.random.default_rng(1).normal(0, deviation, smooth.shape)).astype(np.float32)
    assert noise_of(noisy) == pytest.approx(deviation, rel=0.05)
    assert noise_of(smooth.astype(np.float32)) < 0.0005


@pytest.mark.parametrize("name", GREYS)
def test_sharpness_follows_the_focus(name):
    """Of the same scene, a picture that is less blurred is sharper, whatever its exposure and its noise."""
    random = np.random.default_rng(1)
    found = []
    for radius in RADII:
        blurred = cv2.GaussianBlur(GREYS[name], (0, 0), radius) if radius else GREYS[name]
        dimmed = blurred.astype(np.float32) / 255 * random.uniform(0.4, 1)
        found.append(sharpness_of((dimmed + random.normal(0, 0.015, dimmed.shape)).astype(np.float32)))
    assert found == sorted(found, reverse=True)
    assert found[0] > 5 * found[-1]


def test_region():
    image = np.zeros((100, 100), np.uint8)
    image[20:40, 30:60] = 200
    assert measured(image, region="30 20 30 20")[0]["brightness"] == pytest.approx(200 / 255)
    with pytest.raises(ArgumentError, match="lies outside the picture"):
        measured(image, region="200 200 10 10")
    with pytest.raises(ArgumentError, match="region must be x y width height"):
        measure(image, region="1 2 3")


def test_histogram():
    """Each list sums to one; a colour of half the picture stands in its place."""
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = (10, 20, 30)
    _, found = measured(image, histogram="h.json", overlay="o.png")
    shares = json.loads(found.files["histogram"])
    assert list(shares) == ["r", "g", "b", "grey"]
    assert [shares[name][place] for name, place in (("r", 30), ("g", 20), ("b", 10), ("r", 0))] == [0.5] * 4
    assert all(len(values) == 256 and sum(values) == pytest.approx(1) for values in shares.values())
    assert found.images["overlay"].shape == (10, 10, 3)


def test_the_overlay_shows_where_the_values_are():
    """A dark picture has its curve on the left: there the lines of the overlay stand high."""
    dark = np.random.default_rng(1).integers(20, 60, (300, 512), np.uint8)
    overlay = measured(dark, overlay="o.png")[1].images["overlay"]
    lines = overlay[-100:-20].max(axis=2) > 150
    assert lines[:, 40:120].any()
    assert not lines[:, 140:].any()


def picked(images, **values):
    found = pick_best((Picture(n, f"p{n}", image) for n, image in enumerate(images)), PickBest(image="a", **values))
    return [(int(row[0]), int(row[-1])) for row in found.rows], found.images


def series(radii=(3, 0.8, 2, 0, 5, 1.5), noise=6):
    random = np.random.default_rng(4)
    for radius in radii:
        blurred = cv2.GaussianBlur(GREYS["board.jpg"], (0, 0), radius) if radius else GREYS["board.jpg"]
        yield np.clip(blurred + random.normal(0, noise, blurred.shape), 0, 255).astype(np.uint8)


def test_the_sharpest_of_a_series():
    """The ranks follow the focus, and the sharpest picture is written as it is."""
    rows, images = picked(series(), output="best.png")
    assert rows == [(1, 3), (0, 1), (0, 5), (0, 2), (0, 0), (0, 4)]
    np.testing.assert_array_equal(images["output"], list(series())[3])


def test_the_sharpest_of_each_three():
    """With `every` one of each series is picked, also of a last one that is shorter."""
    rows, _ = picked(series((3, 0.8, 2, 0, 5, 1.5, 4)), every=3)
    assert sorted(image for best, image in rows if best) == [1, 3, 6]


@pytest.mark.parametrize(("by", "best"), [("brightness", 2), ("contrast", 1), ("noise", 0), ("clipping", 0)])
def test_by(by, best):
    plain = np.full((60, 80), 100, np.uint8)
    checks = ((np.indices((60, 80)) // 10).sum(axis=0) % 2 * 255).astype(np.uint8)
    noisy = np.random.default_rng(1).integers(200, 256, (60, 80), np.uint8)
    assert picked([plain, checks, noisy], by=by)[0][0] == (1, best)


def test_of_equal_ones_the_first():
    image = np.full((20, 20), 90, np.uint8)
    assert picked([image, image, image], output="o.png")[0] == [(1, 0), (0, 1), (0, 2)]


@settings(max_examples=60, deadline=None)
@given(any_picture())
def test_any_picture(image):
    """Any picture has numbers in their ranges."""
    values, found = measured(image, histogram="h.json", overlay="o.png")
    assert all(0 <= values[name] <= 1 for name in COLUMNS[:6])
    assert np.isfinite(found.rows).all()
    assert values["low"] <= values["high"]
    assert found.images["overlay"].shape == (*image.shape[:2], 3)


@settings(max_examples=30, deadline=None)
@given(st.lists(any_picture(32), max_size=5), st.integers(0, 3))
def test_any_series(images, every):
    rows, made = picked(images, every=every, output="o.png")
    assert sorted(image for _, image in rows) == list(range(len(images)))
    assert sum(best for best, _ in rows) == (-(-len(images) // every) if every else bool(images))
    assert bool(made) == bool(images)
