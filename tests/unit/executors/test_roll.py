"""Which nodes there are, and what the log says about them."""

import pytest

from worker.executors.dask import INFORMATION, resource_of, versions
from worker.executors.roll import Attendance

OURS = versions("1.4.2")


def node(name, slots=2, version="1.4.2", line=OURS, **missing):
    """As Dask's scheduler knows it."""
    about = {"version": version, "versions": line, "missing": missing}
    return {"name": name, "resources": {resource_of(version): slots}, INFORMATION: about}


@pytest.fixture
def attendance(caplog):
    caplog.set_level("INFO")
    return Attendance("tcp://10.0.0.5:8786", resource_of("1.0.0"), OURS)


def test_nodes_of_ours_are_counted(attendance, caplog):
    """With their slots and what they cannot do; each is introduced once."""
    workers = {"tcp://a": node("render-1-100", 8), "tcp://b": node("render-2-200", find_features="no AKAZE")}
    for _ in range(3):
        found = attendance.count(workers, 0.0)
    assert (found.slots, found.missing, found.reason) == ({"tcp://a": 8, "tcp://b": 2}, {"find_features": "no AKAZE"}, "")
    assert caplog.text.count("the node tcp://a has 8 slots") == 1
    assert OURS in caplog.text


def test_those_that_get_no_task(attendance, caplog):
    """Another major version, and a plain worker of Dask. The log says which is which, and the reason what to start."""
    found = attendance.count({"tcp://a": node("old-1", version="7.0.0"), "tcp://b": {"name": "plain", "resources": {}}}, 0.0)
    assert found.slots == {}
    assert found.reason.endswith("start `td-image-worker node` on its machines.")
    assert "the node tcp://a has version 7.0.0 of the worker, which does not fit ours: it gets no task" in caplog.text
    assert "tcp://b is a worker of Dask, and no node of ours" in caplog.text


def test_other_versions_are_said(attendance, caplog):
    """In one sentence, before the node gets a task."""
    python = OURS.split(", ")[1]
    attendance.count({"tcp://a": node("render-1-100", line=OURS.replace(python, "Python 3.9.1"))}, 0.0)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    here = python.partition(" ")[2]
    assert record.getMessage() == (
        f"the node tcp://a has 2 slots and other versions than this worker: Python 3.9.1 (here {here}). Its pictures may differ."
    )


def test_who_has_left(attendance, caplog):
    """It is said, and missed for an hour; also while there is no connection."""
    attendance.count({"tcp://a": node("render-1-100"), "tcp://b": node("render-2-200")}, 0.0)
    assert attendance.count({"tcp://a": node("render-1-100")}, 1.0).gone == ("render-2-200",)
    assert "the node tcp://b has left the cluster" in caplog.text
    assert attendance.nobody("The cluster cannot be reached.", 2.0).gone == ("render-1-100", "render-2-200")
    attendance.begin()
    assert attendance.count({"tcp://a": node("render-1-100")}, 3.0).gone == ("render-2-200",)
