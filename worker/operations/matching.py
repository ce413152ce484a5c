"""Two pictures of the same things: how they match, where one lies in the other, and pictures laid onto each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np

from worker.catalog.matching import Align, FindObject, MatchFeatures, Stitch
from worker.errors import ArgumentError, UnfitImage
from worker.operations.features import detector, missing_methods, spread_out
from worker.operations.homography import Described, PictureMatch, Points, at_full_size, described, locate, outline, project, within, without
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, FIXED, HALO, MARK, draw_label, edged, fixed, line_width
from worker.operations.panorama import NotJoined, Panorama, joined
from worker.operations.shapes import Found, Picture
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Rows

_LINES = 60
_CONTRAST = 0.02  # SIFT's threshold; half of OpenCV's default, for things with few corners
_MATCHED = 4.0  # megapixel; a larger picture is matched at this size, as SIFT takes 180 MB for each
_RANGE, _LOOKED_AT = (0.5, 99.5), 40_000  # per cent of the grey levels that count as all, and how many pixels are looked at
_DULL, _MOST_GAIN = 2.0, 12.0  # a picture that needs no more gain than the first stays as it is; none gets more than the second
_WISHED, _DARKEST = 200.0, 25.0  # grey levels: the range after stretching, and the lowest of them
_SMALLEST_PART = 16  # pixels; OpenCV fails on less


def check(params: MatchFeatures | FindObject | Align) -> None:
    """Raises ArgumentError if this build of OpenCV lacks the method."""
    reason = missing_methods().get(params.method)
    if reason:
        raise ArgumentError(f"method={params.method}: {reason}", "sift and orb are always there.")


def unavailable() -> dict[str, str]:
    """The methods that this build of OpenCV lacks, each with the reason."""
    return {f"method={method}": reason for method, reason in missing_methods().items()}


@takes_keywords(MatchFeatures, check)
def match_features(image: Image, reference: Image, params: MatchFeatures) -> Found:
    """Finds how the reference picture maps onto the image.

    Args:
        image: any; colour is looked at as grey.
        reference: another picture of the same thing.
        params: how points are described and matched, and what is written.

    Returns:
        One row, or none if the pictures have too little in common: matches that hold the homography, all matches, and the nine
        numbers of the homography, row by row. It maps reference pixels to image pixels, and its last number is 1.
    """
    found = _located(image, reference, params)
    images = {}
    if params.warped:  # an output that was asked for is always written, so that a client can count on it
        images["warped"] = _laid_onto(image, found, reference)
    if params.overlay:
        images["overlay"] = _matches_drawn(image, reference, found)
    files = {"matches": _matches_csv(found)} if params.matches else {}
    if found is None:
        return Found(np.empty((0, 11)), images, files)
    homography = found.homography / found.homography[2, 2]
    return Found(np.array([[len(found.image_points), len(found.candidates), *homography.ravel()]]), images, files)


@takes_keywords(FindObject, check)
def find_object(image: Image, reference: Image, params: FindObject) -> Found:
    """Finds a known flat thing in an image, turned, scaled or in perspective.

    Args:
        image: any; colour is looked at as grey.
        reference: a picture of the thing alone.
        params: how points are described and matched, and how many objects there may be.

    Returns:
        Four rows for each object, its corners: top left, top right, bottom right, bottom left as in the reference. Columns: x, y in
        pixels from the centre of the top left one, u, v, the share of the matches within it that hold it, the object's number from 0.
    """
    known, left = _described(reference, params), _described(image, params)
    width, height = size_of(image)
    rows: list[tuple[float, ...]] = []
    images: dict[str, Image] = {}
    if params.warped:
        images["warped"] = _laid_onto(image, None, reference)
    for number in range(params.max_items):
        small = locate(known, left, params.ratio, many=True)
        if small is None:
            break
        found = at_full_size(small, known, left)
        corners = project(found.homography, outline(reference))
        score = len(found.image_points) / max(1, within(found.candidates, corners).sum(), len(found.image_points))
        rows += [(x, y, (x + 0.5) / width, 1 - (y + 0.5) / height, score, number) for x, y in corners]
        if params.warped and number == 0:
            images["warped"] = _laid_onto(image, found, reference)
        left = without(left, small, project(small.homography, outline(known.image)))
    return Found(np.array(rows).reshape(-1, 6), images)


def mark_objects(image: Image, _reference: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with each object's outline, and a dot at its top left corner."""
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    for number in np.unique(rows[:, 5]):
        corners = rows[rows[:, 5] == number, :2]
        outline_points = np.array([fixed(*corner) for corner in corners], np.int32)
        for line, hue in ((edged(width), HALO), (width, MARK)):
            cv2.polylines(canvas, [outline_points], True, hue, line, cv2.LINE_AA, FIXED)
        x, y = corners[0]
        for radius, hue in ((width + edged(width), HALO), (2 * width, CENTER)):
            cv2.circle(canvas, (round(x), round(y)), radius, hue, -1, cv2.LINE_AA)
    return canvas


