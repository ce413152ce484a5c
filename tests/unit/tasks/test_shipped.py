"""Parts whose files travel with them, without a network: packed by the worker, run by a child's function, written by the worker."""

from __future__ import annotations

import os

import msgspec
import pytest

from tests.unit.tasks.desk import Desk, paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Part, Phase, Plan, Result, Shipped, Task
from worker.errors import ArgumentError, LimitExceeded, ResultLost
from worker.executors import framing
from worker.executors.shipping import Shipper
from worker.files import shipped
from worker.files.limits import MB
from worker.files.paths import FileRules
from worker.files.whole import WrittenFile
from worker.tasks.run import run_task


class FarDesk(Desk):
    """The parts that travel are run with the rules of a machine that has another folder."""

    def __init__(self, root, far, limit_mb=256):
        super().__init__(root)
        self.far, self.shipper, self.travelled = far, Shipper(self.files, limit_mb), 0

    def task(self, operation, phase=Phase.PLAN, part=None, joined=None, **values):
        params, options = CATALOG.parse_job(operation, values.items())
        skips = options.on_error == "skip"
        task = Task(1, operation, params, phase, 2, part, joined or Result(), skips, part_bytes=self.shipper.most)
        if not self.shipper.takes(task):
            return run_task(task, self.files, self.progress.append)
        self.travelled += 1
        try:
            travels, files = self.shipper.packed(task)
        except LimitExceeded as error:
            return Failure.of(error)
        there = framing.unpacked(framing.packed(travels))
        folder = shipped.unpack(self.far, tuple(there.shipped.inputs.values()), files)
        there = msgspec.structs.replace(there, shipped=msgspec.structs.replace(there.shipped, folder=str(folder)))
        outcome = run_task(there, FileRules((self.far,)), self.progress.append)
        made = shipped.pack(folder, [file.path for file in outcome.files], 2**30) if isinstance(outcome, Result) else []
        return self.shipper.written(task, outcome, made, lambda: True)


@pytest.fixture(name="desks")
def _desks(tmp_path):
    """The same pictures on a desk of which the parts travel, and on one that works alone."""
    made = []
    for name in ("near", "alone"):
        (tmp_path / name / "shots").mkdir(parents=True)
        desk = FarDesk(tmp_path / name, tmp_path / "far") if name == "near" else Desk(tmp_path / name)
        desk.discs("shots/a.png", "shots/b.png", "shots/c.png", "logo.png")
        (desk.root / "shots" / "broken.png").write_bytes(b"no picture")
        made.append(desk)
    (tmp_path / "far").mkdir()
    return made


def _skipped(result):
    return [(one.path.rpartition("/")[2], one.why) for one in result.skipped]


JOBS = [
    ("draw_circles", {"output": "circles/{n}.png", "count": 50, "data": "all.csv"}),
    ("convert", {"image": "shots", "output": "small/{name}.webp", "width": 20}),
    ("find_circles", {"image": "shots/*.png", "overlay": "marked/{name}-{n}.png", "data": "found.json"}),
    ("find_motion", {"image": "shots", "mask": "motion/{n}.png"}),
    ("match_features", {"image": "shots", "reference": "logo.png"}),
    ("match_features", {"image": "shots", "reference": "missing.png"}),
    ("contact_sheet", {"image": "shots", "output": "sheet.png"}),
    ("convert", {"image": "shots", "output": "small/{name}.png", "on_error": "stop"}),
]


@pytest.mark.parametrize(("operation", "values"), JOBS)
def test_the_same_as_at_home(desks, operation, values):
    """Files, rows, what is skipped and why: as without a way in between. Nothing is in the other machine's folder but the tasks' own."""
    near, alone = desks
    ours, theirs = near.job(operation, **values), alone.job(operation, **values)
    assert near.travelled
    if isinstance(theirs, Failure):
        assert ours == msgspec.structs.replace(theirs, message=theirs.message.replace(str(alone.root), str(near.root)))
        return
    assert paths(ours, near.root) == paths(theirs, alone.root)
    for name in paths(ours, near.root):
        assert (near.root / name).read_bytes() == (alone.root / name).read_bytes()
    assert (ours.kind, ours.fields, ours.rows) == (theirs.kind, theirs.fields, theirs.rows)
    assert _skipped(ours) == _skipped(theirs)
    assert all(one.path.startswith(near.root.as_posix()) for one in ours.skipped)
    assert {path.name.partition("-")[0] for path in near.far.iterdir()} == {"task"}


@pytest.mark.parametrize(
    ("operation", "values"),
    [
        ("write_text", {"output": "a.txt", "line": "{n}", "count": 100_000}),
        ("write_text", {"output": "a.txt", "text": "one\n", "append": 1}),
        ("copy", {"source": "shots", "output": "copies"}),
        ("find_circles", {"image": "logo.png"}),
        ("sweep", {"image": "logo.png", "target": "convert", "param": "width", "values": "10 20", "output": "tried.png"}),
        ("make_video", {"image": "shots/*.png", "output": "a.mp4"}),
    ],
)
def test_what_stays(operation, values):
    """Texts, also appended ones, copies, single pictures, trials and videos are done at home, and so is every plan and every table."""
    shipper = Shipper(FileRules(()), 1)
    params, _ = CATALOG.parse_job(operation, values.items())
    phases = [Phase.PLAN, Phase.FINISH] + ([Phase.PART] if operation != "find_circles" else [])
    sources = ("shots/a.png",) if operation in ("copy", "make_video", "sweep") else ()
    assert [shipper.takes(Task(1, operation, params, phase, part=Part(0, 0, 1, sources))) for phase in phases] == [False] * len(phases)


