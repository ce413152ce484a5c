"""Videos: which frames of one are taken, and how images become frames of one. No file is opened here."""

from __future__ import annotations

import math
from typing import Protocol

import cv2
import numpy as np

from worker import extras
from worker.catalog.video import MakeVideo, ReadVideo
from worker.errors import ArgumentError, Unavailable
from worker.operations.shapes import Size
from worker.pictures import encoding
from worker.pictures.clips import Clip
from worker.pictures.pixels import Image, bgr, color, size_of, with_depth

#: Which codecs each kind of file holds, the one for `auto` first.
CODECS: dict[str, tuple[str, ...]] = {
    ".mp4": ("mp4v", "vp9", "h264", "hevc"),
    ".mov": ("mp4v", "mjpg", "h264", "hevc", "prores"),
    ".avi": ("mjpg", "mp4v", "ffv1"),
    ".mkv": ("mp4v", "mjpg", "vp8", "vp9", "ffv1", "h264", "hevc", "prores"),
    ".webm": ("vp8", "vp9"),
}


_BY_PYAV = ("h264", "hevc", "prores")
_EXTRA = f"OpenCV's packages do not write it. The extra [video] does: {extras.install('video')}."


def unavailable_codecs() -> dict[str, str]:
    """What cannot be written: without FFmpeg nothing, without PyAV some codecs."""
    if found := unavailable():
        return found
    return {} if encoding.is_installed() else {f"codec={codec}": _EXTRA for codec in _BY_PYAV}


def unavailable() -> dict[str, str]:
    """A build of OpenCV without FFmpeg reads and writes no videos."""
    if cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG):
        return {}
    return {"": "this build of OpenCV has no FFmpeg; the packages opencv-python and opencv-python-headless have it."}


class Range(Protocol):
    """Parameters that say which frames of a video are taken. See `ReadVideo`."""

    @property
    def every(self) -> int: ...
    @property
    def start(self) -> float: ...
    @property
    def end(self) -> float: ...
    @property
    def unit(self) -> str: ...


def check_range(params: Range) -> None:
    """Raises ArgumentError if no frame can lie between start and end."""
    if params.end and params.end <= params.start:
        raise ArgumentError(
            f"end must be larger than start, or 0 for the end of the video; got start {params.start:g} and end {params.end:g}."
        )


def takes(frame: int, seconds: float, params: Range) -> bool:
    """Whether a frame is one of those that are taken.

    Args:
        frame: its number, from 0.
        seconds: when it is shown, from 0 at the first frame.
        params: `every` counts from the first frame of the range.
    """
    place = frame if params.unit == "frames" else seconds
    return place >= params.start and not is_past(frame, seconds, params)


def is_past(frame: int, seconds: float, params: Range) -> bool:
    """Whether this frame and all after it lie behind the range."""
    return bool(params.end) and (frame if params.unit == "frames" else seconds) >= params.end


def expected(clip: Clip, params: Range) -> int:
    """About how many frames will be taken. The header's number of frames is an estimate in some kinds of files.

    >>> clip = Clip(width=64, height=48, frames=100, fps=25)
    >>> expected(clip, ReadVideo(video="a.mp4", output="{n}.png", start=1, end=3, every=2))
    25
    """
    per_unit = 1.0 if params.unit == "frames" else clip.fps
    first = math.ceil(params.start * per_unit)
    last = min(clip.frames, math.ceil(params.end * per_unit)) if params.end else clip.frames
    return max(0, math.ceil((last - first) / params.every))


def frame_size(size: Size, params: ReadVideo) -> Size:
    """The size of the images that are taken out of a video of this size."""
    width, height = size
    if not params.width or not width:
        return size
    return params.width, max(1, round(height * params.width / width))


def scaled(frame: Image, params: ReadVideo) -> Image:
    """A frame in the size that is asked for."""
    wanted = frame_size(size_of(frame), params)
    if wanted == size_of(frame):
        return frame
    way = cv2.INTER_AREA if wanted[0] < frame.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(frame, wanted, interpolation=way))


