"""Small files that claim to be large pictures, in every format that OpenCV reads here, and real small files to break."""

from __future__ import annotations

import io
import struct
import zlib

import cv2
import numpy as np

from worker.pictures import heic
from worker.pictures.images import FORMATS

BOMB = (60_000, 50_000)  # 3,000 megapixels


def seeds() -> dict[str, bytes]:
    """A few real files of each format: grey, colour and alpha, of 8 and 16 bits, and floating point."""
    row, column = np.mgrid[:40, :60]
    layers = np.dstack([column * 4, row * 6, (row * column) % 256, 255 - row]).astype(np.uint8)
    found = {}
    for ending in [*FORMATS, ".pbm", ".pam", ".pfm", ".hdr"]:
        for name, image in (
            ("grey", layers[..., 0]),
            ("color", layers[..., :3]),
            ("alpha", layers),
            ("deep", layers[..., :3].astype(np.uint16) * 257),
            ("floats", layers[..., :3].astype(np.float32) / 255),
        ):
            try:
                done, data = cv2.imencode(ending, np.ascontiguousarray(image))
            except cv2.error:
                continue
            if done and cv2.imdecode(data, cv2.IMREAD_UNCHANGED) is not None:
                found[f"{name}{ending}"] = data.tobytes()
    found["animation.gif"] = animated_gif(3)
    return found


def animated_gif(frames: int) -> bytes:
    """The same small picture so many times."""
    data = cv2.imencode(".gif", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    head, body = 13 + (3 * 2 ** ((data[10] & 7) + 1) if data[10] & 0x80 else 0), data[:-1]
    return data[:head] + body[head:] * frames + b";"


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width: int, height: int, rows: int = 0) -> bytes:
    """A PNG that claims a size, and holds so many rows of zeros."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    packer = zlib.compressobj(9)
    body = b"".join(packer.compress(bytes(1 + 3 * width)) for _ in range(rows)) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def patched(data: bytes, at: int, form: str, *values: int) -> bytes:
    return data[:at] + struct.pack(form, *values) + data[at + struct.calcsize(form) :]


def bombs() -> dict[str, bytes]:
    """One for each format; what a format cannot count to is as large as it can."""
    width, height = BOMB
    small = np.zeros((64, 64, 3), np.uint8)
    real = {
        ending: cv2.imencode(ending, small)[1].tobytes() for ending in (".jpg", ".gif", ".jp2", ".bmp", ".tif", ".webp", ".ras", ".avif")
    }
    jpeg, tiff, jp2, avif = real[".jpg"], real[".tif"], real[".jp2"], real[".avif"]
    frame = next(at for at in range(len(jpeg)) if jpeg[at] == 0xFF and jpeg[at + 1] in (0xC0, 0xC2))
    claims = {
        "a.png": png(width, height),
        "real.png": png(30_000, 20_000, 100),
        "a.jpg": patched(jpeg, frame + 5, ">HH", height, width),
        "a.bmp": patched(real[".bmp"], 18, "<ii", width, height),
        "a.gif": patched(real[".gif"], 6, "<HH", width, height),
        "a.ras": patched(real[".ras"], 4, ">II", width, height),
        "a.jp2": patched(
            patched(jp2, jp2.index(b"ihdr") + 4, ">II", height, width), jp2.index(b"\xff\x4f\xff\x51") + 8, ">II", width, height
        ),
        "a.avif": patched(avif, avif.index(b"ispe") + 8, ">II", width, height),
        "a.pgm": f"P5\n{width} {height}\n255\n".encode() + b"x",
        "a.ppm": f"P6\n# {'c' * 200}\n{width} {height}\n255\n".encode(),
        "a.pbm": f"P4\n{width} {height}\n".encode(),
        "text.pgm": f"P2\n{width} {height}\n255\n1 2 3".encode(),
        "a.pam": f"P7\nWIDTH {width}\nHEIGHT {height}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n".encode(),
        "a.pfm": f"PF\n{width} {height}\n-1.0\n".encode(),
        "a.hdr": f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {height} +X {width}\n".encode() + b"\2\2\0\x10",
    }
    if heic.can_read():
        import pillow_heif

        written = io.BytesIO()
        pillow_heif.from_bytes("RGB", (64, 64), bytes(64 * 64 * 3)).save(written)
        claims |= {
            f"a{ending}": patched(written.getvalue(), written.getvalue().index(b"ispe") + 8, ">II", width, height)
            for ending in heic.ENDINGS
        }
    claims["a.j2k"] = claims["a.jp2"][jp2.index(b"\xff\x4f\xff\x51") :]
    for ending, like in ((".jfif", ".jpg"), (".mpo", ".jpg"), (".apng", ".png")):
        claims[f"a{ending}"] = claims[f"a{like}"]
    claims["a.webp"] = webp(16_383, 16_383)
    claims["extended.webp"] = extended_webp(60_000, 50_000)
    claims["a.tif"] = tiff_with(tiff, {256: width, 257: height})
    claims["tiles.tif"] = tiff_with(tiff, {322: 2**30, 323: 2**30, 256: 2**30})
    claims["strip.tif"] = tiff_with(tiff, {278: 2**32 - 1, 279: 2**32 - 1, 257: height})
    return claims


def webp(width: int, height: int) -> bytes:
    """Lossless, whose header holds 14 bits for each side."""
    body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(20)
    return (
        b"RIFF"
        + struct.pack("<I", 12 + len(body) + len(body) % 2)
        + b"WEBPVP8L"
        + struct.pack("<I", len(body))
        + body
        + b"\0" * (len(body) % 2)
    )


def extended_webp(width: int, height: int) -> bytes:
    body = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    inner = webp(16, 16)[12:]
    return b"RIFF" + struct.pack("<I", 4 + 8 + len(body) + len(inner)) + b"WEBPVP8X" + struct.pack("<I", len(body)) + body + inner


def tiff_with(data: bytes, values: dict[int, int]) -> bytes:
    """The file with other values of some tags, where it has them; the first tags it has none of are taken over."""
    order = "<" if data[:2] == b"II" else ">"
    (at,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, at)
    for entry in range(count):
        place = at + 2 + 12 * entry
        (tag,) = struct.unpack_from(order + "H", data, place)
        if tag in values:
            data = patched(data, place + 2, order + "HII", 4, 1, values[tag])
    return data
