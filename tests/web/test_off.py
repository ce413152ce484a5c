"""What a worker imports with its page, and without."""

from __future__ import annotations

import http.client
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: What only the page needs.
HTTP = {"tornado.httpserver", "tornado.web", "tornado.websocket", "worker.web.server", "worker.web.page", "http.server"}


def imported(tmp_path, place, *options, asked=True):
    """All modules that a worker has imported from its start to its end; in between it is asked for something, or left alone."""
    given = ["--port", "0", "--http", place, "--root", str(tmp_path), "--no-journal", "--no-discovery", "--workers", "1", *options]
    command = [sys.executable, "-X", "importtime", "-m", "worker", "serve", *given]
    with (tmp_path / "imports.txt").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True)
        for line in process.stdout:
            if found := re.search(r"page +http://([\d.]+):(\d+)", line):
                place = found.groups()
            if line.startswith("Listening"):
                break
        if not asked:
            deadline = time.monotonic() + (60 if "--show" in options else 0.5)
            while time.monotonic() < deadline and "worker.web.server" not in (tmp_path / "imports.txt").read_text():
                time.sleep(0.05)
        elif not isinstance(place, str):
            connection = http.client.HTTPConnection(place[0], int(place[1]), timeout=60)
            connection.request("GET", "/api/about")
            assert connection.getresponse().status == 200
            connection.close()
        process.terminate()
        process.communicate(timeout=60)
    return set(re.findall(r"\| +([\w.]+)$", (tmp_path / "imports.txt").read_text(), re.MULTILINE))


def test_on(tmp_path):
    """With the page they are imported, so that the next test can fail."""
    assert {"tornado.httpserver", "worker.web.server"} <= imported(tmp_path, "127.0.0.1:0")


def test_nobody_looks(tmp_path):
    """The server is imported for the first who asks: most workers are never looked at."""
    names = imported(tmp_path, "127.0.0.1:0", asked=False)
    assert {"worker.web.thread", "worker.web.unread"} <= names
    assert (HTTP | {"tornado", "prometheus_client"}) & names == set()


def test_a_show(tmp_path):
    """During a show a look at the page must not make the worker import anything, so it is there before."""
    assert {"tornado.httpserver", "worker.web.server"} <= imported(tmp_path, "127.0.0.1:0", "--show", asked=False)


def test_off(tmp_path):
    """With `--http off` nothing of HTTP is imported."""
    names = imported(tmp_path, "off")
    assert "worker.service.loop" in names
    assert HTTP & names == set()


@pytest.mark.parametrize(
    ("place", "sentence"), [("taken", "choose another one with --http, or --http off"), ("192.0.2.1:1", "cannot be used")]
)
def test_no_page(tmp_path, place, sentence):
    """A port that is taken is one clear line, and the worker goes on without its page."""
    import socket

    from worker.config import Config
    from worker.web.thread import NotServed, Web

    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname() if place == "taken" else (place.partition(":")[0], 1)
        allow = Config(token="x" * 16)
        with pytest.raises(NotServed, match=sentence):
            Web((host, port), allow)


def test_the_port_of_a_worker_that_leaves(monkeypatch):
    """With --replace the port may be taken for a moment longer."""
    import socket
    import threading

    from worker.config import Config
    from worker.web.thread import Web

    taken = socket.create_server(("127.0.0.1", 0))
    place = taken.getsockname()
    threading.Timer(0.3, taken.close).start()
    web = Web(place, Config(replace=True))
    assert web.address == place
    web.close()


def test_no_package(monkeypatch):
    """A missing package is one clear line."""
    import importlib.util

    from worker.config import Config
    from worker.web.thread import NotServed, Web

    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotServed, match=r'the package tornado is missing: .*install .*"td-image-worker\[page\]"'):
        Web(("127.0.0.1", 0), Config())


def test_open_to_all():
    """Nobody opens the page to others without saying to whom."""
    from worker.config import Config
    from worker.web.thread import NotServed, Web

    with pytest.raises(NotServed, match="needs --allow or --token"):
        Web(("0.0.0.0", 0), Config())
