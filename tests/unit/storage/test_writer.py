"""Commits happen in order, here or in another thread, and each is answered once; what cannot be written is said, and tried again."""

from __future__ import annotations

import errno
import os
import queue
import shutil
import threading
import time
from pathlib import Path

import pytest

from worker.config import Limits
from worker.core.events import Event, NotStored, StoreAttempt, Stored, StoreFinal, StoreJob, StorePreset, StoringChanged, Woke
from worker.protocol.messages import Ready
from worker.storage import journal as journal_module
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


def too_large(monkeypatch, size: int) -> None:
    """A disk that is full: of a larger commit it takes a part."""
    write = os.write

    def full(file: int, data: bytes) -> int:
        if len(data) > size:
            return write(file, data[:size])
        if isinstance(data, memoryview):  # the rest of it
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(file, data)

    monkeypatch.setattr(os, "write", full)


def test_a_commit_that_fails_is_answered_and_the_trouble_told_once(desk, monkeypatch, caplog):
    """A full disk: each commit is answered, the trouble is told once, and so is its end, without anybody storing anything."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    too_large(monkeypatch, 60_000)
    desk.writer.start()
    big = StoreJob(TD, "big", b'["noop",{},{}]' + b" " * 100_000)
    desk.writer.write([big], 1)
    assert desk.next() == StoringChanged("No space left on device")
    assert desk.next() == NotStored(1, "No space left on device")
    assert desk.next() == StoringChanged("")  # a write of no consequence finds room
    desk.writer.write([big], 2)
    assert [type(desk.next()) for _ in range(2)] == [StoringChanged, NotStored]
    assert "refused with 507" in caplog.text


def test_a_database_that_takes_nothing_is_told(desk, monkeypatch):
    """Commits are kept in front of it, but not without an end: nothing more is stored until it takes them. Then none is missing."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    database = desk.journal._database
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    desk.writer.start()
    big = b'["noop",{},{}]' + b" " * 100_000
    desk.writer.write([StoreJob(TD, "a", big)], 1)
    assert desk.next() == Stored(1)
    assert desk.next() == StoringChanged("database or disk is full")
    desk.writer.write([StoreJob(TD, "b", CONTENT)], 2)
    assert desk.next() == NotStored(2, "database or disk is full")
    with desk.writer._using:
        database.execute("PRAGMA max_page_count = 1000000")
    assert desk.next() == StoringChanged("")
    desk.writer.write([StoreJob(TD, "c", CONTENT)], 3)
    assert desk.next() == Stored(3)
    desk.writer.close()
    assert desk.kept() == ["a", "c"]


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
@pytest.mark.parametrize("ending", ["", "-wal", "-commits-1", "-commits-2"])
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
    assert sorted(path.name for path in desk.path.parent.iterdir()) == [
        "9460.sqlite3",
        "9460.sqlite3-commits-1",
        "9460.sqlite3-commits-2",
        "9460.sqlite3-wal",
    ]


@needs_unlink
def test_a_file_of_another_in_its_place_is_left_alone(desk):
    """What stands under the journal's name and is not the journal is not touched."""
    desk.path.unlink()
    desk.path.write_text("theirs")
    with pytest.raises(JournalError, match="replaced by another"):
        desk.journal.check()
    assert desk.path.read_text() == "theirs"


# ------------------------------------------------------------------------------------------------------ commits of the loop's own


class Loop:
    """The thread that leads the loop, and how often another one has stood in for it."""

    def __init__(self, path: Path, durability: str = "process") -> None:
        self.journal = Journal(path, durability, Limits())
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.writer = Writer(self.journal, self.events.put, self.stand_in)
        self.stood_in = threading.Event()
        self.committing: list[int] = []
        commit = self.journal.commit

        def noted(records: list[object]) -> None:
            self.committing.append(threading.get_ident())
            commit(records)

        self.journal.commit = noted

    def stand_in(self, is_wanted) -> None:
        self.stood_in.set()
        while is_wanted():
            time.sleep(0.001)

    def write(self, number: int) -> Stored | None:
        return self.writer.write([StoreJob(TD, f"a{number}", CONTENT)], number)


@pytest.fixture
def loop(tmp_path, monkeypatch):
    """Nothing in it depends on the time: no commit is slow, and the other thread does nothing unasked."""
    monkeypatch.setattr(module, "SLOW_S", 3600.0)
    monkeypatch.setattr(module, "CHECK_EVERY_S", 3600.0)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.0)
    made = Loop(tmp_path / "9460.sqlite3")
    made.writer.start()
    yield made
    made.writer.close()


