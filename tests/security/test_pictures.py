"""Pictures made to take the machine's memory or time, broken pictures, and pictures that are still being written."""

from __future__ import annotations

import itertools
import os
import random
import threading
import time

import cv2
import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import frame_files
from tests.security import mutate
from tests.security.bombs import animated_gif, bombs, seeds
from tests.security.children import Child, failed
from worker.errors import LimitExceeded, UnsupportedFormat
from worker.files import whole
from worker.files.limits import DEFAULT_LIMITS, NO_LIMITS
from worker.files.whole import StillWritten, is_whole
from worker.pictures import headers, images
from worker.pictures.headers import read_header
from worker.pictures.images import read_image, write_image

CAP_MB = 1024
OLD = (1_000_000_000, 1_000_000_000)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("pictures").resolve()


@pytest.fixture(scope="module")
def child(root):
    child = Child(root, msgspec.structs.replace(DEFAULT_LIMITS, megapixels=200, child_mb=CAP_MB))
    assert failed(child.job("draw_circles", output="good.png", count=1)) == 200
    yield child
    child.close()


def put(root, name, data):
    (root / name).write_bytes(data)
    os.utime(root / name, OLD)


def lives_on(child, pid, root):
    """The same child runs the next job, and never took more than it may."""
    assert failed(child.job("find_circles", image="good.png")) == 200
    assert child.pid == pid
    assert child.peak_mb() < CAP_MB


@pytest.mark.parametrize("name", sorted(bombs()))
def test_bombs(child, root, name):
    """A small file that claims a large picture is refused in a moment, and costs no memory."""
    pid, data = child.pid, bombs()[name]
    assert len(data) < 100_000
    put(root, name, data)
    began = time.monotonic()
    outcome = child.job("find_circles", image=name)
    assert time.monotonic() - began < 2
    # Tiles and strips that are larger than the picture are no large picture, but no picture either.
    assert failed(outcome) == (415 if name in ("tiles.tif", "strip.tif") and outcome.code == 415 else 413), outcome
    if outcome.code == 413:
        assert "200" in outcome.message
        assert "--max-megapixels" in outcome.hint
    lives_on(child, pid, root)


def test_every_readable_format_has_a_bomb():
    """No format is forgotten."""
    known = {name[name.index(".") :] for name in bombs()}
    same = {".jpe": ".jpg", ".jpeg": ".jpg", ".dib": ".bmp", ".tiff": ".tif", ".sr": ".ras", ".pnm": ".ppm"}
    assert {same.get(ending, ending) for ending in images.readable_endings()} <= known


@pytest.mark.parametrize("name", sorted(bombs()))
def test_bombs_within_the_limits(root, name):
    """Where the limits are wide, the cap of the memory holds: the job fails with 413, or is no image; and alone."""
    child = Child(root, msgspec.structs.replace(NO_LIMITS, megapixels=10**6, child_mb=CAP_MB))
    try:
        assert failed(child.job("draw_circles", output="good.png", count=1)) == 200
        pid = child.pid
        put(root, name, bombs()[name])
        outcome = child.job("find_circles", image=name)
        assert failed(outcome) in (413, 415)
        if outcome.code == 413 and "--max-child-mb" in outcome.hint:
            assert str(CAP_MB) in outcome.message
        lives_on(child, pid, root)
    finally:
        child.close()


def test_a_job_over_its_memory(root):
    """An operation that needs more than a child may take fails with 413, names the limit and its option, and the child lives on."""
    child = Child(root, msgspec.structs.replace(DEFAULT_LIMITS, child_mb=600))
    try:
        assert failed(child.job("draw_circles", output="large.png", count=1, width=6000, height=6000)) == 200
        pid = child.pid
        os.utime(root / "large.png", OLD)
        outcome = child.job("find_features", image="large.png", method="sift")
        assert failed(outcome) == 413
        assert "600 MB" in outcome.message
        assert "--max-child-mb" in outcome.hint
        assert failed(child.job("draw_circles", output="good.png", count=1)) == 200
        assert child.pid == pid
    finally:
        child.close()


@pytest.mark.parametrize("name", seeds())
def test_header_of_every_format(name):
    """The size in the header is the size that comes out, for every format that OpenCV reads here."""
    data = seeds()[name]
    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    header = read_header(data)
    assert (header.height, header.width) == image.shape[:2]
    assert header.frames == (3 if name == "animation.gif" else 1)


@given(st.sampled_from(sorted(seeds())), st.data())
@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.too_slow])
def test_any_header(name, data):
    """Whatever stands in a file, its header is read without an error, and soon."""
    seed = seeds_once()[name]
    at = data.draw(st.integers(0, len(seed)))
    broken = seed[:at] + data.draw(st.binary(max_size=40)) + seed[at + data.draw(st.integers(0, 40)) :]
    header = read_header(broken)
    assert min(header.width, header.height) >= 0
    assert is_whole(broken) in (True, False)


