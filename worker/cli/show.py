"""What all commands share: exit codes, and output that is rich on a terminal and plain lines in a pipe.

The result goes to standard output; progress and everything else a person reads while waiting goes to standard error.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import click

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID
    from rich.table import Table

READY = 0
FAILED = 1
BAD_ARGUMENTS = 2
SILENT = 3
STOPPED = 4
INTERRUPTED = 130

#: The exit codes, for the help of the commands that run a job.
EXIT_CODES: Mapping[int, str] = {
    READY: "ready",
    FAILED: "the worker failed (5xx)",
    BAD_ARGUMENTS: "the job was refused or could not be done as it stands (other 4xx)",
    SILENT: "no worker answers",
    STOPPED: "timeout, cancelled or expired (408, 410, 499)",
    INTERRUPTED: "Ctrl-C",
}

_STOPPED_CODES = (408, 410, 499)
_ROWS_ON_A_TERMINAL = 20
#: A longer word, such as a path, may be broken in a table.
_BROKEN_FROM = 30
#: In the place of a space at which a line must not be broken; a character that no text has.
_TIE = "\ue000"


def exit_codes_help(*but: int) -> str:
    """The end of a command's help: the exit codes that it can have, which are all `but` these."""
    return "\b\nExit codes:\n" + "\n".join(f"  {code:<4} {meaning}" for code, meaning in EXIT_CODES.items() if code not in but)


def exit_code(code: int) -> int:
    """The exit code for a protocol code.

    >>> [exit_code(code) for code in (404, 499, 502)]
    [2, 4, 1]
    """
    if code in _STOPPED_CODES:
        return STOPPED
    return BAD_ARGUMENTS if code < 500 else FAILED


def is_terminal(*, error: bool = False) -> bool:
    """Whether a person looks at standard output, or at standard error. Programs without a console have neither."""
    stream = sys.stderr if error else sys.stdout
    return stream is not None and stream.isatty()


def say(line: str = "", *, whole: bool = False) -> None:
    """One line of standard output, at once. On a narrow terminal it is broken between words, unless it is to stay whole."""
    click.echo(line if whole else fitted(line))
    if sys.stdout is not None:
        sys.stdout.flush()


def note(line: str) -> None:
    """One line for a person, on standard error."""
    click.echo(fitted(line, error=True), err=True)


def fitted(text: str, *, error: bool = False) -> str:
    """The text with line breaks between its words, if a person looks at it and the terminal is narrower. In a pipe it stays as it is."""
    if not is_terminal(error=error):
        return text
    width = shutil.get_terminal_size().columns
    return "\n".join(filled(line, width) for line in text.split("\n"))


def filled(line: str, width: int) -> str:
    """A line, broken between words where it is too long. No word is broken, and no command in backquotes, so that both can be copied.

    >>> print(filled("  Press `a b c` and then wait.", 16))
      Press `a b c`
      and then wait.
    """
    if len(line) <= width:
        return line
    indent = line[: len(line) - len(line.lstrip())]
    tied = re.sub("`[^`]*`", lambda command: command[0].replace(" ", _TIE), line)
    wrapped = textwrap.fill(tied, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return wrapped.replace(_TIE, " ")


def printable(text: str) -> str:
    r"""Names come from packets, so nothing in them may move a cursor.

    >>> print(printable("a\x1b[31mb"))
    a\x1b[31mb
    """
    return text if text.isprintable() else "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def left_out(listed: int, count: int) -> None:
    """Says that more was found than is listed, if so."""
    if count:
        note(f"Found {listed + count}, {listed} listed (max_items).")


def complain(message: str, hint: str = "") -> None:
    """Says in a sentence what went wrong."""
    head, text = "Error: ", " ".join(part for part in (message, hint) if part)
    click.secho(head, fg="red", nl=False, err=True, color=None if _has_colors() else False)  # None: on a terminal only
    click.echo(fitted(head.replace(" ", _TIE) + text, error=True)[len(head) :], err=True)


def _has_colors() -> bool:
    """NO_COLOR, if not empty, says no (https://no-color.org), and so does a terminal that can show text only."""
    return not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")


def print_json(value: Any) -> None:
    """One JSON object on one line, in ASCII so that every console and pipe can carry it."""
    import json  # only here: `serve` prints none

    say(json.dumps(value), whole=True)


def number(value: float | str) -> str:
    """A number as a person writes it; text stays as it is.

    >>> number(3.0), number(0.1234567), number(1234567.0)
    ('3', '0.123457', '1234567')
    """
    if isinstance(value, str):
        return value
    return str(int(value)) if value == int(value) and abs(value) < 1e15 else f"{value:g}"


def duration(ms: float) -> str:
    """A duration as a person reads it.

    >>> duration(12), duration(1234)
    ('12 ms', '1.23 s')
    """
    return f"{ms:.0f} ms" if ms < 1000 else f"{ms / 1000:.2f} s"


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), caption: str = "") -> None:
    """A table on standard output: drawn on a terminal, with tabs between the columns in a pipe."""
    if not is_terminal():
        for line in ([title] if title else []) + ["\t".join(columns)] + ["\t".join(row) for row in rows] + ([caption] if caption else []):
            say(line)
        return
    from rich.console import Console

    console = Console()
    shown = [tuple(row) for row in rows[:_ROWS_ON_A_TERMINAL]]
    widths = _widths(columns, shown, right, console.width)
    if _table_width(widths) > console.width:
        _listed(title, columns, shown, caption)
    else:
        drawn = _drawn(columns, shown, right, widths)
        drawn.title, drawn.caption = title or None, caption or None
        console.print(drawn)
    if len(rows) > _ROWS_ON_A_TERMINAL:
        console.print(f"  ... and {len(rows) - _ROWS_ON_A_TERMINAL} more; --json prints them all.", style="dim")


