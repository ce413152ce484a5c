"""Pictures that overlap, joined into one: the steps of OpenCV's stitching module.

They are those of Brown and Lowe, Automatic panoramic image stitching using invariant features, 2007.

`cv2.Stitcher` takes these steps, too, but describes pictures by 500 points of ORB. Real neighbours share too few of these, so it left
pictures out. Here the points are those of SIFT.

1. Points of each picture are matched with those of each other one; what fits by more than chance is linked.
2. The largest group of linked pictures is kept. A homography per link gives rough cameras, bundle adjustment makes them fit all links.
3. The pictures are warped onto a sphere (a camera that turns), or moved and turned in a plane (scans), brought to one exposure, cut along
   seams where they differ least, and blended in bands.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pictures.pixels import Image, size_of

#: `cv2.detail` as a module without types: the stubs of OpenCV's versions differ.
_DETAIL: Any = cv2.detail
_POINTS = 2000
_CONTRAST = 0.02  # SIFT's threshold; half of OpenCV's default, for skies and walls
_MATCH = 0.2  # a match counts if it is nearer than 1 minus this, times the second
_LINKED = 1.0  # the confidence of a link, of Brown and Lowe
_FEWEST = 6  # points of a picture
_MATCHED, _SEAMS = 1.0, 0.1  # megapixel at which pictures are matched, and at which seams are looked for
_BANDS = 0.05  # of the panorama's size, the width over which is blended
_SMALLEST, _LARGEST = 0.45, 6.0  # the area that most pictures take in the panorama at least, and each one at most, times its own
_LONGEST_SIDE, _MOST_MEGAPIXELS = 32_767, 250.0


class NotJoined(Exception):
    """Why pictures cannot be joined: the words behind "could not be stitched"."""


@dataclass(frozen=True, slots=True, eq=False)
class Panorama:
    """Pictures joined into one.

    Attributes:
        image: 8 bits BGR, black where no picture is.
        filled: `(height, width)`, where a picture is.
        used: which of the pictures it is made of, by their place.
    """

    image: Image
    filled: NDArray[np.bool_]
    used: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Camera:
    """Where a picture was taken from: the camera's own matrix, `(3, 3)` in pixels, and its turn, or for scans the map of the plane."""

    matrix: NDArray[np.float32]
    turn: NDArray[np.float32]


def joined(parts: Sequence[Image], *, scans: bool) -> Panorama:
    """Joins the largest group of pictures that fit each other.

    Args:
        parts: 8 bits BGR.
        scans: pieces of a flat thing; otherwise a camera that turns.

    Raises:
        NotJoined: no two fit, or the panorama would be endless.
    """
    cv2.setRNGSeed(0)  # the same pictures give the same panorama
    scale = _down_to(parts, _MATCHED)
    matched = _matched([_scaled(part, scale) for part in parts], scans=scans)
    if not scans and any(turns := _quarter_turns(matched, len(parts))):
        parts = [np.ascontiguousarray(np.rot90(part, turn)) for part, turn in zip(parts, turns, strict=True)]
        matched = _matched([_scaled(part, scale) for part in parts], scans=scans)
    found = _linked(matched, scans=scans)
    if found is None:
        raise NotJoined("no two of the pictures show parts of each other")
    used, cameras, focal = found
    chosen = [parts[place] for place in used]
    warper, cameras = _at(cameras, focal, 1 / scale, scans=scans)
    places = [warper.warpRoi(size_of(part), camera.matrix, camera.turn) for part, camera in zip(chosen, cameras, strict=True)]
    bounds = _bounds(places)
    _, _, width, height = bounds
    areas = [across * down / (part.shape[0] * part.shape[1]) for part, (_, _, across, down) in zip(chosen, places, strict=True)]
    overlap = width < sum(place[2] for place in places) and height < sum(place[3] for place in places)
    if np.median(areas) < _SMALLEST or min(areas) < _SMALLEST / 4 or max(areas) > _LARGEST or not overlap:
        raise NotJoined("no two are pieces of the same size" if scans else "no camera that only turns could have taken them")
    if max(width, height) > _LONGEST_SIDE or width * height > _MOST_MEGAPIXELS * 1e6:
        raise NotJoined(f"the panorama would have {width}x{height} pixels")
    exposure, seams = _balanced(chosen, cameras, focal / scale, scans=scans)
    image, filled = _blended(chosen, cameras, warper, exposure, seams, bounds)
    return Panorama(image, filled, tuple(used))


