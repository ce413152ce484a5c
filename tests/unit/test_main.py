"""The program as `.ci/freeze.py` freezes it: it is the only Python there is, for its children, its nodes and the doctor, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from worker.config import installed_version

#: What a frozen program runs, in a Python that takes itself for one.
FROZEN = "import runpy, sys; sys.frozen = True; runpy.run_module('worker', run_name='__main__', alter_sys=True)"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("-P", "-c", "import sys; print(sys.argv)", "x"), "['-c', 'x']"),
        (("-P", "-m", "worker", "--version"), f"td-image-worker {installed_version()}"),
        (("--version",), f"td-image-worker {installed_version()}"),
    ],
)
def test_it_stands_for_python(words, said):
    """As `python -P` with the same words does; all others are its own."""
    command = [sys.executable, "-c", FROZEN, *words]
    done = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.strip(), done.stderr, done.returncode) == (said, "", 0)
