"""A worker that the system stops for a while, as a laptop that sleeps or a container that is paused: what counts as running time."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.ports import free_port
from tests.reliability.running import start, wait_until_it_answers
from worker.client.line import Line
from worker.errors import DeadlineExceeded
from worker.pictures.images import write_image
from worker.poller import ASLEEP_S
from worker.protocol.messages import Failed, Hello, Job, Ready

pytestmark = pytest.mark.skipif(os.name != "posix", reason="not on this system: no SIGSTOP")

#: How long a job may run, and how long it is stopped. Of the sleep a second counts at most: so long the worker wanted to wait.
TIMEOUT_S = ASLEEP_S + 3.0
STOPPED_S = TIMEOUT_S + 0.5
LONG_S = 60.0

#: Ends when a file is there, so that the test and not the machine says how long it takes.
OPERATION = """
import time
from pathlib import Path
from typing import Annotated
from worker.operations.own import WRITE_IMAGE, Filter, ImageIn, Meta, Params, Row

class Wait(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="picture to write")]
    go: Annotated[str, Meta(description="the file that ends it")]

def wait(image, params):
    Path(params.go + ".begun").touch()
    while not Path(params.go).exists():
        time.sleep(0.01)
    return image

OPERATIONS = {Row("wait", Wait, "Waits.", item="file"): Filter(wait)}
"""


class Running:
    """A worker with one child and a job in it."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self.root.mkdir(parents=True)
        (folder / "ops.py").write_text(OPERATION)
        write_image(self.root / "a.png", np.zeros((4, 4), np.uint8))
        self.port = free_port()
        options = ("--no-journal", "--workers", "1", "--http", "off", "--no-discovery", "--sandbox", "off")
        options += ("--operations", str(folder / "ops.py"))
        self.started = start(self.port, self.root, *options, log=folder / "worker.log")
        self.process = psutil.Process(self.started.pid)

    def warm_up(self) -> None:
        """Waits until a child has run a job, so that the next one begins at once."""
        wait_until_it_answers(self.port)
        self.line = Line("127.0.0.1", self.port)
        ready = self.line.ask((Hello("test", 0, 0), Job("first", "noop")), lambda report: isinstance(report, Ready), LONG_S)
        assert ready is not None

    def begin(self) -> None:
        """Sends the job, and waits until a child has begun it."""
        pairs = (("image", "a.png"), ("output", "b.png"), ("go", str(self.root / "go")), ("timeout_ms", round(TIMEOUT_S * 1000)))
        self.line.tell(Job("a", "wait", pairs))
        deadline = time.monotonic() + LONG_S
        while not (self.root / "go.begun").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    @property
    def children(self) -> list[psutil.Process]:
        return [child for child in self.process.children() if "spawn_main" in " ".join(child.cmdline())]

    def final(self) -> Ready | Failed:
        return next(report for report in self.line.hear(LONG_S) if isinstance(report, Ready | Failed) and report.id == "a")

    def end(self) -> None:
        for child in self.process.children():
            child.kill()
        self.started.kill()
        self.started.wait()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Running]]:
    with contextlib.ExitStack() as stack:
        running = []
        for name in ("all", "worker", "child"):
            running.append(Running(tmp_path / name))
            stack.callback(running[-1].end)
        yield running


def test_a_sleep_is_no_running_time(workers: list[Running]) -> None:
    """A job survives a sleep that is longer than its timeout: of the worker and its child together, and of the worker alone, whose
    child goes on meanwhile. If the child alone is stopped, it hangs, and the timeout ends the job.
    """
    for one in workers:
        one.warm_up()
    asleep, alone, hung = workers
    stopped = {hung: hung.children, alone: [alone.process], asleep: [asleep.process, *asleep.children]}
    for one, processes in stopped.items():
        one.begin()
        for process in processes:  # at once: the time until then counts as running
            process.suspend()
    (alone.root / "go").touch()
    time.sleep(STOPPED_S)
    for one in (asleep, hung):
        (one.root / "go").touch()
    for process in (*stopped[asleep], *stopped[alone]):
        process.resume()
    assert isinstance(asleep.final(), Ready)
    assert isinstance(alone.final(), Ready)
    final = hung.final()
    assert isinstance(final, Failed)
    assert final.code == DeadlineExceeded.code
    for one in workers:
        one.line.close()
