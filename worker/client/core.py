"""What a client sends to the worker and does with its reports. No socket and no clock; `worker.client.client` is the shell.

    effects = core.handle(report, now)     # carry them out in order
    core.next_deadline()                   # when to call `core.due(now)`, at the latest

UDP loses, doubles and reorders, and a worker may restart at any time. The rules that make a job run once all the same:

- A job is sent again, under the same id, until any report about it has come. The worker knows the id and does not run it twice.
- The worker knows a client by where its reports go, and it learns that from `hello`. A worker that has just restarted has not got one,
  and would take our job for another client's. So a job travels in one bundle after a hello, unless the worker has just sent something.
- A worker that lets us in by our token only sends a number first. Our hello comes again with it, at once; until then it does not hear us.
- A final is acknowledged each time it comes, and delivered once; before that, rows and files that were lost are asked for.
- A new boot number means that the worker was restarted: all jobs without a final are sent again.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.rows import OperationInfo
from worker.catalog.table import CATALOG
from worker.files.spelling import natural
from worker.protocol import addresses
from worker.protocol.messages import (
    Accepted,
    Ack,
    Cancel,
    Challenge,
    Command,
    Error,
    Failed,
    File,
    Final,
    Hello,
    Job,
    Ping,
    Pong,
    Processing,
    Progress,
    Query,
    Ready,
    Report,
    ResultRows,
    Skipped,
    Source,
    Status,
    Tracked,
    Welcome,
)
from worker.timers import Timers

FIRST_RESEND_S = 0.1
QUICK_TRIES = 5  # each after twice the time of the one before; the later ones at the last interval
QUERY_TRIES = 16  # without anything new coming
LONGEST_QUERY_S = 2.0
TICK_S = 1.0  # also the worker's heartbeat
PING_S = 5.0
STALE_S = 5.0  # maximum time without a report about an accepted job; then the client queries it
STALE_JOBS_AT_ONCE = 64
FRESH_S = 0.25  # a worker cannot have ended and started again within this time
MISSED_S = 2.5 * TICK_S
#: Jobs that may be on their way without an answer; more only make the worker answer late, and the resends make it worse.
WINDOW = 256
#: The worker always sends this many numbers in datagrams. If there are more, it may write the rows into a file.
ALWAYS_TOLD = 10_000

# ----------------------------------------------------------------------------------------------------------- effects


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send these commands as one datagram."""

    commands: tuple[Command, ...]


@dataclass(frozen=True, slots=True)
class Deliver:
    """The next report of this job. Reports come in the order of a job's life and never twice."""

    job_id: str
    report: Report


@dataclass(frozen=True, slots=True)
class Ended:
    """No more reports about this job follow. `final` is None if the worker did not answer; `problem` says why."""

    job_id: str
    final: Final | None
    found: Found
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Announce:
    """A report about the worker and not about a job."""

    report: Report


@dataclass(frozen=True, slots=True)
class Answered:
    """The answer to a question, or None after waiting in vain."""

    question: int
    report: Report | None


Effect = Transmit | Deliver | Ended | Announce | Answered


@dataclass(frozen=True, slots=True)
class Found:
    """What a job found and wrote, put together from its reports.

    Attributes:
        kind: last part of the rows' address, empty if there were none.
        rows: one tuple of numbers per item, in order.
        files: in the order of the inputs.
        skipped: the images that could not be read, in the order of the inputs.
        complete: whether everything that the final counts has come.
    """

    kind: str = ""
    rows: tuple[tuple[float, ...], ...] = ()
    files: tuple[File, ...] = ()
    complete: bool = True
    skipped: tuple[Skipped, ...] = ()


# -------------------------------------------------------------------------------------------------------- a job's state


def in_order(files: Iterable[File]) -> tuple[File, ...]:
    """Images before tables, `a2.png` before `a10.png`: the order of the inputs, whatever was lost or reordered on the way.

    >>> [file.path for file in in_order(File("j", path, 0, path.endswith("g"), 0) for path in ("a10.png", "b.csv", "a2.png"))]
    ['a2.png', 'a10.png', 'b.csv']
    """
    return tuple(
        sorted(
            files,
            key=lambda file: (not file.width, natural(file.path.split("/"))),
        )
    )


