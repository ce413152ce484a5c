"""Files in and out: images, text and tables. Nobody ever sees half a file.

Bytes are read and written here and (de)coded in memory, because `cv2.imread` and `cv2.imwrite` know no Unicode paths on Windows
and say `False` where a reason is wanted.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np
from filelock import FileLock

from worker.errors import ArgumentError, DiskFull, InternalError, LimitExceeded, MissingFile, PathError, UnsupportedFormat, WorkerError
from worker.exif import orientation
from worker.jobs import WrittenFile
from worker.operations.pixels import Image, color, from_floats, grey, over_black, size_of, with_depth

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


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

_counter = itertools.count()


def readable_endings() -> frozenset[str]:
    """The endings of the images that this build of OpenCV reads."""
    return frozenset(ending for ending in FORMATS if cv2.haveImageWriter(ending)) | {".pbm"}


def read_image(path: Path, *, alpha: bool = True) -> Image:
    """Reads one image, upright as its EXIF orientation says, with 8 or 16 bits as in the file.

    Floating point files (TIFF, HDR, PFM) come as 16 bits, 0 black and 1 white. With `alpha` False a transparent image is laid on
    black. Of an animation this is the first picture.

    Raises:
        MissingFile, PathError: the file is not there or may not be read.
        UnsupportedFormat: it is no image that OpenCV reads.
        LimitExceeded: there is not enough memory.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise _refusal(error, path, "read") from error
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    except cv2.error:
        image = None
    except MemoryError:
        raise LimitExceeded(f"{path.name} is too large for this machine's memory.") from None
    if image is None:
        raise UnsupportedFormat(f"{path.name} is not an image that this worker can read.", f"It holds {len(data)} bytes.")
    upright = _upright(_known(image), orientation(data))
    return upright if alpha else over_black(upright)


def check_ending(path: Path) -> None:
    """Raises UnsupportedFormat if no image can be written under this name."""
    ending = path.suffix.lower()
    if ending not in FORMATS or not cv2.haveImageWriter(ending):
        known = " ".join(known for known in FORMATS if cv2.haveImageWriter(known))
        said = f"{path.name} has no ending" if not ending else f"This worker writes no {ending} images"
        raise UnsupportedFormat(f"{said}; the ending names the format.", f"It writes {known}.")


def write_image(path: Path, image: Image, quality: int = 90) -> WrittenFile:
    """Writes one image in the format that the path's ending names.

    What the format cannot hold is converted: 16 bits to 8, alpha laid on black, colour to grey and grey to colour.

    Args:
        path: where to; its folder is made if need be, a file that stands there is replaced in one step.
        image: 8 or 16 bits; grey, BGR or BGRA.
        quality: 1 to 100 for JPEG, WebP and AVIF. For PNG, which always keeps every pixel, higher is larger and faster.

    Raises:
        UnsupportedFormat: no such format here, or the image does not fit into it.
        ArgumentError, PathError, DiskFull: the file cannot be written.
    """
    data = encoded(path, image, quality)
    width, height = size_of(image)
    return WrittenFile(path.as_posix(), write_bytes_whole(path, (data,)).size_bytes, width, height)


def encoded(path: Path, image: Image, quality: int = 90) -> bytes:
    """The bytes that `write_image` writes."""
    check_ending(path)
    ending = path.suffix.lower()
    try:
        done, data = cv2.imencode(ending, _fitting(image, FORMATS[ending]), _settings(ending, quality))
    except cv2.error:
        done = False
    if not done:
        width, height = size_of(image)
        raise UnsupportedFormat(f"An image of {width}x{height} pixels cannot be written as {ending}.", "Try .png or .tif.")
    return data.tobytes()


