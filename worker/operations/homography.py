"""The plane-to-plane map between two pictures of the same scene, from their feature points, made precise by following the pixels.

1. Points of both pictures are described (SIFT, ORB, ...) and matched both ways; a match is kept if each is the other's nearest and
   clearly nearer than the second (Lowe, Distinctive image features from scale-invariant keypoints, 2004; RootSIFT: Arandjelovic and
   Zisserman, Three things everyone should know to improve object retrieval, 2012).
2. A homography is fitted to the matches by MAGSAC++ (Barath et al., 2020, in OpenCV's USAC).
3. One picture is warped onto the other, corners are followed over what is left of the way by Lucas and Kanade's method, there and
   back, and the homography is fitted again to them. Feature points stand where their scale puts them, which under perspective is up to
   some pixels off; the pixels themselves are not.
4. It is believed only if more matches hold it up than chance gives (Brown and Lowe, Automatic panoramic image stitching, 2007), and if
   it maps the picture to a shape that a plane can be seen in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.pictures.pixels import Image, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

Points = NDArray[np.float64]
Homography = NDArray[np.float64]

RATIO = 0.8
_FIT_PX = 3.0
_REFIT_PX = 1.0
_ROUNDS = 3
_FOLLOWED = 800
_WINDOW = 21
_BACK_PX = 0.5
#: Matches that must hold a homography, and the share to be added for each match that does not (Brown and Lowe, 2007).
_LEAST_MATCHES = 8
_SHARE = 0.15
#: Fewer matches do if the pixels agree: so many corners, and such a share of those that could be followed, stay within `_REFIT_PX`.
_FEWEST = 5
_LEAST_FOLLOWED = 24
_LEAST_FOLLOWED_SHARE = 0.3
#: Two things that moved differently: cells along a side of the picture, what one at the border counts, matches in a cell that counts, and
#: how many times as far around the one behind must reach. Corners that are followed stay so near to its motion.
_CELLS, _AT_BORDER, _IN_A_CELL, _FURTHER, _SAME_MOTION_PX = 8, 4, 2, 1.2, 3.0
#: The area of a small square changes by at most this factor on the way, at any corner.
_MOST_SCALE = 50.0


@dataclass(frozen=True, slots=True, eq=False)
class Described:
    """Feature points of one picture.

    Attributes:
        points: `(N, 2)`, x and y in pixels.
        descriptors: `(N, D)`; unsigned bytes are compared by Hamming distance, floats by Euclidean distance.
        image: the grey picture they come from.
        scale: how many times as large in x and y as the picture that was given; 1 unless that was very large.
    """

    points: Points
    descriptors: NDArray[Any]
    image: Image
    scale: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True, slots=True, eq=False)
class PictureMatch:
    """How a reference picture lies in an image.

    Attributes:
        homography: `(3, 3)`; maps reference pixels to image pixels.
        image_points: `(N, 2)`, the matches that hold it, in the image.
        reference_points: `(N, 2)`, the same in the reference.
        candidates: `(M, 2)`, all matches in the image, before the homography sorted them.
    """

    homography: Homography
    image_points: Points
    reference_points: Points
    candidates: Points


def project(homography: Homography, points: Points) -> Points:
    """Maps `(N, 2)` points by a homography; one that goes to infinity becomes NaN.

    >>> project(np.diag([2.0, 2.0, 1.0]), np.array([[1.0, 3.0]])).tolist()
    [[2.0, 6.0]]
    """
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    with np.errstate(divide="ignore", invalid="ignore"):
        result = mapped[:, :2] / mapped[:, 2:]
    result[mapped[:, 2] <= 0] = np.nan  # behind the viewer
    return np.asarray(result)


def outline(image: Image) -> Points:
    """The corners of a picture, `(4, 2)`: top left, top right, bottom right, bottom left. A pixel's middle is its coordinate."""
    width, height = size_of(image)
    return np.array([(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)])


def described(image: Image, found: tuple[Any, Any], scale: tuple[float, float] = (1.0, 1.0)) -> Described:
    """Keypoints and descriptors as OpenCV's `detectAndCompute` gives them, as values."""
    keypoints, descriptors = found
    if descriptors is None or not len(keypoints):
        return Described(np.empty((0, 2)), np.empty((0, 1), np.uint8), image, scale)
    if descriptors.dtype != np.uint8:  # RootSIFT
        descriptors = np.sqrt(np.abs(descriptors) / np.maximum(np.abs(descriptors).sum(axis=1, keepdims=True), 1e-9))
    return Described(np.asarray(cv2.KeyPoint.convert(keypoints), np.float64).reshape(-1, 2), descriptors, image, scale)


