"""What somebody who watches knows of a worker: a sentence for each change, and a table."""

from __future__ import annotations

from worker.client.board import GONE_S, MAX_ENDED, Board
from worker.protocol.messages import CatalogChanged, Children, Error, Status, Watched, Welcome

WHERE = "127.0.0.1:9460"


def job(name, word="running", code=0, *, step=0, steps=1, message=""):
    return Watched("127.0.0.1:9461", "td", name, "noop", word, code, step, steps, 0, 10, message)


def said(board, *reports, now=0.0):
    return [sentence for report in reports for sentence in board.take(report, now)]


def test_no_worker_yet():
    """It says so once, and then what it finds."""
    board = Board(WHERE)
    assert [*board.silent(0.0), *board.silent(1.0), *board.nobody()] == [f"waiting for a worker at {WHERE}"]
    assert said(board, Welcome("0.1.0", 1, 7, 15000, 0)) == [f"the worker at {WHERE} is there: version 0.1.0, boot 7"]
    assert [*board.silent(GONE_S - 1)] == []


def test_a_worker_goes_and_another_comes():
    """Each is a sentence; open jobs of the old start are forgotten, because the new one tells of those that go on."""
    board = Board(WHERE)
    said(board, Welcome("0.1.0", 1, 7, 15000, 0), Status("Ready", 0, 0, 7), job("open"), job("done", "ready", 200))
    assert [*board.silent(GONE_S), *board.silent(GONE_S + 1)] == [f"the worker at {WHERE} does not answer any more; waiting for it"]
    assert said(board, Welcome("0.1.0", 1, 8, 15000, 0)) == [f"the worker at {WHERE} was started again: version 0.1.0, boot 8"]
    assert [row.id for row in board.rows()] == ["done"]


def test_a_restart_between_two_heartbeats():
    """The status of another start is noticed at once: it needs a hello."""
    board = Board(WHERE)
    said(board, Welcome("0.1.0", 1, 7, 15000, 0), Status("Ready", 0, 0, 8))
    assert board.welcome is None


def test_changes_are_said_once():
    """Repeats say nothing; progress is a sentence at each tenth."""
    board = Board(WHERE)
    assert said(board, job("a", "waiting"), job("a", "waiting")) == ["noop a of td: waiting"]
    steps = [job("a", step=step, steps=100) for step in range(100)]
    assert said(board, *steps) == [f"noop a of td: running, {tens} of 100" for tens in range(0, 100, 10)]
    failed = job("a", "file", 404, message="There is no file x.png.")
    assert said(board, failed, failed) == ["noop a of td: file 404 after 10 ms: There is no file x.png."]
    assert said(board, Status("Ready", 0, 0, 7), Status("Ready", 0, 1, 7), Status("Processing", 1, 0, 7)) == [
        "Ready: 0 running, 0 waiting",
        "Processing: 1 running, 0 waiting",
    ]
    assert said(board, Children(1, 3, 0, ""), Children(1, 3, 1, "noop"), Children(0, 3, 0, "")) == ["children: 3", "children: none works"]
    assert said(board, CatalogChanged(1, "my_ops.py has glow.")) == ["operations: my_ops.py has glow."]
    error = Error(401, "/worker/watch", "watch needs the token.")
    assert said(board, error, error) == ["the worker says: watch needs the token."]


def test_the_table():
    """Running jobs, then waiting ones, then the ended ones, the newest first; not for ever more of them."""
    board = Board(WHERE)
    said(board, job("w", "waiting"), job("r"), *(job(f"e{number}", "ready", 200) for number in range(MAX_ENDED + 50)))
    ids = [row.id for row in board.rows()]
    assert ids[:3] == ["r", "w", f"e{MAX_ENDED + 49}"]
    assert len(ids) <= MAX_ENDED + 2
