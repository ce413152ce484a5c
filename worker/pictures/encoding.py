"""Videos written by PyAV, the extra `[video]`: H.264, HEVC and ProRes, which OpenCV's packages do not write, and a choice of quality."""

from __future__ import annotations

import contextlib
import importlib.util
from fractions import Fraction
from typing import Any

from worker.pictures.pixels import Image

#: What FFmpeg calls the kinds of files.
_FORMATS = {".mp4": "mp4", ".mov": "mov", ".avi": "avi", ".mkv": "matroska", ".webm": "webm"}
#: Encoders, and the pixels that they take.
_ENCODERS = {
    "h264": ("libx264", "yuv420p"),
    "hevc": ("libx265", "yuv420p"),
    "prores": ("prores_ks", "yuv422p10le"),
    "mp4v": ("mpeg4", "yuv420p"),
    "mjpg": ("mjpeg", "yuvj420p"),
    "vp8": ("libvpx", "yuv420p"),
    "vp9": ("libvpx-vp9", "yuv420p"),
}
_TAGS = {"hevc": "hvc1", "prores": "apch"}
_MATRIX = 6  # BT.601: what swscale makes of RGB, and what OpenCV reads
_FINEST_TIME = 1001 * 60


def is_installed() -> bool:
    """Whether PyAV is there."""
    return importlib.util.find_spec("av") is not None


def options_of(codec: str, quality: int) -> dict[str, str]:
    """The settings of an encoder.

    Args:
        codec: one of `_ENCODERS`.
        quality: 1 to 100.

    >>> options_of("h264", 75), options_of("mjpg", 100)
    ({'crf': '18', 'preset': 'medium'}, {'qmin': '1', 'qmax': '2'})
    """
    if codec in ("h264", "hevc"):  # 10 cannot be told from the original, 40 is coarse
        quiet = {"x265-params": "log-level=none:pools=none"} if codec == "hevc" else {}
        return {"crf": str(round(40 - 0.3 * quality)), "preset": "medium", **quiet}
    if codec in ("vp8", "vp9"):
        return {"crf": str(round(63 - 0.59 * quality)), "b": "0" if codec == "vp9" else "50M", "cpu-used": "4", "deadline": "good"}
    if codec == "prores":
        return {"profile": str(min(3, quality // 25))}
    step = max(1, round(31 - 0.3 * quality))
    return {"qmin": str(step), "qmax": str(step + 1)}


class Encoder:
    """A video that grows. As `cv2.VideoWriter`.

    Args:
        path: the file.
        ending: which kind of file it becomes, as `.mp4`.
        codec: one of h264, hevc, prores, mp4v, mjpg, vp8, vp9.
        fps: frames per second.
        size: width and height, both even.
        quality: 1 to 100.

    Raises:
        ValueError: this build of PyAV does not write such a video.
    """

    def __init__(self, path: str, ending: str, codec: str, fps: float, size: tuple[int, int], quality: int) -> None:  # noqa: PLR0917
        import av

        self._frame, self._error = av.VideoFrame, av.FFmpegError
        self._failed = False
        try:
            self._open(av, path, ending, codec, Fraction(fps).limit_denominator(_FINEST_TIME), size, quality)
        except av.FFmpegError as error:
            raise ValueError(str(error)) from None

    def _open(  # noqa: PLR0917
        self, av: Any, path: str, ending: str, codec: str, rate: Fraction, size: tuple[int, int], quality: int
    ) -> None:
        name, pixels = _ENCODERS[codec]
        self._container: Any = av.open(path, "w", format=_FORMATS[ending])
        self._stream: Any = self._container.add_stream(name, rate=rate, options=options_of(codec, quality))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = pixels
        context = self._stream.codec_context
        context.thread_count = 1  # the children share the cores between them
        context.colorspace = _MATRIX
        if codec in _TAGS and ending in (".mp4", ".mov"):
            context.codec_tag = _TAGS[codec]
        context.open()

    def write(self, frame: Image) -> None:
        """Adds a frame, `(height, width, 3)` 8 bits BGR. One that cannot be written is missed when the frames are counted."""
        self._encode(self._frame.from_ndarray(frame, format="bgr24"))

    def release(self) -> None:
        """Writes the rest of the file."""
        self._encode(None)
        with contextlib.suppress(self._error):
            self._container.close()

    def _encode(self, frame: Any) -> None:
        if not self._failed:
            try:
                self._container.mux(self._stream.encode(frame))
            except self._error:
                self._failed = True
