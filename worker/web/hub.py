"""What the handlers of the HTTP server share: the state that they show, the guard, and the way to the scheduler.

Other parts of the server add to it: `register` a function that returns routes, and `watch` everything that happens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.catalog.catalog import Catalog
from worker.config import Config
from worker.core.changes import Answered, LevelsChanged, PresetsChanged
from worker.core.events import CatalogChanged, ChildrenChanged, Event, JobEnded, WatchAsked
from worker.files.paths import FileRules
from worker.web.commands import Commands
from worker.web.figures import Figures
from worker.web.guard import Guard
from worker.web.making import Maker, NoPictures
from worker.web.pictures import Pictures
from worker.web.state import State
from worker.web.tallies import Tallies
from worker.web.tap import Tap
from worker.web.unread import Unread

#: The interval at which the queue is emptied and the browsers get a frame.
EVERY_S = 0.05

#: Of these the newest says all.
_LEVELS = (LevelsChanged, PresetsChanged, CatalogChanged)

#: Hears of everything that has happened since the last time, and the time in seconds since 1970.
Watcher = Callable[[Sequence[Any], float], None]


@dataclass
class Hub:
    """See the module's docstring.

    Attributes:
        config: the worker's settings.
        catalog: the operations, as they are now.
        rules: which files may be read.
        address: where the server listens.
        command_port: where the worker listens for OSC.
        tap: what happens in the worker.
        tell: lets something happen in the worker's thread.
        guard: who may ask for what.
        commands: the way to the scheduler.
        maker: makes pictures of files, in another process.
        watchers: are called 20 times a second.
        missing: what this build cannot do, as the first child that works has said.
        figures: reads what the worker has counted.
        journal: its file; None without one.
        name: of this worker, for people.
        metrics: what Prometheus reads, once it has asked.
        at_end: is called when the server ends.
    """

    config: Config
    catalog: Catalog
    rules: FileRules
    address: tuple[str, int]
    command_port: int
    tap: Tap
    tell: Callable[[Event], None]
    guard: Guard
    maker: Maker = field(default_factory=NoPictures)
    watchers: list[Watcher] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)
    figures: Callable[[], Figures] = Figures
    journal: Path | None = None
    name: str = "TD Image Worker"
    metrics: Any = None
    at_end: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Makes what follows from the rest."""
        self.commands = Commands(self.tell)
        self.pictures = Pictures(self.maker)
        self.tallies = Tallies(lambda: self.catalog)
        self._state = State()
        self._unread = Unread(self._state)
        self._newest: dict[type, Any] = {}

    @property
    def state(self) -> State:
        """Everything that the page shows. What has happened while nobody looked is taken in now."""
        self._unread.read(time.time())
        return self._state

    def nobody_looks(self) -> None:
        """No browser waits for what has changed."""
        self._state.nobody_looks()

    def tell_newest(self, watcher: Watcher) -> None:
        """Tells a watcher that comes later how everything is."""
        watcher(tuple(self._newest.values()), time.time())

    def drain(self) -> int:
        """Takes in what has happened, and tells those who watch. Returns how much it was."""
        now = self.tap.since
        happened, missed = self.tap.take()
        now = now if happened else time.time()
        for one in happened:
            kind = type(one)
            if kind is Answered:
                self.commands.heard(one)
            elif kind is JobEnded:
                self.tallies.add(one)
            elif kind in _LEVELS:
                self._newest[kind] = one
                if kind is CatalogChanged:
                    self.catalog = one.catalog
            elif kind is ChildrenChanged and one.working:
                self.missing = dict(one.missing)
        self._unread.add(happened, now)
        if missed:
            self.tell(WatchAsked())
        for watcher in self.watchers:
            watcher(happened, now)
        return len(happened)
