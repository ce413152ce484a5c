"""What a file with operations of your own imports, and how its table is checked. `docs/own_operations.md` shows such files.

from worker.operations.own import WRITE_IMAGE, Filter, Image, ImageIn, Meta, Params, Row

OPERATIONS = {Row("glow", Glow, "Lets bright parts glow.", item="file"): Filter(glow)}
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Meta

from worker.catalog.catalog import Catalog
from worker.catalog.own import MAX_OPERATIONS, OwnProblem, described
from worker.catalog.params import (
    READ,
    READ_BYTES,
    WRITE,
    WRITE_IMAGE,
    Color,
    DataOut,
    ImageIn,
    ImageOut,
    Params,
    Pixels,
    ReferenceIn,
    Region,
)
from worker.catalog.rows import ANGLE, AREA, NEEDS, RADIUS, SCORE, SIZE, Column, U, V, X, Y
from worker.catalog.rows import OperationInfo as Row
from worker.errors import ArgumentError, Unavailable
from worker.operations.keywords import takes_keywords
from worker.operations.shapes import Detector, Filter, Folder, Found, Nothing, Operation, Picture, Rows, Source, Text
from worker.pictures.pixels import Image, color, grey, size_of, with_depth

__all__ = [
    "ANGLE", "AREA", "RADIUS", "READ", "READ_BYTES", "SCORE", "SIZE", "WRITE", "WRITE_IMAGE", "ArgumentError", "Color", "Column",
    "DataOut", "Detector", "Filter", "Folder", "Found", "Image", "ImageIn", "ImageOut", "Meta", "Nothing", "Params", "Picture",
    "Pixels", "ReferenceIn", "Region", "Row", "Rows", "Source", "Text", "U", "Unavailable", "V", "X", "Y", "checked", "color", "grey",
    "size_of", "takes_keywords", "with_depth",
]  # fmt: skip

#: The name of the table in such a file.
TABLE = "OPERATIONS"
_EXAMPLE = 'such as OPERATIONS = {Row("glow", Glow, "Lets bright parts glow.", item="file"): Filter(glow)}'
#: The parameters that the files around an operation of each shape need.
_NEEDED: dict[type, tuple[str, ...]] = {
    Nothing: (),
    Text: ("output",),
    Source: ("output", "width", "height"),
    Detector: ("image",),
    Filter: ("image", "output"),
    Folder: ("image",),
}

#: What looks for the operations of the worker itself is not among them.
_SHAPES = (Nothing, Text, Source, Detector, Filter, Folder)

Own = tuple[Row, Operation]


def checked(table: object, needs: frozenset[str] = NEEDS) -> dict[str, Own]:
    """The operations of a file, by name.

    Args:
        table: its `OPERATIONS`: a shape for each row, as a dict or as pairs.
        needs: what an operation may need beside files.

    Raises:
        OwnProblem: something in it cannot work. The message is one sentence.
    """
    pairs = list(table.items()) if isinstance(table, Mapping) else table
    if not isinstance(pairs, list | tuple) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs):
        raise OwnProblem(f"{TABLE} must be a table of rows and shapes, {_EXAMPLE}.")
    if not 1 <= len(pairs) <= MAX_OPERATIONS:
        raise OwnProblem(f"{TABLE} must have 1 to {MAX_OPERATIONS} operations; it has {len(pairs)}.")
    found: dict[str, Own] = {}
    for row, operation in pairs:
        if not isinstance(row, Row) or not isinstance(operation, _SHAPES):
            raise OwnProblem(f"{TABLE} must be a table of rows and shapes, {_EXAMPLE}; it holds {row!r:.60}: {operation!r:.60}.")
        if row.name in found:
            raise OwnProblem(f"{TABLE} has two operations with the name {row.name}.")
        _check(row, operation, needs)
        found[row.name] = row, operation
    try:
        Catalog(row for row, _ in found.values())
    except ValueError as error:
        raise OwnProblem(str(error)) from None
    return found


def _check(row: Row, operation: Operation, needs: frozenset[str]) -> None:
    if not (isinstance(row.params, type) and issubclass(row.params, Params)):
        raise OwnProblem(f"{row.name}: its parameters must be a class that is derived from Params.")
    if row.probe:
        raise OwnProblem(f"{row.name}: probe is the worker's own.")
    described(row)
    if missing := sorted(set(row.needs) - needs):
        words = " and ".join(missing)
        setting = missing[0] if len(set(row.needs)) == 1 else "all"
        raise OwnProblem(
            f"{row.name} needs {words}, and the child processes of this worker may not reach that.",
            f"Start it with --operations-need {setting}.",
        )
    shape = type(operation).__name__
    parameters = {field.name: field for field in row.parameters}
    needed = _NEEDED[type(operation)]
    if isinstance(operation, Detector) and operation.draw is not None:
        needed = (*needed, "overlay")
    for name in needed:
        if name not in parameters:
            raise OwnProblem(f"{row.name} is a {shape}, so {row.params.__name__} needs the parameter {name}.")
    for name, role in (("image", "read"), ("output", "write"), ("overlay", "write"), *((name, "read") for name in _references(operation))):
        if name not in parameters:
            if name in _references(operation):
                raise OwnProblem(f"{row.name}: references names {name}, which is no parameter of {row.params.__name__}.")
        elif (name in needed or name in _references(operation)) and parameters[name].role != role:
            word = "READ" if role == "read" else "WRITE_IMAGE"
            raise OwnProblem(f"{row.name}: {name} is the path of a file to {role}; write Meta(extra={word}, ...).")


def _references(operation: Operation) -> tuple[str, ...]:
    return getattr(operation, "references", ())
