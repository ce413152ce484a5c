"""What an earlier run left is there again, and a file that cannot be used is never a reason not to start."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import shutil
import sqlite3
import time
from pathlib import Path

import msgspec
import pytest

from worker.config import Limits
from worker.core.events import (
    KeptJob,
    StoreAttempt,
    StoreBegun,
    StoreClient,
    StoreFinal,
    StoreJob,
    StorePeer,
    StorePreset,
    StoreTold,
    StoreUnset,
)
from worker.core.ledger import digest
from worker.protocol.messages import Failed, Ready
from worker.storage import journal as module
from worker.storage import schema
from worker.storage.commit_log import CommitLog, names
from worker.storage.journal import Journal, JournalError, lost_rows

CONTENT = b'["noop",{},{}]'
TD = "10.0.0.1:9461"
OTHER = "10.0.0.2:50100"


@pytest.fixture(autouse=True)
def all_closed(monkeypatch):
    """A database that nobody closes is a warning from Python 3.13 on, in whatever test comes next."""
    opened = []

    class Closed(Journal):
        def __init__(self, *arguments, **named):
            super().__init__(*arguments, **named)
            opened.append(self)

    monkeypatch.setitem(globals(), "Journal", Closed)
    yield
    for journal in opened:
        journal._database.close()


def reopened(journal: Journal, limits: Limits | None = None) -> Journal:
    journal.close()
    return Journal(journal.path, "process", limits or Limits())


class Clocks:
    """The wall clock, and the one that never goes back."""

    wall = 1.7e9
    up = 100.0


@pytest.fixture
def clocks(monkeypatch):
    both = Clocks()
    monkeypatch.setattr(time, "time", lambda: both.wall)
    monkeypatch.setattr(time, "monotonic", lambda: both.up)
    return both


@pytest.fixture
def journal(tmp_path: Path, request):
    if "clocks" in request.fixturenames:
        request.getfixturevalue("clocks")
    opened = Journal(tmp_path / "state" / "9460.sqlite3", "process", Limits())
    yield opened
    opened.close()


def jobs(journal: Journal) -> list[KeptJob]:
    """What was kept, whenever it was accepted."""
    return [msgspec.structs.replace(job, age_s=0.0) for job in journal.kept().jobs]


def ready(job_id: str, seq: int) -> Ready:
    return Ready(job_id, seq, 1, 2, 3, 4, "noop")


def test_no_boot_number_comes_again(journal, monkeypatch):
    """No two starts have the same boot number, even if chance says so; and each is one that a float holds exactly."""
    numbers = iter([4, 4, 2**24 - 2, 4, 5])
    monkeypatch.setattr(random.SystemRandom, "randrange", lambda _, first, end: min(first + next(numbers), end - 1))
    boots = [journal.boot]
    for _ in range(3):
        journal = reopened(journal)
        boots.append(journal.boot)
    journal.close()
    assert boots[1:] == [5, 2**24 - 1, 6]
    assert 0 < boots[0] < 2**24


def test_unfinished_and_ended_jobs_come_back(journal):
    """A job comes back with its content, its attempts and its final, ended ones first."""
    failed = Failed("b", 1, 1, 404, "file", "There is no file ä.png.", "hint")
    journal.commit([StoreJob(TD, "a", CONTENT), StoreJob(TD, "b", CONTENT), StoreAttempt(TD, "a", 2)])
    journal.commit([StoreFinal(TD, "b", failed)])
    journal = reopened(journal)
    assert jobs(journal) == [KeptJob(TD, "b", digest(CONTENT), 0, failed, told=False), KeptJob(TD, "a", CONTENT, 2, None, told=False)]
    journal.close()


def test_jobs_come_back_in_the_order_of_their_acceptance(journal):
    """Unfinished jobs wait in the order in which they were accepted."""
    journal.commit([StoreJob(TD, name, CONTENT) for name in ("c", "a", "b")])
    assert [job.job_id for job in journal.kept().jobs] == ["c", "a", "b"]


def test_newest_seq_outlives_the_jobs_it_belonged_to(tmp_path):
    """A client's numbers go on without a gap, even when all its jobs are forgotten."""
    limits = Limits(remembered_jobs=1)
    journal = Journal(tmp_path / "j.sqlite3", "process", limits)
    for seq in (1, 2, 3):
        journal.commit([StoreJob(TD, f"a{seq}", CONTENT), StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq))])
    journal.commit([StoreJob(OTHER, "x", CONTENT), StoreFinal(OTHER, "x", ready("x", 1))])
    for _ in range(2):
        journal = reopened(journal, limits)
    assert [job.job_id for job in journal.kept().jobs] == ["x"]
    assert dict(journal.kept().newest_seqs) == {TD: 3, OTHER: 1}
    journal.close()


@pytest.mark.parametrize(("prune_every", "left"), [(2, 2), (100, 6)])
def test_it_is_pruned_as_often_as_it_is_wanted(tmp_path, prune_every, left):
    """In a show more rarely."""
    journal = Journal(tmp_path / "j.sqlite3", "process", Limits(remembered_jobs=2), prune_every)
    for seq in range(1, 7):
        journal.commit([StoreJob(TD, f"a{seq}", CONTENT), StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq))])
    journal.tidy()
    assert len(journal.kept().jobs) == left
    journal.close()


