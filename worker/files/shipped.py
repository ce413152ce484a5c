"""Files that travel with a task to a machine that does not see the worker's folders: where they are there, and that nothing of them stays.

A node has one scratch folder, and in it one folder for each task that runs:

    td-image-worker-shipped-1000/       of this user, for all nodes of this machine
        node-4711-k3j2x/                of one node; `alive` is locked for as long as it works
            task-a81f/in/0/photo.jpg    what has come with the task
            task-a81f/out/3f.../photo.png
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from worker.errors import ArgumentError, LimitExceeded, ResultLost, Unavailable
from worker.files import handles

log = logging.getLogger(__name__)

_ALIVE = "alive"
_NODE = "node-"


def name_of(text: str) -> str:
    """The last name in a path as its sender spells it.

    Raises:
        ArgumentError: there is none.
    """
    name = re.split(r"[/\\]", text)[-1]
    if name in ("", ".", ".."):
        raise ArgumentError(f"{text} names no file.")
    return name


def place_of_output(folder: Path, text: str) -> Path:
    """Where a task writes the file that is called `text` on the worker's machine: under the same name, in a folder of its own.

    >>> place_of_output(Path("task-1"), "C:/show/out/7.png").as_posix()
    'task-1/out/392752debafd/7.png'

    Raises:
        ArgumentError: it names no file.
    """
    digest = hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=6).hexdigest()
    return folder / "out" / digest / name_of(text)


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder of this node, private to its user. It is removed at the end; what nodes that were killed have left is removed first.

    Raises:
        Unavailable: there is no place for it.
    """
    above = Path(tempfile.gettempdir()).resolve() / f"td-image-worker-shipped{f'-{os.geteuid()}' if sys.platform != 'win32' else ''}"
    try:
        above.mkdir(mode=0o700, exist_ok=True)
        _check_private(above)
        _sweep(above)
        folder = Path(tempfile.mkdtemp(prefix=f"{_NODE}{os.getpid()}-", dir=above))
        alive = os.open(folder / _ALIVE, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise Unavailable(
            f"The folder {above} for files that travel with tasks cannot be used: {error.strerror or error}.",
            "The environment variable TMPDIR names another place.",
        ) from None
    try:
        _lock(alive)
        yield folder
    finally:
        os.close(alive)
        shutil.rmtree(folder, ignore_errors=True)


def _check_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError(f"{folder} is no folder")
    if sys.platform != "win32" and (found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077):
        raise PermissionError(f"{folder} is not private to this user")


def _sweep(above: Path) -> None:
    """Removes the folders of nodes that do not live any more."""
    for folder in above.glob(f"{_NODE}*"):
        if not _lives(folder / _ALIVE):
            log.info("removes %s, which a node has left behind", folder)
            shutil.rmtree(folder, ignore_errors=True)


if sys.platform == "win32":

    def _lock(_descriptor: int) -> None:
        """A file that is open cannot be removed there."""

    def _lives(alive: Path) -> bool:
        try:
            alive.unlink(missing_ok=True)
        except OSError:
            return True
        return False

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _lives(alive: Path) -> bool:
        try:
            descriptor = os.open(alive, os.O_RDONLY | os.O_NOFOLLOW)
        except OSError:  # a node makes its folder first, and then this file
            return alive.parent.exists() and _is_young(alive.parent)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _is_young(folder: Path) -> bool:
        import time

        with contextlib.suppress(OSError):
            return time.time() - folder.lstat().st_mtime < 60
        return False


def unpack(above: Path, names: Sequence[str], files: Sequence[bytes]) -> Path:
    """A new folder for one task, with the files that came with it.

    Args:
        above: the node's scratch folder.
        names: of each file, below the task's folder, with forward slashes.
        files: their bytes.

    Raises:
        ArgumentError: a name leads elsewhere.
        OSError: the disk is full, or cannot be written.
    """
    folder = Path(tempfile.mkdtemp(prefix="task-", dir=above))
    for name, data in zip(names, files, strict=True):
        parts = name.split("/")
        if len(parts) != 3 or set(parts) & {"", ".", ".."}:  # in, a number, a name
            raise ArgumentError(f"{name!r} is no place for a file that came with a task.")
        path = folder.joinpath(*parts)
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        os.utime(path, (1, 1))  # it is whole, so nobody need wait and see whether it grows
    return folder


def pack(folder: Path, texts: Sequence[str], most: int) -> list[bytes]:
    """The bytes of the files that a task has written.

    Args:
        folder: the task's.
        texts: what each is called on the worker's machine.
        most: how many bytes may travel.

    Raises:
        ArgumentError: a text names no file.
        LimitExceeded: there are more bytes.
        ResultLost: one is not there, or is a link.
    """
    files: list[bytes] = []
    try:
        for text in texts:
            with handles.reading(place_of_output(folder, text)) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
                most -= os.fstat(descriptor).st_size
                if most < 0:
                    raise LimitExceeded(
                        "What a part of the job has written is larger than what may travel back.", "Raise the worker's --cluster-ship-mb."
                    )
                files.append(file.read())
    except OSError:
        raise ResultLost from None
    return files
