"""What happens to live jobs: their starts, what they see, and how they end. Pure. `tracks` holds them."""

from __future__ import annotations

from collections.abc import Iterator

from worker.catalog.live import LiveParams
from worker.core import reports
from worker.core.ending import Ending
from worker.core.events import Follow, Seen, SessionEnded, SourceChanged, StoreAttempt
from worker.core.jobs import Failure, Outcome, Result, Task
from worker.core.ledger import Job, State
from worker.core.shared import Shared
from worker.core.tracks import Session, needs_more_ids
from worker.errors import ChildDied, Draining, Expired, UnknownOperation
from worker.protocol import messages as wire
from worker.protocol.tuio import IDLE_S

#: A process that dies is started again: after this time, twice as long each time up to the maximum.
FIRST_RESTART_S = 0.5
LONGEST_RESTART_S = 30.0
#: The job ends after this number of processes that died soon after their start, one after the other.
MOST_DEATHS = 5
#: Silence after which a live job counts as hanging: even a source that cannot be opened gives it something to say. More if pictures
#: are rare.
SILENT_S = 120.0
#: Life after which a death is not an early one.
LIVED_S = 60.0


class Following:
    """Starts live jobs and hears of them.

    Args:
        shared: the scheduler's parts.
        ending: ends jobs.

    Attributes:
        left: jobs that wait in the journal for the next start of the worker, because this one ends.
    """

    def __init__(self, shared: Shared, ending: Ending) -> None:
        self._config = shared.config
        self._known = shared.known
        self._timers = shared.timers
        self._ledger = shared.ledger
        self._barrier = shared.barrier
        self._sessions = shared.sessions
        self._ending = ending
        self.left: set[tuple[str, str]] = set()
        self._idle: int | None = None

    def start_waiting(self, now: float) -> None:
        """Starts the live jobs that may be started."""
        while waiting := self._sessions.take_waiting():
            for job in waiting:
                try:
                    row = self._known.find(job.operation)
                except UnknownOperation as error:
                    self._ending.end(job, error, now)
                else:
                    self._start(job, row.fields, now)
            self._ending.release_waiting(now)  # of those that were replaced

    def _start(self, job: Job, fields: tuple[str, ...], now: float) -> None:
        job.attempt += 1
        job.started_at = now
        job.start()
        job.todo.clear()  # its session is no task of the pool
        if job.params is None:
            job.params = self._known.catalog.unpacked(job.operation, job.content)
        params = job.params
        assert isinstance(params, LiveParams)  # noqa: S101 - as the catalogue's row says
        self._ledger.move(job, State.RUNNING, now, f"attempt {job.attempt}")
        job.stored_in = self._barrier.store(StoreAttempt(job.client, job.id, job.attempt, begun=False))
        job.latest = wire.Processing(job.id, job.attempt)
        self._ending.send(job, job.latest, now)
        for older in self._sessions.replaced(job, params):
            self._ending.end(older, Expired(f"Replaced by the newer job {job.id!r} (name={params.name!r})."), now)
        self._follow(self._sessions.begin(job, params, fields), now)
        if params.tuio and self._idle is None:
            self._idle = self._timers.at(now + IDLE_S, self._tell_idle)

    def _tell_idle(self, now: float) -> None:
        self._sessions.tell_idle(now)
        self._idle = self._timers.at(now + IDLE_S, self._tell_idle) if any(one.tuio for one in self._sessions) else None

    def _follow(self, session: Session, now: float) -> None:
        def make(number: int, next_id: int) -> Follow:
            return Follow(Task(number, session.job.operation, session.params, next_id=next_id))

        self._sessions.follow(session, make, now)
        session.heard_at = now
        self._watch(session, now + _patience_s(session.params))

    def _watch(self, session: Session, at: float) -> None:
        """Looks at `at` whether its process still says something."""
        job = session.job
        if "silence" in job.timers:
            self._timers.cancel(job.timers["silence"])
        job.set_timer("silence", self._timers.at(at, lambda now: self._look(session, now)))

    def _look(self, session: Session, now: float) -> None:
        del session.job.timers["silence"]
        if self._sessions.of(session.number) is not session:  # it has no process now
            return
        patience_s = _patience_s(session.params)
        if now < session.heard_at + patience_s:
            self._watch(session, session.heard_at + patience_s)
            return
        self._sessions.unfollow(session)
        self._died(
            session, Failure.of(ChildDied(f"The process of this live job said nothing for {patience_s:.0f} s, so it was ended.")), now
        )

    # ------------------------------------------------------------------------------------------------ what is heard of them

    def heard(self, event: Seen | SourceChanged | SessionEnded, now: float) -> None:
        """A session has looked at a picture, its source has come or gone, or its process has ended."""
        session = self._sessions.of(event.session)
        if session is None:  # it was aborted
            return
        session.heard_at = now
        if isinstance(event, Seen):
            self._sessions.report(session, event, now)
            if self._config.state is not None and needs_more_ids(session):
                session.job.attempt += 1
                session.job.stored_in = self._barrier.store(
                    StoreAttempt(session.job.client, session.job.id, session.job.attempt, begun=False)
                )
        elif isinstance(event, SourceChanged):
            session.job.latest = said = self._sessions.say(session, event.word, event.message, now)
            self._ending.tell(session.job, said)
        else:
            self._sessions.ended(event.session)
            self._ended(session, event.outcome, now)

    def _ended(self, session: Session, outcome: Outcome, now: float) -> None:
        """Its process has ended: with its source, for a reason that stays, or by a death."""
        job = session.job
        if isinstance(outcome, Result):
            job.result = outcome
            for report in reports.rows(job.id, outcome):
                self._ending.send(job, report, now)
            self._ending.end(job, None, now)
        elif isinstance(outcome, Failure) and outcome.word == ChildDied.word:
            self._died(session, outcome, now)
        else:
            self._ending.end(job, outcome if isinstance(outcome, Failure) else ChildDied(), now)

    def _died(self, session: Session, failure: Failure, now: float) -> None:
        session.deaths = 1 if now - session.begun_at >= LIVED_S else session.deaths + 1
        job = session.job
        if session.deaths >= MOST_DEATHS:
            message = f"{failure.message} It was the death number {session.deaths} in a row, so this live job is not started again."
            self._ending.end(job, ChildDied(message, "The worker's log may say more."), now)
            return
        delay = min(LONGEST_RESTART_S, FIRST_RESTART_S * 2 ** (session.deaths - 1))
        job.latest = said = self._sessions.say(session, "Lost", f"{failure.message} It is started again in {delay:g} s.", now)
        self._ending.tell(job, said)
        self._ledger.stories.note(job.key, now, "died", failure.message)
        job.set_timer("again", self._timers.at(now + delay, lambda now: self._follow_again(session, now)))

    def _follow_again(self, session: Session, now: float) -> None:
        del session.job.timers["again"]
        self._follow(session, now)

    # --------------------------------------------------------------------------------------------------------- the end

    def stop(self, reason: str, now: float) -> None:
        """The worker ends. Live jobs do not hold it up: they wait in the journal for the next start, or end now without one."""
        for job in [job for job in self._ledger.open.values() if job.live]:
            if self._config.state is None:
                self._ending.end(job, Draining(f"The worker was stopped ({reason})."), now)
            else:
                self._sessions.abort(job)
                self.left.add(job.key)

    @property
    def is_work_left(self) -> bool:
        """Whether a job is open that has to end before the worker can."""
        return any(key not in self.left for key in self._ledger.open)

    def violations(self) -> Iterator[str]:
        """What must never be true, one sentence each."""
        yield from self._sessions.violations()
        for job in self._ledger.open.values():
            if job.live and job.state is State.RUNNING and job.key not in self.left and self._sessions.of_job(job) is None:
                yield f"{job.key} is live, runs and has no session"


def _patience_s(params: LiveParams) -> float:
    return SILENT_S + 2 * getattr(params, "silent_s", 0.0) + 2 / params.rate
