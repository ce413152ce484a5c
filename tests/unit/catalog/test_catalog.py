import pickle

import pytest

from tests import small
from worker.catalog.catalog import Catalog
from worker.catalog.noop import Noop
from worker.catalog.rows import Column, OperationInfo, X, Y
from worker.catalog.table import CATALOG
from worker.client.core import ClientCore, least_files
from worker.config import Config
from worker.core.events import Execute, Received, Send, Woke
from worker.core.presets import Presets
from worker.core.scheduler import Scheduler
from worker.errors import ArgumentError, UnknownOperation
from worker.protocol.messages import Accepted, Describe, Failed, Hello, Job, OperationDescription

ROW = OperationInfo("look", Noop, "Looks.", "views", (X, Y))


def test_a_catalogue_is_a_value():
    """It can be compared, hashed, sent to another process and extended; extending leaves the first one as it was."""
    same = Catalog(CATALOG.values())
    assert same == CATALOG
    assert hash(same) == hash(CATALOG)
    assert pickle.loads(pickle.dumps(CATALOG)) == CATALOG
    larger = CATALOG.with_rows(ROW)
    assert larger != CATALOG
    assert list(larger) == [*CATALOG, "look"]
    assert "look" not in CATALOG
    with pytest.raises(TypeError):
        CATALOG["look"] = ROW


def test_two_of_one_name():
    """No operation hides another one."""
    with pytest.raises(ValueError, match="two operations with the name find_circles"):
        CATALOG.with_rows(OperationInfo("find_circles", Noop, "Again."))


def test_one_kind_has_one_set_of_fields():
    """Who reads a kind of result need not know which operation it comes from."""
    with pytest.raises(ValueError, match="look and draw_circles report circles with different fields"):
        CATALOG.with_rows(OperationInfo("look", Noop, "Looks.", "circles", (X, Y)))


def test_kind_and_columns_go_together():
    """A row that has one without the other is refused when the table is made."""
    with pytest.raises(ValueError, match="a kind and columns, or neither"):
        OperationInfo("look", Noop, "Looks.", "views")


def test_row():
    """A row knows its family, and its columns by name and digits."""
    row = OperationInfo("look", Noop, "Looks.", "views", (X, Column("length")))
    assert (row.family, row.fields, row.digits, row.parameters) == ("noop", ("x", "length"), (3, None), ())


def test_probe():
    """One operation does nothing; a catalogue without one says so."""
    assert CATALOG.probe.params is Noop
    assert small.CATALOG.probe.name == "rest"
    with pytest.raises(LookupError):
        _ = Catalog(()).probe


def test_presets_know_their_catalogue():
    """A preset names operations of the catalogue that it was given, and of no other."""
    presets = Presets(small.CATALOG)
    presets.set("a", "operation", "find_changes")
    presets.set("a", "max_items", 5)
    with pytest.raises(ArgumentError, match="find_changes: max_items"):
        presets.set("a", "max_items", 500)
    with pytest.raises(UnknownOperation):
        presets.set("b", "operation", "find_circles")


def sent(scheduler, command):
    effects = scheduler.handle(Received(("10.0.0.1", 50_000), (command,)), 0.0)
    return [effect.report for effect in effects if isinstance(effect, Send)]


def test_scheduler_knows_its_catalogue():
    """Jobs are accepted, described and refused as the catalogue says."""
    scheduler = Scheduler(Config(workers=1), 7, 0.0, catalog=small.CATALOG)
    job = Job("a", "threshold", (("image", "a.png"), ("output", "b.png")))
    assert "a" in [report.id for report in sent(scheduler, job) if isinstance(report, Accepted)]
    (refusal,) = [report for report in sent(scheduler, Job("b", "convert", ())) if isinstance(report, Failed)]
    assert refusal.message == "There is no operation 'convert'; known are rest, find_changes, threshold, sheet, magic."
    described = [report for report in sent(scheduler, Describe("")) if isinstance(report, OperationDescription)]
    assert [report.name for report in described] == [*small.CATALOG, "*"]


def test_the_canary_is_the_catalogues_probe():
    """A child is proved to work by the operation that does nothing, whatever its name."""
    scheduler = Scheduler(Config(workers=1), 7, 0.0, catalog=small.CATALOG)
    (task,) = [effect.task for effect in scheduler.handle(Woke(), 60.0) if isinstance(effect, Execute)]
    assert (task.operation, task.params) == ("rest", Noop())


@pytest.mark.parametrize(
    ("operation", "pairs", "items", "files"),
    [
        ("sheet", (("image", "*.png"), ("output", "s.png")), 3, 1),
        ("find_changes", (("image", "a.png"), ("overlay", "o.png"), ("data", "")), 12, 1),
        ("rest", (), 0, 0),
    ],
)
def test_how_many_files_belong_to_a_job(operation, pairs, items, files):
    """If the items are rows, the files are those that the job asks for."""
    assert least_files(small.CATALOG[operation], Job("j", operation, pairs), items) == files


def test_clients_know_their_catalogue():
    """A client of a worker with other operations can be given their catalogue, and does without one, too."""
    assert ClientCore(Hello("c", 0, 0, "", "", 1), catalog=small.CATALOG).submit(Job("j", "sheet", ()), 0.0) != []
    assert least_files(None, Job("j", "never_heard_of", ()), 3) == 0
