"""Live jobs in a real worker, over real UDP: each in a real process of its own."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import cv2
import numpy as np
import pytest
from msgspec.structs import replace
from pythontuio import TuioClient
from pythontuio.tuio import BlockingOSCUDPServer

from tests.scenes import marker
from tests.wire.running import LONG_S, Peer, running, wait_for
from worker.catalog.table import CATALOG
from worker.config import Config, LiveSettings
from worker.protocol.messages import Cancel, Failed, Hello, Job, Ready, Source, Status, Tracked, TrackNumber
from worker.service.children import followers_of, pool_of, rules_of

FIELDS = CATALOG["track"].fields
SIZE = (320, 240)


def picture(n: int) -> np.ndarray:
    """A disc that moves to the right by 4 pixels each time."""
    image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
    cv2.circle(image, (40 + 4 * n, 120), 25, (230, 230, 230), -1, cv2.LINE_AA)
    return image


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a series of images and a video."""
    root = tmp_path_factory.mktemp("live").resolve()
    (root / "series").mkdir()
    film = cv2.VideoWriter(str(root / "disc.mp4"), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), 25, SIZE)
    for n in range(50):
        cv2.imwrite(str(root / "series" / f"{n:02}.png"), picture(n))
        film.write(picture(n))
    film.release()
    return root


@pytest.fixture(scope="module")
def worker(place):
    """A worker with one pool child, its peer, and its live processes."""
    peer = Peer()
    config = replace(Config(), roots=(place,), workers=1)
    rules = rules_of(config)
    live = followers_of(config, rules)
    with running(pool_of(config, rules), peer, live, roots=(place,), workers=1, live=LiveSettings(sessions=2, hosts=("127.0.0.1",))):
        peer.send(Hello("test", peer.text_port, peer.number_port))
        yield peer, live
    peer.close()


def column(report: Tracked, name: str) -> list[float]:
    return list(report.numbers[FIELDS.index(name) :: len(FIELDS)])


def reports_of(peer: Peer, job_id: str):
    """The reports about a job."""
    return (report for report in peer.reports() if getattr(report, "id", "") == job_id)


def test_series_to_its_end(worker):
    """A disc keeps its id over all pictures, has the speed with which it moves, and the job is ready when the source ends."""
    peer, _ = worker
    pairs = {"source": "series/*.png", "speed": 0, "rate": 240, "min_radius": 10, "name": "disc", "slots": 3, "fps": 25}
    peer.send(Job("series", "track", tuple(pairs.items())))
    told = []
    for report in reports_of(peer, "series"):
        told.append(report)
        if isinstance(report, Ready | Failed):
            break
    assert isinstance(told[-1], Ready), told[-1]
    assert [report.word for report in told if isinstance(report, Source)] == ["Opening", "Live", "Ended"]
    seen = [report for report in told if isinstance(report, Tracked)]
    assert [report.frame for report in seen] == list(range(50))
    assert {report.total for report in seen} == {3}
    assert {identity for report in seen for identity in column(report, "id")} == {0.0, 1.0}
    assert column(seen[-1], "x")[0] == pytest.approx(40 + 4 * 49, abs=0.5)
    assert column(seen[-1], "vx")[0] == pytest.approx(100, rel=0.05)
    assert column(seen[-1], "v")[0] == pytest.approx(1 - 120.5 / 240, abs=0.01)


