"""A small recording, made without a worker: one client, one job that does nothing."""

from __future__ import annotations

from pathlib import Path

from worker.catalog.table import CATALOG
from worker.config import Config
from worker.core.events import Finished, Received
from worker.core.gate import Gate
from worker.core.jobs import Result
from worker.protocol import osc
from worker.protocol.messages import Hello, Job
from worker.service.recorded import RecordedScheduler
from worker.storage.recording import Recorder


def write(path: Path) -> None:
    """Writes it there."""
    recorder = Recorder(path, 2**20)
    scheduler = RecordedScheduler(recorder, Config(workers=1), 7, 1000.1, "0.1.0", Gate(), children=False, catalog=CATALOG)
    for at, command in ((1000.2, Hello("td", 0, 0)), (1000.3, Job("j1", "noop"))):
        peer = ("127.0.0.1", 50_000)
        event = Received(peer, (command,))
        scheduler.came(event, osc.encode(command), peer)
        scheduler.handle(event, at)
    scheduler.handle(Finished(1, Result()), 1000.4)
    recorder.close()
