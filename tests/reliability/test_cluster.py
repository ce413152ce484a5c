"""Jobs over a cluster that is taken apart. The long run is a command: see `tests/reliability/cluster.py`."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.reliability import cluster, namespaces

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals of POSIX")
@pytest.mark.timeout(300)
def test_a_cluster_that_is_taken_apart(tmp_path):
    """A node is killed and the scheduler started again: each job has one final, each file is whole, and no append ran twice."""
    found = asyncio.run(cluster.run(150, tmp_path))
    assert (found.without_final, found.with_two_finals, found.torn_files, found.ran_twice, found.failed) == ([], [], [], [], {})


@pytest.mark.timeout(300)
def test_machines_of_a_network(tmp_path):
    """Three nodes with addresses of their own: one is cut off, one killed, and the scheduler started again; the promises are the same."""
    if reason := namespaces.why_not():
        pytest.skip(reason)
    with namespaces.machines(3) as machines:
        found = asyncio.run(cluster.run(80, tmp_path, machines))
    assert (found.without_final, found.with_two_finals, found.torn_files, found.ran_twice, found.failed) == ([], [], [], [], {})