def match_points(reference: Described, image: Described, ratio: float, *, many: bool) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the matches, the clearest first: into the reference's points, and into the image's.

    With `many` the reference may stand in the image several times. Then each point of the image looks for its like in the reference;
    the other way round, the second best would be as near as the best.
    """
    nothing = np.empty(0, np.int64)
    if len(reference.points) < 2 or len(image.points) < 2:
        return nothing, nothing
    asking, asked = (image, reference) if many else (reference, image)
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING if reference.descriptors.dtype == np.uint8 else cv2.NORM_L2)
    back = {} if many else {match.queryIdx: match.trainIdx for match in matcher.match(asked.descriptors, asking.descriptors)}
    kept = []
    for first, second in matcher.knnMatch(asking.descriptors, asked.descriptors, k=2):
        is_clear = first.distance < ratio * second.distance
        if is_clear and (many or back.get(first.trainIdx) == first.queryIdx):
            pair = (first.trainIdx, first.queryIdx) if many else (first.queryIdx, first.trainIdx)
            kept.append((first.distance / max(second.distance, 1e-9), *pair))
    kept.sort()
    return np.array([row[1] for row in kept], np.int64), np.array([row[2] for row in kept], np.int64)


def locate(
    reference: Described, image: Described, ratio: float = RATIO, *, many: bool = False, surrounds: bool = False
) -> PictureMatch | None:
    """How the reference lies in the image; None if the two show nothing in common that can be believed.

    Args:
        reference: its points.
        image: its points.
        ratio: a match counts if it is so much nearer than the second.
        many: as in `match_points`.
        surrounds: if two things moved differently, the one that reaches around the other is meant, and not the one with more matches.
    """
    ours, theirs = match_points(reference, image, ratio, many=many)
    source, target = reference.points[ours], image.points[theirs]
    candidates = target
    homography, inside = _fitted(source, target, _FIT_PX)
    if homography is None or not _is_plane(homography, reference.image):
        return None
    most_px = math.inf
    if surrounds and (other := _other_motion(source, target, inside, reference.image)) is not None:
        most_px = _SAME_MOTION_PX
        if _surrounding(source[other[1]], reference.image) > _FURTHER * _surrounding(source[inside], reference.image):
            homography, inside = other
        source, target, inside = source[inside], target[inside], inside[inside]  # what holds another motion speaks against none
    held = int(inside.sum())
    refined, followed_share = _refined(homography, reference.image, image.image, most_px)
    enough = held > _LEAST_MATCHES + _SHARE * (len(source) - held)
    if not enough and followed_share < _LEAST_FOLLOWED_SHARE:
        return None
    if _is_plane(refined, reference.image):
        homography = refined
    return PictureMatch(homography, target[inside], source[inside], candidates)


def at_full_size(match: PictureMatch, reference: Described, image: Described) -> PictureMatch:
    """The match in pixels of the pictures that were given, before they were made smaller."""
    there, here = (_resizing(one.scale) for one in (reference, image))
    back, forth = (np.asarray(np.linalg.inv(one), np.float64) for one in (here, there))
    image_points, candidates = project(back, match.image_points), project(back, match.candidates)
    return PictureMatch(back @ match.homography @ there, image_points, project(forth, match.reference_points), candidates)


def _resizing(scale: tuple[float, float]) -> Homography:
    """The map from a picture to its resized copy; a pixel's middle is its coordinate, and edges stay edges."""
    x, y = scale
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def within(points: Points, corners: Points) -> NDArray[np.bool_]:
    """Which of the points lie in the polygon, as `(N,)`."""
    polygon = corners.astype(np.float32).reshape(-1, 1, 2)
    return np.array([cv2.pointPolygonTest(polygon, (float(x), float(y)), False) >= 0 for x, y in points], bool)


def without(image: Described, match: PictureMatch, corners: Points) -> Described:
    """The image's points outside of a found object, so that the next one of the same kind can be looked for."""
    used = {tuple(point) for point in match.image_points}
    keep = ~within(image.points, corners) & np.array([tuple(point) not in used for point in image.points], bool)
    return Described(image.points[keep], image.descriptors[keep], image.image, image.scale)


def _fitted(source: Points, target: Points, tolerance_px: float) -> tuple[Homography | None, NDArray[np.bool_]]:
    none = np.zeros(len(source), bool)
    if len(source) < _FEWEST:
        return None, none
    cv2.setRNGSeed(0)  # the same pictures give the same answer
    homography, inside = cv2.findHomography(source, target, cv2.USAC_MAGSAC, tolerance_px, maxIters=10_000, confidence=0.9999)
    if homography is None:
        return None, none
    return np.asarray(homography, np.float64), inside.ravel().astype(bool)


