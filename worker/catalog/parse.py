"""The operations by name, and the parameters each of them takes. No numpy and no cv2 here: the parent process reads it.

`CATALOG` is the one table from which the command line's help, `/worker/describe`, and the tables in the docs are made.
The functions themselves stand in `worker.operations.OPERATIONS` under the same names; a test holds the two together.

Parameters arrive as OSC arguments (int, float, text, truth values), as text from a command line, or as JSON. `parse_params`
is the only place where they become a `Params` value, so that no operation checks its input again.
"""

from __future__ import annotations

import difflib
import math
from typing import TYPE_CHECKING, TypeVar

import msgspec

from worker.catalog.fields import Field, fields_of
from worker.catalog.params import JobOptions, Params, Value
from worker.catalog.table import operation_info
from worker.errors import ArgumentError
from worker.protocol.messages import number_as_text

if TYPE_CHECKING:
    from collections.abc import Iterable

P = TypeVar("P", bound="Params")


def parse_job(operation: str, pairs: Iterable[tuple[str, Value]]) -> tuple[Params, JobOptions]:
    """Turns a job's key-value pairs into its operation's parameters and its own options.

    Args:
        operation: a name from the catalogue.
        pairs: as they came from OSC or from a command line: numbers may be text, ints may be floats.

    Raises:
        UnknownOperation: no such operation.
        ArgumentError: a key is unknown, double or missing, or a value is of the wrong type or out of range. The message is one
            sentence that says what was expected and what came.
    """
    info = operation_info(operation)
    own, options = fields_of(info.params), _OPTION_FIELDS
    given: dict[str, Value] = {}
    for key, value in pairs:
        if key in given:
            raise ArgumentError(f"{operation}: {key} was given twice.")
        given[key] = value
    known = {field.name for field in (*own, *options)}
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            takes = ", ".join(field.name for field in own) or "no parameters"
            raise ArgumentError(
                f"{operation} has no parameter {key!r}; " + (f"did you mean {near[0]}?" if near else f"it takes {takes}."),
                f"`td-image-worker ops {operation}` shows them all.",
            )
    return _convert(operation, info.params, own, given), _convert(operation, JobOptions, options, given)


def check_pair(operation: str, key: str, value: Value) -> None:
    """Checks one key-value pair by itself, whatever the job's other pairs will be.

    Raises:
        UnknownOperation, ArgumentError: as `parse_job` does.
    """
    others = [(field.name, "-") for field in fields_of(operation_info(operation).params) if field.required and field.name != key]
    parse_job(operation, [*others, (key, value)])


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


def _refusal(operation: str, field: Field, value: Value) -> ArgumentError:
    came = f"{value!r} (text)" if isinstance(value, str) else f"{value}"
    return ArgumentError(f"{operation}: {field.name} must be {field.expected}; got {came[:120]}.")


_OPTION_FIELDS = fields_of(JobOptions)
