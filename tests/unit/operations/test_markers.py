from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings

from tests import scenes
from tests.pictures import any_picture
from worker.catalog.markers import FindMarkers
from worker.errors import Unavailable
from worker.operations import markers

DATA = Path(__file__).parents[2] / "data"
BOARD = cv2.resize(cv2.imread(str(DATA / "board.jpg")), (640, 480))


def found_in(picture, **values):
    return markers.find_markers(picture, FindMarkers(image="a", **values))


@pytest.mark.parametrize("dictionary", ["6x6_250", "apriltag_36h11"])
@pytest.mark.parametrize("seed", range(5))
def test_square_marker(dictionary, seed):
    """A marker in a photograph, turned and in perspective, has its number, and its corners within half a pixel, in its own order."""
    number = getattr(cv2.aruco, f"DICT_{dictionary.upper()}")
    corners = scenes.tilted(120 + 40 * seed, (320, 240), seed)
    picture = scenes.laid_into(BOARD, scenes.marker(number, seed), corners, noise=3)
    found = found_in(picture)
    assert found.texts == ((dictionary, str(seed)),)
    (row,) = found.rows
    assert row[:2].tolist() == [markers.KINDS["apriltag" if "tag" in dictionary else "aruco"], seed]
    truth = scenes.within(corners, 320, 40)
    assert np.linalg.norm(row[8:].reshape(4, 2) - truth, axis=1).max() < 0.5
    np.testing.assert_allclose(row[2:4], truth.mean(axis=0), atol=0.3)
    np.testing.assert_allclose(row[4:6], ((row[2] + 0.5) / 640, 1 - (row[3] + 0.5) / 480))
    right = truth[1] - truth[0]
    assert np.cos(np.radians(row[7]) - np.arctan2(right[1], right[0])) > 0.999


@pytest.mark.parametrize("seed", range(5))
def test_qr_code(seed):
    """A QR code's text is in the table's texts, and its corners are within half a pixel."""
    text = f"https://example.org/{seed}"
    code = scenes.qr_code(text)
    corners = scenes.tilted(200 + 30 * seed, (320, 240), seed)
    found = found_in(scenes.laid_into(BOARD, code, corners, noise=3))
    assert found.texts == (("qr", text),)
    assert found.rows[0, :2].tolist() == [markers.KINDS["qr"], -1]
    truth = scenes.within(corners, len(code), 16)
    assert np.linalg.norm(found.rows[0, 8:].reshape(4, 2) - truth, axis=1).max() < 0.5


@pytest.mark.parametrize("width", [300, 560])
def test_barcode(width):
    """An EAN-13 code, narrow or wide bars; its corners lie around the bars, not much farther out than the paper."""
    code = scenes.barcode("4006381333931")
    corners = np.array([(40, 100), (40 + width, 110), (36 + width, 110 + width / 2), (36, 100 + width / 2)])
    found = found_in(scenes.laid_into(BOARD, code, corners))
    assert found.texts == (("EAN_13", "4006381333931"),)
    quad = found.rows[0, 8:].reshape(4, 2)
    assert found.rows[0, 0] == markers.KINDS["barcode"]
    assert width * 95 / 115 < np.linalg.norm(quad[1] - quad[0]) < 1.03 * width
    np.testing.assert_allclose(quad.mean(axis=0), corners.mean(axis=0), atol=width / 50)
    assert quad[0, 0] < quad[1, 0]
    assert quad[0, 1] < quad[3, 1]


def test_many():
    """Several kinds in one picture; the largest comes first, the limit holds, and one kind can be asked for alone."""
    picture = scenes.laid_into(BOARD, scenes.marker(cv2.aruco.DICT_5X5_100, 7), [(30, 30), (230, 40), (220, 240), (20, 230)])
    picture = scenes.laid_into(picture, scenes.qr_code("two"), [(300, 30), (600, 50), (590, 350), (290, 330)])
    found = found_in(picture, overlay="o.png")
    assert found.texts == (("qr", "two"), ("5x5_250", "7"))
    assert found.images["overlay"].shape == picture.shape
    few = found_in(picture, max_items=1)
    assert (len(few.rows), few.total, few.texts) == (1, 2, (("qr", "two"),))
    assert found_in(picture, kind="aruco", dictionary="5x5_100").texts == (("5x5_100", "7"),)
    assert not found_in(picture, kind="apriltag").texts


