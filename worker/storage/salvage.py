"""What can still be read from a damaged journal.

A damaged page costs the rows that stand on it, and those that SQLite finds only through it. Each table is read from its beginning until
there is damage, and then from its end.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worker.storage import rows

_TABLES = ("job", "client", "peer", "preset", "start", "lost", "log")


def salvage(damaged: Path, into: sqlite3.Connection) -> int:
    """Copies the rows that can be read into an empty journal of the same format. Returns how many were jobs.

    Raises:
        sqlite3.Error: they cannot be written.
    """
    jobs = 0
    has_log = damaged.with_name(damaged.name + "-wal").exists()
    mode = "ro" if has_log else "ro&immutable=1"  # without a log nothing is written beside it
    try:
        source = sqlite3.connect(f"{damaged.absolute().as_uri()}?mode={mode}", uri=True)
    except sqlite3.Error:
        return 0
    with contextlib.closing(source):
        source.text_factory = rows.text_or_bytes
        into.execute("BEGIN IMMEDIATE")
        for table in _TABLES:
            columns = [name for _, name, *_ in into.execute(f"PRAGMA table_info({table})")]
            statement = f"INSERT OR IGNORE INTO {table} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"  # noqa: S608
            for row in _readable(source, table, columns):
                with contextlib.suppress(sqlite3.IntegrityError):  # a column that must hold something does not
                    jobs += into.execute(statement, row).rowcount * (table == "job")
        into.execute("COMMIT")
    return jobs


def _readable(source: sqlite3.Connection, table: str, columns: list[str]) -> Iterator[tuple[Any, ...]]:
    """From the beginning, then from the end; a row may come twice."""
    for direction in ("ASC", "DESC"):
        with contextlib.suppress(sqlite3.Error):
            yield from source.execute(f"SELECT {', '.join(columns)} FROM {table} NOT INDEXED ORDER BY rowid {direction}")  # noqa: S608 # nosec B608
            return
