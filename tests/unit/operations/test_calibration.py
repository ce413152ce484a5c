import functools
import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import scenes
from tests.pictures import any_picture
from worker.catalog.calibration import Calibrate
from worker.errors import ArgumentError
from worker.operations import calibration, camera
from worker.operations.boards import Board, Finder
from worker.operations.shapes import Picture

SIZE = (640, 480)
MATRIX = np.array([[700.0, 0, 331], [0, 704, 229], [0, 0, 1]])
LENS = (MATRIX, [-0.18, 0.06, 0.0008, -0.0006, 0.0])
#: From all sides, and in all parts of the picture: distance, aside, tilt, towards, roll.
POSES = (
    (14.0, (0.0, 0.0), 3.0, 0.0, 4.0),
    (16.0, (1.5, 1.0), 32.0, 0.0, -12.0),
    (16.0, (-2.0, 0.5), 32.0, 90.0, 15.0),
    (17.0, (1.0, -1.5), 38.0, 180.0, 8.0),
    (17.0, (-1.5, -1.0), 35.0, 270.0, -20.0),
    (18.0, (2.5, 0.0), 28.0, 45.0, 30.0),
    (18.0, (-2.5, 1.5), 30.0, 225.0, -5.0),
    (20.0, (3.5, -2.0), 25.0, 135.0, 0.0),
)
#: Each board with the pixels of its print in one unit.
BOARDS = {
    "chessboard": (scenes.chessboard(), 60, {"columns": 10, "rows": 7}),
    "charuco": (scenes.charuco(), 60, {"columns": 10, "rows": 7}),
    "circles": (scenes.circle_grid(9, 6), 60, {"columns": 9, "rows": 6}),
    "asymmetric_circles": (scenes.circle_grid(4, 7, 60, asymmetric=True), 60, {"columns": 4, "rows": 7}),
}


def photographs(kind, poses=POSES, lens=LENS, size=SIZE):
    printed, scale, _ = BOARDS[kind]
    for n, (away, *how) in enumerate(poses):
        yield Picture(n, f"shot{n}", scenes.photographed(printed, scale, lens, scenes.facing(away, *how), size, seed=n))


def wanted(kind, **values):
    return Calibrate(**{"image": "a", "output": "c.json", "board": kind, **BOARDS[kind][2], **values})


@functools.cache
def shots_of(kind):
    """The pictures of a board from all sides, made once."""
    return tuple(photographs(kind))


@pytest.fixture(scope="module")
def shots():
    return list(shots_of("chessboard"))


def refusal(pictures, **values):
    with pytest.raises(ArgumentError) as caught:
        calibration.calibrate(iter(pictures), wanted("chessboard", **values))
    return f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("kind", BOARDS)
def test_a_known_camera(kind):
    """A camera with distortion is measured: focal lengths within 1 %, principal point within 4 pixels, and what it sees within a pixel."""
    found = calibration.calibrate(iter(shots_of(kind)), wanted(kind))
    assert len(found.rows) == len(POSES)
    assert not found.skipped
    np.testing.assert_allclose(found.rows[0, 5:7], (MATRIX[0, 0], MATRIX[1, 1]), rtol=0.01)
    np.testing.assert_allclose(found.rows[0, 7:9], (MATRIX[0, 2], MATRIX[1, 2]), atol=4)
    assert (found.rows[:, 0] < 0.3).all()
    lens = camera.of_json(found.files["output"])
    rays = cv2.undistortPoints(np.mgrid[40:600:80, 40:440:80].reshape(2, -1).T[:, None].astype(float), *map(np.asarray, LENS))
    there, _ = cv2.projectPoints(np.dstack([rays, np.ones(rays.shape[:2])]), np.zeros(3), np.zeros(3), lens.matrix, lens.distortion)
    back, _ = cv2.projectPoints(np.dstack([rays, np.ones(rays.shape[:2])]), np.zeros(3), np.zeros(3), MATRIX, np.array(LENS[1]))
    shift = np.linalg.norm((there - back).reshape(-1, 2) - np.median((there - back).reshape(-1, 2), axis=0), axis=1)
    assert shift.max() < 1.5


