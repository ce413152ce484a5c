import errno
import os
import struct
import zlib

import cv2
import numpy as np
import pytest

from worker.errors import ArgumentError, DiskFull, InternalError, MissingFile, PathError, UnsupportedFormat
from worker.files import handles
from worker.pictures import images
from worker.pictures.images import FORMATS, check_ending, read_image, readable_endings, write_image

WRITTEN = sorted(ending for ending in FORMATS if cv2.haveImageWriter(ending))


def picture(channels=3, depth=np.uint8, height=80, width=100):
    """A smooth picture in which every corner is another colour."""
    row, column = np.mgrid[:height, :width].astype(np.float64)
    layers = [column / width, row / height, 1 - column / width, 0.2 + 0.8 * row / height]
    image = (np.dstack(layers[:channels]) * np.iinfo(depth).max).astype(depth)
    return image[..., 0] if channels == 1 else image


def names_in(folder):
    return [path.name for path in folder.iterdir()]


def exif(turned):
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHIHHI", 8, 1, 0x0112, 3, 1, turned, 0, 0)


def turned_jpeg(upright, turned):
    """A JPEG file whose pixels lie as a camera held that way would have stored them.

    EXIF names the sides of the picture on which row 0 and column 0 of the stored pixels lie: 1 top left, 2 top right, 3 bottom
    right, 4 bottom left, 5 left top, 6 right top, 7 right bottom, 8 left bottom.
    """
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: upright[:, ::-1].transpose(1, 0, 2),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: upright[::-1].transpose(1, 0, 2),
    }[turned]
    data = cv2.imencode(".jpg", np.ascontiguousarray(stored), [cv2.IMWRITE_JPEG_QUALITY, 98])[1].tobytes()
    block = exif(turned)
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + data[2:]


@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation(tmp_path, turned):
    """A picture comes upright, whichever way the camera was held, and as OpenCV itself turns it."""
    path = tmp_path / "a.jpg"
    path.write_bytes(turned_jpeg(picture(), turned))
    image = read_image(path)
    assert np.abs(image.astype(int) - picture()).max() < 12
    np.testing.assert_array_equal(image, cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR))


@pytest.mark.parametrize("turned", range(1, 5))
def test_orientation_of_tiff(tmp_path, turned):
    """OpenCV turns TIFF by itself; it is not turned twice."""
    path = tmp_path / "a.tif"
    upright = picture()[:40, :60]
    stored = {1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1]}[turned]
    height, width, _ = stored.shape
    tags = [
        *((256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 8), (274, 3, 1, turned)),
        *((277, 3, 1, 3), (278, 3, 1, height), (279, 4, 1, stored.nbytes)),
    ]
    strip = np.ascontiguousarray(stored[..., ::-1]).tobytes()
    entries = b"".join(
        struct.pack("<HHI", tag, kind, count) + struct.pack("<HH" if kind == 3 else "<I", *((value, 0) if kind == 3 else (value,)))
        for tag, kind, count, value in tags
    )
    path.write_bytes(b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + struct.pack("<H", len(tags)) + entries + b"\0\0\0\0")
    np.testing.assert_array_equal(read_image(path), upright)


def test_unicode_path(tmp_path):
    """Names in any script can be read and written."""
    path = tmp_path / "Größe 画像 🎬" / "ñ.png"
    write_image(path, picture())
    np.testing.assert_array_equal(read_image(path), picture())


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_lossless(tmp_path, ending, channels, depth):
    """PNG and TIFF keep every pixel, of 8 and 16 bits, with alpha."""
    written = write_image(tmp_path / f"a{ending}", picture(channels, depth))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{ending}"), picture(channels, depth))
    assert (written.width, written.height) == (100, 80)
    assert written.size_bytes == (tmp_path / f"a{ending}").stat().st_size


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("ending", WRITTEN)
def test_every_format(tmp_path, ending, channels, depth):
    """Every image can be written in every format, as well as the format can hold it, and read again."""
    image = picture(channels, depth)
    write_image(tmp_path / f"a{ending}", image, 95)
    again = read_image(tmp_path / f"a{ending}", alpha=False)
    assert again.shape[:2] == image.shape[:2]
    expected = images.over_black(image)
    if again.ndim == 2:
        expected = images.grey(expected)
    elif expected.ndim == 2:
        expected = images.color(expected)
    difference = images.with_depth(again, 8).astype(int) - images.with_depth(expected, 8)
    assert np.abs(difference).mean() < (20 if ending == ".gif" else 6)  # GIF has 256 colours only


def test_grey_with_alpha(tmp_path):
    """A PNG of grey and alpha is read with its alpha."""
    path = tmp_path / "a.png"
    header = struct.pack(">IIBBBBB", 2, 1, 8, 4, 0, 0, 0)

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compress(bytes([0, 200, 255, 100, 0]))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert read_image(path).tolist() == [[[200, 200, 200, 255], [100, 100, 100, 0]]]


def test_floats(tmp_path):
    """Floating point files come as 16 bits, 0 black and 1 white."""
    values = np.array([[0, 0.5, 1, 2, -1, np.nan]], np.float32)
    (tmp_path / "a.tif").write_bytes(cv2.imencode(".tif", values)[1].tobytes())
    assert read_image(tmp_path / "a.tif").tolist() == [[0, 32768, 65535, 65535, 0, 0]]


