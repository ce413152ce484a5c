"""Store, then release: what depends on a record leaves when it is stored, and never if it is not. With a scheduler around it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.play import OTHER, START, Play, circles, disk_full, finished, job, plan, sent
from worker.core.barrier import Barrier
from worker.core.events import (
    Commit,
    JobEnded,
    Kept,
    KeptJob,
    NotStored,
    Received,
    Send,
    StopAsked,
    Stored,
    StoreFinal,
    StorePreset,
    StoreUnset,
)
from worker.protocol.messages import Bye, Cancel, Hello, Ping, Query, Ready, Replay, Set, Status, Sync
from worker.timers import Timers

STATE = Path("state")
REASON = "no space left on device"


def slow(**settings):
    """A scheduler whose commits the test answers."""
    return Play(disk="slow", state=STATE, show=["commit", *settings.pop("show", ())], **settings)


def test_nothing_leaves_before_it_is_stored():
    """One commit for acceptance and start together; then the answer, the task and the report, in this order. And the final likewise."""
    play = slow()
    assert play(0.0, job("a")) == ["commit 1"]
    assert play(0.1, Stored(1)) == ["accepted a 0 0", "processing a 1", "run 1 noop plan"]
    assert play(0.5, finished(1)) == ["commit 2"]
    assert play(0.6, Stored(2)) == ["ready a seq=1 run=500"]
    assert play.until(0.75) == ["ready a seq=1 run=500"], "the second copy counts from when the first was sent"


def test_what_was_stored_is_released_before_the_chores():
    """The final goes first. What nobody waits for comes after it."""
    play = slow()
    play(0.0, job("a"), Stored(1))
    scheduler, now = play.scheduler, START + 0.5
    scheduler.take(finished(1), now)
    assert [type(effect) for effect in scheduler.end_of_round(now)] == [StoreFinal, Commit]
    scheduler.take(Stored(2), now)
    assert [type(effect.report) for effect in scheduler.end_of_round(now) if isinstance(effect, Send)] == [Ready, Status]
    assert [type(effect) for effect in scheduler.afterwards(now)] == [JobEnded]


def test_without_a_journal_nothing_waits():
    """The same at once, and no commit is asked for."""
    play = Play(show=["commit", "store"])
    assert play(0.0, job("a")) == ["store job a", "accepted a 0 0", "store attempt a 1", "processing a 1", "run 1 noop plan"]


def test_not_stored():
    """A job that cannot be stored is rejected, its task never runs, its id is free, and the sentence says what to do."""
    play = slow()
    play(0.0, job("a"))
    (line,) = play(0.1, NotStored(1, REASON))
    assert line.startswith(f"failed a seq=0 507 disk The job could not be stored: {REASON}. Make room on the disk")
    assert "--state" in line
    assert play(0.2, Query("a"))[0].startswith("failed a seq=0 404")
    assert play(0.3, job("a")) == ["commit 2"]
    assert play(0.4, Stored(2)) == ["accepted a 0 0", "processing a 1", "run 2 noop plan"]


def test_anothers_answer_does_not_wait():
    """A's new job `a` cannot be stored in the round in which B repeats its own job `a`: B gets its answer at once."""
    play = slow()
    play(0.0, job("a"), Stored(1), peer=OTHER)
    play(0.1, finished(1), Stored(2))
    play.until(1.0)
    assert play(1.1, job("a")) == ["commit 3"]
    assert play(1.1, job("a"), peer=OTHER) == ["10.0.0.2:9461 accepted a 0 1", "10.0.0.2:9461 ready a seq=1 run=100"]
    assert play(1.2, NotStored(3, REASON))[0].startswith("failed a seq=0 507")


def test_own_answer_waits():
    """A repeated command for a job that is not stored yet is answered with it, or not at all."""
    play = slow()
    play(0.0, job("a"))
    assert play(0.0, job("a"), Query("a")) == []
    assert [line.split()[0] for line in play(0.1, Stored(1))] == ["accepted", "processing", "run", "accepted", "processing"]
    play(0.2, job("b"), job("b"))
    assert [line.split()[0] for line in play(0.3, NotStored(2, REASON))] == ["failed"]


def test_one_commit_for_a_round():
    """Several events and one answer: the highest number counts."""
    play = slow(workers=1)
    assert play(0.0, job("a"), job("b")) == ["commit 1", "commit 2"]
    assert [line.split()[:2] for line in play(0.1, Stored(2))] == [["accepted", "a"], ["processing", "a"], ["run", "1"], ["accepted", "b"]]


def test_news_of_a_task_that_waits():
    """What is heard of a task that was never executed, since its job's start is not stored yet, means nothing."""
    play = slow()
    play(0.0, job("a"))
    assert play(0.1, finished(1)) == []
    assert play(0.2, Stored(1)) == ["accepted a 0 0", "processing a 1", "run 1 noop plan"]