def test_rows_and_file(shots):
    """A row says where the board was; the file holds the same camera, and the size in which everything is counted."""
    found = calibration.calibrate(iter(shots), wanted("chessboard", size=25.0))
    np.testing.assert_allclose(found.rows[:, 2], [pose[2] for pose in POSES], atol=0.6)
    away = [25 * np.linalg.norm((pose[0], *pose[1])) for pose in POSES]
    np.testing.assert_allclose(found.rows[:, 3], away, rtol=0.01)
    assert (found.rows[:, 1] == 54).all()
    assert found.rows[:, -1].tolist() == list(range(len(POSES)))
    np.testing.assert_allclose(found.rows[0, 14:16], np.degrees(2 * np.arctan(np.array(SIZE) / 2 / (700, 704))), rtol=0.01)
    held = json.loads(found.files["output"])
    np.testing.assert_allclose(np.array(held["camera_matrix"])[[0, 1, 0, 1], [0, 1, 2, 2]], found.rows[0, 5:9])
    assert held["distortion"] == found.rows[0, 9:14].tolist()
    assert (held["width"], held["height"], held["board"]["size"]) == (*SIZE, 25.0)
    assert [shot["name"] for shot in held["images"]] == [f"shot{n}" for n in range(len(POSES))]
    expected = np.sqrt(np.mean(found.rows[:, 0] ** 2))
    assert found.rows[0, 4] == pytest.approx(expected, rel=1e-3)


def test_models(shots):
    """The simple model has two coefficients, the rational one eight in the file."""
    simple = calibration.calibrate(iter(shots), wanted("chessboard", model="simple"))
    assert not simple.rows[0, 11:14].any()
    rational = camera.of_json(calibration.calibrate(iter(shots), wanted("chessboard", model="rational")).files["output"])
    assert rational.distortion.shape == (8,)


def test_left_out(shots):
    """Pictures without the board, and those of another size, do not count; each has its reason, and the file lists them."""
    blank = Picture(8, "blank", np.full((480, 640), 128, np.uint8))
    turned = Picture(9, "turned", np.rot90(shots[0].image).copy())
    found = calibration.calibrate(iter([*shots, blank, turned]), wanted("chessboard"))
    assert list(found.skipped) == [8, 9]
    assert found.skipped[8].message == "blank: no chessboard of 10x7 squares is seen."
    assert found.skipped[9].message == "turned has 480x640 pixels, and most have 640x480."
    assert json.loads(found.files["output"])["left_out"] == [error.message for error in found.skipped.values()]
    assert found.rows[:, -1].tolist() == list(range(8))


def test_max_error(shots):
    """A picture with a large error is left out; the others are solved again, better."""
    bent = shots[3].image.copy()
    x, y = np.meshgrid(np.arange(640, dtype=np.float32), np.arange(480, dtype=np.float32))
    bent = cv2.remap(bent, x + 4 * np.sin(y / 40), y, cv2.INTER_LINEAR)
    pictures = [*shots[:3], Picture(3, "bent", bent), *shots[4:]]
    everything = calibration.calibrate(iter(pictures), wanted("chessboard"))
    best = calibration.calibrate(iter(pictures), wanted("chessboard", max_error=0.5))
    assert list(best.skipped) == [3]
    assert "larger than max_error=0.5" in best.skipped[3].message
    assert best.rows[0, 4] < 0.2 < everything.rows[0, 4]
    assert "fewer than 3 images are left" in refusal(pictures[:4], max_error=0.001)


def test_too_few(shots):
    """Two pictures are too few. If no board is seen at all, the sentence says what is there instead."""
    said = refusal(shots[:2])
    assert said.startswith("calibrate needs 3 images or more that show a chessboard of 10x7 squares; of 2 only 2 do.")
    said = refusal(shots[:3], columns=9, rows=6)
    assert "of 3 none does" in said
    assert "There is a chessboard of 10x7 squares." in said
    assert refusal([]) == "calibrate needs 3 images or more; there is none. "


def test_other_markers():
    """A ChArUco board with markers of another set is named."""
    pictures = list(photographs("charuco", POSES[:1]))
    with pytest.raises(ArgumentError) as caught:
        calibration.calibrate(iter(pictures), wanted("charuco", dictionary="4x4_50"))
    assert "markers of 5x5_1000." in caught.value.hint


