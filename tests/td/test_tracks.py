"""Live jobs in the component: the table of tracks, callbacks, and the two examples, with a real worker."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from tests.ports import free_port
from tests.td.conftest import TD, load

pending = load("pending")


def with_top(projects, worker):
    project = projects(2025, worker.start())
    project.component.par.Root = str(worker.root)
    top = project.network.create("nullTOP", "null1")
    top.dtype = "uint8"
    show(top, (150, 100))
    return project, top


def show(top, *centers):
    image = np.zeros((400, 600, 3), np.uint8)
    for center in centers:
        cv2.circle(image, center, 50, (255, 255, 255), -1, cv2.LINE_AA)
    top.image = image


def places(channels):
    return channels["x"], channels["y"]


def test_instances(projects, worker):
    """The example: a circle stays in its row while it stands, all are found, and the channels never change their length.

    Here circles jump, and at times that depend on the load of the machine; that ids stay while things move is tested with films.
    """
    project, top = with_top(projects, worker)
    project.component.op("callbacks").text = (
        "def onTracked(worker, job):\n    worker.storage['seen'] = len(job.tracks)\n"
        "def onSource(worker, job):\n    worker.storage.setdefault('words', []).append(job.source)\n"
    )
    dat = project.run_script(TD / "examples" / "instances.py")
    chop = project.network.op("slots")
    project.td.until(lambda: 1 in chop.current().get("active", ()))
    channels = chop.current()
    assert {len(samples) for samples in channels.values()} == {16}
    assert (channels["id"][0], channels["radius"][0]) == (1, pytest.approx(50, abs=1.5))
    assert (channels["u"][0], channels["v"][0]) == pytest.approx((150.5 / 600, 1 - 100.5 / 400), abs=0.01)
    for x in range(150, 300, 20):
        show(top, (x, 100), (450, 300))
        wanted = [(pytest.approx(x, abs=2), pytest.approx(100, abs=2)), (pytest.approx(450, abs=2), pytest.approx(300, abs=2))]
        project.td.until(lambda wanted=wanted: all(one in list(zip(*places(chop.current()), strict=True)) for one in wanted))
    now = chop.current()
    identities = [identity for identity in now["id"] if identity]
    assert len(identities) == len(set(identities)) >= 2
    assert {len(samples) for samples in now.values()} == {16}
    assert project.component.storage["seen"] == 16
    words = project.component.storage["words"]
    assert words[-1] == "Live"
    assert set(words) <= {"Opening", "Live"}  # both come in one frame if the machine is busy; then the newer counts
    dat.run()
    project.td.until(lambda: set(project.words().values()) == {"Cancelled"})
    project.td.until(lambda: not any(chop.current()["active"]))
    assert {len(samples) for samples in chop.current().values()} == {16}
    project.td.frames(5)
    assert list((worker.root / "td-image-worker-frames").iterdir()) == []


def test_track_circles(projects, worker):
    """The example of a table whose rows are the objects; `Tracks` has them by name."""
    project, _ = with_top(projects, worker)
    dat = project.run_script(TD / "examples" / "track_circles.py")
    project.td.until(lambda: list(project.network.op("tracked").current().get("id", ())) == [1])
    (found,) = project.component.Tracks(dat.fetch("job", ""))
    assert (found["x"], found["y"], found["active"]) == (pytest.approx(150, abs=1.5), pytest.approx(100, abs=1.5), 1)
    screen = project.component.op("frame")
    project.td.until(lambda: screen.shown is not None and screen.shown.shape == (400, 600, 3))  # the overlay
    project.td.until(lambda: np.ptp(screen.shown, axis=2).any())  # a mark in colour on a picture in grey
    dat.run()
    project.td.until(lambda: list(project.network.op("tracked").current().get("id", ())) == [])


def test_tuio(projects, worker):
    """The example: what a TUIO In DAT gets are rows of a table, the right way up, which come and go with the circles."""
    port = free_port()
    project, top = with_top(projects, worker)
    dat = project.network.create("textDAT", "tuio")
    dat.text = (TD / "examples" / "tuio.py").read_text(encoding="utf-8").replace("PORT = 3333", f"PORT = {port}")
    dat.run()

    def places():
        table = project.network.op("touches")
        rows = [[float(cell.val) for cell in table.row(row)] for row in range(1, table.numRows)]
        return sorted((u, v, width * 600, height * 400) for _, u, v, width, height, _ in rows)

    project.td.until(lambda: len(places()) == 1)
    (found,) = places()
    assert found == pytest.approx((150.5 / 600, 1 - 100.5 / 400, 100, 100), rel=0.03)
    show(top, (150, 100), (450, 300))
    project.td.until(lambda: len(places()) == 2)
    assert places()[1][1] == pytest.approx(1 - 300.5 / 400, abs=0.02)
    assert [cell.val for cell in project.network.op("touches").row(0)] == ["id", "u", "v", "width", "height", "code"]
    dat.run()
    project.td.until(lambda: places() == [])


def test_a_picture_in_several_reports():
    """Rows that come in chunks are one picture, in order; one of which a chunk was lost is left out when the next one comes."""
    asked = pending.Pending(session="s")
    job_id = asked.submit("track", {"source": "a.mp4"}, 0.0)
    job = asked.jobs[job_id]
    asked.received("/worker/tracked/cam", [job_id, 1, 5.0, 1, 2, 2, 3, 2, 30.0, 31.0], 0.1)
    assert job.tracks == []
    asked.received("/worker/tracked/cam", [job_id, 1, 5.0, 0, 2, 0, 3, 2, 10.0, 11.0, 20.0, 21.0], 0.1)
    assert (job.name, job.frame, job.tracks) == ("cam", 1, [(10.0, 11.0), (20.0, 21.0), (30.0, 31.0)])
    asked.received("/worker/tracked/cam", [job_id, 2, 5.0, 0, 2, 0, 3, 2, 0.0, 0.0, 0.0, 0.0], 0.2)
    asked.received("/worker/tracked/cam", [job_id, 3, 5.0, 0, 1, 0, 1, 2, 7.0, 8.0], 0.3)
    assert (job.frame, job.tracks) == (3, [(7.0, 8.0)])
    assert [word for word, _ in asked.take_news() if word == "tracked"] == ["tracked"]  # the newest counts


def test_a_source_is_a_sign_of_life():
    """A report about the source says that the job was accepted and runs, and is its message."""
    asked = pending.Pending(session="s")
    job_id = asked.submit("track", {"source": "camera:0"}, 0.0)
    asked.received("/worker/source", [job_id, "cam", "Lost", "Camera 0 cannot be opened."], 0.1)
    job = asked.jobs[job_id]
    assert (job.word, job.source, job.message) == ("Processing", "Lost", "Camera 0 cannot be opened.")
    asked.received("/worker/source", [job_id, "cam", "Lost", "Camera 0 cannot be opened."], 0.2)
    assert [word for word, _ in asked.take_news()] == ["processing", "source"]
