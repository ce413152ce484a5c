"""A live job's memory between two pictures, its pace and its patience: no source, no clock."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from worker.catalog.table import CATALOG
from worker.catalog.track import Track
from worker.operations import camera
from worker.operations.track import Place, places_of, view_of
from worker.tracking.session import Pace, Patience, Session

FIELDS = CATALOG["track"].fields
SIZE = (200, 100)


def session(places, **params):
    """One whose search finds in picture n what `places[n]` says."""
    values = Track(source="a", **{"confirm": 1, **params})
    found = iter(places)
    return Session(
        values,
        lambda size: view_of(values, size, None),
        lambda rows: [Place(*one) for one in rows],
        lambda _image: next(found),
        FIELDS,
    )


def column(looked, name):
    return [row[FIELDS.index(name)] for row in looked.rows]


def looks(one, count):
    picture = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    return [one.look(picture, n / 10) for n in range(count)]


def test_ids_stay():
    """An object keeps its id, its row and its speed while it moves; u and v count as in TouchDesigner."""
    seen = looks(session([[(10 + 5 * n, 49.5, 4)] for n in range(8)]), 8)
    assert {tuple(column(one, "id")) for one in seen} == {(1.0,)}
    assert column(seen[-1], "vx")[0] == pytest.approx(50, rel=0.05)
    assert column(seen[-1], "u")[0] == pytest.approx(45.5 / 200)
    assert column(seen[-1], "v")[0] == pytest.approx(0.5)
    assert column(seen[-1], "age")[0] == pytest.approx(0.7)


def test_slots_never_change_their_number():
    """There are always as many rows; an object stays in its row until it is gone, and its row is 0 then."""
    first, second = (20, 20, 4), (150, 80, 9)
    seen = looks(session([[first], [first, second], [second], [second], [second], []], slots=3, keep=1), 6)
    assert [len(one.rows) for one in seen] == [3] * 6
    assert [column(one, "active") for one in seen] == [[1, 0, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]]
    assert [column(one, "row") for one in seen] == [[0, 1, 2]] * 6
    assert seen[3].rows[0] == (0.0,) * len(FIELDS)
    assert column(seen[4], "id") == [0, 2, 0]
    assert [one.count for one in seen] == [1, 2, 2, 1, 1, 1]


def test_ids_go_on():
    """A session that goes on after another process gives higher ids."""
    one = session([[(10, 10, 3)]])
    one.next_id = 41
    (seen,) = looks(one, 1)
    assert column(seen, "id") == [41]
    assert seen.next_id == 42


def test_after_a_break():
    """What is at its old place when the source comes back keeps its id; a row of it says so, and the clock may begin anew."""
    one = session([[(10, 10, 3)], [(10, 10, 3), (60, 10, 3)]])
    image = np.zeros((100, 200), np.uint8)
    assert column(one.look(image, 50.0), "id") == [1]
    one.pause()
    assert column(one.look(image, 0.0), "id") == [1, 2]


def test_another_size():
    """If the source's pictures get another size, the objects are others."""
    one = session([[(10, 10, 3)], [(10, 10, 3)]])
    assert column(one.look(np.zeros((100, 200), np.uint8), 0.0), "id") == [1]
    assert column(one.look(np.zeros((50, 100), np.uint8), 0.1), "id") == [2]


@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("flip", ["none", "horizontal", "vertical", "both"])
def test_turned_and_mirrored(rotate, flip):
    """What is found in the turned picture is reported in pixels of the turned picture, whatever size the search has."""
    image = np.zeros((120, 160, 3), np.uint8)
    cv2.circle(image, (100, 40), 6, (255, 255, 255), -1)
    params = Track(source="a", region="20 10 120 90", rotate=rotate, flip=flip, detect_width=60)
    view = view_of(params, (160, 120), None)
    small = view.seen(image)
    assert small.shape[1] == 60
    y, x = np.argwhere(small[..., 0] > 100).mean(axis=0)
    (place,) = view.out([Place(x, y, 2.0)])
    full = view_of(Track(source="a", region="20 10 120 90", rotate=rotate, flip=flip), (160, 120), None).seen(image)
    assert view.size == full.shape[1::-1]
    wanted_y, wanted_x = np.argwhere(full[..., 0] > 100).mean(axis=0)
    assert (place.x, place.y) == pytest.approx((wanted_x, wanted_y), abs=1.0)
    assert place.radius == pytest.approx(2 * full.shape[1] / 60, rel=0.05)