def test_cancelled_before_it_is_stored():
    """A task whose start is not stored was not executed, so it is not aborted either."""
    play = slow()
    play(0.0, job("a"))
    assert play(0.0, Cancel("a")) == ["commit 2"]
    assert [line.split()[:2] for line in play(0.1, Stored(2))] == [["accepted", "a"], ["processing", "a"], ["failed", "a"]]


def test_a_start_that_cannot_be_stored():
    """The job waits and is tried again a second later; no attempt is lost, and nothing ran."""
    play = slow(workers=1, show=["store"])
    play(0.0, circles("a"), Stored(1), job("b", timeout_ms=1500), Stored(2))
    assert play(0.1, Cancel("a"))[:2] == ["abort 1", "store final a 1"]
    assert play(0.2, NotStored(3, REASON)) == []
    assert play.until(1.0) == []
    assert play.until(1.3) == ["store final a 1", "store attempt b 1", "commit 4"]
    assert sent(play(1.4, Stored(4))) == ["failed a seq=1 499 cancelled The job was cancelled. ", "processing b 1"]
    assert "408 timeout" not in " ".join(play.until(2.6)), "the timeout counts from the attempt that ran"


def test_an_end_that_cannot_be_stored():
    """It is stored again with the next record, and the final goes out then. Until then nobody hears of it."""
    play = slow(workers=1)
    play(0.0, job("a"), Stored(1))
    assert play(0.5, finished(1)) == ["commit 2"]
    assert play(0.6, NotStored(2, REASON)) == []
    assert play(0.7, Query("a"), Cancel("a"), Replay(1), Sync(1)) == []
    assert "welcome 0.1.0 1 7 15000 0" in play(0.8, Hello("td", 9461, 0))
    assert play(0.9, job("b")) == ["commit 3"]
    lines = play(1.0, Stored(3))
    assert lines.count("ready a seq=1 run=500") == 3, "the final, and the answers to query and cancel"
    assert "synced 1 1 0" in lines
    assert "welcome 0.1.0 1 7 15000 1" in play(1.05, Hello("td", 9461, 0))


def test_an_end_that_cannot_be_stored_for_long():
    """It is tried once a second, and no number is used twice or left out."""
    play = Play(disk="full", state=STATE, show=["store"])
    play.disk = "well"
    play(0.0, job("a"), job("b"))
    play.disk = "full"
    assert play(0.1, finished(1)) == ["store final a 1"]
    assert play(0.2, finished(2)) == ["store final a 1", "store final b 2"]
    assert play.until(5.0).count("store final a 1") == 4
    play.disk = "well"
    assert sent(play.until(6.3))[:2] == ["ready a seq=1 run=100", "ready b seq=2 run=200"]


def test_ended_before_it_is_stored():
    """A job that was taken and has ended in the round that could not be stored has a number; it is stored as a whole later."""
    play = slow(show=["store"])
    play(0.0, job("a"), Cancel("a"))
    assert play(0.1, NotStored(2, REASON)) == []
    assert play.until(1.2) == ["store job a", "store final a 1", "commit 3"]
    assert play(1.3, Stored(3)) == ["failed a seq=1 499 cancelled The job was cancelled. "]


def test_preset_that_cannot_be_stored():
    """It counts, and is stored later."""
    play = slow(show=["store"])
    play(0.0, Set("logo", "operation", "noop"), NotStored(1, REASON))
    assert play.until(1.1) == ["store preset logo operation noop", "commit 2"]


def test_what_waits_for_a_job_that_was_not_stored():
    """A job with `after` fails with it; a sync does not wait for it, and counts the failed one but not it."""
    play = slow(workers=1)
    play(0.0, circles("x"), Stored(1))
    play(0.1, job("a"))
    play(0.1, Sync(1), job("b", after="a"))
    play(0.2, NotStored(2, REASON))
    assert sent(play(0.3, Stored(4)), lambda line: " b " in line)[0] == "accepted b 1 0"
    assert "410 expired" in " ".join(play.until(1.0))
    assert "synced 1 1 1" in play(2.0, finished(1), Stored(5))


def test_status_comes_after_what_it_tells():
    """The word changes when the job is accepted for its client, not before."""
    play = slow(show=["status"])
    play(0.5, Ping(1))
    assert play(0.6, job("a")) == ["commit 1"]
    assert [line.split()[0] for line in play(0.7, Stored(1))] == ["accepted", "processing", "run", "status"]
    assert [line for line in play.until(2.0) if line.startswith("status")], "the heartbeat waits for no disk"


def test_exit_waits_for_the_last_final():
    """Asked to stop, it leaves when the last final is stored and sent."""
    play = slow()
    play(0.0, job("a"), Stored(1))
    play(0.1, StopAsked("SIGTERM"))
    assert play(0.2, finished(1)) == ["commit 2"]
    assert play(0.3, Stored(2)) == ["ready a seq=1 run=200", "commit 3", "exit SIGTERM"]


