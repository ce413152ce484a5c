"""NDI: pictures of another program, also on another machine, by the package cyndilib (extra `ndi`), which holds NDI's own library."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from worker.files.limits import FileLimits
from worker.pictures.pixels import Image
from worker.tracking.sources import Grabber, SourceVanished, missing_package

#: How long it may take until NDI has found the source, and connected to it.
_FIND_S, _CONNECT_S = 5.0, 5.0
#: Between two looks for a new picture.
_LOOK_EVERY_S = 0.002


def ndi(name: str, limits: FileLimits, *, silent_s: float) -> Grabber:
    """An NDI source.

    Args:
        name: as NDI shows it, such as "DESK (TouchDesigner)"; or the part of it in brackets.
        limits: for the size of its pictures.
        silent_s: as for `Grabber`.

    Raises:
        Unavailable: cyndilib is not installed.
        SourceVanished: there is no such source now.
        LimitExceeded: its pictures are too large.
    """
    try:
        from cyndilib.finder import Finder
        from cyndilib.receiver import Receiver
        from cyndilib.video_frame import VideoFrameSync
        from cyndilib.wrapper.ndi_recv import RecvBandwidth, RecvColorFormat
    except ImportError:
        raise missing_package("NDI", "cyndilib", "ndi") from None
    finder = Finder()
    finder.open()
    receiver = None
    try:
        source = _found(finder, name)
        receiver = Receiver(color_format=RecvColorFormat.BGRX_BGRA, bandwidth=RecvBandwidth.highest)
        frame = VideoFrameSync()
        receiver.frame_sync.set_video_frame(frame)
        receiver.set_source(source)
        _wait(receiver.is_connected, _CONNECT_S, f"{name} was found, but does not answer.")
    except BaseException:
        _end(finder, receiver)
        raise
    grab = _Receiving(receiver, frame, name, limits).grab
    return Grabber(grab, silent_s=silent_s, about=f"NDI {name}", close=functools.partial(_end, finder, receiver))


class _Receiving:
    """Takes the newest picture of a receiver, as soon as there is a newer one."""

    def __init__(self, receiver: Any, frame: Any, name: str, limits: FileLimits) -> None:
        self._receiver, self._frame, self._name, self._limits = receiver, frame, name, limits
        self._before: float | None = None

    def grab(self) -> tuple[Callable[[], Image], float] | None:
        frame = self._frame
        while self._receiver.is_connected():
            self._receiver.frame_sync.capture_video()  # the newest one, again and again
            taken = frame.get_timestamp_posix()
            width, height = frame.get_resolution()
            if not width or not height or taken == self._before:
                time.sleep(_LOOK_EVERY_S)
                continue
            self._before = taken
            self._limits.check_picture(self._name, width, height)
            pixels = np.frombuffer(frame, np.uint8).reshape(height, frame.get_line_stride() // 4, 4)[:, :width, :3].copy()
            return functools.partial(np.asarray, pixels), float(taken)
        return None


def _end(finder: Any, receiver: Any) -> None:
    if receiver is not None:
        receiver.disconnect()
    finder.close()


def _found(finder: Any, name: str) -> Any:
    """The source of this name, as soon as NDI knows it."""
    until = time.monotonic() + _FIND_S
    while True:
        names = list(finder.get_source_names())
        for known in names:
            if name in (known, known.partition(" (")[2].removesuffix(")")):
                return finder.get_source(known)
        if time.monotonic() >= until:
            seen = f"It shows {', '.join(map(repr, names[:5]))}." if names else "It shows none."
            raise SourceVanished(f"NDI shows no source {name!r}. {seen}")
        finder.wait_for_sources(0.5)


def _wait(is_so: Callable[[], bool], seconds: float, otherwise: str) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() >= until:
            raise SourceVanished(otherwise)
        time.sleep(0.05)
