"""The client's decisions: lists of reports and moments against lists of commands and deliveries."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.client.client import Job as ClientJob
from worker.client.core import (
    QUERY_TRIES,
    WINDOW,
    Announce,
    Answered,
    ClientCore,
    Deliver,
    Effect,
    Ended,
    Transmit,
)
from worker.protocol.messages import (
    Accepted,
    Ack,
    Cancel,
    Command,
    Error,
    Failed,
    File,
    GetStatus,
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

HELLO = Hello("test", 0, 0, "", "", 1)
WELCOME = Welcome("1", 1, 7, 15_000, 0)
NOOP = Job("j", "noop")
READY = Ready("j", 1, 7, 0, 5, 0, "noop")
FAILED = Failed("j", 1, 7, 404, "file", "There is no file.", "")
CIRCLES = Job("j", "find_circles", (("image", "a.png"),))
DRAWING = Job("j", "draw_circles", (("output", "{n}.png"), ("count", 2)))
LOSS = 1 / 3


class Talk:
    """A core and the time. Collects what the core wants; answers nothing by itself."""

    def __init__(self, *, welcomed: bool = True, silence_s: float = 30.0) -> None:
        self.core = ClientCore(HELLO, silence_s)
        self.now = 0.0
        self.effects: list[Effect] = []
        _, effects = self.core.connect(self.now, 3.0)
        self.effects += effects
        if welcomed:
            self.hear(WELCOME)
            self.effects.clear()

    def hear(self, *reports: Report) -> list[Effect]:
        new = [effect for report in reports for effect in self.core.handle(report, self.now)]
        self.effects += new
        return new

    def submit(self, job: Job = NOOP) -> list[Effect]:
        new = self.core.submit(job, self.now)
        self.effects += new
        return new

    def wait(self, seconds: float, *, while_hearing: Report | None = None) -> list[Effect]:
        """Lets the time pass, timer by timer."""
        end = self.now + seconds
        new: list[Effect] = []
        while (deadline := self.core.next_deadline()) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            if while_hearing is not None:
                new += self.core.handle(while_hearing, self.now)
            new += self.core.due(self.now)
        self.now = end
        self.effects += new
        return new


def sent(effects: list[Effect], kind: type[Command] | None = None) -> list[Command]:
    """The commands among the effects; those of one kind."""
    commands = [command for effect in effects if isinstance(effect, Transmit) for command in effect.commands]
    return [command for command in commands if kind is None or isinstance(command, kind)]


def delivered(effects: list[Effect]) -> list[Report]:
    return [effect.report for effect in effects if isinstance(effect, Deliver)]


def ends(effects: list[Effect]) -> list[Ended]:
    return [effect for effect in effects if isinstance(effect, Ended)]


# ------------------------------------------------------------------------------------------------------------- hello


def test_hello_is_said_until_welcomed() -> None:
    """A lost hello is said again; after the welcome no more."""
    talk = Talk(welcomed=False)
    assert sent(talk.effects) == [HELLO]
    assert sent(talk.wait(0.35), Hello) == [HELLO, HELLO]
    answered = talk.hear(WELCOME)
    assert [effect for effect in answered if isinstance(effect, Answered)] == [Answered(1, WELCOME)]
    assert Announce(WELCOME) in answered
    assert talk.core.boot == WELCOME.boot
    assert sent(talk.wait(1.5, while_hearing=Status("Ready", 0, 0, 7)), Hello) == []


def test_a_silent_worker_answers_nothing() -> None:
    """Without a welcome the question ends with None, and the time it took is the one that was asked for."""
    talk = Talk(welcomed=False)
    effects = talk.wait(2.9)
    assert not [effect for effect in effects if isinstance(effect, Answered)]
    assert [effect for effect in talk.wait(0.2) if isinstance(effect, Answered)] == [Answered(1, None)]


def test_an_error_at_the_address_answers_the_question() -> None:
    """A refused command ends its question at once."""
    talk = Talk()
    number, _ = talk.core.ask(GetStatus(), lambda report: isinstance(report, Status), talk.now, 10)
    error = Error(401, "/worker/status", "The token is wrong.")
    assert Answered(number, error) in talk.hear(error)
    other = Error(404, "/worker/nothing", "?")
    assert not [effect for effect in talk.hear(other) if isinstance(effect, Answered)]


# ------------------------------------------------------------------------------------------------------- sending jobs


def test_a_job_goes_at_once_and_bare_to_a_worker_heard_just_now() -> None:
    """No hello is needed right after the welcome."""
    talk = Talk()
    assert talk.submit() == [Transmit((NOOP,))]


def test_a_job_travels_behind_a_hello_after_a_pause() -> None:
    """The worker may have been started again meanwhile, and would take the job for another client's."""
    talk = Talk()
    talk.now = 0.5
    assert talk.submit() == [Transmit((HELLO, NOOP))]


