"""Every kind of file, made by another library or program: it comes out right, or is refused with a sentence; never as another picture.

Each row of `KINDS` says who makes the file, what it shows, and how far a value may be off, of 255; or the words of the refusal.
`test_foreign.py` looks closer at what is mended here.
"""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import pytest

from worker.errors import UnsupportedFormat
from worker.pictures.images import read_image

tifffile = pytest.importorskip("tifffile", reason="install the extra [test]")
imagecodecs = pytest.importorskip("imagecodecs", reason="install the extra [test]")
Image = pytest.importorskip("PIL.Image", reason="install the extra [test]")

HEIGHT, WIDTH = 48, 64
#: ImageMagick under the names that Debian and others give it; on some machines `convert` is something else.
MAGICK = next(filter(None, map(shutil.which, ("convert-im6.q16", "magick", "convert-im7.q16"))), None)


def ramps(channels=3, depth=np.uint8):
    """Red, green, blue and alpha (or grey, or grey and alpha), each another ramp, in the order that other libraries have."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = [x / (WIDTH - 1), y / (HEIGHT - 1), 1 - x / (WIDTH - 1), 0.3 + 0.6 * y / HEIGHT]
    chosen = {1: (0,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}[channels]
    image = (np.dstack([values[n] for n in chosen]) * np.iinfo(depth).max).astype(depth)
    return image[..., 0] if channels == 1 else image


RGB, RGBA, GREY, PAIR = ramps(), ramps(4), ramps(1), ramps(2)
RGB16, RGBA16, GREY16, PAIR16 = (ramps(n, np.uint16) for n in (3, 4, 1, 2))
TRANSPOSED = {
    1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a, 1),
}  # fmt: skip
FLAT = Image.fromarray(RGB).quantize(16, dither=0)
SPOT = np.zeros((HEIGHT, WIDTH), bool)
SPOT[10:20, 30:50] = True


def opaque(image):
    return np.dstack([image, np.full(image.shape[:2], np.iinfo(image.dtype).max, image.dtype)])


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: of the file; its ending is real.
        make: returns its bytes, or writes them to the path that it is given.
        shows: the picture in RGB order, or the words of the refusal.
        tolerance: of 255.
        or_refused: other builds may refuse it, with these words.
        by_pillow: the truth is what Pillow reads.
    """

    name: str
    make: Callable
    shows: np.ndarray | str
    tolerance: float = 0
    or_refused: str = ""
    by_pillow: bool = False


def pillow(image, form, **made):
    def make(_path):
        buffer = io.BytesIO()
        (image if hasattr(image, "save") else Image.fromarray(image)).save(buffer, form, **made)
        return buffer.getvalue()

    return make


def tiff(image, **made):
    def make(path):
        tifffile.imwrite(path, image, **made)

    return make


def magick(image, *arguments):
    """ImageMagick, from a PNG."""

    def make(path):
        if MAGICK is None:
            pytest.skip("ImageMagick is not installed: apt-get install imagemagick")
        source = path.parent / "source.png"
        cv2.imwrite(str(source), image[..., [2, 1, 0, 3][: image.shape[2]]] if image.ndim == 3 else image)
        form = f"{path.suffix[1:]}:" if "." in path.name else ""
        done = subprocess.run([MAGICK, str(source), *arguments, f"{form}{path}"], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode or not path.exists():
            pytest.skip(f"not on this system: this ImageMagick cannot: {done.stderr.strip()[:200]}")

    return make


def openexr(image):
    """Half floats, by the reference library of the format."""

    def make(path):
        library = pytest.importorskip("OpenEXR", reason="install the extra [test]")
        header = {"compression": library.ZIP_COMPRESSION, "type": library.scanlineimage}
        library.File(header, {"RGB": image.astype(np.float16)}).write(str(path))

    return make


def codec(name, image, **made):
    """One of the encoders of imagecodecs."""

    def make(_path):
        try:
            return bytes(getattr(imagecodecs, f"{name}_encode")(image, **made))
        except imagecodecs.DelayedImportError as error:
            pytest.skip(f"this imagecodecs cannot: {error}")

    return make


def png(bits, color, rows, *more):
    """A PNG chunk by chunk: `rows` are bytes, `more` are chunks before the pixels."""

    def make(_path):
        chunks = [
            (b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, bits, color, 0, 0, 0)),
            *more,
            (b"IDAT", zlib.compress(b"".join(b"\0" + bytes(row) for row in rows))),
            (b"IEND", b""),
        ]
        body = (struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in chunks)
        return b"\x89PNG\r\n\x1a\n" + b"".join(body)

    return make


