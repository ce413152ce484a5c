"""Faults at the n-th operation: see `faults.py`. In the suite as many as fit into its time; all of them by the command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the workers are forked")
@pytest.mark.timeout(180)
@pytest.mark.parametrize(("kinds", "step"), [(("commit", "send"), 3), (("open", "write", "truncate", "fork", "thread"), 1)])
def test_one_final_one_run_still_serves(kinds, step):
    """Whatever fails once, and wherever the worker dies: one final, one run, and it still serves."""
    command = [sys.executable, "-m", "tests.reliability.faults", "--kinds", *kinds, "--step", str(step), "--budget-s", "25"]
    ended = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=170, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    cases = int(re.search(r"(\d+) cases", ended.stdout)[1])  # type: ignore[index]
    assert cases >= 2 * len(kinds)
