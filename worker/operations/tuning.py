"""Settings for other operations: tried out side by side, or found from examples."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from worker.catalog.circles import FindCircles
from worker.catalog.parse import settings_of
from worker.catalog.tuning import Sweep, Tune
from worker.errors import ArgumentError
from worker.operations import circles
from worker.operations.compositing import tile_of
from worker.operations.keywords import takes_keywords
from worker.operations.lettering import drawable, fitted, wrapped, write_on
from worker.operations.marks import HALO, MARK, draw_outline, edged, line_width
from worker.operations.regions import numbers_of
from worker.operations.shapes import Found, Trial, Tried
from worker.pictures.pixels import Image, size_of

if TYPE_CHECKING:
    from worker.operations.shapes import Rows

Floats = NDArray[np.float64]

MOST_TRIALS = 64
_LONGEST_SIDE, _MOST_MEGAPIXELS = 16384, 100
_GAP = 10  # pixels around each tile
_GROUND, _FAILED, _TEXT, _ALARM = (32, 32, 32), (40, 30, 60), (235, 235, 235), (120, 130, 255)


def check_sweep(params: Sweep) -> None:
    """Raises ArgumentError if what is to be tried is not clear, or does not fit on a sheet."""
    if bool(params.second_param) != bool(params.second_values):
        missing, given = ("second_values", "second_param") if params.second_param else ("second_param", "second_values")
        raise ArgumentError(f"sweep: {given} needs {missing}; got only one of both.")
    if params.param == params.second_param:
        raise ArgumentError(f"sweep: param and second_param must differ; both are {params.param}.")
    count = len(trials(params))
    if count > MOST_TRIALS:
        raise ArgumentError(f"sweep: {count} pictures are wanted; the limit is {MOST_TRIALS}.", "Give fewer values.")
    width, height = _size(params)
    if max(width, height) > _LONGEST_SIDE or width * height > _MOST_MEGAPIXELS * 1e6:
        raise ArgumentError(
            f"sweep: the sheet would have {width}x{height} pixels; the limits are {_LONGEST_SIDE} px a side and {_MOST_MEGAPIXELS} MP.",
            "Smaller tiles or fewer values help.",
        )


def trials(params: Sweep) -> tuple[Trial, ...]:
    """Each value of `param`, for each value of `second_param` if there is one.

    Raises:
        ArgumentError: there is no value, one is there twice, or the other settings are not key=value.
    """
    first, second = _values(params.values, "values"), _values(params.second_values, "second_values") if params.second_param else ()
    settings = settings_of("sweep", params.settings)
    if second:
        pairs = itertools.product(second, first)
        return tuple(Trial((*settings, (params.param, value), (params.second_param, other)), (value, other)) for other, value in pairs)
    return tuple(Trial((*settings, (params.param, value)), (value,)) for value in first)


def _values(text: str, key: str) -> tuple[str, ...]:
    """The values in a text: between | if there is one, otherwise between spaces or commas."""
    parts = text.split("|") if "|" in text else re.split(r"[\s,]+", text)
    values = tuple(part.strip() for part in parts if part.strip())
    if not values:
        raise ArgumentError(f"sweep: {key} holds no value; got {text[:60]!r}.")
    double = next((value for value in values if values.count(value) > 1), None)
    if double is not None:
        raise ArgumentError(f"sweep: {key} holds {double[:60]} twice.")
    return values


def sheet(tried: Iterator[Tried], item: str, params: Sweep) -> Found:
    """All trials on one sheet, each with its values and how much it found; one that failed shows why.

    Args:
        tried: in reading order.
        item: what the operation finds; empty if it finds nothing but makes a picture.
        params: the sizes.

    Returns:
        The picture `output`, 8 bits BGR; and a row for each trial: its column and row from 0, how many items it found, how many
        `max_items` left out, 1 if it failed.
    """
    columns, _ = _grid(params)
    width, height = _size(params)
    canvas = np.empty((height, width, 3), np.uint8)
    canvas[...] = _GROUND
    _write_head(canvas, params)
    rows, texts = [], []
    for n, one in enumerate(tried):
        down, across = divmod(n, columns)
        _lay(canvas, one, item, (across, down), params)
        rows.append((across, down, one.items or 0, one.left_out, one.picture is None))
        texts.append((one.values[0], one.values[1] if len(one.values) > 1 else "", one.message))
    return Found(np.array(rows, np.float64), {"output": canvas}, texts=tuple(texts))


def _letter(params: Sweep) -> int:
    """The size of letters, in pixels."""
    return int(np.clip(params.tile_width // 26, 12, 30))


def _grid(params: Sweep) -> tuple[int, int]:
    """How many tiles stand side by side, and one above the other."""
    count = len(trials(params))
    columns = len(_values(params.values, "values")) if params.second_param else math.ceil(math.sqrt(count))
    return columns, math.ceil(count / columns)


def _cell(params: Sweep) -> tuple[int, int]:
    """A tile with the gap at its right and the two lines below."""
    return params.tile_width + _GAP, params.tile_height + _GAP + 3 * _letter(params)


def _head(params: Sweep) -> list[str]:
    """The lines at the top, as wide as the sheet."""
    columns, _ = _grid(params)
    across = f"{params.param} from left to right, {params.second_param} from top to bottom" if params.second_param else params.param
    text = f"{params.target}: {across}" + (f"; {params.settings}" if params.settings else "")
    return wrapped(drawable(text), _letter(params), columns * _cell(params)[0] - _GAP)[:4]


def _size(params: Sweep) -> tuple[int, int]:
    columns, down = _grid(params)
    wide, high = _cell(params)
    return columns * wide + _GAP, down * high + _GAP + len(_head(params)) * round(1.5 * _letter(params))


def _write_head(canvas: Image, params: Sweep) -> None:
    for n, line in enumerate(_head(params)):
        write_on(canvas, line, (_GAP, round((1.2 + 1.5 * n) * _letter(params))), _letter(params), _TEXT)


def _lay(canvas: Image, one: Tried, item: str, place: tuple[int, int], params: Sweep) -> None:
    """One tile and what stands below it."""
    size, (wide, high) = _letter(params), _cell(params)
    left = _GAP + place[0] * wide
    top = _GAP + place[1] * high + len(_head(params)) * round(1.5 * size)
    if one.picture is None:
        canvas[top : top + params.tile_height, left : left + params.tile_width] = _FAILED
        lines = wrapped(drawable(one.message), size, params.tile_width - 2 * _GAP)
        _write_lines(canvas, lines[: max(1, params.tile_height // round(1.5 * size) - 1)], (left + _GAP, top + 2 * size), size, _ALARM)
        said, hue = "failed", _ALARM
    else:
        tile = tile_of(one.picture, params)
        width, height = size_of(tile)
        x, y = left + (params.tile_width - width) // 2, top + (params.tile_height - height) // 2
        canvas[y : y + height, x : x + width] = tile
        said, hue = _said(one, item), MARK
    names = (params.param, params.second_param)
    values = "  ".join(f"{name}={value}" for name, value in zip(names, one.values, strict=False))
    below = (left, top + params.tile_height + round(1.25 * size))
    _write_lines(canvas, [fitted(drawable(values), size, params.tile_width)], below, size, _TEXT)
    _write_lines(canvas, [fitted(said, size, params.tile_width)], (left, below[1] + round(1.35 * size)), size, hue)


def _said(one: Tried, item: str) -> str:
    """How much was found, or how large the picture is."""
    if one.items is None or not item:
        assert one.picture is not None  # noqa: S101 - the caller has seen to it
        width, height = size_of(one.picture)
        return f"{width}x{height} px"
    return f"{item}: {one.items}" + (f" of {one.items + one.left_out}" if one.left_out else "")


def _write_lines(canvas: Image, lines: Sequence[str], place: tuple[int, int], size: int, hue: tuple[int, int, int]) -> None:
    for n, line in enumerate(lines):
        write_on(canvas, line, (place[0], place[1] + round(1.5 * size) * n), size, hue)


# ---------------------------------------------------------------------------------------------------------- by example

MOST_EXAMPLES = 50
_SMALLEST = 2.0  # pixels; the smallest radius of an example
_SENSITIVITIES = tuple(round(0.1 * step, 1) for step in range(11))
#: From the smallest and to the largest example, as factors: how far radii are looked at.
_BELOW, _ABOVE = 0.6, 1.6
#: An example drawn by hand counts as found if it and a circle have so much of their area in common.
_LEAST_IOU = 0.5
#: Radii that differ from the examples' by less than this share are of the same size.
_SAME = 0.1
#: How far the radii may go if nothing of another size is near, as factors.
_FREE_BELOW, _FREE_ABOVE = 0.75, 1.33
_EXAMPLE = (0, 170, 255)


@dataclass(frozen=True, slots=True)
class _Look:
    """What was found at one sensitivity.

    Attributes:
        sensitivity: as in the params.
        rows: `(N, 6)`, as `find_circles` returns them.
        matches: `(E,)`: for each example the row that is it, or -1.
    """

    sensitivity: float
    rows: Rows
    matches: NDArray[np.int64]

    @property
    def works(self) -> bool:
        """Whether all examples are found."""
        return bool((self.matches >= 0).all())


def examples_of(text: str) -> Floats:
    """The circles in a text, `(E, 3)`: x, y, radius in pixels.

    Raises:
        ArgumentError: these are no circles.
    """
    numbers = numbers_of(text, "examples")
    if not numbers or len(numbers) % 3:
        raise ArgumentError(
            f"tune: examples must be x y radius of each circle, such as 120 80 30; 200 90 31; got {len(numbers)} numbers.",
            "Coordinates are pixels from the top left; y goes down.",
        )
    found = np.array(numbers, np.float64).reshape(-1, 3)
    if len(found) > MOST_EXAMPLES:
        raise ArgumentError(f"tune: {len(found)} examples are given; the limit is {MOST_EXAMPLES}.")
    if found[:, 2].min() < _SMALLEST:
        raise ArgumentError(f"tune: the radius of an example must be {_SMALLEST:g} pixels or more; got {found[:, 2].min():g}.")
    return found


def check_tune(params: Tune) -> None:
    """Raises ArgumentError if the examples are no circles, or the name of the preset cannot stand in an address."""
    examples_of(params.examples)
    if re.search(r"[\s#*,/?\[\]{}]", params.preset):
        raise ArgumentError(
            f"tune: preset must be a name without spaces and without # * , / ? [ ] {{ }}; got {params.preset!r}.",
            "It becomes a part of an OSC address.",
        )


@takes_keywords(Tune, check_tune)
def tune(image: Image, params: Tune) -> Found:
    """Finds settings that find the examples, few others of another size, and that lie in the middle of what works.

    1. The picture is searched at sensitivities from 0 to 1, over radii from somewhat below to somewhat above those of the examples.
    2. Of the sensitivities that find all examples, the longest stretch at which as many circles of their size are found is the most
       stable one (as for the regions of Matas et al., Robust wide baseline stereo from maximally stable extremal regions, 2002). Its
       middle is taken.
    3. The limits of the radius lie half way to the next circle of another size, and if there is none, a quarter to a third away.
    4. If circles of that size stand inside of an example, `min_distance` or `nested` keeps them out.

    Each step is checked by searching again; one that loses an example is undone.

    Returns:
        One row: min_radius, max_radius, min_distance, nested, sensitivity; the least and the largest sensitivity at which all examples
        are found; how many circles are found with these settings, and how many of them are no examples. Its text is the settings. And
        the picture `overlay` with the circles found, and the examples in orange.

    Raises:
        ArgumentError: an example lies outside of the picture, or is found at no sensitivity.
    """
    examples = examples_of(params.examples)
    width, height = size_of(image)
    outside = (examples[:, 0] < 0) | (examples[:, 0] > width - 1) | (examples[:, 1] < 0) | (examples[:, 1] > height - 1)
    if outside.any():
        raise ArgumentError(f"tune: the example {_named(examples[outside][0])} has its centre outside of the picture, {width}x{height}.")
    wide = FindCircles(
        image="-",
        min_radius=max(1.0, _BELOW * float(examples[:, 2].min())),
        max_radius=min(16384.0, _ABOVE * float(examples[:, 2].max())),
        max_items=10_000,
    )
    looks = [_look(image, examples, wide, sensitivity) for sensitivity in _SENSITIVITIES]
    working = [look for look in looks if look.works]
    if not working:
        raise _not_found(looks, examples)
    settings, chosen = _settled(image, examples, wide, working)
    rows = chosen.rows
    others = len(rows) - len(examples)
    values = (settings.min_radius, settings.max_radius, settings.min_distance, settings.nested, settings.sensitivity)
    row = np.array([[*values, working[0].sensitivity, working[-1].sensitivity, len(rows), others]], np.float64)
    images = {"overlay": _marked(image, rows, examples)} if params.overlay else {}
    names = ("min_radius", "max_radius", "min_distance", "nested", "sensitivity")
    text = " ".join(f"{name}={float(value):g}" for name, value in zip(names, values, strict=True))
    return Found(row, images, texts=((text,),))


def _look(image: Image, examples: Floats, settings: FindCircles, sensitivity: float | None = None) -> _Look:
    if sensitivity is not None:
        settings = replace(settings, sensitivity=sensitivity)
    rows = circles.search(image, settings).rows
    return _Look(settings.sensitivity, rows, _matched(examples, rows))


def _matched(examples: Floats, rows: Rows) -> NDArray[np.int64]:
    """For each example the circle that has most of its area in common with it, or -1; no circle is taken twice."""
    matches = np.full(len(examples), -1, np.int64)
    if not len(rows):
        return matches
    shares = common_share(examples[:, None, :3], rows[None, :, :3])
    while shares.size and (best := shares.max()) >= _LEAST_IOU:
        example, row = np.argwhere(shares == best)[0]
        matches[example] = row
        shares[example, :] = 0
        shares[:, row] = 0
    return matches


def common_share(first: Floats, second: Floats) -> Floats:
    """The area that two discs have in common, as a share of what they cover together.

    Args:
        first: `(..., 3)`: x, y and radius.
        second: the same, and of a shape that goes with it.

    >>> common_share(np.array([0.0, 0, 2]), np.array([0.0, 0, 1])).item()
    0.25
    """
    a, b = np.broadcast_arrays(first[..., 2], second[..., 2])
    apart = np.hypot(first[..., 0] - second[..., 0], first[..., 1] - second[..., 1])
    small = np.minimum(a, b)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arccos(np.clip((apart**2 + a**2 - b**2) / (2 * apart * a), -1, 1))
        other = np.arccos(np.clip((apart**2 + b**2 - a**2) / (2 * apart * b), -1, 1))
        kite = np.sqrt(np.maximum((a + b - apart) * (apart + a - b) * (apart - a + b) * (a + b + apart), 0)) / 2
        lens = a**2 * angle + b**2 * other - kite
    inside = np.where(apart <= np.abs(a - b), np.pi * small**2, np.where(apart >= a + b, 0.0, lens))
    return np.asarray(inside / (np.pi * (a**2 + b**2) - inside))


def _settled(image: Image, examples: Floats, wide: FindCircles, working: list[_Look]) -> tuple[FindCircles, _Look]:
    """The settings, and what is found with them."""
    smallest, largest = _sizes(working)
    stretch = _steadiest(working, smallest, largest)
    settings = replace(wide, sensitivity=round((stretch[0].sensitivity + stretch[-1].sensitivity) / 2, 2))
    middle = _look(image, examples, settings)
    if not middle.works:  # between two that work
        middle = stretch[len(stretch) // 2]
        settings = replace(wide, sensitivity=middle.sensitivity)
    low, high = _limits(middle.rows[:, 2], smallest, largest)
    chosen = settings, middle
    for limits in ({"min_radius": low, "max_radius": high}, {"max_radius": high}, {"min_radius": low}):
        narrower = replace(settings, **limits)
        look = _look(image, examples, narrower)
        if look.works:
            chosen = narrower, look
            break
    return _without_rivals(image, examples, *chosen)


def _sizes(working: list[_Look]) -> tuple[float, float]:
    """The smallest and the largest radius of the examples, as they are found: more precise than those drawn by hand."""
    radii = np.median([look.rows[look.matches, 2] for look in working], axis=0)
    return float(radii.min()), float(radii.max())


def _of_size(radii: Floats, smallest: float, largest: float) -> NDArray[np.bool_]:
    return np.asarray((radii > (1 - _SAME) * smallest - 0.5) & (radii < (1 + _SAME) * largest + 0.5))


def _steadiest(working: list[_Look], smallest: float, largest: float) -> list[_Look]:
    """The longest stretch of sensitivities with the same number of circles of the examples' size; of equals that with the fewest."""
    stretches: list[list[_Look]] = []
    counts = [int(_of_size(look.rows[:, 2], smallest, largest).sum()) for look in working]
    for n, look in enumerate(working):
        follows = n and _SENSITIVITIES.index(look.sensitivity) == _SENSITIVITIES.index(working[n - 1].sensitivity) + 1
        if follows and counts[n] == counts[n - 1]:
            stretches[-1].append(look)
        else:
            stretches.append([look])
    return min(stretches, key=lambda stretch: (-len(stretch), len(stretch[0].rows)))


