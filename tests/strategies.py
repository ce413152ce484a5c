"""Hypothesis strategies for messages and datagrams."""

from __future__ import annotations

import struct
from typing import Any

from hypothesis import strategies as st

from worker.protocol import messages, osc

INT32 = st.integers(-(2**31), 2**31 - 1)
FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=40)
NAMES = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="/"), min_size=1, max_size=20)
IDS = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF), min_size=1, max_size=60).filter(str.isprintable)
PORTS = st.integers(0, 65_535)

_BY_TYPE: dict[str, st.SearchStrategy[Any]] = {"int": INT32, "float": FLOAT32, "str": TEXT}
_BY_FIELD: dict[tuple[type[messages.Message], str], st.SearchStrategy[Any]] = {
    (messages.Hello, "text_port"): PORTS,
    (messages.Hello, "number_port"): PORTS,
    (messages.Hello, "host"): st.one_of(st.just(""), st.ip_addresses(v=4).map(str)),
    (messages.Job, "id"): st.one_of(st.just(""), IDS),
    (messages.Job, "pairs"): st.lists(st.tuples(TEXT, INT32 | FLOAT32 | TEXT), max_size=8).map(tuple),
    (messages.Cancel, "id"): IDS,
    (messages.Trigger, "id"): st.just("") | IDS,
    (messages.Query, "id"): IDS,
    (messages.Set, "value"): INT32 | FLOAT32 | TEXT,
    (messages.Tracked, "numbers"): st.lists(FLOAT32, max_size=30).map(tuple),
    (messages.ResultRows, "numbers"): st.lists(FLOAT32, max_size=30).map(tuple),
}


def messages_of(cls: type[messages.Message]) -> st.SearchStrategy[messages.Message]:
    """Any message of one class, as it can be sent."""
    chosen = {}
    for place, field in enumerate(messages.fields(cls)):
        by_place = NAMES if place < cls.tail else _BY_TYPE.get(field.type, TEXT)
        chosen[field.name] = _BY_FIELD.get((cls, field.name), by_place)
    return st.builds(cls, **chosen)


COMMANDS = st.one_of([messages_of(cls) for cls in messages.COMMANDS.values()])
REPORTS = st.one_of([messages_of(cls) for cls in messages.REPORTS.values()])

#: Bytes that get further into a decoder than random ones do.
_PIECES = st.sampled_from(
    [
        b"#bundle\0",
        b"/worker/job\0",
        b"/worker/hello\0\0\0",
        b",",
        b",I\0\0",
        b",[[[",
        b"]]]",
        b"\0\0\0\0",
        b"\xff\xff\xff\xff",
        b"\0\0\0\x10",
        b"\x80",
    ]
)
DATAGRAMS = st.one_of(
    st.binary(max_size=200),
    st.lists(_PIECES | st.binary(max_size=12), max_size=30).map(b"".join),
    COMMANDS.map(osc.encode),
)


def osc_text(text: str) -> bytes:
    """An OSC string, made without the code under test."""
    data = text.encode() + b"\0"
    return data + b"\0" * (-len(data) % 4)


def osc_message(address: str, tags: str, *parts: bytes) -> bytes:
    """An OSC message from its type tags and the bytes of its arguments."""
    return osc_text(address) + osc_text("," + tags) + b"".join(parts)


def osc_bundle(*elements: bytes, time_tag: int = 1) -> bytes:
    """An OSC bundle."""
    return b"#bundle\0" + struct.pack(">Q", time_tag) + b"".join(struct.pack(">i", len(element)) + element for element in elements)
