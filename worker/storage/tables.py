"""Brings the rows of commits into the journal's tables.

Most jobs begin and end within the commits that are brought in together: then they cost one row, and no change of it.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any
from typing import Final as Constant

import msgspec

from worker.core.ledger import digest
from worker.storage import rows, schema
from worker.storage.commit_log import Commit
from worker.storage.lost import LostRow, put_aside

log = logging.getLogger(__name__)

FINAL: Constant = """
UPDATE job SET content = CASE WHEN final IS NULL THEN digest(content) ELSE content END,
    seq = ?, final = ?, ended = ?, ended_at = ?, ended_up = ?, told = 0 WHERE client = ? AND id = ?
"""
_JOB: Constant = """
INSERT OR REPLACE INTO job
    (client, id, content, accepted_at, accepted_up, attempt, running, seq, final, ended, ended_at, ended_up, told)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
#: Places in such a row.
_CONTENT, _ATTEMPT, _RUNNING, _SEQ, _TEXT, _TOLD = 2, 5, 6, 7, 8, 12
_USED_SEQ: Constant = """
INSERT INTO client (key, newest_seq, used) VALUES (?, ?, ?)
ON CONFLICT (key) DO UPDATE SET newest_seq = excluded.newest_seq, used = excluded.used
"""
_CLIENT: Constant = """
INSERT INTO client (key, number_port, name, leased, acknowledges, gone, used) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (key) DO UPDATE SET number_port = excluded.number_port, name = excluded.name, leased = excluded.leased,
    acknowledges = excluded.acknowledges, gone = excluded.gone, used = excluded.used
"""
_PEER: Constant = "INSERT OR REPLACE INTO peer (host, port, client, used) VALUES (?, ?, ?, ?)"
#: A value cannot be brought in; not: the files cannot be written. Rows are made of checked messages, so it is a mistake of ours.
UNFIT: Constant = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    ArithmeticError,
    TypeError,
    ValueError,
)

_Key = tuple[str, str]


class Tables:
    """Brings commits in, in the transaction that is under way.

    Args:
        database: the journal's.
        next_end: gives rising numbers for the order of ends and of last uses.

    Attributes:
        ended: how many finals came in.
    """

    def __init__(self, database: sqlite3.Connection, next_end: Callable[[], int]) -> None:
        self._execute = database.execute
        self._many = database.executemany
        self._next_end = next_end
        self._new: dict[_Key, list[Any]] = {}  # rows of jobs that the table does not have yet
        self._told: dict[_Key, None] = {}  # of jobs that it has
        self.ended = 0

    def bring_in(self, commits: Iterable[Commit]) -> None:
        """Brings in everything that these commits hold.

        Raises:
            sqlite3.Error: it cannot be; those in `UNFIT` because of a value.
        """
        for commit in commits:
            for row in commit.rows:
                self._bring_in(row, commit)
        self._flush()

    def _flush(self) -> None:
        """Notes about older jobs go first: a new one may have the id of one that was forgotten."""
        if self._told:
            self._many("UPDATE job SET told = 1 WHERE client = ? AND id = ?", self._told)
            self._told = {}
        if self._new:
            self._many(_JOB, self._new.values())
            self._new = {}

    def _bring_in(self, row: Sequence[Any], commit: Commit) -> None:
        word = row[0]
        if word == "job":
            _, client, job_id, content = row
            if (client, job_id) in self._new:
                self._flush()
            self._new[client, job_id] = [client, job_id, content, commit.at, commit.up, 0, 0, None, None, None, None, None, 0]
        elif word == "final":
            self._end(row, commit)
        else:
            self._change(row)

    def _end(self, row: Sequence[Any], commit: Commit) -> None:
        _, client, job_id, seq, final = row
        end = [seq, rows.json(final), self._next_end(), commit.at, commit.up]
        self.ended += 1
        new = self._new.get((client, job_id))
        if new is not None:
            if new[_TEXT] is None:
                new[_CONTENT] = digest(new[_CONTENT])
            new[_SEQ:_TOLD] = end
            new[_TOLD] = 0
            return
        if (client, job_id) in self._told:
            self._flush()
        if not self._execute(FINAL, (*end, client, job_id)).rowcount:
            self._execute(_USED_SEQ, (client, seq, self._next_end()))  # a job that could not be kept has used a number all the same

    def _change(self, row: Sequence[Any]) -> None:
        match row:
            case ["attempt", client, job_id, attempt, begun]:
                if new := self._new.get((client, job_id)):
                    new[_ATTEMPT], new[_RUNNING] = attempt, begun
                else:
                    self._execute("UPDATE job SET attempt = ?, running = ? WHERE client = ? AND id = ?", (attempt, begun, client, job_id))
            case ["begun", client, job_id]:
                if new := self._new.get((client, job_id)):
                    new[_RUNNING] = 1
                else:
                    self._execute("UPDATE job SET running = 1 WHERE client = ? AND id = ?", (client, job_id))
            case ["told", client, job_id]:
                if new := self._new.get((client, job_id)):
                    new[_TOLD] = 1
                else:
                    self._told[client, job_id] = None
            case ["client", *values]:
                self._execute(_CLIENT, (*values, self._next_end()))
            case ["peer", *values]:
                self._execute(_PEER, (*values, self._next_end()))
            case ["preset", *values]:
                self._execute("INSERT OR REPLACE INTO preset VALUES (?, ?, ?)", values)
            case ["unset", preset, key]:
                self._execute("DELETE FROM preset WHERE name = ? AND (key = ? OR ? = '')", (preset, key, key))
            case _:
                raise ValueError(f"a row {row[0]!r:.50}")


def fold(database: sqlite3.Connection, part: Sequence[Commit], next_end: Callable[[], int], path: Path) -> int:
    """Brings commits in, and notes up to which one, in one transaction. Returns how many finals came in.

    A row that does not fit is put aside: it would be a mistake of ours, and must not keep all others out.

    Raises:
        sqlite3.Error: nothing was brought in.
    """
    folded = "UPDATE log SET folded = ?", (part[-1].number,)
    try:
        with schema.transaction(database):
            together = Tables(database, next_end)
            together.bring_in(part)
            database.execute(*folded)
            return together.ended
    except UNFIT:
        log.exception("A commit of the journal %s cannot be brought in as a whole", path)
    with schema.transaction(database):
        alone = [msgspec.structs.replace(commit, rows=[row]) for commit in part for row in commit.rows]
        ended = sum(_bring_in_or_lose(database, commit, next_end, path) for commit in alone)
        database.execute(*folded)
    return ended


def _bring_in_or_lose(database: sqlite3.Connection, commit: Commit, next_end: Callable[[], int], path: Path) -> int:
    coming = Tables(database, next_end)
    try:
        coming.bring_in([commit])
    except UNFIT as error:
        put_aside(database, path, LostRow(str(error), None, None, repr(commit.rows)))
        return 0
    return coming.ended