def test_an_unaccepted_job_is_sent_five_times_in_three_seconds() -> None:
    """After 100 ms and then twice as long each time."""
    talk = Talk()
    talk.submit()
    times = []
    while talk.now < 1.6:
        before = talk.now
        if sent(talk.wait(0.05), Job):
            times.append(round(before + 0.05, 2))
    assert times == pytest.approx([0.1, 0.3, 0.7, 1.5], abs=0.06)


@pytest.mark.parametrize("report", [Accepted("j", 0, 0), Processing("j", 1), Progress("j", 0.5, 1, 2, 3, ""), READY])
def test_any_report_about_a_job_ends_its_resending(report: Report) -> None:
    """A lost `accepted` does no harm."""
    talk = Talk()
    talk.submit()
    talk.hear(report)
    assert sent(talk.wait(3), Job) == []


def test_a_worker_that_lives_but_never_accepts_is_given_up() -> None:
    """The job ends with a problem, and not before the time is over."""
    talk = Talk(silence_s=10)
    talk.submit()
    pong = Pong(1, 7, 1.0)
    assert not ends(talk.wait(9, while_hearing=pong))
    (end,) = ends(talk.wait(3, while_hearing=pong))
    assert end.final is None
    assert "did not answer" in end.problem


def test_only_so_many_jobs_are_on_their_way_at_once() -> None:
    """A burst waits here and not in the worker's socket; each answer lets the next one go."""
    talk = Talk()
    for number in range(WINDOW + 10):
        talk.submit(Job(f"j{number}", "noop"))
    assert len(sent(talk.effects, Job)) == WINDOW
    assert sent(talk.hear(Accepted("j0", 0, 0)), Job) == [Job(f"j{WINDOW}", "noop")]
    refused = Failed("j1", 0, 7, 429, "queue", "The queue is full.", "")
    assert sent(talk.hear(refused), Job) == [Job(f"j{WINDOW + 1}", "noop")]


def test_an_id_is_used_once() -> None:
    """Two open jobs cannot have the same id, and an id cannot be empty."""
    talk = Talk()
    talk.submit()
    with pytest.raises(ValueError, match="in use"):
        talk.submit()
    with pytest.raises(ValueError, match="empty"):
        talk.submit(Job("", "noop"))


# ------------------------------------------------------------------------------------------------------ a job's reports


def test_the_life_of_a_job() -> None:
    """Its reports are delivered in order, the final last, and acknowledged."""
    talk = Talk()
    talk.submit()
    life = [Accepted("j", 0, 0), Processing("j", 1), Progress("j", 0.5, 1, 2, 3, ""), READY]
    effects = talk.hear(*life)
    assert delivered(effects) == life
    assert sent(effects) == [Ack(1)]
    (end,) = ends(effects)
    assert end.final == READY
    assert talk.core.unfinished == 0


def test_repeats_are_acknowledged_and_delivered_once() -> None:
    """Every copy of a final is acknowledged, because the acknowledgement may have been lost."""
    talk = Talk()
    talk.submit()
    effects = talk.hear(*[Accepted("j", 0, 0)] * 2, *[Processing("j", 1)] * 2, *[READY] * 3)
    assert delivered(effects) == [Accepted("j", 0, 0), Processing("j", 1), READY]
    assert sent(effects) == [Ack(1)] * 3
    assert len(ends(effects)) == 1


def test_late_reports_are_dropped() -> None:
    """Neither progress that goes back, nor `accepted` after the job has started, is delivered."""
    talk = Talk()
    talk.submit()
    talk.hear(Processing("j", 1), Progress("j", 0.5, 1, 2, 3, ""))
    assert not delivered(talk.hear(Accepted("j", 0, 0), Processing("j", 1), Progress("j", 0.25, 1, 4, 3, "")))


def test_progress_begins_again_with_another_attempt() -> None:
    """A retried job starts from nothing."""
    talk = Talk()
    talk.submit()
    reports = [Processing("j", 1), Progress("j", 0.5, 1, 2, 3, ""), Processing("j", 2), Progress("j", 0.1, 1, 10, 3, "")]
    assert delivered(talk.hear(*reports)) == reports


def test_a_refused_job_ends_without_acknowledgement() -> None:
    """A refusal has no number and is no final of the worker's, but it ends the job here."""
    talk = Talk()
    talk.submit()
    refused = Failed("j", 0, 7, 400, "arguments", "No.", "")
    effects = talk.hear(refused)
    assert sent(effects) == []
    assert [end.final for end in ends(effects)] == [refused]
    assert sent(talk.wait(3), Job) == []


