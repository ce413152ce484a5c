"""An OSC program that we did not write drives the worker: oscsend and oscdump of liblo-tools, on the worker's default ports' roles."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.ports import free_port
from tests.wire.running import LONG_S, HoldingExecutor, Peer, running
from worker.config import Config

TOOLS = shutil.which("oscsend"), shutil.which("oscdump")
pytestmark = pytest.mark.skipif(None in TOOLS, reason="needs oscsend and oscdump (Debian: liblo-tools)")


class Dump:
    """oscdump on a port, read line by line."""

    def __init__(self, port):
        # Line by line also where oscdump would wait for a full buffer.
        command = [*([stdbuf, "-oL"] if (stdbuf := shutil.which("stdbuf")) else []), TOOLS[1], "-L", str(port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    def until(self, *words):
        for line in self._process.stdout:
            if all(word in line for word in words):
                return line
        raise AssertionError("oscdump has ended")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.communicate(timeout=LONG_S)


def oscsend(port, *arguments):
    subprocess.run([TOOLS[0], "127.0.0.1", str(port), *map(str, arguments)], check=True, timeout=LONG_S)


def test_oscsend_and_oscdump():
    """A job in, its reports out, as another program writes and reads them."""
    executor, peer = HoldingExecutor(), Peer()
    text_port = free_port()
    with Dump(text_port) as dump, running(executor, peer, text_port=text_port) as service:
        port = service.address[1]
        _until_heard(dump, port)
        oscsend(port, "/worker/job", "sssssisf", "a", "draw_circles", "output", "{n}.png", "count", 3, "radius", 5.0)
        assert "a" in dump.until("/worker/accepted", "sii")
        task = executor.next_task()
        assert (task.operation, task.params.count, task.params.radius) == ("draw_circles", 3, 5)
        dump.until("/worker/processing", " si ")
        executor.finish(task)
        assert "draw_circles" in dump.until("/worker/ready", "siiiiis")
        oscsend(port, "/worker/jbo", "s", "a")
        assert "did you mean /worker/job" in dump.until("/worker/error", "iss")
        oscsend(port, "/worker/status")
        dump.until("/worker/status", "siii", "Ready")
    peer.close()


def test_numbers():
    """The numbers come as one float per address."""
    executor, peer = HoldingExecutor(), Peer()
    number_port = free_port()
    with Dump(number_port) as dump, running(executor, peer, number_port=number_port) as service:
        oscsend(service.address[1], "/worker/ping", "i", 1)
        assert "/worker/n/ready f 1" in dump.until("/worker/n/ready")
    peer.close()


def _until_heard(dump, port):
    """The other program may not listen yet; the heartbeat goes on until it does."""
    oscsend(port, "/worker/ping", "i", 1)
    dump.until("/worker/status")


def test_default_ports():
    """9460 for commands, 9461 for text, 9462 for numbers, unless somebody says otherwise."""
    config = Config()
    assert (config.port, config.text_port, config.number_port) == (9460, 9461, 9462)
