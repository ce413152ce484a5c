"""`kill -9` on the worker at random moments while jobs flow. Run as `python -m tests.reliability.kill --kills 50 --jobs 2000`.

After the last restart each accepted job must have exactly one final, and each output file must be whole.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from tests.ports import free_port
from tests.reliability import running
from worker.client.client import Client, JobFailed
from worker.protocol import osc
from worker.protocol.messages import Failed, Ready

LINES = 2_000
IN_FLIGHT = 50


@dataclass(frozen=True)
class Findings:
    """What became of the jobs. All lists are empty when the promise was kept."""

    jobs: int
    kills: int
    unfinished_kills: int
    without_final: list[str]
    with_two_finals: list[str]
    torn_files: list[str]
    litter: list[str]
    failed: dict[str, str]
    seconds: float


def content_of(name: str) -> str:
    """What a job's file holds when it is whole."""
    return "\n".join([f"begin {name}", *(f"{name} line {n}" for n in range(LINES)), f"end {name}"])


class KilledWorker:
    """A worker that is killed and started again, always on the same port with the same journal."""

    def __init__(self, port: int, root: Path, seed: int) -> None:
        self.port = port
        self.root = root
        self.random = random.Random(seed)
        self.kills = 0
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        return running.start(self.port, self.root / "out", "--state", str(self.root / "state"), log=self.root / "worker.log")

    async def kill_at_random_moments(self, kills: int) -> None:
        loop = asyncio.get_running_loop()
        while self.kills < kills:
            await loop.run_in_executor(None, running.wait_until_it_answers, self.port)
            await asyncio.sleep(self.random.uniform(0.0, 0.6))
            self.process.kill()
            await loop.run_in_executor(None, self.process.wait)
            self.kills += 1
            self.process = self._start()


async def run(jobs: int, kills: int, seed: int, root: Path) -> Findings:
    """Lets jobs flow through a worker that is killed so often, and looks at what is left."""
    started = time.monotonic()
    (root / "out").mkdir()
    killed = KilledWorker(free_port(), root, seed)
    finals: dict[str, set[tuple[object, ...]]] = defaultdict(set)
    failed: dict[str, str] = {}
    ended: set[str] = set()
    names = [f"job-{number}" for number in range(jobs)]

    class Overhearing(Client):
        """Notes every final that arrives, before the client drops the repeated ones."""

        def _datagram_came(self, datagram: bytes, sender: tuple[str, int]) -> None:
            for report in osc.decode_reports(datagram):
                if isinstance(report, (Ready, Failed)):
                    finals[report.id].add(report.arguments())
            super()._datagram_came(datagram, sender)

    killing = asyncio.create_task(killed.kill_at_random_moments(kills))
    gate = asyncio.Semaphore(IN_FLIGHT)
    try:
        async with Overhearing("127.0.0.1", killed.port, name="kill", silence_s=60, connect_s=30) as client:

            async def one(number: int, name: str) -> None:
                async with gate:
                    # Spread over all kills, so that jobs are under way at each of them.
                    while not killing.done() and number > jobs * (killed.kills + 1) / (kills + 1):  # noqa: ASYNC110 - a test may look now and then
                        await asyncio.sleep(0.05)
                    params = {
                        "output": f"{name}.txt",
                        "header": f"begin {name}",
                        "line": name + " line {n}",
                        "count": LINES,
                        "footer": f"end {name}",
                    }
                    try:
                        final = await client.submit_soon("write_text", params, name).final()
                    except JobFailed as error:
                        failed[name] = str(error)
                        return
                    ended.add(name)
                    if isinstance(final, Failed):
                        failed[name] = f"{final.code} {final.message}"

            await asyncio.gather(*(one(number, name) for number, name in enumerate(names)))
            await killing
            await asyncio.to_thread(running.wait_until_it_answers, killed.port)
    finally:
        killing.cancel()
        killed.process.terminate()
        killed.process.wait(20)
    return Findings(
        jobs,
        killed.kills,
        kills - killed.kills,
        [name for name in names if name not in ended],
        [name for name, different in finals.items() if len(different) != 1],
        [name for name in names if (root / "out" / f"{name}.txt").read_text(encoding="utf-8") != content_of(name)],
        [path.name for path in (root / "out").iterdir() if path.suffix == ".part"],
        failed,
        time.monotonic() - started,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=2_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        findings = asyncio.run(run(options.jobs, options.kills, options.seed, Path(directory)))
    print(f"{findings.jobs} jobs, {findings.kills} kills, {findings.seconds:.1f} s")
    print(
        f"without a final: {len(findings.without_final)}, with two: {len(findings.with_two_finals)}, torn files: {len(findings.torn_files)}"
    )
    print(f"failed: {findings.failed or 'none'}; temporary files left: {len(findings.litter)}")
    bad = findings.without_final or findings.with_two_finals or findings.torn_files or findings.failed or findings.unfinished_kills
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
