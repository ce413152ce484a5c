"""Jobs on videos: files named, counted, tabled; a film whole or not at all; each frame carries its number."""

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.videos import FRAMES, TIMES, number_of, numbered
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Plan, Result, Task
from worker.files.limits import FileLimits
from worker.files.paths import FileRules
from worker.pictures import video
from worker.pictures.images import read_image, write_image
from worker.tasks.run import run_task

DATA = Path(__file__).parents[2] / "data"
pytestmark = pytest.mark.skipif(
    not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG), reason="this build of OpenCV has no FFmpeg, which reads and writes videos"
)


@pytest.fixture
def folder(tmp_path):
    """A folder with both videos."""
    for name in ("numbered.mp4", "numbered.webm"):
        shutil.copy(DATA / name, tmp_path / name)
    return tmp_path.resolve()


def run(folder, operation, limits=None, skips=True, **pairs):
    """Runs a job to its end, and its progress."""
    files = FileRules((folder,), **({"limits": limits} if limits else {}))
    params, _ = CATALOG.parse_job(operation, pairs.items())
    steps = []
    outcome = run_task(Task(1, operation, params, skips=skips), files, steps.append)
    if isinstance(outcome, Plan):
        (part,) = outcome.parts
        result = run_task(Task(1, operation, params, Phase.PART, part=part, skips=skips), files, steps.append)
        if isinstance(result, Failure):
            return result, steps
        whole = outcome.base.joined(result)
        if outcome.finish:
            whole = whole.joined(run_task(Task(1, operation, params, Phase.FINISH, joined=whole), files, steps.append))
        assert steps[-1] <= part.steps
        return whole, steps
    return outcome, steps


def shown(folder, *names):
    return [number_of(read_image(folder / name)) for name in names]


def film(path):
    with video.opened(path) as found:
        return [number_of(decoded()) for _, _, decoded in found.frames()]


# ------------------------------------------------------------------------------------------------------------------ read


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm"])
def test_all_frames(folder, name):
    """Frame k of the result is number k; each row says which frame it is and when it is shown, the table also in which file it is."""
    result, steps = run(folder, "read_video", video=name, output="out/{name}-{n}.png", data="frames.csv")
    stem = name.partition(".")[0]
    assert shown(folder, *(f"out/{stem}-{n}.png" for n in range(FRAMES))) == list(range(FRAMES))
    assert [row[0] for row in result.rows] == list(range(FRAMES))
    assert [row[1] for row in result.rows] == pytest.approx(TIMES, abs=0.0011)
    with (folder / "frames.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(float(row["frame"]), row["image"]) for row in table] == [(n, f"{stem}-{n}.png") for n in range(FRAMES)]
    assert len(result.files) == FRAMES + 1
    assert steps == sorted(steps)


def test_a_range_and_every_nth(folder):
    """Of the frames in the range the first, and then each n-th; in frames and in seconds."""
    result, _ = run(folder, "read_video", video="numbered.mp4", output="a{n}.png", start=10, end=31, unit="frames", every=5)
    assert [row[0] for row in result.rows] == [10, 15, 20, 25, 30]
    assert shown(folder, *(f"a{n}.png" for n in range(5))) == [10, 15, 20, 25, 30]
    result, _ = run(folder, "read_video", video="numbered.mp4", output="b{n}.png", start=1.0, end=1.5)
    wanted = [frame for frame, seconds in enumerate(TIMES) if 1.0 <= seconds < 1.5]
    assert [row[0] for row in result.rows] == wanted
    assert shown(folder, *(f"b{n}.png" for n in range(len(wanted)))) == wanted


def test_the_width(folder):
    result, _ = run(folder, "read_video", video="numbered.mp4", output="{n}.jpg", end=3, unit="frames", width=192)
    assert {(file.width, file.height) for file in result.files} == {(192, 128)}
    assert shown(folder, "0.jpg", "1.jpg", "2.jpg") == [0, 1, 2]


@pytest.mark.parametrize(
    ("pairs", "code", "sentence"),
    [
        ({"output": "a.png"}, 400, "output names one file for many images; put {n} into it"),
        ({"output": "{n}.png", "start": 90}, 400, "no frame of numbered.mp4 lies in the range from 90 seconds on; it has 60 frames in 3.5"),
        ({"output": "{n}.png", "start": 5, "end": 4}, 400, "end must be larger than start"),
        ({"output": "{n}.txt"}, 415, "This worker writes no .txt images"),
        ({"output": "../{n}.png"}, 403, "outside the folders"),
        ({"output": "{n}.png", "video": "nothing.mp4"}, 404, "There is no file nothing.mp4"),
        ({"output": "{n}.png", "video": "."}, 400, "is a folder; the name of a file is needed"),
        ({"output": "{n}.png", "data": "a.txt"}, 415, "must end in .json or .csv"),
    ],
)
def test_what_is_refused(folder, pairs, code, sentence):
    """Before anything is written."""
    before = sorted(folder.iterdir())
    failure, _ = run(folder, "read_video", **{"video": "numbered.mp4", **pairs})
    assert isinstance(failure, Failure)
    assert (failure.code, sentence in failure.message) == (code, True), failure
    assert sorted(folder.iterdir()) == before


def test_limits_of_reading(folder):
    """How many files, how large a picture."""
    failure, _ = run(folder, "read_video", FileLimits(outputs=59), video="numbered.mp4", output="{n}.png")
    assert failure.message == "read_video would write 60 files; a job may write 59."
    failure, _ = run(folder, "read_video", FileLimits(megapixels=1), video="numbered.mp4", output="{n}.png", width=2000)
    assert "larger than one picture may be" in failure.message
    assert len(list(folder.iterdir())) == 2


# ------------------------------------------------------------------------------------------------------------------ make


def make_images(folder, count=12, size=(96, 64)):
    for number in range(count):
        write_image(folder / f"shot{number}.png", numbered(number, *size))


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".avi", ".mkv", ".webm"])
def test_images_to_a_video(folder, ending):
    """In natural order, each once."""
    make_images(folder)
    result, steps = run(folder, "make_video", image="shot*.png", output=f"film{ending}", fps=12)
    assert isinstance(result, Result), result
    assert film(folder / f"film{ending}") == list(range(12))
    path = folder / f"film{ending}"
    assert [(file.path, file.size_bytes) for file in result.files] == [(path.as_posix(), path.stat().st_size)]
    assert steps == list(range(1, 13))


