"""Files for libraries that want a name and open the file themselves. As in `worker.files.whole`: nobody sees half a file, and on Linux the
name leads to the file or folder that was checked, whatever is put into its path meanwhile.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from worker.files import handles
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.whole import check_target, put_in_place, refusal, unfinished


@contextlib.contextmanager
def made_by_name(path: Path, limits: FileLimits = DEFAULT_LIMITS) -> Iterator[tuple[str, Callable[[], None]]]:
    """A name to write under. The file gets its own name in one step, if the block comes to its end; otherwise nothing is left.

    Args:
        path: absolute, and free of links, as `FileRules.to_write` gives it. Its folder is made if it is missing.
        limits: for the size of the file and the room that stays free.

    Yields:
        The name, which ends as `path` does; and a check of the limits, to be called every so often.

    Raises:
        ArgumentError, PathError, LimitExceeded, DiskFull: the file cannot be written; the two latter also from the check.
    """
    try:
        with handles.folder(path.parent, make=True) as folder:
            check_target(folder, path.name)
            with unfinished(folder, path.name, path.suffix) as (file, temporary):

                def check() -> None:
                    limits.check_file(path.name, os.fstat(file.fileno()).st_size)
                    limits.check_free(path.name, folder.free_bytes())

                yield folder.name_of(temporary), check
                check()
                file.close()
                put_in_place(folder, temporary, path.name)
    except OSError as error:
        raise refusal(error, path, "written") from error


@contextlib.contextmanager
def read_by_name(path: Path, limits: FileLimits = DEFAULT_LIMITS) -> Iterator[tuple[IO[bytes], str]]:
    """A file to read.

    Yields:
        The open file, and a name for the library.

    Raises:
        MissingFile, PathError, LimitExceeded: it is not there, may not be read, or is too large.
    """
    try:
        with handles.reading(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            limits.check_file(path.name, os.fstat(descriptor).st_size)
            yield file, handles.name_of(descriptor) or str(path)
    except OSError as error:
        raise refusal(error, path, "read") from error
