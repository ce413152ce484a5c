"""Waits for the end of another process: TouchDesigner, which started the worker and may crash. The system waits; nothing polls."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import sys
import threading
from collections.abc import Callable

_SYNCHRONIZE = 0x00100000
_INFINITE = 0xFFFFFFFF


def watch(pid: int, ended: Callable[[], None]) -> None:
    """Calls `ended` in a thread of its own as soon as the process has ended; at once if there is none."""
    threading.Thread(target=_watch, args=(pid, ended), name="parent-watch", daemon=True).start()


def _watch(pid: int, ended: Callable[[], None]) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has ended already
        _wait(pid)
    ended()


if sys.platform == "linux":

    def _wait(pid: int) -> None:
        descriptor = os.pidfd_open(pid)
        try:
            select.select([descriptor], [], [])
        finally:
            os.close(descriptor)

elif sys.platform == "win32":

    def _wait(pid: int) -> None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        handle = kernel.OpenProcess(_SYNCHRONIZE, False, pid)
        if not handle:
            raise ProcessLookupError(pid)
        try:
            kernel.WaitForSingleObject(handle, _INFINITE)
        finally:
            kernel.CloseHandle(handle)

else:

    def _wait(pid: int) -> None:  # macOS
        queue = select.kqueue()
        try:
            event = select.kevent(pid, select.KQ_FILTER_PROC, select.KQ_EV_ADD | select.KQ_EV_ONESHOT, select.KQ_NOTE_EXIT)
            queue.control([event], 1)
        finally:
            queue.close()
