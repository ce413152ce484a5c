import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.matching import Align, FindObject, MatchFeatures, Stitch
from worker.errors import ArgumentError
from worker.operations import features, matching
from worker.operations.homography import outline, project
from worker.operations.marks import MARK
from worker.operations.shapes import Picture

DATA = Path(__file__).parents[2] / "data"
METHODS = ("sift", "orb")


def sample(name):
    return cv2.imread(str(DATA / name), cv2.IMREAD_UNCHANGED)


def graffiti():
    """Two views of a wall, and the measured homography from the first to the second."""
    storage = cv2.FileStorage(str(DATA / "H1to3p.xml"), cv2.FILE_STORAGE_READ)
    homography = storage.getFirstTopLevelNode().mat()
    storage.release()
    return sample("graf1.jpg"), sample("graf3.jpg"), homography


def placed(thing, background, seed, size=(800, 640)):
    """A thing laid into another picture at random: turned, scaled, in perspective, with noise; and where its corners are."""
    random = np.random.default_rng(seed)
    turn, scale = random.uniform(0, 2 * np.pi), random.uniform(0.6, 1.6)
    corners = outline(thing)
    turned = (corners - corners.mean(axis=0)) @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * scale
    target = turned + np.array(size) / 2 + random.uniform(-20, 20, (4, 2)) * scale
    transform = cv2.getPerspectiveTransform(corners.astype(np.float32), target.astype(np.float32))
    picture = cv2.resize(background, size)
    inside = cv2.warpPerspective(np.full_like(thing, 255), transform, size)
    picture = np.where(inside > 0, cv2.warpPerspective(thing, transform, size), picture)
    return np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8), target


@pytest.mark.parametrize("method", METHODS)
def test_homography(method):
    """The corners of one view of a wall, mapped onto the other one, are less than 3 pixels from where they were measured."""
    first, second, measured = graffiti()
    rows = matching.match_features(second, first, MatchFeatures(image="b", reference="a", method=method)).rows
    assert rows.shape == (1, 11)
    found = rows[0, 2:].reshape(3, 3)
    assert found[2, 2] == 1
    apart = np.linalg.norm(project(found, outline(first)) - project(measured, outline(first)), axis=1)
    assert apart.max() < 3


def test_large_pictures(monkeypatch):
    """Pictures that are too large are matched at a smaller size; the answer is in their own pixels, as precise as it was."""
    first, second, measured = graffiti()
    monkeypatch.setattr(matching, "_MATCHED", 0.3)
    values = {"image": "b", "reference": "a"}
    found = matching.match_features(second, first, MatchFeatures(**values, warped="w.png")).rows[0, 2:].reshape(3, 3)
    corners = project(measured, outline(first))
    assert np.linalg.norm(project(found, outline(first)) - corners, axis=1).max() < 3
    thing = sample("box.png")  # small enough to stay as it is
    scene = cv2.resize(thing, None, fx=3, fy=4, interpolation=cv2.INTER_CUBIC)
    scene = cv2.copyMakeBorder(scene, 90, 10, 50, 20, cv2.BORDER_CONSTANT, value=60)
    rows = matching.find_object(scene, thing, FindObject(**values)).rows
    assert np.abs(rows[:, :2] - [(49.5, 89.5), (1021.5, 89.5), (1021.5, 981.5), (49.5, 981.5)]).max() < 3


def test_written():
    """The pictures and the table of matches are made only if they are asked for; the warped one shows the same as the reference."""
    first, second, _ = graffiti()
    assert not matching.match_features(second, first, MatchFeatures(image="b", reference="a")).images
    wanted = MatchFeatures(image="b", reference="a", overlay="o.png", warped="w.png", matches="m.csv")
    found = matching.match_features(second, first, wanted)
    assert found.images["overlay"].shape == (640, 1600, 3)
    middle = np.s_[200:440, 200:600]
    assert cv2.absdiff(found.images["warped"][middle], first[middle]).mean() < cv2.absdiff(second[middle], first[middle]).mean() / 3
    lines = found.files["matches"].decode().splitlines()
    assert lines[0] == "x,y,reference_x,reference_y"
    assert len(lines) - 1 == found.rows[0, 0]


