"""Frames stay on one computer, so a cluster refuses them."""

import pytest

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")

from worker.catalog.circles import FindCircles
from worker.catalog.text import WriteText
from worker.core.jobs import Part, Phase, Task
from worker.executors.cluster import ClusterExecutor
from worker.executors.roll import Nodes
from worker.executors.shipping import Shipper
from worker.files.paths import FileRules


@pytest.mark.parametrize(
    ("operation", "params", "frame"),
    [
        ("find_circles", FindCircles(image="frame:cam1.frame#2"), "frame:cam1.frame#2"),
        ("find_circles", FindCircles(image="a.png", overlay="frame:out.frame"), "frame:out.frame"),
        ("find_circles", FindCircles(image="a.png"), ""),
        ("write_text", WriteText(output="a.txt", text="frame: a text"), ""),
    ],
)
def test_a_frame_is_refused(operation, params, frame):
    """In a sentence, and before anything is sent."""
    executor, heard, sent = ClusterExecutor("tcp://127.0.0.1:1"), [], []
    executor._deliver, executor._nodes, executor._link.tell = heard.append, Nodes({"node": 2}, {}), sent.append
    executor.execute(Task(1, operation, params))
    assert len(sent) == (not frame)
    executor._link._loop.close()
    if frame:
        ((task_id, failure),) = [(event.task_id, event.outcome) for event in heard]
        assert (task_id, failure.code) == (1, 501)
        assert failure.message == f"{frame} is in this computer's memory, where no node of the cluster can read or write it."
        assert failure.hint.startswith("Name a file")


def test_what_does_not_travel():
    """If files travel, plans are made here, and parts of pictures go to the nodes; a frame is refused all the same."""
    here, heard, sent = [], [], []
    local = type("Local", (), {"workers": 1, "execute": staticmethod(here.append)})()
    executor = ClusterExecutor("tcp://127.0.0.1:1", local=local, stands_in=False, shipper=Shipper(FileRules(()), 1))
    executor._deliver, executor._nodes, executor._link.tell = heard.append, Nodes({"node": 2}, {}), sent.append
    part = Part(0, 0, 1, ("a.png",))
    executor.execute(Task(1, "find_circles", FindCircles(image="a.png")))
    executor.execute(Task(2, "find_circles", FindCircles(image="*.png"), Phase.PART, part=part))
    executor.execute(Task(3, "find_circles", FindCircles(image="frame:cam1.frame")))
    executor.execute(Task(4, "find_circles", FindCircles(image="*.png", overlay="frame:{n}.frame"), Phase.PART, part=part))
    executor._link._loop.close()
    assert [(task.id, task.part_bytes) for task in here] == [(1, 2**20)]
    assert [task.id for task in sent] == [2]
    assert [(event.task_id, event.outcome.code) for event in heard] == [(3, 501), (4, 501)]
