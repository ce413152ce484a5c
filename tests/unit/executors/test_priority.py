"""Children give way. A process cannot raise its priority again, so each test has one of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="not on this system: nice values")
ROOT = Path(__file__).parents[3]
LOWER = "import os; before = os.nice(0); from worker.executors.priority import lower; lower({nice}); print(os.nice(0) - before, {more})"


def said(nice, more="''"):
    code = LOWER.format(nice=nice, more=more)
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()


@POSIX
@pytest.mark.parametrize("nice", [0, 3])
def test_the_nice_value_rises_by_the_setting(nice):
    assert said(nice) == [str(nice)]


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="not on this system: sessions that share the processor")
def test_the_session_of_somebody_else_stays_as_it_is():
    """A worker that was started in a terminal does not lead the session, and neither does our test process. The file is empty in a
    session that has no such group, as one of a system's own services.
    """
    before = Path("/proc/self/autogroup").read_text().split()
    assert said(3, "open('/proc/self/autogroup').read()") == ["3", *before]


@pytest.mark.skipif(sys.platform != "win32", reason="not on this system: priority classes")
def test_windows_has_one_step():
    code = "import psutil; from worker.executors.priority import lower; lower(3); print(int(psutil.Process().nice()))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split() == ["16384"]
