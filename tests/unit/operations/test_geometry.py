import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.geometry import Rotate, Warp
from worker.errors import ArgumentError
from worker.operations.geometry import crop, rotate, rotated_size, warp, warped_size
from worker.pictures.pixels import size_of


def numbered(height=48, width=64):
    """A picture in which no two pixels are alike."""
    return np.arange(height * width, dtype=np.uint16).reshape(height, width)


def test_crop_region():
    """The region is kept pixel by pixel; what reaches beyond the picture is left out."""
    image = numbered()
    np.testing.assert_array_equal(crop(image, region="10 5 20 8"), image[5:13, 10:30])
    np.testing.assert_array_equal(crop(image, region="-5 -5 20 20"), image[:15, :15])
    np.testing.assert_array_equal(crop(image), image)


def test_crop_trim():
    """A plain edge goes, a margin stays, and a picture of one colour is left as it is."""
    image = np.full((40, 60, 3), 250, np.uint8)
    image[10:20, 15:45] = 30
    image[2, 2] = 248
    assert crop(image, trim=5).shape == (10, 30, 3)
    assert crop(image, trim=5, margin=3).shape == (16, 36, 3)
    assert crop(image, trim=0).shape == (18, 43, 3)
    assert crop(image[:2], trim=0).shape == (2, 60, 3)
    deep = image.astype(np.uint16) * 257
    assert crop(deep, trim=5).shape == (10, 30, 3)


@pytest.mark.parametrize(
    ("aspect", "anchor", "expected"),
    [
        ("1:1", "center", np.s_[:, 8:56]),
        ("1", "left", np.s_[:, :48]),
        ("1", "right", np.s_[:, 16:]),
        ("2:1", "top", np.s_[:32]),
        ("64/16", "bottom", np.s_[32:]),
        ("4x3", "top", np.s_[:]),
        ("1000:1", "top", np.s_[:1]),
    ],
)
def test_crop_aspect(aspect, anchor, expected):
    """The largest part of these proportions, at the side that stays."""
    image = numbered()
    np.testing.assert_array_equal(crop(image, aspect=aspect, anchor=anchor), image[expected])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"region": "1 2 3"}, "region must be x y width height"),
        ({"region": "100 0 5 5"}, "lies outside the picture, which has 64x48 pixels"),
        ({"aspect": "16"}, ""),
        ({"aspect": "wide"}, "aspect must be width:height, such as 16:9"),
        ({"aspect": "0:5"}, "aspect must be width:height"),
        ({"margin": 5}, "trim is -1"),
    ],
)
def test_crop_refused(values, words):
    """What makes no sense is refused; a number alone is width by height."""
    if not words:
        assert size_of(crop(numbered(), **values)) == (64, 4)
        return
    with pytest.raises(ArgumentError, match=words):
        crop(numbered(), **values)


def test_quarter_turns_keep_every_pixel():
    """Turned by 90 degrees clockwise, the left column becomes the top row, from the bottom up."""
    image = numbered()
    np.testing.assert_array_equal(rotate(image, angle=90)[0], image[::-1, 0])
    np.testing.assert_array_equal(rotate(image, angle=-90), rotate(image, angle=270))
    np.testing.assert_array_equal(rotate(image, angle=180), image[::-1, ::-1])
    np.testing.assert_array_equal(rotate(image, angle=180, expand=False), image[::-1, ::-1])
    np.testing.assert_array_equal(rotate(image, angle=360), image)
    np.testing.assert_array_equal(rotate(image, flip="horizontal"), image[:, ::-1])
    np.testing.assert_array_equal(rotate(image, flip="vertical"), image[::-1])


@pytest.mark.parametrize("angle", [-135.0, -20.0, 10.0, 33.3, 90.0, 100.0])
@pytest.mark.parametrize("expand", [True, False])
def test_rotate_moves_a_point_where_it_should_be(angle, expand):
    """A disc is found where its turned centre lies, to a tenth of a pixel; the sense is clockwise."""
    image = np.zeros((101, 121), np.uint8)
    cv2.circle(image, (60 + 30, 50), 6, 255, -1)
    made = rotate(image, angle=angle, expand=expand)
    width, height = size_of(made)
    assert (width, height) == rotated_size((121, 101), Rotate(image="a", output="b", angle=angle, expand=expand))
    moments = cv2.moments(made)
    turned = np.radians(angle)
    expected = (width - 1) / 2 + 30 * np.cos(turned), (height - 1) / 2 + 30 * np.sin(turned)
    assert (moments["m10"] / moments["m00"], moments["m01"] / moments["m00"]) == pytest.approx(expected, abs=0.1)


