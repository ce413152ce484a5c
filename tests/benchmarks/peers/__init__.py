"""Who takes part in the race of empty jobs: one file for each. None of them is needed to run or to test the worker.

Each file has
    PACKAGE     what must be installed; empty if it comes with Python or with us
    WHAT        how it is set up, in a few words
    opened      a context manager that gives a `Calls`. A peer over Redis is given its address
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from tests.ports import free_port

WORKERS = 2
WAIT_S = 60.0
#: Where the address of Redis stands for the processes that a peer starts.
REDIS = "TD_IMAGE_WORKER_BENCHMARK_REDIS"


class Calls(Protocol):
    """Jobs that give their number back. `send` starts one; `take` waits until one is done. The order is the peer's own."""

    def send(self, number: int) -> None: ...
    def take(self) -> int: ...


class InOrder:
    """Calls of a peer that gives something to wait for with each job. The oldest is waited for first.

    Args:
        send: starts a job, and gives what stands for it.
        wait: waits until that is done; gives the job's number.
    """

    def __init__(self, send: Callable[[int], Any], wait: Callable[[Any], int]) -> None:
        self._send, self._wait = send, wait
        self._under_way: deque[Any] = deque()

    def send(self, number: int) -> None:
        self._under_way.append(self._send(number))

    def take(self) -> int:
        return self._wait(self._under_way.popleft())


@contextlib.contextmanager
def process(*command: str, until: Callable[[], object]) -> Iterator[None]:
    """A process of a peer. `until` is one job: when it is done, the process has come up."""
    with tempfile.TemporaryFile() as log:
        started = subprocess.Popen([sys.executable, "-m", *command], stdout=log, stderr=log, start_new_session=True)
        try:
            until()
            yield
        finally:
            started.terminate()
            try:
                started.wait(20)
            except subprocess.TimeoutExpired:
                started.kill()
                started.wait()


def address() -> str:
    """Of Redis, for the processes that a peer starts."""
    return os.environ[REDIS]


@contextlib.contextmanager
def redis_server(program: str) -> Iterator[str]:
    """A Redis of our own that writes nothing to the disk. Gives its address."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        server = subprocess.Popen([program, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + WAIT_S
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                if time.monotonic() > deadline:
                    raise TimeoutError("Redis does not answer.")
                time.sleep(0.05)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            server.terminate()
            server.wait()
