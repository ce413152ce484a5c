"""Pixels in frame files: a TOP's pictures on their way to the worker, and the worker's on their way into a TOP. No TouchDesigner in here.

    writer = Writer("C:/show/frames/cam1.frame")
    slot, sequence = writer.write(pixels, lease_s=10)     an array as TOP.numpyArray() gives it; send frame:NAME#slot@sequence
    writer.give_back(slot, sequence)                      when the job has ended
    reader = Reader("C:/show/frames/out.frame")
    pixels = reader.newest()                              an array for Script TOP copyNumpyArray(), or None if there is no newer one

This file works alone: put it into a Text DAT and use `op('frames').module`, or import it in any Python. The layout is in the worker's
protocol.md, "Frame files". Nothing here waits. Pixels are written through a map of the file, because that is one copy and no more. A map of
a file without room on its disk, or that somebody has shortened, would end the program at a touch. So all room is taken when the file is
made, and its size is looked at before each picture.
"""

import contextlib
import errno
import mmap
import os
import re
import struct
import sys
import time
from typing import Any

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

MAGIC = b"TDFRAMES"
VERSION = 1
PREFIX = "frame:"
MAX_SLOTS = 32
PAGE = 4096
HEADER = struct.Struct("<8sIIQIIIIIIQQ")
SLOT = struct.Struct("<QQQQ")
HEAD_BYTES = HEADER.size + MAX_SLOTS * SLOT.size
NUMBER = struct.Struct("<Q")

TYPES = {"uint8": 1, "uint16": 2, "float32": 4}
NAMES_OF_TYPES = {number: name for name, number in TYPES.items()}

SLOTS = 4
LEASE_S = 10.0
FILES_OF_A_NAME = 8
GIVE_UP_FRAMES = 120  # a TOP that gives no pixels for so long gives none

_OPEN = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOINHERIT", 0) | getattr(os, "O_NOFOLLOW", 0)
_LOCKED_BYTE = 2**40  # Windows locks bytes against reading, so one that no file has
_REFERENCE = re.compile(r"(#\d+(@\d+)?)?$")


class Header:
    """What the beginning of a frame file says.

    Raises:
        ValueError: this is no frame file.
    """

    def __init__(self, data, size):
        if len(data) < HEADER.size or not data.startswith(MAGIC):
            raise ValueError("it is no frame file")
        numbers = HEADER.unpack_from(data)
        _, version, self.slots, self.generation, self.width, self.height, self.channels, self.type, self.rows = numbers[:9]
        self.offset, self.slot_bytes = numbers[10:]
        self.frame_bytes = self.width * self.height * self.channels * self.type
        fits = self.frame_bytes <= self.slot_bytes and self.offset + self.slots * self.slot_bytes <= size
        if version != VERSION or self.type not in NAMES_OF_TYPES or not (0 < self.slots <= MAX_SLOTS and self.frame_bytes > 0 and fits):
            raise ValueError("its header cannot be true")
        if not 1 <= self.channels <= 4 or self.offset < HEADER.size + self.slots * SLOT.size:
            raise ValueError("its header cannot be true")
        self.entries = [SLOT.unpack_from(data, HEADER.size + SLOT.size * slot) for slot in range(self.slots)]

    def newest(self):
        """The slot of the newest whole frame; None if there is none."""
        whole = [(entry[0], slot) for slot, entry in enumerate(self.entries) if entry[0] and not entry[0] % 2]
        return max(whole)[1] if whole else None