def exif(turned):
    made = Image.Exif()
    made[274] = turned
    return made


def bmp(bits, masks, rows, *, top_down=False):
    """A BMP with masks (BITMAPV4HEADER)."""

    def make(_path):
        pixels = b"".join(bytes(row) + bytes(-len(bytes(row)) % 4) for row in (rows if top_down else rows[::-1]))
        head = struct.pack("<IiiHHIIiiII", 108, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits, 3, len(pixels), 2835, 2835, 0, 0)
        head += struct.pack("<IIII", *masks) + b"BGRs" + bytes(36 + 12)
        return b"BM" + struct.pack("<IHHI", 14 + len(head) + len(pixels), 0, 0, 14 + len(head)) + head + pixels

    return make


def older_bmp(bits, rows, colors=b"", *, wide=0, masks=b""):
    """A BMP with the header of OS/2, or with one of `wide` bytes and masks."""

    def make(_path):
        pixels = b"".join(bytes(row) + bytes(-len(bytes(row)) % 4) for row in rows[::-1])
        head = struct.pack("<IHHHH", 12, WIDTH, HEIGHT, 1, bits)
        if wide:
            head = struct.pack("<IiiHHIIiiII", wide, WIDTH, HEIGHT, 1, bits, 3, len(pixels), 0, 0, 0, 0) + masks.ljust(
                max(0, wide - 40), b"\0"
            )
        start = 14 + len(head) + len(colors)
        return b"BM" + struct.pack("<IHHI", start + len(pixels), 0, 0, start) + head + colors + pixels

    return make


def with_tag(image, kind, turned):
    """A JPEG whose orientation is a number of another type: 3 is short, 4 long."""

    def make(_path):
        tag = struct.pack(">HHI", 274, kind, 1) + struct.pack(">H" if kind == 3 else ">I", turned).ljust(4, b"\0")
        block = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + tag + bytes(4)
        data = pillow(image, "JPEG", quality=97, subsampling=0)(None)
        return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]

    return make


def in_text(magic, white, image):
    """A Netpbm file in text."""
    values = np.rint(image / 255 * white).astype(int).reshape(HEIGHT, -1)
    return lambda _path: f"{magic}\n{WIDTH} {HEIGHT}\n{white}\n".encode() + "\n".join(" ".join(map(str, row)) for row in values).encode()


def targa(image, *, packed):
    return pillow(image, "TGA", compression="tga_rle" if packed else None)


def stretched(image, bits):
    """What is left of 16 bits if a file has fewer, from black to white."""
    return np.rint((image >> (16 - bits)) * (65535 / (2**bits - 1))).astype(np.uint16)


def netpbm(magic, white, image):
    """A Netpbm file with another maximum than that of 8 or 16 bits."""
    values = np.rint(image / np.iinfo(image.dtype).max * white).astype(">u2" if white > 255 else "u1")

    def make(_path):
        return f"{magic}\n# made by hand\n{WIDTH} {HEIGHT}\n{white}\n".encode() + values.tobytes()

    return make


def netpam(kind, image):
    depth = image.shape[2]
    return b"P7\nWIDTH %d\nHEIGHT %d\nDEPTH %d\nMAXVAL 255\nTUPLTYPE %s\nENDHDR\n" % (WIDTH, HEIGHT, depth, kind) + image.tobytes()


def rounded(image, white):
    """What is left of 8 or 16 bits with this maximum."""
    largest = np.iinfo(image.dtype).max
    return np.rint(np.rint(image / largest * white) * (largest / white)).astype(image.dtype)


_PALETTE = np.array(FLAT.getpalette()[:48], np.uint8).reshape(-1, 3)
_INDEX = np.asarray(FLAT)
_565 = (RGB[..., 0].astype(np.uint16) >> 3 << 11) | (RGB[..., 1].astype(np.uint16) >> 2 << 5) | (RGB[..., 2] >> 3)
_4444 = sum((RGBA[..., n].astype(np.uint16) >> 4) << shift for n, shift in enumerate((8, 4, 0, 12)))
_TOP_TEN = sum((RGB16[..., n].astype("<u4") >> 6) << shift for n, shift in enumerate((20, 10, 0)))
_SPOTTED = np.where(SPOT[..., None], np.uint8(77), RGB)
_ANIMATION = [Image.fromarray(RGB), Image.fromarray(RGB[::-1].copy())]
_CMYK = Image.fromarray(RGB).convert("CMYK")

