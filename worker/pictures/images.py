"""Reads and writes image files.

`worker.files` reads and writes the bytes; here they are decoded and encoded in memory, because `cv2.imread` and `cv2.imwrite` know no
Unicode paths on Windows, and return `False` instead of a reason.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from worker.errors import LimitExceeded, UnsupportedFormat
from worker.files.frames import ENDING
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.files.whole import WrittenFile, read_bytes, write_bytes_whole
from worker.pictures import bmp, heic, heif, icc, jpeg, jpeg2000, pam, png, ranges, tiff
from worker.pictures.averages import averaged
from worker.pictures.exif import UPRIGHT, orientation
from worker.pictures.frame_writing import write_frame
from worker.pictures.headers import Header, read_header
from worker.pictures.jpeg import Size
from worker.pictures.pixels import LIES, Image, color, from_floats, grey, over_black, size_of, upright, with_depth
from worker.pictures.unreadable import is_foreign, is_tiff, unreadable


@dataclass(frozen=True, slots=True)
class Format:
    """What a file format can hold: numbers of channels, and the bits of each."""

    channels: tuple[int, ...]
    bits: int = 8


FORMATS: dict[str, Format] = {
    ".avif": Format((1, 3, 4)),
    ".bmp": Format((1, 3, 4)),
    ".dib": Format((1, 3, 4)),
    ".gif": Format((3,)),  # its transparency is all or nothing
    ".jp2": Format((1, 3, 4), 16),
    ".jpe": Format((1, 3)),
    ".jpeg": Format((1, 3)),
    ".jpg": Format((1, 3)),
    ".pgm": Format((1,), 16),
    ".png": Format((1, 3, 4), 16),
    ".pnm": Format((1, 3), 16),
    ".ppm": Format((3,), 16),
    ".ras": Format((3,)),  # OpenCV writes grey ones black
    ".sr": Format((3,)),
    ".tif": Format((1, 3, 4), 16),
    ".tiff": Format((1, 3, 4), 16),
    ".webp": Format((3, 4)),
}

_QUALITY = {
    ".avif": cv2.IMWRITE_AVIF_QUALITY,
    ".jpe": cv2.IMWRITE_JPEG_QUALITY,
    ".jpeg": cv2.IMWRITE_JPEG_QUALITY,
    ".jpg": cv2.IMWRITE_JPEG_QUALITY,
    ".webp": cv2.IMWRITE_WEBP_QUALITY,
}


#: Below this quality a PNG is made small, from it on fast; at 100 it is not packed at all.
PNG_FAST_FROM = 50
#: One filter (the difference to the pixel on the left), and runs only: a level alone would make OpenCV try all filters.
#: Those of 8 bits are written by `worker.pictures.png`.
_PNG_RUNS = (cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
#: OpenCV 4.10 has no such setting; there this is the filter as long as no compression level is given.
_PNG_SUB = (cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_SUB) if hasattr(cv2, "IMWRITE_PNG_FILTER") else None


#: Endings under which nothing is written.
_ONLY_READ = frozenset({".apng", ".jfif", ".mpo", ".pam", ".pbm"})
#: Those that a build of OpenCV reads if it writes the other one.
_READ_AS = {".hdr": ".hdr", ".j2k": ".jp2", ".pfm": ".pfm"}


def readable_endings() -> frozenset[str]:
    """The endings of the images that are read here."""
    of_opencv = frozenset(ending for ending in FORMATS if cv2.haveImageWriter(ending)) | _ONLY_READ
    of_opencv |= frozenset(ending for ending, form in _READ_AS.items() if cv2.haveImageWriter(form))
    return of_opencv | heic.ENDINGS if heic.can_read() else of_opencv


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image, and the ICC profile that its file holds; empty if there is none."""

    image: Image
    profile: bytes = b""


def read_image(
    path: Path, *, alpha: bool = True, limits: FileLimits = DEFAULT_LIMITS, shrunk: Callable[[Size], Size] | None = None
) -> Image:
    """The image of `load`, whose arguments and errors it has."""
    return load(path, alpha=alpha, limits=limits, shrunk=shrunk).image