def test_inverted():
    """White on black is found if it is asked for."""
    picture = scenes.laid_into(BOARD, 255 - scenes.marker(cv2.aruco.DICT_6X6_250, 9), [(200, 100), (400, 100), (400, 300), (200, 300)])
    assert not found_in(picture, kind="aruco").texts
    assert found_in(picture, kind="aruco", inverted=True).texts == (("6x6_250", "9"),)


@pytest.mark.parametrize("name", ["board.jpg", "graf1.jpg", "smarties.png", "detect_blob.png", "box_in_scene.png"])
def test_nothing(name):
    """Photographs without a code have none, whatever set may be meant."""
    assert found_in(cv2.imread(str(DATA / name), cv2.IMREAD_UNCHANGED)).rows.shape == (0, 16)


ZXING = {
    "Code128": ("TAKE-12", "CODE_128", "barcode"),
    "Code39": ("TAKE-12", "CODE_39", "barcode"),
    "Code93": ("TAKE-12", "CODE_93", "barcode"),
    "ITF": ("12345678", "ITF", "barcode"),
    "PDF417": ("scene 4, take 12", "PDF417", "barcode"),
    "DataMatrix": ("TAKE-12", "DATA_MATRIX", "matrix"),
    "Aztec": ("TAKE-12", "AZTEC", "matrix"),
    "MicroQRCode": ("TAKE-12", "MICRO_QR_CODE", "matrix"),
}


@pytest.mark.parametrize("name", ZXING)
@pytest.mark.parametrize("seed", range(3))
def test_codes_of_zxing(name, seed):
    """A code in a photograph, turned and in perspective, is read, and its corners lie near its own, in its order."""
    zxing = pytest.importorskip("zxingcpp", reason="install the extra [barcodes]")
    text, type_, kind = ZXING[name]
    code = np.array(zxing.write_barcode_to_image(zxing.create_barcode(text, getattr(zxing.BarcodeFormat, name)), scale=4))
    wide = 300 if kind == "matrix" else 420
    high = wide * code.shape[0] / code.shape[1]
    turn = np.radians(((0, 8, -12) if kind == "matrix" else (0, 4, -6))[seed])
    frame = np.array([(-wide, -high), (wide, -high), (wide, high), (-wide, high)]) / 2
    corners = frame @ np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))]) + (320, 240)
    corners[2] += (6, 4)
    picture = scenes.laid_into(BOARD, code, corners, noise=2)
    for wanted in ("all", kind):
        found = found_in(picture, kind=wanted)
        assert found.texts == ((type_, text),)
        assert found.rows[0, 0] == markers.KINDS[kind]
        quad = found.rows[0, 8:].reshape(4, 2)
        np.testing.assert_allclose(quad.mean(axis=0), corners.mean(axis=0), atol=0.06 * wide)
        along = corners[1] - corners[0]
        assert np.cos(np.radians(found.rows[0, 7]) - np.arctan2(along[1], along[0])) > 0.97


def test_without_zxing(monkeypatch):
    """Codes that only ZXing reads are refused with what to install; the others are found as before."""
    monkeypatch.setattr(markers, "is_installed", lambda _module: False)
    assert list(markers.unavailable()) == ["kind=matrix"]
    with pytest.raises(Unavailable, match="needs the package zxing-cpp") as caught:
        markers.find_markers(BOARD, kind="matrix")
    assert "td-image-worker[barcodes]" in caught.value.hint
    picture = scenes.laid_into(BOARD, scenes.barcode("4006381333931"), [(40, 100), (440, 110), (436, 310), (36, 300)])
    assert found_in(picture).texts == (("EAN_13", "4006381333931"),)


@pytest.mark.parametrize(
    ("said", "text"), [(b"caf\xc3\xa9", "caf\u00e9"), (b"\x83e\x83X\x83g", "\u30c6\u30b9\u30c8"), (b"\xe9\xff", "\u00e9\u00ff"), ("a", "a")]
)
def test_texts_of_any_encoding(said, text):
    """Codes hold UTF-8, Shift JIS or Latin-1."""
    assert markers._text(said) == text


@settings(max_examples=20, deadline=None)
@given(any_picture())
def test_any_picture(picture):
    """No picture makes the search fail; what is found lies in rows of the right width."""
    found = found_in(picture, inverted=True, overlay="o.png")
    assert found.rows.shape == (len(found.texts), 16)
    assert found.images["overlay"].shape == (*picture.shape[:2], 3)
