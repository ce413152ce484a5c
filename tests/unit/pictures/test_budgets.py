"""What is refused before a decoder sees it, because a few bytes would keep the decoder busy."""

from __future__ import annotations

import struct

import cv2
import msgspec
import numpy as np
import pytest

from tests.security.bombs import chunk
from worker.errors import LimitExceeded, UnsupportedFormat
from worker.files.limits import DEFAULT_LIMITS
from worker.pictures import exif, headers
from worker.pictures.headers import read_header
from worker.pictures.images import read_image


def jpeg(*settings, side=64):
    picture = np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)
    return cv2.imencode(".jpg", picture, list(settings))[1].tobytes()


def with_scans(more, side=64):
    """A progressive JPEG and its last scan so many times again: a decoder goes over all blocks for each."""
    data = jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, side=side)
    last = data[data.rindex(b"\xff\xda") : -2]
    return data[:-2] + last * more + data[-2:]


def test_scans_are_counted():
    """A plain JPEG has one, a progressive one several; what stands in a thumbnail does not count."""
    assert read_header(jpeg()).scans == 1
    ordinary = read_header(with_scans(0)).scans
    assert 2 <= ordinary <= 12
    assert read_header(with_scans(30)).scans == ordinary + 30
    thumbnail = b"\xff\xe1" + struct.pack(">H", 402) + b"\xff\xda" * 200
    assert read_header(jpeg()[:2] + thumbnail + jpeg()[2:]).scans == 1


def test_scans_that_cannot_follow():
    """Behind a sequential scan of all components none is read, so none is counted; if each component has its own, they are."""
    data = jpeg()
    scan = data[data.rindex(b"\xff\xda") : -2]
    more = data[:-2] + scan * 50 + data[-2:]
    assert read_header(more).scans == 1
    again = cv2.imdecode(np.frombuffer(more, np.uint8), cv2.IMREAD_UNCHANGED)
    assert again is None or (again == cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)).all()
    frame = b"\xff\xc0\0\x11\x08\0\x10\0\x10\3" + b"\1\x11\0\2\x11\0\3\x11\0"
    each = b"".join(b"\xff\xda\0\x08\1" + bytes([component]) + b"\0\0\x3f\0\0\0" for component in (1, 2, 3))
    assert read_header(b"\xff\xd8" + frame + each + b"\xff\xd9").scans == 3


def test_too_many_scans(tmp_path):
    """They are refused with their number and the option; what programs write is read."""
    path = tmp_path / "a.jpg"
    path.write_bytes(with_scans(0))
    assert read_image(path).shape == (64, 64, 3)
    path.write_bytes(with_scans(200))
    with pytest.raises(LimitExceeded, match=r"a\.jpg has 2\d\d scans; a JPEG of 64x64 pixels may have 100\.") as refused:
        read_image(path)
    assert "--max-scans" in refused.value.hint


def test_a_large_picture_may_have_fewer_scans(tmp_path):
    """The work is what is bounded: pixels times scans."""
    limits = msgspec.structs.replace(DEFAULT_LIMITS, megapixels=1)
    path = tmp_path / "a.jpg"
    path.write_bytes(with_scans(20, side=640))
    assert read_image(path).shape[0] == 640
    with pytest.raises(LimitExceeded, match="may have 24"):
        limits.check_scans("a.jpg", 640, 640, 25)
    limits.check_scans("a.jpg", 1000, 1000, 10)


@pytest.mark.parametrize("kind", [b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"])
def test_a_header_of_comments(tmp_path, kind):
    """The size of a Netpbm picture stands near its beginning, or it is not read."""
    path = tmp_path / "a.ppm"
    path.write_bytes(kind + b"\n" + b"#\n" * 40_000 + b"2 2\n255\n" + b"0 " * 12)
    with pytest.raises(UnsupportedFormat, match=r"Its size does not stand in the first 65536 bytes\."):
        read_image(path)
    small = read_header(kind + b"\n# a comment\n 20\t30 # another\n255\n")
    assert (small.width, small.height) == (20, 30)


def test_segments_without_end(tmp_path):
    """So is a JPEG of empty comments."""
    path = tmp_path / "a.jpg"
    data = jpeg()
    path.write_bytes(data[:2] + b"\xff\xfe\0\2" * 20_000 + data[2:])
    with pytest.raises(UnsupportedFormat, match="more than 10000 segments"):
        read_image(path)
    path.write_bytes(data[:2] + b"\xff\xfe\0\2" * 500 + data[2:])
    assert read_image(path).shape == (64, 64, 3)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"RIFF\0\0\0\0WEBP" + b"XXXX\0\0\0\0" * 300, id="webp"),
        pytest.param(b"GIF89a\1\0\1\0\0\0\0!\xfe" + b"\1x" * 300 + b"\0;", id="gif"),
    ],
)
def test_parts_without_end(monkeypatch, data):
    """Chunks and blocks are walked through up to a number."""
    assert not read_header(data).endless
    monkeypatch.setattr(headers, "MOST_PARTS", 200)
    assert "parts" in read_header(data).endless


