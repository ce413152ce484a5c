"""taskiq over Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Iterator
from typing import Any

from tests.benchmarks.peers import REDIS, WAIT_S, WORKERS, Calls, InOrder, process

PACKAGE = "taskiq_redis"
WHAT = "over Redis, 2 processes"

if REDIS in os.environ:
    from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

    broker = ListQueueBroker(os.environ[REDIS]).with_result_backend(RedisAsyncResultBackend(os.environ[REDIS]))

    @broker.task
    async def same(number: int) -> int:
        return number


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    loop = asyncio.new_event_loop()

    async def value(task: Any) -> int:
        return int((await task.wait_result(check_interval=0.0005, timeout=WAIT_S)).return_value)

    loop.run_until_complete(broker.startup())
    calls = InOrder(lambda number: loop.run_until_complete(same.kiq(number)), lambda task: loop.run_until_complete(value(task)))
    command = ("taskiq", "worker", f"{__name__}:broker", "--workers", str(WORKERS), "--log-level", "ERROR")
    with process(*command, until=lambda: (calls.send(-1), calls.take())):
        yield calls
    loop.run_until_complete(broker.shutdown())
    loop.close()