@pytest.mark.parametrize("well", [True, False])
def test_exit_at_once_waits_for_the_disks_answer(well):
    """What was to be stored is stored or not; then it leaves. Nothing that waits is started."""
    play = slow()
    play(0.0, job("a"))
    assert play(0.1, StopAsked("SIGTERM", at_once=True)) == []
    lines = play(0.2, Stored(1) if well else NotStored(1, REASON))
    assert not any(line.startswith("run") for line in lines)
    assert lines[-1] == "exit SIGTERM"
    assert lines[0].startswith("accepted a" if well else "failed a seq=0 507")


def test_restart_stores_what_ends_at_once():
    """A job of an earlier run that may not be repeated ends in the journal before its client is told."""
    first = slow()
    first(0.0, job("a", "write_text", output="x", text="t", append=1))
    stored = next(effect for effect in first.effects if type(effect).__name__ == "StoreJob")
    play = slow()
    assert play.restore(Kept(jobs=(KeptJob(stored.client, "a", stored.content, 1),))) == ["commit 1"]
    assert play(0.1, Stored(1))[0].startswith("failed a seq=1 502")


def test_a_retry_is_an_attempt_of_its_own():
    """Its start is stored like the first."""
    play = slow()
    play(0.0, job("a", retries=1), Stored(1))
    play(0.1, disk_full(1))
    assert play.until(1.0) == ["commit 2"]
    assert play(1.1, Stored(2)) == ["processing a 2", "run 2 noop plan"]


def test_parts_need_no_record():
    """Only the start of a job is stored, so its parts run at once."""
    play = slow(workers=2)
    play(0.0, circles("a"), Stored(1))
    assert [line.split()[0] for line in play(0.1, finished(1, plan(1, 1)))] == ["progress", "run", "run"]


def test_an_answer_for_nobody():
    """Numbers that were answered already change nothing."""
    play = slow()
    play(0.0, job("a"), Stored(1))
    assert play(0.1, Stored(1), NotStored(1, REASON)) == []
    assert play(0.2, Received(("10.0.0.1", 5), ())) == []


def test_release_in_order():
    """By itself: what depends on an earlier commit is released first, whenever it was asked for."""
    seen = []
    barrier = Barrier(Timers(), lambda _: None, journal=True)
    numbers = []
    for _ in range(2):
        numbers.append(barrier.store(StorePreset("p", "operation", "noop")))
        barrier.ask()
    for name, number in (("second", numbers[1]), ("first", numbers[0])):
        barrier.after(number, lambda _, name=name: seen.append(name), 0.0)
    assert seen == []
    barrier.stored(2, 0.0)
    assert seen == ["first", "second"]
    assert [*barrier.violations()] == []
    assert barrier.is_empty


def test_finals_are_stored_as_they_are_sent():
    """The record and the report are the same."""
    play = Play(state=STATE)
    play(0.0, job("a"))
    play(0.1, finished(1))
    (record,) = [effect for effect in play.effects if isinstance(effect, StoreFinal)]
    assert record.final == Ready("a", 1, 7, 0, 100, 0, "noop")


def test_a_lost_record_goes_with_the_next_commit_whoever_wants_that():
    """A final that could not be stored is stored with what nothing depends on, and not left to a commit that never comes."""
    play = slow(show=["store"])
    play(0.0, Hello("td", 9461, 0), job("a"), Stored(1))
    play(0.1, finished(1))
    play(0.2, NotStored(2, REASON), Bye())
    lines = play(0.3, StopAsked("SIGTERM", at_once=True))
    assert lines[-4:] == ["store final a 1", "store client 10.0.0.1:9461 gone", "commit 3", "exit SIGTERM"]


def test_presets_that_are_set_while_the_disk_is_full():
    """A channel may set one each frame, for days. Only the newest value of each waits, so that memory and the next commit stay small."""
    effects = []
    barrier = Barrier(Timers(), effects.append, journal=True)

    def fails(*records):
        del effects[:]
        for record in records:
            barrier.store(record)
        barrier.ask()
        barrier.again(barrier.not_stored(effects[-1].number), 0.0)

    fails(StorePreset("a", "x", 0), StorePreset("b", "y", 0), StorePreset("b", "z", 0))
    for value in range(1, 100):
        fails(StorePreset("a", "x", value))
    fails(StoreUnset("b", "y"), StoreUnset("a"), StorePreset("a", "x", 7))
    del effects[:]
    barrier.store(StoreUnset("c"))
    assert effects == [StorePreset("b", "z", 0), StoreUnset("b", "y"), StoreUnset("a"), StorePreset("a", "x", 7), StoreUnset("c")]


def test_deletions_of_presets_while_the_disk_is_full(monkeypatch):
    """Names may be set and deleted without end; so many wait at most."""
    monkeypatch.setattr("worker.core.barrier.MAX_UNSET", 3)
    barrier = Barrier(Timers(), lambda _: None, journal=True)
    barrier.again([StoreUnset(f"p{number}") for number in range(10)], 0.0)
    assert barrier._again == [StoreUnset("p7"), StoreUnset("p8"), StoreUnset("p9")]
