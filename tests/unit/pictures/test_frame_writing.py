"""Pictures written as frames: whole, the newest, and by several children at once. Read by our reader and by the table of protocol.md."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import struct
from pathlib import Path

import numpy as np
import pytest

from tests import frame_files
from worker.errors import DiskFull, LimitExceeded, PathError, UnsupportedFormat
from worker.files.frames import FrameName
from worker.files.limits import FileLimits
from worker.pictures import frame_writing
from worker.pictures.frame_writing import write_frame
from worker.pictures.frames import read_frame
from worker.pictures.images import write_image


def picture(channels=3, kind=np.uint8, height=41, width=29):
    shape = (height, width) if channels == 1 else (height, width, channels)
    return np.random.default_rng(7).integers(0, np.iinfo(kind).max, shape, kind)


def again(written):
    name = FrameName.of(written.path)
    return read_frame(Path(name.path), name)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("height", [1, 41, 6000])
def test_what_is_written_is_read(tmp_path, kind, channels, height):
    """Every kind of picture, also of many blocks."""
    image = picture(channels, kind, height)
    written = write_image(tmp_path / "sub" / "a.frame", image)
    np.testing.assert_array_equal(again(written).image, image)
    assert (written.size_bytes, written.width, written.height) == (image.nbytes, 29, height)


def test_the_bottom_row_and_red_come_first(tmp_path):
    """As the table says, and as Script TOP wants it."""
    image = picture(4)
    name = FrameName.of(write_frame(tmp_path / "a.frame", image).path)
    data = (tmp_path / "a.frame").read_bytes()
    assert data[:64] == bytes(frame_files.header((41, 29, 4), slots=3, slot_bytes=8192))
    sequence, time_ns, lease, reserved = struct.unpack_from("<QQQQ", data, 64 + 32 * name.slot)
    assert (sequence, lease, reserved) == (2, 0, 0)
    assert abs(time_ns / 1e9 - (tmp_path / "a.frame").stat().st_mtime) < 60
    pixels = np.frombuffer(data, np.uint8, 41 * 29 * 4, frame_files.OFFSET + name.slot * 8192).reshape(41, 29, 4)
    np.testing.assert_array_equal(pixels, image[::-1, :, [2, 1, 0, 3]])


def test_slots_take_turns(tmp_path):
    """The newest one is never written over, and sequences rise."""
    names = [FrameName.of(write_frame(tmp_path / "a.frame", picture()).path) for _ in range(7)]
    assert [name.sequence for name in names] == [2, 4, 6, 8, 10, 12, 14]
    assert all(one.slot != other.slot for one, other in itertools.pairwise(names))


def test_another_size(tmp_path):
    """The file is changed in its place; old references are gone, and sequences go on."""
    first = write_frame(tmp_path / "a.frame", picture())
    inode = (tmp_path / "a.frame").stat().st_ino
    for channels, kind, height in ((3, np.uint16, 300), (1, np.uint8, 5), (4, np.uint8, 300)):
        image = picture(channels, kind, height)
        np.testing.assert_array_equal(again(write_frame(tmp_path / "a.frame", image)).image, image)
    assert (tmp_path / "a.frame").stat().st_ino == inode
    with pytest.raises(Exception, match="is gone"):
        again(first)


def test_what_a_killed_child_left(tmp_path):
    """A slot in the middle of a frame, and a header in the middle of a change, are used again."""
    path = tmp_path / "a.frame"
    write_frame(path, picture())
    with path.open("r+b") as file:
        for slot in range(3):
            file.seek(64 + 32 * slot)
            file.write(struct.pack("<Q", 7 + 2 * slot))
    assert again(write_frame(path, picture())).sequence == 14
    with path.open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("<QI", 5, 0))
    np.testing.assert_array_equal(again(write_frame(path, picture(1))).image, picture(1))


def _write_many(path, value):
    image = np.full((200, 300, 3), value, np.uint8)
    for _ in range(60):
        name = FrameName.of(write_frame(path, image).path)
        assert name.sequence % 2 == 0
    os._exit(0)


def test_several_children(tmp_path):
    """Each frame is of one child, and none gets the sequence of another; also if they all make the file."""
    path = tmp_path / "a.frame"
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=_write_many, args=(path, value)) for value in (10, 20, 30)]
    for child in children:
        child.start()
    seen = set()
    while any(child.is_alive() for child in children):
        if path.exists() and any(path.read_bytes()[64:160:32]):
            frame = read_frame(path, FrameName(""))
            assert frame.image.min() == frame.image.max()
            seen.add(frame.sequence)
    assert [child.exitcode for child in children] == [0, 0, 0]
    assert read_frame(path, FrameName("")).sequence == 2 * 3 * 60
    assert len(list(tmp_path.iterdir())) == 1


def _stop_in_the_middle(path):
    real = frame_writing._Writer._put

    def put(self, data, offset):
        real(self, data, offset)
        if offset >= frame_writing._OFFSET:
            os.kill(os.getpid(), signal.SIGSTOP)

    frame_writing._Writer._put = put
    write_frame(path, picture(height=6000))


def test_a_child_that_is_stopped(tmp_path, monkeypatch):
    """While it keeps the lock others say so; when it is killed they go on, and half a frame is never the newest."""
    path = tmp_path / "a.frame"
    image = picture(height=6000)
    write_frame(path, image)
    monkeypatch.setattr(frame_writing, "PATIENCE_S", 0.05)
    child = multiprocessing.get_context("fork").Process(target=_stop_in_the_middle, args=(path,))
    child.start()
    os.waitid(os.P_PID, child.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(PathError, match=r"a\.frame is written by another program, which keeps it for itself"):
        write_frame(path, image)
    assert read_frame(path, FrameName("")).sequence == 2
    child.kill()
    child.join()
    assert again(write_frame(path, image)).sequence == 6


@pytest.mark.parametrize("data", [b"", b"not a frame file"])
def test_what_is_no_frame_file_is_left_alone(tmp_path, data):
    """Nothing of it is overwritten."""
    (tmp_path / "a.frame").write_bytes(data)
    with pytest.raises(UnsupportedFormat, match=r"a\.frame is no frame file, so it is not written"):
        write_frame(tmp_path / "a.frame", picture())
    assert (tmp_path / "a.frame").read_bytes() == data


def test_refused(tmp_path, monkeypatch):
    """Read-only files, second names, links, and what is too large."""
    monkeypatch.setattr(frame_writing, "PATIENCE_S", 0.02)
    path = tmp_path / "a.frame"
    write_frame(path, picture())
    (tmp_path / "link.frame").symlink_to(path)
    with pytest.raises(PathError, match="link"):
        write_frame(tmp_path / "link.frame", picture())
    path.chmod(0o444)
    with pytest.raises(PathError, match=r"a\.frame is read-only, so it is not changed"):
        write_frame(path, picture())
    path.chmod(0o644)
    os.link(path, tmp_path / "b.frame")
    with pytest.raises(PathError, match="has a second name somewhere else"):
        write_frame(path, picture())
    with pytest.raises(LimitExceeded, match="larger than one picture may be"):
        write_frame(tmp_path / "c.frame", picture(height=1000, width=1001), FileLimits(megapixels=1))
    with pytest.raises(LimitExceeded, match="larger than one file may be"):
        write_frame(tmp_path / "c.frame", picture(height=1000, width=1001), FileLimits(file_mb=8))
    with pytest.raises(DiskFull, match="must stay free"):
        write_frame(tmp_path / "c.frame", picture(), FileLimits(min_free_mb=10**9))
    assert not (tmp_path / "c.frame").exists()
