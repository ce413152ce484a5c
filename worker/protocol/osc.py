"""Bytes to messages and back. The only file that knows pythonosc.

What pythonosc lets through is caught here: it raises UnicodeDecodeError, struct.error and IndexError on some packets, follows a negative
element size in a bundle for ever, and drops the argument of a type tag that it does not know. So bundles are taken apart here, the
type tags are checked first, and every other exception becomes a `DecodeError`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from pythonosc.osc_message import OscMessage
from pythonosc.osc_message import ParseError as OscParseError
from pythonosc.parsing import osc_types

from worker.errors import DecodeError
from worker.protocol.messages import Argument, Command, Message, Plain, Report, parse_command, parse_report

T = TypeVar("T")

_BUNDLE = b"#bundle\x00"
_KNOWN_TAGS = frozenset("ifsbhdTFNI[]")
_MAX_DEPTH = 8  # of bundles within bundles, and of arrays within arrays
_INT_MAX = 2**31 - 1
_FLOAT_MAX = 3.4028234663852886e38


def decode_commands(datagram: bytes) -> tuple[Command | DecodeError, ...]:
    """All commands of a datagram, in order. Bundles are flattened and their time tags ignored.

    What cannot be used stands as a `DecodeError` in its place, so that one stray channel of an OSC Out CHOP does not spoil the
    others of its bundle.
    """
    return _decode(datagram, parse_command)


def decode_reports(datagram: bytes) -> tuple[Report | DecodeError, ...]:
    """All reports of a datagram, in order; the client's side of `decode_commands`."""
    return _decode(datagram, parse_report)


def _decode(datagram: bytes, parse: Callable[[str, Sequence[Argument]], T]) -> tuple[T | DecodeError, ...]:
    decoded: list[T | DecodeError] = []
    try:
        for element in _elements(datagram):
            try:
                decoded.append(parse(*read_message(element)))
            except DecodeError as error:
                decoded.append(error)
    except DecodeError as error:
        decoded.append(error)
    return tuple(decoded)


def _elements(packet: bytes, depth: int = 0) -> Iterator[bytes]:
    """The messages of a packet. OSC 1.0: a bundle is "#bundle", a time tag, and elements, each behind its size as an int32."""
    if not packet.startswith(_BUNDLE):
        yield packet
        return
    if depth == _MAX_DEPTH:
        raise DecodeError(f"Bundles may be nested at most {_MAX_DEPTH} deep.")
    if len(packet) < 16:
        raise DecodeError("A bundle ends before its time tag.")
    position = 16
    while position < len(packet):
        if position + 4 > len(packet):
            raise DecodeError("A bundle ends within the size of an element.")
        (size,) = struct.unpack_from(">i", packet, position)
        position += 4
        if size <= 0 or size % 4 or position + size > len(packet):
            raise DecodeError(f"A bundle element claims {size} bytes; {len(packet) - position} are left.")
        yield from _elements(packet[position : position + size], depth + 1)
        position += size


def read_message(packet: bytes) -> tuple[str, list[Argument]]:
    r"""The address and the arguments of one OSC message.

    >>> read_message(b"/worker/ping\0\0\0\0,i\0\0\0\0\0\7")
    ('/worker/ping', [7])

    Raises:
        DecodeError: the bytes are no OSC message, or have a type tag that is not understood here.
    """
    if not packet.startswith(b"/"):
        raise DecodeError(f"Not an OSC packet: it starts with {packet[:12]!r}, expected '/' or '#bundle'.")
    address = ""
    try:
        address, position = osc_types.get_string(packet, 0)
        tags = osc_types.get_string(packet, position)[0] if packet[position:] else ","
        _check_tags(tags, address)
        # Infinity has no bytes, and pythonosc would drop it: parse it as nil, then put it in its place.
        if "I" in tags:
            nil_tags = tags.replace("I", "N").encode()
            packet = packet[:position] + nil_tags + packet[position + len(nil_tags) :]
        arguments = OscMessage(packet).params
    except (OscParseError, osc_types.ParseError, UnicodeDecodeError, IndexError, ValueError, OverflowError, struct.error) as error:
        raise DecodeError(f"Not a complete OSC message: {error}"[:200], address=address) from None
    if "I" in tags:
        arguments = _with_infinity(iter(tags[1:]), iter(arguments))
    return address, arguments


def _check_tags(tags: str, address: str) -> None:
    if not tags.startswith(","):
        raise DecodeError(f"The type tags must start with a comma; got {tags[:20]!r}.", address=address)
    if unknown := set(tags[1:]) - _KNOWN_TAGS:
        raise DecodeError(f"Type tag {min(unknown)!r} is not understood; send i, f or s.", address=address)
    depth = 0
    for tag in tags:
        depth += (tag == "[") - (tag == "]")
        if depth > _MAX_DEPTH:  # so that code that walks through the arguments, repr() included, cannot overflow its stack
            raise DecodeError(f"Arrays may be nested at most {_MAX_DEPTH} deep.", address=address)


def _with_infinity(tags: Iterator[str], values: Iterator[Argument]) -> list[Argument]:
    result: list[Argument] = []
    for tag in tags:
        if tag == "]":
            break
        value = next(values)
        if tag == "[" and isinstance(value, list):
            value = _with_infinity(tags, iter(value))
        result.append(math.inf if tag == "I" else value)
    return result


def encode(message: Message) -> bytes:
    """One message as a datagram, with the type tags `i f s` only.

    Numbers are brought into the range of their 32 bits, and characters that OSC's text cannot carry are replaced, so that a report
    is never lost over one odd value.
    """
    tags, parts = [","], []
    for value in message.arguments():
        tag, part = _encoded(value)
        tags.append(tag)
        parts.append(part)
    return b"".join([_text(message.full_address), _text("".join(tags)), *parts])


def encode_bundle(messages: Sequence[Message]) -> bytes:
    """Several messages as one datagram, to be executed at once (time tag 1)."""
    elements = [encode(message) for message in messages]
    return b"".join([_BUNDLE, struct.pack(">Q", 1), *(struct.pack(">i", len(element)) + element for element in elements)])


def _encoded(value: Plain) -> tuple[str, bytes]:
    if isinstance(value, str):
        return "s", _text(value)
    if isinstance(value, int):
        return "i", osc_types.write_int(max(-_INT_MAX - 1, min(_INT_MAX, int(value))))
    number = float(value)
    return "f", osc_types.write_float(0.0 if math.isnan(number) else max(-_FLOAT_MAX, min(_FLOAT_MAX, number)))


def _text(value: str) -> bytes:
    clean = value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()
    return osc_types.write_string(clean)
