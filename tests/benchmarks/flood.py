"""A known client's jobs while a stranger sends as fast as one core can. Run as `python -m tests.benchmarks.flood`.

The stranger has an address that the worker does not let in (127.0.0.2), and a core of its own, as another computer would; client,
worker and children share the others, in calm as in flood. Both states take turns in one run; the figures are ratios.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import socket
import sys
import tempfile
import time
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

from tests.benchmarks.roundtrip import OURS, over_osc
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
    options = parser.parse_args()
    use_cores(last=False)
    context = multiprocessing.get_context("spawn")
    sending, sent = context.Value("b", False), context.Value("q", 0)
    times: dict[str, list[float]] = {"calm": [], "flood": []}
    flooded_s = 0.0
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        port = stack.enter_context(running.worker(directory, "--no-journal"))
        trip = stack.enter_context(over_osc(port, OURS))
        stranger = context.Process(target=flood, args=(port, sending, sent, 300.0), daemon=True)
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
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores; the stranger sent {rate:,.0f} packets a second")
    print(f"{'':6} {'p50 us':>8} {'p95 us':>8} {'p99 us':>8}")
    for name, values in times.items():
        values.sort()
        print(f"{name:6} " + " ".join(f"{share(values, part) * 1e6:8.0f}" for part in (0.5, 0.95, 0.99)))
    p50, p99 = (share(times["flood"], part) / share(times["calm"], part) for part in (0.5, 0.99))
    print(f"flood over calm: p50 {p50:.2f}, p99 {p99:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
