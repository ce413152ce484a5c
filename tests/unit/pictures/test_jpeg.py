import functools

import cv2
import numpy as np
import pytest

from worker.pictures import jpeg
from worker.pictures.images import read_image


@functools.cache
def photograph(width, height, seed=0):
    """Something like a photograph: soft shapes of all sizes, edges, and the grain of a sensor."""
    dice = np.random.default_rng(seed)
    image = np.zeros((height, width, 3), np.float32)
    for cells in (4, 16, 64, 256):
        coarse = dice.normal(0, 60 / cells**0.4, (cells, cells, 3)).astype(np.float32)
        image += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    image += 128
    for _ in range(60):
        center = (int(dice.integers(width)), int(dice.integers(height)))
        cv2.circle(
            image, center, int(dice.integers(10, width // 8)), dice.uniform(0, 255, 3).tolist(), int(dice.integers(2, 20)), cv2.LINE_AA
        )
    image += dice.normal(0, 4, (height, width, 1)).astype(np.float32)
    return np.clip(image, 0, 255).astype(np.uint8)


def psnr(first, second):
    error = np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2)
    return 10 * np.log10(255**2 / max(error, 1e-9))


def coded(image, *settings):
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92, *settings])[1].tobytes()


def full_way(path, width, height):
    return cv2.resize(read_image(path), (width, height), interpolation=cv2.INTER_AREA)


@pytest.mark.parametrize(("width", "height"), [(1000, 750), (640, 480), (500, 375), (250, 188), (160, 120), (100, 75), (40, 30)])
@pytest.mark.parametrize("grey", [False, True])
def test_like_the_full_way(tmp_path, monkeypatch, width, height, grey):
    """A small picture of a large photograph is the one of the full way, with 45 dB and more, and is read smaller."""
    image = photograph(4000, 3000)
    path = tmp_path / "a.jpg"
    path.write_bytes(coded(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if grey else image))
    decoded = []
    whole = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *arguments: decoded.append(whole(*arguments)) or decoded[-1])
    small = read_image(path, shrunk=lambda _: (width, height))
    (stored,) = [image.shape[:2] for image in decoded]
    expected = full_way(path, width, height)
    assert small.shape == expected.shape
    assert stored[1] < 4000
    assert psnr(small, expected) >= 45


@pytest.mark.parametrize("wanted", [(4000, 3000), (3000, 2250), (1900, 1425), (1280, 960), (8000, 6000)])
def test_too_little_to_gain(wanted):
    """What would not be like the full way goes the full way."""
    assert jpeg.reduction(coded(np.zeros((30, 40, 3), np.uint8)), (4000, 3000), wanted) == jpeg.WHOLE


@pytest.mark.parametrize("turned", range(1, 9))
def test_orientation(tmp_path, turned):
    """A photograph that lies on its side is reduced and turned; the size that is asked for is that of the upright one."""
    block = b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1" + bytes([0, turned, 0, 0]) + b"\0\0\0\0"
    data = coded(photograph(1600, 1200))
    path = tmp_path / "a.jpg"
    path.write_bytes(data[:2] + b"\xff\xe1" + (len(block) + 8).to_bytes(2, "big") + b"Exif\0\0" + block + data[2:])
    seen = []
    upright = (1200, 1600) if turned >= 5 else (1600, 1200)
    wanted = (upright[0] // 8, upright[1] // 8)
    small = read_image(path, shrunk=lambda size: seen.append(size) or wanted)
    assert seen == [upright]
    assert small.shape[1::-1] == wanted
    assert psnr(small, full_way(path, *wanted)) >= 45


@pytest.mark.parametrize(("width", "height"), [(2001, 1501), (1999, 1498), (2009, 1503)])
@pytest.mark.parametrize("part", [2, 4, 8])
def test_sides_that_are_no_multiples(tmp_path, width, height, part):
    """The last pixel of the smaller picture then reaches beyond the edge; nothing else is drawn out of its place by that."""
    path = tmp_path / "a.jpg"
    path.write_bytes(coded(photograph(2016, 1512)[:height, :width]))
    wanted = (round(width / (part * part * 1.6)), round(height / (part * part * 1.6)))
    assert jpeg.reduction(path.read_bytes(), (width, height), wanted).part == part
    small = read_image(path, shrunk=lambda _: wanted)
    assert small.shape[1::-1] == wanted
    assert psnr(small, full_way(path, *wanted)) >= 45


def test_a_cut_file():
    """The end marker may stand anywhere behind the scan; one in a thumbnail does not count."""
    data = coded(photograph(160, 120))
    thumbnail = b"\xff\xe1\0\x08ab\xff\xd9cd"
    assert not jpeg.is_cut(data)
    assert not jpeg.is_cut(data + b"appended by a camera")
    assert jpeg.is_cut(data[:2] + thumbnail + data[2:-2])


def test_progressive(tmp_path):
    """Progressive coding is read smaller, too."""
    path = tmp_path / "a.jpg"
    path.write_bytes(coded(photograph(1600, 1200), cv2.IMWRITE_JPEG_PROGRESSIVE, 1))
    assert jpeg.reduction(path.read_bytes(), (1600, 1200), (200, 150)) != jpeg.WHOLE
    assert psnr(read_image(path, shrunk=lambda _: (200, 150)), full_way(path, 200, 150)) >= 45


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xd8",
        b"\xff\xd8\xff\xc0\0\x11",
        b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
        b"\xff\xd8" + b"\0" * 40,
        b"\xff\xd8\xff\xda" + b"\0" * 40,
    ],
)
def test_no_jpeg(data):
    """What is no JPEG, or is broken, is left to the full way and its errors."""
    assert jpeg.reduction(data, (4000, 3000), (100, 75)) == jpeg.WHOLE


def test_other_formats(tmp_path):
    """A PNG is read as ever, and is not brought to any size."""
    cv2.imwrite(str(tmp_path / "a.png"), photograph(160, 120))
    assert read_image(tmp_path / "a.png", shrunk=lambda _: (20, 15)).shape == (120, 160, 3)