def write_bytes_whole(path: Path, blocks: Iterable[bytes]) -> WrittenFile:
    """Writes a file under a temporary name beside its own, then gives it its name in one step.

    Raises:
        ArgumentError, PathError, DiskFull: the file cannot be written. Nothing is left behind then.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _unfinished(path) as (file, temporary):
            file.writelines(blocks)
            size = file.tell()
            file.close()
            _replace(temporary, path)
    except OSError as error:
        raise _refusal(error, path, "written") from error
    return WrittenFile(path.as_posix(), size)


def append_bytes(path: Path, blocks: Iterable[bytes], between: bytes = b"") -> WrittenFile:
    """Adds to the end of a file, in one piece, also while other processes do the same; on an error the file is as before.

    Args:
        path: the file; it and its folder are made if need be.
        blocks: what is added.
        between: goes before it, unless the file is empty.

    Raises:
        ArgumentError, PathError, DiskFull: the file cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock_for(path), path.open("ab") as file:
            before = file.tell()
            try:
                if before:
                    file.write(between)
                file.writelines(blocks)
                file.flush()
            except BaseException:
                with contextlib.suppress(OSError):
                    file.close()  # it may hold bytes that did not go out
                os.truncate(path, before)
                raise
            return WrittenFile(path.as_posix(), file.tell())
    except OSError as error:
        raise _refusal(error, path, "written") from error


def _upright(image: Image, turned: int) -> Image:
    """Undoes an EXIF orientation: 2-4 are mirrored and turned in place, 5-8 lie on their side."""
    if turned >= 5:
        image = image.swapaxes(0, 1)
    if turned in (2, 3, 6, 7):
        image = image[:, ::-1]
    if turned in (3, 4, 7, 8):
        image = image[::-1]
    return np.ascontiguousarray(image)


def _known(image: Image) -> Image:
    """Brings what OpenCV may hand out to the kinds of images that we know."""
    if image.ndim == 3 and image.shape[2] == 2:  # grey with alpha
        image = np.dstack([image[..., :1]] * 3 + [image[..., 1:]])
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.dtype in (np.uint8, np.uint16):
        return image
    if image.dtype.kind == "f":
        return from_floats(image)
    raise UnsupportedFormat(f"Images of {image.dtype} values are not supported.", "8 and 16 bits and floating point are.")


def _fitting(image: Image, form: Format) -> Image:
    image = with_depth(image, 8) if form.bits == 8 else image
    channels = 1 if image.ndim == 2 else image.shape[2]
    if channels in form.channels:
        return image
    if channels == 4 and 3 in form.channels:
        return over_black(image)
    return grey(image) if form.channels == (1,) else color(image)


def _settings(ending: str, quality: int) -> list[int]:
    if ending == ".png":
        return [cv2.IMWRITE_PNG_COMPRESSION, round((100 - quality) * 9 / 99)]
    return [_QUALITY[ending], quality] if ending in _QUALITY else []


@contextlib.contextmanager
def _unfinished(path: Path) -> Iterator[tuple[IO[bytes], Path]]:
    """A new file beside `path` that only we know. It is removed unless it has been renamed.

    Containers that share a folder may share process ids, too, so a name that is taken is passed over.
    """
    while True:
        temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{next(_counter)}.part")
        try:
            file = temporary.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                yield file, temporary
        finally:
            temporary.unlink(missing_ok=True)
        return


def _replace(temporary: Path, path: Path) -> None:
    """Renames. On Windows a file that somebody reads right now cannot be replaced; readers of pictures are done soon."""
    for pause_s in (0.01, 0.02, 0.04, 0.08, 0.16):
        try:
            temporary.replace(path)
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause_s)
        else:
            return
    temporary.replace(path)


def _lock_for(path: Path) -> FileLock:
    """One lock per file, in the folder for temporary files, so that no lock file stands beside the user's own."""
    name = hashlib.sha256(os.path.normcase(os.path.realpath(path)).encode(errors="surrogateescape")).hexdigest()[:32]
    return FileLock(Path(tempfile.gettempdir()) / f"td-image-worker-{name}.lock")


def _refusal(error: OSError, path: Path, done: str) -> WorkerError:
    """The sentence for what the system said."""
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PathError(f"{path.name} may not be {done}: {reason}.", "Check the file's rights, and whether another program holds it open.")
    if path.is_dir():
        return ArgumentError(f"{path.name} is a folder; the name of a file is needed.")
    if done == "read":
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return MissingFile(f"There is no file {path.name}." if missing else f"{path.name} cannot be read: {reason}.")
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EINVAL):
        return ArgumentError(f"{path.name} cannot be written: {reason}.")
    if error.errno is None:
        return InternalError(f"{path.name} cannot be written: {reason}.")
    return DiskFull(f"{path.name} cannot be written: {reason}.")
