"""Feature points and matching beside plain OpenCV. Run as `python -m tests.benchmarks.features`.

    python -m tests.benchmarks.features                everything, on the held-out seeds
    python -m tests.benchmarks.features --train        on the seeds that may be looked at while something is changed
    python -m tests.benchmarks.features --count 20     so many warps of each picture

*Plain* is what OpenCV's tutorials show: `create(500)`, or all points and the 500 strongest of them if the method has no such setting; for
matching `detectAndCompute`, brute force, Lowe's ratio of 0.75, `findHomography` with RANSAC at 5 pixels. *Ours* are the operations
at their defaults. Methods that this build of OpenCV lacks are left out.

The first table, of 500 points each:
empty          share of the fields of a 10 by 10 grid without a point, mean over the pictures
left empty     likewise of the fields in which plain OpenCV finds something if it is not limited to 500 points
doubled        share of the points that have a stronger one within 3 pixels
repeated       share of the points of a warped picture that lie within 2.5 pixels of where one of the original should be; each counts
               once; points that show nothing of the other picture do not count
CPU            of ours over plain

The second: the largest distance of the four corners of the reference, mapped by what was found, from where they are, in pixels.
A picture that is not found counts as endless. CPU as above. All times are of one thread; ours and plain take turns.

The third: four views of a camera that turns in front of each picture, each in other light and with noise, in random order: how many sets
are joined whole by `stitch` and by OpenCV's `Stitcher` at its defaults.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.features import FindFeatures
from worker.catalog.matching import FindObject, MatchFeatures
from worker.operations.features import find_features, missing_methods
from worker.operations.homography import outline, project
from worker.operations.matching import find_object, match_features
from worker.operations.panorama import NotJoined, joined

Picture = NDArray[np.uint8]
Floats = NDArray[np.float64]
DATA = Path(__file__).parents[1] / "data"
PICTURES = ("graf1.jpg", "board.jpg", "box.png", "astronaut.jpg", "smarties.png")
TRAIN, HELD_OUT = 0, 50_000  # the first seed
POINTS = 500
METHODS = tuple(method for method in ("orb", "sift", "akaze", "kaze", "brisk") if method not in missing_methods())
#: Where the corners of box.png are in box_in_scene.png, by eye: two pixels and more are the eye's.
BOX = np.array([(118, 160), (285, 175), (267, 298), (89, 272)], np.float64)
_NEAR, _AGAIN = 3.0, 2.5
_ALL = 1_000_000  # points
_CREATE = {"orb": "ORB_create", "sift": "SIFT_create", "akaze": "AKAZE_create", "kaze": "KAZE_create", "brisk": "BRISK_create"}


def picture_of(name: str) -> Picture:
    return np.asarray(cv2.imread(str(DATA / name), cv2.IMREAD_GRAYSCALE), np.uint8)


def measured() -> Floats:
    """The homography from graf1 to graf3, as it was measured."""
    storage = cv2.FileStorage(str(DATA / "H1to3p.xml"), cv2.FILE_STORAGE_READ)
    homography = np.asarray(storage.getFirstTopLevelNode().mat(), np.float64)
    storage.release()
    return homography


def warped(picture: Picture, seed: int) -> tuple[Picture, Floats]:
    """The picture turned, scaled, tilted, in other light and with noise, on a plain ground; and the homography to it."""
    random = np.random.default_rng(seed)
    turn, scale = random.uniform(-np.pi, np.pi), random.uniform(0.7, 1.4)
    corners = outline(picture)
    middle = corners.mean(axis=0)
    matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    target = (corners - middle) @ matrix.T + random.uniform(-0.08, 0.08, (4, 2)) * np.array(picture.shape[::-1])
    low, high = target.min(axis=0) - 10, target.max(axis=0) + 10
    size = tuple(int(side) for side in np.ceil(high - low))
    homography = np.asarray(cv2.getPerspectiveTransform(corners.astype(np.float32), (target - low).astype(np.float32)), np.float64)
    image = cv2.warpPerspective(picture, homography, size, flags=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC, borderValue=128)
    lit = image * random.uniform(0.7, 1.2) + random.uniform(-20, 20) + random.normal(0, 4, image.shape)
    return np.clip(lit, 0, 255).astype(np.uint8), homography


# ------------------------------------------------------------------------------------------------------------- points


def plain_detector(method: str, most: int = POINTS) -> Any:
    create = getattr(cv2, _CREATE[method], None) or getattr(cv2.xfeatures2d, _CREATE[method])
    return create(most) if method in ("orb", "sift") else create()


def plain_points(method: str, picture: Picture, most: int = POINTS) -> Floats:
    """`(N, 2)`, the strongest first."""
    keypoints = sorted(plain_detector(method, most).detect(picture, None), key=lambda keypoint: -keypoint.response)[:most]
    return np.array([keypoint.pt for keypoint in keypoints], np.float64).reshape(-1, 2)


def our_points(method: str, picture: Picture) -> Floats:
    found = find_features(picture, None, FindFeatures(image="unused", method=method, max_items=POINTS))
    return np.asarray(found.rows[:, :2], np.float64)


def filled(points: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which fields of a 10 by 10 grid have a point."""
    fields = np.zeros((10, 10), bool)
    column, row = (np.clip((points[:, axis] + 0.5) * 10 / size[axis], 0, 9).astype(int) for axis in (0, 1))
    fields[row, column] = True
    return fields


