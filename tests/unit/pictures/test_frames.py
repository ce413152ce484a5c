"""Frames come out of frame files as they went in, whole, or not at all. `tests.frame_files` writes them, and shares no code with ours."""

import os
import random
import signal
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from tests import frame_files
from worker.errors import ArgumentError, Expired, LimitExceeded, MissingFile, PathError, UnsupportedFormat
from worker.files import whole
from worker.files.frames import FrameName, Layout
from worker.files.limits import FileLimits
from worker.pictures import frames
from worker.pictures.frames import FrameFile, read_frame
from worker.pictures.pixels import from_floats, over_black


def ramps(channels, kind=np.uint8, height=37, width=29):
    """A ramp of its own in each channel, red first, the bottom row first."""
    y, x = np.mgrid[:height, :width]
    values = np.dstack([x / width, y / height, (x + y) / (width + height), 1 - y / height][:channels])
    return values.astype(np.float32) if kind == np.float32 else np.rint(values * np.iinfo(kind).max).astype(kind)


def ours(pixels):
    """What the reader must make of them."""
    pixels = from_floats(pixels[::-1]) if pixels.dtype == np.float32 else pixels[::-1]
    return pixels[..., {1: 0, 2: [0, 0, 0, 1], 3: [2, 1, 0], 4: [2, 1, 0, 3]}[pixels.shape[2]]]


def written(path, *args, **options):
    path.write_bytes(frame_files.whole(*args, **options))
    return path


def newest(path, limits=None):
    return read_frame(path, FrameName(str(path)), limits or FileLimits())


@pytest.fixture
def impatient(monkeypatch):
    """What is not whole is refused soon."""
    monkeypatch.setattr(frames, "PATIENCE_S", 0.02)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("height", [1, 37, 5000])
def test_every_kind(tmp_path, monkeypatch, kind, channels, height):
    """All channels and types, upright and in our order; also pictures of many blocks."""
    monkeypatch.setattr(frames, "BLOCK_BYTES", 2**16)
    pixels = ramps(channels, kind, height)
    frame = newest(written(tmp_path / "a.frame", pixels))
    np.testing.assert_array_equal(frame.image, ours(pixels))
    assert (frame.sequence, frame.slot, frame.time_ns) == (2, 0, 1_700_000_000_000_000_002)


@pytest.mark.parametrize("given", [0, 100])
def test_rows_that_the_kernel_does_not_turn(tmp_path, monkeypatch, given):
    """Where there is no call for it, or it gives less than was asked for, the rows are turned afterwards."""
    monkeypatch.setattr(frames, "BLOCK_BYTES", 2**12)
    monkeypatch.setattr(frames, "read_rows", lambda _descriptor, _rows, _offset: given)
    for channels in (1, 2, 3, 4):
        pixels = ramps(channels)
        np.testing.assert_array_equal(newest(written(tmp_path / "a.frame", pixels)).image, ours(pixels))


@pytest.mark.parametrize("height", [1, 5000])
def test_top_row_first(tmp_path, height):
    """Programs that have the top row first say so, and need not turn their pictures."""
    pixels = ramps(4, height=height)
    np.testing.assert_array_equal(newest(written(tmp_path / "a.frame", pixels, rows=1)).image, ours(pixels)[::-1])


def test_odd_floats(tmp_path):
    """Infinite is white, what is no number is black, and nothing goes round."""
    pixels = np.array([np.nan, np.inf, -np.inf, -1, 0, 0.5, 1, 7, 1e38, 2**-140], np.float32).reshape(1, -1, 1)
    np.testing.assert_array_equal(newest(written(tmp_path / "a.frame", pixels)).image, from_floats(pixels[..., 0]))


def test_newest_and_slots(tmp_path):
    """The highest even sequence is the newest; one that is being written does not count. A slot is found by its number."""
    pictures = [np.full((4, 5, 4), value, np.uint8) for value in (10, 20, 30)]
    path = written(tmp_path / "a.frame", pictures, sequences=[8, 12, 15])
    with FrameFile.open(path) as file:
        assert file.newest() == 12
        assert (file.read().slot, file.read().image[0, 0, 0]) == (1, 20)
        assert file.read(0).image[0, 0, 0] == 10
        assert file.read(0, 8).sequence == 8


