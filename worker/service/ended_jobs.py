"""One line in the log for each job that has ended.

    job 'shot-1' of 10.0.0.1:9461 'td': find_circles ready 200, waited 0 ms, ran 512 ms, attempt 1, 4 items
    job 'shot-2' of 10.0.0.1:9461 'td': find_circles file 404, waited 0 ms, ran 3 ms, attempt 1, 0 items: "There is no file 'b.png'."

What went well or was wanted is info, a client's mistake is a warning, and ours is an error: with --log-level warning a worker logs in
months what somebody has to look at, and nothing else. Texts of clients are quoted, so none of them can look like a line of ours.

Lines of jobs that went well are written several at a time: one alone takes three times as long, because it finds cold caches.
"""

from __future__ import annotations

import logging

from worker.core.events import JobEnded
from worker.errors import Cancelled, Draining, Expired
from worker.poller import Poller

log = logging.getLogger(__name__)

#: How many lines are written together, and how long one waits at most. Anything but info is written at once.
AT_ONCE = 16
WITHIN_S = 0.1

_WANTED = {Cancelled.code, Expired.code, Draining.code}


def level(ended: JobEnded) -> int:
    """How much somebody should care.

    >>> from worker.core.events import JobEnded
    >>> [logging.getLevelName(level(JobEnded("", "", "a", "noop", "", code, 0, 0, 0, 1))) for code in (200, 499, 404, 502)]
    ['INFO', 'INFO', 'WARNING', 'ERROR']
    """
    if ended.code < 400 or ended.code in _WANTED:
        return logging.INFO
    return logging.WARNING if ended.code < 500 else logging.ERROR


def log_ended(ended: JobEnded) -> None:
    """Writes the line."""
    if not log.isEnabledFor(wanted := level(ended)):
        return
    log.log(
        wanted,
        "job %r of %s %r: %s %s %d, waited %d ms, ran %d ms, attempt %d, %d items%s",
        ended.job_id,
        repr(ended.client)[1:-1],
        ended.name,
        repr(ended.operation)[1:-1],
        ended.word,
        ended.code,
        ended.wait_ms,
        ended.run_ms,
        ended.attempts,
        ended.items,
        f": {ended.message!r}" if ended.message else "",
    )


class EndedJobs:
    """Writes the lines, those that can wait a little several at a time.

    Args:
        poller: calls when the time of the oldest has come.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._waiting: list[JobEnded] = []
        self._timer: int | None = None

    def add(self, ended: JobEnded) -> None:
        """Its line is written now or soon, behind those of all jobs that ended before."""
        self._waiting.append(ended)
        if len(self._waiting) >= AT_ONCE or level(ended) > logging.INFO:
            self.write()
        elif self._timer is None:
            self._timer = self._poller.at(self._poller.now() + WITHIN_S, lambda _: self.write())

    def write(self) -> None:
        """Writes all lines that wait."""
        if self._timer is not None:
            self._poller.cancel(self._timer)
            self._timer = None
        waiting, self._waiting = self._waiting, []
        for ended in waiting:
            log_ended(ended)
