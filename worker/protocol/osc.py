"""Bytes to messages and back, by a codec of our own: it is on the way of every datagram, and must stand whatever comes.

OSC 1.0 with the type tags `i f s b`, those of OSC 1.1 (`T F N I`), and of the others `h d S c r m` and arrays. All that is sent is `i f s`.
The tests hold it to python-osc. That one raises UnicodeDecodeError, struct.error and IndexError on some packets, follows a negative element
size in a bundle for ever, and drops the argument of a type tag that it does not know.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from worker.errors import DecodeError
from worker.protocol import addresses
from worker.protocol.messages import Argument, Command, Impulse, Message, Plain, Report, number_as_text, parse_command, parse_report

T = TypeVar("T")

_BUNDLE = b"#bundle\x00"
_BUNDLE_HEAD = 16  # with the time tag
#: Of one datagram. A small bundle could ask for a great deal of work otherwise.
MAX_MESSAGES = 1000
_MAX_DEPTH = 8  # of bundles within bundles, and of arrays within arrays
_INT_MAX = 2**31 - 1
_FLOAT_MAX = 3.4028234663852886e38
#: Commands whose first argument is the id of a job. The second one of a trigger is, too.
_NAMES_A_JOB = frozenset({addresses.JOB, addresses.CANCEL, addresses.QUERY})
#: A longer id would leave no room for the reason in the report that repeats it.
_LONGEST_ECHO = 800


def decode_commands(datagram: bytes) -> tuple[Command | DecodeError, ...]:
    """All commands of a datagram, in order. Bundles are flattened and their time tags ignored.

    What cannot be used stands as a `DecodeError` in its place, so that one stray channel of an OSC Out CHOP does not spoil the
    others of its bundle.
    """
    return _decode(datagram, parse_command)


def decode_reports(datagram: bytes) -> tuple[Report | DecodeError, ...]:
    """All reports of a datagram, in order; the client's side of `decode_commands`."""
    return _decode(datagram, parse_report)


class _NotComplete(ValueError):
    """Why a message cannot be read, in words for its sender."""


def _decode(datagram: bytes, parse: Callable[[str, Sequence[Argument]], T]) -> tuple[T | DecodeError, ...]:
    if (usual := _usual(datagram, parse)) is not None:
        return usual
    decoded: list[T | DecodeError] = []
    try:
        for element in _elements(datagram):
            for address, arguments in _messages(element):
                try:
                    decoded.append(parse(address, arguments))
                except DecodeError as error:
                    error.job_id = error.job_id or _job_of(address, arguments)
                    decoded.append(error)
                if len(decoded) > MAX_MESSAGES:  # all or nothing: what came is not half done
                    return _too_many(datagram)
    except DecodeError as error:
        decoded.append(error)
    return tuple(decoded)


def _too_many(datagram: bytes) -> tuple[DecodeError, ...]:
    """The refusal of a whole datagram, and of each job in it."""
    message = f"A datagram may hold at most {MAX_MESSAGES} messages. Nothing of this one was done."
    jobs: dict[str, str] = {}
    with contextlib.suppress(DecodeError):
        for element in _elements(datagram):
            for address, arguments in _messages(element):
                if address not in (addresses.CANCEL, addresses.QUERY) and (job_id := _job_of(address, arguments)):
                    jobs[job_id] = address
    return DecodeError(message), *(DecodeError(message, address=address, job_id=job_id) for job_id, address in jobs.items())


def _usual(datagram: bytes, parse: Callable[[str, Sequence[Argument]], T]) -> tuple[T, ...] | None:
    """What nearly all datagrams are: one message, or a bundle of messages, and all can be read. None for any other."""
    try:
        if datagram[:1] == b"/":
            address, arguments, position = _read(datagram, 0)
            return (parse(address, arguments),) if position == len(datagram) else None
        if not datagram.startswith(_BUNDLE):
            return None
        decoded: list[T] = []
        position, end = _BUNDLE_HEAD, len(datagram)
        while position < end:
            (size,) = _int_at(datagram, position)
            address, arguments, after = _read(datagram, position + 4)
            if after != position + 4 + size or len(decoded) == MAX_MESSAGES:
                return None
            decoded.append(parse(address, arguments))
            position = after
        return tuple(decoded) if position == end else None
    except (DecodeError, struct.error):
        return None


