"""One file copied or moved, whole or not at all, without holding it in memory."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from worker.errors import PathError
from worker.files import handles
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.whole import (
    PATIENCE_S,
    QUIET_S,
    SETTLED_S,
    StillWritten,
    WrittenFile,
    check_target,
    check_writable,
    put_in_place,
    refusal,
    unfinished,
)

#: Bytes that are copied between two reports of progress, and between two looks at the free room.
BLOCK_BYTES = 16 * 2**20
_LOOK_EVERY_S = 0.05
#: The system cannot copy between these two files by itself. They are read and written then.
_NOT_BY_THE_SYSTEM = frozenset({errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF, errno.ETXTBSY})


class Occupied(PathError):
    """There is a file already."""


def blocks_of(size_bytes: int) -> int:
    """How many steps of progress a file of this size has."""
    return max(1, -(-size_bytes // BLOCK_BYTES))


def copy_file(
    source: Path,
    target: Path,
    limits: FileLimits = DEFAULT_LIMITS,
    *,
    overwrite: bool = False,
    removes: bool = False,
    progress: Callable[[int], None] = lambda _blocks: None,
) -> WrittenFile:
    """Copies a file under a temporary name beside its target, with its time, then gives it its name in one step.

    If the process is killed at any moment, the source is there, or the target is whole, or both.

    Args:
        source: absolute, and free of links.
        target: absolute, and free of links. Its folder is made if it is missing.
        limits: for the size of the file and the room that stays free.
        overwrite: replace another file. Without it a target that holds the same bytes counts as copied.
        removes: remove the source, if it is still the file that was copied, when the bytes are on the disk.
        progress: is called with the number of blocks copied.

    Raises:
        MissingFile, StillWritten: the source is not there, or somebody writes it.
        Occupied: the target is there, holds other bytes, and `overwrite` is not set.
        ArgumentError, PathError, LimitExceeded, DiskFull: the source may not be read or removed, or the target not be written.
    """
    with _reading(source) as descriptor:
        found = _settled(descriptor, source)
        limits.check_file(source.name, found.st_size)
        if removes:
            check_writable(found, source.name)
        try:
            with handles.folder(target.parent, make=True) as folder:
                check_target(folder, target.name)
                if overwrite or not _is_done(folder, target, descriptor, found):
                    limits.check_free(target.name, folder.free_bytes(), found.st_size)
                    with unfinished(folder, target.name) as (file, temporary):
                        for done in _pumped(descriptor, file.fileno(), found.st_size):
                            progress(blocks_of(done))
                            limits.check_free(target.name, folder.free_bytes())
                        _finish(file, descriptor, found, source, stored=removes)
                        _placed(folder, temporary, target.name, overwrite=overwrite)
                if removes:
                    folder.flush()
        except OSError as error:
            raise refusal(error, target, "written") from error
    if removes:
        _remove(source, found, target)
    return WrittenFile(target.as_posix(), found.st_size)


def _finish(file: IO[bytes], descriptor: int, found: os.stat_result, source: Path, *, stored: bool) -> None:
    """Looks whether the source is as it was, sets the time, and with `stored` waits until the bytes are on the disk. Closes the file."""
    if _state(os.fstat(descriptor)) != _state(found):
        raise _still_written(source)
    with contextlib.suppress(OSError):  # not every disk keeps times
        os.utime(file.fileno(), ns=(found.st_atime_ns, found.st_mtime_ns))
    if stored:
        os.fsync(file.fileno())
    file.close()


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[int]:
    """A descriptor of the source. Raises what the user can understand; errors within the block are left alone."""
    with contextlib.ExitStack() as stack:
        try:
            descriptor = stack.enter_context(handles.reading(path))
        except OSError as error:
            raise refusal(error, path, "read") from error
        yield descriptor


def _settled(descriptor: int, path: Path) -> os.stat_result:
    """What the file is, after it has not changed for a short time. A time in the future comes from a machine with another clock."""
    began = quiet_since = time.monotonic()
    found = os.fstat(descriptor)
    while not (time.time() - found.st_mtime > SETTLED_S or time.monotonic() - quiet_since >= QUIET_S):
        if time.monotonic() - began > PATIENCE_S:
            raise _still_written(path)
        time.sleep(_LOOK_EVERY_S)
        after = os.fstat(descriptor)
        if _state(after) != _state(found):
            found, quiet_since = after, time.monotonic()
    return found


def _state(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _still_written(path: Path) -> StillWritten:
    return StillWritten(f"{path.name} is still being written.", "It changed meanwhile. Send the job again later.")


def _pumped(source: int, target: int, size: int) -> Iterator[int]:
    """Copies all bytes and yields how many, after each block; by the system itself where it can, which may share the blocks on the disk or
    stay on the file server.
    """
    done, by_system = 0, hasattr(os, "copy_file_range")
    while done < size:
        wanted = min(BLOCK_BYTES, size - done)
        copied = 0
        if by_system:
            try:
                copied = os.copy_file_range(source, target, wanted)
            except OSError as error:
                if error.errno not in _NOT_BY_THE_SYSTEM:
                    raise
            by_system = copied > 0
        if not by_system:
            block = os.read(source, wanted)
            if not block:
                return  # it was cut meanwhile, which the look at its size says
            copied = len(block)
            _write(target, block)
        done += copied
        yield done


def _write(descriptor: int, block: bytes) -> None:
    left = memoryview(block)
    while left:
        left = left[os.write(descriptor, left) :]


def _is_done(folder: handles.Folder, target: Path, source: int, found: os.stat_result) -> bool:
    """Whether the target holds the same bytes. False if there is none.

    Raises:
        Occupied: it holds others.
    """
    try:
        descriptor = folder.open(target.name, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        same = os.fstat(descriptor).st_size == found.st_size and _same_bytes(source, descriptor)
    finally:
        os.close(descriptor)
    if not same:
        raise _occupied(target.name)
    return True


def _occupied(name: str) -> Occupied:
    return Occupied(f"{name} is there already and holds something else, so it is left as it is.", "overwrite=1 replaces it.")


def _same_bytes(one: int, other: int) -> bool:
    os.lseek(one, 0, os.SEEK_SET)
    with os.fdopen(one, "rb", closefd=False) as first, os.fdopen(other, "rb", closefd=False) as second:
        while block := first.read(2**20):
            if block != second.read(len(block)):
                return False
    return True


def _placed(folder: handles.Folder, temporary: str, name: str, *, overwrite: bool) -> None:
    """Gives the file its name. Without `overwrite` as a second name, because that never replaces what somebody puts there meanwhile."""
    if not overwrite:
        try:
            folder.link(temporary, name)
        except FileExistsError:
            raise _occupied(name) from None
        except OSError:  # a disk without second names, such as exFAT
            with contextlib.suppress(FileNotFoundError):
                folder.status(name)
                raise _occupied(name) from None
        else:
            return
    put_in_place(folder, temporary, name)


def _remove(source: Path, found: os.stat_result, target: Path) -> None:
    try:
        with handles.folder(source.parent) as folder:
            same = _state(folder.status(source.name)) == _state(found)
            if same:
                folder.unlink(source.name)
    except FileNotFoundError:
        return  # somebody else has removed it
    except OSError as error:
        refused = refusal(error, source, "removed")
        raise PathError(f"{refused.message} Its copy {target.name} is whole.", refused.hint) from error
    if not same:
        raise StillWritten(
            f"{source.name} changed while it was moved, so it stays where it is; {target.name} holds what it was before.",
            "Send the job again with overwrite=1.",
        )
