"""What processes of live jobs can do wrong. Importable by name, because they are spawned."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path

from worker.core.jobs import Failure, Outcome, Result, Task
from worker.errors import MissingFile
from worker.executors import framing
from worker.executors.live_child import Follow, Mouth

FIELDS = 15


def looked(task: Task, frame: int, fields: int = FIELDS) -> framing.Looked:
    return framing.Looked(task.id, frame, time.monotonic(), 0.5, 30.0, task.next_id + 1, (4, 3), ((0.0,) * fields,), 1)


def make(task: Task) -> Follow:
    """What the job's source says: the name of what follows, behind `frame:`."""
    return FOLLOWS[task.params.source.partition(":")[2]]  # type: ignore[attr-defined]


def well(task: Task, mouth: Mouth) -> Outcome:
    """Ten pictures, each when it may be sent."""
    mouth.say("Opening", "a source")
    for frame in range(10):
        while not mouth.may_send(1.0):
            pass
        mouth.send(looked(task, frame))
    mouth.say("Ended", "it is over")
    return Result()


def fails(_task: Task, _mouth: Mouth) -> Outcome:
    return Failure.of(MissingFile("There is none."))


def raises(_task: Task, _mouth: Mouth) -> Outcome:
    raise RuntimeError("a mistake of ours")


def dies(_task: Task, _mouth: Mouth) -> Outcome:
    os._exit(3)


def floods(task: Task, mouth: Mouth) -> Outcome:
    """Does not ask whether it may."""
    for frame in range(100_000):
        mouth.send(looked(task, frame))
    return Result()


def other_rows(task: Task, mouth: Mouth) -> Outcome:
    mouth.send(looked(task, 0, fields=3))
    time.sleep(60)
    return Result()


def infinite(task: Task, mouth: Mouth) -> Outcome:
    mouth.send(framing.Looked(task.id, 0, 0.0, 0.5, 30.0, 1, (4, 3), ((float("inf"),) * FIELDS,), 1))
    time.sleep(60)
    return Result()


def of_another(task: Task, mouth: Mouth) -> Outcome:
    mouth.send(framing.Looked(task.id + 1, 0, 0.0, 0.5, 30.0, 1, (4, 3), (), 0))
    time.sleep(60)
    return Result()


def no_message(_task: Task, mouth: Mouth) -> Outcome:
    mouth._link.send(b"\x05\0\0\0hello" * 1000)
    time.sleep(60)
    return Result()


def hangs(_task: Task, _mouth: Mouth) -> Outcome:
    while True:
        time.sleep(60)


FOLLOWS: dict[str, Follow] = {
    one.__name__: one for one in (well, fails, raises, dies, floods, other_rows, infinite, of_another, no_message, hangs)
}


def cannot_start(_task: Task) -> Follow:
    raise OSError("no sandbox today")


def attempts(link: socket.socket, make_follow: object, task: Task, file: str) -> None:
    """In a process of its own: makes itself ready for this task, then tries what a hostile stream would."""
    make_follow(task=task)  # type: ignore[operator]
    found = []
    for attempt in (Path(file).read_bytes, lambda: Path(f"{file}.txt").write_bytes(b""), lambda: socket.socket().close()):
        try:
            attempt()
            found.append("did")
        except OSError:
            found.append("refused")
    link.send(" ".join(found).encode())
