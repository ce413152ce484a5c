"""The status words that depend on the children."""

from __future__ import annotations

from tests.play import BOOT, START, Play
from worker.config import Config
from worker.core.events import ChildrenChanged, Woke
from worker.core.scheduler import Scheduler
from worker.protocol.messages import Job, Nodes, Number, Status


def words(scheduler: Scheduler, event: ChildrenChanged | Woke, at: float) -> list[str]:
    """The status words that go out after an event."""
    reports = (getattr(effect, "report", None) for effect in scheduler.handle(event, at))
    return [report.word for report in reports if isinstance(report, Status)]


def test_not_ready_before_a_child_works():
    """A worker whose children have not shown that they work is not Ready, in no report."""
    scheduler = Scheduler(Config(report=(("10.0.0.9", 8000),)), BOOT, START, children=False)
    assert words(scheduler, Woke(), START) == ["Starting"]
    assert words(scheduler, Woke(), START + 1.5) == ["Starting"]
    assert words(scheduler, ChildrenChanged(working=True), START + 1.7) == ["Ready"]


def test_nodes_that_are_missing():
    """With a cluster everybody hears once a second how many nodes there are, and which are missing; without one nobody hears of nodes."""
    target = ("10.9.9.9", 8000)
    scheduler = Scheduler(Config(report=(target,)), BOOT, START)
    heard = []
    for at, event in [(0.0, Woke()), (1.0, Woke()), (1.1, ChildrenChanged(working=True, nodes=1, gone=("render-2-4711",))), (2.1, Woke())]:
        heard.append([one.report for one in scheduler.handle(event, START + at) if isinstance(getattr(one, "report", None), Nodes)])
    assert heard == [[], [], [], [Nodes(1, 1, "render-2-4711")]]


def test_not_ready_without_children():
    """If none can be started any more, the word says so; and in numbers `ready` is 0. A job that runs counts more."""
    play = Play(show=["status", "numbers"], report=(("10.9.9.9", 8000),), report_numbers=(("10.9.9.9", 8001),))
    play(0.0, ChildrenChanged(working=False))
    assert [line for line in play(0.5, ChildrenChanged(working=True), ChildrenChanged(working=False)) if "status" in line] == [
        f"10.9.9.9:8000 status Ready 0 0 {BOOT}",
        f"10.9.9.9:8000 status Starting 0 0 {BOOT}",
    ]
    numbers = [number for effect in play.effects for number in getattr(effect, "numbers", ())]
    assert [number for number in numbers if number.name == "ready"][-1] == Number("ready", 0.0)
    assert "status Processing" in " ".join(play(0.6, Job("a", "noop")))