@pytest.mark.parametrize("method", METHODS)
def test_nothing_in_common(method):
    """Pictures of different things give no row, whichever is which; an overlay shows both."""
    for first, second in (("smarties.png", "board.jpg"), ("board.jpg", "graf1.jpg"), ("box.png", "board.jpg")):
        wanted = MatchFeatures(image="b", reference="a", method=method, overlay="o.png", warped="w.png", matches="m.csv")
        found = matching.match_features(sample(second), sample(first), wanted)
        assert found.rows.shape == (0, 11)
        assert (found.images["overlay"] == MARK).all(axis=2).any()  # it says that they have nothing in common
        assert not found.images["warped"].any()
        assert found.files["matches"].count(b"\n") == 1
        assert matching.find_object(sample(second), sample(first), FindObject(image="b", reference="a", method=method)).rows.shape == (0, 6)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("seed", range(8))
def test_object(method, seed):
    """A thing laid into another picture is found, its corners to half a pixel, in the order of the reference."""
    picture, corners = placed(sample("box.png"), cv2.cvtColor(sample("board.jpg"), cv2.COLOR_BGR2GRAY), seed)
    rows = matching.find_object(picture, sample("box.png"), FindObject(image="b", reference="a", method=method)).rows
    assert rows.shape == (4, 6)
    assert np.linalg.norm(rows[:, :2] - corners, axis=1).max() < 0.5
    np.testing.assert_allclose(rows[:, 2], (rows[:, 0] + 0.5) / 800)
    np.testing.assert_allclose(rows[:, 3], 1 - (rows[:, 1] + 0.5) / 640)


def test_dull_object_in_a_busy_scene():
    """A thing with little contrast is found in a picture that has thousands of stronger corners elsewhere."""
    random = np.random.default_rng(3)
    thing = (110 + 0.12 * (sample("board.jpg")[100:340, 160:480].mean(axis=2) - 110)).astype(np.uint8)
    scene = cv2.resize(random.integers(0, 256, (130, 173), np.uint8), (1200, 900), interpolation=cv2.INTER_CUBIC)
    scene[300:540, 500:820] = thing[::-1, ::-1]  # upside down
    rows = matching.find_object(scene, thing, FindObject(image="b", reference="a")).rows
    assert len(rows) == 4
    corners = np.array([(819.5, 539.5), (499.5, 539.5), (499.5, 299.5), (819.5, 299.5)])
    assert np.linalg.norm(rows[:, :2] - corners, axis=1).max() < 3


def test_real_object():
    """A box in a real scene, half of it at an angle and one corner hidden."""
    rows = matching.find_object(sample("box_in_scene.png"), sample("box.png"), FindObject(image="b", reference="a")).rows
    assert np.abs(rows[:, :2] - [(118, 160), (285, 175), (267, 298), (89, 272)]).max() < 3
    assert rows[0, 4] > 0.8


def test_several_objects():
    """Two of the same kind are two objects; the limit holds."""
    scene = np.hstack([sample("box_in_scene.png")] * 2)
    rows = matching.find_object(scene, sample("box.png"), FindObject(image="b", reference="a", max_items=5)).rows
    assert rows[:, 5].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert abs(abs(rows[0, 0] - rows[4, 0]) - 512) < 1
    assert len(matching.find_object(scene, sample("box.png"), FindObject(image="b", reference="a")).rows) == 4


def test_object_marked():
    """The outline is drawn where the corners are, on a copy."""
    scene = sample("box_in_scene.png")
    rows = np.array([[10, 10, 0, 0, 1, 0], [60, 10, 0, 0, 1, 0], [60, 60, 0, 0, 1, 0], [10, 60, 0, 0, 1, 0]], float)
    marked = matching.mark_objects(scene, scene, rows)
    assert marked.shape == (384, 512, 3)
    assert np.abs(marked[10, 40].astype(int) - matching.MARK).max() < 30
    assert (marked[30, 30] == scene[30, 30]).all()
    assert (matching.mark_objects(scene, scene, np.empty((0, 6))) == scene[..., None]).all()


