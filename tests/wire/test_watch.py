"""`watch` beside a real service: it waits for it, hears of another client's jobs, and sees that it was started again."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from tests.ports import free_port
from tests.reliability.running import REPOSITORY
from tests.wire.running import HoldingExecutor, Peer, running, wait_for
from worker.cli import watch as command
from worker.client.board import Board
from worker.client.line import Line
from worker.core.jobs import Failure
from worker.protocol.messages import Hello, Job


class Heard:
    """An output that keeps what was said, and ends the command."""

    def __init__(self):
        self.said = []
        self.end = False

    def heard(self, report):
        pass

    def say(self, sentence):
        self.said.append(sentence)

    def draw(self):
        if self.end:
            raise KeyboardInterrupt

    def has(self, text):
        return any(text in sentence for sentence in self.said)


@pytest.fixture
def peer():
    peer = Peer()
    yield peer
    peer.close()


def test_watch(peer):
    """First nobody is there; then a worker with a job that fails; then it ends, and another one starts on the same port."""
    port = free_port()
    heard, board = Heard(), Board(f"127.0.0.1:{port}")
    line = Line("127.0.0.1", port)

    def follow():
        with pytest.raises(KeyboardInterrupt):
            command._follow(line, Hello("watch", 0, 0, bundles=1), board, heard, None)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        wait_for(lambda: heard.has("waiting for a worker"))
        executor = HoldingExecutor()
        with running(executor, peer, port=port):
            wait_for(lambda: heard.has("is there"))
            peer.send(Hello("td", peer.text_port, 0), Job("shot-1", "noop", ()))
            task = executor.next_task()
            wait_for(lambda: heard.has("noop shot-1 of td: running"))
            executor.finish(task, Failure(404, "file", "There is no file x.png."))
            wait_for(lambda: heard.has("noop shot-1 of td: file 404 after"))
        wait_for(lambda: heard.has("does not answer any more") or heard.has("Stopping"))
        with running(HoldingExecutor(), peer, port=port):
            wait_for(lambda: heard.has("was started again"))
    finally:
        heard.end = True
        thread.join()
        line.close()
    text = io.StringIO()
    Console(file=text, width=140).print(command.picture(board, heard.said[-1], (140, 40)))
    assert "There is no file x.png." in text.getvalue()
    for width in (40, 80):
        text = io.StringIO()
        Console(file=text, width=width).print(command.picture(board, heard.said[-1], (width, 40)))
        for word in ("job", "shot-1", "state", "file 404", "ran", "There is no file"):
            assert word in " ".join(text.getvalue().split())
        assert max(map(len, text.getvalue().splitlines())) <= width


def test_ctrl_c_ends_it():
    """Without a traceback, and as something that is meant to be ended so."""
    command_line = [sys.executable, "-m", "worker", "watch", "--port", str(free_port())]
    process = subprocess.Popen(command_line, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "waiting for a worker at 127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
