"""What has happened while nobody looked at the page. It is read into the page's state when somebody looks, so until then it costs next to
nothing. Pure.

It is bounded: of lines of the log and of packets the newest are kept, as in the state; of what happened to jobs, so much that the state
would have the same of it: jobs that are more than `MOST_ENDED` ends old count in its series only.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from logging import LogRecord
from typing import Any, Final

from worker.core.changes import JobAccepted, JobMoved, JobReported, LogLine
from worker.core.events import JobEnded, Received
from worker.web.state import CONTENT_BYTES, MOST_ENDED, MOST_LINES, MOST_PACKETS, PACKETS_AT_ONCE, State, is_told

#: When there are this many more ends than the state keeps, or changes, or moments, the oldest are read.
MORE_ENDED: Final = 2_000
MOST_CHANGES: Final = 100_000
MOST_MOMENTS: Final = 20_000

_OF_JOBS = (JobAccepted, JobMoved, JobReported, JobEnded)


class Unread:
    """See the module's docstring.

    Args:
        state: what it is read into.
        most_ended: how many ended jobs that keeps.
    """

    def __init__(self, state: State, most_ended: int = MOST_ENDED) -> None:
        self._state = state
        self._most_ended = most_ended
        self._moments: deque[tuple[float, list[Any], int, int]] = deque()
        self._lines: deque[LogLine | LogRecord] = deque(maxlen=MOST_LINES)
        self._packets: deque[tuple[float, Received]] = deque(maxlen=MOST_PACKETS)
        self._ended = self._changes = self._bytes = 0

    def add(self, happened: Sequence[Any], now: float) -> None:
        """Takes in what has happened since the last time."""
        kept, ended, size, packets = [], 0, 0, 0
        for one in happened:
            kind = type(one)
            if kind is Received:
                if packets < PACKETS_AT_ONCE and is_told(one):
                    packets += 1
                    self._packets.append((now, one))
            elif kind is LogRecord or kind is LogLine:
                self._lines.append(one)
            else:
                kept.append(one)
                if kind is JobEnded:
                    ended += 1
                elif kind is JobAccepted:
                    size += len(one.content)
        self._moments.append((now, kept, ended, size))
        self._ended += ended
        self._changes += len(kept)
        self._bytes += size
        if self._ended > self._most_ended + MORE_ENDED or self._is_much:
            self._read_oldest()

    @property
    def _is_much(self) -> bool:
        return self._changes > MOST_CHANGES or self._bytes > CONTENT_BYTES or len(self._moments) > MOST_MOMENTS

    def read(self, now: float) -> None:
        """Reads everything; somebody looks."""
        while self._moments:
            self._read_moment(frozenset())
        for line in self._lines:
            self._state.take(line, now)
        for at, packet in self._packets:
            self._state.tick(at)
            self._state.take(packet, at)
        self._lines.clear()
        self._packets.clear()
        self._state.tick(now)

    def _read_oldest(self) -> None:
        """Makes room. A job whose beginning and end both lie among the oldest ends need not become a row that is forgotten at once."""
        count, ends = 0, self._ended
        for _, _, fewer, _ in self._moments:
            if ends - fewer < self._most_ended:
                break
            count, ends = count + 1, ends - fewer
        oldest = [change for _, changes, _, _ in list(self._moments)[:count] for change in changes]
        begun = Counter((one.client, one.job_id) for one in oldest if type(one) is JobAccepted)
        ended = Counter((one.client, one.job_id) for one in oldest if type(one) is JobEnded)
        over = frozenset(key for key, count in ended.items() if begun[key] == count)
        for _ in range(count or max(1, len(self._moments) // 4)):
            self._read_moment(over)
        while self._is_much and self._moments:
            self._read_moment(frozenset())

    def _read_moment(self, over: frozenset[tuple[str, str]]) -> None:
        now, changes, ended, size = self._moments.popleft()
        self._ended -= ended
        self._changes -= len(changes)
        self._bytes -= size
        for change in changes:
            if over and isinstance(change, _OF_JOBS) and (change.client, _job_id(change)) in over:
                if type(change) is JobEnded:
                    self._state.count(change)
            else:
                self._state.take(change, now)
        self._state.tick(now)


def _job_id(change: Any) -> str:
    return str(change.report.id) if type(change) is JobReported else str(change.job_id)
