"""The cleaning at the start in trees that somebody has made to hinder it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from worker.files import sweep

LEFT = ".a.png.1999999999-0.part"
HANDLES = 64


def deep(folder, depth):
    """A chain of folders, longer than a path may be in one go; the handle of the last one."""
    handle = os.open(folder, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=handle)
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle = inner
    return handle


def remove(folder):
    """`rmtree` of some Pythons takes a handle for each level."""
    handle, depth = os.open(folder, os.O_RDONLY), 0
    while "d" in os.listdir(handle):  # noqa: PTH208 - a handle has no path
        inner = os.open("d", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        handle, depth = inner, depth + 1
    for _ in range(depth):
        above = os.open("..", os.O_RDONLY, dir_fd=handle)
        os.close(handle)
        os.rmdir("d", dir_fd=above)
        handle = above
    os.close(handle)


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: handles of folders")
def test_a_deep_tree(tmp_path):
    """1,500 nested folders are gone through with at most 64 handles, and what was left in the last one is removed."""
    import resource

    root = tmp_path.resolve()
    bottom = deep(root, 1500)
    os.close(os.open(LEFT, os.O_CREAT | os.O_WRONLY, dir_fd=bottom))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, (path.name for path in Path("/proc/self/fd").iterdir()))) if sys.platform == "linux" else soft - HANDLES
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + HANDLES, hard))
    try:
        removed = sweep.sweep(root, time.time())
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = os.listdir(bottom)  # noqa: PTH208 - a handle has no path
    os.close(bottom)
    remove(root)
    assert (removed, left) == (1, [])


def test_links_are_not_followed(tmp_path):
    """What looks like a left-over elsewhere stays."""
    (tmp_path / "root").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / LEFT).write_bytes(b"x")
    (tmp_path / "root" / LEFT).write_bytes(b"x")
    (tmp_path / "root" / "link").symlink_to(tmp_path / "elsewhere")
    assert sweep.sweep((tmp_path / "root").resolve(), time.time()) == 1
    assert (tmp_path / "elsewhere" / LEFT).exists()


def test_a_root_that_breaks_the_search_keeps_no_other_from_being_cleaned(tmp_path, monkeypatch, caplog):
    """Each root is cleaned by itself, and what went wrong is said."""
    (tmp_path / LEFT).write_bytes(b"x")
    real = sweep._sweep

    def broken(root, now):
        if root.name == "bad":
            raise RecursionError("too deep")
        return real(root, now)

    monkeypatch.setattr(sweep, "_sweep", broken)
    sweep.begin((tmp_path / "bad", tmp_path.resolve())).join()
    assert not (tmp_path / LEFT).exists()
    assert "could not look for temporary files below" in caplog.text


def test_a_bound(tmp_path, monkeypatch, caplog):
    """A tree without end is left at some point."""
    for n in range(30):
        (tmp_path / f"{n}.txt").write_bytes(b"")
    monkeypatch.setattr(sweep, "MAX_ENTRIES", 10)
    assert sweep.sweep(tmp_path.resolve(), time.time()) == 0
    assert "only among the first 11 files" in caplog.text


def test_a_process_id_that_is_in_use_again(tmp_path, monkeypatch):
    """As in a container that was started anew: what is too new to tell is looked at once more, and is not left for the next start."""
    monkeypatch.setattr(sweep, "QUIET_S", 0.5)
    left = tmp_path / f".a.png.{os.getpid()}-1.part"
    left.touch()
    assert sweep.sweep(tmp_path, time.time()) == 0
    sweep.begin((tmp_path,)).join(60)
    assert not left.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: Windows has no zombies")
def test_a_process_that_has_ended_and_was_not_waited_for(tmp_path):
    """In a container whose first process is slow to do that, a killed writer is one for seconds."""
    process = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.PIPE)
    try:
        process.stdout.read()
        while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        left = tmp_path / f".a.png.{process.pid}-1.part"
        left.touch()
        assert sweep.sweep(tmp_path, time.time()) == 1
        assert not left.exists()
    finally:
        process.communicate()


def test_a_number_that_no_process_can_have(tmp_path):
    """It keeps nothing else from being cleaned."""
    for name in (".a.png.9999999999-0.part", LEFT):
        (tmp_path / name).touch()
    assert sweep.sweep(tmp_path, time.time()) == 2
    assert list(tmp_path.iterdir()) == []
