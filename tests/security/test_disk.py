"""Disks that are full, closed or gone: the right code, and nothing half written."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time

import msgspec
import numpy as np
import pytest

from tests.security.children import Child, Hang, failed
from tests.security.desk import run_job, tree
from worker.config import Limits
from worker.core.events import StoreJob
from worker.core.jobs import Failure, Result
from worker.files import sweep
from worker.files.limits import DEFAULT_LIMITS, MB, NO_LIMITS
from worker.files.paths import FileRules
from worker.pictures.images import write_image
from worker.storage.journal import Journal, JournalError

_IS_ROOT = sys.platform == "linux" and os.geteuid() == 0
needs_root = pytest.mark.skipif(not _IS_ROOT, reason="only Linux's root may mount a small disk")

#: Every way of writing a file.
WRITES = [
    ("write_text", {"output": "out/a.txt", "line": "x" * 200, "count": 20_000}),
    ("write_text", {"output": "out/log.txt", "line": "x" * 200, "count": 20_000, "append": 1}),
    ("draw_circles", {"output": "out/{n}.bmp", "count": 4, "width": 1000, "height": 1000}),
    ("convert", {"image": "in.png", "output": "out/a.bmp", "width": 1100}),
    ("find_circles", {"image": "in.png", "overlay": "out/b.bmp"}),
]


def rules(root, **limits):
    return FileRules((root,), limits=msgspec.structs.replace(DEFAULT_LIMITS, min_free_mb=0, **limits))


def fill(root):
    """A picture to read, and old files that must stay as they are."""
    image = np.random.default_rng(0).integers(0, 255, (1000, 1200, 3), np.uint8) // 128 * 128
    write_image(root / "in.png", image, limits=NO_LIMITS)
    (root / "out").mkdir(exist_ok=True)
    for name in ("a.txt", "log.txt", "a.bmp", "b.bmp"):
        (root / "out" / name).write_bytes(b"old")


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 3 MB."""
    root = (tmp_path / "disk").resolve()
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(root)], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {mounted.stderr.strip()}")
    yield root
    subprocess.run(["umount", "-l", str(root)], check=True)


@needs_root
@pytest.mark.parametrize(("operation", "values"), WRITES)
@pytest.mark.parametrize("told", [True, False])
def test_full(small_disk, monkeypatch, operation, values, told):
    """A full disk is 507, which may pass; finished files stay, none is half written, also where a disk does not tell how full it is."""
    fill(small_disk)
    before = tree(small_disk)
    if not told:
        monkeypatch.setattr("worker.files.handles.free_bytes", lambda place: -1)
        monkeypatch.setattr("worker.tasks.base.free_bytes", lambda place: -1)
    outcome = run_job(rules(small_disk), operation, **values)
    assert isinstance(outcome, Failure)
    assert (outcome.code, outcome.transient) == (507, True)
    after = tree(small_disk)
    assert {name: after.get(name) for name in before} == before
    assert all(name.endswith(".bmp") for name in after.keys() - before.keys())  # pictures of the same job that were finished
    for name in after.keys() - before.keys():
        assert len(after[name][1]) == 3_000_054
    assert isinstance(run_job(rules(small_disk), "write_text", output="out/small.txt", text="x"), Result)


@needs_root
@pytest.mark.parametrize("durability", ["process", "power"])
def test_the_journals_disk(small_disk, tmp_path, durability):
    """A commit that finds no room is not made, and what was committed before is whole. With room, it goes on."""
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2_400_000))
    path = small_disk / "state" / "9460.sqlite3"
    journal = Journal(path, durability, Limits())
    stored: list[str] = []

    def store_many() -> None:
        for number in range(100):
            journal.commit([StoreJob("10.0.0.1:9461", f"a{number}", b'["noop",{},{}]' + b" " * 20_000)])
            stored.append(f"a{number}")

    with pytest.raises(JournalError, match=r"No space left on device|full"):
        store_many()
    assert stored
    shutil.copytree(path.parent, tmp_path / "crashed")
    again = Journal(tmp_path / "crashed" / path.name, durability, Limits())
    assert [job.job_id for job in again.kept().jobs] == stored
    again.close()
    filler.unlink()
    journal.commit_nothing()
    journal.commit([StoreJob("10.0.0.1:9461", "last", b'["noop",{},{}]')])
    assert [job.job_id for job in journal.kept().jobs] == [*stored, "last"]
    journal.close()