def _limits(radii: Floats, smallest: float, largest: float) -> tuple[float, float]:
    """The limits of the radius: half way, as a factor, from the circles of the examples' size to the next ones of another."""
    alike = radii[_of_size(radii, smallest, largest)]
    bottom, top = float(alike.min()), float(alike.max())
    below, above = radii[radii < bottom], radii[radii > top]
    low = max(_FREE_BELOW * bottom, math.sqrt(bottom * float(below.max())) if len(below) else 0.0)
    high = min(_FREE_ABOVE * top, math.sqrt(top * float(above.min())) if len(above) else math.inf)
    return round(low, 2), round(min(high, 16384.0), 2)


def _without_rivals(image: Image, examples: Floats, settings: FindCircles, look: _Look) -> tuple[FindCircles, _Look]:
    """Keeps out what stands inside of the examples, if that costs none of them."""
    known = look.rows[look.matches, :3]
    other = np.setdiff1d(np.arange(len(look.rows)), look.matches)
    between = np.hypot(*(look.rows[other, None, :2] - known[:, :2]).transpose(2, 0, 1))
    near = between < 0.8 * known[:, 2]
    if not near.any():
        return settings, look
    apart = np.hypot(*(known[:, None, :2] - known[:, :2]).transpose(2, 0, 1))[~np.eye(len(known), dtype=np.bool_)]
    furthest, closest = float(between[near].max()), float(min(apart.min(initial=math.inf), known[:, 2].min() * 2))
    tries = [replace(settings, min_distance=round((furthest + closest) / 2, 2))] if furthest < closest else []
    for stricter in (*tries, replace(settings, nested=False)):
        again = _look(image, examples, stricter)
        if again.works and len(again.rows) < len(look.rows):
            return stricter, again
    return settings, look