@pytest.mark.parametrize(("motion", "turn"), [("perspective", 7.0), ("similarity", 7.0), ("shift", 0.0)])
def test_align(motion, turn):
    """A picture that was turned, scaled and moved is laid back onto the first one, as far as the motion allows."""
    board = sample("board.jpg")
    transform = cv2.getRotationMatrix2D((320, 240), -turn, 1.1 if turn else 1.0) + np.array([[0, 0, 12.25], [0, 0, -5.5]])
    moved = cv2.warpAffine(board, transform, (640, 480), flags=cv2.INTER_CUBIC)
    found = matching.align(moved, board, Align(image="b", reference="a", output="o.png", motion=motion))
    output, middle = found.images["output"], np.s_[120:360, 160:480]
    assert output.shape == board.shape
    assert cv2.PSNR(output[middle], board[middle]) > 25 > cv2.PSNR(moved[middle], board[middle])
    laid, matches, shift_x, shift_y, turned = found.rows[0]
    assert laid == 1
    assert matches > 100
    assert (shift_x, shift_y) == pytest.approx((12.25, -5.5), abs=0.6)
    assert turned == pytest.approx(turn, abs=0.1)


@pytest.mark.parametrize("way", [(-30, 20), (24, -16)])
def test_align_behind_a_thing_that_moves(way):
    """Half of the picture is one large thing that went its own way: what surrounds it is laid onto the reference."""
    board, thing = sample("board.jpg"), cv2.resize(sample("astronaut.jpg"), (450, 340))
    transform = cv2.getRotationMatrix2D((320, 240), 2.0, 1.0) + np.array([[0, 0, 9.0], [0, 0, -6.0]])
    moved = cv2.warpAffine(board, transform, (640, 480), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    reference = board.copy()
    for picture, (x, y) in ((reference, (95, 70)), (moved, (95 + way[0], 70 + way[1]))):
        picture[y : y + 340, x : x + 450] = thing
    row = matching.align(moved, reference, Align(image="b", reference="a", output="o.png")).rows[0]
    assert row[2:4] == pytest.approx(transform @ (319.5, 239.5, 1) - (319.5, 239.5), abs=0.6)


def test_align_stranger():
    """A picture of something else becomes a black one, and the row says that it was not laid onto the reference."""
    stranger = cv2.cvtColor(sample("graf1.jpg"), cv2.COLOR_GRAY2BGR)
    found = matching.align(stranger, sample("board.jpg"), Align(image="b", reference="a", output="o.png"))
    assert found.images["output"].shape == (480, 640, 3)
    assert not found.images["output"].any()
    assert found.rows.tolist() == [[0, 0, 0, 0, 0]]


def pieces(*lefts):
    board = sample("board.jpg")
    return (Picture(n, str(n), board[60:420, left : left + 280]) for n, left in enumerate(lefts))


def test_stitch():
    """Overlapping pieces of a picture become one again, about as wide as they reach; nothing black is left at the edges."""
    panorama = matching.stitch(pieces(0, 120, 240, 350), Stitch(image="a", output="o.png", mode="scans", crop=True)).images["output"]
    height, width = panorama.shape[:2]
    assert 620 <= width <= 640
    assert 350 <= height <= 370
    for edge in (panorama[0], panorama[-1], panorama[:, 0], panorama[:, -1]):
        assert (edge.max(axis=1) > 0).mean() > 0.95


def views(picture, turns, seed=0):
    """What a camera sees that stands in front of a picture and turns by these degrees, with noise and in other light each time."""
    random = np.random.default_rng(seed)
    height, width = picture.shape[:2]
    there, here = (np.array([[700, 0, x], [0, 700, y], [0, 0, 1.0]]) for x, y in ((width / 2, height / 2), (240, 180)))
    for number, turn in enumerate(np.radians(turns)):
        rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
        view = cv2.warpPerspective(
            picture, there @ rotation @ np.linalg.inv(here), (480, 360), flags=cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        )
        lit = view * random.uniform(0.8, 1.1) + random.normal(0, 2, view.shape)
        yield Picture(10 + number, str(number), np.clip(lit, 0, 255).astype(np.uint8))


def test_stitch_in_any_order_without_strangers():
    """Views of a camera that turns, in the wrong order and with a picture of something else among them: all of them are joined, and the
    other one is skipped with the reason. The stitcher of OpenCV left the wall out.
    """
    wall = cv2.resize(cv2.cvtColor(sample("graf1.jpg"), cv2.COLOR_GRAY2BGR), (1000, 800))
    first, second, third = views(wall, (-16, 0, 16))
    stranger = Picture(13, "13", cv2.resize(sample("astronaut.jpg"), (480, 360)))
    found = matching.stitch(iter([third, stranger, first, second]), Stitch(image="a", output="o.png"))
    assert set(found.skipped) == {13}
    assert "not in the panorama" in str(found.skipped[13])
    height, width = found.images["output"].shape[:2]
    assert 840 < width < 900  # 38 degrees and twice 16 at 700 pixels
    assert 340 < height < 420


def test_stitch_nearly_the_same():
    """Neighbours that share nine tenths are joined, as is a picture that is there twice; OpenCV's matcher drops what fits too well."""
    wall = cv2.resize(cv2.cvtColor(sample("graf1.jpg"), cv2.COLOR_GRAY2BGR), (1000, 800))
    first, second, third = views(wall, (0, 4, 20))
    found = matching.stitch(iter([first, second, third, Picture(13, "13", third.image)]), Stitch(image="a", output="o.png"))
    assert not found.skipped
    assert 680 < found.images["output"].shape[1] < 740


def test_no_camera_that_turns():
    """Two views of a wall from two places are no panorama: that is said, and no small crumpled picture comes out."""
    first, third, _ = graffiti()
    pictures = [Picture(n, str(n), cv2.cvtColor(one, cv2.COLOR_GRAY2BGR)) for n, one in enumerate((first, third))]
    with pytest.raises(ArgumentError, match="no camera"):
        matching.stitch(iter(pictures), Stitch(image="a", output="o.png"))


@pytest.mark.parametrize("seed", [39, 66, 3])
def test_no_endless_panorama(seed):
    """Odd pieces of a flat thing, turned, mirrored and resized, are refused or joined, but never strewn over a wide black picture."""
    random = np.random.default_rng(seed)
    count, board = int(random.integers(2, 6)), sample("board.jpg")
    whole = cv2.resize(board, None, fx=random.uniform(0.3, 2), fy=random.uniform(0.3, 2))
    parts = []
    for number in range(count):
        high, wide = (int(random.integers(16, min(most, side))) for most, side in zip((400, 500), whole.shape[:2], strict=True))
        top, left = (int(random.integers(0, side - size + 1)) for side, size in zip(whole.shape[:2], (high, wide), strict=True))
        part = whole[top : top + high, left : left + wide]
        if random.random() < 0.2:
            part = np.rot90(part, int(random.integers(4)))
        if random.random() < 0.2:
            part = part[:, ::-1]
        if random.random() < 0.15:
            part = np.zeros_like(part)
        if random.random() < 0.2:
            part = cv2.resize(np.ascontiguousarray(part), None, fx=random.uniform(0.5, 2), fy=random.uniform(0.5, 2))
        parts.append(Picture(number, str(number), np.ascontiguousarray(part)))
    with contextlib.suppress(ArgumentError):
        output = matching.stitch(iter(parts), Stitch(image="a", output="o.png")).images["output"]
        assert output.shape[1] < 2.5 * sum(max(part.image.shape[:2]) for part in parts)


@pytest.mark.parametrize("mode", ["panorama", "scans"])
def test_stitch_any_kinds(mode):
    """Grey, 16 bits, alpha and other sizes are joined; flat, black and noisy ones are refused in a sentence."""
    left, right, small = (picture.image for picture in pieces(0, 100, 200))
    mixed = [left[..., 1], right.astype(np.uint16) * 257, np.dstack([small, np.full(small.shape[:2], 90, np.uint8)])]
    found = matching.stitch((Picture(n, str(n), one) for n, one in enumerate(mixed)), Stitch(image="a", output="o.png", mode="scans"))
    assert not found.skipped
    assert 470 <= found.images["output"].shape[1] <= 490
    noise = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3), np.uint8)
    for pair in ([np.zeros((40, 50), np.uint8)] * 2, [np.full((16, 300, 3), 90, np.uint8)] * 2, list(noise)):
        with pytest.raises(ArgumentError, match="could not be stitched") as refused:
            matching.stitch((Picture(n, str(n), one) for n, one in enumerate(pair)), Stitch(image="a", output="o.png", mode=mode))
        assert f"mode={mode}" not in refused.value.hint  # the other one is recommended


