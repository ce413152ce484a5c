"""Operations that come, change and go while the worker runs: events against effects."""

import pytest
from msgspec.structs import replace

from worker.catalog.rows import OwnFile
from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core.events import CatalogChanged, Execute, Received, Send
from worker.core.scheduler import Scheduler
from worker.protocol import messages as wire

PEER = ("127.0.0.1", 5000)
FILE = OwnFile("/show/my_ops.py", "1", b"x")
GLOW = replace(CATALOG["convert"], name="glow", own=FILE)
WITH_GLOW = CATALOG.with_rows(GLOW)
PAIRS = (("image", "a.png"), ("output", "b.png"))


@pytest.fixture
def scheduler():
    return Scheduler(Config(workers=1), 1, 0.0)


def reports(effects):
    return [effect.report for effect in effects if isinstance(effect, Send)]


def sent(scheduler, *commands, now=1.0):
    return scheduler.handle(Received(PEER, commands), now)


def test_nothing_is_said_without_own_operations(scheduler):
    """A worker that has only its own never sends the report."""
    told = reports(sent(scheduler, wire.Hello("a", 9000, 0, "", "", 0)))
    assert not [report for report in told if isinstance(report, wire.CatalogChanged)]


def test_a_change_is_told_to_all_and_counts(scheduler):
    """To those who are there, and after the welcome of those who come."""
    sent(scheduler, wire.Hello("a", 9000, 0, "", "", 0))
    told = reports(scheduler.handle(CatalogChanged(WITH_GLOW, "my_ops.py has glow."), 2.0))
    assert wire.CatalogChanged(1, "my_ops.py has glow.") in told
    scheduler.handle(CatalogChanged(CATALOG, "No.", usable=False), 3.0)
    assert wire.CatalogChanged(2, "No.") in reports(sent(scheduler, wire.Hello("a", 9000, 0, "", "", 0), now=4.0))


def test_a_task_brings_its_file(scheduler):
    """So that the child has the version that the parent has described; a task of ours brings none."""
    scheduler.handle(CatalogChanged(WITH_GLOW, ""), 1.0)
    effects = sent(scheduler, wire.Job("a", "glow", PAIRS)) + sent(scheduler, wire.Job("b", "convert", PAIRS))
    (task,) = [effect.task for effect in effects if isinstance(effect, Execute)]
    assert (task.operation, task.own) == ("glow", FILE)


def test_a_waiting_job_whose_operation_goes(scheduler):
    """It ends with 404, and the next one runs."""
    scheduler.handle(CatalogChanged(WITH_GLOW, ""), 1.0)
    sent(scheduler, wire.Job("a", "noop", ()))
    sent(scheduler, wire.Job("b", "glow", PAIRS))
    sent(scheduler, wire.Job("c", "noop", ()))
    assert scheduler.load == (1, 2)
    scheduler.handle(CatalogChanged(CATALOG, ""), 2.0)
    effects = sent(scheduler, wire.Cancel("a"), now=3.0)
    failed = {report.id: report for report in reports(effects) if isinstance(report, wire.Failed)}
    assert (failed["b"].code, failed["b"].message) == (404, "my_ops.py has no operation 'glow' any more.")
    assert [effect.task.operation for effect in effects if isinstance(effect, Execute)] == ["noop"]


def test_an_unknown_operation_and_a_file_that_cannot_be_used(scheduler):
    """Whoever asks for what would be in the file learns why it is not there."""
    scheduler.handle(CatalogChanged(CATALOG, "my_ops.py, line 3: SyntaxError: invalid syntax.", usable=False), 1.0)
    (refused,) = [report for report in reports(sent(scheduler, wire.Job("a", "glow", PAIRS))) if isinstance(report, wire.Failed)]
    assert (refused.code, refused.hint) == (404, "my_ops.py, line 3: SyntaxError: invalid syntax.")


def test_presets_of_own_operations(scheduler):
    """They can be set as soon as the operation is known, and are started as others are."""
    scheduler.handle(CatalogChanged(WITH_GLOW, ""), 1.0)
    pairs = (("operation", "glow"), *PAIRS)
    assert not [report for report in reports(sent(scheduler, *(wire.Set("p", *pair) for pair in pairs))) if isinstance(report, wire.Error)]
    effects = sent(scheduler, wire.Trigger("p", 1.0))
    assert [effect.task.own for effect in effects if isinstance(effect, Execute)] == [FILE]
