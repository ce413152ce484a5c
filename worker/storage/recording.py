r"""A recording: what a worker was sent, what it sent, and everything else that its scheduler heard and wanted, with the times.

The file is text, one JSON object a line (numbers may be NaN or Infinity). It is only added to, so whatever ends the worker costs at most
the last lines. A worker that is started again with the same file adds another run.

    {"run": {...}}                                               a start: version, boot, time and the settings that the scheduler knows
    {"t": 12.3, "kept": {...}}                                   what an earlier run had left in the journal
    {"t": 12.3, "in": "127.0.0.1:50000", "packet": "/worker..."} a packet came; each character of the text is one byte of it
    {"t": 12.4, "event": "Finished", ...}                        something else happened
    {"t": 12.4, "effects": [...]}                                the end of a round: what the scheduler wanted then, see `core.plain`
    {"lost": 3}                                                  so many lines are missing, because the disk was slower than the worker
    {"end": "full"}                                              the file has reached its limit, or "stopped": the worker ended

`t` is in seconds of a clock that never goes back; the `run` says what it showed at which time of day. Reports that leave in one datagram
stand one after the other. Packets of computers that are not let in are not there. No token is: `*` stand in its
place, `-` for a wrong one of four bytes or more.

A thread of its own writes, so a slow disk delays nothing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from typing import Final as Constant

import msgspec

from worker.storage.errors import StorageError

log = logging.getLogger(__name__)

FORMAT: Constant = 1
#: The maximum of lines that wait for the disk. More are lost, and counted.
MAX_WAITING: Constant = 50_000
_LINES_AT_ONCE: Constant = 500
_CLOSE_WITHIN_S: Constant = 5.0
_END_BYTES: Constant = 100

#: Makes a line when it is written, in the thread that writes.
Line = Callable[[], dict[str, Any]]


class RecordingError(StorageError):
    """A recording cannot be written or read. The text is a sentence."""


class Recorder:
    """Writes a recording.

    Args:
        path: the file; it is made, or added to.
        limit_bytes: how large it may become.
        secrets: texts that must not stand in it.

    Raises:
        RecordingError: it cannot be written, is no recording, or is full already.
    """

    def __init__(self, path: Path, limit_bytes: int, secrets: tuple[str, ...] = ()) -> None:
        self.path = path
        self._limit = limit_bytes
        self._secrets = tuple(form for secret in secrets if secret for form in _forms(secret))
        self._descriptor = _opened(path)
        self._size = os.fstat(self._descriptor).st_size
        if self._size + _END_BYTES > limit_bytes:
            os.close(self._descriptor)
            size, limit = self._size / 2**20, limit_bytes / 2**20
            raise RecordingError(f"The recording {path} has {size:.1f} MB; the limit is {limit:g} (--record-mb). Name another file.")
        self._queue: queue.SimpleQueue[Line | None] = queue.SimpleQueue()
        self._lost = 0
        self._has_begun = False
        self.is_open = True
        self._thread = threading.Thread(target=self._write, name="recorder", daemon=True)
        self._thread.start()

    def add(self, line: Line) -> None:
        """Adds a line. `line` is called in another thread, so it must only look at what does not change."""
        if not self.is_open:
            return
        self._has_begun = True
        if self._queue.qsize() >= MAX_WAITING:
            self._lost += 1
            return
        if self._lost:
            lost, self._lost = self._lost, 0
            self._queue.put(lambda: {"lost": lost})
        self._queue.put(line)

    def close(self) -> None:
        """Writes what waits, and ends the run, if one has begun."""
        if self._has_begun:
            self.add(lambda: {"end": "stopped"})
        self._queue.put(None)
        self._thread.join(_CLOSE_WITHIN_S)
        self.is_open = False

    def _write(self) -> None:
        try:
            goes_on = True
            while goes_on and self.is_open:
                lines = [self._queue.get()]
                with contextlib.suppress(queue.Empty):
                    while lines[-1] is not None and len(lines) < _LINES_AT_ONCE:
                        lines.append(self._queue.get_nowait())
                goes_on = lines[-1] is not None
                self._write_lines([line for line in lines if line is not None])
        except OSError as error:
            log.error("the recording %s ends here: %s", self.path, error.strerror or error)  # noqa: TRY400 - the reason is enough
        finally:
            self.is_open = False
            os.close(self._descriptor)

    def _write_lines(self, lines: list[Line]) -> None:
        data = bytearray()
        for line in lines:
            text = self._encoded(line)
            if self._size + len(data) + len(text) + _END_BYTES > self._limit:
                log.warning("the recording %s has reached its limit (--record-mb) and ends here", self.path)
                data += b'{"end": "full"}\n'
                self.is_open = False
                break
            data += text
        self._size += len(data)
        rest = memoryview(bytes(data))
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def _encoded(self, line: Line) -> bytes:
        try:
            text = json.dumps(line(), separators=(",", ":"))
        except Exception:  # whatever cannot be written, the worker and the recording go on
            log.exception("something could not be recorded")
            text = '{"lost":1}'
        for secret, stars in self._secrets:
            text = text.replace(secret, stars)
        return text.encode() + b"\n"


def _forms(secret: str) -> Iterator[tuple[str, str]]:
    """How a text may stand in a line: as text, or as bytes of a packet; and as many stars as it has bytes."""
    stars = "*" * len(secret.encode())
    for form in dict.fromkeys((secret, secret.encode().decode("latin-1"))):
        yield json.dumps(form)[1:-1], stars


def _opened(path: Path) -> int:
    """A descriptor to add to the file, for this user's eyes only. After a broken last line a new one begins."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0), 0o600)
    except OSError as error:
        raise RecordingError(f"The recording {path} cannot be written: {error.strerror or error}.") from None
    try:
        with path.open("rb") as file:
            first = file.read(8)
            if first and not first.startswith(b'{"run":'):
                raise RecordingError(f"{path} is no recording, so nothing is added to it. Name another file.")
            if first:
                file.seek(-1, os.SEEK_END)
                if file.read(1) != b"\n":
                    os.write(descriptor, b"\n")
    except OSError as error:
        os.close(descriptor)
        raise RecordingError(f"The recording {path} cannot be read: {error.strerror or error}.") from None
    except RecordingError:
        os.close(descriptor)
        raise
    return descriptor


