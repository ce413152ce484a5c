"""Clients of OSCQuery that others have written, and a real worker: they find it, read all of it, listen and set, and survive its restart.

`npm install --prefix tests/web/clients` brings those that are programs of Node.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port
from worker.catalog.table import CATALOG
from worker.protocol import osc
from worker.protocol.messages import Set

ROOT = Path(__file__).parents[2]
CLIENTS = Path(__file__).parent / "clients"
PATIENCE_S = 60
SETTINGS = """
[presets.logo]
operation = "draw_circles"
output = "logo{n}.png"
count = 12

[presets."a name with spaces"]
operation = "noop"
"""

pytest.importorskip("tornado", reason="the extra page is not installed")
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules").exists(),
    reason="Node's clients are not there: npm install --omit=optional --prefix tests/web/clients",
)


@dataclass
class Running:
    """A worker, and where it listens."""

    process: subprocess.Popen
    command_port: int
    http_port: int


@contextlib.contextmanager
def worker(folder, port=0, http_port=0):
    """A worker that lets itself be found on this computer."""
    (folder / "settings.toml").write_text(SETTINGS)
    command = [sys.executable, "-m", "worker", "serve", "--port", str(port), "--http", f"127.0.0.1:{http_port}", "--root", str(folder)]
    command += ["--config", str(folder / "settings.toml"), "--no-journal", "--workers", "1", "--text-port", "0", "--number-port", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TD_IMAGE_WORKER_")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    reader = threading.Thread(target=process.stdout.read, daemon=True)
    try:
        said = ""
        while "Listening" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        reader.start()
        found = re.search(r"commands +udp 127\.0\.0\.1:(\d+).*page +http://127\.0\.0\.1:(\d+)/", said, re.DOTALL)
        assert found, said
        yield Running(process, int(found[1]), int(found[2]))
    finally:
        process.terminate()
        process.wait(PATIENCE_S)
        if reader.ident is not None:
            reader.join()
        process.stdout.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with worker(tmp_path_factory.mktemp("worker")) as one:
        yield one


def node(script, *arguments):
    return subprocess.Popen(["node", script, *map(str, arguments)], cwd=CLIENTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@needs_node
def test_oscquery_of_npm_finds_us_and_reads_everything(running):
    """By its own zeroconf: the host, every method, the values and ranges."""
    pytest.importorskip("zeroconf", reason="the extra discovery is not installed")
    client = node("find.js", running.http_port)
    output, errors = client.communicate(timeout=PATIENCE_S)
    assert client.returncode == 0, errors
    found = json.loads(output)
    assert found["address"] == "127.0.0.1"
    assert (found["host"]["oscPort"], found["host"]["wsPort"]) == (running.command_port, running.http_port)
    assert found["host"]["name"].endswith(f", {running.command_port}")
    assert found["host"]["extensions"]["LISTEN"] is True
    methods = {one["full_path"]: one for one in found["methods"]}
    assert methods["/worker/trigger/logo"]["arguments"] == [{"type": "f", "range": {"min": 0, "max": 1}, "value": 0}]
    count = methods["/worker/set/logo/count"]
    assert count["arguments"] == [{"type": "i", "range": {"min": 1, "max": 100_000}, "value": 12}]
    assert count["description"]
    assert "/worker/n/queued" in methods
    assert not [path for path in methods if " " in path]


def test_python_oscquery_parses_the_whole_tree(running):
    """It refuses a tree in which one method has no value, or one address a letter that OSC does not allow."""
    zeroconf = pytest.importorskip("zeroconf", reason="the extra discovery is not installed")
    library = pytest.importorskip("pythonoscquery.osc_query_client", reason="python-oscquery is not installed")
    service = zeroconf.ServiceInfo("_oscjson._tcp.local.", "w._oscjson._tcp.local.", port=running.http_port, addresses=[b"\x7f\0\0\1"])
    client = library.OSCQueryClient(service)
    host = client.get_host_info()
    assert (host.osc_port, host.osc_ip) == (running.command_port, "127.0.0.1")
    assert host.name.startswith("TD Image Worker on ")
    tree = client.query_node("/")
    nodes = {node.full_path: node for node in tree}
    leaf = nodes["/worker/set/logo/count"]
    assert (leaf.value, leaf.type, int(leaf.access)) == ([12], [int], 3)
    assert nodes["/worker/trigger/logo"].value == [0.0]
    parameters = {field.name for field in CATALOG["draw_circles"].parameters}
    assert {path.rpartition("/")[2] for path in nodes if path.startswith("/worker/set/logo/")} > parameters
    assert client.query_node("/worker/none") is None


@pytest.mark.skipif(shutil.which("curl") is None, reason="not on this system: curl")
def test_the_commands_of_the_page_about_http(running, tmp_path):
    """In order, as they stand there; each is answered with what the page says. For Windows the job stands in a file."""
    text = (ROOT / "docs" / "http.md").read_text(encoding="utf-8")
    lines = re.findall(r"^curl(?:\.exe)? .*$", text, re.MULTILINE)
    answers = []
    for line in lines:
        words = shlex.split(line.replace("127.0.0.1:9463", f"127.0.0.1:{running.http_port}"))
        if not answers:
            (tmp_path / "job.json").write_text(words[-1].replace("j1", "j2"), encoding="utf-8")
        done = subprocess.run(["curl", *words[1:]], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        answers.append(done.stdout)
    sent, looked, pressed, status, from_file = answers
    assert json.loads(sent)["id"] == json.loads(looked)["id"] == "j1"
    assert json.loads(from_file)["id"] == "j2"
    assert pressed in ("ready", "accepted")
    assert re.fullmatch("#[0-9a-f]{6}", status)
    assert status in text


class Heard:
    """What a client prints, line by line."""

    def __init__(self, client):
        self._lines = queue.SimpleQueue()
        self._client = client
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._client.stdout:
            self._lines.put(line.strip())

    def next(self):
        return self._lines.get(timeout=PATIENCE_S)


@needs_node
def test_osc_of_npm_alone(running):
    """A program that knows packets only ends at the first text. It gets none, although presets come and go."""
    url = f"ws://127.0.0.1:{running.http_port}"
    client, listening = node("packets.js", url, "/worker/trigger/logo"), node("listen.js", url, "/worker/set/new/count")
    try:
        assert Heard(client).next() == "sent"
        heard = Heard(listening)
        assert heard.next() == "ready"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
            for key, value in (("operation", "draw_circles"), ("count", 3)):
                beside.sendto(osc.encode(Set("new", key, value)), ("127.0.0.1", running.command_port))
        counts = iter(lambda: json.loads(heard.next()), ["/worker/set/new/count", ["i", 3]])
        assert all(count == ["/worker/set/new/count", ["i", 500]] for count in counts)  # for a moment: the preset has its operation only
        assert client.poll() is None, client.communicate()
    finally:
        for one in (client, listening):
            one.kill()
            one.communicate()


@needs_node
def test_osc_of_npm_listens_and_sets_and_survives_a_restart(tmp_path):
    """Over the WebSocket: the value at once, what it sets itself, what somebody else sets over UDP; then all of it from a new worker."""
    port, http_port = free_port(), free_port()
    client = None
    try:
        with worker(tmp_path, port, http_port):
            client = node("listen.js", f"ws://127.0.0.1:{http_port}", "/worker/set/logo/count", 13)
            heard = Heard(client)
            assert heard.next() == "ready"
            assert json.loads(heard.next()) == ["/worker/set/logo/count", ["i", 12]]
            assert json.loads(heard.next()) == ["/worker/set/logo/count", ["i", 13]]
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as beside:
                beside.sendto(osc.encode(Set("logo", "count", 14)), ("127.0.0.1", port))
            assert json.loads(heard.next()) == ["/worker/set/logo/count", ["i", 14]]
        with worker(tmp_path, port, http_port):
            assert heard.next() == "ready"
            assert json.loads(heard.next()) == ["/worker/set/logo/count", ["i", 12]]
    finally:
        if client is not None:
            client.kill()
            client.communicate()
