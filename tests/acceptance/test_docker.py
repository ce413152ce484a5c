"""The image, built from docker/Dockerfile and run by a real engine, driven through its published UDP port from outside.

Skipped where no engine answers; with TD_IMAGE_WORKER_REQUIRE_DOCKER=1 that is a failure. `docker/engine.sh start` tries to set one up.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.acceptance.containers import (
    LABEL,
    NAMES,
    OWNER,
    REPOSITORY,
    TAG,
    Container,
    TouchDesigner,
    docker,
    running,
    until,
    why_not,
)
from tests.ports import free_port
from tests.td.conftest import load
from worker.client.client import Client
from worker.pictures.images import encoded
from worker.protocol.messages import Job, Number, Pong, Processing, Ready, Replay, Status

pytestmark = pytest.mark.timeout(400)
frames = load("frames")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="not on this system: only root can reach into a container from outside")


def line_of(words: str) -> str:
    """The line of a block of docker/README.md that has these words."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", (REPOSITORY / "docker" / "README.md").read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (line,) = {line for block in blocks for line in block.replace("\\\n", " ").splitlines() if line.startswith(words)}
    return line


@pytest.fixture(scope="module", autouse=True)
def image() -> str:
    """The real Dockerfile, built as docker/README.md says."""
    reason = why_not()
    if reason:
        if os.environ.get("TD_IMAGE_WORKER_REQUIRE_DOCKER") == "1":
            pytest.fail(f"TD_IMAGE_WORKER_REQUIRE_DOCKER=1, but {reason}")
        pytest.skip(f"not on this system: THE IMAGE IS NOT TESTED, {reason}")
    command = line_of("docker build -f").replace("-t td-image-worker ", f"-t {TAG} --label {LABEL} ")
    done = subprocess.run(["bash", "-c", command], cwd=REPOSITORY, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = docker("image", "inspect", "-f", '{{.Size}} {{index .Config.Labels "container-lab.base"}}', TAG).stdout.split()
    stand_in = "" if len(facts) < 2 or facts[1].startswith("<no") else "; its base is a stand-in made by the lab"
    print(f"{TAG}: {int(facts[0]) / 1e6:.0f} MB{stand_in}")
    return TAG


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The volume: a folder of a user whom the image does not know."""
    data = tmp_path / "project"
    data.mkdir(mode=0o755)
    os.chown(data, *OWNER)
    return data


@pytest.fixture
def touch() -> Iterator[TouchDesigner]:
    with TouchDesigner() as one:
        yield one


def owned_as_said(folder: Path) -> bool:
    """Everything below belongs to the owner, can be read by all and written by the owner only."""
    modes = {(path.stat().st_uid, path.stat().st_gid, stat.S_IMODE(path.stat().st_mode), path.is_dir()) for path in folder.rglob("*")}
    return modes <= {(*OWNER, 0o644, False), (*OWNER, 0o755, True)}


# ------------------------------------------------------------------------------------------------------ 1: the seed's jobs


def test_the_seeds_jobs_through_the_published_port(folder):
    """Hardened, 512 MB, one CPU: the seed's text byte for byte and pictures pixel for pixel, on the volume, owned by the volume's owner."""
    seen = []
    with running(folder) as container:
        container.wait_until_well()
        text, circles = asyncio.run(_seeds_jobs(container.port, seen))
        refused = container.exec("touch", "/opt/worker/x", check=False)
        rights = container.exec("cat", "/proc/1/status").stdout
        versions = container.exec("python", "-c", "import cv2; print(cv2.__version__)").stdout.split()

    written = (folder / "temp-files/attempt1.txt").read_bytes()
    lines = ["Start Working Function", *(f"For loop {n} entry" for n in range(100_000)), "Ending working Function"]
    assert len(lines) == 100_002
    assert written == "\n".join(lines).encode()  # as in the seed, nothing stands behind the last line
    assert [file.path for file in text.files] == ["/data/temp-files/attempt1.txt"]

    assert len(circles.rows) == 500
    assert sorted(path.name for path in (folder / "temp-files/imgs").iterdir()) == sorted(f"attempt{n}.png" for n in range(500))
    for n, (x, y, radius, *_) in enumerate(circles.rows):
        expected = np.zeros((512, 512, 3), np.uint8)
        cv2.circle(expected, (int(x), int(y)), int(radius), (0, 0, 255), -1)
        path = folder / f"temp-files/imgs/attempt{n}.png"
        assert np.array_equal(cv2.imread(str(path)), expected), path
        if versions == [cv2.__version__]:  # the same library makes the same bytes, in the container and here
            assert path.read_bytes() == encoded(path, expected), path
    assert {radius for _, _, radius, *_ in circles.rows} == {63}
    assert owned_as_said(folder)

    words = [status.word for status in seen if isinstance(status, Status)]
    assert "Processing" in words
    assert words[-1] == "Ready"
    assert refused.returncode != 0
    assert "Read-only" in refused.stderr
    assert re.search(r"^CapEff:\s+0+$", rights, re.MULTILINE)
    assert re.search(rf"^Uid:\s+{OWNER[0]}\s", rights, re.MULTILINE)


async def _seeds_jobs(port, seen):
    async with Client(port=port, on_report=seen.append) as client:
        text = await client.submit(
            "write_text",
            {
                "output": "temp-files/attempt1.txt",
                "header": "Start Working Function",
                "line": "For loop {n} entry",
                "footer": "Ending working Function",
                "count": 100_000,
            },
        )
        circles = await client.submit("draw_circles", {"output": "temp-files/imgs/attempt{n}.png", "count": 500})
        results = await text.result(), await circles.result()
        await client.status()
        return results


def test_frames_across_the_volume(folder):
    """Pixels that a program outside writes through a map are found inside, and the overlay comes back the same way."""
    pixels = np.zeros((300, 400, 4), np.uint8)
    cv2.circle(pixels, (150, 300 - 1 - 100), 40, (255, 255, 255), -1, cv2.LINE_AA)  # the bottom row comes first
    pixels[..., 3] = 255
    writer = frames.Writer(str(folder / "frames" / "cam1.frame"))
    with running(folder) as container:
        container.wait_until_well()
        slot, sequence = writer.write(pixels)
        found = asyncio.run(_circles_of(container.port, f"frame:frames/cam1.frame#{slot}@{sequence}"))
    ((x, y, radius, *_),) = found.rows
    assert (x, y, radius) == pytest.approx((150, 100, 40), abs=1)
    assert found.files[0].path.startswith("frame:/data/out/found.frame#")
    shown = frames.Reader(str(folder / "out" / "found.frame")).newest()
    assert shown.shape == (300, 400, 3)
    assert list(shown[300 - 1 - 100, 150, :3] > 200) == [True, False, False]
    writer.close()


async def _circles_of(port, image):
    async with Client(port=port) as client:
        return await (await client.submit("find_circles", {"image": image, "overlay": "frame:out/found.frame"})).result()


# --------------------------------------------------------------------------------------------- 2: stopped in the middle


@pytest.mark.parametrize(("count", "grace_s", "drained"), [(30, 120, True), (80, 1, False)], ids=["drained", "carried on"])
def test_stopped_in_the_middle_of_a_batch(folder, touch, count, grace_s, drained):
    """`docker stop`, then `docker start`: each accepted job has exactly one final, and its files are whole."""
    pairs = (("count", 40), ("priority", 2))
    jobs = [Job(f"job{n}", "draw_circles", (("output", f"batch/job{n}-{{n}}.png"), *pairs)) for n in range(count)]
    with running(folder, *touch.options) as container:
        container.wait_until_well()
        touch.submit(container.port, *jobs)
        until(lambda: any(touch.finals(job.id) for job in jobs), 60, "one job ready", 0.01)
        docker("stop", "-t", str(grace_s), container.name)
        stopped_with = container.state["ExitCode"]
        ended = [job.id for job in jobs if touch.finals(job.id)]
        docker("start", container.name)
        container.wait_until_well()
        touch.send(container.port, Replay(1))
        until(lambda: all(touch.finals(job.id) for job in jobs), 120, "a final for each job")
        time.sleep(1)  # a second final would come now
        until(lambda: not list((folder / "batch").glob(".*.part")), 20, "all that the killed children had begun removed")
    assert len(touch.accepted()) == len(jobs)
    if drained:
        assert stopped_with == 0
        assert len(ended) == len(jobs)
    else:
        assert len(ended) < len(jobs), "the batch was too short to be stopped in the middle"
    finals = {job.id: touch.finals(job.id) for job in jobs}
    assert {len(each) for each in finals.values()} == {1}
    assert all(isinstance(final, Ready) for each in finals.values() for final in each)
    assert sorted(final.seq for each in finals.values() for final in each) == list(range(1, len(jobs) + 1))
    names = sorted(path.name for path in (folder / "batch").iterdir())
    assert names == sorted(f"job{n}-{k}.png" for n in range(count) for k in range(40))
    assert all(cv2.imread(str(path)) is not None for path in (folder / "batch").iterdir())


# -------------------------------------------------------------------------------------------------------------- 3: health


@as_root
def test_killed_children_are_bad_and_then_good_again(folder):
    """The engine's own word: healthy, unhealthy while somebody kills the children, healthy again without a restart."""
    check = ("--health-interval", "1s", "--health-timeout", "10s", "--health-retries", "2", "--health-start-period", "1s")
    with running(folder, *check, "--health-cmd", "td-image-worker health --max-age-s 4 --wait-s 2") as container:
        until(lambda: container.health == "healthy", 60, "healthy")
        worker = container.worker_pid()
        stop = threading.Event()
        killer = threading.Thread(target=_kill_children, args=(container, stop))
        killer.start()
        try:
            until(lambda: container.health == "unhealthy", 60, "unhealthy")
            assert "1: " in container.checks
        finally:
            stop.set()
            killer.join()
        until(lambda: container.health == "healthy", 60, "healthy again")
        assert container.worker_pid() == worker


def _kill_children(container: Container, stop: threading.Event) -> None:
    while not stop.is_set():
        for pid in container.child_pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@as_root
def test_a_wedged_worker_is_started_again(folder, touch):
    """A worker that hangs is ended by the health check and started by the restart policy; its job ends all the same, once."""
    check = ("--health-interval", "1s", "--health-timeout", "30s", "--health-retries", "2", "--restart", "unless-stopped")
    command = ("--health-cmd", "td-image-worker health --end-after-s 5 --start-s 5")
    job = Job("survivor", "draw_circles", (("output", "s{n}.png"), ("count", 2000)))
    with running(folder, *check, *command, *touch.options) as container:
        until(lambda: container.health == "healthy", 60, "healthy")
        time.sleep(5)  # younger, it counts as starting
        touch.submit(container.port, job)
        until(lambda: len(list(folder.iterdir())) > 10, 30, "at work", 0.01)
        os.kill(container.worker_pid(), signal.SIGSTOP)
        assert not touch.finals(job.id)
        until(lambda: container.inspect()["RestartCount"] == 1, 60, "restarted")
        until(lambda: touch.finals(job.id), 60, "the job's final")
        until(lambda: container.health == "healthy", 60, "healthy again")
        assert "hangs and is killed" in container.log
        time.sleep(1)
        assert len(touch.finals(job.id)) == 1
        assert container.inspect()["RestartCount"] == 1
    assert len(list(folder.iterdir())) == 2000


# ------------------------------------------------------------------------------------------------------------- 4: compose


def compose_command() -> list[str]:
    if docker("compose", "version", check=False).returncode == 0:
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    pytest.skip("not on this system: there is no docker compose")


def test_the_compose_file_comes_up(folder):
    """`config` without a complaint; `up`; a job with the sender's own spelling of a path, reports and numbers on ports of their own."""
    compose = compose_command()
    project = f"tdiw{uuid.uuid4().hex[:8]}"
    with TouchDesigner() as text, TouchDesigner() as numbers:
        port = free_port()
        settings = {
            "TD_PROJECT": str(folder),
            "TD_USER": f"{OWNER[0]}:{OWNER[1]}",
            "TD_IMAGE": TAG,
            "TD_CONTAINER": project,
            "TD_PORT": str(port),
            "TD_TEXT_PORT": str(text.text_port),
            "TD_NUMBER_PORT": str(numbers.text_port),
            "TD_CPUS": "1",
        }

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            command = [*compose, "-f", str(REPOSITORY / "docker/compose.yaml"), "-p", project, *arguments]
            done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=300, check=False)
            assert done.returncode == 0, done.stderr
            return done

        checked = call("config")
        assert checked.stderr == ""
        assert f"127.0.0.1:{port}:9460" in checked.stdout or "host_ip: 127.0.0.1" in checked.stdout
        try:
            call(*line_of("docker compose up").removeprefix("docker compose ").split())
            container = Container(project, port)
            container.wait_until_well()
            text.submit(port, Job("words", "write_text", (("output", f"{folder}/notes/a.txt"), ("text", "hello"))))
            until(lambda: text.finals("words"), 20, "ready")
            until(lambda: any(isinstance(report, Number) and report.name == "beat" for report in numbers.reports), 5, "a beat as number")
            time.sleep(0.5)
            host = container.inspect()["HostConfig"]
        finally:
            call("down", "-v", "-t", "10")
    assert (folder / "notes/a.txt").read_bytes() == b"hello"
    assert owned_as_said(folder)
    # Told where the sender is and where to report: both are this computer, and one report is sent once.
    told = Counter(type(report) for report in text.of_job["words"])
    assert told[Processing] == 1
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] == 2**30
    assert host["RestartPolicy"]["Name"] == "unless-stopped"
    assert host["LogConfig"]["Config"]["max-size"] == "5m"