def _narrowest(name: str, cells: Sequence[str], *, unbroken: bool) -> int:
    """How wide a column must be so that no word is broken, but for long ones such as paths. Numbers stay on one line."""
    words = [*name.split(), *(word for cell in cells for word in ([cell] if unbroken else cell.split()))]
    return min(_BROKEN_FROM, max(map(len, words), default=1))


def _widths(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], available: int) -> list[int]:
    """How wide each column is drawn: what it must have, and of what is left over what it would like, from left to right.

    >>> _widths(("name", "n"), [("two words", "7")], ("n",), 12), _widths(("name", "n"), [("two words", "7")], ("n",), 60)
    ([5, 1], [9, 1])
    """
    cells = [[row[column] for row in rows] for column in range(len(columns))]
    widths = [_narrowest(name, column, unbroken=name in right) for name, column in zip(columns, cells, strict=True)]
    left = available - _table_width(widths)
    for number, (name, column) in enumerate(zip(columns, cells, strict=True)):
        more = max(0, min(left, max(map(len, (name, *column))) - widths[number]))
        widths[number] += more
        left -= more
    return widths


def _table_width(widths: Sequence[int]) -> int:
    """With a space on both sides of each column, and a line between them."""
    return sum(width + 3 for width in widths) + 1


def _listed(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> None:
    """A table for a terminal that is too narrow for columns: one line for each cell."""
    if title:
        say(title)
    for row in rows:
        for column, cell in zip(columns, row, strict=True):
            if cell:
                say(f"{column}: {cell}" if column else cell)
        say()
    if caption:
        say(caption)


def _drawn(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str], widths: Sequence[int]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title_justify="left", caption_justify="left", box=box.SIMPLE_HEAD)
    for column, width in zip(columns, widths, strict=True):
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold", width=width)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    return drawn


class Bars(Protocol):
    """Where the progress of jobs is shown."""

    def add(self, name: str) -> None:
        """A job begins."""

    def update(self, name: str, step: int, steps: int) -> None:
        """It has come so far."""

    def finish(self, name: str, outcome: str) -> None:
        """It has ended."""

    def line(self, text: str) -> None:
        """Something else to say meanwhile."""


class _PlainBars:
    """A line for every tenth of a job."""

    def __init__(self, *, error: bool) -> None:
        self._error = error
        self._tenths: dict[str, int] = {}

    def add(self, name: str) -> None:
        self._tenths[name] = 0

    def update(self, name: str, step: int, steps: int) -> None:
        tenths = 10 * step // max(1, steps)
        if self._tenths[name] < tenths < 10:
            self._tenths[name] = tenths
            self.line(f"{name}: {10 * tenths} % ({step} of {steps})")

    def finish(self, name: str, outcome: str) -> None:
        self.line(f"{name}: {outcome}")

    def line(self, text: str) -> None:
        click.echo(text, err=self._error)
        sys.stdout.flush()


class _RichBars:
    """A live bar for each job."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def add(self, name: str) -> None:
        self._tasks[name] = self._progress.add_task(name, total=None, outcome="")

    def update(self, name: str, step: int, steps: int) -> None:
        self._progress.update(self._tasks[name], completed=step, total=steps)

    def finish(self, name: str, outcome: str) -> None:
        task = self._tasks[name]
        total = next(known.total for known in self._progress.tasks if known.id == task) or 1
        self._progress.update(task, total=total, completed=total if outcome.startswith("ready") else None, outcome=outcome)
        self._progress.stop_task(task)

    def line(self, text: str) -> None:
        self._progress.console.print(text, markup=False, highlight=False)


class _NoBars:
    """For a machine that only wants the result."""

    def add(self, name: str) -> None: ...
    def update(self, name: str, step: int, steps: int) -> None: ...
    def finish(self, name: str, outcome: str) -> None: ...
    def line(self, text: str) -> None: ...


@contextmanager
def bars(*, error: bool = True, quiet: bool = False) -> Iterator[Bars]:
    """Progress bars on standard error (or output): live on a terminal, otherwise plain lines, or nothing if `quiet`."""
    if not is_terminal(error=error):
        yield _NoBars() if quiet else _PlainBars(error=error)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=error)
    columns = (
        SpinnerColumn("line" if console.options.ascii_only else "dots", finished_text=" "),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[outcome]}"),
    )
    with Progress(*columns, console=console) as progress:
        yield _RichBars(progress)


def show_result(items: Sequence[Mapping[str, float | str]], fields: Sequence[str], files: Sequence[Mapping[str, Any]]) -> None:
    """What a job found, and what it wrote."""
    if fields:
        rows = [[number(item[field]) for field in fields] for item in items]
        table("", fields, rows, right=fields)
    if files:
        sizes = [f"{file['width']} x {file['height']}" if file["width"] else "" for file in files]
        rows = [[file["path"], f"{file['bytes']}", size] for file, size in zip(files, sizes, strict=True)]
        table("", ("file", "bytes", "size"), rows, right=("bytes",))
    if not fields and not files:
        say("Done; it has no result to show.")