def test_video_beside_a_pool_that_works(worker):
    """A looping video goes on while the pool does jobs, has its numbers on the number port, and ends when it is cancelled."""
    peer, _ = worker
    pairs = {"source": "disc.mp4", "loop": 1, "name": "cam", "min_radius": 10, "detect_width": 160}
    peer.send(Job("video", "track", tuple(pairs.items())))
    assert any(isinstance(report, Tracked) and report.total == 1 for report in reports_of(peer, "video"))
    peer.send(Job("beside", "noop"))
    final = next(report for report in reports_of(peer, "beside") if isinstance(report, Ready | Failed))
    assert isinstance(final, Ready)
    peer.until(
        lambda report: isinstance(report, TrackNumber) and (report.name, report.channel) == ("cam", "x0") and report.value, "numbers"
    )
    peer.until(lambda report: isinstance(report, Status) and report.word == "Processing")
    peer.send(Cancel("video"))
    final = next(report for report in reports_of(peer, "video") if isinstance(report, Ready | Failed))
    assert (final.code, final.word) == (499, "cancelled")


def test_an_overlay(worker, place):
    """In its sandbox the process writes its overlay and nothing else: a frame for each picture, or a file that is whole at any time."""
    from worker.pictures.frames import FrameFile

    peer, _ = worker
    for job_id, overlay in (("frame-out", "frame:live/seen.frame"), ("file-out", "live/seen.png")):
        pairs = {"source": "disc.mp4", "loop": 1, "min_radius": 10, "overlay": overlay}
        peer.send(Job(job_id, "track", tuple(pairs.items())))
        assert any(isinstance(report, Tracked) and report.total == 1 for report in reports_of(peer, job_id))
    with FrameFile.open(place / "live" / "seen.frame") as file:
        first = file.read()
        later = file.wait(first.sequence, LONG_S)
    assert later is not None
    assert later.image.shape == (SIZE[1], SIZE[0], 3)
    wait_for((place / "live" / "seen.png").exists)
    assert cv2.imread(str(place / "live" / "seen.png")).shape == later.image.shape
    for job_id in ("frame-out", "file-out"):
        peer.send(Cancel(job_id))
        assert next(report for report in reports_of(peer, job_id) if isinstance(report, Failed)).code == 499
    peer.send(Job("elsewhere", "track", (("source", "disc.mp4"), ("overlay", "/tmp/elsewhere.png"))))
    final = next(report for report in reports_of(peer, "elsewhere") if isinstance(report, Failed))
    assert final.message == "/tmp/elsewhere.png is outside the folders in which files may be written."


