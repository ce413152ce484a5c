"""Celery over Redis, prefork."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from tests.benchmarks.peers import REDIS, WAIT_S, WORKERS, Calls, InOrder, process

PACKAGE = "celery"
WHAT = "over Redis, prefork, 2 workers"

if REDIS in os.environ:
    from celery import Celery

    app = Celery("peer", broker=os.environ[REDIS], backend=os.environ[REDIS])
    app.conf.update(worker_prefetch_multiplier=4, broker_connection_retry_on_startup=True)

    @app.task
    def same(number: int) -> int:
        return number


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    calls = InOrder(same.delay, lambda result: int(result.get(timeout=WAIT_S)))
    command = ("celery", "-A", __name__, "worker", "--pool=prefork", f"--concurrency={WORKERS}", "--loglevel=ERROR")
    with process(*command, until=lambda: (calls.send(-1), calls.take())):
        yield calls