@dataclass(slots=True)
class _Open:
    """A job without an end. `accepted` means that any report about it has come."""

    job: Job
    info: OperationInfo | None
    submitted_at: float
    heard_at: float
    sent: bool = False
    accepted: bool = False
    cancelling: bool = False
    ended: bool = False
    attempt: int = 0
    fraction: float = -1.0
    final: Final | None = None
    chunks: dict[int, ResultRows] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    skipped: dict[str, Skipped] = field(default_factory=dict)
    queries: int = 0
    pieces: int = 0
    pieces_when_asked: int = 0

    def take(self, report: Report) -> bool:
        """Notes a report. Returns whether it is news for the state that the job has reached."""
        match report:
            case Tracked() | Source():
                return self.final is None
            case Accepted():
                return not self.accepted
            case Processing(attempt=attempt):
                is_news = attempt > self.attempt and self.final is None
                if is_news:
                    self.attempt, self.fraction = attempt, -1.0
                return is_news
            case Progress(fraction=fraction):
                is_news = fraction > self.fraction and self.final is None
                self.fraction = max(fraction, self.fraction)
                return is_news
            case ResultRows(chunk=chunk):
                is_news = chunk not in self.chunks
                self.chunks.setdefault(chunk, report)
                self.pieces += is_news
                return is_news
            case File(path=path):
                is_news = self.files.get(path) != report
                self.files[path] = report
                self.pieces += is_news
                return is_news
            case Skipped(path=path):
                is_news = self.skipped.get(path) != report
                self.skipped[path] = report
                self.pieces += is_news
                return is_news
        return False

    def is_complete(self, final: Final) -> bool:
        """Whether everything that the final counts has come."""
        return isinstance(final, Failed) or (
            self._rows_are_complete(final)
            and len(self.files) >= least_files(self.info, self.job, final.items)
            and len(self.skipped) >= final.skipped
        )

    def _rows_are_complete(self, ready: Ready) -> bool:
        if self.chunks:
            return len(self.chunks) == next(iter(self.chunks.values())).chunks
        info = self.info
        if info is None or not info.kind:
            return True
        return ready.items * len(info.fields) >= ALWAYS_TOLD  # then they are in a file

    def found(self, *, complete: bool) -> Found:
        """What has come so far."""
        chunks = [self.chunks[number] for number in sorted(self.chunks)]
        rows = tuple(
            tuple(chunk.numbers[start : start + chunk.fields])
            for chunk in chunks
            for start in range(0, len(chunk.numbers), max(1, chunk.fields))
        )
        skipped = tuple(sorted(self.skipped.values(), key=lambda left: natural(left.path.split("/"))))
        return Found(chunks[0].kind if chunks else "", rows, in_order(self.files.values()), complete, skipped)


def least_files(info: OperationInfo | None, job: Job, items: int) -> int:
    """How many files a job that became ready with so many items has written at least.

    If each item is a file, there are as many. Otherwise each file that the job asks for (overlay, table) stands for one or more.

    >>> least_files(CATALOG["draw_circles"], Job("j", "draw_circles", (("output", "{n}.png"),)), 500)
    500
    >>> least_files(CATALOG["find_circles"], Job("j", "find_circles", (("image", "a.png"), ("overlay", "b.png"))), 12)
    1
    """
    if info is None or info.live:  # a live job writes its overlay again and again, and reports no file
        return 0
    if info.item == "file":
        return items
    given = {key for key, value in job.pairs if value}
    return sum(parameter.role == "write" and parameter.name in given for parameter in info.parameters)


@dataclass(slots=True)
class _Question:
    number: int
    command: Command
    answers: Callable[[Report], bool]
    ends_at: float
    tries: int = 0


# ------------------------------------------------------------------------------------------------------------ the core


