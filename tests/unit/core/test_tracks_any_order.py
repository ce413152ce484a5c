"""Live jobs with whatever happens in whatever order: one final each, one process at a time, and the scheduler never contradicts itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.play import OTHER, TD, Play, disk_full, finished, job
from worker.config import LiveSettings
from worker.core.events import Follow, JobEnded, NotStored, Seen, SessionEnded, SourceChanged, StopAsked, Stored, Unfollow
from worker.core.jobs import Failure, Result
from worker.protocol.messages import Accepted, Bye, Cancel, Clear, Query, Sync

NAMES = st.sampled_from(["a", "b", "c", "d"])
PEERS = st.sampled_from([TD, OTHER])
SESSIONS = st.integers(1, 8)
DEATH = Failure(502, "child", "It died.")


def track(job_id: str, **options: object):
    return job(job_id, "track", source="a.mp4", tuio="127.0.0.1:3333", **options)


OPTIONS = st.fixed_dictionaries(
    {}, optional={"name": st.sampled_from(["x", "y"]), "after": NAMES, "ttl_ms": st.just(200), "slots": st.just(3)}
)
SENT = st.one_of(
    st.builds(lambda name, options: track(name, **options), NAMES, OPTIONS),
    st.builds(job, NAMES, st.just("noop")),
    NAMES.map(Cancel),
    NAMES.map(Query),
    st.integers(1, 3).map(Sync),
    st.just(Clear()),
    st.just(Bye()),
)
HAPPENS = st.one_of(
    st.builds(lambda n: Seen(n, 1, 1.0, 0.5, 30.0, n + 5, (4, 3), ((0.0,) * 15,), 1), SESSIONS),
    st.builds(SourceChanged, SESSIONS, st.sampled_from(["Opening", "Live", "Lost", "Ended"]), st.just("It is so.")),
    st.builds(SessionEnded, SESSIONS, st.sampled_from([DEATH, Failure(404, "file", "No."), Result()])),
    st.builds(finished, st.integers(1, 8)),
    st.builds(disk_full, st.integers(1, 8)),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("send"), PEERS, SENT),
        st.tuples(st.just("send"), PEERS, SENT),
        st.tuples(st.just("happen"), HAPPENS),
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.3, 2.0, 40.0])),
        st.tuples(st.just("disk"), st.sampled_from(["well", "full", "slow"])),
        st.tuples(st.just("answer"), st.booleans()),
        st.tuples(st.just("stop"), st.booleans()),
    ),
    max_size=40,
)


class Run:
    """One run: carries the steps out, and counts."""

    def __init__(self, *, journal: bool) -> None:
        self.play = Play(state=Path("state") if journal else None, live=LiveSettings(sessions=3))
        self.now = 0.0

    def step(self, what: str, *how: object) -> None:
        if what == "send":
            peer, command = how
            self.play(self.now, command, peer=peer)
        elif what == "happen":
            self.play(self.now, how[0])
        elif what == "wait":
            self.now += how[0]
            self.play.until(self.now)
        elif what == "disk":
            self.play.disk = how[0]
        elif what == "stop":
            self.play(self.now, StopAsked("test", at_once=how[0]))
        elif self.play.disk == "slow":
            number = max((effect.number for effect in self.play.effects if type(effect).__name__ == "Commit"), default=0)
            if number:
                self.play(self.now, Stored(number) if how[0] else NotStored(number, "full"))

    def check(self) -> None:
        effects = self.play.effects
        ended = Counter((effect.client, effect.job_id) for effect in effects if isinstance(effect, JobEnded))
        assert set(ended.values()) <= {1}
        followed = [effect.task.id for effect in effects if isinstance(effect, Follow)]
        left = [effect.session for effect in effects if isinstance(effect, Unfollow)]
        assert len(followed) == len(set(followed))
        assert len(left) == len(set(left))
        assert set(left) <= set(followed)


@settings(max_examples=150, deadline=None)
@given(st.booleans(), STEPS)
def test_any_order(journal, steps):
    """The scheduler checks itself after each event; here is counted what it wants."""
    run = Run(journal=journal)
    for what, *how in steps:
        run.step(what, *how)
        if any(type(effect).__name__ == "Exit" for effect in run.play.effects):
            break
    run.check()


def test_it_can_run():
    """The steps do reach live jobs: otherwise the test above would show nothing."""
    run = Run(journal=True)
    run.step("send", TD, track("a"))
    run.step("happen", SessionEnded(1, DEATH))
    run.step("wait", 2.0)
    run.step("send", TD, Cancel("a"))
    run.check()
    effects = run.play.effects
    assert [effect.task.id for effect in effects if isinstance(effect, Follow)] == [1, 2]
    assert [effect.session for effect in effects if isinstance(effect, Unfollow)] == [2]
    assert any(isinstance(getattr(effect, "report", None), Accepted) for effect in effects)