def as_it_is(frame: Image, _params: Range) -> Image:
    """A frame for an operation that looks at each of them."""
    return frame


# ---------------------------------------------------------------------------------------------------------------- to a video


def check_film(params: MakeVideo) -> None:
    """Whether such a video can be made.

    Raises:
        ArgumentError: this kind of file does not hold this codec, or is not known; or the codec has no quality to choose.
        Unavailable: the codec or the quality needs an extra that is not installed.
    """
    ending = "." + params.output.lower().rpartition(".")[2]
    if ending not in CODECS:
        raise ArgumentError(f"make_video: output must end in {', '.join(CODECS)}; got {params.output!r:.120}.")
    if params.codec != "auto" and params.codec not in CODECS[ending]:
        *others, last = CODECS[ending]
        raise ArgumentError(f"make_video: {ending} files hold {', '.join(others)} or {last}; got codec={params.codec}.")
    if params.quality and codec(params) == "ffv1":
        raise ArgumentError("make_video: ffv1 loses nothing, so it has no quality.", "Leave quality out, or take another codec.")
    if not encoding.is_installed():
        if params.codec in _BY_PYAV:
            raise Unavailable(f"codec={params.codec} cannot be written here: {_EXTRA}")
        if params.quality:
            raise Unavailable(f"OpenCV writes videos in one quality only. The extra [video] has a choice: {extras.install('video')}.")


def codec(params: MakeVideo) -> str:
    """The codec that will be used."""
    return params.codec if params.codec != "auto" else CODECS["." + params.output.lower().rpartition(".")[2]][0]


def film_size(first: Size, params: MakeVideo) -> Size:
    """Width and height of a video that begins with an image of this size, both even, as most codecs ask for.

    One of the two follows from the other if only one is given.

    >>> film_size((641, 480), MakeVideo(image="shots", output="a.mp4", width=320))
    (320, 240)
    """
    width, height = params.width, params.height
    if not width and not height:
        width, height = first
    width = width or max(1, round(height * first[0] / first[1]))
    height = height or max(1, round(width * first[1] / first[0]))
    return width + width % 2, height + height % 2


def as_frame(image: Image, size: Size, params: MakeVideo) -> Image:
    """An image as a frame of the video.

    Args:
        image: any.
        size: of the video. An image that is one pixel smaller, because the video's sides are even, gets its last row or column twice.
        params: how images of other sizes are laid into it.

    Returns:
        `(height, width, 3)`, 8 bits, BGR.
    """
    background = bgr(params.background)
    picture = _over(with_depth(image, 8), background)
    width, height = size
    wide, high = size_of(picture)
    if wide <= width <= wide + wide % 2 and high <= height <= high + high % 2:
        return np.asarray(cv2.copyMakeBorder(picture, 0, height - high, 0, width - wide, cv2.BORDER_REPLICATE))
    if params.fit == "stretch":
        return _resized(picture, size)
    choose = min if params.fit == "pad" else max
    scale = choose(width / wide, height / high)
    picture = _resized(picture, (max(1, round(wide * scale)), max(1, round(high * scale))))
    wide, high = size_of(picture)
    top, left = max(0, high - height) // 2, max(0, wide - width) // 2
    picture = picture[top : top + height, left : left + width]
    wide, high = size_of(picture)
    above, before = (height - high) // 2, (width - wide) // 2
    borders = above, height - high - above, before, width - wide - before
    return np.asarray(cv2.copyMakeBorder(picture, *borders, cv2.BORDER_CONSTANT, value=background))


def _resized(picture: Image, size: Size) -> Image:
    way = cv2.INTER_AREA if size[0] < picture.shape[1] else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=way))


def _over(image: Image, background: tuple[int, int, int]) -> Image:
    """Without alpha, on a colour."""
    if image.ndim == 2 or image.shape[2] != 4:
        return color(image)
    alpha = image[..., 3:].astype(np.float32) / 255
    mixed = image[..., :3] * alpha + np.array(background, np.float32) * (1 - alpha)
    return mixed.round().astype(np.uint8)
