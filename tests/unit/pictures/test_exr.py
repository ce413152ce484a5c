import numpy as np
import pytest

from worker.pictures import exr


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (16, 3), (17, 33), (120, 100)])
def test_another_library_reads_the_same(size, tmp_path):
    """Every value of every channel, in files of less and more than a block of lines; noise, which cannot be packed, and a step."""
    openexr = pytest.importorskip("OpenEXR", reason="reads the file as another library does; it comes with the extra `test`")
    noise = np.random.default_rng(0).normal(0, 10, size).astype(np.float32)
    steps = np.where(np.arange(size[0])[:, None] < size[0] / 2, np.float32(-2), np.float32(3)) * np.ones(size, np.float32)
    (tmp_path / "a.exr").write_bytes(exr.encode({"R": noise, "G": steps}))
    with openexr.File(str(tmp_path / "a.exr"), separate_channels=True) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    assert set(channels) == {"R", "G"}
    np.testing.assert_array_equal(channels["R"], noise)
    np.testing.assert_array_equal(channels["G"], steps)


def test_what_repeats_is_packed():
    """A plain channel takes a small part of its 4 bytes for each pixel."""
    assert len(exr.encode({"R": np.ones((480, 640), np.float32)})) < 480 * 640 * 4 / 20
