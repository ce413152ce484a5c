"""Writes pictures as frames, for programs that show them: a Script TOP in TouchDesigner reads the newest one (`td/frames.py`).

Several children may write into one file. Each locks it for the one frame that it writes, so a lock lasts some milliseconds, and ends with
its child. Readers need no lock: they see by the sequence of a slot whether its frame is whole (`worker.files.frames`).
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import msgspec
import numpy as np

from worker.errors import PathError, UnsupportedFormat
from worker.files import handles
from worker.files.frames import BOTTOM_FIRST, HEAD_BYTES, HEADER, MAGIC, MAX_SLOTS, SLOT, UINT8, UINT16, FrameName, Layout, Slot, slots_of
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.whole import PATIENCE_S, WrittenFile, check_writable, put_in_place, refusal, unfinished
from worker.pictures.frames import BLOCK_BYTES, read_into
from worker.pictures.pixels import Image, size_of

#: One is the newest, one is written, and one may be in use for as long as a reader copies.
SLOTS = 3
_PAGE = 4096
#: Pixels begin behind the header and all entries that there may be.
_OFFSET = _PAGE
_LOOK_EVERY_S = 0.002
#: Windows locks bytes against reading, so one is locked that no file has; as in td/frames.py.
_LOCKED_BYTE = 2**40


def write_frame(path: Path, image: Image, limits: FileLimits = DEFAULT_LIMITS) -> WrittenFile:
    """Writes a picture as the newest frame of a file.

    Args:
        path: absolute, and free of links, as `FileRules.to_write` gives it. The file and its folder are made if they are missing.
        image: 8 or 16 bits; grey, BGR or BGRA. It is stored as grey, RGB or RGBA, the bottom row first.
        limits: of the picture, the file and the room that stays free.

    Returns:
        What was written; the path is the reference of this frame, `frame:NAME#SLOT@SEQUENCE`.

    Raises:
        LimitExceeded, DiskFull: the picture, the file or the disk is too large or full.
        PathError, ArgumentError: the file may not be written, or another program keeps it for itself.
        UnsupportedFormat: it is there, and no frame file.
    """
    width, height = size_of(image)
    limits.check_picture(path.name, width, height)
    try:
        with handles.folder(path.parent, make=True) as folder:
            descriptor = _opened(folder, path, image, limits)
            try:
                slot, sequence = _Writer(descriptor, path, limits).write(image, folder)
            finally:
                os.close(descriptor)
    except OSError as error:
        raise refusal(error, path, "written") from error
    return WrittenFile(str(FrameName(path.as_posix(), slot, sequence)), image.nbytes, width, height)


def _opened(folder: handles.Folder, path: Path, image: Image, limits: FileLimits) -> int:
    """A descriptor of the file, which is made if it is missing, and which only this process writes until it is closed."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            descriptor = folder.open(path.name, os.O_RDWR)
        except FileNotFoundError:
            _make(folder, path, image, limits)
            continue
        try:
            status = os.fstat(descriptor)
            check_writable(status, path.name)
            if status.st_nlink == 1 and _lock(descriptor) and os.path.samestat(folder.status(path.name), status):
                return descriptor
            if time.monotonic() > until:
                raise PathError(_kept_by(path.name, status.st_nlink), "Choose another name for frames of the worker.")
        except FileNotFoundError:  # it was removed meanwhile
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
        time.sleep(_LOOK_EVERY_S)


def _kept_by(name: str, names: int) -> str:
    if names > 1:
        return f"{name} has a second name somewhere else (a hard link), so the worker does not write into it."
    return f"{name} is written by another program, which keeps it for itself."


def _make(folder: handles.Folder, path: Path, image: Image, limits: FileLimits) -> None:
    """A file without a frame; whole before it has its name. If another child makes it at the same time, the first one stays."""
    layout = _layout_of(image)
    limits.check_file(path.name, layout.file_bytes)
    limits.check_free(path.name, folder.free_bytes(), layout.file_bytes)
    with unfinished(folder, path.name) as (file, temporary):
        file.write(layout.packed().ljust(_OFFSET, b"\0"))
        file.truncate(layout.file_bytes)
        file.close()
        try:
            folder.link(temporary, path.name)
        except FileExistsError:
            return
        except OSError:  # a disk that has no second names
            put_in_place(folder, temporary, path.name)


