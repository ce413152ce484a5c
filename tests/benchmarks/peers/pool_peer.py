"""`concurrent.futures.ProcessPoolExecutor`: in the same process, without a network."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.benchmarks.peers import WAIT_S, WORKERS, Calls, InOrder

PACKAGE = ""
WHAT = "in process, 2 workers"


def same(number: int) -> int:
    return number


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    with ProcessPoolExecutor(WORKERS, multiprocessing.get_context("spawn")) as pool:
        yield InOrder(lambda number: pool.submit(same, number), lambda future: int(future.result(WAIT_S)))
