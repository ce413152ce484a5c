"""Where live pictures come from. Each source gives the newest picture that it has, and never one that has waited.

    with opened(...) as source:
        picture = source.newest(0.1)        None if none came within that time

A source that has come to its end raises `SourceEnded`, one that has vanished `SourceVanished`.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from worker import extras
from worker.errors import LimitExceeded, MissingFile, PathError, Unavailable, UnsupportedFormat, WorkerError
from worker.files.limits import FileLimits
from worker.pictures import video
from worker.pictures.frames import FrameFile
from worker.pictures.images import read_image
from worker.pictures.pixels import Image, size_of

log = logging.getLogger(__name__)

#: How long a thread that reads may take to end; the process ends with one that hangs.
_ENDS_WITHIN_S = 15.0
HUNG = 87
#: A frame that was written longer ago is one that had been there.
_OLDEST_S = 60.0


#: One picture of several; the others count.
_UNREADABLE = (LimitExceeded, MissingFile, PathError, UnsupportedFormat)


class SourceEnded(Exception):
    """There are no more pictures, as it should be."""


class SourceVanished(Exception):
    """It was there, or should be. The message says what is known."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """One picture.

    Attributes:
        image: top row first.
        number: counts the pictures of the source, those that nobody looked at among them.
        taken_at: when it was taken, or came, by the monotonic clock.
        seconds: the same by the source's own clock.
    """

    image: Image
    number: int
    taken_at: float
    seconds: float


class LiveSource(Protocol):
    """An open source."""

    @property
    def about(self) -> str:
        """What is known of it, for a sentence."""

    @property
    def silent_s(self) -> float:
        """Without a picture for so long it has gone quiet, and is waited for; 0 if that says nothing."""

    def newest(self, wait_s: float) -> Picture | None:
        """The newest picture that was not given yet; waits so long for one at most.

        Raises:
            SourceEnded, SourceVanished: none will come.
            WorkerError: one cannot be used.
        """

    def close(self) -> None:
        """Gives back what it holds."""


class Frames:
    """A frame file that another program writes. While it writes none, nothing is wrong: TouchDesigner may be paused."""

    def __init__(self, path: Path, name: str, limits: FileLimits, *, silent_s: float) -> None:
        """Raises as `worker.pictures.frames.FrameFile.open`."""
        self._stack = contextlib.ExitStack()
        self._file = self._stack.enter_context(FrameFile.open(path, limits))
        self._sequence = 0
        self.silent_s = silent_s
        self.about = name

    def newest(self, wait_s: float) -> Picture | None:
        frame = self._file.wait(self._sequence, wait_s)
        if frame is None:
            return None
        self._sequence = frame.sequence
        now = time.monotonic()
        age_s = (time.time_ns() - frame.time_ns) / 1e9 if frame.time_ns else 0.0
        taken_at = now - age_s if 0 <= age_s < _OLDEST_S else now
        return Picture(frame.image, frame.sequence // 2, taken_at, taken_at)

    def close(self) -> None:
        self._stack.close()


#: A picture of a recording: its number, when it is shown in seconds, and what loads it.
Recorded = tuple[int, float, Callable[[], Image]]


class Recording:
    """A video or a series of images, at the speed of its own clock. What could not be looked at in time is left out.

    Args:
        begin: gives the pictures from the first one on.
        period_s: seconds between two of them.
        speed: how fast its clock goes; 0 gives each picture as soon as it is asked for.
        loop: begin again at the end.
        about: see `LiveSource`.
        close: gives back what it holds.
    """

    def __init__(
        self,
        begin: Callable[[], Iterator[Recorded]],
        *,
        period_s: float,
        speed: float,
        loop: bool,
        about: str = "",
        close: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._begin, self._period_s, self._speed, self._loop = begin, period_s, speed, loop
        self.about = about
        self.silent_s = 0.0
        self._close, self._clock, self._sleep = close, clock, sleep
        self._pictures = begin()
        self._waiting: Recorded | None = None
        self._started_at: float | None = None
        self._offset, self._offset_s = 0, 0.0
        self._last = (-1, 0.0)

    def newest(self, wait_s: float) -> Picture | None:
        if self._started_at is None:
            self._started_at = self._clock()
        if self._waiting is None:
            self._waiting = self._following()
        number, seconds, load = self._waiting
        due = self._clock()
        if self._speed:
            due = self._started_at + seconds / self._speed
            late = self._clock() - due
            if late < 0:
                self._sleep(min(-late, wait_s))
                if self._clock() < due:
                    return None
            while self._clock() - due > self._period_s / self._speed:  # the one behind it should be shown by now
                number, seconds, load = self._following()
                due = self._started_at + seconds / self._speed
        self._waiting = None
        try:
            image = load()
        except _UNREADABLE as error:
            log.warning("a picture is left out: %s", error.message)
            self._sleep(min(wait_s, self._period_s))
            return None
        return Picture(image, number, min(due, self._clock()), seconds)

    def _following(self) -> Recorded:
        found = next(self._pictures, None)
        if found is None:
            if not self._loop or self._last[0] < self._offset:  # nothing is in it
                raise SourceEnded
            self._offset, self._offset_s = self._last[0] + 1, self._last[1] + self._period_s
            self._pictures = self._begin()
            found = next(self._pictures, None)
            if found is None:
                raise SourceEnded
        number, seconds, load = found
        self._last = number + self._offset, seconds + self._offset_s
        return (*self._last, load)

    def close(self) -> None:
        self._close()


def video_file(path: Path, limits: FileLimits, *, speed: float, loop: bool) -> Recording:
    """A video. Raises as `worker.pictures.video.opened`."""
    held: list[Any] = []

    def let_go() -> None:
        while held:
            held.pop().__exit__(None, None, None)

    def begin() -> Iterator[Recorded]:
        let_go()
        context = video.opened(path, limits)
        opened = context.__enter__()
        held.append(context)
        return opened.frames()

    with video.opened(path, limits) as found:
        clip = found.clip
    about = f"{path.name}, {clip.width}x{clip.height}, {clip.fps:g} pictures a second"
    return Recording(begin, period_s=1 / clip.fps, speed=speed, loop=loop, about=about, close=let_go)


def image_series(paths: tuple[Path, ...], limits: FileLimits, *, fps: float, speed: float, loop: bool) -> Recording:
    """Images, one after the other. One that cannot be read is left out, and the log says why."""

    def begin() -> Iterator[Recorded]:
        for number, path in enumerate(paths):
            yield number, number / fps, functools.partial(read_image, path, limits=limits)

    return Recording(begin, period_s=1 / fps, speed=speed, loop=loop, about=f"{len(paths)} images, {fps:g} a second")


class Grabber:
    """A source that goes on by itself: a thread reads it all the time and keeps the newest picture only.

    Args:
        grab: waits for the next picture; returns what loads it and its time in seconds, or None if there is none any more.
        silent_s: without a picture for so long the source has vanished.
        about: see `LiveSource`.
        close: gives back what it holds, after the thread has ended.
    """

    def __init__(
        self, grab: Callable[[], tuple[Callable[[], Image], float] | None], *, silent_s: float, about: str, close: Callable[[], None]
    ) -> None:
        self._grab, self._vanishes_s, self._close = grab, silent_s, close
        self.silent_s = 0.0  # it vanishes then, and is opened again
        self.about = about
        self._changed = threading.Condition()
        self._newest: tuple[Callable[[], Image], int, float, float] | None = None
        self._count = 0
        self._problem = ""
        self._came_at = time.monotonic()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="grabber", daemon=True)
        self._thread.start()

    def newest(self, wait_s: float) -> Picture | None:
        with self._changed:
            if self._newest is None and not self._problem:
                self._changed.wait(wait_s)
            newest, self._newest = self._newest, None
            problem, came_at = self._problem, self._came_at
        if newest is not None:
            load, number, taken_at, seconds = newest
            return Picture(load(), number, taken_at, seconds)
        if problem:
            raise SourceVanished(problem)
        if time.monotonic() - came_at > self._vanishes_s:
            raise SourceVanished(f"No picture came for {self._vanishes_s:g} s.")
        return None

    def close(self) -> None:
        self._stopped = True
        self._thread.join(_ENDS_WITHIN_S)
        if self._thread.is_alive():
            log.error("a source hangs in its driver or library, so this process is started anew")
            os._exit(HUNG)
        self._close()

    def _run(self) -> None:
        problem = "It gives no more pictures."
        try:
            while not self._stopped:
                found = self._grab()
                if found is None:
                    break
                now = time.monotonic()
                with self._changed:
                    self._newest = found[0], self._count, now, found[1]
                    self._count += 1
                    self._came_at = now
                    self._changed.notify()
        except Exception as error:  # noqa: BLE001 - of whatever library reads it
            problem = str(error)[:200] or type(error).__name__
        with self._changed:
            self._problem = problem
            self._changed.notify()


def camera(number: int, limits: FileLimits, *, silent_s: float) -> Grabber:
    """A camera of this computer.

    Raises:
        SourceVanished: it is not there, or another program has it.
        LimitExceeded: its pictures are too large.
    """
    capture = cv2.VideoCapture(number, cv2.CAP_V4L2 if sys.platform == "linux" else cv2.CAP_ANY)
    if not capture.isOpened():
        capture.release()
        raise SourceVanished(f"Camera {number} cannot be opened. Is it connected, and does no other program use it?")
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return of_capture(capture, f"camera {number}", limits, silent_s)


def of_capture(capture: Any, name: str, limits: FileLimits, silent_s: float) -> Grabber:
    """What an open `cv2.VideoCapture` gives. Raises LimitExceeded, and then it is closed."""
    width, height = int(capture.get(cv2.CAP_PROP_FRAME_WIDTH)), int(capture.get(cv2.CAP_PROP_FRAME_HEIGHT))
    try:
        limits.check_picture(name, width, height)
    except WorkerError:
        capture.release()
        raise

    def grab() -> tuple[Callable[[], Image], float] | None:
        done, image = capture.read()
        if not done or image is None:
            return None
        return (lambda: np.asarray(image)), time.monotonic()

    return Grabber(grab, silent_s=silent_s, about=f"{name}, {width}x{height}", close=capture.release)


def checked(picture: Picture, name: str, limits: FileLimits) -> Picture:
    """The picture, if it is not larger than one may be. Raises LimitExceeded."""
    limits.check_picture(name, *size_of(picture.image))
    return picture


def missing_package(what: str, package: str, extra: str) -> Unavailable:
    """Why a source cannot be opened in this installation."""
    return Unavailable(f"{what} needs the package {package}, which is not installed.", extras.install(extra))
