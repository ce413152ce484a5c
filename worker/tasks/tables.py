"""Rows as numbers that read well, and as JSON and CSV tables."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from worker.catalog.rows import SIGNIFICANT, OperationInfo
from worker.core.jobs import Result
from worker.errors import UnsupportedFormat
from worker.operations.shapes import Rows


def rounded(rows: Rows, digits: tuple[int | None, ...]) -> list[tuple[float, ...]]:
    """The rows as plain numbers, of as many digits as mean something.

    Args:
        rows: `(N, columns)`.
        digits: for each column the digits after the decimal point; None for `SIGNIFICANT` digits.

    >>> rounded(np.array([[1.23456, 0.000123456789]]), (3, None))
    [(1.235, 0.000123457)]
    """
    if not len(rows):
        return []
    columns = [
        [float(f"{value:.{SIGNIFICANT}g}") for value in column.tolist()] if places is None else np.round(column, places).tolist()
        for places, column in zip(digits, rows.T, strict=True)
    ]
    return list(zip(*columns, strict=True))


def _fields(info: OperationInfo, result: Result, names: tuple[str, ...]) -> list[str]:
    """The columns of a table: numbers, texts, and last the image, if the rows belong to one."""
    return [*(name for name in result.fields if name != "image"), *info.texts, *(["image"] if names else [])]


def _items(info: OperationInfo, result: Result, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows as objects. The column `image`, which is the last number, becomes the name of the image."""
    fields = _fields(info, result, names)
    several = "image" in result.fields
    texts = result.texts or ((),) * len(result.rows)
    return [
        dict(zip(fields, (*row[:-1], *text, names[int(row[-1])]) if several else (*row, *text, *names), strict=True))
        for row, text in zip(result.rows, texts, strict=True)
    ]


def _json(info: OperationInfo, result: Result, names: tuple[str, ...]) -> str:
    lines = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in _items(info, result, names))
    body = f"[\n{lines}\n  ]" if lines else "[]"
    head = f'{{\n  "operation": {json.dumps(info.name)},\n  "fields": {json.dumps(_fields(info, result, names))},\n'
    return f'{head}  "items": {body}\n}}\n'


def _csv(info: OperationInfo, result: Result, names: tuple[str, ...]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, _fields(info, result, names), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_items(info, result, names))
    return text.getvalue()


TABLES: dict[str, Callable[[OperationInfo, Result, tuple[str, ...]], str]] = {".json": _json, ".csv": _csv}


def check_table(name: str) -> None:
    if Path(name).suffix.lower() not in TABLES:
        raise UnsupportedFormat(f"The table {name} must end in .json or .csv.")