class _File:
    """An open file, read and written at places."""

    def __init__(self, path, flags):
        self.descriptor = os.open(path, flags | _OPEN, 0o666)

    def size(self):
        return os.fstat(self.descriptor).st_size

    def head(self):
        """Raises ValueError as `Header`."""
        data = bytearray(HEAD_BYTES)
        count = self.read(memoryview(data), 0)
        return Header(bytes(data[:count]), self.size())

    if hasattr(os, "pwrite"):

        def write(self, data, offset):
            view = memoryview(data).cast("B")
            while view:
                done = os.pwrite(self.descriptor, view, offset)
                view, offset = view[done:], offset + done

    else:

        def write(self, data, offset):
            view = memoryview(data).cast("B")
            os.lseek(self.descriptor, offset, os.SEEK_SET)
            while view:
                view = view[os.write(self.descriptor, view) :]

    def read(self, buffer, offset):
        """Fills a buffer as far as the file goes; how many bytes came."""
        done = 0
        with open(self.descriptor, "rb", buffering=0, closefd=False) as file:
            file.seek(offset)
            while done < len(buffer):
                count = file.readinto(buffer[done:])
                if not count:
                    break
                done += count
        return done

    def extend(self, size):
        """Makes the file so long. Raises OSError if the disk has no room for all of it."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self.descriptor, 0, size)
            return
        if hasattr(os, "fstatvfs"):  # a Mac only promises the room
            disk = os.fstatvfs(self.descriptor)
            if disk.f_bavail * disk.f_frsize < size:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.ftruncate(self.descriptor, size)

    def lock(self):
        """Whether nobody else writes this file; then nobody can until it is closed."""
        try:
            if sys.platform == "win32":
                os.lseek(self.descriptor, _LOCKED_BYTE, os.SEEK_SET)
                msvcrt.locking(self.descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self):
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


class Taken(Exception):
    """Another program writes this file."""


class Writer:
    """Writes frames into one file. If pictures get another size or type, the file is changed in its place.

    Args:
        path: the file. It is made if it is missing, with its folder; its name ends in .frame.
        slots: how many frames it holds.

    Raises:
        Taken: another program writes it.
        ValueError: it is there, and no frame file.
        OSError: it cannot be made or written.
    """

    def __init__(self, path, slots=SLOTS):
        self.path = path
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        self._file = _File(path, os.O_RDWR | os.O_CREAT)
        try:
            if not self._file.lock():
                raise Taken(f"{path} is written by another program.")
            self._take_up(slots)
        except BaseException:
            self._file.close()
            raise

    def _take_up(self, slots):
        """Goes on behind the frames that are in the file, if there are some."""
        size = self._file.size()
        data = bytearray(HEADER.size)
        if size and (self._file.read(memoryview(data), 0) < HEADER.size or not data.startswith(MAGIC)):
            raise ValueError(f"{self.path} is no frame file, so it is not written.")
        try:
            found = self._file.head()
            self._sequence = max(entry[0] for entry in found.entries)
            self._generation = found.generation
        except ValueError:  # it is new, or was being made when its writer ended
            self._sequence, self._generation = 0, 0
        self._sequence += self._sequence % 2
        self._generation += self._generation % 2
        self._slots = slots
        self._shape = None
        self._like = None  # the shape and type of the last array, because the name of a type takes long to make
        self._slot_bytes = 0
        self._map: Any = None
        self._sequences = [0] * slots
        self._leases = [0] * slots  # until when, in nanoseconds since 1970

    def write(self, pixels, lease_s=0.0):
        """Writes a picture into the slot that was free for longest. If none is free, the newest picture wins: the oldest one goes.

        Args:
            pixels: an array (height, width, channels) or (height, width) of uint8, uint16 or float32, the bottom row first.
            lease_s: so long the slot stays as it is, if enough others are free.

        Returns:
            The slot and the sequence of the frame.

        Raises:
            ValueError: it is no such array.
            OSError: the file cannot be written.
        """
        like = (pixels.shape, pixels.dtype) if hasattr(pixels, "dtype") else None
        shape = self._shape if like is not None and like == self._like else _shape_of(pixels)
        self._like = like
        if shape != self._shape or self._file.size() < len(self._map):
            self._change(shape)
        now = time.time_ns()
        slot = self._choose(now)
        entry = HEADER.size + SLOT.size * slot
        view = memoryview(pixels if pixels.flags.c_contiguous else pixels.tobytes()).cast("B")
        lease = now + int(lease_s * 1e9) if lease_s else 0
        self._map[entry : entry + SLOT.size] = SLOT.pack(self._sequence + 1, now, lease, 0)
        self._file.size()  # a call that lets go of Python's lock keeps the order of what is written before and after, on every processor
        begin = PAGE + slot * self._slot_bytes
        self._map[begin : begin + len(view)] = view
        self._file.size()
        self._sequence += 2
        self._map[entry : entry + NUMBER.size] = NUMBER.pack(self._sequence)
        self._sequences[slot], self._leases[slot] = self._sequence, lease
        return slot, self._sequence

    def give_back(self, slot, sequence):
        """The slot may be used again, if it still holds this frame."""
        if slot < self._slots and self._sequences[slot] == sequence:
            self._leases[slot] = 0
            self._file.write(NUMBER.pack(0), HEADER.size + SLOT.size * slot + 2 * NUMBER.size)

    def is_full(self):
        """Whether the next frame takes the place of one whose lease is not over."""
        now = time.time_ns()
        return self._shape is not None and self._leases[self._choose(now)] > now

    def close(self, remove=False):
        if self._map is not None:
            self._map.close()
            self._map = None
        self._file.close()
        if remove:
            with contextlib.suppress(OSError):  # somebody reads it (Windows), or it has gone already
                os.remove(self.path)

    def _choose(self, now):
        newest = max(range(self._slots), key=self._sequences.__getitem__)
        others = [slot for slot in range(self._slots) if slot != newest or self._slots == 1]
        return min(others, key=lambda slot: (self._leases[slot] > now, self._sequences[slot]))

    def _change(self, shape):
        """A new file, or pictures of another size or type. While the generation is odd, nobody reads."""
        self._shape = self._like = None
        height, width, channels, kind = shape
        self._slot_bytes = max(self._slot_bytes, -(-height * width * channels * kind // PAGE) * PAGE)
        header = [MAGIC, VERSION, self._slots, self._generation + 1, width, height, channels, kind, 0, 0, PAGE, self._slot_bytes]
        self._file.write(HEADER.pack(*header), 0)
        self._file.write(bytes(SLOT.size * MAX_SLOTS), HEADER.size)
        self._map_anew(PAGE + self._slots * self._slot_bytes)
        header[3] = self._generation = self._generation + 2
        self._file.write(HEADER.pack(*header), 0)
        self._sequences, self._leases = [0] * self._slots, [0] * self._slots
        self._shape = shape

    def _map_anew(self, size):
        """Takes room on the disk for so many bytes, all of it now, and maps the file."""
        if self._map is not None:
            self._map.close()
            self._map = None
        have = self._file.size()
        if have < size:
            self._file.extend(size)
        self._map = mmap.mmap(self._file.descriptor, max(have, size))


def _shape_of(pixels):
    kind = str(getattr(pixels, "dtype", type(pixels).__name__))
    shape = tuple(getattr(pixels, "shape", ()))
    height, width, channels = shape if len(shape) == 3 else (*shape, 1) if len(shape) == 2 else (0, 0, 0)
    if kind not in TYPES or not height or not width or not 1 <= channels <= 4:
        raise ValueError(f"A frame is an array (height, width, 1 to 4) of uint8, uint16 or float32; this is {kind} {shape}.")
    return height, width, channels, TYPES[kind]


class Reader:
    """Reads the newest frame of a file, without ever waiting.

    Args:
        path: the file. It may be missing, and may come later.
    """

    def __init__(self, path):
        self.path = path
        self.sequence = 0  # of the frame that was given last
        self._file: Any = None
        self._pixels: Any = None

    def newest(self):
        """A newer frame than last time, as an array (height, width, channels), the bottom row first; None if there is none just now.

        The array is the reader's own, and is written again by the next call.

        Raises:
            ValueError: it is no frame file.
            OSError: it cannot be read.
        """
        import numpy

        if self._file is None and not self._open():
            return None
        head = self._file.head()
        slot = head.newest()
        if slot is None or head.generation % 2 or head.entries[slot][0] == self.sequence:
            self._look_at_name()
            return None
        shape, kind = (head.height, head.width, head.channels), NAMES_OF_TYPES[head.type]
        if self._pixels is None or self._pixels.shape != shape or self._pixels.dtype != kind:
            self._pixels = numpy.empty(shape, kind)
        count = self._file.read(memoryview(self._pixels).cast("B"), head.offset + slot * head.slot_bytes)
        after = self._file.head()
        is_same = (after.generation, after.frame_bytes, after.slots) == (head.generation, head.frame_bytes, head.slots)
        if count < head.frame_bytes or not is_same or after.entries[slot][0] != head.entries[slot][0]:
            return None  # it changed meanwhile; the next frame of TouchDesigner looks again
        self.sequence = head.entries[slot][0]
        return self._pixels if head.rows == 0 else numpy.ascontiguousarray(self._pixels[::-1])

    def close(self):
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self):
        try:
            self._file = _File(self.path, os.O_RDONLY)
        except FileNotFoundError:
            return False
        return True

    def _look_at_name(self):
        """If another file has the name now, that one is read from the next call on."""
        try:
            is_same = os.path.samestat(os.stat(self.path), os.fstat(self._file.descriptor))
        except OSError:
            return
        if not is_same:
            self.close()
            self.sequence = 0


class Screen:
    """What a Script TOP shows: the newest whole frame of a file.

    Attributes:
        pixels: an array for copyNumpyArray(); None before the first frame.
        problem: why there is none, as a sentence; empty if all is well.
    """

    def __init__(self):
        self.pixels = None
        self.problem = ""
        self._reader: Any = None

    def look(self, path):
        """Whether there is a newer picture in this file than at the last look."""
        if self._reader is None or self._reader.path != path:
            self.close()
            self._reader = Reader(path)
        try:
            pixels = self._reader.newest()
        except (OSError, ValueError) as error:
            self.problem = f"{path} is not shown: {error}."
            return False
        if pixels is None:
            return False
        self.pixels, self.problem = pixels, ""
        return True

    def close(self):
        if self._reader is not None:
            self._reader.close()
            self._reader = None


def path_of(reference):
    """The file that a reference names: frame:C:/show/out.frame#1@14 is C:/show/out.frame."""
    return _REFERENCE.sub("", reference[len(PREFIX) :]) if reference.startswith(PREFIX) else reference


