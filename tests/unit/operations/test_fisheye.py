"""Fisheye lenses: measured, taken out of pictures, and looked through."""

import cv2
import numpy as np
import pytest

from tests import scenes
from worker.catalog.calibration import Calibrate, Pose, Undistort
from worker.errors import ArgumentError
from worker.operations.boards import Board, Finder
from worker.operations.calibration import calibrate, undistort
from worker.operations.camera import Camera, of_json, projected, rays, to_json
from worker.operations.poses import pose
from worker.operations.shapes import Picture

SIZE = (640, 480)
LENS = Camera(SIZE, np.array([[300.0, 0, 326], [0, 301, 233], [0, 0, 1]]), np.array([-0.02, 0.006, -0.003, 0.0005]))
#: Distance, aside, tilt, towards, roll. Some lie far aside, where the lens bends most.
POSES = (
    (7.0, (0.0, 0.0), 3.0, 0.0, 4.0),
    (7.0, (3.0, 2.0), 30.0, 0.0, -12.0),
    (7.0, (-3.5, 1.0), 30.0, 90.0, 15.0),
    (7.0, (2.0, -2.5), 35.0, 180.0, 8.0),
    (7.0, (-3.0, -2.0), 35.0, 270.0, -20.0),
    (8.0, (5.0, 0.0), 25.0, 45.0, 30.0),
    (8.0, (-5.5, 1.5), 30.0, 225.0, -5.0),
    (8.0, (0.0, 4.0), 25.0, 135.0, 0.0),
    (8.0, (0.5, -4.0), 30.0, 300.0, 10.0),
)
PLACES = np.mgrid[20:620:60, 20:460:55].reshape(2, -1).T.astype(float)


def photograph(place, seed=0):
    return scenes.photographed(scenes.chessboard(), 60, (LENS.matrix, LENS.distortion), place, SIZE, seed=seed)


@pytest.fixture(scope="module")
def shots():
    return [Picture(n, f"shot{n}", photograph(scenes.facing(away, *how), n)) for n, (away, *how) in enumerate(POSES)]


def wanted(**values):
    return Calibrate(**{"image": "a", "output": "c.json", "model": "fisheye", "columns": 10, "rows": 7, **values})


def test_a_known_lens(shots):
    """Focal lengths within 1 %, and what it sees within half a pixel wherever boards were; the sheet can be drawn."""
    found = calibrate(iter(shots), wanted(overlay="sheet.png"))
    assert len(found.rows) >= 7  # of the others a part lies outside of the picture
    np.testing.assert_allclose(found.rows[0, 5:7], (300, 301), rtol=0.01)
    assert (found.rows[:, 0] < 0.4).all()
    lens = of_json(found.files["output"])
    assert lens.distortion.shape == (4,)
    there = projected(lens, np.column_stack([rays(LENS, PLACES), np.ones(len(PLACES))]))
    off = np.linalg.norm(there - PLACES, axis=1)
    assert off[np.hypot(*(PLACES - (320, 240)).T) < 300].max() < 0.5
    assert "overlay" in found.images
    np.testing.assert_allclose(found.rows[0, -3:-1], LENS.fields_of_view, rtol=0.01)


def test_as_opencv():
    """What is seen where, and back again, is as in OpenCV."""
    ahead = np.column_stack([rays(LENS, PLACES), np.ones(len(PLACES))])
    theirs = cv2.fisheye.undistortPoints(PLACES[:, None], LENS.matrix, LENS.distortion).reshape(-1, 2)
    np.testing.assert_allclose(ahead[:, :2], theirs, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(projected(LENS, ahead), PLACES, atol=1e-6)


def test_behind():
    """A fisheye lens sees more than half of all directions; what lies behind is placed outward, and nothing is endless."""
    seen = projected(LENS, np.array([[0.0, 0, 1], [1, 0, 0], [1, 0, -0.2]]))
    assert np.isfinite(seen).all()
    assert (np.diff(seen[:, 0]) > 0).all()
    assert np.isfinite(rays(LENS, np.array([[-500.0, 240], [5000, 240]]))).all()


def test_straight_is_straight():
    """In a picture without the distortion the corners of a board lie on straight lines."""
    picture = photograph(scenes.facing(6.5, (1.5, 1.0), 20, 30, 10))
    flat = undistort(picture, to_json(LENS, {}), Undistort(image="a", calibration="c.json", output="b.png")).images["output"]
    bends = []
    for image in (picture, flat):
        sighting = Finder(Board("chessboard", 10, 7, 1.0, 0.0, "auto")).find(image)
        off = []
        for row in sighting.picture.reshape(-1, 9, 2):
            line = np.polynomial.Polynomial.fit(row[:, 0], row[:, 1], 1)
            off.append(np.abs(line(row[:, 0]) - row[:, 1]).max())
        bends.append(max(off))
    assert bends[0] > 3
    assert bends[1] < 0.8


def test_where_a_board_is():
    """`pose` says where it is, far aside, too."""
    away, aside = 8.0, (4.0, -2.5)
    where = scenes.facing(away, aside, 25, 40, 5)
    values = {"image": "a", "calibration": "c.json", "board": "chessboard", "columns": 10, "rows": 7}
    found = pose(photograph(where), to_json(LENS, {}), Pose(**values))
    assert len(found.rows) == 1
    np.testing.assert_allclose(found.rows[0, 5:8], (*aside, -away), rtol=0.02, atol=0.05)


def test_too_much_alike(shots):
    """Boards from one side do not measure a lens."""
    with pytest.raises(ArgumentError, match="the images show the board in too few ways"):
        calibrate(iter([shots[0]] * 4), wanted())
