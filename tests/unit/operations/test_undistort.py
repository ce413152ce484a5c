import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import scenes
from tests.pictures import any_picture
from worker.catalog.calibration import Undistort
from worker.errors import ArgumentError
from worker.operations.boards import Board, Finder
from worker.operations.calibration import check_undistort, undistort
from worker.operations.camera import Camera, of_json, projected, rays, to_json

SIZE = (640, 480)
CAMERA = Camera(SIZE, np.array([[700.0, 0, 331], [0, 704, 229], [0, 0, 1]]), np.array([-0.25, 0.08, 0.0008, -0.0006, 0.0]))


def calibrated(camera=CAMERA, **notes):
    return to_json(camera, notes)


def wanted(**values):
    return Undistort(**{"image": "a", "calibration": "c.json", "output": "b.png", **values})


@pytest.fixture(scope="module")
def board():
    """A chessboard through the lens, and where it is."""
    where = scenes.facing(15, (0, 0), 12, 30, 5)
    return scenes.photographed(scenes.chessboard(), 60, (CAMERA.matrix, CAMERA.distortion), where, SIZE, noise=0), where


def bend(picture, columns=9):
    """How many pixels the corners in a row of a chessboard lie off a straight line, at most."""
    sighting = Finder(Board("chessboard", 10, 7, 1.0, 0.0, "auto")).find(picture)
    off = []
    for row in sighting.picture.reshape(-1, columns, 2):
        x, y, left, top = cv2.fitLine(row.astype(np.float32), cv2.DIST_L2, 0, 0.01, 0.01).ravel()
        off.append(np.abs((row - (left, top)) @ (-y, x)).max())
    return max(off)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_straight_is_straight(board, alpha):
    """Lines that the lens bent are straight, and the new camera matrix says where points are in the output."""
    picture, where = board
    found = undistort(picture, calibrated(), wanted(alpha=alpha, new_calibration="n.json"))
    assert bend(picture) > 1
    assert bend(found.images["output"]) < 0.2
    flat = of_json(found.files["new_calibration"])
    assert not flat.distortion.any()
    sighting = Finder(Board("chessboard", 10, 7, 1.0, 0.0, "auto")).find(found.images["output"])
    there = sighting.board @ cv2.Rodrigues(where[0])[0].T + where[1]
    assert np.linalg.norm(projected(flat, there) - sighting.picture, axis=1).max() < 0.3
    np.testing.assert_allclose(found.rows[0, :4], (*flat.matrix[[0, 1], [0, 1]], *flat.matrix[:2, 2]))
    assert flat.matrix[0, 0] / flat.matrix[1, 1] == pytest.approx(700 / 704)


def test_alpha():
    """With alpha 0 no pixel is empty; with 1 the corners of the picture are still in it; crop cuts the empty edges off."""
    white = np.full((480, 640), 255, np.uint8)
    full = undistort(white, calibrated(), wanted()).images["output"]
    assert full.min() == 255
    kept = undistort(white, calibrated(), wanted(alpha=1.0, background="#404040"))
    assert (kept.images["output"] == 64).any()
    corners = rays(CAMERA, np.array([(0.0, 0), (639, 0), (0, 479), (639, 479)])) * kept.rows[0, :2] + kept.rows[0, 2:4]
    assert (corners > -1).all()
    assert (corners < (640, 480)).all()
    cropped = undistort(white, calibrated(), wanted(alpha=1.0, crop=True, background="#404040", new_calibration="n.json"))
    assert cropped.images["output"].min() == 255
    assert cropped.images["output"].shape == tuple(cropped.rows[0, 9:7:-1])
    assert cropped.images["output"].size > 0.8 * white.size
    flat = of_json(cropped.files["new_calibration"])
    assert flat.size == tuple(cropped.rows[0, 8:10])
    np.testing.assert_allclose(flat.matrix[:2, 2], kept.rows[0, 2:4] - kept.rows[0, 6:8], atol=1e-9)


def test_barrel_and_pincushion():
    """A lens that bends the other way is mended as well."""
    pincushion = Camera(SIZE, CAMERA.matrix, np.array([0.2, 0, 0, 0, 0]))
    made = undistort(np.full((480, 640), 255, np.uint8), calibrated(pincushion), wanted(alpha=0.0))
    assert made.images["output"].min() == 255


