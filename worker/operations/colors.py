"""Colours: the main ones of a picture, where one of them is, and pictures in the colours of a palette."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.catalog.colors import FindColorRegions, FindColors, MatchPalette
from worker.errors import ArgumentError
from worker.operations.colorspace import ciede2000, cielab, from_oklab, hexadecimal, oklab, parse_color, parse_colors
from worker.operations.keywords import takes_keywords
from worker.operations.marks import CENTER, HALO, MARK, draw_cross, edged, line_width
from worker.operations.regions import check_region, mask_of
from worker.operations.shapes import Found
from worker.pictures.pixels import Image, color, size_of, with_depth

if TYPE_CHECKING:
    from worker.operations.colorspace import Colors
    from worker.operations.shapes import Rows

_SAMPLES = 200_000  # pixels looked at for the main colours
_BINS = 32  # steps per channel into which similar pixels are counted
_ROUNDS = 100
_GREY = 0.02  # OKLab chroma; less has no hue to sort by
_SWATCH = (1024, 128)
_LEVELS = 64  # steps per channel of the tables by which a picture is looked up
_BAYER = 8  # side of the square pattern for dithering
_MOST_COLORS = 256
_STRIP = 500_000  # pixels


# ------------------------------------------------------------------------------------------------------- main colours


def check_colors(params: FindColors) -> None:
    """Raises ArgumentError if the region cannot be read."""
    check_region(params.region)


@takes_keywords(FindColors, check_colors)
def find_colors(image: Image, params: FindColors) -> Found:
    """Finds the main colours of an image: k-means in OKLab over what is counted of them, and those that look the same joined.

    Args:
        image: any. Pixels count by their alpha, so what is transparent has no colour.
        params: how many colours are wanted, and what is written.

    Returns:
        One row per colour: share of the picture 0 to 1; r, g, b from 0 to 1, coded as in the file (sRGB); CIELAB l, a, b. The text of
        a row is the colour as #rrggbb.
    """
    pixels, weights = _sampled(image, params.region)
    centers, shares = _clustered(pixels, weights, params)
    srgb = from_oklab(centers).reshape(-1, 3)
    order = _order(centers, shares, params.order)
    rows = np.column_stack([shares, srgb, cielab(srgb).reshape(-1, 3)])[order]
    images = {}
    if params.swatch:
        images["swatch"] = _bar(rows, *_SWATCH)
    if params.palette:
        images["palette"] = _as_bgr(rows[:, 1:4]).reshape(1, -1, 3) if len(rows) else np.zeros((1, 1, 3), np.uint8)
    return Found(rows, images, texts=tuple((hexadecimal(row[1:4]),) for row in rows))


def mark_colors(image: Image, rows: Rows) -> Image:
    """A copy of the image, 8 bits BGR, with a bar of the colours at its lower edge. Rows begin share, r, g, b."""
    canvas = color(with_depth(image, 8)).copy()
    height = max(1, canvas.shape[0] // 8)
    canvas[-height:] = _bar(rows, canvas.shape[1], height)
    return canvas


def _sampled(image: Image, region: str) -> tuple[Colors, NDArray[np.float64]]:
    """The sRGB of evenly spaced pixels, `(N, 3)`, and how much each counts. Pixels are left out, not averaged: no colour is made up."""
    inside = mask_of(image, region, None)
    step = max(1, int(np.ceil(np.sqrt(image.shape[0] * image.shape[1] / _SAMPLES))))
    part = np.s_[step // 2 :: step, step // 2 :: step] if min(image.shape[:2]) > step else np.s_[:, :]
    values = image[part] / np.iinfo(image.dtype).max
    weights = values[..., 3] if values.ndim == 3 and values.shape[2] == 4 else np.ones(values.shape[:2])
    if inside is not None:
        weights = weights * (inside[part] > 0)
    srgb = np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values[..., 2::-1]
    counted = weights.ravel() > 0
    return srgb.reshape(-1, 3)[counted], weights.ravel()[counted]


def _clustered(pixels: Colors, weights: NDArray[np.float64], params: FindColors) -> tuple[Colors, NDArray[np.float64]]:
    """Centres in OKLab and their shares. It begins with the heaviest, then each time with what is farthest off and heavy: no chance."""
    if not len(pixels):
        return np.empty((0, 3)), np.empty(0)
    points, counts = _binned(pixels, weights)
    centers = _spread(points, counts, params.colors)
    for _ in range(_ROUNDS):
        nearest = _nearest(points, centers)
        shares = np.asarray(np.bincount(nearest, counts, len(centers)), np.float64)
        sums = np.column_stack([np.bincount(nearest, counts * channel, len(centers)) for channel in points.T])
        moved = np.where(shares[:, None] > 0, sums / np.maximum(shares[:, None], 1e-12), centers)
        if np.abs(moved - centers).max() < 1e-5:
            break
        centers = moved
    centers, shares = _joined(centers[shares > 0], shares[shares > 0] / counts.sum(), params.min_difference)
    kept = shares >= params.min_share
    return centers[kept], shares[kept]


def _binned(pixels: Colors, weights: NDArray[np.float64]) -> tuple[Colors, NDArray[np.float64]]:
    """The mean OKLab colour, and the count, of the pixels in each used cell of the sRGB cube."""
    cells = np.minimum((pixels * _BINS).astype(np.int64), _BINS - 1) @ np.array([_BINS * _BINS, _BINS, 1])
    _, which = np.unique(cells, return_inverse=True)
    counts = np.asarray(np.bincount(which, weights), np.float64)
    means = np.column_stack([np.bincount(which, weights * channel) / counts for channel in oklab(pixels).T])
    return means, counts


def _spread(points: Colors, counts: NDArray[np.float64], most: int) -> Colors:
    chosen = [int(np.argmax(counts))]
    apart = ((points - points[chosen[0]]) ** 2).sum(axis=1)
    while len(chosen) < min(most, len(points)):
        chosen.append(int(np.argmax(apart * np.sqrt(counts))))
        apart = np.minimum(apart, ((points - points[chosen[-1]]) ** 2).sum(axis=1))
    return points[chosen]


def _nearest(points: Colors, centers: Colors) -> NDArray[np.intp]:
    """The index of the nearest centre of each point."""
    return np.asarray(np.argmin((centers**2).sum(axis=1) - 2 * points @ centers.T, axis=1))


def _joined(centers: Colors, shares: NDArray[np.float64], least: float) -> tuple[Colors, NDArray[np.float64]]:
    """The two most similar colours become one, until all are at least so different (CIEDE2000)."""
    while len(centers) > 1:
        lab = cielab(from_oklab(centers))
        apart = ciede2000(lab[:, None], lab[None]) + np.diag(np.full(len(lab), np.inf))
        one, other = sorted(np.unravel_index(np.argmin(apart), apart.shape))
        if apart[one, other] >= least:
            break
        weights = shares[[one, other]]
        centers[one] = weights @ centers[[one, other]] / weights.sum()
        shares[one] = weights.sum()
        centers, shares = np.delete(centers, other, axis=0), np.delete(shares, other)
    return centers, shares


def _order(centers: Colors, shares: NDArray[np.float64], by: str) -> NDArray[np.intp]:
    if by == "share":
        return np.argsort(-shares, kind="stable")
    if by == "lightness":
        return np.argsort(centers[:, 0], kind="stable")
    is_grey = np.hypot(centers[:, 1], centers[:, 2]) < _GREY
    hue = np.arctan2(centers[:, 2], centers[:, 1]) % (2 * np.pi)
    return np.lexsort((np.where(is_grey, centers[:, 0], hue), is_grey))


def _bar(rows: Rows, width: int, height: int) -> Image:
    """The colours side by side, each as wide as its part of all shares; black if there are none."""
    bar = np.zeros((height, width, 3), np.uint8)
    total = rows[:, 0].sum() if len(rows) else 0.0
    if total:
        ends = np.rint(np.cumsum(rows[:, 0]) / total * width).astype(int)
        for hue, begin, end in zip(_as_bgr(rows[:, 1:4]), [0, *ends[:-1]], ends, strict=True):
            bar[:, begin:end] = hue
    return bar


def _as_bgr(srgb: Colors) -> Image:
    return np.asarray(np.rint(np.clip(srgb, 0, 1)[..., ::-1] * 255), np.uint8)


# ------------------------------------------------------------------------------------------------- regions of a colour


def check_regions(params: FindColorRegions) -> None:
    """Raises ArgumentError if the region cannot be read."""
    check_region(params.region)


@takes_keywords(FindColorRegions, check_regions)
def find_color_regions(image: Image, params: FindColorRegions) -> Found:
    """Finds connected regions of a colour, or of a range of colours.

    A pixel has the colour if it has under some light of at most `light` stops more or less: OKLab values then change by the cube
    root of the light, all three alike.

    Args:
        image: any. Pixels of less than half alpha have no colour.
        params: the colour, how near to it counts, and what is written.

    Returns:
        One row per region, the largest first: x, y of its centre of mass in pixels, u, v; area in pixels; left, top, width and height
        of its box in pixels; r, g, b of its mean colour, 0 to 1.
    """
    mask = _of_color(image, params)
    count, labels, stats, centers = cv2.connectedComponentsWithStats(mask, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    large = [index for index in range(1, count) if areas[index] >= params.min_area]
    kept = sorted(large, key=lambda index: (-areas[index], *stats[index, [cv2.CC_STAT_TOP, cv2.CC_STAT_LEFT]]))[: params.max_items]
    rows = np.array([_region_row(image, labels, index, stats[index], centers[index]) for index in kept], np.float64).reshape(-1, 12)
    images = {"mask": _chosen(labels, kept, count)} if params.mask else {}
    if params.overlay:
        images["overlay"] = _regions_marked(image, _chosen(labels, kept, count), rows)
    return Found(rows, images, total=len(large))


def _of_color(image: Image, params: FindColorRegions) -> Image:
    """255 for each pixel of the colour, after small gaps and specks are gone."""
    table = _color_table(params.color, params.to or params.color, params.tolerance, params.light)
    mask = _looked_up(table, image)
    if image.ndim == 3 and image.shape[2] == 4:
        mask[image[..., 3] < np.iinfo(image.dtype).max / 2] = 0
    inside = mask_of(image, params.region, None)
    if inside is not None:
        mask = np.asarray(cv2.bitwise_and(mask, inside))
    if not params.smooth:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * params.smooth + 1, 2 * params.smooth + 1))
    opened = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc)
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, disc))


@functools.lru_cache(maxsize=4)  # the same for all images of a batch
def _color_table(first: str, last: str, tolerance: float, light: float) -> NDArray[np.uint8]:
    """For each cell of the sRGB cube whether it has the colour, 0 or 255."""
    cube = _cube()
    ends = oklab(np.stack([parse_color(first), parse_color(last)]))
    squared = np.maximum((cube**2).sum(axis=1), 1e-12)
    nearest = np.full(len(cube), np.inf)
    for share in np.linspace(0, 1, 1 if first == last else 17):
        wanted = (1 - share) * ends[0] + share * ends[1]
        dimmed = np.clip(cube @ wanted / squared, 2 ** (-light / 3), 2 ** (light / 3))
        nearest = np.minimum(nearest, ((cube * dimmed[:, None] - wanted) ** 2).sum(axis=1))
    return np.where(np.sqrt(nearest) * 100 <= tolerance, 255, 0).astype(np.uint8)


@functools.lru_cache(maxsize=1)
def _cube() -> Colors:
    """OKLab of each cell of the sRGB cube, `(64**3, 3)`; the outermost cells stand for black and white."""
    steps = np.linspace(0, 1, _LEVELS)
    return oklab(np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3))


def _looked_up(table: NDArray[np.uint8], image: Image) -> Image:
    """What a table over the cells of the sRGB cube has for each pixel; strip by strip, as the indices are larger than the pixels."""
    white = np.iinfo(image.dtype).max
    step = (np.arange(white + 1, dtype=np.float64) * (_LEVELS - 1) / white + 0.5).astype(np.int32)
    high = max(1, _STRIP // image.shape[1])
    return np.concatenate([table[_cells(image[top : top + high], step)] for top in range(0, len(image), high)])


def _cells(image: Image, step: NDArray[np.int32]) -> NDArray[np.int32]:
    """For each pixel its cell in the tables, `(height, width)`; `step` says which for a single channel."""
    if image.ndim == 2:
        return np.asarray(step[image] * np.int32(_LEVELS * _LEVELS + _LEVELS + 1))
    return np.asarray((step[image[..., 2]] * np.int32(_LEVELS) + step[image[..., 1]]) * np.int32(_LEVELS) + step[image[..., 0]])


def _region_row(image: Image, labels: Image, index: int, stats: NDArray[np.int32], center: NDArray[np.float64]) -> tuple[float, ...]:
    left, top, wide, high, area = (int(value) for value in stats[:5])
    part = np.s_[top : top + high, left : left + wide]
    inside = (labels[part] == index).astype(np.uint8)
    mean = [value / np.iinfo(image.dtype).max for value in cv2.mean(np.ascontiguousarray(image[part]), inside)]
    b, g, r = mean[:3] if image.ndim == 3 else mean[:1] * 3
    width, height = size_of(image)
    x, y = center
    return x, y, (x + 0.5) / width, 1 - (y + 0.5) / height, area, left, top, wide, high, r, g, b


def _chosen(labels: Image, kept: list[int], count: int) -> Image:
    table = np.zeros(count, np.uint8)
    table[kept] = 255
    return np.asarray(table[labels])


def _regions_marked(image: Image, mask: Image, rows: Rows) -> Image:
    canvas = color(with_depth(image, 8)).copy()
    width = line_width(canvas)
    outlines, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    for line, outline, cross in ((edged(width), HALO, HALO), (width, MARK, CENTER)):
        cv2.drawContours(canvas, outlines, -1, outline, line, cv2.LINE_AA)
        for x, y in rows[:, :2]:
            draw_cross(canvas, (x, y), 3.0 * width + 2, cross, line)
    return canvas


# --------------------------------------------------------------------------------------------- the colours of a palette


def check_palette(params: MatchPalette) -> None:
    """Raises ArgumentError if there is no palette, or it cannot be read."""
    found = parse_colors(params.palette, "palette")
    if bool(len(found)) == bool(params.palette_image):
        said = "both were given" if params.palette_image else "neither was given"
        raise ArgumentError(f"match_palette needs colours: either palette or palette_image; {said}.")
    if len(found) > _MOST_COLORS:
        raise ArgumentError(f"palette must hold at most {_MOST_COLORS} colours; got {len(found)}.")


@takes_keywords(MatchPalette)
def match_palette(image: Image, palette_image: Image | None, params: MatchPalette) -> Found:
    """Makes a picture in the colours of a palette.

    Args:
        image: any; its alpha stays as it is.
        palette_image: a picture whose colours, in reading order, are the palette; None if `params.palette` names them.
        params: the palette and how it is laid onto the picture.

    Returns:
        The picture `output`, of 8 bits; and one row per colour of the palette, in its order: its share of the picture, 0 to 1; r, g, b.
        With `mode=ramp`, the share of the pixels for which it is the nearest colour. The text of a row is the colour as #rrggbb.

    Raises:
        ArgumentError: the palette has no colour, or more than 256.
    """
    srgb = parse_colors(params.palette, "palette") if palette_image is None else _colors_of(palette_image)
    if not 1 <= len(srgb) <= _MOST_COLORS:
        raise ArgumentError(f"The palette must have 1 to {_MOST_COLORS} colours; it has {len(srgb)}.")
    picture, table = with_depth(image, 8), _nearest_table(tuple(map(tuple, srgb.tolist())))
    if params.mode == "ramp":
        made = _ramped(picture, srgb)
        which = _looked_up(table, made)
    else:
        which = _looked_up(table, _dithered(picture, srgb, params.dither))
        made = _as_bgr(srgb)[which]
    plain = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR)) if picture.ndim == 2 else picture[..., :3]
    mixed = np.asarray(cv2.addWeighted(made, params.amount, plain, 1 - params.amount, 0)) if params.amount < 1 else made
    output = np.dstack([mixed, picture[..., 3]]) if picture.ndim == 3 and picture.shape[2] == 4 else mixed
    shares = np.bincount(which.ravel(), minlength=len(srgb)) / which.size
    return Found(np.column_stack([shares, srgb]), {"output": output}, texts=tuple((hexadecimal(one),) for one in srgb))


def _colors_of(picture: Image) -> Colors:
    """The different colours of a picture, in the order in which reading it meets them."""
    pixels = color(with_depth(picture, 8)).reshape(-1, 3)
    _, first = np.unique(pixels.astype(np.int64) @ np.array([1, 256, 65536]), return_index=True)
    return pixels[np.sort(first)][: _MOST_COLORS + 1, ::-1] / 255


@functools.lru_cache(maxsize=4)  # the same for all images of a batch
def _nearest_table(palette: tuple[tuple[float, ...], ...]) -> NDArray[np.uint8]:
    """For each cell of the sRGB cube the palette's nearest colour in OKLab; in slices, as 262,144 times 256 numbers are many."""
    centers = oklab(palette)
    return np.concatenate([_nearest(part, centers).astype(np.uint8) for part in np.array_split(_cube(), 16)])


