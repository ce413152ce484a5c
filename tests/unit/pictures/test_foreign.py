"""Pictures that other libraries have written come out as they went in, or are refused with a sentence; never as another picture."""

import io
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from worker.errors import LimitExceeded, UnsupportedFormat
from worker.pictures import heif, tiff
from worker.pictures.exif import orientation
from worker.pictures.images import read_image

tifffile = pytest.importorskip("tifffile", reason="install the extra [test]")
pytest.importorskip("imagecodecs", reason="install the extra [test]")
Image = pytest.importorskip("PIL.Image", reason="install the extra [test]")

HEIGHT, WIDTH = 40, 56
DEPTHS = (np.uint8, np.uint16)


def picture(channels=3, depth=np.uint8):
    """Red, green, blue and alpha (or the first of them, or grey and alpha), each another ramp, so that none can stand for another."""
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    ramps = [x / WIDTH, y / HEIGHT, 1 - x / WIDTH, 0.2 + 0.7 * y / HEIGHT]
    chosen = {1: (0,), 2: (0, 3), 3: (0, 1, 2), 4: (0, 1, 2, 3)}[channels]
    image = (np.dstack([ramps[n] for n in chosen]) * np.iinfo(depth).max).astype(depth)
    return image[..., 0] if channels == 1 else image


def ours(image):
    """The same picture in our order: blue first, and grey with alpha as colours."""
    if image.ndim == 2:
        return image
    if image.shape[2] == 2:
        image = image[..., [0, 0, 0, 1]]
    return image[..., [2, 1, 0, 3][: image.shape[2]]]


def planes(image):
    return np.moveaxis(image, 2, 0)


def multiplied(image):
    white = np.iinfo(image.dtype).max
    colors = np.rint(image[..., :-1] * (image[..., -1:].astype(float) / white)).astype(image.dtype)
    return np.dstack([colors, image[..., -1:]])


def read_old(path):
    """Reads a file that is not waited for, because nobody has written to it for long."""
    os.utime(path, (1e9, 1e9))
    return read_image(path)


def check(path, wanted, tolerance=0):
    found = read_old(path)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert np.abs(found.astype(float) - wanted).max() <= tolerance


