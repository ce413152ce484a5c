"""The night log of a worker that runs: knows the clock, keeps the counts over a restart, and writes the summary.

A thread of its own writes, and asks disks how much room they have: neither may take the worker's time. The counts are kept beside the
journal, once a minute and at the end; after a kill at most that minute is missing.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import shutil
import threading
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from worker.config import Config, nights_beside
from worker.core.events import JobEnded
from worker.core.nights import Nights

log = logging.getLogger(__name__)

#: How the ids of the command `health` begin.
HEALTH_IDS = "health-"
LOOK_EVERY_S = 1.0
KEEP_EVERY_S = 60.0
#: A larger file of summaries becomes `.1`, in place of the one before: about five years.
MAX_BYTES = 2**20
_CLOSE_WITHIN_S = 5.0


def file_of(config: Config, port: int) -> Path | None:
    """Where the summaries are written: beside the log, otherwise beside the journal; None if there is neither."""
    if config.log.file is not None:
        return nights_beside(config.log.file)
    return config.state / f"{port}-nights.txt" if config.state is not None else None


def night_log(config: Config, port: int) -> NightLog | None:
    """For a worker that listens at this port; None if nobody wants one."""
    if config.log.night is None:
        return None
    kept = config.state / f"{port}.day.json" if config.state is not None else None
    return NightLog(config.log.night, file_of(config, port), kept, config.roots)


class NightLog:
    """See the module's docstring.

    Args:
        minutes: when the summary is wanted, in minutes after midnight.
        file: the summaries, one after the other.
        kept: where the counts are kept; None keeps none.
        roots: whose disks are looked at.
        clock: the local time.
    """

    def __init__(
        self, minutes: int, file: Path | None, kept: Path | None, roots: Sequence[Path], clock: Callable[[], datetime] = datetime.now
    ) -> None:
        self._file = file
        self._kept = kept
        self._roots = roots
        self._clock = clock
        before = _read(kept)
        self._nights = Nights(minutes, clock(), before.get("day"), crashed=bool(before.get("running")))
        self._looked_at = self._kept_at = float("-inf")
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="night-log", daemon=True)
        self._thread.start()

    def ended(self, job: JobEnded) -> None:
        """A job has ended. Checks of its health are not counted: there may be one a minute."""
        if not job.job_id.startswith(HEALTH_IDS):
            self._nights.ended(job)

    def tick(self, now: float, waiting: int) -> None:
        """Time goes by.

        Args:
            now: in seconds of a clock that never goes back.
            waiting: how many jobs wait.
        """
        self._nights.waiting(waiting)
        if now - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = now
        if lines := self._nights.tick(self._clock()):
            self._queue.put(lambda: self._say(lines))
        if self._nights.has_news and now - self._kept_at >= KEEP_EVERY_S:
            self._kept_at = now
            self._keep(running=True)

    def close(self) -> None:
        """Keeps the counts for the next start."""
        self._keep(running=False)
        self._queue.put(None)
        self._thread.join(_CLOSE_WITHIN_S)

    def _keep(self, *, running: bool) -> None:
        if self._kept is not None:
            what, path = {"running": running, "day": self._nights.plain()}, self._kept
            self._queue.put(lambda: _write_whole(path, what))

    def _write(self) -> None:
        while (what := self._queue.get()) is not None:
            try:
                what()
            except OSError as error:
                log.warning("the night log could not be written: %s", error)

    def _say(self, lines: Sequence[str]) -> None:
        lines = [*lines, *_disks(self._roots)]
        log.info("%s", " ".join(lines))
        if self._file is None:
            return
        with contextlib.suppress(FileNotFoundError):
            if self._file.stat().st_size > MAX_BYTES:
                self._file.replace(self._file.with_name(self._file.name + ".1"))
        with self._file.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write("\n".join(lines) + "\n\n")


def _disks(roots: Sequence[Path]) -> list[str]:
    """How much room there is, one line for each disk."""
    lines, seen = [], set()
    for root in roots:
        try:
            device, usage = root.stat().st_dev, shutil.disk_usage(root)
        except OSError as error:
            lines.append(f"Disk of {root}: {error.strerror or error}.")
            continue
        if device not in seen:
            seen.add(device)
            lines.append(f"Disk of {root}: {usage.free / 10**9:.1f} GB of {usage.total / 10**9:.1f} GB are free.")
    return lines


def _read(path: Path | None) -> dict[str, Any]:
    """What an earlier run kept. What cannot be read is as if there was nothing: it is a summary, and no job."""
    if path is None:
        return {}
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    try:
        kept = msgspec.json.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _write_whole(path: Path, what: dict[str, Any]) -> None:
    try:
        text = msgspec.json.encode(what)
    except UnicodeEncodeError:  # half a character in a name
        import json

        text = json.dumps(what).encode()
    beside = path.with_name(path.name + ".new")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
    beside.replace(path)
