"""Fills every collection of the worker that packets can make grow, one after the other, and says how much memory it takes then.

Run as `python -m tests.security.fill`. Needs Linux, which says how much memory a process had at most. It is let in, and does all that a
client may do: presets, ended jobs with results whose finals are never acknowledged, clients and senders, waiting jobs, packets faster than
they are read. Fails if the worker took more than SECURITY.md promises, or does not answer any more.
"""

from __future__ import annotations

import contextlib
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.ports import free_port
from tests.reliability import running
from worker.protocol import osc
from worker.protocol.messages import Command, Failed, Hello, Job, Ping, Pong, Ready, Report, Set

PROMISED_MB = 500
#: As large as a datagram may be, and small enough that many wait.
LARGE, MIDDLE = 60_000, 6_600
WAIT_S = 120.0


class Sender:
    """A client that never acknowledges. It reads what comes only if it waits for something."""

    def __init__(self, port: int) -> None:
        self._worker = ("127.0.0.1", port)
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self._udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 2**20)
        self._udp.settimeout(1.0)
        self.send(Hello("fill", 0, 0, acknowledges=1))

    def send(self, command: Command) -> None:
        self._udp.sendto(osc.encode(command), self._worker)

    def until(self, is_it: Callable[[Report], bool], again: Command) -> None:
        """Waits for a report, and asks again from time to time."""
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            self.send(again)
            with contextlib.suppress(TimeoutError):
                for _ in range(2000):
                    for report in osc.decode_reports(self._udp.recv(65_535)):
                        if not isinstance(report, Exception) and is_it(report):
                            return
        raise TimeoutError(f"no answer to {again}"[:200])

    def pong(self, number: int) -> None:
        """Waits until all that was sent before is handled."""
        self.until(lambda report: isinstance(report, Pong) and report.nonce == number, Ping(number))

    def close(self) -> None:
        self._udp.close()


def presets(sender: Sender) -> None:
    for number in range(2000):
        sender.send(Set(f"p{number % 1000}", f"k{number}", "v" * 15_000))
        if number % 50 == 49:
            sender.pong(number)


def ended(sender: Sender) -> None:
    """As many as are remembered, some with long results."""
    for number in range(10_500):
        results = number % 100 == 0
        params = (("output", f"f{number}-{{n}}.png"), ("count", 200), ("width", 16), ("height", 16)) if results else ()
        job = Job(f"{'i' * 180}{number}", "draw_circles" if results else "noop", params)
        sender.send(job)
        if number % 100 == 99:
            sender.until(lambda report, job=job: isinstance(report, Ready | Failed) and report.id == job.id, job)  # type: ignore[misc]


def clients(_: Sender, port: int) -> None:
    """Each from a socket of its own, most of them the only time."""
    for number in range(4500):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.sendto(osc.encode(Hello("n" * 90 + str(number), 0, 0, "", "", 1)), ("127.0.0.1", port))
        if number % 100 == 99:
            time.sleep(0.05)


def waiting(sender: Sender) -> None:
    """Behind jobs that keep all children busy."""
    for number in range(2):
        sender.send(Job(f"long{number}", "write_text", (("output", f"l{number}.txt"), ("line", "y" * 50), ("count", 10**8))))
    for number in range(11_000):
        sender.send(Job(f"waits{number}", "write_text", (("output", "w.txt"), ("text", f"{number:{MIDDLE}}"))))
        if number % 100 == 99:
            sender.pong(number)


def packets(sender: Sender) -> None:
    """Faster than they are read."""
    datagram = Job("large", "write_text", (("output", "w.txt"), ("text", "x" * LARGE), ("bad", 1)))
    until = time.monotonic() + 5
    while time.monotonic() < until:
        sender.send(datagram)
    sender.pong(99)


def memory(pid: int) -> tuple[float, float]:
    """How much a process takes now, and how much it has taken at most, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    now, most = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) / 1024 for name in ("VmRSS", "VmHWM"))
    return now, most


def fill(port: int, pid: int) -> Iterator[tuple[str, float, float]]:
    """What was filled, and the memory then and at most until then."""
    sender = Sender(port)
    sender.pong(1)
    yield "nothing yet", *memory(pid)
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("presets", lambda: presets(sender)),
        ("ended jobs, results, finals that nobody acknowledges", lambda: ended(sender)),
        ("clients and senders", lambda: clients(sender, port)),
        ("waiting jobs", lambda: waiting(sender)),
        ("packets that wait to be read", lambda: packets(sender)),
    )
    for name, step in steps:
        step()
        sender.pong(7)
        yield name, *memory(pid)
    sender.close()


def main() -> int:
    most = 0.0
    with tempfile.TemporaryDirectory() as directory:
        port = free_port()
        process = running.start(port, Path(directory), "--state", f"{directory}/state", "--workers", "2", "--timeout-ms", "0")
        try:
            running.wait_until_it_answers(port)
            for name, now, most in fill(port, process.pid):
                print(f"{now:6.0f} MB, at most {most:4.0f} MB: {name}", flush=True)
        finally:
            process.kill()
            process.wait()
    print(f"at most {most:.0f} MB; {PROMISED_MB} MB are promised")
    return 1 if most > PROMISED_MB else 0


if __name__ == "__main__":
    sys.exit(main())
