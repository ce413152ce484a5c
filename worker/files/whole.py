"""Files in and out as bytes, whole. Nobody sees half a file, neither ours nor one that another program is writing."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import stat
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import msgspec

from worker.errors import ArgumentError, DiskFull, InternalError, MissingFile, PathError, WorkerError
from worker.files import handles, replaced
from worker.files.limits import DEFAULT_LIMITS, FileLimits

PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"


def is_whole(data: bytes) -> bool:
    """Whether the end of the file shows that it is complete. False also if the format does not show it."""
    try:
        if data.startswith(PNG):
            return data.endswith(_PNG_END)
        if data.startswith(b"\xff\xd8"):
            return data.endswith(b"\xff\xd9")
        if data.startswith(b"GIF8"):
            return data.endswith(b"\0;")
        if data.startswith(b"RIFF"):
            return len(data) >= 12 and struct.unpack_from("<I", data, 4)[0] + 8 == len(data)
        if data.startswith(b"BM"):
            return bool(struct.unpack_from("<I", data, 2)[0] == len(data))
        if data[4:8] in (b"ftyp", b"jP  "):
            return _ends_with_a_box(data)
    except struct.error:
        pass
    return False


def _ends_with_a_box(data: bytes) -> bool:
    """JPEG 2000 and AVIF are chains of boxes: a size, a name, a body. Size 1 means that a longer number follows, 0 means "to the end"."""
    at = 0
    while at + 8 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, at + 8)
        if size < 8:
            return False
        at += size
    return at == len(data)


class WrittenFile(msgspec.Struct, frozen=True):
    """A complete file. Width and height are pixels, 0 if it is not an image."""

    path: str
    size_bytes: int
    width: int = 0
    height: int = 0


#: If a file has not changed for this time, it is read at once.
SETTLED_S = 1.0
#: A file that has just changed is complete if its end shows it, or if it does not change for this time.
QUIET_S = 0.25
#: A file that goes on changing is refused after this time.
PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.05

_counter = itertools.count()


class StillWritten(MissingFile):
    """The file is still being written."""

    transient = True


def read_bytes(path: Path, limits: FileLimits = DEFAULT_LIMITS) -> bytes:
    """Reads a whole file. If somebody is writing it, this waits a short time. Raises as `read_image`."""
    try:
        with handles.reading(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            return _settled(file, path, limits)
    except OSError as error:
        raise refusal(error, path, "read") from error


def _settled(file: IO[bytes], path: Path, limits: FileLimits) -> bytes:
    """The bytes of a file that did not change while it was read and looks complete."""
    began = quiet_since = time.monotonic()
    state: tuple[int, int] | None = None
    while True:
        found = os.fstat(file.fileno())
        limits.check_file(path.name, found.st_size)
        now = time.monotonic()
        if (found.st_size, found.st_mtime_ns) != state:
            fresh = state is None
            state, quiet_since = (found.st_size, found.st_mtime_ns), now
            due = fresh  # the first reading may be enough; later ones wait until the file is quiet
        else:
            due = now - quiet_since >= QUIET_S
        if due:
            file.seek(0)
            data = file.read(found.st_size + 1)
            after = os.fstat(file.fileno())
            same = len(data) == found.st_size and (after.st_size, after.st_mtime_ns) == state
            # A time in the future comes from a machine with another clock and means nothing.
            settled = now > quiet_since or time.time() - found.st_mtime > SETTLED_S or is_whole(data)
            if same and settled:
                return data
        if now - began > PATIENCE_S:
            raise StillWritten(f"{path.name} is still being written.", f"It changed for {PATIENCE_S:g} s. Send the job again later.")
        time.sleep(_LOOK_EVERY_S)


def write_bytes_whole(path: Path, blocks: Iterable[bytes], limits: FileLimits = DEFAULT_LIMITS) -> WrittenFile:
    """Writes a file under a temporary name beside its own, then gives it its name in one step.

    Args:
        path: absolute, and free of links, as `FileRules.to_write` gives it. Its folder is made if it is missing.
        blocks: its bytes.
        limits: for the size of the file and the room that stays free.

    Raises:
        ArgumentError, PathError, LimitExceeded, DiskFull: the file cannot be written. Then nothing is left behind.
    """
    try:
        with handles.folder(path.parent, make=True) as folder:
            check_target(folder, path.name)
            with unfinished(folder, path.name) as (file, temporary):
                size = _copied(blocks, file, folder, path.name, limits)
                file.close()
                put_in_place(folder, temporary, path.name)
    except OSError as error:
        raise refusal(error, path, "written") from error
    return WrittenFile(path.as_posix(), size)


def append_bytes(
    path: Path, blocks: Iterable[bytes], between: bytes = b"", limits: FileLimits = DEFAULT_LIMITS, *, head: bytes = b""
) -> WrittenFile:
    """Adds to the end of a file, in one piece, also while other processes do the same; on an error the file is as before.

    Args:
        path: the file, absolute and free of links. It and its folder are made if they are missing.
        blocks: what is added.
        between: written before them, unless the file is empty.
        limits: for the size of the file and the room that stays free.
        head: written before them if the file is empty.

    Raises:
        ArgumentError, PathError, LimitExceeded, DiskFull: the file cannot be written.
    """
    try:
        with handles.folder(path.parent, make=True) as folder, _to_append(folder, path) as (descriptor, made):
            before = os.fstat(descriptor).st_size
            file = os.fdopen(descriptor, "ab", closefd=False)  # it is closed before the file is cut
            try:
                with file:
                    size = _copied(itertools.chain((between if before else head,), blocks), file, folder, path.name, limits, before=before)
            except BaseException:
                os.ftruncate(descriptor, before)
                if made:
                    folder.unlink(path.name)
                raise
    except OSError as error:
        raise refusal(error, path, "written") from error
    return WrittenFile(path.as_posix(), size)


def _copied(blocks: Iterable[bytes], file: IO[bytes], folder: handles.Folder, name: str, limits: FileLimits, *, before: int = 0) -> int:
    """Writes the blocks and checks the file's size and the free room at each. Returns the final size."""
    size = before
    for block in blocks:
        size += len(block)
        limits.check_file(name, size)
        limits.check_free(name, folder.free_bytes(), len(block))
        file.write(block)
    return size


