"""Operations of an artist's own: what the parent process knows of a file that only children import.

A child imports the file and sends a description of what is in it. It holds plain values only, each bounded, because a child may have been
taken over. The parent makes a row of the catalogue of it, and a class that checks what jobs bring: keys, types, ranges, choices, lengths.
The child holds each job to the real class once more, which may ask for more than that.
"""

from __future__ import annotations

import contextlib
import math
import re
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from worker.catalog.catalog import Catalog
from worker.catalog.fields import Field, fields_of
from worker.catalog.params import JobOptions, Params, Value
from worker.catalog.rows import Column, OperationInfo, OwnFile
from worker.errors import WorkerError

MAX_OPERATIONS = 64
_TYPES: dict[str, type] = {"int": int, "float": float, "str": str, "bool": bool}

_NAME = r"\A[a-z][a-z0-9_]{0,63}\Z"
Name = Annotated[str, Meta(pattern=_NAME)]
_Text = Annotated[str, Meta(max_length=400)]
_Word = Annotated[str, Meta(max_length=60)]
_Length = Annotated[int, Meta(ge=0, le=2**31)]


class OwnProblem(WorkerError):
    """A file with operations cannot be used."""


class OwnParams(Params, frozen=True, kw_only=True):
    """Base of the classes that the parent makes."""


class OwnValues(Params, frozen=True, kw_only=True):
    """A job's parameters on their way to the child, which knows the real class."""

    values: dict[str, Value]


class OwnParameter(msgspec.Struct, frozen=True, array_like=True):
    """One parameter. See `Field`."""

    name: Name
    type: Literal["int", "float", "str", "bool"]
    required: bool
    default: int | float | bool | Annotated[str, Meta(max_length=4096)] | None
    description: _Text
    minimum: float | None
    maximum: float | None
    min_length: _Length | None
    max_length: _Length | None
    choices: Annotated[tuple[int | _Word, ...], Meta(max_length=200)]
    unit: _Word
    role: Literal["", "read", "write"]
    holds: Literal["", "image", "bytes", "table", "json", "csv"]


class OwnColumn(msgspec.Struct, frozen=True, array_like=True):
    """One number in each row of a result. See `Column`."""

    name: Name
    digits: Annotated[int, Meta(ge=0, le=15)] | None


class OwnOperation(msgspec.Struct, frozen=True, array_like=True):
    """One operation. See `OperationInfo`; `repeatable` is the answer for all jobs."""

    name: Name
    summary: Annotated[str, Meta(min_length=1, max_length=400)]
    kind: Annotated[str, Meta(pattern=rf"{_NAME}|\A\Z")]
    columns: Annotated[tuple[OwnColumn, ...], Meta(max_length=64)]
    texts: Annotated[tuple[Name, ...], Meta(max_length=16)]
    item: Literal["row", "file"]
    few: Annotated[int, Meta(ge=1, le=10**9)]
    repeatable: bool
    parameters: Annotated[tuple[OwnParameter, ...], Meta(max_length=64)]
    needs: Annotated[tuple[Literal["network", "devices"], ...], Meta(max_length=2)] = ()


def described(row: OperationInfo) -> OwnOperation:
    """A row as a value that can be sent.

    Raises:
        OwnProblem: it holds what an operation of one's own may not have. The message begins with the operation's name.
    """
    columns = tuple(OwnColumn(column.name, column.digits) for column in row.columns)
    fields = _fields(row)
    names = (row.name, row.kind, *row.fields, *row.texts, *(field.name for field in fields))
    if wrong := [name for name in names if name and not re.match(_NAME, str(name))]:
        raise OwnProblem(
            f"{row.name}: a name is of small letters, digits and _, such as soft_glow, and begins with a letter; got {wrong[0]!r}."
        )
    parameters = tuple(_parameter(row.name, field) for field in fields)
    taken = {field.name for field in fields_of(JobOptions)} & {one.name for one in parameters}
    if taken:
        raise OwnProblem(f"{row.name}: every job has the key {min(taken)}; give the parameter another name.")
    repeatable = row.params.repeatable is Params.repeatable
    operation = OwnOperation(row.name, row.summary, row.kind, columns, row.texts, row.item, row.few, repeatable, parameters, row.needs)
    return _valid(row.name, operation)


def _valid(name: str, operation: OwnOperation) -> OwnOperation:
    try:
        found: OwnOperation = msgspec.convert(msgspec.to_builtins(operation), OwnOperation)
    except (msgspec.ValidationError, TypeError, OverflowError) as error:
        raise OwnProblem(f"{name} cannot be described: {error}.") from None
    return found


