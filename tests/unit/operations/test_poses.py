import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import scenes
from tests.pictures import any_picture
from worker.catalog.calibration import Pose
from worker.errors import ArgumentError
from worker.operations import poses
from worker.operations.camera import Camera, to_json

SIZE = (640, 480)
CAMERA = Camera(SIZE, np.array([[700.0, 0, 331], [0, 704, 229], [0, 0, 1]]), np.array([-0.2, 0.06, 0.0008, -0.0006, 0.0]))
LENS = (CAMERA.matrix, CAMERA.distortion)
CALIBRATION = to_json(CAMERA, {})
AXES = np.diag([1.0, -1, -1])


def wanted(**values):
    return Pose(**{"image": "a", "calibration": "c.json", **values})


def matrix_of(row):
    """The matrix of a row, which holds it column by column."""
    return row[14:].reshape(4, 4).T


def check_place(row, where, away=0.01, degrees=0.7):
    """Position within a share of the distance, rotation within some tenths of a degree of what was drawn."""
    true = AXES @ where[1]
    np.testing.assert_allclose(row[5:8], true, atol=away * np.linalg.norm(true))
    turn = AXES @ cv2.Rodrigues(where[0])[0]
    apart = np.degrees(np.linalg.norm(cv2.Rodrigues(matrix_of(row)[:3, :3] @ turn.T)[0]))
    assert apart < degrees


@pytest.mark.parametrize("dictionary", ["6x6_250", "apriltag_36h11"])
@pytest.mark.parametrize("how", [(25.0, 20.0, 10.0), (40.0, 110.0, -50.0), (30.0, 250.0, 170.0)])
def test_a_marker(dictionary, how):
    """A marker of 12 units is found where it is: distance within 1 %, rotation within a degree."""
    where = scenes.facing(60, (6, -4), *how)
    drawn = scenes.marker(getattr(cv2.aruco, f"DICT_{dictionary.upper()}"), 7, side=240, margin=60)
    picture = scenes.photographed(drawn, 20, LENS, where, SIZE)
    (row,) = poses.pose(picture, CALIBRATION, wanted(dictionary=dictionary, size=12.0)).rows
    assert row[0] == 7
    check_place(row, where)
    assert row[12] < 0.3
    assert row[13] < 0.5
    assert row[11] == pytest.approx(np.linalg.norm(where[1]), rel=0.01)
    middle, _ = cv2.projectPoints(np.zeros((1, 3)), *where, *LENS)
    np.testing.assert_allclose(row[1:3], middle.ravel(), atol=0.5)
    np.testing.assert_allclose(row[3:5], ((row[1] + 0.5) / 640, 1 - (row[2] + 0.5) / 480))


def test_facing_is_not_turned():
    """A marker that faces the camera upright is at rx ry rz 0, straight ahead at -z, as in a 3D scene."""
    flat = Camera(SIZE, np.array([[700.0, 0, 319.5], [0, 700, 239.5], [0, 0, 1]]), np.zeros(5))
    drawn = scenes.marker(cv2.aruco.DICT_6X6_250, 3, side=240, margin=60)
    picture = scenes.photographed(drawn, 240, (flat.matrix, flat.distortion), scenes.facing(5, (0.5, 0.25), 0, 0, 0), SIZE)
    (row,) = poses.pose(picture, to_json(flat, {}), wanted(dictionary="6x6_250")).rows
    np.testing.assert_allclose(row[5:8], (0.5, 0.25, -5), atol=0.05)
    np.testing.assert_allclose(row[8:11], (0, 0, 0), atol=6)  # a tilt of so little is hardly seen


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_angles_make_the_matrix(axis):
    """The angles rx ry rz, applied in this order, are the matrix: a camera tilted to one side sees this side's sign."""
    where = scenes.facing(14, (0, 0), 30, (0, 90, 0)[axis], 0) if axis < 2 else scenes.facing(14, (0, 0), 0, 0, 30)
    picture = scenes.photographed(scenes.chessboard(), 60, LENS, where, SIZE)
    (row,) = poses.pose(picture, CALIBRATION, wanted(board="chessboard")).rows
    expected = np.zeros(3)
    expected[axis] = 30
    np.testing.assert_allclose(row[8:11], expected, atol=0.5)
    turns = [cv2.Rodrigues(np.radians(row[8 + n]) * np.eye(3)[n])[0] for n in range(3)]
    np.testing.assert_allclose(turns[2] @ turns[1] @ turns[0], matrix_of(row)[:3, :3], atol=1e-6)
    np.testing.assert_allclose(matrix_of(row)[:3, 3], row[5:8])
    np.testing.assert_allclose(matrix_of(row)[3], (0, 0, 0, 1))


