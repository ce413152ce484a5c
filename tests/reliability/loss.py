"""Jobs through a network that loses, doubles and reorders. Run as `python -m tests.reliability.loss --jobs 10000`.

Each job appends its own name to one file, so a job that ran twice stands there twice, and one that never ran not at all.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.reliability import running
from worker.client.client import Client
from worker.protocol import osc
from worker.protocol.messages import Failed, Ready

IN_FLIGHT = 200


@dataclass
class LossyProxy:
    """Stands between one client and the worker, and does to each datagram, both ways, what a bad network does.

    Attributes:
        lost, doubled: the shares of the datagrams that are.
        delay_s: each copy waits a random time up to this, and so overtakes others.
        finals: every final that the worker sent, as it was before the network took it: by job, the different ones.
    """

    worker_port: int
    random: random.Random
    lost: float = 0.2
    doubled: float = 0.2
    delay_s: float = 0.02
    counts: Counter[str] = field(default_factory=Counter)
    finals: dict[str, set[tuple[object, ...]]] = field(default_factory=lambda: defaultdict(set))
    client: tuple[str, int] | None = None

    async def start(self) -> int:
        """Listens on a free port and gives it."""
        self.loop = asyncio.get_running_loop()
        self.inner, _ = await self.loop.create_datagram_endpoint(
            lambda: _Side(self._from_worker), remote_addr=("127.0.0.1", self.worker_port)
        )
        self.outer, _ = await self.loop.create_datagram_endpoint(lambda: _Side(self._from_client), local_addr=("127.0.0.1", 0))
        port: int = self.outer.get_extra_info("sockname")[1]
        return port

    def close(self) -> None:
        self.inner.close()
        self.outer.close()

    def _from_client(self, datagram: bytes, sender: tuple[str, int]) -> None:
        self.client = sender
        self._pass_on(datagram, self.inner.sendto)

    def _from_worker(self, datagram: bytes, _sender: tuple[str, int]) -> None:
        for report in osc.decode_reports(datagram):
            if isinstance(report, (Ready, Failed)):
                self.finals[report.id].add(report.arguments())
        self._pass_on(datagram, lambda data: self.outer.sendto(data, self.client))

    def _pass_on(self, datagram: bytes, send: Callable[[bytes], None]) -> None:
        self.counts["seen"] += 1
        copies = 0 if self.random.random() < self.lost else 2 if self.random.random() < self.doubled else 1
        self.counts[("lost", "passed", "doubled")[copies]] += 1
        for _ in range(copies):
            self.loop.call_later(self.random.random() * self.delay_s, self._send, send, datagram)

    def _send(self, send: Callable[[bytes], None], datagram: bytes) -> None:
        if not self.outer.is_closing():
            send(datagram)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, received: object) -> None:
        self.datagram_received = received  # type: ignore[method-assign,assignment]


@dataclass(frozen=True)
class Findings:
    """What became of the jobs. All three lists are empty when the promise was kept."""

    jobs: int
    without_final: list[str]
    not_once: dict[str, int]
    with_two_finals: list[str]
    network: Counter[str]
    seconds: float


async def run(jobs: int, seed: int, root: Path, worker_port: int) -> Findings:
    """Sends so many jobs through a lossy network and counts what became of them."""
    started = time.monotonic()
    proxy = LossyProxy(worker_port, random.Random(seed))
    port = await proxy.start()
    names = [f"job-{number}" for number in range(jobs)]
    without_final = []
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with Client("127.0.0.1", port, name="loss", silence_s=60, connect_s=20) as client:

        async def one(name: str) -> None:
            async with gate:
                job = client.submit_soon("write_text", {"output": "ran.txt", "text": name + "\n", "append": 1}, name)
                if not isinstance(await job.final(), Ready):
                    without_final.append(name)

        await asyncio.gather(*(one(name) for name in names))
    proxy.close()
    ran = Counter((root / "ran.txt").read_text().split())
    return Findings(
        jobs,
        without_final,
        {name: ran[name] for name in names if ran[name] != 1},
        [name for name in names if len(proxy.finals[name]) != 1],
        proxy.counts,
        time.monotonic() - started,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        with running.worker(root, "--state", str(root / "state")) as port:
            findings = asyncio.run(run(options.jobs, options.seed, root, port))
    print(f"{findings.jobs} jobs in {findings.seconds:.1f} s; datagrams: {dict(findings.network)}")
    print(f"without a ready: {len(findings.without_final)}, not run once: {len(findings.not_once)}, two: {len(findings.with_two_finals)}")
    return 1 if findings.without_final or findings.not_once or findings.with_two_finals else 0


if __name__ == "__main__":
    sys.exit(main())
