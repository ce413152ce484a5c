"""Full load for a long time, with what the worker uses sampled and plotted. Run as `python -m tests.reliability.soak --minutes 30`.

The load is a mix that never pauses: texts, drawn circles, circles and features found in pictures, jobs that are refused, cancelled, or
run out of time. Memory, handles, threads and children of the worker are sampled; after the warm-up they must stay flat.

With --hostile a well client and hostile neighbours take the place of that mix, see `hostile.py`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.reliability import hostile, running
from worker.client.client import Client, JobFailed
from worker.protocol.messages import Failed

DATA = Path(__file__).parents[1] / "data"
#: The journal remembers fewer jobs than the run has, so that forgetting is part of what is shown.
OPTIONS = ("--remember-jobs", "2000", "--queue-jobs", "500", "--workers", "2")
WARM_UP_SHARE = 0.2
#: How much the median of the last fifth may lie above that of the first one after the warm-up.
ALLOWED_GROWTH = {"parent_mb": 1.05, "children_mb": 1.10, "handles": 1.05, "threads": 1.0, "children": 1.0}


@dataclass(frozen=True)
class Sample:
    """The worker at one moment."""

    at_s: float
    parent_mb: float
    children_mb: float
    handles: int
    threads: int
    children: int
    jobs: int


def sample(process: psutil.Process, started: float, jobs: int) -> Sample:
    """What the worker and its children use now. A child that is being replaced at this moment is left out."""
    megabytes = []
    children = process.children()
    for child in children:
        try:
            megabytes.append(child.memory_info().rss / 2**20)
        except psutil.NoSuchProcess:
            continue
    with process.oneshot():
        handles = process.num_handles() if sys.platform == "win32" else process.num_fds()
        return Sample(
            round(time.monotonic() - started, 1),
            round(process.memory_info().rss / 2**20, 2),
            round(sum(megabytes), 2),
            handles,
            process.num_threads(),
            len(megabytes),
            jobs,
        )


def mixture(random_numbers: random.Random) -> Callable[[int], tuple[str, dict[str, object]]]:
    """One job after the other, of every kind."""

    def one(number: int) -> tuple[str, dict[str, object]]:
        name = f"out/{number % 50}"
        kinds: list[tuple[str, dict[str, object]]] = [
            ("noop", {}),
            ("write_text", {"output": f"{name}.txt", "line": "line {n}", "count": 5_000}),
            ("draw_circles", {"output": name + "-{n}.png", "count": 12, "seed": number}),
            ("find_circles", {"image": str(DATA / "smarties.png"), "overlay": f"{name}-found.png", "data": f"{name}.json"}),
            ("find_features", {"image": str(DATA / "box.png"), "method": "orb", "max_items": 200}),
            ("find_circles", {"image": "no-such-file.png"}),
            ("draw_circles", {"output": name + "-{n}.png", "count": 400, "timeout_ms": 60}),
            ("write_text", {"count": -1}),
        ]
        return random_numbers.choices(kinds, weights=[30, 20, 20, 10, 10, 4, 1, 5])[0]

    return one


async def load(client: Client, until: float, counts: Counter[str], random_numbers: random.Random, in_flight: int = 40) -> None:
    """Keeps so many jobs under way until the time has come."""
    numbers = itertools.count()
    make = mixture(random_numbers)

    async def one_after_the_other() -> None:
        while time.monotonic() < until:
            operation, params = make(next(numbers))
            job = client.submit_soon(operation, params)
            if random_numbers.random() < 0.02:
                client.cancel(job.id)
            try:
                final = await job.final()
                counts[str(final.code) if isinstance(final, Failed) else "ready"] += 1
            except JobFailed as error:
                counts[f"refused {error.code}"] += 1

    tasks: list[Awaitable[None]] = [one_after_the_other() for _ in range(in_flight)]
    await asyncio.gather(*tasks)


async def run(minutes: float, seed: int, root: Path) -> tuple[list[Sample], Counter[str]]:
    """Runs the load and takes 200 samples meanwhile."""
    port = free_port()
    worker = running.start(port, root, "--state", str(root / "state"), *("--root", str(DATA)), *OPTIONS)
    samples: list[Sample] = []
    counts: Counter[str] = Counter()
    try:
        await asyncio.to_thread(running.wait_until_it_answers, port)
        process = psutil.Process(worker.pid)
        started = time.monotonic()
        async with Client("127.0.0.1", port, name="soak") as client:
            loading = asyncio.create_task(load(client, started + minutes * 60, counts, random.Random(seed)))
            while not loading.done():
                await asyncio.wait([loading], timeout=max(0.5, minutes * 60 / 200))
                if not loading.done():
                    samples.append(sample(process, started, counts.total()))
            await loading
    finally:
        worker.terminate()
        worker.wait(60)
    return samples, counts


def growth(samples: list[Sample]) -> dict[str, float]:
    """Median of the last fifth over the median of the first fifth after the warm-up, for each thing sampled."""
    steady = samples[int(len(samples) * WARM_UP_SHARE) :]
    fifth = max(1, len(steady) // 5)
    return {
        name: statistics.median(getattr(one, name) for one in steady[-fifth:])
        / statistics.median(getattr(one, name) for one in steady[:fifth])
        for name in ALLOWED_GROWTH
    }


def plot(samples: list[Sample], path: Path, title: str) -> None:
    """Draws all samples into one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(3, 1, figsize=(9, 7), sharex=True, layout="constrained")
    minutes = [one.at_s / 60 for one in samples]
    axes[0].plot(minutes, [one.parent_mb for one in samples], label="parent process, MB")
    axes[0].plot(minutes, [one.children_mb for one in samples], label="all children together, MB")
    axes[1].plot(minutes, [one.handles for one in samples], label="handles of the parent")
    axes[1].plot(minutes, [one.threads for one in samples], label="threads of the parent")
    axes[1].plot(minutes, [one.children for one in samples], label="children")
    rates = [(b.jobs - a.jobs) / (b.at_s - a.at_s) for a, b in itertools.pairwise(samples)]
    axes[2].plot(minutes[1:], rates, label="jobs per second")
    for one in axes:
        one.set_ylim(bottom=0)
        one.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False)  # above the lines and not on them
        one.grid(alpha=0.3)
    axes[0].set_title(title, loc="right")
    axes[-1].set_xlabel("minutes")
    figure.savefig(path, dpi=80)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--picture", type=Path, help="where to draw the samples (needs the extra [bench])")
    parser.add_argument("--samples", type=Path, help="where to write them as JSON")
    parser.add_argument("--hostile", action="store_true", help="a well client beside hostile neighbours, in place of full load")
    options = parser.parse_args()
    if options.hostile:
        with tempfile.TemporaryDirectory() as directory:
            return hostile.main(options.minutes, options.seed, Path(directory))
    with tempfile.TemporaryDirectory() as directory:
        samples, counts = asyncio.run(run(options.minutes, options.seed, Path(directory)))
    print(f"{counts.total()} jobs in {options.minutes:g} minutes: {dict(counts.most_common())}")
    grown = growth(samples)
    for name, ratio in grown.items():
        print(f"{name:12} {ratio:5.2f} times the start, {ALLOWED_GROWTH[name]:.2f} allowed; now {getattr(samples[-1], name)}")
    if options.samples:
        options.samples.write_text(json.dumps([asdict(one) for one in samples]))
    if options.picture:
        plot(samples, options.picture, f"{counts.total():,} jobs in {options.minutes:g} minutes")
    return 1 if any(ratio > ALLOWED_GROWTH[name] for name, ratio in grown.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
