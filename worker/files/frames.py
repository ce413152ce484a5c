"""Frame files: pixels that one program hands to another in a file that stays. Their layout, and how a job names a frame.

    frame:frames/cam1.frame          the newest frame in this file
    frame:frames/cam1.frame#2        the one in slot 2
    frame:frames/cam1.frame#2@148    the one in slot 2, if its sequence still is 148

The table of the layout is in protocol.md, "Frame files"; `td/frames.py` writes it in TouchDesigner. A file has a header, an entry for each
slot, and the pixels of each slot. Each slot has a sequence, which its writer makes odd before it writes and even after. So a reader that
sees the same even number before and after its copy has a whole frame. The header has such a number, too: a picture of another size changes
the file in its place, because Windows replaces no file that somebody has open.
"""

from __future__ import annotations

import re
import struct

import msgspec

from worker.errors import UnsupportedFormat

MAGIC = b"TDFRAMES"
VERSION = 1
#: What a reference to a frame begins with.
PREFIX = "frame:"
#: Of the files that the worker writes.
ENDING = ".frame"
MAX_SLOTS = 32
MAX_SIDE = 65_536
#: magic, version, slots, generation, width, height, channels, type, rows, 0, offset of slot 0, bytes from slot to slot
HEADER = struct.Struct("<8sIIQIIIIIIQQ")
#: sequence, time in ns, lease in ns, 0
SLOT = struct.Struct("<QQQQ")
#: The header and the entries of as many slots as there may be.
HEAD_BYTES = HEADER.size + MAX_SLOTS * SLOT.size

#: The types of values, by the number in the header: the bytes that one of them takes.
UINT8, UINT16, FLOAT32 = 1, 2, 4
#: The order of rows: as `TOP.numpyArray()` gives them, or as a picture file has them.
BOTTOM_FIRST, TOP_FIRST = 0, 1

_REFERENCE = re.compile(r"(?P<name>.*?)(#(?P<slot>\d{1,9})(@(?P<sequence>\d{1,19}))?)?", re.DOTALL)


class FrameName(msgspec.Struct, frozen=True):
    """What a reference names.

    Attributes:
        path: the file, as the sender spells it.
        slot: which slot; None for the newest frame.
        sequence: which frame in it; None for any.
    """

    path: str
    slot: int | None = None
    sequence: int | None = None

    @classmethod
    def of(cls, text: str) -> FrameName | None:
        """None if the text names a file.

        >>> FrameName.of("frame:C:/show/cam#1.frame#2@148")
        FrameName(path='C:/show/cam#1.frame', slot=2, sequence=148)
        >>> FrameName.of("frame:cam1.frame")
        FrameName(path='cam1.frame', slot=None, sequence=None)
        >>> FrameName.of("shots/a.png")
        """
        if not text.startswith(PREFIX):
            return None
        match = _REFERENCE.fullmatch(text[len(PREFIX) :])
        assert match is not None  # noqa: S101 - everything matches
        slot, sequence = match["slot"], match["sequence"]
        return cls(match["name"], None if slot is None else int(slot), None if sequence is None else int(sequence))

    def __str__(self) -> str:
        slot = "" if self.slot is None else f"#{self.slot}"
        return f"{PREFIX}{self.path}{slot}" + ("" if self.sequence is None else f"@{self.sequence}")


class Slot(msgspec.Struct, frozen=True):
    """What is in a slot.

    Attributes:
        sequence: 0 nothing yet; even: a whole frame, the highest is the newest; odd: one that is being written.
        time_ns: when the picture was taken, in nanoseconds since 1970; 0 if nobody says.
        lease_ns: until then the writer keeps it, in nanoseconds since 1970; 0 if it may be used again.
    """

    sequence: int
    time_ns: int
    lease_ns: int

    @property
    def is_whole(self) -> bool:
        return self.sequence > 0 and self.sequence % 2 == 0


