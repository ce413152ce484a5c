"""What nobody waits for comes later, and nothing else can tell."""

from __future__ import annotations

import pytest

from tests.play import Play, finished, job
from worker.core.chores import Chores
from worker.core.events import Execute, JobEnded, Received, Send
from worker.protocol.messages import Ack, Bye, Cancel, Job, Ready, Replay, Sync, Synced

TD = ("10.0.0.1", 5000)


def test_one_that_fails():
    """It is done with, and those behind it are not lost."""
    chores, done = Chores(), []
    chores.add(lambda _: 1 / 0)
    chores.add(done.append)
    with pytest.raises(ZeroDivisionError):
        chores.do(1.0)
    chores.do(2.0)
    assert done == [2.0]


def test_the_event_behind_one_that_fails():
    """A mistake in a chore costs no event: the task ends, and the job has its final."""
    play = Play()
    play(0.0, job("a"))
    play.scheduler._chores.add(lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        play.scheduler.take(finished(1), 1.0)
    assert [effect.report.id for effect in play.scheduler.end_of_round(1.0) if isinstance(effect, Send)] == ["a"]


def test_first_what_somebody_waits_for():
    """The task and the final leave before the rest of the round."""
    scheduler = Play().scheduler
    scheduler.take(Received(TD, (Job("a", "noop"),)), 0.0)
    (task,) = [effect.task for effect in scheduler.end_of_round(0.0) if isinstance(effect, Execute) and effect.task.id == 1]
    scheduler.afterwards(0.0)
    scheduler.take(finished(task.id), 1.0)
    first = scheduler.end_of_round(1.0)
    assert [type(effect.report) for effect in first if isinstance(effect, Send)][:1] == [Ready]
    assert not any(isinstance(effect, JobEnded) for effect in first)
    assert [effect.job_id for effect in scheduler.afterwards(1.0) if isinstance(effect, JobEnded)] == ["a"]
    assert scheduler.afterwards(1.0) == []


def test_a_sync_in_the_same_packet():
    """It counts the job that was cancelled right before it."""
    scheduler = Play(workers=1).scheduler
    scheduler.handle(Received(TD, (Job("a", "noop"),)), 0.0)
    effects = scheduler.handle(Received(TD, (Cancel("a"), Sync(7))), 1.0)
    assert [effect.report for effect in effects if isinstance(effect, Send) and isinstance(effect.report, Synced)] == [Synced(7, 0, 1)]


@pytest.mark.parametrize("behind", [Bye(), Replay(1)])
def test_acknowledged_in_the_same_packet(behind):
    """An acknowledgement counts before the command behind it, and after that too: nothing is sent again."""
    scheduler = Play().scheduler
    scheduler.handle(Received(TD, (Job("a", "noop"),)), 0.0)
    scheduler.handle(finished(1), 1.0)
    scheduler.handle(Received(TD, (Ack(1), behind)), 1.01)
    assert scheduler._delivery.unacknowledged("10.0.0.1:9461") == []
