"""A burst of commands, and what a waiting job costs. Run as `python -m tests.benchmarks.burst`.

A client sends tens of thousands of jobs without a pause. Each is answered, or the system has dropped it because its buffer was full. Both
are counted; what is missing then was lost by the worker.

Then the children are stopped, so that jobs wait: memory of the parent and its processor time for each, at rising numbers of waiting jobs,
and its processor time for each while they are worked off.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.reliability import running
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import Accepted, Ack, Hello, Job, Ready

OPTIONS = ("--no-journal", "--log-level", "warning", "--queue-jobs", "1000000", "--packets-per-second", "1000000")
STEPS = (1_000, 10_000, 100_000)
QUIET_S = 3.0


class Client:
    """Sends jobs, and notes in a thread which of them were accepted and which are ready. Acknowledges."""

    def __init__(self, port: int) -> None:
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError, AttributeError):
            self.udp.setsockopt(socket.SOL_SOCKET, 33, 64 * 2**20)  # SO_RCVBUFFORCE: what is lost shall be lost on the way there
        self.udp.connect(("127.0.0.1", port))
        self.accepted: set[str] = set()
        self.ready: set[str] = set()
        self.heard_at = time.monotonic()
        self.udp.send(osc.encode(Hello("burst", 0, 0, acknowledges=1, bundles=1)))
        threading.Thread(target=self._read, daemon=True).start()

    def send(self, names: list[str]) -> float:
        """Sends a job of each name, as fast as it can. Seconds."""
        datagrams = [osc.encode(Job(name, "noop")) for name in names]
        began = time.perf_counter()
        for datagram in datagrams:
            self.udp.send(datagram)
        return time.perf_counter() - began

    def wait_until_quiet(self) -> None:
        while time.monotonic() - self.heard_at < QUIET_S:
            time.sleep(0.1)

    def _read(self) -> None:
        while True:
            reports = osc.decode_reports(self.udp.recv(65_535))
            finals = [report for report in reports if isinstance(report, Ready)]
            accepted = [report.id for report in reports if isinstance(report, Accepted)]
            if finals or accepted:
                self.heard_at = time.monotonic()
            self.accepted.update(accepted)
            self.ready.update(final.id for final in finals)
            for datagram in osc.bundles([osc.encode(Ack(final.seq)) for final in finals], MAX_DATAGRAM_OUT):
                self.udp.send(datagram)


def dropped(port: int) -> int:
    """How many packets the system has dropped at this port (Linux)."""
    for line in Path("/proc/net/udp").read_text().splitlines()[1:]:
        columns = line.split()
        if int(columns[1].rpartition(":")[2], 16) == port:
            return int(columns[-1])
    return 0


@contextlib.contextmanager
def stopped_children(parent: psutil.Process) -> Iterator[None]:
    """Nobody works meanwhile: children are stopped as soon as they are there, and go on at the end."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for child in parent.children():
                with contextlib.suppress(psutil.Error):
                    if child.status() != psutil.STATUS_STOPPED:
                        child.send_signal(signal.SIGSTOP)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        time.sleep(1)
        yield
    finally:
        over.set()
        thread.join()
        for child in parent.children():
            with contextlib.suppress(psutil.Error):
                child.send_signal(signal.SIGCONT)


def burst(folder: Path, jobs: int) -> None:
    port = free_port()
    process = running.start(port, folder, *OPTIONS)
    try:
        running.wait_until_it_answers(port)
        client = Client(port)
        before = dropped(port)
        took = client.send([f"burst-{number}" for number in range(jobs)])
        client.wait_until_quiet()
        lost = dropped(port) - before
        answered = len(client.accepted | client.ready)
        print(f"{jobs:,} commands in {took * 1e3:.0f} ms: {answered:,} answered, {lost:,} dropped by the system's full buffer,", end=" ")
        print(f"{jobs - answered - lost:,} lost otherwise")
    finally:
        process.kill()
        process.wait()


def waiting(folder: Path, steps: tuple[int, ...]) -> None:
    port = free_port()
    process = running.start(port, folder, *OPTIONS)
    try:
        running.wait_until_it_answers(port)
        parent = psutil.Process(process.pid)
        client = Client(port)
        with stopped_children(parent):
            sent, memory, cpu = 0, parent.memory_info().rss, sum(parent.cpu_times()[:2])
            print(f"{'waiting':>10} {'bytes a job':>12} {'us a job to take it':>20}")
            for step in steps:
                before = cpu, sent
                while sent < step:  # a few at a time, so that none is lost
                    names = [f"wait-{number}" for number in range(sent, min(step, sent + 200))]
                    client.send(names)
                    sent += len(names)
                    while len(client.accepted) < sent:
                        time.sleep(0.001)
                cpu = sum(parent.cpu_times()[:2])
                held = (parent.memory_info().rss - memory) / sent
                print(f"{sent:10,} {held:12.0f} {(cpu - before[0]) / (sent - before[1]) * 1e6:20.0f}")
        left = [sent, *reversed(steps[:-1]), 0]
        print(f"{'worked off':>21} {'us a job':>10}")
        while not client.ready:
            time.sleep(0.01)
        for first, last in itertools.pairwise(left):
            cpu, ended = sum(parent.cpu_times()[:2]), len(client.ready)
            while len(client.ready) < sent - last:
                time.sleep(0.01)
            each = (sum(parent.cpu_times()[:2]) - cpu) / max(1, len(client.ready) - ended)
            print(f"{f'{first:,} to {last:,}':>21} {each * 1e6:10.0f}")
    finally:
        process.kill()
        process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--waiting", type=int, nargs="*", default=STEPS)
    options = parser.parse_args()
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as directory:
        burst(Path(directory), options.jobs)
        waiting(Path(directory), tuple(options.waiting))
    return 0


if __name__ == "__main__":
    sys.exit(main())
