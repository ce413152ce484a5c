"""Reads and writes videos, by the FFmpeg inside OpenCV.

FFmpeg opens files by their names, and some kinds of files are lists of other files or of addresses. So the kind is read from the first
bytes here, and FFmpeg may take only those kinds, from files only. Whether a file is cut is read from its own structure: FFmpeg plays what
there is of one and says nothing.

Sources: ISO/IEC 14496-12 (MP4: boxes), Matroska and EBML (RFC 8794, RFC 9559), Microsoft's AVI RIFF file reference.
"""

from __future__ import annotations

import contextlib
import math
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from worker.errors import DiskFull, Unavailable, UnsupportedFormat, WorkerError
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.named import made_by_name, read_by_name
from worker.files.whole import WrittenFile
from worker.pictures import encoding
from worker.pictures.clips import Clip
from worker.pictures.pixels import Image

#: What FFmpeg calls the kinds of files that are read: each is one file, and names no other.
_FORMATS = "mov,avi,matroska,webm,mpeg,mpegts,mpegvideo,asf,flv,ogg,mxf"
_KINDS = "MP4, MOV, AVI, MKV, WebM, MPEG, WMV, FLV, OGG and MXF"
_OPTIONS = f"format_whitelist;{_FORMATS}|protocol_whitelist;file"
_QUALITY = 75  # if PyAV writes and none is named
#: The names of codecs as four letters; of some kinds of files others.
_FOURCC = {"mp4v": "mp4v", "mjpg": "MJPG", "vp8": "VP80", "vp9": "VP90", "ffv1": "FFV1"}
_FOURCC_IN = {(".avi", "mp4v"): "XVID", (".mkv", "mp4v"): "XVID", (".mp4", "vp9"): "vp09"}

_BOXES = frozenset({b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"moof", b"sidx", b"styp", b"uuid"})
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_STARTS = {
    b"\x00\x00\x01\xba": "mpeg",
    b"\x00\x00\x01\xb3": "mpeg",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
    b"FLV\x01": "flv",
    b"OggS": "ogg",
    b"\x06\x0e\x2b\x34": "mxf",
}
_TS_PACKET, _TS_SYNC = 188, 0x47
_MAX_BOXES = 1_000_000
#: Fewer frames before the start are just decoded.
_FEW_SECONDS, _FEW_FRAMES = 2.0, 50
#: By how many frames the stored order may differ from the shown one.
_REORDERED = 64
_FAR_BACK = 250
_SAME_MS = 0.5
#: Frames between two looks at size and free room.
_LOOK_EVERY = 25


# ---------------------------------------------------------------------------------------------------------------- the file


def _kind(head: bytes) -> str:
    """Which kind of video the first bytes begin; "" for none that is read."""
    if head[4:8] in _BOXES:
        return "mp4"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(_EBML):
        return "mkv"
    for offset in (0, 4):  # with a time before each packet: M2TS
        step = _TS_PACKET + offset
        if len(head) > offset + 2 * step and all(head[offset + n * step] == _TS_SYNC for n in range(3)):
            return "mpegts"
    return next((kind for start, kind in _STARTS.items() if head.startswith(start)), "")


def _check_whole(file: IO[bytes], name: str, size: int) -> None:
    """Raises UnsupportedFormat for a file that is no video, or only the beginning of one."""
    file.seek(0)
    head = file.read(4096)
    if not head:
        raise UnsupportedFormat(f"{name} is empty.")
    kind = _kind(head)
    if not kind:
        raise UnsupportedFormat(f"{name} is not a video that this worker reads.", f"It reads {_KINDS}.")
    ends_at, problem = {"mp4": _end_of_boxes, "avi": _end_of_riff, "mkv": _end_of_segment}.get(kind, _no_end)(file, size)
    if ends_at > size:
        problem = f"{name} is cut off: it has {size:,} bytes, and should have {ends_at:,} or more."
    elif problem:
        problem = f"{name} {problem}."
    if problem:
        raise UnsupportedFormat(problem, "Is it still being recorded or copied?")


def _no_end(_file: IO[bytes], size: int) -> tuple[int, str]:
    return size, ""


def _end_of_boxes(file: IO[bytes], size: int) -> tuple[int, str]:
    """Where the last box ends, and what is missing. A box: a size, a name, a body; size 1 means that a longer one follows."""
    at, names = 0, set()
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, name = struct.unpack_from(">I4s", head)
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
        names.add(name)
        if length == 0:  # to the end of the file
            at = size
            break
        if length < 8:
            return size, "is damaged: a part of it has no length"
        at += length
    if at <= size and b"moov" not in names:
        return size, "has no index (moov), as a recording that was not finished"
    return at, ""


