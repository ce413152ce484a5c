"""The worker: `noop` over OSC, with the journal; each final is acknowledged, as the client in `worker.client` does it."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import seed
from tests.benchmarks.peers import WAIT_S, WORKERS, Calls
from tests.reliability import running
from worker.protocol import osc
from worker.protocol.messages import Ack, Hello, Job, Ready

PACKAGE = ""
WHAT = "over UDP with a journal, 2 children"
OPTIONS: tuple[str, ...] = ()


class OverOsc:
    """Jobs from one socket."""

    def __init__(self, udp: socket.socket) -> None:
        self._udp = udp
        self._ended: deque[int] = deque()
        self._prefix = f"race-{os.getpid()}-"

    def send(self, number: int) -> None:
        self._udp.send(osc.encode(Job(f"{self._prefix}{number}", "noop")))

    def take(self) -> int:
        while not self._ended:
            for report in osc.decode_reports(self._udp.recv(65_535)):
                if isinstance(report, Ready):
                    self._udp.send(osc.encode(Ack(report.seq)))
                    self._ended.append(int(report.id.removeprefix(self._prefix)))
        return self._ended.popleft()


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    yield from over_osc()


def over_osc(*options: str) -> Iterator[Calls]:
    with tempfile.TemporaryDirectory() as folder:
        state = () if "--no-journal" in options else ("--state", f"{folder}/state")
        with (
            running.worker(Path(folder), *state, *options, "--workers", str(WORKERS), "--nice", "0") as port,
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp,
        ):
            udp.settimeout(WAIT_S)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
            udp.connect(("127.0.0.1", port))
            udp.send(osc.encode(Hello("race", 0, 0)))
            seed.come_to_rest(port)
            yield OverOsc(udp)
