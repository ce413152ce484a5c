"""Rows as numbers that read well, and as JSON and CSV tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worker.core.jobs import Result
from worker.errors import UnsupportedFormat
from worker.operations.shapes import Rows

#: Digits behind the point: what the numbers can be trusted for, and what reads well.
_DIGITS = {"x": 3, "y": 3, "radius": 3, "size": 3, "angle": 2, "u": 6, "v": 6, "score": 3}
_SIGNIFICANT = 6


def rounded(rows: Rows, fields: tuple[str, ...]) -> list[tuple[float, ...]]:
    """The rows as plain numbers, of as many digits as mean something.

    >>> rounded(np.array([[1.23456, 0.000123456789]]), ("x", "response"))
    [(1.235, 0.000123457)]
    """
    columns = [
        np.round(column, _DIGITS[name]).tolist() if name in _DIGITS else [float(f"{value:.{_SIGNIFICANT}g}") for value in column.tolist()]
        for name, column in zip(fields, rows.T, strict=False)
    ]
    return list(zip(*columns, strict=True))


def _items(result: Result, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows as objects; the last field of each is the name of its image."""
    fields = [name for name in result.fields if name != "image"]
    several = "image" in result.fields
    return [
        {**dict(zip(fields, row, strict=False)), "image": names[int(row[-1])] if several else names[0]}  # fields is the shorter one
        for row in result.rows
    ]


def _json(operation: str, result: Result, names: tuple[str, ...]) -> str:
    items = _items(result, names)
    fields = [name for name in result.fields if name != "image"]
    lines = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in items)
    body = f"[\n{lines}\n  ]" if items else "[]"
    head = f'{{\n  "operation": {json.dumps(operation)},\n  "fields": {json.dumps([*fields, "image"])},\n'
    return f'{head}  "items": {body}\n}}\n'


def _csv(_operation: str, result: Result, names: tuple[str, ...]) -> str:
    text = io.StringIO(newline="")
    fields = [*(name for name in result.fields if name != "image"), "image"]
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_items(result, names))
    return text.getvalue()


TABLES: dict[str, Callable[[str, Result, tuple[str, ...]], str]] = {".json": _json, ".csv": _csv}


def check_table(name: str) -> None:
    if Path(name).suffix.lower() not in TABLES:
        raise UnsupportedFormat(f"The table {name} must end in .json or .csv.")
