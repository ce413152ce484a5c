"""Settings tried side by side, and settings found from examples."""

import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.circles import FindCircles
from worker.catalog.parse import settings_of
from worker.catalog.tuning import Sweep, Tune
from worker.errors import ArgumentError
from worker.operations import circles, tuning
from worker.operations.shapes import Tried

GREEN, RED = (60, 255, 60), (120, 130, 255)


def sweep(values="1 2 3", **more):
    return Sweep(**{"image": "a.png", "target": "find_circles", "param": "sensitivity", "values": values, "output": "o.png", **more})


def has(picture, hue):
    return (np.abs(picture.astype(int) - hue).sum(axis=2) < 30).any()


def test_trials_in_reading_order():
    """The first parameter changes from left to right, the second from top to bottom; the other settings are in each."""
    trials = tuning.trials(sweep("0.3, 0.5", second_param="min_radius", second_values="10 20", settings="nested=0; max_radius=40"))
    assert [trial.values for trial in trials] == [("0.3", "10"), ("0.5", "10"), ("0.3", "20"), ("0.5", "20")]
    assert trials[1].pairs == (("nested", "0"), ("max_radius", "40"), ("sensitivity", "0.5"), ("min_radius", "10"))


def test_values_with_spaces():
    """With | between them, values may have spaces and semicolons; so may the other settings."""
    assert [trial.values for trial in tuning.trials(sweep("gray; blur 1 | edges 5 9"))] == [("gray; blur 1",), ("edges 5 9",)]
    assert settings_of("sweep", " steps=gray; blur 2 ;quality=80; ") == (("steps", "gray; blur 2"), ("quality", "80"))
    assert settings_of("sweep", "") == ()


@pytest.mark.parametrize(
    ("values", "more", "words"),
    [
        (" , ", {}, "values holds no value"),
        ("0.3 0.5 0.3", {}, "values holds 0.3 twice"),
        ("1", {"second_param": "min_radius"}, "second_param needs second_values"),
        ("1", {"second_values": "3"}, "second_values needs second_param"),
        ("1", {"second_param": "sensitivity", "second_values": "3"}, "param and second_param must differ; both are sensitivity"),
        (" ".join(map(str, range(65))), {}, "65 pictures are wanted; the limit is 64"),
        (" ".join(map(str, range(9))), {"second_param": "a", "second_values": " ".join(map(str, range(9)))}, "81 pictures are wanted"),
        (" ".join(map(str, range(9))), {"tile_width": 2048}, r"the sheet would have \d+x\d+ pixels; the limits are 16384 px"),
        ("1", {"settings": "nested"}, "settings must be key=value, with ; between them; got 'nested'"),
        ("1", {"settings": "=3"}, "settings must be key=value"),
    ],
)
def test_refusals(values, more, words):
    """What is not clear, or too much, is refused in a sentence before anything is tried."""
    if "sheet" in words:
        more = {**more, "tile_height": 2048, "second_param": "a", "second_values": "1 2 3 4 5"}
    with pytest.raises(ArgumentError, match=words):
        tuning.check_sweep(sweep(values, **more))


def test_sheet():
    """Each tile shows its picture; what failed has its sentence in place of one, and the rows say the same in numbers."""
    white = np.full((90, 160), 250, np.uint8)
    tried = (Tried(("1",), white, 7), Tried(("2",), white, 7, 5), Tried(("3",), None, message="It is too large."))
    params = sweep(tile_width=160, tile_height=90)
    found = tuning.sheet(iter(tried), "circles", params)
    assert found.rows.tolist() == [[0, 0, 7, 0, 0], [1, 0, 7, 5, 0], [0, 1, 0, 0, 1]]
    assert found.texts == (("1", "", ""), ("2", "", ""), ("3", "", "It is too large."))
    sheet = found.images["output"]
    assert sheet.shape == (10 + 18 + 2 * (90 + 10 + 36), 10 + 2 * 170, 3)
    first, second, third = sheet[28:154, 10:170], sheet[28:154, 180:340], sheet[164:, 10:170]
    assert (first[:90] == 250).all()
    assert (has(first[90:], GREEN), has(first, RED)) == (True, False)
    assert (first[90:] != second[90:]).any()
    assert (has(third[:90], RED), has(third, GREEN)) == (True, False)
    assert (sheet[164:, 180:] == 32).all()  # there is no fourth


