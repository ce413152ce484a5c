from __future__ import annotations

import socket

from worker.catalog.noop import Noop
from worker.core.jobs import Result, Task
from worker.executors import child, frames, memory
from worker.executors.mark import Mark


def test_idle_child_gives_memory_back(monkeypatch):
    """Once after it has worked, when the parent asks whether it hears; not between the parts of a batch."""
    said = []
    monkeypatch.setattr(memory, "give_back", lambda: said.append("given back"))
    ours, its = socket.socketpair()
    mark = Mark.made()
    with ours, its:
        task, probe = frames.given(Task(1, "noop", Noop())), frames.frame(frames.Probe())
        ours.sendall(task + task + probe + probe + task + probe)
        ours.shutdown(socket.SHUT_WR)
        child._serve(lambda: lambda task, progress: said.append("worked") or Result(), dict, child.Parent(its), mark)
        answers = [type(frames.said(body)).__name__ for body in frames.Frames().received(ours.recv(65_536))]
    mark.close()
    assert said == ["worked", "worked", "given back", "worked", "given back"]
    assert answers == ["Warm", "Done", "Done", "Alive", "Alive", "Done", "Alive"]
