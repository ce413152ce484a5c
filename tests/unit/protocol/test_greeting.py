"""The token of a hello is found in its bytes, without decoding them."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.strategies import COMMANDS, DATAGRAMS, messages_of, osc_bundle, osc_message, osc_text
from worker.protocol.greeting import token_in
from worker.protocol.messages import Hello
from worker.protocol.osc import decode_commands, encode


@given(messages_of(Hello), COMMANDS)
def test_it_is_what_the_decoder_reads(hello, command):
    """Alone, and behind any other command in a bundle that is no hello itself."""
    assert token_in(encode(hello)) == hello.token.encode()
    if not isinstance(command, Hello) and b"/worker/hello" not in encode(command):
        assert token_in(osc_bundle(encode(command), encode(hello))) == hello.token.encode()


@given(DATAGRAMS)
def test_any_bytes(datagram):
    """Nothing escapes; and where a hello with a token can be decoded first, that token is found."""
    found = token_in(datagram)
    decoded = decode_commands(datagram)
    if decoded and isinstance(decoded[0], Hello) and decoded[0].token:
        assert found == decoded[0].token.encode()


@pytest.mark.parametrize(
    ("tags", "arguments"),
    [
        ("sffss", [osc_text("td"), b"\0\0\0\0", b"\0\0\0\0", osc_text(""), osc_text("secret")]),
        ("siiNs", [osc_text("td"), b"\0\0\0\0", b"\0\0\0\0", osc_text("secret")]),
        ("SiTsS", [osc_text("a longer name"), b"\0\0\0\0", osc_text("10.0.0.1"), osc_text("secret")]),
    ],
)
def test_forms_of_a_hello(tags, arguments):
    """A CHOP sends ports as floats, nil leaves an argument out, old senders have symbols."""
    assert token_in(osc_message("/worker/hello", tags, *arguments)) == b"secret"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"/worker/hello",
        b"/worker/hello\0\0\0",
        osc_message("/worker/hello", "sii", osc_text("td"), b"\0" * 8),
        osc_message("/worker/hello", "siis", osc_text("td"), b"\0" * 8, osc_text("secret")),
        osc_message("/worker/hello", "sdiss", osc_text("td"), b"\0" * 12, osc_text(""), osc_text("secret")),
        osc_message("/worker/hello", "siiss", osc_text("td"), b"\0" * 8, osc_text(""))[:-4] + b"secr",
        b"\0\0" + encode(Hello("td", 0, 0, "", "secret")),
    ],
)
def test_no_token(packet):
    """Too short, no token, an argument of another kind before it, cut off, or not where a message can begin."""
    assert token_in(packet) is None
