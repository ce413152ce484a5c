"""`ops`: what the worker can do, from the catalogue."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli import show
from worker.cli.own import all_operations
from worker.cli.settings import setting_options

if TYPE_CHECKING:
    from worker.catalog.fields import Field
    from worker.catalog.rows import OperationInfo
    from worker.operations.shapes import Operation

    #: By name; None for those of the worker.
    Functions = Mapping[str, Operation] | None


@click.command(
    epilog="""\b
Examples:
  td-image-worker ops
  td-image-worker ops find_circles
  td-image-worker ops --operations my_ops.py
  td-image-worker ops --json
"""
)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@setting_options("operations")
def ops(*, name: str | None, as_json: bool, operations: tuple[str, ...]) -> None:
    """List the operations and their parameters."""
    from worker.catalog.table import CATALOG
    from worker.errors import UnknownOperation

    try:
        catalog, functions = all_operations(operations) if operations else (CATALOG, None)
        rows = [catalog.find(name)] if name else list(catalog.values())
    except UnknownOperation as error:
        show.complain(error.message)
        sys.exit(show.BAD_ARGUMENTS)
    missing = _missing(functions)
    if as_json:
        show.print_json(_as_json(rows, missing))
    elif name:
        _show_one(rows[0], missing)
    else:
        _show_all(rows, missing)


def _show_all(rows: list[OperationInfo], missing: Mapping[str, str]) -> None:
    show.table("", ("operation", "result", "what it does"), [(row.name, row.kind or "-", row.summary) for row in rows])
    for row in rows:
        if row.parameters:
            _parameters(row.name, _offered(row, missing))
    _job_keys()
    _show_missing(rows, missing)


def _show_one(row: OperationInfo, missing: Mapping[str, str]) -> None:
    show.say(f"{row.name}: {row.summary}")
    if row.kind:
        show.say(f"Result: /worker/result/{row.kind}, one row each of {' '.join(row.fields)} (several images: and image)")
    if row.needs:
        show.say(f"Needs beside files: {', '.join(row.needs)}")
    if row.parameters:
        _parameters("", _offered(row, missing))
    _job_keys()
    _show_missing([row], missing)


def _offered(row: OperationInfo, missing: Mapping[str, str]) -> tuple[Field, ...]:
    """Its parameters, without the choices that this build lacks."""
    return tuple(
        msgspec.structs.replace(
            field, choices=tuple(choice for choice in field.choices if f"{row.name} {field.name}={choice}" not in missing)
        )
        for field in row.parameters
    )


def _job_keys() -> None:
    from worker.catalog.fields import fields_of
    from worker.catalog.params import JobOptions

    _parameters("Every job may carry", fields_of(JobOptions))


def _parameters(title: str, fields: tuple[Field, ...]) -> None:
    rows = [(field.name, field.type, _default(field), _range(field), field.description) for field in fields]
    show.say()
    show.table(title, ("parameter", "type", "default", "range", "meaning"), rows)


def _show_missing(rows: list[OperationInfo], missing: Mapping[str, str]) -> None:
    concerned = [(what, why) for what, why in missing.items() if what.split()[0] in {row.name for row in rows}]
    if concerned:
        show.say()
        show.table("Not in this build", ("what", "why"), concerned)


def _missing(functions: Functions) -> dict[str, str]:
    """What this build of OpenCV lacks, or why OpenCV itself cannot be loaded."""
    from worker.catalog.table import CATALOG

    try:
        from worker.operations.table import OPERATIONS, unavailable
    except ImportError as error:
        return dict.fromkeys(CATALOG, f"OpenCV cannot be loaded: {error}.")  # a child imports it before it does anything
    return unavailable(OPERATIONS if functions is None else functions)


def _default(field: Field) -> str:
    if field.required:
        return "needed"
    if field.default in ("", None):
        return "-"
    return str(int(field.default)) if isinstance(field.default, bool) else show.number(field.default or 0)


def _range(field: Field) -> str:
    """The values that a parameter takes, and their unit."""
    if field.choices:
        return " | ".join(str(choice) for choice in field.choices)
    if field.type == "bool":
        return "0 | 1"
    if field.minimum is None or field.maximum is None:
        return "-"
    unit = f" {field.unit}" if field.unit else ""
    return f"{show.number(field.minimum)} to {show.number(field.maximum)}{unit}"


def _as_json(rows: list[OperationInfo], missing: Mapping[str, str]) -> dict[str, Any]:
    from worker.catalog.fields import fields_of
    from worker.catalog.params import JobOptions

    return {
        "operations": [
            {**row.as_object(), "parameters": {field.name: field.as_object() for field in _offered(row, missing)}} for row in rows
        ],
        "every_job": {field.name: field.as_object() for field in fields_of(JobOptions)},
        "missing": dict(missing),
    }
