"""Empty tasks over a Dask cluster: ours, each in a child of a node, beside plain Dask. Run as `python -m tests.benchmarks.cluster`.

    ours     `ClusterExecutor`, as the worker uses it; two nodes with one child each, and a spare
    Dask     `Client.submit` of an empty function; two workers of Dask with one thread each, in processes of their own

Both on this machine, in turn, each with a scheduler of its own. `p50` and `p95` are of one task after another. `rate` is of many: ours with
as many under way as the worker would allow, Dask's by one `client.map`, which is the fastest it has.
"""

from __future__ import annotations

import argparse
import os
import platform
import queue
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.contract import cluster as processes
from tests.polling import Polled
from worker.catalog.noop import Noop
from worker.core.events import ChildrenChanged, Finished
from worker.core.jobs import Result, Task
from worker.executors.cluster import ClusterExecutor

NODES = 2
LONGEST_S = 120.0


def nothing(_number: int) -> None:
    """What Dask runs."""


def ours(single: int, many: int, folder: Path) -> tuple[list[float], float]:
    """Seconds of each single task, and the rate of many."""
    cluster = processes.Cluster(folder / "ours.log", nodes=NODES, slots=1)
    executor, came = Polled(ClusterExecutor(cluster.address, version=processes.VERSION)), queue.SimpleQueue()
    executor.start(came.put)
    slots, numbers = 0, iter(range(1, 10**9))

    def finals(count: int) -> None:
        nonlocal slots
        while count:
            event = came.get(timeout=LONGEST_S)
            count -= isinstance(event, Finished)
            if isinstance(event, ChildrenChanged) and event.nodes == NODES:
                slots = event.slots

    try:
        while not slots:
            came.put(Finished(0, Result()))
            finals(1)
            time.sleep(0.1)

        times = []
        for _ in range(single):
            started = time.perf_counter()
            executor.execute(Task(next(numbers), "works:a", Noop()))
            finals(1)
            times.append(time.perf_counter() - started)
        started, under_way = time.perf_counter(), 0
        for _ in range(many):
            while under_way >= slots:
                finals(1)
                under_way -= 1
            executor.execute(Task(next(numbers), "works:a", Noop()))
            under_way += 1
        finals(under_way)
        return times, many / (time.perf_counter() - started)
    finally:
        executor.close()
        cluster.close()


def dask(single: int, many: int, folder: Path) -> tuple[list[float], float]:
    """The same by plain Dask."""
    from distributed import Client

    cluster = processes.Cluster(folder / "dask.log", nodes=0)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(NODES)]
    try:
        with Client(cluster.address, timeout=LONGEST_S) as client:
            client.wait_for_workers(NODES, timeout=LONGEST_S)
            times = []
            for n in range(single):
                started = time.perf_counter()
                client.submit(nothing, n, pure=False).result()
                times.append(time.perf_counter() - started)
            started = time.perf_counter()
            client.gather(client.map(nothing, range(many), pure=False))
            return times, many / (time.perf_counter() - started)
    finally:
        for worker in workers:
            worker.terminate()
            worker.wait()
        cluster.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--many", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    import distributed

    print(f"{os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}, Dask distributed {distributed.__version__}")
    print(
        f"{NODES} nodes on this machine; {arguments.single} single tasks, {arguments.many} at once; medians of {arguments.rounds} rounds\n"
    )
    found: dict[str, list[tuple[float, float, float]]] = {"ours": [], "Dask": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(arguments.rounds):
            for name, contestant in (("ours", ours), ("Dask", dask)):
                times, rate = contestant(arguments.single, arguments.many, Path(folder))
                p95 = statistics.quantiles(times, n=20)[-1]
                found[name].append((statistics.median(times), p95, rate))
    rows = {name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in found.items()}
    print(f"{'':6}{'p50 ms':>9}{'p95 ms':>9}{'tasks/s':>10}")
    for name, (p50, p95, rate) in rows.items():
        print(f"{name:6}{p50 * 1000:>9.1f}{p95 * 1000:>9.1f}{rate:>10.0f}")
    print(f"\nours to Dask: p50 {rows['ours'][0] / rows['Dask'][0]:.2f}x, rate {rows['ours'][2] / rows['Dask'][2]:.2f}x")


if __name__ == "__main__":
    main()