KINDS = [
    # ------------------------------------------------------------------------------------------------------------ JPEG
    Kind("plain.jpg", pillow(RGB, "JPEG", quality=97, subsampling=0), RGB, 6),
    Kind("subsampled.jpg", pillow(RGB, "JPEG", quality=97, subsampling=2), RGB, 16),
    Kind("progressive.jpg", pillow(RGB, "JPEG", quality=97, progressive=True, subsampling=0), RGB, 6),
    Kind("grey.jpg", pillow(GREY, "JPEG", quality=97), GREY, 6),
    Kind("rgb.jpg", pillow(RGB, "JPEG", quality=97, keep_rgb=True), RGB, 6),
    Kind("cmyk.jpg", pillow(_CMYK, "JPEG", quality=97), RGB, 8),
    Kind("cmyk-magick.jpg", magick(RGB, "-colorspace", "CMYK", "-quality", "97"), RGB, 8),
    Kind("ycck.jpg", codec("jpeg8", np.asarray(_CMYK), level=97, colorspace="CMYK", outcolorspace="YCCK"), RGB, 6, by_pillow=True),
    Kind("deep.jpg", codec("jpeg8", GREY16 >> 4, level=97, bitspersample=12), "a JPEG of 12 bits"),
    Kind("raw.jpg", codec("ljpeg", GREY16, bitspersample=16), "a JPEG without loss"),
    Kind("arithmetic.jpg", magick(RGB, "-define", "jpeg:arithmetic-coding=true", "-quality", "97", "-sampling-factor", "1x1"), RGB, 6),
    *(Kind(f"turned{n}.jpg", pillow(RGB, "JPEG", quality=97, subsampling=0, exif=exif(n)), TRANSPOSED[n](RGB), 6) for n in range(1, 9)),
    Kind("long.jpg", with_tag(RGB, 4, 6), TRANSPOSED[6](RGB), 6),
    Kind("short.jpg", with_tag(RGB, 3, 6), TRANSPOSED[6](RGB), 6),
    Kind("lossless.jpg", codec("jpegls", RGB), "a JPEG-LS picture"),
    # ------------------------------------------------------------------------------------------------------------- PNG
    Kind("one.png", pillow(Image.fromarray(SPOT), "PNG"), SPOT * np.uint8(255)),
    Kind("palette.png", pillow(FLAT, "PNG", bits=8), _PALETTE[_INDEX]),
    Kind("palette4.png", pillow(FLAT, "PNG", bits=4), _PALETTE[_INDEX]),
    Kind(
        "palette-alpha.png",
        pillow(FLAT, "PNG", transparency=bytes(range(0, 256, 16))),
        np.dstack([_PALETTE[_INDEX], np.arange(0, 256, 16, np.uint8)[_INDEX]]),
    ),
    Kind("grey-alpha.png", pillow(Image.fromarray(PAIR, "LA"), "PNG"), PAIR),
    Kind("alpha.png", pillow(RGBA, "PNG"), RGBA),
    Kind("sixteen.png", codec("png", RGB16), RGB16),
    Kind("sixteen-alpha.png", codec("png", RGBA16), RGBA16),
    Kind("sixteen-pair.png", codec("png", PAIR16), PAIR16),
    Kind("sixteen-grey.png", pillow(Image.fromarray(GREY16), "PNG"), GREY16),
    Kind("interlaced.png", magick(RGB, "-interlace", "PNG"), RGB),
    Kind(
        "trns.png",
        png(8, 2, _SPOTTED, (b"tRNS", struct.pack(">HHH", 77, 77, 77))),
        np.dstack([_SPOTTED, np.where((_SPOTTED == 77).all(axis=2), 0, 255).astype(np.uint8)]),
    ),
    Kind(
        "trns16.png",
        png(16, 2, (_SPOTTED.astype(">u2") * 257), (b"tRNS", struct.pack(">HHH", *[77 * 257] * 3))),
        np.dstack([_SPOTTED, np.where((_SPOTTED == 77).all(axis=2), 0, 255).astype(np.uint8)]).astype(np.uint16) * 257,
    ),
    Kind("animated.png", pillow(_ANIMATION[0], "PNG", save_all=True, append_images=_ANIMATION[1:]), RGB),
    Kind(
        "beside.png",  # an animation that its first picture does not belong to
        pillow(_ANIMATION[1], "PNG", save_all=True, default_image=True, append_images=[_ANIMATION[0], _ANIMATION[1]]),
        RGB[::-1],
    ),
    *(Kind(f"turned{n}.png", pillow(RGB, "PNG", exif=exif(n)), TRANSPOSED[n](RGB)) for n in (1, 3, 6, 8)),
    # ------------------------------------------------------------------------------------------------------------- GIF
    Kind("plain.gif", pillow(FLAT, "GIF"), _PALETTE[_INDEX], or_refused="of the format GIF"),
    Kind(
        "transparent.gif",
        pillow(FLAT, "GIF", transparency=3),
        np.dstack([_PALETTE[_INDEX], np.where(_INDEX == 3, 0, 255).astype(np.uint8)]),
        or_refused="of the format GIF",
    ),
    Kind(
        "animated.gif",
        pillow(FLAT, "GIF", save_all=True, append_images=[Image.fromarray(RGB[::-1].copy())]),
        _PALETTE[_INDEX],
        8,
        or_refused="of the format GIF",
    ),
    Kind("interlaced.gif", magick(_PALETTE[_INDEX], "-interlace", "GIF"), _PALETTE[_INDEX], or_refused="of the format GIF"),
    # ------------------------------------------------------------------------------------------------------------- BMP
    Kind("plain.bmp", pillow(RGB, "BMP"), RGB),
    Kind("grey.bmp", pillow(GREY, "BMP"), GREY),
    Kind("palette.bmp", pillow(FLAT, "BMP"), _PALETTE[_INDEX]),
    Kind("one.bmp", pillow(Image.fromarray(SPOT), "BMP"), SPOT * np.uint8(255)),
    Kind("alpha.bmp", bmp(32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), RGBA[..., [2, 1, 0, 3]]), RGBA),
    Kind("no-alpha.bmp", bmp(32, (0xFF0000, 0xFF00, 0xFF, 0), np.dstack([RGB[..., ::-1], np.zeros_like(GREY)])), RGB),
    Kind("top-down.bmp", bmp(32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000), RGBA[..., [2, 1, 0, 3]], top_down=True), RGBA),
    Kind("other-order.bmp", bmp(32, (0xFF, 0xFF00, 0xFF0000, 0xFF000000), RGBA), RGBA),
    Kind("five-six-five.bmp", bmp(16, (0xF800, 0x7E0, 0x1F, 0), _565), RGB, 8),
    Kind("os2.bmp", older_bmp(24, RGB[..., ::-1]), RGB),
    Kind("os2-palette.bmp", older_bmp(8, _INDEX, _PALETTE[:, ::-1].tobytes() + bytes(240 * 3)), _PALETTE[_INDEX]),
    Kind("masks-behind.bmp", older_bmp(32, _TOP_TEN, wide=40, masks=struct.pack("<III", 0x3FF00000, 0xFFC00, 0x3FF)), RGB16, 0.5),
    Kind("old-order.bmp", older_bmp(32, np.dstack([RGB, GREY]), wide=40, masks=struct.pack("<III", 0xFF, 0xFF00, 0xFF0000)), RGB),
    Kind("five-six-five-new.bmp", older_bmp(16, _565, wide=124, masks=struct.pack("<III", 0xF800, 0x7E0, 0x1F)), RGB, 8),
    Kind("four-four.bmp", older_bmp(16, _4444, wide=108, masks=struct.pack("<IIII", 0xF00, 0xF0, 0xF, 0xF000)), RGBA, 16),
    Kind("no-masks.bmp", older_bmp(32, np.dstack([RGB, GREY]), wide=108, masks=struct.pack("<III", 0x5, 0xFF00, 0)), "of the format BMP"),
    Kind("packed.bmp", magick(_PALETTE[_INDEX], "-type", "palette", "-compress", "RLE"), _PALETTE[_INDEX]),
    # ------------------------------------------------------------------------------------------------------------ TIFF
    Kind("big-endian.tif", tiff(RGB16, photometric="rgb", byteorder=">"), RGB16),
    Kind("tiled.tif", tiff(RGB, photometric="rgb", tile=(16, 32), compression="deflate"), RGB),
    *(
        Kind(f"tiles-{name}.tif", tiff(image, tile=(16, 32), photometric=form, **made), shown)
        for name, image, form, shown, made in (
            ("plain", RGB, "rgb", RGB, {}),
            ("grey", GREY, "minisblack", GREY, {"byteorder": ">"}),
            ("white", GREY, "miniswhite", 255 - GREY, {"bigtiff": True}),
            ("pair", PAIR, "minisblack", PAIR, {"extrasamples": ["unassalpha"]}),
            ("planes", np.moveaxis(RGB, 2, 0).copy(), "rgb", RGB, {"planarconfig": "separate"}),
            ("alpha", RGBA, "rgb", RGBA, {"extrasamples": ["unassalpha"]}),
            ("turned", RGB, "rgb", TRANSPOSED[6](RGB), {"extratags": [(274, "H", 1, 6, True)]}),
        )
    ),
    Kind("lzw.tif", tiff(RGB, photometric="rgb", compression="lzw", predictor=True), RGB),
    Kind("zstd.tif", tiff(RGB, photometric="rgb", compression="zstd"), RGB, or_refused="compression 50000"),
    Kind("jpeg.tif", tiff(RGB, photometric="rgb", compression="jpeg", compressionargs={"level": 97}), RGB, 6),
    Kind("ycbcr-jpeg.tif", magick(RGB, "-compress", "jpeg", "-quality", "97", "-sampling-factor", "1x1"), RGB, 6, by_pillow=True),
    Kind("webp.tif", tiff(RGB, photometric="rgb", compression="webp"), RGB, 30, or_refused="compression 50001"),
    Kind("lerc.tif", tiff(RGB, photometric="rgb", compression="lerc"), RGB, or_refused="compression 34887"),
    Kind("lzma.tif", tiff(RGB, photometric="rgb", compression="lzma"), RGB, or_refused="compression 34925"),
    *(
        Kind(f"{name}.tif", tiff(RGB, photometric="rgb", compression=name), f"packed in a way that is not read (compression {number})")
        for name, number in (("jpegxl", 50002), ("jpeg2000", 34712), ("png", 34933), ("jpegxr", 34934))
    ),
    Kind("float.tif", tiff((RGB16 / 65535).astype(np.float32), photometric="rgb"), RGB16, 0.01),
    Kind("double.tif", tiff(RGB16 / 65535, photometric="rgb"), RGB16, 0.01),
    Kind("half.tif", tiff(RGB.astype(np.float16), photometric="rgb"), "16 bits (floating point)"),
    Kind("signed.tif", tiff(GREY16.astype(np.int32).astype(np.int16), photometric="minisblack"), "with a sign"),
    Kind("thirty-two.tif", tiff(GREY16.astype(np.uint32) * 65537, photometric="minisblack"), "32 bits"),
    Kind("palette.tif", pillow(FLAT, "TIFF"), _PALETTE[_INDEX]),
    Kind("one.tif", pillow(Image.fromarray(SPOT), "TIFF", compression="group4"), SPOT * np.uint8(255)),
    Kind("group3.tif", magick(SPOT * np.uint8(255), "-type", "bilevel", "-compress", "Fax"), SPOT * np.uint8(255)),
    Kind("pages.tif", tiff(np.stack([RGB, RGB[::-1]]), photometric="rgb"), RGB),
    Kind("separate.tif", magick(RGB, "-interlace", "Plane"), RGB),
    Kind("cmyk.tif", magick(RGB, "-colorspace", "CMYK", "-compress", "lzw"), RGB, 2),
    Kind("alpha.tif", magick(RGBA, "-compress", "zip"), RGBA, 1),
    *(Kind(f"turned{n}.tif", tiff(RGB, photometric="rgb", extratags=[(274, "H", 1, n, True)]), TRANSPOSED[n](RGB)) for n in range(1, 9)),
    # ------------------------------------------------------------------------------------------------------------ WebP
    Kind("lossless.webp", pillow(RGB, "WEBP", lossless=True), RGB),
    Kind("lossless-alpha.webp", pillow(RGBA, "WEBP", lossless=True, exact=True), RGBA),
    Kind("lossy.webp", pillow(RGB, "WEBP", quality=97), RGB, 30),
    Kind(
        "animated.webp",
        pillow(_ANIMATION[0], "WEBP", save_all=True, append_images=_ANIMATION[1:], lossless=True),
        RGB,
        or_refused="of the format WebP",
    ),
    *(Kind(f"turned{n}.webp", pillow(RGB, "WEBP", lossless=True, exif=exif(n)), TRANSPOSED[n](RGB)) for n in (3, 6)),
    # ------------------------------------------------------------------------------------------------- JPEG 2000 and AVIF
    Kind("lossless.jp2", pillow(RGB, "JPEG2000", irreversible=False), RGB),
    Kind("grey.jp2", pillow(GREY, "JPEG2000"), GREY),
    Kind("alpha.jp2", pillow(RGBA, "JPEG2000"), RGBA),
    Kind("ycc.jp2", pillow(Image.fromarray(RGB).convert("YCbCr"), "JPEG2000"), RGB, 3),
    Kind("sixteen.jp2", codec("jpeg2k", RGB16, level=0), RGB16),
    Kind("stream.j2k", codec("jpeg2k", RGB, level=0, codecformat="j2k"), RGB, or_refused="not an image"),
    Kind("plain.avif", pillow(RGB, "AVIF", quality=97, subsampling="4:4:4"), RGB, 8, or_refused="of the format AVIF that OpenCV"),
    Kind("alpha.avif", pillow(RGBA, "AVIF", quality=97, subsampling="4:4:4"), RGBA, 8, or_refused="of the format AVIF that OpenCV"),
    *(
        Kind(
            f"deep{bits}.avif",
            codec("avif", RGB16 >> (16 - bits), level=99, bitspersample=bits),
            stretched(RGB16, bits),
            8,
            or_refused="of the format AVIF that OpenCV",
        )
        for bits in (10, 12)
    ),
    Kind(
        "deep-alpha.avif",
        codec("avif", RGBA16 >> 6, level=99, bitspersample=10),
        stretched(RGBA16, 10),
        8,
        or_refused="of the format AVIF that OpenCV",
    ),
    *(Kind(f"deep{n}.jp2", codec("jpeg2k", RGB16 >> (16 - n), level=0, bitspersample=n), stretched(RGB16, n)) for n in (10, 12, 14)),
    Kind("deep-grey.jp2", codec("jpeg2k", GREY16 >> 4, level=0, bitspersample=12), stretched(GREY16, 12)),
    Kind(
        "shallow.jp2",
        codec("jpeg2k", GREY >> 4, level=0, bitspersample=4),
        (GREY >> 4) * np.uint8(17),
        or_refused="of the format JPEG 2000",
    ),
    # ------------------------------------------------------------------------------------------------- Netpbm and others
    Kind("plain.ppm", pillow(RGB, "PPM"), RGB),
    Kind("sixteen.ppm", magick(RGB16, "-depth", "16"), RGB16),
    Kind("text.ppm", magick(RGB, "-compress", "none"), RGB),
    Kind("plain.pgm", pillow(GREY, "PPM"), GREY),
    Kind("camera.pgm", netpbm("P5", 4095, GREY16), rounded(GREY16, 4095)),
    Kind("hundred.pgm", netpbm("P5", 100, GREY), rounded(GREY, 100)),
    Kind("thousand.ppm", netpbm("P6", 1000, RGB16), rounded(RGB16, 1000)),
    Kind("text-hundred.pgm", in_text("P2", 100, GREY), rounded(GREY, 100)),
    Kind("text-fifteen.ppm", in_text("P3", 15, RGB), rounded(RGB, 15)),
    Kind("text-one.pgm", in_text("P2", 1, GREY), rounded(GREY, 1)),
    Kind("plain.pbm", pillow(Image.fromarray(SPOT), "PPM"), SPOT * np.uint8(255)),
    Kind("text.pbm", magick(SPOT * np.uint8(255), "-compress", "none"), SPOT * np.uint8(255)),
    Kind("plain.pam", magick(RGB), RGB),
    Kind("alpha.pam", magick(RGBA), RGBA),
    Kind("grey.pam", magick(GREY, "-type", "grayscale"), GREY),
    Kind("sixteen.pam", magick(RGB16, "-depth", "16"), RGB16),
    Kind("cmyk.pam", lambda _path: netpam(b"CMYK", np.asarray(_CMYK)), "of a kind of PAM"),
    Kind("windows.pam", lambda _path: netpam(b"RGB", RGB).replace(b"\n", b"\r\n", 7), "of a kind of PAM"),
    Kind("plain.pfm", magick(RGB16), RGB16, 1),
    Kind("plain.hdr", magick(RGB), RGB.astype(np.uint16) * 257, 2),
    Kind("plain.ras", magick(RGB), RGB, or_refused="not an image"),
    # --------------------------------------------------------------------------------------------------- not read at all
    Kind("plain.tga", targa(RGB, packed=False), "Targa"),
    Kind("packed.tga", targa(RGBA, packed=True), "Targa"),
    Kind("half.exr", openexr(RGB), "OpenEXR"),
    Kind("plain.dds", pillow(RGB, "DDS"), "DDS"),
    Kind("plain.jxl", codec("jpegxl", RGB), "JPEG XL"),
    Kind("plain.psd", magick(RGB), "Photoshop"),
    Kind("plain.pdf", pillow(RGB, "PDF"), "PDF"),
    Kind("plain.ico", pillow(RGB, "ICO"), "an icon"),
    Kind("plain.jxr", codec("jpegxr", RGB), "a JPEG XR picture"),
    Kind("plain.svg", lambda _path: b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "a vector drawing"),
    Kind("page.jpg", lambda _path: "<html>404: Bild für morgen</html>".encode(), "holds text"),
    Kind("zeros.png", lambda _path: bytes(400), "nothing but zeros"),
    Kind("canon.tif", lambda _path: b"II*\0\x10\0\0\0CR\2\0" + bytes(90), "the raw file of a camera"),
    Kind("plain.pcx", pillow(RGB, "PCX"), "not an image"),
    Kind("plain.sgi", pillow(RGB, "SGI"), "not an image"),
    Kind("plain.xpm", magick(RGB), "XPM"),
    Kind("plain.dpx", magick(RGB), "not an image"),
]