def test_background():
    """The corners that come in have the colour asked for; with alpha they are transparent, and nothing dark bleeds in."""
    image = np.full((40, 40, 3), 200, np.uint8)
    assert rotate(image, angle=45, background="#102030")[0, 0].tolist() == [0x30, 0x20, 0x10]
    assert rotate(np.full((40, 40), 9, np.uint16), angle=45, background="#ffffff")[0, 0] == 65535
    clear = np.dstack([image, np.full((40, 40), 255, np.uint8)])
    made = rotate(clear, angle=45)
    assert made[0, 0, 3] == 0
    assert np.abs(made[made[..., 3] > 20][:, :3].astype(int) - 200).max() <= 2


def test_warp_finds_the_sheet():
    """A sheet that was laid into a scene in perspective becomes flat again, within the error of two interpolations."""
    random = np.random.default_rng(1)
    sheet = cv2.GaussianBlur(random.integers(0, 256, (120, 160), dtype=np.uint8), (0, 0), 4)
    sheet = cv2.normalize(sheet, None, 0, 255, cv2.NORM_MINMAX)
    corners = "50 40 300 60 280 260 70 230"
    scene = warp(sheet, corners=corners, mode="pin", width=360, height=300)
    assert scene.shape == (300, 360)
    assert scene[5, 5] == 0
    flat = warp(scene, corners=corners, width=160, height=120)
    assert np.abs(flat.astype(int) - sheet)[2:-2, 2:-2].mean() < 1.5


def test_warp_of_its_own_outline():
    """The outline of the picture itself, as `find_object` reports it, changes nothing."""
    image = numbered()
    own = "-0.5 -0.5 63.5 -0.5 63.5 47.5 -0.5 47.5"
    for mode in ("flatten", "pin"):
        np.testing.assert_array_equal(warp(image, corners=own, mode=mode), image)


def test_warp_size():
    """Automatic is the longer of two sides, or the picture's own for a pin."""
    values = {"image": "a", "output": "b", "corners": "0 0 100 0 90 50 0 60"}
    assert warped_size((640, 480), Warp(**values)) == (100, 60)
    assert warped_size((640, 480), Warp(**values, height=7)) == (100, 7)
    assert warped_size((640, 480), Warp(**values, mode="pin")) == (640, 480)
    assert warped_size((640, 480), Warp(**(values | {"corners": "0 0 90000 0 90000 90000 0 90000"}))) == (16384, 16384)


@pytest.mark.parametrize(
    ("corners", "words"),
    [
        ("1 2 3", "8 numbers, x and y of four corners in pixels; got 3"),
        ("0 0 1 1 2 2 3 3", "three are in line, or sides cross"),
        ("0 0 10 10 10 0 0 10", "three are in line, or sides cross"),
        ("0 0 10 0 3 3 0 10", "three are in line, or sides cross"),
        ("0 0 x 0 3 3 0 10", "corners must hold numbers; got 'x'"),
        ("0 0 1e6 0 1e6 3 0 10", "from -100000 to 100000; got 1e"),
    ],
)
def test_warp_refused(corners, words):
    """Corners that no rectangle can be seen in are refused."""
    with pytest.raises(ArgumentError, match=words):
        warp(numbered(), corners=corners)


def test_too_long():
    """A side that OpenCV cannot count is refused in a sentence, not by its assertion."""
    long = np.zeros((1, 40_000), np.uint8)
    with pytest.raises(ArgumentError, match="A side of 40000 pixels is too long"):
        warp(long, corners="0 0 10 0 10 10 0 10")
    assert size_of(rotate(long, angle=90)) == (1, 40_000)
    with pytest.raises(ArgumentError, match="too long"):
        rotate(long, angle=1)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 64), st.integers(1, 64), st.sampled_from((None, 3, 4)), st.sampled_from(("u1", "u2"))),
    st.floats(-360, 360),
    st.lists(st.integers(-100, 100), min_size=8, max_size=8),
    st.booleans(),
)
def test_any_picture(seed, form, angle, corners, other):
    """No picture makes them fail; kind and depth stay, and the output has the size that was foretold, or is smaller when cut."""
    random, (*size, channels, kind) = np.random.default_rng(seed), form
    image = random.integers(0, np.iinfo(kind).max, size if channels is None else (*size, channels), dtype=kind)
    turned = rotate(image, angle=angle, expand=other)
    assert size_of(turned) == rotated_size(size_of(image), Rotate(image="a", output="b", angle=angle, expand=other))
    cut = crop(image, trim=int(other), aspect=f"{size[0]}:{size[1]}")
    assert 0 < cut.shape[0] <= size[0]
    assert 0 < cut.shape[1] <= size[1]
    made = [turned, cut]
    values = {"corners": " ".join(map(str, corners)), "mode": "pin" if other else "flatten"}
    try:
        bent = warp(image, **values)
    except ArgumentError:
        pass
    else:
        assert size_of(bent) == warped_size(size_of(image), Warp(image="a", output="b", **values))
        made.append(bent)
    for one in made:
        assert one.dtype == image.dtype
        assert one.shape[2:] == image.shape[2:]
