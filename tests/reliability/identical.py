"""The same jobs over a cluster of two nodes and on this machine alone: every file and every row has to be the same.

    python -m tests.reliability.identical --circles 500 --photographs 200
    python -m tests.reliability.identical --files ship       the nodes have folders of their own, and the files travel

Everything is a process of its own, started as users do. Among the photographs are one that is broken and one whose name ends like one.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks import photos
from tests.reliability import running
from tests.reliability.cluster import Studio
from worker.client.client import Client, JobResult

WIDTH, HEIGHT = 640, 480


@dataclass(frozen=True)
class Compared:
    """What came of it. `differ` is empty if the promise was kept.

    Attributes:
        files: how many files were compared.
        differ: the files, and the jobs, that are not the same.
        strays: what is in the folders of the nodes, which no file may reach if all of them travel.
        tasks: how many each node has run.
        seconds: over the cluster, and on this machine alone.
    """

    files: int
    differ: list[str]
    strays: list[str]
    tasks: list[int]
    seconds: tuple[float, float]


def jobs_of(circles: int) -> list[tuple[str, dict[str, Any]]]:
    """The seed's circles; pictures, tables and overlays of a folder; a further picture for all; each with the one before; and texts."""
    return [
        ("draw_circles", {"output": "circles/{n}.png", "count": circles, "data": "circles/all.csv"}),
        ("convert", {"image": "shots", "output": "small/{name}.jpg", "width": 320}),
        ("find_circles", {"image": "shots/*.jpg", "overlay": "marked/{name}-{n}.png", "data": "found.json"}),
        ("match_features", {"image": "shots", "reference": "shots/p0.jpg", "data": "matched.csv"}),
        ("find_motion", {"image": "shots", "mask": "motion/{n}.png", "data": "motion.csv"}),
        ("write_text", {"output": "long.txt", "line": "line {n}", "count": 50_000}),
        ("write_text", {"output": "log.txt", "text": "first\n", "append": 1}),
        ("write_text", {"output": "log.txt", "text": "second\n", "append": 1}),
    ]


async def _results(port: int, circles: int) -> tuple[list[JobResult], float]:
    await asyncio.to_thread(running.wait_until_it_answers, port)
    began = time.monotonic()
    async with Client("127.0.0.1", port, name="studio", silence_s=120, connect_s=30) as client:
        found = [
            await client.submit_soon(operation, {**params, "timeout_ms": 3_600_000}, f"{number}-{operation}").result()
            for number, (operation, params) in enumerate(jobs_of(circles))
        ]
    return found, time.monotonic() - began


def _said(found: JobResult, root: Path) -> object:
    """What a job has reported, wherever its root is."""
    base = root.resolve().as_posix()
    files = [(one.path.removeprefix(base), one.size_bytes, one.width, one.height) for one in found.files]
    return (
        found.fields,
        found.rows,
        files,
        [(one.path.removeprefix(base), one.code, one.message.replace(base, "")) for one in found.skipped],
    )


def _files(root: Path) -> dict[str, bytes]:
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.suffix != ".log"}


async def run(circles: int, photographs: int, folder: Path, *, ships: bool, size: tuple[int, int] = (WIDTH, HEIGHT)) -> Compared:
    """Runs them twice and compares."""
    far, here = folder / "out", folder / "here"
    photos.folder_of(far / "shots", photographs, *size)
    (far / "shots" / "broken.jpg").write_bytes((far / "shots" / "p0.jpg").read_bytes()[:2000])
    (far / "shots" / "text.png").write_text("no picture", encoding="utf-8")
    for path in (far / "shots").iterdir():
        os.utime(path, (1e9, 1e9))
    shutil.copytree(far / "shots", here / "shots")
    studio = Studio(folder, ships=ships)
    try:
        over, cluster_s = await _results(studio.port, circles)
    finally:
        studio.close()
    strays = [str(path) for root in studio.roots for path in root.rglob("*")] if ships else []
    with running.worker(here, "--workers", "2") as port:
        alone, local_s = await _results(port, circles)
    a, b = _files(far), _files(here)
    differ = [name for name in sorted(a.keys() | b.keys()) if a.get(name) != b.get(name)]
    differ += [job[0] for job, one, other in zip(jobs_of(circles), over, alone, strict=True) if _said(one, far) != _said(other, here)]
    tasks = list(map(int, re.findall(r"Stopped, after (\d+) tasks", (folder / "studio.log").read_text(encoding="utf-8"))))
    return Compared(len(a), differ, strays, tasks, (cluster_s, local_s))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--circles", type=int, default=500)
    parser.add_argument("--photographs", type=int, default=200)
    parser.add_argument("--files", choices=("shared", "ship"), default="shared")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(arguments.circles, arguments.photographs, Path(folder), ships=arguments.files == "ship"))
    print(f"{found.files} files, load {os.getloadavg()[0]:.1f}")
    print(f"over two nodes {found.seconds[0]:.1f} s, on this machine alone {found.seconds[1]:.1f} s")
    print(f"tasks          {found.tasks} on the nodes")
    print(f"different      {len(found.differ)}  {found.differ[:5]}")
    print(f"strays         {len(found.strays)}  {found.strays[:5]}")
    return int(bool(found.differ or found.strays or len(found.tasks) < 2 or not all(found.tasks)))


if __name__ == "__main__":
    sys.exit(main())
