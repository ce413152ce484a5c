"""A session that was recorded, played again through a network that loses a fifth of the packets: the finals are the same.

Run as `python -m tests.reliability.replay --minutes 10`. Three clients work with a worker that records; then the file is played to a worker
that has never seen any of it, at the same pace, and to a scheduler alone.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.reliability import running
from worker.client.client import Client, JobFailed

SECONDS_BETWEEN = 3.0


#: How many of the jobs below make or use files that a later one needs.
NEEDED = 4


async def _one(client: Client, number: int, chance: random.Random) -> None:
    """A few jobs that need each other, as a client waits for them; some of them fail."""
    name = f"{client.name}-{number}"
    jobs = [
        ("draw_circles", {"output": f"{name}-{{n}}.png", "count": chance.randint(1, 6), "width": 160, "height": 120, "radius": 20}),
        ("find_circles", {"image": f"{name}-0.png", "data": f"{name}.json"}),
        ("find_circles", {"image": chance.choice([f"{name}-*.png", "nowhere.png"])}),
        ("convert", {"image": f"{name}-0.png", "output": f"{name}.jpg", "width": chance.choice([80, 0, -1])}),
        ("write_text", {"output": "log.txt", "text": name + "\n", "append": 1}),
        ("noop", {"priority": chance.choice([0, 1, 2])}),
    ]
    for place, (operation, params) in enumerate(jobs):
        with contextlib.suppress(JobFailed):
            job = client.submit_soon(operation, params, f"{name}-{place}")
            if place < NEEDED or chance.random() < 0.5:  # the pictures must be there before somebody looks for circles in them
                await job.result()


class _Named(Client):
    """A client that knows its name."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__("127.0.0.1", port, name, silence_s=60, connect_s=20)
        self.name = name


async def session(port: int, seconds: float, seed: int, pause_s: float = SECONDS_BETWEEN) -> None:
    """Three clients, and a button that triggers a preset."""
    ends_at = time.monotonic() + seconds

    async def work(client: _Named, chance: random.Random) -> None:
        number = 0
        while time.monotonic() < ends_at:
            number += 1
            await _one(client, number, chance)
            if number % 5 == 0:
                await client.trigger("logo")
            await asyncio.sleep(chance.random() * 2 * pause_s)
        await client.sync()

    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(_Named(port, f"client{number}")) for number in range(3)]
        await clients[0].set_preset("logo", {"operation": "noop"})
        await asyncio.gather(*(work(client, random.Random(seed + number)) for number, client in enumerate(clients)))


def replay(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "worker", "replay", *arguments]
    return subprocess.run(command, cwd=running.REPOSITORY, capture_output=True, text=True, check=False)


def record(folder: Path, seconds: float, seed: int) -> Path:
    """A session with a worker that records; the file."""
    root, path = folder / "recorded", folder / "session.jsonl"
    root.mkdir()
    with running.worker(root, "--state", str(folder / "state"), "--record", str(path)) as port:
        asyncio.run(session(port, seconds, seed))
    return path


def play(folder: Path, path: Path, *how: str) -> subprocess.CompletedProcess[str]:
    """The file, played to a new worker."""
    root = folder / "played"
    root.mkdir()
    with running.worker(root, "--no-journal") as port:
        return replay(str(path), "--to", f"127.0.0.1:{port}", *how)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        path = record(folder, options.minutes * 60, options.seed)
        print(replay(str(path)).stdout, end="")
        core = replay(str(path), "--core")
        print(core.stdout + core.stderr, end="")
        wire = play(folder, path, "--loss", "20", "--doubles", "20", "--reorder", "--seed", str(options.seed))
        print(wire.stdout + wire.stderr, end="")
    return core.returncode or wire.returncode


if __name__ == "__main__":
    sys.exit(main())
