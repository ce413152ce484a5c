"""Files in and out: images, text and tables. Nobody ever sees half a file.

Bytes are read and written here and (de)coded in memory, because `cv2.imread` and `cv2.imwrite` know no Unicode paths on Windows
and say `False` where a reason is wanted.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

import cv2
import numpy as np

from worker.core.jobs import WrittenFile
from worker.errors import ArgumentError, DiskFull, InternalError, LimitExceeded, MissingFile, PathError, UnsupportedFormat, WorkerError
from worker.files import handles
from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.pictures.exif import orientation
from worker.pictures.headers import Header, is_whole, read_header
from worker.pictures.pixels import Image, color, from_floats, grey, over_black, size_of, with_depth

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

#: A file that has not changed for so long is not waited for.
SETTLED_S = 1.0
#: One that has just changed is complete if its end says so, or if nothing happens to it for so long.
QUIET_S = 0.25
#: One that changes and changes is refused after this time.
PATIENCE_S = 2.0
_LOOK_EVERY_S = 0.05

_counter = itertools.count()


class StillWritten(MissingFile):
    """The file is still being written."""

    transient = True


def readable_endings() -> frozenset[str]:
    """The endings of the images that this build of OpenCV reads."""
    return frozenset(ending for ending in FORMATS if cv2.haveImageWriter(ending)) | {".pbm"}


def read_image(path: Path, *, alpha: bool = True, limits: FileLimits = DEFAULT_LIMITS) -> Image:
    """Reads one image, upright as its EXIF orientation says, with 8 or 16 bits as in the file.

    Floating point files (TIFF, HDR, PFM) come as 16 bits, 0 black and 1 white. With `alpha` False a transparent image is laid on
    black. Of an animation this is the first picture.

    Args:
        path: absolute, and free of links, as `FileRules.to_read` gives it: a link is refused.
        alpha: keep it.
        limits: what the file and the picture may amount to; both are checked before anything is decoded.

    Raises:
        MissingFile, PathError: the file is not there or may not be read.
        UnsupportedFormat: it is no image that OpenCV reads.
        LimitExceeded: it is too large, or there is not enough memory.
    """
    data = read_bytes(path, limits)
    header = read_header(data)
    limits.check_picture(path.name, header.width, header.height, header.frames)
    image = _decoded(data, header, path.name, limits)
    if image is None:
        raise UnsupportedFormat(f"{path.name} is not an image that this worker can read.", f"It holds {len(data)} bytes.")
    upright = _upright(_known(image), orientation(data))
    return upright if alpha else over_black(upright)


def read_bytes(path: Path, limits: FileLimits = DEFAULT_LIMITS) -> bytes:
    """Reads a file whole. One that somebody is writing right now is waited for, though not for long. Raises as `read_image`."""
    try:
        with handles.reading(path) as descriptor, os.fdopen(descriptor, "rb", closefd=False) as file:
            return _settled(file, path, limits)
    except OSError as error:
        raise _refusal(error, path, "read") from error


def _settled(file: IO[bytes], path: Path, limits: FileLimits) -> bytes:
    """The bytes of a file that did not change while it was read, and does not look as if it would."""
    began = quiet_since = time.monotonic()
    state: tuple[int, int] | None = None
    while True:
        found = os.fstat(file.fileno())
        limits.check_file(path.name, found.st_size)
        now = time.monotonic()
        if (found.st_size, found.st_mtime_ns) != state:
            fresh = state is None
            state, quiet_since = (found.st_size, found.st_mtime_ns), now
            due = fresh  # the first look may be all that it takes; later ones wait until it is quiet
        else:
            due = now - quiet_since >= QUIET_S
        if due:
            file.seek(0)
            data = file.read(found.st_size + 1)
            after = os.fstat(file.fileno())
            same = len(data) == found.st_size and (after.st_size, after.st_mtime_ns) == state
            # A time stamp in the future comes from a machine with another clock and says nothing.
            settled = now > quiet_since or time.time() - found.st_mtime > SETTLED_S or is_whole(data)
            if same and settled:
                return data
        if now - began > PATIENCE_S:
            raise StillWritten(
                f"{path.name} is still being written.", f"It went on changing for {PATIENCE_S:g} s. Send the job again later."
            )
        time.sleep(_LOOK_EVERY_S)


def _decoded(data: bytes, header: Header, name: str, limits: FileLimits) -> Image | None:
    """The pixels; None where this is no image. OpenCV calls some failed allocations "no image", so memory is looked at by itself."""
    pixels = header.width * header.height
    try:
        _reserve(pixels * 4)
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        if image is None:
            _reserve(pixels * 16)  # what the most wasteful decoder asks for in one go
    except MemoryError:
        raise limits.out_of_memory(f"{name}, {header.width}x{header.height}", _megabytes(pixels * 4)) from None
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):  # OpenCV's own check, with the same limit; see `worker.service.loop.make_run_task`
            raise LimitExceeded(
                f"{name} is larger than one picture may be; the limit is {limits.megapixels} megapixels.",
                "The worker's --max-megapixels changes this limit.",
            ) from None
        if is_out_of_memory(error):
            raise limits.out_of_memory(name, wanted_memory(error)) from None
        return None
    return image


def _reserve(size_bytes: int) -> None:
    """Raises MemoryError if there is not so much. Costs nothing: memory that nobody writes to is not really taken."""
    np.empty(size_bytes, np.uint8)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is how NumPy or OpenCV say that they got no memory."""
    if isinstance(error, cv2.error):
        return getattr(error, "code", 0) == cv2.Error.STS_NO_MEM or "bad_alloc" in str(error)
    return isinstance(error, MemoryError)


