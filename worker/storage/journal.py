"""What must survive a crash: accepted jobs, their finals, the presets, and the number of this start. SQLite, from the standard library.

One file per port in the state directory. `commit` writes everything that one round of the service wants in one transaction, so that a burst
of jobs costs one. With durability "process" a commit survives the end of this process, however it comes (SQLite: WAL,
synchronous=NORMAL, which does not wait for the disk); with "power" it waits for the disk, and survives that of the machine too.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final as Constant

import msgspec

from worker.config import Limits
from worker.core.events import Kept, KeptJob, Store, StoreAttempt, StoreFinal, StoreJob, StorePreset
from worker.protocol.messages import Failed, Final, Ready

log = logging.getLogger(__name__)

#: "tdiw", so that a foreign database is told from ours.
_APPLICATION_ID: Constant = 0x74646977
_SCHEMA_VERSION: Constant = 1
_SCHEMA: Constant = """
CREATE TABLE job (
    number INTEGER PRIMARY KEY,         -- order of acceptance
    client TEXT NOT NULL,
    id TEXT NOT NULL,
    content BLOB NOT NULL,              -- operation, params, options as JSON
    attempt INTEGER NOT NULL DEFAULT 0, -- how often it was started
    seq INTEGER,                        -- these three are NULL until it has ended:
    final TEXT,                         -- its report as JSON,
    ended_at REAL,                      -- and when, in seconds since 1970
    UNIQUE (client, id)
);
-- The newest seq of each client whose jobs are forgotten by now. No more indexes: each costs a page in every commit.
CREATE TABLE client (key TEXT PRIMARY KEY, newest_seq INTEGER NOT NULL);
CREATE TABLE preset (name TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (name, key));
CREATE TABLE start (boot INTEGER PRIMARY KEY AUTOINCREMENT);
"""
_NEWEST_SEQS: Constant = """
SELECT key, max(seq) FROM (SELECT client AS key, seq FROM job WHERE seq NOT NULL UNION ALL SELECT key, newest_seq FROM client) GROUP BY key
"""
_PRUNE_EVERY: Constant = 1000
_FINALS: Constant[dict[str, type[Final]]] = {"ready": Ready, "failed": Failed}


class JournalError(Exception):
    """The journal cannot be written."""


class Journal:
    """An open journal. Used by one thread.

    Args:
        path: the database file; it and its directory are made where they are missing.
        durability: "process" or "power", see the module's docstring.
        limits: how many ended jobs are kept, and for how long.

    Raises:
        JournalError: no journal can be made there. A file that is damaged or not ours is no reason: it is set aside under another name.
    """

    def __init__(self, path: Path, durability: str, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._since_pruned = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _opened(path, durability)
            with self._transaction():
                self.boot = int(self._database.execute("INSERT INTO start DEFAULT VALUES").lastrowid or 1)
                self._database.execute("DELETE FROM start WHERE boot < ?", (self.boot,))
                self._prune()
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{path}: {error}") from error

    def kept(self) -> Kept:
        """What earlier runs left."""
        rows = self._database.execute("SELECT client, id, content, attempt, final FROM job ORDER BY ended_at IS NULL, ended_at, number")
        jobs = tuple(KeptJob(client, job_id, content, attempt, _final(final)) for client, job_id, content, attempt, final in rows)
        seqs = tuple(self._database.execute(_NEWEST_SEQS))
        presets = self._database.execute("SELECT name, key, value FROM preset ORDER BY rowid")
        return Kept(jobs, seqs, tuple(StorePreset(name, key, msgspec.json.decode(value)) for name, key, value in presets))

    def commit(self, stores: Iterable[Store]) -> None:
        """Writes all of them, or none.

        Raises:
            JournalError: nothing was written.
        """
        writes = tuple(_with_attempts(stores))
        try:
            if len(writes) == 1 and self._since_pruned < _PRUNE_EVERY:
                self._write(writes[0])  # a statement alone is a transaction of its own, and two calls cheaper
                return
            with self._transaction():
                for write in writes:
                    self._write(write)
                if self._since_pruned >= _PRUNE_EVERY:
                    self._prune()
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def close(self) -> None:
        """Writes everything into the one file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def _write(self, store: _StartedJob | Store) -> None:
        execute = self._database.execute
        match store:
            case _StartedJob(StoreJob(client, job_id, content), attempt):
                # An id that was forgotten in memory may still stand here.
                job = (client, job_id, content, attempt)
                execute("INSERT OR REPLACE INTO job (client, id, content, attempt) VALUES (?, ?, ?, ?)", job)
            case StoreAttempt(client, job_id, attempt):
                execute("UPDATE job SET attempt = ? WHERE client = ? AND id = ?", (attempt, client, job_id))
            case StoreFinal(client, job_id, final):
                text = msgspec.json.encode([type(final).__name__.lower(), *final.arguments()]).decode()
                values = (final.seq, text, time.time(), client, job_id)
                updated = execute("UPDATE job SET seq = ?, final = ?, ended_at = ? WHERE client = ? AND id = ?", values)
                if updated.rowcount == 0:  # a job that could not be kept has used a number all the same
                    execute("INSERT OR REPLACE INTO client VALUES (?, ?)", (client, final.seq))
                self._since_pruned += 1
            case StorePreset(preset, key, value):
                execute("INSERT OR REPLACE INTO preset VALUES (?, ?, ?)", (preset, key, msgspec.json.encode(value).decode()))

    def _prune(self) -> None:
        """Forgets ended jobs that are too old or too many. Unfinished ones are never forgotten."""
        self._since_pruned = 0
        self._database.execute(f"INSERT OR REPLACE INTO client {_NEWEST_SEQS}")
        oldest = time.time() - self._limits.remembered_hours * 3600
        self._database.execute("DELETE FROM job WHERE final IS NOT NULL AND ended_at < ?", (oldest,))
        self._database.execute(
            "DELETE FROM job WHERE final IS NOT NULL AND number NOT IN "
            "(SELECT number FROM job WHERE final IS NOT NULL ORDER BY ended_at DESC, number DESC LIMIT ?)",
            (self._limits.remembered_jobs,),
        )