def test_a_refused_job_without_an_id() -> None:
    """It is that of a trigger, whose sender would otherwise believe that it has started a job."""
    told = Error(400, "/worker/trigger", "Preset 'a': it needs image. See there.")
    assert Announce(told) in Talk().hear(Failed("", 0, 7, 400, "arguments", "Preset 'a': it needs image.", "See there."))


def test_reports_of_unknown_jobs_are_only_acknowledged() -> None:
    """A final of an earlier program on the same port must not be sent for ever."""
    talk = Talk()
    assert talk.hear(Ready("old", 9, 7, 0, 0, 0, "noop")) == [Transmit((Ack(9),))]
    assert talk.hear(Progress("old", 0.5, 1, 2, 3, "")) == []


# ----------------------------------------------------------------------------------------------------- lost rows, files


def rows(chunk: int, chunks: int, first: int, total: int, *numbers: float) -> ResultRows:
    return ResultRows("circles", "j", chunk, chunks, first, total, 6, numbers)


ONE = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
TWO = (7.0, 8.0, 9.0, 10.0, 11.0, 12.0)


def test_rows_are_joined_in_the_order_of_their_chunks() -> None:
    """They may arrive in any order, and twice."""
    talk = Talk()
    talk.submit(CIRCLES)
    ready = Ready("j", 1, 7, 0, 5, 2, "find_circles")
    effects = talk.hear(rows(1, 2, 1, 2, *TWO), rows(0, 2, 0, 2, *ONE), rows(1, 2, 1, 2, *TWO), ready)
    (end,) = ends(effects)
    assert end.found.rows == (ONE, TWO)
    assert end.found.kind == "circles"
    assert end.found.complete


def test_skipped_images_are_asked_for() -> None:
    """The final counts them; they come in the order of the inputs."""
    talk = Talk()
    talk.submit(CIRCLES)
    told = [Skipped("j", f"a{n}.png", 415, "It is empty.") for n in (10, 2)]
    assert not ends(talk.hear(rows(0, 1, 0, 0), told[0], told[0], Ready("j", 1, 7, 0, 5, 0, "find_circles", 2)))
    assert sent(talk.wait(1), Query)
    (end,) = ends(talk.hear(told[1]))
    assert end.found.skipped == (told[1], told[0])
    assert end.found.complete


def test_finding_nothing_is_complete() -> None:
    """One chunk without rows says so."""
    talk = Talk()
    talk.submit(CIRCLES)
    (end,) = ends(talk.hear(rows(0, 1, 0, 0), Ready("j", 1, 7, 0, 5, 0, "find_circles")))
    assert end.found.rows == ()
    assert end.found.complete


def test_lost_rows_are_asked_for_before_the_final_is_delivered() -> None:
    """The worker tells rows and final again after a query."""
    talk = Talk()
    talk.submit(CIRCLES)
    ready = Ready("j", 1, 7, 0, 5, 2, "find_circles")
    assert ready not in delivered(talk.hear(rows(0, 2, 0, 2, *ONE), ready))
    assert sent(talk.wait(0.15), Query) == [Query("j")]
    effects = talk.hear(rows(0, 2, 0, 2, *ONE), rows(1, 2, 1, 2, *TWO))
    assert delivered(effects) == [rows(1, 2, 1, 2, *TWO), ready]
    assert ends(effects)[0].found.rows == (ONE, TWO)


def test_all_rows_lost_are_missed_too() -> None:
    """The operation is known to have rows, and not one has come."""
    talk = Talk()
    talk.submit(CIRCLES)
    talk.hear(Ready("j", 1, 7, 0, 5, 0, "find_circles"))
    assert sent(talk.wait(0.15), Query) == [Query("j")]


def test_lost_files_are_asked_for() -> None:
    """A drawing has as many files as items; told again, the lost one stands in its place."""
    talk = Talk()
    talk.submit(DRAWING)
    files = [File("j", f"{n}.png", 5, 8, 8) for n in range(2)]
    ready = Ready("j", 1, 7, 0, 5, 2, "draw_circles")
    talk.hear(files[1], rows(0, 1, 0, 2, *ONE, *TWO), ready)
    assert sent(talk.wait(0.15), Query) == [Query("j")]
    (end,) = ends(talk.hear(*files))
    assert list(end.found.files) == files


