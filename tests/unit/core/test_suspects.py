"""Jobs that ran when the worker ended unexpectedly run alone, so that the innocent are not given up with the one that did it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.play import Play, disk_full, finished, job, plan
from tests.unit.core.test_restart import KEY, content, restarted
from worker.core.admission import MAX_CRASHES
from worker.core.events import Execute, Finished, Kept, KeptJob, StoreAttempt, StoreFinal, StoreJob
from worker.core.jobs import Result
from worker.protocol.messages import Cancel, Failed, Ping, Ready


def suspect(job_id: str, crashes: int = 1, operation: str = "noop", **pairs: object) -> KeptJob:
    return KeptJob(KEY, job_id, content(operation, **pairs), attempt=crashes, crashes=crashes)


def started(lines: list[str]) -> list[str]:
    return [line.split()[1] for line in lines if line.startswith("processing")]


def test_each_runs_alone_and_before_all_others():
    """Whatever is free, and however urgent another job is."""
    play, _ = restarted(suspect("a"), KeptJob(KEY, "waits", content(priority=0)), suspect("b"), workers=4)
    assert started(play(0.0, Ping(1))) == ["a"]
    assert started(play(0.1, job("live", priority=0))) == []
    assert started(play(0.2, finished(1))) == ["b"]
    assert started(play(0.3, finished(2))) == ["waits", "live"]


def test_its_parts_share_the_children():
    """One job alone, not one task."""
    play, _ = restarted(suspect("a", operation="find_circles", image="shots"), KeptJob(KEY, "b", content()), workers=3)
    play(0.0, Ping(1))
    assert len([line for line in play(0.1, finished(1, plan(1, 1, 1, 1))) if line.startswith("run")]) == 3
    assert started(play(0.2, finished(2), finished(3), finished(4))) == []
    assert started(play(0.3, finished(5))) == ["b"]


def test_those_with_fewer_crashes_go_first():
    """What has run in fewer crashes is likely to end well, and is out of the way before the next one."""
    play, _ = restarted(suspect("twice", 2), suspect("once", 1), workers=4)
    assert started(play(0.0, Ping(1))) == ["once"]
    assert started(play(0.1, finished(1))) == ["twice"]


def test_one_that_is_cancelled_holds_nobody_up():
    """Nor one that ends in another way before its turn."""
    play, _ = restarted(suspect("a"), suspect("b"), KeptJob(KEY, "c", content()), workers=4)
    play(0.0, Ping(1))
    play(0.1, Cancel("b"))
    assert started(play(0.2, Cancel("a"))) == ["c"]


def test_others_run_while_it_waits_for_its_next_attempt():
    """And end, before it runs: a batch of which a part has run goes on to its end, so that both get on."""
    play, _ = restarted(suspect("a", retries=2), workers=2)
    play(0.0, Ping(1))
    play(0.1, disk_full(1))
    assert started(play(0.2, job("batch", "find_circles", image="shots"))) == ["batch"]
    play(0.3, finished(2, plan(1, 1, 1)))
    assert started(play(0.4, job("late"))) == []  # both children are busy
    lines = play.until(3.0)
    assert started(lines) == []
    lines = play(3.1, finished(3))
    assert [line for line in lines if line.startswith("run")] == ["run 5 find_circles part 2"]
    assert started(play(3.2, finished(4))) == []
    assert started(play(3.3, finished(5))) == ["a"]
    assert started(play(3.4, finished(6))) == ["late"]


@dataclass
class Journal:
    """What is stored, and counts as the real one does when a run breaks off."""

    contents: dict[str, bytes]
    attempts: dict[str, int] = field(default_factory=dict)
    crashes: dict[str, int] = field(default_factory=dict)
    begun: set[str] = field(default_factory=set)
    finals: dict[str, Ready | Failed] = field(default_factory=dict)

    def take(self, effects: list[object]) -> None:
        for effect in effects:
            match effect:
                case StoreJob(_, job_id, stored):
                    self.contents[job_id] = stored
                case StoreAttempt(_, job_id, attempt):
                    self.attempts[job_id] = attempt
                    self.begun.add(job_id)
                case StoreFinal(_, job_id, final):
                    assert job_id not in self.finals
                    self.finals[job_id] = final
                    self.begun.discard(job_id)

    def break_off(self) -> None:
        for job_id in self.begun:
            self.crashes[job_id] = self.crashes.get(job_id, 0) + 1
        self.begun.clear()

    def open(self) -> tuple[KeptJob, ...]:
        return tuple(
            KeptJob(KEY, job_id, stored, self.attempts.get(job_id, 0), crashes=self.crashes.get(job_id, 0))
            for job_id, stored in self.contents.items()
            if job_id not in self.finals
        )


def one_run(journal: Journal, culprits: set[str], workers: int) -> bool:
    """A run of the worker with these jobs. A culprit that runs breaks it off, when all that may run has begun. False if so."""
    play = Play(state=Path("state"), workers=workers)
    play.restore(Kept(jobs=journal.open()))
    seen = 0
    for step in itertools.count():
        play(step / 100, Ping(1))
        running = [job_id for (_, job_id), state in play.scheduler.open_jobs().items() if state == "running"]
        journal.take(play.effects[seen:])
        if culprits & set(running):
            journal.break_off()
            return False
        if not running:
            return True
        tasks = [effect.task for effect in play.effects[seen:] if isinstance(effect, Execute)]
        seen = len(play.effects)
        play(step / 100, *(Finished(task.id, Result()) for task in tasks))
    raise AssertionError


@given(
    st.lists(st.booleans(), min_size=1, max_size=7).filter(any),
    st.integers(1, 4),
)
def test_only_the_culprit_is_given_up(kinds, workers):
    """However many end the worker, and wherever they wait: each is given up after the third time, and all others become ready."""
    journal = Journal({f"j{number}": content() for number in range(len(kinds))})
    culprits = {f"j{number}" for number, ends_it in enumerate(kinds) if ends_it}
    runs = 1
    while not one_run(journal, culprits, workers):
        runs += 1
        assert runs <= MAX_CRASHES * len(culprits) + 1
    assert {name for name, final in journal.finals.items() if isinstance(final, Failed)} == culprits
    assert all(journal.crashes[name] == MAX_CRASHES for name in culprits)
    assert journal.finals.keys() == journal.contents.keys()
