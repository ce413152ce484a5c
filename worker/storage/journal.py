"""What must survive a crash: accepted jobs, their finals, the presets, and the number of this start. SQLite, from the standard library.

One file per port in the state directory. `commit` writes everything that one round of the service wants in one transaction, so that a burst
of jobs costs one. With durability "process" a commit survives the end of this process, however it comes (SQLite: WAL,
synchronous=NORMAL); with "power" it waits for the disk, and survives that of the machine too. In the first case only `tidy` waits for
the disk: it brings the log into the database, and a commit only writes to the log.

No decision hangs on the wall clock alone, because it jumps (a computer without a battery starts in 1970): order is by rising numbers, and
age is the smaller one of what the wall clock says and of how long workers have run with this journal since.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import random
import sqlite3
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from typing import Final as Constant

import msgspec

from worker.config import Limits
from worker.core import reports
from worker.core.events import (
    Kept,
    KeptJob,
    Store,
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
from worker.errors import InternalError
from worker.protocol.messages import Final
from worker.storage import rows, schema
from worker.storage.place import Place
from worker.storage.rows import RowError
from worker.storage.schema import JournalError as JournalError  # noqa: PLC0414 - part of this module's interface

log = logging.getLogger(__name__)

_NEWEST_SEQS: Constant = """
SELECT key, max(seq) AS newest FROM
    (SELECT client AS key, seq FROM job UNION ALL SELECT key, newest_seq FROM client) WHERE typeof(seq) = 'integer' GROUP BY key
"""
_KEEP_NEWEST_SEQS: Constant = f"""
INSERT INTO client (key, newest_seq, used) SELECT key, newest, ? FROM ({_NEWEST_SEQS}) WHERE true
ON CONFLICT (key) DO UPDATE SET newest_seq = excluded.newest_seq
"""  # noqa: S608 # nosec B608 - made of constants
_CLIENT: Constant = """
INSERT INTO client (key, number_port, name, leased, acknowledges, gone, used) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET number_port = excluded.number_port, name = excluded.name, leased = excluded.leased,
    acknowledges = excluded.acknowledges, gone = excluded.gone, used = excluded.used
"""
_FINAL: Constant = """
UPDATE job SET content = CASE WHEN final IS NULL THEN digest(content) ELSE content END,
    seq = ?, final = ?, ended = ?, ended_at = ?, ended_up = ?, told = ? WHERE client = ? AND id = ?
"""
_TOLD: Constant = "UPDATE job SET told = 1 WHERE client = ? AND id = ?"
_USED_SEQ: Constant = """
INSERT INTO client (key, newest_seq, used) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET newest_seq = excluded.newest_seq, used = excluded.used
"""
_PEER: Constant = "INSERT OR REPLACE INTO peer (host, port, client, used) VALUES (?, ?, ?, ?)"
_KEPT_JOBS: Constant = """
SELECT number, client, id, content, attempt, seq, final, told, crashes, accepted_at, accepted_up
FROM job ORDER BY final IS NULL, ended, number
"""
_KEPT_CLIENTS: Constant = "SELECT key, number_port, name, leased, acknowledges, gone FROM client WHERE leased NOT NULL ORDER BY used"
_LOST: Constant = "SELECT reason, client, id, content FROM lost ORDER BY number"
_UP: Constant = "SELECT max(up) FROM (SELECT up FROM start UNION ALL SELECT ended_up FROM job) WHERE typeof(up) = 'real'"
_ENDS: Constant = "SELECT max(ended) FROM (SELECT ended FROM job UNION ALL SELECT used FROM client) WHERE typeof(ended) = 'integer'"
_NEW_JOB: Constant = """
INSERT OR REPLACE INTO job (client, id, content, accepted_at, accepted_up, attempt, running) VALUES (?, ?, ?, ?, ?, ?, ?)
"""
_PRUNE_JOBS: Constant = """
DELETE FROM job WHERE final NOT NULL AND number NOT IN
    (SELECT number FROM job WHERE final NOT NULL ORDER BY ended DESC, number DESC LIMIT ?)
