import msgspec
import pytest

from worker.core.changes import (
    AllOpen,
    JobAccepted,
    JobMoved,
    JobRemembered,
    JobReported,
    LevelsChanged,
    LogLine,
    PresetsChanged,
    Refused,
)
from worker.core.events import JobEnded, Received
from worker.protocol.messages import Cancel, Error, Failed, File, Number, Progress, Source, Status
from worker.web import state as states
from worker.web.state import State

TD = "127.0.0.1:9461"


def accepted(job_id="a", content=b'["noop",{},{}]'):
    return JobAccepted(TD, job_id, "noop", content, 1)


def ended(job_id="a", code=200, word="ready", message="", hint=""):
    return JobEnded(TD, "td", job_id, "noop", word, code, 3, 40, 2, 1, message, hint)


def told(*changes, now=100.0):
    """A state that has heard of these."""
    one = State()
    for change in changes:
        one.take(change, now)
    return one


def row(state, job_id="a"):
    return state.rows[TD, job_id]


def test_life_of_a_job():
    """Accepted, started, further, written, ready: each is a changed row in the next frame, and once only."""
    one = told(accepted())
    assert [changed.state for changed in one.frame()["rows"]] == ["queued"]
    one.take(JobMoved(TD, "a", "running", 1, "attempt 1"), 101.0)
    one.take(JobReported(TD, Progress("a", 0.5, 5, 10, 900, "")), 101.1)
    one.take(JobReported(TD, File("a", "out/a.png", 100, 8, 8)), 101.2)
    (changed,) = one.frame()["rows"]
    assert (changed.state, changed.started, changed.step, changed.steps, changed.files) == ("running", 101.0, 5, 10, ["out/a.png"])
    one.take(ended(), 102.0)
    (changed,) = one.frame()["rows"]
    assert (changed.state, changed.wait_ms, changed.run_ms, changed.items, changed.name) == ("ready", 3, 40, 2, "td")
    assert one.frame() is None


def test_failure():
    """The sentence and the hint of an error are kept, and so is what is needed to try the job again."""
    one = told(accepted(), ended(code=404, word="file", message="There is no file a.png.", hint="Check the folder."))
    assert (row(one).state, row(one).message, row(one).hint) == ("failed", "There is no file a.png.", "Check the folder.")
    assert one.content(row(one).n) == b'["noop",{},{}]'


def test_withdrawn():
    """A job that could not be stored was never there."""
    one = told(accepted(), JobMoved(TD, "a", "withdrawn", 0, "disk full"))
    assert one.rows == {}
    assert one.frame()["gone"] == [1]


def test_ended_jobs_are_bounded(monkeypatch):
    """The oldest ended jobs go, the open ones stay."""
    monkeypatch.setattr(states, "MOST_ENDED", 3)
    one = told(accepted("open"))
    for number in range(10):
        one.take(accepted(str(number)), 1.0)
        one.take(ended(str(number)), 1.0)
    assert [key[1] for key in one.rows] == ["open", "7", "8", "9"]
    assert len(one.by_number) == 4


def test_contents_are_bounded(monkeypatch):
    """The parameters of the oldest jobs go when there is no more room, and their rows stay."""
    monkeypatch.setattr(states, "CONTENT_BYTES", 100)
    one = told(accepted("a", b"x" * 60), accepted("b", b"y" * 60))
    assert (one.content(row(one, "a").n), one.content(row(one, "b").n)) == (b"", b"y" * 60)


def test_missed():
    """After something was missed, jobs that are not told of again have ended unseen; those that are stay as they were."""
    one = told(accepted("a"), accepted("b"))
    one.take(JobMoved(TD, "b", "running", 1, ""), 101.0)
    for change in (AllOpen(), accepted("b"), JobMoved(TD, "b", "running", 1, ""), accepted("c")):
        one.take(change, 102.0)
    one.tick(102.0)
    assert {key[1]: found.state for key, found in one.rows.items()} == {"b": "running", "c": "queued"}


