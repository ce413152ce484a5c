import pytest

from worker.core.changes import LevelsChanged
from worker.protocol.messages import Status
from worker.web.remote import Pulse

BEAT = LevelsChanged(Status("Ready", 0, 0, 7), ())


class Clock:
    time = 100.0

    def __call__(self):
        return self.time


@pytest.mark.parametrize("asked_first", [False, True])
def test_a_sleep_is_no_silence(asked_first):
    """A paused container goes on, and somebody asks before the worker's next beat: both slept. A worker that hangs is silent."""
    clock = Clock()
    pulse = Pulse(clock)
    pulse.watch([BEAT], 0.0)
    clock.time += 0.25
    pulse.watch([], 0.0)
    clock.time += 600
    if not asked_first:
        pulse.watch([], 0.0)
    assert pulse.silent_s == 0.25
    for _ in range(40):
        clock.time += 0.25
        pulse.watch([], 0.0)
    assert pulse.silent_s == 10.25
    pulse.watch([BEAT], 0.0)
    assert pulse.silent_s == 0
