"""Colour profiles in picture files: taken out, put in, and colours brought to sRGB.

A profile says which colours the numbers mean (ICC.1:2022). The pixels are the business of others: here it is a block of bytes, which
stands in a JPEG in segments APP2 (ICC.1, annex B.4), in a PNG in the chunk iCCP, in a TIFF under tag 34675, in a WebP in the chunk ICCP,
and in AVIF and HEIC in the property colr.

Converting needs the package `imagecodecs` (Little CMS), because Little CMS knows what a profile means, and the binding takes 16 bits.
"""

from __future__ import annotations

import importlib.util
import struct
import zlib
from collections.abc import Callable, Iterator

import numpy as np

from worker import extras
from worker.errors import Unavailable, UnsupportedFormat
from worker.pictures import heif, tiff
from worker.pictures.exif import FILL
from worker.pictures.pixels import Image

#: A larger one is not taken along; those of printers have 3 MB.
LARGEST_BYTES = 16 * 2**20
MISSING = f"the package imagecodecs, which converts colours, is not installed: {extras.install('color')}."
_TAG, _UNDEFINED = 34675, 7
_NAME = b"ICC_PROFILE\0"
_SEGMENT_BYTES = 65_519
_MOST_PARTS = 100_000
_PNG, _WEBP_ALPHA, _WEBP_PROFILE = b"\x89PNG\r\n\x1a\n", 0x10, 0x20
_BROKEN = (struct.error, IndexError, KeyError, ValueError, zlib.error)


def profile_of(data: bytes) -> bytes:
    """The profile in a picture file; empty if there is none, or it is broken or too large."""
    try:
        found = _found(data)
        if not 128 <= len(found) <= LARGEST_BYTES or found[36:40] != b"acsp":
            return b""
        (size,) = struct.unpack_from(">I", found)
        return found[:size] if 128 <= size <= len(found) else b""
    except _BROKEN:
        return b""


def is_of(profile: bytes, image: Image) -> bool:
    """Whether the profile speaks of as many colours as the picture has. A decoder may have made RGB of CMYK."""
    return profile[16:20] == (b"GRAY" if image.ndim == 2 else b"RGB ")


def can_convert() -> bool:
    return importlib.util.find_spec("imagecodecs") is not None


def to_srgb(image: Image, profile: bytes, name: str = "The picture") -> Image:
    """The colours that the profile means, as sRGB: same size, same depth; alpha stays.

    Args:
        image: `(height, width)`, or `(height, width, 3 or 4)` in BGR order.
        profile: of the image; an empty one means that it is sRGB already.
        name: as errors call the picture.

    Raises:
        UnsupportedFormat: the profile is of other colours, or Little CMS cannot read it.
        Unavailable: the package is missing.
    """
    if not profile:
        return image
    if not is_of(profile, image):
        raise UnsupportedFormat(
            f"{name} has a profile of {profile[16:20].decode('latin1').strip()} colours, which its pixels are not any more.",
            "Save it as RGB with another program, or use profile=keep.",
        )
    if not can_convert():
        raise Unavailable(f"Colours cannot be brought to sRGB: {MISSING}")
    try:
        if image.ndim == 2:
            return np.ascontiguousarray(_transformed(image, profile, "gray")[..., 1])
        made = _transformed(np.ascontiguousarray(image[..., 2::-1]), profile, "rgb")
    except (RuntimeError, ValueError) as error:
        raise UnsupportedFormat(f"{name} has a colour profile that cannot be used: {error}.", "Use profile=keep.") from None
    return np.ascontiguousarray(np.concatenate([made[..., ::-1], image[..., 3:]], axis=2))


def _transformed(image: Image, profile: bytes, space: str) -> Image:
    """The image in sRGB, RGB order."""
    import imagecodecs

    # Of 16 bits Little CMS makes a table of 33 steps for each colour, which is off by up to 15 of 255; without it each pixel is computed.
    flags = 0 if image.dtype == np.uint8 else imagecodecs.CMS.FLAGS.NOOPTIMIZE
    target = imagecodecs.cms_profile("srgb")
    return np.asarray(imagecodecs.cms_transform(image, profile, target, colorspace=space, outcolorspace="rgb", flags=flags))


def with_profile(data: bytes, profile: bytes) -> bytes:
    """A picture file with a profile, which it has not had before; the same bytes if its format holds none, or we do not write it there."""
    for start, put in _PUT.items():
        if data.startswith(start) and profile:
            return put(data, profile)
    return data


# -------------------------------------------------------------------------------------------------------------- taken out