def test_a_fast_commit_is_done_at_once(loop):
    """While the disk is fast, no thread is asked: the answer is what `write` returns."""
    assert [loop.write(number) for number in (1, 2, 3)] == [Stored(1), Stored(2), Stored(3)]
    assert set(loop.committing) == {threading.get_ident()}
    loop.writer.close()
    assert loop.events.empty()


def test_power_waits_for_the_disk_elsewhere(tmp_path):
    """With durability "power" each commit waits for the disk, so none is the loop's own."""
    loop = Loop(tmp_path / "9460.sqlite3", "power")
    loop.writer.start()
    assert loop.write(1) is None
    assert loop.events.get(timeout=20) == Stored(1)
    assert threading.get_ident() not in loop.committing
    loop.writer.close()


def test_a_slow_commit_leaves_the_next_ones_to_the_other_thread(loop, monkeypatch):
    """After one that took long, the loop commits nothing itself until a quiet time has passed; in order all the same."""
    monkeypatch.setattr(module, "SLOW_S", -1.0)  # each is slow
    monkeypatch.setattr(module, "QUIET_S", 3600.0)
    monkeypatch.setattr(module, "QUIET_MAX_S", 3600.0)
    assert loop.write(1) == Stored(1)
    assert [loop.write(2), loop.write(3)] == [None, None]
    answers = [loop.events.get(timeout=20)]
    while answers[-1] != Stored(3):
        answers.append(loop.events.get(timeout=20))
    loop.writer.heard(3)
    assert loop.write(4) is None  # everything is answered, and the quiet time goes on
    loop.writer._direct_from = 0.0
    assert loop.events.get(timeout=20) == Stored(4)
    assert loop.write(5) is None  # the loop has not heard of 4 yet
    assert loop.events.get(timeout=20) == Stored(5)
    loop.writer.heard(5)
    loop.writer._direct_from = 0.0
    with loop.writer._using:  # the other thread has done with the journal
        pass
    assert loop.write(6) == Stored(6)


def test_another_thread_stands_in_for_a_stuck_commit(tmp_path, monkeypatch):
    """A disk that stops in the middle of a commit: the loop goes on in the other thread, and comes back when the commit returns."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    loop = Loop(tmp_path / "9460.sqlite3")
    commit = loop.journal.commit

    def stuck(records: list[object]) -> None:
        assert loop.stood_in.wait(20)
        commit(records)

    loop.journal.commit = stuck
    loop.writer.start()
    assert loop.write(1) == Stored(1)
    assert loop.events.get(timeout=20) == Woke()  # the one that stands in is woken
    assert loop.writer._lead.locked()
    loop.writer.close()


def test_the_one_that_stands_in_commits_nothing_itself(tmp_path, monkeypatch):
    """The stuck commit has returned, and the other thread is still in its last round: what it stores there waits until it is back.

    It committed that itself once, gave the lead away for it, and waited for the lead for ever; nothing was stored any more.
    """
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    loop = Loop(tmp_path / "9460.sqlite3")
    commit, answers = loop.journal.commit, []

    def stuck(records: list[object]) -> None:
        assert loop.stood_in.wait(20)
        commit(records)

    def until_its_last_round(is_wanted) -> None:
        loop.stand_in(is_wanted)
        answers.append(loop.write(2))

    loop.journal.commit = stuck
    loop.writer._stand_in = until_its_last_round
    loop.writer.start()
    assert loop.write(1) == Stored(1)
    assert [loop.events.get(timeout=20) for _ in range(2)] == [Woke(), Stored(2)]
    assert answers == [None]
    assert loop.write(3) is None  # the loop has not heard yet of the second
    assert loop.events.get(timeout=20) == Stored(3)
    loop.writer.close()


def test_what_the_loop_could_not_write_is_tried_by_the_other_thread(loop, monkeypatch):
    """A commit that fails here is done there, and answered as any other; so is one after which the files are not as they were."""
    commit, failed = loop.journal.commit, []

    def fails_here(records: list[object]) -> None:
        if threading.current_thread() is threading.main_thread() and not failed:
            failed.append(True)
            raise JournalError("disk I/O error")
        commit(records)

    loop.journal.commit = fails_here
    assert loop.write(1) is None
    assert loop.events.get(timeout=20) == Stored(1)
    loop.writer.heard(1)
    shutil.rmtree(loop.journal.path.parent)
    assert loop.write(2) is None
    assert [type(loop.events.get(timeout=20)) for _ in range(2)] == [StoringChanged, NotStored]


def test_the_log_is_brought_into_the_database_elsewhere(tmp_path, monkeypatch):
    """The loop's commits only write; the other thread empties the log as soon as nobody commits."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    loop = Loop(tmp_path / "9460.sqlite3")
    tidied: queue.SimpleQueue[int] = queue.SimpleQueue()
    tidy = loop.journal.tidy

    def noted() -> None:
        tidied.put(threading.get_ident())
        tidy()

    loop.journal.tidy = noted
    loop.writer.start()
    for number in range(1, 101):
        if loop.write(number) is None:  # the other thread has the journal just now
            assert loop.events.get(timeout=20) == Stored(number)
            loop.writer.heard(number)
    assert tidied.get(timeout=20) != threading.get_ident()
    assert loop.journal._database.execute("PRAGMA wal_autocheckpoint").fetchone() == (0,)
    loop.writer.close()


