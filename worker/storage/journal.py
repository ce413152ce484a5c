"""What must survive a crash: accepted jobs, their finals, the presets, and the number of this start. SQLite, from the standard library.

One database per port in the state directory. `commit` writes everything that one round of the service wants, all or nothing, so that a
burst of jobs costs one.

With durability "process" a commit survives the end of this process, however it comes. It is appended to a file in front of the database
(`commit_log`). `tidy` brings many commits into the database and waits for the disk, in another thread, while commits go on. With "power" a
commit survives the end of the machine, too: it is a transaction of the database (WAL, synchronous=FULL), and waits for the disk itself.

No decision hangs on the wall clock alone, because it jumps (a computer without a battery starts in 1970): order is by rising numbers, and
ended jobs are forgotten if both the wall clock and the time that workers have run with this journal say that they are old. A job that waits
is as old as the one of the two says that says more, because no worker may have run for a while; a jump during a run is taken out (`wall`).
"""

from __future__ import annotations

import contextlib
import logging
import random
import sqlite3
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from typing import Final as Constant

from worker.config import Limits
from worker.core.events import Kept, Store
from worker.storage import commit_log, kept, lost, rows, schema, tables
from worker.storage.commit_log import Commit, CommitLog
from worker.storage.kept import Reader
from worker.storage.lost import LostRow
from worker.storage.lost import lost_rows as lost_rows  # noqa: PLC0414 - part of this module's interface
from worker.storage.place import Place
from worker.storage.schema import JournalError as JournalError  # noqa: PLC0414 - part of this module's interface
from worker.storage.tables import Tables
from worker.storage.wall import Wall

log = logging.getLogger(__name__)

_KEEP_NEWEST_SEQS: Constant = f"""
INSERT INTO client (key, newest_seq, used) SELECT key, newest, ? FROM ({kept.NEWEST_SEQS}) WHERE true
ON CONFLICT (key) DO UPDATE SET newest_seq = excluded.newest_seq
"""  # noqa: S608 # nosec B608 - made of constants
_UP: Constant = "SELECT max(up) FROM (SELECT up FROM start UNION ALL SELECT ended_up FROM job) WHERE typeof(up) = 'real'"
_ENDS: Constant = "SELECT max(ended) FROM (SELECT ended FROM job UNION ALL SELECT used FROM client) WHERE typeof(ended) = 'integer'"
_PRUNE_JOBS: Constant = """
DELETE FROM job WHERE final NOT NULL AND number NOT IN
    (SELECT number FROM job WHERE final NOT NULL ORDER BY ended DESC, number DESC LIMIT ?)
"""
_PRUNE_CLIENTS: Constant = """
DELETE FROM client WHERE key NOT IN (SELECT client FROM job) AND key NOT IN (SELECT key FROM client ORDER BY used DESC LIMIT ?)
"""
PRUNE_EVERY: Constant = 1000
#: Maximum size of commits that wait for the database, and how long they wait at most.
_FOLD_BYTES: Constant = 2**20
_FOLD_AFTER_S: Constant = 10.0
#: If there are so many, the database does not keep up, and the next commits wait for it.
_FAR_BEHIND_BYTES: Constant = 16 * _FOLD_BYTES
#: With "power": when SQLite's log is brought into the database, in pages of 1 kB: if nobody needs the journal just now, and in any case.
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


