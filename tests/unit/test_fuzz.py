from __future__ import annotations

import pytest

from tests import fuzz


@pytest.mark.parametrize("seed", range(4))
def test_short_run(seed):
    """A few thousand of the datagrams of `python -m tests.fuzz`: nothing escapes, valid jobs run, and each job has one final."""
    counts = fuzz.run(2500, seed, measure=False)
    assert counts["finals"] > 50
    assert counts["Error"] > 5
