import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.motion import FindMotion, OpticalFlow
from worker.errors import ArgumentError
from worker.operations import motion

DATA = Path(__file__).parents[2] / "data"
FINER = 4


def sample(name, size):
    return cv2.resize(cv2.imread(str(DATA / name)), size, interpolation=cv2.INTER_AREA)


GROUND, THING = sample("board.jpg", (640, 480)), sample("graf1.jpg", (150, 120))


def scene(*places, ground=GROUND, thing=THING):
    """The thing at places, x and y of its top left corner in fractions of a pixel, before the ground; as a camera averages it."""
    fine = cv2.resize(ground, None, fx=FINER, fy=FINER, interpolation=cv2.INTER_CUBIC)
    for x, y in places:
        half = (FINER - 1) / 2
        laid = np.array([[FINER, 0, x * FINER + half], [0, FINER, y * FINER + half]])
        seen = cv2.warpAffine(thing, laid, fine.shape[1::-1], flags=cv2.INTER_CUBIC)
        within = cv2.warpAffine(np.full(thing.shape[:2], 255, np.uint8), laid, fine.shape[1::-1])
        fine = np.where(within[..., None] > 127, seen, fine)
    return cv2.resize(fine, ground.shape[1::-1], interpolation=cv2.INTER_AREA)


def with_noise(picture, deviation, seed):
    return np.clip(picture + np.random.default_rng(seed).normal(0, deviation, picture.shape), 0, 255).astype(np.uint8)


def moved(after, before, **values):
    return motion.find_motion(after, before, FindMotion(image="a", **values))


def flow(after, before, **values):
    return motion.optical_flow(after, before, OpticalFlow(image="a", **values))


# ------------------------------------------------------------------------------------------------------------- things that moved


def check_thing(row, start, step, size=(150, 120), atol=0.3):
    """The box covers where the thing was and is, and the motion is that of the thing."""
    (x, y), (dx, dy), (width, height) = start, step, size
    left, top, wide, high = row[5:9]
    assert left == pytest.approx(min(x, x + dx), abs=4)
    assert top == pytest.approx(min(y, y + dy), abs=4)
    assert left + wide == pytest.approx(max(x, x + dx) + width, abs=4)
    assert top + high == pytest.approx(max(y, y + dy) + height, abs=4)
    np.testing.assert_allclose(row[9:11], step, atol=atol)
    assert row[11] == pytest.approx(np.hypot(*row[9:11]))
    assert row[12] > 0.6


@pytest.mark.parametrize("step", [(7.3, -4.2), (20.5, 12.25), (-15.0, 3.5)])
def test_a_thing(step):
    """Something that moved is found where it is and was, with its motion; the ground stands still."""
    found = moved(scene((200 + step[0], 150 + step[1])), scene((200, 150)), mask="m.png", overlay="o.png")
    (row,) = found.rows
    check_thing(row, (200, 150), step)
    mask = found.images["mask"]
    assert set(np.unique(mask)) == {0, 255}
    assert not mask[:, :150].any()
    assert row[13] == pytest.approx(row[4] / mask.size)
    np.testing.assert_allclose(row[2:4], ((row[0] + 0.5) / 640, 1 - (row[1] + 0.5) / 480))
    assert (found.images["overlay"] != scene((200 + step[0], 150 + step[1]))).any()


def test_light_and_noise():
    """Less light with another tint, and noise, are no motion; what moved meanwhile is found as before."""
    before, after = scene((200, 150)), scene((210.5, 158))
    darker = with_noise(after * np.array([0.7, 0.8, 0.75]) + (12, 4, 0), 7, 1)
    still = with_noise(before * np.array([0.7, 0.8, 0.75]) + (12, 4, 0), 7, 2)
    noisy = with_noise(before, 7, 3)
    assert len(moved(still, noisy).rows) == 0
    (row,) = moved(darker, noisy).rows
    check_thing(row, (200, 150), (10.5, 8))
    assert len(moved(still, noisy, light="steady").rows) > 0


def test_local_light():
    """A lamp that makes one side brighter is no motion with light=local, and a thing in it is still found."""
    before, after = scene((200, 150)), scene((212, 150))
    lamp = 1 + 0.5 * np.exp(-(((np.arange(640) - 500) / 200) ** 2))[None, :, None]
    lit, still = (np.clip(one * 0.6 * lamp, 0, 255).astype(np.uint8) for one in (after, before))
    before = (before * 0.6).astype(np.uint8)
    assert moved(still, before).rows[:, 13].sum() > 0.02
    assert len(moved(still, before, light="local").rows) == 0
    largest = moved(lit, before, light="local").rows[0]
    np.testing.assert_allclose(largest[9:11], (12, 0), atol=0.5)