def shown(image):
    """The picture as `read_image` gives it, in RGB order."""
    return image if image.ndim == 2 else image[..., [2, 1, 0, 3][: image.shape[2]]]


def same_kind(wanted, found):
    """Grey as colours, and with an alpha that leaves everything visible, is the same picture."""
    if wanted.ndim == 3 and wanted.shape[2] == 2:
        wanted = wanted[..., [0, 0, 0, 1]]
    if wanted.ndim == 2 and found.ndim == 3:
        wanted = np.dstack([wanted] * 3)
    if found.ndim == 3 and found.shape[2] == 4 and wanted.shape[2] == 3:
        wanted = opaque(wanted)
    return wanted


def test_names_are_unique():
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names) > 90


def outcome(path):
    """The picture in RGB order, or why it is refused."""
    try:
        return shown(read_image(path))
    except UnsupportedFormat as error:
        return error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_read_right_or_refused(tmp_path, kind):
    path = tmp_path / kind.name
    data = kind.make(path)
    if data is not None:
        path.write_bytes(data)
    os.utime(path, (1e9, 1e9))
    found = outcome(path)
    if isinstance(found, UnsupportedFormat):
        words = kind.shows if isinstance(kind.shows, str) else kind.or_refused
        assert words, found.message
        assert found.message.startswith(kind.name)
        assert words in found.message.removeprefix(kind.name)
        assert found.hint
        return
    assert not isinstance(kind.shows, str), f"it was read, as {found.shape} of {found.dtype}"
    wanted = same_kind(kind.shows, found)
    if kind.by_pillow:
        with Image.open(path) as opened:
            wanted = np.asarray(opened.convert("RGB"))
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    apart = np.abs(found.astype(float) - wanted) * (255 / np.iinfo(found.dtype).max)
    if found.ndim == 3 and found.shape[2] == 4:
        apart[wanted[..., 3] == 0, :3] = 0  # what is invisible may have any colour
    assert apart.max() <= kind.tolerance


def test_magick_is_there():
    """In CI nothing of this file is left out because ImageMagick is missing: there such a skip is a failure."""
    if MAGICK is None:
        pytest.skip("imagemagick is missing; .ci/run installs it")
    assert "ImageMagick" in subprocess.run([MAGICK, "-version"], capture_output=True, text=True, check=True).stdout
