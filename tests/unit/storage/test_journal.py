"""What an earlier run left is there again, and a file that cannot be used is never a reason not to start."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from worker.config import Limits
from worker.core.events import KeptJob, StoreAttempt, StoreFinal, StoreJob, StorePreset
from worker.protocol.messages import Failed, Ready
from worker.storage.journal import Journal, JournalError

CONTENT = b'["noop",{},{}]'


def reopened(journal: Journal, limits: Limits | None = None) -> Journal:
    journal.close()
    return Journal(journal.path, "process", limits or Limits())


@pytest.fixture
def journal(tmp_path: Path):
    opened = Journal(tmp_path / "state" / "9460.sqlite3", "process", Limits())
    yield opened
    opened.close()


def ready(job_id: str, seq: int) -> Ready:
    return Ready(job_id, seq, 1, 2, 3, 4, "noop")


def test_boot_number_rises_with_each_start(journal):
    """No two starts have the same boot number."""
    boots = [journal.boot]
    for _ in range(3):
        journal = reopened(journal)
        boots.append(journal.boot)
    journal.close()
    assert boots == [1, 2, 3, 4]


def test_unfinished_and_ended_jobs_come_back(journal):
    """A job comes back with its content, its attempts and its final, ended ones first."""
    failed = Failed("b", 1, 1, 404, "file", "There is no file ä.png.", "hint")
    journal.commit([StoreJob("td", "a", CONTENT), StoreJob("td", "b", CONTENT), StoreAttempt("td", "a", 2)])
    journal.commit([StoreFinal("td", "b", failed)])
    journal = reopened(journal)
    assert journal.kept().jobs == (KeptJob("td", "b", CONTENT, 0, failed), KeptJob("td", "a", CONTENT, 2, None))
    journal.close()


def test_jobs_come_back_in_the_order_of_their_acceptance(journal):
    """Unfinished jobs wait in the order in which they were accepted."""
    journal.commit([StoreJob("td", name, CONTENT) for name in ("c", "a", "b")])
    assert [job.job_id for job in journal.kept().jobs] == ["c", "a", "b"]


def test_newest_seq_outlives_the_jobs_it_belonged_to(tmp_path):
    """A client's numbers go on without a gap, even when all its jobs are forgotten."""
    limits = Limits(remembered_jobs=1)
    journal = Journal(tmp_path / "j.sqlite3", "process", limits)
    for seq in (1, 2, 3):
        journal.commit([StoreJob("td", f"a{seq}", CONTENT), StoreFinal("td", f"a{seq}", ready(f"a{seq}", seq))])
    journal.commit([StoreJob("other", "x", CONTENT), StoreFinal("other", "x", ready("x", 1))])
    for _ in range(2):
        journal = reopened(journal, limits)
    assert [job.job_id for job in journal.kept().jobs] == ["x"]
    assert dict(journal.kept().newest_seqs) == {"td": 3, "other": 1}
    journal.close()


def test_a_job_that_could_not_be_kept_has_used_its_number(journal):
    """Its final was sent, so that number is not given again after a restart."""
    journal.commit([StoreJob("td", "a", CONTENT), StoreFinal("td", "a", ready("a", 1))])
    journal.commit([StoreFinal("td", "lost", ready("lost", 2))])
    journal = reopened(journal)
    assert [job.job_id for job in journal.kept().jobs] == ["a"]
    assert dict(journal.kept().newest_seqs) == {"td": 2}
    journal.close()


def test_only_the_newest_ended_jobs_are_kept_but_all_unfinished_ones(tmp_path):
    """The limit forgets ended jobs, the oldest first, and never an unfinished one."""
    limits = Limits(remembered_jobs=2)
    journal = Journal(tmp_path / "j.sqlite3", "process", limits)
    journal.commit([StoreJob("td", "open", CONTENT)])
    for seq in range(1, 6):
        journal.commit([StoreJob("td", f"a{seq}", CONTENT), StoreFinal("td", f"a{seq}", ready(f"a{seq}", seq))])
    journal = reopened(journal, limits)
    assert [job.job_id for job in journal.kept().jobs] == ["a4", "a5", "open"]
    journal.close()


def test_jobs_older_than_the_limit_are_forgotten(journal, monkeypatch):
    """After `remembered_hours` an ended job is not known any more."""
    journal.commit([StoreJob("td", "a", CONTENT), StoreFinal("td", "a", ready("a", 1))])
    later = time.time() + 25 * 3600
    monkeypatch.setattr(time, "time", lambda: later)
    journal = reopened(journal)
    assert journal.kept().jobs == ()
    journal.close()


def test_presets_come_back_with_their_types(journal):
    """A preset's values keep their types, and the newest value of a key counts."""
    journal.commit([StorePreset("p", "operation", "noop"), StorePreset("p", "x", 1), StorePreset("p", "x", 1.5)])
    assert journal.kept().presets == (StorePreset("p", "operation", "noop"), StorePreset("p", "x", 1.5))


def test_a_commit_that_fails_writes_nothing(journal):
    """All stores of a commit are written, or none."""
    with pytest.raises(JournalError):
        journal.commit([StoreJob("td", "a", CONTENT), StorePreset("p", "x", None), StoreJob("td", None, CONTENT)])  # type: ignore[arg-type]
    assert journal.kept().jobs == ()
    journal.commit([StoreJob("td", "b", CONTENT)])
    assert [job.job_id for job in journal.kept().jobs] == ["b"]


@pytest.mark.parametrize("damage", [b"this is no database at all" * 100, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_file_is_set_aside(tmp_path, damage, caplog):
    """A damaged file is renamed, told about, and left as it was."""
    path = tmp_path / "9460.sqlite3"
    path.write_bytes(damage)
    journal = Journal(path, "process", Limits())
    assert journal.kept().jobs == ()
    (aside,) = tmp_path.glob("9460.sqlite3.damaged-*")
    assert aside.read_bytes() == damage
    assert aside.name in caplog.text
    journal.close()


def test_a_foreign_database_is_set_aside(tmp_path, caplog):
    """Another program's database is renamed and stays whole."""
    path = tmp_path / "9460.sqlite3"
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE theirs (x)")
        foreign.execute("INSERT INTO theirs VALUES (42)")
    foreign.close()
    Journal(path, "process", Limits()).close()
    (aside,) = tmp_path.glob("9460.sqlite3.damaged-*")
    with sqlite3.connect(aside) as foreign:
        assert foreign.execute("SELECT x FROM theirs").fetchall() == [(42,)]
    foreign.close()
    assert "another program" in caplog.text


def test_a_database_of_a_later_version_is_set_aside(journal):
    """A format that this version does not know is not written into."""
    journal.close()
    with sqlite3.connect(journal.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    Journal(journal.path, "process", Limits()).close()
    assert list(journal.path.parent.glob("*.damaged-*"))


def test_two_workers_do_not_share_a_journal(journal):
    """A journal that another worker has open cannot be opened."""
    with pytest.raises(JournalError, match="locked"):
        Journal(journal.path, "process", Limits())


def test_a_place_where_nothing_can_be_made_is_told(tmp_path):
    """A state directory that cannot be made is one sentence."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="file"):
        Journal(tmp_path / "file" / "j.sqlite3", "process", Limits())
