"""Where the log goes, and in which form."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TextIO

import click
import msgspec

MAX_BYTES = 10 * 2**20
BACKUPS = 4


class JsonFormatter(logging.Formatter):
    """One JSON object per line, for programs that collect logs."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{record.msecs:03.0f}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry).decode()


class TextFormatter(logging.Formatter):
    r"""One line per record. Names, hosts and paths come from packets, so nothing in them may look like a line of ours, or move a cursor.

    Control characters are escaped, and further lines (a traceback, or a break in a name) are indented behind a bar.

    >>> record = logging.LogRecord("worker", logging.INFO, "", 0, "stopping: asked by %s", ("a\x1b[31mb\n2026-01-01 INFO c",), None)
    >>> print(TextFormatter("%(levelname)s %(message)s").format(record))
    INFO stopping: asked by a\x1b[31mb
        | 2026-01-01 INFO c
    """

    _second, _shown = 0, ""

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: ARG002, N802 - as the base class has it
        second = int(record.created)
        if second != self._second:  # thousands of lines may have the same
            self._second, self._shown = second, time.strftime(self.default_time_format, time.localtime(second))
        return f"{self._shown},{int(record.msecs):03}"

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_info or record.exc_text or record.stack_info:
            text = super().format(record)
        else:  # a line for each job: what the base class does then, without its five calls
            record.message, record.asctime = record.getMessage(), self.formatTime(record)
            text = str(self._fmt) % record.__dict__
        return text if text.isprintable() else "\n    | ".join(map(_printable, text.split("\n")))


class _Stderr(logging.StreamHandler[TextIO]):
    """Python flushes standard error at the end of each line, so that it need not be done twice."""

    def flush(self) -> None:
        pass


def _printable(line: str) -> str:
    if line.isprintable():
        return line
    return "".join([letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line])


def begin_logging(level: str, form: str, file: Path | None) -> None:
    """Sends the log of this process to a file that is kept small, or to standard error.

    Raises:
        click.UsageError: the file cannot be written.
    """
    # What no line of ours shows need not be found out for each: there is one for every job.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    logging._srcfile = None  # noqa: SLF001 - as the logging HOWTO says, "Optimization"
    handler: logging.Handler
    if file is None:
        handler = _Stderr(sys.stderr)
    else:
        from logging.handlers import RotatingFileHandler

        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            handler = RotatingFileHandler(file, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
        except OSError as error:
            raise click.UsageError(f"The log file {file} cannot be written: {error.strerror}.") from None
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler])
