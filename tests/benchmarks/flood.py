"""A known client's jobs while a stranger sends as fast as one core can. Run as `python -m tests.benchmarks.flood`.

The stranger has an address that the worker does not let in (127.0.0.2), and a core of its own, as another computer would; client,
worker and children share the others, in calm as in flood. Both states take turns in one run; the figures are ratios.

With `--http` the stranger attacks the HTTP port instead: heads without end, slow or long, names that were made to lead here, posts of other
pages with a body that never comes, and a thousand open sockets.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import multiprocessing
import os
import platform
import socket
import sys
import tempfile
import time
from collections import deque
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.benchmarks.roundtrip import OURS, over_osc
from tests.ports import free_port
from tests.reliability import running
from worker.protocol import osc
from worker.protocol.messages import Job


def flood(port: int, sending: Synchronized[bool], sent: Synchronized[int], seconds: float) -> None:
    """Sends as fast as it can while `sending` says so, and for so long at the most."""
    use_cores(last=True)
    datagram = osc.encode(Job("stranger", "noop"))
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.2", 0))
        udp.connect(("127.0.0.1", port))
        while time.monotonic() < end:
            if not sending.value:
                time.sleep(0.001)
                continue
            for _ in range(500):
                udp.send(datagram)
            sent.value += 500


#: What the stranger's connections say.
REQUESTS = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 100_000,
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\nContent-Length: 1000000000\r\n\r\n{",
)
CONNECTIONS_PER_S = 500
HELD = 1000


def flood_http(port: int, sending: Synchronized[bool], sent: Synchronized[int], seconds: float) -> None:
    """Connects `CONNECTIONS_PER_S` times a second while `sending` says so, and holds the last `HELD` connections open."""
    use_cores(last=True)
    held: deque[socket.socket] = deque()
    requests = itertools.cycle(REQUESTS)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(1 / CONNECTIONS_PER_S if sending.value else 0.001)
        if not sending.value:
            continue
        link = socket.socket()
        link.settimeout(1.0)
        held.append(link)
        with contextlib.suppress(OSError):  # refused, or closed while we speak
            link.bind(("127.0.0.2", 0))
            link.connect(("127.0.0.1", port))
            link.sendall(next(requests))
        if len(held) > HELD:
            held.popleft().close()
        sent.value += 1


def use_cores(*, last: bool) -> None:
    """Keeps this process, and those that it will start, on the last core or on all others. Does nothing where the system cannot."""
    if hasattr(os, "sched_setaffinity") and (os.cpu_count() or 1) > 1:
        cores = sorted(os.sched_getaffinity(0) | {(os.cpu_count() or 1) - 1})
        os.sched_setaffinity(0, cores[-1:] if last else cores[:-1])


def share(ordered: list[float], part: float) -> float:
    return ordered[int(len(ordered) * part)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trips", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--http", action="store_true", help="attack the HTTP port, not the OSC port")
    options = parser.parse_args()
    use_cores(last=False)
    context = multiprocessing.get_context("spawn")
    sending, sent = context.Value("b", False), context.Value("q", 0)
    times: dict[str, list[float]] = {"calm": [], "flood": []}
    flooded_s = 0.0
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        http_port = free_port()
        http = ("--http", f"0.0.0.0:{http_port}") if options.http else ()
        port = stack.enter_context(running.worker(directory, "--no-journal", *http))
        trip = stack.enter_context(over_osc(port, OURS))
        attack, target = (flood_http, http_port) if options.http else (flood, port)
        stranger = context.Process(target=attack, args=(target, sending, sent, 300.0), daemon=True)
        stranger.start()
        time.sleep(1)
        number = 0
        for state in ["calm", *(["calm", "flood"] * options.rounds)]:
            sending.value = state == "flood"
            started = time.monotonic()
            for _ in range(options.trips // options.rounds):
                number += 1
                before = time.perf_counter()
                trip(number)
                times[state].append(time.perf_counter() - before)
            flooded_s += time.monotonic() - started if sending.value else 0
        stranger.kill()
        stranger.join()
    times["calm"] = times["calm"][options.trips // options.rounds :]  # the first round warms up
    rate = sent.value / flooded_s
    what = "requests" if options.http else "packets"
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores; the stranger sent {rate:,.0f} {what} a second")
    print(f"{'':6} {'p50 us':>8} {'p95 us':>8} {'p99 us':>8}")
    for name, values in times.items():
        values.sort()
        print(f"{name:6} " + " ".join(f"{share(values, part) * 1e6:8.0f}" for part in (0.5, 0.95, 0.99)))
    p50, p99 = (share(times["flood"], part) / share(times["calm"], part) for part in (0.5, 0.99))
    print(f"flood over calm: p50 {p50:.2f}, p99 {p99:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