@pytest.mark.parametrize(("lefts", "words"), [((0,), "needs two pictures or more"), ((0, 350), "could not be stitched")])
def test_not_stitched(lefts, words):
    """One picture, or pictures that share nothing, are refused with the reason."""
    with pytest.raises(ArgumentError, match=words):
        matching.stitch(pieces(*lefts), Stitch(image="a", output="o.png"))


def test_missing_method(monkeypatch):
    """A method that this build of OpenCV lacks is listed and refused."""
    monkeypatch.setattr(features, "_creator", lambda name: None if name == "AKAZE_create" else getattr(cv2, name, None))
    assert "does not contain AKAZE" in matching.unavailable()["method=akaze"]
    with pytest.raises(ArgumentError, match="does not contain AKAZE"):
        matching.check(MatchFeatures(image="b", reference="a", method="akaze"))


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.sampled_from((None, 3, 4)),
    st.sampled_from(("u1", "u2")),
)
def test_any_picture(seed, size, channels, kind):
    """No picture makes a match fail: small ones, noise, alpha and 16 bits."""
    random = np.random.default_rng(seed)
    shape = size if channels is None else (*size, channels)
    first, second = (random.integers(0, np.iinfo(kind).max, shape, dtype=kind) for _ in range(2))
    for method in METHODS:
        values = {"image": "b", "reference": "a", "method": method}
        assert matching.match_features(second, first, MatchFeatures(**values, overlay="o.png", warped="w.png")).rows.shape[1] == 11
        assert matching.find_object(second, first, FindObject(**values)).rows.shape[1] == 6
        assert matching.align(second, first, Align(**values, output="o.png")).images["output"].shape[:2] == size


