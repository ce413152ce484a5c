"""A few jobs of which the files travel to two nodes. The long run is a command: see `tests/reliability/identical.py`."""

from __future__ import annotations

import asyncio
import sys

import pytest

from tests.reliability import identical

pytest.importorskip("distributed", reason="not in this environment: Dask distributed")


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: signals of POSIX")
@pytest.mark.timeout(300)
def test_files_that_travel(tmp_path):
    """Over nodes that see no folder of the worker, each file and each report is the same as without a cluster, and nothing stays there."""
    found = asyncio.run(identical.run(40, 4, tmp_path, ships=True, size=(400, 300)))
    assert (found.differ, found.strays) == ([], [])
    assert len(found.tasks) == 2
    assert all(found.tasks)