def _messages(packet: bytes) -> Iterator[tuple[str, list[Argument]]]:
    """The messages of an element. OSC says that there is one; some senders put several into a datagram, one behind the other.

    Raises:
        DecodeError: what stands there, or is left over, is no message.
    """
    position, end = 0, len(packet)
    while True:
        address, arguments, position = _read(packet, position)
        rest = packet[position:] if position < end and packet[position] != _SLASH else b""
        is_left_over = bool(rest.strip(b"\0"))  # otherwise the datagram is only filled up
        if not (is_left_over and address == addresses.JOB):  # a job with more bytes than its tags say is not what its sender means
            yield address, arguments
        if is_left_over:
            message = f"{len(rest)} bytes are left over behind {address[:100]}, and are no message: {rest[:12]!r}."
            raise DecodeError(message, address=address, job_id=_job_of(address, arguments) if address == addresses.JOB else "")
        if rest or position == end:
            return


def _elements(packet: bytes, depth: int = 0) -> Iterator[bytes]:
    """What is no bundle in a packet. OSC 1.0: a bundle is "#bundle", a time tag, and elements, each behind its size as an int32."""
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
    r"""The address and the arguments of the first OSC message of a packet.

    >>> read_message(b"/worker/ping\0\0\0\0,i\0\0\0\0\0\7")
    ('/worker/ping', [7])

    Raises:
        DecodeError: the bytes are no OSC message, or have a type tag that is not understood here.
    """
    address, arguments, _ = _read(packet, 0)
    return address, arguments


_SLASH, _COMMA = b"/,"
_S, _I, _F, _TRUE, _FALSE, _NIL, _SYMBOL = b"sifTFNS"
_int_at = struct.Struct(">i").unpack_from
_float_at = struct.Struct(">f").unpack_from
_long_at = struct.Struct(">q").unpack_from
_double_at = struct.Struct(">d").unpack_from
#: Address and type tags by their bytes: there are few of them, and it takes half of the time of a small message to read them.
_HEADS: dict[bytes, tuple[str, bytes]] = {}
_MANY_HEADS = 1024
_LONGEST_HEAD = 128


def _read(packet: bytes, start: int) -> tuple[str, list[Argument], int]:
    """The message that begins at `start`, and where it ends. Raises as `read_message`."""
    address, arguments = "", list[Argument]()
    try:
        find, append, index = packet.find, arguments.append, packet.index
        position = (find(0, (find(0, start) | 3) + 1) | 3) + 1  # behind the tags, in any usual message
        if position - start <= _LONGEST_HEAD and (head := _HEADS.get(packet[start:position])) is not None:
            address, tags = head
        else:
            if packet[start : start + 1] != b"/":
                raise DecodeError(f"Not an OSC packet: it starts with {packet[start : start + 12]!r}, expected '/' or '#bundle'.")
            address, position = _text_at(packet, start)
            if position == len(packet) or packet[position] == _SLASH:  # some old senders leave the tags out where there are no arguments
                return address, arguments, position
            tags, position = _tags_at(packet, position, address)
            if position - start <= _LONGEST_HEAD and len(_HEADS) < _MANY_HEADS:
                _HEADS[packet[start:position]] = address, tags
        begin = position
        for tag in tags:
            if tag == _S:
                stop = index(0, position)
                append(packet[position:stop].decode())
                position = (stop | 3) + 1
            elif tag == _I:
                append(_int_at(packet, position)[0])
                position += 4
            elif tag == _F:
                append(_float_at(packet, position)[0])
                position += 4
            elif tag == _TRUE:
                append(True)
            elif tag == _FALSE:
                append(False)
            elif tag == _NIL:
                append(None)
            else:
                arguments.clear()
                position = _read_others(packet, begin, tags, arguments)
                break
        if position > len(packet):
            raise _NotComplete("it ends within its last argument")
    except UnicodeDecodeError:
        raise DecodeError("A text is not UTF-8; send UTF-8.", address=address, job_id=_job_of(address, arguments)) from None
    except DecodeError as error:
        error.address, error.job_id = address, _job_of(address, arguments)
        raise
    except (IndexError, ValueError, OverflowError, struct.error) as error:
        why = str(error) if isinstance(error, _NotComplete) else "it ends within an argument, or a text in it does not end"
        raise DecodeError(f"Not a complete OSC message: {why}.", address=address, job_id=_job_of(address, arguments)) from None
    return address, arguments, position


