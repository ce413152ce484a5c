"""What the journal promises on the wire: nothing is accepted that is not stored, and a restarted worker goes on where it was."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.inline import InlineExecutor
from worker.config import Config
from worker.core.jobs import Result
from worker.protocol import osc
from worker.protocol.messages import Accepted, Failed, GetStatus, Hello, Job, Ready, Replay, Report, Set, Status, Trigger, Welcome
from worker.service.loop import Service
from worker.storage import commit_log


class Wire:
    """A socket that says hello and collects what comes."""

    def __init__(self, address: tuple[str, int], *, name: str = "test", local_port: int = 0) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", local_port))
        self.socket.settimeout(10)
        self.address = address
        self.send(Hello(name, 0, 0))
        self.welcome = self.wait_for(Welcome)

    def send(self, *commands) -> None:
        for command in commands:
            self.socket.sendto(osc.encode(command), self.address)

    def wait_for(self, kind, **fields) -> Report:
        while True:
            for report in osc.decode_reports(self.socket.recv(65_535)):
                if isinstance(report, kind) and all(getattr(report, name) == value for name, value in fields.items()):
                    return report

    def reports_until(self, kind) -> list[Report]:
        found: list[Report] = []
        while not (found and isinstance(found[-1], kind)):
            found += osc.decode_reports(self.socket.recv(65_535))
        return found


@contextlib.contextmanager
def running(tmp_path, ran: list[str], port: int = 0, executor: InlineExecutor | None = None) -> Iterator[Service]:
    def run_task(task, _progress):
        ran.append(task.operation)
        return Result()

    config = Config(port=port, text_port=1, number_port=1, workers=1, state=tmp_path)
    service = Service(config, executor or InlineExecutor(run_task))
    thread = threading.Thread(target=service.run)
    thread.start()
    try:
        yield service
    finally:
        service.stop("the test is over", at_once=True)
        thread.join(10)
        assert not thread.is_alive()


@pytest.fixture
def full_disk(monkeypatch):
    """Fills the disk: it takes small commits only."""
    write = commit_log._write_all

    def full(file: int, data: bytes) -> None:
        if len(data) > 10_000:
            os.write(file, data[:10_000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(file, data)

    return lambda: monkeypatch.setattr(commit_log, "_write_all", full)


def test_a_job_that_cannot_be_stored_is_not_accepted(tmp_path, full_disk):
    """A full disk: the job is refused as 507, not accepted and not run, and the worker goes on as soon as there is room."""
    ran: list[str] = []
    with running(tmp_path, ran) as service:
        wire = Wire(service.address)
        full_disk()
        wire.send(Job("big", "write_text", (("output", "a.txt"), ("text", "x" * 30_000))))
        reports = wire.reports_until(Failed)
        assert not any(isinstance(report, Accepted) for report in reports)
        failed = reports[-1]
        assert (failed.id, failed.code, failed.seq) == ("big", 507, 0)
        assert "--state" in failed.hint
        assert "write_text" not in ran
        wire.send(Job("small", "noop"))
        assert wire.wait_for(Ready, id="small").seq == 1
        wire.socket.close()


def test_ids_numbers_and_presets_survive_a_restart(tmp_path):
    """After a restart an ended job is known, its final can be replayed, numbers go on without a gap, and presets are there."""
    ran: list[str] = []
    with running(tmp_path, ran) as service:
        port = service.address[1]
        wire = Wire(service.address)
        wire.send(Set("go", "operation", "noop"), Job("a", "noop"), Job("b", "noop"))
        first = wire.wait_for(Ready, id="b")
        local_port = wire.socket.getsockname()[1]
        wire.socket.close()
    ran_before = ran.count("noop")
    with running(tmp_path, ran, port) as service:
        wire = Wire(service.address, local_port=local_port)
        assert wire.welcome.newest_seq == first.seq == 2
        assert wire.welcome.boot != first.boot
        wire.send(Job("b", "noop"))
        assert wire.wait_for(Accepted, id="b").duplicate == 1
        assert wire.wait_for(Ready, id="b") == first
        wire.send(Job("b", "noop", (("priority", 0),)))
        assert wire.wait_for(Failed, id="b").code == 409
        wire.send(Replay(1))
        assert [wire.wait_for(Ready, seq=seq).id for seq in (1, 2)] == ["a", "b"]
        assert ran.count("noop") == ran_before
        wire.send(Trigger("go", 1.0))
        assert wire.wait_for(Ready, seq=3).operation == "noop"
        wire.send(GetStatus())
        assert wire.wait_for(Status, word="Ready").boot == wire.welcome.boot
        wire.socket.close()


class GateExecutor(InlineExecutor):
    """A double in front of which the loop stands still while `gate` is closed, so that packets pile up for one round."""

    def __init__(self) -> None:
        super().__init__(lambda _task, _progress: Result())
        self.gate = threading.Event()
        self.gate.set()
        self.reached = threading.Event()

    def execute(self, task) -> None:
        self.reached.set()
        assert self.gate.wait(10)
        super().execute(task)


def test_what_cannot_be_stored_takes_nobody_elses_answer(tmp_path, full_disk):
    """A's new job `a` cannot be stored in the round in which B repeats its own job `a`: A is refused, and B gets its answer."""
    executor = GateExecutor()
    with running(tmp_path, [], executor=executor) as service:
        one, two = Wire(service.address, name="one"), Wire(service.address, name="two")
        two.send(Job("a", "noop"))
        first = two.wait_for(Ready, id="a")
        executor.gate.clear()
        executor.reached.clear()
        one.send(Job("hold", "noop"))
        assert executor.reached.wait(10)
        full_disk()
        one.send(Job("a", "write_text", (("output", "a.txt"), ("text", "x" * 30_000))))
        two.send(Job("a", "noop"))
        executor.gate.set()
        assert one.wait_for(Failed, id="a").code == 507
        assert two.wait_for(Accepted, id="a").duplicate == 1
        assert two.wait_for(Ready, id="a") == first
        one.socket.close()
        two.socket.close()
