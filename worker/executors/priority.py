"""Child processes give way to everything else on the machine, such as TouchDesigner's frame."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

_BELOW_NORMAL = 0x4000  # BELOW_NORMAL_PRIORITY_CLASS of SetPriorityClass
_AUTOGROUP = Path("/proc/self/autogroup")


def lower(nice: int) -> None:
    """Lowers the priority of this process; 0 leaves it. Called in a child, once, before it imports much.

    Args:
        nice: is added to the nice value, 0 to 19. Windows knows one step only, so every number above 0 is its "below normal".
    """
    if not nice:
        return
    if sys.platform == "win32":
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.GetCurrentProcess.restype = ctypes.c_void_p
        kernel.SetPriorityClass.argtypes = (ctypes.c_void_p, ctypes.c_uint32)
        kernel.SetPriorityClass(kernel.GetCurrentProcess(), _BELOW_NORMAL)
        return
    with contextlib.suppress(OSError):  # a system that forbids even this has reasons of its own
        os.nice(nice)
    if sys.platform == "linux" and os.getsid(0) == os.getppid():
        _lower_session(nice)


def _lower_session(nice: int) -> None:
    """Lowers the session that the worker leads, as it does if TouchDesigner has started it. Linux on desktops shares the processor out
    among sessions first, and nice values count only within one: sched(7), "The autogroup feature".
    """
    with contextlib.suppress(OSError):
        _AUTOGROUP.write_text(str(nice), encoding="ascii")