def _job_of(address: str, arguments: Sequence[Argument]) -> str:
    """The id of the job that a message is about, as far as it could be read; so that the client that waits for that job hears of it."""
    place = 0 if address in _NAMES_A_JOB else 1 if address.startswith(addresses.TRIGGER + "/") else len(arguments)
    if place < len(arguments):
        job_id = arguments[place]
        if isinstance(job_id, int | float):
            return number_as_text(job_id)
        if isinstance(job_id, str) and len(job_id.encode(errors="replace")) <= _LONGEST_ECHO:
            return job_id
    return ""


def _text_at(packet: bytes, position: int) -> tuple[str, int]:
    stop = packet.index(0, position)
    after = (stop | 3) + 1
    if after > len(packet):
        raise _NotComplete("it ends within a text")
    return packet[position:stop].decode(), after


def _tags_at(packet: bytes, position: int, address: str) -> tuple[bytes, int]:
    """The type tags without their comma."""
    stop = packet.index(0, position)
    tags, after = packet[position:stop], (stop | 3) + 1
    if tags[:1] != b",":
        raise DecodeError(f"The type tags must start with a comma; got {tags[:20].decode(errors='replace')!r}.", address=address)
    if after > len(packet):
        raise _NotComplete("it ends within its type tags")
    return tags[1:], after


def _read_others(packet: bytes, position: int, tags: bytes, arguments: list[Argument]) -> int:
    """Reads on with the tags that are seldom sent; returns where the arguments end."""
    open_lists = [arguments]
    for code in tags:
        tag = chr(code)
        if tag == "[":
            if len(open_lists) > _MAX_DEPTH:  # so that code that walks through the arguments, repr() included, cannot overflow its stack
                raise DecodeError(f"Arrays may be nested at most {_MAX_DEPTH} deep.")
            inner: list[Argument] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif tag == "]":
            open_lists.pop()
            if not open_lists:
                raise _NotComplete("an array ends that has not begun")
        elif tag not in _READERS:
            raise DecodeError(f"Type tag {tag!r} is not understood; send i, f or s.")
        else:
            value, position = _READERS[tag](packet, position)
            open_lists[-1].append(value)
    if len(open_lists) > 1:
        raise _NotComplete("an array does not end")
    return position


def _blob_at(packet: bytes, position: int) -> tuple[bytes, int]:
    (size,) = _int_at(packet, position)
    after = position + 4 + size + -size % 4
    if size < 0 or after > len(packet):
        raise _NotComplete(f"a blob claims {size} bytes")
    return packet[position + 4 : position + 4 + size], after


def _letter_at(packet: bytes, position: int) -> tuple[str, int]:
    (code,) = _int_at(packet, position)
    if not 0 <= code <= sys.maxunicode:
        raise _NotComplete(f"{code} is no letter")
    return chr(code), position + 4


def _color_at(packet: bytes, position: int) -> tuple[str, int]:
    """Red, green, blue and alpha, as operations take a colour; they have no use for its alpha."""
    red, green, blue, _ = struct.unpack_from("4B", packet, position)
    return f"#{red:02x}{green:02x}{blue:02x}", position + 4


def _midi_at(packet: bytes, position: int) -> tuple[float, int]:
    """How far a key or a controller is pressed, 0 to 1, so that a pad can trigger a preset."""
    _, status, _, value = struct.unpack_from("4B", packet, position)
    kind = status >> 4
    if kind not in (0x8, 0x9, 0xB) or value > 127:
        raise DecodeError(f"A MIDI message of status {status:#04x} means nothing here; notes and controllers do.")
    return 0.0 if kind == 0x8 else value / 127, position + 4


_IMPULSE = Impulse(math.inf)
_READERS: dict[str, Callable[[bytes, int], tuple[Argument, int]]] = {
    "s": _text_at,
    "S": _text_at,
    "i": lambda packet, position: (_int_at(packet, position)[0], position + 4),
    "f": lambda packet, position: (_float_at(packet, position)[0], position + 4),
    "h": lambda packet, position: (_long_at(packet, position)[0], position + 8),
    "d": lambda packet, position: (_double_at(packet, position)[0], position + 8),
    "b": _blob_at,
    "c": _letter_at,
    "r": _color_at,
    "m": _midi_at,
    "T": lambda _, position: (True, position),
    "F": lambda _, position: (False, position),
    "N": lambda _, position: (None, position),
    "I": lambda _, position: (_IMPULSE, position),
}

# ---------------------------------------------------------------------------------------------------------- outwards

