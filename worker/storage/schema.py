"""The journal's tables, and how a file of an older format becomes one of today's.

Every format has a number. A new format changes `_SCHEMA` and adds one entry to `_MIGRATIONS`;
a test opens a committed file of each older format. The number stands for the files of `commit_log`, too. What a crash has left in them is
brought in after the migration, so a new format still reads the rows of the older one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final as Constant

from worker.core.ledger import digest
from worker.storage.errors import StorageError
from worker.storage.salvage import salvage

log = logging.getLogger(__name__)

#: "tdiw", which tells a foreign database from ours.
APPLICATION_ID: Constant = 0x74646977
VERSION: Constant = 4
#: How the names of the commit log's two files go on after that of the database.
COMMITS: Constant = ("-commits-1", "-commits-2")
_FIRST_WITH_COMMITS: Constant = 4

#: One row: what the files of the commit log are marked with, and up to which commit they are folded.
_LOG: Constant = "CREATE TABLE log (one INTEGER PRIMARY KEY CHECK (one = 1), mark BLOB NOT NULL, folded INTEGER NOT NULL)"
_SCHEMA: Constant = (
    """
CREATE TABLE job (
    number INTEGER PRIMARY KEY,         -- order of acceptance
    client TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,              -- operation, params, options as JSON; when it has ended, their digest
    accepted_at REAL NOT NULL,          -- in seconds since 1970
    accepted_up REAL NOT NULL,          -- in seconds that all workers of this journal have run
    attempt INTEGER NOT NULL DEFAULT 0, -- how often it was started
    running INTEGER NOT NULL DEFAULT 0, -- 1: this run of the worker has started it
    crashes INTEGER NOT NULL DEFAULT 0, -- how many runs of the worker broke off after they had started it
    seq INTEGER,                        -- these five are NULL until it has ended:
    final TEXT,                         -- its report as JSON,
    ended INTEGER,                      -- order of the ends,
    ended_at REAL,                      -- and when it ended, by both clocks
    ended_up REAL,
    told INTEGER NOT NULL DEFAULT 0,    -- 1: the final was sent, and acknowledged if the client acknowledges
    UNIQUE (client, id)
)""",
    # No more indexes: each costs a page in every commit.
    """
CREATE TABLE client (
    key TEXT PRIMARY KEY,
    newest_seq INTEGER NOT NULL DEFAULT 0, -- of its jobs that are forgotten by now
    used INTEGER NOT NULL DEFAULT 0,       -- order of use; the clients not used for longest are forgotten
    number_port INTEGER NOT NULL DEFAULT 0,
    name TEXT NOT NULL DEFAULT '',
    leased INTEGER,                        -- 1: it said hello; NULL: not known (a journal of format 1)
    acknowledges INTEGER NOT NULL DEFAULT 0,
    gone INTEGER NOT NULL DEFAULT 0        -- 1: it said bye, or was not heard for longer than its lease
)""",
    "CREATE TABLE peer (host TEXT, port INTEGER, client TEXT NOT NULL, used INTEGER NOT NULL, PRIMARY KEY (host, port))",
    "CREATE TABLE preset (name TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, key))",
    """
