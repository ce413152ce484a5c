"""A worker that was asked to keep jobs keeps them, or does not start, and says why in one sentence."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from pathlib import Path

import pytest

from tests.reliability.running import free_port
from tests.wire.test_journal import Wire, running
from worker.config import Config, Limits
from worker.protocol.messages import Failed, Job, Ready
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