def _layout_of(image: Image, slots: int = SLOTS, slot_bytes: int = 0, generation: int = 0) -> Layout:
    """That of a file for such pictures, whose slots are at least so large."""
    height, width = image.shape[:2]
    channels = 1 if image.ndim == 2 else image.shape[2]
    needed = -(-image.nbytes // _PAGE) * _PAGE
    kind = UINT8 if image.dtype == np.uint8 else UINT16
    return Layout(slots, generation, width, height, channels, kind, BOTTOM_FIRST, _OFFSET, max(needed, slot_bytes))


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes into a file that nobody else writes."""

    descriptor: int
    path: Path
    limits: FileLimits

    def write(self, image: Image, folder: handles.Folder) -> tuple[int, int]:
        """The slot and the sequence of the new frame."""
        layout, slots = self._prepared(image, folder)
        newest = max(range(layout.slots), key=lambda slot: slots[slot].is_whole * slots[slot].sequence)
        now = time.time_ns()
        others = [slot for slot in range(layout.slots) if slot != newest or layout.slots == 1]
        slot = min(others, key=lambda slot: (slots[slot].lease_ns > now, slots[slot].is_whole * slots[slot].sequence))
        last = max(entry.sequence for entry in slots)
        sequence = last + last % 2 + 2
        entry = HEADER.size + slot * SLOT.size
        self._put((sequence - 1).to_bytes(8, "little"), entry)
        self._put_pixels(image, layout, slot)
        self._put(SLOT.pack(sequence - 1, now, 0, 0)[8:], entry + 8)
        self._put(sequence.to_bytes(8, "little"), entry)
        return slot, sequence

    def _prepared(self, image: Image, folder: handles.Folder) -> tuple[Layout, tuple[Slot, ...]]:
        """What the file holds, once it is for such pictures. While the generation is odd, nobody reads."""
        buffer = bytearray(HEAD_BYTES)
        data = bytes(buffer[: read_into(self.descriptor, memoryview(buffer), 0)])
        if not data.startswith(MAGIC):
            raise UnsupportedFormat(f"{self.path.name} is no frame file, so it is not written.", "Choose another name.")
        size = os.fstat(self.descriptor).st_size
        try:
            found = Layout.of(data, size, self.path.name)
            slots = slots_of(data, found.slots)
        except UnsupportedFormat:  # the writer did not come to the end
            found, slots = _layout_of(image), ()
        wanted = _layout_of(image, found.slots, found.slot_bytes, found.generation)
        if wanted == found and slots and not found.generation % 2:
            return found, slots
        last = max((entry.sequence for entry in slots), default=0)
        generation = found.generation + found.generation % 2
        self.limits.check_file(self.path.name, wanted.file_bytes)
        self.limits.check_free(self.path.name, folder.free_bytes(), max(0, wanted.file_bytes - size))
        self._put(msgspec.structs.replace(wanted, generation=generation + 1).packed(), 0)
        self._put(bytes(MAX_SLOTS * SLOT.size), HEADER.size)
        if size < wanted.file_bytes:
            os.ftruncate(self.descriptor, wanted.file_bytes)
        wanted = msgspec.structs.replace(wanted, generation=generation + 2)
        self._put(wanted.packed(), 0)
        # The first one keeps the number, so that the sequences go on: an old reference never comes true again.
        return wanted, (Slot(last + last % 2, 0, 0), *(Slot(0, 0, 0),) * (wanted.slots - 1))

    def _put_pixels(self, image: Image, layout: Layout, slot: int) -> None:
        """The bottom row first and red first, some rows at a time, so that what is turned stays in the processor's cache."""
        rows = max(1, BLOCK_BYTES // layout.row_bytes)
        for first in range(0, layout.height, rows):
            stop = layout.height - first
            block = np.asarray(cv2.flip(np.ascontiguousarray(image[max(0, stop - rows) : stop]), 0))
            if layout.channels > 1:
                block = np.asarray(cv2.cvtColor(block, cv2.COLOR_BGR2RGB if layout.channels == 3 else cv2.COLOR_BGRA2RGBA))
            self._put(block.data.cast("B"), layout.offset_of(slot) + first * layout.row_bytes)

    def _put(self, data: bytes | memoryview, offset: int) -> None:
        view = memoryview(data)
        while view:
            if sys.platform == "win32":
                os.lseek(self.descriptor, offset, os.SEEK_SET)
                done = os.write(self.descriptor, view)
            else:
                done = os.pwrite(self.descriptor, view, offset)
            view, offset = view[done:], offset + done


if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> bool:
        """Whether nobody else has it. It ends when the descriptor is closed."""
        try:
            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(descriptor: int) -> bool:
        """Whether nobody else has it. It ends when the descriptor is closed."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
