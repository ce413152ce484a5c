"""What all kinds of batches have."""

from __future__ import annotations

import dataclasses
import itertools
import math
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from worker.core.jobs import Part, Plan, Result, Task
from worker.files import results
from worker.files.frames import FrameName
from worker.files.handles import free_bytes
from worker.files.limits import NO_LIMITS
from worker.files.whole import WrittenFile, write_bytes_whole
from worker.pictures.frames import read_frame
from worker.pictures.images import Loaded, load
from worker.pictures.jpeg import Size
from worker.pictures.pixels import Image
from worker.tasks.tables import TABLES, check_table

if TYPE_CHECKING:
    from worker.catalog.rows import OperationInfo
    from worker.files.limits import FileLimits
    from worker.files.paths import FileRules, Kind


Progress = Callable[[int], None]

#: A batch is cut into this many parts per child, so that no child waits long for the slowest.
PARTS_PER_SLOT = 8
#: Shortest and longest time of a part: its way to a child and back is work, too, and little may be lost with it.
SHORTEST_PART_S = 0.05
LONGEST_PART_S = 30.0


def limits_of(files: FileRules) -> FileLimits:
    """A local `run` may do what the machine can."""
    return NO_LIMITS if files.unrestricted else files.limits


class Batch(Protocol):
    """A job's work, as something that can be cut."""

    def plan(self) -> Plan: ...
    def is_small(self, plan: Plan) -> bool: ...
    def run(self, part: Part, progress: Progress) -> Result: ...
    def finish(self, joined: Result) -> Result: ...


@dataclasses.dataclass(frozen=True, slots=True)
class BaseBatch:
    """What all batches have.

    Attributes:
        info: the operation's row of the catalogue.
        operation: its functions, in the shape that this batch runs.
    """

    task: Task
    files: FileRules
    info: OperationInfo
    operation: Any

    @property
    def params(self) -> Any:
        return self.task.params

    @property
    def limits(self) -> FileLimits:
        return limits_of(self.files)

    @property
    def data(self) -> str:
        """The table to write; empty if there is none."""
        return getattr(self.params, "data", "")

    def read(self, source: str) -> Image:
        return self.load(source).image

    def load(self, source: str, shrunk: Callable[[Size], Size] | None = None) -> Loaded:
        """The image in a file, or a frame."""
        frame = FrameName.of(source)
        if frame is not None:
            return Loaded(read_frame(self.files.to_read_file(frame.path), frame, self.limits).image)
        return load(self.files.to_read_file(source), limits=self.limits, shrunk=shrunk)

    def to_write(self, output: str, kind: Kind = "a file", endings: Collection[str] = ()) -> Path:
        """The path to write to. Raises DiskFull if its disk has too little room."""
        path = self.files.to_write(output, kind, endings)
        self.limits.check_free(path.name, free_bytes(next(above for above in path.parents if os.path.isdir(above))))
        return path

    def is_small(self, plan: Plan) -> bool:
        return plan.steps < self.info.few

    def finish(self, joined: Result) -> Result:  # noqa: ARG002 - those with a table to write override it
        return Result()

    def check_table(self) -> None:
        """Whether the table can be written under its name."""
        self.to_write(self.data, endings=tuple(TABLES))
        check_table(self.data)

    def table(self, joined: Result, names: tuple[str, ...]) -> Result:
        """Writes the table `data` of all rows, each with its image."""
        self.limits.check_rows(self.info.name, len(joined.rows))
        path = self.files.to_write(self.data)
        text = TABLES[path.suffix.lower()](self.info, joined, names)
        return Result(files=(self.written(path, (text.encode(),)),))

    def written(self, path: Path, blocks: Iterable[bytes]) -> WrittenFile:
        with results.private(path):
            return self.spelled(write_bytes_whole(path, blocks, self.limits))

    def spelled(self, written: WrittenFile) -> WrittenFile:
        frame = FrameName.of(written.path)
        if frame is not None:
            spelled = msgspec.structs.replace(frame, path=self.files.spell(Path(frame.path)))
            return msgspec.structs.replace(written, path=str(spelled))
        return msgspec.structs.replace(written, path=self.files.spell(Path(written.path)))


def cut_by_size(parts: Iterable[Part], sizes: Sequence[int], most: int) -> tuple[Part, ...]:
    """Cuts parts again, so that the files of none are larger together than `most` bytes; one that is larger itself is a part of its own.

    >>> [(part.index, part.first, part.stop) for part in cut_by_size([Part(0, 0, 3), Part(1, 3, 5)], [4, 4, 4, 9, 1], 8)]
    [(0, 0, 2), (1, 2, 3), (2, 3, 4), (3, 4, 5)]
    """
    cut: list[Part] = []
    for part in parts:
        first, size = part.first, 0
        for n in range(part.first, part.stop):
            if n > first and size + sizes[n] > most:
                cut.append(Part(len(cut), first, n, part.sources[first - part.first : n - part.first]))
                first, size = n, 0
            size += sizes[n]
        cut.append(Part(len(cut), first, part.stop, part.sources[first - part.first :]))
    return tuple(cut)


def cut_into_parts(count: int, slots: int, sources: tuple[str, ...] = (), step_s: float = 0.0) -> tuple[Part, ...]:
    """Cuts `count` items into contiguous parts of as equal a size as can be; with no slots into one.

    Args:
        count: how many items there are.
        slots: how many tasks run at a time.
        sources: the input of each item.
        step_s: seconds for one item, if that is known: then no part takes less than `SHORTEST_PART_S` or more than `LONGEST_PART_S`.

    >>> [len(cut_into_parts(500, 4, step_s=step_s)) for step_s in (0.0, 0.0001, 0.004, 10.0)]
    [32, 1, 32, 167]
    """
    number = min(count, slots * PARTS_PER_SLOT)
    if slots and step_s:
        number = min(number, math.ceil(count * step_s / SHORTEST_PART_S))
        number = max(number, min(count, math.ceil(count * step_s / LONGEST_PART_S)))
    number = max(1, number)
    bounds = [count * index // number for index in range(number + 1)]
    return tuple(Part(index, first, stop, sources[first:stop]) for index, (first, stop) in enumerate(itertools.pairwise(bounds)))
