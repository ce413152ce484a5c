"""A node of a cluster, and a whole cluster on one machine: how they end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")

ROOT = Path(__file__).parents[3]

#: As Dask's tasks that look for a scheduler: one that is cancelled goes on.
_STUBBORN = """
import asyncio, contextlib, os, signal
from worker.service import node

node.END_WITHIN_S = 0.2
kept = []

async def stubborn():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1000)

async def main():
    kept.append(asyncio.ensure_future(stubborn()))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.sleep(1000)

node._until_asked(main)
print("ended", not kept[0].done())
"""


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: SIGTERM ends a process of Windows at once")
def test_sigterm_waits_for_nobody_for_ever():
    """After SIGTERM a process ends, although a task of its loop does not let itself be cancelled."""
    ended = subprocess.run([sys.executable, "-c", _STUBBORN], cwd=ROOT, capture_output=True, text=True, timeout=30, check=True)
    assert ended.stdout.split() == ["ended", "True"]


_LISTENING = """
import asyncio, sys
import psutil
from worker.executors.dask import library
from worker.service import node

async def main():
    async with node._scheduler(library(), None, ("0.0.0.0", 0), None):
        print(*sorted(one.laddr.ip for one in psutil.Process().net_connections("tcp") if one.status == psutil.CONN_LISTEN))

asyncio.run(main())
"""


def test_a_scheduler_listens_where_it_should():
    """What it serves over HTTP without a page is for this machine only, whatever host it was given."""
    ended = subprocess.run([sys.executable, "-c", _LISTENING], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == ["0.0.0.0", "127.0.0.1"]
