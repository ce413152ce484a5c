"""Text files, given whole or built from a header, a counted line and a footer; JSON and tables."""

from __future__ import annotations

import functools
import json
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worker.catalog.text import WriteCsv, WriteJson, WriteText
from worker.errors import ArgumentError
from worker.operations.keywords import takes_keywords
from worker.operations.values import as_csv, cells_of, json_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


LINES_PER_BLOCK = 5_000
#: Lines that are alike but for what is before the last three digits of their numbers.
_ALIKE = 1_000
_THREE_DIGITS = np.frombuffer(b"".join(b"%03d" % n for n in range(_ALIKE)), np.uint8).reshape(_ALIKE, 3)


def check(params: WriteText) -> None:
    """Raises ArgumentError if the parameters contradict each other."""
    if params.text and _is_built(params):
        raise ArgumentError("write_text takes either text, or header, line, footer and count; both were given.")
    if params.line and not params.count:
        raise ArgumentError("write_text: line was given, but count is 0. Set count to the number of lines.")
    if params.count and not params.line:
        raise ArgumentError(f"write_text: count is {params.count}, but there is no line to write.")
    try:
        (params.text + params.header + params.line + params.footer).encode()
    except UnicodeEncodeError:
        raise ArgumentError("write_text: the text holds half a character (a lone surrogate), which no file can hold.") from None


def steps(params: WriteText) -> int:
    """Progress counts the lines; a text given whole is one step."""
    return max(1, params.count)


def between(params: WriteText) -> bytes:
    """A newline stands before each later line, also if the first ones are in the file already. A whole text is left as it is."""
    return b"\n" if _is_built(params) else b""


@takes_keywords(WriteText, check)
def blocks(params: WriteText) -> Iterator[tuple[int, bytes]]:
    r"""Yields the text as UTF-8 in blocks, each with the number of steps done after it.

    A header or footer that is empty is left out. Each line but the first is preceded by a newline; the last is followed by none.

    >>> from worker.catalog.text import WriteText
    >>> params = WriteText(output="log.txt", header="begin", line="entry {n}", footer="end", count=2)
    >>> list(blocks(params))
    [(0, b'begin'), (2, b'\nentry 0\nentry 1'), (2, b'\nend')]
    """
    if not _is_built(params):
        yield 1, params.text.encode()
        return
    if params.header:
        yield 0, params.header.encode()
    pieces = (b"\n" + params.line.encode()).split(b"{n}")
    for first in range(0, params.count, LINES_PER_BLOCK):
        stop = min(params.count, first + LINES_PER_BLOCK)
        lines = b"".join(_lines(pieces, first, stop))  # most often one piece, which is not copied then
        yield stop, lines if first or params.header else lines[1:]
    if params.footer:
        yield steps(params), (b"\n" if params.header or params.count else b"") + params.footer.encode()


def _is_built(params: WriteText) -> bool:
    return bool(params.header or params.line or params.footer or params.count)