def _not_found(looks: list[_Look], examples: Floats) -> ArgumentError:
    """Says which example is found at no sensitivity; or that there is none at which all are found."""
    ever = np.any([look.matches >= 0 for look in looks], axis=0)
    hint = "The picture `explain` shows why a circle is not found."
    if ever.all():
        most = max(looks, key=lambda look: int((look.matches >= 0).sum()))
        lost = examples[most.matches < 0][0]
        return ArgumentError(f"tune: no sensitivity finds all examples; {most.sensitivity:g} finds all but {_named(lost)}.", hint)
    lost = examples[~ever]
    names = "; ".join(_named(example) for example in lost[:3])
    return ArgumentError(
        f"tune: {len(lost)} of {len(examples)} examples are found at no sensitivity: {names}. They are x y radius in pixels, y down.", hint
    )


def _named(example: Floats) -> str:
    return " ".join(f"{value:g}" for value in example)


def _marked(image: Image, rows: Rows, examples: Floats) -> Image:
    """The circles found as they are always marked, and the examples in orange on top."""
    canvas = circles.mark_circles(image, rows)
    line = line_width(canvas)
    for x, y, radius in examples:
        for width, hue in ((edged(line), HALO), (line, _EXAMPLE)):
            draw_outline(canvas, (x, y), radius, hue, width)
    return canvas
