"""A well client beside hostile neighbours, for a long time. Run as `python -m tests.reliability.soak --hostile --minutes 10`.

The well client sends 50 jobs a second, in calm and under attack by turns, so that both are measured on the same machine in the same hour.
Then its slowest hundredth under attack is at most three times that in calm, each of its jobs has become ready, and the worker's
memory is flat and far below what SECURITY.md promises. Each minute is calm for a quarter, and the median of the minutes counts, because a
machine that stands still for a moment decides about a single minute.

The attackers are a process of their own, which stands still in calm. They are strangers (addresses of this machine that are not let in)
who flood the worker, try tokens, and forge senders with the right one; and neighbours who are let in, and ask for long answers
again and again, send rubbish, come as ever new clients, and have poisoned pictures read.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import random
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.reliability import running
from tests.security.bombs import bombs, seeds
from worker.client.client import Client, Job, RemoteError
from worker.protocol import osc
from worker.protocol.messages import Describe, Failed, Hello, ListPresets, Query, Ready, Replay, Set, Trigger
from worker.protocol.messages import Job as JobCommand

TOKEN = "a token that nobody guesses"
OPTIONS = ("--host", "0.0.0.0", "--token", TOKEN, "--remember-jobs", "2000", "--queue-jobs", "500", "--workers", "2")
JOBS_PER_S = 50
#: How long it is calm, and then not.
CALM_S, HOSTILE_S = 15.0, 45.0
#: The first jobs meet children that have yet to import what they need.
WARM_UP_S = 5.0
ALLOWED_P99 = 3.0
#: Of the parent's memory, the last fifth over the first fifth after the first fifth, in which tables fill up.
ALLOWED_GROWTH = 1.05
OLD = (1_000_000_000, 1_000_000_000)
#: What SECURITY.md says.
PROMISED_MB = 500.0


# ----------------------------------------------------------------------------------------------------------- attackers


@dataclass
class Attackers:
    """What is sent to the worker, and how often.

    Args:
        port: of the worker.
        pictures: names of poisoned pictures below its root.
        seed: for what is chosen by chance.
        only: these kinds of attacks; empty for all.
    """

    port: int
    pictures: list[str]
    seed: int
    only: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)
        self._strangers = [self._socket(f"127.0.{number}.{number + 2}") for number in range(40)]
        self._neighbours = [self._socket("127.0.0.1") for _ in range(8)]
        self._poisoner = self._socket("127.0.0.1")
        self._sink = self._socket("127.0.0.1")
        self._numbers = itertools.count()
        hello = osc.encode(Hello("x", 0, 0, "", TOKEN))
        self._hello = hello
        self._large = b"/worker/hello\0\0\0," + b"T" * 60_000 + b"\0" * 3
        self._mutated = [hello[:at] + bytes([hello[at] ^ 0x55]) + hello[at + 1 :] for at in range(0, len(hello), 3)]

    def _socket(self, host: str) -> socket.socket:
        udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        udp.bind((host, 0))
        udp.setblocking(False)
        return udp

    def kinds(self) -> dict[str, tuple[float, Callable[[], None]]]:
        """Each kind of attack: how often a second, and what is done."""
        return {
            "stranger's rubbish": (1500, lambda: self._as_stranger(self._random.randbytes(40))),
            "stranger's job": (500, lambda: self._as_stranger(osc.encode(JobCommand("s", "noop")))),
            "stranger's hello of 60 kB": (50, lambda: self._as_stranger(self._large)),
            "wrong token": (300, lambda: self._as_stranger(osc.encode(Hello("x", 0, 0, "", f"{next(self._numbers):020}")))),
            "mutated hello": (200, lambda: self._as_stranger(self._random.choice(self._mutated))),
            "forged sender with the token": (50, lambda: self._as_stranger(self._hello)),
            "query of a long answer": (100, lambda: self._as_neighbour(osc.encode(Query("many-files")))),
            "bundle of 900 queries": (1, lambda: self._as_neighbour(osc.encode_bundle([Query("many-files")] * 900))),
            "replay": (50, lambda: self._as_neighbour(osc.encode(Replay(1)))),
            "describe": (20, lambda: self._as_neighbour(osc.encode(Describe("")))),
            "presets": (20, lambda: self._as_neighbour(osc.encode(ListPresets()))),
            "set of a preset": (50, self._set),
            "trigger of nothing": (100, lambda: self._as_neighbour(osc.encode(Trigger(f"t{next(self._numbers)}", 1.0)))),
            "rubbish": (200, lambda: self._as_neighbour(self._random.randbytes(self._random.randrange(1, 300)))),
            "new client": (40, self._new_client),
            "poisoned picture": (5, self._poison),
        }

    def prepare(self) -> None:
        """The neighbours say that they are one client, and have a job whose answer is long."""
        files = (("output", "many/{n}.png"), ("count", 2000), ("width", 16), ("height", 16))
        self._sink.settimeout(1.0)
        while True:
            for neighbour in self._neighbours:
                neighbour.sendto(osc.encode(Hello("neighbour", self._sink.getsockname()[1], 0)), ("127.0.0.1", self.port))
            self._as_neighbour(osc.encode(JobCommand("many-files", "draw_circles", files)))
            with contextlib.suppress(TimeoutError):
                for _ in range(5000):
                    for report in osc.decode_reports(self._sink.recv(65_535)):
                        if isinstance(report, Ready) and report.id == "many-files":
                            return

    def run(self) -> None:
        """Attacks until this process is ended."""
        due = {name: time.monotonic() for name in self.kinds()}
        kinds = {name: kind for name, kind in self.kinds().items() if not self.only or name in self.only}
        while True:
            now = time.monotonic()
            for name, (rate, attack) in kinds.items():
                due[name] = max(due[name], now - 0.1)  # what was missed while this process stood still is not made up for
                while due[name] <= now:
                    due[name] += 1 / rate
                    with contextlib.suppress(BlockingIOError):
                        attack()
            time.sleep(0.002)

    def _as_stranger(self, datagram: bytes) -> None:
        self._random.choice(self._strangers).sendto(datagram, ("127.0.0.1", self.port))

    def _as_neighbour(self, datagram: bytes) -> None:
        self._random.choice(self._neighbours).sendto(datagram, ("127.0.0.1", self.port))

    def _set(self) -> None:
        number = next(self._numbers)
        self._as_neighbour(osc.encode(Set(f"p{number % 3000}", f"k{number % 7}", "v" * 2000 + str(number))))

    def _new_client(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
            udp.bind(("127.0.0.1", 0))
            udp.sendto(osc.encode(Hello(f"new {next(self._numbers)}", 0, 0, "", "", 1)), ("127.0.0.1", self.port))

    def _poison(self) -> None:
        command = JobCommand(
            f"poison-{next(self._numbers)}", "find_circles", (("image", self._random.choice(self.pictures)), ("priority", 2))
        )
        self._poisoner.sendto(osc.encode(command), ("127.0.0.1", self.port))


def poisoned(root: Path, seed: int) -> list[str]:
    """Writes bombs, and real files with changed bytes, below a root. Returns their names."""
    chance = random.Random(seed)
    files = dict(bombs())
    for name, data in seeds().items():
        broken = bytearray(data)
        for _ in range(8):
            broken[chance.randrange(len(broken))] = chance.randrange(256)
        files[f"broken-{name}"] = bytes(broken)
    for name, data in files.items():
        (root / f"poison-{name}").write_bytes(data)
        os.utime(root / f"poison-{name}", OLD)  # a broken file that is new is waited for: it may still be being written
    return [f"poison-{name}" for name in files]


@contextlib.contextmanager
def attackers(port: int, root: Path, seed: int) -> Iterator[psutil.Process]:
    """The attackers as a process, standing still."""
    poisoned(root, seed)
    command = [sys.executable, "-m", "tests.reliability.hostile", "--port", str(port), "--pictures", str(root), "--seed", str(seed)]
    with subprocess.Popen(command, cwd=running.REPOSITORY, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()  # it is prepared
            attacker = psutil.Process(process.pid)
            attacker.suspend()
            yield attacker
        finally:
            process.kill()


# ---------------------------------------------------------------------------------------------------------- well client


@dataclass
class Outcome:
    """What the well client and the worker's memory have been through.

    Attributes:
        calm_ms, hostile_ms: from sending a job to its final.
        ratios: the slowest hundredth of each minute under attack over that in its calm.
        lost: jobs that did not become ready, and why.
        parent_mb: the parent's memory, twice a second, under attack.
    """

    calm_ms: list[float] = field(default_factory=list)
    hostile_ms: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    parent_mb: list[float] = field(default_factory=list)

    def add(self, calm_ms: list[float], hostile_ms: list[float]) -> None:
        """One more minute."""
        self.calm_ms += calm_ms
        self.hostile_ms += hostile_ms
        self.ratios.append(quantile(hostile_ms, 0.99) / quantile(calm_ms, 0.99))

    def problems(self) -> list[str]:
        """What does not hold, one sentence each."""
        found = [f"{count} jobs of the well client: {why}" for why, count in self.lost.items()]
        if self.p99_ratio > ALLOWED_P99:
            found.append(f"p99 is {self.p99_ratio:.2f} times that in calm, median of the minutes; {ALLOWED_P99:g} is allowed")
        if self.growth > ALLOWED_GROWTH:
            found.append(f"the parent's memory grew to {self.growth:.3f} times; {ALLOWED_GROWTH:g} is allowed")
        if max(self.parent_mb) > PROMISED_MB:
            found.append(f"the parent's memory was {max(self.parent_mb):.0f} MB; {PROMISED_MB:g} is promised")
        return found

    @property
    def p99_ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def growth(self) -> float:
        steady = self.parent_mb[len(self.parent_mb) // 5 :]
        fifth = max(1, len(steady) // 5)
        return statistics.median(steady[-fifth:]) / statistics.median(steady[:fifth])


def quantile(values: list[float], share: float) -> float:
    """The value below which this share of them lies.

    >>> quantile([1.0, 2.0, 3.0, 4.0], 0.5)
    3.0
    """
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def send_for(client: Client, seconds: float, numbers: Iterator[int], times_ms: list[float], lost: Counter[str]) -> None:
    """Sends jobs at their pace for so long, and waits for all of them."""
    began = time.monotonic()
    under_way: set[asyncio.Task[None]] = set()

    async def one(number: int) -> None:
        sent = time.monotonic()
        try:
            final = await submitted(client, number).final()
        except RemoteError:
            lost["the worker did not answer"] += 1
            return
        times_ms.append((time.monotonic() - sent) * 1000)
        if isinstance(final, Failed):
            lost[f"{final.code} {final.message}"] += 1

    for step in range(int(seconds * JOBS_PER_S)):
        await asyncio.sleep(max(0.0, began + step / JOBS_PER_S - time.monotonic()))
        task = asyncio.create_task(one(next(numbers)))
        under_way.add(task)
        task.add_done_callback(under_way.discard)
    await asyncio.gather(*under_way)


def submitted(client: Client, number: int) -> Job:
    """A small job, as an artist's project sends them while it runs."""
    if number % 2:
        return client.submit_soon("noop", {"priority": 0})
    return client.submit_soon("write_text", {"output": f"well/{number % 20}.txt", "text": str(number), "priority": 0})


