"""`health` against a real worker: what it says and how it exits."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ports import free_port
from tests.reliability.running import REPOSITORY, start, wait_until_it_answers, worker
from worker.client.line import Line
from worker.protocol.messages import Hello, Job, Processing

posix = pytest.mark.skipif(os.name != "posix", reason="not on this system: no SIGSTOP")


def call(command: str, port: int, *options: str) -> tuple[int, str]:
    """Exit code and output."""
    done = subprocess.run(
        [sys.executable, "-m", "worker", command, "--port", str(port), *options],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.strip()


@contextlib.contextmanager
def at_work(folder: Path) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """A worker with one slot and a job that fills it for longer than the test takes."""
    port = free_port()
    process = start(port, folder, "--no-journal", "--workers", "1")
    try:
        wait_until_it_answers(port)
        with Line("127.0.0.1", port) as line:
            small = (("count", 100_000), ("width", 16), ("height", 16), ("priority", 0))
            line.tell(Hello("test", 0, 0), Job("long", "draw_circles", (("output", "{n}.png"), *small)))
            assert any(isinstance(report, Processing) for report in line.hear(5))
            yield port, process
    finally:
        process.kill()
        process.wait()


def test_a_worker_that_works(tmp_path):
    """A job went through a child: 0, and one sentence. The worker does not find the check gone afterwards."""
    with worker(tmp_path, "--no-journal") as port:
        code, said = call("health", port)
    assert code == 0
    assert said.startswith("The worker is well: a job took")
    assert ":9459, where reports go" not in (tmp_path / "worker.log").read_text()


def test_nobody_listens():
    """It does not wait for somebody who cannot answer."""
    port = free_port()
    started = time.monotonic()
    code, said = call("health", port)
    assert code == 1
    assert said.startswith(f"Nobody listens at 127.0.0.1:{port} (UDP). `td-image-worker serve` starts a worker")
    assert time.monotonic() - started < 5


@posix
def test_a_worker_that_hangs_is_told_and_ended_where_that_is_wanted(tmp_path):
    """Silence is bad; only with --end-after-s, and not while it may be starting, the process is killed."""
    port = free_port()
    process = start(port, tmp_path, "--no-journal")
    try:
        wait_until_it_answers(port)
        os.kill(process.pid, signal.SIGSTOP)
        code, said = call("health", port, "--wait-s", "1")
        assert (code, said.partition(" `")[0]) == (1, f"The worker at 127.0.0.1:{port} does not answer.")
        assert "still starting" in call("health", port, "--wait-s", "1", "--end-after-s", "1")[1]
        assert process.poll() is None
        code, said = call("health", port, "--wait-s", "1", "--end-after-s", "1", "--start-s", "0")
        assert code == 1
        assert f"process {process.pid} hangs and is killed" in said
        assert process.wait(10) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()


def test_a_busy_worker_is_well(tmp_path):
    """Its job waits behind others; the canary has a child of its own and is young."""
    with at_work(tmp_path) as (port, _):
        code, said = call("health", port, "--wait-s", "1")
    assert (code, said.partition(":")[0]) == (0, "The worker is well but busy")


def test_a_worker_that_shuts_down_is_not_well(tmp_path):
    """It answers, but takes no jobs."""
    with at_work(tmp_path) as (port, process):
        process.terminate()
        time.sleep(0.5)
        assert call("health", port) == (1, "The worker is shutting down and takes no new jobs.")


def test_another_program_is_left_alone():
    """Who holds the port and is no worker lives on: the check says so, and kills nobody."""
    port = free_port()
    bound = f"s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', {port}))"
    program = f"import socket, time; {bound}; print(flush=True); time.sleep(90)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as victim:
        try:
            assert victim.stdout is not None
            victim.stdout.readline()
            code, said = call("health", port, "--wait-s", "0.5", "--end-after-s", "0.5", "--start-s", "0")
            assert code == 1
            assert f"Process {victim.pid} " in said
            assert "is no worker of this user, so it is left alone" in said
            assert victim.poll() is None
        finally:
            victim.kill()
