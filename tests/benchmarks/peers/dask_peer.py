"""Dask's distributed scheduler, on this computer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks.peers import WAIT_S, WORKERS, Calls, InOrder
from tests.benchmarks.peers.pool_peer import same

PACKAGE = "distributed"
WHAT = "local, 2 processes of 1 thread"


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=WORKERS, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield InOrder(lambda number: client.submit(same, number, pure=False), lambda future: int(future.result(WAIT_S)))
