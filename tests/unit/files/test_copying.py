"""One file copied or moved: whole or not at all, whatever happens in between."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import pytest

from worker.errors import DiskFull, LimitExceeded, MissingFile, PathError
from worker.files import copying
from worker.files.copying import BLOCK_BYTES, Occupied, blocks_of, copy_file
from worker.files.limits import FileLimits
from worker.files.whole import StillWritten

OLD = (1_000_000_000, 1_000_000_000)


@pytest.fixture
def place(tmp_path):
    return tmp_path.resolve()


def made(path, data=b"take one", times=OLD):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, times)
    return path


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("removes", [False, True])
@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES, 2 * BLOCK_BYTES + 5])
@pytest.mark.parametrize("by_system", [True, False])
def test_copy(place, monkeypatch, removes, size, by_system):
    """The bytes and the time arrive, block by block; only a move removes the source."""
    if not by_system:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    data = os.urandom(min(size, 1000)) * (size // 1000 + 1)
    source, steps = made(place / "a.mov", data[:size]), []
    written = copy_file(source, place / "new" / "b.mov", removes=removes, progress=steps.append)
    assert (written.path, written.size_bytes) == ((place / "new" / "b.mov").as_posix(), size)
    assert (place / "new" / "b.mov").read_bytes() == data[:size]
    assert (place / "new" / "b.mov").stat().st_mtime == OLD[1]
    assert names(place) == (["new/b.mov"] if removes else ["a.mov", "new/b.mov"])
    assert not size or steps[-1] == blocks_of(size)
    assert steps == sorted(steps)


@pytest.mark.parametrize("error", [18, 22, 38, 95])
def test_the_system_does_not_copy(place, monkeypatch, error):
    """Where the system cannot copy between two files, they are read and written."""

    def refuse(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "copy_file_range", refuse, raising=False)
    copy_file(made(place / "a.wav"), place / "b.wav")
    assert (place / "b.wav").read_bytes() == b"take one"


@pytest.mark.parametrize("removes", [False, True])
def test_occupied(place, removes):
    """Another file of that name stays, unless it may be replaced; then nothing of it is left."""
    source, other = made(place / "a.txt"), made(place / "b.txt", b"another, longer text")
    with pytest.raises(Occupied, match=r"b.txt is there already") as caught:
        copy_file(source, other, removes=removes)
    assert caught.value.hint == "overwrite=1 replaces it."
    assert (names(place), other.read_bytes()) == (["a.txt", "b.txt"], b"another, longer text")
    same_size = made(place / "c.txt", b"take two")
    with pytest.raises(Occupied):
        copy_file(source, same_size, removes=removes)
    copy_file(source, other, overwrite=True, removes=removes)
    assert other.read_bytes() == b"take one"
    assert source.exists() != removes


@pytest.mark.parametrize("removes", [False, True])
def test_same_bytes(place, removes):
    """A target that holds the same bytes is done: a job that was broken off can be sent again. The target is not written anew."""
    source, other = made(place / "a.txt"), made(place / "b.txt")
    before = other.stat().st_ino
    assert copy_file(source, other, removes=removes).size_bytes == 8
    assert other.stat().st_ino == before
    assert source.exists() != removes


def test_somebody_else_is_faster(place, monkeypatch):
    """A file that appears while ours is copied is not replaced."""
    source = made(place / "a.txt")

    def write(descriptor, size):
        made(place / "b.txt", b"theirs")
        return real(descriptor, size)

    real = os.read
    monkeypatch.delattr(os, "copy_file_range", raising=False)
    monkeypatch.setattr(os, "read", write)
    with pytest.raises(Occupied):
        copy_file(source, place / "b.txt", removes=True)
    assert (names(place), (place / "b.txt").read_bytes()) == (["a.txt", "b.txt"], b"theirs")


def test_a_disk_without_second_names(place, monkeypatch):
    """There the file gets its name as every other; what is there is still not replaced."""

    def refuse(*_, **__):
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    copy_file(made(place / "a.txt"), place / "b.txt")
    assert names(place) == ["a.txt", "b.txt"]
    with pytest.raises(Occupied):
        copy_file(made(place / "c.txt", b"more"), place / "b.txt")


@pytest.mark.parametrize("when", ["while it is copied", "afterwards"])
def test_a_source_that_changes(place, monkeypatch, when):
    """A source that somebody writes meanwhile stays where it is."""
    source = made(place / "a.txt", b"x" * 100)

    def change(*arguments, **keywords):
        result = real(*arguments, **keywords)
        made(source, b"y" * 101)
        return result

    name = "copy_file_range" if when == "while it is copied" else "link"
    if not hasattr(os, name):
        pytest.skip(f"not on this system: os.{name}")
    real = getattr(os, name)
    monkeypatch.setattr(os, name, change)
    with pytest.raises(StillWritten):
        copy_file(source, place / "b.txt", removes=True)
    assert source.read_bytes() == b"y" * 101
    assert names(place) == (["a.txt"] if when == "while it is copied" else ["a.txt", "b.txt"])


def test_another_file_in_its_place(place, monkeypatch):
    """The name of the source may mean another file by then; that one is not removed."""
    source = made(place / "a.txt")

    def exchange(*arguments, **keywords):
        real(*arguments, **keywords)
        made(place / "other.txt").replace(source)

    real = os.link
    monkeypatch.setattr(os, "link", exchange)
    with pytest.raises(StillWritten):
        copy_file(source, place / "b.txt", removes=True)
    assert names(place) == ["a.txt", "b.txt"]


def test_a_fresh_file_is_waited_for(place, monkeypatch):
    """A file that goes on growing is refused after a short time."""
    monkeypatch.setattr(copying, "PATIENCE_S", 0.3)
    monkeypatch.setattr(copying, "QUIET_S", 10.0)
    (place / "a.txt").write_bytes(b"begun")
    with pytest.raises(StillWritten):
        copy_file(place / "a.txt", place / "b.txt")
    assert names(place) == ["a.txt"]


def test_refused(place):
    """What is not there, a folder, too much, no room, read-only: each has its error, and nothing is left behind."""
    source = made(place / "a.txt")
    with pytest.raises(MissingFile, match=r"There is no file none.txt"):
        copy_file(place / "none.txt", place / "b.txt")
    (place / "folder.txt").mkdir()
    for one, other in ((place / "folder.txt", place / "b.txt"), (source, place / "folder.txt")):
        with pytest.raises(PathError.__bases__[0], match=r"folder.txt is a folder"):
            copy_file(one, other, overwrite=True)
    big = made(place / "big.bin", bytes(2 * 2**20))
    with pytest.raises(LimitExceeded, match=r"big.bin is larger than one file may be: 2 MB, and the limit is 1 MB"):
        copy_file(big, place / "b.bin", FileLimits(file_mb=1))
    with pytest.raises(DiskFull):
        copy_file(source, place / "b.txt", FileLimits(min_free_mb=2**40))
    source.chmod(0o444)
    with pytest.raises(PathError, match=r"a.txt is read-only"):
        copy_file(source, place / "b.txt", removes=True)
    assert names(place) == ["a.txt", "big.bin"]


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: SIGKILL")
@pytest.mark.parametrize("overwrite", [0, 1])
@pytest.mark.parametrize("call", ["copy_file_range", "utime", "fsync", "link", "replace", "unlink"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed(place, overwrite, call, when):
    """Killed before or after any of its steps, a move leaves the source, or the whole target, or both; and can be done again."""
    data = os.urandom(100_000)
    source, target = made(place / "a.bin", data), place / "out" / "b.bin"
    if overwrite:
        made(target, b"old")
    program = f"""
        import os, signal
        from pathlib import Path
        from worker.files.copying import copy_file
        real = os.{call}
        def step(*arguments, **keywords):
            if {when == "before"}:
                os.kill(os.getpid(), signal.SIGKILL)
            real(*arguments, **keywords)
            os.kill(os.getpid(), signal.SIGKILL)
        os.{call} = step
        copy_file(Path({str(source)!r}), Path({str(target)!r}), overwrite={overwrite == 1}, removes=True)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False, timeout=60)
    never = call == ("link" if overwrite else "replace")
    assert done.returncode == (0 if never else -signal.SIGKILL)
    found = target.read_bytes() if target.exists() else b"none"
    assert found in (data, b"old" if overwrite else b"none")
    assert found == data or source.read_bytes() == data
    if source.exists():
        copy_file(source, target, overwrite=overwrite == 1, removes=True)
    assert target.read_bytes() == data
    assert not source.exists()
