"""Pebble's pool of processes: in the same process, without a network; with timeouts that end a process."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator

from tests.benchmarks.peers import WAIT_S, WORKERS, Calls, InOrder
from tests.benchmarks.peers.pool_peer import same

PACKAGE = "pebble"
WHAT = "in process, 2 workers, a timeout per job"


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    from pebble import ProcessPool

    with ProcessPool(WORKERS, context=multiprocessing.get_context("spawn")) as pool:
        yield InOrder(lambda number: pool.schedule(same, args=[number], timeout=WAIT_S), lambda future: int(future.result(WAIT_S)))
