"""Removes the temporary files that dead processes left behind.

A file is written as `.name.<process>-<number>.part` beside its target, and locked while it is open (`files.whole`). So a file is left
over if nobody locks it and its process is gone. Process ids alone are not enough: containers that share a folder have their own.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

log = logging.getLogger(__name__)

_LEFT = re.compile(r"\.(?P<name>.*)\.(?P<pid>\d{1,10})-\d+\.part", re.DOTALL)
#: If the process id of a file is in use again, the file is left alone until it has not changed for this time.
QUIET_S = 10.0
MAX_ENTRIES = 1_000_000
#: After this many entries the search rests for a moment, so that it does not delay the first jobs.
_PACE = 200
_REST_S = 0.002


def begin(roots: Sequence[Path]) -> threading.Thread:
    """Cleans below the roots, in a thread of its own, so that nothing waits for it."""
    thread = threading.Thread(target=_sweep_all, args=(tuple(roots),), name="sweep", daemon=True)
    thread.start()
    return thread


def sweep(root: Path, now: float) -> int:
    """Removes leftover files below one root, without following links. Returns their number."""
    removed = seen = 0
    for folder, names, handle in _folders(root):
        for name in names:
            seen += 1
            if seen % _PACE == 0:
                time.sleep(_REST_S)
            if (found := _LEFT.fullmatch(name)) and _is_left(folder, name, int(found["pid"]), handle, now):
                with contextlib.suppress(OSError):
                    os.unlink(name if handle is not None else folder / name, dir_fd=handle)
                    removed += 1
        if seen > MAX_ENTRIES:
            log.warning("looked for temporary files of dead processes only among the first %d files below %s", seen, root)
            break
    return removed


def _sweep_all(roots: tuple[Path, ...]) -> None:
    for root in roots:
        try:
            removed = sweep(root, time.time())
        except OSError as error:
            log.warning("could not look for temporary files below %s: %s", root, error)
            continue
        if removed:
            log.info("removed %d temporary files of dead processes below %s", removed, root)


def _folders(root: Path) -> Iterator[tuple[Path, list[str], int | None]]:
    """Each folder below, its files, and its handle if the system has handles."""
    if sys.platform == "win32":
        for folder, _, names in os.walk(root):
            yield Path(folder), names, None
    else:
        for folder, _, names, handle in os.fwalk(root):
            yield Path(folder), names, handle


def _is_left(folder: Path, name: str, pid: int, handle: int | None, now: float) -> bool:
    place = name if handle is not None else folder / name
    try:
        status = os.stat(place, dir_fd=handle, follow_symlinks=False)
    except OSError:
        return False
    if not stat.S_ISREG(status.st_mode) or (_is_alive(pid) and now - status.st_mtime < QUIET_S):
        return False
    return not _is_held(name, handle)


def _is_alive(pid: int) -> bool:
    import psutil

    return bool(psutil.pid_exists(pid))


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
