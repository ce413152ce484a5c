"""TUIO 1.1, outwards: what was found in a picture, for all that reads cursors, objects and blobs of a touch table.

https://www.tuio.org/?specification: a bundle says where it comes from (`source`), which ids there are (`alive`), where each of them is
(`set`), and its number (`fseq`). No message says that something ended: what is missing in `alive` is gone. So a lost datagram costs one
frame and no more, and if a frame needs several bundles, each of them carries the whole `alive`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal, Self

import msgspec

from worker.protocol.messages import Message, Plain
from worker.protocol.osc import bundle, encode

Profile = Literal["2Dcur", "2Dobj", "2Dblb"]
#: What fits into one Ethernet frame with the heads of IP and UDP.
DATAGRAM_BYTES = 1472
#: Interval of the messages that say that we are still there, while nothing changes.
IDLE_S = 1.0
#: The number of a bundle that repeats what is known already.
_REPEATED = -1
_LAST_FRAME = 2**31 - 1
_ELEMENT_HEAD = 4
#: A shorter time between two frames gives no speed.
_LEAST_S = 1e-4


class Touch(msgspec.Struct, frozen=True):
    """One cursor, object or blob. What its profile does not have is not sent.

    Attributes:
        id: its session id, as long as it lives.
        x, y: its center, 0 to 1 from the left and from the top; what is outside is moved to the border.
        angle: radians, clockwise as seen in the picture; any turn.
        width, height: of the box that turns with it, 0 to 1 of the picture's.
        area: 0 to 1 of the picture's; None = that of the ellipse in the box.
        marker: the class id of an object: its marker's number; -1 = none.
        vx, vy: pictures per second; None = from the frame before.
    """

    id: int
    x: float
    y: float
    angle: float = 0.0
    width: float = 0.0
    height: float = 0.0
    area: float | None = None
    marker: int = -1
    vx: float | None = None
    vy: float | None = None

    @classmethod
    def in_picture(
        cls,
        identity: int,
        center: tuple[float, float],
        picture: tuple[float, float],
        *,
        size: tuple[float, float] = (0.0, 0.0),
        angle: float = 0.0,
        marker: int = -1,
        velocity: tuple[float, float] | None = None,
    ) -> Self:
        """A touch from pixels.

        Args:
            identity: its session id.
            center: x, y in pixels from the top left.
            picture: width and height of the picture in pixels.
            size: width and height in pixels.
            angle: radians, clockwise.
            marker: the number of its marker.
            velocity: pixels per second.

        >>> Touch.in_picture(7, (960, 270), (1920, 1080), size=(192, 108)).width
        0.1
        """
        across, down = max(1.0, picture[0]), max(1.0, picture[1])
        vx, vy = (None, None) if velocity is None else (velocity[0] / across, velocity[1] / down)
        return cls(
            id=identity,
            x=center[0] / across,
            y=center[1] / down,
            angle=angle,
            width=size[0] / across,
            height=size[1] / down,
            marker=marker,
            vx=vx,
            vy=vy,
        )


class _Said(Message, frozen=True):
    """A message of TUIO."""

    values: tuple[Plain, ...]

    def arguments(self) -> tuple[Plain, ...]:
        return self.values


class _Cursor(_Said, frozen=True):
    address: ClassVar[str] = "/tuio/2Dcur"


class _Object(_Said, frozen=True):
    address: ClassVar[str] = "/tuio/2Dobj"


class _Blob(_Said, frozen=True):
    address: ClassVar[str] = "/tuio/2Dblb"


_MESSAGES: dict[str, type[_Said]] = {"2Dcur": _Cursor, "2Dobj": _Object, "2Dblb": _Blob}


class _Motion(msgspec.Struct, frozen=True):
    """How something moved when it was last sent, from which the next accelerations follow."""

    x: float
    y: float
    angle: float
    speed: float
    turns: float


class Tuio(msgspec.Struct):
    """One source of one profile, as datagrams to be sent.

    Begin with `begin()`, then `frame(...)` for each picture, `idle(now)` now and then while there is none, and `end()`.

    Attributes:
        source: who sends, as "application@address". Two that send to one receiver need two names.
        profile: "2Dcur", "2Dobj" or "2Dblb".
        limit: bytes of a datagram. With more than about 130 objects their ids alone take half of it; then datagrams become larger.
    """

    source: str
    profile: Profile = "2Dblb"
    limit: int = DATAGRAM_BYTES
    _number: int = 0
    _alive: tuple[int, ...] = ()
    _sent_s: float | None = None
    _frame_s: float | None = None
    _motions: dict[int, _Motion] = msgspec.field(default_factory=dict)

    def begin(self) -> list[bytes]:
        """Nothing is there: what a receiver still has of an earlier run is gone."""
        self._alive, self._motions, self._frame_s = (), {}, None
        return [self._bundle((), (), _REPEATED)]

    def end(self) -> list[bytes]:
        """As `begin`: nothing is there any more."""
        return self.begin()

    def frame(self, touches: Iterable[Touch], now_s: float) -> list[bytes]:
        """The datagrams of a frame, with all that is there. Of two touches with one id the first counts.

        Args:
            touches: all of them.
            now_s: when the picture was taken, in seconds from anywhere.
        """
        there: dict[int, Touch] = {}
        for touch in touches:
            there.setdefault(touch.id, touch)
        elapsed_s = None if self._frame_s is None else now_s - self._frame_s
        sets, motions = [], {}
        for touch in there.values():
            values, motions[touch.id] = self._set(touch, elapsed_s)
            sets.append(encode(_MESSAGES[self.profile](values)))
        self._alive = tuple(there)
        self._motions = motions
        self._sent_s = self._frame_s = now_s
        self._number = self._number % _LAST_FRAME + 1
        return self._bundles(sets)

    def idle(self, now_s: float) -> list[bytes]:
        """Says once a second that what was there still is; empty if the last datagram is not that old."""
        if self._sent_s is not None and 0 <= now_s - self._sent_s < IDLE_S:
            return []
        self._sent_s = now_s
        return [self._bundle(self._alive, (), _REPEATED)]

    def _bundles(self, sets: Sequence[bytes]) -> list[bytes]:
        head = len(self._bundle(self._alive, (), self._number))
        limit = max(self.limit, 2 * head)
        datagrams: list[bytes] = []
        waiting: list[bytes] = []
        size = head
        for message in sets:
            size += len(message) + _ELEMENT_HEAD
            if size > limit and waiting:
                datagrams.append(self._bundle(self._alive, waiting, self._number))
                waiting, size = [], head + len(message) + _ELEMENT_HEAD
            waiting.append(message)
        return [*datagrams, self._bundle(self._alive, waiting, self._number)]

    def _bundle(self, alive: Sequence[int], sets: Sequence[bytes], number: int) -> bytes:
        said = _MESSAGES[self.profile]
        return bundle(
            [encode(said(("source", self.source))), encode(said(("alive", *alive))), *sets, encode(said(("fseq", number)))],
        )

    def _set(self, touch: Touch, elapsed_s: float | None) -> tuple[tuple[Plain, ...], _Motion]:
        """The arguments of a `set`, and how the touch moves now."""
        x, y, angle = _unit(touch.x), _unit(touch.y), _finite(touch.angle) % math.tau
        before = self._motions.get(touch.id)
        per_s = 1 / elapsed_s if before is not None and elapsed_s is not None and elapsed_s >= _LEAST_S else 0.0
        then = before or _Motion(x, y, angle, 0.0, 0.0)
        vx = (x - then.x) * per_s if touch.vx is None else _finite(touch.vx)
        vy = (y - then.y) * per_s if touch.vy is None else _finite(touch.vy)
        turns = math.remainder(angle - then.angle, math.tau) / math.tau * per_s
        speed = math.hypot(vx, vy)
        faster, turns_faster = (speed - then.speed) * per_s, (turns - then.turns) * per_s
        motion = _Motion(x, y, angle, speed, turns)
        if self.profile == "2Dcur":
            return ("set", touch.id, x, y, vx, vy, faster), motion
        if self.profile == "2Dobj":
            return ("set", touch.id, touch.marker, x, y, angle, vx, vy, turns, faster, turns_faster), motion
        width, height = _unit(touch.width), _unit(touch.height)
        area = width * height * math.pi / 4 if touch.area is None else _unit(touch.area)
        return ("set", touch.id, x, y, angle, width, height, area, vx, vy, turns, faster, turns_faster), motion


def _finite(value: float) -> float:
    return float(value) if math.isfinite(value) else 0.0


def _unit(value: float) -> float:
    return min(1.0, max(0.0, _finite(value)))