_PAD = (b"\0\0\0\0", b"\0\0\0", b"\0\0", b"\0")
_TAGS: dict[type, str] = {int: "i", float: "f", str: "s"}
_pack_int = struct.Struct(">i").pack
_pack_float = struct.Struct(">f").pack
#: How arguments of these types are sent: address and type tags as bytes, then runs of them. A text is a run of its own, for which there is
#: None; whole numbers, and numbers, are packed together, at most this many at once.
_Layout = tuple[bytes, tuple[tuple[Callable[..., bytes] | None, int, bool], ...]]
_LAYOUTS: dict[tuple[str, tuple[type, ...]], _Layout] = {}
_MANY_LAYOUTS = 4096


def encode(message: Message) -> bytes:
    """One message as a datagram, with the type tags `i f s` only.

    Numbers are brought into the range of their 32 bits, and characters that OSC's text cannot carry are replaced, so that a report
    is never lost over one odd value.
    """
    arguments = message.arguments()
    types = tuple(map(type, arguments))
    address = message.full_address if message.tail else message.address
    try:
        head, runs = _LAYOUTS.get((address, types)) or _layout(address, types)
        parts, place = [head], 0
        for pack, count, is_float in runs:
            if pack is None:
                data = arguments[place].encode()  # type: ignore[union-attr] # the types say that it is a text
                if 0 in data:
                    return _encode_odd(message)
                parts += (data, _PAD[len(data) & 3])
                place += 1
                continue
            values = arguments[place : place + count]
            place += count
            if is_float and not all(-_FLOAT_MAX <= value <= _FLOAT_MAX for value in values):  # type: ignore[operator] # false for NaN, too
                return _encode_odd(message)
            parts.append(pack(*values))
        return b"".join(parts)
    except (KeyError, struct.error, UnicodeEncodeError):
        return _encode_odd(message)


def _layout(address: str, types: tuple[type, ...]) -> _Layout:
    """Raises KeyError for a type that does not travel as it is."""
    tags = "".join([_TAGS[one] for one in types])
    runs: list[tuple[Callable[..., bytes] | None, int, bool]] = []
    for tag, group in itertools.groupby(tags):
        count = len([*group])
        runs += [(None, 1, False)] * count if tag == "s" else [(struct.Struct(f">{count}{tag}").pack, count, tag == "f")]
    layout = _text(address) + _text("," + tags), tuple(runs)
    if len(_LAYOUTS) < _MANY_LAYOUTS:
        _LAYOUTS[address, types] = layout
    return layout


def _encode_odd(message: Message) -> bytes:
    """A message with something that must be changed before it can be sent."""
    tags, parts = [","], []
    for value in message.arguments():
        tag, part = _encoded(value)
        tags.append(tag)
        parts.append(part)
    return b"".join([_text(message.full_address), _text("".join(tags)), *parts])


def bundle(elements: Sequence[bytes]) -> bytes:
    """Several encoded messages as one datagram, to be executed at once (time tag 1)."""
    parts = [_BUNDLE, b"\0\0\0\0\0\0\0\1"]
    for element in elements:
        parts += (_pack_int(len(element)), element)
    return b"".join(parts)


def bundles(elements: Sequence[bytes], size_bytes: int) -> Iterator[bytes]:
    """Encoded messages as few datagrams, in order. One that shares its datagram with no other is no bundle.

    Args:
        elements: the messages.
        size_bytes: maximum size of a bundle.

    >>> from worker.protocol.messages import Ping
    >>> ping = encode(Ping(1))
    >>> [len(datagram) for datagram in bundles([ping] * 3, 80)], len(ping)
    ([72, 24], 24)
    """
    first, size = 0, _BUNDLE_HEAD
    for place, element in enumerate(elements):
        size += len(element) + 4
        if size > size_bytes and place > first:
            yield elements[first] if place == first + 1 else bundle(elements[first:place])
            first, size = place, _BUNDLE_HEAD + len(element) + 4
    if elements:
        yield elements[first] if len(elements) == first + 1 else bundle(elements[first:])


def encode_bundle(messages: Sequence[Message]) -> bytes:
    """Several messages as one datagram, to be executed at once."""
    return bundle([encode(message) for message in messages])


def _encoded(value: Plain) -> tuple[str, bytes]:
    if isinstance(value, str):
        return "s", _text(value)
    if isinstance(value, int):
        return "i", _pack_int(max(-_INT_MAX - 1, min(_INT_MAX, int(value))))
    number = float(value)
    return "f", _pack_float(0.0 if math.isnan(number) else max(-_FLOAT_MAX, min(_FLOAT_MAX, number)))


def _text(value: str) -> bytes:
    data = value.replace("\0", "\ufffd").encode(errors="replace")
    return data + _PAD[len(data) & 3]