def test_another_size(board):
    """A picture of half the size is mended with half the matrix; one of other proportions is refused."""
    small = cv2.resize(board[0], (320, 240), interpolation=cv2.INTER_AREA)
    found = undistort(small, calibrated(), wanted())
    whole = undistort(board[0], calibrated(), wanted())
    np.testing.assert_allclose(found.rows[0, :2], whole.rows[0, :2] / 2)
    np.testing.assert_allclose(found.rows[0, 2:4], (whole.rows[0, 2:4] + 0.5) / 2 - 0.5)
    assert cv2.PSNR(found.images["output"], cv2.resize(whole.images["output"], (320, 240), interpolation=cv2.INTER_AREA)) > 30
    with pytest.raises(ArgumentError, match="is of pictures of 640x480 pixels, and this one has 480x640"):
        undistort(np.rot90(board[0]).copy(), calibrated(), wanted())


def test_invisible_colours_do_not_bleed():
    """What is transparent stays so, and its colour is not seen; empty edges are transparent."""
    picture = np.zeros((480, 640, 4), np.uint16)
    picture[:, :320] = (0, 0, 65535, 0)
    picture[:, 320:] = (65535, 0, 0, 65535)
    made = undistort(picture, calibrated(), wanted(alpha=1.0)).images["output"]
    assert made.dtype == np.uint16
    assert made[0, 0, 3] == 0
    assert not made[made[..., 3] > 20000][:, 2].any()


def test_edges_that_cross():
    """Coefficients that turn the picture's edges over are refused, and not drawn."""
    folded = Camera(SIZE, CAMERA.matrix, np.array([-2.5, 0, 0, 0, 0]))
    with pytest.raises(ArgumentError, match="edges of the picture would cross"):
        undistort(np.zeros((480, 640), np.uint8), calibrated(folded), wanted())


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xfe\x00", "The calibration is no JSON file"),
        (b"{", "calibration: the file is no JSON: "),
        (b"[1]", "is JSON, but no calibration"),
        (b'{"kind": "camera"}', 'its "kind" is not "camera calibration"'),
        (calibrated(version=2), "The calibration has version 2; this worker reads version 1"),
        (calibrated(width=0), "width of the calibration must be a whole number of pixels; got 0"),
        (calibrated(height="480"), "height of the calibration must be a whole number of pixels; got 480"),
        (calibrated(camera_matrix=[[1, 0], [0, 1]]), "camera_matrix of the calibration must be 3 x 3 numbers"),
        (calibrated(camera_matrix=[[1, 0, 0], [0, -1, 0], [0, 0, 1]]), "with fx and fy above 0"),
        (calibrated(camera_matrix=[[1, 5, 0], [0, 1, 0], [0, 0, 1]]), "is not fx 0 cx, 0 fy cy, 0 0 1"),
        (calibrated(distortion=[0, 0, 0]), "distortion of the calibration must be 4, 5 or 8 numbers"),
        (calibrated(distortion=["a"] * 5), "distortion of the calibration must be 4, 5 or 8 numbers"),
    ],
)
def test_bad_calibrations(data, words):
    """Each mistake in a calibration file has a sentence."""
    with pytest.raises(ArgumentError) as caught:
        undistort(np.zeros((480, 640), np.uint8), data, wanted())
    assert words in caught.value.message


def test_new_calibration_is_json():
    with pytest.raises(ArgumentError, match=r"new_calibration must end in \.json"):
        check_undistort(wanted(new_calibration="n.txt"))


def test_the_file_is_read_as_it_is_written():
    """All digits come back, and what else stands in the file is for people."""
    held = json.loads(calibrated(note="front camera"))
    assert held["note"] == "front camera"
    back = of_json(calibrated(note="front camera"))
    np.testing.assert_array_equal(back.matrix, CAMERA.matrix)
    np.testing.assert_array_equal(back.distortion, CAMERA.distortion)


@settings(max_examples=40, deadline=None)
@given(any_picture(), st.floats(-0.5, 0.5), st.floats(0, 1), st.booleans())
def test_any_picture(picture, bent, alpha, crop):
    """Any picture of a camera of its size is mended, or refused in a sentence; depth and channels stay."""
    height, width = picture.shape[:2]
    matrix = np.array([[max(width, height), 0, (width - 1) / 2], [0, max(width, height), (height - 1) / 2], [0, 0, 1]])
    lens = Camera((width, height), matrix, np.array([bent, 0, 0, 0, 0]))
    try:
        found = undistort(picture, calibrated(lens), wanted(alpha=alpha, crop=crop))
    except ArgumentError:
        with pytest.raises(ArgumentError, match="edges of the picture would cross"):
            undistort(picture, calibrated(lens), wanted(alpha=alpha, crop=crop))
        return
    made = found.images["output"]
    assert (made.dtype, made.shape[2:]) == (picture.dtype, picture.shape[2:])
    assert np.isfinite(found.rows).all()
    if not crop:
        assert made.shape == picture.shape