def test_labels_can_be_read():
    """A value is written as large letters as any other text: the same text drawn alone is found in the sheet."""
    white = np.full((90, 160), 250, np.uint8)
    sheet = tuning.sheet(iter([Tried(("0.35",), white, 12)]), "circles", sweep("0.35")).images["output"]
    letters = np.full((24, 200, 3), 32, np.uint8)
    tuning.write_on(letters, "sensitivity=0.35", (2, 18), 18, (235, 235, 235))
    assert cv2.matchTemplate(sheet, letters[:, :150], cv2.TM_SQDIFF_NORMED).min() < 0.01


@settings(max_examples=40, deadline=None)
@given(st.lists(any_picture() | st.none(), min_size=1, max_size=6), st.integers(64, 200), st.integers(64, 200), st.text(max_size=300))
def test_any_picture(pictures, width, height, message):
    """Pictures of every kind, and failures with any sentence, make a sheet of the size that was promised."""
    params = sweep(" ".join(map(str, range(len(pictures)))), tile_width=width, tile_height=height)
    tuning.check_sweep(params)
    tried = (Tried((str(n),), picture, None if n % 2 else n, message=message) for n, picture in enumerate(pictures))
    found = tuning.sheet(tried, "things", params)
    assert found.images["output"].shape[1::-1] == tuning._size(params)
    assert found.rows[:, 4].tolist() == [picture is None for picture in pictures]


# ---------------------------------------------------------------------------------------------------------- by example

SIZE = (480, 640)


def scene(discs, noise=0.0, seed=0):
    """Grey discs x, y, radius on a darker ground."""
    picture = np.full(SIZE, 60.0)
    for x, y, radius in discs:
        drawn = np.zeros(SIZE, np.uint8)
        cv2.circle(drawn, (round(x * 16), round(y * 16)), round(radius * 16), 255, -1, cv2.LINE_AA, 4)
        picture += drawn / 255 * 120
    picture += np.random.default_rng(seed).normal(0, noise, SIZE)
    return np.clip(picture, 0, 255).astype(np.uint8)


def text_of(discs):
    return "; ".join(" ".join(f"{value:g}" for value in disc) for disc in discs)


def tuned(picture, examples, **more):
    return tuning.tune(picture, Tune(image="a.png", examples=text_of(examples), **more))


def settings_from(row, **changed):
    names = ("min_radius", "max_radius", "min_distance", "nested", "sensitivity")
    values = {**dict(zip(names, row[:5].tolist(), strict=True)), **changed}
    return FindCircles(image="a.png", **{**values, "nested": bool(values["nested"])})


MEDIUM = [(80 + 120 * column, 90 + 130 * row, 30 + (row + column) % 3 - 1) for row in range(3) for column in range(5)]
OTHERS = [(140, 150, 9), (260, 30, 8), (380, 280, 9), (500, 410, 62), (140, 415, 60)]
DISCS = [*(disc for disc in MEDIUM if all(np.hypot(disc[0] - x, disc[1] - y) > disc[2] + r + 4 for x, y, r in OTHERS)), *OTHERS]
WANTED = [disc for disc in DISCS if 25 < disc[2] < 35]
#: Drawn by hand: some pixels off.
DRAWN = [(x + dx, y + dy, r + dr) for (x, y, r), (dx, dy, dr) in zip(WANTED, ((3, -2, 2), (-2, 3, -3), (1, 3, 3)), strict=False)]


@pytest.mark.parametrize("noise", [0, 6])
def test_tune_finds_what_is_like_the_examples(noise):
    """Three circles drawn by hand are enough to find all of their size, and nothing of another."""
    picture = scene(DISCS, noise)
    found = tuned(picture, DRAWN, overlay="o.png")
    (row,) = found.rows
    rows = circles.search(picture, settings_from(row)).rows
    assert len(rows) == row[7] == len(WANTED)
    assert row[8] == len(WANTED) - 3
    for x, y, radius in WANTED:
        assert (np.abs(rows[:, :3] - (x, y, radius)).max(axis=1) < 1).sum() == 1
    assert found.texts[0][0] == (
        f"min_radius={row[0]:g} max_radius={row[1]:g} min_distance={row[2]:g} nested={row[3]:g} sensitivity={row[4]:g}"
    )
    assert has(found.images["overlay"], (0, 170, 255))