def test_a_job_that_could_not_be_kept_has_used_its_number(journal):
    """Its final was sent, so that number is not given again after a restart."""
    journal.commit([StoreJob(TD, "a", CONTENT), StoreFinal(TD, "a", ready("a", 1))])
    journal.commit([StoreFinal(TD, "lost", ready("lost", 2))])
    journal = reopened(journal)
    assert [job.job_id for job in journal.kept().jobs] == ["a"]
    assert dict(journal.kept().newest_seqs) == {TD: 2}
    journal.close()


def test_only_the_newest_ended_jobs_are_kept_but_all_unfinished_ones(tmp_path):
    """The limit forgets ended jobs, the oldest first, and never an unfinished one."""
    limits = Limits(remembered_jobs=2)
    journal = Journal(tmp_path / "j.sqlite3", "process", limits)
    journal.commit([StoreJob(TD, "open", CONTENT)])
    for seq in range(1, 6):
        journal.commit([StoreJob(TD, f"a{seq}", CONTENT), StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq))])
    journal = reopened(journal, limits)
    assert [job.job_id for job in journal.kept().jobs] == ["a4", "a5", "open"]
    journal.close()


@pytest.mark.parametrize(("wall_h", "up_h", "known"), [(25, 25, False), (25, 0, True), (0, 25, True), (-1e6, 25, True), (1e6, 23, True)])
def test_jobs_older_than_the_limit_are_forgotten(journal, clocks, wall_h, up_h, known):
    """After `remembered_hours` an ended job is not known any more; but only if both clocks say so, because the wall clock may jump."""
    journal.commit([StoreJob(TD, "a", CONTENT), StoreFinal(TD, "a", ready("a", 1))])
    clocks.wall += wall_h * 3600
    clocks.up += up_h * 3600
    journal = reopened(journal)
    assert [job.job_id for job in journal.kept().jobs] == ["a"] * known
    journal.close()


def test_time_between_runs_is_not_time_of_running(journal, clocks):
    """The age of a job by running time goes on from run to run: 13 hours and 13 hours are more than 24."""
    journal.commit([StoreJob(TD, "a", CONTENT), StoreFinal(TD, "a", ready("a", 1))])
    for _ in range(2):
        assert len(journal.kept().jobs) == 1
        clocks.wall += 13 * 3600
        clocks.up += 13 * 3600
        journal.close()
        clocks.up = 5.0  # the computer was started anew
        journal = Journal(journal.path, "process", Limits())
    assert journal.kept().jobs == ()
    journal.close()


def test_a_clock_set_back_forgets_the_oldest(tmp_path, clocks):
    """Which jobs are the newest is a matter of order. A clock that was set back a day does not make the newest the oldest."""
    limits = Limits(remembered_jobs=2)
    journal = Journal(tmp_path / "j.sqlite3", "process", limits)
    for seq in range(1, 6):
        journal.commit([StoreJob(TD, f"a{seq}", CONTENT), StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq))])
        clocks.wall -= 86_400
    journal = reopened(journal, limits)
    assert [job.job_id for job in journal.kept().jobs] == ["a4", "a5"]
    journal.close()


def test_presets_come_back_with_their_types(journal):
    """A preset's values keep their types, and the newest value of a key counts."""
    journal.commit([StorePreset("p", "operation", "noop"), StorePreset("p", "x", 1), StorePreset("p", "x", 1.5)])
    assert journal.kept().presets == (StorePreset("p", "operation", "noop"), StorePreset("p", "x", 1.5))


def test_deleted_presets_do_not_come_back(journal):
    """One key, or a whole preset, and no other."""
    journal.commit([StorePreset(name, key, 1) for name in ("a", "b", "c") for key in ("x", "y")])
    journal.commit([StoreUnset("a", "x"), StoreUnset("b")])
    assert journal.kept().presets == (StorePreset("a", "y", 1), StorePreset("c", "x", 1), StorePreset("c", "y", 1))


def test_a_commit_that_fails_writes_nothing(journal):
    """All stores of a commit are written, or none."""
    with pytest.raises(UnicodeEncodeError):
        journal.commit([StoreJob(TD, "a", CONTENT), StoreJob(TD, "\ud800", CONTENT)])
    assert journal.kept().jobs == ()
    journal.commit([StoreJob(TD, "b", CONTENT)])
    assert [job.job_id for job in journal.kept().jobs] == ["b"]


def test_what_was_told_is_known(journal):
    """A final is kept as not told, until it is said that it was."""
    for seq, name in enumerate(("a", "b"), start=1):
        journal.commit([StoreJob(TD, name, CONTENT), StoreFinal(TD, name, ready(name, seq))])
    journal.commit([StoreTold(TD, "a")])
    journal = reopened(journal)
    assert {job.job_id: job.told for job in journal.kept().jobs} == {"a": True, "b": False}
    journal.close()


def crashed(journal: Journal) -> Journal:
    """The journal as a kill leaves it, opened by the next start."""
    copy = journal.path.parent.with_name(journal.path.parent.name + "-crashed")
    shutil.copytree(journal.path.parent, copy)
    return Journal(copy / journal.path.name, "process", Limits())


