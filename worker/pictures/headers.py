"""What an image file says about itself in its first bytes, read before anything is decoded.

Sizes come from `imagesize`, which reads the headers of PNG, JPEG, JPEG 2000, GIF, TIFF, BMP, WebP, AVIF and Netpbm; the few formats that
OpenCV reads besides are read here. If no header can be read, OpenCV still checks the size before it asks for memory
(`OPENCV_IO_MAX_IMAGE_PIXELS`, set in each child); only its error says less.
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass

import imagesize

from worker.files.whole import PNG
from worker.pictures import av1, bmp, heif

_JPEG = b"\xff\xd8\xff"
_SCAN = b"\xff\xda"
_SEQUENTIAL = (b"\xff\xc0", b"\xff\xc1")
_CODESTREAM = b"\xff\x4f\xff\x51"
_JPEG_2000 = (b"\0\0\0\x0cjP  ", _CODESTREAM)
_SUN = b"\x59\xa6\x6a\x95"
_TIFF = {b"II*\0": "<", b"MM\0*": ">"}
_NUMBERS = rb"\s(?:\s|#[^\n]*\n)*"
_PFM = re.compile(rb"P[Ff]" + _NUMBERS + rb"(\d{1,10})" + _NUMBERS + rb"(\d{1,10})")
_PAM_WIDTH, _PAM_HEIGHT = re.compile(rb"\nWIDTH[ \t]+(\d{1,10})"), re.compile(rb"\nHEIGHT[ \t]+(\d{1,10})")
_RADIANCE = re.compile(rb"\n[-+]Y[ ]+(\d{1,10})[ ]+[-+]X[ ]+(\d{1,10})")
_HEAD = 4096
#: A header that goes on for longer is not read by anybody: a comment of 60 MB kept a decoder busy for half a minute.
LONGEST_HEADER = 2**16
#: Maximum number of parts of a file (segments, chunks, blocks) that are walked through. Those of a GIF of 1 GB are 4 million.
MOST_PARTS = 5_000_000
_TOO_MANY = f"It has more than {MOST_PARTS:,} parts"
_MOST_SEGMENTS = 10_000
_PNM = re.compile(rb"P[1-6]" + _NUMBERS + rb"(\d{1,10})" + _NUMBERS + rb"(\d{1,10})(?=\s)")
#: Longer chains of pictures are not counted to their end.
_MANY = 1_000_000


@dataclass(frozen=True, slots=True)
class Header:
    """What a file claims.

    Attributes:
        width, height: in pixels as they are stored, 0 if they are not known.
        frames: the number of pictures.
        scans: how often a decoder goes over the whole picture; more than once for a progressive JPEG.
        weight: how much memory a decoder takes for a pixel, as a multiple of what it takes for one of a JPEG.
        endless: why the file is not even given to a decoder: a header without an end. "" if it may be.
    """

    width: int = 0
    height: int = 0
    frames: int = 1
    scans: int = 1
    weight: int = 1
    endless: str = ""


class _Endless(Exception):
    """What leads to the pixels is too long."""


def read_header(data: bytes) -> Header:
    """What the file claims to hold. Never raises: what cannot be read is left to the decoder."""
    width = height = 0
    try:
        scans = _scans(data) if data.startswith(_JPEG) else 1
        width, height = _size(data)
        frames = _frames(data)
        return Header(width, height, frames, scans, _weight(data))
    except (struct.error, IndexError):  # it ends in the middle
        return Header(width, height)
    except (_Endless, av1.TooMany) as error:
        return Header(width, height, endless=str(error))


def _weight(data: bytes) -> int:
    """Measured with OpenCV 5.0, bytes for a pixel of three channels: JPEG, PNG, TIFF and WebP 6, animated WebP and PNG 11 and 12, GIF 12,
    JPEG 2000 15, AVIF 17.
    """
    if heif.is_heif(data) or data.startswith(_JPEG_2000):
        return 3
    return 2 if data.startswith(b"GIF8") or _is_animated_webp(data) or (data.startswith(PNG) and _png_frames(data)) else 1


def _is_animated_webp(data: bytes) -> bool:
    """Whether it says so; one picture may follow, and is decoded as an animation."""
    return data[8:16] == b"WEBPVP8X" and len(data) > 20 and bool(data[20] & 2)


def _size(data: bytes) -> tuple[int, int]:
    if heif.is_heif(data) and (sizes := av1.sizes(data)):
        return max(sizes, key=lambda size: size[0] * size[1])
    if data.startswith(b"BM"):
        return bmp.size(data)
    head = data[:_HEAD]
    if head.startswith(_SUN) and len(head) >= 12:
        width, height = struct.unpack_from(">II", head, 4)
        return width, height
    if head.startswith(_CODESTREAM) and len(head) >= 24:  # imagesize knows JPEG 2000 in its boxes only
        right, bottom, left, top = struct.unpack_from(">4I", head, 8)
        return max(0, right - left), max(0, bottom - top)
    if head[:1] == b"P" and head[1:2] in b"123456" and len(head) > 2 and head[2:3] in b" \t\r\n#":
        found = _PNM.match(data, 0, LONGEST_HEADER)
        if found is None and len(data) > LONGEST_HEADER:
            raise _Endless(f"Its size does not stand in the first {LONGEST_HEADER} bytes")
        return (int(found[1]), int(found[2])) if found else (0, 0)
    if found := _PFM.match(head):
        return int(found[1]), int(found[2])
    if head.startswith(b"P7"):
        pam_width, pam_height = _PAM_WIDTH.search(head), _PAM_HEIGHT.search(head)
        return (int(pam_width[1]), int(pam_height[1])) if pam_width and pam_height else (0, 0)
    if head.startswith(b"#?"):
        radiance = _RADIANCE.search(head)
        return (int(radiance[2]), int(radiance[1])) if radiance else (0, 0)
    if head.lstrip()[:1] == b"<":  # no XML is parsed: OpenCV reads no SVG
        return 0, 0
    try:
        width, height = imagesize.get(io.BytesIO(data), exif_rotation=False)
    except Exception:  # noqa: BLE001 - a parser met a file made to break it; the decoder has its own check
        return 0, 0
    return max(0, int(width)), max(0, int(height))


def _frames(data: bytes) -> int:
    if data.startswith(PNG):
        return max(1, _png_frames(data))
    if heif.is_heif(data):
        return max(1, av1.frames(data))
    if data.startswith(b"GIF8"):
        return max(1, _gif_frames(data))
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return max(1, _webp_frames(data))
    if data[:4] in _TIFF:
        return max(1, _tiff_pages(data, _TIFF[data[:4]]))
    return 1


def _scans(data: bytes) -> int:
    """Counts the scans of a JPEG: each goes over all blocks, and a few bytes are enough for one.

    In a scan a byte 0xFF is followed by 0, so the marker of a scan (FF DA) stands nowhere else but in pictures within the picture.
    Those are in the segments before the first scan, which are walked through. If the coding is sequential and the first scan holds all
    components, no scan may follow, and libjpeg refuses one: then the rest of the file is not searched, which takes milliseconds.
    """
    at, segments, sequential = 2, 0, 0
    while data[at] == 0xFF:
        if data[at + 1] in (0xFF, 0x01) or 0xD0 <= data[at + 1] <= 0xD8:  # filling, and markers without a body
            at += 1 if data[at + 1] == 0xFF else 2
        elif data[at + 1] == 0xDA:
            return 1 if sequential and data[at + 4] == sequential else data.count(_SCAN, at)
        else:
            if data[at : at + 2] in _SEQUENTIAL:
                sequential = data[at + 9]  # its components
            (size,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + size
        segments += 1
        if segments > _MOST_SEGMENTS:
            raise _Endless(f"It has more than {_MOST_SEGMENTS} segments before the picture")
    return 1


def _png_frames(data: bytes) -> int:
    """The number in the chunk `acTL`, which comes before the picture; 0 if there is none."""
    at = len(PNG)
    for _ in range(MOST_PARTS):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"acTL":
            return int(struct.unpack_from(">I", data, at + 8)[0])
        if name == b"IDAT":
            return 0
        at += 12 + size
    raise _Endless(_TOO_MANY)


def _gif_frames(data: bytes) -> int:
    """Counts the image descriptors. Blocks are an extension (0x21), an image (0x2C) or the end; each holds a chain of sub-blocks."""
    at = 13 + _table_bytes(data[10])
    frames = parts = 0
    while frames < _MANY:
        kind = data[at]
        if kind == 0x21:
            at += 2
        elif kind == 0x2C:
            frames += 1
            at += 10 + _table_bytes(data[at + 9]) + 1  # the descriptor, its colours, and the size of the first codes
        else:
            break
        while at < len(data) and data[at]:
            at += 1 + data[at]
            parts += 1
            if parts > MOST_PARTS:
                raise _Endless(_TOO_MANY)
        at += 1
        if at >= len(data):
            break
    return frames


def _table_bytes(flags: int) -> int:
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


def _webp_frames(data: bytes) -> int:
    at, frames, parts = 12, 0, 0
    while at + 8 <= len(data):
        parts += 1
        if parts > MOST_PARTS:
            raise _Endless(_TOO_MANY)
        name, size = struct.unpack_from("<4sI", data, at)
        frames += name == b"ANMF"
        at += 8 + size + size % 2
    return frames


def _tiff_pages(data: bytes, order: str) -> int:
    """Counts the directories in their chain, which may be a circle."""
    seen: set[int] = set()
    (at,) = struct.unpack_from(order + "I", data, 4)
    while at and at not in seen and len(seen) < _MANY:
        seen.add(at)
        (count,) = struct.unpack_from(order + "H", data, at)
        (at,) = struct.unpack_from(order + "I", data, at + 2 + 12 * count)
    return len(seen)