def test_long_results_stand_in_a_file() -> None:
    """More rows than datagrams carry do not come as rows, and are not waited for."""
    talk = Talk()
    talk.submit(CIRCLES)
    (end,) = ends(talk.hear(File("j", "found.json", 5, 0, 0), Ready("j", 1, 7, 0, 5, 10_000, "find_circles")))
    assert end.found.complete


def test_what_the_worker_has_forgotten_is_not_asked_for_for_ever() -> None:
    """The final counts all the same, and the result is said to be incomplete."""
    talk = Talk()
    talk.submit(CIRCLES)
    ready = Ready("j", 1, 7, 0, 5, 2, "find_circles")
    talk.hear(ready)
    effects = talk.wait(60, while_hearing=Pong(1, 7, 1.0))
    assert len(sent(effects, Query)) == QUERY_TRIES
    (end,) = ends(effects)
    assert end.final == ready
    assert not end.found.complete


def test_a_query_is_repeated_as_long_as_it_brings_something() -> None:
    """The count of vain queries begins again with each piece."""
    talk = Talk()
    chunks = 3 * QUERY_TRIES
    talk.submit(CIRCLES)
    talk.hear(Ready("j", 1, 7, 0, 5, chunks, "find_circles"))
    for chunk in range(chunks):
        assert not ends(talk.wait(5, while_hearing=Pong(1, 7, 1.0)))
        talk.hear(rows(chunk, chunks, chunk, chunks, *ONE))
    assert ends(talk.effects)[0].found.complete


@given(st.permutations(range(12)))
def test_files_come_in_any_order(order: list[int]) -> None:
    """However they overtake each other, the result names them in the order of the inputs, and a table after the images."""
    talk = Talk()
    talk.submit(Job("j", "draw_circles", (("output", "{n}.png"), ("count", 12))))
    talk.hear(File("j", "1.csv", 5, 0, 0), *(File("j", f"{n}.png", 5, 8, 8) for n in order), rows(0, 1, 0, 12, *ONE * 12))
    (end,) = ends(talk.hear(Ready("j", 1, 7, 0, 5, 12, "draw_circles")))
    assert [file.path for file in end.found.files] == [*(f"{n}.png" for n in range(12)), "1.csv"]


# -------------------------------------------------------------------------------------------------------------- cancel


def test_cancel_is_repeated_until_the_final() -> None:
    """A lost cancel is sent again; the final ends it."""
    talk = Talk()
    talk.submit()
    talk.hear(Accepted("j", 0, 0))
    assert sent(talk.core.cancel("j", talk.now)) == [Cancel("j")]
    assert sent(talk.wait(0.35), Cancel) == [Cancel("j")] * 2
    talk.hear(Failed("j", 1, 7, 499, "cancelled", "The job was cancelled.", ""))
    assert sent(talk.wait(3), Cancel) == []


def test_cancel_waits_for_the_acceptance() -> None:
    """A cancel that overtook its job would find nothing to cancel."""
    talk = Talk()
    talk.submit()
    assert sent(talk.core.cancel("j", talk.now)) == []
    assert sent(talk.hear(Accepted("j", 0, 0))) == [Cancel("j")]


def test_cancel_of_a_foreign_job_goes_once() -> None:
    """Nothing is known of it here, so nothing can be waited for."""
    talk = Talk()
    assert talk.core.cancel("other", talk.now) == [Transmit((Cancel("other"),))]


# ----------------------------------------------------------------------------------------------- restarts and silence


def test_after_a_new_boot_unfinished_jobs_are_sent_again() -> None:
    """Under the same id, so that a worker with a journal does not run them twice."""
    talk = Talk()
    talk.submit(NOOP)
    talk.submit(Job("done", "noop"))
    talk.hear(Accepted("j", 0, 0), Ready("done", 1, 7, 0, 0, 0, "noop"))
    assert sent(talk.hear(Status("Ready", 0, 0, 8))) == [HELLO]
    assert sent(talk.hear(Welcome("1", 1, 8, 15_000, 1))) == [NOOP]
    assert sent(talk.hear(Accepted("j", 0, 1), Ready("j", 2, 8, 0, 0, 0, "noop"))) == [Ack(2)]


def test_an_old_final_makes_no_new_boot() -> None:
    """It carries the number of the start in which the job ended; only a welcome counts."""
    talk = Talk()
    talk.submit()
    talk.hear(Accepted("j", 0, 0), Ready("other", 1, 6, 0, 0, 0, "noop"), WELCOME)
    assert sent(talk.effects, Job) == [NOOP]


def test_a_job_that_the_new_worker_does_not_know_is_sent_again() -> None:
    """The answer to a query carries the new boot number."""
    talk = Talk()
    talk.submit()
    talk.hear(Accepted("j", 0, 0))
    unknown = Failed("j", 0, 8, 404, "job", "There is no job 'j'.", "")
    effects = talk.hear(unknown)
    assert not ends(effects)
    assert sent(effects) == [HELLO]