def test_grey_and_deep_pictures():
    """Grey pictures, those of 16 bits, and those with alpha are compared as well."""
    before, after = scene((200, 150)), scene((212, 150))
    for change in (
        lambda picture: cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY),
        lambda picture: picture.astype(np.uint16) * 257,
        lambda picture: np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)]),
    ):
        np.testing.assert_allclose(moved(change(after), change(before)).rows[0, 9:11], (12, 0), atol=0.3)


def test_several_things():
    """Each thing is a row, the largest first; the limit counts the others, and small changes are left out."""
    small = cv2.resize(THING, (60, 50))
    before = scene((60, 50), ground=scene((400, 300), thing=small))
    after = scene((66, 50), ground=scene((400, 307), thing=small))
    found = moved(after, before)
    np.testing.assert_allclose(found.rows[:, 9:11], [(6, 0), (0, 7)], atol=0.3)
    few = moved(after, before, max_items=1)
    assert (len(few.rows), few.total) == (1, 2)
    assert len(moved(after, before, min_area=found.rows[1, 4] + 1).rows) == 1


def test_it_came_from_nowhere():
    """A thing that was not there before is found; that it moved is not sure."""
    (row,) = moved(scene((200, 150)), GROUND).rows
    assert row[12] < 0.6
    assert row[4] > 0.7 * 150 * 120


def test_large_pictures():
    """Lengths and places in a large picture, which is looked at smaller, are those of the picture itself."""
    before, after = (cv2.resize(scene(place), (1920, 1440), interpolation=cv2.INTER_CUBIC) for place in ((200, 150), (210, 145)))
    found = moved(after, before, mask="m.png")
    (row,) = found.rows
    check_thing((*row[:5], *row[5:9] / 3, *row[9:11] / 3, row[11] / 3, row[12]), (200, 150), (10, -5))
    assert found.images["mask"].shape == (1440, 1920)
    assert row[4] > 9 * 3000


def test_nothing_before():
    """The first picture of a series has nothing to be compared with: no rows, a black mask, and its own picture as overlay."""
    found = moved(GROUND, None, mask="m.png", overlay="o.png")
    assert found.rows.shape == (0, 14)
    assert not found.images["mask"].any()
    np.testing.assert_array_equal(found.images["overlay"], GROUND)


# ------------------------------------------------------------------------------------------------------- motion of each pixel


@pytest.mark.parametrize("step", [(7.3, -4.2), (1.4, 0.6), (20.5, 12.25)])
def test_flow_of_a_patch(step):
    """The motion of a moved patch is measured within 0.2 pixels all over it, and the ground is still."""
    found = flow(scene((200 + step[0], 150 + step[1])), scene((200, 150)), step=8)
    x, y = found.rows[:, 0], found.rows[:, 1]
    left, top = 200 + step[0], 150 + step[1]
    inside = (x > left + 16) & (x < left + 134) & (y > top + 16) & (y < top + 104)
    assert inside.sum() > 100
    np.testing.assert_allclose(np.median(found.rows[inside, 4:6], axis=0), step, atol=0.2)
    assert np.abs(found.rows[inside, 4:6] - step).max(axis=1).mean() < 0.2
    assert (found.rows[inside, 8] < 1).all()
    outside = (y < 100) | (x < 150)
    assert np.abs(found.rows[outside, 4:6]).max() < 0.2


def test_rows_of_the_flow():
    """Vectors stand on a grid in the middle of the picture; length and angle are theirs; short ones can be left out."""
    after, before = scene((206, 158)), scene((200, 150))
    found = flow(after, before, step=40)
    assert len(found.rows) == 16 * 12
    assert found.rows[0, 0] + found.rows[-1, 0] == pytest.approx(639, abs=1)
    np.testing.assert_allclose(found.rows[:, 6], np.hypot(found.rows[:, 4], found.rows[:, 5]))
    moving = flow(after, before, step=40, min_length=5).rows
    assert 0 < len(moving) < 20
    np.testing.assert_allclose(np.median(moving[:, 7]), np.degrees(np.arctan2(8, 6)), atol=1.5)
    few = flow(after, before, step=40, max_items=10)
    assert (len(few.rows), few.total) == (10, 192)


def test_mean():
    """With step 0 the one row is the mean of all: that of a camera that moved."""
    (row,) = flow(GROUND[20:420, 30:530], GROUND[25:425, 24:524], step=0).rows
    np.testing.assert_allclose(row[4:6], (-6, 5), atol=0.5)
    np.testing.assert_allclose(row[:2], (249.5, 199.5))


