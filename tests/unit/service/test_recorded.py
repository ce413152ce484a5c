"""A recorded scheduler, and the recording played to a new one: the same events have the same effects, always."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.play import plan
from tests.strategies import COMMANDS, DATAGRAMS, IDS
from worker.config import Config
from worker.core.changes import PAGE
from worker.core.events import (
    ChildrenChanged,
    Commit,
    Execute,
    Finished,
    Kept,
    KeptJob,
    NotStored,
    Progressed,
    Received,
    StopAsked,
    Stored,
    Throttled,
    Woke,
)
from worker.core.gate import Gate
from worker.core.jobs import Failure, Result
from worker.protocol import osc
from worker.protocol.messages import Hello, Job, Quit
from worker.service.recorded import RecordedScheduler, config_of, described, head_of, play
from worker.storage.recording import Recorder, RecordingError, read

TOKEN = "0123456789abcdef"
HERE, THERE = ("127.0.0.1", 50_000), ("10.0.0.9", 50_001)


class Recorded:
    """A scheduler with a recorder, and a disk that answers."""

    def __init__(self, path, **settings_):
        self.path = path
        config = Config(workers=2, token=TOKEN, report=(("10.0.0.3", 9461),), **settings_)
        self.recorder = Recorder(path, 2**30, (TOKEN,))
        self.scheduler = RecordedScheduler(self.recorder, config, 7, 1000.1, "0.1.0", Gate((), TOKEN), children=False)
        self.effects = []

    def packet(self, now, datagram, peer=HERE):
        event = Received(peer, osc.decode_commands(datagram))
        self.scheduler.came(event, datagram, peer)
        self.event(now, event)

    def event(self, now, event):
        effects = self.scheduler.handle(event, now)
        self.effects += effects
        if commits := [effect.number for effect in effects if isinstance(effect, Commit)]:
            self.event(now, Stored(commits[-1]))

    def runs(self):
        self.recorder.close()
        return read(self.path)


JOBS = st.builds(
    Job, IDS, st.sampled_from(["noop", "write_text", "nothing"]), st.sampled_from([(), (("output", "a.txt"),), (("retries", 2),)])
)
EVENTS = st.one_of(
    st.tuples(st.just("packet"), DATAGRAMS | COMMANDS.map(osc.encode) | JOBS.map(osc.encode)),
    st.tuples(
        st.just("event"),
        st.one_of(
            st.builds(Finished, st.integers(1, 8), st.sampled_from([Result(), plan(3), Failure(507, "disk", "full", transient=True)])),
            st.builds(Progressed, st.integers(1, 8), st.integers(0, 9)),
            st.builds(Throttled, st.just(HERE), st.integers(1, 9)),
            st.just(Woke()),
            st.just(NotStored(1, "no space")),
            st.builds(ChildrenChanged, st.booleans()),
            st.builds(StopAsked, st.just("test")),
        ),
    ),
)


@given(st.lists(st.tuples(EVENTS, st.floats(0, 3)), max_size=25), st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_same_events_have_the_same_effects(steps, journal):
    """Whatever happens, what is read is what happened."""
    with tempfile.TemporaryDirectory() as folder:
        recorded = Recorded(Path(folder) / "s.jsonl", state=Path("state") if journal else None)
        now = 1000.1
        for (kind, what), later in steps:
            now += later
            recorded.packet(now, what) if kind == "packet" else recorded.event(now, what)
        (run,) = recorded.runs()
    played = play(run)
    assert played.difference == ""
    assert played.events >= len(steps)
    assert all(line.strip() for line in described(run))


def test_the_first_difference_in_a_sentence(tmp_path):
    """With its round, its line, its time, what was and what is."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.packet(1001.1, osc.encode(Job("j1", "noop")))
    recorded.event(1002.1, Finished(1, Result()))
    recorded.runs()
    text = recorded.path.read_text()
    assert text.count('"/worker/accepted","j1",0,0') == 2  # to its client, and to the fixed target
    recorded.path.write_text(text.replace('"/worker/accepted","j1",0,0', '"/worker/accepted","j1",5,0', 1))
    (run,) = read(recorded.path)
    found = play(run).difference
    assert found.startswith("Round 1, line 3, 1.000 s after the start: effect ")
    assert '"/worker/accepted", "j1", 5, 0] and is ["Send"' in found


def test_an_effect_too_few(tmp_path):
    """What is missing is nothing."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.event(1000.2, Woke())
    (run,) = recorded.runs()
    (number, line) = run.lines[1]
    run.lines[1] = number, {**line, "effects": line["effects"][:-1]}
    assert " was nothing and is [" in play(run).difference


def test_several_events_in_a_round(tmp_path):
    """Each is recorded once, also if something was still to be done when it came."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.packet(1001.1, osc.encode_bundle([Hello("td", 0, 0, acknowledges=1), Job("a", "noop"), Job("b", "noop")]))
    for number in (1, 2):
        recorded.scheduler.take(Finished(number, Result()), 1002.1)
    recorded.scheduler.end_of_round(1002.1)
    assert recorded.scheduler.afterwards(1002.1) == []
    (run,) = recorded.runs()
    assert [line["event"] for _, line in run.lines if "event" in line] == ["Finished", "Finished"]
    assert play(run).difference == ""


