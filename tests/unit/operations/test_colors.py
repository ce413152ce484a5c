from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.colors import FindColorRegions, FindColors, MatchPalette
from worker.errors import ArgumentError
from worker.operations import colors
from worker.operations.colorspace import ciede2000, cielab, coded, linear, parse_colors
from worker.operations.regions import mask_of

DATA = Path(__file__).parents[2] / "data"
PAINT = ("#c81e1e", "#1e3cb4", "#f0c828", "#f5f5f0", "#14503c", "#000000")
SHARES = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)


def bgr(text):
    return (parse_colors(text, "color")[0, ::-1] * 255).round()


def painted(noise=0.0, size=400):
    """Stripes of paint, each as wide as its share, with noise."""
    picture = np.zeros((size, size, 3))
    ends = np.rint(np.cumsum((0, *SHARES)) * size).astype(int)
    for paint, begin, end in zip(PAINT, ends, ends[1:], strict=False):
        picture[:, begin:end] = bgr(paint)
    return np.clip(picture + np.random.default_rng(1).normal(0, noise, picture.shape), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("noise", [0, 5])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("wanted", [6, 12])
def test_painted_palette(noise, depth, wanted):
    """Each colour is found within 3 CIEDE2000, its share within 1 %; no colour is made up, though more might be."""
    picture = painted(noise)
    found = colors.find_colors(picture if depth == 8 else picture.astype(np.uint16) * 257, FindColors(image="a", colors=wanted))
    assert len(found.rows) == len(PAINT)
    np.testing.assert_allclose(found.rows[:, 0], SHARES, atol=0.01)
    truth = cielab(parse_colors(" ".join(PAINT), "paint"))
    assert ciede2000(found.rows[:, 4:7], truth).max() < 3
    assert ciede2000(cielab(found.rows[:, 1:4]), truth).max() < 3
    if not noise:
        assert [text for (text,) in found.texts] == list(PAINT)


def test_small_spot():
    """A small spot of a bright colour on a large ground is among the colours."""
    picture = np.full((300, 400, 3), (60, 60, 60), np.uint8)
    cv2.circle(picture, (200, 150), 10, (20, 20, 250), -1)
    found = colors.find_colors(picture, FindColors(image="a", colors=2))
    assert found.texts[1] == ("#fa1414",)
    assert found.rows[1, 0] == pytest.approx(np.pi * 100 / 120_000, rel=0.1)
    assert len(colors.find_colors(picture, FindColors(image="a", min_share=0.01)).rows) == 1


def test_similar_colors():
    """Colours that are less different than wanted count as one, their shares added."""
    picture = np.zeros((10, 10, 3), np.uint8)
    picture[:, :5], picture[:, 5:] = (100, 100, 100), (104, 104, 104)
    assert colors.find_colors(picture, FindColors(image="a")).rows[:, 0].tolist() == [1]
    assert colors.find_colors(picture, FindColors(image="a", min_difference=0.5)).rows[:, 0].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("share", PAINT),
        ("lightness", ("#000000", "#14503c", "#1e3cb4", "#c81e1e", "#f0c828", "#f5f5f0")),
        ("hue", ("#c81e1e", "#f0c828", "#14503c", "#1e3cb4", "#000000", "#f5f5f0")),
    ],
)
def test_order(order, expected):
    """By share, from dark to bright, or as a rainbow with the greys at the end."""
    assert [text for (text,) in colors.find_colors(painted(), FindColors(image="a", order=order)).texts] == list(expected)


def test_transparent():
    """What is transparent has no colour; half as opaque counts half."""
    picture = np.zeros((10, 30, 4), np.uint8)
    picture[:, 10:20] = (0, 0, 255, 255)
    picture[:, 20:] = (0, 255, 0, 127)
    rows = colors.find_colors(picture, FindColors(image="a")).rows
    np.testing.assert_allclose(rows[:, :4], [(2 / 3, 1, 0, 0), (1 / 3, 0, 1, 0)], atol=0.002)
    nothing = colors.find_colors(picture[:, :10], FindColors(image="a", swatch="s.png", palette="p.png"))
    assert nothing.rows.shape == (0, 7)
    assert not nothing.images["swatch"].any()
    assert nothing.images["palette"].shape == (1, 1, 3)


def test_region():
    """Only the region's colours count; one that cannot be read or lies outside is refused."""
    assert colors.find_colors(painted(), FindColors(image="a", region="0 0 50 50")).texts == ((PAINT[0],),)
    with pytest.raises(ArgumentError, match="region must be x y width height"):
        colors.find_colors(painted(), region="1 2 3")
    with pytest.raises(ArgumentError, match="lies outside the picture"):
        colors.find_colors(painted(), region="400 0 10 10")


