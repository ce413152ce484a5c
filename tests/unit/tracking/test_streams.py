"""Streams of a server of our own: what is read, what is not followed, and that no password is shown."""

from __future__ import annotations

import builtins
import http.server
import threading
import time

import cv2
import numpy as np
import pytest

from worker.catalog.live import check_host, source_of
from worker.errors import ArgumentError, LimitExceeded, PathError, Unavailable
from worker.files.limits import FileLimits
from worker.tracking import streams
from worker.tracking.sources import SourceVanished

LIMITS = FileLimits()


class Server(http.server.ThreadingHTTPServer):
    """Serves JPEGs as a webcam does, sends some on to another address, and notes what was asked for."""

    daemon_threads = True

    def __init__(self, other: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []
        self.other = other
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        if self.path == "/elsewhere":
            self.send_response(302)
            self.send_header("Location", f"{self.server.other}/camera")
            self.end_headers()
            return
        if self.path == "/list":
            self._answer("application/vnd.apple.mpegurl", f"#EXTM3U\n#EXTINF:10,\n{self.server.other}/camera\n#EXT-X-ENDLIST\n".encode())
            return
        if self.path == "/text":
            self._answer("text/plain", b"nothing to see here " * 100)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        try:
            for n in range(200):
                image = np.full((120, 160, 3), n, np.uint8)
                data = cv2.imencode(".jpg", image)[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n")
                time.sleep(0.02)
        except OSError:
            pass

    def _answer(self, kind: str, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def servers():
    other = Server()
    server = Server(other.address)
    yield server, other
    for one in (server, other):
        one.shutdown()
        one.server_close()


@pytest.fixture(params=["pyav", "opencv"])
def library(request, monkeypatch):
    """With PyAV, and as if it were not installed."""
    if request.param == "pyav":
        pytest.importorskip("av", reason="PyAV is not installed (extra video)")
        return
    real = builtins.__import__

    def without(name, *args):
        if name == "av":
            raise ImportError(name)
        return real(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)


@pytest.mark.usefixtures("library")
def test_a_webcam(servers):
    """Pictures come, newer ones each time, in the size that the stream has."""
    server, _ = servers
    source = streams.stream(f"{server.address}/camera", LIMITS, silent_s=5)
    try:
        assert source.about.endswith("/camera, 160x120")
        first = second = None
        deadline = time.monotonic() + 30
        while second is None and time.monotonic() < deadline:
            picture = source.newest(0.5)
            first, second = first or picture, picture if first is not None else None
            time.sleep(0.1)
        assert first is not None
        assert second is not None
        assert second.number > first.number
        assert second.image.shape == (120, 160, 3)
    finally:
        source.close()


@pytest.mark.usefixtures("library")
@pytest.mark.parametrize("path", ["elsewhere", "list", "text"])
def test_not_followed(servers, path):
    """Neither a server that sends us on nor a list of addresses leads anywhere else; the sentence does not hold the password."""
    server, other = servers
    other.asked.clear()
    with pytest.raises((SourceVanished, Unavailable)) as caught:
        streams.stream(f"http://me:secret@127.0.0.1:{server.server_port}/{path}", LIMITS, silent_s=2)
    assert "secret" not in str(caught.value)
    assert other.asked == []


def test_an_ffmpeg_that_can_be_led_elsewhere(servers, monkeypatch):
    """Before FFmpeg 8.1 it follows a server that sends it on, in spite of all settings: it is given no HTTP address. RTSP it may read."""
    server, _ = servers
    server.asked.clear()
    monkeypatch.setattr(streams, "version_of_opencv", lambda: (62, 3))
    for pyav in (None, (61, 7)):
        monkeypatch.setattr(streams, "version_of_pyav", lambda pyav=pyav: pyav)
        with pytest.raises(Unavailable, match=r"^HTTP streams need FFmpeg 8\.1: .* \(libavformat 62\.3\)") as caught:
            streams.stream(f"{server.address}/camera", LIMITS, silent_s=2)
        assert caught.value.hint.endswith(" --upgrade av")
        with pytest.raises(SourceVanished):
            streams.stream("rtsp://127.0.0.1:1/camera", LIMITS, silent_s=1)
    assert server.asked == []


def test_the_version_of_ffmpeg():
    """Both libraries say which one they have, and with those of the tests HTTP can be read."""
    assert streams.version_of_opencv() > (50, 0)
    assert (streams.version_of_pyav() or (60, 0)) > (50, 0)


@pytest.mark.usefixtures("library")
def test_too_large(servers):
    """The limit for pictures holds."""
    server, _ = servers
    with pytest.raises(LimitExceeded):
        streams.stream(f"{server.address}/camera", FileLimits(megapixels=0), silent_s=5)


@pytest.mark.usefixtures("library")
def test_nobody_there():
    """A port on which nobody listens is reported at once."""
    with pytest.raises(SourceVanished):
        streams.stream("http://127.0.0.1:1/camera", LIMITS, silent_s=1)


# --------------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "text",
    [
        *("ftp://10.0.0.1/a", "file:///etc/passwd", "concat://a|b", "rtsp:///a", "http://", "http://10.0.0.1:99999/", "tcp://10.0.0.1"),
        *(
            "http://10.0.0.1/a|b",
            "http://10.0.0.1/a b",
            "http://10.0.0.1\\@evil/",
            "camera:",
            "camera:-1",
            "camera:1e3",
            "camera:64",
            "ndi:",
        ),
        *("frame:", "frame:a.frame#1", "http://[::1", "rtsp://10.0.0.1/\n"),
    ],
)
def test_no_source(text):
    """What is no source, or not by one of our protocols, is a sentence."""
    if text.endswith("\n"):
        text = "rtsp://10.0.0.1/a\nb"
    with pytest.raises(ArgumentError):
        source_of(text)


def test_hosts():
    """A host is allowed by its name, its address or its network, and never because a name leads to such an address."""
    allowed = ("desk.local", "10.0.0.0/24", "fd00::1")
    for address in ("rtsp://DESK.local./a", "http://10.0.0.200:8080/a", "rtsp://me:pw@10.0.0.1/a", "http://[fd00::1]/a"):
        check_host(address, allowed)
    for address in (
        "http://10.0.1.1/",
        "http://desk.local.evil.org/",
        "http://10.0.0.1@evil.org/",
        "http://localhost/",
        "http://167772161/",
    ):
        with pytest.raises(PathError, match="may not be opened"):
            check_host(address, allowed)
    with pytest.raises(PathError):
        check_host("http://127.0.0.1/", ())
