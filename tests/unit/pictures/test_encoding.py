"""Videos that PyAV writes: as many frames as were given, in their colours, smaller at a lower quality."""

import cv2
import numpy as np
import pytest

from worker.errors import DiskFull, Unavailable
from worker.pictures import encoding, video

if not encoding.is_installed():
    pytest.skip("install the extra [test]: PyAV", allow_module_level=True)


def frames(count=12):
    random = np.random.default_rng(3)
    texture = cv2.GaussianBlur(random.integers(0, 255, (64, 96, 3), dtype=np.uint8), (0, 0), 2)
    for n in range(count):
        frame = texture.copy()
        frame[:32] = (40, 90, 200)
        frame[4:28, 4 + 4 * n : 28 + 4 * n] = (220, 40, 60)
        yield frame


def written(path, codec, quality=0):
    with video.film(path.resolve(), codec, 25, (96, 64), quality=quality) as (add, told):
        for frame in frames():
            add(frame)
    return told().size_bytes


@pytest.mark.parametrize(
    ("codec", "ending"),
    [
        *(("h264", ".mp4"), ("h264", ".mov"), ("h264", ".mkv"), ("hevc", ".mp4"), ("prores", ".mov")),
        *(("mp4v", ".mp4"), ("mjpg", ".avi"), ("vp8", ".webm"), ("vp9", ".webm")),
    ],
)
def test_what_is_written_is_read(tmp_path, codec, ending):
    """Each frame once, at its rate, in its colours."""
    path = tmp_path / f"film{ending}"
    assert written(path, codec, 90) == path.stat().st_size
    with video.opened(path) as found:
        assert (found.clip.width, found.clip.height, found.clip.fps) == (96, 64, pytest.approx(25))
        read = [decoded().astype(int) for _, _, decoded in found.frames()]
    for n, (frame, truth) in enumerate(zip(read, frames(), strict=True)):
        assert np.abs(frame[10:22, 10 + 4 * n : 22 + 4 * n].mean(axis=(0, 1)) - (220, 40, 60)).max() < 8
        assert np.abs(frame - truth).mean() < 6


@pytest.mark.parametrize("codec", ["h264", "hevc", "prores", "mjpg"])
def test_quality(tmp_path, codec):
    """A lower quality makes a smaller file."""
    assert written(tmp_path / "small.mov", codec, 20) < 0.9 * written(tmp_path / "large.mov", codec, 95)


def test_what_cannot_be_written(tmp_path):
    """A rate that no file holds is refused in a sentence, and leaves nothing."""
    with (
        pytest.raises(Unavailable, match=r"PyAV cannot write \.webm with codec=h264"),
        video.film((tmp_path / "a.webm").resolve(), "h264", 25, (96, 64)) as (add, _),
    ):
        add(np.zeros((64, 96, 3), np.uint8))
    assert not list(tmp_path.iterdir())


def test_frames_that_fail(tmp_path, monkeypatch):
    """If a frame cannot be written, the video is not kept."""
    monkeypatch.setattr(encoding.Encoder, "_encode", lambda self, frame: None)
    with pytest.raises(DiskFull, match="came out with 0 of 12 frames"):
        written(tmp_path / "a.mp4", "h264")
    assert not list(tmp_path.iterdir())
