"""Writes the journal: in the loop's own thread while that takes microseconds, and in another one as soon as a disk makes it wait.

    event = writer.write(records, number)      # Stored(number): it is done
    -> None: Stored(number) or NotStored(number, reason) is delivered later

To hand a commit to another thread and to hear of it costs several times what the commit does. So the loop commits itself, as long as the
journal is free, nothing waits, and no commit was slow lately. What waits for the disk is left to two other threads:

- The writer makes each commit with durability "power", looks after files that have gone, and tries again what has failed. What comes
  meanwhile goes into its next commit, so a slow disk makes larger commits and not a longer queue.
- The tidier brings commits into the database, while the loop goes on to commit.

A disk can also stop in the middle of a commit of the loop's. Then the writer stands in: it leads the loop until the commit returns.
So the heartbeat goes on, and questions are answered. The loop is never led by two threads: whoever does so holds `_lead`.

An idle worker has nothing to look after: then the writer looks rarely, and the loop's next commit wakes it, because it may get stuck.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Final as Constant

from worker.core.events import Event, NotStored, Store, Stored, StoringChanged, Woke
from worker.storage.journal import Journal, JournalError

log = logging.getLogger(__name__)

#: How often it is checked that the files are still there, and that no commit of the loop's is stuck.
CHECK_EVERY_S: Constant = 0.5
#: How often the loop looks at the files after its own commits: each look takes longer than the commit.
LOOK_EVERY_S: Constant = 0.05
#: How often the writer does when there were so many checks without a commit between them.
CHECK_IDLE_EVERY_S: Constant = 10.0
IDLE_CHECKS: Constant = 10
#: How long `close` waits for a disk that does not answer.
CLOSE_WITHIN_S: Constant = 20.0
#: Maximum number of commits that go into one, so that the answers to the first do not wait for all others.
COMMITS_IN_ONE: Constant = 256
#: A commit that took longer has waited for the disk; the next ones are left to the other thread.
SLOW_S: Constant = 0.05
#: For so long they are: twice as long each time, up to the maximum.
QUIET_S: Constant = 1.0
QUIET_MAX_S: Constant = 10.0
#: After this time the other thread stands in for a loop that is still in its commit.
STUCK_S: Constant = 0.1

#: Leads the loop while it is called for: as long as the given function says so.
StandIn = Callable[[Callable[[], bool]], None]


class Writer:
    """See the module's docstring.

    Args:
        journal: an open one; it is this writer's until `close`.
        deliver: takes the events; called by the writer's thread.
        stand_in: leads the loop in place of the thread that waits; without it all commits are left to the writer's thread.
    """

    def __init__(self, journal: Journal, deliver: Callable[[Event], None], stand_in: StandIn | None = None) -> None:
        self._journal = journal
        self._deliver = deliver
        self._stand_in = stand_in
        self._waiting: queue.SimpleQueue[tuple[Sequence[Store], int] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="journal-writer", daemon=True)
        self._tidier = threading.Thread(target=self._tidy, name="journal-tidier", daemon=True)
        self._untidy: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._tidying = False
        self._closing = False
        self._trouble = ""
        self._idle_checks = 0
        self._asleep = False  # looks rarely
        self._using = threading.Lock()  # held by the thread that uses the journal
        self._lead = threading.Lock()
        self._lead.acquire()
        self._asked = 0  # the newest commit that was left to the writer's thread, and the newest of which the loop knows how it ended
        self._heard = 0
        self._done = 0  # the newest that the loop has done itself
        self._looked = float("-inf")  # when the loop has last looked at the files
        self._since = 0.0  # when it began the one that is under way, 0 for none
        self._direct_from = 0.0  # when the loop may commit again
        self._quiet_s = QUIET_S

    def start(self) -> None:
        """Begins to write. Belongs, as `write`, to the thread that leads the loop."""
        self._thread.start()
        self._tidier.start()

    def write(self, records: Sequence[Store], number: int) -> Stored | None:
        """Writes these records after all that were given before, or has them written. Returns soon.

        Returns:
            What has happened, if it was done at once; otherwise it is delivered.
        """
        if self._may_commit() and self._using.acquire(blocking=False):
            left = self._commit(records)
            if left is None:
                self._done = number
                return Stored(number)
            records = left
        self._asked = number
        self._waiting.put((records, number))
        return None

    def heard(self, number: int) -> None:
        """The loop has taken note of how a commit ended that was left to the writer's thread."""
        self._heard = max(self._heard, number)

    def close(self) -> None:
        """Writes what waits, and closes the journal."""
        until = time.monotonic() + CLOSE_WITHIN_S
        self._waiting.put(None)
        for thread in (self._thread, self._tidier):
            if thread.ident is not None:
                thread.join(max(0.0, until - time.monotonic()))
            self._untidy.put(False)  # not before the writer has ended
        if self._thread.is_alive() or self._tidier.is_alive():
            log.error("The journal %s could not be closed within %g s: its disk does not answer.", self._journal.path, CLOSE_WITHIN_S)
        else:
            self._journal.close()

    # ------------------------------------------------------------------------------------------ the loop's thread

    def _may_commit(self) -> bool:
        """Whether the loop may commit itself. It knows then of everything that the other thread has done.

        While that thread leads the loop, it does not: in its commit it would give the lead to the loop's own thread, and then wait for it,
        while that one waits for what only the other thread commits.
        """
        return (
            self._heard >= self._asked
            and threading.get_ident() != self._thread.ident
            and not self._trouble
            and self._stand_in is not None
            and not self._journal.waits_for_disk
            and not self._journal.is_far_behind
            and time.monotonic() >= self._direct_from
        )

    def _commit(self, records: Sequence[Store]) -> Sequence[Store] | None:
        """Commits at once.

        Returns:
            What the other thread has to do again: nothing but to find out what is wrong with the files, if it is (); None for nothing.
        """
        left: Sequence[Store] | None = records
        self._since = began = time.monotonic()
        if self._asleep:
            self._asleep = False
            self._waiting.put(((), 0))
        self._lead.release()
        try:
            self._journal.commit(records)
            left = None if self._is_there(began) else ()
        except Exception as error:  # noqa: BLE001 - the other thread tries it again, and says what is wrong
            log.debug("a commit failed: %s", error)
        finally:
            self._since = 0.0
            self._using.release()
            if not self._lead.acquire(blocking=False):  # the other thread stands in
                self._deliver(Woke())
                self._lead.acquire()
            self._note_time(began)
        return left

    def _is_there(self, now: float) -> bool:
        if now - self._looked < LOOK_EVERY_S:
            return True
        self._looked = now
        return self._journal.is_there()

    def _note_time(self, began: float) -> None:
        """After a commit that took long, the next ones are left to the other thread for a while."""
        now = time.monotonic()
        if now - began > SLOW_S:
            lately = now - self._direct_from < QUIET_MAX_S
            self._quiet_s = min(2 * self._quiet_s, QUIET_MAX_S) if lately else QUIET_S
            self._direct_from = now + self._quiet_s

    # ------------------------------------------------------------------------------------------ the writer's thread

    def _run(self) -> None:
        while not self._closing:
            seen = self._done
            records, number = self._next_batch(seen)
            if not number and self._stand_in is not None and self._is_stuck():
                self._lead_for_a_while(self._stand_in)
                continue
            idle = not number and seen == self._done
            self._idle_checks = self._idle_checks + 1 if idle else 0
            if not self._using.acquire(blocking=bool(number)):
                continue  # the loop commits: it finds out by itself whether that works
            try:
                self._do(records, number)
                if not self._tidying and not self._trouble and self._journal.turn(idle=idle):
                    self._tidying = True
                    self._untidy.put(True)
            finally:
                self._using.release()

    def _do(self, records: Sequence[Store], number: int) -> None:
        began = time.monotonic()
        try:
            if self._trouble or self._journal.is_failing:
                self._journal.commit_nothing()  # only a write shows whether writing works again
            if number:
                if self._journal.is_far_behind:
                    self._journal.fold()
                self._journal.commit(records)
                self._note_time(began)
            self._journal.check()  # after it: what is answered as stored is in files that are still there
        except Exception as error:  # this thread must not end before the worker does
            if not isinstance(error, JournalError):
                log.exception("The journal's writer failed")
            self._failed(str(error), number)
        else:
            self._succeeded(number)

    def _is_stuck(self) -> bool:
        since = self._since
        return since > 0 and time.monotonic() - since > STUCK_S

    def _lead_for_a_while(self, stand_in: StandIn) -> None:
        """Leads the loop, if its thread is still in its commit."""
        if not self._lead.acquire(blocking=False):
            return
        try:
            if self._since:
                log.warning("The journal's disk does not answer. The worker goes on meanwhile.")
                stand_in(lambda: self._since > 0)
        finally:
            self._lead.release()

    def _next_batch(self, seen: int) -> tuple[list[Store], int]:
        """All records that wait, and the number of the last commit they belong to; 0 if nobody wants a commit."""
        records: list[Store] = []
        number = 0
        timeout: float | None = CHECK_EVERY_S
        if self._idle_checks >= IDLE_CHECKS and not self._trouble and not self._tidying:
            self._asleep = True
            if not self._since and seen == self._done:  # else a commit began before it could see this
                timeout = CHECK_IDLE_EVERY_S
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
            number = item[1] or number
        self._asleep = False
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

    # ------------------------------------------------------------------------------------------ the tidier's thread

    def _tidy(self) -> None:
        while self._untidy.get():
            try:
                self._journal.tidy()
            except Exception as error:
                if not isinstance(error, JournalError):
                    log.exception("The journal's tidier failed")
                self._waiting.put(((), 0))  # the writer finds out whether it is so, and says it
            finally:
                self._tidying = False
