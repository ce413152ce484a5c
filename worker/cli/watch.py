"""`watch`: the jobs, children and reports of a running worker, live."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli import show
from worker.cli.settings import AnyNumber, worker_address
from worker.client.board import Board, sentence
from worker.client.line import Line, NobodyListens
from worker.protocol.messages import Challenge, Hello, Ping, Report, Watch, Watched

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

_HELLO_EVERY_S = 0.5
_PING_EVERY_S = 5.0
_DRAW_EVERY_S = 0.25
_HEAR_S = 0.1
#: Lines of the table that are no jobs.
_HEAD_LINES = 10


@click.command(
    epilog="""\b
Examples:
  td-image-worker watch
  td-image-worker watch --host 192.168.0.20 --token 0123456789abcdef
  td-image-worker watch --seconds 2 > jobs.txt

On a terminal it draws a table. In a pipe it writes a line for each change. It waits for a worker that is not there yet, and goes on
when a worker was started again. Ctrl-C ends it. The worker's jobs are not touched.

Watching from another computer needs the worker's token.
"""
)
@worker_address
@click.option("--seconds", type=AnyNumber(0, min_open=True), metavar="S", help="End after S seconds.  [default: never]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each report.")
def watch(*, host: str, port: int, token: str, seconds: float | None, as_json: bool) -> None:
    """Watch a running worker's jobs, live.

    Also its child processes, and what it reports.
    """
    try:
        line = Line(host, port)
    except OSError as error:
        show.complain(f"{host}:{port} cannot be reached: {error.strerror or error}.")
        sys.exit(show.SILENT)
    board = Board(f"{host}:{port}")
    with line, contextlib.suppress(KeyboardInterrupt), _output(board, as_json=as_json) as out:
        try:
            _follow(line, Hello("watch", 0, 0, "", token, bundles=1), board, out, seconds)
        finally:
            with contextlib.suppress(NobodyListens, OSError):
                line.leave()


class _Lines:
    """A line for each change, with the time."""

    def heard(self, report: Report) -> None:
        """Nothing: the board makes sentences of it."""

    def say(self, text: str) -> None:
        show.say(f"{time.strftime('%H:%M:%S')} {show.printable(text)}")

    def draw(self) -> None:
        """Nothing: what was said stands."""


class _JsonLines(_Lines):
    """A JSON object for each report, in ASCII."""

    def heard(self, report: Report) -> None:
        show.print_json(
            {"time": round(time.time(), 3), "report": report.full_address.removeprefix("/worker/"), **msgspec.to_builtins(report)}
        )

    def say(self, text: str) -> None:
        show.note(text)


class _Table(_Lines):
    """A table that changes in place."""

    def __init__(self, board: Board, live: Live, console: Console) -> None:
        self._board = board
        self._live = live
        self._console = console
        self._said = ""
        self._drawn_at = float("-inf")

    def say(self, text: str) -> None:
        self._said = f"{time.strftime('%H:%M:%S')} {show.printable(text)}"

    def draw(self) -> None:
        now = time.monotonic()
        if now - self._drawn_at >= _DRAW_EVERY_S:
            self._drawn_at = now
            self._live.update(picture(self._board, self._said, self._console.size), refresh=True)


@contextlib.contextmanager
def _output(board: Board, *, as_json: bool) -> Iterator[_Lines]:
    if as_json or not show.is_terminal():
        yield _JsonLines() if as_json else _Lines()
        return
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, auto_refresh=False, screen=True) as live:
        yield _Table(board, live, console)


def _follow(line: Line, hello: Hello, board: Board, out: _Lines, seconds: float | None) -> None:
    """Introduces itself, stays known, and shows what comes, until the time is up."""
    begun = time.monotonic()
    said_at = float("-inf")
    while seconds is None or time.monotonic() - begun < seconds:
        now = time.monotonic()
        pause = _PING_EVERY_S if board.welcome else _HELLO_EVERY_S
        try:
            if now - said_at >= pause:
                said_at = now
                line.tell(Ping(1) if board.welcome else hello, Watch(1, hello.token))
            for report in line.hear(_HEAR_S):
                if isinstance(report, Challenge):
                    hello, said_at = msgspec.structs.replace(hello, nonce=report.nonce), float("-inf")
                _take(board, report, out)
                if board.welcome is None:
                    said_at = min(said_at, now - _HELLO_EVERY_S)
                out.draw()
        except NobodyListens:
            _say(board.nobody, out)
            time.sleep(_HEAR_S)
        _say(lambda: board.silent(time.monotonic()), out)
        out.draw()


def _take(board: Board, report: Report, out: _Lines) -> None:
    out.heard(report)
    _say(lambda: board.take(report, time.monotonic()), out)


def _say(sentences: Callable[[], Iterator[str]], out: _Lines) -> None:
    for text in sentences():
        out.say(text)


# ------------------------------------------------------------------------------------------------------------- the table


def picture(board: Board, said: str, size: tuple[int, int]) -> RenderableType:
    """What stands on the terminal, so many columns and lines: the worker, what its children do, the jobs, and what was said last."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    width, height = size
    head = Text(show.printable(_about(board)), style="bold")
    tasks = board.children.tasks if board.children else ""
    doing = Text(show.printable(f"children: {tasks or 'nothing to do'}"), style="dim", overflow="ellipsis", no_wrap=True)
    table = Table(box=box.SIMPLE_HEAD, expand=True)
    columns = [number for number, (least, _) in enumerate(_COLUMNS.values()) if width >= least]
    for name, (least, options) in _COLUMNS.items():
        if width >= least:
            table.add_column(name, **options)
    rows = board.rows()
    room = max(1, height - _HEAD_LINES)
    for job in rows[:room]:
        cells = _cells(job)
        table.add_row(*(Text(show.printable(cells[number])) for number in columns), style=_style(job))
    more = len(rows) - room
    foot = Text(f"... and {more} more. " if more > 0 else "", style="dim")
    if failed := next((job for job in reversed(board.ended.values()) if job.message), None):
        foot.append(f"Newest failure: {show.printable(sentence(failed))}\n")  # whole: in its row there may be too little room for it
    foot.append(said).append("   Ctrl-C ends this.")
    return Group(head, doing, table, foot)


