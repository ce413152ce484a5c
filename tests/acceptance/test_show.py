"""What a worker leaves alone for TouchDesigner's sake: its children give way, and in a show it does only what cannot wait."""

from __future__ import annotations

import contextlib
import os
import sys
import time

import psutil
import pytest

from tests.reliability.running import worker
from worker.client.line import Line
from worker.protocol.messages import Hello, Job, Ready


@pytest.mark.skipif(sys.platform == "win32", reason="not on this system: nice values")
@pytest.mark.parametrize("show", [True, False])
def test_children_give_way_and_a_show_logs_no_job(tmp_path, show):
    """Nor does it look for what dead processes have left behind."""
    left = tmp_path / ".a.png.4194304-1.part"  # no system has a process of this number
    left.touch()
    os.utime(left, (1, 1))
    options = ("--nice", "3", "--no-journal", *(["--show"] if show else []))
    with worker(tmp_path, *options) as port:
        (parent,) = [one for one in psutil.Process().children() if str(port) in one.cmdline()]
        with contextlib.closing(Line("127.0.0.1", port)) as line:
            line.tell(Hello("test", 0, 0), Job("a-job", "noop"))
            assert any(isinstance(report, Ready) for report in line.hear(60))
        wanted = os.getpriority(os.PRIO_PROCESS, 0)
        assert parent.nice() == wanted
        deadline = time.monotonic() + 60
        while {one.nice() for one in parent.children() if "spawn_main" in " ".join(one.cmdline())} != {wanted + 3}:
            assert time.monotonic() < deadline
            time.sleep(0.05)  # a child that is just starting has not got so far
        while not show and left.exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    assert ("a-job" in (tmp_path / "worker.log").read_text()) is not show
    assert left.exists() is show
