"""Writes the journal in a thread of its own, because a disk may take seconds for a commit and the heartbeat must not wait for it.

    writer.write(records, number)       # returns at once
    -> Stored(number) or NotStored(number, reason) is delivered

Everything that waits when a commit begins goes into that one commit, so a slow disk makes larger commits and not a longer queue.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Sequence
from typing import Final as Constant

from worker.core.events import Event, NotStored, Store, Stored, StoringChanged
from worker.storage.journal import Journal, JournalError

log = logging.getLogger(__name__)

#: How often it is checked that the files are still there, if nobody stores anything.
CHECK_EVERY_S: Constant = 0.5
#: How long `close` waits for a disk that does not answer.
CLOSE_WITHIN_S: Constant = 20.0
#: Maximum number of commits that go into one, so that the answers to the first do not wait for all others.
COMMITS_IN_ONE: Constant = 256


class Writer:
    """See the module's docstring.

    Args:
        journal: an open one; it is this writer's until `close`.
        deliver: takes the events; called by the writer's thread.
    """

    def __init__(self, journal: Journal, deliver: Callable[[Event], None]) -> None:
        self._journal = journal
        self._deliver = deliver
        self._waiting: queue.SimpleQueue[tuple[Sequence[Store], int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._closing = False
        self._trouble = ""

    def start(self) -> None:
        """Begins to write."""
        self._thread.start()

    def write(self, records: Sequence[Store], number: int) -> None:
        """Wants these records to be written, after all that were given before. Returns at once."""
        self._waiting.put((records, number))

    def close(self) -> None:
        """Writes what waits, and closes the journal."""
        self._waiting.put(None)
        if self._thread.ident is not None:
            self._thread.join(CLOSE_WITHIN_S)
        if self._thread.is_alive():
            log.error("The journal %s could not be closed within %g s: its disk does not answer.", self._journal.path, CLOSE_WITHIN_S)
        else:
            self._journal.close()

    # ------------------------------------------------------------------------------------------ the writer's thread

    def _run(self) -> None:
        while not self._closing:
            records, number = self._next_batch()
            try:
                if number:
                    self._journal.commit(records)
                elif self._trouble:
                    self._journal.commit_nothing()  # only a write shows whether writing works again
                self._journal.check()  # after it: what is answered as stored is in files that are still there
            except Exception as error:  # this thread must not end before the worker does
                if not isinstance(error, JournalError):
                    log.exception("The journal's writer failed")
                self._failed(str(error), number)
            else:
                self._succeeded(number)

    def _next_batch(self) -> tuple[list[Store], int]:
        """All records that wait, and the number of the last commit they belong to; 0 if nobody wants a commit."""
        records: list[Store] = []
        number = 0
        timeout: float | None = CHECK_EVERY_S
        for _ in range(COMMITS_IN_ONE):
            try:
                item = self._waiting.get(timeout=timeout) if timeout else self._waiting.get_nowait()
            except queue.Empty:
                break
            if item is None:
                self._closing = True
                break
            timeout = None
            records += item[0]
            number = item[1]
        return records, number

    def _succeeded(self, number: int) -> None:
        if self._trouble:
            log.warning("The journal %s can be written again.", self._journal.path)
            self._trouble = ""
            self._deliver(StoringChanged(""))
        if number:
            self._deliver(Stored(number))

    def _failed(self, reason: str, number: int) -> None:
        if reason != self._trouble:  # said once; a disk may be full for days
            log.error("The journal cannot be written: %s. New jobs are refused with 507 until it can.", reason)
            self._trouble = reason
            self._deliver(StoringChanged(reason))
        if number:
            self._deliver(NotStored(number, reason))
