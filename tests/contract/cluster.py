"""A cluster on this machine: a scheduler and nodes, each a process of its own, whose children are the bestiary's.

The nodes may have addresses of their own, as machines of a network do: see `tests/reliability/namespaces.py`.

python -m tests.contract.cluster scheduler HOST PORT [CA CERT KEY]
python -m tests.contract.cluster node ADDRESS SLOTS VERSION [CA CERT KEY]
"""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.contract import bestiary
from tests.ports import free_port
from tests.reliability.namespaces import Machine
from worker.executors.dask import Certificates, security

ROOT = Path(__file__).parents[2]
VERSION = "0.1.0"
SLOTS = 2
GONE_WITHIN_S = 20.0
#: A machine that is cut off is given up after this time, the shortest that Dask allows, instead of 30 s.
ENVIRONMENT = os.environ | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}


class Cluster:
    """The processes. All of them end with `close`.

    Args:
        log: takes what they say.
        nodes: how many.
        slots: of each node.
        files: certificates; none for open connections.
        machines: where the nodes run, the first on the first of them, and so on; if there are none, on this one.
    """

    def __init__(
        self, log: Path, *, nodes: int = 2, slots: int = SLOTS, files: tuple[Path, ...] = (), machines: Sequence[Machine] = ()
    ) -> None:
        self._log = log
        self._files = tuple(map(str, files))
        self._slots = slots
        self._port = free_port()
        self.machines = machines
        self.processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self.start_scheduler()
        self.nodes = [self.start_node(number=number) for number in range(nodes)]

    @property
    def address(self) -> str:
        return self._address_for("127.0.0.1")

    def _address_for(self, host: str) -> str:
        return f"{'tls' if self._files else 'tcp'}://{host}:{self._port}"

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        return self._start("scheduler", "0.0.0.0" if self.machines else "127.0.0.1", str(self._port), *self._files)

    def start_node(self, version: str = VERSION, number: int = 0) -> subprocess.Popen[bytes]:
        prefix, host = (self.machines[number].prefix, self.machines[number].here) if self.machines else ([], "127.0.0.1")
        return self._start("node", self._address_for(host), str(self._slots), version, *self._files, prefix=prefix)

    def restart_node(self, number: int) -> None:
        """As after a power cut, on the same machine."""
        end(self.nodes[number])
        self.nodes[number] = self.start_node(number=number)

    def restart_scheduler(self) -> None:
        end(self.scheduler)
        self.scheduler = self.start_scheduler()

    def own(self) -> set[int]:
        """The process ids of everything that belongs to it."""
        found = set()
        for process in self.processes:
            try:
                found |= {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
            except psutil.NoSuchProcess:
                continue
        return found

    def close(self) -> None:
        for process in self.processes:
            end(process)

    def _start(self, *arguments: str, prefix: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        command = [*prefix, sys.executable, "-m", "tests.contract.cluster", *arguments]
        with self._log.open("ab") as log:
            process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.processes.append(process)
        return process


def end(process: subprocess.Popen[bytes]) -> None:
    """As a power cut does: it and its children are gone at once."""
    if process.poll() is None:
        process.kill()
        process.wait(GONE_WITHIN_S)


async def _scheduler(host: str, port: int, certificates: Certificates) -> None:
    from distributed import Scheduler

    how = security(certificates)
    async with Scheduler(host=host, port=port, protocol="tls" if how else "tcp", security=how, dashboard=False) as scheduler:
        await scheduler.finished()


def _node(address: str, slots: int, version: str, certificates: Certificates) -> None:
    from worker.executors.node import Node, run
    from worker.executors.pool import PoolExecutor

    node = Node(PoolExecutor(slots, bestiary.make_run_task))
    node.start()
    node.working.wait()
    asyncio.run(run(address, node, slots, version=version, certificates=certificates))


def main(what: str, *arguments: Any) -> None:
    logging.basicConfig(level=logging.INFO)
    logging.getLogger("distributed").setLevel(logging.WARNING)
    if what == "scheduler":
        asyncio.run(_scheduler(arguments[0], int(arguments[1]), Certificates(*map(Path, arguments[2:]))))
    else:
        _node(arguments[0], int(arguments[1]), arguments[2], Certificates(*map(Path, arguments[3:])))


if __name__ == "__main__":
    os.environ["PYTHONUNBUFFERED"] = "1"
    main(*sys.argv[1:])