def test_a_mistake_after_a_round(tmp_path, caplog):
    """It is logged and recorded, and costs no effect of the first half."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.scheduler.take(Received(HERE, (Job("a", "noop"),)), 1001.1)
    recorded.scheduler._chores.add(lambda _: 1 / 0)
    effects = recorded.scheduler.end_of_round(1001.1)
    assert any(isinstance(effect, Execute) for effect in effects)
    (run,) = recorded.runs()
    assert [line.get("error") for _, line in run.lines if "effects" in line] == ["ZeroDivisionError: division by zero"]
    assert "ZeroDivisionError" in caplog.text
    assert "raised ZeroDivisionError: division by zero and raises nothing" in play(run).difference


def test_a_mistake_in_the_scheduler_happens_again(tmp_path, monkeypatch):
    """An exception is part of what is compared."""
    from worker.core.scheduler import Scheduler

    recorded = Recorded(tmp_path / "s.jsonl")

    def wrong(self, now):
        raise ZeroDivisionError("as an example")

    with monkeypatch.context() as broken:
        broken.setattr(Scheduler, "end_of_round", wrong)
        with pytest.raises(ZeroDivisionError):
            recorded.event(1001.0, Woke())
        (run,) = recorded.runs()
        assert play(run).difference == ""
    assert "raised ZeroDivisionError: as an example and raises nothing" in play(run).difference


def test_after_a_restart(tmp_path):
    """What the journal gave back is played, too."""
    recorded = Recorded(tmp_path / "s.jsonl", state=Path("state"))
    content = json.dumps(["noop", {}, {}]).encode()
    effects = recorded.scheduler.restore(Kept((KeptJob("127.0.0.1:9461", "old", content, attempt=1, crashes=1),)), 1000.2)
    recorded.event(1000.3, Woke())
    assert any(isinstance(effect, Execute) for effect in (*effects, *recorded.effects))
    (run,) = recorded.runs()
    played = play(run)
    assert (played.difference, played.rounds) == ("", 3)


def test_tokens(tmp_path):
    """The right one and wrong ones are not in the file, and mean the same when they are played."""
    recorded = Recorded(tmp_path / "s.jsonl")
    wrong = "fedcba9876543210"  # as long as the right one
    recorded.packet(1001.0, osc.encode_bundle([Hello("td", 9461, 0, "", TOKEN), Quit(wrong)]), THERE)
    recorded.packet(1002.0, osc.encode(Quit(TOKEN)), THERE)
    (run,) = recorded.runs()
    text = recorded.path.read_text()
    assert TOKEN not in text
    assert wrong not in text
    assert "Draining" in text or "Stopping" in text
    assert play(run).difference == ""


def test_what_the_page_asks_for(tmp_path):
    """It never was a packet, and is played all the same; changes for the page are not in the file."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.event(1001.0, Received(PAGE, (Hello("page", 1, 0), Job("p1", "noop"))))
    recorded.event(1001.1, Finished(1, Result()))
    (run,) = recorded.runs()
    assert play(run).difference == ""
    assert '"/worker/ready","p1"' in recorded.path.read_text()


def test_missing_lines_are_said(tmp_path):
    """What follows cannot be known, so nothing is claimed."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.recorder.add(lambda: {"lost": 3})
    (run,) = recorded.runs()
    with pytest.raises(RecordingError, match="Line 2: 3 lines are missing here"):
        play(run)


@pytest.mark.parametrize("line", [{"t": 1.0, "event": "Unheard"}, {"t": 1.0, "in": "nowhere", "packet": ""}, {"t": 1.0, "in": "a:1"}])
def test_lines_that_make_no_sense(tmp_path, line):
    """One sentence with the number of the line."""
    recorded = Recorded(tmp_path / "s.jsonl")
    recorded.recorder.add(lambda: line)
    (run,) = recorded.runs()
    with pytest.raises(RecordingError, match="Line 2 cannot be played"):
        play(run)


def test_the_settings():
    """Those that the scheduler knows come back."""
    config = Config(workers=5, token=TOKEN, state=Path("x"), report=(("::1", 9461),), presets=(("logo", "count", 12),))
    back = config_of(json.loads(json.dumps(head_of(config, 7, 1.0, "0.1.0"))))
    assert (back.workers, back.report, back.presets, back.limits) == (config.workers, config.report, config.presets, config.limits)
    assert back.token == "*" * len(TOKEN)
    with pytest.raises(RecordingError, match="settings of the recorded worker"):
        config_of({"journal": False})
