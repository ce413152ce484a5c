"""Long answers: a slice at a time, one for each question, within a budget for each client."""

from __future__ import annotations

import itertools

import pytest

from tests.play import OTHER, Play, finished, found, job
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core.answers import BURST_BYTES, BYTES_PER_S, MAX_BUDGETS, MAX_OPEN, REPORT_COST, SLICE, SLICE_EVERY_S, Answers, size_of
from worker.core.delivery import Delivery
from worker.protocol.messages import Bye, Describe, File, ListPresets, Ping, Query, Replay, Set
from worker.timers import Timers

TD = "10.0.0.1:9461"
OTHERS = "10.0.0.2:9461"


class Desk:
    """Answers with their timers, and when which report was sent to whom."""

    def __init__(self):
        self.sent = []
        self.now = 0.0
        self.timers = Timers()
        self.delivery = Delivery(Config(), self.timers, lambda effect: self.sent.append((self.now, effect.peer[0], effect.report)))
        self.answers = Answers(self.delivery, self.timers)

    def begin(self, client, question, count, path="a.png"):
        return self.answers.begin(client, question, (File(str(number), path, 1, 1, 1) for number in range(count)), self.now)

    def until(self, at):
        while (deadline := self.timers.next_deadline()) is not None and deadline <= at:
            self.now = deadline
            self.timers.run_due(deadline)
        self.now = at


def test_a_short_answer_is_whole_at_once():
    """As if it had been sent where the question stood."""
    desk = Desk()
    assert desk.begin(TD, "q", SLICE)
    assert [report.id for _, _, report in desk.sent] == [str(number) for number in range(SLICE)]


def test_a_long_answer_comes_in_slices():
    """Complete and in order, and never more than a slice at a time."""
    desk = Desk()
    desk.begin(TD, "q", 1000)
    assert len(desk.sent) == SLICE
    desk.until(10.0)
    assert [report.id for _, _, report in desk.sent] == [str(number) for number in range(1000)]
    assert max(len(list(group)) for _, group in itertools.groupby(desk.sent, key=lambda one: one[0])) == SLICE
    assert len(desk.answers) == 0
    assert desk.timers.next_deadline() is None


def test_clients_take_turns():
    """Who asks for little is not behind somebody who asks for much."""
    desk = Desk()
    desk.begin(TD, "q", 100_000)
    desk.begin(OTHERS, "q", 10)
    desk.until(2 * SLICE_EVERY_S)
    assert sum(host == "10.0.0.2" for _, host, _ in desk.sent) == 10


def test_the_same_question_is_answered_once_at_a_time():
    """300 queries of one job are one answer; when it has been given, it is given again."""
    desk = Desk()
    assert all(desk.begin(TD, "q", 100) for _ in range(300))
    desk.until(1.0)
    assert len(desk.sent) == 100
    desk.begin(TD, "q", 100)
    desk.until(2.0)
    assert len(desk.sent) == 200


def test_few_answers_are_under_way_at_a_time():
    """Those beyond are refused, so that nobody makes the worker keep any number of them."""
    desk = Desk()
    assert [desk.begin(TD, number, 1000) for number in range(MAX_OPEN + 5)] == [True] * MAX_OPEN + [False] * 5
    assert desk.begin(OTHERS, 0, 1000)
    assert len(desk.answers) == MAX_OPEN + 1


def test_a_client_has_a_budget_of_bytes():
    """What is beyond waits."""
    desk = Desk()
    path = "x" * 1000
    cost = REPORT_COST + size_of(File("1000", path, 1, 1, 1))
    desk.begin(TD, "q", 100_000, path)
    desk.until(2.0)
    assert len(desk.sent) * cost == pytest.approx(BURST_BYTES + 2.0 * BYTES_PER_S, rel=0.01)


def test_budgets_take_bounded_memory():
    """The clients that are remembered are the newest."""
    desk = Desk()
    for number in range(3 * MAX_BUDGETS):
        desk.begin(f"10.0.0.1:{number}", "q", 1)
        desk.until(desk.now + 1)
    assert len(desk.answers._askers) <= MAX_BUDGETS


def with_files(count):
    """A worker that knows a job with so many files, of each of two clients."""
    play = Play()
    for task, peer in enumerate([("10.0.0.1", 50_000), OTHER], 1):
        play(0.0, job("a"), peer=peer)
        play(0.0, finished(task, found(files=[f"{number}.png" for number in range(count)])))
    play.until(1.0)
    return play


def test_a_query_of_many_files_holds_nobody_up():
    """The worker silenced itself for 49 s with 300 of them. Now a ping between them is answered after a slice, and all files come."""
    play = with_files(20_000)
    before = len(play.effects)
    for _ in range(300):
        play(1.0, Query("a"))
    assert len(play.effects) - before < 2 * SLICE
    assert play(1.0, Ping(5), peer=OTHER)[0].endswith("pong 5 7 1.0")
    lines = play.until(20.0)
    assert [line.split()[2] for line in lines if line.startswith("file")][-1] == "19999.png"
    assert sum(line.startswith("file") for line in lines) == 20_000 - SLICE
    assert sum(line.startswith("ready") for line in lines) == 1


def test_a_bundle_of_queries_is_bounded():
    """One small packet cannot ask for gigabytes: a few answers are under way, and that there are no more of them is said."""
    play = Play()
    for number in range(60):
        play(0.0, job(f"j{number}"))
        play(0.0, finished(number + 1, found(files=[f"{place}.png" for place in range(200)])))
    before = len(play.effects)
    lines = play.bundle(1.0, *(Query(f"j{number}") for number in range(60)))
    assert len(play.effects) - before < 3 * SLICE
    assert any(line.startswith("error 429 /worker/query 16 answers to this client are under way") for line in lines)


def test_nothing_more_is_sent_to_a_client_that_has_left():
    """Its open answer ends with its bye."""
    play = with_files(1000)
    play(1.0, Query("a"))
    play(1.0, Bye())
    assert not [line for line in play.until(9.0) if line.startswith("file")]


def test_a_replay_goes_on_where_it_is():
    """At most 500, by number; from the oldest that is remembered."""
    play = Play(remembered_jobs=800)
    for number in range(1000):
        play(0.0, job(f"j{number}"))
        play(0.0, finished(number + 1))
    play.until(1.0)
    lines = [*play(2.0, Replay(1)), *play.until(3.0)]
    assert [int(line.split()[2].removeprefix("seq=")) for line in lines] == list(range(201, 701))
    assert [line.split()[2] for line in play(4.0, Replay(999))] == ["seq=999", "seq=1000"]


def test_presets_and_descriptions_are_answers_too():
    """A value that is too long for a datagram is shortened."""
    play = Play()
    play(0.0, Set("p", "operation", "write_text"), Set("p", "output", "x.txt"), Set("p", "text", "word " * 2000))
    lines = play(1.0, ListPresets())
    assert lines[:2] == ["preset 0 3 p operation write_text", "preset 1 3 p output x.txt"]
    assert len(lines[2]) < 1200
    assert lines[2].endswith("word ...")
    lines = [*play(2.0, Describe(), Describe()), *play.until(3.0)]
    assert len({line.split()[1] for line in lines}) == len(CATALOG) + 1