def test_only_runs_that_broke_off_count_as_crashes(journal):
    """Each job knows in how many crashes it was running. A run that ended in order is none, and waiting is not running."""
    journal.commit([StoreJob(TD, "ran", CONTENT), StoreAttempt(TD, "ran", 1), StoreJob(TD, "waited", CONTENT)])
    counts = []
    for attempt in (2, 3):
        journal = crashed(journal)
        counts.append({job.job_id: job.crashes for job in journal.kept().jobs})
        journal.commit([StoreAttempt(TD, "ran", attempt)])
    journal = reopened(journal)
    journal.commit([StoreAttempt(TD, "waited", 1)])
    journal = crashed(journal)
    counts.append({job.job_id: job.crashes for job in journal.kept().jobs})
    journal.close()
    assert counts == [{"ran": 1, "waited": 0}, {"ran": 2, "waited": 0}, {"ran": 2, "waited": 1}]


def test_a_job_that_no_child_had_begun_is_innocent(journal):
    """A crash while the children are still starting says nothing about the jobs that wait for them."""
    journal.commit([StoreJob(TD, "waits", CONTENT), StoreAttempt(TD, "waits", 1, begun=False)])
    journal.commit([StoreJob(TD, "runs", CONTENT), StoreAttempt(TD, "runs", 1, begun=False), StoreBegun(TD, "runs")])
    journal = crashed(journal)
    assert {job.job_id: job.crashes for job in journal.kept().jobs} == {"waits": 0, "runs": 1}
    journal.close()


@pytest.mark.parametrize(("wall_s", "up_s", "age_s"), [(3, 3, 3), (60, 1, 60), (-86_400, 3, 0), (-5, 0, 0)])
def test_how_long_ago_a_job_was_accepted(journal, clocks, wall_s, up_s, age_s):
    """Also while no worker ran: a job that is too old must not run."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    journal.close()
    clocks.wall += wall_s
    clocks.up += up_s
    journal = Journal(journal.path, "process", Limits())
    (job,) = journal.kept().jobs
    assert job.age_s == pytest.approx(age_s)
    journal.close()


@pytest.mark.parametrize("durability", ["process", "power"])
@pytest.mark.parametrize("ends", ["in order", "by a kill"])
@pytest.mark.parametrize("jump_s", [30 * 365 * 86_400, -30 * 365 * 86_400, 60, -60])
def test_a_clock_that_is_set_while_jobs_wait(tmp_path, clocks, durability, ends, jump_s):
    """A computer that starts in 1970 gets the right time from the network, and the worker ends: no job is older or younger by that."""
    path = tmp_path / "state" / "9460.sqlite3"
    journal = Journal(path, durability, Limits())
    journal.commit([StoreJob(TD, "a", CONTENT)])
    clocks.up += 2
    clocks.wall += 2 + jump_s
    journal.commit([StoreJob(TD, "b", CONTENT)])
    assert journal.turn(idle=False)
    journal.tidy()
    assert not journal.turn(idle=False)
    clocks.up += 3
    clocks.wall += 3
    journal.commit([StoreJob(TD, "c", CONTENT)])
    if ends == "in order":
        journal.close()
    else:
        path = shutil.copytree(path.parent, tmp_path / "killed") / path.name
        journal.close()
    clocks.wall += 4  # nobody runs
    journal = Journal(path, durability, Limits())
    assert {job.job_id: round(job.age_s, 3) for job in journal.kept().jobs} == {"a": 9, "b": 7, "c": 4}
    journal.close()


def test_clients_and_their_senders_come_back(journal):
    """How a client wants its reports, and which sender is which client: the newest of each."""
    client = StoreClient(TD, 9462, "td", leased=True, acknowledges=True)
    journal.commit([StoreClient(TD, 0, "before"), StoreClient(OTHER, leased=True), client, StoreFinal(TD, "a", ready("a", 7))])
    journal.commit([StorePeer(("10.0.0.1", 50_000), OTHER), StorePeer(("10.0.0.1", 50_001), TD), StorePeer(("10.0.0.1", 50_000), TD)])
    journal.commit([StoreClient(OTHER, leased=True, gone=True)])
    journal = reopened(journal)
    kept = journal.kept()
    assert kept.clients == (client, StoreClient(OTHER, leased=True, gone=True))
    assert kept.peers == (StorePeer(("10.0.0.1", 50_001), TD), StorePeer(("10.0.0.1", 50_000), TD))
    assert dict(kept.newest_seqs)[TD] == 7
    journal.close()


def test_clients_and_senders_are_not_kept_for_ever(tmp_path, monkeypatch):
    """Those that were not heard for longest are forgotten; a client with a remembered job is not."""
    monkeypatch.setattr(module, "_CLIENTS", 3)
    monkeypatch.setattr(module, "_PEERS", 2)
    journal = Journal(tmp_path / "j.sqlite3", "process", Limits())
    journal.commit([StoreClient(f"h:{port}", leased=True) for port in range(1, 7)])
    journal.commit([StorePeer(("h", port), f"h:{port}") for port in range(1, 7)])
    journal.commit([StoreJob("h:1", "a", CONTENT)])
    journal = reopened(journal)
    assert [client.key for client in journal.kept().clients] == ["h:1", "h:4", "h:5", "h:6"]
    assert [peer.client for peer in journal.kept().peers] == ["h:5", "h:6"]
    journal.close()


class FailingOnce(sqlite3.Connection):
    """The next statement that begins with `fails` fails, as on a disk with a bad moment."""

    fails = "nothing"

    def execute(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        self._fail(sql)
        return super().execute(sql, *arguments)  # type: ignore[arg-type]

    def executemany(self, sql: str, *arguments: object) -> sqlite3.Cursor:
        self._fail(sql)
        return super().executemany(sql, *arguments)  # type: ignore[arg-type]

    def _fail(self, sql: str) -> None:
        if sql.lstrip().startswith(self.fails):
            self.fails = "nothing"
            raise sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize("statement", ["BEGIN", "INSERT", "UPDATE", "COMMIT"])
def test_a_bad_moment_of_the_disk_costs_one_commit(tmp_path, monkeypatch, statement):
    """Whichever statement fails, nothing of its commit is written, and the next one is as if nothing had been."""
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *arguments, **named: connect(*arguments, **named, factory=FailingOnce))
    journal = Journal(tmp_path / "j.sqlite3", "power", Limits())
    both = [StoreJob(TD, "a", CONTENT), StoreJob(TD, "b", CONTENT), StoreFinal(TD, "c", ready("c", 1))]
    journal._database.fails = statement  # type: ignore[attr-defined]
    with pytest.raises(JournalError, match="disk I/O error"):
        journal.commit(both)
    assert journal.kept().jobs == ()
    journal.commit(both)
    assert {job.job_id for job in journal.kept().jobs} == {"a", "b"}
    journal.close()


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


def test_what_can_be_read_of_a_damaged_file_is_kept(journal, caplog):
    """One bad page of the disk costs the jobs on it; the others, the presets and the numbers live on."""
    journal.commit([StoreJob(TD, f"a{n:03}", b'["write_text",{"text":"' + b"x" * 300 + b'"},{}]') for n in range(300)])
    journal.commit([StoreFinal(TD, "a000", ready("a000", 1)), StorePreset("p", "x", 1)])
    journal.close()
    data = bytearray(journal.path.read_bytes())
    middle = len(data) // 2 // 1024 * 1024
    data[middle : middle + 1024] = b"\xa5" * 1024
    journal.path.write_bytes(data)
    journal = Journal(journal.path, "process", Limits())
    kept = journal.kept()
    assert 250 < len(kept.jobs) < 300
    assert (kept.jobs[0].job_id, kept.jobs[0].final) == ("a000", ready("a000", 1))
    assert kept.jobs[-1].job_id == "a299"
    assert kept.presets == (StorePreset("p", "x", 1),)
    assert dict(kept.newest_seqs) == {TD: 1}
    assert f"Jobs that were read from it: {len(kept.jobs)}" in caplog.text
    (aside,) = journal.path.parent.glob("*.damaged-*")
    assert aside.read_bytes() == data
    assert reopened(journal).kept().jobs[-1].job_id == "a299"


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


def test_a_newer_format_is_refused_and_left_alone(journal):
    """A journal of a newer worker is not touched: one sentence says what to do, and not a byte of it changes."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    journal.close()
    with sqlite3.connect(journal.path) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    before = {path: path.read_bytes() for path in journal.path.parent.iterdir()}
    with pytest.raises(JournalError, match=r"has format 99, and this version .* up to 4\. It was left as it is\. .* --state\."):
        Journal(journal.path, "process", Limits())
    assert {path: path.read_bytes() for path in journal.path.parent.iterdir()} == before


