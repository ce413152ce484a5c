"""Settings for other operations: tried out side by side."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence

import numpy as np

from worker.catalog.tuning import Sweep
from worker.errors import ArgumentError
from worker.operations.compositing import tile_of
from worker.operations.lettering import drawable, fitted, wrapped, write_on
from worker.operations.marks import MARK
from worker.operations.shapes import Found, Trial, Tried
from worker.pictures.pixels import Image, size_of

MOST_TRIALS = 64
_LONGEST_SIDE, _MOST_MEGAPIXELS = 16384, 100
_GAP = 10  # pixels around each tile
_GROUND, _FAILED, _TEXT, _ALARM = (32, 32, 32), (40, 30, 60), (235, 235, 235), (120, 130, 255)
#: Between two settings: a semicolon, if a name and = follow. Values may have semicolons, too.
_BETWEEN = re.compile(r";\s*(?=[A-Za-z_]\w*\s*=)")


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
    settings = settings_of(params.settings)
    if second:
        pairs = itertools.product(second, first)
        return tuple(Trial((*settings, (params.param, value), (params.second_param, other)), (value, other)) for other, value in pairs)
    return tuple(Trial((*settings, (params.param, value)), (value,)) for value in first)


def settings_of(text: str) -> tuple[tuple[str, str], ...]:
    """Keys and values of `key=value; key=value`.

    >>> settings_of("steps=gray; blur 2; quality=80")
    (('steps', 'gray; blur 2'), ('quality', '80'))
    """
    pairs = []
    for part in filter(None, (part.strip(" ;\n") for part in _BETWEEN.split(text))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ArgumentError(f"sweep: settings must be key=value, with ; between them; got {part[:60]!r}.")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)


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
