import msgspec
import pytest

from worker.config import Config
from worker.core.changes import (
    PAGE,
    AllOpen,
    Change,
    ClientsSeen,
    JobAccepted,
    JobMoved,
    JobRemembered,
    JobReported,
    LevelsChanged,
    PresetsChanged,
)
from worker.core.events import (
    CancelAsked,
    Finished,
    JobEnded,
    Kept,
    KeptJob,
    Received,
    ReportAsked,
    Send,
    SendNumbers,
    SourceChanged,
    WatchAsked,
)
from worker.core.jobs import Failure, Part, Plan, Result
from worker.core.scheduler import Scheduler
from worker.errors import MissingFile
from worker.files.whole import WrittenFile
from worker.protocol.messages import Failed, File, Job, Progress, Set, Source

TD = ("127.0.0.1", 5000)
KEY = "127.0.0.1:9461"


@pytest.fixture
def scheduler():
    return Scheduler(Config(workers=2), 1, 0.0, watched=True)


def told(effects, *kinds):
    """The changes of these kinds."""
    return [effect for effect in effects if isinstance(effect, kinds or (Change, JobEnded))]


def job(job_id="a", operation="noop", *pairs):
    return Received(TD, (Job(job_id, operation, pairs),))


def tasks(effects):
    return [effect.task for effect in effects if hasattr(effect, "task")]


def test_life_of_a_job(scheduler):
    """Accepted with all that is needed to send it again, started, ended: in this order, and each once."""
    effects = scheduler.handle(job(), 1.0)
    accepted, moved = told(effects, JobAccepted, JobMoved)
    assert (accepted.client, accepted.job_id, accepted.operation, accepted.priority) == (KEY, "a", "noop", 1)
    assert msgspec.json.decode(accepted.content)[0] == "noop"
    assert (moved.state, moved.attempt) == ("running", 1)
    (task,) = tasks(effects)
    ends = told(scheduler.handle(Finished(task.id, Result()), 2.0), JobEnded, JobMoved)
    assert [(type(end), end.word) for end in ends] == [(JobEnded, "ready")]


def test_a_failure_has_its_hint(scheduler):
    (task,) = tasks(scheduler.handle(job(), 1.0))
    failure = Failure.of(MissingFile("There is no file a.png.", "Check the folder."))
    (end,) = told(scheduler.handle(Finished(task.id, failure), 2.0), JobEnded)
    assert (end.message, end.hint) == ("There is no file a.png.", "Check the folder.")


def test_a_live_source(scheduler):
    """Those who watch hear of it, too."""
    scheduler.handle(job("a", "track", ("source", "camera:0")), 1.0)
    (change,) = told(scheduler.handle(SourceChanged(1, "Live", "camera:0"), 2.0), JobReported)
    assert change.report == Source("a", "1", "Live", "camera:0")


def test_progress_and_files(scheduler):
    """Watchers hear of them even if the client has left."""
    (task,) = tasks(scheduler.handle(job("a", "draw_circles", ("output", "c{n}.png"), ("count", 2)), 1.0))
    effects = scheduler.handle(Finished(task.id, Plan((Part(0, 0, 1), Part(1, 1, 2)))), 2.0)
    first, _ = tasks(effects)
    assert [type(change.report) for change in told(effects, JobReported)] == [Progress]
    effects = scheduler.handle(Finished(first.id, Result(files=(WrittenFile("c0.png", 9, 8, 8),))), 3.0)
    assert [change.report for change in told(effects, JobReported) if isinstance(change.report, File)] == [File("a", "c0.png", 9, 8, 8)]


def test_nothing_is_told_if_nobody_watches():
    scheduler = Scheduler(Config(workers=2), 1, 0.0)
    effects = [*scheduler.handle(job(), 1.0), *scheduler.handle(Received(TD, (Set("logo", "operation", "noop"),)), 2.0)]
    assert told(effects, Change) == []


def test_levels_and_clients(scheduler):
    """With each heartbeat, so that who watches sees that the worker lives."""
    scheduler.handle(job(), 0.5)
    effects = scheduler.handle(job("b"), 1.5)
    (levels, *_) = told(effects, LevelsChanged)
    assert levels.status.running == 1
    assert {number.name for number in levels.numbers} >= {"ready", "queued", "done", "failed", "beat"}
    (clients,) = told(effects, ClientsSeen)
    assert [client.key for client in clients.clients] == [KEY]


def test_presets_are_told_seldom(scheduler):
    """A CHOP that sets them with each frame is heard of four times a second, and the last value is."""
    effects = scheduler.handle(Received(TD, (Set("logo", "operation", "noop"),)), 1.0)
    effects += scheduler.handle(Received(TD, (Set("other", "operation", "noop"),)), 1.1)
    assert [dict(change.presets) for change in told(effects, PresetsChanged)] == [{"logo": {"operation": "noop"}}]
    effects = scheduler.handle(job(), 1.4)
    assert [set(change.presets) for change in told(effects, PresetsChanged)] == [{"logo", "other"}]


def test_everything_again(scheduler):
    """A watcher that has missed something hears of all open jobs, from the beginning."""
    for number in range(3):
        scheduler.handle(job(str(number)), 1.0)
    kinds = [type(change) for change in told(scheduler.handle(WatchAsked(), 2.0))]
    assert kinds[0] is AllOpen
    assert (kinds.count(JobAccepted), kinds.count(JobMoved)) == (3, 2)


def test_earlier_runs(scheduler):
    """The jobs that an earlier run has ended are history."""
    final = Failed("old", 3, 1, 404, "file", "There is no file.", "")
    effects = scheduler.restore(Kept((KeptJob(KEY, "old", b"digest", final=final),)), 0.0)
    assert told(effects, JobRemembered) == [JobRemembered(KEY, final)]


def test_cancel_of_any_client(scheduler):
    """The operator ends jobs that others have sent; their clients hear of it."""
    for number in range(4):
        scheduler.handle(job(str(number)), 1.0)
    effects = scheduler.handle(CancelAsked(((KEY, "0"), (KEY, "never"))), 2.0)
    assert [(end.job_id, end.code) for end in told(effects, JobEnded)] == [("0", 499)]
    assert [effect.report.id for effect in effects if isinstance(effect, Send) and isinstance(effect.report, Failed)] == ["0"]
    effects = scheduler.handle(CancelAsked(waiting_only=True), 3.0)
    assert {end.job_id for end in told(effects, JobEnded)} == {"3"}
    effects = scheduler.handle(CancelAsked(), 4.0)
    assert {end.job_id for end in told(effects, JobEnded)} == {"1", "2"}


def test_all_values_now(scheduler):
    """Every client gets all numbers, although none has changed."""
    scheduler.handle(job(), 1.0)
    scheduler.handle(job("b"), 1.01)
    effects = scheduler.handle(ReportAsked(), 1.02)
    assert [effect.peer for effect in effects if isinstance(effect, SendNumbers)] == [("127.0.0.1", 9462)]


def test_the_page_is_a_client_like_any_other(scheduler):
    """Its jobs are its own: the same id of another client is another job."""
    scheduler.handle(job("same"), 1.0)
    effects = scheduler.handle(Received(PAGE, (Job("same", "noop", ()),)), 1.1)
    (accepted,) = told(effects, JobAccepted)
    assert accepted.client.startswith("page:")
    assert {effect.peer[0] for effect in effects if isinstance(effect, Send) and getattr(effect.report, "id", "") == "same"} == {"page"}
