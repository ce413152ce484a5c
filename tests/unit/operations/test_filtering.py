import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.catalog.fields import fields_of
from worker.catalog.filtering import MOST_STEPS, STEPS, FilterSteps, parsed_steps
from worker.errors import ArgumentError
from worker.operations.filtering import DOES, filter_image


def square(dtype=np.uint8):
    """A white square of 20 pixels on black."""
    image = np.zeros((60, 60), dtype)
    image[20:40, 20:40] = np.iinfo(dtype).max
    return image


def one(value, dtype=np.uint8):
    return np.full((4, 4), value, dtype)


def test_every_step_is_described():
    """Table and functions are twins; each step has a line of help, each value a range, and the parameter lists all steps."""
    assert DOES.keys() == STEPS.keys()
    described = next(field.description for field in fields_of(FilterSteps) if field.name == "steps")
    for name, step in STEPS.items():
        assert step.name == name
        assert step.help
        assert step.usage in described
        for argument in step.arguments:
            assert argument.words or argument.minimum < argument.maximum


@pytest.mark.parametrize(
    ("steps", "before", "after"),
    [
        ("invert", 10, 245),
        ("brightness 20", 10, 30),
        ("brightness -20", 10, 0),
        ("contrast 2", 100, 72),
        ("levels 10 240", 10, 0),
        ("levels 10 240", 240, 255),
        ("levels 0 255 2", 64, 128),
        ("gamma 2", 64, 128),
        ("posterize 2", 127, 0),
        ("posterize 2", 128, 255),
        ("solarize", 200, 55),
        ("solarize", 128, 128),
        ("threshold 100", 100, 0),
        ("threshold 100", 101, 255),
        ("invert; threshold 100", 200, 0),
        ("INVERT;\n brightness,10 ;", 10, 255),
    ],
)
def test_values(steps, before, after):
    """What a step says of one value; the same for 16 bits, where the values of the steps are 257 times as large."""
    assert (filter_image(one(before), steps=steps) == after).all()
    deep = filter_image(one(before * 257, np.uint16), steps=steps)
    assert deep.dtype == np.uint16
    assert np.abs(deep.astype(int) - after * 257).max() <= 257


def test_blur_keeps_light():
    """A point becomes a Gaussian of the radius, and its light stays the same."""
    image = np.zeros((101, 101), np.uint16)
    image[50, 50] = 60_000
    blurred = filter_image(image, steps="blur 3").astype(float)
    assert blurred.sum() == pytest.approx(60_000, rel=0.01)
    assert np.sqrt((blurred.sum(axis=0) * (np.arange(101) - 50) ** 2).sum() / blurred.sum()) == pytest.approx(3, rel=0.02)


@pytest.mark.parametrize(("steps", "side"), [("dilate 3", 26), ("erode 3", 14), ("open 3", 20), ("close 3", 20)])
def test_shapes(steps, side):
    """A white square grows and shrinks by the radius on each side."""
    made = filter_image(square(), steps=steps)
    assert (made[30] > 127).sum() == (made[:, 30] > 127).sum() == side


def test_edges_where_they_are():
    """Lines are found at the sides of a square, and only there."""
    y, x = np.nonzero(filter_image(square(), steps="edges 50 150"))
    assert len(y)
    away = np.minimum.reduce([np.abs(x - 19.5), np.abs(x - 39.5), np.abs(y - 19.5), np.abs(y - 39.5)])
    assert away.max() <= 1
    assert filter_image(square(), steps="sobel").max() == 255
    assert filter_image(one(90), steps="laplace 5").max() == 0


def test_specks_and_noise():
    """A median removes a speck and keeps the edge beside it; a bilateral filter leaves the edge steep."""
    image = square()
    image[5, 5] = 255
    np.testing.assert_array_equal(filter_image(image, steps="median")[20:40, 22:38], square()[20:40, 22:38])
    assert filter_image(image, steps="median")[5, 5] == 0
    soft = filter_image(square(), steps="bilateral 9 50")
    assert soft[30, 18] < 10
    assert soft[30, 21] > 245


def test_otsu_splits_two_heaps():
    """The threshold of two kinds of grey lies between them."""
    image = np.where(square() > 0, 150, 100).astype(np.uint8)
    np.testing.assert_array_equal(filter_image(image, steps="threshold otsu"), square())


def test_colours():
    """Hue turns red to green, saturation 0 makes grey, a channel is what it says."""
    red = np.zeros((2, 2, 3), np.uint8)
    red[...] = 0, 0, 255
    assert filter_image(red, steps="hue 120")[0, 0].tolist() == [0, 255, 0]
    assert filter_image(red, steps="saturation 0")[0, 0].tolist() == [255, 255, 255]
    assert filter_image(red, steps="channel red")[0, 0] == 255
    assert filter_image(red, steps="channel blue")[0, 0] == 0
    assert filter_image(red, steps="channel saturation")[0, 0] == 255
    assert filter_image(red, steps="gray")[0, 0] == 76
    blue, green, warm = filter_image(np.full((2, 2, 3), 100, np.uint8), steps="sepia")[0, 0].tolist()
    assert blue < green < warm


def test_pixelate():
    """Squares of the mean colour; what is left over at the edges, too."""
    image = np.arange(100, dtype=np.uint8).reshape(10, 10)
    made = filter_image(image, steps="pixelate 4")
    assert made.shape == image.shape
    assert (made[:4, :4] == round(image[:4, :4].mean())).all()
    assert len(np.unique(made[8:, 8:])) == 1


