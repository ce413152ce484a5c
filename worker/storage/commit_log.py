"""The journal's newest commits, in front of its database: two small files that are only appended to.

Each job waits for two commits. One of SQLite takes 18 to 22 us, 45 to 50 after a millisecond of idleness, and 145 after five. To append the
same records takes 2, 13 and 50: one `os.write`. So a commit appends here, and the records are brought into the tables, "folded", many at a
time, when nobody waits. What is folded is dropped from the file.

    header    b"tdiwlog1", then 8 bytes by which a database and its log know each other
    commit    length and CRC-32 of the rest, 4 bytes each, big-endian
              MessagePack: [number, wall clock in s, running time in s, [row, ...]], with the rows of `rows.written`

The numbers of the commits rise by one. The transaction that folds a commit notes its number in the database, too: whenever the worker dies,
no commit is folded twice, and none is left out. A kill may cut off the last commit, which then was not answered. A loss of power may take
more; what is behind the first commit that is not whole is not believed, also if it stands in the other file.

Commits go to one file while the other one is folded and emptied. Then the files change places. So nobody waits for the folding.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO
from typing import Final as Constant

import msgspec

from worker.storage import schema

log = logging.getLogger(__name__)

MAGIC: Constant = b"tdiwlog1"
HEADER: Constant = len(MAGIC) + 8
#: About so many bytes are folded in one transaction.
PART_BYTES: Constant = 2**17
_HEAD: Constant = struct.Struct(">II")
_FLAGS: Constant = os.O_RDWR | getattr(os, "O_BINARY", 0)
_LEFT_OUT: Constant = "The last %d bytes of %s are no whole commits of the journal, or some before them are lost. They were left out."
_encode: Constant = msgspec.msgpack.Encoder().encode


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """One commit, as it stands in the file.

    Attributes:
        number: rises by one from commit to commit.
        at: when it was made, in seconds since 1970.
        up: the same in seconds that workers have run with this journal.
        rows: see `rows.written`.
    """

    number: int
    at: float
    up: float
    rows: list[list[Any]]


_decode: Constant = msgspec.msgpack.Decoder(Commit).decode


def names(path: Path) -> tuple[Path, Path]:
    """The two files of the log of the database `path`."""
    one, two = (path.with_name(path.name + ending) for ending in schema.COMMITS)
    return one, two


def framed(payload: bytes) -> bytes:
    """An encoded commit as it stands in the file."""
    return _HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def whole_commits(stream: BinaryIO, size: int) -> Iterator[Commit]:
    """The commits from here on, up to the first that is cut off, damaged, or not the next one. Reads one at a time.

    Args:
        stream: stands behind the header. After the last commit it stands somewhere behind its end.
        size: how many bytes follow.
    """
    number = None
    while size >= _HEAD.size and len(head := stream.read(_HEAD.size)) == _HEAD.size:
        length, checksum = _HEAD.unpack(head)
        size -= _HEAD.size + length
        if size < 0 or zlib.crc32(payload := stream.read(length)) != checksum:
            return
        try:
            commit = _decode(payload)
        except msgspec.DecodeError:  # zeros, as some file systems leave them: their checksum is right
            return
        if number is not None and commit.number != number + 1:
            return
        number = commit.number
        yield commit


class CommitLog:
    """The two open files.

    `append` and `turn` belong to one thread at a time. Another one may call `part`, `drop` and `empty` meanwhile.

    Args:
        path: the database.
        mark: what the database says its log is marked with; None if it does not know.
        folded: the number of the newest commit that is in the database.

    Attributes:
        mark: 8 bytes.
        number: of the newest commit.
        size: of the file that is appended to, in bytes.

    Raises:
        OSError: they cannot be opened.
    """

    def __init__(self, path: Path, mark: bytes | None, folded: int) -> None:
        self._names = names(path)
        for name in self._names:
            if name.exists() and not name.is_file():  # a pipe would be waited for without end
                raise OSError(errno.EINVAL, f"{name.name} beside it is no file. Rename it, then start the worker again")
        self._first_may_be_any = mark is None
        self.mark = mark or next(filter(None, map(_mark_of, self._names)), os.urandom(8))
        self.number = folded
        self._files: list[int] = []
        try:
            self._files += (_opened(name, self.mark) for name in self._names)
        except BaseException:
            self.close()
            raise
        self._active = 0
        self.size = HEADER
        self._torn = False  # whether there may be something behind `size`
        self._payloads: list[bytes] = []  # of the file that is appended to
        self._turned: list[bytes] = []  # of the other one, as far as they are not folded
        self._full = True  # the other one is still to be emptied

    def left(self) -> Iterator[list[Commit]]:
        """What an earlier run has left and the database does not have: in order, and as much at a time as is folded at once.

        Then comes `begin`.
        """
        firsts = []
        for name, file in zip(self._names, self._files, strict=True):
            with _reading(file) as stream:
                first = next(whole_commits(stream, _rest(file)), None)
            firsts.append((first.number if first else 0, name, file))
        for _, name, file in sorted(firsts):
            yield from filter(None, self._left_in(name, file))

    def _left_in(self, name: Path, file: int) -> Iterator[list[Commit]]:
        part: list[Commit] = []
        begin = end = HEADER
        size = HEADER + _rest(file)
        with _reading(file) as stream:
            for commit in whole_commits(stream, size - HEADER):
                if commit.number > self.number:
                    if commit.number != self.number + 1 and not self._first_may_be_any:  # those between them are lost
                        break
                    self._first_may_be_any = False
                    self.number = commit.number
                    part.append(commit)
                end = stream.tell()
                if end - begin > PART_BYTES:
                    yield part
                    part, begin = [], end
        yield part
        if end < size:
            log.warning(_LEFT_OUT, size - end, name)

    def begin(self) -> None:
        """Begins with empty files. What was left out has numbers that come again, so it must not be there after a loss of power.

        Raises:
            OSError: they cannot be emptied.
        """
        for file in self._files:
            if _rest(file):
                _cut(file, HEADER)
                os.fsync(file)
            os.lseek(file, HEADER, os.SEEK_SET)
        self._full = self._torn = False

    def append(self, rows: Sequence[Sequence[Any]], at: float, up: float) -> None:
        """Writes a commit, or nothing.

        Raises:
            OSError: nothing was written.
        """
        if self._torn:
            self._cut()
        payload = _encode((self.number + 1, at, up, rows))
        frame = framed(payload)
        try:
            _write_all(self._files[self._active], frame)
        except OSError:
            self._torn = True
            with contextlib.suppress(OSError):  # then the next one tries it again, before it writes
                self._cut()
            raise
        self.number += 1
        self.size += len(frame)
        self._payloads.append(payload)

    def turn(self) -> bool:
        """Appends to the other file from now on. Whether it does: not while the other one is still to be emptied, nor without need."""
        if self._full or not self._payloads:
            return False
        self._turned, self._payloads = self._payloads, []
        self._full = True
        self._active = 1 - self._active
        self.size = HEADER
        return True

    @property
    def is_turned(self) -> bool:
        """Whether a file was turned away that is not emptied yet."""
        return self._full

    @property
    def is_empty(self) -> bool:
        """Whether all commits are in the database, and no file holds one."""
        return not self._full and not self._payloads

    def part(self) -> list[Commit]:
        """The oldest commits of the file that was turned away, as many as are folded at once."""
        part: list[Commit] = []
        size = 0
        for payload in self._turned:
            size += len(payload)
            if part and size > PART_BYTES:
                break
            part.append(_decode(payload))
        return part

    def drop(self, part: Sequence[Commit]) -> None:
        """These commits are folded."""
        del self._turned[: len(part)]

    def empty(self) -> None:
        """Empties the file that was turned away. Its commits are in the database, and that is on the disk.

        Raises:
            OSError: it cannot be.
        """
        if self._full:
            _cut(self._files[1 - self._active], HEADER)
            self._full = False

    def _cut(self) -> None:
        _cut(self._files[self._active], self.size)
        self._torn = False

    def close(self, *, remove: bool = False) -> None:
        """Closes the files.

        Args:
            remove: removes them, too: everything in them is in the database.
        """
        while self._files:
            with contextlib.suppress(OSError):
                os.close(self._files.pop())
        if remove:
            for name in self._names:
                with contextlib.suppress(OSError):
                    name.unlink()


def _opened(name: Path, mark: bytes) -> int:
    """The file, with its header. One with another header is set aside."""
    schema.make_private(name)
    file = os.open(name, _FLAGS)
    try:
        header = os.read(file, HEADER)
        if not any(header):  # the power was lost before its first block was on the disk
            if (rest := _rest(file)) > 0:
                log.warning(_LEFT_OUT, rest, name)
            header = b""
        if len(header) < HEADER:  # it is new, or an earlier start ended here
            _cut(file, 0)
            _write_all(file, MAGIC + mark)
            header = MAGIC + mark
    except BaseException:
        os.close(file)
        raise
    if header == MAGIC + mark:
        return file
    os.close(file)
    aside = schema.set_aside(name)
    log.warning("%s belongs to another journal, or to none. It was renamed to %s.", name, aside)
    return _opened(name, mark)


def _reading(file: int) -> BinaryIO:
    os.lseek(file, HEADER, os.SEEK_SET)
    return open(file, "rb", closefd=False)


def _rest(file: int) -> int:
    return os.fstat(file).st_size - HEADER


def _mark_of(name: Path) -> bytes | None:
    with contextlib.suppress(FileNotFoundError), name.open("rb") as file:
        header = file.read(HEADER)
        return header[len(MAGIC) :] if len(header) == HEADER and header.startswith(MAGIC) else None
    return None


def _cut(file: int, size: int) -> None:
    os.ftruncate(file, size)
    os.lseek(file, size, os.SEEK_SET)


def _write_all(file: int, data: bytes) -> None:
    written = os.write(file, data)
    while written < len(data):  # a disk that is nearly full takes the first part
        written += os.write(file, memoryview(data)[written:])