class ClientCore:
    """See the module's docstring.

    Args:
        hello: how this client introduces itself.
        silence_s: if the worker sends nothing for this time while something is open, it counts as gone.
        catalog: what is known of the worker's operations, so that a result with something missing is noticed.
    """

    def __init__(self, hello: Hello, silence_s: float = 30.0, catalog: Catalog = CATALOG) -> None:
        self._catalog = catalog
        self._hello = hello
        self._silence_s = silence_s
        self._effects: list[Effect] = []
        self._timers = Timers()
        self._jobs: dict[str, _Open] = {}
        self._waiting: deque[_Open] = deque()
        self._on_their_way = 0
        self._questions: dict[int, _Question] = {}
        self._numbers = itertools.count(1)
        self._nonces = itertools.count(1)
        self._heard_at = float("-inf")
        self._silent_since = float("-inf")
        self._hello_at = float("-inf")
        self._challenged_at = float("-inf")
        self._pinged_at = float("-inf")
        self._boot: int | None = None

    # ---------------------------------------------------------------------------------------------------- wishes

    def connect(self, now: float, wait_s: float) -> tuple[int, list[Effect]]:
        """Sends hello until the welcome comes. The number is that of the question which the welcome answers."""
        self._silent_since = self._pinged_at = now
        self._timers.at(now + TICK_S, self._tick)
        return self.ask(self._hello, lambda report: isinstance(report, Welcome), now, wait_s)

    def submit(self, job: Job, now: float) -> list[Effect]:
        """Sends a job until it is accepted or refused. Its id must be new, and not empty."""
        if not job.id or job.id in self._jobs:
            raise ValueError(f"The job id {job.id!r} is empty or in use.")
        self._begin_waiting(now)
        self._jobs[job.id] = state = _Open(job, self._catalog.get(job.operation), now, now)
        self._waiting.append(state)
        self._fill_window(now)
        return self._taken()

    def cancel(self, job_id: str, now: float) -> list[Effect]:
        """Cancels a job until its final comes. For a job that is not known here, the command is sent once."""
        state = self._jobs.get(job_id)
        if state is None:
            self._transmit(Cancel(job_id))
        elif not state.cancelling:
            state.cancelling = True
            if state.accepted:
                self._try_cancel(state, 1, now)
        return self._taken()

    def ask(self, command: Command, answers: Callable[[Report], bool], now: float, wait_s: float) -> tuple[int, list[Effect]]:
        """Sends a command until a report answers it: with `Answered`, which carries None after `wait_s`."""
        self._begin_waiting(now)
        question = _Question(next(self._numbers), command, answers, now + wait_s)
        self._questions[question.number] = question
        self._try_question(question, now)
        return question.number, self._taken()

    def tell(self, command: Command) -> list[Effect]:
        """Sends a command once."""
        self._transmit(command)
        return self._taken()

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended."""
        return len(self._jobs)

    @property
    def boot(self) -> int | None:
        """The number of the worker's start, as far as it is known."""
        return self._boot

    # ---------------------------------------------------------------------------------------------------- events

    def handle(self, report: Report, now: float) -> list[Effect]:
        """A report has come."""
        if isinstance(report, Challenge):  # not a sign that it knows us
            self._challenged(report.nonce, now)
            return self._taken()
        self._heard_at = now
        match report:
            case Welcome(boot=boot):
                self._welcomed(boot, now)
                self._effects.append(Announce(report))
            case Failed(seq=0):
                self._refused(report, now)
            case Ready() | Failed():
                self._transmit(Ack(report.seq))
                self._notice_boot(report.boot, now)
                self._final(report, now)
            case Accepted() | Processing() | Progress() | ResultRows() | File() | Skipped() | Source() | Tracked():
                self._about_job(report, now)
            case _:
                if isinstance(report, (Status, Pong)):
                    self._notice_boot(report.boot, now)
                self._effects.append(Announce(report))
        self._answer(report)
        self._fill_window(now)
        return self._taken()

    def due(self, now: float) -> list[Effect]:
        """The time given by `next_deadline` has come."""
        self._timers.run_due(now)
        self._fill_window(now)
        return self._taken()

    def next_deadline(self) -> float | None:
        """When `due` has something to do."""
        return self._timers.next_deadline()

    def _taken(self) -> list[Effect]:
        effects, self._effects = self._effects, []
        return effects

    def _transmit(self, *commands: Command) -> None:
        self._effects.append(Transmit(commands))

    def _transmit_as_ours(self, command: Command, now: float) -> None:
        """Sends a command after a hello, unless the worker has just sent something, so that it is not taken for another client's."""
        if now - self._heard_at <= FRESH_S:
            self._transmit(command)
        else:
            self._transmit(self._hello, command)

    # ------------------------------------------------------------------------------------------------- sending jobs

    def _fill_window(self, now: float) -> None:
        while self._waiting and self._on_their_way < WINDOW:
            state = self._waiting.popleft()
            if not state.ended:
                state.sent = True
                self._on_their_way += 1
                self._try_job(state, 1, now)

    def _try_job(self, state: _Open, attempt: int, now: float) -> None:
        if state.accepted or state.ended:
            return
        self._transmit_as_ours(state.job, now)
        self._timers.at(now + _resend_delay(attempt), lambda now: self._try_job(state, attempt + 1, now))

    def _arrived(self, state: _Open, now: float) -> None:
        """The first report about a job: it need not be sent again."""
        state.heard_at = now
        if state.accepted:
            return
        state.accepted = True
        self._left_the_window(state)
        if state.cancelling:
            self._try_cancel(state, 1, now)

    def _left_the_window(self, state: _Open) -> None:
        if state.sent:
            state.sent = False
            self._on_their_way -= 1

    def _try_cancel(self, state: _Open, attempt: int, now: float) -> None:
        if state.ended or state.final is not None:
            return
        self._transmit(Cancel(state.job.id))
        self._timers.at(now + _resend_delay(attempt), lambda now: self._try_cancel(state, attempt + 1, now))

    # ------------------------------------------------------------------------------------------------ hearing of jobs

    def _about_job(self, report: Accepted | Processing | Progress | ResultRows | File | Skipped | Source | Tracked, now: float) -> None:
        state = self._jobs.get(report.id)
        if state is None:
            return
        if state.take(report):
            self._effects.append(Deliver(report.id, report))
        self._arrived(state, now)
        if state.final is not None and state.is_complete(state.final):
            self._end(state)

    def _refused(self, failed: Failed, now: float) -> None:
        if not failed.id:  # of a trigger: there is no job whose end this could be
            self._effects.append(Announce(Error(failed.code, addresses.TRIGGER, f"{failed.message} {failed.hint}".strip())))
            return
        state = self._jobs.get(failed.id)
        if state is None:
            return
        if state.final is not None:  # the worker has forgotten the result
            self._end(state, complete=False)
            return
        if state.accepted and self._boot is not None and failed.boot != self._boot:
            self._notice_boot(failed.boot, now)  # an earlier start of the worker accepted it; it will be sent again
            return
        state.final = failed
        self._end(state)

    def _final(self, final: Final, now: float) -> None:
        state = self._jobs.get(final.id)
        if state is None:
            return
        self._arrived(state, now)
        if state.final is not None:
            return
        state.final = final
        if state.is_complete(final):
            self._end(state)
        else:
            self._query_when_quiet(state, FIRST_RESEND_S, now)

    def _query_when_quiet(self, state: _Open, delay: float, now: float) -> None:
        """Asks for what is missing, but not while the worker is still sending: it would send everything twice."""
        if state.ended:
            return
        quiet_at = state.heard_at + FIRST_RESEND_S
        if now < quiet_at:
            self._timers.at(quiet_at, lambda now: self._query_when_quiet(state, FIRST_RESEND_S, now))
            return
        if state.pieces > state.pieces_when_asked:
            state.queries, state.pieces_when_asked = 0, state.pieces
        if state.queries >= QUERY_TRIES:
            self._end(state, complete=False)
            return
        state.queries += 1
        self._transmit_as_ours(Query(state.job.id), now)
        self._timers.at(now + delay, lambda later: self._query_again(state, delay, now, later))

    def _query_again(self, state: _Open, delay: float, asked_at: float, now: float) -> None:
        """At the same pace if the worker has answered and a part of the answer was lost; otherwise more and more slowly."""
        answered = state.heard_at > asked_at
        self._query_when_quiet(state, FIRST_RESEND_S if answered else min(2 * delay, LONGEST_QUERY_S), now)

    def _end(self, state: _Open, problem: str = "", *, complete: bool = True) -> None:
        """The only place where a job ends."""
        state.ended = True
        self._left_the_window(state)
        del self._jobs[state.job.id]
        if state.final is not None:
            self._effects.append(Deliver(state.job.id, state.final))
        self._effects.append(Ended(state.job.id, state.final, state.found(complete=complete and not problem), problem))

    # ------------------------------------------------------------------------------------------------- one boot, another

    def _notice_boot(self, boot: int, now: float) -> None:
        """A new number is only a reason to say hello: an old final may come late, so only a welcome counts."""
        if self._boot is not None and boot != self._boot:
            self._say_hello(now)

    def _say_hello(self, now: float) -> None:
        if now - self._hello_at >= TICK_S / 2:
            self._hello_at = now
            self._transmit(self._hello)

    def _challenged(self, nonce: int, now: float) -> None:
        self._hello = msgspec.structs.replace(self._hello, nonce=nonce)
        if now - self._challenged_at >= FIRST_RESEND_S:  # several hellos may have been on their way
            self._challenged_at = now
            self._transmit(self._hello)

    def _welcomed(self, boot: int, now: float) -> None:
        if self._boot is not None and boot != self._boot:
            for state in list(self._jobs.values()):
                if state.final is None and state.accepted:
                    self._submit_again(state, now)
        self._boot = boot

    def _submit_again(self, state: _Open, now: float) -> None:
        state.accepted = False
        state.heard_at = state.submitted_at = now
        state.attempt, state.fraction = 0, -1.0
        state.chunks.clear()
        self._waiting.append(state)

    # -------------------------------------------------------------------------------------------------------- questions

    def _try_question(self, question: _Question, now: float) -> None:
        if question.number not in self._questions:
            return
        if now >= question.ends_at:
            self._answer_with(question, None)
            return
        question.tries += 1
        if isinstance(question.command, Hello):
            self._transmit(self._hello)
        else:
            self._transmit_as_ours(question.command, now)
        when = min(now + _resend_delay(question.tries), question.ends_at)
        self._timers.at(when, lambda now: self._try_question(question, now))

    def _answer(self, report: Report) -> None:
        for question in list(self._questions.values()):
            if question.answers(report) or (isinstance(report, Error) and report.at == question.command.full_address):
                self._answer_with(question, report)

    def _answer_with(self, question: _Question, report: Report | None) -> None:
        del self._questions[question.number]
        self._effects.append(Answered(question.number, report))

    # --------------------------------------------------------------------------------------------------------- presence

    def _begin_waiting(self, now: float) -> None:
        """Silence counts from the moment at which something is wanted."""
        if not self._jobs and not self._questions:
            self._silent_since = now

    def _tick(self, now: float) -> None:
        """Once a second: keeps the lease, notices a worker that is gone or new, and queries jobs without news."""
        self._timers.at(now + TICK_S, self._tick)
        if self._jobs and now - max(self._heard_at, self._silent_since) >= self._silence_s:
            self._give_up()
            return
        if now - self._heard_at > MISSED_S:  # a worker that was started again does not know this client
            self._say_hello(now)
        elif now - self._pinged_at >= PING_S:
            self._pinged_at = now
            self._transmit(Ping(next(self._nonces)))
        self._ask_after_stale_jobs(now)
        self._end_unaccepted(now)

    def _give_up(self) -> None:
        for state in list(self._jobs.values()):
            self._end(state, f"The worker sent nothing for {self._silence_s:g} seconds.")

    def _ask_after_stale_jobs(self, now: float) -> None:
        stale = (state for state in self._jobs.values() if state.accepted and state.final is None and now - state.heard_at > STALE_S)
        for state in itertools.islice(stale, STALE_JOBS_AT_ONCE):
            state.heard_at = now
            self._transmit(Query(state.job.id))

    def _end_unaccepted(self, now: float) -> None:
        """The worker is alive but does not answer these jobs."""
        late = [state for state in self._jobs.values() if state.sent and now - state.submitted_at >= self._silence_s]
        for state in late:
            self._end(state, f"The worker did not answer this job within {self._silence_s:g} seconds.")


def _resend_delay(attempt: int) -> float:
    return float(FIRST_RESEND_S * 2 ** min(attempt - 1, QUICK_TRIES - 1))
