"""What the page costs: a worker with its page open, and the same worker without one, in turns. Run as `python -m tests.benchmarks.page`.

`off` is `--http off`, and so is `off again`: what lies between these two is chance. `served` has the server, and nobody looks. `open` has a
WebSocket of a browser open, which takes every frame, in a process of its own; `--browser` opens the page in a headless Chromium instead,
which takes cores of its own, and watches how smooth it is. Measured are how many empty jobs a second go through at most, how much CPU the
worker's own process takes for one of them, and how many come through of 500 that are sent each second. Ratios are medians over all turns.
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
STATES = ("off", "off again", "served", "open")


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


def cpu_s(served: Served) -> float:
    """The time that the worker's own process, without its children, has spent on a core."""
    return sum(psutil.Process(served.process.pid).cpu_times()[:2])


async def paced_per_s(served: Served, seconds: float) -> float:
    """How many jobs a second end while 500 a second come."""
    async with Client(port=served.port) as client:
        began, sent = time.perf_counter(), 0
        jobs = []
        while (now := time.perf_counter() - began) < seconds:
            while sent < now * PACED_PER_S:
                jobs.append(client.submit_soon("noop"))
                sent += 1
            await asyncio.sleep(0.01)
        for job in jobs:
            await job.final()
        return len(jobs) / (time.perf_counter() - began)


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
        sender = threading.Thread(target=lambda: asyncio.run(paced_per_s(served, seconds + 4)))
        page = started.new_page(viewport={"width": 1280, "height": 720})
        page.goto(served.url)
        page.locator(".list").wait_for()
        sender.start()
        page.wait_for_timeout(2000)
        count = page.locator(".chips button span").first.inner_text()
        drawn = page.locator(".row").count()
        frames = sorted(page.evaluate(MEASURE, seconds))
        sender.join()
    p50, p95, worst = (frames[int(part * (len(frames) - 1))] for part in (0.5, 0.95, 1))
    took = f"a frame takes {p50:.1f} ms, p95 {p95:.1f}, longest {worst:.1f}"
    return f"{count} jobs in the list, {drawn} rows drawn, 500 new ones a second: {took}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slices", type=int, default=60, help="so many short runs of each, in turns, so that all see the same load")
    parser.add_argument("--jobs", type=int, default=400, help="in each of them")
    parser.add_argument("--rounds", type=int, default=5, help="of 500 jobs a second")
    parser.add_argument("--seconds", type=float, default=4.0, help="each of them")
    parser.add_argument("--browser", action="store_true")
    options = parser.parse_args()
    rates: dict[str, list[float]] = {state: [] for state in STATES}
    costs: dict[str, list[float]] = {state: [] for state in STATES}
    paced: dict[str, list[float]] = {state: [] for state in STATES}
    seen = ""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        workers = {state: stack.enter_context(worker(folder, http="off" if "off" in state else "127.0.0.1:0")) for state in STATES}
        stack.enter_context(watched(workers["open"].url, browser=options.browser))
        for state in STATES:
            asyncio.run(most_per_s(workers[state].port, options.jobs))  # warms up
        for number in range(options.slices):
            for state in STATES if number % 2 else STATES[::-1]:
                before = cpu_s(workers[state])
                rates[state].append(asyncio.run(most_per_s(workers[state].port, options.jobs)))
                costs[state].append((cpu_s(workers[state]) - before) / options.jobs * 1e6)
        for number in range(options.rounds):
            for state in STATES if number % 2 else STATES[::-1]:
                paced[state].append(asyncio.run(paced_per_s(workers[state], options.seconds)))
        if options.browser:
            asyncio.run(most_per_s(workers["served"].port, 10_000))
            seen = smoothness(workers["served"], options.seconds)
    load = f"load {os.getloadavg()[0]:.1f}; {options.slices} turns of {options.jobs} jobs, and {options.rounds} of {options.seconds:g} s"
    print(f"{platform.python_version()}, {platform.system()}, {os.cpu_count()} cores, {load}")
    print(f"{'':10} {'jobs a second':>14} {'to off':>7} {'CPU us a job':>13} {'to off':>7} {'of 500/s':>9}")
    for state in STATES:
        rate, cost = statistics.median(rates[state]), statistics.mean(costs[state])
        ratio = statistics.median(mine / off for mine, off in zip(rates[state], rates["off"], strict=True))
        through = statistics.median(paced[state])
        print(f"{state:10} {rate:14,.0f} {ratio:7.3f} {cost:13.0f} {cost / statistics.mean(costs['off']):7.2f} {through:9.0f}")
    if seen:
        print(seen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
