"""A camera as its calibration knows it, and the JSON file that holds it.

The file, which `calibrate` writes and `undistort` and `pose` read:

- `kind`: "camera calibration", and `version`: 1;
- `width`, `height`: of the pictures, in pixels;
- `camera_matrix`: fx 0 cx, 0 fy cy, 0 0 1, in pixels; a pixel's middle is its coordinate;
- `distortion`: k1 k2 p1 p2 k3, or k1 k2 p1 p2 k3 k4 k5 k6, as OpenCV orders them; or k1 k2 k3 k4 of a fisheye lens.

A fisheye lens shows what is seen at an angle a from its axis at the distance f * (a + k1 a^3 + k2 a^5 + k3 a^7 + k4 a^9) from the principal
point: J. Kannala and S. Brandt, A generic camera model, 2006.

Everything else in it is for people: how it was measured, and how well.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.errors import ArgumentError, UnfitImage
from worker.operations.values import json_of
from worker.pictures.pixels import Image, size_of

Floats = NDArray[np.float64]

KIND, VERSION = "camera calibration", 1
_SAME_PROPORTIONS = 0.01
_LARGEST = 1e6
_ROUNDS = 30
_WIDEST = math.radians(85)


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """What a picture's pixels say about directions.

    Attributes:
        size: width and height of its pictures.
        matrix: `(3, 3)`, focal lengths and principal point in pixels.
        distortion: `(5,)` or `(8,)`, as OpenCV orders the coefficients; `(4,)` of a fisheye lens.
    """

    size: tuple[int, int]
    matrix: Floats
    distortion: Floats

    @property
    def fields_of_view(self) -> tuple[float, float]:
        """Across and down, in degrees, of a camera that looks at the picture's middle: of a fisheye lens, or of one without distortion."""
        if self.is_fisheye:
            return tuple(
                math.degrees(2 * float(_angles(self, np.array([side / 2 / self.matrix[axis, axis]]))[0]))
                for axis, side in enumerate(self.size)
            )  # type: ignore[return-value]
        return tuple(math.degrees(2 * math.atan(side / 2 / self.matrix[axis, axis])) for axis, side in enumerate(self.size))  # type: ignore[return-value]

    @property
    def is_fisheye(self) -> bool:
        return len(self.distortion) == 4

    def for_picture(self, image: Image) -> Camera:
        """The same camera with the resolution of this picture.

        Raises:
            UnfitImage: the picture has other proportions.
        """
        width, height = size_of(image)
        if (width, height) == self.size:
            return self
        across, down = width / self.size[0], height / self.size[1]
        if abs(across / down - 1) > _SAME_PROPORTIONS:
            raise UnfitImage(
                f"The calibration is of pictures of {self.size[0]}x{self.size[1]} pixels, and this one has {width}x{height}.",
                "It can be used at another size with the same proportions, and not after cropping or turning.",
            )
        scaled = self.matrix.copy()
        scaled[0, 0] *= across
        scaled[1, 1] *= down
        scaled[0, 2] = (scaled[0, 2] + 0.5) * across - 0.5
        scaled[1, 2] = (scaled[1, 2] + 0.5) * down - 0.5
        return Camera((width, height), scaled, self.distortion)


def rays(camera: Camera, at: Floats) -> Floats:
    """Where the sight through pixels meets the plane at distance 1: Newton's method with the slope of a lens without distortion.

    What a fisheye lens sees at more than 85 degrees from its axis is taken to be there.

    Args:
        camera: any.
        at: `(N, 2)`, pixels.

    Returns:
        `(N, 2)`.
    """
    focal, middle = camera.matrix[[0, 1], [0, 1]], camera.matrix[:2, 2]
    found = (at - middle) / focal
    if camera.is_fisheye:
        away = np.hypot(*found.T)
        return np.asarray(found * (np.tan(np.minimum(_angles(camera, away), _WIDEST)) / np.maximum(away, 1e-12))[:, None])
    for _ in range(_ROUNDS):
        found = found + (at - projected(camera, np.column_stack([found, np.ones(len(found))]))) / focal
    return found


