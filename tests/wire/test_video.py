"""Videos over real UDP, in a child that the kernel has closed in: FFmpeg opens files by their names, and starts threads of its own."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import cv2
import pytest

from tests.videos import FRAMES, number_of
from tests.wire.running import Peer, running
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.pictures import encoding, video
from worker.pictures.images import read_image
from worker.protocol.messages import Failed, Job, Progress, Ready
from worker.tasks.prepare import make_run_task

DATA = Path(__file__).parents[1] / "data"
pytestmark = pytest.mark.skipif(
    not cv2.videoio_registry.hasBackend(cv2.CAP_FFMPEG), reason="this build of OpenCV has no FFmpeg, which reads and writes videos"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("show").resolve()
    for name in ("numbered.mp4", "numbered.webm"):
        shutil.copy(DATA / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def peer(folder):
    peer = Peer()
    with running(PoolExecutor(1, functools.partial(make_run_task, FileRules((folder,)).pinned())), peer):
        yield peer
    peer.close()


def run(peer, job_id, operation, **pairs):
    peer.send(Job(job_id, operation, tuple(pairs.items())))
    return peer.until(lambda report: isinstance(report, Ready | Failed) and report.id == job_id)


@pytest.mark.parametrize("name", ["numbered.mp4", "numbered.webm"])
def test_frames_out(name, peer, folder):
    """All of them, by their numbers; there is progress on the way."""
    stem = name.replace(".", "-")
    peer.send(Job(stem, "read_video", (("video", name), ("output", f"{stem}/{{n}}.png"))))
    progress = peer.until(lambda report: isinstance(report, Progress | Ready | Failed) and report.id == stem)
    final = (
        progress if not isinstance(progress, Progress) else peer.until(lambda each: isinstance(each, Ready | Failed) and each.id == stem)
    )
    assert isinstance(progress, Progress)
    assert isinstance(final, Ready), final
    assert final.items == FRAMES
    assert [number_of(read_image(folder / stem / f"{n}.png")) for n in range(FRAMES)] == list(range(FRAMES))


@pytest.mark.parametrize(("ending", "codec"), [(".mp4", "auto"), (".avi", "auto"), (".webm", "auto"), (".webm", "vp9"), (".mkv", "ffv1")])
def test_a_film_of_them(ending, codec, peer, folder):
    """Each frame is there, and nothing beside the film is left."""
    run(peer, f"frames{ending}{codec}", "read_video", video="numbered.mp4", output=f"{ending[1:]}{codec}/{{n}}.png", every=4)
    final = run(peer, f"film{ending}{codec}", "make_video", image=f"{ending[1:]}{codec}", output=f"films/{codec}{ending}", codec=codec)
    assert isinstance(final, Ready), final
    with video.opened(folder / "films" / f"{codec}{ending}") as found:
        assert [number_of(decoded()) for _, _, decoded in found.frames()] == list(range(0, FRAMES, 4))
    assert not [path for path in (folder / "films").iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(not encoding.is_installed(), reason="install the extra [test]: PyAV")
@pytest.mark.parametrize(("ending", "codec"), [(".mp4", "h264"), (".mov", "prores")])
def test_a_film_by_pyav(ending, codec, peer, folder):
    """PyAV is loaded by a child that is closed in already."""
    test_a_film_of_them(ending, codec, peer, folder)


def test_a_cancelled_film_leaves_nothing_under_its_name(peer, folder):
    """Its child is ended in the middle; the name stays free, and the next job works."""
    assert isinstance(run(peer, "images", "read_video", video="numbered.mp4", output="slow/{n}.png"), Ready)
    final = run(peer, "slow", "make_video", image="slow", output="films/slow.webm", codec="vp9", hold=1000, timeout_ms=1500)
    assert isinstance(final, Failed)
    assert final.code == 408
    assert not (folder / "films" / "slow.webm").exists()
    assert isinstance(run(peer, "next", "make_video", image="slow", output="films/next.avi"), Ready)
