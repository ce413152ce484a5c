"""What somebody who watches a worker knows of it, put together from its reports. No socket and no clock.

news = board.take(report, now)     # a sentence for each change
board.rows()                       # the jobs, as a table shows them
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from worker.protocol.messages import CatalogChanged, Children, Error, Health, Report, Status, Watched, Welcome

#: Ended jobs that are kept for the table.
MAX_ENDED = 200
#: Open jobs that are kept. A worker may have more waiting; the oldest heard of go first.
MAX_OPEN = 10_000
#: Without a heartbeat for this time, in seconds, the worker counts as gone.
GONE_S = 3.0
#: A job's progress is a sentence at each tenth.
_TENTHS = 10
#: An open job that was not heard of for this time has ended unheard: the worker tells of all open jobs again and again.
_FORGET_S = 120.0


class Board:
    """See the module's docstring.

    Args:
        where: the worker's address, for sentences.

    Attributes:
        where: as above.
        welcome: the worker's last one; None while none is there.
        status, health, children: the newest report of each kind.
        open: jobs that wait or run, by client and id, with the time at which each was heard of; the one heard of last at the end.
        ended: the newest ended jobs, in the order of their ends.
    """

    def __init__(self, where: str) -> None:
        self.where = where
        self._boot: int | None = None
        self.welcome: Welcome | None = None
        self.status: Status | None = None
        self.health: Health | None = None
        self.children: Children | None = None
        self.open: OrderedDict[tuple[str, str], tuple[Watched, float]] = OrderedDict()
        self.ended: OrderedDict[tuple[str, str], Watched] = OrderedDict()
        self._last_at = float("-inf")
        self._was_waiting = False
        self._warned: set[str] = set()

    def take(self, report: Report, now: float) -> Iterator[str]:
        """Notes a report. Gives a sentence for each change that it tells of."""
        self._last_at = now
        match report:
            case Welcome():
                yield from self._welcomed(report)
            case Status():
                yield from self._changed_status(report)
            case Health():
                self.health = report
            case Children():
                yield from self._changed_children(report)
            case Watched():
                yield from self._changed_job(report, now)
            case CatalogChanged(message=message):
                yield f"operations: {message}"
            case Error(message=message) if message not in self._warned:
                self._warned = {message}
                yield f"the worker says: {message}"

    def silent(self, now: float) -> Iterator[str]:
        """Time goes by. A sentence if no worker is there, once."""
        if now - self._last_at < GONE_S and self._boot is not None:
            return
        if self.welcome is not None:
            self.welcome = self.children = self.health = self.status = None
            self._was_waiting = True
            yield f"the worker at {self.where} does not answer any more; waiting for it"
        elif not self._was_waiting:
            self._was_waiting = True
            yield f"waiting for a worker at {self.where}"

    def nobody(self) -> Iterator[str]:
        """The system says that nobody listens there."""
        self._last_at = float("-inf")
        return self.silent(0.0)

    def rows(self) -> list[Watched]:
        """The jobs: those that run, those that wait, then the ended ones, the newest first."""
        jobs = [job for job, _ in self.open.values()]
        running = [job for job in jobs if job.word == "running"]
        waiting = [job for job in jobs if job.word != "running"]
        return [*running, *waiting, *reversed(self.ended.values())]

    def _welcomed(self, welcome: Welcome) -> Iterator[str]:
        if self.welcome is None or self.welcome.boot != welcome.boot:
            again = self._boot is not None and self._boot != welcome.boot
            if again:
                self.open.clear()
            started = "was started again" if again else "is there"
            yield f"the worker at {self.where} {started}: version {welcome.version}, boot {welcome.boot}"
        self.welcome, self._boot, self._was_waiting = welcome, welcome.boot, False

    def _changed_status(self, status: Status) -> Iterator[str]:
        before, self.status = self.status, status
        if self.welcome is not None and status.boot != self.welcome.boot:  # it knows this client from before, and not what it wants
            self.welcome = None
        if before is None or before.word != status.word:
            yield f"{status.word}: {status.running} running, {status.queued} waiting"

    def _changed_children(self, children: Children) -> Iterator[str]:
        before, self.children = self.children, children
        if before is None or (before.working, before.slots) != (children.working, children.slots):
            yield f"children: {children.slots}" if children.working else "children: none works"

    def _changed_job(self, job: Watched, now: float) -> Iterator[str]:
        key = job.client, job.id
        before, _ = self.open.pop(key, (self.ended.pop(key, None), 0.0))
        if job.code:
            self.ended[key] = job
            while len(self.ended) > MAX_ENDED:
                self.ended.popitem(last=False)
        else:
            self.open[key] = job, now
            while len(self.open) > MAX_OPEN or now - next(iter(self.open.values()))[1] > _FORGET_S:
                self.open.popitem(last=False)
        if before is None or (before.word, before.code) != (job.word, job.code) or _tenth(before) != _tenth(job):
            yield sentence(job)


def _tenth(job: Watched) -> int:
    return _TENTHS * job.step // max(1, job.steps) if job.word == "running" else -1


def sentence(job: Watched) -> str:
    """How it stands with a job, on one line.

    >>> sentence(Watched("10.0.0.1:9461", "td", "j1", "noop", "running", 0, 3, 10, 3, 500, ""))
    'noop j1 of td: running, 3 of 10'
    >>> sentence(Watched("10.0.0.1:9461", "", "j1", "noop", "file", 404, 0, 1, 3, 500, "There is no file a.png."))
    'noop j1 of 10.0.0.1:9461: file 404 after 500 ms: There is no file a.png.'
    """
    head = f"{job.operation} {job.id} of {job.name or job.client}: {job.word}"
    if job.code:
        failure = f" {job.code}" if job.message else ""
        return f"{head}{failure} after {job.run_ms} ms{': ' if job.message else ''}{job.message}"
    return f"{head}, {job.step} of {job.steps}" if job.word == "running" and job.steps > 1 else head