@pytest.mark.parametrize(
    "changed",
    [{"min_radius": 1.25}, {"min_radius": 0.75}, {"max_radius": 1.25}, {"max_radius": 0.8}, {"sensitivity": 1.3}, {"sensitivity": 0.7}],
)
def test_tune_stays_away_from_the_limits(changed):
    """Each setting lies in the middle of what works: it may be a fifth to a third off, and the same circles are found."""
    picture = scene(DISCS, 3)
    (row,) = tuned(picture, DRAWN).rows
    names = {"min_radius": 0, "max_radius": 1, "sensitivity": 4}
    other = {name: min(1.0, row[4] * factor) if name == "sensitivity" else row[names[name]] * factor for name, factor in changed.items()}
    rows = circles.search(picture, settings_from(row, **other)).rows
    assert len([r for r in rows if 25 < r[2] < 35]) == len(WANTED)
    if "sensitivity" in changed:
        assert len(rows) == len(WANTED)


def test_tune_keeps_rings_out():
    """Rings inside of the examples that have nearly their size are left out."""
    picture = scene([])
    for x in (120, 320, 520):
        for radius, grey in ((60, 200), (50, 60), (36, 200)):
            cv2.circle(picture, (x, 240), radius, grey, -1, cv2.LINE_AA)
    (row,) = tuned(picture, [(120, 240, 60), (320, 240, 60), (520, 240, 60)]).rows
    rows = circles.search(picture, settings_from(row)).rows
    assert sorted(rows[:, 0].round().tolist()) == [120, 320, 520]
    assert rows[:, 2] == pytest.approx([60] * 3, abs=1)
    (row,) = tuned(picture, [(120, 240, 36), (320, 240, 36), (520, 240, 36)]).rows
    assert circles.search(picture, settings_from(row)).rows[:, 2] == pytest.approx([36] * 3, abs=1)


def test_tune_one_example():
    """One is enough if there is nothing to confuse it with."""
    (row,) = tuned(scene([(200, 200, 40)]), [(203, 198, 37)]).rows
    assert row[0] == pytest.approx(30, abs=1)
    assert row[1] == pytest.approx(53.3, abs=1.5)
    assert (row[7], row[8]) == (1, 0)


@pytest.mark.parametrize(
    ("examples", "words"),
    [
        ("120 80", "examples must be x y radius of each circle, such as 120 80 30; 200 90 31; got 2 numbers"),
        (" ; ", "got 0 numbers"),
        ("120 80 x", "examples must hold numbers; got 'x'"),
        ("120 80 1", "the radius of an example must be 2 pixels or more; got 1"),
        (" ".join(["9 9 9"] * 51), "51 examples are given; the limit is 50"),
        ("120 800 30", "the example 120 800 30 has its centre outside of the picture, 640x480"),
        ("80 90 30; 300 40 30", "1 of 2 examples are found at no sensitivity: 300 40 30. They are x y radius in pixels, y down."),
    ],
)
def test_tune_refusals(examples, words):
    """What cannot be read, lies outside, or is no circle is named."""
    with pytest.raises(ArgumentError, match=re.escape(words)):
        tuning.tune(scene(DISCS), examples=examples)


@pytest.mark.parametrize("name", ["my circles", "a/b", "a*", "x#1"])
def test_names_that_no_address_can_hold(name):
    """The preset's name becomes a part of `/worker/trigger/<preset>`."""
    with pytest.raises(ArgumentError, match="preset must be a name without spaces"):
        tuning.check_tune(Tune(image="a.png", examples="9 9 9", preset=name))
    tuning.check_tune(Tune(image="a.png", examples="9 9 9", preset="coins-2_Größe"))


@settings(max_examples=25, deadline=None)
@given(any_picture(), st.lists(st.tuples(st.floats(-5, 70), st.floats(-5, 70), st.floats(0, 70)), min_size=1, max_size=4))
def test_tune_any_picture(picture, examples):
    """Any small picture and any circles: settings that find them all, or a sentence."""
    try:
        (row,) = tuned(picture, examples).rows
    except ArgumentError:
        return
    assert row[7] >= len(examples)
    assert 0 <= row[5] <= row[4] <= row[6] <= 1


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.floats(0, 20)] * 2, st.floats(1, 9)), st.tuples(*[st.floats(0, 20)] * 2, st.floats(1, 9)))
def test_common_share(first, second):
    """The area in common is what counting pixels of two drawn discs gives."""
    y, x = np.mgrid[-10:30:0.04, -10:30:0.04]
    a, b = ((x - disc[0]) ** 2 + (y - disc[1]) ** 2 < disc[2] ** 2 for disc in (first, second))
    assert tuning.common_share(np.array(first), np.array(second)) == pytest.approx((a & b).sum() / (a | b).sum(), abs=0.02)
