"""Batches that go on, over real UDP: what is left out is reported with its reason, and the final says how many."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest

from tests.inline import InlineExecutor
from tests.wire.running import Peer, running
from worker.files.paths import FileRules
from worker.protocol.messages import Failed, File, Job, Query, Ready, Skipped
from worker.tasks.run import run_task

WHY = {
    "b.png": (415, "b.png is empty."),
    "c.jpg": (415, "c.jpg is cut: this JPEG file ends too early."),
    "d.png": (413, "d.png is larger than one picture may be"),
    "e.gif": (415, "e.gif"),
}


@pytest.fixture
def folder(tmp_path):
    """Three pictures that can be read, and four that cannot, each for another reason."""
    shots = tmp_path.resolve() / "shots"
    shots.mkdir()
    picture = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    for name in ("a.png", "f.png", "g.jpg"):
        cv2.imwrite(str(shots / name), picture)
    (shots / "b.png").touch()
    data = cv2.imencode(".jpg", picture)[1].tobytes()
    (shots / "c.jpg").write_bytes(data[: len(data) // 2])
    png = (shots / "a.png").read_bytes()
    (shots / "d.png").write_bytes(png[:16] + (60_000).to_bytes(4, "big") * 2 + png[24:])
    (shots / "e.gif").write_bytes(b"no picture at all")
    return tmp_path.resolve()


@pytest.fixture
def peer(folder):
    peer, files = Peer(), FileRules((folder,))
    with running(InlineExecutor(lambda task, progress: run_task(task, files, progress)), peer):
        yield peer
    peer.close()


def until_final(peer, job):
    """All that is said of a job. Other jobs' finals come again, because nobody acknowledges them."""
    found = []
    for report in peer.reports():
        if getattr(report, "id", "") == job:
            found.append(report)
            if isinstance(report, (Ready, Failed)):
                return found
    return found


@pytest.mark.parametrize("source", ["shots", "shots/*"])
def test_what_cannot_be_read(peer, folder, source):
    """Each broken picture is reported once, in order, with its code and its sentence; the others are done, and the final counts both."""
    peer.send(Job("a", "convert", (("image", source), ("output", "out/{name}.png"), ("width", 20))))
    reports = until_final(peer, "a")
    skipped = [report for report in reports if isinstance(report, Skipped)]
    assert [report.path.rpartition("/")[2] for report in skipped] == list(WHY)
    for report in skipped:
        code, words = WHY[report.path.rpartition("/")[2]]
        assert report.code == code
        assert report.message.startswith(words)
    assert (reports[-1].items, reports[-1].skipped) == (3, 4)
    assert sorted(path.name for path in (folder / "out").iterdir()) == ["a.png", "f.png", "g.png"]
    assert len([report for report in reports if isinstance(report, File)]) == 3
    assert reports.index(skipped[-1]) < len(reports) - 1


def test_asked_again(peer):
    """A query repeats what was skipped."""
    peer.send(Job("a", "convert", (("image", "shots"), ("output", "out/{name}.png"))))
    first = [report for report in until_final(peer, "a") if isinstance(report, Skipped)]
    peer.send(Query("a"))
    assert [report for report in until_final(peer, "a") if isinstance(report, Skipped)] == first


def test_one_result_of_many(peer):
    """An operation that sees all pictures at once leaves out those that cannot be read, too."""
    peer.send(Job("a", "pick_best", (("image", "shots"),)))
    reports = until_final(peer, "a")
    assert [report.code for report in reports if isinstance(report, Skipped)] == [code for code, _ in WHY.values()]
    assert (reports[-1].items, reports[-1].skipped) == (3, 4)


def test_stop(peer, folder):
    """With `on_error stop` the first broken picture ends the job with its sentence, and nothing is skipped."""
    peer.send(Job("a", "convert", (("image", "shots"), ("output", "out/{name}.png"), ("on_error", "stop"))))
    reports = until_final(peer, "a")
    assert not [report for report in reports if isinstance(report, Skipped)]
    assert isinstance(reports[-1], Failed)
    assert (reports[-1].code, reports[-1].message) == (415, "b.png is empty.")


def test_none_can_be_read(peer, folder):
    """If no picture can be read, the job fails with the code and the sentence of the first one."""
    (folder / "broken").mkdir()
    for name in WHY:
        shutil.copy(folder / "shots" / name, folder / "broken")
    peer.send(Job("a", "convert", (("image", "broken"), ("output", "out/{name}.png"))))
    final = until_final(peer, "a")[-1]
    assert isinstance(final, Failed)
    assert (final.code, final.message) == (415, "Each of the 4 files was skipped. The first: b.png is empty.")


def test_a_single_picture_is_not_skipped(peer):
    """A picture that a job names itself fails the job."""
    peer.send(Job("a", "convert", (("image", "shots/b.png"), ("output", "out.png"))))
    final = until_final(peer, "a")[-1]
    assert isinstance(final, Failed)
    assert final.message == "b.png is empty."


def test_copies_that_are_in_the_way(peer, folder):
    """A file that is not copied is reported in the same way."""
    (folder / "copies").mkdir()
    (folder / "copies" / "f.png").write_bytes(b"another")
    peer.send(Job("a", "copy", (("source", "shots/*.png"), ("output", "copies"))))
    reports = until_final(peer, "a")
    (skipped,) = [report for report in reports if isinstance(report, Skipped)]
    assert (skipped.path.rpartition("/")[2], skipped.code) == ("f.png", 403)
    assert "overwrite=1 replaces it" in skipped.message
    assert (reports[-1].items, reports[-1].skipped) == (3, 1)
    assert (folder / "copies" / "f.png").read_bytes() == b"another"