def doubled(points: Floats) -> float:
    """Of points with the strongest first."""
    if not len(points):
        return 0.0
    apart = np.hypot(*(points[:, None] - points).transpose(2, 0, 1))
    return float((np.tril(apart < _NEAR, -1)).any(axis=1).mean())


def repeated(first: Floats, second: Floats, homography: Floats, sizes: tuple[tuple[int, int], tuple[int, int]]) -> float:
    """Of points of the original, and of its warped picture."""
    there, back = project(homography, first), project(np.linalg.inv(homography), second)
    expected = there[inside(there, sizes[1])]
    seen = second[inside(back, sizes[0])]
    if not len(expected) or not len(seen):
        return 0.0
    apart = np.hypot(*(seen[:, None] - expected).transpose(2, 0, 1))
    pairs = 0
    for _ in range(min(apart.shape)):
        row, column = np.unravel_index(np.argmin(apart), apart.shape)
        if apart[row, column] > _AGAIN:
            break
        pairs += 1
        apart[row, :] = np.inf
        apart[:, column] = np.inf
    return pairs / min(len(expected), len(seen))


def inside(points: Floats, size: tuple[int, int]) -> NDArray[np.bool_]:
    return np.asarray((points >= 0).all(axis=1) & (points <= np.array(size) - 1).all(axis=1))


@dataclass
class Quality:
    """Sums over pictures."""

    empty: float = 0.0
    left_empty: float = 0.0
    doubled: float = 0.0
    repeated: float = 0.0
    cpu_s: float = 0.0
    pictures: int = 0
    warps: int = 0


def timed(call: Callable[..., Any], *values: Any) -> tuple[Any, float]:
    start = time.process_time()
    made = call(*values)
    return made, time.process_time() - start