@pytest.mark.parametrize("seed", [0, 3])
def test_object_in_the_dark(seed):
    """A thing in a scene of a tenth of its brightness is found: the pictures are stretched before points are looked for."""
    picture, corners = placed(sample("box.png"), cv2.cvtColor(sample("board.jpg"), cv2.COLOR_BGR2GRAY), seed)
    for dark in ((picture * 0.07 + 4).astype(np.uint8), (picture * 4.0 + 300).astype(np.uint16)):
        rows = matching.find_object(dark, sample("box.png"), FindObject(image="b", reference="a")).rows
        assert rows.shape == (4, 6)
        assert np.linalg.norm(rows[:, :2] - corners, axis=1).max() < 3


@pytest.mark.parametrize("turns", [(1, 0), (0, 3, 0), (2, 0, 0)])
def test_stitch_pictures_that_lie_on_their_sides(turns):
    """Pictures of a camera that was held upright for some of them are turned, and the panorama stands as most of them do."""
    wall = cv2.resize(cv2.cvtColor(sample("graf1.jpg"), cv2.COLOR_GRAY2BGR), (1000, 800))
    seen = [
        Picture(one.n, one.name, np.ascontiguousarray(np.rot90(one.image, turn)))
        for one, turn in zip(views(wall, (-16, 0, 16)), turns, strict=False)
    ]
    found = matching.stitch(iter(seen), Stitch(image="a", output="o.png"))
    assert not found.skipped
    height, width = sorted(found.images["output"].shape[:2])
    assert 640 + 200 * (len(turns) - 2) < width < 700 + 200 * (len(turns) - 2)
    assert 340 < height < 420