def test_color_pictures():
    """The swatch is as wide as the shares, the palette has a pixel for each colour, the overlay shows both picture and colours."""
    picture = painted()
    found = colors.find_colors(picture, FindColors(image="a", swatch="s.png", palette="p.png"))
    assert found.images["palette"].tolist() == [[bgr(paint).tolist() for paint in PAINT]]
    swatch = found.images["swatch"]
    assert (swatch[0] == bgr(PAINT[0])).all(axis=1).sum() == pytest.approx(0.4 * 1024, abs=2)
    marked = colors.mark_colors(picture, found.rows[::-1])
    np.testing.assert_array_equal(marked[:350], picture[:350])
    assert marked[-1, 0].tolist() == bgr(PAINT[-1]).tolist()


def lit(paint, stops):
    """A colour under more or less light, as BGR of 8 bits."""
    return np.rint(coded(linear(parse_colors(paint, "paint")[0]) * 2**stops)[::-1] * 255)


def test_regions_of_a_color():
    """Discs of one colour are found under different light, with centre, area and box; others are not."""
    picture = np.full((300, 500, 3), 40, np.uint8)
    places = ((60, 60, 30, 0), (200, 80, 40, -0.9), (400, 200, 50, -0.5))
    for x, y, radius, stops in places:
        cv2.circle(picture, (x, y), radius, lit(PAINT[0], stops).tolist(), -1)
    cv2.circle(picture, (100, 220), 45, bgr(PAINT[1]).tolist(), -1)
    found = colors.find_color_regions(picture, FindColorRegions(image="a", color=PAINT[0], mask="m.png"))
    assert found.total == 3
    for row, (x, y, radius, stops) in zip(found.rows, sorted(places, key=lambda place: -place[2]), strict=True):
        np.testing.assert_allclose(row[:2], (x, y), atol=0.1)
        assert row[4] == pytest.approx(np.pi * radius**2, rel=0.04)
        np.testing.assert_allclose(row[5:9], (x - radius, y - radius, 2 * radius + 1, 2 * radius + 1), atol=1)
        np.testing.assert_allclose(row[9:][::-1] * 255, lit(PAINT[0], stops), atol=0.5)
        np.testing.assert_allclose(row[2:4], ((row[0] + 0.5) / 500, 1 - (row[1] + 0.5) / 300))
    assert (found.images["mask"] > 0).sum() == found.rows[:, 4].sum()
    strict = colors.find_color_regions(picture, FindColorRegions(image="a", color=PAINT[0], light=0.2, tolerance=3))
    assert len(strict.rows) == 1


def test_range_of_colors():
    """A range holds what lies between its ends, too."""
    picture = np.zeros((60, 300, 3), np.uint8)
    for n, paint in enumerate(("#ff0000", "#ff6a00", "#ffd800", "#00ff00", "#0000ff")):
        picture[10:50, 10 + 60 * n : 50 + 60 * n] = bgr(paint)
    values = {"image": "a", "color": "#ff0000", "light": 0.3}
    assert len(colors.find_color_regions(picture, FindColorRegions(**values)).rows) == 1
    rows = colors.find_color_regions(picture, FindColorRegions(**values, to="#ffd800")).rows
    assert sorted(rows[:, 5].tolist()) == [10, 70, 130]


def test_smooth_and_small():
    """Specks are removed and gaps closed; small regions are left out; the limit keeps the largest and counts the others."""
    picture = np.zeros((100, 100, 3), np.uint8)
    picture[10:50, 10:50] = picture[70:80, 70:80] = (0, 0, 255)
    picture[30, 30] = 0
    picture[90, 10] = (0, 0, 255)
    values = {"image": "a", "color": "#ff0000"}
    assert colors.find_color_regions(picture, FindColorRegions(**values, min_area=1)).rows[:, 4].tolist() == [
        1596,
        96,
    ]  # a disc of 3 pixels takes each corner
    rough = colors.find_color_regions(picture, FindColorRegions(**values, min_area=1, smooth=0))
    assert rough.rows[:, 4].tolist() == [1599, 100, 1]
    few = colors.find_color_regions(picture, FindColorRegions(**values, max_items=1))
    assert (len(few.rows), few.total) == (1, 2)
    assert len(colors.find_color_regions(picture, FindColorRegions(**values, region="60 60 40 40")).rows) == 1


def test_red_sweets():
    """In a photograph the red and orange sweets are found, and none of another colour."""
    sweets = cv2.imread(str(DATA / "smarties.png"))
    found = colors.find_color_regions(
        sweets, FindColorRegions(image="a", color="#e01010", to="#ff7000", tolerance=8, min_area=500, overlay="o.png")
    )
    assert len(found.rows) == 6
    assert found.images["overlay"].shape == sweets.shape
    assert (found.rows[:, 9] > 0.8).all()
    assert (found.rows[:, 11] < 0.2).all()


