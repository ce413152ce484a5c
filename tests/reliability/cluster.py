"""Jobs over a cluster of two nodes of which one is killed, and whose scheduler is started again, in the middle of the work.

Run as `python -m tests.reliability.cluster --jobs 5000`. Every job must have exactly one final. A `write_text` that may be repeated must be
ready, and its file whole. An append may be given up (502 `node`), and must never run twice. Everything is a process of its own, started as
users do: `cluster --nodes 0`, `node`, `serve --cluster`.

With `--namespaces` there are three nodes, each in a network namespace with an address of its own (needs root and iproute2): the cable of
one is pulled and put back later, one is killed, and the scheduler is started again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.reliability import namespaces, running
from tests.reliability.namespaces import Machine
from worker.client.client import Client, JobFailed
from worker.protocol import osc
from worker.protocol.messages import Failed, Ready

IN_FLIGHT = 64
#: Every so many jobs one appends.
APPENDS = 5
#: At these shares of the jobs a node is killed, and the scheduler.
NODE_DIES, SCHEDULER_DIES = 0.3, 0.6
#: At these the cable of a node is pulled, and put back.
PULLED, PUT_BACK = 0.15, 0.8


@dataclass(frozen=True)
class Findings:
    """What became of the jobs. All lists are empty when the promise was kept.

    Attributes:
        given_up: appends that ended with 502, because it cannot be known how far they came.
    """

    jobs: int
    without_final: list[str]
    with_two_finals: list[str]
    torn_files: list[str]
    ran_twice: list[str]
    failed: dict[str, str]
    given_up: int
    seconds: float


class Studio:
    """A scheduler, two nodes and a worker on this machine.

    Args:
        root: what the worker and both nodes read and write is in its folder `out`.
        ships: the nodes have folders of their own instead, and the files travel.
        machines: where the nodes run, instead of two on this machine.
    """

    def __init__(self, root: Path, *, ships: bool = False, machines: Sequence[Machine] = ()) -> None:
        self._root = root
        self._tcp = free_port()
        (root / "out").mkdir(exist_ok=True)
        self._log = (root / "studio.log").open("ab")
        self.machines = machines
        self.scheduler = self.start_scheduler()
        self.roots = [root / f"node-{number}" if ships else root / "out" for number in range(len(machines) or 2)]
        for folder in self.roots:
            folder.mkdir(exist_ok=True)
        self.nodes = [self._start_node(number, folder) for number, folder in enumerate(self.roots)]
        self.port = free_port()
        state = ("--state", str(root / "state"), "--cluster-files", "ship" if ships else "shared")
        self.worker = running.start(self.port, root / "out", *state, "--cluster", self.address, log=root / "worker.log")

    @property
    def address(self) -> str:
        return f"tcp://127.0.0.1:{self._tcp}"

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        host = "0.0.0.0" if self.machines else "127.0.0.1"
        return self._start("cluster", "--nodes", "0", "--scheduler-host", host, "--scheduler-port", str(self._tcp))

    def _start_node(self, number: int, folder: Path) -> subprocess.Popen[bytes]:
        prefix, host = (self.machines[number].prefix, self.machines[number].here) if self.machines else ([], "127.0.0.1")
        return self._start("node", "--cluster", f"tcp://{host}:{self._tcp}", "--root", str(folder), "--workers", "1", prefix=prefix)

    def _start(self, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        command = [*prefix, sys.executable, "-m", "worker", *arguments]
        return subprocess.Popen(command, cwd=running.REPOSITORY, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)

    def close(self) -> None:
        for process in (self.worker, *self.nodes, self.scheduler):
            process.terminate()
        for process in (self.worker, *self.nodes, self.scheduler):
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._log.close()


async def run(jobs: int, root: Path, machines: Sequence[Machine] = ()) -> Findings:
    """Lets the jobs flow, and takes the cluster apart meanwhile."""
    studio = Studio(root, machines=machines)
    try:
        return await _run(jobs, root, studio)
    finally:
        studio.close()


async def _run(jobs: int, root: Path, studio: Studio) -> Findings:
    names = [f"job-{number}" for number in range(jobs)]
    appends = set(names[::APPENDS])
    finals: dict[str, set[tuple[object, ...]]] = {name: set() for name in names}
    failed: dict[str, Failed] = {}
    refused: dict[str, str] = {}
    ended: Counter[str] = Counter()

    class Overhearing(Client):
        """Notes every final that arrives, before the client drops the repeated ones."""

        def _datagram_came(self, datagram: bytes, sender: tuple[str, int]) -> None:
            for report in osc.decode_reports(datagram):
                if isinstance(report, (Ready, Failed)):
                    finals[report.id].add(report.arguments())
            super()._datagram_came(datagram, sender)

    await asyncio.to_thread(running.wait_until_it_answers, studio.port)
    started = time.monotonic()
    gate = asyncio.Semaphore(IN_FLIGHT)
    async with Overhearing("127.0.0.1", studio.port, name="studio", silence_s=120, connect_s=30) as client:

        async def one(name: str) -> None:
            async with gate:
                params = {"output": f"{name}.txt", "text": f"{name}\n", "append": int(name in appends), "timeout_ms": 0}
                try:
                    final = await client.submit_soon("write_text", params, name).final()
                except JobFailed as error:
                    refused[name] = str(error)
                    return
                ended[name] += 1
                if isinstance(final, Failed):
                    failed[name] = final

        async def until(share: float) -> None:
            while len(ended) < share * jobs:  # noqa: ASYNC110 - a test may look now and then
                await asyncio.sleep(0.02)

        async def take_apart() -> None:
            if studio.machines:
                await until(PULLED)
                await asyncio.to_thread(studio.machines[1].pull_the_cable)
            await until(NODE_DIES)
            studio.nodes[0].kill()
            await until(SCHEDULER_DIES)
            studio.scheduler.kill()
            studio.scheduler.wait()
            studio.scheduler = studio.start_scheduler()
            if studio.machines:
                await until(PUT_BACK)
                await asyncio.to_thread(studio.machines[1].put_the_cable_back)

        taking = asyncio.create_task(take_apart())
        await asyncio.gather(*map(one, names))
        await taking
    seconds = time.monotonic() - started
    given_up = {name for name, why in failed.items() if name in appends and why.word == "node"}
    texts = {path.stem: path.read_text(encoding="utf-8") for path in (root / "out").glob("job-*.txt")}
    return Findings(
        jobs,
        [name for name in names if not ended[name] and name not in refused],
        [name for name, different in finals.items() if len(different) > 1],
        [name for name in names if name not in given_up and name not in refused and texts.get(name) != f"{name}\n"],
        [name for name in appends if texts.get(name, "").count("\n") > 1],
        {name: f"{why.code} {why.message}" for name, why in failed.items() if name not in given_up} | refused,
        len(given_up),
        seconds,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=5_000)
    parser.add_argument("--namespaces", action="store_true", help="three nodes in network namespaces; one is cut off, too")
    arguments = parser.parse_args()
    if arguments.namespaces and (reason := namespaces.why_not()):
        print(reason)
        return 2
    with tempfile.TemporaryDirectory() as folder, namespaces.machines(3 if arguments.namespaces else 0) as machines:
        found = asyncio.run(run(arguments.jobs, Path(folder), machines))
    nodes = ", ".join(f"{machine.name} {machine.there}" for machine in machines) or "two"
    cut = "one cut off, " if machines else ""
    print(f"{found.jobs} jobs over the nodes {nodes} in {found.seconds:.0f} s; {cut}one killed, the scheduler started again")
    print(f"load                  {os.getloadavg()[0]:.1f}")
    print(f"without a final       {len(found.without_final)}")
    print(f"with two finals       {len(found.with_two_finals)}")
    print(f"files that are wrong  {len(found.torn_files)}")
    print(f"appends that ran twice {len(found.ran_twice)}")
    print(f"failed                {len(found.failed)}  {list(found.failed.values())[:3]}")
    print(f"appends given up      {found.given_up}  (502 node: it cannot be known whether they ran)")
    return int(bool(found.without_final or found.with_two_finals or found.torn_files or found.ran_twice or found.failed))


if __name__ == "__main__":
    sys.exit(main())
