"""Four-sided figures made of straight edges that meet: what a contour does not show if its inside runs into the ground somewhere.

Line segments (R. Grompone von Gioi and others, LSD: a line segment detector, 2012) that lie on one line are taken together. Where two
such lines meet, and each of them ends, is a corner. Two corners on one line are a side; two sides between the same two lines are a figure.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pictures.pixels import Image

Points = NDArray[np.float64]

_SHORTEST = 10.0  # pixels; shorter segments are left out
_MOST_SEGMENTS = 1500  # the longest
_MOST_SEEDS = 150  # lines that are put together, from the longest segment on
_MOST_LINES = 60  # those of them of which most is seen
_OFF = 2.0  # pixels that a segment may lie off its line
_TURNED = 4.0  # degrees
_NEAR, _GONE = 20.0, 0.35  # pixels behind a corner, and how much of its line may be seen there
_FAR, _SEEN = 60.0, 0.3  # pixels before a corner, and how much of its line must be seen there
_SIDE_SEEN = 0.5
_STEEPEST = math.cos(math.radians(25))  # lines that cross under a smaller angle make no corner
_MOST_FIGURES = 100


@dataclass(frozen=True, slots=True, eq=False)
class _Line:
    """A line, by a point and a direction of length 1, and what is seen of it: intervals along it, in order and apart."""

    point: Points
    along: Points
    seen: Points

    def share(self, begin: float, end: float) -> float:
        """How much is seen between two places on it."""
        overlap = np.minimum(self.seen[:, 1], end) - np.maximum(self.seen[:, 0], begin)
        return float(np.maximum(overlap, 0).sum() / max(1e-6, end - begin))


@dataclass(frozen=True, slots=True)
class _Corner:
    """Where a line ends at another one: the other's number, the place along the line, and 1 if it begins there, -1 if it ends."""

    other: int
    place: float
    way: int


def figures(channels: Sequence[Image], least: float) -> list[Points]:
    """Corners `(4, 2)` of the figures in an image, in pixels, going round.

    Args:
        channels: of the image, 8 bits each.
        least: the smallest area in square pixels.
    """
    detector = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD)
    found = [segments.reshape(-1, 4) for channel in channels if (segments := detector.detect(channel)[0]) is not None]
    lines = _lines(np.concatenate(found).astype(np.float64)) if found else []
    made = []
    for quad in _closed(lines):
        if cv2.contourArea(quad.astype(np.float32)) >= least and cv2.isContourConvex(quad.astype(np.float32)):
            made.append(quad)
            if len(made) == _MOST_FIGURES:
                break
    return made


def _lines(segments: Points) -> list[_Line]:
    lengths = np.linalg.norm(segments[:, 2:] - segments[:, :2], axis=1)
    order = np.argsort(-lengths, kind="stable")[:_MOST_SEGMENTS]
    segments, lengths = segments[order], lengths[order]
    segments, lengths = segments[lengths >= _SHORTEST], lengths[lengths >= _SHORTEST]
    free = np.ones(len(segments), bool)
    lines: list[_Line] = []
    for number in range(len(segments)):
        if len(lines) == _MOST_SEEDS:
            break
        if not free[number]:
            continue
        point, along = segments[number, :2], (segments[number, 2:] - segments[number, :2]) / lengths[number]
        for _ in range(2):  # once by the longest segment, once by all that lie on its line
            here = free & _on_line(segments, lengths, point, along)
            ends = segments[here].reshape(-1, 2)
            fitted = np.asarray(cv2.fitLine(ends.astype(np.float32), cv2.DIST_L2, 0, 0.01, 0.01), np.float64).ravel()
            point, along = fitted[2:], fitted[:2]
        free[here] = False
        free[number] = False
        places = np.sort(((segments[here].reshape(-1, 2) - point) @ along).reshape(-1, 2), axis=1)
        if len(places):
            lines.append(_Line(point, along, _together(places)))
    lines.sort(key=lambda line: -float(np.ptp(line.seen, axis=1).sum()))
    return lines[:_MOST_LINES]


def _on_line(segments: Points, lengths: NDArray[np.float64], point: Points, along: Points) -> NDArray[np.bool_]:
    normal = np.array([-along[1], along[0]])
    off = np.abs((segments.reshape(-1, 2, 2) - point) @ normal).max(axis=1)
    straight = np.abs((segments[:, 2:] - segments[:, :2]) @ along) >= math.cos(math.radians(_TURNED)) * lengths
    return np.asarray((off <= _OFF) & straight)


def _together(places: Points) -> Points:
    """Intervals that overlap or nearly touch as one."""
    joined: list[list[float]] = []
    for begin, end in sorted(places.tolist()):
        if joined and begin <= joined[-1][1] + 1.5:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([begin, end])
    return np.array(joined)


def _closed(lines: list[_Line]) -> Iterator[Points]:
    """The figures of these lines, those of the longest lines first."""
    meetings = {(one, other): place for one in range(len(lines)) for other in range(one) if (place := _meeting(lines[one], lines[other]))}
    corners: dict[int, list[_Corner]] = defaultdict(list)
    for (one, other), (here, there) in meetings.items():
        ways = _way(lines[one], here), _way(lines[other], there)
        if all(ways):
            corners[one].append(_Corner(other, here, ways[0]))
            corners[other].append(_Corner(one, there, ways[1]))
    sides: dict[tuple[int, int], list[tuple[int, _Corner, _Corner]]] = defaultdict(list)
    for number, line in enumerate(lines):
        starts = [corner for corner in corners[number] if corner.way > 0]
        stops = [corner for corner in corners[number] if corner.way < 0]
        for start in starts:
            for stop in stops:
                if start.other != stop.other and stop.place - start.place > _NEAR / 2 and line.share(start.place, stop.place) >= _SIDE_SEEN:
                    first, last = (start, stop) if start.other < stop.other else (stop, start)
                    sides[first.other, last.other].append((number, first, last))
    for between, pair in sides.items():
        for n, (one, first, last) in enumerate(pair):
            for other, third, fourth in pair[:n]:
                if all(_is_side(lines, corners, across, one, other) for across in between):
                    places = ((one, first), (one, last), (other, fourth), (other, third))
                    yield np.array([lines[number].point + corner.place * lines[number].along for number, corner in places])


def _is_side(lines: list[_Line], corners: dict[int, list[_Corner]], number: int, one: int, other: int) -> bool:
    """Whether a line goes from one line to the other, and is seen between them."""
    ends = {corner.other: corner for corner in corners[number] if corner.other in (one, other)}
    start, stop = sorted(ends.values(), key=lambda corner: corner.place)
    return (start.way, stop.way) == (1, -1) and lines[number].share(start.place, stop.place) >= _SIDE_SEEN


def _meeting(one: _Line, other: _Line) -> tuple[float, float] | None:
    """The places along both lines where they cross; None if they hardly do."""
    if abs(float(one.along @ other.along)) > _STEEPEST:
        return None
    turn = one.along[0] * other.along[1] - one.along[1] * other.along[0]
    apart = other.point - one.point
    return (
        float((apart[0] * other.along[1] - apart[1] * other.along[0]) / turn),
        float((apart[0] * one.along[1] - apart[1] * one.along[0]) / turn),
    )


def _way(line: _Line, place: float) -> int:
    """1 if the line begins at a place, -1 if it ends there; 0 if it passes, or is not seen."""
    if line.share(place - _NEAR, place) <= _GONE and line.share(place, place + _FAR) >= _SEEN:
        return 1
    return -1 if line.share(place, place + _NEAR) <= _GONE and line.share(place - _FAR, place) >= _SEEN else 0
