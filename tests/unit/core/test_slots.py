from worker.catalog.table import CATALOG
from worker.core.barrier import Barrier
from worker.core.events import Abort, Execute
from worker.core.slots import CANARY_PATIENCE, Slots
from worker.timers import Timers


def test_canary_has_a_deadline():
    """A canary that does not come back is aborted, which ends the child that has it; then another is sent."""
    effects = []
    slots = Slots(2, CATALOG.probe, Barrier(Timers(), effects.append, journal=False), effects.append)
    for _ in range(1 + CANARY_PATIENCE):
        slots.send_canary()
    slots.send_canary()
    (first, ended, second) = effects
    assert isinstance(first, Execute)
    assert ended == Abort(first.task.id)
    assert isinstance(second, Execute)
    assert second.task.id != first.task.id