def points_table(first_seed: int, count: int) -> None:
    print(f"{POINTS} points       empty   left empty   doubled   repeated   CPU ours/plain")
    for method in METHODS:
        finders = {"plain": plain_points, "ours": our_points}
        sums = {name: Quality() for name in finders}
        for name in PICTURES:
            picture = picture_of(name)
            size = picture.shape[1], picture.shape[0]
            scenes = [warped(picture, first_seed + seed) for seed in range(count)]
            can_be = filled(plain_points(method, picture, _ALL), size)
            for label, find in finders.items():
                total = sums[label]
                points, spent = timed(find, method, picture)
                total.cpu_s += spent
                total.pictures += 1
                fields = filled(points, size)
                total.empty += 1 - float(fields.mean())
                total.left_empty += 1 - float((fields & can_be).sum() / can_be.sum())
                total.doubled += doubled(points)
                for scene, homography in scenes:
                    others, spent = timed(find, method, scene)
                    total.cpu_s += spent
                    total.repeated += repeated(points, others, homography, (size, (scene.shape[1], scene.shape[0])))
                    total.warps += 1
        for label, total in sums.items():
            shares = (
                total.empty / total.pictures,
                total.left_empty / total.pictures,
                total.doubled / total.pictures,
                total.repeated / total.warps,
            )
            ratio = f"{sums['ours'].cpu_s / sums['plain'].cpu_s:12.2f}" if label == "ours" else ""
            print(f"{method:8}{label:8}" + "".join(f"{100 * share:7.0f} %" for share in shares) + ratio)


# ----------------------------------------------------------------------------------------------------------- matching


def plain_homography(method: str, reference: Picture, image: Picture) -> Floats | None:
    detector = plain_detector(method)
    ours, theirs = detector.detectAndCompute(reference, None), detector.detectAndCompute(image, None)
    if ours[1] is None or theirs[1] is None or len(theirs[0]) < 2:
        return None
    matcher = cv2.BFMatcher(cv2.NORM_HAMMING if ours[1].dtype == np.uint8 else cv2.NORM_L2)
    good = [best for best, other in matcher.knnMatch(ours[1], theirs[1], k=2) if best.distance < 0.75 * other.distance]
    if len(good) < 4:
        return None
    source = np.array([ours[0][match.queryIdx].pt for match in good])
    target = np.array([theirs[0][match.trainIdx].pt for match in good])
    homography, _ = cv2.findHomography(source, target, cv2.RANSAC, 5.0)
    return None if homography is None else np.asarray(homography, np.float64)


def our_homography(method: str, reference: Picture, image: Picture) -> Floats | None:
    rows = match_features(image, reference, MatchFeatures(image="b", reference="a", method=method)).rows
    return np.asarray(rows[0, 2:].reshape(3, 3)) if len(rows) else None


def our_object(method: str, reference: Picture, image: Picture) -> Floats | None:
    rows = find_object(image, reference, FindObject(image="b", reference="a", method=method)).rows
    if not len(rows):
        return None
    corners = outline(reference).astype(np.float32), rows[:, :2].astype(np.float32)
    return np.asarray(cv2.getPerspectiveTransform(*corners), np.float64)


def corner_error(homography: Floats | None, reference: Picture, truth: Floats) -> float:
    """Of the four corners the largest distance to the truth, `(4, 2)`; endless if there is no homography."""
    if homography is None:
        return np.inf
    apart = np.linalg.norm(project(homography, outline(reference)) - truth, axis=1)
    return float(apart.max()) if np.isfinite(apart).all() else np.inf


def scenes(first_seed: int, count: int) -> Iterator[tuple[str, Picture, Picture, Floats]]:
    """Name, reference, image, and where the reference's corners are in the image."""
    first, third = picture_of("graf1.jpg"), picture_of("graf3.jpg")
    yield "graf1 in graf3", first, third, project(measured(), outline(first))
    yield "box in scene", picture_of("box.png"), picture_of("box_in_scene.png"), BOX
    for name in PICTURES:
        for seed in range(count):
            picture = picture_of(name)
            scene, homography = warped(picture, first_seed + seed)
            yield f"{name} warped", picture, scene, project(homography, outline(picture))