def test_one_angle(shots):
    """Pictures from one angle only are refused, whichever angle this is."""
    frontal = list(photographs("chessboard", [(14 + n, (n - 2, 0), 0, 0, 5 * n) for n in range(3)]))
    tilted = list(photographs("chessboard", [(16 + n, (n - 2, 0), 30, 20, 0) for n in range(3)]))
    for pictures in (frontal, tilted):
        said = refusal(pictures)
        assert "the images show the board in too few ways" in said
        assert "tilt it by 20 to 45 degrees" in said


def test_large_pictures():
    """In a large picture the board is found in a smaller copy, and its corners are laid in full size."""
    large = (MATRIX * [[3], [3], [1]], LENS[1])
    (picture,) = photographs("chessboard", POSES[1:2], large, (1920, 1440))
    sighting = Finder(Board("chessboard", 10, 7, 1.0, 0.0, "auto")).find(picture.image)
    pose = scenes.facing(*POSES[1])
    true, _ = cv2.projectPoints(sighting.board, *pose, large[0], np.array(large[1]))
    assert np.linalg.norm(true.reshape(-1, 2) - sighting.picture, axis=1).max() < 0.3


@pytest.mark.parametrize("roll", [0, 60, 150, 200, 300])
def test_which_way_up(roll):
    """A chessboard of odd and even sides has one top left corner, however it is turned."""
    (picture,) = photographs("chessboard", [(18, (0, 0), 20, 30, roll)])
    sighting = Finder(Board("chessboard", 10, 7, 1.0, 0.0, "auto")).find(picture.image)
    true, _ = cv2.projectPoints(sighting.board, *scenes.facing(18, (0, 0), 20, 30, roll), MATRIX, np.array(LENS[1]))
    assert np.linalg.norm(true.reshape(-1, 2) - sighting.picture, axis=1).max() < 0.3


def test_old_charuco():
    """Boards that OpenCV drew before 4.6, with the first square white, are found, too, and parts of boards."""
    printed = scenes.charuco(9, 6, legacy=True)
    picture = scenes.photographed(printed, 60, LENS, scenes.facing(9, (-2, 1), 15), SIZE)
    finder = Finder(Board("charuco", 9, 6, 1.0, 0.0, "auto"))
    for _ in range(2):
        sighting = finder.find(picture)
        true, _ = cv2.projectPoints(sighting.board, *scenes.facing(9, (-2, 1), 15), MATRIX, np.array(LENS[1]))
        assert 12 <= len(sighting.board) < 40
        assert np.linalg.norm(true.reshape(-1, 2) - sighting.picture, axis=1).max() < 0.3


def test_white_circles():
    """A grid of white circles on black is found as well."""
    printed = 255 - scenes.circle_grid(9, 6)
    picture = scenes.photographed(printed, 60, LENS, scenes.facing(16, (0, 0), 15, 60, 10), SIZE)
    assert Finder(Board("circles", 9, 6, 1.0, 0.0, "auto")).find(picture) is not None


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"output": "c.yml"}, "output must end in .json; got 'c.yml'"),
        ({"columns": 3}, "A chessboard needs 4 columns and 4 rows or more; got chessboard of 3x7 squares"),
        ({"board": "charuco", "marker": 1.0}, "marker=1 must be smaller than a square, which has size=1"),
    ],
)
def test_refused_before_work(values, words):
    """What cannot be is refused before a picture is read."""
    with pytest.raises(ArgumentError) as caught:
        calibration.check(wanted("chessboard", **values))
    assert words in caught.value.message


def test_overlay(shots):
    """The sheet has a tile for all points, and one for each picture."""
    assert not calibration.calibrate(iter(shots[:4]), wanted("chessboard")).images
    sheet = calibration.calibrate(iter(shots), wanted("chessboard", overlay="o.png")).images["overlay"]
    assert sheet.shape == (900, 1200, 3)


@settings(max_examples=15, deadline=None)
@given(st.lists(any_picture(), min_size=1, max_size=4), st.sampled_from(tuple(BOARDS)))
def test_any_pictures(pictures, kind):
    """Pictures without a board end in the sentence that says so, and nothing else."""
    with pytest.raises(ArgumentError, match="calibrate needs 3 images or more that show a"):
        calibration.calibrate((Picture(n, f"p{n}", picture) for n, picture in enumerate(pictures)), wanted(kind, overlay="o.png"))