def test_end_without_beginning():
    """A job of which only the end was heard is shown all the same."""
    one = told(ended())
    assert row(one).state == "ready"


def test_earlier_runs():
    """Jobs of an earlier run of the worker are history, with what their finals say."""
    one = told(JobRemembered(TD, Failed("old", 7, 3, 404, "file", "There is no file.", "")))
    assert (row(one, "old").state, row(one, "old").message) == ("failed", "There is no file.")


def test_whole_is_all_frames_together():
    """A new browser knows what one knows that was there from the beginning."""
    one = State()
    frames = []
    for change in (accepted(), LevelsChanged(Status("Processing", 0, 1, 3), (Number("queued", 1.0),)), ended(), LogLine(1.0, 30, "w", "x")):
        one.take(change, 100.0)
        frames.append(one.frame())
    one.take(PresetsChanged({"logo": {"operation": "noop"}}), 100.0)
    frames.append(one.frame())
    whole = one.whole()
    assert whole["rows"] == frames[2]["rows"]
    assert whole["levels"] == frames[1]["levels"] == {"queued": 1.0, "word": "Processing"}
    assert whole["lines"] == frames[3]["lines"]
    assert whole["presets"] == frames[4]["presets"] == {"logo": {"operation": "noop"}}
    assert msgspec.json.decode(msgspec.json.encode(whole))["rows"][0][2] == "a"


def test_nobody_looks():
    """What has happened meanwhile is in no frame, and the next browser gets it with everything else."""
    one = told(accepted())
    one.nobody_looks()
    assert one.frame() is None
    assert [changed.job_id for changed in one.whole()["rows"]] == ["a"]


def test_packets():
    """The newest packets are shown; in a flood not each of them is looked at."""
    one = State()
    for number in range(1000):
        one.take(Received(("10.0.0.1", 5000), (Cancel(str(number)),)), 1.0)
    assert len(one.packets) == states.PACKETS_AT_ONCE
    one.tick(1.0)
    one.take(Received(("10.0.0.1", 5000), (Cancel("last"),)), 1.1)
    assert one.packets[-1].text == "/worker/cancel last"
    assert one.packets[-1].peer == "10.0.0.1:5000"


def test_a_live_source():
    """What has become of the source of a live job stands in its row, until it ends."""
    one = told(
        accepted(), JobMoved(TD, "a", "running", 1, ""), JobReported(TD, Source("a", "cam", "Lost", "camera:0: It is opened again."))
    )
    assert one.rows[TD, "a"].message == "Lost: camera:0: It is opened again."
    one.take(ended(), 200.0)
    assert one.rows[TD, "a"].message == ""


def test_refusals():
    """Why a job or a packet was refused stands among the packets: no row tells of it. In a flood not each of them is looked at."""
    one = State()
    one.take(Refused(Failed("a", 0, 1, 404, "operation", "There is no operation 'x'.", "`ops` lists all."), ("10.0.0.1", 9461)), 1.0)
    one.take(Refused(Error(404, "/worker/jbo", "Unknown address."), ("10.0.0.1", 9461)), 1.0)
    one.tick(1.0)
    assert [msgspec.to_builtins(packet) for packet in one.packets] == [
        [1.0, "10.0.0.1:9461", "refused: There is no operation 'x'. `ops` lists all.", True],
        [1.0, "10.0.0.1:9461", "refused: Unknown address.", True],
    ]
    for _ in range(1000):
        one.take(Refused(Error(404, "/worker/jbo", "Unknown address."), ("10.0.0.1", 9461)), 2.0)
    assert len(one.packets) == 2 + states.PACKETS_AT_ONCE


@pytest.mark.parametrize("change", [object(), None, 7])
def test_other_things(change):
    """What is of no interest changes nothing."""
    assert told(change).frame() is None
