"""Empty tasks over a cluster, beside what else there is. Run as `python -m tests.benchmarks.cluster`.

    ours     `ClusterExecutor`, as the worker uses it; two nodes with one child each, and a spare. Each task is in a killable child
    alone    the same without bundles: how many submissions go through a scheduler, as long tasks do; only with `--alone`
    Dask     `Client.submit` of an empty function; two workers of Dask with one thread each, in processes of their own
    Ray      `remote` of an empty function; two CPUs on this machine
    Celery   `delay` of an empty function, over Redis; two prefork workers

All on this machine, in turn, each with a scheduler or broker of its own and a process of its own in each round. `p50` and `p95` are of one
task after another. `rate` is of one batch: ours with as many under way as the worker would allow, Dask's by one `client.map`, which is the
fastest it has, the others' sent all at once. Who is not installed is named: `pip install ".[bench]"` brings Ray and Celery.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import queue
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks import peers, races
from tests.contract import cluster as processes
from tests.polling import Polled
from worker.catalog.noop import Noop
from worker.core.events import ChildrenChanged, Finished
from worker.core.jobs import Result, Task
from worker.executors import bundles
from worker.executors.cluster import ClusterExecutor
from worker.executors.link import MAX_OPEN

NODES = 2
#: Tasks before the clock runs.
WARM = 20
LONGEST_S = 120.0
REDIS_SERVER = shutil.which("redis-server") or ""


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
        for _ in range(WARM):
            executor.execute(Task(next(numbers), "works:a", Noop()))
            finals(1)
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


def alone(single: int, many: int, folder: Path) -> tuple[list[float], float]:
    """Ours, and each task travels alone."""
    bundles.MOST_TASKS = 1
    bundles.PLACES_PER_SLOT = MAX_OPEN
    return ours(single, many, folder)


def dask(single: int, many: int, folder: Path) -> tuple[list[float], float]:
    """The same by plain Dask."""
    from distributed import Client

    cluster = processes.Cluster(folder / "dask.log", nodes=0)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(NODES)]
    try:
        with Client(cluster.address, timeout=LONGEST_S) as client:
            client.wait_for_workers(NODES, timeout=LONGEST_S)
            for n in range(WARM):
                client.submit(nothing, -n - 1, pure=False).result()
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


def peer(calls: peers.Calls, single: int, many: int) -> tuple[list[float], float]:
    """The same by a peer of the race of empty jobs."""
    for n in range(WARM):
        calls.send(-n - 2)
        calls.take()
    times = []
    for n in range(single):
        started = time.perf_counter()
        calls.send(n)
        calls.take()
        times.append(time.perf_counter() - started)
    started = time.perf_counter()
    for n in range(many):
        calls.send(n)
    for _ in range(many):
        calls.take()
    return times, many / (time.perf_counter() - started)


def ray(single: int, many: int, _folder: Path) -> tuple[list[float], float]:
    from tests.benchmarks.peers.ray_peer import opened

    with opened("") as calls:
        return peer(calls, single, many)


def celery(single: int, many: int, _folder: Path) -> tuple[list[float], float]:
    with peers.redis_server(REDIS_SERVER) as address:
        os.environ[peers.REDIS] = address
        from tests.benchmarks.peers.celery_peer import opened

        with opened(address) as calls:
            return peer(calls, single, many)


CONTESTANTS: dict[str, Callable[[int, int, Path], tuple[list[float], float]]] = {
    "ours": ours,
    "alone": alone,
    "Dask": dask,
    "Ray": ray,
    "Celery": celery,
}


def why_not(name: str) -> str:
    """Why one cannot take part; empty if it can."""
    return "" if name in ("ours", "alone", "Dask") else races.missing(name.lower(), REDIS_SERVER)


def one_round(name: str, single: int, many: int) -> tuple[float, float, float]:
    """p50 and p95 in seconds and the rate, in a process of its own, so that nobody's threads are beside another's."""
    command = [sys.executable, "-m", "tests.benchmarks.cluster", "--who", name, "--single", str(single), "--many", str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_S * 5)
    if done.returncode:
        raise SystemExit(f"{name} has failed:\n{done.stderr[-2000:]}")
    times, rate = json.loads(done.stdout.splitlines()[-1])
    return statistics.median(times), statistics.quantiles(times, n=20)[-1], rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", type=int, default=200)
    parser.add_argument("--many", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help="ours without bundles, too")
    parser.add_argument("--who", choices=CONTESTANTS, help="one round of this one, in this process, as JSON")
    arguments = parser.parse_args()
    if arguments.who:
        with tempfile.TemporaryDirectory() as folder:
            print(json.dumps(CONTESTANTS[arguments.who](arguments.single, arguments.many, Path(folder))))
        return
    import distributed

    print(f"{os.cpu_count()} cores, {load()}, Python {platform.python_version()}, Dask distributed {distributed.__version__}")
    print(
        f"{NODES} nodes on this machine; {arguments.single} single tasks, batches of {arguments.many}; medians of {arguments.rounds} rounds"
    )
    found: dict[str, list[tuple[float, float, float]]] = {
        name: [] for name in CONTESTANTS if not why_not(name) and (arguments.alone or name != "alone")
    }
    for _ in range(arguments.rounds):
        for name, rounds in found.items():
            rounds.append(one_round(name, arguments.single, arguments.many))
    rows = {name: [statistics.median(column) for column in zip(*rounds, strict=True)] for name, rounds in found.items()}
    print(f"\n{'':8}{'p50 ms':>8}{'p95 ms':>8}{'tasks/s':>9}   ours to it: {'p50':>7}{'rate':>8}")
    for name, (p50, p95, rate) in rows.items():
        compared = "" if name == "ours" else f"{rows['ours'][0] / p50:>20.2f}x{rows['ours'][2] / rate:>7.2f}x"
        print(f"{name:8}{p50 * 1000:>8.1f}{p95 * 1000:>8.1f}{rate:>9.0f}{compared}")
    for name in CONTESTANTS:
        if reason := why_not(name):
            print(f"{name:8}left out, {reason}")
    print(f"\n{load()} at the end")


def load() -> str:
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load not known"


if __name__ == "__main__":
    main()