def test_a_newer_format_that_stands_in_the_log_is_refused(journal):
    """After a crash the newer format's number may stand in SQLite's log alone."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    journal.fold()
    journal._database.execute("PRAGMA user_version = 99")
    copy = journal.path.parent / "crashed"
    copy.mkdir()
    for file in list(journal.path.parent.glob("9460.sqlite3*")):  # as a kill leaves them
        shutil.copy(file, copy)
    with pytest.raises(JournalError, match="has format 99"):
        Journal(copy / journal.path.name, "process", Limits())
    with sqlite3.connect(copy / journal.path.name) as database:
        assert database.execute("SELECT id FROM job").fetchall() == [("a",)]
    database.close()


FORMAT_1 = Path(__file__).parents[2] / "data" / "journal-1.sqlite3"
FORMAT_2 = FORMAT_1.with_name("journal-2.sqlite3")
FORMAT_3 = FORMAT_1.with_name("journal-3.sqlite3")


def old_journal(folder: Path) -> Path:
    path = folder / "9460.sqlite3"
    shutil.copy(FORMAT_1, path)
    return path


def test_a_journal_of_format_1_opens_with_everything(tmp_path, caplog):
    """Jobs, finals, numbers and presets of the first format are there, and a copy of the old file stands beside it."""
    journal = Journal(old_journal(tmp_path), "process", Limits())
    kept = journal.kept()
    assert [(job.client, job.job_id, job.attempt) for job in kept.jobs] == [
        ("127.0.0.1:9461", "ended", 1),
        ("127.0.0.1:9461", "failed", 1),
        ("127.0.0.1:9461", "begun", 2),
        ("127.0.0.1:9461", "append", 1),
        ("192.168.0.20:50100", "waits", 0),
        ("127.0.0.1:9461", "after", 0),
    ]
    assert [job.final for job in kept.jobs if job.final] == [
        Ready("ended", 1, 1, 2, 3, 1, "write_text"),
        Failed("failed", 2, 1, 404, "file", "There is no file nò.png.", "Check the path."),
    ]
    assert msgspec.json.decode(kept.jobs[3].content)[1]["text"] == "ONE\n"
    assert msgspec.json.decode(kept.jobs[4].content)[2] == {
        "priority": 0, "timeout_ms": 0, "ttl_ms": 60_000, "retries": 2, "replace": "cam", "after": "",
    }  # fmt: skip
    assert dict(kept.newest_seqs) == {"127.0.0.1:9461": 2, "192.168.0.20:50100": 1}
    assert [(setting.key, setting.value) for setting in kept.presets] == [
        ("operation", "draw_circles"), ("count", 3), ("radius", 1.5), ("output", "löwe/{n}.png"), ("overwrite", True),
    ]  # fmt: skip
    assert journal.lost() == ()
    assert all(job.told == (job.final is not None) and job.crashes == 0 for job in kept.jobs)
    journal = reopened(journal)
    assert jobs(journal) == [msgspec.structs.replace(job, age_s=0.0) for job in kept.jobs]
    assert msgspec.structs.replace(journal.kept(), jobs=()) == msgspec.structs.replace(kept, jobs=())
    copy = tmp_path / "9460.sqlite3.format-1"
    assert copy.name in caplog.text
    with sqlite3.connect(copy) as database:
        assert database.execute("SELECT count(*) FROM job").fetchone() == (6,)
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_a_journal_of_format_2_opens_with_everything(tmp_path, caplog):
    """Of ended jobs the digest of their content is left, by which a job that is sent again is known; all else is as it was."""
    path = tmp_path / "9460.sqlite3"
    shutil.copy(FORMAT_2, path)
    with sqlite3.connect(path) as database:
        contents = dict(database.execute("SELECT id, content FROM job"))
    database.close()
    journal = Journal(path, "process", Limits())
    kept = journal.kept()
    assert [(job.job_id, job.attempt, job.told, job.crashes) for job in kept.jobs] == [
        ("ended", 1, True, 0),
        ("failed", 1, False, 0),
        ("begun", 2, False, 1),
        ("waits", 0, False, 0),
    ]
    assert [job.content for job in kept.jobs] == [
        digest(contents["ended"]),
        digest(contents["failed"]),
        contents["begun"],
        contents["waits"],
    ]
    assert [job.final.seq for job in kept.jobs if job.final] == [1, 2]
    assert kept.clients == (StoreClient("192.168.0.20:50100", 50_101, "td", leased=True, acknowledges=True),)
    assert kept.peers == (StorePeer(("192.168.0.20", 50_099), "192.168.0.20:50100"),)
    assert kept.presets == (StorePreset("logo", "operation", "draw_circles"), StorePreset("logo", "count", 3))
    assert journal.lost() == ()
    journal.close()
    assert "9460.sqlite3.format-2" in caplog.text
    assert b"ONE" in (tmp_path / "9460.sqlite3.format-2").read_bytes()
    assert b"ONE" not in path.read_bytes()


def test_a_journal_of_format_3_opens_with_everything(tmp_path, caplog):
    """It has all that format 2 had, and from now on commits stand in front of it."""
    path = tmp_path / "9460.sqlite3"
    shutil.copy(FORMAT_3, path)
    journal = Journal(path, "process", Limits())
    kept = journal.kept()
    assert [(job.job_id, job.attempt, job.told, job.crashes) for job in kept.jobs] == [
        ("ended", 1, True, 0),
        ("failed", 1, False, 0),
        ("begun", 2, False, 1),
        ("waits", 0, False, 0),
    ]
    assert [job.final.seq for job in kept.jobs if job.final] == [1, 2]
    assert kept.clients == (StoreClient("192.168.0.20:50100", 50_101, "td", leased=True, acknowledges=True),)
    assert kept.peers == (StorePeer(("192.168.0.20", 50_099), "192.168.0.20:50100"),)
    assert kept.presets == (StorePreset("logo", "operation", "draw_circles"), StorePreset("logo", "count", 3))
    assert "9460.sqlite3.format-3" in caplog.text
    journal.commit([StoreJob(TD, "new", CONTENT)])
    again = crashed(journal)
    assert [job.job_id for job in again.kept().jobs][-1] == "new"
    again.close()
    journal.close()


def test_a_new_journal_knows_its_log_before_the_first_commit(journal):
    """Also after a loss of power, which takes what SQLite has in its log only. Otherwise it could not tell that first commits are lost."""
    alone = journal.path.with_name("alone.sqlite3")
    shutil.copy(journal.path, alone)
    with contextlib.closing(sqlite3.connect(alone)) as database:
        assert database.execute("SELECT length(mark), folded FROM log").fetchone() == (8, 0)


def test_an_older_journal_and_a_commit_log_beside_it(journal, caplog):
    """Somebody went back to an older worker and its journal. Jobs of the newer one do not run when the newer worker comes again."""
    journal.commit([StoreJob(TD, "long-over", CONTENT)])
    killed = crashed(journal)  # holds the files of the crash, as they are beside an older journal
    folder = journal.path.parent / "back"
    folder.mkdir()
    for log_file in names(journal.path):
        shutil.copy(log_file, folder)
    killed.close()
    path = folder / journal.path.name
    shutil.copy(FORMAT_3, path)
    again = Journal(path, "process", Limits())
    assert "long-over" not in [job.job_id for job in again.kept().jobs]
    again.close()
    assert "belongs to a newer journal than this one was" in caplog.text
    assert len(list(folder.glob("*.damaged-*"))) == 2


def test_the_content_of_ended_jobs_is_not_kept(journal):
    """A digest is enough to tell whether a job is sent again. So the file holds what waits, and not what was."""
    large = b'["write_text",{"text":"' + b"x" * 50_000 + b'"},{}]'
    for seq in range(1, 301):
        journal.commit([StoreJob(TD, f"a{seq}", large)])
        journal.commit([StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq))])
    journal = reopened(journal)
    assert {job.content for job in journal.kept().jobs} == {digest(large)}
    journal.close()
    assert journal.path.stat().st_size < 10 * len(large)


def test_a_final_that_is_stored_again_keeps_the_digest(journal):
    """As after a commit of which it was not known whether it went through."""
    final = StoreFinal(TD, "a", ready("a", 1))
    journal.commit([StoreJob(TD, "a", CONTENT), final])
    journal.commit([final])
    journal.commit([StoreJob(TD, "b", CONTENT)])
    journal.commit([StoreJob(TD, "b", CONTENT), StoreFinal(TD, "b", ready("b", 2))])
    journal = reopened(journal)
    assert [job.content for job in journal.kept().jobs] == [digest(CONTENT)] * 2
    journal.close()


def test_a_migrated_journal_has_the_tables_of_a_new_one(tmp_path, journal):
    """It makes no difference later whether a journal was made new or migrated."""
    migrated = Journal(old_journal(tmp_path), "process", Limits())

    def tables(of: Journal) -> dict[str, str]:
        return dict(of._database.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"))

    assert {name: re.sub(r"[\s\"]", "", sql) for name, sql in tables(migrated).items()} == {
        name: re.sub(r"[\s\"]", "", sql) for name, sql in tables(journal).items()
    }
    migrated.close()


def test_a_migration_that_fails_changes_nothing(tmp_path, monkeypatch):
    """All of a migration or none: the file stays as it was, with no copy, and the next start can try again."""
    path = old_journal(tmp_path)
    statements = schema._MIGRATIONS[1]
    with monkeypatch.context() as patched:
        patched.setitem(schema._MIGRATIONS, 1, (*statements[:-1], "SELECT * FROM there_is_none"))
        with pytest.raises(JournalError, match=r"could not be brought to format 4: no such table.*left as it is"):
            Journal(path, "process", Limits())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        assert database.execute("SELECT count(*) FROM job").fetchone() == (6,)
    database.close()
    journal = Journal(path, "process", Limits())
    assert len(journal.kept().jobs) == 6
    journal.close()


def test_a_copy_that_cannot_be_made_changes_nothing(tmp_path, monkeypatch):
    """Without a copy there is no migration."""
    path = old_journal(tmp_path)

    def no_room(_database: object, _copy: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(schema, "copy", no_room)
    with pytest.raises(JournalError, match=r"No space left.*left as it is.*Make room"):
        Journal(path, "process", Limits())
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    with sqlite3.connect(path) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_an_older_copy_is_not_overwritten(tmp_path):
    """Somebody who went back to the older version and forward again has two copies."""
    (tmp_path / "9460.sqlite3.format-1").write_text("of an earlier migration")
    Journal(old_journal(tmp_path), "process", Limits()).close()
    assert (tmp_path / "9460.sqlite3.format-1").read_text() == "of an earlier migration"
    assert (tmp_path / "9460.sqlite3.format-1-2").exists()


# ------------------------------------------------------------------------------------------------------ rows that are damaged

DAMAGES = {
    "content is no JSON": "UPDATE job SET content = X'ff00' WHERE id = 'bad'",
    "content is another thing": "UPDATE job SET content = CAST('[1]' AS BLOB) WHERE id = 'bad'",
    "content is a number": "UPDATE job SET content = 5 WHERE id = 'bad'",
    "content is text of another encoding": "UPDATE job SET content = CAST(X'ff' AS TEXT) WHERE id = 'bad'",
    "attempt is a text": "UPDATE job SET attempt = 'many' WHERE id = 'bad'",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_row_costs_one_job(journal, damage, caplog):
    """A row that cannot be read is put aside, its job ends as 500 with the next number, and all others live."""
    journal.commit([StoreJob(TD, "done", CONTENT), StoreFinal(TD, "done", ready("done", 1))])
    journal.commit([StoreJob(TD, name, CONTENT) for name in ("before", "bad", "after")])
    journal.commit([StorePreset("p", "operation", "noop")])
    journal.fold()
    journal._database.execute(damage)
    journal = reopened(journal)
    kept = journal.kept()
    assert [(job.job_id, job.final is None) for job in kept.jobs] == [("done", False), ("before", True), ("bad", False), ("after", True)]
    (failed,) = (job.final for job in kept.jobs if job.job_id == "bad")
    assert isinstance(failed, Failed)
    assert (failed.code, failed.seq, failed.boot) == (500, 2, journal.boot)
    assert dict(kept.newest_seqs) == {TD: 2}
    assert len(kept.presets) == 1
    (lost,) = journal.lost()
    assert (lost.client, lost.job_id) == (TD, "bad")
    assert lost.reason in caplog.text
    caplog.clear()
    assert lost_rows(journal.path) == (lost,)  # while the worker runs, for `doctor`
    journal = reopened(journal)
    assert sorted(jobs(journal), key=str) == sorted((msgspec.structs.replace(job, age_s=0.0) for job in kept.jobs), key=str)
    assert journal.lost() == (lost,)
    assert "lost" not in caplog.text
    journal.close()


@pytest.mark.parametrize("final", ["'[]'", "'no JSON'", "X'ff'", """'["ready","bad","one"]'""", """'["moved","bad",1]'""", "17"])
def test_a_damaged_final_ends_as_500_under_its_number(journal, final):
    """The number that the final had is not given twice."""
    journal.commit([StoreJob(TD, name, CONTENT) for name in ("bad", "good")])
    journal.commit([StoreFinal(TD, "bad", ready("bad", 1)), StoreFinal(TD, "good", ready("good", 2))])
    journal.fold()
    journal._database.execute(f"UPDATE job SET final = {final} WHERE id = 'bad'")
    journal = reopened(journal)
    kept = journal.kept()
    finals = {job.job_id: job.final for job in kept.jobs}
    assert finals["good"] == ready("good", 2)
    assert isinstance(finals["bad"], Failed)
    assert (finals["bad"].code, finals["bad"].seq) == (500, 1)
    assert dict(kept.newest_seqs) == {TD: 2}
    journal.close()


@pytest.mark.parametrize("name", ["client = 'nobody'", "client = X'00'", "client = 'host:port'", "id = ''", "id = CAST(X'ff' AS TEXT)"])
def test_a_row_without_a_name_is_put_aside(journal, name):
    """If it cannot be read whose job it was, nobody is told; the others live."""
    journal.commit([StoreJob(TD, "bad", CONTENT), StoreJob(TD, "good", CONTENT)])
    journal.fold()
    journal._database.execute(f"UPDATE job SET {name} WHERE id = 'bad'")
    journal = reopened(journal)
    assert [job.job_id for job in journal.kept().jobs] == ["good"]
    (lost,) = journal.lost()
    assert lost.content == CONTENT
    journal.close()


def test_a_damaged_preset_or_client_costs_itself_alone(journal):
    """The other values of the preset and the other clients' numbers stay."""
    journal.commit([StorePreset("p", "operation", "noop"), StorePreset("p", "bad", 1), StorePreset("p", "good", 2)])
    journal.commit([StoreFinal(TD, "a", ready("a", 5))])
    journal.fold()
    journal._database.execute("UPDATE preset SET value = '{' WHERE key = 'bad'")
    journal._database.execute("INSERT INTO client (key, newest_seq) VALUES ('nobody', 3)")
    journal.commit([StoreClient(OTHER, leased=True), StoreClient("bad:1", leased=True)])
    journal.commit([StorePeer(("h", 1), OTHER), StorePeer(("bad", 2), OTHER)])
    journal.fold()
    journal._database.execute("UPDATE client SET number_port = 'x' WHERE key = 'bad:1'")
    journal._database.execute("UPDATE peer SET client = 'x' WHERE host = 'bad'")
    journal = reopened(journal)
    kept = journal.kept()
    assert [setting.key for setting in kept.presets] == ["operation", "good"]
    assert dict(kept.newest_seqs) == {TD: 5, OTHER: 0, "bad:1": 0}
    assert [client.key for client in kept.clients] == [OTHER]
    assert [peer.peer for peer in kept.peers] == [("h", 1)]
    assert [lost.client for lost in journal.lost()] == ["nobody", "p", "bad:1", "x"]
    journal.close()


