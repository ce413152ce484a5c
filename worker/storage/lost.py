"""Rows that could not be read, or brought in: the table `lost`."""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from pathlib import Path
from typing import Final as Constant

import msgspec

from worker.storage import rows
from worker.storage.schema import JournalError

log = logging.getLogger(__name__)

LOST: Constant = "SELECT reason, client, id, content FROM lost ORDER BY number"


class LostRow(msgspec.Struct, frozen=True):
    """A row that could not be read, as it was found."""

    reason: str
    client: object
    job_id: object
    content: object


def put_aside(database: sqlite3.Connection, path: Path, lost: LostRow) -> None:
    """Notes what cannot be read in the table `lost`.

    Args:
        database: a transaction is under way.
        path: its file.
        lost: what cannot be read.
    """
    log.error("A row of the journal %s cannot be read: %s. It was moved to its table of lost rows.", path, lost.reason)
    values = (time.time(), lost.reason, lost.client, lost.job_id, lost.content)
    database.execute("INSERT INTO lost (at, reason, client, id, content) VALUES (?, ?, ?, ?, ?)", values)


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
            return tuple(LostRow(*row) for row in database.execute(LOST))
    except sqlite3.Error as error:
        raise JournalError(f"The journal {path} cannot be read: {error}.") from error