def check_target(folder: handles.Folder, name: str) -> None:
    """Only a file with bytes in it is replaced, or nothing. Between this and the renaming a name may change; no content is lost then."""
    with contextlib.suppress(FileNotFoundError):
        status = folder.status(name)
        handles.check_regular(status, name)
        check_writable(status, name)
        if not folder.may_write(name):
            raise _read_only(name)


def check_writable(status: os.stat_result, name: str) -> None:
    """Renaming asks only for rights in the folder, and root has all; but somebody meant that a file stays as it is."""
    if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH):
        raise _read_only(name)


def _read_only(name: str) -> PathError:
    return PathError(f"{name} is read-only, so it is not changed.", "Give the worker's user the right to write it, or choose another name.")


@contextlib.contextmanager
def _to_append(folder: handles.Folder, path: Path) -> Iterator[tuple[int, bool]]:
    """A locked descriptor of the file, and whether the file is new.

    Raises:
        PathError: the file has several names. Some may stand outside the roots, and appending would change what they name.
    """
    with _lock_by_name(path):
        while True:
            try:
                descriptor, made = folder.open(path.name, os.O_RDWR), False
            except FileNotFoundError:
                try:
                    descriptor, made = folder.open(path.name, os.O_RDWR | os.O_CREAT | os.O_EXCL), True
                except FileExistsError:
                    continue
            try:
                _lock(descriptor)
                if not _is_still(folder, path.name, descriptor):
                    continue
                check_writable(os.fstat(descriptor), path.name)
                if os.fstat(descriptor).st_nlink > 1:
                    raise PathError(f"{path.name} has a second name somewhere else (a hard link), so the worker does not append to it.")
                yield descriptor, made
            finally:
                os.close(descriptor)
            return


