"""Who holds our port: another worker, perhaps an older copy of ourselves that can be asked to leave."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

from worker.protocol import osc
from worker.protocol.messages import Hello, Ping, Pong, Quit

_ANSWER_S = 0.5
_DRAIN_S = 5.0
_LEAVE_S = 5.0


def holder(host: str, port: int) -> str:
    """A sentence about the program that listens there, or "" where nothing can be found out."""
    pong = _ping(host, port)
    if pong is not None:
        return (
            f"A TD Image Worker listens there, up for {pong.uptime_s:.0f} s; `serve --replace` asks it to leave, or choose another --port."
        )
    import psutil  # only here: it would double the time that a worker takes to start

    try:
        pids = [connection.pid for connection in psutil.net_connections("udp") if connection.laddr and connection.laddr.port == port]
        names = sorted({f"{psutil.Process(pid).name()} (process {pid})" for pid in pids if pid})
    except psutil.Error:  # without rights over other users' processes
        names = []
    return f"The port is held by {', '.join(names)}; choose another --port." if names else "The port is in use; choose another --port."


def ask_to_leave(host: str, port: int) -> Iterator[str]:
    """Has a worker that listens there finish its running jobs and end; at once if that takes too long. Tells what it does."""
    if _ping(host, port) is None:
        return
    yield f"Asking the worker on {host}:{port} to leave ..."
    for patience in (_DRAIN_S, _LEAVE_S):  # the second `quit` means: at once
        with _socket() as udp:
            udp.sendto(osc.encode(Quit()), (host, port))
        gone_by = time.monotonic() + patience
        while time.monotonic() < gone_by:
            if _is_free(host, port):
                yield "It has left."
                return
            time.sleep(0.05)
    yield "It has not left."


def _ping(host: str, port: int) -> Pong | None:
    with _socket() as udp:
        try:
            udp.sendto(osc.encode(Hello("takeover", 0, 0)), (host, port))  # so that the answer comes to this socket
            udp.sendto(osc.encode(Ping(1)), (host, port))
            deadline = time.monotonic() + _ANSWER_S
            while (left := deadline - time.monotonic()) > 0:
                udp.settimeout(left)
                for report in osc.decode_reports(udp.recv(65_535)):
                    if isinstance(report, Pong):
                        return report
        except OSError:  # nobody, or somebody who does not answer
            pass
    return None


def _is_free(host: str, port: int) -> bool:
    with _socket() as udp:
        try:
            udp.bind((host, port))
        except OSError:
            return False
    return True


def _socket() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