def _end_of_riff(file: IO[bytes], size: int) -> tuple[int, str]:
    """Where the last of the RIFF chunks ends; a long AVI has several."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(8)
        if len(head) < 8 or not head.startswith(b"RIFF"):
            break
        (length,) = struct.unpack_from("<I", head, 4)
        at += 8 + length + length % 2
    return (at - 1 if at == size + 1 else at), ""  # the last byte of an odd length may be missing


def _end_of_segment(file: IO[bytes], size: int) -> tuple[int, str]:
    """Where the segment ends that holds everything; one of a live recording does not say."""
    file.seek(4)
    length, at = _vint(file.read(8))
    at += 4 + length
    file.seek(at)
    head = file.read(12)
    if not head.startswith(_SEGMENT):
        return size, ""
    length, taken = _vint(head[4:])
    return (size if length < 0 else at + 4 + taken + length), ""


def _vint(data: bytes) -> tuple[int, int]:
    """A length as EBML writes it, -1 for "not known"; and how many bytes it takes.

    >>> _vint(bytes([0x82])), _vint(bytes([0x41, 0x00])), _vint(bytes([0xff]))
    ((2, 1), (256, 2), (-1, 1))
    """
    if not data or not data[0]:
        return 0, 1
    count = 9 - data[0].bit_length()
    value = int.from_bytes(data[:count], "big") & ((1 << 7 * count) - 1)
    return (-1 if value == (1 << 7 * count) - 1 else value), count


# ----------------------------------------------------------------------------------------------------------------- reading


class Video:
    """An open video. Made by `opened`."""

    def __init__(self, path: str, name: str, limits: FileLimits) -> None:
        self._path = path
        self._capture = capture = _capture(path)
        if capture is None:
            raise _unreadable(name)
        self._name = name
        width, height, count, fps = (
            capture.get(number)
            for number in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_COUNT, cv2.CAP_PROP_FPS)
        )
        known = math.isfinite(count) and 0 < count < 2**31
        self.clip = Clip(int(width), int(height), int(count) if known else 0, fps if math.isfinite(fps) and fps > 0 else 25.0)
        limits.check_picture(name, self.clip.width, self.clip.height)

    def close(self) -> None:
        self._capture.release()

    def frames(self, start: float = 0.0, *, counted: bool = False) -> Iterator[tuple[int, float, Callable[[], Image]]]:
        """Each frame: its number, from 0; when it is shown, in seconds from the first; and what decodes it.

        The pixels are 8 bits BGR, upright. A frame whose time the file does not say gets one that follows from the frame rate.

        Args:
            start: frames before this time, in seconds from the first one, may be left out: as many as can be without decoding them.
            counted: `start` is a number of a frame instead.
        """
        first = before = None
        number = 0
        landed = self._skip(start, counted=counted) if start > (_FEW_FRAMES if counted else _FEW_SECONDS) else None
        if landed is not None:
            number, first = landed
        while landed is not None or self._capture.grab():
            landed = None
            at = self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            if not math.isfinite(at) or (before is not None and at <= before):
                at = 0.0 if before is None else before + 1 / self.clip.fps
            first = at if first is None else first
            before = at
            yield number, at - first, self._decoded
            number += 1

    def _skip(self, start: float, *, counted: bool) -> tuple[int, float] | None:
        """Goes to a frame before the start, or to the first one at or behind it.

        The times of all frames up to there are read without decoding. OpenCV then goes by its own estimate, and the time of the frame at
        which it ends says which one that is. If that cannot be known for sure, the capture is at its beginning again.

        Returns:
            the number of the frame that is grabbed, and the time of the first one in seconds; None at the beginning.
        """
        times = self._times(start, counted=counted)
        behind = [n for n, at in enumerate(times) if (n if counted else (at - times[0]) / 1000) >= start]
        if behind and self._capture.grab() and abs(self._capture.get(cv2.CAP_PROP_POS_MSEC) - times[0]) < _SAME_MS:
            wanted = behind[0]
            for back in (2, _FAR_BACK):
                self._capture.set(cv2.CAP_PROP_POS_MSEC, times[max(0, wanted - back)])
                at = self._capture.get(cv2.CAP_PROP_POS_MSEC) if self._capture.grab() else math.inf
                number = min(range(len(times)), key=lambda n: abs(times[n] - at))
                if number <= wanted and abs(times[number] - at) < _SAME_MS:
                    return number, times[0] / 1000
        self._capture.release()
        self._capture = _capture(self._path)
        if self._capture is None:
            raise _unreadable(self._name)
        return None

    def _times(self, start: float, *, counted: bool) -> list[float]:
        """When the frames are shown, in ms, in order, up to the start and a little further; nothing if the file does not say it of each."""
        packets = _reader(self._path, cv2.CAP_PROP_FORMAT, -1)
        times: list[float] = []
        behind = 0
        while behind < _REORDERED and packets.grab():
            times.append(packets.get(cv2.CAP_PROP_POS_MSEC))
            behind += len(times) > start if counted else times[-1] - times[0] > 1000 * start
        packets.release()
        return sorted(times) if len(set(times)) == len(times) and all(map(math.isfinite, times)) else []

    def _decoded(self) -> Image:
        done, frame = self._capture.retrieve()
        if not done or frame is None:
            raise UnsupportedFormat(f"A frame of {self._name} cannot be decoded.")
        return np.asarray(frame if frame.ndim == 2 or frame.shape[2] > 1 else frame[..., 0])


@contextlib.contextmanager
def opened(path: Path, limits: FileLimits = DEFAULT_LIMITS) -> Iterator[Video]:
    """A video to read.

    Args:
        path: absolute, and free of links, as `FileRules.to_read` gives it.
        limits: of the file and the size of its frames.

    Raises:
        MissingFile, PathError: the file is not there or may not be read.
        UnsupportedFormat: it is no video that OpenCV reads, or it is cut.
        LimitExceeded: it is too large.
    """
    with read_by_name(path, limits) as (file, name):
        _check_whole(file, path.name, os.fstat(file.fileno()).st_size)
        found = Video(name, path.name, limits)
        try:
            yield found
        finally:
            found.close()


def _reader(path: str, *options: int) -> Any:
    """FFmpeg, which takes files only, whatever the environment says, or a stream that was opened before in this process."""
    os.environ["OPENCV_FFMPEG_CAPTURE_OPTIONS"] = _OPTIONS
    return cv2.VideoCapture(path, cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1, *options])


def _capture(path: str) -> Any:
    """What reads the frames of a file; None if it holds none that this build of OpenCV decodes."""
    try:
        capture = _reader(path)
    except cv2.error:  # of a header that says what cannot be
        return None
    return capture if capture.isOpened() else None


def _unreadable(name: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} holds no video that this build of OpenCV decodes.", "Convert it to H.264 in MP4, for example.")


# ----------------------------------------------------------------------------------------------------------------- writing


@contextlib.contextmanager
def film(
    path: Path, codec: str, fps: float, size: tuple[int, int], limits: FileLimits = DEFAULT_LIMITS, *, quality: int = 0
) -> Iterator[tuple[Callable[[Image], None], Callable[[], WrittenFile]]]:
    """A video to write. It gets its name when the block comes to its end; otherwise nothing is left.

    Args:
        path: the file. Its ending names the kind.
        codec: one of mp4v, mjpg, vp8, vp9, ffv1; with PyAV also h264, hevc, prores.
        fps: frames per second.
        size: width and height, both even.
        limits: of the picture and the file.
        quality: 1 to 100, which needs PyAV; 0 = as OpenCV writes it.

    Yields:
        A function that adds a frame, `(height, width, 3)` 8 bits BGR; and one that tells what was written, for after the block.

    Raises:
        Unavailable: this build of OpenCV, or PyAV, does not write such a video.
        LimitExceeded, DiskFull: it grows too large.
        ArgumentError, PathError: it cannot be written.
    """
    limits.check_picture(path.name, *size)
    written, size_bytes = 0, 0
    with made_by_name(path, limits) as (name, check):
        writer = (
            _encoder(name, path, codec, fps, size, quality) if quality or codec not in _FOURCC else _writer(name, path, codec, fps, size)
        )

        def add(frame: Image) -> None:
            nonlocal written
            writer.write(frame)
            written += 1
            if written % _LOOK_EVERY == 0:
                check()

        try:
            yield add, lambda: WrittenFile(path.as_posix(), size_bytes)
        finally:
            writer.release()
        size_bytes = Path(name).stat().st_size
        check()
        _check_written(name, path.name, written)


def _encoder(name: str, path: Path, codec: str, fps: float, size: tuple[int, int], quality: int) -> Any:  # noqa: PLR0917
    try:
        return encoding.Encoder(name, path.suffix.lower(), codec, fps, size, quality or _QUALITY)
    except ValueError as error:
        raise Unavailable(
            f"PyAV cannot write {path.suffix} with codec={codec}, {size[0]}x{size[1]} pixels at {fps:g} frames per second: {error}.",
            "codec=auto takes another one.",
        ) from None


def _writer(name: str, path: Path, codec: str, fps: float, size: tuple[int, int]) -> Any:
    ending = path.suffix.lower()
    code = cv2.VideoWriter.fourcc(*_FOURCC_IN.get((ending, codec), _FOURCC[codec]))
    try:
        writer = cv2.VideoWriter(name, cv2.CAP_FFMPEG, code, fps, size)
    except cv2.error:
        writer = None
    if writer is None or not writer.isOpened():
        width, height = size
        raise Unavailable(
            f"This build of OpenCV cannot write {ending} with codec={codec}, {width}x{height} pixels at {fps:g} frames per second.",
            "codec=auto takes one that it has; common rates such as 24, 25 or 30 always work.",
        )
    return writer


def _check_written(name: str, shown: str, written: int) -> None:
    """OpenCV does not say if a frame could not be written, so they are counted."""
    capture = _reader(name)
    found = 0
    while found <= written and capture.grab():
        found += 1
    capture.release()
    if found != written:
        error: WorkerError = DiskFull(f"{shown} came out with {found} of {written} frames, so it was not kept.", "Is the disk full?")
        raise error