class _Source:
    """One TOP, and the jobs that wait for its pixels."""

    def __init__(self, top):
        self.top = top
        self.writer = None
        self.waiting = []  # jobs, since the last call of numpyArray
        self.called_at = None  # in which frame that was
        self.asked_at = None  # in which frame a job came last
        self.tries = 0
        self.held = {}  # by slot and sequence: the jobs that read them
        self.was_full = False


class Feed:
    """Writes a TOP into a frame file, picture after picture, for a live job.

    Args:
        top: the TOP.
        path: of the file.
    """

    def __init__(self, top, path):
        self._top = top
        self._writer = Writer(path)

    def step(self):
        """Once in a frame. The graphics card is not waited for: what is written is the picture of the frame before."""
        pixels = self._top.numpyArray(delayed=True)
        if pixels is not None:
            self._writer.write(pixels)

    def close(self):
        """Removes the file."""
        self._writer.close(remove=True)


class Sources:
    """Takes pixels out of TOPs without waiting for the graphics card.

    `TOP.numpyArray(delayed=True)` begins to fetch the picture of this moment, and returns the one for which the call before has asked, or
    None. So a job gets the picture of the moment at which it was submitted, with the next call, a frame later.

    Args:
        folder: called for the folder where the files are.
        name: what their names begin with; differs between the components of a computer.
    """

    def __init__(self, folder, name):
        self._folder = folder
        self._name = name
        self._sources = {}  # by the TOP's path
        self._held = {}  # by job: the source, and the slot and sequence
        self.failed = []  # (jobs, why): of those that get no pixels

    def ask(self, top, job_id, frame):
        """A job wants the TOP as it is now. Returns what `collect` returns."""
        source = self._sources.setdefault(top.path, _Source(top))
        source.top = top  # it may have been made anew
        ready = [] if source.asked_at == frame else self._fetched(source)
        source.asked_at = source.called_at = frame
        source.waiting.append(job_id)
        return ready

    def waits(self):
        """Whether `collect` must be called in the next frame."""
        return any(source.waiting for source in self._sources.values())

    def collect(self, frame):
        """In a later frame: the jobs whose pixels are written now, each with the reference to send."""
        ready = []
        for source in list(self._sources.values()):
            if source.waiting and source.called_at != frame:
                source.called_at = frame
                ready.extend(self._fetched(source))
        return ready

    def ended(self, job_id):
        """A job does not need its pixels any more."""
        source, frame = self._held.pop(job_id, (None, None))
        if source is not None:
            jobs = source.held.get(frame, set())
            jobs.discard(job_id)
            if not jobs:
                source.held.pop(frame, None)
                self._given_back(source, frame)

    def complaints(self):
        """What an artist should know, each thing once: sentences."""
        said = []
        for source in self._sources.values():
            is_full = source.writer is not None and source.writer.is_full()
            if is_full and not source.was_full:
                said.append(f"{source.top.path}: jobs come faster than the worker does them. Newer pictures replace those that still wait.")
            source.was_full = is_full
        return said

    def close(self):
        """Removes the files."""
        for source in self._sources.values():
            if source.writer is not None:
                source.writer.close(remove=True)
        self._sources.clear()
        self._held.clear()

    def _fetched(self, source):
        """What one call returns is for the jobs that have asked since the call before."""
        try:
            pixels = source.top.numpyArray(delayed=True)
            if not source.waiting:
                return []
            if pixels is None:
                source.tries += 1
                if source.tries > GIVE_UP_FRAMES:
                    raise ValueError("it gives no pixels; does it cook?")
                return []
            return self._handed_over(source, pixels)
        except Exception as error:
            self.failed.append((source.waiting, f"{source.top.path}: {error}"))
            source.waiting, source.tries = [], 0
            return []

    def _handed_over(self, source, pixels):
        folder = self._folder()
        if source.writer is not None and os.path.dirname(source.writer.path) != folder:  # Root has changed
            source.writer.close(remove=True)
            source.writer, source.held = None, {}
            self._held = {job_id: held for job_id, held in self._held.items() if held[0] is not source}
        if source.writer is None:
            source.writer = self._writer(source.top, folder)
        frame = source.writer.write(pixels, LEASE_S)
        jobs, source.waiting, source.tries = source.waiting, [], 0
        source.held[frame] = set(jobs)
        for old in [old for old in source.held if old[0] == frame[0] and old != frame]:  # their slot is taken
            del source.held[old]
        for job_id in jobs:
            self._held[job_id] = source, frame
        reference = f"{PREFIX}{source.writer.path}#{frame[0]}@{frame[1]}"
        return [(job_id, reference) for job_id in jobs]

    def _writer(self, top, folder, number=1):
        name = re.sub(r"[^A-Za-z0-9_-]+", "-", f"{self._name}{top.path}")
        try:
            return Writer(f"{folder}/{name}.frame" if number == 1 else f"{folder}/{name}-{number}.frame")
        except Taken:
            if number == FILES_OF_A_NAME:
                raise
            return self._writer(top, folder, number + 1)

    def _given_back(self, source, frame):
        with contextlib.suppress(OSError):  # the lease ends by itself
            source.writer.give_back(*frame)