def projected(camera: Camera, points: Floats) -> Floats:
    """The pixels, `(N, 2)`, at which points `(N, 3)` in the camera's axes are seen: x right, y down, z forward."""
    if camera.is_fisheye:
        away = np.hypot(points[:, 0], points[:, 1])
        angle = np.arctan2(away, points[:, 2])
        bent = _bent(camera, angle) / np.maximum(away, 1e-12)
        return np.asarray(points[:, :2] * bent[:, None] * camera.matrix[[0, 1], [0, 1]] + camera.matrix[:2, 2])
    at, _ = cv2.projectPoints(np.ascontiguousarray(points)[:, None], np.zeros(3), np.zeros(3), camera.matrix, camera.distortion)
    return np.asarray(at, np.float64).reshape(-1, 2)


def _bent(camera: Camera, angle: Floats) -> Floats:
    """How far from the principal point a fisheye lens shows an angle in radians, in focal lengths."""
    square = angle * angle
    k1, k2, k3, k4 = camera.distortion
    return np.asarray(angle * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))))


def _angles(camera: Camera, away: Floats) -> Floats:
    """The inverse of `_bent`, by halving: 0 to 180 degrees, however the coefficients are."""
    low, high = np.zeros_like(away), np.full_like(away, np.pi)
    for _ in range(52):
        middle = (low + high) / 2
        short = _bent(camera, middle) < away
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    return np.asarray((low + high) / 2)


def with_field_of_view(image: Image, degrees: float) -> Camera:
    """A camera without distortion that sees so many degrees across.

    >>> round(with_field_of_view(np.zeros((480, 640), np.uint8), 90).matrix[0, 0])
    320
    """
    width, height = size_of(image)
    focal = width / 2 / math.tan(math.radians(degrees) / 2)
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1]])
    return Camera((width, height), matrix, np.zeros(5))


def to_json(camera: Camera, notes: dict[str, Any]) -> bytes:
    """The calibration file, with what else there is to know."""
    across, down = camera.fields_of_view
    held = {
        "kind": KIND,
        "version": VERSION,
        "width": camera.size[0],
        "height": camera.size[1],
        "camera_matrix": camera.matrix.tolist(),
        "distortion": camera.distortion.tolist(),
        "field_of_view": {"across": round(across, 4), "down": round(down, 4)},
        **notes,
    }
    return (json.dumps(held, indent=2, ensure_ascii=False) + "\n").encode()


def of_json(data: bytes) -> Camera:
    """The camera that a calibration file describes.

    Raises:
        ArgumentError: it is no calibration, of a later version, or with numbers that no camera has.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ArgumentError("The calibration is no JSON file.", "calibrate writes one.") from None
    held = json_of("calibration", "the file", text)
    if not isinstance(held, dict) or held.get("kind") != KIND:
        raise ArgumentError(f'The calibration is JSON, but no calibration: its "kind" is not "{KIND}".', "calibrate writes one.")
    if held.get("version") != VERSION:
        raise ArgumentError(f"The calibration has version {str(held.get('version'))[:20]}; this worker reads version {VERSION}.")
    width, height = (_whole(held, key) for key in ("width", "height"))
    matrix = _numbers(held, "camera_matrix", ((3, 3),))
    distortion = _numbers(held, "distortion", ((4,), (5,), (8,)))
    if min(matrix[0, 0], matrix[1, 1]) <= 0 or np.any(matrix[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] != (0, 0, 0, 0, 1)):
        raise ArgumentError("The camera_matrix of the calibration is not fx 0 cx, 0 fy cy, 0 0 1 with fx and fy above 0.")
    return Camera((width, height), matrix, distortion)


def _whole(held: dict[str, Any], key: str) -> int:
    value = held.get(key)
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _LARGEST:
        raise ArgumentError(f"The {key} of the calibration must be a whole number of pixels; got {str(value)[:40]}.")
    return value


def _numbers(held: dict[str, Any], key: str, shapes: tuple[tuple[int, ...], ...]) -> Floats:
    try:
        numbers = np.array(held.get(key), np.float64)
    except (TypeError, ValueError, OverflowError):
        numbers = np.empty(0)
    if numbers.shape not in shapes or not np.isfinite(numbers).all() or np.abs(numbers).max() > _LARGEST:
        *others, last = (" x ".join(map(str, shape)) for shape in shapes)
        wanted = f"{', '.join(others)} or {last}" if others else last
        raise ArgumentError(f"The {key} of the calibration must be {wanted} numbers from -{_LARGEST:.0f} to {_LARGEST:.0f}.")
    return numbers
