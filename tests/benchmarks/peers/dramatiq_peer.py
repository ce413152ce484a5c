"""Dramatiq over Redis."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.benchmarks.peers import REDIS, WAIT_S, WORKERS, Calls, InOrder, process

PACKAGE = "dramatiq"
WHAT = "over Redis, 2 processes of 1 thread"

if REDIS in os.environ:
    import dramatiq
    from dramatiq.brokers.redis import RedisBroker
    from dramatiq.results import Results
    from dramatiq.results.backends import RedisBackend

    broker = RedisBroker(url=os.environ[REDIS])
    broker.add_middleware(Results(backend=RedisBackend(url=os.environ[REDIS])))
    dramatiq.set_broker(broker)

    @dramatiq.actor(store_results=True)
    def same(number: int) -> int:
        return number


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    calls = InOrder(same.send, lambda message: int(message.get_result(block=True, timeout=int(WAIT_S * 1000))))
    command = ("dramatiq", __name__, "--processes", str(WORKERS), "--threads", "1")
    with process(*command, until=lambda: (calls.send(-1), calls.take())):
        yield calls
