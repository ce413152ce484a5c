"""Why a file is not read, as a sentence: what it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from worker.errors import UnsupportedFormat
from worker.files.whole import PNG, is_whole
from worker.pictures import heif, tiff

_TIFF_HINT = "Save it in strips, of 8 or 16 bits, uncompressed or with LZW or Deflate."
_SAVE = "Save it as PNG, JPEG or TIFF."
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx"))
_AVIF = frozenset((b"avif", b"avis"))
_TARGA = b"TRUEVISION-XFILE.\0"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of file that is not read: how it is known, what it is called, and what to do."""

    matches: Callable[[bytes], bool]
    name: str
    hint: str = _SAVE


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(starts)


def _is_heic(data: bytes) -> bool:
    return heif.is_heif(data) and bool(heif.brands(data) & _HEIC) and not heif.brands(data) & _AVIF


_FOREIGN = (
    _Kind(_is_heic, "a HEIC picture", "Save it as JPEG or PNG. A phone writes JPEG if its camera is set to the most compatible format."),
    _Kind(_begins(b"\x76\x2f\x31\x01"), "an OpenEXR picture", "Save it as a TIFF of 16 bits or floating point, or as HDR."),
    _Kind(lambda data: data.endswith(_TARGA), "a Targa picture (TGA)"),
    _Kind(_begins(b"8BPS"), "a Photoshop document"),
    _Kind(_begins(b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture"),
    _Kind(_begins(b"DDS "), "a DirectDraw surface (DDS)"),
    _Kind(_begins(b"%PDF-"), "a PDF document"),
    _Kind(_begins(b"\x1aE\xdf\xa3"), "a video", "Save its frames as pictures."),
    _Kind(lambda data: data[:4] == b"RIFF" and data[8:12] == b"AVI ", "a video", "Save its frames as pictures."),
    _Kind(
        lambda data: (
            heif.is_heif(data)
            and bool(heif.brands(data) & {b"isom", b"mp42", b"qt  ", b"M4V "})
            and not heif.brands(data) & (_AVIF | {b"mif1"})
        ),
        "a video",
        "Save its frames as pictures.",
    ),
)
_WHOLE = (
    (PNG, "PNG"), (b"\xff\xd8", "JPEG"), (b"GIF8", "GIF"), (b"RIFF", "WebP"), (b"BM", "BMP"), (b"\0\0\0\x0cjP  ", "JPEG 2000"),
)  # fmt: skip


def is_tiff(data: bytes) -> bool:
    return data.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))


def is_foreign(data: bytes) -> bool:
    """Whether this is a known kind of file that is not read here, even if a build of OpenCV could."""
    return any(kind.matches(data) for kind in _FOREIGN)


def unreadable(name: str, data: bytes) -> UnsupportedFormat:
    """The error for a file that no decoder has read."""
    if not data:
        return UnsupportedFormat(f"{name} is empty.", "The program that writes it has failed, or is not done.")
    for kind in _FOREIGN:
        if kind.matches(data):
            return UnsupportedFormat(f"{name} is {kind.name}, which this worker does not read.", kind.hint)
    if name.lower().endswith(".tga"):  # older files have no mark
        return UnsupportedFormat(f"{name} is a Targa picture (TGA), which this worker does not read.", _SAVE)
    if form := _cut(data):
        return UnsupportedFormat(f"{name} is cut: this {form} file ends too early.", f"It holds {len(data)} bytes. Copy or save it again.")
    if is_tiff(data) and (directory := tiff.read_directory(data)) is not None:
        return UnsupportedFormat(f"{name} is a TIFF that this worker cannot read: {tiff.described(directory)}.", _TIFF_HINT)
    return UnsupportedFormat(f"{name} is not an image that this worker can read.", f"It holds {len(data)} bytes.")


def _cut(data: bytes) -> str:
    """The format of a file that ends too early; empty if it does not, or the format does not show it."""
    if is_tiff(data):
        directory = tiff.read_directory(data)
        return "TIFF" if directory is None or tiff.is_cut(data, directory) else ""
    if heif.is_heif(data):
        return "" if is_whole(data) else "AVIF"
    return "" if is_whole(data) else next((form for start, form in _WHOLE if data.startswith(start)), "")