async def sample(process: psutil.Process, parent_mb: list[float]) -> None:
    while True:
        await asyncio.sleep(0.5)
        parent_mb.append(process.memory_info().rss / 2**20)


async def run(minutes: float, seed: int, root: Path) -> Outcome:
    """Minutes under attack, with calm between them."""
    port = free_port()
    worker = running.start(port, root, "--state", str(root / "state"), *OPTIONS)
    outcome = Outcome()
    numbers = itertools.count()
    try:
        await asyncio.to_thread(running.wait_until_it_answers, port)
        parent = psutil.Process(worker.pid)
        with attackers(port, root, seed) as attacker:
            async with Client("127.0.0.1", port, name="well", silence_s=60.0) as client:
                await send_for(client, WARM_UP_S, numbers, [], outcome.lost)
                left = minutes * 60
                while left > 0:
                    calm_ms: list[float] = []
                    hostile_ms: list[float] = []
                    await send_for(client, CALM_S, numbers, calm_ms, outcome.lost)
                    attacker.resume()
                    sampling = asyncio.create_task(sample(parent, outcome.parent_mb))
                    await send_for(client, min(HOSTILE_S, left), numbers, hostile_ms, outcome.lost)
                    sampling.cancel()
                    attacker.suspend()
                    left -= HOSTILE_S
                    outcome.add(calm_ms, hostile_ms)
                    print(line(outcome), flush=True)
    finally:
        worker.terminate()
        worker.wait(60)
    return outcome


