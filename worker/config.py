"""All settings of a worker, as one frozen value."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from worker.files.limits import DEFAULT_LIMITS, FileLimits
from worker.protocol import addresses
from worker.protocol.addresses import Network, Peer


def default_workers() -> int:
    """One child per core, and one core left for TouchDesigner where there are more than two."""
    cores = os.cpu_count() or 1
    return max(1, cores - 1) if cores > 2 else cores


@dataclass(frozen=True, slots=True)
class Limits:
    """What the scheduler bounds.

    Attributes:
        queue_jobs: how many jobs may wait, over all clients.
        queue_bytes: how large all waiting jobs together may be.
        remembered_jobs: how many ended jobs are known by their id.
        remembered_hours: how long, across restarts.
        timeout_ms: the timeout of a job that brings none of its own; 0 is none.
        lease_ms: how long a client that said hello counts as present after its last packet.
        result_rows_kept: how many rows and files of ended jobs are kept for `query`.
        packets_per_s: how many packets one sender may send, on the long run.
        packets_burst: how many at once.
        inbox: how many packets of all senders together may wait to be read.
    """

    queue_jobs: int = 10_000
    queue_bytes: int = 64 * 2**20
    remembered_jobs: int = 10_000
    remembered_hours: float = 24.0
    timeout_ms: int = 600_000
    lease_ms: int = 15_000
    clients: int = 256
    result_rows_kept: int = 100_000
    packets_per_s: int = 10_000
    packets_burst: int = 20_000
    inbox: int = 100_000


@dataclass(frozen=True, slots=True)
class Config:
    """Where the worker listens, reports, reads and writes.

    Attributes:
        report: fixed targets that get every text report.
        report_numbers: fixed targets that get every number.
        text_port: where a client gets its text reports that never said hello.
        number_port: where it gets its numbers.
        roots: the directories that jobs may use; relative paths start at the first.
        read_roots: further directories, which jobs may only read.
        kept: files of the worker's own, which no job may write.
        maps: pairs of a path of the sender's machine and the same path here.
        allow: other computers that may speak to the worker, beside this one.
        token: whoever tells it in `hello` may, too; "" for nobody.
        gateway_is: in a container, the host that packets from the network's gateway come from in truth; "" for the gateway itself.
        presets: name, key and value of each preset's values from the start.
        workers: how many tasks run at a time.
        state: directory of the journal; None runs without one.
        durability: what an accepted job survives: a crash of this process, or of the machine.
        parent_pid: the worker ends with this process; 0 for none.
        replace: ask an older worker on the same port to leave.
        files: what the files of one job may amount to, and its memory.
    """

    host: str = "127.0.0.1"
    port: int = addresses.COMMAND_PORT
    report: tuple[Peer, ...] = ()
    report_numbers: tuple[Peer, ...] = ()
    text_port: int = addresses.TEXT_PORT
    number_port: int = addresses.NUMBER_PORT
    roots: tuple[Path, ...] = (Path(),)
    read_roots: tuple[Path, ...] = ()
    kept: tuple[Path, ...] = ()
    maps: tuple[tuple[str, str], ...] = ()
    allow: tuple[Network, ...] = ()
    token: str = ""
    gateway_is: str = ""
    presets: tuple[tuple[str, str, int | float | str | bool], ...] = ()
    workers: int = field(default_factory=default_workers)
    state: Path | None = None
    durability: Literal["process", "power"] = "process"
    parent_pid: int = 0
    replace: bool = False
    files: FileLimits = DEFAULT_LIMITS
    limits: Limits = Limits()


def installed_version() -> str:
    """The version of this distribution."""
    try:
        return version("td-image-worker")
    except PackageNotFoundError:  # run from a source tree
        return "0"