@dataclass(frozen=True, slots=True)
class _StartedJob:
    """A new job, and how often it was started in the round that accepted it."""

    job: StoreJob
    attempt: int


def _with_attempts(stores: Iterable[Store]) -> Iterator[_StartedJob | Store]:
    """Most jobs are started in the round that accepts them: that is one row to write and not two changes of it."""
    stores = tuple(stores)
    attempts = {(store.client, store.job_id): store.attempt for store in stores if isinstance(store, StoreAttempt)}
    for store in stores:
        if isinstance(store, StoreJob):
            yield _StartedJob(store, attempts.pop((store.client, store.job_id), 0))
        elif not isinstance(store, StoreAttempt) or (store.client, store.job_id) in attempts:
            yield store


def _opened(path: Path, durability: str) -> sqlite3.Connection:
    """The database, set aside and made anew where it is damaged or foreign."""
    try:
        return _connected(path, durability)
    except sqlite3.OperationalError:  # locked, no rights, disk full: the file is not to blame
        raise
    except (sqlite3.DatabaseError, ValueError) as error:
        aside = _set_aside(path)
        log.warning("The journal %s cannot be used (%s). It was renamed to %s; this run starts with an empty one.", path, error, aside.name)
        return _connected(path, durability)


def _connected(path: Path, durability: str) -> sqlite3.Connection:
    database = sqlite3.connect(path, isolation_level=None, timeout=1.0, check_same_thread=False)
    try:
        database.execute("PRAGMA locking_mode = EXCLUSIVE")  # two workers must not share one
        database.execute("PRAGMA page_size = 1024")
        database.execute("PRAGMA journal_mode = WAL")
        database.execute(f"PRAGMA synchronous = {'FULL' if durability == 'power' else 'NORMAL'}")
        (application_id,) = database.execute("PRAGMA application_id").fetchone()
        (tables,) = database.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables == 0 and application_id == 0:
            database.executescript(
                f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA application_id = {_APPLICATION_ID}; PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;"
            )
        elif application_id != _APPLICATION_ID:
            raise ValueError("it is a database of another program")
        elif (schema := database.execute("PRAGMA user_version").fetchone()[0]) != _SCHEMA_VERSION:
            raise ValueError(f"it has format {schema}, this version writes {_SCHEMA_VERSION}")
        (verdict,) = database.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise ValueError(verdict)
    except BaseException:
        database.close()
        raise
    return database


def _set_aside(path: Path) -> Path:
    """Renames the database, and its log if there is one, to a free name beside it."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    names = (f"{path.name}.damaged-{stamp}{suffix}" for suffix in ("", *(f"-{number}" for number in range(2, 1000))))
    aside = next(path.with_name(name) for name in names if not path.with_name(name).exists())
    path.rename(aside)
    for ending in ("-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + ending).rename(aside.with_name(aside.name + ending))
    return aside


def _final(text: str | None) -> Final | None:
    if text is None:
        return None
    word, *arguments = msgspec.json.decode(text)
    return _FINALS[word](*arguments)
