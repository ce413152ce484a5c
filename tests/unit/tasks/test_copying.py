"""Tasks that copy and move files."""

from __future__ import annotations

import os

import pytest

from tests.unit.tasks.desk import paths
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Plan
from worker.files.copying import BLOCK_BYTES

OLD = (1_000_000_000, 1_000_000_000)
BOTH = pytest.mark.parametrize("operation", ["copy", "move"])


def lay(desk, *names, data=None):
    for name in names:
        path = desk.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode() if data is None else data)
        os.utime(path, OLD)


def tree(desk):
    return sorted(path.relative_to(desk.root).as_posix() for path in desk.root.rglob("*") if path.is_file())


@BOTH
@pytest.mark.parametrize(
    ("output", "wanted"),
    [("b.mov", "b.mov"), ("b", "b.mov"), ("out/", "out/a.mov"), ("there", "there/a.mov"), ("out/{name}-x.MOV", "out/a-x.MOV")],
)
def test_one_file(desk, operation, output, wanted):
    """One file goes to a file or into a folder; the ending may be left out."""
    (desk.root / "there").mkdir()
    lay(desk, "a.mov")
    assert paths(desk.task(operation, source="a.mov", output=output), desk.root) == [wanted]
    assert tree(desk) == sorted(["a.mov", wanted] if operation == "copy" else [wanted])
    assert (desk.root / wanted).read_bytes() == b"a.mov"


@BOTH
def test_folder(desk, operation):
    """A folder goes with all that is in it, each file in its place; hidden and unfinished files do not."""
    lay(desk, "shots/1/a.png", "shots/2/a.png", "shots/b.wav", "shots/.c.txt", "shots/c.part")
    result = desk.job(operation, source="shots", output="copies")
    assert sorted(paths(result, desk.root)) == ["copies/1/a.png", "copies/2/a.png", "copies/b.wav"]
    left = ["shots/.c.txt", "shots/c.part"] if operation == "move" else ["shots/.c.txt", "shots/c.part", *_of("shots")]
    assert tree(desk) == sorted([*_of("copies"), *left])
    assert sorted(desk.progress) == [1, 1, 1]


def _of(folder):
    return [f"{folder}/1/a.png", f"{folder}/2/a.png", f"{folder}/b.wav"]


@BOTH
def test_pattern(desk, operation):
    """A pattern takes the files that match, also from many folders, and names them anew."""
    lay(desk, "shots/a2.png", "shots/a10.png", "shots/1/a3.jpg", "shots/b.txt")
    result = desk.job(operation, source="shots/**/a*", output="named/{n}-{name}")
    assert paths(result, desk.root) == ["named/0-a3.jpg", "named/1-a2.png", "named/2-a10.png"]
    assert (desk.root / "shots/b.txt").exists()


def test_sender_on_another_system(desk, tmp_path):
    """Paths as a sender on Windows spells them, in and out."""
    from tests.unit.tasks.desk import Desk

    there = Desk(tmp_path.resolve(), maps=(("C:/show", str(tmp_path.resolve())),))
    lay(there, "Shots/1/a.png")
    result = there.job("copy", source="C:\\show\\shots", output="C:\\show\\out\\")
    assert [written.path for written in result.files] == ["C:/show/out/1/a.png"]


def test_progress_of_one_large_file(desk):
    """A file of several blocks is a plan, because only a plan can say how many steps there will be."""
    lay(desk, "a.mov", data=bytes(2 * BLOCK_BYTES + 1))
    plan = desk.task("copy", source="a.mov", output="b.mov")
    assert isinstance(plan, Plan)
    assert plan.steps == 3
    assert paths(desk.job("move", source="a.mov", output="b.mov"), desk.root) == ["b.mov"]
    assert desk.progress[-1] == 3


@BOTH
def test_what_cannot_be_done_is_skipped(desk, operation):
    """Of many files, those that are in the way or of a kind that is not copied are skipped, each with its reason; `stop` ends the job."""
    lay(desk, "in/a.txt", "in/b.txt", "in/c.exe", "in/package.json", "out/b.txt")
    (desk.root / "out/b.txt").write_text("another")
    result = desk.job(operation, source="in", output="out")
    assert paths(result, desk.root) == ["out/a.txt"]
    # A move begins with the source, which is a file that the worker may not remove.
    codes = [("b.txt", 403), ("c.exe", 415 if operation == "copy" else 403), ("package.json", 403)]
    assert [(left.path.rpartition("/")[2], left.why.code) for left in result.skipped] == codes
    assert (desk.root / "in/c.exe").exists()
    assert (desk.root / "out/b.txt").read_text() == "another"
    failure = desk.job(operation, source="in", output="out", on_error="stop")
    assert isinstance(failure, Failure)


def test_all_skipped(desk):
    """If no file can be copied, the job fails with the reason of the first."""
    lay(desk, "in/a.exe", "in/b.exe")
    failure = desk.job("copy", source="in", output="out")
    assert failure.code == 415
    assert failure.message.startswith("Each of the 2 files was skipped. The first: out/a.exe has no ending that this worker writes.")


@BOTH
@pytest.mark.parametrize(
    ("values", "code", "words"),
    [
        ({"source": "a.png", "output": "b.jpg"}, 400, "a.png cannot become b.jpg: a copy keeps its ending, .png."),
        ({"source": "a.png", "output": "a.png"}, 400, "would write over a.png, which is one of its own inputs"),
        ({"source": "a.png", "output": "../b.png"}, 403, "outside the folders"),
        ({"source": "none.png", "output": "b.png"}, 404, "There is no file none.png"),
        ({"source": "nothing/*", "output": "b/"}, 404, "No file matches nothing/*"),
        ({"source": "in", "output": "in/more"}, 400, "would put the folder in into itself"),
        ({"source": "in/*", "output": "b.png"}, 400, "names one file for many files; put {name} or {n} into it, such as out/{name}.png"),
        ({"source": "in/**/*", "output": "out/{name}"}, 400, "would be written twice"),
        ({"source": "/etc/hostname", "output": "b.txt"}, 403, "outside the folders"),
    ],
)
def test_refused(desk, operation, values, code, words):
    """One clear sentence, before anything is written."""
    lay(desk, "a.png", "in/c.png", "in/1/c.png")
    before = tree(desk)
    failure = desk.job(operation, **values)
    assert (failure.code, tree(desk)) == (code, before)
    assert words in failure.message


def test_moved_only_from_where_it_may_be_written(desk, tmp_path):
    """A folder that may only be read is copied from, and not moved from; the worker's own files are neither."""
    from worker.files.paths import FileRules

    (tmp_path / "out").mkdir()
    lay(desk, "library/a.png")
    desk.files = FileRules((tmp_path.resolve() / "out",), (tmp_path.resolve() / "library",))
    source = str(tmp_path.resolve() / "library" / "a.png")
    assert desk.task("move", source=source, output="a.png").code == 403
    assert desk.task("copy", source=source, output="a.png").files
    assert (desk.root / "library/a.png").exists()


def test_repeated():
    """A copy may be done twice; a move would also take what came into the place of the first files."""
    assert CATALOG.parse_job("copy", {"source": "a", "output": "b"}.items())[0].repeatable()
    assert not CATALOG.parse_job("move", {"source": "a", "output": "b"}.items())[0].repeatable()
