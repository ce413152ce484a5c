"""Removes the temporary files that dead processes left behind.

A file is written as `.name.<process>-<number>.part` beside its target (of a video its ending follows), and locked while it is open
(`files.whole`). So a file is left over if nobody locks it and its process is gone. Process ids alone are not enough: containers that share
a folder have their own.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from worker.files import handles
from worker.files.paths import VIDEO_ENDINGS

log = logging.getLogger(__name__)

_VIDEO = "|".join(ending[1:] for ending in sorted(VIDEO_ENDINGS))
_LEFT = re.compile(rf"\.(?P<name>.*)\.(?P<pid>\d{{1,10}})-\d+\.part(\.({_VIDEO}))?", re.DOTALL)
#: If the process id of a file is in use again, as in a container that was started anew, the file is left alone until it has not changed for
#: this time. Then all is looked at once more.
QUIET_S = 10.0
MAX_ENTRIES = 1_000_000
#: After this many entries the search rests for a moment, so that it does not delay the first jobs.
_PACE = 200
_REST_S = 0.002
#: Going down to a folder costs something, too: how many levels count as one entry.
_STEPS_PER_ENTRY = 16
#: No job writes below a longer path.
_LONGEST_PATH = 4096


def begin(roots: Sequence[Path]) -> threading.Thread:
    """Cleans below the roots, in a thread of its own, so that nothing waits for it."""
    thread = threading.Thread(target=_sweep_all, args=(tuple(roots),), name="sweep files", daemon=True)
    thread.start()
    return thread


def sweep(root: Path, now: float) -> int:
    """Removes leftover files below one root, without following links. Returns their number.

    Each folder is reached from the top anew, with two or three handles, so that a deep tree of folders takes neither handles nor a stack.
    """
    return _sweep(root, now)[0]


def _sweep(root: Path, now: float) -> tuple[int, int]:
    """How many were removed, and how many may be left over, but are too new to tell."""
    removed = unsure = steps = 0
    waiting = [root]
    while waiting:
        path = waiting.pop()
        steps += len(path.parts) // _STEPS_PER_ENTRY
        with contextlib.suppress(OSError), handles.listed(path) as (entries, handle):  # not ours to read, or gone, or a link by now
            for entry in entries:
                steps += 1
                if steps % _PACE == 0:
                    time.sleep(_REST_S)
                if steps > MAX_ENTRIES:
                    log.warning("looked for temporary files of dead processes only among the first %d files below %s", steps, root)
                    return removed, unsure
                if entry.is_dir(follow_symlinks=False):
                    if len(os.fsencode(path)) + len(os.fsencode(entry.name)) < _LONGEST_PATH:
                        waiting.append(path / entry.name)
                elif found := _LEFT.fullmatch(entry.name):
                    is_left = _is_left(path, entry.name, int(found["pid"]), handle, now)
                    unsure += is_left is None
                    if is_left:
                        with contextlib.suppress(OSError):
                            os.unlink(entry.name if handle is not None else path / entry.name, dir_fd=handle)
                            removed += 1
    return removed, unsure


def _sweep_all(roots: tuple[Path, ...]) -> None:
    again = _sweep_each(roots)
    if again:
        time.sleep(QUIET_S)
        _sweep_each(again)


def _sweep_each(roots: tuple[Path, ...]) -> tuple[Path, ...]:
    """Returns those that have to be looked at once more."""
    again = []
    for root in roots:
        try:
            removed, unsure = _sweep(root, time.time())
        except Exception as error:  # noqa: BLE001 - one root must not keep the others from being cleaned
            log.warning("could not look for temporary files below %s: %r", root, error)
            continue
        if removed:
            log.info("removed %d temporary files of dead processes below %s", removed, root)
        if unsure:
            again.append(root)
    return tuple(again)


def _is_left(folder: Path, name: str, pid: int, handle: int | None, now: float) -> bool | None:
    """None if only time can tell."""
    place = name if handle is not None else folder / name
    try:
        status = os.stat(place, dir_fd=handle, follow_symlinks=False)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or _is_held(name, handle):
        return False
    return None if _is_alive(pid) and now - status.st_mtime < QUIET_S else True


def _is_alive(pid: int) -> bool:
    """One that has ended and waits to be heard of (a zombie, for seconds in some containers) writes no more."""
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:  # another user's
        return True


def _is_held(name: str, handle: int | None) -> bool:
    """Whether somebody has it open and locked. Windows removes no open file anyway."""
    if sys.platform == "win32":
        return False
    import fcntl

    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=handle)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no locks on this file system
        return False
    finally:
        os.close(descriptor)
    return False