@pytest.mark.parametrize("up", [90.0, -90.0])
def test_straight_up(up):
    """At ry of 90 degrees, where x and z turn the same way, the angles still make the matrix."""
    about = [cv2.Rodrigues(np.radians(angle) * np.eye(3)[n])[0] for n, angle in enumerate((25.0, up, 40.0))]
    matrix = np.eye(4)
    matrix[:3, :3] = about[2] @ about[1] @ about[0]
    turns = [cv2.Rodrigues(np.radians(angle) * np.eye(3)[n])[0] for n, angle in enumerate(poses.turns_of(matrix))]
    np.testing.assert_allclose(turns[2] @ turns[1] @ turns[0], matrix[:3, :3], atol=1e-6)


@pytest.mark.parametrize(
    ("board", "printed", "values"),
    [
        ("chessboard", scenes.chessboard(), {}),
        ("charuco", scenes.charuco(), {}),
        ("circles", scenes.circle_grid(9, 6), {"columns": 9, "rows": 6}),
        ("asymmetric_circles", scenes.circle_grid(4, 7, asymmetric=True), {"columns": 4, "rows": 7}),
    ],
)
def test_boards(board, printed, values):
    """A board is found by all its points, in the unit of its squares."""
    where = scenes.facing(16, (1, -0.5), 30, 60, 12)
    picture = scenes.photographed(printed, 60, LENS, where, SIZE)
    (row,) = poses.pose(picture, CALIBRATION, wanted(board=board, size=25.0, **values)).rows
    check_place(row, (where[0], where[1] * 25), degrees=0.4)
    assert row[13] < 0.5
    assert row[0] == -1


def test_where_the_camera_is():
    """The camera seen from the board is the inverse of the board seen from the camera."""
    where = scenes.facing(16, (1, -0.5), 30, 60, 12)
    picture = scenes.photographed(scenes.chessboard(), 60, LENS, where, SIZE)
    board = poses.pose(picture, CALIBRATION, wanted(board="chessboard")).rows[0]
    lens = poses.pose(picture, CALIBRATION, wanted(board="chessboard", place="camera")).rows[0]
    np.testing.assert_allclose(matrix_of(board) @ matrix_of(lens), np.eye(4), atol=1e-9)
    assert lens[7] > 0  # in front of the board
    assert lens[11] == pytest.approx(board[11])


def test_several_markers():
    """The largest comes first, the limit counts the others, and each has its axes in the overlay."""
    picture = np.full((480, 640, 3), 90, np.uint8)
    for n, (left, side) in enumerate(((30, 120), (250, 200), (500, 90))):
        corners = [(left, 100), (left + side, 110), (left + side, 100 + side), (left, 95 + side)]
        picture = scenes.laid_into(picture, scenes.marker(cv2.aruco.DICT_6X6_250, n), corners)
    found = poses.pose(picture, None, Pose(image="a", field_of_view=50, dictionary="6x6_250", size=10, overlay="o.png"))
    assert found.rows[:, 0].tolist() == [1, 0, 2]
    assert (np.diff(found.rows[:, 11]) > 0).all()
    assert found.images["overlay"].shape == picture.shape
    few = poses.pose(picture, None, Pose(image="a", field_of_view=50, dictionary="6x6_250", max_items=1))
    assert (len(few.rows), few.total) == (1, 3)
    assert not few.images


def test_without_calibration():
    """With the field of view alone the distance is about right."""
    where = scenes.facing(60, (0, 0), 30, 20, 0)
    drawn = scenes.marker(cv2.aruco.DICT_6X6_250, 7, side=240, margin=60)
    picture = scenes.photographed(drawn, 20, (CAMERA.matrix, np.zeros(5)), where, SIZE)
    (row,) = poses.pose(picture, None, Pose(image="a", field_of_view=CAMERA.fields_of_view[0], size=12, dictionary="6x6_250")).rows
    assert row[11] == pytest.approx(60, rel=0.03)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"calibration": ""}, "pose needs calibration or field_of_view, one of them; got neither"),
        ({"field_of_view": 60.0}, "one of them; got both"),
        ({"board": "chessboard", "columns": 3}, "A chessboard needs 4 columns and 4 rows or more"),
    ],
)
def test_refused_before_work(values, words):
    """What cannot be is refused before a picture is read."""
    with pytest.raises(ArgumentError) as caught:
        poses.check(wanted(**values))
    assert words in caught.value.message


@settings(max_examples=40, deadline=None)
@given(any_picture(), st.sampled_from(("markers", "chessboard", "charuco", "circles", "asymmetric_circles")), st.floats(1, 170))
def test_any_picture(picture, board, degrees):
    """No picture makes the search fail; rows are finite."""
    found = poses.pose(picture, None, Pose(image="a", field_of_view=degrees, board=board, overlay="o.png"))
    assert found.rows.shape[1] == 30
    assert np.isfinite(found.rows).all()
    assert found.images["overlay"].shape == (*picture.shape[:2], 3)
