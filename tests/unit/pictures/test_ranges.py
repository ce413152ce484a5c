"""Numbers that mean white, in files of odd depths."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import UnsupportedFormat
from worker.pictures import pam, ranges
from worker.pictures.images import read_image

SIZ = b"\xff\x4f\xff\x51" + struct.pack(">HHIIIIIIII", 47, 0, 8, 8, 0, 0, 8, 8, 0, 0)


def siz(*depths):
    return SIZ + struct.pack(">H", len(depths)) + b"".join(bytes((depth, 1, 1)) for depth in depths)


@pytest.mark.parametrize(("white", "kind"), [(1023, np.uint16), (100, np.uint8), (1, np.uint8)])
def test_full_range(white, kind):
    """Black stays black, white becomes the largest number, and what is brighter than white is white."""
    image = np.array([[0, white // 2, white, np.iinfo(kind).max]], kind)
    found = ranges.full_range(image, white)
    largest = np.iinfo(kind).max
    assert found.dtype == kind
    assert found[0, [0, 2, 3]].tolist() == [0, largest, largest]
    assert found[0, 1] == pytest.approx(white // 2 * largest / white, abs=0.5)
    assert ranges.full_range(image, 0) is image


@pytest.mark.parametrize(
    ("data", "white"),
    [
        (b"P5\n# a comment\n4 4\n4095\n", 4095),
        (b"P6 4 4 255 ", 0),
        (b"P6 4 4 65535 ", 0),
        (b"P2\n4 4\n9\n", 9),
        (b"P4\n4 4\n", 0),
        (b"P5 4 4 0 ", 0),
        (b"P5 4 4 99999 ", 0),
        (siz(11, 11, 11), 4095),
        (siz(7), 0),
        (siz(15), 0),
        (b"\0\0\0\x0cjP  ", 0),
    ],
)
def test_brightest(data, white):
    assert ranges.brightest(data) == white


@pytest.mark.parametrize(("depths", "words"), [((7, 7, 11), "different depths"), ((0x8B,), "with a sign")])
def test_refused(tmp_path, depths, words):
    """Channels that mean different things are refused with the file's name."""
    (tmp_path / "a.jp2").write_bytes(siz(*depths))
    with pytest.raises(UnsupportedFormat, match=f"a.jp2 has .*{words}, which is not read"):
        read_image(tmp_path / "a.jp2")


@given(st.sampled_from([b"P7\n", b"P5\n", b"P6 ", siz(11), b"\0\0\0\x0cjP  ", b"\0\0\0\x1cftypavif"]), st.binary(max_size=200))
def test_any_bytes(head, rest):
    """Whatever follows, there is a number or a refusal."""
    with contextlib.suppress(ranges.NotRead):
        assert 0 <= ranges.brightest(head + rest) < 2**128
    assert pam.decode(head + rest) is None or head == b"P7\n"


def pam_file(values, white, depth):
    head = f"P7\nWIDTH 2\nHEIGHT 1\nDEPTH {depth}\nMAXVAL {white}\nTUPLTYPE ANY\nENDHDR\n".encode()
    return head + np.array(values, ">u2" if white > 255 else "u1").tobytes()


def test_pam():
    """Every number of channels, in our order; black and white; numbers of two bytes."""
    assert pam.decode(pam_file([1, 2], 255, 1)).tolist() == [[1, 2]]
    assert pam.decode(pam_file([0, 1], 1, 1)).tolist() == [[0, 255]]
    assert pam.decode(pam_file([1, 2, 3, 4], 255, 2)).tolist() == [[[1, 2], [3, 4]]]
    assert pam.decode(pam_file(range(6), 255, 3)).tolist() == [[[2, 1, 0], [5, 4, 3]]]
    assert pam.decode(pam_file(range(8), 255, 4)).tolist() == [[[2, 1, 0, 3], [6, 5, 4, 7]]]
    deep = pam.decode(pam_file([0, 1000], 1000, 1))
    assert (deep.dtype, deep.tolist()) == (np.uint16, [[0, 65535]])
    assert pam.decode(pam_file(range(5), 255, 3)) is None
    assert pam.decode(b"P7\nWIDTH 2\n") is None
