"""The way of an empty job over OSC, there and back, beside what it cannot be faster than. Run as `python -m tests.benchmarks.roundtrip`.

Measured in one run, taking turns:
    floor       a UDP echo in a second process, which decodes and encodes the same OSC and makes one hop through a pipe to a third
    pool        `concurrent.futures.ProcessPoolExecutor` with one process: no OSC, no socket, no promises
    worker      `noop` through `serve`, from the datagram of the job to the datagram of its `ready`, without a journal; asked for as the
                Python client does, with bundles and acknowledgements
    plain       the same for a client that asks for neither, as TouchDesigner's text does
    journal     as `worker`, with the journal, durability "process"
    power       the same with durability "power", which waits for the disk
    page        as `worker`, with the page and discovery, if their packages are installed; the others run without both
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing.connection import Connection
from pathlib import Path

from tests.reliability import running
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_OUT
from worker.protocol.messages import Ack, Hello, Job, Ready

#: Until all children have imported what they need.
WARM_S = 4.0
#: As the Python client introduces itself, and as a client that knows nothing of this does.
OURS = Hello("benchmark", 0, 0, acknowledges=1, bundles=1)
PLAIN = Hello("benchmark", 0, 0)

#: Without those who watch.
BARE = ("--http", "off", "--no-discovery")

#: Makes one round trip; the number makes its job's id unique.
Trip = Callable[[int], None]


def echo(pipe: Connection, port_pipe: Connection) -> None:
    """The floor's second process."""
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    port_pipe.send(udp.getsockname()[1])
    while True:
        datagram, sender = udp.recvfrom(65_535)
        (job,) = osc.decode_commands(datagram)
        pipe.send(job.id)
        udp.sendto(osc.encode(Ready(pipe.recv(), 1, 1, 0, 0, 0, "noop")), sender)


def reflect(pipe: Connection) -> None:
    """The floor's third process."""
    while True:
        pipe.send(pipe.recv())


def nothing(number: int) -> int:
    return number


@contextlib.contextmanager
def floor() -> Iterator[Trip]:
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    told, tell = context.Pipe()
    processes = [context.Process(target=echo, args=(near, tell), daemon=True), context.Process(target=reflect, args=(far,), daemon=True)]
    for process in processes:
        process.start()
    with over_osc(told.recv()) as trip:
        yield trip
    for process in processes:
        process.kill()
        process.join()


@contextlib.contextmanager
def pool() -> Iterator[Trip]:
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as executor:
        yield lambda number: executor.submit(nothing, number).result() and None


@contextlib.contextmanager
def worker(*options: str, plain: bool = False, page: bool = False) -> Iterator[Trip]:
    with tempfile.TemporaryDirectory() as directory:
        state = [] if "--no-journal" in options else ["--state", f"{directory}/state"]
        with (
            running.worker(Path(directory), *state, *(() if page else BARE), *options) as port,
            over_osc(port, PLAIN if plain else OURS) as trip,
        ):
            yield trip


@contextlib.contextmanager
def over_osc(port: int, hello: Hello | None = None) -> Iterator[Trip]:
    """Trips from one socket. Every report in between is read and decoded.

    If that was promised, finals are acknowledged: together with the next command, as the Python client does.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect(("127.0.0.1", port))
        if hello:
            udp.send(osc.encode(hello))
        acks: list[Ack] = []

        def trip(number: int) -> None:
            name = f"bench-{os.getpid()}-{number}"
            udp.send(osc.encode_bundle([*acks, Job(name, "noop")]) if acks else osc.encode(Job(name, "noop")))
            acks.clear()
            waits = True
            while waits:
                for report in osc.decode_reports(udp.recv(65_535)):
                    if isinstance(report, Ready) and report.id == name:
                        waits = False
                        if hello and hello.acknowledges:
                            acks.append(Ack(report.seq))

        yield trip


def measure(trips: int, rounds: int, contestants: dict[str, Trip]) -> dict[str, list[float]]:
    """The seconds of each trip. The contestants take turns, so that what else the machine does hits them alike."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    number = 0
    for trip in contestants.values():  # warm up
        for _ in range(trips // 4):
            number += 1
            trip(number)
    for _ in range(rounds):
        for name, trip in contestants.items():
            for _ in range(trips // rounds):
                number += 1
                started = time.perf_counter()
                trip(number)
                seconds[name].append(time.perf_counter() - started)
    return seconds


def throughput(port: int, jobs: int, window: int = 64) -> float:
    """Jobs per second with so many of them under way, once all children are warm."""
    time.sleep(WARM_S)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(10)
        udp.connect(("127.0.0.1", port))
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 2**20)
        udp.send(osc.encode(OURS))
        sent, ended = 0, set[str]()
        started = time.perf_counter()
        while len(ended) < jobs:
            while sent < jobs and sent - len(ended) < window:
                udp.send(osc.encode(Job(f"through-{os.getpid()}-{sent}", "noop")))
                sent += 1
            finals = [report for report in osc.decode_reports(udp.recv(65_535)) if isinstance(report, Ready)]
            ended.update(final.id for final in finals)
            for datagram in osc.bundles([osc.encode(Ack(final.seq)) for final in finals], MAX_DATAGRAM_OUT):
                udp.send(datagram)
        return jobs / (time.perf_counter() - started)


def show(seconds: dict[str, list[float]]) -> None:
    def shares(values: list[float]) -> list[float]:
        ordered = sorted(values)
        return [ordered[int(len(ordered) * share)] for share in (0.5, 0.95, 0.99)]

    base = shares(seconds["floor"])
    print(f"{'':10} {'p50 us':>8} {'p95 us':>8} {'p99 us':>8} {'per s':>8} {'p50 x floor':>12} {'p99 x floor':>12}")
    for name, values in seconds.items():
        p50, p95, p99 = shares(values)
        rate = len(values) / sum(values)
        print(f"{name:10} {p50 * 1e6:8.0f} {p95 * 1e6:8.0f} {p99 * 1e6:8.0f} {rate:8.0f} {p50 / base[0]:12.2f} {p99 / base[2]:12.2f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trips", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    print(f"{platform.python_implementation()} {platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, one job at a time")
    print(f"load {os.getloadavg()[0]:.1f}")
    with contextlib.ExitStack() as stack:
        contestants = {
            "floor": floor(),
            "pool": pool(),
            "worker": worker("--no-journal"),
            "plain": worker("--no-journal", plain=True),
            "journal": worker(),
            "power": worker("--durability", "power"),
            "page": worker("--no-journal", page=True),
        }
        show(measure(options.trips, options.rounds, {name: stack.enter_context(one) for name, one in contestants.items()}))
    print("64 jobs under way:")
    rates: dict[str, list[float]] = {"--no-journal": [], "--durability=process": [], "--durability=power": []}
    for _ in range(min(3, options.rounds)):
        for choice, measured in rates.items():
            with tempfile.TemporaryDirectory() as directory:
                state = () if choice == "--no-journal" else ("--state", f"{directory}/state")
                with running.worker(Path(directory), choice, *BARE, *state) as port:
                    measured.append(throughput(port, options.trips))
    base = statistics.median(rates["--no-journal"])
    for choice, measured in rates.items():
        rate = statistics.median(measured)
        print(f"{choice:22} {rate:8.0f} jobs/s   {rate / base:5.2f} of the rate without a journal")
    return 0


if __name__ == "__main__":
    sys.exit(main())
