"""What a test of executors leaves behind if it fails."""

from __future__ import annotations

import pytest

from tests.polling import Polled


@pytest.fixture(autouse=True)
def _nothing_goes_on():
    """The child processes of a test that has failed are ended. The next test would count them; pytest would wait for them for ever."""
    yield
    for executor in list(Polled.running):
        executor.close()
