"""Runs jobs as the scheduler would, and sees whether anything outside is touched."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from pathlib import Path

from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.files.paths import FileRules
from worker.tasks.run import run_task


def run_job(rules: FileRules, operation: str, **values) -> Result | Failure:
    """All phases of a job, in this process."""
    params, _ = CATALOG.parse_job(operation, values.items())
    outcome = run_task(Task(1, operation, params), rules, lambda _: None)
    if not isinstance(outcome, Plan):
        return outcome
    result = outcome.base
    for part in outcome.parts:
        done = run_task(Task(1, operation, params, Phase.PART, part=part), rules, lambda _: None)
        if isinstance(done, Failure):
            return done
        result = result.joined(done)
    if outcome.finish:
        last = run_task(Task(1, operation, params, Phase.FINISH, joined=result), rules, lambda _: None)
        return last if isinstance(last, Failure) else result.joined(last)
    return result


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything below a folder: kind, and content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[path.relative_to(folder).as_posix()] = (status.st_mode, content)
    return found


class Watch:
    """Linux tells (inotify) of every file in the watched folders that is opened, read, written, made, moved or removed."""

    _TOUCHED = 0x1 | 0x2 | 0x4 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200  # access, modify, attributes, open, moved from and to, made, removed
    _FOLDER = 0x40000000

    def __init__(self, *folders: Path) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._handle = self._libc.inotify_init1(os.O_NONBLOCK)
        for folder in folders:
            for path in (folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())):
                assert self._libc.inotify_add_watch(self._handle, os.fsencode(path), self._TOUCHED) >= 0

    def touched(self) -> list[str]:
        """The names that were touched since the last call. Looking at a folder's own list of names is told, too."""
        names = []
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._handle, 2**16):
                at = 0
                while at < len(data):
                    _, mask, _, size = struct.unpack_from("iIII", data, at)
                    name = data[at + 16 : at + 16 + size].rstrip(b"\0").decode()
                    names.append(f"{name} ({'folder, ' if mask & self._FOLDER else ''}{mask & 0xFFF:#x})")
                    at += 16 + size
        return names

    def close(self) -> None:
        os.close(self._handle)


HAS_WATCH = sys.platform == "linux"
