"""The night log of a worker that runs: into the log and into a file; its counts survive a restart, and a kill."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from tests.wire.running import HoldingExecutor, Peer, running
from worker.config import Config, LogSettings
from worker.core.events import JobEnded
from worker.protocol.messages import Job
from worker.service import nights
from worker.service.nights import NightLog, file_of, night_log


class Clock:
    def __init__(self, text):
        self.now = datetime.fromisoformat(text)

    def __call__(self):
        return self.now


def job(name="j", code=200):
    return JobEnded("127.0.0.1:9461", "td", name, "noop", "ready" if code == 200 else "file", code, 0, 10, 1, 1)


def test_where_it_is_written(tmp_path):
    """Beside the log; without a log file beside the journal; without both into the log only."""
    with_log = Config(log=LogSettings(file=tmp_path / "worker.log"), state=tmp_path / "state")
    assert file_of(with_log, 9460) == tmp_path / "worker-nights.txt"
    assert file_of(Config(state=tmp_path), 9460) == tmp_path / "9460-nights.txt"
    assert file_of(Config(), 9460) is None
    assert night_log(Config(), 9460) is None


def test_a_day(tmp_path, caplog):
    """A summary in the log and in the file, with the room on the disk; checks of its health are not counted."""
    caplog.set_level(logging.INFO)
    clock = Clock("2026-11-28 12:00")
    night = NightLog(360, tmp_path / "n.txt", None, (tmp_path, tmp_path, Path("/nowhere")), clock)
    night.ended(job("a"))
    night.ended(job("b", 404))
    night.ended(job("health-1234"))
    night.tick(0.0, waiting=7)
    clock.now += timedelta(hours=18)
    night.tick(0.5, waiting=0)  # it looks at the clock once a second
    night.tick(1.5, waiting=0)
    night.close()
    lines = (tmp_path / "n.txt").read_text().splitlines()
    assert lines[:5] == [
        "Night log of 2026-11-28 12:00 to 2026-11-29 06:00.",
        "Jobs: 2, of them 1 ready and 1 failed.",
        "Failed: 1 file 404.",
        "Slowest: noop, job 'a', 0.0 s. All jobs together ran for 0.0 s.",
        "Most that waited at a time: 7.",
    ]
    disks = [line for line in lines if line.startswith("Disk of")]
    assert len(disks) == 2
    assert " GB are free." in disks[0]
    assert disks[1] == "Disk of /nowhere: No such file or directory."
    assert " ".join(lines[:-1]) in caplog.text


def test_a_restart_and_a_kill(tmp_path):
    """After an end in order the counts go on; after a kill those of the last minute are missing, and it is said that it was killed."""
    kept, clock = tmp_path / "9460.day.json", Clock("2026-11-28 12:00")
    first = NightLog(360, None, kept, (), clock)
    first.ended(job("a"))
    first.tick(0.0, 0)
    first.close()
    second = NightLog(360, None, kept, (), clock)
    second.ended(job("b"))
    second.tick(0.0, 0)
    second.ended(job("c"))  # within the same minute
    second._queue.put(None)  # what was asked for is written, and then it is killed
    second._thread.join()
    third = NightLog(360, tmp_path / "n.txt", kept, (), clock)
    clock.now += timedelta(days=1)
    third.tick(0.0, 0)
    third.close()
    text = (tmp_path / "n.txt").read_text()
    assert "Jobs: 2, of them 2 ready" in text
    assert "Starts of the worker: 3, of them 1 after an end that nobody wanted." in text


def test_a_file_that_is_damaged(tmp_path):
    """The day begins anew; a worker never fails to start because of it."""
    for content in (b"", b"[]", b"{", b'{"day": 5}', b"\xff" * 10):
        (tmp_path / "k.json").write_bytes(content)
        NightLog(360, None, tmp_path / "k.json", ()).close()


def test_a_folder_that_is_gone(tmp_path, caplog):
    """A warning, and the next day it is tried again."""
    clock = Clock("2026-11-28 12:00")
    night = NightLog(360, tmp_path / "gone" / "n.txt", tmp_path / "gone" / "k.json", (), clock)
    for day in range(2):
        clock.now += timedelta(days=1)
        night.tick(100.0 * day, 0)
    night.close()
    assert caplog.text.count("the night log could not be written") >= 2


def test_the_file_stays_small(tmp_path, monkeypatch):
    """An old one makes room."""
    monkeypatch.setattr(nights, "MAX_BYTES", 100)
    clock = Clock("2026-11-28 12:00")
    night = NightLog(360, tmp_path / "n.txt", None, (), clock)
    for day in range(10):
        clock.now += timedelta(days=1)
        night.tick(10.0 * day, 0)
    night.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["n.txt", "n.txt.1"]
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500


def test_a_worker_has_one(tmp_path, monkeypatch):
    """A job of a real service, over UDP, is in the summary of the day."""
    clock = Clock("2026-11-28 12:00")
    monkeypatch.setattr(nights.NightLog.__init__, "__defaults__", (clock,))
    monkeypatch.setattr(nights, "LOOK_EVERY_S", 0.0)
    executor, peer = HoldingExecutor(), Peer()
    log = LogSettings(file=tmp_path / "worker.log", night=360)
    try:
        with running(executor, peer, log=log, roots=(tmp_path,)):
            peer.send(Job("a", "noop", ()))
            executor.finish(executor.next_task())
            peer.until(lambda report: getattr(report, "operation", "") == "noop")
            clock.now += timedelta(days=1)
    finally:
        peer.close()
    text = (tmp_path / "worker-nights.txt").read_text()
    assert "Jobs: 1, of them 1 ready and 0 failed." in text
    assert f"Disk of {tmp_path}: " in text
    assert replace(Config(), log=log).log.night == 360