def test_parts_are_cut_so_that_they_can_travel(desks):
    """What is too large for one part is several; what is too large itself is one sentence that names the setting."""
    near, _ = desks
    near.shipper = Shipper(near.files, 1)
    for name in ("a", "b", "c"):
        path = near.root / "shots" / f"{name}.png"
        path.write_bytes(path.read_bytes() + bytes(700_000 if name != "c" else 2 * MB))
    plan = near.task("convert", image="shots", output="small/{name}.png", width=20)
    assert isinstance(plan, Plan)
    assert [part.steps for part in plan.parts] == [1] * 4
    found = near.job("convert", image="shots", output="small/{name}.png", width=20)
    assert paths(found, near.root) == ["small/a.png", "small/b.png"]
    broken, large = found.skipped
    assert (broken.why.code, large.why.code, large.why.message) == (415, 413, "c.png has 2 MB, and 1 MB may travel to a node.")
    assert "--cluster-ship-mb" in large.why.hint
    sheet = near.job("contact_sheet", image="shots/[ab].png", output="sheet.png")
    assert isinstance(sheet, Failure)
    assert (sheet.code, "--cluster-ship-mb" in sheet.hint) == (413, True)


@pytest.mark.parametrize("name", ["out/other.png", "../out/1.png", "out/1.txt", "out/x.png", ""])
def test_a_node_writes_only_what_the_job_names(tmp_path, name):
    """A node that was taken over cannot choose names of its own."""
    params, _ = CATALOG.parse_job("draw_circles", [("output", "out/{n}.png"), ("count", 3)])
    task = Task(1, "draw_circles", params, Phase.PART, part=Part(0, 0, 3))
    outcome = Shipper(FileRules((tmp_path,)), 1).written(task, Result(files=(WrittenFile(name, 3),)), [b"abc"], lambda: True)
    assert isinstance(outcome, Failure)
    assert outcome.word == "result"
    assert not any(tmp_path.iterdir())


def test_files_that_are_missing_in_an_answer(tmp_path):
    """A result without its files is none."""
    params, _ = CATALOG.parse_job("draw_circles", [("output", "out/{n}.png"), ("count", 3)])
    task = Task(1, "draw_circles", params, Phase.PART, part=Part(0, 0, 3))
    outcome = Shipper(FileRules((tmp_path,)), 1).written(task, Result(files=(WrittenFile("out/0.png", 3),)), [], lambda: True)
    assert isinstance(outcome, Failure)


def test_nothing_is_written_that_nobody_wants(tmp_path):
    """A job that was cancelled meanwhile leaves no more files."""
    params, _ = CATALOG.parse_job("draw_circles", [("output", "out/{n}.png"), ("count", 3)])
    task = Task(1, "draw_circles", params, Phase.PART, part=Part(0, 0, 3))
    Shipper(FileRules((tmp_path,)), 1).written(task, Result(files=(WrittenFile("out/0.png", 3),)), [b"abc"], lambda: False)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["../a.png", "in/0/../../a.png", "/etc/a.png", "in//a.png", "in/0/.."])
def test_a_place_outside_the_task(tmp_path, name):
    """What came with a task stays in its folder."""
    with pytest.raises(ArgumentError):
        shipped.unpack(tmp_path, [name], [b"abc"])


def test_a_file_that_did_not_come(tmp_path):
    """A child reads nothing else of its machine."""
    (tmp_path / "a.png").write_bytes(b"abc")
    params, _ = CATALOG.parse_job("convert", [("image", "a"), ("output", "b/{name}.png")])
    task = Task(1, "convert", params, Phase.PART, part=Part(0, 0, 1, (str(tmp_path / "a.png"),)), shipped=Shipped(str(tmp_path)))
    outcome = run_task(task, FileRules((tmp_path,)), lambda _: None)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.message) == (403, f"{tmp_path / 'a.png'} did not travel with its task.")


@pytest.mark.skipif(os.name == "nt", reason="not on this system: links without rights of their own")
def test_a_link_in_the_place_of_an_output(tmp_path):
    """A child that was taken over cannot have its node send another file."""
    secret = tmp_path / "secret.txt"
    secret.write_text("secret", encoding="utf-8")
    place = shipped.place_of_output(tmp_path, "out/0.png")
    place.parent.mkdir(parents=True)
    place.symlink_to(secret)
    with pytest.raises(ResultLost):
        shipped.pack(tmp_path, ["out/0.png"], 100)


def test_more_than_may_travel_back(tmp_path):
    """One sentence."""
    place = shipped.place_of_output(tmp_path, "out/0.png")
    place.parent.mkdir(parents=True)
    place.write_bytes(bytes(100))
    with pytest.raises(LimitExceeded, match="travel back"):
        shipped.pack(tmp_path, ["out/0.png"], 99)


def test_what_a_killed_node_has_left(tmp_path, monkeypatch):
    """The next node removes it; the folder of one that lives stays, and each removes its own at its end."""
    monkeypatch.setattr(shipped.tempfile, "tempdir", str(tmp_path))
    with shipped.scratch() as lives:
        dead = lives.parent / "node-1-dead"
        (dead / "task-1").mkdir(parents=True)
        (dead / "alive").touch()
        with shipped.scratch() as other:
            assert sorted(lives.parent.iterdir()) == sorted((lives, other))
        assert list(lives.parent.iterdir()) == [lives]
    assert list(lives.parent.iterdir()) == []