#: From how wide a terminal on each column is shown, and how it is drawn.
_COLUMNS: dict[str, tuple[int, dict[str, Any]]] = {
    "job": (0, {"no_wrap": True, "overflow": "ellipsis", "ratio": 3}),
    "client": (90, {"no_wrap": True, "overflow": "ellipsis", "ratio": 2}),
    "operation": (50, {"no_wrap": True, "overflow": "ellipsis", "ratio": 3}),
    "state": (0, {"no_wrap": True, "overflow": "ellipsis", "min_width": 13}),
    "waited": (70, {"justify": "right", "no_wrap": True}),
    "ran": (0, {"justify": "right", "no_wrap": True, "min_width": 6}),
    "": (110, {"no_wrap": True, "overflow": "ellipsis", "ratio": 5}),
}


def _about(board: Board) -> str:
    """One line about the worker.

    >>> _about(Board("127.0.0.1:9460"))
    'No worker at 127.0.0.1:9460'
    """
    status = board.status
    if status is None or board.welcome is None:
        return f"No worker at {board.where}"
    parts = [f"{board.where} {status.word}", f"{status.running} running", f"{status.queued} waiting"]
    if board.children:
        parts.append(f"children {board.children.busy} of {board.children.slots} busy")
    if board.health:
        parts.append(f"last sign of life {board.health.canary_s:.1f} s ago")
    return ", ".join([*parts, f"version {board.welcome.version}"])


def _cells(job: Watched) -> tuple[str, ...]:
    state = job.word if job.code in (0, 200) else f"{job.word} {job.code}"
    if job.word == "running" and job.steps > 1:
        state = f"{100 * job.step // job.steps:3d} % {job.step}/{job.steps}"
    ran = show.duration(job.run_ms) if job.run_ms or job.code else ""
    return job.id, job.name or job.client, job.operation, state, show.duration(job.wait_ms), ran, job.message


def _style(job: Watched) -> str:
    """Colour is not the only sign: the word stands beside it."""
    if job.code == 200:
        return "green"
    return "red" if job.code >= 500 else "yellow" if job.code else "" if job.word == "running" else "dim"