def wanted_memory(error: BaseException) -> str:
    """How much was asked for, where the error tells; else ""."""
    if found := re.search(r"allocate (\d+) bytes", str(error)):
        return _megabytes(int(found[1]))
    found = re.search(r"allocate ([\d.]+) ([KMGT])iB", str(error))
    return f"{found[1]} {found[2]}B" if found else ""


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 2**20:.0f} MB"


def check_ending(path: Path) -> None:
    """Raises UnsupportedFormat if no image can be written under this name."""
    ending = path.suffix.lower()
    if ending not in FORMATS or not cv2.haveImageWriter(ending):
        known = " ".join(known for known in FORMATS if cv2.haveImageWriter(known))
        said = f"{path.name} has no ending" if not ending else f"This worker writes no {ending} images"
        raise UnsupportedFormat(f"{said}; the ending names the format.", f"It writes {known}.")


def write_image(path: Path, image: Image, quality: int = 90, limits: FileLimits = DEFAULT_LIMITS) -> WrittenFile:
    """Writes one image in the format that the path's ending names.

    What the format cannot hold is converted: 16 bits to 8, alpha laid on black, colour to grey and grey to colour.

    Args:
        path: where to; its folder is made if need be, a file that stands there is replaced in one step.
        image: 8 or 16 bits; grey, BGR or BGRA.
        quality: 1 to 100 for JPEG, WebP and AVIF. For PNG, which always keeps every pixel, higher is larger and faster.
        limits: what the picture and the file may amount to.

    Raises:
        UnsupportedFormat: no such format here, or the image does not fit into it.
        LimitExceeded: it is too large.
        ArgumentError, PathError, DiskFull: the file cannot be written.
    """
    width, height = size_of(image)
    limits.check_picture(path.name, width, height)
    data = encoded(path, image, quality)
    return WrittenFile(path.as_posix(), write_bytes_whole(path, (data,), limits).size_bytes, width, height)


def encoded(path: Path, image: Image, quality: int = 90) -> bytes:
    """The bytes that `write_image` writes."""
    check_ending(path)
    ending = path.suffix.lower()
    try:
        done, data = cv2.imencode(ending, _fitting(image, FORMATS[ending]), _settings(ending, quality))
    except cv2.error as error:
        if is_out_of_memory(error):
            raise
        done = False
    if not done:
        width, height = size_of(image)
        raise UnsupportedFormat(f"An image of {width}x{height} pixels cannot be written as {ending}.", "Try .png or .tif.")
    return data.tobytes()


def write_bytes_whole(path: Path, blocks: Iterable[bytes], limits: FileLimits = DEFAULT_LIMITS) -> WrittenFile:
    """Writes a file under a temporary name beside its own, then gives it its name in one step.

    Args:
        path: absolute, and free of links, as `FileRules.to_write` gives it. Its folder is made if need be.
        blocks: its bytes.
        limits: how large it may become, and how much room must stay free.

    Raises:
        ArgumentError, PathError, LimitExceeded, DiskFull: the file cannot be written. Nothing is left behind then.
    """
    try:
        with handles.folder(path.parent, make=True) as folder:
            _check_target(folder, path.name)
            with _unfinished(folder, path.name) as (file, temporary):
                size = _copied(blocks, file, folder, path.name, limits)
                file.close()
                _replace(folder, temporary, path.name)
    except OSError as error:
        raise _refusal(error, path, "written") from error
    return WrittenFile(path.as_posix(), size)


def append_bytes(path: Path, blocks: Iterable[bytes], between: bytes = b"", limits: FileLimits = DEFAULT_LIMITS) -> WrittenFile:
    """Adds to the end of a file, in one piece, also while other processes do the same; on an error the file is as before.

    Args:
        path: the file; it and its folder are made if need be. Absolute and free of links.
        blocks: what is added.
        between: goes before it, unless the file is empty.
        limits: how large it may become, and how much room must stay free.

    Raises:
        ArgumentError, PathError, LimitExceeded, DiskFull: the file cannot be written.
    """
    try:
        with handles.folder(path.parent, make=True) as folder, _to_append(folder, path) as (descriptor, made):
            before = os.fstat(descriptor).st_size
            file = os.fdopen(descriptor, "ab", closefd=False)  # it is closed before the file is cut
            try:
                with file:
                    size = _copied(itertools.chain((between,) if before else (), blocks), file, folder, path.name, limits, before=before)
            except BaseException:
                os.ftruncate(descriptor, before)
                if made:
                    folder.unlink(path.name)
                raise
    except OSError as error:
        raise _refusal(error, path, "written") from error
    return WrittenFile(path.as_posix(), size)