class Webcam(http.server.BaseHTTPRequestHandler):
    """Serves a disc as JPEGs, as webcams do."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        with contextlib.suppress(OSError):
            for n in itertools.count():
                data = cv2.imencode(".jpg", picture(n % 40))[1].tobytes()
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data) + data + b"\r\n")
                time.sleep(0.04)

    def log_message(self, *_args: object) -> None:
        """Nothing."""


def test_an_overlay_of_a_stream(worker, place):
    """A process that may use the network writes its overlay into the folder of it; a folder with everything else is refused."""
    peer, _ = worker
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Webcam)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    pairs = {"source": f"http://127.0.0.1:{server.server_port}/", "min_radius": 10}
    try:
        peer.send(Job("root", "track", tuple({**pairs, "overlay": "seen.jpg"}.items())))
        final = next(report for report in reports_of(peer, "root") if isinstance(report, Failed))
        assert final.message.startswith("The overlay of a source on the network goes into a folder of its own")
        peer.send(Job("stream", "track", tuple({**pairs, "overlay": "network/seen.jpg"}.items())))
        told = reports_of(peer, "stream")
        assert any(isinstance(report, Tracked) and report.total == 1 for report in told)
        wait_for((place / "network" / "seen.jpg").exists)
        peer.send(Cancel("stream"))
        said = []
        for report in told:
            said += [report] if isinstance(report, Source) else []
            if isinstance(report, Failed):
                break
        assert report.code == 499
        assert not [one for one in said if "overlay" in one.message]
    finally:
        server.shutdown()
        server.server_close()
    assert not (place / "seen.jpg").exists()


def test_killed(worker):
    """A process that is killed is started again, ids go on, and the worker lives."""
    peer, live = worker
    peer.send(Job("killed", "track", (("source", "series"), ("loop", 1), ("min_radius", 10), ("keep", 1))))
    identities = next(column(report, "id") for report in reports_of(peer, "killed") if isinstance(report, Tracked) and report.total)
    (pid,) = live.pids
    os.kill(pid, signal.SIGKILL)
    lost = next(report for report in reports_of(peer, "killed") if isinstance(report, Source) and report.word == "Lost")
    assert "ended unexpectedly (SIGKILL)" in lost.message
    assert lost.message.endswith("It is started again in 0.5 s.")
    again = None
    for report in reports_of(peer, "killed"):
        again = again or (isinstance(report, Source) and report.word == "Live")
        if again and isinstance(report, Tracked) and report.total:
            assert min(column(report, "id")) > max(identities)
            break
    peer.send(Cancel("killed"))
    assert next(report for report in reports_of(peer, "killed") if isinstance(report, Failed)).code == 499
    wait_for(lambda: not live.pids)


@pytest.fixture
def reader():
    """The client of python-tuio, which nobody here wrote, at a free port."""
    client = TuioClient(("127.0.0.1", 0))
    BlockingOSCUDPServer.__init__(client, client.server_address, client)
    client.timeout = LONG_S
    yield client
    client.server_close()


def read_until(client, done):
    """Lets the client take datagrams until it is so."""
    deadline = time.monotonic() + LONG_S
    while not done():
        assert time.monotonic() < deadline
        client.handle_request()


def test_tuio(worker, place, reader):
    """Another's client reads a disc as a blob and as a cursor, and a marker as an object, and has nothing when the jobs are cancelled."""
    peer, _ = worker
    (place / "markers").mkdir()
    cv2.imwrite(str(place / "markers" / "0.png"), marker(cv2.aruco.DICT_4X4_50, 23, side=160, margin=40))
    shared = {"loop": 1, "tuio": f"127.0.0.1:{reader.server_address[1]}"}
    peer.send(Job("blob", "track", tuple({"source": "disc.mp4", "min_radius": 10, **shared}.items())))
    peer.send(Job("object", "track", tuple({"source": "markers/*.png", "what": "markers", **shared}.items())))
    read_until(reader, lambda: reader.blobs and reader.blobs[0].position[1])
    (blob,) = reader.blobs
    assert blob.position[1] == pytest.approx(120.5 / 240, abs=0.005)
    assert blob.dimension == pytest.approx((50 / 320, 50 / 240), abs=0.02)
    read_until(reader, lambda: reader.objects and reader.objects[0].class_id == 23)
    assert reader.objects[0].position == pytest.approx((0.5, 0.5), abs=0.01)
    for job_id in ("blob", "object"):
        peer.send(Cancel(job_id))
        assert next(report for report in reports_of(peer, job_id) if isinstance(report, Failed)).code == 499
    read_until(reader, lambda: not reader.blobs and not reader.objects)
    peer.send(Job("cursor", "track", tuple({"source": "disc.mp4", "min_radius": 10, "tuio_profile": "cursor", **shared}.items())))
    read_until(reader, lambda: reader.cursors and reader.cursors[0].position[1])
    assert reader.cursors[0].position[1] == pytest.approx(120.5 / 240, abs=0.005)
    peer.send(Cancel("cursor"))
    assert next(report for report in reports_of(peer, "cursor") if isinstance(report, Failed)).code == 499
    read_until(reader, lambda: not reader.cursors)


#: A sender of the package cyndilib, which nobody here wrote: a disc on a plain ground, until it is killed.
_NDI_SENDER = """
import sys
from fractions import Fraction
import numpy as np
from cyndilib.sender import Sender
from cyndilib.video_frame import VideoSendFrame
from cyndilib.wrapper.ndi_structs import FourCC
sender, frame = Sender(sys.argv[1]), VideoSendFrame()
frame.set_resolution(320, 240)
frame.set_frame_rate(Fraction(25, 1))
frame.set_fourcc(FourCC.BGRA)
sender.set_video_frame(frame)
y, x = np.mgrid[:240, :320]
pixels = np.full((240, 320, 4), 40, np.uint8)
pixels[(x - 100) ** 2 + (y - 80) ** 2 <= 30**2] = 220
pixels[..., 3] = 255
pixels = pixels.ravel()
with sender:
    while True:
        sender.write_video_async(pixels)
"""