def line(outcome: Outcome) -> str:
    """Where it stands."""
    parts = [
        f"{name} p50 {quantile(times, 0.5):.1f} p99 {quantile(times, 0.99):.1f} ms of {len(times)}"
        for name, times in (("calm", outcome.calm_ms), ("hostile", outcome.hostile_ms))
    ]
    memory = f"parent {outcome.parent_mb[-1]:.0f} MB, at most {max(outcome.parent_mb):.0f}"
    return f"{outcome.ratios[-1]:.2f} times; all: {'; '.join(parts)}; {memory}; lost {outcome.lost.total()}"


def main(minutes: float, seed: int, root: Path) -> int:
    """Runs it, and says what came out. 0 if all holds."""
    outcome = asyncio.run(run(minutes, seed, root))
    print(
        f"under attack p99 is {outcome.p99_ratio:.2f} times that in calm, median of {min(outcome.ratios):.2f} to {max(outcome.ratios):.2f}"
    )
    print(
        f"the parent's memory went to {outcome.growth:.3f} times, at most {max(outcome.parent_mb):.0f} MB; {len(outcome.hostile_ms)} jobs"
    )
    for problem in outcome.problems():
        print(f"!!! {problem}")
    return 1 if outcome.problems() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The attackers alone: they attack until they are ended.")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pictures", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--only", nargs="*", default=(), help="kinds of attacks")
    options = parser.parse_args()
    attacking = Attackers(options.port, [path.name for path in options.pictures.glob("poison-*")], options.seed, tuple(options.only))
    attacking.prepare()
    print("prepared", flush=True)
    attacking.run()