# ---------------------------------------------------------------------------------------------------- commits go on meanwhile


@pytest.fixture
def slow_tidy(loop, monkeypatch):
    """Commits are brought into the database when it is let go on."""
    go_on, tidying, tidy = threading.Event(), threading.Event(), loop.journal.tidy

    def slow() -> None:
        tidying.set()
        assert go_on.wait(20)
        tidy()

    monkeypatch.setattr(loop.journal, "tidy", slow)
    loop.journal._turned_at = float("-inf")  # the next look finds that it is time
    yield go_on, tidying
    go_on.set()


def test_nobody_waits_for_the_database(loop, slow_tidy):
    """While commits are brought into it, the loop commits as before, and all of it survives a crash at that moment."""
    go_on, tidying = slow_tidy
    assert loop.write(1) == Stored(1)
    loop.writer._waiting.put(((), 0))
    assert tidying.wait(20)
    assert [loop.write(number) for number in range(2, 50)] == [Stored(number) for number in range(2, 50)]
    crashed = loop.journal.path.parent / "crashed"
    crashed.mkdir()
    for file in loop.journal.path.parent.glob("9460.sqlite3*"):
        shutil.copy(file, crashed)
    journal = Journal(crashed / loop.journal.path.name, "process", Limits())
    assert [job.job_id for job in journal.kept().jobs] == [f"a{number}" for number in range(1, 50)]
    journal.close()
    go_on.set()
    loop.writer.close()
    assert [path.name for path in loop.journal.path.parent.iterdir() if path.is_file()] == ["9460.sqlite3"]


def test_a_database_that_does_not_keep_up_slows_the_commits(loop, slow_tidy, monkeypatch):
    """What waits in front of it has a limit. Then commits are answered when the database has taken the others."""
    monkeypatch.setattr(journal_module, "_FAR_BEHIND_BYTES", 2000)
    go_on, tidying = slow_tidy
    assert loop.write(1) == Stored(1)
    loop.writer._waiting.put(((), 0))
    assert tidying.wait(20)
    number = 1
    while loop.write(number := number + 1) is not None:
        assert number < 100
    assert loop.events.empty()
    go_on.set()
    assert loop.events.get(timeout=20) == Stored(number)


def test_an_idle_worker_is_looked_at_rarely(tmp_path, monkeypatch):
    """After some looks without a commit between them. The next commit that gets stuck is noticed all the same."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "CHECK_IDLE_EVERY_S", 3600.0)
    monkeypatch.setattr(module, "IDLE_CHECKS", 3)
    loop = Loop(tmp_path / "9460.sqlite3")
    looks, check, commit = [], loop.journal.check, loop.journal.commit

    def noted() -> None:
        looks.append(True)
        check()

    def stuck(records: list[object]) -> None:
        assert loop.stood_in.wait(20)
        commit(records)

    loop.journal.check, loop.journal.commit = noted, stuck
    loop.writer.start()
    until = time.monotonic() + 20
    while not loop.writer._asleep:
        assert time.monotonic() < until
        time.sleep(0.001)
    seen = len(looks)
    assert loop.write(1) == Stored(1)
    loop.writer.close()
    assert seen <= len(looks) <= seen + 2


def test_a_commit_wakes_the_one_that_looks(tmp_path, monkeypatch):
    """So that what it wrote is brought into the database soon, although nobody looked any more."""
    monkeypatch.setattr(module, "CHECK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "CHECK_IDLE_EVERY_S", 3600.0)
    monkeypatch.setattr(module, "IDLE_CHECKS", 3)
    loop = Loop(tmp_path / "9460.sqlite3")
    loop.writer.start()
    until = time.monotonic() + 20
    for number in (1, 2):
        while not loop.writer._asleep:
            assert time.monotonic() < until
            time.sleep(0.001)
        assert loop.write(number) == Stored(number)
        while not loop.journal._log.is_empty:
            assert time.monotonic() < until
            time.sleep(0.001)
    loop.writer.close()