def test_stretch_and_equalize():
    """The darkest becomes black and the brightest white; a picture of one colour stays."""
    image = np.linspace(100, 150, 400).reshape(20, 20).astype(np.uint8)
    for steps in ("stretch 0", "equalize"):
        made = filter_image(image, steps=steps)
        assert (made.min(), made.max()) == (0, 255)
    np.testing.assert_array_equal(filter_image(one(7), steps="stretch"), one(7))


def test_alpha_stays():
    """Alpha is as before, whatever the steps do to the colours and the depth."""
    image = np.random.default_rng(0).integers(0, 65536, (9, 9, 4), dtype=np.uint16)
    made = filter_image(image, steps="gray; blur 2; invert")
    np.testing.assert_array_equal(made[..., 3], image[..., 3])
    edges = filter_image(image, steps="edges 50 100")
    assert (edges.dtype, edges.shape) == (np.uint8, (9, 9, 4))
    assert np.abs(edges[..., 3].astype(int) * 257 - image[..., 3]).max() <= 129


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ("blurr 5", "filter has no step 'blurr'; did you mean blur?"),
        ("zzzz", "known are gray, channel"),
        ("blur", "blur needs radius, a number from 0 to 200; it is written 'blur radius'; got 'blur'"),
        ("gray 1", "gray takes no values; got 'gray 1'"),
        ("blur 1 2", "blur takes 1 value at most; it is written 'blur radius'; got 'blur 1 2'"),
        ("levels 10", "levels needs white, a number from 1 to 255; it is written 'levels black white [gamma]'; got 'levels 10'"),
        ("gray, blur 5", "a semicolon stands between two steps, as in 'gray; blur 5'; got 'gray blur 5'"),
        ("blur 5 invert edges 1 2", "as in 'blur 5; invert edges 1 2'; got"),
        ("blur 500", "radius of blur must be a number from 0 to 200; got '500'"),
        ("blur nan", "radius of blur must be a number from 0 to 200; got 'nan'"),
        ("median 4", "size of median must be an odd number from 3 to 99; got '4'"),
        ("dilate 1.5", "radius of dilate must be a whole number from 1 to 25; got '1.5'"),
        ("threshold otzu", "value of threshold must be a number from 0 to 255, or otsu; got 'otzu'"),
        ("channel 1", "name of channel must be red or green"),
        ("levels 200 100", "levels needs black below white; got 200 and 100"),
        ("edges 200 100", "edges needs low no higher than high"),
        (" ; ", "must hold 1 to 32 steps"),
        ("gray;" * (MOST_STEPS + 1), "must hold 1 to 32 steps, such as 'gray; blur 5'; got 33"),
    ],
)
def test_refused(steps, words):
    """What cannot be done is refused in a sentence that says what was expected."""
    with pytest.raises(ArgumentError) as raised:
        filter_image(square(), steps=steps)
    assert words in raised.value.message


def test_median_of_16_bits():
    """OpenCV has no larger median of 16 bits; the hint says what helps."""
    with pytest.raises(ArgumentError, match="takes size 3 or 5; got 7"):
        filter_image(square(np.uint16), steps="median 7")


def test_a_channel_is_not_changed_in_place():
    """The input stays as it was."""
    image = square()
    for name in ("invert", "dilate 2", "blur 3"):
        filter_image(image, steps=name)
        np.testing.assert_array_equal(image, square())


def values_of(argument):
    numbers = st.integers(int(np.ceil(argument.minimum)), int(argument.maximum))
    if argument.odd:
        numbers = numbers.map(lambda number: number if number % 2 else min(number + 1, int(argument.maximum)))
    words = st.sampled_from(argument.words) if argument.words else st.nothing()
    return (numbers.map(str) | words) if argument.numeric else words


@settings(max_examples=300, deadline=None)
@given(
    st.data(),
    st.integers(0, 2**32 - 1),
    st.tuples(st.integers(1, 64), st.integers(1, 64)),
    st.sampled_from((None, 3, 4)),
    st.sampled_from(("u1", "u2")),
)
def test_any_picture(data, seed, size, channels, kind):
    """No picture makes a step fail, alone or after another: the size stays, and nothing but documented errors is raised."""
    random = np.random.default_rng(seed)
    image = random.integers(0, np.iinfo(kind).max, size if channels is None else (*size, channels), dtype=kind)
    drawn = data.draw(st.lists(st.sampled_from(list(STEPS.values())), min_size=1, max_size=3))
    steps = [" ".join([step.name, *(data.draw(values_of(argument)) for argument in step.arguments)]) for step in drawn]
    text = "; ".join(steps)
    assert len(parsed_steps(text)) == len(steps)
    try:
        made = filter_image(image, steps=text)
    except ArgumentError:
        return
    assert made.shape[:2] == size
    assert made.dtype in (np.uint8, np.uint16)
    assert made.ndim == 2 or made.shape[2] in (3, 4)
    assert (made.ndim == 3 and made.shape[2] == 4) == (channels == 4)


def test_same_as_opencv():
    """The example of the issue, step by step with OpenCV itself."""
    image = np.random.default_rng(3).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    expected = cv2.GaussianBlur(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), (0, 0), 2)
    expected = np.rint(np.clip((expected.astype(float) - 10) / 230, 0, 1) * 255).astype(np.uint8)
    expected = cv2.dilate(cv2.threshold(expected, 0, 255, cv2.THRESH_OTSU)[1], cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (7, 7)))
    np.testing.assert_array_equal(filter_image(image, steps="gray; blur 2; levels 10 240; threshold otsu; dilate 3"), expected)