def test_a_frame_that_is_gone(tmp_path, impatient):
    """A reference with a sequence never gives another picture, also while the newer one is being written."""
    picture = np.zeros((4, 5, 4), np.uint8)
    path = written(tmp_path / "a.frame", [picture, picture], sequences=[8, 11])
    with FrameFile.open(path) as file:
        with pytest.raises(Expired, match=r"The frame a\.frame#0@6 is gone: a newer one is in its slot\."):
            file.read(0, 6)
        with pytest.raises(Expired, match=r"a\.frame#1@10 is gone"):
            file.read(1, 10)
        with pytest.raises(MissingFile, match=r"The frame in slot 1 of a\.frame is being written\.") as caught:
            file.read(1, 12)
    assert caught.value.transient


@pytest.mark.parametrize(
    ("name", "error", "match"),
    [
        (FrameName("", 3), ArgumentError, r"a\.frame has the slots #0 to #2; #3 is none of them"),
        (FrameName("", 2), MissingFile, r"a\.frame has no frame in slot 2 yet"),
        (FrameName("", 1), MissingFile, r"The frame in slot 1 of a\.frame is being written"),
        (FrameName(""), MissingFile, r"a\.frame holds no whole frame"),
    ],
)
def test_no_frame(tmp_path, impatient, name, error, match):
    """Each reason why there is no frame has a sentence."""
    path = written(tmp_path / "a.frame", [np.zeros((4, 5, 4), np.uint8)] * 2, sequences=[1, 3], slots=3)
    with pytest.raises(error, match=match):
        read_frame(path, name)


LIES = {
    "version": (8, "<I", 2, "it has version 2; this worker reads version 1"),
    "no slots": (12, "<I", 0, "slots is 0; it must be 1 to 32"),
    "slots": (12, "<I", 33, "slots is 33; it must be 1 to 32"),
    "no width": (24, "<I", 0, "width is 0; it must be 1 to 65536"),
    "height": (28, "<I", 2**32 - 1, "height is 4294967295; it must be 1 to 65536"),
    "channels": (32, "<I", 5, "channels is 5; it must be 1 to 4"),
    "type": (36, "<I", 3, "type is 3; it must be 1 (uint8), 2 (uint16) or 4 (float32)"),
    "rows": (40, "<I", 2, "the order of rows is 2; it must be 0 (bottom first) or 1 (top first)"),
    "reserved": (44, "<I", 1, "the number at byte 44 is 1; it must be 0"),
    "offset in the entries": (48, "<Q", 95, "the pixels begin at byte 95, within the entries of the slots"),
    "offset beyond the end": (48, "<Q", 2**64 - 1, "1 slots end at byte 18446744073709551695, and the file has 4176"),
    "slot bytes": (56, "<Q", 79, "a slot has 79 bytes, and 5x4 pixels take 80"),
    "wider than its slots": (24, "<I", 6, "a slot has 80 bytes, and 6x4 pixels take 96"),
    "more slots than bytes": (12, "<I", 2, "2 slots end at byte 4256, and the file has 4176"),
}


@pytest.mark.parametrize(("at", "form", "value", "sentence"), LIES.values(), ids=LIES)
def test_a_header_that_lies(tmp_path, at, form, value, sentence):
    """Every number of a header is checked, and the sentence names it."""
    data = bytearray(frame_files.whole(np.zeros((4, 5, 4), np.uint8)))
    struct.pack_into(form, data, at, value)
    (tmp_path / "a.frame").write_bytes(data)
    with pytest.raises(UnsupportedFormat) as caught:
        newest(tmp_path / "a.frame")
    assert caught.value.message == f"a.frame is not read, because its header cannot be true: {sentence}."


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "a.frame is empty, and no frame file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(100), r"it begins with b'.x89PNG.r.n.x1a.n', and a frame file with b'TDFRAMES'"),
        (b"TDFRAMES" + bytes(55), "it ends after 63 bytes, and a header has 64"),
    ],
)
def test_foreign_files(tmp_path, data, match):
    """What is no frame file is refused with what it begins with."""
    (tmp_path / "a.frame").write_bytes(data)
    with pytest.raises(UnsupportedFormat, match=match):
        newest(tmp_path / "a.frame")


