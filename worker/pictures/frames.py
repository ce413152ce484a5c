"""Reads frames: pixels that another program, such as TouchDesigner, hands over in a frame file (`worker.files.frames`).

    with FrameFile.open(path, limits) as file:
        frame = file.read()                     the newest one; or file.read(slot), file.read(slot, sequence)
        frame = file.wait(frame.sequence, 1.0)  one that is newer, or None after a second

The file is read, and not mapped. A map that somebody shortens ends the process at the next touch (SIGBUS); a read only comes out short. It
costs no second copy: a few rows at a time are read into a buffer that stays in the processor's cache, and are converted from there into the
image. The kernel turns them over on the way: it is given the rows of the buffer from the last to the first. All numbers and pixels that are
used come out of one pair of equal sequences, read before and after.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from worker.errors import ArgumentError, Expired
from worker.files import handles
from worker.files.frames import BOTTOM_FIRST, FLOAT32, HEAD_BYTES, HEADER, UINT8, UINT16, FrameName, Layout, Slot, slots_of
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.whole import PATIENCE_S, StillWritten, refusal
from worker.pictures.pixels import Image

#: Bytes that are read at a time: a part of the cache that each core has to itself.
BLOCK_BYTES = 2**20
#: Between two looks at a frame that is being written. The largest takes tens of milliseconds.
_LOOK_EVERY_S = 0.001
#: Between two looks for a newer frame: a part of the time between two frames, and one call of the system each.
POLL_S = 0.002
#: While none comes: whether another file has the name now.
_LOOK_AT_NAME_S = 0.25

_TYPES: dict[int, Any] = {UINT8: np.uint8, UINT16: np.uint16, FLOAT32: np.float32}


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, whole.

    Attributes:
        image: top row first; grey, BGR or BGRA, of 8 or 16 bits. Floating point values come as 16 bits, 0 black and 1 white.
        sequence: an even number, higher for a newer frame.
        time_ns: when the picture was taken, in nanoseconds since 1970; 0 if nobody says.
        slot: where it was.
    """

    image: Image
    sequence: int
    time_ns: int
    slot: int


class _Head(NamedTuple):
    data: bytes
    layout: Layout
    slots: tuple[Slot, ...]

    @property
    def newest(self) -> int | None:
        """The slot of the newest whole frame; None if there is none."""
        whole = [(slot.sequence, index) for index, slot in enumerate(self.slots) if slot.is_whole]
        return max(whole)[1] if whole else None

    def entry(self, slot: int) -> tuple[bytes, Slot]:
        """What must stay the same for as long as the slot is read."""
        return self.data[: HEADER.size], self.slots[slot]


