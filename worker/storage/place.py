"""Whether the journal's files are still where the next start will look for them. What is deleted lives on while it is open."""

from __future__ import annotations

import os
import time
from pathlib import Path

from worker.storage.schema import JournalError

#: FAT counts in two seconds.
_MOMENT_NS = 5 * 10**9


class Place:
    """The names of open files, and what stands there now.

    Args:
        path: the database.
        others: its logs, in the same folder.

    Raises:
        OSError: one of them is not there.
    """

    def __init__(self, path: Path, *others: Path) -> None:
        self._names = tuple(map(str, (path, *others)))
        self._folder_name = str(path.parent)
        self._folder = _identity(self._folder_name)
        self._files = self._files_there()
        self._unchanged: tuple[int, int, int] | None = None

    def is_same(self) -> bool:
        """Whether the files are as they were, and so are found by their names. `check` says what is not.

        Asked after commits. A folder notes when something in it is made, removed or renamed; while that is the same, they are.
        """
        try:
            folder = os.stat(self._folder_name)  # noqa: PTH116 - twice as fast
            seen = folder.st_dev, folder.st_ino, folder.st_mtime_ns
            if seen == self._unchanged:
                return True
            same = self._files_there() == self._files
        except OSError:
            return False
        # What happens to it in the same moment leaves the same time, and the moments of some file systems are long.
        settled = same and abs(time.time_ns() - folder.st_mtime_ns) > _MOMENT_NS
        self._unchanged = seen if settled else None
        return same

    def check(self) -> None:
        """Looks whether everything is as it was.

        Raises:
            FileNotFoundError: the files were deleted; their folder is the same.
            JournalError: anything else is different.
        """
        try:
            if _identity(self._folder_name) != self._folder:
                raise JournalError(f"the folder {self._folder_name} was replaced by another one")
        except OSError as error:
            raise JournalError(f"the folder {self._folder_name} has gone") from error
        try:
            if self._files_there() != self._files:
                raise JournalError(f"the file {self._names[0]} was replaced by another one")
        except FileNotFoundError:
            raise
        except OSError as error:
            raise JournalError(f"{self._names[0]}: {error.strerror}") from error

    def _files_there(self) -> tuple[tuple[int, int], ...]:
        """Device and number of each file, by its name."""
        return tuple(map(_identity, self._names))


def _identity(name: str) -> tuple[int, int]:
    """Device and number of a file or folder, by its name."""
    status = os.stat(name)  # noqa: PTH116 - twice as fast
    return status.st_dev, status.st_ino