def _fields(row: OperationInfo) -> tuple[Field, ...]:
    try:
        return row.parameters
    except (AttributeError, NameError, TypeError) as error:
        raise OwnProblem(f"{row.name}: a parameter is a str, int, float, bool or Literal ({error}).") from None


def _parameter(operation: str, field: Field) -> OwnParameter:
    if field.type not in _TYPES:
        raise OwnProblem(f"{operation}: {field.name} must be a str, int, float, bool or Literal; it is {field.type}.")
    if not field.required and not isinstance(field.default, int | float | str | bool):
        raise OwnProblem(f"{operation}: the default of {field.name} must be a plain value, such as 1.5.")
    if not field.description:
        raise OwnProblem(f"{operation}: {field.name} has no description; write Annotated[{field.type}, Meta(description=...)].")
    return OwnParameter(
        *(field.name, field.type, field.required, field.default, field.description),  # type: ignore[arg-type]  # `_valid` looks at all of them
        *(field.minimum, field.maximum, field.min_length, field.max_length),
        *(field.choices, field.unit, field.role, field.holds),  # type: ignore[arg-type]
    )


def row_of(operation: OwnOperation, file: OwnFile) -> OperationInfo:
    """The row that the parent puts into its catalogue.

    Raises:
        OwnProblem: the description contradicts itself.
    """
    try:
        return OperationInfo(
            operation.name,
            _params_of(operation),
            operation.summary,
            operation.kind,
            tuple(Column(column.name, column.digits) for column in operation.columns),
            operation.texts,
            operation.item,
            operation.few,
            operation.needs,
            own=file,
        )
    except Exception as error:  # noqa: BLE001 - whatever a description contradicts, the parent goes on
        raise OwnProblem(f"{file.name}: {operation.name} cannot be used: {error}") from None


def _params_of(operation: OwnOperation) -> type[Params]:
    if len({one.name for one in operation.parameters}) < len(operation.parameters):
        raise ValueError("two of its parameters have the same name.")
    if taken := [one.name for one in operation.parameters if hasattr(Params, one.name)]:
        raise ValueError(f"{taken[0]} is no name for a parameter.")
    fields = [_as_field(one) for one in operation.parameters]
    namespace: dict[str, Any] = {} if operation.repeatable else {"repeatable": lambda _self: False}
    made: Any = msgspec.defstruct(
        "".join(word.capitalize() for word in operation.name.split("_")),
        [field for field in fields if len(field) == 2] + [field for field in fields if len(field) == 3],
        bases=(OwnParams,),
        module=f"{__name__}_{operation.name}",
        namespace=namespace,
        frozen=True,
        kw_only=True,
        forbid_unknown_fields=True,
    )
    with contextlib.suppress(msgspec.ValidationError):  # what contradicts itself is another error, and comes now and not with a job
        msgspec.convert({}, made)
    return cast("type[Params]", made)


def _as_field(one: OwnParameter) -> tuple[str, Any] | tuple[str, Any, Any]:
    if not all(limit is None or math.isfinite(limit) for limit in (one.minimum, one.maximum)):
        raise ValueError(f"the range of {one.name} is not finite.")
    number = int if one.type == "int" else float
    limits = {key: number(limit) for key, limit in (("ge", one.minimum), ("le", one.maximum)) if limit is not None}
    lengths = {key: length for key, length in (("min_length", one.min_length), ("max_length", one.max_length)) if length is not None}
    bounds: dict[str, Any] = {} if one.choices else limits if one.type in ("int", "float") else lengths if one.type == "str" else {}
    extra = {key: value for key, value in (("unit", one.unit), ("role", one.role), ("holds", one.holds)) if value}
    base: Any = Literal[one.choices] if one.choices else _TYPES[one.type]
    hint = Annotated[base, Meta(description=one.description, extra=extra, **bounds)]
    return (one.name, hint) if one.required else (one.name, hint, one.default)


def with_own(catalog: Catalog, file: OwnFile, rows: tuple[OperationInfo, ...]) -> Catalog:
    """A catalogue and the operations of a file.

    Raises:
        OwnProblem: one has the name of another operation, or reports the same kind of rows with other columns.
    """
    for row in rows:
        if row.name in catalog:
            owner = other.name if (other := catalog[row.name].own) else "the worker"
            raise OwnProblem(f"{file.name}: {owner} has an operation {row.name} already; choose another name.")
    try:
        return catalog.with_rows(*rows)
    except ValueError as error:
        raise OwnProblem(f"{file.name}: {error}", "Give the row another kind.") from None
