"""Settings tried side by side."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pictures import any_picture
from worker.catalog.tuning import Sweep
from worker.errors import ArgumentError
from worker.operations import tuning
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
    assert tuning.settings_of(" steps=gray; blur 2 ;quality=80; ") == (("steps", "gray; blur 2"), ("quality", "80"))
    assert tuning.settings_of("") == ()


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
