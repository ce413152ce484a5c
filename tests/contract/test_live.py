"""What the service expects of whatever runs live jobs, and what a process of one can do wrong."""

from __future__ import annotations

import functools
import multiprocessing
import queue
import socket
import time

import pytest

from tests.contract import live_bestiary
from tests.contract.live_bestiary import attempts
from tests.polling import Polled
from worker.catalog.table import CATALOG
from worker.core.events import Seen, SessionEnded, SourceChanged
from worker.core.jobs import Failure, Result, Task
from worker.executors import sandbox
from worker.executors.live import Followers
from worker.files.paths import FileRules
from worker.tasks.prepare import OPERATIONS
from worker.tasks.prepare_live import make_follow

LONG_S = 60


class Bench:
    """Followers, and what they deliver."""

    def __init__(self, make=live_bestiary.make):
        self.followers = Followers(make)
        self.polled = Polled(self.followers)
        self.heard = queue.SimpleQueue()
        self.polled.start(self.heard.put)

    def follow(self, what, number=1, **params):
        values, _ = CATALOG.parse_job("track", [("source", f"frame:{what}"), *params.items()])
        self.polled.call(lambda: self.followers.follow(Task(number, "track", values, next_id=5)))

    def until_ended(self):
        """Everything up to the end of a session."""
        events = []
        while not events or not isinstance(events[-1], SessionEnded):
            events.append(self.heard.get(timeout=LONG_S))
        return events


@pytest.fixture
def bench():
    one = Bench()
    yield one
    one.polled.close()
    assert one.followers.pids == ()


def test_a_life(bench):
    """Pictures in order, each with its delay; words about the source; and one end."""
    bench.follow("well", rate=240)
    *events, end = bench.until_ended()
    assert end == SessionEnded(1, Result())
    assert [event.word for event in events if isinstance(event, SourceChanged)] == ["Opening", "Ended"]
    seen = [event for event in events if isinstance(event, Seen)]
    assert [one.frame for one in seen] == list(range(10))
    assert all(0 <= one.delay_ms < LONG_S * 1000 for one in seen)


@pytest.mark.parametrize(
    ("what", "word", "sentence"),
    [
        ("fails", "file", "There is none."),
        ("raises", "internal", "track failed inside the worker"),
        ("dies", "child", "exit code 3"),
        ("floods", "result", "said what none says"),
        ("other_rows", "result", "said what none says"),
        ("infinite", "result", "said what none says"),
        ("of_another", "result", "said what none says"),
        ("no_message", "result", "said what none says"),
    ],
)
def test_what_goes_wrong(bench, what, word, sentence):
    """It is one end with a sentence; a process that says what none says is ended before it can flood anybody."""
    bench.follow(what)
    *events, end = bench.until_ended()
    assert isinstance(end.outcome, Failure)
    assert end.outcome.word == word
    assert sentence in end.outcome.message
    assert len(events) <= 12  # those at once, and those under way


def test_cannot_start():
    """A process that cannot make itself ready says so."""
    bench = Bench(live_bestiary.cannot_start)
    bench.follow("well")
    (end,) = bench.until_ended()
    assert end.outcome.word == "no-child"
    bench.polled.close()


def test_no_faster_than_its_rate(bench):
    """One that sends as fast as it may is held to its rate, apart from a few at once."""
    began = time.monotonic()
    bench.follow("well", rate=2)
    *events, _ = bench.until_ended()
    came = time.monotonic() - began
    assert len([event for event in events if isinstance(event, Seen)]) == 10
    assert came > (10 - 4 - 2) / (2 * 1.25)  # those at once, and those under way


def test_unfollowed(bench):
    """One that hangs is ended, and nothing is delivered; another goes on."""
    bench.follow("hangs", 1)
    bench.follow("hangs", 2)
    deadline = time.monotonic() + LONG_S
    while len(bench.followers.pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    bench.polled.call(lambda: bench.followers.unfollow(1))
    bench.polled.call(lambda: bench.followers.unfollow(7))  # there is none
    bench.follow("fails", 3)
    assert [type(event) for event in bench.until_ended()] == [SessionEnded]
    assert len(bench.followers.pids) == 1


def test_unfollowed_while_it_starts(bench):
    """Nothing is delivered, and no process is left."""
    bench.follow("well", 1)
    bench.polled.call(lambda: bench.followers.unfollow(1))
    bench.follow("fails", 2)
    assert [event.session for event in bench.until_ended()] == [2]


# ----------------------------------------------------------------------------------------------------------------- sandbox


@pytest.mark.skipif(not (sandbox.offer().landlock and sandbox.offer().seccomp), reason="this kernel has no Landlock or no seccomp")
@pytest.mark.parametrize(
    ("source", "reads", "writes", "talks"),
    [
        ("a.mp4", "did", "refused", "refused"),
        ("http://127.0.0.1:1/a", "refused", "refused", "did"),
        ("camera:0", "did", "refused", "refused"),
    ],
)
def test_what_stays_open(tmp_path, source, reads, writes, talks):
    """A process that reads files cannot talk to anybody; one that reads a stream reads no files; none writes."""
    (tmp_path / "secret.txt").write_text("x", encoding="utf-8")
    rules = FileRules((tmp_path.resolve(),)).pinned()
    params, _ = CATALOG.parse_job("track", [("source", source)])
    ours, its = socket.socketpair()
    make = functools.partial(make_follow, rules, CATALOG, OPERATIONS)
    process = multiprocessing.get_context("spawn").Process(
        target=attempts, args=(its, make, Task(1, "track", params), str(tmp_path / "secret.txt"))
    )
    process.start()
    its.close()
    ours.settimeout(LONG_S)
    assert ours.recv(100).decode() == f"{reads} {writes} {talks}"
    process.join(LONG_S)
    ours.close()