def _bounds(places: Sequence[tuple[int, int, int, int]]) -> tuple[int, int, int, int]:
    """The rectangle around others: left, top, width and height of each."""
    left, top = (min(place[axis] for place in places) for axis in (0, 1))
    right, bottom = (max(place[axis] + place[axis + 2] for place in places) for axis in (0, 1))
    return left, top, right - left, bottom - top


def _down_to(parts: Sequence[Image], megapixels: float) -> float:
    largest = max(part.shape[0] * part.shape[1] for part in parts)
    return min(1.0, math.sqrt(megapixels * 1e6 / largest))


def _scaled(image: Image, scale: float) -> Image:
    if scale == 1:
        return image
    size = tuple(max(1, round(side * scale)) for side in size_of(image))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))


@dataclass(frozen=True, slots=True, eq=False)
class _Matched:
    """Pictures and what links them.

    Attributes:
        used: the pictures with enough points, by their place among all.
        features: of each of them, as OpenCV has them.
        links: of each pair of them; these know their pictures by place in `used`.
    """

    used: list[int]
    features: list[Any]
    links: Sequence[Any]


def _matched(parts: Sequence[Image], *, scans: bool) -> _Matched:
    finder = cv2.SIFT_create(_POINTS, contrastThreshold=_CONTRAST)  # type: ignore[attr-defined]
    found = [_DETAIL.computeImageFeatures2(finder, part) for part in parts]
    used = [place for place, one in enumerate(found) if len(one.getKeypoints()) >= _FEWEST]
    features = [found[place] for place in used]
    return _Matched(used, features, _matcher(scans=scans).apply2(features) if len(used) > 1 else ())


def _quarter_turns(matched: _Matched, count: int) -> list[int]:
    """By how many quarter turns to the left each of `count` pictures stands as most do: a camera may be held upright for some of them.

    The cameras' estimate starts from pictures that are about upright to each other.
    """
    used, turns = matched.used, dict[int, int]()
    beside: dict[int, list[tuple[int, int]]] = {place: [] for place in used}
    for link in matched.links:
        if link.confidence >= _LINKED and link.H is not None and link.src_img_idx != link.dst_img_idx:
            beside[used[link.src_img_idx]].append((used[link.dst_img_idx], _quarters(np.asarray(link.H))))
    for start in used:
        waiting = [] if start in turns else [(start, 0)]
        while waiting:
            place, turn = waiting.pop()
            if place not in turns:
                turns[place] = turn
                waiting += [(other, (turn + more) % 4) for other, more in beside[place]]
    known = [turns[place] for place in used if beside[place]]
    upright = max(sorted(set(known)), key=known.count, default=0)
    return [(turns[place] - upright) % 4 if beside.get(place) else 0 for place in range(count)]


def _quarters(homography: NDArray[np.float64]) -> int:
    """How many quarter turns to the right a map makes at the middle of the picture, which is its origin."""
    slope = homography[:2, :2] - np.outer(homography[:2, 2], homography[2, :2])
    return round(math.atan2(slope[1, 0] - slope[0, 1], slope[0, 0] + slope[1, 1]) / (math.pi / 2)) % 4


def _linked(matched: _Matched, *, scans: bool) -> tuple[list[int], list[_Camera], float] | None:
    """The largest group of pictures that fit each other, their cameras, and the focal length of the group; None if no two fit."""
    used, group, links = matched.used, matched.features, matched.links
    while len(used) > 1:
        fit = [int(place) for place in np.ravel(_DETAIL.leaveBiggestComponent(group, links, _LINKED))]
        if len(fit) == len(used):
            break
        used, group = [used[place] for place in fit], [group[place] for place in fit]
        links = _matcher(scans=scans).apply2(group) if len(used) > 1 else ()  # once more, as links know their pictures by place
    if len(used) < 2:
        return None
    estimator = _DETAIL.AffineBasedEstimator() if scans else _DETAIL.HomographyBasedEstimator()
    found, cameras = estimator.apply(group, links, None)
    if not found:
        raise NotJoined("the pictures do not fit each other")
    for camera in cameras:
        camera.R = camera.R.astype(np.float32)
    adjuster = _DETAIL.BundleAdjusterAffinePartial() if scans else _DETAIL.BundleAdjusterRay()
    adjuster.setConfThresh(_LINKED)
    fitted, cameras = adjuster.apply(group, links, cameras)
    if not fitted or not all(np.isfinite(camera.R).all() and np.isfinite(camera.focal) and camera.focal > 0 for camera in cameras):
        raise NotJoined("no camera fits all pictures")
    turns = [np.asarray(camera.R, np.float32) for camera in cameras]
    if not scans:
        turns = _DETAIL.waveCorrect(turns, _DETAIL.WAVE_CORRECT_AUTO)
    matrices = [np.asarray(camera.K(), np.float32) for camera in cameras]
    made = [_Camera(matrix, np.asarray(turn, np.float32)) for matrix, turn in zip(matrices, turns, strict=True)]
    return used, made, float(np.median([camera.focal for camera in cameras]))