@needs_root
def test_numbers(small_disk):
    """The sentence says how much is free, how much is needed, and which option keeps how much free."""
    outcome = run_job(FileRules((small_disk,)), "write_text", output="a.txt", text="x")
    assert outcome.code == 507
    assert outcome.message == "The disk of a.txt has 3 MB free; 64 MB must stay free."
    assert "--min-free-mb" in outcome.hint
    outcome = run_job(rules(small_disk), "draw_circles", output="a.bmp", count=1, width=2000, height=2000)
    assert outcome.message == "The disk of a.bmp has 3 MB free; a.bmp needs 11 MB, and 0 MB must stay free."


@needs_root
def test_filled_while_it_writes(small_disk):
    """Room is looked at while a file grows, so that what must stay free stays free."""
    outcome = run_job(
        FileRules((small_disk,), limits=msgspec.structs.replace(DEFAULT_LIMITS, min_free_mb=2)),
        "write_text",
        output="a.txt",
        line="x" * 99,
        count=25_000,
    )
    assert outcome.code == 507
    assert list(small_disk.iterdir()) == []


@needs_root
@pytest.mark.parametrize(("operation", "values"), WRITES)
def test_read_only(small_disk, operation, values):
    """A disk that may only be read is 507 for writing; reading works."""
    fill(small_disk)
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    before = tree(small_disk)
    assert failed(run_job(rules(small_disk), operation, **values)) == 507
    assert tree(small_disk) == before
    assert isinstance(run_job(rules(small_disk), "find_circles", image="in.png"), Result)


@pytest.mark.parametrize(("operation", "values"), [*WRITES[:3], ("find_circles", {"image": "in.png"})])
def test_vanished_root(tmp_path, operation, values):
    """A root that is not there is not made: 507 for writing, 404 for reading. When it is back, jobs run again."""
    root = (tmp_path / "root").resolve()
    outcome = run_job(rules(root), operation, **values)
    assert failed(outcome) == (404 if "image" in values else 507)
    assert str(tmp_path) not in outcome.message + outcome.hint
    assert not root.exists()
    root.mkdir()
    assert isinstance(run_job(rules(root), "write_text", output="a.txt", text="x"), Result)


_AS_NOBODY = """
import os, sys, tempfile
from pathlib import Path
from tests.security.test_disk import WRITES, rules
from tests.security.desk import run_job
root = Path(sys.argv[1])
with tempfile.TemporaryDirectory() as scratch:  # loads all that will be needed: nobody may not read it
    run_job(rules(Path(scratch)), "draw_circles", output="a.png", count=1)
    run_job(rules(Path(scratch)), "find_circles", image="a.png", data="a.csv")
os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
more = [
    ("find_circles", {"image": "secret.png"}),
    ("find_circles", {"image": "closed/in.png"}),
    ("write_text", {"output": "closed/a.txt", "text": "x"}),
    ("write_text", {"output": "theirs.txt", "text": "x", "append": 1}),
    ("find_circles", {"image": "closed/*.png"}),
]
print(*(getattr(run_job(rules(root), operation, **values), "code", 200) for operation, values in [*WRITES, *more]))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="rights work otherwise there")
def test_rights(tmp_path):
    """Files and folders that the worker's user may not use are 403. Run as nobody, because rights do not bind root."""
    import shutil
    import tempfile
    from pathlib import Path

    top = Path(tempfile.mkdtemp()).resolve()  # pytest's own folders are closed to others
    try:
        os.chmod(top, 0o755)  # noqa: PTH101
        root = top / "show"
        root.mkdir()
        fill(root)
        (root / "closed").mkdir()
        write_image(root / "closed" / "in.png", np.zeros((4, 4), np.uint8))
        write_image(root / "secret.png", np.zeros((4, 4), np.uint8))
        (root / "theirs.txt").write_text("theirs")
        (root / "secret.png").chmod(0)
        (root / "closed").chmod(0)
        (root / "out").chmod(0o555)
        if not _IS_ROOT:
            pytest.skip("only root can become nobody")
        before = tree(root)
        done = subprocess.run([sys.executable, "-c", _AS_NOBODY, str(root)], capture_output=True, text=True, timeout=60, check=False)
        assert done.stdout.split(), done.stderr
        *codes, pattern = done.stdout.split()
        assert codes == ["403"] * (len(WRITES) + 4), done.stderr
        assert pattern in ("403", "404")
        assert tree(root) == before
    finally:
        shutil.rmtree(top)


