"""Frames between TouchDesigner and the worker: `td/frames.py` by itself, and what `Submit(top=...)` makes of it, with a real worker."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys
import types
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from tests import frame_files
from tests.td.conftest import TD, load
from tests.td.fake import BUILD_YEARS, TouchDesigner
from worker.errors import Expired
from worker.files import frames as layout
from worker.files.frames import FrameName
from worker.pictures.frames import FrameFile, read_frame

frames = load("frames")
YEARS = pytest.mark.parametrize("year", BUILD_YEARS)


def picture(value, shape=(9, 7, 4), kind=np.uint8):
    return np.full(shape, value, kind)


def read(path, slot=None, sequence=None):
    return read_frame(path, FrameName("", slot, sequence))


# ------------------------------------------------------------------------------------------------------------ the writer


def test_both_sides_have_the_same_layout():
    """The copy in td/ says what worker/files/frames.py says."""
    assert (frames.MAGIC, frames.VERSION, frames.PREFIX, frames.MAX_SLOTS) == (
        layout.MAGIC,
        layout.VERSION,
        layout.PREFIX,
        layout.MAX_SLOTS,
    )
    assert (frames.HEADER.format, frames.SLOT.format) == (layout.HEADER.format, layout.SLOT.format)
    assert frames.TYPES == {"uint8": layout.UINT8, "uint16": layout.UINT16, "float32": layout.FLOAT32}


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_what_is_written_is_read(tmp_path, kind, channels):
    """Every type and number of channels, as `tests.frame_files` would write it."""
    pixels = np.random.default_rng(1).integers(0, 255, (31, 17, channels)).astype(kind) / (kind(255) if kind == np.float32 else 1)
    pixels = pixels.astype(kind)
    writer = frames.Writer(str(tmp_path / "sub" / "a.frame"))
    slot, sequence = writer.write(pixels)
    (tmp_path / "b.frame").write_bytes(frame_files.whole(pixels))
    frame = read(tmp_path / "sub" / "a.frame", slot, sequence)
    np.testing.assert_array_equal(frame.image, read(tmp_path / "b.frame").image)
    assert abs(frame.time_ns / 1e9 - os.stat(writer.path).st_mtime) < 60
    writer.close()


def test_an_array_with_gaps(tmp_path):
    """A view is written as what it shows."""
    pixels = np.random.default_rng(1).integers(0, 255, (30, 20, 4), np.uint8)[::-2, ::2]
    writer = frames.Writer(str(tmp_path / "a.frame"))
    writer.write(pixels)
    np.testing.assert_array_equal(read(tmp_path / "a.frame").image, pixels[::-1, :, [2, 1, 0, 3]])
    writer.write(pixels[..., 0])
    np.testing.assert_array_equal(read(tmp_path / "a.frame").image, pixels[::-1, :, 0])
    writer.close()


def test_slots_take_turns(tmp_path):
    """A frame with a lease stays for as long as others are free; the newest always stays."""
    writer = frames.Writer(str(tmp_path / "a.frame"), slots=3)
    first = writer.write(picture(1), lease_s=60)
    for value in range(2, 10):
        slot, sequence = writer.write(picture(value))
        assert slot != first[0]
        assert read(tmp_path / "a.frame").sequence == sequence
    assert (read(tmp_path / "a.frame", *first).image == 1).all()
    assert not writer.is_full()
    writer.give_back(*first)
    assert writer.write(picture(20))[0] == first[0]
    writer.give_back(*first)  # again, and too late
    writer.close()


def test_no_slot_is_free(tmp_path):
    """The newest picture wins: the oldest goes, and who asks for it hears that it is gone."""
    writer = frames.Writer(str(tmp_path / "a.frame"), slots=3)
    written = [writer.write(picture(value), lease_s=60) for value in (1, 2)]
    assert not writer.is_full()
    written.append(writer.write(picture(3), lease_s=60))
    assert writer.is_full()
    assert writer.write(picture(4), lease_s=60)[0] == written[0][0]
    with pytest.raises(Expired, match=r"a\.frame#\d@2 is gone"):
        read(tmp_path / "a.frame", *written[0])
    assert (read(tmp_path / "a.frame", *written[1]).image == 2).all()
    writer.close()


def test_a_lease_that_is_over(tmp_path, monkeypatch):
    """A slot that nobody gives back is free after its lease."""
    now = [1_000_000_000]
    monkeypatch.setattr(frames, "time", types.SimpleNamespace(time_ns=lambda: now[0]))
    writer = frames.Writer(str(tmp_path / "a.frame"), slots=2)
    writer.write(picture(1), lease_s=2)
    writer.write(picture(2), lease_s=2)
    assert writer.is_full()
    now[0] += 2_000_000_001
    assert not writer.is_full()
    writer.close()


def test_another_size_and_type(tmp_path):
    """The file is changed in its place, and grows if it must; sequences go on, so no old reference is true again."""
    path = tmp_path / "a.frame"
    writer = frames.Writer(str(path))
    old = writer.write(picture(1, (4, 5, 4)))
    with FrameFile.open(path) as file:
        assert file.read().image.shape == (4, 5, 4)
        for shape, kind in (((400, 500, 4), np.uint8), ((4, 5, 3), np.float32), ((4, 5, 1), np.uint16)):
            _, sequence = writer.write(picture(1, shape, kind))
            assert sequence > old[1]
            frame = file.read()
            assert frame.image.shape[:2] == shape[:2]
            assert frame.sequence == sequence == file.newest()
        with pytest.raises(Expired, match=r"a\.frame#\d@2 is gone"):
            file.read(*old)
    writer.close()


def test_a_file_is_taken_up_again(tmp_path):
    """A component that is made anew goes on counting; a file that its writer left in the middle of a change is made right."""
    path = tmp_path / "a.frame"
    writer = frames.Writer(str(path))
    last = [writer.write(picture(value)) for value in (1, 2)][-1][1]
    writer.close()
    with path.open("r+b") as file:
        file.seek(16)
        file.write(struct.pack("<Q", 7))
    writer = frames.Writer(str(path))
    assert writer.write(picture(3))[1] > last
    assert (read(path).image == 3).all()
    writer.close()


def test_one_writer_a_file(tmp_path):
    """Two writers would tear each other's frames."""
    writer = frames.Writer(str(tmp_path / "a.frame"))
    with pytest.raises(frames.Taken, match="is written by another program"):
        frames.Writer(str(tmp_path / "a.frame"))
    writer.close()
    frames.Writer(str(tmp_path / "a.frame")).close(remove=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_somebody_has_shortened(tmp_path):
    """The writer lives, and the file is made right: its map is not touched before its size was looked at."""
    path = tmp_path / "a.frame"
    writer = frames.Writer(str(path))
    writer.write(picture(1))
    os.truncate(path, 100)
    _, sequence = writer.write(picture(2))
    frame = read(path)
    assert (frame.sequence, frame.image[0, 0, 0]) == (sequence, 2)
    os.truncate(path, 0)
    writer.write(picture(3))
    assert (read(path).image == 3).all()
    writer.close()


def test_a_full_disk(tmp_path, monkeypatch):
    """An error when the room is taken, and not the end of the program when it is used."""
    writer = frames.Writer(str(tmp_path / "a.frame"))
    monkeypatch.setattr(frames.os, "posix_fallocate", Mock(side_effect=OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space left"):
        writer.write(picture(1))
    monkeypatch.undo()
    writer.write(picture(2))
    assert (read(tmp_path / "a.frame").image == 2).all()
    writer.close()


def test_a_full_disk_on_a_mac(tmp_path, monkeypatch):
    """There is no posix_fallocate: the free room is asked for, and nothing is extended if it is too little."""
    monkeypatch.delattr(frames.os, "posix_fallocate")
    writer = frames.Writer(str(tmp_path / "a.frame"))
    writer.write(picture(1))
    assert (read(tmp_path / "a.frame").image == 1).all()
    monkeypatch.setattr(frames.os, "fstatvfs", lambda _: types.SimpleNamespace(f_bavail=1, f_frsize=4096))
    with pytest.raises(OSError, match="No space left"):
        writer.write(picture(1, (90, 70, 4)))
    writer.close()


def test_what_is_no_frame_file_is_left_alone(tmp_path):
    """Nothing of it is overwritten."""
    (tmp_path / "a.frame").write_bytes(b"something else")
    with pytest.raises(ValueError, match="is no frame file, so it is not written"):
        frames.Writer(str(tmp_path / "a.frame"))
    assert (tmp_path / "a.frame").read_bytes() == b"something else"


@pytest.mark.parametrize("pixels", [None, b"abc", np.zeros((4, 5, 5), np.uint8), np.zeros((4, 5, 4)), np.zeros((0, 5, 4), np.uint8)])
def test_what_is_no_picture(tmp_path, pixels):
    """It is said what a frame is and what came."""
    writer = frames.Writer(str(tmp_path / "a.frame"))
    with pytest.raises(ValueError, match=r"A frame is an array \(height, width, 1 to 4\) of uint8, uint16 or float32; this is \w+ "):
        writer.write(pixels)
    writer.close()


def test_it_works_alone(tmp_path):
    """Copied out of the repository, in a Python that has no NumPy either, as far as writing goes."""
    (tmp_path / "frames.py").write_text((TD / "frames.py").read_text())
    script = (
        "import sys; sys.modules['numpy'] = None; import frames, array, types;"
        "data = memoryview(array.array('B', bytes(range(60)))).cast('B', (3, 5, 4));"
        "flags = types.SimpleNamespace(c_contiguous=False);"
        "pixels = types.SimpleNamespace(dtype='uint8', shape=(3, 5, 4), flags=flags, tobytes=lambda: data);"
        "frames.Writer('a.frame').write(pixels)"
    )
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=True, timeout=60)
    assert (read(tmp_path / "a.frame").image[2, 0] == (2, 1, 0, 3)).all()


# ------------------------------------------------------------------------------------------------------------ the reader


def test_the_reader_gives_each_frame_once(tmp_path):
    """None if there is no file, no frame, or no newer one; a file that was replaced is noticed."""
    path = tmp_path / "a.frame"
    reader = frames.Reader(str(path))
    assert reader.newest() is None
    writer = frames.Writer(str(path))
    writer.write(picture(1))
    assert (reader.newest() == picture(1)).all()
    assert reader.newest() is None
    writer.write(picture(2, (3, 4, 3), np.float32))
    pixels = reader.newest()
    assert (pixels.shape, pixels.dtype, pixels.max()) == ((3, 4, 3), np.float32, 2)
    writer.close()
    (tmp_path / "b.frame").write_bytes(frame_files.whole(picture(9)))
    (tmp_path / "b.frame").rename(path)
    assert reader.newest() is None
    assert (reader.newest() == picture(9)).all()
    reader.close()


def test_the_reader_never_gives_a_torn_frame(tmp_path, monkeypatch):
    """Half a frame, one that changes during the copy, and a header that changes: nothing, and no waiting."""
    path = tmp_path / "a.frame"
    path.write_bytes(frame_files.whole(picture(1), sequences=[3]))
    reader = frames.Reader(str(path))
    assert reader.newest() is None
    path.write_bytes(frame_files.whole(picture(1), sequences=[4]))
    real = frames._File.read

    def read_and_change(file, buffer, offset):
        count = real(file, buffer, offset)
        if offset:
            path.write_bytes(frame_files.whole(picture(2), sequences=[6]))
        return count

    with monkeypatch.context() as patch:
        patch.setattr(frames._File, "read", read_and_change)
        assert reader.newest() is None
    assert (reader.newest() == 2).all()
    reader.close()


@pytest.mark.parametrize("data", [b"no frame", b"TDFRAMES" + bytes(100), frame_files.whole(picture(1))[:-1]])
def test_the_reader_refuses_what_lies(tmp_path, data):
    (tmp_path / "a.frame").write_bytes(data)
    with pytest.raises(ValueError, match=r"it is no frame file|its header cannot be true"):
        frames.Reader(str(tmp_path / "a.frame")).newest()


@pytest.mark.parametrize("reference", ["frame:C:/a#b/out.frame#1@14", "frame:C:/a#b/out.frame#1", "frame:C:/a#b/out.frame"])
def test_the_file_of_a_reference(reference):
    assert frames.path_of(reference) == FrameName.of(reference).path == "C:/a#b/out.frame"
    assert frames.path_of("C:/a.png") == "C:/a.png"


# ------------------------------------------------------------------------------------------------------------------ TOPs


@pytest.fixture
def td(tmp_path):
    return TouchDesigner(2025, tmp_path)


def shown(td, name="null1", value=1):
    top = td.root.op(name) or td.root.create("nullTOP", name)
    top.image = picture(value, (6, 5, 3))
    top.dtype = "uint8"
    return top


def value_of(reference):
    name = FrameName.of(reference)
    return int(read(Path(name.path), name.slot, name.sequence).image[0, 0, 0])


def test_a_job_gets_the_picture_of_its_moment(td, tmp_path):
    """The call of the next frame brings it, whatever the TOP shows by then, and however old the picture is that the first call returns."""
    sources = frames.Sources(lambda: str(tmp_path), "9461")
    shown(td, value=1).numpyArray(delayed=True)  # somebody else asks for it
    td.frames(50)
    assert sources.ask(shown(td, value=2), "a", td.absTime.frame) == []
    assert sources.ask(shown(td, value=2), "b", td.absTime.frame) == []
    assert sources.collect(td.absTime.frame) == []
    td.frame()
    ready = sources.ask(shown(td, value=3), "c", td.absTime.frame)
    assert [job for job, _ in ready] == ["a", "b"]
    assert len({reference for _, reference in ready}) == 1
    assert value_of(ready[0][1]) == 2
    td.frame()
    ((job, reference),) = sources.collect(td.absTime.frame)
    assert (job, value_of(reference)) == ("c", 3)
    assert not sources.waits()
    assert re.fullmatch(r"frame:.*/9461-null1\.frame#\d@\d+", reference)
    sources.close()
    assert list(tmp_path.iterdir()) == []


def test_a_slow_graphics_card(td, tmp_path):
    """Pixels that are not there yet are asked for again; a TOP that never gives any ends the job with a sentence."""
    sources = frames.Sources(lambda: str(tmp_path), "9461")
    top = shown(td)
    top.slow_frames = 10**9
    sources.ask(top, "a", td.absTime.frame)
    for _ in range(frames.GIVE_UP_FRAMES + 1):
        assert sources.waits()
        td.frame()
        assert sources.collect(td.absTime.frame) == []
    assert sources.failed == [(["a"], "/null1: it gives no pixels; does it cook?")]
    assert not sources.waits()


def test_slots_are_given_back_with_the_last_job(td, tmp_path):
    """Two jobs of one moment share a slot."""
    sources = frames.Sources(lambda: str(tmp_path), "9461")
    sources.ask(shown(td), "a", td.absTime.frame)
    sources.ask(shown(td), "b", td.absTime.frame)
    td.frame()
    (_, reference), _ = sources.collect(td.absTime.frame)
    name = FrameName.of(reference)

    def lease():
        data = (tmp_path / "9461-null1.frame").read_bytes()
        return layout.slots_of(data, 4)[name.slot].lease_ns

    sources.ended("a")
    assert lease() > 0
    sources.ended("b")
    assert lease() == 0
    sources.ended("b")
    sources.close()


def test_more_jobs_than_slots(td, tmp_path):
    """That is said once, until it is over."""
    sources = frames.Sources(lambda: str(tmp_path), "9461")
    said = []
    for number in range(8):
        sources.ask(shown(td, value=number), f"j{number}", td.absTime.frame)
        said += sources.complaints()
        td.frame()
    sources.collect(td.absTime.frame)
    assert said == ["/null1: jobs come faster than the worker does them. Newer pictures replace those that still wait."]
    for number in range(8):
        sources.ended(f"j{number}")
    assert sources.complaints() == []
    sources.close()


def test_another_root(td, tmp_path):
    """If Root changes, the file goes with it, and what was held of the old one is forgotten."""
    folder = [str(tmp_path / "a")]
    sources = frames.Sources(lambda: folder[0], "9461")
    for name in ("a", "b"):
        folder[0] = str(tmp_path / name)
        sources.ask(shown(td), name, td.absTime.frame)
        td.frame()
        ((_, reference),) = sources.collect(td.absTime.frame)
        assert reference.startswith(f"frame:{tmp_path}/{name}/9461-null1.frame#")
        sources.ended("a")
    assert list((tmp_path / "a").iterdir()) == []
    assert value_of(reference) == 1
    sources.close()


def test_two_components_on_one_computer(td, tmp_path):
    """If a file is taken, the next name is."""
    first, second = (frames.Sources(lambda: str(tmp_path), "9461") for _ in range(2))
    for sources in (first, second):
        sources.ask(shown(td), "a", td.absTime.frame)
        td.frame()
        sources.collect(td.absTime.frame)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["9461-null1-2.frame", "9461-null1.frame"]


# --------------------------------------------------------------------------------------------------------- with a worker


def with_top(projects, worker, year, dtype="float32", root=None):
    """A project with a TOP that shows a disc; without a worker it needs a root."""
    project = projects(year, worker.start() if worker else None)
    project.component.par.Root = str(root or worker.root)
    top = project.network.create("nullTOP", "null1")
    top.dtype = dtype
    top.image = np.zeros((400, 600, 3), np.uint8)
    cv2.circle(top.image, (150, 100), 50, (255, 255, 255), -1, cv2.LINE_AA)
    return project, top


@pytest.mark.parametrize(("year", "dtype"), [(2022, "float32"), (2025, "uint8")])
def test_circles_of_a_top(projects, worker, year, dtype):
    """`Submit(top=...)` finds what the TOP showed, the right way up, and gives its slot back."""
    project, top = with_top(projects, worker, year, dtype)
    job = project.component.Submit("find_circles", top=top)
    assert project.component.Status(job) == "Sending"
    project.td.until(lambda: project.component.Status(job) == "Ready")
    (found,) = project.component.Results(job)
    assert (found["x"], found["y"], found["radius"]) == pytest.approx((150, 100, 50), abs=1.5)
    (path,) = (worker.root / "td-image-worker-frames").iterdir()
    assert [slot.lease_ns for slot in layout.slots_of(path.read_bytes(), 4)] == [0] * 4
    project.td.exit()
    assert list((worker.root / "td-image-worker-frames").iterdir()) == []


def test_a_job_in_each_frame(projects, worker):
    """A live picture: every job ends, and those that end well have seen the picture of their moment."""
    project, top = with_top(projects, worker, 2025, "uint8")
    project.td.frames(60)
    jobs = {}
    for n in range(30):
        top.image = np.zeros((200, 600, 3), np.uint8)
        cv2.circle(top.image, (60 + 15 * n, 100), 30, (255, 255, 255), -1, cv2.LINE_AA)
        jobs[project.component.Submit("find_circles", top=top, replace="live", priority=0)] = 60 + 15 * n
        project.td.frame()
    project.td.until(lambda: all(project.component.Status(job) in ("Ready", "Failed") for job in jobs))
    ready = [job for job in jobs if project.component.Status(job) == "Ready"]
    assert next(reversed(jobs)) in ready  # the newest wins
    pending = project.component.ext.ImageWorkerExt._pending
    assert {pending.jobs[job].code for job in jobs if job not in ready} <= {410}
    assert project.component.par.Message.eval() == ""
    for job in ready:
        (found,) = project.component.Results(job)
        assert found["x"] == pytest.approx(jobs[job], abs=1.5)


def test_frames_from_top(projects, worker):
    """The example: circles follow the picture as channels; run again, it ends."""
    project, top = with_top(projects, worker, 2025)
    dat = project.run_script(TD / "examples" / "frames_from_top.py")
    circles = project.network.op("circles")
    for x in (150, 300):
        top.image = np.zeros((400, 600, 3), np.uint8)
        cv2.circle(top.image, (x, 100), 50, (255, 255, 255), -1, cv2.LINE_AA)
        project.td.until(lambda x=x: circles.current().get("x") == pytest.approx([x], abs=1.5))
    dat.run()
    project.td.until(lambda: all(word in ("Ready", "Failed") for word in project.words().values()))
    sent = len(project.words())
    project.td.frames(20)
    assert len(project.words()) == sent


def test_an_overlay_comes_back_into_a_top(projects, worker):
    """The Script TOP shows what a job wrote as a frame, the bottom row first and red first."""
    project, top = with_top(projects, worker, 2025, "uint8")
    frame, outside = project.component.op("frame"), project.component.op("out2")
    for x in (150, 300):
        top.image = np.zeros((400, 600, 3), np.uint8)
        cv2.circle(top.image, (x, 100), 50, (255, 255, 255), -1, cv2.LINE_AA)
        cooks = frame.cooks
        job = project.component.Submit("find_circles", top=top, overlay="frame:frames/out.frame")
        project.td.until(lambda cooks=cooks: frame.cooks > cooks)
        assert project.component.Files(job)[0].startswith("frame:")
        shown = outside.shown
        assert shown.shape == (400, 600, 3)
        assert (shown[399 - 100, x + 20] > 200).all()
        assert list(shown[399 - 100, x] > 200) == [True, False, False]  # the mark in the middle is red
        assert (shown[100, x] == 0).all()
    project.td.frames(5)
    assert frame.cooks == 2  # nothing cooks for nothing


def test_a_frame_file_of_another_program(projects, tmp_path):
    """Frame File is looked at in every frame; half frames and what lies are never shown."""
    project = projects(2025)
    component, frame = project.component, project.component.op("frame")
    component.par.Root = str(tmp_path)
    component.par.Framefile = "cam.frame"
    project.td.frames(3)
    path = tmp_path / "cam.frame"
    writer = frames.Writer(str(path))
    for value in (1, 2):
        writer.write(picture(value))
        project.td.frames(2)
        assert (frame.shown == value).all()
    writer.close()
    path.write_bytes(frame_files.whole(picture(3), sequences=[99]))
    project.td.frames(2)
    assert (frame.shown == 2).all()
    assert component.par.Message.eval() == ""
    path.write_bytes(b"no frame file")
    project.td.until(lambda: "it is no frame file" in component.par.Message.eval())
    lines = project.table("log").numRows
    project.td.frames(20)
    assert (frame.shown == 2).all()
    assert project.table("log").numRows == lines  # it is said once
    component.par.Framefile = ""
    project.td.frames(2)
    assert "look_at_frame" not in component.ext.ImageWorkerExt._asked_at  # nothing runs for nothing


def test_what_top_cannot_be(projects, tmp_path):
    project, top = with_top(projects, None, 2025, root=tmp_path)
    for params, match in (
        ({"top": "null1"}, "top must be a TOP"),
        ({"top": top, "image": "a.png"}, "top and image are both given"),
    ):
        with pytest.raises(ValueError, match=match):
            project.component.Submit("find_circles", **params)
    project.component.par.Host = "10.0.0.7"
    with pytest.raises(ValueError, match="Host is another computer"):
        project.component.Submit("find_circles", top=top)
    assert project.words() == {}


def test_a_folder_that_cannot_be_written(projects, tmp_path):
    """The job fails with the reason, and nothing else does."""
    project, top = with_top(projects, None, 2025, root=tmp_path)
    (tmp_path / "td-image-worker-frames").write_text("in the way")
    job = project.component.Submit("find_circles", top=top)
    project.td.until(lambda: project.component.Status(job) == "Failed")
    project.td.until(lambda: "null1: " in project.component.par.Message.eval())
