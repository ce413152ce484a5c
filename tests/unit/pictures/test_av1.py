"""The size of an AVIF is that of the pictures coded in it, whatever its boxes claim."""

from __future__ import annotations

import io
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.security.bombs import seeds
from worker.pictures import av1, headers
from worker.pictures.headers import read_header

pytestmark = pytest.mark.skipif(not cv2.haveImageWriter(".avif"), reason="not on this system: OpenCV writes no AVIF")


def avif(width: int, height: int, channels: int = 3) -> bytes:
    return cv2.imencode(".avif", np.zeros((height, width, channels), np.uint8), [cv2.IMWRITE_AVIF_SPEED, 10])[1].tobytes()


def claiming(data: bytes, width: int, height: int) -> bytes:
    """The file with this size in all of its properties."""
    at = data.find(b"ispe")
    while at >= 0:
        data = data[: at + 8] + struct.pack(">II", width, height) + data[at + 16 :]
        at = data.find(b"ispe", at + 4)
    return data


@pytest.mark.parametrize("size", [(1, 1), (64, 48), (333, 1), (4097, 65)])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_what_is_coded_counts(size, channels):
    """A file that claims to be small is as large as the pictures in it; one that claims to be large, too."""
    data = avif(*size, 3 if channels == 1 else channels)
    assert set(av1.sizes(data)) == {size}
    header = read_header(claiming(data, 1, 1))
    assert (header.width, header.height) == size
    assert (read_header(claiming(data, 30_000, 20_000)).width, header.frames) == (30_000, 1)


def test_exif_is_no_picture():
    """An item that is no picture is not read as one."""
    pillow = pytest.importorskip("PIL.Image", reason="install the extra [test]")
    made = io.BytesIO()
    exif = pillow.Exif()
    exif[0x010E] = "\x0a\x0a" * 3000
    pillow.new("RGB", (60, 40)).save(made, "AVIF", exif=exif)
    assert set(av1.sizes(made.getvalue())) == {(60, 40)}


def test_an_animation():
    """Its pictures are counted, and the size of its track is that of the first one, whatever the cover claims."""
    pillow = pytest.importorskip("PIL.Image", reason="install the extra [test]")
    made = io.BytesIO()
    pictures = [pillow.new("RGB", (200, 100), (level, 0, 0)) for level in (0, 90, 255)]
    pictures[0].save(made, "AVIF", save_all=True, append_images=pictures[1:])
    header = read_header(claiming(made.getvalue(), 16, 16))
    assert (header.width, header.height, header.frames) == (200, 100, 3)


def test_parts_without_end(monkeypatch):
    """Items, and units of pictures, are looked through up to a number."""
    data = avif(64, 48)
    monkeypatch.setattr(av1, "MOST_UNITS", 1)
    assert "more than 1 units" in read_header(data).endless
    monkeypatch.setattr(av1, "MOST_ITEMS", 0)
    assert "1 items" in read_header(data).endless


@given(st.data())
def test_broken_files(data):
    """Whatever bytes are changed or missing, there are sizes or there are none."""
    file = bytearray(data.draw(st.sampled_from([made for name, made in seeds().items() if name.endswith(".avif")])))
    for _ in range(data.draw(st.integers(0, 8))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    header = read_header(bytes(file[: data.draw(st.integers(0, len(file)))]))
    assert header.width >= 0
    assert isinstance(header, headers.Header)
