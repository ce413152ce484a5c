import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.compositing import ContactSheet, Overlay
from worker.errors import ArgumentError
from worker.operations import lettering
from worker.operations.compositing import check_overlay, contact_sheet, overlay
from worker.operations.shapes import Picture

ANCHORS = ("top_left", "top", "top_right", "left", "center", "right", "bottom_left", "bottom", "bottom_right")


def plain(value, size=(60, 40), dtype=np.uint8):
    return np.full((size[1], size[0], 3), value, dtype)


@pytest.mark.parametrize(("n", "anchor"), list(enumerate(ANCHORS)))
def test_anchors(n, anchor):
    """The picture on top lies at the side that the anchor names, and moves with x and y; nothing else changes."""
    made = overlay(plain(10), plain(200, (20, 10)), anchor=anchor, x=1, y=-2)
    x, y = (0, 20, 40)[n % 3] + 1, (0, 15, 30)[n // 3] - 2
    expected = plain(10)
    expected[max(0, y) : y + 10, x : x + 20] = 200
    np.testing.assert_array_equal(made, expected)


def test_outside():
    """What lies outside is cut off, or not seen at all."""
    assert (overlay(plain(10), plain(200, (200, 200))) == 200).all()
    assert (overlay(plain(10), plain(200), x=1000) == 10).all()


@pytest.mark.parametrize(
    ("blend", "opacity", "expected"),
    [("normal", 1, 100), ("normal", 0.5, 150), ("multiply", 1, 78), ("screen", 1, 222), ("add", 1, 255), ("difference", 1, 100)],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_blend(blend, opacity, expected, dtype):
    """200 below and 100 above; the depth of the image below stays, whatever the other one has."""
    below = plain(200 * (257 if dtype == np.uint16 else 1), dtype=dtype)
    made = overlay(below, plain(100), blend=blend, opacity=opacity)
    assert made.dtype == dtype
    assert np.abs(made / (257 if dtype == np.uint16 else 1) - expected).max() <= 0.5


def test_alpha():
    """Half of the picture on top is clear; below, nothing plus half a colour is half of it."""
    top = np.dstack([plain(100, (20, 10)), np.full((10, 20), 255, np.uint8)])
    top[:, :10, 3] = 0
    made = overlay(plain(10, (20, 10)), top)
    assert (made[:, :10] == 10).all()
    assert (made[:, 10:] == 100).all()
    clear = np.zeros((10, 20, 4), np.uint8)
    made = overlay(clear, top, opacity=0.5)
    assert made[0, 15].tolist() == [100, 100, 100, 128]
    assert made[0, 5].tolist() == [0, 0, 0, 0]


def test_width():
    """The picture on top gets this width and keeps its proportions; a clear border does not darken."""
    top = np.zeros((20, 40, 4), np.uint8)
    top[5:15, 10:30] = 200, 200, 200, 255
    made = overlay(plain(200), top, width=17)
    assert (made == 200).all()
    made = overlay(plain(0), plain(90, (40, 20)), width=20, anchor="top_left")
    assert (made[:10, :20] == 90).all()
    assert made.sum() == 90 * 3 * 200
    with pytest.raises(ArgumentError, match="would be 20000 px high; the limit is 16384"):
        overlay(plain(0), plain(90, (2, 4)), width=10_000)


@pytest.mark.parametrize("anchor", ANCHORS)
@pytest.mark.parametrize("text", ["Take 3", "Take 3\nby day"])
def test_text_within(text, anchor):
    """The text lies on the side that the anchor names, wholly inside, in its colour."""
    image = plain(0, (400, 200))
    made = overlay(image, text=text, text_size=30, anchor=anchor, text_color="#ff8000")
    y, x = np.nonzero(made.any(axis=2))
    assert made.max(axis=(0, 1)).tolist() == [0, 128, 255]
    assert 50 < x.max() - x.min() < 150
    assert x.min() > 0 or "left" in anchor
    assert y.max() < 199
    middle = (x.min() + x.max()) / 2
    assert (middle < 100) == ("left" in anchor)
    assert (middle > 300) == ("right" in anchor)
    assert image.max() == 0


def test_text_edge():
    """A white text on white is seen by its edge."""
    assert overlay(plain(255), text="x", text_edge=0).min() == 255
    assert overlay(plain(255), text="x", text_edge=2).min() == 0


def test_grey_becomes_colour():
    """A grey image can carry a coloured text."""
    assert overlay(np.zeros((40, 60), np.uint16), text="x", text_color="#ff0000").shape == (40, 60, 3)


def test_refused(monkeypatch):
    """Nothing to lay on top, and letters that this OpenCV cannot draw, are refused in a sentence."""
    values = {"image": "a.png", "output": "b.png"}
    with pytest.raises(ArgumentError, match="needs a picture, a text, or both; got neither"):
        check_overlay(Overlay(**values))
    monkeypatch.setattr(lettering, "_font", lambda: None)
    check_overlay(Overlay(**values, text="Take 3\nby day"))
    with pytest.raises(ArgumentError, match="draws ASCII letters only; got 'Grüße'"):
        check_overlay(Overlay(**values, text="Grüße"))


def test_size_of_letters():
    """A capital letter is about three quarters as high as the size says, with a font and with line drawings."""
    made = overlay(plain(0, (400, 100)), text="HHH", text_edge=0, text_size=40)
    assert np.ptp(np.flatnonzero(made.any(axis=(1, 2)))) == pytest.approx(29, abs=4)


def pictures(*values, size=(100, 50)):
    return (Picture(n, f"shot_{n}", plain(value, size)) for n, value in enumerate(values))


def test_sheet():
    """Each picture stands in its own cell, row by row, at its size, on the background."""
    made = contact_sheet(
        pictures(50, 100, 150), columns=2, tile_width=50, tile_height=40, gap=10, labels=False, background="#ff0000"
    ).images["output"]
    assert made.shape == (110, 130, 3)
    assert made[2, 2].tolist() == [0, 0, 255]
    for value, (left, top) in ((50, (10, 10)), (100, (70, 10)), (150, (10, 60))):
        y, x = np.nonzero((made == value).all(axis=2))
        assert (x.min(), x.max(), y.min(), y.max()) == (left, left + 49, top + 7, top + 31)


def test_sheet_automatic():
    """About as many columns as rows; small pictures are not enlarged; names make room below."""
    made = contact_sheet(pictures(*range(90, 100), size=(10, 10)), tile_width=50, tile_height=50, gap=0).images["output"]
    assert made.shape == (3 * 72, 4 * 50, 3)
    assert (made == 90).all(axis=2).sum() >= 100
    band = made[50:72, :50]
    assert band.max() > 200


def test_sheet_too_large():
    """A sheet that no graphics card takes is refused as soon as that is known."""
    seen = []

    def many():
        for n in range(100):
            seen.append(n)
            yield Picture(n, "", plain(0, (4, 4)))

    with pytest.raises(ArgumentError, match="more than 27 images, and no more fit on a sheet of 16384 px"):
        contact_sheet(many(), columns=3, tile_width=1000, tile_height=1800, gap=0, labels=False)
    assert len(seen) == 28
    with pytest.raises(ArgumentError, match="20 columns of 1008 px are too wide; 16 fit"):
        contact_sheet(many(), columns=20, tile_width=1000)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(
        st.tuples(st.integers(1, 64), st.integers(1, 64), st.sampled_from((None, 3, 4)), st.sampled_from(("u1", "u2"))),
        min_size=2,
        max_size=2,
    ),
    st.sampled_from(ANCHORS),
    st.integers(0, 80),
    st.text(max_size=12),
)
def test_any_picture(seed, forms, anchor, number, text):
    """No pictures and no text make them fail: small ones, noise, alpha and 16 bits."""
    random = np.random.default_rng(seed)
    made = []
    for height, width, channels, kind in forms:
        shape = (height, width) if channels is None else (height, width, channels)
        made.append(random.integers(0, np.iinfo(kind).max, shape, dtype=kind))
    shown = text if lettering.can_draw(text) else ""
    values = Overlay(image="a", output="b", anchor=anchor, x=number - 40, y=40 - number, width=number, text=shown, text_size=6 + number)
    laid = overlay(made[0], made[1], values)
    assert laid.shape[:2] == made[0].shape[:2]
    assert laid.dtype == made[0].dtype
    assert (laid.shape[2] == 4) == (made[0].ndim == 3 and made[0].shape[2] == 4)
    sheet = ContactSheet(image="a", output="b", tile_width=8 + number, tile_height=88 - number, gap=number)
    assert contact_sheet((Picture(n, text, one) for n, one in enumerate(made)), sheet).images["output"].dtype == np.uint8


def test_same_as_opencv():
    """Half over half is OpenCV's own weighted sum."""
    random = np.random.default_rng(1)
    below, above = (random.integers(0, 256, (30, 40, 3), dtype=np.uint8) for _ in range(2))
    assert cv2.absdiff(overlay(below, above, opacity=0.5), cv2.addWeighted(below, 0.5, above, 0.5, 0)).max() <= 1
