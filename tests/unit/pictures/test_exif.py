import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.pictures.exif import UPRIGHT, orientation


def block(turned, order="<"):
    """The smallest EXIF block: a TIFF header and a directory of one entry."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    return mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x0112, 3, 1, turned, 0, 0)


def jpeg(body):
    return b"\xff\xd8\xff\xe0\0\x04JF\xff\xe1" + struct.pack(">H", len(body) + 8) + b"Exif\0\0" + body + b"\xff\xda"


def png(body):
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s", 2, b"IHDR") + b"??crc." + struct.pack(">I4s", len(body), b"eXIf") + body + b"crc."


def webp(body):
    return b"RIFF????WEBP" + struct.pack("<4sI", b"VP8X", 3) + b"odd\0" + struct.pack("<4sI", b"EXIF", len(body)) + body


@pytest.mark.parametrize("file", [jpeg, png, webp])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation(file, order, turned):
    """All eight orientations are read from each format, in either byte order."""
    assert orientation(file(block(turned, order))) == turned


@pytest.mark.parametrize("turned", [0, 9, 65535])
def test_unknown_orientation(turned):
    """A number that means nothing is taken as upright."""
    assert orientation(jpeg(block(turned))) == UPRIGHT


def test_none():
    """Files without EXIF are upright."""
    for data in (b"", b"\xff\xd8\xff\xda", b"\x89PNG\r\n\x1a\n", b"RIFF????WEBP", b"BM"):
        assert orientation(data) == UPRIGHT


@given(st.binary(max_size=60), st.sampled_from([jpeg, png, webp, lambda body: body]), st.integers(0, 80))
def test_any_bytes(body, file, cut):
    """Broken and cut off files give some orientation, and never an error."""
    assert 1 <= orientation(file(body)[:cut]) <= 8
    assert 1 <= orientation(file(block(6) + body)[:cut]) <= 8