def _other_motion(
    source: Points, target: Points, inside: NDArray[np.bool_], reference: Image
) -> tuple[Homography, NDArray[np.bool_]] | None:
    """The map that most of the matches hold which the first one leaves, and the matches that hold it; None if chance explains them."""
    left = np.flatnonzero(~inside)
    homography, held = _fitted(source[left], target[left], _FIT_PX)
    count = int(held.sum())
    if homography is None or count <= _LEAST_MATCHES + _SHARE * (len(left) - count) or not _is_plane(homography, reference):
        return None
    other = np.zeros(len(source), np.bool_)
    other[left[held]] = True
    return homography, other


def _surrounding(points: Points, reference: Image) -> int:
    """In how many of the cells of a picture points lie; those at its border count more."""
    places = np.clip(points / size_of(reference) * _CELLS, 0, _CELLS - 1).astype(np.intp)
    counts = np.zeros((_CELLS, _CELLS), np.intp)
    np.add.at(counts, (places[:, 1], places[:, 0]), 1)
    worth = np.full((_CELLS, _CELLS), _AT_BORDER)
    worth[1:-1, 1:-1] = 1
    return int(worth[counts >= _IN_A_CELL].sum())


def _is_plane(homography: Homography, reference: Image) -> bool:
    """Whether the map shows the reference as a plane in front of the viewer: all corners ahead, convex, not shrunk to a line."""
    corners = project(homography, outline(reference))
    if not np.isfinite(corners).all():
        return False
    sides = np.roll(corners, -1, axis=0) - corners
    turns = sides[:, 0] * np.roll(sides, -1, axis=0)[:, 1] - sides[:, 1] * np.roll(sides, -1, axis=0)[:, 0]
    if not (np.all(turns > 0) or np.all(turns < 0)):
        return False
    width, height = size_of(reference)
    scales = np.abs(turns) / (width * height)
    return bool(np.all(scales < _MOST_SCALE) and np.all(scales > 1 / _MOST_SCALE**2) and scales.max() < 100 * scales.min())


def _refined(homography: Homography, reference: Image, image: Image, most_px: float) -> tuple[Homography, float]:
    """The homography, fitted again to corners of the reference that were followed into the image, and the share of them that hold it.

    Corners that moved by more than `most_px` belong to something else.
    """
    share = 0.0
    for _ in range(_ROUNDS):
        source, target, looked_for = _followed(homography, reference, image)
        same = np.linalg.norm(project(homography, source) - target, axis=1) < most_px
        source, target = source[same], target[same]
        closer, inside = _fitted(source, target, _REFIT_PX)
        held = int(inside.sum())
        if closer is None or held < _LEAST_FOLLOWED:
            return homography, share
        by_least_squares, _mask = cv2.findHomography(source[inside], target[inside], 0)
        if by_least_squares is None:
            return homography, share
        homography, share = np.asarray(by_least_squares, np.float64), held / looked_for
    return homography, share


def _followed(homography: Homography, reference: Image, image: Image) -> tuple[Points, Points, int]:
    """Corners of the reference, where they are in the image, and how many there were to follow.

    They are followed by Lucas and Kanade's method on the image warped onto the reference.
    """
    size = size_of(reference)
    back = np.linalg.inv(homography)
    warped = cv2.warpPerspective(image, back, size)
    seen = cv2.warpPerspective(np.full(image.shape[:2], 255, np.uint8), back, size)
    seen = cv2.erode(seen, np.ones((_WINDOW, _WINDOW), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
    corners = cv2.goodFeaturesToTrack(reference, _FOLLOWED, 0.005, max(3.0, min(size) / 80), mask=seen)
    if corners is None:
        return np.empty((0, 2)), np.empty((0, 2)), 0
    corners = np.asarray(corners, np.float32).reshape(-1, 1, 2)
    follow: Callable[..., Any] = cv2.calcOpticalFlowPyrLK
    there, found, _ = follow(reference, warped, corners, None, winSize=(_WINDOW, _WINDOW), maxLevel=2)
    again, found_back, _ = follow(warped, reference, there, None, winSize=(_WINDOW, _WINDOW), maxLevel=2)
    steady = (found.ravel() > 0) & (found_back.ravel() > 0) & (np.linalg.norm(again - corners, axis=2).ravel() < _BACK_PX)
    source = corners.reshape(-1, 2)[steady].astype(np.float64)
    target = project(homography, there.reshape(-1, 2)[steady].astype(np.float64))
    sure = np.isfinite(target).all(axis=1)
    return source[sure], target[sure], len(corners)
