"""The end of a replaced file is a thread's business, and no more than that changes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path

import pytest

from worker.files import handles, replaced
from worker.files.whole import write_bytes_whole

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no descriptors that only hold a file")

LARGE, SMALL = b"a" * replaced.SMALLEST, b"b" * 100


@pytest.fixture(autouse=True)
def at_rest():
    """What an earlier test has left to the thread is done."""
    wait_for(lambda: replaced._free._value == replaced.MOST)


@pytest.fixture
def closed(monkeypatch):
    """The sizes of the files that were closed, by whom, and whether they still had a name."""
    seen = []
    real = replaced._close

    def close(descriptor):
        status = os.fstat(descriptor)
        seen.append((status.st_size, threading.current_thread().name, status.st_nlink))
        real(descriptor)

    monkeypatch.setattr(replaced, "_close", close)
    return seen


def open_files():
    names = set()
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own
            names.add(str(entry.readlink()))
    return names


def wait_for(true):
    deadline = time.monotonic() + 10
    while not true() and time.monotonic() < deadline:
        time.sleep(0.005)
    assert true()


def test_a_thread_closes_the_old_file(tmp_path, closed):
    """Whoever writes the new one does not wait for the end of the old one; nothing stays open."""
    path = tmp_path / "a.txt"
    for text in (LARGE, LARGE + b"1", LARGE + b"2"):
        write_bytes_whole(path, (text,))
        assert path.read_bytes() == text
    wait_for(lambda: len(closed) == 2)
    assert closed == [(len(LARGE), "replaced files", 0), (len(LARGE) + 1, "replaced files", 0)]
    wait_for(lambda: not any(str(tmp_path) in name for name in open_files()))


@pytest.mark.parametrize("old", [None, SMALL, b"a" * (replaced.SMALLEST - 1), b"a" * (replaced.LARGEST + 1)])
def test_what_is_not_held(tmp_path, closed, old):
    """No file, a small one, whose end takes no time, or a very large one, whose room is wanted at once."""
    path = tmp_path / "a.txt"
    if old is not None:
        path.write_bytes(old)
    write_bytes_whole(path, (LARGE,))
    assert path.read_bytes() == LARGE
    assert replaced._held.empty()
    assert closed == []


def test_a_slow_disk(tmp_path, monkeypatch):
    """If the ends take longer than the writing, the writing waits for them again: only so many files without a name take up room."""
    go, began, ended = threading.Event(), [], []
    real = replaced._close

    def close(descriptor):
        began.append(descriptor)
        go.wait(10)
        real(descriptor)
        ended.append(descriptor)

    monkeypatch.setattr(replaced, "_close", close)
    path = tmp_path / "a.txt"
    path.write_bytes(LARGE)
    for _ in range(replaced.MOST + 3):
        write_bytes_whole(path, (LARGE,))
    gone = [name for name in open_files() if str(tmp_path) in name]
    assert gone == [f"{path} (deleted)"]  # all by the one name that they had
    assert len(began) <= 1
    wait_for(lambda: (replaced._held.qsize(), len(began)) == (replaced.MOST - 1, 1))
    go.set()
    wait_for(lambda: len(ended) == replaced.MOST)
    write_bytes_whole(path, (LARGE,))
    wait_for(lambda: len(ended) == replaced.MOST + 1)


def test_no_thread(tmp_path, monkeypatch, closed):
    """If the system gives no thread, it is as it was."""

    def fails(_thread):
        raise RuntimeError

    monkeypatch.setattr(replaced, "_thread", None)
    monkeypatch.setattr(threading.Thread, "start", fails)
    path = tmp_path / "a.txt"
    for _ in range(replaced.MOST + 2):
        write_bytes_whole(path, (LARGE,))
    assert path.read_bytes() == LARGE
    assert closed == []
    assert not any(str(tmp_path) in name for name in open_files())


def test_a_failed_renaming(tmp_path, monkeypatch, closed):
    """The old file stays, and what held it is closed."""
    path = tmp_path / "a.txt"
    path.write_bytes(LARGE)

    def fails(*_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "replace", fails)
    with pytest.raises(Exception, match="Input/output error"):
        write_bytes_whole(path, (SMALL,))
    wait_for(lambda: closed == [(len(LARGE), "replaced files", 1)])
    assert path.read_bytes() == LARGE


def test_a_link_is_not_followed(tmp_path, closed):
    """A link in the place of the file is replaced, and what it leads to is not even held."""
    aim, path = tmp_path / "aim.txt", tmp_path / "a.txt"
    aim.write_bytes(LARGE)
    path.symlink_to(aim)
    with handles.folder(tmp_path) as folder, replaced.held(folder, "a.txt"):
        pass
    assert closed == []