def refused(path):
    with pytest.raises(UnsupportedFormat) as caught:
        read_old(path)
    assert path.name in caught.value.message
    assert caught.value.hint
    return caught.value.message


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("byteorder", "big"), [("<", False), (">", False), ("<", True), (">", True)])
@pytest.mark.parametrize("packing", [(None, False), ("lzw", True), ("deflate", False), ("deflate", True), ("packbits", False)])
def test_separate_planes(tmp_path, depth, byteorder, big, packing):
    """Separate planes are joined, in strips and in tiles."""
    image = picture(3, depth)
    compression, predictor = packing
    made = {"photometric": "rgb", "planarconfig": "separate", "byteorder": byteorder, "compression": compression, "predictor": predictor}
    path = tmp_path / "strips.tif"
    tifffile.imwrite(path, planes(image), bigtiff=big, rowsperstrip=7, **made)
    check(path, ours(image))
    if compression:  # OpenCV reads no uncompressed tiles of 8 bits that are this small
        path = tmp_path / "tiles.tif"
        tifffile.imwrite(path, planes(image), bigtiff=big, tile=(16, 32), **made)
        check(path, ours(image))


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_separate_planes_of_floats(tmp_path, kind):
    image = picture(3, np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", planes((image / 65535).astype(kind)), photometric="rgb", planarconfig="separate")
    check(tmp_path / "a.tif", ours(image))


@pytest.mark.parametrize("turned", range(1, 9))
@pytest.mark.parametrize("channels", [2, 3])
def test_mended_pictures_are_turned(tmp_path, turned, channels):
    """A picture that is mended is turned as one that OpenCV reads alone."""
    tags = [(274, "H", 1, turned, True)]
    image = picture(3, np.uint16)
    tifffile.imwrite(tmp_path / "opencv.tif", image, photometric="rgb", extratags=tags)
    if channels == 3:
        tifffile.imwrite(tmp_path / "a.tif", planes(image), photometric="rgb", planarconfig="separate", extratags=tags)
        check(tmp_path / "a.tif", read_old(tmp_path / "opencv.tif"))
    else:
        pair = image[..., [0, 1]]
        tifffile.imwrite(tmp_path / "a.tif", pair, photometric="minisblack", extrasamples=["unassalpha"], extratags=tags)
        check(tmp_path / "a.tif", read_old(tmp_path / "opencv.tif")[..., [2, 2, 2, 1]])


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("tile", [None, (64, 64)])
def test_white_is_zero(tmp_path, depth, tile):
    image = picture(1, depth)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite", tile=tile, compression="deflate")
    check(tmp_path / "a.tif", np.iinfo(depth).max - image)


def test_white_is_zero_of_other_kinds(tmp_path):
    """12 bits, floating point, one bit, and grey with alpha."""
    image = picture(1, np.uint16)
    tifffile.imwrite(tmp_path / "twelve.tif", image >> 4, bitspersample=12, photometric="miniswhite")
    check(tmp_path / "twelve.tif", (4095 - (image >> 4)) << 4)
    tifffile.imwrite(tmp_path / "float.tif", (image / 65535).astype(np.float32), photometric="miniswhite")
    check(tmp_path / "float.tif", 65535 - image, 1)
    tifffile.imwrite(tmp_path / "one.tif", image > 30000, photometric="miniswhite")
    check(tmp_path / "one.tif", np.where(image > 30000, 0, 255).astype(np.uint8))
    pair = picture(2, np.uint16)
    tifffile.imwrite(tmp_path / "pair.tif", pair, photometric="miniswhite", extrasamples=["unassalpha"])
    check(tmp_path / "pair.tif", ours(np.dstack([65535 - pair[..., 0], pair[..., 1]])))


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("extra", ["assocalpha", "unassalpha", "unspecified"])
def test_alpha(tmp_path, depth, channels, planar, compression, extra):  # noqa: PLR0917 - each is one thing that a file may vary in
    """Straight alpha leaves the colours as they are; colours that were multiplied by it are divided."""
    image = picture(channels, depth)
    stored = multiplied(image) if extra == "assocalpha" else image
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        planes(stored) if planar == "separate" else stored,
        photometric="rgb" if channels == 4 else "minisblack",
        planarconfig=planar,
        extrasamples=[extra],
        compression=compression,
        predictor=compression is not None,
    )
    # Half a step of the stored value, divided by the smallest alpha, 0.2; then rounded.
    check(path, ours(image), 3 if extra == "assocalpha" else 0)


@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_grey_with_alpha_in_tiles(tmp_path, byteorder):
    """Differences start anew in each tile, also in one that the picture does not fill."""
    image = np.random.default_rng(1).integers(0, 65535, (70, 90, 2), np.uint16)
    path = tmp_path / "a.tif"
    made = {"photometric": "minisblack", "extrasamples": ["unassalpha"], "compression": "deflate"}
    tifffile.imwrite(path, image, tile=(32, 32), predictor=True, byteorder=byteorder, **made)
    check(path, ours(image))


def test_multiplied_alpha_of_nothing(tmp_path):
    """Where nothing can be seen the colours are black, not an error."""
    image = np.full((9, 9, 4), 200, np.uint8)
    image[..., 3] = 0
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb", extrasamples=["assocalpha"])
    assert not read_old(tmp_path / "a.tif").any()
    floats = np.full((9, 9, 4), 0.25, np.float32)
    floats[0, :, 3] = 0
    tifffile.imwrite(tmp_path / "f.tif", floats, photometric="rgb", extrasamples=["assocalpha"])
    assert read_old(tmp_path / "f.tif")[:, 0, 0].tolist() == [0, *[65535] * 8]


def test_cmyk(tmp_path):
    """CMYK of 8 bits is brought to colours without an alpha, as Pillow does it."""
    Image.fromarray(picture()).convert("CMYK").save(tmp_path / "a.tif")
    check(tmp_path / "a.tif", ours(picture()), 1)