class FrameFile:
    """An open frame file. Made by `FrameFile.open`; for one thread."""

    def __init__(self, path: Path, limits: FileLimits) -> None:
        self._path = path
        self._limits = limits
        self._descriptor = -1
        self._open()

    @classmethod
    @contextmanager
    def open(cls, path: Path, limits: FileLimits = DEFAULT_LIMITS) -> Iterator[FrameFile]:
        """Opens a file and looks at its header.

        Args:
            path: absolute, and free of links, as `FileRules.to_read` gives it: a link is refused.
            limits: for the size of a picture.

        Raises:
            MissingFile, PathError: the file is not there or may not be read.
            UnsupportedFormat: it is no frame file, or its header cannot be true.
            LimitExceeded: its pictures are too large.
        """
        file = cls(path, limits)
        try:
            file._head()
            yield file
        finally:
            file.close()

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def newest(self) -> int:
        """The sequence of the newest whole frame; 0 if there is none now. Raises as `open`."""
        head = self._head()
        found = None if head is None else head.newest
        return 0 if head is None or found is None else head.slots[found].sequence

    def read(self, slot: int | None = None, sequence: int | None = None) -> Frame:
        """One frame. While it is being written this waits, at most as long as for a file that grows.

        Args:
            slot: which one; None for the newest.
            sequence: the one that it must have; None for any.

        Raises:
            MissingFile: no frame is whole within that time.
            Expired: the slot holds another frame than the one with this sequence.
            ArgumentError: there is no such slot.
            MissingFile, UnsupportedFormat, LimitExceeded: as `open`.
        """
        until = time.monotonic() + PATIENCE_S
        while True:
            head = self._head()
            if head is not None:
                frame = self._taken(head, slot, sequence)
                if frame is not None:
                    return frame
            if time.monotonic() >= until:
                raise self._unfinished(head, slot)
            time.sleep(_LOOK_EVERY_S)

    def wait(self, than: int, within_s: float) -> Frame | None:
        """The newest frame as soon as its sequence is another one than `than`; None if that does not happen in time.

        It looks every few milliseconds, because no system reports that a file was written through a map, and none reports across the
        border of a container's machine. If the file was replaced by another one of its name, that one is read.

        Raises:
            as `open`.
        """
        until = time.monotonic() + within_s
        look_at_name = time.monotonic() + _LOOK_AT_NAME_S
        while True:
            head = self._head()
            found = None if head is None else head.newest
            if head is not None and found is not None and head.slots[found].sequence != than:
                frame = self._taken(head, found, None)
                if frame is not None:
                    return frame
            now = time.monotonic()
            if now >= until:
                return None
            if now >= look_at_name:
                look_at_name = now + _LOOK_AT_NAME_S
                if self._is_replaced():
                    self.close()
                    self._open()
                    than = 0
            time.sleep(min(POLL_S, until - now))

    # ------------------------------------------------------------------------------------------------------ inside

    def _open(self) -> None:
        try:
            with handles.folder(self._path.parent) as folder:
                self._descriptor = folder.open(self._path.name, os.O_RDONLY)
        except OSError as error:
            raise refusal(error, self._path, "read") from error

    def _is_replaced(self) -> bool:
        try:
            return not os.path.samestat(self._path.stat(follow_symlinks=False), os.fstat(self._descriptor))
        except FileNotFoundError:  # for a moment, or it is not needed any more; what is open stays
            return False

    def _head(self) -> _Head | None:
        """The header and the slots; None while somebody changes them."""
        data = self._read_head()
        try:
            layout = Layout.of(data, os.fstat(self._descriptor).st_size, self._path.name)
        except Exception:
            if self._read_head()[: HEADER.size] != data[: HEADER.size]:
                return None
            raise
        if layout.generation % 2:
            return None
        self._limits.check_picture(self._path.name, layout.width, layout.height)
        self._limits.check_file(self._path.name, layout.frame_bytes)
        return _Head(data, layout, slots_of(data, layout.slots))

    def _read_head(self) -> bytes:
        buffer = bytearray(HEAD_BYTES)
        try:
            return bytes(buffer[: read_into(self._descriptor, memoryview(buffer), 0)])
        except OSError as error:
            raise refusal(error, self._path, "read") from error

    def _taken(self, head: _Head, slot: int | None, sequence: int | None) -> Frame | None:
        """The frame; None if it is not whole, or changed while it was copied."""
        if slot is not None and slot >= head.layout.slots:
            last = head.layout.slots - 1
            has = f"has the slots #0 to #{last}" if last else "has one slot, #0"
            raise ArgumentError(f"{self._path.name} {has}; #{slot} is none of them.")
        index = head.newest if slot is None else slot
        if index is None:
            return None
        found = head.slots[index]
        if sequence is not None and found.sequence + found.sequence % 2 != sequence:
            raise Expired(
                f"The frame {self._path.name}#{index}@{sequence} is gone: a newer one is in its slot.",
                "Jobs wait longer than slots last: send fewer, or use replace; a file with more slots keeps frames longer.",
            )
        if not found.is_whole:
            return None
        try:
            image = _converted(self._descriptor, head.layout, index)
        except OSError as error:
            raise refusal(error, self._path, "read") from error
        after = self._head() if image is not None else None
        if image is None or after is None or after.entry(index)[0] != head.entry(index)[0]:
            return None
        return Frame(image, found.sequence, found.time_ns, index) if after.slots[index].sequence == found.sequence else None

    def _unfinished(self, head: _Head | None, slot: int | None) -> StillWritten:
        name = self._path.name
        hint = f"That was so for {PATIENCE_S:g} s. Does the program run that writes it?"
        if head is None:
            return StillWritten(f"The header of {name} is being changed.", hint)
        if slot is None:
            return StillWritten(f"{name} holds no whole frame.", hint)
        if not head.slots[slot].sequence:
            return StillWritten(f"{name} has no frame in slot {slot} yet.", hint)
        return StillWritten(f"The frame in slot {slot} of {name} is being written.", hint)


