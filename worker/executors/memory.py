"""The bound on a child's memory, so that one job cannot take the machine's.

Linux: `RLIMIT_DATA`, which counts what a process asks for to write into (heap, arrays, stacks), and neither libraries nor files that it
maps; `RLIMIT_AS` counts those, too, and would refuse work that takes no memory. An allocation over the limit fails at once: NumPy
raises `MemoryError`, OpenCV raises `cv2.error`, both become 413, and the child lives on.
Windows: a job object with a limit for the process, which does the same. Not run on our machines yet.
Elsewhere (macOS enforces no such limit): a thread looks every so often, and ends the child with `OVER_MEMORY`, which becomes 413, too.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
import time
from pathlib import Path

#: The exit code of a child that ended itself because it took too much.
OVER_MEMORY = 86
LOOK_EVERY_S = 0.1

_MB = 2**20
#: Of -1000 to 1000. The worker itself has what its starter gave it, 0 as a rule.
_ENDED_FIRST = 500
#: malloc.h of glibc.
_M_TRIM_THRESHOLD = -1
_M_TOP_PAD = -2
_M_MMAP_THRESHOLD = -3
#: What is larger than a picture of 20 megapixels goes back at once, as before: holes of that size would count against the cap.
_LARGEST_KEPT = 64 * _MB


def cap(limit_mb: int) -> None:
    """Bounds the memory of this process; 0 does not. Called in a child, once, before it imports much."""
    if not limit_mb:
        return
    if sys.platform == "linux":
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = limit_mb * _MB
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))
    elif sys.platform == "win32":
        _put_into_job(limit_mb * _MB)
    else:
        watch(limit_mb)


def end_first() -> None:
    """If the machine or the container has no memory left, Linux ends a child before the worker itself: its job fails with 502."""
    with contextlib.suppress(OSError):
        if sys.platform == "linux":
            Path("/proc/self/oom_score_adj").write_text(str(_ENDED_FIRST), encoding="ascii")


def keep_pages() -> None:
    """Has this process keep the memory that it has freed, for the next picture: on glibc only, elsewhere nothing happens.

    glibc asks the system for each block above 128 kB anew and gives it back at once, so the kernel hands out, and clears, every page of
    every picture again. `give_back` is the other half: without it a child would hold what its largest job took.
    """
    if _GLIBC is not None:
        _GLIBC.mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT)
        _GLIBC.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        _GLIBC.mallopt(_M_TOP_PAD, 64 * _MB)


def give_back() -> None:
    """Gives freed memory back to the system; a child that has nothing to do calls it."""
    if _GLIBC is not None:
        _GLIBC.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, where it is the one whose names these are; musl has none of them."""
    if sys.platform != "linux":
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def watch(limit_mb: int) -> None:
    """Ends this process as soon as it is seen to take more."""
    threading.Thread(target=_watch, args=(limit_mb * _MB,), name="memory-watch", daemon=True).start()


def _watch(limit_bytes: int) -> None:
    import psutil

    process = psutil.Process()
    while process.memory_info().rss <= limit_bytes:
        time.sleep(LOOK_EVERY_S)
    os._exit(OVER_MEMORY)


if sys.platform == "win32":
    from ctypes import wintypes

    _PROCESS_MEMORY = 0x100  # JOB_OBJECT_LIMIT_PROCESS_MEMORY
    _EXTENDED = 9  # JobObjectExtendedLimitInformation

    class _Basic(ctypes.Structure):
        _fields_ = (
            ("PerProcessUserTimeLimit", ctypes.c_int64),
            ("PerJobUserTimeLimit", ctypes.c_int64),
            ("LimitFlags", wintypes.DWORD),
            ("MinimumWorkingSetSize", ctypes.c_size_t),
            ("MaximumWorkingSetSize", ctypes.c_size_t),
            ("ActiveProcessLimit", wintypes.DWORD),
            ("Affinity", ctypes.c_size_t),
            ("PriorityClass", wintypes.DWORD),
            ("SchedulingClass", wintypes.DWORD),
        )

    class _Extended(ctypes.Structure):
        _fields_ = (
            ("BasicLimitInformation", _Basic),
            ("IoInfo", ctypes.c_uint64 * 6),
            ("ProcessMemoryLimit", ctypes.c_size_t),
            ("JobMemoryLimit", ctypes.c_size_t),
            ("PeakProcessMemoryUsed", ctypes.c_size_t),
            ("PeakJobMemoryUsed", ctypes.c_size_t),
        )

    def _put_into_job(limit_bytes: int) -> None:
        """A job object that nobody holds but this process; it goes away with it. If it cannot be made, the watch does its work."""
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.CreateJobObjectW.restype = wintypes.HANDLE
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.SetInformationJobObject.argtypes = (wintypes.HANDLE, ctypes.c_int, ctypes.c_void_p, wintypes.DWORD)
        kernel.AssignProcessToJobObject.argtypes = (wintypes.HANDLE, wintypes.HANDLE)
        limits = _Extended()
        limits.BasicLimitInformation.LimitFlags = _PROCESS_MEMORY
        limits.ProcessMemoryLimit = limit_bytes
        job = kernel.CreateJobObjectW(None, None)
        done = job and kernel.SetInformationJobObject(job, _EXTENDED, ctypes.byref(limits), ctypes.sizeof(limits))
        if not (done and kernel.AssignProcessToJobObject(job, kernel.GetCurrentProcess())):
            watch(limit_bytes // _MB)


_GLIBC = _glibc()
