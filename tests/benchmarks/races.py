"""An empty job there and back, through the worker and through what else there is. Run as `python -m tests.benchmarks.races`.

Each peer has a file in `tests/benchmarks/peers`, two workers, and a process of its own in each round; they take turns. One job at a time
gives the time of a round trip; then 64 jobs are under way, which gives the rate. Every job gives its number back: one that does not come
within 60 s is lost, one that comes twice is doubled. A peer that is not installed is named as that: `pip install ".[bench]"` brings them,
`apt-get install redis-server` brings Redis.

They do not promise the same. Those in process lose everything with the process; those over Redis here keep nothing on a disk; the worker
with its journal keeps an accepted job when it is killed, and says its end exactly once.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.benchmarks import peers
from tests.reliability import running

ORDER = ("floor", "no_journal", "ours", "pool", "pebble", "ray", "taskiq", "rq", "celery", "dramatiq", "huey", "dask")
OVER_REDIS = ("taskiq", "rq", "celery", "dramatiq", "huey")
NAMES = {"no_journal": "worker, no journal", "ours": "worker", "pool": "ProcessPoolExecutor"}
DISTRIBUTIONS = {"taskiq_redis": "taskiq"}
WINDOW = 64
LONGEST_S = 300


def missing(name: str, redis: str) -> str:
    """Why a peer cannot take part; empty if it can."""
    package = _module(name, package_only=True)
    if package and importlib.util.find_spec(package) is None:
        return f"not installed: {DISTRIBUTIONS.get(package, package)}"
    return "not installed: redis-server" if name in OVER_REDIS and not redis else ""


def _module(name: str, *, package_only: bool = False) -> Any:
    """The peer's file. Its package is read from the text, because importing the file may need it."""
    if not package_only:
        return importlib.import_module(f"tests.benchmarks.peers.{name}_peer")
    text = (Path(peers.__file__).parent / f"{name}_peer.py").read_text(encoding="utf-8")
    return next(line for line in text.splitlines() if line.startswith("PACKAGE")).split('"')[1]


def version(name: str) -> str:
    package = _module(name, package_only=True)
    return metadata.version(DISTRIBUTIONS.get(package, package)) if package else platform.python_version()


def run(name: str, trips: int, jobs: int, redis: str) -> dict[str, Any]:
    """One peer in this process: the seconds of each trip, jobs per second, and what was lost or came twice."""
    module = _module(name)
    seconds, came = [], []
    with module.opened(redis) as calls:
        for number in range(trips // 4 + 2 * peers.WORKERS):  # warm up
            calls.send(-number - 2)
            calls.take()
        for number in range(trips):
            started = time.perf_counter()
            calls.send(number)
            came.append(calls.take())
            seconds.append(time.perf_counter() - started)
        rate = None if name == "floor" else _rate(calls, trips, jobs, came)
    lost = len(set(range(trips + (jobs if rate else 0))) - set(came))
    return {"what": module.WHAT, "seconds": seconds, "rate": rate, "lost": lost, "doubled": len(came) - len(set(came))}


def _rate(calls: peers.Calls, first: int, jobs: int, came: list[int]) -> float:
    started, sent, ended = time.perf_counter(), 0, 0
    while ended < jobs:
        while sent < jobs and sent - ended < WINDOW:
            calls.send(first + sent)
            sent += 1
        came.append(calls.take())
        ended += 1
    return jobs / (time.perf_counter() - started)


def race(names: list[str], trips: int, jobs: int, rounds: int, redis: str) -> dict[str, dict[str, Any]]:
    """What each peer did in all rounds; or `missing`, or `failed` with the last line that it said."""
    measured: dict[str, dict[str, Any]] = {name: {"missing": why} if (why := missing(name, redis)) else {"rounds": []} for name in names}
    for turn in range(rounds):
        for name in (*names[turn % len(names) :], *names[: turn % len(names)]):
            if "rounds" not in measured[name]:
                continue
            command = [sys.executable, "-m", "tests.benchmarks.races", "--peer", name, "--trips", str(trips), "--jobs", str(jobs)]
            environment = {**os.environ, **({peers.REDIS: redis} if redis else {})}
            try:
                done = subprocess.run(
                    command, cwd=running.REPOSITORY, env=environment, capture_output=True, text=True, timeout=LONGEST_S, check=True
                )
                measured[name]["rounds"].append(json.loads(done.stdout.splitlines()[-1]))
            except (subprocess.SubprocessError, ValueError, IndexError) as error:
                said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
                measured[name] = {"failed": said[-1][:200] if said else "nothing"}
    return measured


def figures(measured: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Percentiles in microseconds over all rounds, the median of the rates, and what was lost or doubled in all of them."""
    table: dict[str, dict[str, Any]] = {}
    for name, one in measured.items():
        if not one.get("rounds"):
            table[name] = {"why": one.get("missing") or f"failed: {one.get('failed', 'no round')}"}
            continue
        ordered = sorted(second * 1e6 for each in one["rounds"] for second in each["seconds"])
        rates = sorted(each["rate"] for each in one["rounds"] if each["rate"])
        table[name] = {
            **{f"p{share}": ordered[min(len(ordered) - 1, len(ordered) * share // 100)] for share in (50, 95, 99)},
            "rate": rates[len(rates) // 2] if rates else None,
            "lost": sum(each["lost"] for each in one["rounds"]),
            "doubled": sum(each["doubled"] for each in one["rounds"]),
            "what": one["rounds"][0]["what"],
            "version": version(name),
        }
    return table


def markdown(table: dict[str, dict[str, Any]]) -> str:
    floor = table.get("floor", {}).get("p50")
    lines = [
        "| | how | version | p50 us | p95 us | p99 us | x floor | jobs/s | lost | doubled |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, one in table.items():
        shown = NAMES.get(name, name)
        if "why" in one:
            lines.append(f"| {shown} | {one['why']} | | | | | | | | |")
            continue
        times = " | ".join(f"{one[key]:,.0f}" for key in ("p50", "p95", "p99"))
        ratio = f"{one['p50'] / floor:.2f}" if floor else ""
        rate = f"{one['rate']:,.0f}" if one["rate"] else ""
        lines.append(f"| {shown} | {one['what']} | {one['version']} | {times} | {ratio} | {rate} | {one['lost']} | {one['doubled']} |")
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--who", nargs="+", choices=ORDER, default=list(ORDER))
    parser.add_argument("--trips", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures there, too")
    parser.add_argument("--peer", choices=ORDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer:
        print(json.dumps(run(options.peer, options.trips, options.jobs, os.environ.get(peers.REDIS, ""))))
        return 0
    program = shutil.which("redis-server")
    if program:
        with peers.redis_server(program) as redis:
            measured = race(options.who, options.trips, options.jobs, options.rounds, redis)
    else:
        measured = race(options.who, options.trips, options.jobs, options.rounds, "")
    table = figures(measured)
    print(markdown(table))
    if options.json:
        options.json.write_text(json.dumps(table, indent=1), encoding="utf-8")
    return int(any(str(one.get("why", "")).startswith("failed") for one in table.values()))


if __name__ == "__main__":
    sys.exit(main())
