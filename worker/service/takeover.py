"""Which program holds our port, and how to ask an older worker to leave it."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass

from worker.client.line import Line, NobodyListens
from worker.protocol.messages import Hello, Ping, Pong, Quit

_ANSWER_S = 0.5
_DRAIN_S = 5.0
_LEAVE_S = 5.0


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that holds a UDP port.

    Attributes:
        is_worker: it was started as a worker.
        is_stopped: it was halted, by Ctrl-Z for example.
    """

    pid: int
    name: str
    is_worker: bool = False
    is_stopped: bool = False


def holders(port: int) -> list[Holder]:
    """The processes that hold this UDP port, as far as we may know."""
    import psutil  # only here: it would double the time that a worker takes to start

    try:
        pids = {connection.pid for connection in psutil.net_connections("udp") if connection.laddr and connection.laddr.port == port}
        found = [psutil.Process(pid) for pid in sorted(pid for pid in pids if pid)]
        return [
            Holder(process.pid, process.name(), _is_worker(process.cmdline()), process.status() == psutil.STATUS_STOPPED)
            for process in found
        ]
    except psutil.Error:  # without rights over other users' processes
        return []


def _is_worker(words: list[str]) -> bool:
    """Whether a command line starts a worker.

    >>> _is_worker(["/usr/bin/python", "-m", "worker", "serve"]), _is_worker(["/usr/bin/td-image-worker", "serve"]), _is_worker(["serve"])
    (True, True, False)
    """
    return "serve" in words and ("worker" in words or any("td-image-worker" in word for word in words))


def holder(host: str, port: int) -> str:
    """A sentence about the program that listens there."""
    pong = _ping(host, port)
    if pong is not None:
        return (
            f"A TD Image Worker listens there, up for {pong.uptime_s:.0f} s; `serve --replace` asks it to leave, or choose another --port."
        )
    found = holders(port)
    if not found:
        return "The port is in use; choose another --port."
    silent = " It is a worker that does not answer, so it hangs: end that process." if any(one.is_worker for one in found) else ""
    return f"The port is held by {', '.join(f'{one.name} (process {one.pid})' for one in found)}; choose another --port.{silent}"


def ask_to_leave(host: str, port: int) -> Iterator[str]:
    """Asks a worker that listens there to finish its jobs and end, and then to end at once. Yields sentences about it."""
    if _ping(host, port) is None:
        return
    yield f"Asking the worker on {host}:{port} to leave ..."
    for patience in (_DRAIN_S, _LEAVE_S):  # the second `quit` means: at once
        try:
            with Line(host, port) as line:
                line.tell(Quit())
        except (NobodyListens, OSError):  # it has just gone
            pass
        gone_by = time.monotonic() + patience
        while time.monotonic() < gone_by:
            if _is_free(host, port):
                yield "It has left."
                return
            time.sleep(0.05)
    yield "It has not left."


def _ping(host: str, port: int) -> Pong | None:
    try:
        with Line(host, port) as line:
            # The hello, so that the answer comes to this socket.
            pong = line.ask((Hello("takeover", 0, 0), Ping(1)), lambda report: isinstance(report, Pong), _ANSWER_S)
            if pong is not None:
                line.leave()
            return pong if isinstance(pong, Pong) else None
    except (NobodyListens, OSError):  # nobody, or somebody who does not answer
        return None


def _is_free(host: str, port: int) -> bool:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.bind((host, port))
        except OSError:
            return False
    return True