# ------------------------------------------------------------------------------------------------------------- reading


class Run(msgspec.Struct):
    """One start of a worker.

    Attributes:
        head: what stands behind `run`.
        lines: the others, each with the number of its line in the file.
        broken: lines that could not be read; the last one before a crash usually is one.
    """

    head: dict[str, Any]
    lines: list[tuple[int, dict[str, Any]]] = msgspec.field(default_factory=list)
    broken: list[int] = msgspec.field(default_factory=list)

    @property
    def lost(self) -> int:
        """How many lines are missing."""
        return sum(int(line["lost"]) for _, line in self.lines if "lost" in line)

    @property
    def is_whole(self) -> bool:
        """Whether it goes on to the end of the worker."""
        return not self.broken and not self.lost and any(line.get("end") == "stopped" for _, line in self.lines)


def read(path: Path) -> list[Run]:
    """The runs of a recording.

    Raises:
        RecordingError: it cannot be read, is no recording, or is one of a newer version.
    """
    runs: list[Run] = []
    try:
        with path.open("rb") as file:
            for number, data in enumerate(file, 1):
                line = _line(data)
                if line is not None and isinstance(line.get("run"), dict):
                    runs.append(Run(_checked(path, line["run"])))
                elif not runs:
                    raise RecordingError(f"{path} is no recording: its first line says nothing about a run.")
                elif line is None:
                    runs[-1].broken.append(number)
                else:
                    runs[-1].lines.append((number, line))
    except OSError as error:
        raise RecordingError(f"The recording {path} cannot be read: {error.strerror or error}.") from None
    if not runs:
        raise RecordingError(f"The recording {path} is empty.")
    return runs


def _line(data: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(data)
    except (ValueError, RecursionError):
        return None
    return line if isinstance(line, dict) else None


def _checked(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    if head.get("format") != FORMAT:
        raise RecordingError(
            f"The recording {path} has format {head.get('format')!r:.20}; this version of the program reads format {FORMAT}."
        )
    return head