class Journal:
    """An open journal.

    `commit`, `turn`, `check` and the like belong to one thread at a time. `tidy` may run in another one meanwhile.

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
        self._began = self._turned_at = time.monotonic()
        self._failing = ""  # why the last `tidy` has failed
        self._wall: Wall | None = None
        self._log: CommitLog | None = None
        self._using = threading.Lock()  # held by the thread that uses the database
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._database = schema.opened(path, durability)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(_sentence(path, error)) from error
        try:
            self._database.text_factory = rows.text_or_bytes
            self._ends = self._one(_ENDS) or 0
            newest_up = self._open_log()
            with schema.transaction(self._database):
                self._up_before = max(self._one(_UP) or 0.0, newest_up)
                self._wall = Wall(self._up())
                self.boot = self._begin()
                self._prune()
            self._place = self._placed()
        except (OSError, sqlite3.Error) as error:
            if self._log is not None:
                self._log.close()
            self._database.close()
            raise JournalError(_sentence(path, error)) from error

    def kept(self) -> Kept:
        """What earlier runs left. A row that cannot be read is moved to the table `lost`, and its job ends as 500.

        Raises:
            JournalError: such a row could not be moved.
        """
        self.fold()
        try:
            with schema.transaction(self._database):
                found = Reader(self._database, self.path, self.boot, self._up, self._next_end).read()
            if self.lost():
                self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # so that `lost_rows` finds them
        except sqlite3.Error as error:
            raise JournalError(_sentence(self.path, error)) from error
        return found

    def lost(self) -> tuple[LostRow, ...]:
        """What could not be read at this start and at earlier ones."""
        return tuple(LostRow(*row) for row in self._database.execute(lost.LOST))

    def commit(self, stores: Iterable[Store]) -> None:
        """Writes all of them, or none.

        Raises:
            JournalError: nothing was written.
        """
        written = [rows.written(store) for store in stores]
        at, up = self._now()
        try:
            if self._log is None:
                self._commit_to_the_disk(written, at, up)
            elif self._failing:  # else the log would grow without a limit
                raise JournalError(self._failing)
            else:
                self._log.append(written, at, up)
        except (OSError, sqlite3.Error) as error:
            raise JournalError(_reason(error)) from error

    def _commit_to_the_disk(self, written: list[tuple[Any, ...]], at: float, up: float) -> None:
        with self._using, schema.transaction(self._database):
            coming = Tables(self._database, self._next_end)
            coming.bring_in([Commit(0, at, up, written)])  # type: ignore[arg-type] # tuples do as well as lists
            self._since_pruned += coming.ended
        self._pages += sum(_PAGES_OF_RECORD + (len(row[3]) // 1024 if row[0] == "job" else 0) for row in written)

    @property
    def waits_for_disk(self) -> bool:
        """Whether each commit waits for the disk."""
        return self._log is None

    @property
    def is_failing(self) -> bool:
        """Whether the last `tidy` has failed. Then nothing can be committed until `commit_nothing` has succeeded."""
        return self._failing != ""

    @property
    def is_far_behind(self) -> bool:
        """Whether the database does not keep up with the commits."""
        return self._log is not None and self._log.size > _FAR_BEHIND_BYTES

    def turn(self, *, idle: bool) -> bool:
        """Prepares `tidy`, if it is time for that.

        Args:
            idle: nobody needs the journal at the moment.
        """
        was_set = self._wall is not None and self._wall.was_set(self._up())
        if self._log is None:
            return was_set or self._pages > (_TIDY_PAGES if idle else _TIDY_PAGES_AT_ONCE) or self._since_pruned >= self._prune_every
        if not idle and not was_set and self._log.size < _FOLD_BYTES and time.monotonic() - self._turned_at < _FOLD_AFTER_S:
            return False
        self._turned_at = time.monotonic()
        return self._log.turn() or was_set

    def tidy(self) -> None:
        """Brings the commits before `turn` into the database, and forgets what is too old. Waits for the disk.

        Raises:
            JournalError: it could not be written. What is not in the database yet stays where it was.
        """
        with self._using:
            try:
                self._tidy()
            except (OSError, sqlite3.Error) as error:
                self._failing = _reason(error)
                raise JournalError(self._failing) from error

    def _tidy(self) -> None:
        if self._log is not None:
            self._fold(self._log)
        self._follow_the_clock()
        if self._since_pruned >= self._prune_every:
            with schema.transaction(self._database):
                self._prune()
        self._checkpoint("PASSIVE")
        if self._log is not None:
            self._log.empty()
        self._failing = ""
        self._pages = 0
        # The first write to SQLite's log, when that begins again, waits for the disk, too: with "power" that shall not be a job's.
        self._note_up()

    def fold(self) -> None:
        """Brings all commits into the database.

        Raises:
            JournalError: it could not be written.
        """
        if self._log is not None and self._log.is_turned:
            self.tidy()
        if self._log is not None and self._log.turn():
            self.tidy()

    def commit_nothing(self) -> None:
        """Writes something of no consequence, to see whether writing works.

        Raises:
            JournalError: it does not.
        """
        try:
            with self._using:
                schema.make_room(self._database)
                self._note_up()
            self.fold()
            if self._log is not None:
                self._log.append((), *self._now())
        except (OSError, sqlite3.Error) as error:
            raise JournalError(_reason(error)) from error

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
        with contextlib.suppress(JournalError):
            self.fold()
        with contextlib.suppress(sqlite3.Error):
            self._follow_the_clock()
            self._database.execute("UPDATE start SET up = ?, clean = 1 WHERE number = ?", (self._up(), self._start))
        if self._log is not None:
            with contextlib.suppress(sqlite3.Error):
                self._checkpoint("TRUNCATE")
                self._log.close(remove=self._log.is_empty)  # while the database is still locked
            self._log.close()
        with contextlib.suppress(sqlite3.Error):
            self._database.close()

    def _write_anew(self) -> None:
        """Makes files that were deleted again, from those that are still open.

        The open database is closed first: SQLite removes the log by its name then, which must not be the new one's.
        https://www.sqlite.org/howtocorrupt.html, section 4.1
        """
        anew = self.path.with_name(self.path.name + ".anew")
        try:
            self.fold()
            with self._using:
                anew.unlink(missing_ok=True)
                schema.copy(self._database, anew)
                self._database.close()
                anew.replace(self.path)  # maybe only a log was deleted: then there is a whole database at any moment
                self._database = schema.opened(self.path, self._durability)
                self._database.text_factory = rows.text_or_bytes
                self._note_up()  # begins the log
                old, self._log = self._log, None
                for name in commit_log.names(self.path):
                    name.unlink(missing_ok=True)
                self._open_log()
                if old is not None:
                    old.close()
            self._place = self._placed()
        except (OSError, sqlite3.Error, JournalError) as error:
            raise JournalError(f"{self.path} was deleted, and could not be written anew: {error}") from error
        log.warning("The journal %s was deleted while the worker ran. It was written anew.", self.path)

    def _placed(self) -> Place:
        logs = commit_log.names(self.path) if self._log is not None else ()
        return Place(self.path, self.path.with_name(self.path.name + "-wal"), *logs)

    # -------------------------------------------------------------------------------------------------- the commit log

    def _open_log(self) -> float:
        """Opens the log of the commits, if this journal has one, and brings in what an earlier run has left there.

        Returns:
            The running time that the newest of these commits tells.
        """
        mark, folded = self._database.execute("SELECT mark, folded FROM log").fetchone() or (None, 0)
        known = isinstance(mark, bytes) and isinstance(folded, int)
        opened = CommitLog(self.path, mark if known else None, folded if known else 0)
        newest_up = 0.0
        try:
            self._database.execute("INSERT OR REPLACE INTO log VALUES (1, ?, ?)", (opened.mark, opened.number))
            if not known:  # only a database that knows which commit is its next can tell whether some are lost
                self._checkpoint("PASSIVE")
            for part in opened.left():
                self._fold_part(part)
                newest_up = max(newest_up, part[-1].up)
            if newest_up:
                self._checkpoint("PASSIVE")
            opened.begin()
        except BaseException:
            opened.close()
            raise
        if self._durability == "power":
            opened.close(remove=True)
        else:
            self._log = opened
        return newest_up

    def _fold(self, opened: CommitLog) -> None:
        while part := opened.part():
            self._fold_part(part)
            opened.drop(part)

    def _fold_part(self, part: Sequence[Commit]) -> None:
        part = self._wall.dated(part) if self._wall is not None else part  # before there is one, they are an earlier run's
        self._since_pruned += tables.fold(self._database, part, self._next_end, self.path)

    def _checkpoint(self, how: str) -> None:
        """Brings SQLite's log into its file, and waits for the disk.

        Raises:
            sqlite3.Error: it could not be.
        """
        busy, pages, done = self._database.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        if busy or pages != done:
            raise sqlite3.OperationalError("SQLite's log could not be brought into the database")

    def _note_up(self) -> None:
        self._database.execute("UPDATE start SET up = ? WHERE number = ?", (self._up(), self._start))

    # ------------------------------------------------------------------------------------------------------ writing

    def _next_end(self) -> int:
        self._ends += 1
        return self._ends

    def _up(self) -> float:
        """How long workers have run with this journal, all runs together, in seconds."""
        return self._up_before + time.monotonic() - self._began

    def _now(self) -> tuple[float, float]:
        """The time: in seconds since 1970, and of running."""
        up = self._up()
        return (self._wall.at(up) if self._wall is not None else time.time()), up

    def _follow_the_clock(self) -> None:
        if self._wall is not None:
            self._wall.follow(self._database, self._up())

    def _prune(self) -> None:
        """Forgets ended jobs that are too old or too many. Unfinished ones are never forgotten."""
        self._since_pruned = 0
        execute = self._database.execute
        self._note_up()
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


def _sentence(path: Path, error: Exception) -> str:
    if "locked" in str(error):
        return f"The journal {path} is locked: another worker uses it. Stop that one, or choose another folder with --state."
    return f"The journal {path} cannot be used: {_reason(error)}. Choose another folder with --state; --no-journal runs without one."


def _reason(error: Exception) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