@given(st.binary(max_size=200))
def test_any_bytes(data):
    """Any bytes at all."""
    read_header(data)
    is_whole(data)


_SEEDS = {}


def seeds_once():
    _SEEDS.update(_SEEDS or seeds())
    return _SEEDS


@pytest.mark.parametrize("name", seeds())
def test_truncated(child, root, name):
    """A file that ends too early is read as far as it goes, or refused; never more than that."""
    pid, data = child.pid, seeds()[name]
    for part in (0, 1, 2, 8, 12, 30, len(data) // 4, len(data) // 2, len(data) - 20, len(data) - 1):
        put(root, f"cut-{name}", data[:part])
        assert failed(child.job("convert", image=f"cut-{name}", output="out.png")) in (200, 413, 415)
    lives_on(child, pid, root)


def test_mutated(tmp_path):
    """Broken files of every format: the short run of `python -m tests.security.mutate`."""
    found = mutate.break_files(tmp_path.resolve(), 600, seed=1)
    assert found.wrong == []
    assert found.peak_mb < mutate.CAP_MB
    assert set(found.codes) <= {200, 413, 415}


def test_frames(tmp_path):
    """An animation of more pictures than the limit is refused with both numbers and the option."""
    put(tmp_path, "a.gif", animated_gif(30))
    assert read_header((tmp_path / "a.gif").read_bytes()).frames == 30
    with pytest.raises(LimitExceeded, match="has 30 pictures; an animation may have 20") as caught:
        read_image(tmp_path / "a.gif", limits=msgspec.structs.replace(DEFAULT_LIMITS, frames=20))
    assert "--max-frames" in caught.value.hint
    assert read_image(tmp_path / "a.gif").shape == (4, 4, 3)


def test_circular_chain():
    """A TIFF whose chain of pictures is a circle has an end all the same."""
    data = seeds()["grey.tif"]
    (at,) = headers.struct.unpack_from("<I", data, 4)
    (count,) = headers.struct.unpack_from("<H", data, at)
    circle = headers.struct.pack("<I", at)
    assert read_header(data[: at + 2 + 12 * count] + circle + data[at + 6 + 12 * count :]).frames == 1


def test_large_file(tmp_path):
    """A file over the limit is refused before it is read."""
    with (tmp_path / "a.png").open("wb") as file:
        file.truncate(3 * 2**20)
    with pytest.raises(LimitExceeded, match=r"a.png is larger than one file may be: 3 MB, and the limit is 2 MB") as caught:
        read_image(tmp_path / "a.png", limits=msgspec.structs.replace(DEFAULT_LIMITS, file_mb=2))
    assert "--max-file-mb" in caught.value.hint


class Writer(threading.Thread):
    """Another program that writes a file in pieces."""

    def __init__(self, path, data, pieces, pause_s):
        super().__init__()
        self.path, self.pieces, self.pause_s = (
            path,
            [data[at : at + len(data) // pieces + 1] for at in range(0, len(data), len(data) // pieces + 1)],
            pause_s,
        )
        self.path.write_bytes(b"")
        self.wanted = True

    def run(self):
        with self.path.open("ab", buffering=0) as file:
            for piece in self.pieces:
                file.write(piece)
                time.sleep(self.pause_s)
                if not self.wanted:
                    return


@pytest.mark.parametrize("ending", [".png", ".jpg", ".tif", ".bmp"])
def test_half_written(tmp_path, ending):
    """A file that grows is waited for, and read when it is whole."""
    image = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    whole = tmp_path / f"whole{ending}"
    write_image(whole, image)
    writer = Writer(tmp_path / f"a{ending}", whole.read_bytes(), 8, 0.1)
    writer.start()
    np.testing.assert_array_equal(read_image(tmp_path / f"a{ending}"), read_image(whole))
    writer.join()


def test_never_finished(tmp_path):
    """A file that goes on growing is refused after a while with a sentence, as something that may pass."""
    writer = Writer(tmp_path / "a.png", bytes(1000), 500, 0.05)
    writer.start()
    began = time.monotonic()
    with pytest.raises(StillWritten, match="still being written") as caught:
        read_image(tmp_path / "a.png")
    assert time.monotonic() - began < whole.PATIENCE_S + 1
    assert (caught.value.code, caught.value.transient) == (404, True)
    writer.wanted = False
    writer.join()


@pytest.mark.parametrize("ending", [".png", ".jpg", ".webp", ".bmp", ".jp2", ".gif", ".avif"])
def test_no_waiting_for_whole_files(tmp_path, monkeypatch, ending):
    """A file that has just been written whole, and one that is older than a second, are read at once."""
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("waited"))
    write_image(tmp_path / f"a{ending}", np.zeros((50, 50, 3), np.uint8))
    read_image(tmp_path / f"a{ending}")
    put(tmp_path, "old.tif", cv2.imencode(".tif", np.zeros((50, 50, 3), np.uint8))[1].tobytes())
    read_image(tmp_path / "old.tif")
    put(tmp_path, "broken.png", b"no image")
    with pytest.raises(UnsupportedFormat):
        read_image(tmp_path / "broken.png")


def test_output_over_the_limit(child, root):
    """What would be written counts as what is read: also where only one side is given."""
    write_image(root / "thin.png", np.zeros((1000, 2, 3), np.uint8))
    outcome = child.job("convert", image="thin.png", output="thick.png", width=16384)
    assert failed(outcome) == 413
    assert "16384x8192000" in outcome.message
    assert not (root / "thick.png").exists()
    assert failed(child.job("draw_circles", output="drawn.png", count=1, width=16384, height=16384)) == 413


def test_numbers_are_kept_in_view(tmp_path):
    """So many inputs, outputs, entries and rows: each sentence has the limit, what came, and the option."""
    from tests.security.desk import run_job
    from worker.files.paths import FileRules

    for n in range(5):
        write_image(tmp_path / f"{n}.png", np.zeros((40, 40), np.uint8))
    for n in itertools.count(5):
        (tmp_path / f"{n}.txt").touch()
        if n == 9:
            break
    cases = [
        ({"inputs": 4}, ("find_circles", {"image": "."}), "--max-inputs", ("5", "4")),
        ({"entries": 9}, ("find_circles", {"image": "*.png"}), "--max-entries", ("11", "9")),
        ({"outputs": 5}, ("find_circles", {"image": ".", "overlay": "o/{n}.png", "data": "a.csv"}), "--max-outputs", ("6", "5")),
        ({"outputs": 2}, ("draw_circles", {"output": "{n}.png", "count": 3}), "--max-outputs", ("3", "2")),
        ({"file_mb": 1}, ("write_text", {"output": "a.txt", "line": "x" * 100, "count": 20_000}), "--max-file-mb", ("1 MB",)),
        ({"rows": 3}, ("find_features", {"image": "noise.png", "method": "fast"}), "--max-rows", ("500", "3")),
    ]
    noise = tmp_path / "deep" / "noise.png"
    write_image(noise, np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8))
    for limits, (operation, values), option, numbers in cases:
        rules = FileRules((tmp_path.resolve(),), limits=msgspec.structs.replace(DEFAULT_LIMITS, **limits))
        if values.get("image") == "noise.png":
            values["image"] = "deep/noise.png"
        outcome = run_job(rules, operation, **values)
        assert failed(outcome) == 413, (operation, outcome)
        assert option in outcome.hint
        assert all(number in outcome.message for number in numbers), outcome.message
    assert not list(tmp_path.glob("**/*.part"))
    assert not (tmp_path / "a.txt").exists()


def test_mutated_frames(tmp_path):
    """Frame files with wrong numbers: the short run of `python -m tests.security.mutate --frames`. No picture is a wrong one."""
    found = mutate.break_frames(tmp_path.resolve(), 60, seed=3)
    assert found.wrong == []
    assert {200, 415} <= set(found.codes)


def test_a_frame_file_that_shrinks_and_grows(root, child):
    """Under the child's hands, again and again: each job has a picture that was there, or a sentence, and the child lives."""
    data = frame_files.whole([np.full((1000, 1500, 4), value, np.uint8) for value in (10, 20)])
    path, ends = root / "live.frame", threading.Event()
    path.write_bytes(data)

    def play():
        chance = random.Random(1)
        while not ends.is_set():
            os.truncate(path, chance.choice((0, 50, 5000, len(data) // 2, len(data) - 1)))
            with path.open("r+b") as file:
                file.write(data)

    player = threading.Thread(target=play)
    player.start()
    pid, codes = child.pid, set()
    try:
        for _ in range(60):
            code = failed(child.job("convert", image="frame:live.frame", output="live.png"))
            codes.add(code)
            if code == 200:
                assert set(np.unique(cv2.imread(str(root / "live.png"), cv2.IMREAD_UNCHANGED))) <= {0, 20}
    finally:
        ends.set()
        player.join()
    assert codes <= {200, 404, 415}
    assert child.pid == pid
    assert failed(child.job("convert", image="frame:live.frame", output="live.png")) == 200
