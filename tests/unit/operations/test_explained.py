"""The picture that says why each candidate is a circle or none."""

import cv2
import numpy as np

from worker.catalog.circles import FindCircles
from worker.operations.circles import REASONS, detect_circles, search
from worker.operations.explained import explain_circles
from worker.operations.marks import MARK, text_width


def scene():
    """A disc, and an octagon that only its sides tell from one."""
    picture = np.full((240, 320, 3), 90, np.uint8)
    cv2.circle(picture, (80, 120), 40, (230, 230, 230), -1, cv2.LINE_AA)
    angles = np.arange(8) * np.pi / 4
    corners = np.rint(np.array([220, 120]) + 50 * np.column_stack([np.cos(angles), np.sin(angles)])).astype(np.int32)
    return cv2.fillPoly(picture, [corners], (230, 230, 230), cv2.LINE_AA)


def test_every_candidate_has_a_reason():
    """The disc is found, the octagon is a candidate, and its reason is its straight sides."""
    outcome = search(scene(), FindCircles(image="unused"))
    reasons = [REASONS[reason] for reason in outcome.reasons]
    assert len(outcome.candidates) == len(reasons)
    assert reasons.count("found") == outcome.total == len(outcome.rows) == 1
    octagon = [reason for (x, *_), reason in zip(outcome.candidates, reasons, strict=True) if x > 160]
    assert "straight sides" in octagon
    assert "found" not in octagon


def test_reasons_follow_the_params():
    """What the caller's limits leave out says so."""
    large = search(scene(), FindCircles(image="unused", min_radius=39, max_radius=39.5))
    assert "radius outside min_radius to max_radius" in {REASONS[reason] for reason in large.reasons}
    two = np.hstack([scene()[:, :160], scene()[:, :160]])
    near = search(two, FindCircles(image="unused", min_distance=200))
    few = search(two, FindCircles(image="unused", max_items=1))
    assert "closer than min_distance to a better one" in {REASONS[reason] for reason in near.reasons}
    assert "beyond max_items" in {REASONS[reason] for reason in few.reasons}
    assert few.total == 2


def test_picture():
    """The explanation is the picture with its finds marked, and a legend below it; it is made only if asked for."""
    found = detect_circles(scene(), FindCircles(image="unused", explain="why.png"))
    explained = found.images["explain"]
    assert explained.dtype == np.uint8
    assert explained.shape[1] == 320
    assert explained.shape[0] > 240
    rim = explained[120, 118:123].astype(int)  # of the disc, drawn with soft edges
    assert np.abs(rim - MARK).sum(axis=1).min() < 200
    assert explained[240:].any()
    assert not detect_circles(scene(), FindCircles(image="unused")).images


def test_nothing_to_explain():
    """A plain picture of any kind has a legend that says that there were no candidates, and is wide enough to be read."""
    for shape in [(1, 1), (40, 60, 4), (50, 300)]:
        explained = detect_circles(np.zeros(shape, np.uint8), FindCircles(image="unused", explain="why.png")).images["explain"]
        assert explained.shape == (shape[0] + 24, max(shape[1], text_width("no candidates", 1) + 16), 3)
        assert explained[shape[0] :].any()


def test_the_longest_reason_fits():
    """No line of the legend is cut off below a narrow picture: its last column is empty."""
    candidates = np.tile([20.0, 20, 9, 1], (len(REASONS), 1))
    explained = explain_circles(np.zeros((40, 50), np.uint8), np.zeros((40, 50), np.uint8), candidates, np.arange(len(REASONS)), REASONS)
    legend = explained[40:]
    assert len(legend) == 24 * len(REASONS)
    assert legend[:, 50:].any()
    assert not legend[:, -4:].any()


def test_numbers_leave_small_candidates_to_be_seen():
    """A large candidate has its number; of a thousand small ones side by side each is seen in its colour, and no number covers it."""
    reason = REASONS.index("oval")
    ground = np.zeros((400, 400), np.uint8)
    large = explain_circles(ground, ground, np.array([[200.0, 200, 60, 1]]), np.array([reason]), REASONS)
    assert large[230:245, 243:260].any()
    places = np.array([(x, y, 5, 1) for x in range(8, 392, 12) for y in range(8, 392, 12)], np.float64)
    small = explain_circles(ground, ground, places, np.full(len(places), reason), REASONS)
    away = np.hypot(*(np.mgrid[:400, :400] - 8 + 6) % 12 - 6)
    assert not small[:380, :380][away[:380, :380] > 7].any()


def test_large_picture():
    """The edges of a picture that was searched at half its size lie where they belong."""
    mask = np.zeros((50, 60), np.uint8)
    mask[10, 20] = 255
    explained = explain_circles(np.zeros((100, 120), np.uint8), mask, np.empty((0, 4)), np.empty(0, np.int64), REASONS)
    assert set(np.argwhere(explained[:100].any(axis=2))[:, 0]) == {20, 21}