@pytest.mark.parametrize("up", [True, False])
def test_files(up):
    """The same motion in each kind of file: red is x, green is y, up or down."""
    after, before = scene((206.5, 158)), scene((200, 150))
    exact = np.load(io.BytesIO(flow(after, before, flow="f.npy", up=up).files["flow"]))
    assert (exact.dtype, exact.shape) == (np.float32, (480, 640, 2))
    np.testing.assert_allclose(np.median(exact[180:250, 230:330].reshape(-1, 2), axis=0), (6.5, -8 if up else 8), atol=0.1)
    found = flow(after, before, flow="f.png", up=up, range=16.0)
    picture = found.images["flow"]
    assert not found.files
    assert picture.dtype == np.uint16
    np.testing.assert_allclose((picture[..., :0:-1] / 65535 - 0.5) * 32, np.clip(exact, -16, 16), atol=0.001)
    assert not picture[..., 0].any()


def test_exr(tmp_path):
    """The texture of 32 bits holds pixels, as they are."""
    openexr = pytest.importorskip("OpenEXR", reason="reads the file as another library does; it comes with the extra `test`")
    found = flow(scene((206.5, 158)), scene((200, 150)), flow="f.exr", up=False)
    (tmp_path / "f.exr").write_bytes(found.files["flow"])
    with openexr.File(str(tmp_path / "f.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    assert set(channels) == {"R", "G"}
    exact = np.load(io.BytesIO(flow(scene((206.5, 158)), scene((200, 150)), flow="f.npy", up=False).files["flow"]))
    np.testing.assert_array_equal(np.dstack([channels["R"], channels["G"]]), exact)


def test_wheel():
    """What moves to the right is red, what moves down has another hue, and what stands still is black."""
    right = flow(scene((216, 150)), scene((200, 150)), wheel="w.png", range=16.0).images["wheel"]
    b, g, r = np.median(right[180:240, 240:330].reshape(-1, 3), axis=0)
    assert r > 220
    assert max(b, g) < 40
    assert right[:100].max() < 10
    down = flow(scene((200, 162)), scene((200, 150)), wheel="w.png", range=16.0).images["wheel"]
    assert np.median(down[190:240, 220:330, 1]) > 150


def test_no_flow_before():
    """The first picture of a series has no vectors; what is written says that nothing moved."""
    found = flow(GROUND, None, flow="f.npy", wheel="w.png", overlay="o.png")
    assert found.rows.shape == (0, 9)
    assert not np.load(io.BytesIO(found.files["flow"])).any()
    assert not found.images["wheel"].any()


# ------------------------------------------------------------------------------------------------------------------------- both


@pytest.mark.parametrize("compare", [moved, flow])
def test_sizes_differ(compare):
    """Pictures of different sizes cannot be compared, and the sentence has both sizes."""
    with pytest.raises(ArgumentError, match="compares pictures of the same size; this one has 640x480 pixels, the other 320x240"):
        compare(GROUND, GROUND[:240, :320])


def test_ending():
    """Motion is written under the endings that hold it."""
    with pytest.raises(ArgumentError, match=r"flow must end in one of \.exr \.npy \.png \.tif \.tiff; got 'f\.jpg'"):
        motion.check_flow(OpticalFlow(image="a", flow="f.jpg"))


@settings(max_examples=60, deadline=None)
@given(any_picture(), st.integers(0, 2**32 - 1), st.sampled_from(("steady", "changes", "local")), st.floats(0, 40))
def test_any_pictures(picture, seed, light, join):
    """No two pictures make the search fail; rows are finite, and pictures have the size of the first one."""
    other = np.random.default_rng(seed).permuted(picture, axis=seed % 2)
    found = moved(picture, other, light=light, join=join, mask="m.png", overlay="o.png", min_area=1)
    assert np.isfinite(found.rows).all()
    assert ((found.rows[:, 12:] >= 0) & (found.rows[:, 12:] <= 1)).all()
    assert found.images["mask"].shape == picture.shape[:2]
    assert found.images["overlay"].shape == (*picture.shape[:2], 3)


@settings(max_examples=60, deadline=None)
@given(
    any_picture(),
    st.integers(0, 2**32 - 1),
    st.sampled_from(("low", "medium", "high")),
    st.integers(0, 70),
    st.sampled_from(("exr", "npy", "png", "tif")),
)
def test_flow_of_any_pictures(picture, seed, detail, step, ending):
    """No two pictures make the search fail, however small; everything is finite."""
    other = np.random.default_rng(seed).permuted(picture, axis=seed % 2)
    found = flow(picture, other, detail=detail, step=step, flow=f"f.{ending}", wheel="w.png", overlay="o.png")
    assert np.isfinite(found.rows).all()
    assert len(found.rows) > 0
    assert ("flow" in found.files, "flow" in found.images) == (ending in ("exr", "npy"), ending in ("png", "tif"))
    assert found.images["wheel"].shape == found.images["overlay"].shape == (*picture.shape[:2], 3)