def _copied(blocks: Iterable[bytes], file: IO[bytes], folder: handles.Folder, name: str, limits: FileLimits, *, before: int = 0) -> int:
    """Writes the blocks, with an eye on the file's size and on the room that is left; the size in the end."""
    size = before
    for block in blocks:
        size += len(block)
        limits.check_file(name, size)
        limits.check_free(name, folder.free_bytes(), len(block))
        file.write(block)
    return size


def _check_target(folder: handles.Folder, name: str) -> None:
    """Only a file with bytes in it is replaced, or nothing. Between this and the renaming a name may change; no content is lost then."""
    with contextlib.suppress(FileNotFoundError):
        handles.check_regular(folder.status(name), name)


@contextlib.contextmanager
def _to_append(folder: handles.Folder, path: Path) -> Iterator[tuple[int, bool]]:
    """A descriptor of the file that nobody else appends to meanwhile, and whether the file is new.

    Raises:
        PathError: the file has several names. Some may stand outside the roots, and appending would change what they name.
    """
    with _lock_by_name(path):
        while True:
            try:
                descriptor, made = folder.open(path.name, os.O_RDWR), False
            except FileNotFoundError:
                try:
                    descriptor, made = folder.open(path.name, os.O_RDWR | os.O_CREAT | os.O_EXCL), True
                except FileExistsError:
                    continue
            try:
                _lock(descriptor)
                if not _is_still(folder, path.name, descriptor):
                    continue
                if os.fstat(descriptor).st_nlink > 1:
                    raise PathError(f"{path.name} has another name somewhere else (a hard link), so nothing is added to it.")
                yield descriptor, made
            finally:
                os.close(descriptor)
            return


def _is_still(folder: handles.Folder, name: str, descriptor: int) -> bool:
    """Whether the file was not replaced or removed while we waited for the lock."""
    try:
        return os.path.samestat(folder.status(name), os.fstat(descriptor))
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import hashlib
    import tempfile

    from filelock import FileLock

    def _lock(_descriptor: int) -> None:
        """Here a lock on the file would keep readers away, so there is one beside it; see below."""

    def _lock_by_name(path: Path) -> FileLock:
        """One lock per file, in the folder for temporary files, so that no lock file stands beside the user's own."""
        name = hashlib.sha256(os.path.normcase(path).encode(errors="surrogateescape")).hexdigest()[:32]
        return FileLock(Path(tempfile.gettempdir()) / f"td-image-worker-{name}.lock")

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        """Until the descriptor is closed. A file system without locks has no order among those who append."""
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)

    def _lock_by_name(_path: Path) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()


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
def _unfinished(folder: handles.Folder, name: str) -> Iterator[tuple[IO[bytes], str]]:
    """A new file beside `name` that only we know. It is removed unless it has been renamed.

    Containers that share a folder may share process ids, too, so a name that is taken is passed over. While the file is open it is
    locked, which tells `worker.files.sweep` that somebody is writing it.
    """
    while True:
        temporary = f".{_cut(name)}.{os.getpid()}-{next(_counter)}.part"
        try:
            descriptor = folder.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "wb") as file:
                _lock(descriptor)
                yield file, temporary
        finally:
            with contextlib.suppress(FileNotFoundError):
                folder.unlink(temporary)
        return


def _cut(name: str) -> str:
    """So much of a name that a temporary one is not too long: systems count bytes."""
    return name.encode(errors="surrogateescape")[:100].decode(errors="ignore")


def _replace(folder: handles.Folder, temporary: str, name: str) -> None:
    """Renames. On Windows a file that somebody reads right now cannot be replaced; readers of pictures are done soon."""
    for pause_s in (0.01, 0.02, 0.04, 0.08, 0.16):
        try:
            folder.rename(temporary, name)
        except PermissionError:
            if os.name != "nt":
                raise
            time.sleep(pause_s)
        else:
            return
    folder.rename(temporary, name)


def _refusal(error: OSError, path: Path, done: str) -> WorkerError:
    """The sentence for what the system said."""
    reason = error.strerror or str(error)
    if error.errno in (errno.EACCES, errno.EPERM):
        return PathError(f"{path.name} may not be {done}: {reason}.", "Check the file's rights, and whether another program holds it open.")
    if isinstance(error, handles.NotRegular):
        return PathError(f"{path.name} may not be {done}: it is a pipe, a device or a socket.")
    if error.errno in (errno.ELOOP, errno.EXDEV):
        return PathError(f"{path.name} may not be {done}: a folder or link on its way was changed meanwhile.", "Send the job again.")
    if isinstance(error, IsADirectoryError) or os.path.isdir(path):
        return ArgumentError(f"{path.name} is a folder; the name of a file is needed.")
    if done == "read":
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        return MissingFile(f"There is no file {path.name}." if missing else f"{path.name} cannot be read: {reason}.")
    if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EEXIST, errno.EINVAL):
        return ArgumentError(f"{path.name} cannot be written: {reason}.")
    if error.errno is None:
        return InternalError(f"{path.name} cannot be written: {reason}.")
    return DiskFull(f"{path.name} cannot be written: {reason}.")