def matching_table(first_seed: int, count: int) -> None:
    print("\ncorner error, px         plain: median  worst  below 3     ours: median  worst  below 3   CPU ours/plain")
    for method in METHODS:
        errors: dict[str, dict[str, list[float]]] = {}
        spent = {"plain": 0.0, "ours": 0.0}
        for name, reference, image, truth in scenes(first_seed, count):
            ours = our_object if name == "box in scene" else our_homography
            for label, find in (("plain", plain_homography), ("ours", ours)):
                cv2.setRNGSeed(0)
                homography, cpu_s = timed(find, method, reference, image)
                spent[label] += cpu_s
                errors.setdefault(name, {}).setdefault(label, []).append(corner_error(homography, reference, truth))
        for name, by_label in errors.items():
            parts = []
            for label in ("plain", "ours"):
                found = np.array(by_label[label])
                parts.append(f"{np.median(found):13.2f} {found.max():7.1f} {(found < 3).sum():4} of {len(found):<3}")
            print(f"{method:6}{name:22}" + "    ".join(parts))
        print(f"{method:6}{'all':22}{'':57}{spent['ours'] / spent['plain']:20.2f}")


# ---------------------------------------------------------------------------------------------------------- stitching


def views(name: str, seed: int) -> list[Picture]:
    """Four views, each of which shares 30 to 50 % with the next one, in random order."""
    random = np.random.default_rng(seed)
    wall = np.asarray(cv2.imread(str(DATA / name), cv2.IMREAD_COLOR), np.uint8)
    wall = np.asarray(cv2.resize(wall, (1800, 1000), interpolation=cv2.INTER_CUBIC), np.uint8)
    there, here = (np.array([[800, 0, x], [0, 800, y], [0, 0, 1.0]]) for x, y in ((900, 500), (320, 240)))
    step = 2 * np.arctan(320 / 800) * (1 - random.uniform(0.3, 0.5))
    seen = []
    for number in range(4):
        (sin, up, roll), (cos, level, upright) = (
            call([(number - 1.5) * step, *random.uniform(-0.05, 0.05, 2)]) for call in (np.sin, np.cos)
        )
        turn = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]]) @ np.array([[1, 0, 0], [0, level, -up], [0, up, level]])
        rolled = np.array([[upright, -roll, 0], [roll, upright, 0], [0, 0, 1]])
        homography = there @ turn @ rolled @ np.linalg.inv(here)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        view = cv2.warpPerspective(wall, homography, (640, 480), flags=flags, borderMode=cv2.BORDER_REFLECT)
        lit = view * random.uniform(0.75, 1.2) + random.normal(0, 2, view.shape)
        seen.append(np.clip(lit, 0, 255).astype(np.uint8))
    return [seen[place] for place in random.permutation(4)]


def plain_joined(parts: list[Picture]) -> int:
    stitcher = cv2.Stitcher.create(cv2.Stitcher_PANORAMA)
    status, _ = stitcher.stitch(parts)
    return len(stitcher.component()) if status == cv2.Stitcher_OK else 0


def our_joined(parts: list[Picture]) -> int:
    try:
        return len(joined(parts, scans=False).used)
    except NotJoined:
        return 0


def stitching_table(first_seed: int, count: int) -> None:
    print("\nsets of 4 joined whole      plain     ours   CPU ours/plain")
    for name in ("graf1.jpg", "board.jpg", "astronaut.jpg", "smarties.png"):
        whole, spent = {"plain": 0, "ours": 0}, {"plain": 0.0, "ours": 0.0}
        for seed in range(count):
            parts = views(name, first_seed + seed)
            for label, join in (("plain", plain_joined), ("ours", our_joined)):
                cv2.setRNGSeed(0)
                used, cpu_s = timed(join, parts)
                spent[label] += cpu_s
                whole[label] += used == len(parts)
        print(f"{name:20}{whole['plain']:6} of {count:<3}{whole['ours']:4} of {count:<3}{spent['ours'] / spent['plain']:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--train", action="store_true", help="the seeds that may be looked at")
    parser.add_argument("--count", type=int, default=20, help="warps of each picture")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    print(f"OpenCV {cv2.__version__}; {', '.join(METHODS)}")
    first_seed = TRAIN if options.train else HELD_OUT
    points_table(first_seed, options.count)
    matching_table(first_seed, options.count)
    stitching_table(first_seed, max(1, options.count // 2))


if __name__ == "__main__":
    main()
