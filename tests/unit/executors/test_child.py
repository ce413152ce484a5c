from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from worker.catalog.noop import Noop
from worker.core.jobs import Result, Task
from worker.executors import child, framing, memory
from worker.executors.mark import Mark


def test_idle_child_gives_memory_back(monkeypatch):
    """Once after it has worked, when the parent asks whether it hears; not between the parts of a batch."""
    said = []
    monkeypatch.setattr(memory, "give_back", lambda: said.append("given back"))
    ours, its = socket.socketpair()
    mark = Mark.made()
    with ours, its:
        task, probe = framing.given(Task(1, "noop", Noop())), framing.frame(framing.Probe())
        ours.sendall(task + task + probe + probe + task + probe)
        ours.shutdown(socket.SHUT_WR)
        child._serve(lambda: lambda task, progress: said.append("worked") or Result(), dict, child.Parent(its), mark)
        answers = [type(framing.said(body)).__name__ for body in framing.Frames().received(ours.recv(65_536))]
    mark.close()
    assert said == ["worked", "worked", "given back", "worked", "given back"]
    assert answers == ["Warm", "Done", "Done", "Alive", "Alive", "Done", "Alive"]


@pytest.fixture
def alert():
    """A child's end that may stay awake, and the parent's."""
    if not child._DONT_WAIT:
        pytest.skip("Windows cannot look at a socket without waiting")
    ours, its = socket.socketpair()
    parent = child.Parent(its)
    parent.is_alert = True
    with ours, its:
        yield ours, parent


def test_the_next_task_at_once(alert):
    """After a task it looks for the next one before it sleeps; once, until another task has ended."""
    ours, parent = alert
    ours.send(b"task")
    assert parent._at_once() == b""
    parent.has_ended_a_task = True
    assert parent._at_once() == b"task"
    ours.send(b"another")
    assert parent._at_once() == b""
    parent.has_ended_a_task = True
    assert parent._at_once() == b"another"


def test_no_next_task(alert):
    """In vain, so it sleeps, and does not look after the next task either. A parent that is gone is noticed as always."""
    ours, parent = alert
    parent.has_ended_a_task = True
    assert parent._at_once() == b""
    ours.send(b"late")
    parent.has_ended_a_task = True
    assert parent._at_once() == b""
    parent.has_ended_a_task = True
    assert parent._at_once() == b"late"
    ours.close()
    parent.has_ended_a_task = True
    assert list(parent.tells()) == []


_CRASH = """
import os
from worker.executors import child
child._silence()
os.write(1, b"printed")
os.write(2, b"libpng warning: iCCP: known incorrect sRGB profile")
os.abort()
"""


def test_what_libraries_say_fills_no_file(tmp_path):
    """They write a line about many pictures. How a child crashed still comes into the file, and a pipe gets everything."""
    with (tmp_path / "output.log").open("wb") as file:
        subprocess.run([sys.executable, "-c", _CRASH], stdout=file, stderr=file, check=False, timeout=60)
    said = (tmp_path / "output.log").read_text()
    assert said.startswith("Fatal Python error: Aborted")
    assert "libpng" not in said
    piped = subprocess.run([sys.executable, "-c", _CRASH], capture_output=True, check=False, timeout=60)
    assert piped.stderr.startswith(b"libpng warning")
    assert b"Fatal Python error: Aborted" in piped.stderr
    assert piped.stdout == b""