def test_chunks_without_end(monkeypatch):
    """The orientation is not looked for in endless chunks of a PNG."""
    chunk = struct.pack(">I4s", 0, b"teXt") + b"\0\0\0\0"
    turned = b"MM\0*\0\0\0\x08\0\1" + struct.pack(">HHIHH", 0x112, 3, 1, 6, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk * 20 + struct.pack(">I4s", len(turned), b"eXIf") + turned + b"\0\0\0\0"
    assert exif.orientation(data) == 6
    monkeypatch.setattr(exif, "_MOST_CHUNKS", 10)
    assert exif.orientation(data) == 1


def animated_webp(width, height, flags=2):
    """One picture of nothing in an animation; enough for its header."""
    body = bytes([flags, 0, 0, 0]) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\0\0\0\0WEBPVP8X" + struct.pack("<I", 10) + body + b"ANIM\6\0\0\0" + bytes(6) + b"ANMF\0\0\0\0"


@pytest.mark.parametrize(
    ("name", "weight"),
    [
        (".jpg", 1),
        (".png", 1),
        (".webp", 1),
        (".tif", 1),
        (".gif", 2),
        (".jp2", 3),
        (".avif", 3),
        ("animated.webp", 2),
        ("animated.png", 2),
    ],
)
def test_a_heavy_kind_of_picture_may_be_smaller(tmp_path, name, weight):
    """The memory that its decoder takes is what is bounded; the sentence says so."""
    if name.startswith("."):
        if not cv2.haveImageWriter(name):
            pytest.skip(f"not on this system: this build of OpenCV writes no {name}")
        data = cv2.imencode(name, np.zeros((64, 80, 3), np.uint8))[1].tobytes()
    elif name == "animated.webp":
        data = animated_webp(80, 64)
    else:
        plain = cv2.imencode(".png", np.zeros((64, 80, 3), np.uint8))[1].tobytes()
        data = plain[:33] + chunk(b"tEXt", bytes(5000)) + chunk(b"acTL", struct.pack(">II", 2, 0)) + plain[33:]
    header = read_header(data)
    assert (header.width, header.height, header.weight) == (80, 64, weight)
    limits = msgspec.structs.replace(DEFAULT_LIMITS, megapixels=12)
    fitting = 12_000_000 // weight
    limits.check_weight(name, fitting, 1, weight)
    if weight > 1:
        said = rf"takes {weight} times the memory of others, so the limit is {12 // weight}\."
        with pytest.raises(LimitExceeded, match=said) as refused:
            limits.check_weight(name, fitting + 1, 1, weight)
        assert "--max-megapixels" in refused.value.hint


def test_a_few_bytes_for_a_large_picture(tmp_path):
    """14 kB of WebP had a decoder take 1.6 GB. A picture of one colour is refused if it is large; what has something in it is read."""
    path = tmp_path / "a.webp"
    done, data = cv2.imencode(".webp", np.zeros((7200, 7200, 3), np.uint8), [cv2.IMWRITE_WEBP_QUALITY, 101])
    assert done
    path.write_bytes(data.tobytes())
    said = r"a\.webp has [\d,]+ bytes for 7200x7200 pixels\. A picture of more than 50 megapixels may have 2000 pixels for each byte\."
    with pytest.raises(LimitExceeded, match=said) as refused:
        read_image(path)
    assert "--max-pixels-per-byte" in refused.value.hint
    limits = msgspec.structs.replace(DEFAULT_LIMITS, pixels_per_byte=10**6)
    assert read_image(path, limits=limits).shape == (7200, 7200, 3)
    DEFAULT_LIMITS.check_density("a.webp", 7000, 7000, 1)
    DEFAULT_LIMITS.check_density("a.webp", 16_383, 16_383, 16_383 * 16_383 // 2000 + 1)


def test_an_animated_picture_behind_a_long_text():
    """How many pictures a PNG has stands anywhere before the first one."""
    plain = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
    data = plain[:33] + chunk(b"tEXt", bytes(100_000)) + chunk(b"acTL", struct.pack(">II", 77, 0)) + plain[33:]
    assert read_header(data).frames == 77
    assert read_header(plain).frames == 1