def test_snap():
    """Each pixel becomes the nearest colour of the palette; the rows say how many became which."""
    picture = painted(5)
    found = colors.match_palette(picture, None, MatchPalette(image="a", output="o", palette=" ".join(PAINT)))
    np.testing.assert_array_equal(found.images["output"], painted())
    np.testing.assert_allclose(found.rows[:, 0], SHARES, atol=0.005)
    assert found.texts == tuple((paint,) for paint in PAINT)
    alpha = np.dstack([picture, np.full((400, 400), 7, np.uint8)])
    assert (
        colors.match_palette(alpha, None, MatchPalette(image="a", output="o", palette="#ffffff")).images["output"] == (255, 255, 255, 7)
    ).all()


def test_palette_picture():
    """The palette picture of one image serves for another."""
    palette = colors.find_colors(painted(), FindColors(image="a", palette="p.png")).images["palette"]
    by_picture = colors.match_palette(painted(20), palette, MatchPalette(image="a", output="o", palette_image="p"))
    by_text = colors.match_palette(painted(20), None, MatchPalette(image="a", output="o", palette=" ".join(PAINT)))
    np.testing.assert_array_equal(by_picture.images["output"], by_text.images["output"])
    with pytest.raises(ArgumentError, match="1 to 256 colours; it has 257"):
        colors.match_palette(
            painted(),
            np.random.default_rng(1).integers(0, 255, (30, 30, 3), np.uint8),
            MatchPalette(image="a", output="o", palette_image="p"),
        )


def test_ramp():
    """Dark becomes the first colour and bright the last; half an amount lies half way."""
    grey = np.arange(256, dtype=np.uint8)[None].repeat(2, axis=0)
    ramp = colors.match_palette(grey, None, MatchPalette(image="a", output="o", palette="#0000ff #ffff00", mode="ramp")).images["output"]
    assert ramp[0, 0].tolist() == [255, 0, 0]
    assert ramp[0, 255].tolist() == [0, 255, 255]
    assert (np.diff(ramp[0, :, 2].astype(int)) >= 0).all()
    half = colors.match_palette(grey, None, MatchPalette(image="a", output="o", palette="#ffffff", amount=0.5)).images["output"]
    assert half[0, 0].tolist() == [128, 128, 128]


def test_dither():
    """Dithered black and white keeps the mean light of a grey; without it all is one colour."""
    grey = np.full((64, 64), 128, np.uint8)
    values = {"image": "a", "output": "o", "palette": "#000000 #808080"}
    plain = colors.match_palette(np.full((64, 64), 70, np.uint8), None, MatchPalette(**values)).images["output"]
    mixed = colors.match_palette(np.full((64, 64), 70, np.uint8), None, MatchPalette(**values, dither=1)).images["output"]
    assert len(np.unique(plain)) == 1
    assert len(np.unique(mixed)) == 2
    assert (colors.match_palette(grey, None, MatchPalette(**values)).images["output"] == 128).all()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "neither was given"),
        ({"palette": "#ffffff", "palette_image": "p.png"}, "both were given"),
        ({"palette": "white"}, "got 'white'"),
        ({"palette": "#ffffff " * 257}, "at most 256 colours; got 257"),
    ],
)
def test_bad_palette(values, words):
    """A palette that is missing, double or unreadable is refused in a sentence."""
    with pytest.raises(ArgumentError, match=words):
        colors.check_palette(MatchPalette(image="a", output="o", **values))


@settings(max_examples=20, deadline=None)
@given(any_picture(), st.integers(1, 64), st.sampled_from(("share", "lightness", "hue")), st.floats(0, 6))
def test_any_picture(picture, count, order, light):
    """No picture makes an operation fail; shares are at most everything, and regions lie within the picture."""
    values = FindColors(image="a", colors=count, order=order, min_difference=light, swatch="s.png", palette="p.png", min_share=0)
    found = colors.find_colors(picture, values)
    assert len(found.rows) == len(found.texts) <= count
    assert found.rows[:, 0].sum() == pytest.approx(1 if len(found.rows) else 0)
    assert ((found.rows[:, 1:4] >= 0) & (found.rows[:, 1:4] <= 1)).all()
    assert colors.mark_colors(picture, found.rows).shape == (*picture.shape[:2], 3)
    regions = colors.find_color_regions(
        picture,
        FindColorRegions(
            image="a", color="#808080", light=light, tolerance=30, smooth=count % 3, min_area=1, mask="m.png", overlay="o.png"
        ),
    )
    assert (regions.rows[:, 4] >= 1).all()
    assert regions.rows[:, 4].sum() == (regions.images["mask"] > 0).sum()
    assert mask_of(picture, "", None) is None
    for mode in ("snap", "ramp"):
        made = colors.match_palette(
            picture, None, MatchPalette(image="a", output="o", palette="#102030 #ffeedd", mode=mode, dither=light / 6)
        )
        assert made.images["output"].shape[:2] == picture.shape[:2]
        assert made.rows[:, 0].sum() == pytest.approx(1)
