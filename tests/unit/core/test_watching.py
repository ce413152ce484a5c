"""Who watches hears of all jobs of all clients, and of nothing that somebody else was not told."""

from __future__ import annotations

import pytest

from tests.play import TD, Play
from worker.core.events import Finished, Received, Send
from worker.core.jobs import Failure, Part, Plan, Result
from worker.core.watching import AGAIN_PER_S, MAX_WATCHERS
from worker.protocol.messages import Bye, Children, Error, Hello, Job, Ping, Watch, Watched

HERE = ("127.0.0.1", 50_100)


def watched(play, since=0, port=50_100):
    """The jobs that the watcher with this port has heard of."""
    return [
        effect.report
        for effect in play.effects[since:]
        if isinstance(effect, Send) and effect.peer[1] == port and isinstance(effect.report, Watched)
    ]


def watching(play, at=0.0, peer=HERE, token=""):
    play.bundle(at, Hello("watch", 0, 0), Watch(1, token), peer=peer)


def test_each_change_of_a_job_of_another_client():
    """It waits, runs, comes further, and ends; each as one line with everything that a table shows."""
    play = Play(workers=1)
    watching(play)
    play(1.0, Job("a", "noop", ()))
    play(1.0, Job("b", "noop", ()))
    play.until(1.2)
    play(2.0, Finished(1, Plan((Part(0, 0, 5), Part(1, 5, 10)))))
    play.until(2.2)
    play(3.0, Finished(2, Result()), Finished(3, Failure(404, "file", "There is no file x.png.")))
    play.until(3.3)
    told = [(one.id, one.word, one.code, one.step, one.steps, one.message) for one in watched(play)]
    of_a = list(dict.fromkeys(one for one in told if one[0] == "a"))
    assert of_a == [
        ("a", "running", 0, 0, 1, ""),
        ("a", "running", 0, 0, 10, ""),
        ("a", "file", 404, 5, 10, "There is no file x.png."),
    ]
    assert [one[1] for one in dict.fromkeys(one for one in told if one[0] == "b")] == ["waiting", "running"]
    assert {(one.client, one.operation) for one in watched(play)} == {("10.0.0.1:9461", "noop")}


def test_a_short_job_is_one_line():
    """Changes within a tenth of a second come as one report, the newest."""
    play = Play()
    watching(play)
    play(1.0, Job("a", "noop", ()))
    play(1.01, Finished(1, Result()))
    play.until(1.2)
    assert [(one.word, one.code, one.run_ms) for one in watched(play)] == [("ready", 200, 10)]


def test_who_comes_late_hears_of_all_open_jobs():
    """All of them, some at a time; and again and again, so that a lost datagram is made good."""
    play = Play(workers=1)
    count = AGAIN_PER_S + 50
    for number in range(count):
        play(0.0, Job(f"j{number}", "noop", ()))
    watching(play, 1.0)
    play.until(3.5)
    assert {one.id for one in watched(play)} == {f"j{number}" for number in range(count)}
    before = len(play.effects)
    play(3.6, Ping(1), peer=HERE)
    play.until(6.0)
    assert {one.id for one in watched(play, before)} == {f"j{number}" for number in range(count)}


def test_nobody_else_is_told():
    """The job's own client gets what it always got, and a client that does not watch gets nothing more."""
    play = Play()
    watching(play)
    play(0.5, Hello("other", 50_200, 0), peer=("127.0.0.1", 50_200))
    play(1.0, Job("a", "noop", ()))
    play.until(3.0)
    receivers = {effect.peer for effect in play.effects if isinstance(effect, Send) and isinstance(effect.report, (Watched, Children))}
    assert receivers == {HERE}


@pytest.mark.parametrize("last", [Bye(), Watch(0)])
def test_it_ends(last):
    """With bye, and with `on` 0."""
    play = Play()
    watching(play)
    play(1.0, last, peer=HERE)
    before = len(play.effects)
    play(1.5, Job("a", "noop", ()))
    play.until(4.0)
    assert watched(play, before) == []
    assert not any(isinstance(effect, Send) and isinstance(effect.report, Children) for effect in play.effects[before:])


def test_it_ends_with_the_lease_after_the_last_packet():
    """Also for a client that never said hello: a socket that is gone costs nothing for ever."""
    play = Play()
    play(0.0, Watch(1), peer=HERE)
    play.until(20.0)
    before = len(play.effects)
    play.until(25.0)
    assert not any(isinstance(effect, Send) and isinstance(effect.report, Children) for effect in play.effects[before:])
    assert any(isinstance(effect, Send) and isinstance(effect.report, Children) for effect in play.effects)


def test_another_computer_needs_the_token():
    """It shows the names of everybody's files."""
    play = Play(token="0123456789abcdef")
    play(0.0, Watch(1, "wrong"), peer=TD)
    (error,) = [effect.report for effect in play.effects if isinstance(effect, Send) and isinstance(effect.report, Error)]
    assert (error.code, error.at) == (401, "/worker/watch")
    assert "needs the worker's token" in error.message
    play(1.0, Watch(1, "0123456789abcdef"), peer=TD)
    play(1.1, Job("a", "noop", ()))
    play.until(1.5)
    assert watched(play, port=9461)


def test_so_many_and_no_more():
    """One too many is refused with a sentence; one that ends makes room."""
    play = Play()
    for number in range(MAX_WATCHERS + 1):
        watching(play, peer=("127.0.0.1", 51_000 + number))
    errors = [effect.report.message for effect in play.effects if isinstance(effect, Send) and isinstance(effect.report, Error)]
    assert errors == ["8 clients watch already, which is the limit. End one of them first."]
    play(1.0, Bye(), peer=("127.0.0.1", 51_000))
    watching(play, 1.1, peer=("127.0.0.1", 51_000 + MAX_WATCHERS))
    play(1.2, Job("a", "noop", ()))
    play.until(1.5)
    assert watched(play, port=51_000 + MAX_WATCHERS)


def test_children():
    """Once a second: how many tasks may run, how many do, and which."""
    play = Play(workers=3)
    watching(play)
    play(0.5, Received(TD, (Job("a", "noop", ()),)))
    play.until(1.0)
    children = [effect.report for effect in play.effects if isinstance(effect, Send) and isinstance(effect.report, Children)]
    assert children == [Children(1, 3, 0, ""), Children(1, 3, 1, "noop a 0.5 s")]


def test_long_names_fit_into_a_datagram():
    """Every report does, whatever clients call themselves and their jobs."""
    from worker.protocol.addresses import MAX_DATAGRAM_OUT
    from worker.protocol.osc import encode

    play = Play(workers=40)
    watching(play)
    play(0.1, Hello("ä" * 300, 0, 0), peer=("127.0.0.1", 50_300))
    for number in range(40):
        play(0.2, Job(f"{number}" + "ü" * 90, "noop", ()), peer=("127.0.0.1", 50_300))
    play(0.3, Finished(1, Failure(500, "internal", "ö" * 5000)))
    play.until(2.0)
    reports = [effect.report for effect in play.effects if isinstance(effect, Send) and isinstance(effect.report, (Watched, Children))]
    assert max(len(encode(report)) for report in reports) <= MAX_DATAGRAM_OUT
    assert any(isinstance(report, Children) and report.tasks.endswith(" ...") for report in reports)
