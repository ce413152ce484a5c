"""The parameters of a live job beside those of its operation: where its pictures come from, and where its results go. Pure."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from worker.catalog.params import Params
from worker.errors import ArgumentError, PathError
from worker.files.frames import FrameName
from worker.protocol.addresses import Peer

#: The kinds of sources. The sandbox of the child depends on the kind: a stream needs the network, a camera its device.
SourceKind = Literal["frame", "camera", "file", "stream", "ndi"]
#: What can be opened over the network. Everything else that FFmpeg knows (file, pipe, concat, ...) is refused.
SCHEMES = ("rtsp", "http", "https")
#: Reports carry ids as floats of 32 bits, which hold whole numbers up to here exactly. After this one they begin at 1 again.
LAST_ID = 2**24 - 1
_MOST_CAMERAS = 64
_LONGEST_NDI = 200
_CREDENTIALS = re.compile(r"//[^/@\s]*@")


class LiveParams(Params, frozen=True, kw_only=True):
    """The parameters of a live job that the scheduler has to know."""

    source: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=2000,
            description="frame:FILE, camera:0, a video, an image folder or pattern, rtsp://... or http://..., ndi:NAME",
        ),
    ]
    what: str = ""
    name: Annotated[
        str,
        Meta(
            pattern=r"\A[A-Za-z0-9_-]{0,32}\Z",
            description="in addresses and channels: letters, digits, - and _; empty = a free number; the same again replaces the older job",
        ),
    ] = ""
    rate: Annotated[
        float,
        Meta(ge=0.1, le=240, extra={"unit": "1/s"}, description="at most this many results a second; pictures in between are left out"),
    ] = 30.0
    slots: Annotated[
        int,
        Meta(ge=0, le=256, description="for instancing: always this many rows, and an object stays in its row; 0 = a row for each object"),
    ] = 0
    tuio: Annotated[str, Meta(max_length=100, description="also send TUIO 1.1 to this HOST:PORT, such as 127.0.0.1:3333; empty = no")] = ""
    tuio_profile: Annotated[
        Literal["auto", "cursor", "object", "blob"],
        Meta(description="which TUIO profile is sent; auto = object for markers and templates, otherwise blob"),
    ] = "auto"
    settings: Annotated[
        str,
        Meta(max_length=8000, description="parameters of the operation that searches, as key=value with ; between them, or each as a key"),
    ] = ""


class SourceName(msgspec.Struct, frozen=True):
    """A source, as `source` names it.

    Attributes:
        kind: what it is.
        text: the path of a frame file, the number of a camera, a path, an address, the name of an NDI source.
    """

    kind: SourceKind
    text: str

    @property
    def needs(self) -> frozenset[str]:
        """What the sandbox leaves open for it."""
        return frozenset({"camera": ("devices",), "stream": ("network",), "ndi": ("network",)}.get(self.kind, ()))

    @property
    def shown(self) -> str:
        """For reports and the log: without a password."""
        return shown(self.text) if self.kind in ("file", "stream") else f"{self.kind}:{self.text}"


def shown(text: str) -> str:
    """An address without name and password.

    >>> shown("rtsp://admin:secret@10.0.0.7/live")
    'rtsp://...@10.0.0.7/live'
    """
    return _CREDENTIALS.sub("//...@", text)


def source_of(text: str) -> SourceName:
    """Reads the parameter `source`.

    >>> [source_of(text).kind for text in ("frame:top1.frame", "camera:0", "shots/*.png", "rtsp://10.0.0.7/live", "ndi:DESK", "C:/a.mp4")]
    ['frame', 'camera', 'file', 'stream', 'ndi', 'file']

    Raises:
        ArgumentError: it is none.
    """
    text = text.strip()
    kind, colon, rest = text.partition(":")
    if (frame := FrameName.of(text)) is not None:
        if frame.slot is not None or not frame.path:
            raise ArgumentError(f"source: a live job takes the newest frame of a file, such as frame:cam.frame; got {text!r:.80}.")
        return SourceName("frame", frame.path)
    if colon and kind == "camera":
        if not rest.isascii() or not rest.isdecimal() or int(rest) >= _MOST_CAMERAS:
            raise ArgumentError(f"source: a camera has a number from 0 to {_MOST_CAMERAS - 1}, such as camera:0; got {rest!r:.80}.")
        return SourceName("camera", str(int(rest)))
    if colon and kind == "ndi":
        if not rest.strip() or len(rest) > _LONGEST_NDI or not rest.isprintable():
            raise ArgumentError(f"source: ndi: is followed by the name of a source, such as ndi:DESK (TouchDesigner); got {rest!r:.80}.")
        return SourceName("ndi", rest.strip())
    if rest.startswith("//"):
        return SourceName("stream", _address(kind, text))
    return SourceName("file", text)


def _address(scheme: str, text: str) -> str:
    if scheme.lower() not in SCHEMES:
        raise ArgumentError(f"source: a stream begins with {', '.join(f'{one}://' for one in SCHEMES)}; got {scheme!r:.40}.")
    if any(letter <= " " or letter in "\x7f|\\" for letter in text):
        raise ArgumentError("source: an address has no spaces, no | and no \\; write them as %20, %7C and %5C.")
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host:
        raise ArgumentError(f"source: {shown(text)!r:.200} has no host, or a port that is none.")
    return text


def check_host(address: str, allowed: Sequence[str]) -> None:
    """Whether a stream's host is one that the operator has allowed: by its name, its address, or a network that holds the address.

    A name is not looked up here: otherwise the owner of the name would say which computer it is.

    >>> check_host("rtsp://10.0.0.7/live", ("10.0.0.0/24",))
    >>> check_host("http://desk.local:8080/a", ("desk.local",))

    Raises:
        PathError: it is not.
    """
    host = (urlsplit(address).hostname or "").rstrip(".").lower()
    for entry in allowed:
        if host == entry.rstrip(".").lower():
            return
        try:
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry):
                return
        except ValueError:
            continue
    raise PathError(f"Streams of {host} may not be opened.", f"Start the worker with --live-host {host}.")


def tuio_target(text: str) -> Peer:
    """Reads the parameter `tuio`.

    >>> tuio_target("127.0.0.1:3333"), tuio_target("[::1]:3333"), tuio_target("localhost:3333")
    (('127.0.0.1', 3333), ('::1', 3333), ('127.0.0.1', 3333))

    Raises:
        ArgumentError: it is not HOST:PORT, with an IP address as the host.
    """
    host, _, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
        if not port.isascii() or not port.isdecimal() or not 0 < int(port) < 2**16:
            raise ValueError
    except ValueError:
        raise ArgumentError(f"tuio must be HOST:PORT with an IP address, such as 127.0.0.1:3333; got {text!r:.80}.") from None
    return ("127.0.0.1" if host == "localhost" else host), int(port)
