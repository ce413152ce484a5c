from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.config import Limits
from worker.core import ledger as ledger_module
from worker.core.ledger import EndedJob, Ledger
from worker.protocol.messages import Ready


def ended(seq):
    return EndedJob("10.0.0.1:9461", f"job-{seq}", b"", Ready(f"job-{seq}", seq, 1, 0, 0, 0, "noop"))


@given(st.lists(st.integers(1, 60), unique=True), st.integers(1, 20))
def test_next_final(seqs, remembered):
    """However the finals come, and however many are forgotten: a replay goes through those that are remembered, in order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_module, "_GONE_AT_ONCE", 5)
        ledger = Ledger(Limits(remembered_jobs=remembered))
        for seq in seqs:
            ledger.restore(ended(seq))
            assert list(ledger.violations()) == []
        found, at = [], 0
        while (one := ledger.next_final("10.0.0.1:9461", at)) is not None:
            found.append(one.final.seq)
            at = one.final.seq + 1
        assert found == sorted(seqs[-remembered:])


def test_numbers_of_forgotten_finals_do_not_pile_up():
    """A worker that runs for months keeps as many numbers as it remembers finals, and a few."""
    ledger = Ledger(Limits(remembered_jobs=10))
    for seq in range(1, 20_000):
        ledger.restore(ended(seq))
    (finals,) = ledger._finals.values()
    assert len(finals.jobs) == 10
    assert len(finals.numbers) < 1100


def test_digest():
    """It is the standard's, so that a journal of another version knows its jobs; and the first job waits for no library of ciphers."""
    program = "import sys; from worker.core.ledger import digest; print(digest(b'content').hex(), 'hashlib' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout.split()
    assert said == [hashlib.blake2b(b"content", digest_size=20).hexdigest(), "False"]