def _lines(pieces: list[bytes], first: int, stop: int) -> Iterator[bytes]:
    """The lines `first` to `stop` - 1, many at once where that can be: 100,000 lines take 1 ms so, and 16 ms one by one."""
    while first < stop:
        digits = len(str(first))
        end = min(stop, 10**digits)  # up to here all numbers have so many digits
        whole = (end - first) // _ALIKE
        if digits <= 3:
            yield _counted(pieces, digits, _THREE_DIGITS[first:end, 3 - digits :]).tobytes()
            first = end
        elif first % _ALIKE == 0 and whole:
            yield _thousands(pieces, digits, first // _ALIKE, whole)
            first += whole * _ALIKE
        else:
            yield b"".join([(b"%d" % n).join(pieces) for n in range(first, end)])
            first = end


def _thousands(pieces: list[bytes], digits: int, first: int, count: int) -> bytes:
    """Blocks of a thousand lines each, from the thousand `first` on. The numbers of all lines have the same count of digits."""
    thousand = _thousand(tuple(pieces), digits)
    lines = np.repeat(thousand[np.newaxis], count, axis=0)
    heads = np.frombuffer(b"".join([b"%d" % number for number in range(first, first + count)]), np.uint8).reshape(count, 1, digits - 3)
    at = 0
    for piece in pieces[:-1]:
        at += len(piece)
        lines[:, :, at : at + digits - 3] = heads
        at += digits
    return lines.tobytes()


@functools.lru_cache(maxsize=4)
def _thousand(pieces: tuple[bytes, ...], digits: int) -> NDArray[np.uint8]:
    """A thousand lines, `(1000, length)`. Only the last three digits of the numbers are right."""
    return _counted(pieces, digits, _THREE_DIGITS)


def _counted(pieces: Sequence[bytes], digits: int, last: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lines with numbers of so many digits, `(count, length)`; the last digits, `(count, 3 or fewer)`, are given, and others are 0."""
    lines = np.repeat(np.frombuffer((b"0" * digits).join(pieces), np.uint8)[np.newaxis], len(last), axis=0)
    at = 0
    for piece in pieces[:-1]:
        at += len(piece) + digits
        lines[:, at - last.shape[1] : at] = last
    return lines


# ------------------------------------------------------------------------------------------------------------- JSON and CSV

_JSON_LINES = (".jsonl", ".ndjson")
_JSON_ENDINGS = (".json", ".geojson", *_JSON_LINES)
_DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}


def one_step(_params: WriteJson | WriteCsv) -> int:
    """JSON and tables are written in one piece."""
    return 1


def nothing_between(_params: WriteJson | WriteCsv) -> bytes:
    """Each line has its end already."""
    return b""


def check_json(params: WriteJson) -> None:
    """Raises ArgumentError if the value is no JSON, or the file's ending does not go with it."""
    ending = _ending(params.output, _JSON_ENDINGS, "write_json")
    if params.append and ending not in _JSON_LINES:
        raise ArgumentError(
            f"write_json: append=1 needs a file of lines, .jsonl or .ndjson; got {ending}.", "A .json file holds one value."
        )
    json_of("write_json", "value", params.value)


def json_blocks(params: WriteJson) -> Iterator[tuple[int, bytes]]:
    r"""Yields the file in one piece, with a newline at its end.

    >>> from worker.catalog.text import WriteJson
    >>> list(json_blocks(WriteJson(output="a.json", value='{"b": 1, "a": [true]}', sort=True, indent=0)))
    [(1, b'{"a": [true], "b": 1}\n')]
    """
    value = json_of("write_json", "value", params.value)
    indent = params.indent if params.indent and _ending(params.output, _JSON_ENDINGS, "write_json") not in _JSON_LINES else None
    yield 1, (json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent, sort_keys=params.sort) + "\n").encode()


def check_csv(params: WriteCsv) -> None:
    """Raises ArgumentError if the rows are no table, or the file's ending says nothing about delimiters."""
    _ending(params.output, tuple(_DELIMITERS), "write_csv")
    names = _columns(params)
    if len(set(names)) != len(names) or not all(names):
        raise ArgumentError(f"write_csv: columns must name each column once; got {params.columns[:80]!r}.")
    try:
        (params.rows + params.columns).encode()
    except UnicodeEncodeError:
        raise ArgumentError("write_csv: the text holds half a character (a lone surrogate), which no file can hold.") from None
    rows = cells_of("write_csv", params.rows, names)
    if not rows and not names:
        raise ArgumentError("write_csv: there is nothing to write; rows and columns are empty.")


def csv_head(params: WriteCsv) -> bytes:
    """The names of the columns, which stand only at the beginning of a file; empty if none are given."""
    names = _columns(params)
    return as_csv([list(names)], _delimiter(params)) if names else b""


def csv_blocks(params: WriteCsv) -> Iterator[tuple[int, bytes]]:
    r"""Yields the rows in one piece, each with a newline at its end.

    >>> from worker.catalog.text import WriteCsv
    >>> params = WriteCsv(output="a.csv", rows="1\t2\n3\tx,y", columns="a, b")
    >>> csv_head(params), list(csv_blocks(params))
    (b'a,b\n', [(1, b'1,2\n3,"x,y"\n')])
    """
    yield 1, as_csv(cells_of("write_csv", params.rows, _columns(params)), _delimiter(params))


def _columns(params: WriteCsv) -> tuple[str, ...]:
    return tuple(name.strip() for name in params.columns.split(",")) if params.columns.strip() else ()


def _delimiter(params: WriteCsv) -> str:
    return _DELIMITERS[_ending(params.output, tuple(_DELIMITERS), "write_csv")]


def _ending(name: str, known: tuple[str, ...], operation: str) -> str:
    ending = next((ending for ending in known if name.lower().endswith(ending)), "")
    if not ending:
        raise ArgumentError(f"{operation}: output must end in {', '.join(known[:-1])} or {known[-1]}; got {name[-60:]!r}.")
    return ending