def read_frame(path: Path, name: FrameName, limits: FileLimits = DEFAULT_LIMITS) -> Frame:
    """The frame that a reference names, from the file that it names. Raises as `FrameFile.open` and `FrameFile.read`."""
    with FrameFile.open(path, limits) as file:
        return file.read(name.slot, name.sequence)


def _converted(descriptor: int, layout: Layout, slot: int) -> Image | None:
    """The pixels of a slot as an image; None if the file ends before they do."""
    width, height, channels = layout.width, layout.height, layout.channels
    depth = np.uint8 if layout.type == UINT8 else np.uint16
    shape = (height, width) if channels == 1 else (height, width, max(3, channels) if channels > 2 else 4)
    image = np.empty(shape, depth)
    rows = max(1, min(height, BLOCK_BYTES // layout.row_bytes, _MOST_ROWS))
    buffer = np.empty((rows, width, channels), _TYPES[layout.type])
    turned = layout.rows == BOTTOM_FIRST
    for first in range(0, height, rows):
        count = min(rows, height - first)
        block = buffer[:count]
        if not _read(descriptor, block, layout.offset_of(slot) + first * layout.row_bytes, turned=turned):
            return None
        top = height - first - count if turned else first
        _convert(block, image[top : top + count])
    return image


def _read(descriptor: int, block: NDArray[Any], offset: int, *, turned: bool) -> bool:
    """Fills a block from a place in the file; with `turned` its last row first. Whether the file holds all of it."""
    data = block.data.cast("B")
    size = len(data) // len(block)
    if turned and read_rows(descriptor, [data[at : at + size] for at in range(len(data) - size, -1, -size)], offset) == len(data):
        return True
    if read_into(descriptor, data, offset) < len(data):
        return False
    if turned:
        block[:] = np.asarray(cv2.flip(block, 0)).reshape(block.shape)
    return True


def _convert(block: NDArray[Any], target: Image) -> None:
    """Puts rows into an image: whole numbers, and the order of channels that OpenCV has."""
    if block.dtype == np.float32:
        block = _whole(block)
    channels = block.shape[2]
    if channels == 1:
        np.copyto(target, block[..., 0])
    elif channels == 2:
        target[..., :3] = block[..., :1]
        target[..., 3] = block[..., 1]
    else:
        cv2.cvtColor(block, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA, dst=target)


def _whole(block: NDArray[Any]) -> NDArray[Any]:
    """As `worker.pictures.pixels.from_floats`, in place and in two thirds of the time."""
    flat = block.reshape(block.shape[0], -1)
    np.minimum(flat, np.float32(1), out=flat)  # OpenCV makes 0 of numbers that are too large, and of what is no number
    np.multiply(flat, np.float32(65535), out=flat)
    return np.asarray(cv2.add(flat, (0, 0, 0, 0), dtype=cv2.CV_16U)).reshape(block.shape)  # type: ignore[call-overload]


if hasattr(os, "preadv"):
    #: Maximum number of buffers at once: POSIX's IOV_MAX.
    _MOST_ROWS = max(16, os.sysconf("SC_IOV_MAX"))

    def read_rows(descriptor: int, rows: Sequence[memoryview], offset: int) -> int:
        """Reads from a place in the file into one buffer after the other, in one call of the system; how many bytes came."""
        return os.preadv(descriptor, rows, offset)

    def read_into(descriptor: int, buffer: memoryview, offset: int) -> int:
        """Reads from a place in the file until the buffer is full or the file ends; how many bytes came."""
        done = 0
        while done < len(buffer):
            count = os.preadv(descriptor, [buffer[done:]], offset + done)
            if not count:
                break
            done += count
        return done

else:
    _MOST_ROWS = 2**16

    def read_rows(descriptor: int, rows: Sequence[memoryview], offset: int) -> int:  # noqa: ARG001 - as above
        """No such call here."""
        return 0

    def read_into(descriptor: int, buffer: memoryview, offset: int) -> int:
        """Reads from a place in the file until the buffer is full or the file ends; how many bytes came."""
        done = 0
        with io.FileIO(descriptor, closefd=False) as file:
            file.seek(offset)
            while done < len(buffer):
                count = file.readinto(buffer[done:])
                if not count:
                    break
                done += count
        return done
