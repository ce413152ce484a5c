"""OSC as TouchDesigner writes and reads it. Written for the fake alone, so that two codecs meet on the wire."""

import math
import struct

NUMBERS = {"i": struct.Struct(">i"), "f": struct.Struct(">f")}


def _text(value):
    raw = value.encode() + b"\0"
    return raw + b"\0" * (-len(raw) % 4)


def _argument(value, *, nonstandard, wide):
    """Type tag and bytes of one Python value, by the type table of OSC Out DAT's sendOSC."""
    if isinstance(value, bool):
        return ("T" if value else "F", b"") if nonstandard else ("i", struct.pack(">i", value))
    if value is None:
        return ("N", b"") if nonstandard else ("i", struct.pack(">i", 0))
    if isinstance(value, int):
        small = -(2**31) <= value < 2**31
        if nonstandard and (wide or not small):
            return "h", struct.pack(">q", value)
        if not small:
            raise OverflowError(f"{value} does not fit into an int32")
        return "i", struct.pack(">i", value)
    if isinstance(value, float):
        if nonstandard and math.isinf(value):
            return "I", b""
        return ("d", struct.pack(">d", value)) if wide else ("f", struct.pack(">f", value))
    if isinstance(value, str):
        return "s", _text(value)
    if isinstance(value, (bytes, bytearray)):
        return "b", struct.pack(">i", len(value)) + bytes(value) + b"\0" * (-len(value) % 4)
    raise TypeError(f"sendOSC cannot send {value!r}")


def message(address, values, *, nonstandard=False, wide=False):
    tags, parts = ",", []
    for value in values:
        tag, part = _argument(value, nonstandard=nonstandard, wide=wide)
        tags += tag
        parts.append(part)
    return _text(address) + _text(tags) + b"".join(parts)


def bundle(messages, time_tag):
    return b"#bundle\0" + struct.pack(">Q", time_tag) + b"".join(struct.pack(">i", len(part)) + part for part in messages)


def read(packet):
    """All (address, args) of a packet."""
    if packet.startswith(b"#bundle\0"):
        at, found = 16, []
        while at < len(packet):
            (size,) = struct.unpack_from(">i", packet, at)
            found += read(packet[at + 4 : at + 4 + size])
            at += 4 + size
        return found
    address, at = _read_text(packet, 0)
    tags, at = _read_text(packet, at)
    args = []
    for tag in tags[1:]:
        if tag == "s":
            value, at = _read_text(packet, at)
        elif tag in NUMBERS:
            (value,) = NUMBERS[tag].unpack_from(packet, at)
            at += 4
        else:  # the worker promises i, f and s only
            raise ValueError(f"type tag {tag}")
        args.append(value)
    return [(address, args)]


def _read_text(packet, at):
    end = packet.index(b"\0", at)
    return packet[at:end].decode(), (end // 4 + 1) * 4