def test_a_missed_heartbeat_is_answered_by_a_hello() -> None:
    """A worker that was started again does not know where we are."""
    talk = Talk()
    assert HELLO in sent(talk.wait(4))


def test_a_heard_worker_gets_a_ping_every_five_seconds() -> None:
    """They keep the lease."""
    talk = Talk()
    effects = talk.wait(21, while_hearing=Status("Ready", 0, 0, 7))
    assert len(sent(effects, Ping)) == 4
    assert not sent(effects, Hello)


def test_a_job_that_is_not_heard_of_is_asked_after() -> None:
    """Its final may have been lost while the lease was over."""
    talk = Talk()
    talk.submit()
    talk.hear(Accepted("j", 0, 0))
    assert Query("j") in sent(talk.wait(8, while_hearing=Status("Processing", 1, 0, 7)))


def test_silence_ends_all_jobs() -> None:
    """After `silence_s` without any packet, each open job ends with a problem."""
    talk = Talk(silence_s=10)
    talk.submit()
    talk.hear(Accepted("j", 0, 0))
    assert not ends(talk.wait(9))
    (end,) = ends(talk.wait(3))
    assert end.final is None
    assert "sent nothing for 10 seconds" in end.problem


def test_silence_counts_from_the_moment_something_is_wanted() -> None:
    """A client that was idle for long is not given up with its first job."""
    talk = Talk(silence_s=10)
    talk.wait(100)
    talk.submit()
    assert not ends(talk.wait(8))


# ------------------------------------------------------------------------------------------------------- a lossy network


@pytest.mark.parametrize("seed", range(100))
def test_loss_gives_one_final(seed: int) -> None:
    """With every third datagram lost in both directions, a job ends once and with its whole result."""
    draw = random.Random(seed).random
    talk = Talk()
    talk.submit(CIRCLES)
    life = [Accepted("j", 0, 0), Processing("j", 1), rows(0, 2, 0, 2, *ONE), rows(1, 2, 1, 2, *TWO)]
    final = Ready("j", 1, 7, 0, 5, 2, "find_circles")
    begun = acknowledged = False
    asked = list(sent(talk.effects))
    for _ in range(400):
        answers: list[Report] = []
        for command in asked:
            if draw() < LOSS:
                continue
            acknowledged |= isinstance(command, Ack)
            if isinstance(command, Job):
                answers += [Accepted("j", 0, 1), final] if begun else [*life, final]
                begun = True
            elif isinstance(command, Query):
                answers += [*life[2:], final]
            elif isinstance(command, Hello):
                answers.append(WELCOME)
        if begun and not acknowledged:
            answers.append(final)
        heard = [report for report in answers if draw() >= LOSS]
        asked = sent(talk.hear(*heard)) + sent(talk.wait(0.1, while_hearing=Status("Ready", 0, 0, 7)))
        if acknowledged and not talk.core.unfinished:
            break
    (end,) = ends(talk.effects)
    assert end.final == final
    assert end.found.rows == (ONE, TWO)


# ------------------------------------------------------------------------------------------------------------- live jobs


def test_live_jobs() -> None:
    """What a live job sees and what its source does is delivered, and is a sign of life: nobody asks how it stands."""
    talk = Talk()
    talk.submit(Job("j", "track", (("source", "a.mp4"),)))
    seen = Tracked("cam", "j", 1, 5.0, 0, 1, 0, 1, 2, (1.0, 2.0))
    live = Source("j", "cam", "Live", "a.mp4")
    assert delivered(talk.hear(live, seen, seen)) == [live, seen, seen]
    for _ in range(60):
        assert sent(talk.wait(1.0), Query) == []
        talk.hear(seen)
    talk.hear(Failed("j", 1, 7, 499, "cancelled", "", ""))
    assert delivered(talk.hear(seen)) == []


def test_a_slow_reader_gets_the_newest_picture() -> None:
    """Pictures that nobody has read give way to newer ones; everything else stays."""
    job = ClientJob("j", "track", None)
    for frame in range(5):
        for chunk in range(2):
            job._deliver(Tracked("cam", "j", frame, 5.0, chunk, 2, chunk, 2, 1, (1.0,)))
        job._deliver(Source("j", "cam", "Live", str(frame)))
    kept = [(report.frame, report.chunk) for report in job._reports if isinstance(report, Tracked)]
    assert kept == [(4, 0), (4, 1)]
    assert len([report for report in job._reports if isinstance(report, Source)]) == 5