"""
_PRUNE_CLIENTS: Constant = """
DELETE FROM client WHERE key NOT IN (SELECT client FROM job) AND key NOT IN (SELECT key FROM client ORDER BY used DESC LIMIT ?)
"""
PRUNE_EVERY: Constant = 1000
#: When the log is brought into the database, in pages of 1 kB: if nobody needs the journal at the moment, and in any case.
_TIDY_PAGES: Constant = 64
_TIDY_PAGES_AT_ONCE: Constant = 8192
#: About how many pages of the log a record takes beside its content. Their number only says when to tidy up.
_PAGES_OF_RECORD: Constant = 3
#: Of so many clients without a remembered job the newest number is kept.
_CLIENTS: Constant = 4096
#: Of so many senders it is kept which client they are.
_PEERS: Constant = 4096
#: Boot numbers of so many starts are kept, so that none of them comes again.
_STARTS: Constant = 1000
#: A float channel carries whole numbers up to here exactly.
_BOOTS: Constant = 2**24


class LostRow(msgspec.Struct, frozen=True):
    """A row that could not be read, as it was found."""

    reason: str
    client: object
    job_id: object
    content: object


def lost_rows(path: Path) -> tuple[LostRow, ...]:
    """What could not be read in this journal, now or at earlier starts. May be called while a worker has the journal open.

    `immutable` reads past the worker's lock: https://www.sqlite.org/uri.html. What the worker writes at this moment may be missing.

    Raises:
        JournalError: it cannot be read.
    """
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            database.text_factory = rows.text_or_bytes
            if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'lost'").fetchone()[0]:
                return ()
            return tuple(LostRow(*row) for row in database.execute(_LOST))
    except sqlite3.Error as error:
        raise JournalError(f"The journal {path} cannot be read: {error}.") from error


class Journal:
    """An open journal. Used by one thread.

    Args:
        path: the database file; it and its directory are made if they are missing, for this user's eyes only.
        durability: "process" or "power", see the module's docstring.
        limits: how many ended jobs are kept, and for how long.
        prune_every: after so many more ended jobs, those that are too many are forgotten.

    Attributes:
        boot: the number of this start, which no earlier start that the journal knows has had.

    Raises:
        JournalError: no journal can be made there, another worker holds it, or its format is a newer one. A file that is damaged or not
            ours is no reason: it is set aside under another name.
    """

    def __init__(self, path: Path, durability: str, limits: Limits, prune_every: int = PRUNE_EVERY) -> None:
        self.path = path
        self._durability = durability
        self._limits = limits
        self._prune_every = prune_every
        self._since_pruned = 0
        self._pages = 0
        self._began = time.monotonic()
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = schema.opened(path, durability)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(_sentence(path, error)) from error
        try:
            self._database.text_factory = rows.text_or_bytes
            with self._transaction():
                self._up_before = self._one(_UP) or 0.0
                self._ends = self._one(_ENDS) or 0
                self.boot = self._begin()
                self._prune()
            self._place = Place(path)
        except (OSError, sqlite3.Error) as error:
            self._database.close()
            raise JournalError(_sentence(path, error)) from error

    def kept(self) -> Kept:
        """What earlier runs left. A row that cannot be read is moved to the table `lost`, and its job ends as 500.

        Raises:
            JournalError: such a row could not be moved.
        """
        try:
            with self._transaction():
                seqs = self._kept_seqs()
                jobs, presets = tuple(self._kept_jobs(seqs)), tuple(self._kept_presets())
                kept = Kept(jobs, tuple(seqs.items()), presets, tuple(self._kept_clients()), tuple(self._kept_peers()))
            if self.lost():
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that `lost_rows` finds them
        except sqlite3.Error as error:
            raise JournalError(_sentence(self.path, error)) from error
        return kept

    def lost(self) -> tuple[LostRow, ...]:
        """What could not be read at this start and at earlier ones."""
        return tuple(LostRow(*row) for row in self._database.execute(_LOST))

    def commit(self, stores: Iterable[Store]) -> None:
        """Writes all of them, or none.

        Raises:
            JournalError: nothing was written.
        """
        writes = _with_attempts(stores)
        try:
            if len(writes) == 1:
                self._write(writes[0])  # a statement alone is a transaction of its own, and two calls cheaper
            else:
                with self._transaction():
                    for kind, group in itertools.groupby(writes, type):
                        if kind is StoreTold:  # they come many at a time
                            self._database.executemany(_TOLD, [(told.client, told.job_id) for told in group if isinstance(told, StoreTold)])
                        else:
                            for write in group:
                                self._write(write)
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error
        self._pages += _PAGES_OF_RECORD * len(writes)

    @property
    def waits_for_disk(self) -> bool:
        """Whether each commit waits for the disk."""
        return self._durability == "power"

    def is_untidy(self, *, idle: bool) -> bool:
        """Whether it is time for `tidy`.

        Args:
            idle: nobody needs the journal at the moment.
        """
        return self._pages > (_TIDY_PAGES if idle else _TIDY_PAGES_AT_ONCE) or self._since_pruned >= self._prune_every

    def tidy(self) -> None:
        """Forgets what is too old, and brings the log into the database. Waits for the disk.

        Raises:
            JournalError: it could not be written.
        """
        try:
            if self._since_pruned >= self._prune_every:
                with self._transaction():
                    self._prune()
            self._database.execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._pages = 0
            # The first write to a log that begins again waits for the disk, too: that shall not be a job's.
            self._database.execute("UPDATE start SET up = ? WHERE number = ?", (self._up(), self._start))
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def commit_nothing(self) -> None:
        """Writes something of no consequence, to see whether writing works.

        Raises:
            JournalError: it does not.
        """
        try:
            schema.make_room(self._database)
            self._database.execute("UPDATE start SET up = ? WHERE number = ?", (self._up(), self._start))
        except sqlite3.Error as error:
            raise JournalError(str(error)) from error

    def is_there(self) -> bool:
        """Whether what is written still gets into the files that the next start will find. `check` says what is wrong."""
        return self._place.is_same()

    def check(self) -> None:
        """Looks whether what is written still gets into the files that the next start will find.

        Files that were deleted live on while they are open, so they are written anew if their folder is still the same. A folder that
        has gone is not made again, because its disk may just not be connected.

        Raises:
            JournalError: the files or their folder were deleted, moved or replaced.
        """
        try:
            self._place.check()
        except FileNotFoundError:
            self._write_anew()

    def close(self) -> None:
        """Notes that this run ended in order, and writes everything into the one file."""
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("UPDATE start SET up = ?, clean = 1 WHERE number = ?", (self._up(), self._start))
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _write_anew(self) -> None:
        """Makes files that were deleted again, from those that are still open.

        The open database is closed first: SQLite removes the log by its name then, which must not be the new one's.
        https://www.sqlite.org/howtocorrupt.html, section 4.1
        """
        anew = self.path.with_name(self.path.name + ".anew")
        try:
            anew.unlink(missing_ok=True)
            self.path.unlink(missing_ok=True)
            schema.copy(self._database, anew)
            self._database.close()
            anew.rename(self.path)
            self._database = schema.opened(self.path, self._durability)
            self._database.text_factory = rows.text_or_bytes
            self._database.execute("UPDATE start SET up = ? WHERE number = ?", (self._up(), self._start))  # begins the log
            self._place = Place(self.path)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(f"{self.path} was deleted, and could not be written anew: {error}") from error
        log.warning("The journal %s was deleted while the worker ran. It was written anew.", self.path)

    # ------------------------------------------------------------------------------------------------------ writing

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        if self._database.in_transaction:  # the end of an earlier one has failed, and so has its rollback
            self._database.execute("ROLLBACK")
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # a full disk has rolled it back already
                self._database.execute("ROLLBACK")
            raise

    def _write(self, store: _StartedJob | Store) -> None:
        execute = self._database.execute
        if isinstance(store, _StartedJob):
            self._pages += len(store.job.content) // 1024
            # An id that was forgotten in memory may still stand here.
            who, what = (store.job.client, store.job.job_id, store.job.content), (store.attempt, store.begun)
            execute(_NEW_JOB, (*who, time.time(), self._up(), *what))
            return
        if type(store) is StoreFinal:
            if not self._write_final(store.client, store.job_id, store.final, told=False):
                # A job that could not be kept has used a number all the same.
                execute(_USED_SEQ, (store.client, store.final.seq, self._next_end()))
            self._since_pruned += 1
            return
        match store:
            case StoreAttempt(client, job_id, attempt, begun):
                execute("UPDATE job SET attempt = ?, running = ? WHERE client = ? AND id = ?", (attempt, begun, client, job_id))
            case StoreBegun(client, job_id):
                execute("UPDATE job SET running = 1 WHERE client = ? AND id = ?", (client, job_id))
            case StoreTold(client, job_id):
                execute(_TOLD, (client, job_id))
            case StoreClient():
                execute(_CLIENT, (*msgspec.structs.astuple(store), self._next_end()))
            case StorePeer((host, port), client):
                execute(_PEER, (host, port, client, self._next_end()))
            case StorePreset(preset, key, value):
                execute("INSERT OR REPLACE INTO preset VALUES (?, ?, ?)", (preset, key, msgspec.json.encode(value).decode()))
            case StoreUnset(preset, key):
                execute("DELETE FROM preset WHERE name = ? AND (key = ? OR ? = '')", (preset, key, key))

    def _write_final(self, client: str, job_id: str, final: Final, *, told: bool) -> bool:
        """Whether there was a job to write it to."""
        ended = (final.seq, rows.final_text(final), self._next_end(), time.time(), self._up(), told, client, job_id)
        return self._database.execute(_FINAL, ended).rowcount > 0

    def _next_end(self) -> int:
        self._ends += 1
        return self._ends

    def _up(self) -> float:
        """How long workers have run with this journal, all runs together, in seconds."""
        return self._up_before + time.monotonic() - self._began

    def _prune(self) -> None:
        """Forgets ended jobs that are too old or too many. Unfinished ones are never forgotten."""
        self._since_pruned = 0
        execute = self._database.execute
        execute("UPDATE start SET up = ? WHERE number = ?", (self._up(), self._start))
        execute(_KEEP_NEWEST_SEQS, (self._ends,))
        age_s = self._limits.remembered_hours * 3600
        execute("DELETE FROM job WHERE final NOT NULL AND ended_at < ? AND ended_up < ?", (time.time() - age_s, self._up() - age_s))
        execute(_PRUNE_JOBS, (self._limits.remembered_jobs,))
        execute(_PRUNE_CLIENTS, (_CLIENTS,))
        execute("DELETE FROM peer WHERE rowid NOT IN (SELECT rowid FROM peer ORDER BY used DESC LIMIT ?)", (_PEERS,))

    # ---------------------------------------------------------------------------------------------------- beginning

    def _begin(self) -> int:
        """Notes this start, and which jobs ran when the one before broke off. Returns the boot number."""
        execute = self._database.execute
        broke_off = self._one("SELECT clean FROM start ORDER BY number DESC LIMIT 1") == 0
        execute("UPDATE job SET crashes = crashes + ?, running = 0 WHERE final IS NULL AND running = 1", (int(broke_off),))
        earlier = {boot for (boot,) in execute("SELECT boot FROM start")}
        # Chance alone: a clock may stand at the same time at each start, and a lost journal knows no number at all.
        boot = next(number for number in iter(lambda: random.SystemRandom().randrange(1, _BOOTS), 0) if number not in earlier)
        self._start = execute("INSERT INTO start (boot, up) VALUES (?, ?)", (boot, self._up())).lastrowid or 0
        execute("DELETE FROM start WHERE number <= ?", (self._start - _STARTS,))
        return boot

    def _one(self, query: str) -> Any:
        found = self._database.execute(query).fetchone()
        return found[0] if found else None

    def _kept_seqs(self) -> dict[str, int]:
        seqs: dict[str, int] = {}
        for key, newest_seq in self._database.execute(_NEWEST_SEQS).fetchall():
            try:
                seqs[rows.client_key(key)] = rows.count(newest_seq, "the newest seq")
            except RowError as error:
                self._note_lost(LostRow(str(error), key, None, newest_seq))
                self._database.execute("DELETE FROM client WHERE key IS ?", (key,))
        return seqs

    def _kept_jobs(self, seqs: dict[str, int]) -> Iterator[KeptJob]:
        for number, client, job_id, content, *rest in self._database.execute(_KEPT_JOBS).fetchall():
            try:
                key, name = rows.client_key(client), rows.text(job_id, "id")
            except RowError as error:  # nobody can be told
                self._note_lost(LostRow(str(error), client, job_id, content))
                self._database.execute("DELETE FROM job WHERE number = ?", (number,))
                continue
            try:
                yield self._kept_job(key, name, content, *rest)
            except RowError as error:
                self._note_lost(LostRow(str(error), client, job_id, content))
                _, seq, final, *_ = rest
                used = seq if final is not None and isinstance(seq, int) and seq > 0 else 0
                seqs[key] = max(seqs.get(key, 0), used or seqs.get(key, 0) + 1)
                yield self._ended_as_unreadable(key, name, content if isinstance(content, bytes) else b"", used or seqs[key])

    def _kept_job(self, client: str, job_id: str, *columns: object) -> KeptJob:
        content, attempt, _, final, told, crashes, accepted_at, accepted_up = columns
        ended = None if final is None else rows.final(final)
        age_s = max(
            0.0,
            time.time() - rows.seconds(accepted_at, "the time of its acceptance"),
            self._up() - rows.seconds(accepted_up, "the time of its acceptance"),
        )
        return KeptJob(
            client,
            job_id,
            rows.content(content, to_run=ended is None),
            rows.count(attempt, "the attempt"),
            ended,
            told == 1,
            rows.count(crashes, "the number of crashes"),
            age_s,
        )

    def _ended_as_unreadable(self, client: str, job_id: str, content: bytes, seq: int) -> KeptJob:
        """Ends a job whose row is damaged. What its columns should hold is put right, so that it is not found damaged again."""
        why = InternalError("The journal could not be read where this job stood.", "Look at its output, then send it again with a new id.")
        final = reports.failed(job_id, self.boot, why, seq)
        self._database.execute(
            "UPDATE job SET content = ?, attempt = 0, crashes = 0, accepted_at = ?, accepted_up = ? WHERE client = ? AND id = ?",
            (content, time.time(), self._up(), client, job_id),
        )
        self._write_final(client, job_id, final, told=False)
        (kept,) = self._database.execute("SELECT content FROM job WHERE client = ? AND id = ?", (client, job_id)).fetchone()
        return KeptJob(client, job_id, kept, 0, final, told=False)

    def _kept_clients(self) -> Iterator[StoreClient]:
        for key, number_port, name, *flags in self._database.execute(_KEPT_CLIENTS).fetchall():
            try:
                leased, acknowledges, gone = (bool(rows.count(flag, "a mark")) for flag in flags)
                port, known_as = rows.count(number_port, "the port"), rows.text(name, "name", empty=True)
                yield StoreClient(rows.client_key(key), port, known_as, leased, acknowledges, gone)
            except RowError as error:
                self._note_lost(LostRow(f"client: {error}", key, None, None))
                self._database.execute("UPDATE client SET leased = NULL WHERE key IS ?", (key,))

    def _kept_peers(self) -> Iterator[StorePeer]:
        for host, port, client in self._database.execute("SELECT host, port, client FROM peer ORDER BY used").fetchall():
            try:
                yield StorePeer((rows.text(host, "host"), rows.count(port, "the port")), rows.client_key(client))
            except RowError as error:
                self._note_lost(LostRow(f"sender: {error}", client, host, port))
                self._database.execute("DELETE FROM peer WHERE host IS ? AND port IS ?", (host, port))

    def _kept_presets(self) -> Iterator[StorePreset]:
        for row, name, key, value in self._database.execute("SELECT rowid, name, key, value FROM preset ORDER BY rowid").fetchall():
            try:
                yield StorePreset(rows.text(name, "name"), rows.text(key, "key"), rows.preset_value(value))
            except RowError as error:
                self._note_lost(LostRow(f"preset: {error}", name, key, value))
                self._database.execute("DELETE FROM preset WHERE rowid = ?", (row,))

    def _note_lost(self, lost: LostRow) -> None:
        log.error("A row of the journal %s cannot be read: %s. It was moved to its table of lost rows.", self.path, lost.reason)
        values = (time.time(), lost.reason, lost.client, lost.job_id, lost.content)
        self._database.execute("INSERT INTO lost (at, reason, client, id, content) VALUES (?, ?, ?, ?, ?)", values)


class _StartedJob(msgspec.Struct, frozen=True):
    """A new job, and how often it was started in the round that accepted it."""

    job: StoreJob
    attempt: int
    begun: bool


def _with_attempts(stores: Iterable[Store]) -> list[_StartedJob | Store]:
    """Most jobs are started in the round that accepts them: that is one row to write and not two changes of it."""
    stores = tuple(stores)
    if len(stores) == 1 and type(stores[0]) is StoreFinal:
        return [stores[0]]
    attempts = {(store.client, store.job_id): store for store in stores if type(store) is StoreAttempt}
    writes: list[_StartedJob | Store] = []
    for store in stores:
        if type(store) is StoreJob:
            started = attempts.pop((store.client, store.job_id), None)
            writes.append(_StartedJob(store, started.attempt if started else 0, begun=bool(started and started.begun)))
        elif type(store) is not StoreAttempt or (store.client, store.job_id) in attempts:
            writes.append(store)
    return writes


def _sentence(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"The journal {path} is locked: another worker uses it. Stop that one, or choose another folder with --state."
    reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
    return f"The journal {path} cannot be used: {reason}. Choose another folder with --state; --no-journal runs without one."
