"""Streams over the network: RTSP and HTTP, by FFmpeg. PyAV gives the time of each picture; without it, OpenCV reads them.

FFmpeg opens any address, and some kinds of streams are lists of other addresses. So it may take only kinds that are one stream, and
only protocols that lead nowhere else; and no HTTP server may send it on to another address. FFmpeg can be forbidden that from 8.1 on; an
older one does not know the option, says nothing and goes wherever it is sent, so it is given no HTTP address.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import Any

import cv2

from worker import extras
from worker.catalog.live import shown
from worker.errors import Unavailable
from worker.files.limits import FileLimits
from worker.pictures.pixels import Image
from worker.tracking.sources import Grabber, SourceVanished, of_capture

#: FFmpeg's names. HLS, DASH and playlists are not among them.
_FORMATS = "rtsp,mpegts,mpjpeg,mjpeg,matroska,webm,mov,mp4,flv,h264,hevc,avi,ogg,asf"
_PROTOCOLS = {"rtsp": "rtsp,tcp,udp,rtp", "http": "http,tcp", "https": "https,tls,tcp"}
_OPEN_S = 10.0
#: A file behind an address is read no faster than it plays, apart from its first seconds: a live stream begins with some that are old.
_AHEAD_S = 5.0


#: libavformat of FFmpeg 8.1, the first in which `max_redirects` was seen to work; in 62.3, of FFmpeg 8.0, it does not.
_STAYS = 62, 12

Version = tuple[int, int]


def version_of_pyav() -> Version | None:
    """Of the libavformat in PyAV; None if it is not installed."""
    try:
        import av
    except ImportError:
        return None
    major, minor, *_ = av.library_versions["libavformat"]
    return major, minor


def version_of_opencv() -> Version:
    """Of the libavformat in OpenCV; 0, 0 if it has none, or does not say."""
    found = re.search(r"avformat:\s+YES \((\d+)\.(\d+)", cv2.getBuildInformation())
    return (int(found[1]), int(found[2])) if found else (0, 0)


def stream(address: str, limits: FileLimits, *, silent_s: float) -> Grabber:
    """A stream.

    Raises:
        SourceVanished: nobody answers there, or with something that is no stream.
        LimitExceeded: its pictures are too large.
        Unavailable: this is an HTTP address, and the FFmpeg of this installation could be led elsewhere.
    """
    scheme = address.partition(":")[0].lower()
    opened = _reader(scheme)
    options = {
        "protocol_whitelist": _PROTOCOLS[scheme],
        "format_whitelist": _FORMATS,
        "max_redirects": "0",
        "fflags": "nobuffer",
    }
    try:
        return opened(address, {**options, "rtsp_transport": "tcp"}, limits, silent_s)
    except _Refused:
        return opened(address, {**options, "rtsp_transport": "udp"}, limits, silent_s)


def _reader(scheme: str) -> Callable[[str, dict[str, str], FileLimits, float], Grabber]:
    """PyAV if it is there; for HTTP one that stays with the server that it is given."""
    pyav, opencv = version_of_pyav(), version_of_opencv()
    if pyav is not None and (scheme == "rtsp" or pyav >= _STAYS):
        return _by_pyav
    if scheme == "rtsp" or opencv >= _STAYS:
        return _by_opencv
    newest = max(opencv, pyav or opencv)
    raise Unavailable(
        f"HTTP streams need FFmpeg 8.1: the one of this installation (libavformat {newest[0]}.{newest[1]}) would follow a server that "
        "sends it on to another computer.",
        extras.install_package("av", "--upgrade"),
    )


class _Refused(SourceVanished):
    """An RTSP server answers, but does not send over TCP; or it may be so."""


def _by_opencv(address: str, options: dict[str, str], limits: FileLimits, silent_s: float) -> Grabber:
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = "|".join(f"{key};{value}" for key, value in options.items())
    timeouts = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, int(_OPEN_S * 1000), cv2.CAP_PROP_READ_TIMEOUT_MSEC, int(silent_s * 1000)]
    capture = cv2.VideoCapture(address, cv2.CAP_FFMPEG, [*timeouts, cv2.CAP_PROP_N_THREADS, 1])
    if not capture.isOpened():
        capture.release()
        vanished = _Refused if address.lower().startswith("rtsp:") else SourceVanished
        raise vanished("It cannot be opened: nobody answers, or with no stream that can be read.")
    return of_capture(capture, shown(address), limits, silent_s)


def _by_pyav(address: str, options: dict[str, str], limits: FileLimits, silent_s: float) -> Grabber:
    import av
    import av.logging

    av.logging.set_level(av.logging.PANIC)  # what it says may hold addresses with passwords
    try:
        container = av.open(address, options=options, timeout=(_OPEN_S, silent_s))
    except (av.FFmpegError, OSError, ValueError) as error:
        known = av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError, av.error.HTTPNotFoundError
        is_refused = isinstance(error, av.error.HTTPClientError) and not isinstance(error, known)
        raise (_Refused if is_refused and address.lower().startswith("rtsp:") else SourceVanished)(_reason(error)) from None
    try:
        if not container.streams.video:
            raise SourceVanished("It has no picture.")
        video = container.streams.video[0]
        video.thread_type = "SLICE"  # threads over several pictures would hold each of them back
        limits.check_picture(shown(address), video.width or 1, video.height or 1)
        pictures = container.decode(video)
    except BaseException:
        container.close()
        raise
    play = _Play(limits, shown(address))

    def grab() -> tuple[Callable[[], Image], float] | None:
        try:
            frame = next(pictures, None)
        except (av.FFmpegError, OSError, ValueError) as error:
            raise SourceVanished(_reason(error)) from None
        return None if frame is None else play.taken(frame)

    about = f"{shown(address)}, {video.width}x{video.height}"
    return Grabber(grab, silent_s=silent_s, about=about, close=container.close)


class _Play:
    """Keeps to the time of the stream."""

    def __init__(self, limits: FileLimits, name: str) -> None:
        self._limits = limits
        self._name = name
        self._began: tuple[float, float] | None = None
        self._last_s = 0.0

    def taken(self, frame: Any) -> tuple[Callable[[], Image], float]:
        """What loads a frame of PyAV, and its time."""
        self._limits.check_picture(self._name, frame.width, frame.height)
        now = time.monotonic()
        seconds = now if frame.time is None else float(frame.time)
        if self._began is None or seconds < self._last_s:  # its clock may begin anew
            self._began = now, seconds
        self._last_s = seconds
        ahead = (seconds - self._began[1]) - (now - self._began[0])
        if ahead > _AHEAD_S:
            time.sleep(min(ahead - _AHEAD_S, 1.0))
        return (lambda: frame.to_ndarray(format="bgr24")), seconds


def _reason(error: Exception) -> str:
    """FFmpeg's words, without the address: it may hold a password."""
    words = getattr(error, "strerror", None) or type(error).__name__
    return f"It cannot be read: {str(words)[:100]}."
