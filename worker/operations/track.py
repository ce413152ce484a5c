"""From a live picture to the one that is searched, and from what was found back to where it is.

    source -> region -> turned -> mirrored -> made smaller -> search          (`View.seen`)
    what was found -> pixels of the source -> without the lens's distortion -> turned and mirrored -> flattened -> scaled      (`View.out`)

A pixel's middle is its coordinate, x right and y down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.track import Track
from worker.errors import ArgumentError
from worker.operations import camera
from worker.operations.angles import direction
from worker.operations.geometry import corners_of
from worker.operations.regions import check_region, numbers_of
from worker.operations.shapes import Rows, Size
from worker.pictures.pixels import Image, color, size_of, with_depth

Floats = NDArray[np.float64]

_ROTATIONS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
_MIRRORS = {"horizontal": 1, "vertical": 0, "both": -1}
_LONGEST_SIDE = 16384


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """Where one thing is: its centre, its radius, its angle clockwise in degrees, and the number on it, -1 for none.

    Attributes:
        key: what tells it from others of its kind; empty if nothing does.
    """

    x: float
    y: float
    radius: float
    angle: float = 0.0
    code: int = -1
    key: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """How a source of one size is looked at.

    Attributes:
        region: left, top, right, bottom in pixels of the source.
        seen_size: width and height of the picture that is searched.
        size: width and height of the picture that results belong to.
        to_source: `(3, 3)`, from pixels of the search to those of the source.
        to_output: `(3, 3)`, from pixels of the source, without distortion, to those of the results.
        lens: takes the distortion out; None if there is none.
        unbent: the same for whole pictures, as `cv2.remap` wants it; None if there is no lens, or no overlay is wanted.
        is_flattened: `perspective` is used.
    """

    region: tuple[int, int, int, int]
    rotate: int
    flip: str
    seen_size: Size
    size: Size
    to_source: Floats
    to_output: Floats
    lens: camera.Camera | None
    unbent: tuple[Any, Any] | None = None
    is_flattened: bool = False

    def seen(self, image: Image) -> Image:
        """The picture to search."""
        image = self._turned(image)
        if size_of(image) != self.seen_size:
            image = _smaller(image, self.seen_size)
        return np.ascontiguousarray(image)

    def picture(self, image: Image) -> Image:
        """The picture that results belong to, 8 bits BGR: a new one, to draw into."""
        if self.unbent is None and not self.is_flattened:
            made = color(with_depth(self._turned(image), 8))
            if size_of(made) != self.size:
                larger = self.size[0] > made.shape[1] or self.size[1] > made.shape[0]
                return np.asarray(cv2.resize(made, self.size, interpolation=cv2.INTER_LINEAR)) if larger else _smaller(made, self.size)
            return made.copy() if np.may_share_memory(made, image) else np.ascontiguousarray(made)
        made = color(with_depth(image, 8))
        if self.unbent is not None:
            made = np.asarray(cv2.remap(made, *self.unbent, cv2.INTER_LINEAR))
        return np.asarray(cv2.warpPerspective(made, self.to_output, self.size, flags=cv2.INTER_LINEAR))

    def _turned(self, image: Image) -> Image:
        left, top, right, bottom = self.region
        image = image[top:bottom, left:right]
        if self.rotate:
            image = np.asarray(cv2.rotate(image, _ROTATIONS[self.rotate]))
        return np.asarray(cv2.flip(image, _MIRRORS[self.flip])) if self.flip in _MIRRORS else image

    def points_out(self, points: Floats) -> Floats:
        """Points `(N, 2)` of the search as points of the results."""
        at = _through(self.to_source, points)
        if self.lens is not None and len(at):
            focal, middle = self.lens.matrix[[0, 1], [0, 1]], self.lens.matrix[:2, 2]
            at = camera.rays(self.lens, at) * focal + middle
        return _through(self.to_output, at)

    def out(self, places: Sequence[Place]) -> list[Place]:
        """Places of the search as places of the results. A radius becomes that of a circle of the area that it has there."""
        if not places:
            return []
        at = np.array([(one.x, one.y) for one in places])
        turns = np.radians([one.angle for one in places])
        along = np.column_stack([np.cos(turns), np.sin(turns)])
        across = np.column_stack([-along[:, 1], along[:, 0]])
        moved = self.points_out(np.concatenate([at, at + along, at + across]))
        count = len(places)
        ahead, aside = moved[count : 2 * count] - moved[:count], moved[2 * count :] - moved[:count]
        scales = np.sqrt(np.abs(ahead[:, 0] * aside[:, 1] - ahead[:, 1] * aside[:, 0]))
        angles = direction(*ahead.T)
        return [
            Place(float(x), float(y), one.radius * float(scale), float(angle), one.code, one.key)
            for one, (x, y), scale, angle in zip(places, moved[:count], scales, angles, strict=True)
            if math.isfinite(x) and math.isfinite(y)
        ]


def _smaller(image: Image, size: Size) -> Image:
    """The mean of the pixels that become one. By a whole even number it is done in steps of two, for which OpenCV has a fast way."""
    width, height = size_of(image)
    times = width // size[0]
    if times > 2 and times % 2 == 0 and (width, height) == (times * size[0], times * size[1]):
        image = np.asarray(cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA))
        return _smaller(image, size)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


def check(params: Track) -> None:
    """Raises ArgumentError for a region or corners that are none."""
    check_region(params.region)
    if params.perspective:
        corners_of(params.perspective, "perspective")


def view_of(params: Track, size: Size, lens: bytes | None) -> View:
    """The view of a source.

    Args:
        params: what is to be seen.
        size: width and height of the source's pictures.
        lens: the calibration file; None if there is none.

    Raises:
        ArgumentError: the region is not in the picture; the lens is of pictures of other proportions.
    """
    region = _region(params.region, size)
    forward, turned = _turned(params, region)
    scale = min(1.0, params.detect_width / turned[0]) if params.detect_width else 1.0
    seen = max(1, round(turned[0] * scale)), max(1, round(turned[1] * scale))
    to_source: Floats = np.asarray(np.linalg.inv(_scaled(turned, seen) @ forward), np.float64)
    if params.perspective:
        corners = corners_of(params.perspective, "perspective")
        sides = np.hypot(*(np.roll(corners, -1, axis=0) - corners).T)
        own = max(1, round(max(sides[0], sides[2]))), max(1, round(max(sides[1], sides[3])))
        result = _result_size(params, own)
        flat = cv2.getPerspectiveTransform(corners.astype(np.float32), _outline(result).astype(np.float32))
        to_output = np.asarray(flat, np.float64) @ forward
    else:
        result = _result_size(params, turned)
        to_output = _scaled(turned, result) @ forward
    blank = np.broadcast_to(np.uint8(0), (size[1], size[0]))
    found = camera.of_json(lens).for_picture(blank) if lens is not None else None
    unbent = _unbent(found) if found is not None and params.overlay else None
    return View(region, params.rotate, params.flip, seen, result, to_source, to_output, found, unbent, bool(params.perspective))


def _unbent(lens: camera.Camera) -> tuple[Any, Any]:
    """Where each pixel of a picture without distortion is in the one with it."""
    make: Any = cv2.fisheye.initUndistortRectifyMap if lens.is_fisheye else cv2.initUndistortRectifyMap
    across, down = make(lens.matrix, lens.distortion, np.eye(3), lens.matrix, lens.size, cv2.CV_16SC2)
    return across, down


def places_of(rows: Rows, fields: Sequence[str]) -> list[Place]:
    """What an operation has found as places.

    Args:
        rows: `(N, len(fields))`.
        fields: what the operation calls its columns: x and y, and as far as they are there radius, size, area, width and height, angle, id
            and kind; or corners, of which those with the same `object` belong together.
    """
    columns = {name: place for place, name in enumerate(fields)}
    if not len(rows):
        return []
    if "object" in columns:
        return [_of_corners(rows[rows[:, columns["object"]] == one][:, :2]) for one in dict.fromkeys(rows[:, columns["object"]].tolist())]
    angle = rows[:, columns["angle"]] if "angle" in columns else np.zeros(len(rows))
    code = rows[:, columns["id"]] if "id" in columns else np.full(len(rows), -1.0)
    kind = rows[:, columns["kind"]] if "kind" in columns else np.zeros(len(rows))
    radius = _radii(rows, columns)
    return [
        Place(float(row[columns["x"]]), float(row[columns["y"]]), float(r), float(a), int(c), f"{int(k)}:{int(c)}" if c >= 0 else "")
        for row, r, a, c, k in zip(rows, radius, angle, code, kind, strict=True)
    ]


def _radii(rows: Rows, columns: dict[str, int]) -> Floats:
    """Of circles of the same area, as far as that is known."""
    if "radius" in columns:
        return np.asarray(rows[:, columns["radius"]])
    if "area" in columns:
        return np.asarray(np.sqrt(rows[:, columns["area"]] / math.pi))
    if "width" in columns and "height" in columns:
        return np.asarray(np.sqrt(rows[:, columns["width"]] * rows[:, columns["height"]]) / 2)
    return np.asarray(rows[:, columns["size"]] / 2) if "size" in columns else np.zeros(len(rows))


def _of_corners(corners: Floats) -> Place:
    area = abs(float(cv2.contourArea(np.ascontiguousarray(corners, np.float32))))
    x, y = corners.mean(axis=0)
    side = corners[1] - corners[0] if len(corners) > 1 else np.array([1.0, 0.0])
    return Place(float(x), float(y), math.sqrt(area) / 2, math.degrees(math.atan2(side[1], side[0])) % 360)


def _region(text: str, size: Size) -> tuple[int, int, int, int]:
    if not text:
        return 0, 0, *size
    x, y, wide, high = (round(number) for number in numbers_of(text, "region"))
    left, top, right, bottom = max(0, x), max(0, y), min(size[0], x + wide), min(size[1], y + high)
    if left >= right or top >= bottom:
        raise ArgumentError(f"The region {text[:80]!r} lies outside the picture of {size[0]}x{size[1]} pixels.")
    return left, top, right, bottom


def _turned(params: Track, region: tuple[int, int, int, int]) -> tuple[Floats, Size]:
    """From pixels of the source to those of the region, turned and mirrored; and its size."""
    left, top, right, bottom = region
    width, height = right - left, bottom - top
    forward = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]])
    turns = {
        0: np.eye(3),
        90: np.array([[0.0, -1, height - 1], [1, 0, 0], [0, 0, 1]]),
        180: np.array([[-1.0, 0, width - 1], [0, -1, height - 1], [0, 0, 1]]),
        270: np.array([[0.0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]),
    }
    forward = turns[params.rotate] @ forward
    if params.rotate in (90, 270):
        width, height = height, width
    if params.flip in ("horizontal", "both"):
        forward = np.array([[-1.0, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ forward
    if params.flip in ("vertical", "both"):
        forward = np.array([[1.0, 0, 0], [0, -1, height - 1], [0, 0, 1]]) @ forward
    return forward, (width, height)


def _result_size(params: Track, own: Size) -> Size:
    """The size that is asked for; one side alone keeps the proportions."""
    width, height = params.width, params.height
    if width and not height:
        height = round(own[1] * width / own[0])
    elif height and not width:
        width = round(own[0] * height / own[1])
    return min(_LONGEST_SIDE, max(1, width or own[0])), min(_LONGEST_SIDE, max(1, height or own[1]))


def _scaled(before: Size, after: Size) -> Floats:
    across, down = after[0] / before[0], after[1] / before[1]
    return np.array([[across, 0, 0.5 * across - 0.5], [0, down, 0.5 * down - 0.5], [0, 0, 1]])


def _outline(size: Size) -> Floats:
    right, bottom = size[0] - 0.5, size[1] - 0.5
    return np.array([(-0.5, -0.5), (right, -0.5), (right, bottom), (-0.5, bottom)])


def _through(matrix: Floats, points: Floats) -> Floats:
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(moved[:, :2] / moved[:, 2:])
