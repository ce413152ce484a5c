"""Which object of this frame is which of the frame before: ids that stay.

Detections come in, tracks come out. Each track predicts where its object is now (constant velocity); the detections of a frame are given to
the tracks so that the sum of distances and of differences in size is least. This is the method of A. Bewley, Z. Ge, L. Ott, F. Ramos and
B. Upcroft, "Simple Online and Realtime Tracking", ICIP 2016, with points and sizes instead of boxes. The filter is R. E. Kalman's (1960),
with white noise as acceleration: Y. Bar-Shalom, X. R. Li and T. Kirubarajan, "Estimation with Applications to Tracking and Navigation",
2001, 6.2. A detection that surprises may be a turn of the object or none of its own; both are kept in mind for one more detection, the
smallest form of D. B. Reid, "An Algorithm for Tracking Multiple Targets", IEEE Trans. Automatic Control 24 (1979).

`python -m tests.benchmarks.identity` shows what this is worth; the constants were chosen on other seeds than those of the published table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from worker.catalog.live import LAST_ID
from worker.tracking.assignment import Choice, Costs, assign

#: Coordinates beyond this are in no picture.
_FARTHEST = 1e7
#: A size below this is none.
_SMALLEST = 1e-6
#: After a longer time without a frame nobody knows where things went: they are looked for at the place where they were.
_LONGEST_GAP_S = 1.0
#: Acceleration of objects over the noise of a measurement, as standard deviations, in 1/s^2. Only their ratio decides how the filter
#: follows.
_AGILITY = 1000.0
#: How little is known of a new object's velocity: a variance, in the same noise's square/s^2.
_UNKNOWN = 1e5
#: A detection is a surprise if it is so much farther from the expected place than usual, and than this share of `distance`.
_SURPRISE, _SURPRISE_SHARE = 3.0, 0.2
#: How fast the usual distance follows, and how much a single one may count, in multiples of it.
_USUAL_GAIN, _USUAL_MOST = 0.3, 3.0
#: What is found within this share of `distance` is given away first. Otherwise the best sum of all would now and then move a whole row of
#: objects on by one, if the reach is large and they are many.
_NEAR = 0.4
#: How much farther away an object may turn up with each frame in which it was missing, and at most, in multiples of `distance`.
_WIDER, _WIDEST = 0.3, 2.0
#: The cost of a size at its limit; a distance at its limit costs 1.
_SIZE_COST = 0.5
#: The cost of a track that gets no detection.
_ALONE = 1.0
#: How fast the remembered size follows.
_SIZE_GAIN = 0.3
#: Detections that are looked at in a frame, in multiples of `slots`.
_DETECTIONS = 8


@dataclass(frozen=True, slots=True)
class Rules:
    """How objects are followed.

    Attributes:
        slots: rows of the table of slots, so at most so many objects at once.
        confirm: frames in which something must be seen before it counts as an object.
        keep: frames that an object may be missing in before it is gone.
        distance: how far from the expected place an object may be found, in the unit of the coordinates.
        size_ratio: by which factor a size may differ from the object's; above 1.
    """

    slots: int = 32
    confirm: int = 3
    keep: int = 15
    distance: float = 100.0
    size_ratio: float = 2.0


@dataclass(frozen=True, slots=True)
class Detection:
    """Something that was found in one frame. What has no finite place is left out.

    Attributes:
        x, y: its center, in any unit; y down or up.
        size: a length, such as its radius; 0 = unknown.
        kind: what it is, such as a color's name. Two kinds are never one object.
        key: its own name, such as a marker's number; "" = it has none, or it could not be read. The same key is the same object, wherever
            it turns up; two keys are never one object.
    """

    x: float
    y: float
    size: float = 0.0
    kind: str = ""
    key: str = ""


@dataclass(frozen=True, slots=True)
class Track:
    """An object, as it is in the frame that came last.

    Attributes:
        id: counted from 1; not given again before `LAST_ID` was given.
        slot: its row, from 0, until it is gone.
        x, y: the place of its detection; while it is missing, the place that is expected.
        size, kind, key: as of its last detection; the key stays once it was read.
        vx, vy: its velocity, in units per second.
        age: frames since it was first seen, that one included.
        age_s: seconds since it was first seen, without those of pauses.
        missing: frames in a row without a detection; 0 = it was seen.
        detection: the index of its detection in what was given; None while it is missing.
    """

    id: int
    slot: int
    x: float
    y: float
    size: float
    kind: str
    key: str
    vx: float
    vy: float
    age: int
    age_s: float
    missing: int
    detection: int | None

    @property
    def speed(self) -> float:
        """Units per second."""
        return math.hypot(self.vx, self.vy)


@dataclass(slots=True)
class _Motion:
    """A place and a velocity, and how well they are known."""

    x: float
    y: float
    vx: float = 0.0
    vy: float = 0.0
    # The covariance of place and velocity, the same for x and y, in units of the noise of a measurement.
    pp: float = 1.0
    pv: float = 0.0
    vv: float = _UNKNOWN

    def predict(self, elapsed_s: float) -> None:
        noise = _AGILITY**2
        self.x = _within(self.x + self.vx * elapsed_s)
        self.y = _within(self.y + self.vy * elapsed_s)
        self.pp += elapsed_s * (2 * self.pv + elapsed_s * self.vv) + noise * elapsed_s**4 / 4
        self.pv += elapsed_s * self.vv + noise * elapsed_s**3 / 2
        self.vv += noise * elapsed_s**2

    def correct(self, found: Detection) -> None:
        place_gain, velocity_gain = self.pp / (self.pp + 1), self.pv / (self.pp + 1)
        off_x, off_y = found.x - self.x, found.y - self.y
        self.x += place_gain * off_x
        self.y += place_gain * off_y
        self.vx += velocity_gain * off_x
        self.vy += velocity_gain * off_y
        self.vv -= velocity_gain * self.pv
        self.pv *= 1 - place_gain
        self.pp *= 1 - place_gain

    def distance(self, found: Detection) -> float:
        return math.hypot(found.x - self.x, found.y - self.y)


@dataclass(slots=True)
class _Object:
    """What is known of an object between two frames."""

    motion: _Motion
    size: float  # smoothed
    kind: str
    key: str
    seen: Detection
    detection: int | None
    #: How it would move if its last detection, a surprise, had not been its own.
    otherwise: _Motion | None = None
    rests: int = 0  # frames since a pause, if it was not seen since then; otherwise 0
    usual: float = 0.0  # distance of a detection from the expected place
    id: int = 0  # 0 until it is confirmed
    slot: int = -1
    age: int = 1
    age_s: float = 0.0
    hits: int = 1
    missing: int = 0

    def predict(self, elapsed_s: float) -> None:
        if elapsed_s > _LONGEST_GAP_S:
            self.rest()
        for motion in self.motions():
            motion.predict(min(elapsed_s, _LONGEST_GAP_S))
        self.rests += self.rests > 0
        self.age += 1
        self.age_s += elapsed_s
        self.detection = None

    def rest(self) -> None:
        """Nobody knows how it went on. It is expected where it was seen last, and no farther from there while it is missing."""
        self.motion, self.otherwise, self.rests = _Motion(self.seen.x, self.seen.y), None, 1

    def motions(self) -> tuple[_Motion, ...]:
        return (self.motion,) if self.otherwise is None else (self.motion, self.otherwise)

    def take(self, index: int, found: Detection, distance: float) -> None:
        """This detection is its own. `distance` as in the rules."""
        self.motion, self.otherwise = min(self.motions(), key=lambda motion: motion.distance(found)), None
        off = self.motion.distance(found)
        if self.hits < 3:
            self.usual = off
        else:
            if off > max(_SURPRISE * self.usual, _SURPRISE_SHARE * distance):
                self.otherwise = replace(self.motion)
            self.usual += _USUAL_GAIN * (min(off, _USUAL_MOST * self.usual + _SURPRISE_SHARE / 2 * distance) - self.usual)
        self.motion.correct(found)
        if found.size:
            self.size += _SIZE_GAIN * (found.size - self.size) if self.size else found.size
        self.kind, self.key = found.kind, found.key or self.key
        self.seen, self.detection, self.missing, self.rests = found, index, 0, 0
        self.hits += 1


@dataclass(slots=True)
class Identity:
    """Follows the objects of one source.

    Attributes:
        rules: how.
        next_id: the id of the next new object. Whoever goes on after a break starts from the number that was reached.
        assign: gives rows of costs their columns, as `worker.tracking.assignment.assign` does.

    >>> identity = Identity(Rules(confirm=2))
    >>> identity.update([Detection(10, 20, size=5)], now_s=0.0)
    ()
    >>> (track,) = identity.update([Detection(12, 20, size=5)], now_s=0.1)
    >>> track.id, track.slot, track.age, track.missing
    (1, 0, 2, 0)
    """

    rules: Rules = Rules()
    next_id: int = 1
    assign: Callable[[Costs, float], Choice] = assign
    _objects: list[_Object] = field(default_factory=list)
    _before_s: float | None = None

    def update(self, detections: Sequence[Detection], now_s: float) -> tuple[Track, ...]:
        """The objects after a frame, by their ids. Objects that are missing for at most `keep` frames are among them.

        Args:
            detections: what was found, in any order; their order changes nothing.
            now_s: when the picture was taken, in seconds from anywhere.
        """
        elapsed_s = self._elapsed(now_s)
        for one in self._objects:
            one.predict(elapsed_s)
        left = self._match([one for one in self._objects if one.id], self._usable(detections), _NEAR)
        left = self._match([one for one in self._objects if one.id and one.detection is None], left, 1.0)
        left = self._match([one for one in self._objects if not one.id], left, 1.0)
        for one in self._objects:
            one.missing += one.detection is None
        self._objects = [one for one in self._objects if self._stays(one)]
        self._begin(left)
        self._confirm()
        return tuple(self._track(one) for one in sorted(self._objects, key=lambda one: one.id) if one.id)

    def pause(self) -> None:
        """The source was interrupted, and its clock may begin anew. What is at its old place in the first frames is the same."""
        for one in self._objects:
            one.rest()
        self._before_s = None

    def forget(self) -> None:
        """All objects are gone. Their ids are not given again."""
        self._objects.clear()
        self._before_s = None

    def _stays(self, one: _Object) -> bool:
        if one.rests > self.rules.confirm + 2:  # what waits at its old place for longer would take whatever comes by
            return False
        return one.missing <= (self.rules.keep if one.id else 1)

    def _elapsed(self, now_s: float) -> float:
        before_s = self._before_s
        if not math.isfinite(now_s):
            now_s = 0.0 if before_s is None else before_s
        self._before_s = now_s
        return 0.0 if before_s is None else max(0.0, now_s - before_s)

    def _usable(self, detections: Sequence[Detection]) -> list[tuple[int, Detection]]:
        """The detections with their indices, the largest first, and in an order that does not depend on the one in which they came."""
        found = []
        for index, one in enumerate(detections):
            if abs(one.x) < _FARTHEST and abs(one.y) < _FARTHEST:  # false for NaN, too
                size = float(one.size) if _SMALLEST < one.size < _FARTHEST else 0.0
                found.append((index, Detection(float(one.x), float(one.y), size, one.kind, one.key)))
        found.sort(key=lambda each: (-each[1].size, each[1].x, each[1].y, each[1].kind, each[1].key))
        return found[: _DETECTIONS * max(1, self.rules.slots)]

    def _match(self, objects: list[_Object], found: list[tuple[int, Detection]], share: float) -> list[tuple[int, Detection]]:
        """Gives detections to objects within this share of `distance`; returns those that are left over."""
        if not objects or not found:
            return found
        chosen = self.assign(self._costs(objects, [one for _, one in found], share * self.rules.distance), _ALONE)
        for one, place in zip(objects, chosen, strict=True):
            if place >= 0:
                one.take(*found[place], self.rules.distance)
        taken = {*chosen}
        return [each for place, each in enumerate(found) if place not in taken]

    def _costs(self, objects: list[_Object], found: list[Detection], reach: float) -> Costs:
        """What it costs to take a detection (column) for an object (row) if it may be so far away; infinite where that cannot be."""
        old = np.array([(one.size, _reach(one)) for one in objects]).reshape(-1, 1, 2)
        new = np.array([(one.x, one.y, one.size) for one in found]).reshape(1, -1, 3)
        distance = _squares([one.motion for one in objects], new)
        unsure = [row for row, one in enumerate(objects) if one.otherwise is not None]
        if unsure:
            others = _squares([one.otherwise for one in objects if one.otherwise is not None], new)
            distance[unsure] = np.minimum(distance[unsure], others)
        distance /= (max(reach, 1e-9) * old[..., 1]) ** 2
        sizes = old[..., 0], new[..., 2]
        known = (sizes[0] > 0) & (sizes[1] > 0)
        ratio = np.log(np.where(known, sizes[0], 1.0) / np.where(known, sizes[1], 1.0)) / math.log(max(self.rules.size_ratio, 1.000001))
        size = ratio**2
        costs = np.where((distance <= 1) & (size <= 1), distance + _SIZE_COST * size, np.inf)
        self._names(costs, distance, objects, found)
        return costs

    @staticmethod
    def _names(costs: Costs, distance: Costs, objects: list[_Object], found: list[Detection]) -> None:
        """Brings kinds and keys into the costs."""
        if len({one.kind for one in found} | {one.kind for one in objects}) > 1:
            old, new = np.array([one.kind for one in objects]), np.array([one.kind for one in found])
            costs[old[:, None] != new[None, :]] = np.inf
        if any(one.key for one in objects) and any(one.key for one in found):
            for row, one in enumerate(objects):
                for column, other in enumerate(found):
                    if not one.key or not other.key or one.kind != other.kind:
                        continue
                    # A name beats every distance. Of two things with one name, which should not be, the nearer one is it.
                    same = one.key == other.key
                    costs[row, column] = -2.0 + min(float(distance[row, column]), 1e6) / 1e6 if same else np.inf

    def _begin(self, left: Iterable[tuple[int, Detection]]) -> None:
        room = 2 * max(1, self.rules.slots) - len(self._objects)
        for index, one in list(left)[: max(0, room)]:
            self._objects.append(_Object(_Motion(one.x, one.y), one.size, one.kind, one.key, one, index))

    def _confirm(self) -> None:
        """Gives ids and the lowest free rows to objects that were seen often enough, the oldest first."""
        taken = {one.slot for one in self._objects}
        free = iter([slot for slot in range(max(1, self.rules.slots)) if slot not in taken])
        for one in self._objects:
            if one.id or one.missing or one.hits < self.rules.confirm:
                continue
            slot = next(free, None)
            if slot is None:
                return
            one.id, one.slot = self._new_id(), slot

    def _new_id(self) -> int:
        used = {one.id for one in self._objects}
        while self.next_id in used:  # from before the ids began at 1 again
            self.next_id = self.next_id % LAST_ID + 1
        new = self.next_id
        self.next_id = new % LAST_ID + 1
        return new

    def _track(self, one: _Object) -> Track:
        seen = one.detection is not None
        return Track(
            id=one.id,
            slot=one.slot,
            x=one.seen.x if seen else one.motion.x,
            y=one.seen.y if seen else one.motion.y,
            size=one.seen.size or one.size,
            kind=one.kind,
            key=one.key,
            vx=one.motion.vx,
            vy=one.motion.vy,
            age=one.age,
            age_s=one.age_s,
            missing=one.missing,
            detection=one.detection,
        )


def in_slots(tracks: Iterable[Track], slots: int) -> list[Track | None]:
    """The table of slots: row k is the object of slot k, or None; always `slots` rows.

    >>> in_slots([], 2)
    [None, None]
    """
    rows: list[Track | None] = [None] * slots
    for track in tracks:
        if track.slot < slots:
            rows[track.slot] = track
    return rows


def _squares(motions: Iterable[_Motion], new: Costs) -> Costs:
    """The squares of the distances of motions (rows) from detections (columns)."""
    old = np.array([(motion.x, motion.y) for motion in motions]).reshape(-1, 1, 2)
    squares: Costs = ((old - new[..., :2]) ** 2).sum(axis=2)
    return squares


def _reach(one: _Object) -> float:
    return 1.0 if one.rests else min(1 + _WIDER * one.missing, _WIDEST)


def _within(value: float) -> float:
    return max(-_FARTHEST, min(_FARTHEST, value))
