"""A worker as a process of its own, for the tests that need one."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from tests.ports import free_port
from worker.protocol import osc
from worker.protocol.messages import Hello, Ping, Pong

REPOSITORY = Path(__file__).parents[2]
STARTED_WITHIN_S = 30.0


def start(port: int, root: Path, *options: str, log: Path | None = None) -> subprocess.Popen[bytes]:
    """Starts `serve` on this port. Its reports go to ports of their own, so that tests may run side by side."""
    with contextlib.ExitStack() as stack:
        output = stack.enter_context((log or root / "worker.log").open("ab"))
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "worker",
                "serve",
                "--port",
                str(port),
                "--root",
                str(root),
                "--text-port",
                "1",
                "--number-port",
                "1",
                "--nice",
                "0",  # what runs beside a test must not slow it down more than the test itself
                *options,
            ],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )


def wait_until_it_answers(port: int, within_s: float = STARTED_WITHIN_S) -> Pong:
    """Pings until a pong comes."""
    deadline = time.monotonic() + within_s
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(0.1)
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                udp.sendto(osc.encode(Hello("test", 0, 0)), ("127.0.0.1", port))
                udp.sendto(osc.encode(Ping(1)), ("127.0.0.1", port))
                for _ in range(10):
                    for report in osc.decode_reports(udp.recv(65_535)):
                        if isinstance(report, Pong):
                            return report
    raise TimeoutError(f"no worker answers on port {port}")


@contextlib.contextmanager
def worker(root: Path, *options: str, port: int = 0) -> Iterator[int]:
    """A worker that runs while the block does. Gives its port."""
    port = port or free_port()
    process = start(port, root, *options)
    try:
        wait_until_it_answers(port)
        yield port
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
