"""Why a file is not read, as a sentence: what it is, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2

from worker.errors import UnsupportedFormat
from worker.files.frames import MAGIC
from worker.files.whole import PNG, is_whole
from worker.pictures import heic, heif, tiff

_TIFF_HINT = "Save it in strips, of 8 or 16 bits, uncompressed or with LZW or Deflate."
_SAVE = "Save it as PNG, JPEG or TIFF."
_AVIF = frozenset((b"avif", b"avis"))
_BLANK = b"\xef\xbb\xbf \t\r\n"
_TARGA = b"TRUEVISION-XFILE.\0"


@dataclass(frozen=True, slots=True)
class _Kind:
    """One kind of file that is not read: how it is known, what it is called, and what to do."""

    matches: Callable[[bytes], bool]
    name: str
    hint: str = _SAVE


def _begins(*starts: bytes) -> Callable[[bytes], bool]:
    return lambda data: data.startswith(starts)


_FOREIGN = (
    _Kind(_begins(MAGIC), "a frame file", "As image it is named with frame: before it, such as frame:cam1.frame."),
    _Kind(heic.is_heic, "a HEIC picture", f"{heic.INSTALL}. A phone writes JPEG if its camera is set to the most compatible format."),
    _Kind(_begins(b"\x76\x2f\x31\x01"), "an OpenEXR picture", "Save it as a TIFF of 16 bits or floating point, or as HDR."),
    _Kind(lambda data: data.endswith(_TARGA), "a Targa picture (TGA)"),
    _Kind(_begins(b"8BPS"), "a Photoshop document"),
    _Kind(_begins(b"\xff\x0a", b"\0\0\0\x0cJXL "), "a JPEG XL picture"),
    _Kind(_begins(b"II\xbc\x01"), "a JPEG XR picture"),
    _Kind(_begins(b"\0\0\1\0", b"\0\0\2\0"), "an icon (ICO)"),
    _Kind(
        lambda data: (
            data.startswith((b"FUJIFILMCCD-RAW", b"IIU\0", b"IIRO", b"IIRS", b"MMOR", b"FOVb"))
            or (data.startswith(b"II*\0") and data[8:10] == b"CR")
            or (heif.is_heif(data) and b"crx " in heif.brands(data))
        ),
        "the raw file of a camera",
        "Develop it to JPEG, PNG or TIFF.",
    ),
    _Kind(lambda data: data[:1000].lstrip(_BLANK).startswith(b"<") and b"<svg" in data[:1000], "a vector drawing (SVG)"),
    _Kind(_begins(b"/* XPM */"), "an X pixmap (XPM)"),
    _Kind(_begins(b"PK\3\4"), "an archive or document (ZIP)"),
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
#: Formats that do not show whether they are whole.
_OTHERS = (
    ((b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), "PNM"), ((b"Pf", b"PF"), "PFM"), ((b"P7",), "PAM"), ((b"#?RADIANCE", b"#?RGBE"), "HDR"),
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
    if special := _kind_of_jpeg(data):
        return UnsupportedFormat(f"{name} is {special}, which this worker does not read.", "Save it as a JPEG of 8 bits, or as PNG.")
    if form := _cut(data):
        return UnsupportedFormat(f"{name} is cut: this {form} file ends too early.", f"It holds {len(data)} bytes. Copy or save it again.")
    if is_tiff(data) and (directory := tiff.read_directory(data)) is not None:
        return UnsupportedFormat(f"{name} is a TIFF that this worker cannot read: {tiff.described(directory)}.", _TIFF_HINT)
    if form := _form(data):
        return UnsupportedFormat(f"{name} is a file of the format {form} that OpenCV {cv2.__version__} cannot read.", _SAVE)
    if form := next((form for starts, form in _OTHERS if data.startswith(starts) and data[len(starts[0]) :][:1] in b" \t\r\n#"), ""):
        return UnsupportedFormat(f"{name} is cut, broken, or of a kind of {form} that is not read.", f"It holds {len(data)} bytes. {_SAVE}")
    if not data.strip(b"\0"):
        return UnsupportedFormat(
            f"{name} holds nothing but zeros.", "A copy of it was not finished, or its disk has failed. Copy it again."
        )
    if _is_text(data):
        return UnsupportedFormat(f"{name} holds text, and no picture.", "A download may have brought an error page in its place.")
    return UnsupportedFormat(f"{name} is not an image that this worker can read.", f"It holds {len(data)} bytes.")


def _is_text(data: bytes) -> bool:
    """Whether the file begins with text in UTF-8; its last letter may be cut."""
    begin = data[:1000].decode(errors="ignore")
    return len(begin.encode()) > len(data[:1000]) - 4 and all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in begin)


def _kind_of_jpeg(data: bytes) -> str:
    """What is special about a JPEG, by the header of its frame (ITU-T T.81, B.2.2); empty if nothing is."""
    at = 2 if data.startswith(b"\xff\xd8\xff") else len(data)
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # filling
            at += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if marker in (0xC3, 0xC7, 0xCB, 0xCF):
                return "a JPEG without loss, as raw data of cameras is"
            return f"a JPEG of {data[at + 4]} bits" if data[at + 4] != 8 else ""
        if marker == 0xF7:
            return "a JPEG-LS picture"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return ""


def _form(data: bytes) -> str:
    """The format that a file begins as; empty if it is none of those that OpenCV may read. TIFF has sentences of its own."""
    if heif.is_heif(data) and heif.brands(data) & _AVIF:
        return "AVIF"
    return next((form for start, form in _WHOLE if data.startswith(start)), "")


def _cut(data: bytes) -> str:
    """The format of a file that ends too early; empty if it does not, or the format does not show it."""
    if is_tiff(data):
        directory = tiff.read_directory(data)
        return "TIFF" if directory is None or tiff.is_cut(data, directory) else ""
    if heif.is_heif(data):
        return "" if is_whole(data) else "AVIF"
    return "" if is_whole(data) else next((form for start, form in _WHOLE if data.startswith(start)), "")
