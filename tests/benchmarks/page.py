"""What the page costs: a worker with its page open, and the same worker without one, in turns. Run as `python -m tests.benchmarks.page`.

`off` is `--http off`. `served` has the server, and nobody looks. `open` has a WebSocket of a browser open, which takes every frame, in a
process of its own; `--browser` opens the page in a headless Chromium instead, which takes cores of its own, and watches how smooth it is.
Two things are measured: how many empty jobs a second go through at most, and how much CPU the worker's own process takes for 500 a second.
The figures are ratios to `off`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import multiprocessing
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from tests.web.serving import Served, chromium, worker
from worker.client import Client

PACED_PER_S = 500
STATES = ("off", "served", "open")


def look(url: str) -> None:
    """Takes every frame, as a page does."""

    async def run() -> None:
        from tornado.websocket import websocket_connect

        socket = await websocket_connect(url.replace("http://", "ws://") + "api/told", max_message_size=2**28)
        while await socket.read_message() is not None:
            pass

    asyncio.run(run())


@contextlib.contextmanager
def watched(url: str, *, browser: bool):
    """The page is open."""
    if browser:
        with chromium() as started:
            page = started.new_page(viewport={"width": 1280, "height": 720})
            page.goto(url)
            page.locator(".list").wait_for()
            yield
        return
    process = multiprocessing.get_context("spawn").Process(target=look, args=(url,), daemon=True)
    process.start()
    time.sleep(2.0)
    yield
    process.kill()
    process.join()


async def most_per_s(port: int, count: int) -> float:
    """How many empty jobs go through in a second, if all are sent at once."""
    async with Client(port=port) as client:
        began = time.perf_counter()
        jobs = [client.submit_soon("noop") for _ in range(count)]
        for job in jobs:
            await job.final()
        return count / (time.perf_counter() - began)


async def cpu_share(served: Served, seconds: float) -> float:
    """How much of a core the worker's own process takes while 500 jobs a second come."""
    process = psutil.Process(served.process.pid)
    async with Client(port=served.port) as client:
        began, sent = time.perf_counter(), 0
        before = sum(process.cpu_times()[:2])
        jobs = []
        while (now := time.perf_counter() - began) < seconds:
            while sent < now * PACED_PER_S:
                jobs.append(client.submit_soon("noop"))
                sent += 1
            await asyncio.sleep(0.01)
        for job in jobs:
            await job.final()
        return (sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began)


#: Watches how long each frame of the page takes, and how long its scripts keep it from the next one.
MEASURE = """async (seconds) => {
  const frames = [];
  let before = performance.now();
  const end = before + 1000 * seconds;
  while (before < end) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - before);
    before = now;
  }
  return frames;
}"""


def smoothness(served: Served, seconds: float) -> str:
    """How long the frames of a page take that shows 10,000 jobs, while 500 a second come."""
    with chromium() as started:
        asyncio_thread = threading.Thread(target=lambda: asyncio.run(cpu_share(served, seconds + 4)))
        page = started.new_page(viewport={"width": 1280, "height": 720})
        page.goto(served.url)
        page.locator(".list").wait_for()
        asyncio_thread.start()
        page.wait_for_timeout(2000)
        count = page.locator(".chips button span").first.inner_text()
        drawn = page.locator(".row").count()
        frames = sorted(page.evaluate(MEASURE, seconds))
        asyncio_thread.join()
    p50, p95, worst = (frames[int(part * (len(frames) - 1))] for part in (0.5, 0.95, 1))
    took = f"a frame takes {p50:.1f} ms, p95 {p95:.1f}, longest {worst:.1f}"
    return f"{count} jobs in the list, {drawn} rows drawn, 500 new ones a second: {took}"


def fill(port: int, count: int) -> None:
    """So many jobs, so that the list is long."""
    asyncio.run(most_per_s(port, count))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=60, help="so many short runs of each, in turns, so that all see the same load")
    parser.add_argument("--jobs", type=int, default=400, help="in each of them")
    parser.add_argument("--rounds", type=int, default=5, help="of 500 jobs a second")
    parser.add_argument("--seconds", type=float, default=4.0, help="each of them")
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {state: [] for state in STATES}
    shares: dict[str, list[float]] = {state: [] for state in STATES}
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {state: stack.enter_context(worker(folder, http="off" if state == "off" else "127.0.0.1:0")) for state in STATES}
        stack.enter_context(watched(workers["open"].url, browser=options.browser))
        for state in STATES:
            asyncio.run(most_per_s(workers[state].port, options.jobs))  # warms up
        for number in range(options.slices):
            for state in STATES if number % 2 else STATES[::-1]:
                rates[state].append(asyncio.run(most_per_s(workers[state].port, options.jobs)))
        for number in range(options.rounds):
            for state in STATES if number % 2 else STATES[::-1]:
                shares[state].append(asyncio.run(cpu_share(workers[state], options.seconds)))
        seen = ""
        if options.browser:
            fill(workers["served"].port, 10_000)
            seen = smoothness(workers["served"], options.seconds)
    load = f"load {os.getloadavg()[0]:.1f}; medians of {options.slices} and {options.rounds} runs of each"
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, {load}")
    print(f"{'':8} {'jobs a second':>14} {'to off':>7} {'CPU at 500/s':>13} {'to off':>7}")
    for state in STATES:
        rate, share = statistics.median(rates[state]), statistics.median(shares[state])
        ratios = [of / off for of, off in zip(rates[state], rates["off"], strict=True)]
        costs = [of / off for of, off in zip(shares[state], shares["off"], strict=True)]
        print(f"{state:8} {rate:14,.0f} {statistics.median(ratios):7.3f} {share:13.1%} {statistics.median(costs):7.2f}")
    if seen:
        print(seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
