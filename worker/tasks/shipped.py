"""The files of a task that came to a node together with it: the job's own names, and what stands for them there."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

from worker.core.jobs import Failure, Shipped
from worker.errors import ArgumentError, InternalError, LimitExceeded, MissingFile, PathError, UnsupportedFormat, WorkerError
from worker.files.paths import FileRules, Kind
from worker.files.shipped import place_of_output
from worker.files.whole import StillWritten

_ERRORS: dict[str, type[WorkerError]] = {
    error.word: error for error in (ArgumentError, LimitExceeded, MissingFile, PathError, UnsupportedFormat)
}


@dataclasses.dataclass(frozen=True)
class ShippedRules(FileRules):
    """Rules by which each name of the task leads to its file in the task's folder. The worker has checked the names, or does so later.

    Attributes:
        shipped: what came.
        written: by path: what it is called on the worker's machine.
    """

    shipped: Shipped = dataclasses.field(default_factory=Shipped)
    written: dict[str, str] = dataclasses.field(default_factory=dict)

    @classmethod
    def of(cls, rules: FileRules, shipped: Shipped) -> ShippedRules:
        """The rules of this machine for one task."""
        return cls(**{field.name: getattr(rules, field.name) for field in dataclasses.fields(FileRules)}, shipped=shipped)

    def to_read(self, text: str) -> Path:
        """The file that came under this name. Raises the error with which the worker could not read it."""
        failure = self.shipped.refused.get(text)
        if failure is not None:
            raise _error_of(failure)
        name = self.shipped.inputs.get(text)
        if name is None:
            raise PathError(f"{text} did not travel with its task.", "td-image-worker serve --cluster-files shared reads it on each node.")
        return Path(self.shipped.folder, name)

    def to_read_file(self, text: str) -> Path:
        """As `to_read`."""
        return self.to_read(text)

    def to_write(self, text: str, kind: Kind = "a file", endings: Collection[str] = ()) -> Path:  # noqa: ARG002 - the worker knows, and writes it
        """Where the file is written first. The worker checks the name before it writes the file itself."""
        path = place_of_output(Path(self.shipped.folder), text)
        self.written[path.as_posix()] = text
        return path

    def spell(self, path: Path) -> str:
        """What the worker calls it."""
        return self.written.get(path.as_posix()) or super().spell(path)


def _error_of(failure: Failure) -> WorkerError:
    kind = StillWritten if failure.transient else _ERRORS.get(failure.word, InternalError)
    return kind(failure.message, failure.hint)
