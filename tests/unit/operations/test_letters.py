"""Letters are no circles, and circles beside letters stay circles."""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from worker.catalog.circles import FindCircles
from worker.operations.circles import REASONS, find_circles, search

WORDS = [
    "a",
    "good",
    "book",
    "has",
    "no",
    "round",
    "page;",
    "oboe,",
    "cocoa",
    "60",
    "80",
    "(900)",
    "Doe",
    "Coco",
    "goes",
    "up",
    "and",
    "down",
    "before",
    "3.5",
    "%",
    "of",
    "100",
    "codes",
]


def page(size, blur=0.0, ink=30, ground=235, *, seed=0, bold=0):
    """Text in a typeface with round letters, each stroke so many pixels wider on either side."""
    random = np.random.default_rng(seed)
    picture = Image.new("L", (800, 600), ground)
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size)
    for top in range(20, 600 - size, round(1.35 * size)):
        draw.text((20, top), " ".join(random.choice(WORDS, 40))[: round(1600 / size)], font=font, fill=ink, stroke_width=bold)
    values = np.asarray(picture, float)
    values = cv2.GaussianBlur(values, (0, 0), blur) if blur else values
    return np.clip(np.rint(values + random.normal(0, 2, values.shape)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(("size", "blur"), [(16, 0), (24, 1), (32, 0), (32, 2), (40, 1)])
def test_a_page_of_text(size, blur, turned):
    """At most five circles are found on a page of text, sharp or blurred, dark on bright or bright on dark, upright or on its side."""
    picture = page(size, blur, *((235, 30) if turned else (30, 235)))
    assert len(find_circles(np.rot90(picture).copy() if turned else picture)) <= 5


@pytest.mark.parametrize(("size", "blur", "bold"), [(32, 2, 1.5), (56, 1, 2), (80, 0, 0), (80, 2, 3), (110, 0, 0), (110, 1, 4)])
def test_a_page_of_large_or_bold_text(size, blur, bold):
    """Dots of i, full stops, bowls of a and d, and letters that a blur has filled are no circles either."""
    assert len(find_circles(page(size, blur, bold=bold, seed=3))) <= 5


def dotted_line(text="line is. mill in. limit"):
    """A line of large letters with many dots; a disc of the same size and colour far away from it."""
    picture = Image.new("L", (900, 300), 235)
    ImageDraw.Draw(picture).text((40, 40), text, font=ImageFont.load_default(80), fill=30)
    return cv2.circle(np.array(picture), (500 * 16, 230 * 16), 6 * 16, 30, -1, cv2.LINE_AA, 4)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_dots(turns):
    """Dots of i and full stops belong to the letters, whichever way up the picture is; a disc apart from them is a circle."""
    found = find_circles(np.ascontiguousarray(np.rot90(dotted_line(), turns)))
    assert len(found) == 1
    assert found[0, 2] == pytest.approx(6, abs=0.7)


def test_dots_without_letters():
    """The same dots among strokes that are all alike are circles: such a row is no text."""
    picture = np.full((200, 700), 235, np.uint8)
    for x in range(60, 660, 60):
        cv2.circle(picture, (x, 60), 6, 30, -1, cv2.LINE_AA)
        cv2.rectangle(picture, (x - 5, 80), (x + 5, 130), 30, -1)
    assert len(find_circles(picture)) == 10


def test_a_large_dot_before_each_line():
    """Dots before the lines of a list are circles: they are larger than those of letters, and stand higher."""
    picture = Image.new("L", (700, 400), 235)
    draw = ImageDraw.Draw(picture)
    for top in range(30, 360, 60):
        draw.text((80, top), "level of this signal", font=ImageFont.load_default(40), fill=30)
    values = np.array(picture)
    for top in range(30, 360, 60):
        cv2.circle(values, (50, top + 25), 10, 30, -1, cv2.LINE_AA)
    found = find_circles(values)
    assert len(found) == 6
    assert (np.abs(found[:, 0] - 50) < 1).all()


def test_the_reason():
    """An `o` of a large typeface is round, and rejected because of what stands beside it."""
    outcome = search(page(40), FindCircles(image="unused"))
    assert (outcome.reasons == REASONS.index("a letter among others")).sum() > 20


def circled(picture, width):
    """The same page with a circle in the ink of the letters in its middle."""
    cv2.circle(picture, (400, 300), 60, 235, -1, cv2.LINE_AA)
    cv2.circle(picture, (400, 300), 45, 30, width, cv2.LINE_AA)
    return picture


@pytest.mark.parametrize("width", [-1, 3])
def test_a_circle_among_letters(width):
    """A disc, and a drawn circle that is larger than the letters, are found on a page of text."""
    rows = find_circles(circled(page(20), width))
    assert np.abs(rows[:, :3] - (400, 300, 45)).max(axis=1).min() < 1.5


def test_rings_in_a_line():
    """Rings alone are no letters, however many stand in one line."""
    picture = np.full((120, 640), 235, np.uint8)
    for n in range(9):
        cv2.circle(picture, (50 + 65 * n, 60), 20, 30, 5, cv2.LINE_AA)
    found = find_circles(picture)
    assert {round(x) for x in found[:, 0]} == {50 + 65 * n for n in range(9)}
