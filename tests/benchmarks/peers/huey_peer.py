"""Huey over Redis."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.benchmarks.peers import REDIS, WAIT_S, WORKERS, Calls, InOrder, process

PACKAGE = "huey"
WHAT = "over Redis, 2 processes"

if REDIS in os.environ:
    from huey import RedisHuey

    huey = RedisHuey("peer", url=os.environ[REDIS])

    @huey.task()
    def same(number: int) -> int:
        return number


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    calls = InOrder(same, lambda result: int(result.get(blocking=True, timeout=WAIT_S, backoff=1.0, max_delay=0.001)))
    command = ("huey.bin.huey_consumer", f"{__name__}.huey", "-w", str(WORKERS), "-k", "process", "-d", "0.001", "-m", "0.001", "-q")
    with process(*command, until=lambda: (calls.send(-1), calls.take())):
        yield calls
