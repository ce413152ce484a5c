"""One summary a day: what was done, what failed and why, what was slow. Pure: it gets the time of day, and counts events.

A day begins at the time at which the summary is wanted, by the clock on the wall. So it has 23 or 25 hours if the clock is set for summer
or winter. A clock that goes back over that time by less than a day changes nothing; after any other jump the day that was counted so far
is summed up, and another begins. A clock that stands still makes no summary.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any

import msgspec

from worker.core.events import JobEnded
from worker.core.status import NO_FAILURE

#: The maximum of clients, and of causes of failures, that are counted singly. The others are counted together.
MOST_CLIENTS = 1000
MOST_CAUSES = 100
#: Causes that are named in a summary, the most frequent first.
_NAMED = 8
_OTHERS = "others"


class Slowest(msgspec.Struct, frozen=True):
    """The job that ran longest."""

    operation: str = ""
    job_id: str = ""
    run_ms: int = 0


class Day(msgspec.Struct):
    """What was counted since a time.

    Attributes:
        key: the date on which it began.
        began: when the counting began, as it is shown.
        causes: how often each kind of failure came, as `file 404`.
        run_ms: how long jobs have run, all together.
        peak: most jobs that waited at a time.
        clients: those whose jobs ended.
        starts: of the worker.
        crashes: how many of them came after an end that nobody wanted.
    """

    key: str
    began: str
    ready: int = 0
    failed: int = 0
    causes: dict[str, int] = {}
    run_ms: int = 0
    slowest: Slowest = Slowest()
    peak: int = 0
    clients: dict[str, None] = {}
    more_clients: bool = False
    starts: int = 0
    crashes: int = 0


class Nights:
    """See the module's docstring.

    Args:
        minutes: when a day begins, in minutes after midnight.
        now: the local time, without a zone.
        kept: what `plain` gave in an earlier run; None if there was none.
        crashed: that run ended although nobody wanted it to.
    """

    def __init__(self, minutes: int, now: datetime, kept: Mapping[str, Any] | None = None, *, crashed: bool = False) -> None:
        self._before = timedelta(minutes=minutes)
        self._day = _of(kept) or self._begun(now)
        self._day.starts += 1
        self._day.crashes += crashed
        self.has_news = True

    def plain(self) -> dict[str, Any]:
        """What is counted so far, for the next run."""
        self.has_news = False
        plain: dict[str, Any] = msgspec.to_builtins(self._day)
        return plain

    def ended(self, job: JobEnded) -> None:
        """A job has ended."""
        day = self._day
        self.has_news = True
        day.run_ms += job.run_ms
        if job.code == NO_FAILURE:
            day.ready += 1
        else:
            day.failed += 1
            cause = f"{job.word} {job.code}"
            cause = cause if cause in day.causes or len(day.causes) < MOST_CAUSES else _OTHERS
            day.causes[cause] = day.causes.get(cause, 0) + 1
        if job.run_ms > day.slowest.run_ms:
            day.slowest = Slowest(job.operation, job.job_id, job.run_ms)
        client = job.name or job.client
        if client not in day.clients:
            if len(day.clients) < MOST_CLIENTS:
                day.clients[client] = None
            else:
                day.more_clients = True

    def waiting(self, jobs: int) -> None:
        """This number of jobs waits."""
        if jobs > self._day.peak:
            self._day.peak = jobs
            self.has_news = True

    def tick(self, now: datetime) -> list[str]:
        """The lines of a summary if the day is over, the first says of which time; otherwise none."""
        key = self._key(now)
        if key == self._day.key or key == str(date.fromisoformat(self._day.key) - timedelta(days=1)):
            return []
        lines = [*summary(self._day, now)]
        self._day = self._begun(now)
        self.has_news = True
        return lines

    def _begun(self, now: datetime) -> Day:
        return Day(self._key(now), _shown(now))

    def _key(self, now: datetime) -> str:
        return str((now - self._before).date())


def _of(kept: Mapping[str, Any] | None) -> Day | None:
    """The day of an earlier run, unless it cannot be read."""
    if kept is None:
        return None
    try:
        day = msgspec.convert(kept, Day)
        date.fromisoformat(day.key)
    except (msgspec.ValidationError, ValueError):
        return None
    return day


def _shown(now: datetime) -> str:
    return now.strftime("%Y-%m-%d %H:%M")


def summary(day: Day, now: datetime) -> Iterator[str]:
    """The lines of a summary.

    >>> day = Day("2026-11-28", "2026-11-28 06:00", 1500, 23, {"timeout 408": 3, "file 404": 20}, 7_980_000, starts=1)
    >>> day.slowest, day.peak, day.clients = Slowest("convert", "shot-7", 12_345), 35, {"td": None, "phone": None}
    >>> print(*summary(day, datetime(2026, 11, 29, 6)), sep=chr(10))
    Night log of 2026-11-28 06:00 to 2026-11-29 06:00.
    Jobs: 1523, of them 1500 ready and 23 failed.
    Failed: 20 file 404, 3 timeout 408.
    Slowest: convert, job 'shot-7', 12.3 s. All jobs together ran for 2 h 13 min.
    Most that waited at a time: 35.
    Clients: 2.
    """
    yield f"Night log of {day.began} to {_shown(now)}."
    total = day.ready + day.failed
    yield f"Jobs: {total}, of them {day.ready} ready and {day.failed} failed." if total else "Jobs: none."
    if day.causes:
        causes = Counter(day.causes).most_common()
        named = [f"{count} {cause}" for cause, count in causes[:_NAMED]]
        rest = sum(count for _, count in causes[_NAMED:])
        yield f"Failed: {', '.join([*named, *([f'{rest} for other reasons'] if rest else [])])}."
    if day.slowest.operation:
        slowest = f"{day.slowest.operation}, job {day.slowest.job_id!r}, {day.slowest.run_ms / 1000:.1f} s"
        yield f"Slowest: {slowest}. All jobs together ran for {_duration(day.run_ms)}."
    if total:
        yield f"Most that waited at a time: {day.peak}."
        yield f"Clients: {'more than ' if day.more_clients else ''}{len(day.clients)}."
    if day.starts > 1 or day.crashes:
        crashes = f", of them {day.crashes} after an end that nobody wanted" if day.crashes else ""
        yield f"Starts of the worker: {day.starts}{crashes}."


def _duration(ms: int) -> str:
    """As a person says it.

    >>> [_duration(ms) for ms in (900, 59_000, 61_000, 7_980_000)]
    ['0.9 s', '59.0 s', '1 min', '2 h 13 min']
    """
    minutes = ms // 60_000
    if not minutes:
        return f"{ms / 1000:.1f} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
