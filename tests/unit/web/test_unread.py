import logging
import random

import pytest

from worker.core.changes import JobAccepted, JobMoved, JobReported, LevelsChanged
from worker.core.events import JobEnded, Received
from worker.protocol.messages import File, Job, Number, Ping, Progress, Status
from worker.web import state as states
from worker.web import unread
from worker.web.state import State
from worker.web.unread import Unread

TD = "127.0.0.1:9461"
KEPT = 40


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Bounds that a test reaches."""
    monkeypatch.setattr(states, "MOST_ENDED", KEPT)
    monkeypatch.setattr(unread, "MORE_ENDED", 10)


def record(number):
    return logging.LogRecord("worker", logging.INFO, "", 0, "job %d", (number,), None)


def life(number, job_id):
    """What happens to a job, in order."""
    yield Received(("127.0.0.1", 5000), (Job(job_id, "noop"),))
    yield JobAccepted(TD, job_id, "noop", b'["noop",{"image":"a.png"},{}]', 1)
    yield JobMoved(TD, job_id, "running", 1, "")
    yield JobReported(TD, Progress(job_id, 0.5, 1, 2, 10, ""))
    yield JobReported(TD, File(job_id, f"out/{number}.png", 100, 8, 8))
    yield JobEnded(TD, "td", job_id, "noop", "ready" if number % 3 else "file", 200 if number % 3 else 404, 3, number, 1, 1)
    yield record(number)


def moments(seed, jobs):
    """Moments of an evening: jobs that overlap, some of which take long, and some of which never end; ids come again."""
    dice = random.Random(seed)
    lives = []
    for number in range(jobs):
        steps = list(life(number, f"job {number % (jobs - 7)}"))
        at = 100.0 + number * 0.04
        for step in steps[: 3 if number % 50 == 49 else None]:
            lives.append((at, len(lives), step))
            at += dice.random() * (5.0 if number % 20 == 0 else 0.05)
    found = {}
    for at, _, step in sorted(lives, key=lambda one: one[:2]):
        found.setdefault(int(at * 20), []).append(step)
    for tick, happened in found.items():
        yield tick / 20, [*happened, LevelsChanged(Status("Ready", 1, 0, 1), (Number("queued", tick % 5), Number("running", 1)))]


def shown(state):
    """All that a browser would see; the numbers of the rows may differ."""
    whole = state.whole()
    rows = [[getattr(row, name) for name in row.__struct_fields__ if name != "n"] for row in whole["rows"]]
    contents = [state.content(row.n) for row in whole["rows"]]
    lines = [(line.at, line.name, line.text) for line in whole["lines"]]
    return {**whole, "rows": rows, "lines": lines}, contents


@pytest.mark.parametrize(("seed", "jobs", "looks"), [(1, 30, ()), (2, 400, ()), (3, 400, (200, 201, 650)), (4, 1500, (30,))])
def test_who_looks_late_sees_the_same(seed, jobs, looks):
    """As somebody who has looked all the time: rows, files, contents, curves, lines and packets."""
    watched, asleep = State(), State()
    waiting = Unread(asleep, KEPT)
    now = 0.0
    for number, (now, happened) in enumerate(moments(seed, jobs)):
        for one in happened:
            watched.take(one, now)
        watched.tick(now)
        waiting.add(happened, now)
        if number in looks:
            waiting.read(now)
            assert shown(asleep) == shown(watched)
    assert len(watched.rows) > KEPT or jobs < KEPT
    waiting.read(now)
    assert shown(asleep) == shown(watched)
    assert looks or jobs < KEPT or asleep._numbers < watched._numbers, "jobs that nobody can see any more have become no rows"


def test_what_waits_is_bounded():
    """However long nobody looks."""
    state = State()
    waiting = Unread(state, KEPT)
    for now, happened in moments(5, 3000):
        waiting.add(happened, now)
        assert waiting._ended <= KEPT + 10
    assert sum(ended for _, _, ended, _ in waiting._moments) == waiting._ended
    assert sum(len(changes) for _, changes, _, _ in waiting._moments) == waiting._changes


@pytest.mark.parametrize(("name", "most"), [("MOST_CHANGES", 50), ("MOST_MOMENTS", 9), ("CONTENT_BYTES", 300)])
def test_each_bound_holds(monkeypatch, name, most):
    """Jobs of many changes, moments in which little happens, large contents: none of them piles up, and nothing is lost."""
    monkeypatch.setattr(unread, name, most)
    watched, asleep = State(), State()
    waiting = Unread(asleep, KEPT)
    now = 0.0
    for now, happened in moments(6, 35):
        waiting.add(happened, now)
        for one in happened:
            watched.take(one, now)
        watched.tick(now)
        assert (waiting._changes <= most, len(waiting._moments) <= most, waiting._bytes <= most)[
            ["MOST_CHANGES", "MOST_MOMENTS", "CONTENT_BYTES"].index(name)
        ]
    waiting.read(now)
    assert shown(asleep) == shown(watched)


def test_packets_that_say_nothing_take_no_place():
    """An acknowledgement is no news."""
    state = State()
    waiting = Unread(state, KEPT)
    waiting.add([Received(("127.0.0.1", 5000), (Job("a", "noop"),))], 1.0)
    for number in range(200):
        waiting.add([Received(("127.0.0.1", 5000), (Ping(number),))], 2.0 + number)
    waiting.read(300.0)
    assert [packet.text for packet in state.packets] == ["/worker/job a noop"]
