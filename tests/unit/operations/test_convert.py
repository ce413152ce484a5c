import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.catalog.convert import Convert
from worker.operations.convert import convert, target_size


def converted(image, **params):
    return convert(image, Convert(image="a", output="b", **params))


def test_unchanged():
    """Without size and depth an image stays as it is."""
    image = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)
    np.testing.assert_array_equal(converted(image), image)


@pytest.mark.parametrize(
    ("asked", "got"), [((0, 0), (640, 480)), ((320, 0), (320, 240)), ((0, 60), (80, 60)), ((10, 20), (10, 20)), ((1, 0), (1, 1))]
)
def test_size(asked, got):
    """A side of 0 follows the other one, and no side becomes nothing."""
    assert target_size((640, 480), Convert(image="a", output="b", width=asked[0], height=asked[1])) == got


@given(*[st.integers(1, 16384)] * 3)
def test_proportions(width, height, new_width):
    """The proportions are kept to half a pixel."""
    _, new_height = target_size((width, height), Convert(image="a", output="b", width=new_width))
    assert new_height == 1 or abs(new_height - height * new_width / width) <= 0.5


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 3), (40, 60, 4)])
@pytest.mark.parametrize("size", [(30, 20), (120, 80), (60, 10)])
def test_plain_stays_plain(dtype, shape, size):
    """Shrunk or enlarged, a plain image keeps its colour, its kind and its depth."""
    image = np.full(shape, np.iinfo(dtype).max // 3, dtype)
    result = converted(image, width=size[0], height=size[1])
    assert result.shape == (size[1], size[0], *shape[2:])
    assert result.dtype == dtype
    assert np.abs(result.astype(int) - int(image.flat[0])).max() <= 1


def test_shrinking_takes_averages():
    """A fine chequered pattern becomes its mean, not one of its colours."""
    image = (np.indices((64, 64)).sum(axis=0) % 2 * 200).astype(np.uint8)
    assert (converted(image, width=16) == 100).all()


def test_transparent_colours_do_not_bleed():
    """What lies under transparent pixels does not show at the edge."""
    image = np.zeros((8, 8, 4), np.uint8)
    image[:, :5] = 0, 0, 255, 255
    image[:, 5:] = 0, 255, 0, 0
    result = converted(image, width=4)
    assert (result[result[..., 3] > 0][:, 1] == 0).all()


def test_depth():
    """8 bits become 16 and back without loss; white stays white."""
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    deep = converted(image, depth=16)
    assert deep.dtype == np.uint16
    assert deep.max() == 65535
    np.testing.assert_array_equal(converted(deep, depth=8), image)


def test_profile_is_kept_or_converted(tmp_path):
    """A job that reduces a picture keeps its profile, or brings its colours to sRGB and writes none; both look the same to Pillow."""
    image_cms = pytest.importorskip("PIL.ImageCms", reason="install the extra [test]")
    pillow = pytest.importorskip("PIL.Image", reason="install the extra [test]")
    codecs = pytest.importorskip("imagecodecs", reason="install the extra [test]")
    from tests.unit.tasks.desk import Desk

    y, x = np.mgrid[:60, :80]
    picture = pillow.fromarray(np.dstack([x * 3, y * 4, 200 - x]).astype(np.uint8))
    picture.save(tmp_path / "a.png", icc_profile=codecs.cms_profile("adobergb"))
    desk = Desk(tmp_path.resolve())
    assert desk.job("convert", image="a.png", output="keep.png", width=40).files
    assert desk.job("convert", image="*.png", output="{name}-srgb.png", width=40, profile="srgb").files
    with pillow.open(tmp_path / "keep.png") as kept, pillow.open(tmp_path / "a-srgb.png") as converted:
        assert "icc_profile" not in converted.info
        profile = image_cms.ImageCmsProfile(io.BytesIO(kept.info["icc_profile"]))
        wanted = image_cms.profileToProfile(kept, profile, image_cms.createProfile("sRGB"))
        assert np.abs(np.asarray(converted).astype(int) - np.asarray(wanted)).max() <= 2
        assert np.abs(np.asarray(converted).astype(int) - np.asarray(kept)).max() > 20


def test_srgb_without_the_package(tmp_path, monkeypatch):
    from tests.unit.tasks.desk import Desk
    from worker.pictures import icc
    from worker.pictures.images import write_image

    monkeypatch.setattr(icc, "can_convert", lambda: False)
    write_image(tmp_path / "a.png", np.zeros((4, 4, 3), np.uint8))
    failure = Desk(tmp_path.resolve()).job("convert", image="a.png", output="b.png", profile="srgb")
    assert (failure.code, "pip install" in failure.message) == (501, True)
