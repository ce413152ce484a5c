"""RQ over Redis, with workers that do not fork for each job."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks.peers import WAIT_S, WORKERS, Calls, InOrder, process
from tests.benchmarks.peers.pool_peer import same

PACKAGE = "rq"
WHAT = "over Redis, 2 SimpleWorkers"


@contextlib.contextmanager
def opened(redis: str) -> Iterator[Calls]:
    from redis import Redis
    from rq import Queue

    queue = Queue("peer", connection=Redis.from_url(redis))
    calls = InOrder(lambda number: queue.enqueue(same, number), lambda job: int(job.latest_result(timeout=int(WAIT_S)).return_value))
    command = ("rq.cli", "worker", "--url", redis, "--worker-class", "rq.worker.SimpleWorker", "--quiet", "peer")
    with contextlib.ExitStack() as stack:
        for number in range(WORKERS):
            stack.enter_context(process(*command, until=lambda number=number: number or (calls.send(-1), calls.take())))
        yield calls
