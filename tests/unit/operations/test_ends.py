"""What looks round in photographs and is not: rounded ends, leaves, what the border cuts off, letters in uneven light.

Beside each of them a disc is drawn, and found.
"""

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tests.unit.operations.test_letters import WORDS
from worker.catalog.circles import FindCircles
from worker.operations.circles import REASONS, find_circles, search
from worker.operations.edges import GAIN, find_edges
from worker.operations.ends import openings, rounded_ends
from worker.operations.letters import like_letters


def photographed(picture, random, blur=0.8):
    values = picture.astype(float)
    values = cv2.GaussianBlur(values, (0, 0), blur)
    return np.clip(np.rint(values + random.normal(0, 2, values.shape)), 0, 255).astype(np.uint8)


def disc(picture, x, y, radius, grey):
    cv2.circle(picture, (round(16 * x), round(16 * y)), round(16 * radius), grey, -1, cv2.LINE_AA, 4)


def blob(picture, x, y, radii, grey):
    """A thing whose radius is known in many directions."""
    angles = np.arange(len(radii)) * (2 * np.pi / len(radii))
    corners = np.column_stack([x + radii * np.cos(angles), y + radii * np.sin(angles)])
    cv2.fillPoly(picture, [np.rint(corners * 16).astype(np.int32)], grey, cv2.LINE_AA, 4)


def waves(random, heights, count=200):
    """1, and waves of these numbers and heights around it."""
    angles = np.arange(count) * (2 * np.pi / count)
    return 1 + sum(height * np.cos(number * (angles - random.uniform(0, np.pi))) for number, height in heights.items())


def rods(random):
    """Five rods with rounded ends, like fingers."""
    picture = np.full((480, 640), 90, np.uint8)
    for number in range(5):
        x, y, angle = 60 + 120 * number + random.uniform(-10, 10), random.uniform(60, 110), random.uniform(1.2, 1.9)
        end = (x + 160 * np.cos(angle), y + 160 * np.sin(angle))
        places = [(round(16 * x), round(16 * y)) for x, y in ((x, y), end)]
        cv2.line(picture, *places, 210, int(random.integers(30, 56)), cv2.LINE_AA, 4)
    disc(picture, 320, 430, 22, 210)
    return photographed(picture, random), (320, 430, 22)


