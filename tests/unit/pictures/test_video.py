"""Videos as files: kinds, cut ones, times, and what is written; each frame carries its number."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.videos import FRAMES, TIMES, number_of, numbered
from worker.errors import DiskFull, LimitExceeded, MissingFile, Unavailable, UnsupportedFormat
from worker.files.limits import FileLimits
from worker.operations.video import CODECS
from worker.pictures import video

DATA = Path(__file__).parents[2] / "data"
PAIRS = [(ending, codec) for ending, codecs in CODECS.items() for codec in codecs]
pytestmark = pytest.mark.skipif(
    not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG), reason="this build of OpenCV has no FFmpeg, which reads and writes videos"
)


def frames(path, **settings):
    with video.opened(path.resolve(), **settings) as found:
        return found.clip, [(number, seconds, number_of(decoded())) for number, seconds, decoded in found.frames()]


def make(path, count=12, fps=25.0, size=(96, 64), codec="mjpg", **settings):
    with video.film(path.resolve(), codec, fps, size, **settings) as (add, told):
        for number in range(count):
            add(numbered(number, *size))
    return told()


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm"])
def test_frames_and_their_times(name):
    """In the order in which they are shown, although some were stored in another one; each with its own time, at a variable rate, too."""
    clip, found = frames(DATA / name)
    assert [number for number, _, _ in found] == list(range(FRAMES))
    assert [shown for _, _, shown in found] == list(range(FRAMES))
    np.testing.assert_allclose([seconds for _, seconds, _ in found], TIMES, atol=0.0011)
    assert (clip.width, clip.height) == (96, 64)


@pytest.mark.parametrize(("ending", "codec"), PAIRS)
def test_what_is_written_is_read(ending, codec, tmp_path):
    """Each codec in each kind of file: every frame, in order, at its time; nothing is left beside the file."""
    written = make(path := tmp_path / f"a{ending}", codec=codec)
    clip, found = frames(path)
    assert [shown for _, _, shown in found] == list(range(12))
    assert [round(seconds * 25) for _, seconds, _ in found] == list(range(12))
    assert clip.fps == pytest.approx(25)
    assert (written.path, written.size_bytes) == (path.as_posix(), path.stat().st_size)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("fps", [0.5, 12, 23.976, 29.97, 59.94, 240])
def test_rates(fps, tmp_path):
    """Also those of film and television."""
    make(path := tmp_path / "a.mp4", codec="mp4v", fps=fps)
    _, found = frames(path)
    assert len(found) == 12
    assert found[-1][1] == pytest.approx(11 / fps, rel=1e-3)


def test_a_lossless_codec(tmp_path):
    """ffv1 keeps grey exactly; colour goes through another colour space, by at most two."""
    path = tmp_path.resolve() / "a.avi"
    picture = np.repeat(np.repeat(np.random.default_rng(1).integers(0, 256, (32, 48, 3), np.uint8), 2, 0), 2, 1)
    with video.film(path, "ffv1", 25, (96, 64)) as (add, _):
        add(picture)
    with video.opened(path) as found:
        (back,) = [decoded() for _, _, decoded in found.frames()]
    assert np.abs(back.astype(int) - picture).max() <= 2


def test_what_the_environment_says_to_ffmpeg_does_not_count(tmp_path, monkeypatch):
    """As a stream leaves it that was opened before in the same process, or as somebody sets it for another program."""
    for path, codec in (("a.avi", "mjpg"), ("a.mp4", "mp4v")):
        monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;http,tcp")
        with video.film((tmp_path / path).resolve(), codec, 25, (96, 64)) as (add, _):
            add(np.zeros((64, 96, 3), np.uint8))
        monkeypatch.setenv("OPENCV_FFMPEG_CAPTURE_OPTIONS", "protocol_whitelist;http,tcp")
        _, found = frames((tmp_path / path).resolve())
        assert len(found) == 1


def test_half_a_film_is_none(tmp_path):
    """An error in between leaves what was there before."""
    make(path := tmp_path / "a.avi", count=3)
    before = path.read_bytes()

    def broken():
        with video.film(path.resolve(), "mjpg", 25, (96, 64)) as (add, _):
            add(numbered(1))
            raise RuntimeError("the picture is broken")

    with pytest.raises(RuntimeError, match="the picture is broken"):
        broken()
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["a.avi"]


def test_a_film_that_grows_too_large(tmp_path):
    """It is given up while it is written, and at the end."""
    with pytest.raises(LimitExceeded, match=r"a.avi is larger than one file may be"):
        make(tmp_path / "a.avi", count=200, size=(640, 480), limits=FileLimits(file_mb=1))
    assert list(tmp_path.iterdir()) == []


def test_frames_that_were_lost(tmp_path, monkeypatch):
    """OpenCV does not say that a frame could not be written. They are counted, and such a file is not kept."""
    made = cv2.VideoWriter

    class Losing:
        def __init__(self, *given):
            self._writer, self._count = made(*given), 0

        def __getattr__(self, name):
            return getattr(self._writer, name)

        def write(self, frame):
            self._count += 1
            if self._count != 5:
                self._writer.write(frame)

        fourcc = staticmethod(made.fourcc)

    monkeypatch.setattr(cv2, "VideoWriter", Losing)
    with pytest.raises(DiskFull, match=r"a.avi came out with 11 of 12 frames, so it was not kept"):
        make(tmp_path / "a.avi")
    assert list(tmp_path.iterdir()) == []


def test_a_codec_that_is_not_there(tmp_path, monkeypatch):
    """A sentence, and no file."""
    monkeypatch.setitem(video._FOURCC, "mjpg", "zzzz")
    with pytest.raises(Unavailable, match=r"cannot write .avi with codec=mjpg, 96x64 pixels at 25 frames per second"):
        make(tmp_path / "a.avi")
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------------------------------------- what is not read


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm", "ours.avi", "ours.mov"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_cut_files(name, share, tmp_path):
    """However much is missing, and wherever the index stands."""
    path = tmp_path / name
    if name.startswith("ours"):
        make(path)
    else:
        shutil.copy(DATA / name, path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UnsupportedFormat, match=rf"{name} (is cut off: it has [\d,]+ bytes, and should have|has no index)"):
        frames(path)


def test_whole_files_are_not_cut(tmp_path):
    """The check above does not refuse what is whole: with further boxes, and with bytes behind the end of a RIFF."""
    path = tmp_path / "a.mp4"
    path.write_bytes((DATA / "numbered.mp4").read_bytes() + b"\0\0\0\x10free" + bytes(8))
    assert len(frames(path)[1]) == FRAMES
    make(path := tmp_path / "a.avi")
    path.write_bytes(path.read_bytes() + bytes(100))
    assert len(frames(path)[1]) == 12


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "a.mp4 is empty."),
        (b"hello", "a.mp4 is not a video that this worker reads."),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "is not a video"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "is not a video"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9999 RTP/AVP 96\n", "is not a video"),
        ((DATA / "box.png").read_bytes(), "is not a video"),
        (b"\0\0\0\x08free" * 20, "a.mp4 has no index"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov\0\0\0\x02mdat", "a.mp4 is damaged: a part of it has no length"),
        (b"\0\0\0\x08ftyp\0\0\0\x08moov", "a.mp4 holds no video that this build of OpenCV decodes"),
        (b"RIFF\x04\0\0\0AVI ", "a.mp4 holds no video"),
        (b"\x1a\x45\xdf\xa3" + bytes(50), "a.mp4 holds no video"),
    ],
)  # fmt: skip
def test_what_is_no_video(data, sentence, tmp_path):
    """Empty files, texts, lists of other files, pictures, and videos without anything in them."""
    (path := tmp_path / "a.mp4").write_bytes(data)
    with pytest.raises(UnsupportedFormat) as caught:
        frames(path)
    assert sentence in caught.value.message


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm"])
def test_damaged_files(name, seed, tmp_path):
    """Bytes changed anywhere: the file is refused, or fewer or other frames come; nothing else happens."""
    data = bytearray((DATA / name).read_bytes())
    random = np.random.default_rng(seed)
    for at in random.integers(0, len(data), 5):
        data[at] = random.integers(0, 256)
    (path := tmp_path / name).write_bytes(data)
    try:
        _, found = frames(path, limits=FileLimits(megapixels=1))
    except (UnsupportedFormat, LimitExceeded):
        return
    assert len(found) <= FRAMES


def test_no_other_file_is_opened(tmp_path):
    """A list inside a file that looks like a video is not followed: FFmpeg may take only the kinds that name no other file."""
    assert set(video._OPTIONS.split("|")[0].partition(";")[2].split(",")) & {"hls", "concat", "dash", "sdp", "image2", "rtsp"} == set()
    assert video._OPTIONS.endswith("protocol_whitelist;file")


def test_limits_of_reading(tmp_path):
    """The size of the file, and that of a frame."""
    make(path := tmp_path / "a.avi", count=1, size=(2000, 1000))
    with pytest.raises(LimitExceeded, match="megapixels"):
        frames(path, limits=FileLimits(megapixels=1))
    (path := tmp_path / "b.avi").write_bytes(bytes(2**21))
    with pytest.raises(LimitExceeded, match=r"b.avi is larger than one file may be: 2 MB, and the limit is 1 MB"):
        frames(path, limits=FileLimits(file_mb=1))


def test_no_file(tmp_path):
    with pytest.raises(MissingFile, match=r"There is no file a.mp4"):
        frames(tmp_path / "a.mp4")


def test_turned_videos(tmp_path):
    """A telephone stores how it was held; frames come upright. The matrix in the header is set to a quarter turn here."""
    data = bytearray((DATA / "numbered.mp4").read_bytes())
    at = data.index(b"tkhd") + 4 + 40
    one = 0x10000
    for place, value in enumerate((0, one, 0, -one, 0, 0, 0, 0, 0x40000000)):
        data[at + 4 * place : at + 4 * place + 4] = value.to_bytes(4, "big", signed=True)
    (path := tmp_path / "a.mp4").write_bytes(data)
    with video.opened(path.resolve()) as found:
        frame = next(decoded() for _, _, decoded in found.frames())
    assert frame.shape == (96, 64, 3)
