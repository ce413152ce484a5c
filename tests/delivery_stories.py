"""How a client keeps its promises over a wire that loses packets, as data: what happens when, what is then sent, and what the user hears.

The worker's own client (`worker/client/core.py`) and the TouchDesigner component (`td/pending.py`) hold the same rules in two programs,
because `td/` must work when it is copied alone. Each story is played to both.

Every story begins at 0 s with a client that has just been welcomed by start number 7 of the worker, and that knows the operations. Its
jobs have the ids j-1, j-2 and so on. A step contains everything since the step before it. Left out, unless a story is about them: pings,
a hello that goes alone, and descriptions of operations.

The two programs differ where this is on purpose, and no story is about that: the component never gives up a job, because an artist may
start the worker later; it has no limit for jobs under way; and while the worker is not heard it sends one job at a time, where the
client sends up to 256, each behind a hello.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from worker.protocol.messages import (
    Accepted,
    Ack,
    Cancel,
    Challenge,
    Command,
    Failed,
    File,
    Hello,
    Job,
    Processing,
    Progress,
    Query,
    Ready,
    Report,
    ResultRows,
    Status,
    Welcome,
)

BOOT = 7
WELCOME = Welcome("1", 1, BOOT, 15_000, 0)

NOOP = Job("j-1", "noop")
CIRCLES = Job("j-1", "find_circles", (("image", "a.png"),))
DRAWING = Job("j-1", "draw_circles", (("output", "{n}.png"), ("count", 2)))
TABLE = Job("j-1", "find_circles", (("image", "shots"), ("data", "found.json")))
ACCEPTED = Accepted("j-1", 0, 0)
READY = Ready("j-1", 1, BOOT, 0, 5, 0, "noop")
FORGOTTEN = Failed("j-1", 0, BOOT, 404, "job", "There is no job.", "")
CANCELLED = Failed("j-1", 1, BOOT, 499, "cancelled", "The job was cancelled.", "")
BEAT = Status("Processing", 1, 0, BOOT)
BEAT_OF_ANOTHER_START = Status("Ready", 0, 0, BOOT + 1)
WELCOME_OF_ANOTHER_START = Welcome("1", 1, BOOT + 1, 15_000, 0)


def found(chunk: int, chunks: int) -> ResultRows:
    """One circle per chunk."""
    return ResultRows("circles", "j-1", chunk, chunks, chunk, chunks, 6, (1.0, 2.0, 3.0, 0.5, 0.5, 1.0))


def ready(operation: str, items: int) -> Ready:
    return Ready("j-1", 1, BOOT, 0, 5, items, operation)


@dataclass(frozen=True, slots=True)
class Step:
    """What happens at a time, and all that is sent and told from the step before up to then.

    Attributes:
        event: a report that comes in; or a wish: a job to be sent, a job to be cancelled. None: only the time goes on.
        sent: one line per datagram, its messages joined by +.
        told: one line for each thing that the client's user hears.
    """

    at: float
    event: Report | Job | Cancel | None = None
    sent: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Story:
    """A list of steps, and the sentence that it shows.

    Attributes:
        shown: the datagrams that are shown though they usually are not: "hello", "ping".
    """

    sentence: str
    steps: tuple[Step, ...]
    shown: frozenset[str] = field(default_factory=frozenset)


class Teller(Protocol):
    """One of the two programs, with a clock of numbers. `sent` and `told` collect."""

    sent: list[tuple[Command, ...]]
    told: list[str]

    def until(self, at: float) -> None:
        """Lets the time go on."""

    def happens(self, event: Report | Job | Cancel) -> None:
        """Lets something happen now."""


def play(story: Story, teller: Teller) -> None:
    """Plays a story; each step must be as it is written."""
    for step in story.steps:
        teller.until(step.at)
        if step.event is not None:
            teller.happens(step.event)
        sent = tuple(line for line in map(line_of, teller.sent) if line not in {"hello", "ping", "describe"} - story.shown)
        assert (step.at, sent, tuple(teller.told)) == (step.at, step.sent, step.told), story.sentence
        teller.sent.clear()
        teller.told.clear()


def line_of(datagram: tuple[Command, ...]) -> str:
    """A datagram in short.

    >>> line_of((Ack(3), NOOP))
    'ack 3 + job j-1'
    """
    return " + ".join(map(_word_of, datagram))


def _word_of(command: Command) -> str:
    name = command.full_address.rpartition("/")[2]
    match command:
        case Hello(nonce=nonce) if nonce:
            return f"{name} {nonce}"
        case Job(id=job_id) | Query(id=job_id) | Cancel(id=job_id):
            return f"{name} {job_id}"
        case Ack(seq=seq):
            return f"{name} {seq}"
    return name


ACK = ("ack 1",)
JOB = ("job j-1",)
HELLO_JOB = ("hello + job j-1",)
QUERY = ("query j-1",)
HELLO_QUERY = ("hello + query j-1",)
CANCEL = ("cancel j-1",)
IS_ACCEPTED = ("accepted j-1",)
IS_PROCESSING = ("processing j-1",)
IS_READY = ("ready j-1",)
HAS_FAILED = ("failed j-1",)
IS_INCOMPLETE = ("ready j-1, incomplete",)

#: When a job is asked after whose rows were lost, if nobody answers: 0.1 s after its final at 0.1 s, then after 0.1 s, 0.2 s ... 2 s.
QUERIES_AT = (0.2, 0.3, 0.5, 0.9, 1.7, *(3.3 + 2 * number for number in range(11)))

STORIES = (
    # ------------------------------------------------------------------------------------------------ sending a job
    Story(
        "A job goes bare to a worker that was heard just now.",
        (Step(0.1, NOOP, sent=JOB),),
    ),
    Story(
        "A job goes behind a hello after a pause: a worker that was restarted meanwhile would take it for another client's.",
        (Step(0.5, NOOP, sent=HELLO_JOB),),
    ),
    Story(
        "A job without an answer is sent again after 0.1 s, each time after twice as long, and from the fifth on every 1.6 s.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.18),
            Step(0.25, sent=JOB),
            Step(0.38),
            Step(0.45, sent=HELLO_JOB),
            Step(0.78),
            Step(0.85, sent=HELLO_JOB),
            Step(1.58),
            Step(1.7, sent=HELLO_JOB),
            Step(3.18),
            Step(3.3, sent=HELLO_JOB),
            Step(4.78),
            Step(4.95, sent=HELLO_JOB),
            Step(6.38),
            Step(6.6, sent=HELLO_JOB),
        ),
    ),
    Story(
        "After `accepted` a job is not sent again.",
        (Step(0.1, NOOP, sent=JOB), Step(0.15, ACCEPTED, told=IS_ACCEPTED), Step(3.2)),
    ),
    Story(
        "A lost `accepted` does no harm: `processing` says the same.",
        (Step(0.1, NOOP, sent=JOB), Step(0.15, Processing("j-1", 1), told=IS_PROCESSING), Step(3.2)),
    ),
    Story(
        "So does a row, or a file.",
        (Step(0.1, DRAWING, sent=JOB), Step(0.15, File("j-1", "0.png", 9, 4, 4), told=("file 0.png",)), Step(3.2)),
    ),
    Story(
        "A final that comes first ends the job, too.",
        (Step(0.1, NOOP, sent=JOB), Step(0.15, READY, sent=ACK, told=IS_READY), Step(9.0)),
    ),
    Story(
        "A refused job ends at once, and a refusal is not acknowledged.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, Failed("j-1", 0, BOOT, 429, "queue", "The queue is full.", ""), told=HAS_FAILED),
            Step(9.0),
        ),
    ),
    # ------------------------------------------------------------------------------------------------ what the user hears
    Story(
        "A final is acknowledged each time it comes, and told once.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.19, READY, sent=ACK, told=IS_READY),
            Step(0.3, READY, sent=ACK),
            Step(0.6, READY, sent=ACK),
        ),
    ),
    Story(
        "Doubled and overtaken reports are not told again, and a job's life does not run backward.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.19, ACCEPTED, told=IS_ACCEPTED),
            Step(0.19, Accepted("j-1", 0, 1)),
            Step(0.19, Processing("j-1", 1), told=IS_PROCESSING),
            Step(0.19, Processing("j-1", 1)),
            Step(0.19, ACCEPTED),
            Step(0.19, Progress("j-1", 0.5, 1, 2, -1, ""), told=("progress j-1 0.5",)),
            Step(0.19, Progress("j-1", 0.25, 1, 4, -1, "")),
            Step(0.19, Processing("j-1", 2), told=IS_PROCESSING),
            Step(0.19, Progress("j-1", 0.25, 1, 4, -1, ""), told=("progress j-1 0.25",)),
            Step(0.19, READY, sent=ACK, told=IS_READY),
            Step(0.19, Progress("j-1", 0.75, 3, 4, -1, "")),
            Step(0.19, Processing("j-1", 3)),
        ),
    ),
    # ------------------------------------------------------------------------------------------------ cancelling
    Story(
        "A cancel waits until its job is accepted: if it came first, the worker would know no such job, and then run it.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, Cancel("j-1")),
            Step(0.18, ACCEPTED, sent=CANCEL, told=IS_ACCEPTED),
            Step(0.3, sent=CANCEL),
            Step(0.35, CANCELLED, sent=ACK, told=HAS_FAILED),
            Step(4.0),
        ),
    ),
    Story(
        "A cancel is sent again until the job has ended, however it ends.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(0.2, Cancel("j-1"), sent=CANCEL),
            Step(0.22, Cancel("j-1")),
            Step(0.28),
            Step(0.32, BEAT, sent=CANCEL),
            Step(0.55, BEAT, sent=CANCEL),
            Step(0.6, READY, sent=ACK, told=IS_READY),
            Step(4.0),
        ),
    ),
    # ------------------------------------------------------------------------------------------------ lost rows and files
    Story(
        "A job is ready when all its rows are there, even if its final came before them.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.15, found(0, 2)),
            Step(0.16, ready("find_circles", 2), sent=ACK),
            Step(0.17, found(1, 2), told=IS_READY),
            Step(9.0),
        ),
    ),
    Story(
        "Rows that were lost are asked for 0.1 s after the last report, and the job is ready when they have come.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.19, found(1, 2)),
            Step(0.19, ready("find_circles", 2), sent=ACK),
            Step(0.28),
            Step(0.32, sent=QUERY),
            Step(0.35, found(0, 2), told=IS_READY),
            Step(0.35, ready("find_circles", 2), sent=ACK),
            Step(9.0),
        ),
    ),
    Story(
        "Nothing is asked while the worker is still telling: it would tell everything twice.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.19, ready("find_circles", 9), sent=ACK),
            *(Step(0.25 + number * 0.05, found(number, 9)) for number in range(8)),
            Step(0.68),
            Step(0.72, sent=QUERY),
            Step(0.73, found(8, 9), told=IS_READY),
        ),
    ),
    Story(
        "If a part of an answer was lost, the next question comes after 0.1 s, and not more and more slowly.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.1, ready("find_circles", 3), sent=ACK),
            Step(0.22, sent=QUERY),
            Step(0.35, sent=QUERY),
            Step(0.36, found(2, 3)),
            Step(0.52, BEAT, sent=QUERY),
            Step(0.53, found(0, 3)),
            Step(0.7, sent=QUERY),
            Step(0.71, found(1, 3), told=IS_READY),
        ),
    ),
    Story(
        "Files that were lost are asked for: a drawing has one for each item.",
        (
            Step(0.1, DRAWING, sent=JOB),
            Step(0.15, File("j-1", "0.png", 9, 4, 4), told=("file 0.png",)),
            Step(0.15, File("j-1", "0.png", 9, 4, 4)),
            Step(0.15, found(0, 1)),
            Step(0.15, ready("draw_circles", 2), sent=ACK),
            Step(0.27, sent=QUERY),
            Step(0.28, File("j-1", "1.png", 9, 4, 4), told=("file 1.png", "ready j-1")),
        ),
    ),
    Story(
        "Very many rows come in a file in place of datagrams; the file is all that is waited for.",
        (
            Step(0.1, TABLE, sent=JOB),
            Step(0.15, ready("find_circles", 2000), sent=ACK),
            Step(0.2, File("j-1", "found.json", 99, 0, 0), told=("file found.json", "ready j-1")),
        ),
    ),
    Story(
        "Finding nothing is a report, too: it is asked for if it was lost.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.15, ready("find_circles", 0), sent=ACK),
            Step(0.27, sent=QUERY),
            Step(0.28, ResultRows("circles", "j-1", 0, 1, 0, 0, 6, ()), told=IS_READY),
        ),
    ),
    Story(
        "Rows that never come do not hold a job for ever; the last question has as long for its answer as the others.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.1, ready("find_circles", 2), sent=ACK),
            *(Step(at + 0.06, sent=QUERY) for at in QUERIES_AT[:2]),
            *(Step(at + 0.1, sent=HELLO_QUERY) for at in QUERIES_AT[2:5]),
            *(Step(at + 0.5, sent=HELLO_QUERY) for at in QUERIES_AT[5:]),
            Step(QUERIES_AT[-1] + 1.95),
            Step(QUERIES_AT[-1] + 2.5, told=IS_INCOMPLETE),
            Step(30.0),
        ),
    ),
    Story(
        "The answer to the last question counts.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.1, ready("find_circles", 1), sent=ACK),
            Step(QUERIES_AT[-1] + 1.9, found(0, 1), sent=QUERY + QUERY + HELLO_QUERY * 14, told=IS_READY),
        ),
    ),
    Story(
        "A job that is ready does not fail because the worker has forgotten what it found.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.1, ready("find_circles", 2), sent=ACK),
            Step(0.22, sent=QUERY),
            Step(0.25, FORGOTTEN, told=IS_INCOMPLETE),
            Step(9.0),
        ),
    ),
    Story(
        "Nor if it has forgotten because it was restarted.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.1, ready("find_circles", 2), sent=ACK),
            Step(0.22, sent=QUERY),
            Step(0.25, Failed("j-1", 0, BOOT + 1, 404, "job", "There is no job.", ""), told=IS_INCOMPLETE),
        ),
    ),
    # ------------------------------------------------------------------------------------------------ restarts
    Story(
        "Another start number in a report is a reason to say hello; the welcome then has the accepted jobs sent again, under the same ids.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(0.2, Job("j-2", "noop"), sent=("job j-2",)),
            Step(0.22, Ready("j-2", 1, BOOT, 0, 0, 0, "noop"), sent=ACK, told=("ready j-2",)),
            Step(1.0, BEAT_OF_ANOTHER_START, sent=("hello",)),
            Step(1.05, WELCOME_OF_ANOTHER_START, sent=JOB),
            Step(1.1, Accepted("j-1", 0, 0), told=IS_ACCEPTED),
            Step(1.2, Ready("j-1", 2, BOOT + 1, 0, 0, 0, "noop"), sent=("ack 2",), told=IS_READY),
        ),
        frozenset({"hello"}),
    ),
    Story(
        "A late report of an earlier start has nothing sent again.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(1.0, Status("Ready", 0, 0, BOOT - 1)),
            Step(1.05, WELCOME),
            Step(3.0),
        ),
    ),
    Story(
        "A worker that was restarted and does not know an accepted job has not refused it.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(1.0, Failed("j-1", 0, BOOT + 1, 404, "job", "There is no job.", "")),
            Step(1.05, WELCOME_OF_ANOTHER_START, sent=JOB),
        ),
    ),
    Story(
        "After a restart the rows of the earlier attempt do not count.",
        (
            Step(0.1, CIRCLES, sent=JOB),
            Step(0.15, found(0, 2)),
            Step(1.0, WELCOME_OF_ANOTHER_START, sent=JOB),
            Step(1.09, found(1, 2)),
            Step(1.09, ready("find_circles", 2), sent=ACK),
            Step(1.15, found(0, 2), told=IS_READY),
        ),
    ),
    Story(
        "A worker that asks for a number does not know us: hello goes again with it at once, and a job still goes behind a hello.",
        (
            Step(0.5, Challenge(5), sent=("hello 5",)),
            Step(0.56, NOOP, sent=("hello 5 + job j-1",)),
            Step(0.58, Challenge(5)),
            Step(0.68, Challenge(6), sent=("hello 5 + job j-1", "hello 6")),
            Step(0.69, WELCOME),
            Step(0.7, ACCEPTED, told=IS_ACCEPTED),
        ),
        frozenset({"hello"}),
    ),
    Story(
        "After a restart the worker asks for a number again, and then the accepted jobs are sent again.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(3.4, sent=("hello",)),
            Step(3.45, Challenge(9), sent=("hello 9",)),
            Step(3.5, WELCOME_OF_ANOTHER_START, sent=JOB),
            Step(3.55, Ready("j-1", 1, BOOT + 1, 0, 0, 0, "noop"), sent=ACK, told=IS_READY),
        ),
        frozenset({"hello"}),
    ),
    # ------------------------------------------------------------------------------------------------ presence
    Story(
        "An accepted job that is not heard of for five seconds is asked after, while the worker is there.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            *(Step(float(second), BEAT) for second in range(1, 6)),
            Step(6.05, BEAT, sent=QUERY),
            Step(6.1, Processing("j-1", 1), told=IS_PROCESSING),
            *(Step(float(second), BEAT) for second in range(7, 12)),
            Step(12.05, BEAT, sent=QUERY),
        ),
    ),
    Story(
        "To a worker that falls silent goes a hello every second: one that was restarted does not know where we are.",
        (
            Step(0.1, NOOP, sent=JOB),
            Step(0.15, ACCEPTED, told=IS_ACCEPTED),
            Step(2.4),
            Step(3.3, sent=("hello",)),
            Step(4.3, sent=("hello",)),
            Step(5.3, sent=("hello",)),
        ),
        frozenset({"hello"}),
    ),
    Story(
        "A ping every five seconds keeps the lease.",
        (
            *(Step(float(second), BEAT) for second in range(1, 5)),
            Step(5.05, BEAT, sent=("ping",)),
            *(Step(float(second), BEAT) for second in range(6, 10)),
            Step(10.1, BEAT, sent=("ping",)),
        ),
        frozenset({"ping"}),
    ),
)
