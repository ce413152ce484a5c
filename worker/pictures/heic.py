"""HEIC pictures, as phones take them, by the package `pillow-heif` (libheif), if it is installed: OpenCV reads none."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from worker import extras
from worker.errors import LimitExceeded, UnsupportedFormat
from worker.files.whole import is_whole
from worker.pictures import heif
from worker.pictures.pixels import Image, over_alpha

if TYPE_CHECKING:
    from worker.files.limits import FileLimits

INSTALL = f"{extras.install('heic')} makes it readable"
ENDINGS = frozenset({".heic", ".heif", ".hif"})
_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"))
_AVIF = frozenset((b"avif", b"avis"))
_MULTIPLIED = "a"  # in the mode, as Pillow writes it


def is_heic(data: bytes) -> bool:
    return heif.is_heif(data) and bool(heif.brands(data) & _BRANDS) and not heif.brands(data) & _AVIF


def can_read() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


def decode(data: bytes, name: str, limits: FileLimits) -> Image:
    """The primary picture, upright and cut as the file says: 8 or 16 bits, blue first, alpha last and not multiplied.

    Raises:
        LimitExceeded: it is too large; the size is known before it is decoded.
        UnsupportedFormat: libheif cannot decode it.
    """
    import pillow_heif

    pillow_heif.options.DECODE_THREADS = 1  # the children share the cores between them
    try:
        found = pillow_heif.open_heif(data, convert_hdr_to_8bit=False, bgr_mode=True)
        limits.check_picture(name, *found.size)
        image = np.array(found)
    except (LimitExceeded, MemoryError):
        raise
    except Exception as error:  # noqa: BLE001 - see below
        # The binding has an error of its own for every way in which a file can be broken, down to an index that is out of range.
        if not is_whole(data):
            reason = f"{name} is cut: this HEIC file ends too early."
            raise UnsupportedFormat(reason, f"It holds {len(data)} bytes. Copy or save it again.") from None
        said = " ".join(str(error).split())
        raise UnsupportedFormat(f"{name} is a HEIC picture that cannot be decoded: {said}.", "Save it as JPEG or PNG.") from None
    if image.ndim == 3 and image.shape[2] == 4 and found.mode.partition(";")[0].endswith(_MULTIPLIED):
        return over_alpha(image)
    return image