@pytest.fixture
def ndi_sender(tmp_path, monkeypatch):
    """Starts the sender under a name of its own; NDI's settings say that it is on this computer, because multicast may not work here."""
    pytest.importorskip("cyndilib", reason="cyndilib is not installed, which the extras test and ndi have")
    with socket.socket() as port:
        if port.connect_ex(("127.0.0.1", 5960)) == 0:
            pytest.skip("not on this system: another program sends NDI here, and has the port at which sources are asked for")
    (tmp_path / "ndi-config.v1.json").write_text('{"ndi": {"networks": {"ips": "127.0.0.1"}}}', encoding="utf-8")
    monkeypatch.setenv("NDI_CONFIG_DIR", str(tmp_path))
    started = []

    def start():
        started.append(subprocess.Popen([sys.executable, "-c", _NDI_SENDER, f"test-{os.getpid()}"]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_ndi(worker, ndi_sender):
    """A real NDI source is followed from within the sandbox, and is taken up again when it has vanished and returned."""
    peer, _ = worker
    process = ndi_sender()
    pairs = {"source": f"ndi:test-{os.getpid()}", "min_radius": 10, "name": "ndi", "silent_s": 1}
    peer.send(Job("ndi", "track", tuple(pairs.items())))
    told = reports_of(peer, "ndi")
    seen = next(report for report in told if isinstance(report, Tracked) and report.total == 1)
    assert (column(seen, "x")[0], column(seen, "y")[0], column(seen, "radius")[0]) == pytest.approx((100, 80, 30), abs=1.5)
    process.kill()
    process.wait()
    assert any(isinstance(report, Source) and report.word == "Lost" for report in told)
    ndi_sender()
    assert any(isinstance(report, Source) and report.word == "Live" for report in told)
    assert any(isinstance(report, Tracked) and report.total == 1 for report in told)
    peer.send(Cancel("ndi"))
    assert next(report for report in told if isinstance(report, Failed)).code == 499


def test_a_file_that_vanishes_and_returns(worker, place):
    """A source that was there and is gone is opened again; one that never was ends the job with a sentence."""
    peer, _ = worker
    peer.send(Job("never", "track", (("source", "never.mp4"),)))
    final = next(report for report in reports_of(peer, "never") if isinstance(report, Failed))
    assert (final.code, final.message) == (404, f"There is no file never.mp4 in {place}.")


def test_a_frame_that_comes_late(worker, place):
    """A frame file that is not there yet is waited for; what is written into it is seen; and a mistake is a sentence."""
    from td import frames

    peer, _ = worker
    peer.send(Job("frame", "track", (("source", "frame:top.frame"), ("min_radius", 10), ("silent_s", 1))))
    assert next(report for report in reports_of(peer, "frame") if isinstance(report, Source) and report.word == "Lost").message.startswith(
        "frame:top.frame: There is no file top.frame"
    )
    writer = frames.Writer(str(place / "top.frame"))
    deadline, total = time.monotonic() + LONG_S, 0
    told = reports_of(peer, "frame")
    n = 0
    while total == 0 and time.monotonic() < deadline:
        writer.write(picture(n)[::-1, :, ::-1])
        n += 1
        time.sleep(0.05)
        report = next(told)
        total = report.total if isinstance(report, Tracked) else 0
    assert total == 1
    assert next(report for report in told if isinstance(report, Source) and report.word == "Lost").message.endswith("It is waited for.")
    peer.send(Cancel("frame"))
    assert next(report for report in told if isinstance(report, Failed)).code == 499
