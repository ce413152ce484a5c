"""The hints that tell an artist what to do about an error, and tables that are filled over several frames."""

from __future__ import annotations

import itertools
import socket

import pytest
from tests.td.conftest import load
from tests.td.fake import TouchDesigner
from worker import errors
from worker.catalog.table import CATALOG
from worker.service import takeover

tables = load("tables")
pending = load("pending")


class Made:
    """A component's tables without the rest of it."""

    def __init__(self, tmp_path):
        self.td = TouchDesigner(2025, tmp_path)
        component = self.td.root.create("baseCOMP", "ImageWorker")
        for name, columns in (("jobs", 9), ("results", 2), ("files", 5), ("log", 2), ("operations", 6)):
            component.create("tableDAT", name).appendRow([f"{name} {column}" for column in range(columns)])
        component.appendCustomPage("Status").appendStr("Message")
        self.op = component.op
        self.tables = tables.Tables(component)

    def rows(self, name):
        table = self.op(name)
        return [[cell.val for cell in table.row(row)] for row in range(1, table.numRows)]


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def a_job(number, word="Accepted"):
    job = pending.Job(f"s-{number}", "noop", [])
    job.word = word
    return job


@pytest.mark.parametrize("show", [False, True])
def test_so_many_rows_are_written_at_once_and_the_rest_later(made, show):
    made.tables.show = show
    most = tables.ROWS_AT_ONCE_IN_A_SHOW if show else tables.ROWS_AT_ONCE
    jobs = [a_job(number) for number in range(100)]
    for job in jobs:
        made.tables.show_job(job, job.word)
        made.tables.show_file(job, (f"{job.id}.png", 1, 2, 3))
    counts = [0]
    while made.tables.unwritten():
        made.tables.write()
        counts.append(len(made.rows("jobs")) + len(made.rows("files")))
    assert max(after - before for before, after in itertools.pairwise(counts)) == most
    assert [row[0] for row in made.rows("jobs")] == [job.id for job in jobs]
    assert [row[1] for row in made.rows("files")] == [f"{job.id}.png" for job in jobs]


def test_only_the_newest_state_is_written(made):
    job = a_job(1)
    made.tables.show_job(job, "Sending")
    made.tables.write()
    for word in ("Accepted", "Processing", "Ready"):
        job.word = word
        made.tables.show_job(job, word)
    written = []
    jobs = made.op("jobs")
    original = type(jobs).__setitem__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(jobs), "__setitem__", lambda self, place, value: (written.append(value), original(self, place, value)))
        made.tables.write()
    assert written == ["Ready"]
    assert [row[2] for row in made.rows("jobs")] == ["Ready"]


def test_a_row_is_found_again_when_somebody_has_moved_it(made):
    jobs = [a_job(number) for number in range(3)]
    for job in jobs:
        made.tables.show_job(job, job.word)
    made.tables.write()
    made.op("jobs").deleteRow(1)  # an artist has tidied up
    for job in jobs[1:]:
        made.tables.show_job(job, "Lost")
    made.tables.write()
    assert [(row[0], row[2]) for row in made.rows("jobs")] == [("s-1", "Lost"), ("s-2", "Lost")]
    made.tables.show_job(jobs[0], "Lost")
    made.tables.write()
    assert [row[0] for row in made.rows("jobs")] == ["s-1", "s-2", "s-0"]


def test_a_large_result_is_shown_whole_or_not_at_all(made):
    """It takes several frames to put it together. What comes meanwhile replaces what waits, and not what is under way."""
    job = a_job(1)
    job.kind, job.fields = "circles", ("x", "y")
    job.chunks = {0: [float(number) for number in range(2000)]}
    made.tables.show_rows(job)
    made.tables.write()
    assert made.rows("results") == []
    for number in (2, 3):
        later = a_job(number)
        later.kind, later.fields, later.chunks = "circles", ("x", "y"), {0: [number, number]}
        made.tables.show_rows(later)
    seen = []
    while made.tables.unwritten():
        made.tables.write()
        seen.append(len(made.rows("results")))
    assert sorted(set(seen) - {0}) == [1, 1000]
    assert made.rows("results") == [["3", "3"]]


def test_old_rows_go_and_in_a_show_later(made):
    for show, rows in ((True, 1), (False, 0)):
        made.tables.show = show
        for number in range(tables.LINES_LOGGED + 1):
            made.tables.complain(str(number))
            made.tables.write()
        assert len(made.rows("log")) == tables.LINES_LOGGED + rows
    made.tables.show = True
    made.tables.log("Everything is well.")
    made.tables.show_progress(a_job(1), "Processing")
    made.tables.write()
    assert made.rows("log")[-1][1] != "Everything is well."
    assert made.rows("jobs") == []


def test_hints_are_for_errors_that_exist():
    words = {error.word for error in vars(errors).values() if isinstance(error, type) and issubclass(error, errors.WorkerError)}
    assert set(tables.HINTS) <= words
    assert len(words) > 10


@pytest.mark.parametrize("word", [*tables.HINTS, "arguments", "operation"])
@pytest.mark.parametrize(
    ("operation", "pairs"), [("find_circle", {}), ("find_circles", {}), ("find_circles", {"image": "a.png", "imgae": 1})]
)
def test_no_hint_speaks_of_a_terminal(word, operation, pairs):
    """Also if it is one that the worker gives."""
    with pytest.raises(errors.WorkerError) as refused:
        CATALOG.parse_job(operation, pairs.items())
    assert "td-image-worker" in refused.value.hint
    assert "td-image-worker" not in tables.hint(word, "", refused.value.hint, True)
    assert tables.in_touchdesigner(f"404 at: No. {refused.value.hint}") == f"404 at: No. {tables.SEE_OPERATIONS}"


def test_a_taken_port_is_another_parameter():
    """A worker that cannot start ends with a sentence about options; here it names parameters of the component."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        told = takeover.holder(*other.getsockname())
    assert "choose another --port" in told
    assert "set another Command Port (page Worker)" in tables.in_touchdesigner(told)
    assert " --" not in tables.in_touchdesigner(told)


@pytest.mark.parametrize(
    ("word", "message", "told", "is_local", "expected"),
    [
        ("file", "There is no file a.png.", "Near is b.png.", True, "Near is b.png."),
        ("arguments", 'The path "a.png" stands in quotes.', "Leave them out.", True, "Leave them out."),
        ("arguments", "radius must be a number.", "", True, tables.SEE_OPERATIONS),
        ("limit", "The file has 2000 MB; the limit is 1024 (--max-file-mb).", "", True, tables.SET_OPTION),
        ("limit", "The file is too large.", "Raise --max-file-mb.", True, "Raise --max-file-mb. " + tables.SET_OPTION),
        ("limit", "The file is too large.", "Raise --max-file-mb.", False, "Raise --max-file-mb."),
        ("path", "It lies outside.", "See --root.", False, "See --root."),
    ],
)
def test_an_option_is_set_in_touchdesigner_if_the_worker_is_on_this_computer(word, message, told, is_local, expected):
    assert tables.hint(word, message, told, is_local) == expected
