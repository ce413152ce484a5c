"""A worker from its settings to its end. This file imports what the first child needs; `life` brings the rest while that starts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.config import Config, installed_version
from worker.errors import Unavailable
from worker.executors.base import Executor
from worker.executors.pool import PoolExecutor
from worker.files.paths import FileRules
from worker.service.children import certificates_of, pool_of, rules_of
from worker.tasks.prepare import OPERATIONS


def serve(config: Config, announce: Callable[[str], None] = print, catalog: Catalog = CATALOG, operations: str = OPERATIONS) -> int:
    """Runs a worker until it is asked to stop: by `quit`, Ctrl-C or SIGTERM. A second one stops it at once.

    Args:
        config: settings.
        announce: is called with each line for the person who has started the worker.
        catalog: the operations that jobs can ask for.
        operations: their functions, as "module:name"; only the children import them.

    Returns:
        The exit code: 0 after a stop that was asked for, 1 if the port is taken or the journal cannot be used.
    """
    rules = rules_of(config)
    try:
        executor = executor_of(config, rules, catalog, operations)
    except Unavailable as error:
        announce(f"{error.message} {error.hint}")
        return 1
    with _first_child(executor):
        from worker.service.life import lead

        return lead(config, announce, executor, rules, catalog=catalog, operations=operations)


def executor_of(config: Config, rules: FileRules, catalog: Catalog = CATALOG, operations: str = OPERATIONS) -> Executor:
    """Who does the work: the child processes of this machine, or a cluster.

    Raises:
        Unavailable: the cluster's library is not installed.
    """
    if not config.cluster.address:
        return pool_of(config, rules, catalog, operations)
    from worker.executors.cluster import ClusterExecutor

    ships = config.cluster.files == "ship"
    local = pool_of(config, rules, catalog, operations) if config.cluster.or_local or ships else None
    shipper = None
    if ships:
        from worker.executors.shipping import Shipper
        from worker.files import handles

        handles.hold(rules.places or ())  # what comes back is written by this process
        shipper = Shipper(rules, config.cluster.ship_mb)
    cluster, certificates = config.cluster, certificates_of(config)
    return ClusterExecutor(cluster.address, certificates, installed_version(), local, stands_in=cluster.or_local, shipper=shipper)


@contextlib.contextmanager
def _first_child(executor: Executor) -> Iterator[None]:
    """The first child starts now, and is not left behind if the worker does not get as far as to run."""
    if not isinstance(executor, PoolExecutor):
        yield
        return
    executor.begin()
    try:
        yield
    finally:
        executor.close()
