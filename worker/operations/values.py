"""JSON and tables out of texts, checked before anything is written."""

from __future__ import annotations

import csv
import json
from typing import Any

from worker.errors import ArgumentError

#: Python's reader and writer of JSON go one call deeper with each level.
_DEEPEST = 100


def json_of(operation: str, key: str, text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ArgumentError: it is no JSON, holds what JSON cannot say (NaN), a name twice, half a character, or too many levels.

    >>> json_of("write_json", "value", '{"shot": 3}')
    {'shot': 3}
    """

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        together = dict(found)
        if len(together) != len(found):
            names = [name for name, _ in found]
            double = next(name for name in names if names.count(name) > 1)
            raise ArgumentError(f"{operation}: an object in {key} has the name {double[:40]!r} twice.")
        return together

    def constant(word: str) -> None:
        raise ArgumentError(f"{operation}: {key} holds {word}, which JSON cannot say; null is what comes nearest.")

    try:
        value = json.loads(text, object_pairs_hook=pairs, parse_constant=constant)
        text.encode()
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except json.JSONDecodeError as error:
        raise ArgumentError(f"{operation}: {key} is no JSON: {error.msg} in line {error.lineno}, column {error.colno}.") from None
    except UnicodeEncodeError:
        raise ArgumentError(f"{operation}: {key} holds half a character (a lone surrogate), which no file can hold.") from None
    except RecursionError:
        raise _too_deep(operation, key) from None
    except ValueError:  # 1e999 is infinite, and a number may have too many digits
        raise ArgumentError(f"{operation}: {key} holds a number that is too large.") from None
    if _depth(value) > _DEEPEST:
        raise _too_deep(operation, key)
    return value


def _too_deep(operation: str, key: str) -> ArgumentError:
    return ArgumentError(f"{operation}: {key} has more than {_DEEPEST} levels of lists and objects, one in the other.")


def _depth(value: Any) -> int:
    """How many lists and objects stand one in the other."""
    level, here = 0, [value]
    while here := [one for one in here if isinstance(one, list | dict)]:
        level += 1
        here = [item for one in here for item in (one.values() if isinstance(one, dict) else one)]
    return level


def cells_of(operation: str, text: str, columns: tuple[str, ...]) -> list[list[Any]]:
    """The rows of a table: JSON if the text begins with a bracket, otherwise lines with tabs between the cells.

    Args:
        operation: as errors call it.
        text: the rows.
        columns: which keys of objects; without them the keys of the first object.

    Returns:
        Rows of equal length. Of objects without `columns` the first row holds their keys.

    Raises:
        ArgumentError: the text is no table, or its rows have different lengths.
    """
    if text.lstrip().startswith("["):
        value = json_of(operation, "rows", text)
        if value and all(isinstance(row, dict) for row in value):
            return _of_objects(operation, value, columns)
        if not all(isinstance(row, list) for row in value):
            raise ArgumentError(f"{operation}: rows must be a list of lists or a list of objects; got something else, or both mixed.")
        rows: list[list[Any]] = value
    else:
        rows = [line.split("\t") for line in text.replace("\r\n", "\n").removesuffix("\n").split("\n")] if text else []
    if any(isinstance(cell, list | dict) for row in rows for cell in row):
        raise ArgumentError(f"{operation}: a cell holds a list or an object; a cell must be a text, a number, true, false or null.")
    wanted = len(columns) or (len(rows[0]) if rows else 0)
    for n, row in enumerate(rows, start=1):
        if len(row) != wanted:
            raise ArgumentError(
                f"{operation}: row {n} has {len(row)} cells, and {'columns names' if columns else 'the first row has'} {wanted}."
            )
    return rows


def _of_objects(operation: str, objects: list[dict[str, Any]], columns: tuple[str, ...]) -> list[list[Any]]:
    names = columns or tuple(objects[0])
    for n, one in enumerate(objects, start=1):
        if not columns and one.keys() != objects[0].keys():
            raise ArgumentError(f"{operation}: object {n} has other names than the first one.", "columns says which are written.")
        if any(isinstance(one.get(name), list | dict) for name in names):
            raise ArgumentError(f"{operation}: a cell of object {n} holds a list or an object.")
    rows_of: list[list[Any]] = [[one.get(name) for name in names] for one in objects]
    return rows_of if columns else [list(names), *rows_of]


class _Lines(list[str]):
    """What a csv writer writes to."""

    def write(self, line: str) -> None:
        self.append(line)


def as_csv(rows: list[list[Any]], delimiter: str) -> bytes:
    r"""The rows as lines, each with its end; cells with a delimiter, a quote or an end of line in quotes.

    >>> as_csv([["a", 'b"c'], [1, None], [True, "x,y"]], ",")
    b'a,"b""c"\n1,\ntrue,"x,y"\n'
    """
    lines = _Lines()
    writer = csv.writer(lines, delimiter=delimiter, lineterminator="\n")
    for row in rows:
        writer.writerow([str(cell).lower() if isinstance(cell, bool) else cell for cell in row])
    return "".join(lines).encode()
