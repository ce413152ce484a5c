import multiprocessing
import subprocess
import sys
import time

import pytest

from worker.executors.keeper import processor_s

BUSY = "import time; t = time.process_time\nwhile t() < 0.2: pass\nprint(flush=True); input()"


class Process:
    """As much of a child process as is needed."""

    def __init__(self, pid):
        self.pid = pid


@pytest.mark.parametrize("clocks", [True, False])
def test_processor_time(monkeypatch, clocks):
    """What a process has used so far; also on a system that has no clocks of other processes. One that is gone is an error."""
    if not clocks:
        monkeypatch.setattr(time, "clock_gettime", lambda _: (_ for _ in ()).throw(OSError(22, "Invalid argument")), raising=False)
    with subprocess.Popen([sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy:
        busy.stdout.readline()
        first = processor_s(Process(busy.pid))
        assert 0.1 < first < 60
        assert processor_s(Process(busy.pid)) == pytest.approx(first, abs=0.05)  # it waits
        busy.communicate(b"\n")
    with pytest.raises(OSError, match=r"\w"):
        processor_s(Process(busy.pid))
    assert processor_s(multiprocessing.Process()) == 0.0