CREATE TABLE start (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    boot INTEGER NOT NULL,            -- what reports to clients carry
    up REAL NOT NULL DEFAULT 0,       -- seconds that all workers had run, when it was last noted
    clean INTEGER NOT NULL DEFAULT 0  -- 1: this run ended in order
)""",
    # What could not be read, as it was found.
    "CREATE TABLE lost (number INTEGER PRIMARY KEY, at REAL NOT NULL, reason TEXT NOT NULL, client, id, content)",
    _LOG,
)

#: Statements that turn a journal of this format into one of the next, all in one transaction.
_MIGRATIONS: Constant[dict[int, tuple[str, ...]]] = {
    # When the open jobs were accepted is not known: their ttl begins again. The finals count as told.
    1: (
        "ALTER TABLE job RENAME TO job_1",
        "ALTER TABLE client RENAME TO client_1",
        "ALTER TABLE start RENAME TO start_1",
        *(statement for statement in _SCHEMA if "TABLE preset" not in statement and statement != _LOG),
        """
        INSERT INTO job (number, client, id, content, accepted_at, accepted_up, attempt, seq, final, ended, ended_at, ended_up, told)
        SELECT number, client, id, content, coalesce(ended_at, (julianday('now') - 2440587.5) * 86400.0), 0.0, attempt, seq, final,
            CASE WHEN final IS NOT NULL THEN row_number() OVER (ORDER BY final IS NULL, ended_at, number) END,
            ended_at, CASE WHEN final IS NOT NULL THEN 0.0 END, final IS NOT NULL
        FROM job_1 ORDER BY number""",
        "INSERT INTO client (key, newest_seq) SELECT key, newest_seq FROM client_1",
        "INSERT INTO start (number, boot) SELECT boot, boot FROM start_1",
        "DROP TABLE job_1",
        "DROP TABLE client_1",
        "DROP TABLE start_1",
    ),
    # Of ended jobs only the digest of their content is kept; the function is ours.
    2: ("UPDATE job SET content = digest(content) WHERE final NOT NULL",),
    # Commits stand in files in front of the database first.
    3: (_LOG,),
}


class JournalError(StorageError):
    """The journal cannot be used. The text is a sentence for the operator."""


class _UnusableError(Exception):
    """The file is damaged or another program's; it may be set aside."""


def opened(path: Path, durability: str) -> sqlite3.Connection:
    """The database in today's format. A new one is made if there is none, or if the file is damaged or foreign.

    Such a file is set aside, and the new one gets what can be read of a damaged one.

    A file of an older format is migrated, and a copy of it stays beside it.

    Raises:
        JournalError: the file has a newer format, or it cannot be migrated; it is left alone.
        OSError, sqlite3.OperationalError: locked, no rights, disk full.
    """
    _refuse_newer(path, _header(path))
    try:
        return _connected(path, durability)
    except sqlite3.OperationalError:  # locked, no rights, disk full: the file is not to blame
        raise
    except (sqlite3.DatabaseError, _UnusableError) as error:
        aside = set_aside(path)
        database = _connected(path, durability)
        jobs = salvage(aside, database) if _header(aside) == (APPLICATION_ID, VERSION) else 0
        log.warning(
            "The journal %s is damaged or not ours: %s. It was renamed to %s. Jobs that were read from it: %d.", path, error, aside, jobs
        )
        return database


def _header(path: Path) -> tuple[int, int]:
    """Application id and format, read from the file without opening it as a database, which would change it; (0, 0) if it has none.

    Offsets: https://www.sqlite.org/fileformat.html, section 1.3, "The Database Header".
    """
    try:
        with path.open("rb") as file:
            header = file.read(72)
    except FileNotFoundError:
        return 0, 0
    if len(header) < 72 or not header.startswith(b"SQLite format 3\0"):
        return 0, 0
    (version,) = struct.unpack_from(">I", header, 60)
    (application_id,) = struct.unpack_from(">I", header, 68)
    return application_id, version


def _refuse_newer(path: Path, header: tuple[int, int]) -> None:
    application_id, version = header
    if application_id == APPLICATION_ID and version > VERSION:
        raise JournalError(
            f"The journal {path} has format {version}, and this version of the worker knows formats up to {VERSION}. It was left as it is. "
            "Start the newer version of the worker again, or choose another folder with --state."
        )


def _connected(path: Path, durability: str) -> sqlite3.Connection:
    make_private(path)
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # two workers must not share one
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA wal_autocheckpoint = 0")  # `Journal.tidy` does it, where nobody waits
        database.create_function("digest", 1, _digest, deterministic=True)
        make_room(database)
        database.execute("PRAGMA synchronous = FULL")
        _bring_up_to_date(path, database)
        database.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
    except BaseException:
        database.close()
        raise
    return database


def _digest(content: bytes | str | float | None) -> bytes | str | float | None:
    """What is kept of an ended job's content. A damaged column is left as it is: it is found when it is read."""
    return digest(content) if isinstance(content, bytes) else content