@takes_keywords(Align, check)
def align(image: Image, reference: Image, params: Align) -> Found:
    """Lays the image onto the reference, so that the same things stand at the same pixels.

    Returns:
        The picture `output`, as large as the reference, black where the image shows nothing; and one row: 1 if the image was laid onto
        the reference, otherwise 0 and the picture is black; matches that hold it; how far its middle moved, in pixels, and turned, in
        degrees clockwise.
    """
    found = _located(image, reference, params, surrounds=True)
    if found is None:
        return Found(np.array([[0.0, 0, 0, 0, 0]]), {"output": _laid_onto(image, None, reference)})
    homography = _limited(found, params.motion)
    width, height = size_of(reference)
    middle = np.array([[(width - 1) / 2, (height - 1) / 2], [(width - 1) / 2 + 1, (height - 1) / 2]])
    moved = project(homography, middle)
    shift_x, shift_y = moved[0] - middle[0]
    turn = np.degrees(np.arctan2(*(moved[1] - moved[0])[::-1]))
    output = cv2.warpPerspective(image, homography, (width, height), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return Found(np.array([[1.0, len(found.image_points), shift_x, shift_y, turn]]), {"output": np.asarray(output)})


@takes_keywords(Stitch)
def stitch(pictures: Iterator[Picture], params: Stitch) -> Found:
    """Joins overlapping pictures into one, in any order. Those that fit none of the others are skipped.

    Raises:
        ArgumentError: there are fewer than two pictures, or no two fit each other.
    """
    numbers, parts = [], []
    for picture in pictures:
        numbers.append(picture.n)
        parts.append(_no_larger(color(with_depth(picture.image, 8)), params.megapixels))
    if len(parts) < 2:
        raise ArgumentError("stitch needs two pictures or more; image names one.", "Give a folder, or a pattern such as shots/*.jpg.")
    smallest = min(min(part.shape[:2]) for part in parts)
    if smallest < _SMALLEST_PART:
        raise ArgumentError(f"stitch: a picture is only {smallest} pixels wide or high; {_SMALLEST_PART} are needed.")
    try:
        panorama = joined(parts, scans=params.mode == "scans")
    except (NotJoined, cv2.error) as exc:
        reason = exc if isinstance(exc, NotJoined) else "the pictures do not fit each other"
        other = (
            "A camera that turns needs mode=panorama." if params.mode == "scans" else "Flat things photographed in pieces need mode=scans."
        )
        hint = f"Neighbours should share about a third. {other}"
        raise ArgumentError(f"The {len(parts)} pictures could not be stitched: {reason}.", hint) from exc
    image = _without_black_edges(panorama) if params.crop else panorama.image
    stranger = "The picture shows too little of what the others show, so it is not in the panorama."
    left_out = set(range(len(parts))) - set(panorama.used)
    return Found(images={"output": image}, skipped={numbers[place]: UnfitImage(stranger) for place in left_out})


def _located(image: Image, reference: Image, params: MatchFeatures | Align, *, surrounds: bool = False) -> PictureMatch | None:
    known, seen = _described(reference, params), _described(image, params)
    found = locate(known, seen, params.ratio, surrounds=surrounds)
    return None if found is None else at_full_size(found, known, seen)


def _described(image: Image, params: MatchFeatures | FindObject | Align) -> Described:
    plain = _clear(_no_larger(grey(image), _MATCHED))
    scale = plain.shape[1] / image.shape[1], plain.shape[0] / image.shape[0]
    if min(plain.shape) < 16:
        return described(plain, ((), None), scale)
    finder = detector(params.method, params.points)
    if params.method != "sift":
        return described(plain, finder.detectAndCompute(plain, None), scale)
    finder.setContrastThreshold(_CONTRAST)
    finder.setNFeatures(0)
    keypoints = finder.detect(plain, None)
    if len(keypoints) > params.points:  # take turns, so that a thing in a dull part of a picture can be found, too
        points, responses = np.array([one.pt for one in keypoints]), np.array([one.response for one in keypoints])
        kept = spread_out(points, responses, size_of(plain), params.points, spread=True, min_distance=0, among=math.inf)
        keypoints = [keypoints[place] for place in kept]
    return described(plain, finder.compute(plain, keypoints) if keypoints else ((), None), scale)


def _laid_onto(image: Image, found: PictureMatch | None, reference: Image) -> Image:
    """The image as the reference sees it; black if it was not found."""
    if found is None:
        return np.zeros((*reference.shape[:2], *image.shape[2:]), image.dtype)
    return np.asarray(cv2.warpPerspective(image, found.homography, size_of(reference), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP))


def _limited(found: PictureMatch, motion: str) -> Points:
    """The homography, or the nearest map of the wished kind to it, fitted to where it takes the points that hold it."""
    if motion == "perspective":
        return found.homography
    source = found.reference_points
    target = project(found.homography, source)
    if motion == "shift":
        x, y = np.median(target - source, axis=0)
        return np.array([[1.0, 0, x], [0, 1, y], [0, 0, 1]])
    similar, _ = cv2.estimateAffinePartial2D(source, target, method=cv2.RANSAC, ransacReprojThreshold=3.0)
    return found.homography if similar is None else np.vstack([similar, (0, 0, 1)])


def _matches_csv(found: PictureMatch | None) -> bytes:
    if found is None:
        return b"x,y,reference_x,reference_y\n"
    points = np.round(np.column_stack([found.image_points, found.reference_points]), 3)
    lines = ["x,y,reference_x,reference_y", *(",".join(map(str, row)) for row in points.tolist())]
    return ("\n".join(lines) + "\n").encode()


def _matches_drawn(image: Image, reference: Image, found: PictureMatch | None) -> Image:
    """Both pictures side by side, the reference on the left, with a line for each match and the outline of the reference in the image."""
    left, right = color(with_depth(reference, 8)), color(with_depth(image, 8))
    height = max(left.shape[0], right.shape[0])
    canvas = np.zeros((height, left.shape[1] + right.shape[1], 3), np.uint8)
    canvas[: left.shape[0], : left.shape[1]] = left
    canvas[: right.shape[0], left.shape[1] :] = right
    if found is None:
        draw_label(canvas, "nothing in common", np.array([canvas.shape[1] / 2, canvas.shape[0] / 2]))
        return canvas
    width, aside = line_width(right), np.array([left.shape[1], 0])
    step = -(-len(found.image_points) // _LINES)
    for ours, theirs in itertools.islice(zip(found.reference_points, found.image_points, strict=True), 0, None, step):
        ends = fixed(*ours), fixed(*(theirs + aside))
        for line, hue in ((width + 1, HALO), (width, MARK)):
            cv2.line(canvas, *ends, hue, line, cv2.LINE_AA, FIXED)
    corners = project(found.homography, outline(reference)) + aside
    cv2.polylines(canvas, [np.array([fixed(*corner) for corner in corners], np.int32)], True, CENTER, width + 1, cv2.LINE_AA, FIXED)
    return canvas


def _clear(plain: Image) -> Image:
    """The grey picture in 8 bits; a dull one is stretched, as feature points are what stands out by so many grey levels."""
    full = 255 if plain.dtype == np.uint8 else 65535
    step = max(1, math.isqrt(plain.size // _LOOKED_AT))
    low, high = (float(value) for value in np.percentile(plain[::step, ::step], _RANGE))
    gain = min(_MOST_GAIN, _WISHED * full / 255 / max(high - low, 1e-3))
    if gain <= _DULL:
        return with_depth(plain, 8)
    return np.asarray(np.clip(np.rint((plain - low) * (gain * 255 / full) + _DARKEST), 0, 255), np.uint8)


def _no_larger(image: Image, megapixels: float) -> Image:
    width, height = size_of(image)
    scale = (megapixels * 1e6 / (width * height)) ** 0.5
    return image if scale >= 1 else np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))


def _without_black_edges(panorama: Panorama) -> Image:
    """What a shrinking frame finds without black that reaches in from outside: the side with most of it gives way first."""
    filled = panorama.filled
    top, bottom, left, right = 0, filled.shape[0], 0, filled.shape[1]
    while bottom - top > 1 and right - left > 1:
        part = filled[top:bottom, left:right]
        empty = [1 - part[0].mean(), 1 - part[-1].mean(), 1 - part[:, 0].mean(), 1 - part[:, -1].mean()]
        worst = int(np.argmax(empty))
        if empty[worst] <= 0:
            break
        top, bottom, left, right = top + (worst == 0), bottom - (worst == 1), left + (worst == 2), right - (worst == 3)
    return np.ascontiguousarray(panorama.image[top:bottom, left:right])
