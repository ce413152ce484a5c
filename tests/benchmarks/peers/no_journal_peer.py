"""The worker without its journal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.benchmarks.peers import Calls
from tests.benchmarks.peers.ours_peer import over_osc

PACKAGE = ""
WHAT = "over UDP without a journal, 2 children"


@contextlib.contextmanager
def opened(_redis: str) -> Iterator[Calls]:
    yield from over_osc("--no-journal")
