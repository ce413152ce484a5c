"""What a live job knows between two pictures: who is who, how fast it goes, and when the next picture is due. Pure: no source, no clock."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from worker.pictures.pixels import Image, size_of
from worker.tracking.identity import Detection, Identity, Rules, Track, in_slots

#: Objects at once, if there is no table of slots.
MOST_OBJECTS = 256
#: How fast the mean times follow.
_GAIN = 0.1
_LONGEST_PERIOD_S = 60.0
#: Of the longer side, the farthest that an object may turn up from its expected place.
_REACH = 1 / 16

Row = tuple[float, ...]
#: Rows of the searching operation, for a picture.
Find = Callable[[Image], Any]


@dataclass(frozen=True, slots=True)
class Looked:
    """What was seen in one picture.

    Attributes:
        rows: by the columns of the catalogue: an object each, or a slot each.
        count: how many objects there are.
        next_id: the id that the next new object gets.
        size: width and height of the picture that the rows belong to.
    """

    rows: tuple[Row, ...]
    count: int
    next_id: int
    size: tuple[int, int]


@dataclass(slots=True)
class Session:
    """Looks at one picture after the other.

    Attributes:
        params: of the job.
        view_of: how a source of this width and height is looked at.
        places_of: what found rows say about places.
        find: searches a picture.
        fields: the columns of the results, by name.
        next_id: the id of the next new object.
    """

    params: Any
    view_of: Callable[[tuple[int, int]], Any]
    places_of: Callable[[Any], Sequence[Any]]
    find: Find
    fields: tuple[str, ...]
    next_id: int = 1
    _source_size: tuple[int, int] | None = None
    _view: Any = None
    _identity: Identity | None = None
    _turns: dict[int, tuple[float, int]] = field(default_factory=dict)

    def look(self, image: Image, at_s: float) -> Looked:
        """Searches a picture and says which object is which.

        Args:
            image: as it comes from the source.
            at_s: when it was taken, in seconds from anywhere.

        Raises:
            WorkerError: the operation or the view refuses this picture.
        """
        size = size_of(image)
        if size != self._source_size:
            self._view, self._source_size = self.view_of(size), size
            self._identity = self._new_identity()
        identity = self._identity
        assert identity is not None  # noqa: S101 - it came with the size
        places = self._view.out(self.places_of(self.find(self._view.seen(image))))
        tracks = identity.update([Detection(one.x, one.y, one.radius, key=one.key) for one in places], at_s)
        self.next_id = identity.next_id
        turns = {}
        for track in tracks:
            seen = places[track.detection] if track.detection is not None else None
            turns[track.id] = (seen.angle, seen.code) if seen is not None else self._turns.get(track.id, (0.0, -1))
        self._turns = turns
        rows: Sequence[Track | None] = in_slots(tracks, self.params.slots) if self.params.slots else tracks
        table = tuple(self._row(place, track) for place, track in enumerate(rows))
        return Looked(table, len(tracks), self.next_id, self._view.size)

    def picture(self, image: Image) -> Image:
        """The picture that the rows belong to, 8 bits BGR, to draw into: of an image that was looked at."""
        return self._view.picture(image)  # type: ignore[no-any-return]

    def pause(self) -> None:
        """The source has vanished. What is at its old place when it comes back is the same object."""
        if self._identity is not None:
            self._identity.pause()

    def _new_identity(self) -> Identity:
        params = self.params
        distance = params.distance or _REACH * max(self._view.size)
        rules = Rules(params.slots or MOST_OBJECTS, params.confirm, params.keep, distance, params.size_ratio)
        return Identity(rules, next_id=self.next_id)

    def _row(self, place: int, track: Track | None) -> Row:
        if track is None:
            return tuple(float(place) if name == "row" else 0.0 for name in self.fields)
        width, height = self._view.size
        angle, code = self._turns[track.id]
        values: Mapping[str, float] = {
            "row": track.slot,
            "id": track.id,
            "active": 1,
            "x": track.x,
            "y": track.y,
            "radius": track.size,
            "u": (track.x + 0.5) / width,
            "v": 1 - (track.y + 0.5) / height,
            "vx": track.vx,
            "vy": track.vy,
            "speed": track.speed,
            "age": track.age_s,
            "missing": track.missing,
            "angle": angle,
            "code": code,
        }
        return tuple(float(values[name]) for name in self.fields)


@dataclass(slots=True)
class Pace:
    """When the next picture is due, and whether the work keeps up with the source.

    Attributes:
        rate: pictures per second, at most.
        ratio: the time that one takes, over the time between two that are wanted; above 1 some are left out.
        per_second: how many are looked at.

    >>> pace = Pace(rate=10)
    >>> pace.due_at
    0.0
    >>> pace.looked(number=0, began=5.0, ended=5.02)
    >>> pace.due_at
    5.1
    """

    rate: float
    due_at: float = 0.0
    ratio: float = 0.0
    per_second: float = 0.0
    _busy_s: float = 0.0
    _period_s: float = 0.0
    _between_s: float = 0.0
    _before: tuple[int, float] | None = None

    def looked(self, number: int, began: float, ended: float) -> None:
        """A picture was looked at.

        Args:
            number: of the picture; those that were left out are counted.
            began: in seconds.
            ended: by the same clock.
        """
        # From when it was due and not from when it came: otherwise each delay would lower the rate for ever.
        step = 1 / self.rate
        self.due_at = max(began, self.due_at) + step if began - self.due_at > step else self.due_at + step
        self._busy_s = _followed(self._busy_s, ended - began)
        if self._before is not None:
            elapsed = min(began - self._before[1], _LONGEST_PERIOD_S)
            self._between_s = _followed(self._between_s, elapsed)
            self._period_s = _followed(self._period_s, elapsed / max(1, number - self._before[0]))
        self._before = number, began
        self.ratio = self._busy_s / max(self._period_s, step)
        self.per_second = 1 / self._between_s if self._between_s > 0 else 0.0

    def begin_again(self) -> None:
        """The source was opened anew."""
        self._before = None


def _followed(mean: float, value: float) -> float:
    return mean + _GAIN * (value - mean) if mean and math.isfinite(value) else value


@dataclass(slots=True)
class Patience:
    """How long to wait before a source that has vanished is opened again: twice as long each time, up to a maximum.

    >>> patience = Patience()
    >>> [patience.vanished(now) for now in (0.0, 1.0, 2.0)]
    [0.5, 1.0, 2.0]
    >>> patience.came(2.0); patience.vanished(100.0)
    0.5
    """

    first_s: float = 0.5
    longest_s: float = 30.0
    steady_s: float = 10.0
    tries: int = 0
    _since: float | None = None

    def came(self, now: float) -> None:
        """A picture came."""
        if self._since is None:
            self._since = now

    def vanished(self, now: float) -> float:
        """The seconds to wait, after the source could not be opened or has vanished."""
        if self._since is not None and now - self._since >= self.steady_s:
            self.tries = 0
        self._since = None
        self.tries += 1
        return min(self.longest_s, self.first_s * 2.0 ** min(self.tries - 1, 30))