def load(path: Path, *, alpha: bool = True, limits: FileLimits = DEFAULT_LIMITS, shrunk: Callable[[Size], Size] | None = None) -> Loaded:
    """Reads one image, upright as its EXIF orientation says, with 8 or 16 bits as in the file.

    Floating point files (TIFF, HDR, PFM) come as 16 bits, 0 black and 1 white. With `alpha` False a transparent image is laid on
    black. Only the first picture of an animation is read.

    Args:
        path: absolute, and free of links, as `FileRules.to_read` gives it: a link is refused.
        alpha: keep it.
        limits: of the file and the picture; both are checked before anything is decoded.
        shrunk: gives the size that the caller will bring a picture of this size to, by averages over areas. If that is much smaller,
            a JPEG is decoded at a part of its size and brought to it here; then the caller has nothing left to do.

    Raises:
        MissingFile, PathError: the file is not there or may not be read.
        UnsupportedFormat: it is no image that OpenCV reads.
        LimitExceeded: it is too large, or there is not enough memory.
    """
    data = read_bytes(path, limits)
    header = read_header(data)
    if header.endless:
        raise UnsupportedFormat(
            f"{path.name} is not an image that this worker reads. {header.endless}.", "Save it anew with another program."
        )
    limits.check_picture(path.name, header.width, header.height, header.frames)
    limits.check_weight(path.name, header.width, header.height, header.weight)
    limits.check_density(path.name, header.width, header.height, len(data))
    limits.check_scans(path.name, header.width, header.height, header.scans)
    turned = UPRIGHT if heic.is_heic(data) else orientation(data)  # libheif turns by itself
    size = (header.height, header.width) if turned >= LIES else (header.width, header.height)
    wanted = shrunk(size) if shrunk and all(size) else size
    as_stored = wanted[::-1] if turned >= LIES else wanted
    reduced = jpeg.reduction(data, (header.width, header.height), as_stored) if wanted != size else jpeg.WHOLE
    image = _decoded(data, header, path.name, limits, reduced.flag)
    if image is None:
        raise unreadable(path.name, data)
    image = png.with_transparency(_known(image, path.name), data)
    if reduced.part > 1:
        image = averaged(image, header.width / (reduced.part * as_stored[0]), header.height / (reduced.part * as_stored[1]))
    image = upright(image, turned)
    return Loaded(image if alpha else over_black(image), icc.profile_of(data))


def _decoded(data: bytes, header: Header, name: str, limits: FileLimits, flag: int) -> Image | None:
    """The pixels; None if this is no image. OpenCV calls some failed allocations "no image", so memory is checked separately."""
    pixels = header.width * header.height
    try:
        _reserve(pixels * 4)
        image = heic.decode(data, name, limits) if heic.is_heic(data) and heic.can_read() else _imdecode(data, flag, name)
        if image is None:
            _reserve(pixels * 16)  # what the most wasteful decoder asks for in one go
    except MemoryError:
        raise limits.out_of_memory(f"{name}, {header.width}x{header.height}", _megabytes(pixels * 4)) from None
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):  # OpenCV's own check, with the same limit; see `worker.tasks.prepare.make_run_task`
            raise LimitExceeded(
                f"{name} is larger than one picture may be; the limit is {limits.megapixels} megapixels.",
                "The worker's --max-megapixels changes this limit.",
            ) from None
        if is_out_of_memory(error):
            raise limits.out_of_memory(name, wanted_memory(error)) from None
        return None
    return image


def _imdecode(data: bytes, flag: int, name: str) -> Image | None:
    """Decodes what OpenCV and we read right. Raises UnsupportedFormat for what would come out as another picture."""
    if not data or is_foreign(data) or jpeg.is_cut(data):
        return None
    if is_tiff(data):
        try:
            return tiff.decode(data)
        except tiff.NotRead as reason:
            raise UnsupportedFormat(f"{name} {reason}.", "Save it as a TIFF or PNG in RGB or grey, of 8 or 16 bits.") from None
    if pam.is_pam(data):
        return pam.decode(data)
    if bmp.has_masks(data):
        return bmp.decode(data)
    if heif.is_heif(data) and heif.is_cropped(data):
        raise UnsupportedFormat(f"{name} says that only a part of its pixels is the picture (clap), which is not read.", "Save it as PNG.")
    try:
        white = ranges.brightest(data)
    except ranges.NotRead as reason:
        raise UnsupportedFormat(f"{name} {reason}, which is not read.", "Save it as PNG or TIFF of 8 or 16 bits.") from None
    is_ycc = jpeg2000.is_ycc(data)
    given = jpeg2000.as_rgb(data) if is_ycc else bmp.as_newer(png.still(ranges.as_stored(data, white)))
    image = cv2.imdecode(np.frombuffer(given, np.uint8), flag)
    if image is None:
        return None
    image = ranges.full_range(image, white)
    return jpeg2000.colors(image) if is_ycc else image


def _reserve(size_bytes: int) -> None:
    """Raises MemoryError if there is less memory. Costs nothing, because the system gives memory only when it is written to."""
    np.empty(size_bytes, np.uint8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether NumPy or OpenCV raised this error because they got no memory."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", 0) == cv2.Error.STS_NO_MEM or "bad_alloc" in str(error)
    return isinstance(error, MemoryError)


def wanted_memory(error: BaseException) -> str:
    """How much memory was asked for, if the error says so; otherwise ""."""
    if found := re.search(r"allocate (\d+) bytes", str(error)):
        return _megabytes(int(found[1]))
    found = re.search(r"allocate ([\d.]+) ([KMGT])iB", str(error))
    return f"{found[1]} {found[2]}B" if found else ""


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MB"