def make_room(database: sqlite3.Connection) -> None:
    """Empties the log into the database, which gives back its bytes: a disk may be full of them."""
    with contextlib.suppress(sqlite3.OperationalError):
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def make_private(path: Path) -> None:
    """Only this user may read what jobs say. The database's companions (-wal) get the rights of the database."""
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    with contextlib.suppress(PermissionError, NotImplementedError):  # another user's file that we may write
        path.chmod(0o600)


def _bring_up_to_date(path: Path, database: sqlite3.Connection) -> None:
    (application_id,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables == 0 and application_id == 0:
        _run_all(database, (*_SCHEMA, f"PRAGMA application_id = {APPLICATION_ID}", f"PRAGMA user_version = {VERSION}"))
        return
    if application_id != APPLICATION_ID:
        raise _UnusableError("it is a database of another program")
    _refuse_newer(path, (application_id, version))
    (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise _UnusableError(" ".join(verdict.split()))
    if version != VERSION:
        _migrate(path, database, version)


def _migrate(path: Path, database: sqlite3.Connection, version: int) -> None:
    """Brings the file to today's format in one transaction, after a copy of it was made.

    Raises:
        JournalError: it cannot be done; the file is as it was.
    """
    if not set(range(version, VERSION)) <= _MIGRATIONS.keys():
        raise _UnusableError(f"it has format {version}, which no version of the worker has written")
    old = _free_name(path, f"format-{version}")
    try:
        copy(database, old)
        if version < _FIRST_WITH_COMMITS:
            _set_stale_commits_aside(path)
        statements = (statement for number in range(version, VERSION) for statement in _MIGRATIONS[number])
        _run_all(database, (*statements, f"PRAGMA user_version = {VERSION}"))
    except (OSError, sqlite3.Error) as error:
        with contextlib.suppress(OSError):
            old.unlink()
        raise JournalError(
            f"The journal {path} has format {version} and could not be brought to format {VERSION}: {error}. It was left as it is. "
            "Make room on its disk, or choose another folder with --state."
        ) from error
    with contextlib.suppress(sqlite3.Error):  # it needs as much room again; without it the file stays as large as it was
        database.execute("VACUUM")
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that the file's own header says its format
    log.warning("The journal %s was brought from format %d to format %d. A copy of the old one is %s.", path, version, VERSION, old.name)


def _set_stale_commits_aside(path: Path) -> None:
    """A journal that knows no commit log has one beside it if somebody went back to an older worker. Its jobs are long over."""
    for log_file in [path.with_name(path.name + ending) for ending in COMMITS]:
        if log_file.exists():
            aside = set_aside(log_file)
            log.warning("%s belongs to a newer journal than this one was. It was renamed to %s.", log_file, aside)


def _run_all(database: sqlite3.Connection, statements: tuple[str, ...]) -> None:
    """All of them, or none. `executescript` would commit on its own."""
    with transaction(database):
        for statement in statements:
            database.execute(statement)


@contextlib.contextmanager
def transaction(database: sqlite3.Connection) -> Iterator[None]:
    """All of what happens in it, or nothing."""
    if database.in_transaction:  # the end of an earlier one has failed, and so has its rollback
        database.execute("ROLLBACK")
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
        database.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
            database.execute("ROLLBACK")
        raise


def copy(database: sqlite3.Connection, to: Path) -> None:
    """A copy of the whole database as one private file, on the disk when this returns.

    Raises:
        OSError, sqlite3.Error: it cannot be made.
    """
    make_private(to)
    target = sqlite3.connect(to)
    try:
        database.backup(target)
    finally:
        target.close()
    with to.open("rb+") as file:
        os.fsync(file.fileno())


def _free_name(path: Path, ending: str) -> Path:
    names = (f"{path.name}.{ending}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    return next(path.with_name(name) for name in names if not path.with_name(name).exists())


def set_aside(path: Path) -> Path:
    """Renames the database, and its log if there is one, to a free name beside it."""
    aside = _free_name(path, f"damaged-{time.strftime('%Y%m%d-%H%M%S')}")
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside
