"""Tasks whose files travel with them, for a cluster whose machines share no folder.

    the worker                                                           a node
    reads the inputs as bytes, under its rules    -- task, bytes -->     puts them into a scratch folder; a child works there
    writes the outputs, whole, below its roots    <-- result, bytes --   reads what the child has written, and removes the folder

Only parts of batches over pictures travel. Everything else is done by the worker's own children: plans and tables, because they see all
files; single pictures, whose way would take longer than the work; texts, copies and videos, because there is little to gain.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

import msgspec
from msgspec.structs import replace

from worker.catalog.fields import fields_of
from worker.core.jobs import Failure, Outcome, Phase, Result, Shipped, Task
from worker.errors import LimitExceeded, ResultLost, WorkerError
from worker.files.limits import MB
from worker.files.paths import FileRules, names_video
from worker.files.whole import WrittenFile, read_bytes, refusal, write_bytes_whole

#: What comes back may have so many times the size of what may go: a small JPEG becomes a large PNG.
OUTPUT_TIMES = 4
_HINT = "The worker's --cluster-ship-mb changes this limit; with --cluster-files shared nothing travels."


class Shipper:
    """Takes the files of tasks along, and writes those that come back.

    Args:
        rules: what may be read and written on this machine.
        limit_mb: how much may travel with one task.
    """

    def __init__(self, rules: FileRules, limit_mb: int) -> None:
        self._rules = rules
        self._limit_mb = limit_mb
        self.most = limit_mb * MB

    def takes(self, task: Task) -> bool:
        """Whether the task travels."""
        part, params = task.part, task.params
        if task.phase is not Phase.PART or part is None or params.tries():
            return False
        fields = [field for field in fields_of(type(params)) if field.role and getattr(params, field.name)]
        if any(field.holds in ("files", "video") for field in fields) or any(map(names_video, (*part.sources, *_read_by(task)))):
            return False
        return bool(part.sources) or any(field.role == "write" and field.holds == "image" for field in fields)

    def packed(self, task: Task) -> tuple[Task, list[bytes]]:
        """The task as it travels, and its files. May take time.

        Raises:
            LimitExceeded: they are too large together. One that is too large itself, or cannot be read, travels as a failure.
        """
        files: list[bytes] = []
        inputs: dict[str, str] = {}
        refused: dict[str, Failure] = {}
        size = 0
        for text in dict.fromkeys((*(task.part.sources if task.part else ()), *_read_by(task))):
            try:
                path = self._rules.to_read_file(text)
                self._check_one(path.name, path.stat().st_size if path.is_file() else 0)
                data = read_bytes(path, self._rules.limits)
            except WorkerError as error:
                refused[text] = Failure.of(error)
                continue
            except OSError as error:  # it has gone meanwhile
                refused[text] = Failure.of(refusal(error, path, "read"))
                continue
            size += len(data)
            if size > self.most:
                raise LimitExceeded(
                    f"{task.operation} needs more files at a time than may travel to a node; the limit is {self._limit_mb} MB.", _HINT
                )
            inputs[text] = f"in/{len(files)}/{path.name}"
            files.append(data)
        return msgspec.structs.replace(task, shipped=Shipped("", inputs, refused)), files

    def _check_one(self, name: str, size: int) -> None:
        if size > self.most:
            raise LimitExceeded(f"{name} has {size / MB:.0f} MB, and {self._limit_mb} MB may travel to a node.", _HINT)

    def written(self, task: Task, outcome: Outcome, files: Sequence[bytes], is_wanted: Callable[[], bool]) -> Outcome:
        """How the task ended, after its files have been written here. May take time.

        Args:
            task: as it was before it travelled.
            outcome: how it ended on the node; its files have the names that the job gave them.
            files: the bytes of each of them.
            is_wanted: is asked before each file; nothing more is written if nobody wants it.
        """
        if not isinstance(outcome, Result) or not outcome.files:
            return outcome
        if len(files) != len(outcome.files):
            return Failure.of(ResultLost())
        try:
            written = tuple(self._write(task, *pair) for pair in zip(outcome.files, files, strict=True) if is_wanted())
        except WorkerError as error:
            return Failure.of(error)
        return msgspec.structs.replace(outcome, files=written)

    def _write(self, task: Task, file: WrittenFile, data: bytes) -> WrittenFile:
        if not any(pattern.fullmatch(file.path) for pattern in _outputs(task)):
            raise ResultLost("A node has sent a file that this job does not write.")
        written = write_bytes_whole(self._rules.to_write(file.path), (data,), self._rules.limits)
        return replace(file, path=self._rules.spell(self._rules.to_read(file.path)), size_bytes=written.size_bytes)


def _read_by(task: Task) -> Iterator[str]:
    """The files that a part reads beside its own."""
    has_sources = task.part is not None and task.part.sources
    for field in fields_of(type(task.params)):
        if field.role == "read" and not (has_sources and field.name == "image") and (text := getattr(task.params, field.name)):
            yield text


def _outputs(task: Task) -> Iterator[re.Pattern[str]]:
    """What the files are called that a task may write."""
    for field in fields_of(type(task.params)):
        if field.role == "write" and (text := getattr(task.params, field.name)):
            yield re.compile(re.escape(text).replace(r"\{n\}", r"\d+").replace(r"\{name\}", r"[^/\\]*"), re.DOTALL)