class Layout(msgspec.Struct, frozen=True):
    """What a header says. `generation` is odd while somebody changes it."""

    slots: int
    generation: int
    width: int
    height: int
    channels: int
    type: int
    rows: int
    offset: int
    slot_bytes: int

    @property
    def row_bytes(self) -> int:
        return self.width * self.channels * self.type

    @property
    def frame_bytes(self) -> int:
        return self.height * self.row_bytes

    @property
    def file_bytes(self) -> int:
        return self.offset + self.slots * self.slot_bytes

    def offset_of(self, slot: int) -> int:
        return self.offset + slot * self.slot_bytes

    def packed(self) -> bytes:
        numbers = (self.width, self.height, self.channels, self.type, self.rows, 0, self.offset, self.slot_bytes)
        return HEADER.pack(MAGIC, VERSION, self.slots, self.generation, *numbers)

    @classmethod
    def of(cls, data: bytes, size_bytes: int, name: str) -> Layout:
        """What the first bytes of a file say, once it is known that none of it leads out of the file.

        Raises:
            UnsupportedFormat: this is no frame file, or its header cannot be true.
        """
        if not data:
            raise UnsupportedFormat(f"{name} is empty, and no frame file.", "The program that writes it has failed, or is not done.")
        if not data.startswith(MAGIC):
            raise UnsupportedFormat(
                f"{name} is not a frame file: it begins with {data[:8]!r}, and a frame file with {MAGIC!r}.",
                "A picture file is named without frame: before it.",
            )
        if len(data) < HEADER.size:
            raise _lie(name, f"it ends after {len(data)} bytes, and a header has {HEADER.size}")
        _, version, slots, generation, width, height, channels, kind, rows, reserved, offset, slot_bytes = HEADER.unpack_from(data)
        if version != VERSION:
            raise _lie(name, f"it has version {version}; this worker reads version {VERSION}")
        found = cls(slots, generation, width, height, channels, kind, rows, offset, slot_bytes)
        found._check(name, reserved, size_bytes)
        return found

    def _check(self, name: str, reserved: int, size_bytes: int) -> None:
        ranges = (
            ("slots", self.slots, range(1, MAX_SLOTS + 1)),
            ("width", self.width, range(1, MAX_SIDE + 1)),
            ("height", self.height, range(1, MAX_SIDE + 1)),
            ("channels", self.channels, range(1, 5)),
        )
        for what, value, allowed in ranges:
            if value not in allowed:
                raise _lie(name, f"{what} is {value}; it must be {allowed.start} to {allowed.stop - 1}")
        if self.type not in (UINT8, UINT16, FLOAT32):
            raise _lie(name, f"type is {self.type}; it must be 1 (uint8), 2 (uint16) or 4 (float32)")
        if self.rows not in (BOTTOM_FIRST, TOP_FIRST):
            raise _lie(name, f"the order of rows is {self.rows}; it must be 0 (bottom first) or 1 (top first)")
        if reserved:
            raise _lie(name, f"the number at byte 44 is {reserved}; it must be 0")
        if self.offset < HEADER.size + self.slots * SLOT.size:
            raise _lie(name, f"the pixels begin at byte {self.offset}, within the entries of the slots")
        if self.slot_bytes < self.frame_bytes:
            raise _lie(name, f"a slot has {self.slot_bytes} bytes, and {self.width}x{self.height} pixels take {self.frame_bytes}")
        if self.file_bytes > size_bytes:
            raise _lie(name, f"{self.slots} slots end at byte {self.file_bytes}, and the file has {size_bytes}")


def slots_of(data: bytes, count: int) -> tuple[Slot, ...]:
    """The entries of the slots behind a header."""
    return tuple(Slot(*SLOT.unpack_from(data, HEADER.size + index * SLOT.size)[:3]) for index in range(count))


def _lie(name: str, what: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} is not read, because its header cannot be true: {what}.", "protocol.md says what a frame file holds.")