def the_profile_cluster_comes_up(folder):
    """As the README says: the image is built with what a cluster needs, and two nodes do the work. One that is killed is missed."""
    compose = compose_command()
    project, port, page = f"tdiw{uuid.uuid4().hex[:8]}", free_port(), free_port()
    settings = {
        "TD_PROJECT": str(folder),
        "TD_USER": f"{OWNER[0]}:{OWNER[1]}",
        "TD_IMAGE": f"{TAG}-cluster",
        "TD_CONTAINER": project,
        "TD_PORT": str(port),
        "TD_CLUSTER": "tcp://scheduler:8786",
        "TD_DASHBOARD_PORT": str(page),
        "TD_WORKERS": "1",
    }

    def call(*arguments: str) -> str:
        command = [*compose, "-f", str(REPOSITORY / "docker/compose.yaml"), "-p", project, "--profile", "cluster", *arguments]
        done = subprocess.run(command, env={**os.environ, **settings}, capture_output=True, text=True, timeout=600, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    try:
        call(*line_of("docker compose --profile cluster up").removeprefix("docker compose --profile cluster ").split())
        container = Container(project, port)
        container.wait_until_well(60)
        until(lambda: "2 nodes of the cluster work" in container.exec("td-image-worker", "health", check=False).stdout, 60, "two nodes")
        asyncio.run(_two_batches(port, folder, call))
        answer = urllib.request.urlopen(f"http://127.0.0.1:{page}/status", timeout=20)
        assert answer.status == 200
        said = container.exec("td-image-worker", "health").stdout
        assert "1 node of the cluster works; missing for less than an hour" in said
        call("stop", "-t", "20")
        logs = call("logs", "--no-color")
    finally:
        call("down", "-v", "-t", "10")
    assert len(list((folder / "circles").iterdir())) == 20
    assert len(list((folder / "again").iterdir())) == 20
    assert owned_as_said(folder)
    assert re.search(r"node-2.*Stopped, after [1-9]\d* tasks", logs)
    assert "Traceback" not in logs


if os.environ.get("TD_IMAGE_WORKER_DOCKER_CLUSTER") == "1":  # it builds a second image, for two minutes, so it is a command of its own
    test_the_profile_cluster_comes_up = the_profile_cluster_comes_up


async def _two_batches(port: int, folder: Path, call: Callable[..., str]) -> None:
    """One over two nodes, and one over the node that is left; paths as the sender spells them."""
    async with Client("127.0.0.1", port, name="studio", silence_s=60, connect_s=30) as client:
        for name in ("circles", "again"):
            found = await client.submit_soon("draw_circles", {"output": f"{folder}/{name}/{{n}}.png", "count": 20}, name).result()
            assert [file.path for file in found.files] == [f"{folder}/{name}/{n}.png" for n in range(20)]
            if name == "circles":
                await asyncio.to_thread(call, "kill", "node-1")


# --------------------------------------------------------------------------------------------------- the way there and back


def test_reports_that_find_nobody_are_logged(folder):
    """A fixed target where nobody listens is told in the log, once."""
    nowhere = free_port()
    with running(folder, "-e", f"TD_IMAGE_WORKER_REPORT=host.docker.internal:{nowhere}") as container:
        container.wait_until_well()
        until(lambda: f":{nowhere}, where reports go" in container.log, 10, "told")
        time.sleep(3)
        assert len(re.findall(rf"nobody listens at \S+:{nowhere},", container.log)) == 1


def test_doctor_from_inside(tmp_path, touch):
    """With nothing installed outside, and the container started as docker/README.md says without compose: it says whether anybody takes the
    reports, and a word of it arrives there. Names, ports and the user are the test's.
    """
    show = tmp_path / "show"
    show.mkdir()
    os.chown(show, *OWNER)
    name, port = f"tdiw-{uuid.uuid4().hex[:10]}", free_port()
    start = line_of("docker run -d --name td-image-worker ").replace("--name td-image-worker ", f"--name {name} --label {LABEL} ")
    start = start.replace("127.0.0.1:9460:", f"127.0.0.1:{port}:").replace('"$(id -u):$(id -g)"', f"{OWNER[0]}:{OWNER[1]}")
    start = re.sub(r"td-image-worker$", f"{' '.join(touch.options)} {TAG}", start.replace("td-state:", f"{name}-state:"))
    ask = line_of("docker exec td-image-worker ").replace("exec td-image-worker", f"exec {name}", 1)
    try:
        done = subprocess.run(["bash", "-c", start], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
        assert done.returncode == 0, done.stderr
        container = Container(name, port)
        container.wait_until_well()
        good = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, timeout=100, check=False)
        until(lambda: any(isinstance(report, Pong) and report.nonce == 4711 for report in touch.reports), 5, "the doctor's pong")
        bad = container.exec("td-image-worker", "doctor", "--docker", "--text-port", str(free_port()), check=False)
        touch.submit(port, Job("words", "write_text", (("output", f"{show}/a.txt"), ("text", "hello"))))
        until(lambda: touch.finals("words"), 20, "ready")
    finally:
        docker("rm", "-f", "-v", name, check=False)
        docker("volume", "rm", "-f", f"{name}-state", check=False)
    assert good.returncode == 0, good.stdout
    assert "The round trip works." in good.stdout
    assert bad.returncode == 1
    assert "nobody listens there" in bad.stdout
    assert (show / "a.txt").read_bytes() == b"hello"


def test_doctor_from_outside(folder):
    """The container's state, the way there and back, and the reports on ports of their own."""
    text, number = free_port(), free_port()
    options = ("-e", f"TD_IMAGE_WORKER_TEXT_PORT={text}", "-e", f"TD_IMAGE_WORKER_NUMBER_PORT={number}")
    with running(folder, *options) as container:
        container.wait_until_well()
        ports = ["--port", str(container.port), "--text-port", str(text), "--number-port", str(number)]
        command = [sys.executable, "-m", "worker", "doctor", "--docker", *ports]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    for step in ("docker\tok", "container\tok", "hello\tok", "job\tok", f"text reports on {text}\tok", f"numbers on {number}\tok"):
        assert step in done.stdout


# ----------------------------------------------------------------------------------------------------------------- the page


def test_the_page_through_its_published_port(folder):
    """Off by default. Turned on, a browser outside may look, and change something with the token; a foreign name is refused."""
    port = free_port()
    token = "the-secret-of-the-show"
    options = ("-e", "TD_IMAGE_WORKER_HTTP=0.0.0.0:9463", "-e", f"TD_IMAGE_WORKER_TOKEN={token}", "-p", f"127.0.0.1:{port}:9463")
    assert "TD_IMAGE_WORKER_HTTP=off" in docker("image", "inspect", "-f", "{{.Config.Env}}", TAG).stdout
    with running(folder, *options) as container:
        container.wait_until_well()
        for host in (f"127.0.0.1:{port}", f"localhost:{port}"):
            status, text = _ask(port, "/health", Host=host)
            assert status == 200, text
            status, text = _ask(port, "/", Host=host, Accept="text/html")
            assert status == 200, text
            assert "<title>" in text
        status, text = _ask(port, "/metrics")
        assert status == 200, text
        assert "# HELP" in text
        status, text = _ask(port, "/?HOST_INFO")
        assert status == 200, text
        assert json.loads(text)["OSC_PORT"] == 9460

        status, text = _ask(port, "/health", Host=f"evil.example:{port}")
        assert status == 421, text
        status, text = _ask(port, "/health", Origin="http://evil.example")
        assert status == 403, text

        job = json.dumps({"operation": "write_text", "params": {"output": "a.txt", "text": "hello"}})
        status, text = _ask(port, "/jobs?wait_s=30", job)
        assert status == 401, text
        assert not (folder / "a.txt").exists()
        status, text = _ask(port, "/jobs?wait_s=30", job, Authorization=f"Bearer {token}")
        assert status == 200, text
        assert (folder / "a.txt").read_bytes() == b"hello"


def _ask(port: int, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
    """Status and text of the answer to a GET, or with a body to a POST of JSON."""
    one = http.client.HTTPConnection("127.0.0.1", port, timeout=40)
    try:
        kind = {"Content-Type": "application/json"} if body else {}
        one.request("POST" if body else "GET", path, body, {**kind, **headers})
        answer = one.getresponse()
        return answer.status, answer.read().decode()
    finally:
        one.close()


# --------------------------------------------------------------------------------------------------------------- whose files


@as_root
def test_started_as_root_it_becomes_the_owner(folder):
    """`--user 0` with the engine's usual capabilities: the worker itself is not root, and signals reach it."""
    name = f"tdiw-{uuid.uuid4().hex[:10]}"
    port = free_port()
    try:
        published = ("-p", f"127.0.0.1:{port}:9460/udp", "-v", f"{folder}:/data")
        docker("run", "-d", "--name", name, "--label", LABEL, *NAMES, "--user", "0", *published, TAG)
        container = Container(name, port)
        container.wait_until_well()
        asyncio.run(_write(port))
        assert re.search(rf"^Uid:\s+{OWNER[0]}\s", container.exec("cat", "/proc/1/status").stdout, re.MULTILINE)
        docker("stop", "-t", "20", name)
        assert container.state["ExitCode"] == 0
    finally:
        docker("rm", "-f", "-v", name, check=False)
    assert owned_as_said(folder)
    assert (folder / "a.txt").read_text() == "hello"


async def _write(port):
    async with Client(port=port) as client:
        job = await client.submit("write_text", {"output": "a.txt", "text": "hello"})
        await job.result()


@as_root
@pytest.mark.parametrize(
    ("options", "exit_code"), [(("--user", "0", "--cap-drop", "ALL"), 1), ((), 0)], ids=["root without capabilities", "somebody else"]
)
def test_a_volume_that_cannot_be_written_is_told(folder, options, exit_code):
    """The entry point says which --user it must be."""
    done = docker("run", "--rm", "--label", LABEL, *options, "-v", f"{folder}:/data", TAG, "--version", check=False)
    assert done.returncode == exit_code
    assert f"--user {OWNER[0]}:{OWNER[1]}" in done.stderr
