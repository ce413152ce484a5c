"""The parts that admission, running, ending and questions have in common. The scheduler makes them once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from worker.catalog.catalog import Catalog
from worker.config import Config
from worker.core.answers import Answers
from worker.core.backlog import Backlog
from worker.core.barrier import Barrier
from worker.core.chores import Chores
from worker.core.delivery import Delivery
from worker.core.events import Effect
from worker.core.known import Known
from worker.core.ledger import Ledger
from worker.core.quarantine import Quarantine
from worker.core.slots import Slots
from worker.core.status import StatusBoard
from worker.core.suspects import Suspects
from worker.core.syncs import Syncs
from worker.core.tracks import Sessions
from worker.core.watching import Watching
from worker.timers import Timers


class Shared(msgspec.Struct, frozen=True):
    """See the module's docstring.

    Attributes:
        known: the operations that jobs can ask for now.
        boot: number of this start.
        emit: takes the effects.
        chores: what nobody waits for.
        ledger: where each job is in its life.
        backlog: which jobs may run, and in which order.
        slots: which tasks run.
        sessions: which live jobs run.
        barrier: what must be stored before something else may leave.
        delivery: the clients, and the finals on their way to them.
        answers: the long answers that are under way.
        board: the status of the worker as a whole.
        syncs: who waits for all its jobs.
        quarantine: which work kills children.
        suspects: which jobs may have ended an earlier run of the worker.
        watching: who hears of all jobs.
        watched: somebody hears of all changes (`worker.core.changes`).
    """

    config: Config
    known: Known
    boot: int
    emit: Callable[[Effect], None]
    chores: Chores
    timers: Timers
    ledger: Ledger
    backlog: Backlog
    slots: Slots
    sessions: Sessions
    barrier: Barrier
    delivery: Delivery
    answers: Answers
    board: StatusBoard
    syncs: Syncs
    quarantine: Quarantine
    suspects: Suspects
    watching: Watching
    watched: bool = False

    @classmethod
    def of(cls, config: Config, catalog: Catalog, boot: int, emit: Callable[[Effect], None], *, watched: bool = False) -> Shared:
        """All parts for a new scheduler. Those that come later know those before them."""
        chores, timers, ledger = Chores(), Timers(), Ledger(config.limits)
        barrier = Barrier(timers, emit, journal=config.state is not None)
        delivery = Delivery(config, timers, emit, barrier.later, ledger.has_open, chores=chores)
        board = StatusBoard(boot, config, delivery, ledger, timers, emit, watched=watched)
        slots = Slots(config.workers, catalog.probe, barrier, emit)
        sessions = Sessions(config, ledger, barrier, delivery, emit)
        answers = Answers(delivery, timers)
        backlog, syncs, quarantine = Backlog(), Syncs(), Quarantine()
        known, suspects = Known(catalog), Suspects(ledger, backlog)
        lease_s = config.limits.lease_ms / 1000
        watching = Watching(delivery, ledger, slots, timers, emit, lease_s=lease_s, children=lambda: board.children)
        parts = (
            chores,
            timers,
            ledger,
            backlog,
            slots,
            sessions,
            barrier,
            delivery,
            answers,
            board,
            syncs,
            quarantine,
            suspects,
            watching,
            watched,
        )
        return cls(config, known, boot, emit, *parts)
