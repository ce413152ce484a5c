from __future__ import annotations

import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.live import LAST_ID
from worker.tracking.identity import Detection, Identity, Rules, in_slots

ANY = st.floats(allow_nan=True, allow_infinity=True)
WILD = st.builds(Detection, ANY, ANY, ANY, st.sampled_from(["", "red", "blue"]), st.sampled_from(["", "1", "2"]))
NEAR = st.builds(Detection, st.integers(0, 60).map(float), st.integers(0, 60).map(float), st.integers(0, 9).map(float))
RULES = st.builds(
    Rules,
    slots=st.integers(1, 5),
    confirm=st.integers(1, 3),
    keep=st.integers(0, 3),
    distance=st.sampled_from([5.0, 20.0]),
    size_ratio=st.just(2.0),
)
FRAMES = st.lists(st.lists(NEAR, max_size=8), max_size=12)


def follow(identity, frames, fps=30):
    """The tracks after each frame."""
    return [identity.update(found, number / fps) for number, found in enumerate(frames)]


@given(RULES, FRAMES)
def test_ids(rules, frames):
    """An id is one object: it is there once in a frame, counted upwards, and never comes back."""
    seen, before = set(), set()
    for tracks in follow(Identity(rules), frames):
        ids = {track.id for track in tracks}
        assert [track.id for track in tracks] == sorted(ids)
        new = ids - before
        assert not new & seen
        assert not seen or not new or min(new) > max(seen)
        seen |= ids
        before = ids
    assert sorted(seen) == [*range(1, len(seen) + 1)]


@given(RULES, FRAMES)
def test_slots(rules, frames):
    """An object stays in its row, no row has two, a new one takes the lowest that is free, and the table keeps its length."""
    rows_before = [None] * rules.slots
    for tracks in follow(Identity(rules), frames):
        assert len(tracks) <= rules.slots
        rows = in_slots(tracks, rules.slots)
        assert len(rows) == rules.slots
        assert sorted(row.id for row in rows if row) == [track.id for track in tracks]
        staying = {track.id: track.slot for track in rows_before if track}
        for track in tracks:
            assert staying.get(track.id, track.slot) == track.slot
        new = [track.slot for track in tracks if track.id not in staying]
        kept = {track.slot for track in tracks if track.id in staying}
        assert new == [slot for slot in range(rules.slots) if slot not in kept][: len(new)]
        rows_before = rows


@given(RULES, FRAMES, st.randoms(use_true_random=False))
def test_order_of_detections(rules, frames, random):
    """Shuffled detections give the same tracks; only the indices differ, and they point at the same detections."""
    shuffled = [random.sample(found, len(found)) for found in frames]
    for one, other, found, mixed in zip(follow(Identity(rules), frames), follow(Identity(rules), shuffled), frames, shuffled, strict=True):
        assert [each.id for each in one] == [each.id for each in other]
        for left, right in zip(one, other, strict=True):
            assert (left.x, left.y, left.vx, left.vy, left.slot, left.age) == (right.x, right.y, right.vx, right.vy, right.slot, right.age)
            if left.detection is not None:
                assert found[left.detection] == mixed[right.detection]


@given(st.lists(st.tuples(st.lists(WILD, max_size=8), ANY), max_size=8), RULES)
def test_anything(frames, rules):
    """Whatever comes, places and velocities are finite, and a detection is given to one object only."""
    identity = Identity(rules)
    for found, now in frames:
        tracks = identity.update(found, now)
        for track in tracks:
            assert all(map(math.isfinite, (track.x, track.y, track.size, track.vx, track.vy, track.age_s, track.speed)))
            assert track.age_s >= 0
            assert (track.detection is None) == (track.missing > 0)
        used = [track.detection for track in tracks if track.detection is not None]
        assert len({*used}) == len(used)
    assert len(identity._objects) <= 2 * rules.slots