@pytest.mark.parametrize(("operation", "values"), WRITES)
def test_a_folder_of_that_name(tmp_path, operation, values):
    """Where a folder has the output's name, or a file the folder's, the job says so and leaves both alone."""
    root = tmp_path.resolve()
    fill(root)
    name = values.get("output", values.get("overlay")).replace("{n}", "0")
    (root / name).unlink(missing_ok=True)
    (root / name).mkdir()
    before = tree(root)
    assert failed(run_job(rules(root), operation, **values)) == 400
    assert tree(root) == before
    (root / "file.txt").write_bytes(b"old")
    outcome = run_job(
        rules(root),
        operation,
        **{key: value.replace("out/", "file.txt/") if isinstance(value, str) else value for key, value in values.items()},
    )
    assert failed(outcome) == 400
    assert (root / "file.txt").read_bytes() == b"old"


@pytest.mark.parametrize(
    "name", ["show.toe", "journal.sqlite3", "run.sh", "td-image-worker.toml", "plain", ".bashrc", "lib.dll", "a.py", "a.png.part"]
)
def test_files_of_other_programs(tmp_path, name):
    """A file that this program does not write is neither replaced, nor added to, nor made."""
    root = tmp_path.resolve()
    for append in (0, 1):
        assert failed(run_job(rules(root), "write_text", output=name, text="x", append=append)) == 415
    (root / name).write_bytes(b"theirs")
    for append in (0, 1):
        assert failed(run_job(rules(root), "write_text", output=name, text="x", append=append)) == 403
    assert failed(run_job(rules(root), "draw_circles", output=name, count=1)) in (403, 415)
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {name: b"theirs"}


def test_own_files(tmp_path):
    """The log, which may stand below a root, is nobody's output."""
    root = tmp_path.resolve()
    (root / "worker.log").write_bytes(b"line")
    files = FileRules((root,), kept=(root / "worker.log",))
    assert failed(run_job(files, "write_text", output="worker.log", text="x")) == 403
    assert failed(run_job(files, "write_text", output="./WORKER/../worker.log", text="x", append=1)) == 403
    assert (root / "worker.log").read_bytes() == b"line"


# ------------------------------------------------------------------------------------------------- what the dead left behind


def test_killed_while_it_writes(tmp_path):
    """What a killed child left behind is removed at the next start, and the old file stands."""
    root = tmp_path.resolve()
    (root / "a.txt").write_bytes(b"old")
    child = Child(root, DEFAULT_LIMITS)
    child.job("noop")
    with pytest.raises(Hang):  # it is ended in the middle
        child.job("write_text", patience_s=0.0, output="a.txt", line="x" * 50, count=9_999)
    child.close()
    (root / "deep").mkdir()
    (root / f"deep/.b.png.{2**22 + 1}-3.part").write_bytes(b"half")
    sweep.begin([root]).join()
    assert not list(root.rglob("*.part"))
    assert (root / "a.txt").read_bytes().startswith((b"old", b"xxx"))


def test_what_is_not_swept(tmp_path):
    """Files that are being written, files of other kinds, and whatever stands behind a link, are left alone."""
    from worker.files.whole import write_bytes_whole

    root, outside, dead = tmp_path / "root", tmp_path / "outside", 2**22 + 1
    root.mkdir()
    outside.mkdir()
    for path in (
        outside / f".a.{dead}-1.part",
        root / f"a.{dead}-1.part",
        root / ".a.part",
        root / f".a.{dead}-1.part.txt",
        root / f".b.{os.getpid()}-1.part",
    ):
        path.write_bytes(b"x")
    (root / "link").symlink_to(outside)
    (root / f".folder.{dead}-1.part").mkdir()
    (root / f".link.{dead}-1.part").symlink_to(outside / f".a.{dead}-1.part")
    before = tree(tmp_path)

    def blocks():
        yield b"x"
        (temporary,) = root.glob(".c.txt.*.part")
        temporary.rename(root / f".c.txt.{dead}-7.part")  # as another container's would be called
        assert sweep.sweep(root, time.time()) == 0
        assert sweep.sweep(root, time.time() + 100) == 1  # .b, whose process lives but wrote nothing for so long
        (root / f".c.txt.{dead}-7.part").rename(temporary)

    write_bytes_whole(root / "c.txt", blocks())
    (root / "c.txt").unlink()
    del before[f"root/.b.{os.getpid()}-1.part"]
    assert tree(tmp_path) == before


def test_the_sweep_is_quick(tmp_path):
    """It goes on in a thread of its own: a start waits for none of it."""
    for folder in range(20):
        (tmp_path / str(folder)).mkdir()
        for n in range(100):
            (tmp_path / str(folder) / f"{n}.png").touch()
    began = time.monotonic()
    thread = sweep.begin([tmp_path])
    assert time.monotonic() - began < 0.05
    thread.join(5)
    assert not thread.is_alive()


def test_mb():
    """Megabytes are binary ones, as the limits are."""
    assert MB == 1_048_576
