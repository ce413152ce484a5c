"""Finds the token in a stranger's `hello` without reading anything else of his packet.

Who may send is decided on these bytes, before the decoder sees any of them. Only a `hello` as programs send it is found: the arguments
before the token are texts and plain numbers.
"""

from __future__ import annotations

from worker.protocol import addresses
from worker.protocol.messages import Hello

#: How a hello begins, in a packet or in an element of a bundle. Everything in a packet begins at a multiple of 4 bytes.
HEAD = addresses.HELLO.encode() + b"\0" * (4 - len(addresses.HELLO) % 4)
_TOKEN = Hello.__struct_fields__.index("token")
_TEXT, _FOUR_BYTES, _NOTHING = b"sS", b"if", b"TFN"


def token_in(datagram: bytes) -> bytes | None:
    r"""The token of the first hello in a packet, as it came; None if there is no hello, or none with a token.

    >>> from worker.protocol.osc import encode
    >>> token_in(encode(Hello("td", 9461, 9462, "", "secret")))
    b'secret'
    >>> token_in(b"/worker/hello\0\0\0,sii\0\0\0\0td\0\0\0\0$\xf5\0\0$\xf6")
    """
    start = datagram.find(HEAD)
    while start > 0 and start % 4:
        start = datagram.find(HEAD, start + 1)
    if start < 0:
        return None
    try:
        return _token_at(datagram, start + len(HEAD))
    except (IndexError, ValueError):  # it ends in the middle
        return None


def _token_at(datagram: bytes, position: int) -> bytes | None:
    stop = datagram.index(0, position)
    tags = datagram[position:stop]
    position = (stop | 3) + 1
    for place, tag in enumerate(tags[1 : _TOKEN + 2]):
        if tag in _TEXT:
            stop = datagram.index(0, position)
            if place == _TOKEN:
                return datagram[position:stop]
            position = (stop | 3) + 1
        elif tag in _FOUR_BYTES:
            position += 4
        elif tag not in _NOTHING:
            return None
    return None