def _matcher(*, scans: bool) -> Any:
    if scans:
        return _DETAIL.AffineBestOf2NearestMatcher(False, False, _MATCH)
    # The numbers are OpenCV's defaults, but the last: it takes links of a confidence above 3 away, those of the pictures that fit best.
    return _DETAIL.BestOf2NearestMatcher(False, _MATCH, 6, 6, math.inf)


def _at(cameras: Sequence[_Camera], focal: float, scale: float, *, scans: bool) -> tuple[Any, list[_Camera]]:
    """What warps pictures of another scale, and the cameras for that."""
    resize = np.array([[scale, 1, scale], [1, scale, scale], [1, 1, 1]], np.float32)
    warper = cv2.PyRotationWarper("affine" if scans else "spherical", focal * scale)
    return warper, [_Camera(camera.matrix * resize, camera.turn) for camera in cameras]


def _balanced(parts: Sequence[Image], cameras: Sequence[_Camera], focal: float, *, scans: bool) -> tuple[Any, list[Image]]:
    """What brings each picture to the same exposure, and where each is seen in the panorama; on small pictures."""
    scale = _down_to(parts, _SEAMS)
    warper, cameras = _at(cameras, focal, scale, scans=scans)
    corners, images, masks = [], [], []
    for part, camera in zip(parts, cameras, strict=True):
        small = _scaled(part, scale)
        corner, image = warper.warp(small, camera.matrix, camera.turn, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
        corners.append(corner)
        images.append(image)
        masks.append(_mask(small, camera, warper))
    kind = _DETAIL.ExposureCompensator_NO if scans else _DETAIL.ExposureCompensator_GAIN_BLOCKS
    exposure = _DETAIL.ExposureCompensator_createDefault(kind)
    exposure.feed(corners, images, masks)
    finder = _DETAIL.GraphCutSeamFinder("COST_COLOR")
    seams = finder.find([image.astype(np.float32) for image in images], corners, masks)
    return exposure, [np.asarray(seam.get() if isinstance(seam, cv2.UMat) else seam) for seam in seams]


def _mask(part: Image, camera: _Camera, warper: Any) -> Image:
    whole = np.full(part.shape[:2], 255, np.uint8)
    return np.asarray(warper.warp(whole, camera.matrix, camera.turn, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT)[1])


def _blended(  # noqa: PLR0917
    parts: Sequence[Image],
    cameras: Sequence[_Camera],
    warper: Any,
    exposure: Any,
    seams: Sequence[Image],
    bounds: tuple[int, int, int, int],
) -> tuple[Image, NDArray[np.bool_]]:
    _, _, width, height = bounds
    blender = _DETAIL.MultiBandBlender()
    blender.setNumBands(max(1, round(np.log2(max(2.0, _BANDS * (width * height) ** 0.5)))))
    blender.prepare(bounds)
    for number, (part, camera, seam) in enumerate(zip(parts, cameras, seams, strict=True)):
        corner, image = warper.warp(part, camera.matrix, camera.turn, cv2.INTER_LINEAR, cv2.BORDER_REFLECT)
        mask = _mask(part, camera, warper)
        exposure.apply(number, corner, image, mask)
        wider = cv2.resize(cv2.dilate(seam, np.ones((3, 3), np.uint8)), size_of(mask), interpolation=cv2.INTER_LINEAR_EXACT)
        blender.feed(image.astype(np.int16), cv2.bitwise_and(wider, mask), corner)
    image, filled = blender.blend(None, None)
    return np.clip(image, 0, 255).astype(np.uint8), np.asarray(filled) > 0
