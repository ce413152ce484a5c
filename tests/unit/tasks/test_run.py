"""A task from its phase to its outcome, and whatever can go wrong on the way."""

from __future__ import annotations

import errno
import logging
import re
from typing import get_args

import cv2
import pytest

from worker.catalog.noop import Noop
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Result, Task
from worker.files.handles import Folder
from worker.operations.shapes import Detector, Nothing, Operation
from worker.operations.table import OPERATIONS
from worker.tasks import run as tasks
from worker.tasks.run import run_task


def test_every_operation_has_a_batch():
    """For each shape an operation can have there is a way to run it."""
    assert set(tasks._BATCHES) == set(get_args(Operation))
    assert {type(operation) for operation in OPERATIONS.values()} <= set(tasks._BATCHES)


def test_noop(desk):
    """The empty job is done at once, with an empty result."""
    assert desk.task("noop") == Result()


@pytest.mark.parametrize(
    ("operation", "values", "code", "words"),
    [
        ("draw_circles", {"output": "a.png", "count": 2}, 400, r"put \{n\} into it"),
        ("draw_circles", {"output": "{n}.xyz", "count": 2}, 415, r"\.xyz"),
        ("draw_circles", {"output": "../{n}.png"}, 403, "outside"),
        ("draw_circles", {"output": "{n}.png", "centers": "1"}, 400, "pairs"),
        ("write_text", {"output": "/etc/a.txt", "text": "x"}, 403, "outside"),
        ("write_text", {"output": "a.txt", "text": "x", "count": 1}, 400, "either"),
        ("write_text", {"output": "in", "text": "x"}, 400, "folder"),
        ("write_text", {"output": "broken.png", "text": "x"}, 415, "this job writes text"),
        ("find_circles", {"image": "no.png"}, 404, r"no file no\.png"),
        ("find_circles", {"image": "no/*.png"}, 404, r"No image matches no/\*\.png"),
        ("find_circles", {"image": "clip.mp4"}, 415, "video"),
        ("find_circles", {"image": "in/a.png", "min_radius": 9, "max_radius": 8}, 400, "larger than"),
        ("find_circles", {"image": "in", "overlay": "a.png"}, 400, r"put \{name\} or \{n\} into it"),
        ("find_circles", {"image": "in", "data": "a.xml"}, 415, "must end in .json or .csv"),
        ("find_circles", {"image": "in", "overlay": "{name}.xyz"}, 415, "xyz"),
        ("find_circles", {"image": "in", "overlay": "../{name}.png"}, 403, "outside"),
        ("find_circles", {"image": "in", "data": "../a.csv"}, 403, "outside"),
        ("convert", {"image": "in", "output": "a.png"}, 400, r"put \{name\} or \{n\} into it"),
        ("convert", {"image": "in/**/*.png", "output": "out/{name}.png"}, 400, "written twice"),
        ("convert", {"image": "broken.png", "output": "a.png"}, 415, "broken.png holds text, and no picture"),
    ],
)
def test_refusals(desk, operation, values, code, words):
    """What cannot be done is refused in the plan, with a code and a sentence, before anything is written."""
    desk.discs("in/a.png", "in/b.png", "in/deep/a.png")
    (desk.root / "broken.png").write_bytes(b"no image")
    before = sorted(desk.root.rglob("*"))
    outcome = desk.task(operation, **values)
    assert isinstance(outcome, Failure)
    assert outcome.code == code
    assert re.search(words, outcome.message)
    assert sorted(desk.root.rglob("*")) == before


def test_full_disk(desk, monkeypatch):
    """A full disk is a failure that may pass, so that a job with retries is tried again."""

    def refuse(self, old, new):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Folder, "rename", refuse)
    outcome = desk.task("draw_circles", output="a.png", count=1)
    assert (outcome.code, outcome.transient) == (507, True)
    assert "No space left" in outcome.message
    assert desk.names() == []


@pytest.mark.parametrize("error", [ValueError("secret detail"), cv2.error("secret detail"), RecursionError("secret detail"), KeyError(1)])
def test_never_raises(desk, monkeypatch, caplog, error):
    """Whatever goes wrong inside is a failure with a short sentence; the details go to the log."""

    def fail(image, params):
        raise error

    desk.discs("a.png")
    monkeypatch.setitem(OPERATIONS, "find_circles", Detector(fail, fail))
    with caplog.at_level(logging.ERROR):
        outcome = desk.task("find_circles", image="a.png")
    assert outcome == Failure(500, "internal", "find_circles failed inside the worker; the log says more.")
    assert "Traceback" in caplog.text


def test_out_of_memory(desk, monkeypatch):
    """Too little memory is a limit that the sender can do something about."""

    def fail(_params):
        raise MemoryError

    monkeypatch.setitem(OPERATIONS, "noop", Nothing(fail))
    assert desk.task("noop").code == 413


def test_failing_progress(desk):
    """A progress function that fails, fails the task and not the child."""

    def fail(_done):
        raise BrokenPipeError

    params, _ = CATALOG.parse_job("draw_circles", [("output", "a.png"), ("count", 1)])
    assert isinstance(run_task(Task(1, "draw_circles", params), desk.files, fail), Failure)


def test_part_without_part(desk):
    """A task in phase PART that names no part is our own mistake."""
    assert run_task(Task(1, "draw_circles", Noop(), Phase.PART), desk.files, print).code == 500