def leaves(random):
    """Twenty small leaves: uneven, with a tip."""
    picture = np.full((480, 640), 70, np.uint8)
    for number in range(20):
        radii = random.uniform(11, 15) * waves(random, {2: 0.08, 3: 0.05})
        away = np.abs((np.arange(200) * (np.pi / 100) - random.uniform(0, 2 * np.pi) + np.pi) % (2 * np.pi) - np.pi)
        radii += 13 * random.uniform(0.6, 1.2) * np.clip(1 - away, 0, 1) ** 1.3
        x, y = 70 + 115 * (number % 5) + random.uniform(-12, 12), 60 + 95 * (number // 5) + random.uniform(-12, 12)
        blob(picture, x, y, radii, int(random.integers(150, 230)))
    disc(picture, 320, 450, 13, 200)
    return photographed(picture, random), (320, 450, 13)


def cut_off(random):
    """Seven uneven things of which the border leaves a third."""
    picture = np.full((480, 640), 90, np.uint8)
    for number in range(7):
        radius = random.uniform(8, 12)
        radii = radius * waves(random, {2: 0.13, 3: 0.1, 5: 0.06})
        blob(picture, 60 + 85 * number + random.uniform(-10, 10), -0.35 * radius, radii, 200)
    disc(picture, 320, 472, 24, 200)
    return photographed(picture, random), (320, 472, 24)


def is_there(rows, disc):
    return bool((np.abs(rows[:, :3] - disc).max(axis=1, initial=0) < 1.5).any())


@pytest.mark.parametrize(("scene", "most"), [(rods, 1), (leaves, 4), (cut_off, 4)])
def test_no_circles_beside_a_disc(scene, most):
    """In six pictures together at most so many are found that are none, and in each the disc."""
    false = 0
    for seed in range(6):
        picture, truth = scene(np.random.default_rng(seed))
        rows = find_circles(picture)
        assert is_there(rows, truth)
        false += len(rows) - 1
    assert false <= most


def test_the_reasons():
    """The explanation says what the rounded ends are."""
    picture, _ = rods(np.random.default_rng(0))
    outcome = search(picture, FindCircles(image="unused"))
    assert (outcome.reasons == REASONS.index("the rounded end of something long")).sum() > 3


def shaded_page(seed, shade):
    """Text that bright and dark stripes of light lie on, and a disc below it."""
    random = np.random.default_rng(seed)
    page = Image.new("L", (800, 600), 225)
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(36)
    for top in range(20, 480, 49):
        draw.text((20, top), " ".join(random.choice(WORDS, 40))[:44], font=font, fill=40)
    picture = np.array(page)
    disc(picture, 400, 545, 30, 40)
    y, x = np.mgrid[:600, :800]
    return photographed(picture * (1 - shade * np.clip(0.5 + 3 * np.sin(x / 60 + y / 25), 0, 1)), random, 0.6)


def test_letters_in_uneven_light():
    """Letters that stand on the border of a shadow look like the others, and are letters, too."""
    false = 0
    for seed, shade in ((0, 0.45), (1, 0.45), (3, 0.35)):
        rows = find_circles(shaded_page(seed, shade))
        assert is_there(rows, (400, 545, 30))
        false += len(rows) - 1
    assert false <= 1


def measured(picture, circle):
    """Whether a circle, dark outside and bright inside, is a rounded end, and how wide its gap is."""
    edges = find_edges(picture.astype(np.int16) * GAIN)
    circles, sign = np.array([[*circle, 1.0]]), np.array([-1])
    gaps = openings(edges, circles, sign)
    return bool(rounded_ends(edges, circles, sign, gaps)[0]), float(gaps.width[0])


@pytest.mark.parametrize("radius", [14, 40, 90])
@pytest.mark.parametrize("turns", range(4))
def test_rounded_ends(radius, turns):
    """The end of a rod is one; a disc is none, whole or hidden to a half by something with a straight edge; nor is nothing."""
    empty = np.full((401, 401), 60, np.uint8)
    rod, whole = empty.copy(), empty.copy()
    for picture in (rod, whole):
        disc(picture, 200, 200, radius, 200)
    hidden = whole.copy()
    cv2.rectangle(rod, (200 - radius, 200), (200 + radius, 400), 200, -1)
    cv2.rectangle(hidden, (0, 200), (400, 400), 130, -1)
    wide = {}
    for name, picture in (("rod", rod), ("whole", whole), ("hidden", hidden), ("empty", empty)):
        end, wide[name] = measured(np.ascontiguousarray(np.rot90(picture, turns)), (200, 200, radius))
        assert end == (name == "rod")
    assert wide["whole"] == 0
    assert wide["rod"] == pytest.approx(0.5, abs=0.15)
    assert wide["empty"] == 1


def test_what_looks_like_letters():
    """Rings as large and as dark as five letters or more are letters; larger or brighter ones, discs, and too many rings are not."""
    picture = np.full((200, 500), 220, np.uint8)
    for number in range(10):
        cv2.circle(picture, (30 + 45 * number, 40), 12, 40, 4, cv2.LINE_AA)
    cv2.circle(picture, (60, 130), 24, 40, 4, cv2.LINE_AA)
    disc(picture, 150, 130, 14, 40)
    cv2.rectangle(picture, (200, 90), (300, 180), 90, -1)
    cv2.circle(picture, (250, 130), 12, 230, 4, cv2.LINE_AA)
    rings = np.array([[30 + 45 * number, 40, 14.0, 1.0] for number in range(10)])
    others = np.array([[60.0, 130, 26, 1], [150, 130, 14, 1], [250, 130, 14, 1]])
    assert like_letters(picture, np.vstack([rings[:2], others]), rings[2:]).tolist() == [True, True, False, False, False]
    assert not like_letters(picture, rings[:6], rings[6:]).any()
    assert not like_letters(picture, rings[:5], rings[5:]).any()
