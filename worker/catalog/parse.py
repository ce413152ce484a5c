"""Key-value pairs become parameters.

Parameters arrive as OSC arguments (int, float, text, truth values), as text from a command line, or as JSON. This is the only place
where they become a `Params` value, so that no operation checks its input again.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from worker.catalog.fields import Field, fields_of
from worker.catalog.params import JobOptions, Params, Value
from worker.errors import ArgumentError
from worker.protocol.messages import number_as_text
from worker.words import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

P = TypeVar("P", bound="Params")

#: Between two settings: a semicolon, if a name and = follow. Values may have semicolons, too.
_BETWEEN = re.compile(r";\s*(?=[A-Za-z_]\w*\s*=)")
#: A number as people write it: sign and digits, the sign before a fraction, the fraction, a unit.
_WRITTEN = re.compile(r"([-+]?\d+)(?:([.,])(\d+))?\s*([A-Za-zµ°%]*)")


def parse_pairs(operation: str, params: type[Params], pairs: Iterable[tuple[str, Value]]) -> tuple[Params, JobOptions]:
    """See `Catalog.parse_job`."""
    own, options = fields_of(params), _OPTION_FIELDS
    given: dict[str, Value] = {}
    for key, value in pairs:
        if key in given:
            raise ArgumentError(f"{operation}: {key} was given twice.")
        given[key] = value
    for key in given:
        if key not in (known := {field.name for field in (*own, *options)}):
            takes = ", ".join(field.name for field in own) or "no parameters"
            raise ArgumentError(
                f"{operation} has no parameter {key!r}; " + did_you_mean(key, known, f"it takes {takes}."),
                f"`td-image-worker ops {operation}` shows them all.",
            )
    if given.keys().isdisjoint(_OPTION_NAMES):
        return _convert(operation, params, own, given), _NO_OPTIONS
    return _convert(operation, params, own, given), _convert(operation, JobOptions, options, given)


def settings_of(operation: str, text: str) -> tuple[tuple[str, str], ...]:
    """Keys and values of `key=value; key=value`.

    >>> settings_of("sweep", "steps=gray; blur 2; quality=80")
    (('steps', 'gray; blur 2'), ('quality', '80'))
    """
    pairs = []
    for part in filter(None, (part.strip(" ;\n") for part in _BETWEEN.split(text))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip():
            raise ArgumentError(f"{operation}: settings must be key=value, with ; between them; got {part[:60]!r}.")
        pairs.append((key.strip(), value.strip()))
    return tuple(pairs)


def as_setting(operation: str, key: str, value: Value) -> str:
    """A value as it stands in such a text.

    Raises:
        ArgumentError: it would be read as several.
    """
    text = str(int(value)) if isinstance(value, bool) else str(value)
    if settings_of(operation, f"{key}={text}") != ((key, text.strip()),):
        raise ArgumentError(f"{operation}: {key} may not hold a ; in front of a name and =; got {text[:60]!r}.")
    return text


def _convert(operation: str, target: type[P], fields: tuple[Field, ...], given: dict[str, Value]) -> P:
    values = {}
    for field in fields:
        if field.name in given and given[field.name] is not None:  # OSC's nil stands for "the default"
            values[field.name] = _coerced(operation, field, given[field.name])
        elif field.required:
            raise ArgumentError(
                f"{operation} needs {field.name}: {field.description}.", f"`td-image-worker ops {operation}` shows them all."
            )
    try:
        return msgspec.convert(values, target, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        wrong = next(field for field in fields if field.name == name)
        raise _refusal(operation, wrong, given[name]) from None


def _coerced(operation: str, field: Field, value: Value) -> Value:
    """What msgspec's own lax mode leaves: numbers for text, 1.0 for true, and no infinities."""
    if field.type == "str" and not isinstance(value, str):
        return number_as_text(value) if isinstance(value, float) else str(value)
    if field.type == "bool" and value in (0.0, 1.0):
        return bool(value)
    if field.type in ("int", "float"):
        try:
            number = float(value) if not isinstance(value, bool) else int(value)  # type: ignore[arg-type]
        except ValueError:
            raise _refusal(operation, field, value) from None
        if not math.isfinite(number):
            raise _refusal(operation, field, value)
        return int(number) if field.type == "int" and number == int(number) else number
    return value


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _refusal(operation: str, field: Field, value: Value) -> ArgumentError:
    if isinstance(value, str) and field.type == "str":
        if not value and field.min_length:
            return ArgumentError(f"{operation}: {field.name} is empty; it is needed: {field.description.partition(';')[0]}.")
        if field.max_length is not None and len(value) > field.max_length:
            return ArgumentError(f"{operation}: {field.name} may have {field.max_length} characters; it has {len(value)}.")
    came = f"{value!r} (text)" if isinstance(value, str) and not (field.type in ("int", "float") and _is_number(value)) else f"{value}"
    return ArgumentError(f"{operation}: {field.name} must be {field.expected}; got {came[:120]}.", _how_numbers_are_written(field, value))


def _how_numbers_are_written(field: Field, value: Value) -> str:
    """A hint, if the number would be right with a decimal point, or without its unit; otherwise ""."""
    found = _WRITTEN.fullmatch(str(value).strip()) if field.type in ("int", "float") and isinstance(value, str) else None
    if found is None or not (found[2] == "," or found[4]):
        return ""
    if (found[3] and field.type == "int") or (found[2] == "," and len(found[3]) == 3):  # 1,000 may be a thousand
        return ""
    number = found[1] + (f".{found[3]}" if found[3] else "")
    return f"Write {number}, " + ("without a unit." if found[4] else "with a point.")


_OPTION_FIELDS = fields_of(JobOptions)
_OPTION_NAMES = frozenset(field.name for field in _OPTION_FIELDS)
_NO_OPTIONS = JobOptions()
