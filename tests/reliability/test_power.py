"""A small sample of `python -m tests.reliability.power`."""

from __future__ import annotations

import shutil

import pytest

from tests.reliability import power


@pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace, which writes down what the journal asks the system for, is not installed"
)
def test_a_loss_of_power(tmp_path):
    """Whatever blocks are on the disk, the next start succeeds and finds what one commit left, nothing half."""
    wrong, calls = power.run(60, "process", 1, tmp_path)
    assert calls > 300
    assert wrong == []
