"""Commits happen in a thread of their own, in order, and each is answered once; what cannot be written is said, and tried again."""

from __future__ import annotations

import os
import queue
import shutil
import threading
from pathlib import Path

import pytest

from worker.config import Limits
from worker.core.events import Event, NotStored, StoreAttempt, Stored, StoreFinal, StoreJob, StorePreset, StoringChanged
from worker.protocol.messages import Ready
from worker.storage import writer as module
from worker.storage.journal import Journal, JournalError
from worker.storage.writer import Writer

CONTENT = b'["noop",{},{}]'
TD = "10.0.0.1:9461"


class Desk:
    """A writer, and everything that it delivers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.journal = Journal(path, "process", Limits())
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.writer = Writer(self.journal, self.events.put)

    def next(self) -> Event:
        return self.events.get(timeout=20)

    def kept(self) -> list[str]:
        """The ids in the file that stands under the journal's name."""
        journal = Journal(self.path, "process", Limits())
        try:
            return [job.job_id for job in journal.kept().jobs]
        finally:
            journal.close()


@pytest.fixture
def desk(tmp_path):
    made = Desk(tmp_path / "state" / "9460.sqlite3")
    yield made
    made.writer.close()


def test_a_commit_is_answered_when_it_is_in_the_file(desk):
    """Each commit is answered with its number, and what it stored is there after a crash at that moment."""
    desk.writer.start()
    for number in (1, 2, 3):
        desk.writer.write([StoreJob(TD, f"a{number}", CONTENT)], number)
        assert desk.next() == Stored(number)
        crashed = desk.path.parent.parent / f"crashed-{number}"
        shutil.copytree(desk.path.parent, crashed)
        journal = Journal(crashed / desk.path.name, "process", Limits())
        assert [job.job_id for job in journal.kept().jobs] == [f"a{n}" for n in range(1, number + 1)]
        journal.close()


def test_what_waits_is_one_commit(desk, monkeypatch):
    """Commits that wait while the disk is slow become one, which is answered by the highest number."""
    commits: list[int] = []
    begun, go_on = threading.Event(), threading.Event()

    def slow(records: list[object], commit=desk.journal.commit) -> None:
        commits.append(len(records))
        begun.set()
        assert go_on.wait(20)
        commit(records)

    monkeypatch.setattr(desk.journal, "commit", slow)
    desk.writer.start()
    desk.writer.write([StoreJob(TD, "first", CONTENT)], 1)
    assert begun.wait(20)
    for number in range(2, 6):
        desk.writer.write([StoreJob(TD, f"a{number}", CONTENT), StoreAttempt(TD, f"a{number}", 1)], number)
    go_on.set()
    assert [desk.next(), desk.next()] == [Stored(1), Stored(5)]
    assert commits == [1, 8]


def test_a_commit_that_fails_is_answered_and_the_trouble_told_once(desk, monkeypatch, caplog):
    """A full disk: each commit is answered, the trouble is told once, and so is its end, without anybody storing anything."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    desk.journal._database.execute(f"PRAGMA max_page_count = {desk.journal._database.execute('PRAGMA page_count').fetchone()[0]}")
    desk.writer.start()
    big = StoreJob(TD, "big", b'["noop",{},{}]' + b" " * 100_000)
    desk.writer.write([big], 1)
    assert desk.next() == StoringChanged("database or disk is full")
    assert desk.next() == NotStored(1, "database or disk is full")
    assert desk.next() == StoringChanged("")  # a write of no consequence finds room
    desk.writer.write([big], 2)
    assert [type(desk.next()) for _ in range(2)] == [StoringChanged, NotStored]
    assert "refused with 507" in caplog.text


def test_an_error_of_ours_does_not_end_the_thread(desk, monkeypatch):
    """Whatever goes wrong, the writer answers and goes on."""
    commit = desk.journal.commit
    monkeypatch.setattr(desk.journal, "commit", lambda _records: 1 / 0)
    desk.writer.start()
    desk.writer.write([StoreJob(TD, "a", CONTENT)], 1)
    assert [type(desk.next()) for _ in range(2)] == [StoringChanged, NotStored]
    monkeypatch.setattr(desk.journal, "commit", commit)
    desk.writer.write([StoreJob(TD, "b", CONTENT)], 2)
    assert [event for event in (desk.next(), desk.next()) if isinstance(event, Stored)] == [Stored(2)]


def test_close_writes_what_waits(desk):
    """What was given before the end is in the file after it."""
    desk.writer.start()
    for number in range(1, 500):
        desk.writer.write([StoreJob(TD, f"a{number}", CONTENT)], number)
    desk.writer.close()
    assert len(desk.kept()) == 499


# ------------------------------------------------------------------------------------------------ files that are not there any more

needs_unlink = pytest.mark.skipif(os.name == "nt", reason="Windows does not delete what is open")


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def replace(folder: Path) -> None:
    rename(folder)
    folder.mkdir()


@needs_unlink
@pytest.mark.parametrize("gone", [shutil.rmtree, rename, replace])
def test_a_folder_that_has_gone_is_noticed_without_a_commit(desk, gone):
    """Deleted, moved or replaced: it is told although nobody stores anything, and no commit succeeds."""
    desk.writer.start()
    gone(desk.path.parent)
    trouble = desk.next()
    assert isinstance(trouble, StoringChanged)
    assert str(desk.path.parent) in trouble.reason
    desk.writer.write([StoreJob(TD, "a", CONTENT)], 1)
    assert desk.next() == NotStored(1, trouble.reason)


@needs_unlink
def test_a_folder_that_is_back_is_good_again(desk):
    """A disk that was away for a moment: the same files are there again."""
    desk.writer.start()
    folder = desk.path.parent
    folder.rename(folder.with_name("elsewhere"))
    assert isinstance(desk.next(), StoringChanged)
    folder.with_name("elsewhere").rename(folder)
    assert desk.next() == StoringChanged("")
    desk.writer.write([StoreJob(TD, "a", CONTENT)], 1)
    assert desk.next() == Stored(1)
    desk.writer.close()
    assert desk.kept() == ["a"]


@needs_unlink
@pytest.mark.parametrize("ending", ["", "-wal"])
def test_files_that_were_deleted_are_written_anew(desk, ending, caplog):
    """Somebody has cleaned the folder: everything that was stored is in new files, and storing goes on."""
    final = Ready("a", 1, 1, 2, 3, 4, "noop")
    desk.journal.commit([StoreJob(TD, "a", CONTENT), StoreFinal(TD, "a", final), StorePreset("p", "x", 1)])
    desk.path.with_name(desk.path.name + ending).unlink()
    desk.writer.start()
    desk.writer.write([StoreJob(TD, "b", CONTENT)], 1)
    assert desk.next() == Stored(1)
    crashed = desk.path.parent.parent / "crashed"
    shutil.copytree(desk.path.parent, crashed)
    journal = Journal(crashed / desk.path.name, "process", Limits())
    assert [(job.job_id, job.final) for job in journal.kept().jobs] == [("a", final), ("b", None)]
    assert journal.kept().presets == (StorePreset("p", "x", 1),)
    journal.close()
    assert "written anew" in caplog.text
    assert sorted(path.name for path in desk.path.parent.iterdir()) == ["9460.sqlite3", "9460.sqlite3-wal"]


@needs_unlink
def test_a_file_of_another_in_its_place_is_left_alone(desk):
    """What stands under the journal's name and is not the journal is not touched."""
    desk.path.unlink()
    desk.path.write_text("theirs")
    with pytest.raises(JournalError, match="replaced by another"):
        desk.journal.check()
    assert desk.path.read_text() == "theirs"