@functools.cache
def writable_endings() -> tuple[str, ...]:
    """The endings of the images that this build of OpenCV writes."""
    return tuple(ending for ending in FORMATS if cv2.haveImageWriter(ending))


def check_ending(path: Path) -> None:
    """Raises UnsupportedFormat if no image can be written under this name."""
    ending = path.suffix.lower()
    if ending == ENDING:
        return
    if ending not in writable_endings():
        said = f"This worker writes no {ending} images; the ending names the format."
        if not ending:
            said = f"{path.name} has no ending. The ending names the format, as in {path.name}.png."
        raise UnsupportedFormat(said, f"Images that it writes end in {' '.join(writable_endings())}.")


def write_image(path: Path, image: Image, quality: int = 90, limits: FileLimits = DEFAULT_LIMITS, *, profile: bytes = b"") -> WrittenFile:
    """Writes one image in the format that the path's ending names; `.frame` is the newest frame of a frame file.

    What the format cannot hold is converted: 16 bits to 8, alpha laid on black, colour to grey and grey to colour.

    Args:
        path: the file to write. Its folder is made if it is missing; an existing file is replaced in one step.
        image: 8 or 16 bits; grey, BGR or BGRA.
        quality: 1 to 100 for JPEG, WebP and AVIF. A PNG keeps every pixel; below 50 it is smaller, and takes many times as long.
        limits: of the picture and the file.
        profile: the ICC profile of its colours; written if the format can hold one here (PNG, JPEG, TIFF, WebP).

    Raises:
        UnsupportedFormat: no such format here, or the image does not fit into it.
        LimitExceeded: it is too large.
        ArgumentError, PathError, DiskFull: the file cannot be written.
    """
    if path.suffix.lower() == ENDING:
        return write_frame(path, image, limits)
    width, height = size_of(image)
    limits.check_picture(path.name, width, height)
    data = encoded(path, image, quality)
    if profile and icc.is_of(profile, _fitting(image, path.suffix.lower())):
        data = icc.with_profile(data, profile)
    return WrittenFile(path.as_posix(), write_bytes_whole(path, (data,), limits).size_bytes, width, height)


def encoded(path: Path, image: Image, quality: int = 90) -> bytes:
    """The bytes that `write_image` writes."""
    check_ending(path)
    ending = path.suffix.lower()
    fitting = _fitting(image, ending)
    if ending == ".png" and PNG_FAST_FROM <= quality < 100 and fitting.dtype == np.uint8 and fitting.nbytes < png.MAX_BYTES:
        return png.encode(fitting)
    try:
        done, data = cv2.imencode(ending, fitting, _settings(ending, quality))
    except cv2.error as error:
        if is_out_of_memory(error):
            raise
        done = False
    if not done:
        width, height = size_of(image)
        raise UnsupportedFormat(f"An image of {width}x{height} pixels cannot be written as {ending}.", "Try .png or .tif.")
    return data.tobytes()


def _known(image: Image, name: str) -> Image:
    """Brings what OpenCV may hand out to the kinds of images that we know."""
    if image.ndim == 3 and image.shape[2] == 2:  # grey with alpha
        image = np.dstack([image[..., :1]] * 3 + [image[..., 1:]])
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype.kind == "f":
        return from_floats(image)
    sign = " with a sign" if image.dtype.kind == "i" else ""
    raise UnsupportedFormat(
        f"{name} holds whole numbers{sign} of {8 * image.dtype.itemsize} bits, which this worker does not read.",
        "Save it with 8 or 16 bits, or in floating point.",
    )


@functools.cache
def _loses_alpha(ending: str) -> bool:
    """Whether this build of OpenCV writes alpha in a way that it does not read again, as 4.10 does with BMP."""
    _, data = cv2.imencode(ending, np.zeros((64, 64, 4), np.uint8))
    again = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
    return again is None or again.ndim == 2 or again.shape[2] != 4


def _fitting(image: Image, ending: str) -> Image:
    form = FORMATS[ending]
    image = with_depth(image, 8) if form.bits == 8 else image
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels in form.channels and not (channels == 4 and _loses_alpha(ending)):
        return image
    if channels == 4 and 3 in form.channels:
        return over_black(image)
    return grey(image) if form.channels == (1,) else color(image)


def _settings(ending: str, quality: int) -> list[int]:
    if ending == ".png":
        return _png_settings(quality)
    return [_QUALITY[ending], quality] if ending in _QUALITY else []


def _png_settings(quality: int) -> list[int]:
    level = round((100 - quality) * 9 / 99)
    if quality < PNG_FAST_FROM or not level:
        return [cv2.IMWRITE_PNG_COMPRESSION, level]
    return [cv2.IMWRITE_PNG_COMPRESSION, level, *_PNG_RUNS, *_PNG_SUB] if _PNG_SUB else list(_PNG_RUNS)