def test_confirmation():
    """Something must be seen often enough; a flash is no object, and costs no id."""
    identity = Identity(Rules(confirm=3))
    one, flash = Detection(10, 10, 5), Detection(500, 500, 5)
    assert follow(identity, [[one], [one, flash]]) == [(), ()]
    (track,) = identity.update([one], 0.1)
    assert (track.id, track.age, track.missing) == (1, 3, 0)
    for _ in range(5):
        tracks = identity.update([one, Detection(900, 10, 5)], 0.2)
    assert [track.id for track in tracks] == [1, 2]


def test_missing_frames():
    """An object moves on while it is missing, has its id again when it returns, and a new one after more than `keep` frames."""
    identity = Identity(Rules(confirm=1, keep=4, distance=20))
    frames = [[Detection(10.0 * number, 50, 5)] for number in range(10)]
    follow(identity, frames)
    for number in range(10, 14):
        (track,) = identity.update([], number / 30)
        assert track.x == pytest.approx(10 * number, abs=2)
        assert (track.detection, track.missing) == (None, number - 9)
    (track,) = identity.update([Detection(140, 50, 5)], 14 / 30)
    assert (track.id, track.missing, track.age, track.x) == (1, 0, 15, 140)
    for number in range(15, 19):
        assert len(identity.update([], number / 30)) == 1
    assert identity.update([], 19 / 30) == ()
    assert [track.id for track in identity.update([Detection(200, 50, 5)], 20 / 30)] == [2]


def test_speed_and_age():
    """Units per second and seconds, whatever the rate of frames."""
    for fps in (10, 60):
        tracks = follow(Identity(Rules(confirm=1)), [[Detection(30 * n / fps, 40 * n / fps, 5)] for n in range(2 * fps + 1)], fps)
        (track,) = tracks[-1]
        assert (track.vx, track.vy) == pytest.approx((30, 40), rel=0.01)
        assert track.speed == pytest.approx(50, rel=0.01)
        assert track.age_s == pytest.approx(2)
        assert track.age == 2 * fps + 1


def test_crossing():
    """Two that run through each other keep their ids: they are expected where they are going."""
    frames = [[Detection(100 + 8 * n, 100 + n, 10), Detection(420 - 8 * n, 140 - n, 10)] for n in range(41)]
    tracks = follow(Identity(Rules(confirm=1, distance=60)), frames)
    assert [track.detection for track in tracks[-1]] == [track.detection for track in tracks[0]]


@pytest.mark.parametrize("off", [0, 25, 40])
def test_a_false_detection(off):
    """An object is missing, and something is found beside it: it is itself when it returns. A turn is followed all the same."""
    frames = [[Detection(100 + 8.0 * n, 100, 10)] for n in range(12)]
    frames[8] = [Detection(164, 100 + off, 10)]
    tracks = follow(Identity(Rules(confirm=1, distance=60)), frames)
    assert [(track.id, track.missing) for track in tracks[-1]] == [(1, 0)]
    turned = frames[:8] + [[Detection(156, 100 + 8.0 * n, 10)] for n in range(1, 8)]
    tracks = follow(Identity(Rules(confirm=1, distance=60)), turned)
    assert [(track.id, track.missing) for track in tracks[-1]] == [(1, 0)]


def test_sizes():
    """Two objects in one place keep their ids by their sizes."""
    identity = Identity(Rules(confirm=1, distance=50))
    first = identity.update([Detection(100, 100, 40), Detection(110, 100, 10)], 0.0)
    second = identity.update([Detection(110, 100, 40), Detection(100, 100, 10)], 0.03)
    assert [track.size for track in first] == [track.size for track in second] == [40, 10]
    (third,) = identity.update([Detection(105, 100, 95)], 0.06)[2:]
    assert third.id == 3