def test_there_and_back(folder):
    """Frames out of a video, and again a video: the same frames in the same order."""
    run(folder, "read_video", video="numbered.mp4", output="out/{n}.png")
    run(folder, "make_video", image="out", output="again.avi")
    assert film(folder / "again.avi") == list(range(FRAMES))


def test_an_image_is_held(folder):
    make_images(folder, 3)
    run(folder, "make_video", image="shot*.png", output="film.avi", hold=4)
    assert film(folder / "film.avi") == [0] * 4 + [1] * 4 + [2] * 4


def test_odd_and_other_sizes(folder):
    """The first image gives the size, the next even one; the others are laid into it."""
    write_image(folder / "shot0.png", numbered(5, 97, 63))
    write_image(folder / "shot1.png", numbered(6, 48, 32))
    write_image(folder / "shot2.png", numbered(7, 192, 256)[..., 0])
    run(folder, "make_video", image="shot*.png", output="film.avi")
    with video.opened(folder / "film.avi") as found:
        frames = [decoded() for _, _, decoded in found.frames()]
    assert {frame.shape for frame in frames} == {(64, 98, 3)}
    assert [number_of(frames[0][:63, :97]), number_of(frames[1])] == [5, 6]
    assert number_of(frames[2][:, 25:73]) == 7
    assert frames[2][:, :22].max() < 20


def test_a_broken_image(folder):
    """It is left out and reported; with on_error=stop nothing is written."""
    make_images(folder)
    (folder / "shot5.png").write_bytes(b"nothing")
    stopped, _ = run(folder, "make_video", image="shot*.png", output="film.avi", skips=False)
    assert (stopped.code, (folder / "film.avi").exists()) == (415, False)
    result, _ = run(folder, "make_video", image="shot*.png", output="film.avi")
    assert [left.path for left in result.skipped] == [(folder / "shot5.png").as_posix()]
    assert film(folder / "film.avi") == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]


def test_nothing_to_show(folder):
    """If no image can be read, no film is there, and none is lost that was."""
    (folder / "shot0.png").write_bytes(b"nothing")
    before = (folder / "numbered.webm").read_bytes()
    failure, _ = run(folder, "make_video", image="shot*.png", output="numbered.webm")
    assert failure.code == 415
    assert (folder / "numbered.webm").read_bytes() == before


@pytest.mark.parametrize(
    ("pairs", "code", "sentence"),
    [
        ({"output": "film.png"}, 400, "output must end in .mp4, .mov, .avi, .mkv, .webm; got 'film.png'"),
        ({"output": "../film.mp4"}, 403, "outside the folders"),
        ({"output": "film.mp4", "codec": "ffv1"}, 400, "mp4 files hold mp4v, vp9, h264 or hevc; got codec=ffv1"),
        ({"output": "film.mp4", "image": "numbered.mp4"}, 415, "is a video, and this operation reads images"),
        ({"output": "film.mp4", "image": "nothing*.png"}, 404, "No image matches"),
        ({"output": "film.mp4", "width": 16384, "height": 16384}, 413, "larger than one picture may be"),
    ],
)
def test_films_that_are_refused(folder, pairs, code, sentence):
    make_images(folder, 2)
    failure, _ = run(folder, "make_video", FileLimits(megapixels=100), **{"image": "shot*.png", **pairs})
    assert isinstance(failure, Failure)
    assert (failure.code, sentence in failure.message) == (code, True), failure
    assert not (folder / "film.mp4").exists()


