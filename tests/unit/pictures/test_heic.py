"""HEIC pictures, by libheif; and what is said without it."""

import io

import numpy as np
import pytest

from worker.errors import LimitExceeded, UnsupportedFormat
from worker.files.limits import FileLimits
from worker.pictures import heic
from worker.pictures.images import load, read_image, readable_endings

pillow_heif = pytest.importorskip("pillow_heif", reason="install the extra [heic]")
Image = pytest.importorskip("PIL.Image", reason="install the extra [test]")

HEIGHT, WIDTH = 64, 96


def ramps(channels=3, depth=np.uint8):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    values = [x / WIDTH, y / HEIGHT, 1 - x / WIDTH, 0.3 + 0.6 * y / HEIGHT]
    return (np.dstack(values[:channels]) * np.iinfo(depth).max).astype(depth)


def written(path, image, mode="RGB", **made):
    buffer = io.BytesIO()
    data = image.tobytes()
    pillow_heif.from_bytes(mode, (image.shape[1], image.shape[0]), data).save(buffer, quality=95, chroma=444, **made)
    path.write_bytes(buffer.getvalue())
    return path


@pytest.mark.parametrize("channels", [3, 4])
def test_read(tmp_path, channels):
    """Colours and alpha come as they went in."""
    image = ramps(channels)
    found = read_image(written(tmp_path / "a.heic", image, "RGBA" if channels == 4 else "RGB"))
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert np.abs(found[..., [2, 1, 0, 3][:channels]].astype(int) - image).max() <= 8


def test_ten_bits(tmp_path):
    """More than 8 bits come as 16, from black to white."""
    image = ramps(3, np.uint16)
    found = read_image(written(tmp_path / "a.heic", image, "RGB;16"))
    assert found.dtype == np.uint16
    assert np.abs(found[..., ::-1].astype(int) - image).max() <= 8 * 257
    assert len(np.unique(found)) > 300


@pytest.mark.parametrize("turned", [1, 3, 6, 8])
def test_turned(tmp_path, turned):
    """A phone that was held upright: the picture is, once."""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = turned
    pillow_heif.from_pillow(Image.fromarray(ramps())).save(buffer, exif=exif.tobytes(), quality=95, chroma=444)
    assert (b"irot" in buffer.getvalue()) == (turned != 1)
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    wanted = {1: ramps(), 3: ramps()[::-1, ::-1], 6: np.rot90(ramps(), -1), 8: np.rot90(ramps(), 1)}[turned]
    found = read_image(tmp_path / "a.heic")[..., ::-1]
    assert found.shape == wanted.shape
    assert np.abs(found.astype(int) - wanted).max() <= 8


def test_profile(tmp_path):
    """The colour profile, which is mostly that of Display P3, is found."""
    cms = pytest.importorskip("PIL.ImageCms", reason="install the extra [test]")
    profile = cms.ImageCmsProfile(cms.createProfile("sRGB")).tobytes()
    buffer = io.BytesIO()
    pillow_heif.register_heif_opener()
    Image.fromarray(ramps()).save(buffer, "HEIF", icc_profile=profile)
    (tmp_path / "a.heic").write_bytes(buffer.getvalue())
    assert load(tmp_path / "a.heic").profile == profile


def test_too_large(tmp_path):
    """The size is looked at before the pixels."""
    path = written(tmp_path / "a.heic", np.zeros((1200, 1000, 3), np.uint8))
    with pytest.raises(LimitExceeded, match=r"a.heic is larger than one picture may be: 1000x1200"):
        read_image(path, limits=FileLimits(megapixels=1))


def test_broken(tmp_path):
    """A cut or damaged file is refused with its name; no other error comes out."""
    path = written(tmp_path / "a.heic", ramps())
    data = path.read_bytes()
    random = np.random.default_rng(1)
    refused = 0
    for n in range(60):
        broken = bytearray(data if n % 2 else data[: random.integers(40, len(data))])
        broken[random.integers(12, len(broken))] ^= 1 << random.integers(8)
        path.write_bytes(broken)
        try:
            read_image(path)
        except (UnsupportedFormat, LimitExceeded):
            refused += 1
    assert refused > 20


def test_in_a_folder(tmp_path):
    """HEIC pictures belong to a folder's pictures if they can be read."""
    assert set(heic.ENDINGS) <= readable_endings()


def test_without_the_package(tmp_path, monkeypatch):
    """Without the package the sentence says what to install."""
    path = written(tmp_path / "a.heic", ramps())
    monkeypatch.setattr(heic, "can_read", lambda: False)
    with pytest.raises(UnsupportedFormat, match=r"a.heic is a HEIC picture, which this worker does not read") as caught:
        read_image(path)
    assert "td-image-worker[heic]" in caught.value.hint
    assert not heic.ENDINGS & readable_endings()