@pytest.mark.skipif(os.name == "nt", reason="rights are others on Windows; the user's own folder is private there")
def test_the_journal_is_private(tmp_path):
    """Nobody but this user can read what jobs say: neither in the folder, nor in any file of the journal, nor in a copy."""
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "state" / "9460.sqlite3", "process", Limits())
        journal.commit([StoreJob(TD, "a", CONTENT)])
        shutil.copy(FORMAT_1, tmp_path / "state" / "1.sqlite3")
        migrated = Journal(tmp_path / "state" / "1.sqlite3", "process", Limits())
    finally:
        os.umask(before)
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    files = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "state").iterdir()}
    logs = {"9460.sqlite3-wal", "9460.sqlite3-commits-1", "9460.sqlite3-commits-2"}
    assert logs | {"9460.sqlite3", "1.sqlite3", "1.sqlite3.format-1"} <= files.keys()
    assert set(files.values()) == {0o600}
    journal.close()
    migrated.close()


def test_two_workers_do_not_share_a_journal(journal):
    """A journal that another worker has open cannot be opened."""
    with pytest.raises(JournalError, match="locked"):
        Journal(journal.path, "process", Limits())


def test_a_place_where_nothing_can_be_made_is_told(tmp_path):
    """A state directory that cannot be made is one sentence."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalError, match="file"):
        Journal(tmp_path / "file" / "j.sqlite3", "process", Limits())


def test_a_journal_that_is_none_has_lost_rows_that_cannot_be_read(tmp_path):
    """`doctor` says that it cannot look, and does not fail."""
    (tmp_path / "j.sqlite3").write_bytes(b"no database" * 1000)
    with pytest.raises(JournalError, match="cannot be read"):
        lost_rows(tmp_path / "j.sqlite3")
    assert lost_rows(old_journal(tmp_path)) == ()  # a format without such a table


# ------------------------------------------------------------------------------------------------- commits in front of the database


def test_the_files_agree_whenever_the_worker_dies(journal, monkeypatch):
    """Between bringing commits into the database and emptying their file, too: nothing is brought in twice, and nothing is left out.

    The last numbers tell: a final that came in again would have ended later.
    """
    copies: list[Path] = []

    def copied(step: str) -> None:
        copies.append(journal.path.parent.with_name(f"crashed-{len(copies)}-{step}"))
        shutil.copytree(journal.path.parent, copies[-1])

    drop, empty = CommitLog.drop, CommitLog.empty
    monkeypatch.setattr(CommitLog, "drop", lambda *arguments: (copied("brought in"), drop(*arguments))[-1])
    monkeypatch.setattr(CommitLog, "empty", lambda *arguments: (copied("on the disk"), empty(*arguments), copied("emptied"))[-1])
    for seq in (1, 2):
        journal.commit([StoreJob(TD, f"a{seq}", CONTENT), StoreAttempt(TD, f"a{seq}", 1)])
        journal.commit([StoreFinal(TD, f"a{seq}", ready(f"a{seq}", seq)), StoreTold(TD, f"a{seq}"), StoreJob(TD, f"b{seq}", CONTENT)])
        journal.fold()
    monkeypatch.undo()
    assert len(copies) == 6
    for copy in copies:
        again = Journal(copy / journal.path.name, "process", Limits())
        ended = again._database.execute("SELECT id, ended, told FROM job WHERE final NOT NULL ORDER BY number").fetchall()
        seen = [job.job_id for job in again.kept().jobs if job.final is None]
        again.close()
        assert (ended, seen) in [
            ([("a1", 1, 1)], ["b1"]),
            ([("a1", 1, 1), ("a2", 2, 1)], ["b1", "b2"]),
        ]


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
def test_a_database_is_replaced_and_never_missing(journal, monkeypatch):
    """If only a log was deleted, and the disk is full or the worker killed while it writes anew, the next start has everything."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    names(journal.path)[0].unlink()

    def is_full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(schema, "copy", is_full)
        with pytest.raises(JournalError, match="could not be written anew"):
            journal.check()
    again = crashed(journal)
    assert [job.job_id for job in again.kept().jobs] == ["a"]
    again.close()
    journal.check()
    journal.commit([StoreJob(TD, "b", CONTENT)])
    again = reopened(journal)
    assert [job.job_id for job in again.kept().jobs] == ["a", "b"]
    again.close()