def _found(data: bytes) -> bytes:
    if data.startswith(b"\xff\xd8"):
        return _in_jpeg(data)
    if data.startswith(_PNG):
        return _in_png(data)
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return next((body for name, body in _webp_chunks(data) if name == b"ICCP"), b"")
    if heif.is_heif(data):
        return heif.profile(data)
    directory = tiff.read_directory(data)
    return directory.entries[_TAG].data if directory is not None and _TAG in directory.entries else b""


def _in_jpeg(data: bytes) -> bytes:
    """The parts in the order of their numbers, which count from 1."""
    parts: dict[int, bytes] = {}
    at = 2
    for _ in range(_MOST_PARTS):
        marker, size = struct.unpack_from(">HH", data, at)
        if marker == FILL:
            at += 1
            continue
        if marker == 0xFFDA or marker < 0xFF00:
            break
        if marker == 0xFFE2 and data[at + 4 : at + 16] == _NAME:
            parts[data[at + 16]] = data[at + 18 : at + 2 + size]
        at += 2 + size
    return b"".join(parts[number] for number in range(1, len(parts) + 1))


def _in_png(data: bytes) -> bytes:
    at = len(_PNG)
    for _ in range(_MOST_PARTS):
        size, name = struct.unpack_from(">I4s", data, at)
        if name == b"iCCP":
            packed = data[at + 8 : at + 8 + size].partition(b"\0")[2][1:]
            return zlib.decompressobj().decompress(packed, LARGEST_BYTES + 1)
        if name == b"IDAT":
            break
        at += 12 + size
    return b""


def _webp_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 12
    for _ in range(_MOST_PARTS):
        if at + 8 > len(data):
            return
        name, size = struct.unpack_from("<4sI", data, at)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + size % 2


# ----------------------------------------------------------------------------------------------------------------- put in


def _into_jpeg(data: bytes, profile: bytes) -> bytes:
    """Behind the start of the image, and behind JFIF's own segment, which comes first."""
    parts = [profile[first : first + _SEGMENT_BYTES] for first in range(0, len(profile), _SEGMENT_BYTES)]
    if len(parts) > 255:
        return data
    segments = (
        struct.pack(">HH", 0xFFE2, 16 + len(part)) + _NAME + bytes((number, len(parts))) + part
        for number, part in enumerate(parts, start=1)
    )
    at = 4 + struct.unpack_from(">H", data, 4)[0] if data[2:4] == b"\xff\xe0" else 2
    return data[:at] + b"".join(segments) + data[at:]


def _into_png(data: bytes, profile: bytes) -> bytes:
    """Behind the header; before the pixels is where it has to stand."""
    body = b"ICC profile\0\0" + zlib.compress(profile)
    chunk = struct.pack(">I", len(body)) + b"iCCP" + body + struct.pack(">I", zlib.crc32(body, zlib.crc32(b"iCCP")))
    at = len(_PNG) + 12 + 13
    return data[:at] + chunk + data[at:]


def _into_tiff(data: bytes, profile: bytes) -> bytes:
    return tiff.with_tag(data, _TAG, _UNDEFINED, profile)


def _into_webp(data: bytes, profile: bytes) -> bytes:
    """A profile needs the extended form: VP8X with the size, then the profile, then what was there."""
    if data[8:12] != b"WEBP":
        return data
    chunks = list(_webp_chunks(data))
    name, body = chunks[0]
    if name == b"VP8X":
        chunks[0] = name, bytes((body[0] | _WEBP_PROFILE,)) + body[1:]
        chunks.insert(1, (b"ICCP", profile))
    else:
        width, height, alpha = _webp_size(name, body)
        head = struct.pack("<I", _WEBP_PROFILE | (_WEBP_ALPHA if alpha else 0))
        head += struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
        chunks = [(b"VP8X", head), (b"ICCP", profile), *chunks]
    inside = b"WEBP" + b"".join(struct.pack("<4sI", name, len(body)) + body + bytes(len(body) % 2) for name, body in chunks)
    return struct.pack("<4sI", b"RIFF", len(inside)) + inside


def _webp_size(name: bytes, body: bytes) -> tuple[int, int, bool]:
    """Width, height, and whether there is alpha (WebP Lossless Bitstream Specification, 3; RFC 6386, 9.1)."""
    if name == b"VP8L":
        (bits,) = struct.unpack_from("<I", body, 1)
        return (bits & 0x3FFF) + 1, ((bits >> 14) & 0x3FFF) + 1, bool(bits >> 28 & 1)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF, False


_PUT: dict[bytes, Callable[[bytes, bytes], bytes]] = {
    b"\xff\xd8": _into_jpeg,
    _PNG: _into_png,
    b"II*\0": _into_tiff,
    b"MM\0*": _into_tiff,
    b"RIFF": _into_webp,
}
