"""Opens files and folders without ever following a link, so that what was checked is what is opened.

`worker.files.paths` resolves a path first and checks where it leads. Between that and the opening somebody may put a link in the place of
a folder. Therefore the resolved path, in which no link is left, is walked from the top, each folder opened below the handle of the one
before it, and none of them may be a link (`O_NOFOLLOW`): then the file that is opened is the one that was checked, or none is.

    with folder(path.parent, make=True) as place:       /  ->  data  ->  show  ->  out         four handles, one after the other
        place.open(".a.png.part", ...)                  everything else happens below the last one
        place.rename(".a.png.part", "a.png")

Windows has no such handles in Python. There the path is opened as a whole, and the system is asked which file the handle belongs to.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

#: Whether files can be opened below the handle of their folder.
HAS_HANDLES = {os.open, os.mkdir, os.rename, os.unlink, os.stat} <= os.supports_dir_fd and os.scandir in os.supports_fd

_NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | _NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
#: A folder in the path need not be readable, if the system knows the difference.
_STEP = _FOLDER | getattr(os, "O_PATH", 0)
#: Neither reads nor writes: it asks for no rights, and nothing happens to a device. 0 if the system has no such descriptors.
_PIN = getattr(os, "O_PATH", 0) and getattr(os, "O_PATH", 0) | _NOFOLLOW | getattr(os, "O_CLOEXEC", 0)
#: No waiting for the other end of a pipe, no terminal that becomes ours, no line ends that are changed.
_FILE = _NOFOLLOW | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


#: A folder: its path without links, its device and its inode.
Place = tuple[Path, int, int]
#: Those that `hold` was given: each by the parts of its path.
_held: dict[tuple[str, ...], tuple[int, int]] = {}


class Replaced(OSError):
    """Another folder is where one that is held should be."""


class NotRegular(OSError):
    """This is not a regular file but a pipe, a device or a socket."""


class Folder:
    """An open folder, so that nobody can replace it by another. Made by `folder`."""

    def __init__(self, path: Path, handle: int | None) -> None:
        self._path = path
        self._handle = handle

    def open(self, name: str, flags: int) -> int:
        """A descriptor of a regular file; never through a link.

        Raises:
            NotRegular: it is something else.
            OSError: as `os.open`, with ELOOP for a link.
        """
        with contextlib.suppress(FileNotFoundError):
            check_regular(self.status(name), name)  # before the opening, which can do something to a device
        descriptor = os.open(self._at(name), flags | _FILE, 0o666, dir_fd=self._handle)
        try:
            check_regular(os.fstat(descriptor), name)
            if self._handle is None:
                _check_place(descriptor, self._path / name)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    @property
    def handle(self) -> int | None:
        """Its descriptor; None on a system without."""
        return self._handle

    def name_of(self, name: str) -> str:
        """The name of a file in this folder, for a library that opens it itself: through the handle where the system has such names."""
        held = None if self._handle is None else name_of(self._handle)
        return f"{held}/{name}" if held else str(self._path / name)

    def status(self, name: str) -> os.stat_result:
        """About the name itself, also if it is a link."""
        return os.stat(self._at(name), dir_fd=self._handle, follow_symlinks=False)

    def may_write(self, name: str) -> bool:
        """Whether this user may change the file of that name. On a disk that is read-only as a whole, the opening says so."""
        if self._handle is not None and sys.platform != "win32" and os.fstatvfs(self._handle).f_flag & os.ST_RDONLY:
            return True
        return os.access(self._at(name), os.W_OK, dir_fd=self._handle)

    def pin(self, name: str) -> int | None:
        """A descriptor that keeps the file on the disk after its last name has gone; None if the system has no such descriptors.

        A link is not followed.
        """
        return os.open(name, _PIN, dir_fd=self._handle) if _PIN and self._handle is not None else None

    def rename(self, old: str, new: str) -> None:
        """Renames in one step and replaces what is called `new`. A link of that name is replaced, not followed."""
        os.replace(self._at(old), self._at(new), src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def link(self, old: str, new: str) -> None:
        """A second name for a file. Raises FileExistsError if the name is taken, and other errors on a disk that has no second names."""
        os.link(self._at(old), self._at(new), src_dir_fd=self._handle, dst_dir_fd=self._handle, follow_symlinks=False)

    def flush(self) -> None:
        """Has the disk write down which names are in the folder, if the system can be asked for that."""
        if self._handle is None:
            return
        with contextlib.suppress(OSError):
            readable = os.open(".", _FOLDER, dir_fd=self._handle)
            try:
                os.fsync(readable)
            finally:
                os.close(readable)

    def unlink(self, name: str) -> None:
        os.unlink(self._at(name), dir_fd=self._handle)

    def free_bytes(self) -> int:
        """Free room on the disk, in bytes; -1 if the system does not say."""
        return free_bytes(self._path if self._handle is None else self._handle)

    def _at(self, name: str) -> str | Path:
        return name if self._handle is not None else self._path / name


def name_of(descriptor: int) -> str | None:
    """A name for what is open, which leads there whatever happens to its path; None on a system without such names."""
    return f"/proc/self/fd/{descriptor}" if sys.platform == "linux" else None


def place_of(path: Path) -> Place | None:
    """Which folder is there now; None if there is none."""
    try:
        found = path.stat(follow_symlinks=False)
    except OSError:
        return None
    return path, found.st_dev, found.st_ino


def hold(places: Iterable[Place]) -> None:
    """From now on nothing is opened in this process below one of these paths unless the same folder is still there.

    By device and inode and not by an open handle: an open one would keep a disk from being removed.
    """
    _held.clear()
    _held.update({path.parts: (device, inode) for path, device, inode in places})


@contextlib.contextmanager
def folder(path: Path, *, make: bool = False) -> Iterator[Folder]:
    """Holds the folder at an absolute path without links; with `make` it is made if it is missing.

    Raises:
        OSError: ELOOP if there is a link in the path, ENOTDIR for a file, and every other error of the system.
    """
    if not HAS_HANDLES:
        if make:
            path.mkdir(parents=True, exist_ok=True)
        _check_links(path)
        yield Folder(path, None)
        return
    handle = _walked(path, make=make)
    try:
        yield Folder(path, handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def reading(path: Path) -> Iterator[int]:
    """A descriptor of the regular file at an absolute path without links.

    Raises:
        OSError: as `Folder.open`.
    """
    with folder(path.parent) as place:
        descriptor = place.open(path.name, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def listed(path: Path) -> Iterator[tuple[Iterator[os.DirEntry[str]], int | None]]:
    """The entries of a folder, one by one, and its handle if the system has handles. Raises as `folder`."""
    if not HAS_HANDLES:
        _check_links(path)
        with os.scandir(path) as found:
            yield found, None
        return
    place = _walked(path)
    try:
        handle = os.open(".", _FOLDER, dir_fd=place)
    finally:
        os.close(place)
    try:
        with os.scandir(handle) as found:
            yield found, handle
    finally:
        os.close(handle)


def entries(path: Path) -> list[tuple[str, os.stat_result]]:
    """The names in a folder and what they are; what has gone away meanwhile is left out. Raises as `folder`."""
    if not HAS_HANDLES:
        _check_links(path)
        return list(_entries(path))
    handle = _walked(path)
    try:
        readable = os.open(".", _FOLDER, dir_fd=handle)
    finally:
        os.close(handle)
    try:
        return list(_entries(readable))
    finally:
        os.close(readable)


def free_bytes(place: Path | int) -> int:
    """Free room on the disk of a path or a handle, in bytes; -1 if the system does not say."""
    if sys.platform == "win32":
        import shutil

        return shutil.disk_usage(place).free if isinstance(place, Path) else -1
    try:
        found = os.fstatvfs(place) if isinstance(place, int) else os.statvfs(place)
    except OSError:
        return -1
    return found.f_bavail * found.f_frsize if found.f_blocks else -1


def _entries(place: Path | int) -> Iterator[tuple[str, os.stat_result]]:
    with os.scandir(place) as found:
        for entry in found:
            with contextlib.suppress(FileNotFoundError):
                yield entry.name, entry.stat(follow_symlinks=False)


def _walked(path: Path, *, make: bool = False) -> int:
    parts = path.parts
    held = {len(root): identity for root, identity in _held.items() if parts[: len(root)] == root}
    handle = os.open(path.anchor, _STEP)
    for depth, name in enumerate(parts[1:], start=2):
        try:
            inner = _step(handle, name, make=make and depth not in held)
        finally:
            os.close(handle)
        handle = inner
        if depth in held:
            try:
                _check_same(os.fstat(handle), held[depth], name)
            except Replaced:
                os.close(handle)
                raise
    return handle


def _check_same(found: os.stat_result, identity: tuple[int, int], name: str) -> None:
    if (found.st_dev, found.st_ino) != identity:
        raise Replaced(errno.ESTALE, "it is not the folder that the worker started with", name)


def _step(handle: int, name: str, *, make: bool) -> int:
    try:
        return os.open(name, _STEP, dir_fd=handle)
    except FileNotFoundError:
        if not make:
            raise
    except NotADirectoryError:
        if stat.S_ISREG(os.stat(name, dir_fd=handle, follow_symlinks=False).st_mode):
            raise
        raise OSError(errno.ELOOP, "there is a link in the path, or was a moment ago") from None
    with contextlib.suppress(FileExistsError):  # somebody else makes it, too
        os.mkdir(name, dir_fd=handle)
    return os.open(name, _STEP, dir_fd=handle)


def check_regular(status: os.stat_result, name: str) -> None:
    """Raises IsADirectoryError, OSError with ELOOP, or NotRegular for everything that is not a regular file."""
    mode = status.st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), name)
    if stat.S_ISLNK(mode):
        raise OSError(errno.ELOOP, "it is a link now")
    if not stat.S_ISREG(mode):
        raise NotRegular(errno.EINVAL, "it is no regular file")


def _check_links(path: Path) -> None:
    """For systems without handles: raises OSError if the path contains a link."""
    if os.path.normcase(os.path.realpath(path)) != os.path.normcase(path):
        raise OSError(errno.ELOOP, "there is a link in the path")
    for root, identity in _held.items():
        if path.parts[: len(root)] == root:
            _check_same(Path(*root).stat(), identity, root[-1])


def _check_place(descriptor: int, path: Path) -> None:
    """On Windows: the system's own name of the open file must be the one that was checked. Not run on our machines yet."""
    if sys.platform == "win32":
        import ctypes
        import msvcrt

        text = ctypes.create_unicode_buffer(2**15)
        handle = msvcrt.get_osfhandle(descriptor)
        if not ctypes.windll.kernel32.GetFinalPathNameByHandleW(ctypes.c_void_p(handle), text, len(text), 0):
            raise ctypes.WinError()
        name = text.value.replace("\\\\?\\UNC\\", "\\\\").replace("\\\\?\\", "")
        if os.path.normcase(name) != os.path.normcase(path):
            raise OSError(errno.ELOOP, "there is a link in the path")
