"""What an earlier run left, row by row. One that cannot be read is moved to the table `lost`, and its job ends as 500."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final as Constant

from worker.core import reports
from worker.core.events import Kept, KeptJob, StoreClient, StorePeer, StorePreset
from worker.errors import InternalError
from worker.storage import rows, tables
from worker.storage.lost import LostRow, put_aside
from worker.storage.rows import RowError

NEWEST_SEQS: Constant = """
SELECT key, max(seq) AS newest FROM
    (SELECT client AS key, seq FROM job UNION ALL SELECT key, newest_seq FROM client) WHERE typeof(seq) = 'integer' GROUP BY key
"""
_KEPT_JOBS: Constant = """
SELECT number, client, id, content, attempt, seq, final, told, crashes, accepted_at, accepted_up
FROM job ORDER BY final IS NULL, ended, number
"""
_KEPT_CLIENTS: Constant = "SELECT key, number_port, name, leased, acknowledges, gone FROM client WHERE leased NOT NULL ORDER BY used"


class Reader:
    """Reads everything that an earlier run left, in the transaction that is under way.

    Args:
        database: the journal's.
        path: its file.
        boot: the number of this start.
        up: how long workers have run with this journal, in seconds.
        next_end: gives rising numbers for the order of ends.
    """

    def __init__(self, database: sqlite3.Connection, path: Path, boot: int, up: Callable[[], float], next_end: Callable[[], int]) -> None:
        self._database = database
        self._path = path
        self._boot = boot
        self._up = up
        self._next_end = next_end

    def read(self) -> Kept:
        """Everything that can be read."""
        seqs = self._kept_seqs()
        jobs, presets = tuple(self._kept_jobs(seqs)), tuple(self._kept_presets())
        return Kept(jobs, tuple(seqs.items()), presets, tuple(self._kept_clients()), tuple(self._kept_peers()))

    def _put_aside(self, lost: LostRow) -> None:
        put_aside(self._database, self._path, lost)

    def _kept_seqs(self) -> dict[str, int]:
        seqs: dict[str, int] = {}
        for key, newest_seq in self._database.execute(NEWEST_SEQS).fetchall():
            try:
                seqs[rows.client_key(key)] = rows.count(newest_seq, "the newest seq")
            except RowError as error:
                self._put_aside(LostRow(str(error), key, None, newest_seq))
                self._database.execute("DELETE FROM client WHERE key IS ?", (key,))
        return seqs

    def _kept_jobs(self, seqs: dict[str, int]) -> Iterator[KeptJob]:
        for number, client, job_id, content, *rest in self._database.execute(_KEPT_JOBS).fetchall():
            try:
                key, name = rows.client_key(client), rows.text(job_id, "id")
            except RowError as error:  # nobody can be told
                self._put_aside(LostRow(str(error), client, job_id, content))
                self._database.execute("DELETE FROM job WHERE number = ?", (number,))
                continue
            try:
                yield self._kept_job(key, name, content, *rest)
            except RowError as error:
                self._put_aside(LostRow(str(error), client, job_id, content))
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
        final = reports.failed(job_id, self._boot, why, seq)
        self._database.execute(
            "UPDATE job SET content = ?, attempt = 0, crashes = 0, accepted_at = ?, accepted_up = ? WHERE client = ? AND id = ?",
            (content, time.time(), self._up(), client, job_id),
        )
        ended = (seq, rows.final_text(final), self._next_end(), time.time(), self._up(), client, job_id)
        self._database.execute(tables.FINAL, ended)
        (kept,) = self._database.execute("SELECT content FROM job WHERE client = ? AND id = ?", (client, job_id)).fetchone()
        return KeptJob(client, job_id, kept, 0, final, told=False)

    def _kept_clients(self) -> Iterator[StoreClient]:
        for key, number_port, name, *flags in self._database.execute(_KEPT_CLIENTS).fetchall():
            try:
                leased, acknowledges, gone = (bool(rows.count(flag, "a mark")) for flag in flags)
                port, known_as = rows.count(number_port, "the port"), rows.text(name, "name", empty=True)
                yield StoreClient(rows.client_key(key), port, known_as, leased, acknowledges, gone)
            except RowError as error:
                self._put_aside(LostRow(f"client: {error}", key, None, None))
                self._database.execute("UPDATE client SET leased = NULL WHERE key IS ?", (key,))

    def _kept_peers(self) -> Iterator[StorePeer]:
        for host, port, client in self._database.execute("SELECT host, port, client FROM peer ORDER BY used").fetchall():
            try:
                yield StorePeer((rows.text(host, "host"), rows.count(port, "the port")), rows.client_key(client))
            except RowError as error:
                self._put_aside(LostRow(f"sender: {error}", client, host, port))
                self._database.execute("DELETE FROM peer WHERE host IS ? AND port IS ?", (host, port))

    def _kept_presets(self) -> Iterator[StorePreset]:
        for row, name, key, value in self._database.execute("SELECT rowid, name, key, value FROM preset ORDER BY rowid").fetchall():
            try:
                yield StorePreset(rows.text(name, "name"), rows.text(key, "key"), rows.preset_value(value))
            except RowError as error:
                self._put_aside(LostRow(f"preset: {error}", name, key, value))
                self._database.execute("DELETE FROM preset WHERE rowid = ?", (row,))