def test_without_alpha(tmp_path):
    """On demand a transparent image is laid on black."""
    image = np.full((2, 2, 4), 200, np.uint8)
    image[0, :, 3] = 0, 255
    write_image(tmp_path / "a.png", image)
    assert read_image(tmp_path / "a.png", alpha=False)[0].tolist() == [[0, 0, 0], [200, 200, 200]]


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_alpha_to_jpeg(tmp_path, depth):
    """Where a format has no alpha, transparent pixels become black, whatever colour lies under them."""
    image = np.full((16, 16, 4), np.iinfo(depth).max, depth)
    image[..., 3] = 0
    write_image(tmp_path / "a.jpg", image)
    assert read_image(tmp_path / "a.jpg").max() < 3


def test_quality(tmp_path):
    """A higher quality makes larger files, of PNG, too, which keeps every pixel all the same."""
    image = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8), (0, 0), 2)
    for ending in (".jpg", ".webp", ".png"):
        small, large = (write_image(tmp_path / f"{quality}{ending}", image, quality).size_bytes for quality in (1, 100))
        assert small < large
    np.testing.assert_array_equal(read_image(tmp_path / "1.png"), read_image(tmp_path / "100.png"))


def test_default_png_is_fast_for_opencv_of_any_version(monkeypatch):
    """From a quality of 50 on OpenCV is given one filter, or nothing that would change its own; below, a level alone."""
    level, runs = cv2.IMWRITE_PNG_COMPRESSION, [cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    assert images._settings(".png", 20) == [level, 7]
    assert images._settings(".png", 100) == [level, 0]
    monkeypatch.setattr(images, "_PNG_SUB", (101, 102))
    assert images._settings(".png", 90) == [level, 1, *runs, 101, 102]
    monkeypatch.setattr(images, "_PNG_SUB", None)  # OpenCV 4.10
    assert images._settings(".png", 90) == runs


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [(None, MissingFile, "no file a.png"), (b"", UnsupportedFormat, "a.png is empty"), (b"GIF? no", UnsupportedFormat, "a.png holds text")],
)
def test_unreadable(tmp_path, data, error, words):
    """A missing file and a file that is no image are told apart, by name."""
    path = tmp_path / "a.png"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(error, match=words):
        read_image(path)


def test_folder_as_file(tmp_path):
    """A folder is neither read nor written as a file."""
    with pytest.raises(ArgumentError, match="folder"):
        read_image(tmp_path)
    (tmp_path / "a.png").mkdir()
    with pytest.raises(ArgumentError, match="folder"):
        write_image(tmp_path / "a.png", picture())
    assert names_in(tmp_path) == ["a.png"]


@pytest.mark.parametrize("name", ["a", "a.xyz", "a.mp4", ".png"])
def test_unknown_ending(tmp_path, name):
    """An ending that names no format is refused with those that do."""
    with pytest.raises(UnsupportedFormat) as caught:
        check_ending(tmp_path / name)
    assert ".png" in caught.value.hint


def test_too_large_for_the_format(tmp_path):
    """An image that a format cannot hold is refused, and nothing is left behind."""
    with pytest.raises(UnsupportedFormat, match="70000x1"):
        write_image(tmp_path / "a.jpg", np.zeros((1, 70000), np.uint8))
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("ending", sorted(images._ONLY_READ | set(images._READ_AS)))
def test_further_endings(tmp_path, ending):
    """What a folder is looked through for is read under each of these endings."""
    path = tmp_path / f"a{ending}"
    form = {".apng": ".png", ".jfif": ".jpg", ".mpo": ".jpg", ".j2k": ".jp2"}.get(ending, ending)
    shown = picture() if ending != ".pbm" else (picture(1) > 99).astype(np.uint8) * 255
    if ending in {".hdr", ".pfm"}:
        shown = shown.astype(np.float32) / 255
    path.write_bytes(cv2.imencode(form, shown)[1].tobytes())
    assert ending in readable_endings()
    assert read_image(path).shape[:2] == shown.shape[:2]


def test_readable_endings():
    """The usual formats are among those that are read; each begins with a dot."""
    assert {".png", ".jpg", ".tif", ".bmp", ".webp"} <= readable_endings()
    assert all(ending.startswith(".") and ending == ending.lower() for ending in readable_endings())


@pytest.mark.parametrize(
    ("number", "error"),
    [
        *((errno.ENOSPC, DiskFull), (errno.EROFS, DiskFull), (errno.EIO, DiskFull), (errno.EACCES, PathError)),
        *((errno.ENAMETOOLONG, ArgumentError), (None, InternalError)),
    ],
)
def test_failing_disk(tmp_path, monkeypatch, number, error):
    """What the system refuses becomes the fitting error; the old file stays, and no temporary file is left."""
    path = tmp_path / "a.png"
    path.write_bytes(b"old")

    def refuse(self, old, new):
        raise OSError(number, os.strerror(number)) if number else OSError("odd")

    monkeypatch.setattr(handles.Folder, "rename", refuse)
    with pytest.raises(error, match=r"a\.png"):
        write_image(path, picture())
    assert path.read_bytes() == b"old"
    assert names_in(tmp_path) == ["a.png"]
