"""A worker that was asked to keep jobs keeps them, or does not start, and says why in one sentence."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.wire.test_journal import Wire, running
from worker.config import Config, Limits
from worker.core.events import Store, StoreJob
from worker.protocol.messages import Accepted, Failed, GetStatus, Health, Job, Ping, Pong, Ready, Status
from worker.service.serve import serve
from worker.storage.journal import Journal

FORMAT_1 = Path(__file__).parents[1] / "data" / "journal-1.sqlite3"


def newer_format(path: Path) -> str:
    Journal(path, "process", Limits()).close()
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    return "has format 99"


def file_in_the_way(path: Path) -> str:
    path.parent.write_text("in the way")
    return "File exists"


def folder_in_the_way(path: Path) -> str:
    path.mkdir(parents=True)
    return "cannot be used"


@pytest.mark.parametrize("fault", [newer_format, file_in_the_way, folder_in_the_way])
def test_an_unusable_state_folder_stops_the_start(tmp_path, fault):
    """No start, exit code 1, one sentence with the remedy, and the port is free again."""
    port = free_port()
    reason = fault(tmp_path / "state" / f"{port}.sqlite3")
    said: list[str] = []
    assert serve(Config(port=port, roots=(tmp_path,), state=tmp_path / "state"), said.append) == 1
    (sentence,) = said
    assert reason in sentence
    assert "--state" in sentence
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", port))


def test_a_journal_that_is_in_use_stops_the_start(tmp_path):
    """Two workers with one journal would run jobs twice."""
    port = free_port()
    holder = Journal(tmp_path / f"{port}.sqlite3", "process", Limits())
    said: list[str] = []
    assert serve(Config(port=port, roots=(tmp_path,), state=tmp_path), said.append) == 1
    assert said == [f"The journal {holder.path} is locked: another worker uses it. Stop that one, or choose another folder with --state."]
    holder.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows does not delete what is open")
@pytest.mark.parametrize("replaced", [False, True])
def test_the_folder_goes_while_the_worker_runs(tmp_path, replaced):
    """Noticed without a job: the status says so. New jobs end as 507 and do not run; what was accepted before is worked off."""
    state = tmp_path / "state"
    ran: list[str] = []
    with running(state, ran) as service:
        wire = Wire(service.address)
        wire.send(Job("before", "noop"))
        wire.wait_for(Ready, id="before")
        shutil.rmtree(state)
        if replaced:
            state.mkdir()
        assert wire.wait_for(Status, word="NotStoring")
        wire.send(Job("after", "write_text", (("output", "a.txt"), ("text", "x"))))
        failed = wire.wait_for(Failed, id="after")
        assert (failed.code, failed.seq) == (507, 0)
        assert str(state) in failed.message
        wire.send(GetStatus())
        assert wire.wait_for(Status).word == "NotStoring"
        assert "write_text" not in ran
        wire.socket.close()


def test_a_disk_that_takes_seconds_stops_neither_heartbeat_nor_answers(tmp_path, monkeypatch):
    """While a commit takes its time, pings are answered and the heartbeat goes on; `accepted` comes when the job is stored."""
    slow, go_on = threading.Event(), threading.Event()
    commit = Journal.commit

    def slow_commit(journal: Journal, records: Sequence[Store]) -> None:
        if any(isinstance(record, StoreJob) and record.job_id == "slow" for record in records):
            slow.set()
            assert go_on.wait(30)
        commit(journal, records)

    monkeypatch.setattr(Journal, "commit", slow_commit)
    with running(tmp_path, []) as service:
        wire = Wire(service.address)
        wire.send(Job("slow", "noop"))
        assert slow.wait(30)
        beats = [wire.wait_for(Health).beat for _ in range(3)]
        assert len(set(beats)) == 3
        wire.send(Ping(7))
        assert isinstance(wire.reports_until(Pong)[-1], Pong)
        go_on.set()
        reports = wire.reports_until(Ready)
        assert [type(report) for report in reports if isinstance(report, Accepted | Ready)] == [Accepted, Ready]
        wire.socket.close()


def test_a_journal_of_format_1_goes_on(tmp_path):
    """The first upgrade loses nothing: what may be repeated runs, what may not ends as 502, and numbers go on."""
    port = free_port()
    path = tmp_path / f"{port}.sqlite3"
    shutil.copy(FORMAT_1, path)
    ran: list[str] = []
    with running(tmp_path, ran, port) as service:
        wire = Wire(service.address)
        wire.send(Job("last", "noop"))
        wire.wait_for(Ready, id="last")
        wire.socket.close()
    assert (ran.count("write_text"), ran.count("draw_circles")) == (1, 1)
    journal = Journal(path, "process", Limits())
    finals = {job.job_id: job.final for job in journal.kept().jobs}
    journal.close()
    assert None not in finals.values()
    assert {name: final.code for name, final in finals.items() if isinstance(final, Failed)} == {"failed": 404, "append": 502}
    assert sorted(final.seq for name, final in finals.items() if name in ("ended", "failed", "begun", "append", "after")) == [1, 2, 3, 4, 5]
    assert finals["waits"].seq == 2