@pytest.mark.parametrize(
    ("channels", "depth", "made", "reason"),
    [
        (4, np.uint16, {"photometric": "separated"}, "CMYK colours of 16 bits"),
        (3, np.uint8, {"photometric": "cielab"}, "Lab colours"),
        (
            1,
            np.uint16,
            {"photometric": "cfa", "extratags": [(33421, "H", 2, (2, 2), True), (33422, "B", 4, b"\0\1\1\2", True)]},
            "raw data",
        ),
        (4, np.uint8, {"photometric": "minisblack", "extrasamples": ["unspecified"] * 3, "planarconfig": "contig"}, "4 channels"),
        (3, np.uint8, {"photometric": "rgb", "subfiletype": 1}, "small preview"),
        (3, np.uint8, {"photometric": "rgb", "extratags": [(50706, "B", 4, b"\1\4\0\0", True)]}, "DNG"),
    ],
)
def test_tiff_refused(tmp_path, channels, depth, made, reason):
    """What would be another picture is refused, with what it is."""
    tifffile.imwrite(tmp_path / "a.tif", picture(channels, depth), **made)
    assert reason in refused(tmp_path / "a.tif")


def test_tiff_of_half_floats(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", picture().astype(np.float16), photometric="rgb")
    assert "3 channels of 16 bits (floating point)" in refused(tmp_path / "a.tif")


# ------------------------------------------------------------------------------------------------------------------ PNG


def test_transparent_grey(tmp_path):
    """The grey value that a PNG calls transparent is transparent."""
    image = picture(1)
    Image.fromarray(image).save(tmp_path / "a.png", transparency=100)
    check(tmp_path / "a.png", np.dstack([image, image, image, np.where(image == 100, 0, 255).astype(np.uint8)]))
    assert (image == 100).any()


@pytest.mark.parametrize("bits", [1, 2, 4, 16])
def test_transparent_grey_of_other_depths(tmp_path, bits):
    """The value counts in the bits of the file."""
    values = (np.arange(64) % 2**bits).astype(np.uint16).reshape(8, 8)
    rows = [np.packbits(np.unpackbits(row.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 16 - bits :]).tobytes() for row in values]
    body = b"".join(b"\0" + row for row in rows)
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", 8, 8, bits, 0, 0, 0, 0)),
        (b"tRNS", b"\0\1"),
        (b"IDAT", zlib.compress(body)),
        (b"IEND", b""),
    )
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks
    )
    (tmp_path / "a.png").write_bytes(data)
    image = read_image(tmp_path / "a.png")
    white = 255 if bits < 16 else 65535
    np.testing.assert_array_equal(image[..., 3], np.where(values == 1, 0, white))
    np.testing.assert_array_equal(image[..., 0], values if bits == 16 else values * (255 // (2**bits - 1)))


# ----------------------------------------------------------------------------------------------------------------- JPEG


@pytest.mark.parametrize("fill", [1, 2, 5])
def test_fill_bytes(tmp_path, fill):
    """Bytes FF before a marker do not hide the orientation."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 6
    Image.fromarray(picture()).save(buffer, "jpeg", exif=exif, quality=95)
    data = buffer.getvalue()
    at = data.index(b"\xff\xe1")
    (tmp_path / "a.jpg").write_bytes(data[:at] + b"\xff" * fill + data[at:])
    (tmp_path / "plain.jpg").write_bytes(data)
    assert orientation((tmp_path / "a.jpg").read_bytes()) == 6
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (WIDTH, HEIGHT, 3)
    np.testing.assert_array_equal(image, read_image(tmp_path / "plain.jpg"))


# ----------------------------------------------------------------------------------------------------------------- AVIF


@pytest.mark.parametrize("turned", range(1, 9))
def test_turned_avif(tmp_path, turned):
    """An AVIF is turned as its properties say. Pillow makes them of the orientation that it is given, and undoes them by itself."""
    exif, path = Image.Exif(), tmp_path / "a.avif"
    exif[274] = turned
    Image.fromarray(picture()).save(path, exif=exif, quality=95, subsampling="4:4:4")
    data = path.read_bytes()
    assert (b"irot" in data, b"imir" in data) == (turned in (3, 5, 6, 7, 8), turned in (2, 4, 5, 7))
    if not cv2.haveImageReader(str(path)):
        pytest.skip("not on this system: this build of OpenCV reads no AVIF")
    wanted = {
        1: lambda image: image,
        2: lambda image: image[:, ::-1],
        3: lambda image: image[::-1, ::-1],
        4: lambda image: image[::-1],
        5: lambda image: image.swapaxes(0, 1),
        6: lambda image: np.rot90(image, -1),
        7: lambda image: np.rot90(image, 2).swapaxes(0, 1),
        8: lambda image: np.rot90(image, 1),
    }[turned](ours(picture()))
    check(path, wanted, 8)


def test_cropped_avif(tmp_path):
    """A part of the pixels is another picture than all of them."""
    path = tmp_path / "a.avif"
    Image.fromarray(picture()).save(path)
    path.write_bytes(path.read_bytes().replace(b"pixi", b"clap"))
    assert "clap" in refused(path)


@pytest.mark.parametrize("data", [b"", b"\0\0\0\x1cftypavif", b"\0\0\0\x08ftyp\0\0\0\x08meta", b"\0\0\0\x01ftyp" + b"\xff" * 40])
def test_broken_boxes(data):
    """Whatever stands in the boxes, the orientation is a number."""
    assert heif.orientation(data) == 1


def test_boxes_and_directories_of_any_bytes(tmp_path):
    """A file with one byte changed is read, or refused; no other error comes out."""
    Image.fromarray(picture()).save(tmp_path / "a.avif", exif=bytes(Image.Exif()))
    tifffile.imwrite(
        tmp_path / "a.tif", planes(picture(4, np.uint16)), photometric="rgb", planarconfig="separate", extrasamples=["assocalpha"]
    )
    rng = np.random.default_rng(3)
    outcomes = set()
    for name in ("a.avif", "a.tif"):
        data = (tmp_path / name).read_bytes()
        first, last = (4, 400) if name == "a.avif" else (4, 256)
        for _ in range(150):
            broken = bytearray(data)
            broken[rng.integers(first, last)] = rng.integers(0, 256)
            (tmp_path / "broken").write_bytes(broken)
            try:
                read_old(tmp_path / "broken")
                outcomes.add(True)
            except (UnsupportedFormat, LimitExceeded):
                outcomes.add(False)
    assert outcomes == {True, False}


def test_directory_with_too_many_values():
    """A count that points behind the end of the file makes no directory."""
    assert tiff.read_directory(b"II*\0\x08\0\0\0" + struct.pack("<HHHII", 1, 273, 4, 2**31, 8)) is None
    assert tiff.read_directory(b"II*\0") is None


# ------------------------------------------------------------------------------------------------- files that are not read

FORMATS = {"png": "PNG", "jpg": "JPEG", "gif": "GIF", "bmp": "BMP", "webp": "WebP", "tif": "TIFF", "jp2": "JPEG 2000", "avif": "AVIF"}


@pytest.mark.parametrize("ending", FORMATS)
def test_cut(tmp_path, ending):
    """A file that ends too early is called cut, with its format."""
    path = tmp_path / f"a.{ending}"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (90, 90, 3), np.uint8)).save(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert refused(path) == f"a.{ending} is cut: this {FORMATS[ending]} file ends too early."


def test_empty(tmp_path):
    (tmp_path / "a.png").touch()
    assert refused(tmp_path / "a.png") == "a.png is empty."


@pytest.mark.parametrize("name", ["TGA", "PSD", "HEIC", "EXR", "JXL", "PDF", "MP4", "DDS"])
def test_formats_that_are_not_read(tmp_path, name):
    """Each has a sentence of its own."""
    path, buffer = tmp_path / f"a.{name.lower()}", io.BytesIO()
    said = {
        "TGA": "Targa",
        "PSD": "Photoshop",
        "HEIC": "HEIC",
        "EXR": "OpenEXR",
        "JXL": "JPEG XL",
        "PDF": "PDF",
        "MP4": "video",
        "DDS": "DDS",
    }
    if name in ("TGA", "PDF", "DDS"):
        Image.fromarray(picture()).save(buffer, name)
    else:
        starts = {"PSD": b"8BPS\0\1", "EXR": b"v/1\1\2\0\0\0", "JXL": b"\xff\x0a"}
        boxes = {"HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "MP4": b"\0\0\0\x18ftypisom\0\0\2\0isommp41"}
        buffer.write({**starts, **boxes}[name] + bytes(100))
    path.write_bytes(buffer.getvalue())
    assert said[name] in refused(path)