def _is_still(folder: handles.Folder, name: str, descriptor: int) -> bool:
    """Whether the file was not replaced or removed while we waited for the lock."""
    try:
        return os.path.samestat(folder.status(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import hashlib
    import tempfile

    from filelock import FileLock

    def _lock(_descriptor: int) -> None:
        """A lock on the file itself would keep readers away, so another file is locked; see below."""

    def _lock_by_name(path: Path) -> FileLock:
        """One lock per file, in the folder for temporary files, so that no lock file is beside the user's files."""
        name = hashlib.sha256(os.path.normcase(path).encode(errors="surrogateescape")).hexdigest()[:32]
        return FileLock(Path(tempfile.gettempdir()) / f"td-image-worker-{name}.lock")

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Until the descriptor is closed. On a file system without locks, writers that append at the same time are not kept apart."""
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _lock_by_name(_path: Path) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


@contextlib.contextmanager
def unfinished(folder: handles.Folder, name: str, ending: str = "") -> Iterator[tuple[IO[bytes], str]]:
    """A new file beside `name` that only we know. It is removed unless it has been renamed. Its name ends in .part and then `ending`.

    Containers that share a folder may share process ids, too, so a name that is taken is passed over. While the file is open it is
    locked, so that `worker.files.sweep` leaves it alone.
    """
    while True:
        temporary = f".{_cut(name)}.{os.getpid()}-{next(_counter)}.part{ending}"
        try:
            descriptor = folder.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "wb") as file:
                _lock(descriptor)
                yield file, temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                folder.unlink(temporary)
        return


def _cut(name: str) -> str:
    """The beginning of a name, short enough for a temporary name: systems count bytes."""
    return name.encode(errors="surrogateescape")[:100].decode(errors="ignore")


def put_in_place(folder: handles.Folder, temporary: str, name: str) -> None:
    """Renames. On Windows a file that is being read cannot be replaced, so this tries again for a short time."""
    with replaced.held(folder, name):
        for pause_s in (0.01, 0.02, 0.04, 0.08, 0.16):
            try:
                folder.rename(temporary, name)
            except PermissionError:
                if os.name != "nt":
                    raise
                time.sleep(pause_s)
            else:
                return
        folder.rename(temporary, name)


def refusal(error: OSError, path: Path, verb: str) -> WorkerError:
    """The error for what the system said."""
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PathError(f"{path.name} may not be {verb}: {reason}.", "Check the file's rights, and whether another program holds it open.")
    if isinstance(error, handles.NotRegular):
        return PathError(f"{path.name} may not be {verb}: it is a pipe, a device or a socket.")
    if isinstance(error, handles.Replaced):
        return PathError(
            f"{path.name} may not be {verb}: {error.filename} is not the folder any more that the worker started with.",
            "If its disk was connected again, start the worker again.",
        )
    if _leads_to_itself(path):
        return PathError(f"{path.name} may not be {verb}: it is a link that leads to itself.")
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return PathError(f"{path.name} may not be {verb}: a folder or link in its path was changed meanwhile.", "Send the job again.")
    if isinstance(error, IsADirectoryError) or os.path.isdir(path):
        return ArgumentError(f"{path.name} is a folder; the name of a file is needed.")
    if verb == "read":
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return MissingFile(
            f"There is no file {path.name} in {path.parent.as_posix()}." if missing else f"{path.name} cannot be read: {reason}."
        )
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EINVAL):
        return ArgumentError(f"{path.name} cannot be {verb}: {reason}.")
    if error.errno is None:
        return InternalError(f"{path.name} cannot be {verb}: {reason}.")
    return DiskFull(f"{path.name} cannot be {verb}: {reason}.")


def _leads_to_itself(path: Path) -> bool:
    try:
        path.stat()
    except OSError as error:
        return error.errno == errno.ELOOP
    return False