def test_a_limit(tmp_path):
    """A frame is a picture, so it has the limit of pictures."""
    path = written(tmp_path / "a.frame", np.zeros((1000, 1001, 1), np.uint8))
    with pytest.raises(LimitExceeded, match=r"a\.frame is larger than one picture may be: 1001x1000"):
        newest(path, FileLimits(megapixels=1))


def test_what_is_no_file(tmp_path):
    """A pipe, a folder and a link are refused as for other pictures."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(written(tmp_path / "a.frame", np.zeros((4, 5, 4), np.uint8)))
    for name, error in (("pipe", PathError), ("link", PathError), (".", ArgumentError), ("none", MissingFile)):
        with pytest.raises(error):
            newest(tmp_path / name)


def test_the_header_changes(tmp_path, impatient):
    """While the generation is odd nothing is read, whatever else the header says."""
    data = bytearray(frame_files.whole(np.zeros((4, 5, 4), np.uint8)))
    struct.pack_into("<Q", data, 16, 1)
    (tmp_path / "a.frame").write_bytes(data)
    with pytest.raises(MissingFile, match=r"The header of a\.frame is being changed"):
        newest(tmp_path / "a.frame")


def test_another_size(tmp_path):
    """The picture has another size from one frame to the next: the reader sees either, and never a mixture."""
    path = written(tmp_path / "a.frame", ramps(4, height=20, width=30))
    with FrameFile.open(path) as file:
        assert file.read().image.shape == (20, 30, 4)
        path.write_bytes(frame_files.whole(ramps(3, np.uint16, height=9, width=7), sequences=[4]))
        assert (file.read().image.shape, file.newest()) == ((9, 7, 3), 4)


class Clipper:
    """Cuts the file between two reads of its pixels."""

    def __init__(self, path, monkeypatch, after):
        self.reads = 0
        for name in ("read_into", "read_rows"):
            real = getattr(frames, name)

            def read(descriptor, buffer, offset, real=real):
                self.reads += 1
                if self.reads == after:
                    os.truncate(path, frame_files.OFFSET + 100)
                return real(descriptor, buffer, offset)

            monkeypatch.setattr(frames, name, read)


@pytest.mark.parametrize("after", [1, 2, 3, 5])
def test_a_file_that_shrinks(tmp_path, monkeypatch, after):
    """A file that is shortened under the reader ends in a sentence: there is no map whose pages could be gone."""
    path = written(tmp_path / "a.frame", ramps(4, height=5000))
    monkeypatch.setattr(frames, "BLOCK_BYTES", 2**16)
    Clipper(path, monkeypatch, after)
    with pytest.raises(UnsupportedFormat, match=r"1 slots end at byte \d+, and the file has 4196"):
        newest(path)


def test_a_slot_that_changes_is_read_again(tmp_path, monkeypatch):
    """A frame that is overwritten during the copy is not handed out; the next whole one is."""
    old, new = ramps(4, height=3000), ramps(4, height=3000)[:, ::-1]
    path = written(tmp_path / "a.frame", old)
    monkeypatch.setattr(frames, "BLOCK_BYTES", 2**16)
    real, reads = frames.read_rows, []

    def read_rows(descriptor, rows, offset):
        reads.append(offset)
        if len(reads) == 3:
            path.write_bytes(frame_files.whole(np.ascontiguousarray(new), sequences=[6]))
        return real(descriptor, rows, offset)

    monkeypatch.setattr(frames, "read_rows", read_rows)
    frame = newest(path)
    assert frame.sequence == 6
    np.testing.assert_array_equal(frame.image, ours(np.ascontiguousarray(new)))


def test_waiting(tmp_path):
    """A live reader gets a newer frame as soon as it is there, and nothing if none comes."""
    path = written(tmp_path / "a.frame", [plain(1), plain(1)], sequences=[2, 0])

    def later():
        time.sleep(0.05)
        with path.open("r+b") as file:  # a writer never cuts its file, not even for a moment
            file.write(frame_files.whole([plain(1), plain(2)], sequences=[2, 4]))

    with FrameFile.open(path) as file:
        assert file.wait(2, 0.01) is None
        writer = threading.Thread(target=later)
        writer.start()
        frame = file.wait(2, 10)
        writer.join()
        assert (frame.sequence, frame.image[0, 0, 0]) == (4, 2)
        assert file.wait(0, 1).sequence == 4


def test_waiting_for_another_file(tmp_path):
    """A writer that replaces its file is followed to the new one, although its numbers begin anew."""
    path = written(tmp_path / "a.frame", plain(1))
    with FrameFile.open(path) as file:
        assert file.read().sequence == 2
        written(tmp_path / "b.frame", plain(9)).rename(path)
        assert file.wait(2, 10).image[0, 0, 0] == 9


def plain(n):
    return frame_files.plain(n, 4, 5)


@pytest.fixture
def writer(tmp_path):
    """A process that writes frames without a pause."""
    started = []

    def start(half):
        path = tmp_path / "live.frame"
        started.append(subprocess.Popen([sys.executable, "-m", "tests.frame_files", str(path), half]))
        until = time.monotonic() + 30
        while not path.exists() or path.stat().st_size < frame_files.OFFSET + 3 * frame_files.plain(0).nbytes:
            assert time.monotonic() < until
            time.sleep(0.01)
        return path, started[0]

    yield start
    for process in started:
        process.kill()
        process.wait()


def check_whole(frame):
    assert (frame.image == frame.sequence // 2 % 251).all()


def test_a_writer_at_full_speed(writer):
    """However fast frames come, none is torn."""
    path, _ = writer("0")
    with FrameFile.open(path) as file:
        seen = set()
        for _ in range(200):
            frame = file.wait(0, 5)
            check_whole(frame)
            seen.add(frame.sequence)
    assert len(seen) > 1


def test_a_writer_that_is_stopped(writer, monkeypatch):
    """A writer that stands still in the middle of a frame: the newest is the one before it, and the half one is never read."""
    path, process = writer("1")
    os.waitpid(process.pid, os.WUNTRACED)
    monkeypatch.setattr(frames, "PATIENCE_S", 0.05)
    with FrameFile.open(path) as file:
        assert file.newest() == 18
        check_whole(file.read())
        with pytest.raises(MissingFile, match="is being written"):
            file.read((10 - 1) % 3)
        process.send_signal(signal.SIGCONT)
        check_whole(file.wait(18, 10))


@pytest.mark.parametrize("seed", range(60))
def test_mutated_headers(tmp_path, impatient, seed):
    """A header with wrong bytes gives one of the documented errors, or a picture that stands in the file."""
    chance = random.Random(seed)
    data = bytearray(frame_files.whole([ramps(4), ramps(4)]))
    for _ in range(chance.choice((1, 1, 2, 5))):
        data[chance.randrange(96)] = chance.choice((0, 1, 255, chance.randrange(256)))
    (tmp_path / "a.frame").write_bytes(data)
    try:
        frame = newest(tmp_path / "a.frame")
    except (MissingFile, LimitExceeded, UnsupportedFormat):
        return
    layout = Layout.of(bytes(data), len(data), "a.frame")
    assert frame.image.shape[:2] == (layout.height, layout.width)
    at, kind = layout.offset_of(frame.slot), {1: "u1", 2: "<u2", 4: "<f4"}[layout.type]
    pixels = np.frombuffer(bytes(data[at : at + layout.frame_bytes]), kind).reshape(layout.height, layout.width, -1)
    np.testing.assert_array_equal(frame.image, ours(pixels if layout.rows == 0 else pixels[::-1]))


def test_what_is_written_stays_as_it_is_described():
    """The patience is that of files that grow, as protocol.md says."""
    assert frames.PATIENCE_S == whole.PATIENCE_S == 2.0


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_picture_that_covers_all_loses_its_alpha_quickly(kind):
    """The short way of nearly all frames gives what the long one gives: one pixel that shines through makes the difference."""
    image = np.random.default_rng(1).integers(0, np.iinfo(kind).max, (20, 30, 4), kind)
    image[..., 3] = np.iinfo(kind).max
    np.testing.assert_array_equal(over_black(image), image[..., :3])
    through = image.copy()
    through[3, 4, 3] //= 2
    found = over_black(through)
    assert (found != image[..., :3]).any(axis=2).sum() == 1
    assert found[3, 4].tolist() == pytest.approx((image[3, 4, :3] / 2).tolist(), abs=1)
