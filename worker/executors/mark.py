"""Which task a child has begun: a word in a page of memory that it shares with its parent, and with nobody else.

The parent looks at it when the child has died, or says nothing any more. To send a message at each beginning instead would wake the parent
once more for each task.
"""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Callable
from multiprocessing import reduction
from typing import Any

_SIZE = mmap.PAGESIZE


class Mark:
    """The word; 0 before the first task. The parent makes one for each child, and gives it to the child when it starts that.

    >>> mark = Mark.made()
    >>> mark.set(7)
    >>> mark.task_id
    7
    >>> mark.close()
    """

    def __init__(self, page: mmap.mmap, name: str = "", handle: int = -1) -> None:
        self._page = page
        self._word = memoryview(page).cast("Q")
        self._name = name
        self._handle = handle

    @classmethod
    def made(cls) -> Mark:
        """A new one.

        Raises:
            OSError: the system has no handles left.
        """
        if sys.platform == "win32":
            name = f"td-image-worker-{os.urandom(16).hex()}"
            return cls(mmap.mmap(-1, _SIZE, tagname=name), name)
        handle = _nameless()
        try:
            os.ftruncate(handle, _SIZE)
            return cls(mmap.mmap(handle, _SIZE), handle=handle)
        except BaseException:
            os.close(handle)
            raise

    def __reduce__(self) -> tuple[Callable[..., Mark], tuple[object, ...]]:
        """On its way to a child that is being started."""
        if sys.platform == "win32":
            return _found_by_name, (self._name,)
        return _found_by_handle, (reduction.DupFd(self._handle),)

    @property
    def task_id(self) -> int:
        """The newest task that was begun. It is the child who says so, so it may be any number."""
        return self._word[0]

    def set(self, task_id: int) -> None:
        """From here on a death is this task's."""
        self._word[0] = task_id

    def handed_over(self) -> None:
        """The child has its own by now."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def close(self) -> None:
        """Gives the page back."""
        self.handed_over()
        self._word.release()
        self._page.close()


def _found_by_handle(passed_on: Any) -> Mark:
    """In the child."""
    handle = passed_on.detach()
    try:
        return Mark(mmap.mmap(handle, _SIZE))
    finally:
        os.close(handle)


if sys.platform == "win32":

    def _found_by_name(name: str) -> Mark:
        """In the child."""
        return Mark(mmap.mmap(-1, _SIZE, tagname=name))


def _nameless() -> int:
    """A handle of memory that no name leads to."""
    if sys.platform == "linux":
        return os.memfd_create("td-image-worker-mark")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
