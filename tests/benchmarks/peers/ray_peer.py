"""Ray: tasks in processes of its own, on this computer."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks.peers import WAIT_S, WORKERS, Calls, InOrder
from tests.benchmarks.peers.pool_peer import same

PACKAGE = "ray"
WHAT = "local, tasks, 2 CPUs"


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    import ray

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, configure_logging=False)
    task = ray.remote(same)
    yield InOrder(task.remote, lambda reference: int(ray.get(reference, timeout=WAIT_S)))
    ray.shutdown()