def test_size_of_the_results():
    """With width alone the proportions stay, and the middle of the picture stays the middle."""
    view = view_of(Track(source="a", width=1000), (200, 100), None)
    assert view.size == (1000, 500)
    (place,) = view.out([Place(99.5, 49.5, 1.0)])
    assert (place.x, place.y, place.radius) == pytest.approx((499.5, 249.5, 5.0))


def test_perspective():
    """The corners of the flat area become those of the result."""
    corners = np.array([(40, 20), (160, 30), (150, 90), (50, 80)], float)
    text = " ".join(f"{x} {y}" for x, y in corners)
    view = view_of(Track(source="a", perspective=text, width=400, height=300), (200, 100), None)
    found = view.out([Place(x, y, 1.0) for x, y in corners])
    np.testing.assert_allclose([(one.x, one.y) for one in found], [(-0.5, -0.5), (399.5, -0.5), (399.5, 299.5), (-0.5, 299.5)], atol=1e-3)


def test_lens():
    """The distortion of the lens is taken out of all points: they lie where a camera without one would see them."""
    matrix = np.array([[150.0, 0, 99.5], [0, 150, 49.5], [0, 0, 1]])
    bent = camera.Camera((200, 100), matrix, np.array([-0.2, 0.05, 0.001, 0.001, 0.0]))
    points = np.column_stack([np.linspace(-0.4, 0.4, 9), np.linspace(0.2, -0.2, 9), np.ones(9)])
    seen = camera.projected(bent, points)
    view = view_of(Track(source="a"), (200, 100), camera.to_json(bent, {}))
    found = np.array([(one.x, one.y) for one in view.out([Place(x, y, 1.0) for x, y in seen])])
    straight = camera.projected(camera.Camera((200, 100), matrix, np.zeros(5)), points)
    np.testing.assert_allclose(found, straight, atol=1e-3)
    assert np.abs(seen - straight).max() > 1


def test_places():
    """Radius, size, area, a box or corners give the radius of a circle of that area; a marker's number is its name."""
    (circle,) = places_of(np.array([[1.0, 2, 3]]), ("x", "y", "radius"))
    (area,) = places_of(np.array([[1.0, 2, 9 * np.pi]]), ("x", "y", "area"))
    (marker,) = places_of(np.array([[0.0, 7, 1, 2, 6, 30]]), ("kind", "id", "x", "y", "size", "angle"))
    corners = np.array([[0.0, 0, 0], [6, 0, 0], [6, 6, 0], [0, 6, 0]])
    (thing,) = places_of(corners, ("x", "y", "object"))
    assert (circle.radius, area.radius, marker.radius, thing.radius) == pytest.approx((3, 3, 3, 3))
    assert (marker.code, marker.key, marker.angle) == (7, "0:7", 30)
    assert (thing.x, thing.y) == (3, 3)
    assert places_of(np.empty((0, 3)), ("x", "y", "radius")) == []


def test_pace():
    """The rate is kept on the average; work that takes longer than the time between two pictures is seen in the ratio."""
    pace, now = Pace(rate=10), 100.0
    for number in range(50):
        now = max(now, pace.due_at)
        pace.looked(number, now, now + 0.02)
        now += 0.02
    assert pace.per_second == pytest.approx(10, rel=0.02)
    assert pace.ratio == pytest.approx(0.2, rel=0.05)
    for number in range(50, 150):
        now = max(now, pace.due_at)
        pace.looked(2 * number, now, now + 0.15)
        now += 0.15
    assert pace.ratio > 1
    assert pace.per_second == pytest.approx(1 / 0.15, rel=0.1)


def test_patience():
    """It waits longer each time up to the maximum, and begins anew only after the source was there for a while."""
    patience = Patience()
    waits = [patience.vanished(float(n)) for n in range(10)]
    assert waits == [0.5, 1, 2, 4, 8, 16, 30, 30, 30, 30]
    patience.came(20.0)
    assert patience.vanished(21.0) == 30
    patience.came(30.0)
    assert patience.vanished(41.0) == 0.5


@pytest.mark.parametrize(("size", "width"), [((640, 360), 160), ((640, 352), 80), ((960, 540), 160), ((645, 360), 160)])
def test_smaller_pictures_are_means(size, width):
    """In steps of two or at once: a pixel that is searched is the mean of those that it stands for, to one step of 255."""
    picture = np.random.default_rng(3).integers(0, 256, (size[1], size[0], 3), np.uint8)
    view = view_of(Track(source="a", detect_width=width), size, None)
    seen = view.seen(picture)
    at_once = cv2.resize(picture, view.seen_size, interpolation=cv2.INTER_AREA)
    assert np.abs(seen.astype(int) - at_once).max() <= 1