def test_kinds_and_keys():
    """Red never becomes blue; a marker is the same wherever it turns up, and another number is another marker."""
    identity = Identity(Rules(confirm=1, distance=50))
    identity.update([Detection(10, 10, 5, "red"), Detection(500, 500, 5, key="7")], 0.0)
    tracks = identity.update([Detection(10, 10, 5, "blue"), Detection(900, 20, 5, key="7")], 0.03)
    assert [(track.id, track.kind, track.key, track.missing) for track in tracks] == [
        (1, "red", "", 1),
        (2, "", "7", 0),
        (3, "blue", "", 0),
    ]
    tracks = identity.update([Detection(900, 20, 5, key="8")], 0.06)
    assert [(track.id, track.key) for track in tracks if not track.missing] == [(4, "8")]
    tracks = identity.update([Detection(901, 20, 5)], 0.09)
    assert sum(not track.missing for track in tracks) == 1


def test_a_full_table():
    """What finds no row waits, the largest first, and gets the row of one that is gone."""
    identity = Identity(Rules(slots=2, confirm=1, keep=0, distance=10))
    found = [Detection(100.0 * n, 0, 10.0 + n) for n in range(4)]
    assert [track.size for track in identity.update(found, 0.0)] == [13, 12]
    tracks = identity.update(found[:3], 0.03)
    assert [(track.size, track.slot) for track in tracks] == [(12, 1), (11, 0)]


def test_a_gap():
    """After a break in the source an object is looked for where it was, not where its speed would have brought it."""
    identity = Identity(Rules(confirm=1, distance=30))
    follow(identity, [[Detection(10.0 * n, 0, 5)] for n in range(10)])
    (track,) = identity.update([Detection(95, 0, 5)], 60.0)
    assert track.id == 1
    (track,) = identity.update([Detection(95, 0, 5)], 1.0)  # and a clock that was set back does no harm
    assert (track.id, track.age_s) == (1, 60.0)


def test_a_pause():
    """After a break of the source, what is at its old place in the first frames is the same. The rest is new, and nothing old waits."""
    identity = Identity(Rules(confirm=2, keep=20, distance=30))
    rows = (0, 200, 400)
    follow(identity, [[Detection(10.0 * n, y, 5) for y in rows] for n in range(10)])
    identity.pause()
    tracks = identity.update([Detection(95, 0, 5), Detection(200, 400, 5)], 0.0)
    assert [(track.id, track.missing) for track in tracks] == [(1, 0), (2, 1), (3, 1)]
    tracks = identity.update([Detection(95, 0, 5), Detection(80, 200, 5), Detection(200, 400, 5)], 0.03)
    assert [(track.id, track.missing) for track in tracks] == [(1, 0), (2, 0), (3, 2), (4, 0)]
    for number in range(4):
        tracks = identity.update([Detection(95, 0, 5), Detection(80, 200, 5), Detection(200, 400, 5)], 0.06 + number / 30)
    assert [(track.id, track.missing) for track in tracks] == [(1, 0), (2, 0), (4, 0)]
    assert all(track.age_s < 1 for track in tracks)


def test_after_the_last_id():
    """Ids are floats on their way: after the last exact one they begin at 1 again, without those that are still there."""
    identity = Identity(Rules(confirm=1), next_id=1)
    assert [track.id for track in identity.update([Detection(0, 0)], 0.0)] == [1]
    identity.next_id = LAST_ID
    places = [Detection(0, 0), Detection(500, 0), Detection(0, 500)]
    assert sorted(track.id for track in identity.update(places, 0.1)) == [1, 2, LAST_ID]
    assert struct.unpack(">f", struct.pack(">f", LAST_ID)) == (LAST_ID,)


def test_forget():
    """All are gone, and their ids with them; a new worker goes on from a number."""
    identity = Identity(Rules(confirm=1), next_id=40)
    assert [track.id for track in identity.update([Detection(0, 0)], 0.0)] == [40]
    identity.forget()
    assert [track.id for track in identity.update([Detection(0, 0)], 0.0)] == [41]
    assert identity.next_id == 42
