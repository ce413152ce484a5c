"""How alike pictures are: pixel by pixel, by structure, and by perceptual hashes; and which pictures of a folder are doubles."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.comparing import Compare, FindDoubles
from worker.operations.keywords import takes_keywords
from worker.operations.shapes import Found
from worker.operations.sharpness import sharpness_of
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.shapes import Picture

Floats = NDArray[np.float32]
Bits = NDArray[np.bool_]

#: The window and the constants of Wang et al. 2004.
_SIGMA, _WINDOW = 1.5, 11
_C1, _C2 = 0.01**2, 0.03**2
#: Of two pictures that are the same. It would be infinite, which tables and JSON cannot say.
MOST_PSNR_DB = 100.0
_HASHED, _LOW = 32, 8
_STRIP = 500_000  # pixels
_SEEN = 128
#: A picture is laid beside so many others of a similar hash, the nearest first.
_CANDIDATES = 32
_THUMB, _GAP, _ACROSS, _DOWN = 96, 6, 12, 60
_KEPT, _OTHER = (90, 220, 90), (70, 70, 230)


# -------------------------------------------------------------------------------------------------------- two pictures


@takes_keywords(Compare)
def compare(image: Image, reference: Image, params: Compare) -> Found:
    """Says how alike two pictures are.

    Both are laid on black, and count from 0 to 1, whatever their depth. If they differ in size, each side is brought to the smaller of
    both, by averages over areas; perceptual hashes are taken of the whole pictures.

    Args:
        image: any.
        reference: any.
        params: what counts as changed, and what is written.

    Returns:
        One row: mse, the mean squared difference of the colours, 0 to 1; psnr in dB, at most `MOST_PSNR_DB`; ssim, -1 to 1 (Z. Wang, A.
        Bovik, H. Sheikh, E. Simoncelli: Image quality assessment, 2004); by how many of 64 bits phash (C. Zauner, 2010) and dhash (N.
        Krawetz, 2013) differ; changed, the share of the pixels that differ by more than the threshold; scaled, 1 if the sizes differ.
    """
    one, other = _of_one_size(color(image), color(reference))
    squares, likeness, changed, places = 0.0, 0.0, 0, 0
    differences, overlays = [], []
    for first, last, fitting in _strips(*size_of(one)):
        part, beside = _floats(one[first:last]), _floats(other[first:last])
        structure = ssim_map(_luma(part), _luma(beside))
        likeness += float(structure.sum(dtype=np.float64))
        places += structure.size
        apart = np.asarray(cv2.absdiff(part, beside))[fitting]
        most = apart.max(axis=2)
        squares += float(np.square(apart, dtype=np.float64).sum())
        changed += int(np.count_nonzero(most > np.float32(params.threshold / 255)))
        if params.difference:
            differences.append(np.rint(apart * 255).astype(np.uint8))
        if params.overlay:
            overlays.append(_marked(part[fitting], most, params.threshold))
    mse = squares / one.size
    psnr = min(MOST_PSNR_DB, -10 * np.log10(mse)) if mse else MOST_PSNR_DB
    hashes = (np.count_nonzero(of(image) != of(reference)) for of in (phash, dhash))
    row = (mse, psnr, likeness / places, *hashes, changed / (one.size // 3), size_of(image) != size_of(reference))
    images = {"difference": differences, "overlay": overlays}
    return Found(np.array([row], np.float64), {name: np.concatenate(parts) for name, parts in images.items() if parts})


def _strips(width: int, height: int) -> Iterator[tuple[int, int, slice]]:
    """The rows of a picture in strips, so that what is computed of them needs little memory. Their edges overlap by those of the window.

    Yields:
        The first row, the one behind the last, and which of these rows are in no other strip.
    """
    edge = _WINDOW // 2
    high = max(_STRIP // width, _WINDOW) if width >= _WINDOW else height
    tops = list(range(0, height, high))
    if len(tops) > 1 and height - tops[-1] < _WINDOW:  # too low for the window
        tops.pop()
    for top, bottom in zip(tops, [*tops[1:], height], strict=True):
        first, last = max(0, top - edge), min(height, bottom + edge)
        yield first, last, slice(top - first, bottom - first)


def ssim_map(one: Floats, other: Floats) -> NDArray[np.float64]:
    """The structural similarity around each pixel, -1 to 1, by a Gaussian window of 11 x 11 (Wang et al. 2004).

    As in the paper it is given where the window fits into the picture; in a smaller picture everywhere, mirrored at the edges.

    Args:
        one: `(height, width)`, 0 to 1.
        other: likewise.
    """
    a, b = one.astype(np.float64), other.astype(np.float64)  # a variance is the small difference of two large numbers
    mean_a, mean_b = _blurred(a), _blurred(b)
    squared_a, squared_b, product = mean_a**2, mean_b**2, mean_a * mean_b
    variances = _blurred(a * a) - squared_a + _blurred(b * b) - squared_b
    covariance = _blurred(a * b) - product
    likeness = ((2 * product + _C1) * (2 * covariance + _C2)) / ((squared_a + squared_b + _C1) * (variances + _C2))
    edge = _WINDOW // 2
    inside = likeness[edge:-edge, edge:-edge]
    return inside if inside.size else likeness


def _blurred(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA, borderType=cv2.BORDER_REFLECT_101))


def phash(image: Image) -> Bits:
    """64 bits that stay when a picture is scaled or packed: whether each low frequency of the cosine transform is above their median.

    After C. Zauner, Implementation and benchmarking of perceptual image hash functions, 2010: the lowest 8 x 8 frequencies of 32 x 32
    grey values, without the lowest row and column.
    """
    frequencies = cv2.dct(_reduced(image, (_HASHED, _HASHED)))[1 : _LOW + 1, 1 : _LOW + 1].ravel()
    # On a plain picture all are nothing but rounding.
    return np.asarray(frequencies > np.median(frequencies) + 1e-5)


def dhash(image: Image) -> Bits:
    """64 bits: whether each of 8 x 9 grey values is brighter than the one on its left. After N. Krawetz, Kind of like that, 2013."""
    small = _reduced(image, (_LOW + 1, _LOW))
    return np.asarray(small[:, 1:] > small[:, :-1] + 1e-5).ravel()


def _reduced(image: Image, size: tuple[int, int]) -> Floats:
    """Grey from 0 to 1 in another size. Enlarged first if need be, so that averages over areas are what they say."""
    plain = _floats(grey(image))
    factor = max(-(-wanted // side) for wanted, side in zip(size, size_of(plain), strict=True))
    if factor > 1:
        plain = np.asarray(cv2.resize(plain, None, fx=factor, fy=factor, interpolation=cv2.INTER_NEAREST))
    return np.asarray(cv2.resize(plain, size, interpolation=cv2.INTER_AREA), np.float32)


def _floats(image: Image) -> Floats:
    return np.asarray(image, np.float32) / np.float32(np.iinfo(image.dtype).max)


def _luma(image: Floats) -> Floats:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))


def _of_one_size(image: Image, reference: Image) -> tuple[Image, Image]:
    size = tuple(min(sides) for sides in zip(size_of(image), size_of(reference), strict=True))
    one, other = (
        picture if size_of(picture) == size else np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA))
        for picture in (image, reference)
    )
    return one, other


def _marked(image: Floats, apart: Floats, threshold: float) -> Image:
    """The image in dim grey, and on it what differs, from violet (a little) to yellow (by all there is)."""
    ground = np.rint(_luma(image) * 110 + 40).astype(np.uint8)
    # A small difference has to be seen, too: half the scale is for the first eighth.
    steps = np.rint(255 * np.cbrt(apart)).astype(np.uint8)
    paint = np.asarray(cv2.applyColorMap(steps, cv2.COLORMAP_PLASMA))
    return np.where((apart > threshold / 255)[..., None], paint, color(ground)).astype(np.uint8)


# ------------------------------------------------------------------------------------------------------------- doubles


@dataclass(slots=True)
class _Member:
    """One picture of a group.

    Attributes:
        n: its number.
        size: width and height.
        sharpness: says with the size which picture is best.
        thumb: a small picture, packed.
        distance, ssim: how alike it is to the picture with which the group began.
    """

    n: int
    size: tuple[int, int]
    sharpness: float
    thumb: bytes
    distance: int = 0
    ssim: float = 1.0


@dataclass(slots=True)
class _Group:
    seen: Image
    members: list[_Member]


class _Groups:
    """What is alike so far."""

    def __init__(self, params: FindDoubles) -> None:
        self.groups: list[_Group] = []
        self._params = params
        self._hashes = np.zeros((1024, _LOW), np.uint8)  # of the groups' first pictures

    def add(self, bits: Bits, seen: Image, member: _Member) -> None:
        """Puts a picture to the group whose first one is the most alike, or makes it the first of a new one."""
        packed, count = np.packbits(bits), len(self.groups)
        distances = np.unpackbits(self._hashes[:count] ^ packed, axis=1).sum(axis=1)
        near = np.flatnonzero(distances <= self._params.max_distance)
        candidates = near[np.argsort(distances[near], kind="stable")][:_CANDIDATES]
        alike = [float(ssim_map(_floats(self.groups[index].seen), _floats(seen)).mean()) for index in candidates]
        if alike and max(alike) >= self._params.min_ssim:
            index = candidates[int(np.argmax(alike))]
            member.distance, member.ssim = int(distances[index]), max(alike)
            self.groups[index].members.append(member)
            return
        if count == len(self._hashes):
            self._hashes = np.concatenate([self._hashes, np.zeros_like(self._hashes)])
        self._hashes[count] = packed
        self.groups.append(_Group(seen, [member]))


@takes_keywords(FindDoubles)
def find_doubles(pictures: Iterator[Picture], params: FindDoubles) -> Found:
    """Finds pictures that show the same: scaled, packed or graded a little.

    Each picture is laid beside the first one of each group so far: their perceptual hashes have to be near, and then their structure
    alike. Pictures that are turned, mirrored or cropped are no doubles. Of each picture no more is kept than a small one.

    Returns:
        One row per picture that has a double: group, from 0, those of the most pictures first; best, 1 for the picture of the most
        pixels, and among these the sharpest, which is the group's first row; distance in bits and ssim to the picture with which the
        group began; width and height in pixels; image.
    """
    known = _Groups(params)
    for picture in pictures:
        plain = grey(picture.image)
        width, height = size_of(plain)
        known.add(
            phash(plain),
            np.rint(_reduced(plain, (_SEEN, _SEEN)) * 255).astype(np.uint8),
            _Member(picture.n, (width, height), sharpness_of(_floats(plain)), _thumb(picture.image, params)),
        )
    doubles = sorted(
        (group for group in known.groups if len(group.members) > 1), key=lambda group: (-len(group.members), group.members[0].n)
    )
    chosen = doubles[: params.max_items]
    for group in chosen:
        group.members.sort(key=lambda member: (-member.size[0] * member.size[1], -member.sharpness, member.n))
    rows = [_double_row(number, place, member) for number, group in enumerate(chosen) for place, member in enumerate(group.members)]
    images = {"overlay": _sheet(chosen)} if params.overlay else {}
    total = sum(len(group.members) for group in doubles)
    return Found(np.array(rows, np.float64).reshape(-1, 7), images, total=total)


def _double_row(number: int, place: int, member: _Member) -> tuple[float, ...]:
    return number, place == 0, member.distance, member.ssim, *member.size, member.n


def _thumb(image: Image, params: FindDoubles) -> bytes:
    """A small picture, packed, because there may be 20,000; nothing if none is wanted."""
    if not params.overlay:
        return b""
    plain = color(with_depth(image, 8))
    scale = _THUMB / max(size_of(plain))
    size = tuple(max(1, round(side * scale)) for side in size_of(plain))
    _, data = cv2.imencode(".jpg", cv2.resize(plain, size, interpolation=cv2.INTER_AREA))
    return bytes(data)


def _sheet(groups: list[_Group]) -> Image:
    """A row for each group: its best picture in green, the others in red. As many as fit."""
    shown = groups[:_DOWN]
    across = max((min(_ACROSS, len(group.members)) for group in shown), default=1)
    step = _THUMB + 2 * _GAP
    sheet = np.full((step * max(1, len(shown)), step * across, 3), 32, np.uint8)
    for down, group in enumerate(shown):
        for place, member in enumerate(group.members[:across]):
            tile = np.asarray(cv2.imdecode(np.frombuffer(member.thumb, np.uint8), cv2.IMREAD_COLOR))
            width, height = size_of(tile)
            left, top = place * step + (step - width) // 2, down * step + (step - height) // 2
            cv2.rectangle(sheet, (left - 3, top - 3), (left + width + 2, top + height + 2), _OTHER if place else _KEPT, cv2.FILLED)
            sheet[top : top + height, left : left + width] = tile
    return sheet
