"""The end of a file that another one has replaced, in a thread, so that nobody who waits for the new one waits for it.

A file goes when its last name and its last descriptor go, and Linux frees its blocks then, within that call: in a renaming over it, as a
rule. ext4 waits for the disk meanwhile, 2 to 6 ms for a file of 2 MB, nearly all of it without work. So a descriptor is held over the
renaming, and a thread closes it. The renaming itself is as before, and so is what a loss of power leaves: the old file or the new one.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterator

from worker.files import handles

#: Of a smaller file the end takes no time. Of a larger one the room is wanted at once, and it took much longer to write.
SMALLEST, LARGEST = 2**18, 2**24
#: The most at a time: a disk that is slow must not fill up with files that have no name.
MOST = 4

_free = threading.BoundedSemaphore(MOST)
_held: queue.SimpleQueue[int] = queue.SimpleQueue()
_starting = threading.Lock()
_thread: threading.Thread | None = None


@contextlib.contextmanager
def held(folder: handles.Folder, name: str) -> Iterator[None]:
    """While the file of that name is replaced, if there is one. On systems other than Linux this does nothing."""
    descriptor = _opened(folder, name)
    try:
        yield
    finally:
        if descriptor is not None:
            _held.put(descriptor)


def _opened(folder: handles.Folder, name: str) -> int | None:
    with contextlib.suppress(OSError):
        if not SMALLEST <= folder.status(name).st_size <= LARGEST or not _free.acquire(blocking=False):
            return None
        try:
            descriptor = folder.pin(name)
            if descriptor is not None and _is_running():
                return descriptor
            if descriptor is not None:
                os.close(descriptor)
        except OSError:
            pass  # it has just gone
        _free.release()
    return None


def _is_running() -> bool:
    global _thread  # noqa: PLW0603 - one for the process
    with _starting:
        if _thread is None:
            thread = threading.Thread(target=_close_for_ever, name="replaced files", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # the system gives no thread
                return False
            _thread = thread
    return True


def _close_for_ever() -> None:
    while True:
        descriptor = _held.get()
        with contextlib.suppress(OSError):
            _close(descriptor)
        _free.release()


def _close(descriptor: int) -> None:
    os.close(descriptor)
