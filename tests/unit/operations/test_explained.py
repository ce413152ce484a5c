"""The picture that says why each candidate is a circle or none."""

import cv2
import numpy as np

from worker.catalog.circles import FindCircles
from worker.operations.circles import REASONS, detect_circles, search
from worker.operations.explained import explain_circles
from worker.operations.marks import MARK


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
    """A plain picture of any kind has a legend that says that there were no candidates."""
    for shape in [(1, 1), (40, 60, 4), (50, 300)]:
        explained = detect_circles(np.zeros(shape, np.uint8), FindCircles(image="unused", explain="why.png")).images["explain"]
        assert explained.shape == (shape[0] + 24, shape[1], 3)


def test_large_picture():
    """The edges of a picture that was searched at half its size lie where they belong."""
    mask = np.zeros((50, 60), np.uint8)
    mask[10, 20] = 255
    explained = explain_circles(np.zeros((100, 120), np.uint8), mask, np.empty((0, 4)), np.empty(0, np.int64), REASONS)
    assert set(np.argwhere(explained[:100].any(axis=2))[:, 0]) == {20, 21}