def test_an_orderly_end_leaves_one_file(journal):
    """So a copy of it is a copy of everything."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    journal.close()
    assert [file.name for file in journal.path.parent.iterdir()] == ["9460.sqlite3"]
    journal = Journal(journal.path, "process", Limits())
    assert [job.job_id for job in journal.kept().jobs] == ["a"]
    journal.close()


@pytest.mark.parametrize(("before", "after"), [("process", "power"), ("power", "process")])
def test_durability_may_change(tmp_path, before, after):
    """What a crash has left in front of the database comes in, whichever the next start uses."""
    journal = Journal(tmp_path / "state" / "j.sqlite3", before, Limits())
    journal.commit([StoreJob(TD, "a", CONTENT)])
    shutil.copytree(journal.path.parent, tmp_path / "crashed")
    journal.close()
    journal = Journal(tmp_path / "crashed" / "j.sqlite3", after, Limits())
    journal.commit([StoreJob(TD, "b", CONTENT)])
    assert [job.job_id for job in journal.kept().jobs] == ["a", "b"]
    assert all(name.exists() is (after == "process") for name in names(journal.path))
    journal.close()


def test_a_value_that_does_not_fit_costs_itself(journal, caplog):
    """It would be our mistake; it must not keep all other commits out of the database."""
    journal.commit([StoreJob(TD, "a", CONTENT), StoreJob(TD, None, CONTENT), StoreJob(TD, "b", CONTENT)])  # type: ignore[arg-type]
    journal.commit([StoreFinal(TD, "a", ready("a", 1))])
    assert {job.job_id: job.final for job in journal.kept().jobs} == {"a": ready("a", 1), "b": None}
    (lost,) = journal.lost()
    assert "NOT NULL constraint failed: job.id" in lost.reason
    assert "noop" in str(lost.content)
    assert "cannot be brought in" in caplog.text


def test_what_was_committed_last_outlives_a_damaged_database(journal):
    """The database is set aside; the commits in front of it are brought into the new one."""
    journal.commit([StoreJob(TD, "a", CONTENT)])
    copy = journal.path.parent.with_name("crashed")
    shutil.copytree(journal.path.parent, copy)
    (copy / "9460.sqlite3-wal").unlink()
    (copy / "9460.sqlite3").write_bytes(b"no database" * 1000)
    again = Journal(copy / "9460.sqlite3", "process", Limits())
    assert [job.job_id for job in again.kept().jobs] == ["a"]
    again.close()


def test_a_job_that_is_new_again(journal):
    """An id that was forgotten in memory may come again, in the same commits: the newest job of that id counts, and its marks."""
    for seq in (1, 2):
        journal.commit([StoreJob(TD, "a", CONTENT), StoreAttempt(TD, "a", seq)])
        journal.commit([StoreFinal(TD, "a", ready("a", seq)), *[StoreTold(TD, "a")] * (2 - seq)])
    assert jobs(journal) == [KeptJob(TD, "a", digest(CONTENT), 2, ready("a", 2), told=False)]
    journal.commit([StoreTold(TD, "a"), StoreJob(TD, "a", CONTENT)])
    assert jobs(journal) == [KeptJob(TD, "a", CONTENT, 0, None, told=False)]
    journal.commit([StoreTold(TD, "a"), StoreFinal(TD, "a", ready("a", 3))])
    assert jobs(journal) == [KeptJob(TD, "a", digest(CONTENT), 0, ready("a", 3), told=False)]