def _dithered(picture: Image, srgb: Colors, strength: float) -> Image:
    """The picture with an ordered pattern on it (B. E. Bayer, 1973), as strong as the palette's colours are apart."""
    if not strength or len(srgb) < 2:
        return picture
    apart = np.sqrt(((srgb[:, None] - srgb[None]) ** 2).sum(axis=2)) + np.diag(np.full(len(srgb), np.inf))
    reach = strength * 255 * float(np.median(apart.min(axis=1))) / np.sqrt(3)
    height, width = picture.shape[:2]
    pattern = np.tile((_bayer(_BAYER) - 0.5) * reach, (-(-height // _BAYER), -(-width // _BAYER)))[:height, :width]
    plain = picture[..., :3] if picture.ndim == 3 else picture
    shifted = plain + (pattern[..., None] if plain.ndim == 3 else pattern).astype(np.float32)
    return np.asarray(np.clip(np.rint(shifted), 0, 255), np.uint8)


def _bayer(side: int) -> NDArray[np.float64]:
    """Bayer's matrix with the thresholds 0 to 1 in its cells."""
    matrix = np.zeros((1, 1))
    while len(matrix) < side:
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return (matrix + 0.5) / matrix.size


def _ramped(picture: Image, srgb: Colors) -> Image:
    """Lightness looked up along the palette; between two colours it goes straight through OKLab."""
    lab = oklab(srgb)
    lightness = _cube()[:, 0]
    places = np.linspace(0, 1, len(lab)) if len(lab) > 1 else np.zeros(1)
    ramp = np.column_stack([np.interp(lightness, places, channel) for channel in lab.T])
    return np.asarray(_looked_up(_as_bgr(from_oklab(ramp)), picture))