def test_no_other_job_writes_a_video(folder):
    """A text or a picture does not get the name of a video."""
    for operation, pairs in (("write_text", {"text": "x"}), ("convert", {"image": "shot0.png"})):
        make_images(folder, 1)
        failure, _ = run(folder, operation, output="numbered.mp4", **pairs)
        assert failure.code in (403, 415), failure
    assert film(folder / "numbered.mp4") == list(range(FRAMES))


# ---------------------------------------------------------------------------------------------------------------- motion


def film_of_a_walk(path, count=8, step=4):
    """A textured patch that moves to the right by so many pixels from frame to frame, on a still ground."""
    random = np.random.default_rng(5)
    ground = cv2.GaussianBlur(random.integers(60, 120, (96, 160, 3), dtype=np.uint8), (0, 0), 2)
    patch = cv2.GaussianBlur(random.integers(0, 255, (40, 40, 3), dtype=np.uint8), (0, 0), 1.5)
    with video.film(path, "ffv1", 10, (160, 96)) as (add, _):
        for number in range(count):
            frame = ground.copy()
            frame[28:68, 20 + step * number : 60 + step * number] = np.clip(patch.astype(int) + 60, 0, 255)
            add(frame)


def test_motion_in_a_video(folder):
    """Each frame is compared with the one before it; rows carry the number of the frame, the table also its time."""
    film_of_a_walk(folder / "walk.avi")
    result, steps = run(folder, "find_motion", image="walk.avi", data="motion.csv", overlay="seen/{n}.png")
    assert isinstance(result, Result), result
    assert result.fields[-1] == "image"
    dx = result.fields.index("dx")
    assert {row[-1]: row[dx] for row in result.rows} == pytest.approx(dict.fromkeys(range(1, 8), 4.0), abs=0.2)
    assert sorted(path.name for path in (folder / "seen").iterdir()) == [f"{n}.png" for n in range(8)]
    with (folder / "motion.csv").open() as file:
        table = list(csv.DictReader(file))
    assert [(float(row["frame"]), float(row["seconds"])) for row in table] == [(n, pytest.approx(n / 10)) for n in range(1, 8)]
    assert steps == list(range(1, 9))


def test_every_second_frame(folder):
    """With `every` a frame is compared with the one taken before it; the number stays that in the video."""
    film_of_a_walk(folder / "walk.avi")
    result, _ = run(folder, "find_motion", image="walk.avi", every=2, start=2, unit="frames")
    dx = result.fields.index("dx")
    assert {row[-1]: row[dx] for row in result.rows} == pytest.approx({4: 8.0, 6: 8.0}, abs=0.3)


def test_flow_against_one_picture(folder):
    """With `reference` each frame is compared with that picture, also the first."""
    film_of_a_walk(folder / "walk.avi")
    run(folder, "read_video", video="walk.avi", output="first{n}.png", end=1, unit="frames")
    result, _ = run(folder, "optical_flow", image="walk.avi", reference="first0.png", step=0, end=3, unit="frames")
    assert [row[-1] for row in result.rows] == [0, 1, 2]


@pytest.mark.parametrize(
    ("pairs", "code", "sentence"),
    [
        ({"overlay": "a.png"}, 400, "overlay names one file for many images; put {n} into it"),
        ({"start": 90}, 400, "find_motion: no frame of numbered.mp4 lies in the range from 90 seconds on; it has 60 frames in 3.5"),
        ({"start": 5, "end": 4}, 400, "end must be larger than start"),
        ({"image": "nothing.mp4"}, 404, "There is no file nothing.mp4"),
        ({"image": "small.png", "reference": "small.png", "every": 2}, 400, "every counts frames of a video; image names 'small.png'"),
        ({"reference": "small.png"}, 400, "find_motion compares pictures of the same size"),
        ({"data": "a.txt"}, 415, "must end in .json or .csv"),
    ],
)
def test_motion_that_is_refused(folder, pairs, code, sentence):
    write_image(folder / "small.png", numbered(1, 48, 32))
    failure, _ = run(folder, "find_motion", **{"image": "numbered.mp4", **pairs})
    assert isinstance(failure, Failure), failure
    assert (failure.code, sentence in failure.message) == (code, True), failure
