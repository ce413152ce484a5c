"""What a child process does with a task: reads the files, runs the operation, writes the files. It never raises.

The four shapes of `worker.operations.shapes` become four kinds of batch. Each can say how it would be cut into parts (PLAN), do one
part (PART), and write what can only be written when all parts are done (FINISH). A small batch is done within its PLAN.

In a batch over several images, one image that is missing or broken fails the whole job with that file's sentence; what was written
before stays. No job may write over an image that it reads.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import itertools
import json
import logging
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from worker.catalog.parse import operation_info
from worker.core.jobs import Failure, Outcome, Part, Phase, Plan, Result, Task, WrittenFile
from worker.errors import ArgumentError, InternalError, UnsupportedFormat, WorkerError
from worker.files.handles import free_bytes
from worker.files.limits import NO_LIMITS
from worker.operations.convert import target_size
from worker.operations.shapes import Detector, Filter, Nothing, Rows, Source, Text
from worker.operations.table import OPERATIONS
from worker.pictures.images import (
    append_bytes,
    check_ending,
    is_out_of_memory,
    read_image,
    readable_endings,
    wanted_memory,
    write_bytes_whole,
    write_image,
)
from worker.pictures.pixels import Image, size_of

if TYPE_CHECKING:
    from worker.files.limits import FileLimits
    from worker.files.paths import FileRules, Inputs

log = logging.getLogger(__name__)

Progress = Callable[[int], None]

#: A batch is cut into so many parts per child, so that none of them waits long for the slowest.
PARTS_PER_SLOT = 8
#: Fewer images than this are drawn at once: planning and handing out would take longer.
FEW_DRAWINGS = 8
#: Fewer lines than this are written at once; more have a progress that somebody may want to see.
FEW_LINES = 10_000

#: Digits behind the point: what the numbers can be trusted for, and what reads well.
_DIGITS = {"x": 3, "y": 3, "radius": 3, "size": 3, "angle": 2, "u": 6, "v": 6, "score": 3}
_SIGNIFICANT = 6


def run_task(task: Task, files: FileRules, progress: Progress) -> Outcome:
    """Runs one task to its end.

    Args:
        task: what to do.
        files: what may be read and written.
        progress: is called with the number of items done within this task, after each of them.

    Returns:
        In phase PLAN a `Plan`, or the `Result` of a job that is small; otherwise a `Result`. A `Failure` where anything went wrong.
    """
    try:
        return _run(task, files, progress)
    except WorkerError as error:
        return Failure.of(error)
    except Exception as error:
        if is_out_of_memory(error):
            return Failure.of(_limits(files).out_of_memory(task.operation, wanted_memory(error)))
        log.exception("task %d, %s, phase %s", task.id, task.operation, task.phase.value)
        return Failure.of(InternalError(f"{task.operation} failed inside the worker; the log says more."))


def _limits(files: FileRules) -> FileLimits:
    """A local `run` may do what the machine can."""
    return NO_LIMITS if files.unrestricted else files.limits


def _run(task: Task, files: FileRules, progress: Progress) -> Outcome:
    batch = _BATCHES[type(OPERATIONS[task.operation])](task, files)
    if task.phase is Phase.PART:
        if task.part is None:
            raise InternalError("A task in phase PART names no part.")
        return batch.run(task.part, progress)
    if task.phase is Phase.FINISH:
        return batch.finish(task.joined)
    plan = batch.plan()
    return _done_at_once(batch, plan, progress) if batch.is_small(plan) else plan


def _done_at_once(batch: Batch, plan: Plan, progress: Progress) -> Result:
    result = plan.base
    for part in plan.parts:
        result = result.joined(batch.run(part, progress))
    return result.joined(batch.finish(result)) if plan.finish else result


class Batch(Protocol):
    """A job's work, as something that can be cut."""

    def plan(self) -> Plan: ...
    def is_small(self, plan: Plan) -> bool: ...
    def run(self, part: Part, progress: Progress) -> Result: ...
    def finish(self, joined: Result) -> Result: ...


@dataclasses.dataclass(frozen=True, slots=True)
class _Base:
    """What all batches have."""

    task: Task
    files: FileRules

    @property
    def params(self) -> Any:
        return self.task.params

    @property
    def operation(self) -> Any:
        return OPERATIONS[self.task.operation]

    @property
    def limits(self) -> FileLimits:
        return _limits(self.files)

    def read(self, source: str) -> Image:
        return read_image(self.files.to_read(source), limits=self.limits)

    def to_write(self, output: str) -> Path:
        """Where an output goes, once its disk is known to have room."""
        path = self.files.to_write(output)
        self.limits.check_free(path.name, free_bytes(next(above for above in path.parents if os.path.isdir(above))))
        return path

    def finish(self, joined: Result) -> Result:  # noqa: ARG002 - those with a table to write override it
        return Result()

    def table(self, joined: Result, names: tuple[str, ...]) -> Result:
        """Writes the table `data` of all rows, each with its image."""
        self.limits.check_rows(self.task.operation, len(joined.rows))
        path = self.files.to_write(self.params.data)
        text = _TABLES[path.suffix.lower()](self.task.operation, joined, names)
        return Result(files=(self.spelled(write_bytes_whole(path, (text.encode(),), self.limits)),))

    def spelled(self, written: WrittenFile) -> WrittenFile:
        return dataclasses.replace(written, path=self.files.spell(Path(written.path)))


class _Idle(_Base):
    """A batch of nothing."""

    def plan(self) -> Plan:
        return Plan(())

    def is_small(self, _plan: Plan) -> bool:
        return True

    def run(self, _part: Part, _progress: Progress) -> Result:
        return Result()


class _Writing(_Base):
    """One text file. A long one is a plan of one part, because only a plan can say how many steps its progress will have."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        self.to_write(self.params.output)
        return Plan((Part(0, 0, self.operation.steps(self.params)),))

    def is_small(self, plan: Plan) -> bool:
        return plan.steps < FEW_LINES

    def run(self, _part: Part, progress: Progress) -> Result:
        path = self.files.to_write(self.params.output)
        blocks = _reporting(self.operation.blocks(self.params), progress)
        if self.params.append:
            written = append_bytes(path, blocks, self.operation.between(self.params), self.limits)
        else:
            written = write_bytes_whole(path, blocks, self.limits)
        return Result(files=(self.spelled(written),))


def _reporting(blocks: Iterable[tuple[int, bytes]], progress: Progress) -> Iterable[bytes]:
    for done, block in blocks:
        yield block
        progress(done)


class _Drawing(_Base):
    """Images made from numbers."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        count = self.operation.count(self.params)
        _check_pattern(self.task.operation, "output", self.params.output, count > 1, ("{n}",))
        path = self.to_write(_filled(self.params.output, 0))
        check_ending(path)
        self.limits.check_outputs(self.task.operation, count + bool(self.params.data))
        self.limits.check_picture(path.name, self.params.width, self.params.height)
        info = operation_info(self.task.operation)
        slots = self.task.slots if count >= FEW_DRAWINGS else 0
        if self.params.data:
            self.to_write(self.params.data)
            _check_table(self.params.data)
        return Plan(_parts(count, slots), bool(self.params.data), Result(info.kind, info.fields))

    def is_small(self, plan: Plan) -> bool:
        return plan.steps < FEW_DRAWINGS

    def run(self, part: Part, progress: Progress) -> Result:
        info = operation_info(self.task.operation)
        rows: list[tuple[float, ...]] = []
        written = []
        for done, n in enumerate(range(part.first, part.stop), start=1):
            image, found = self.operation.make(self.params, n)
            path = self.files.to_write(_filled(self.params.output, n))
            written.append(self.spelled(write_image(path, image, limits=self.limits)))
            rows += rounded(found, info.fields)
            progress(done)
        return Result(info.kind, info.fields, tuple(rows), tuple(written))

    def finish(self, joined: Result) -> Result:
        numbered = tuple((*row, n) for n, row in enumerate(joined.rows))
        names = image_names(written.path for written in joined.files)
        return self.table(dataclasses.replace(joined, fields=(*joined.fields, "image"), rows=numbered), names)


class _Reading(_Base):
    """What batches over input images have in common. A single image is never cut: only PLAN sees it, and no part of a plan does."""

    #: The parameters that name an output for each input.
    outputs: tuple[str, ...] = ()

    def plan(self) -> Plan:
        self.operation.check(self.params)
        inputs = self.files.to_read_all(self.params.image, readable_endings())
        self._check_outputs(inputs)
        sources = tuple(self.files.spell(path) for path in inputs.paths)
        info = operation_info(self.task.operation)
        fields = (*info.fields, "image") if inputs.several and info.fields else info.fields
        base = Result(info.kind, fields, sources=sources if inputs.several else ())
        parts = _parts(len(sources), self.task.slots if inputs.several else 0, sources)
        return Plan(parts, finish=bool(self.data), base=base)

    def is_small(self, plan: Plan) -> bool:
        return not plan.base.sources

    def run(self, part: Part, progress: Progress) -> Result:
        several = self.task.phase is Phase.PART
        result = Result()
        for done, source in enumerate(part.sources, start=1):
            result = self._joined(result, self.run_one(source, part.first + done - 1, several))
            self.limits.check_rows(self.task.operation, len(result.rows))
            progress(done)
        return result

    def run_one(self, source: str, n: int, several: bool) -> Result:
        raise NotImplementedError

    @property
    def data(self) -> str:
        return getattr(self.params, "data", "")

    @staticmethod
    def _joined(first: Result, second: Result) -> Result:
        return first.joined(second)

    def _check_outputs(self, inputs: Inputs) -> None:
        """Before anything is written: every output has a place of its own, and none of them is an input."""
        targets: dict[str, str] = {}
        wanted = sum(bool(getattr(self.params, name)) for name in self.outputs) * len(inputs.paths)
        self.limits.check_outputs(self.task.operation, wanted + bool(self.data))
        for name in self.outputs:
            pattern = getattr(self.params, name)
            if not pattern:
                continue
            _check_pattern(self.task.operation, name, pattern, inputs.several, ("{name}", "{n}"))
            check_ending(self.to_write(_filled(pattern, 0, inputs.paths[0].stem)))
            for n, path in enumerate(inputs.paths):
                _claim(targets, _filled(pattern, n, path.stem), f"{name} of image {n} ({path.name})")
        if self.data:
            self.to_write(self.data)
            _check_table(self.data)
            _claim(targets, self.data, "data")
        self._check_not_inputs(inputs, targets)

    def _check_not_inputs(self, inputs: Inputs, targets: dict[str, str]) -> None:
        """Compares the files themselves, not their names, because a name has many spellings."""
        known = {_identity(path) for path in inputs.paths} - {None}
        for target in targets:
            if _identity(self.files.to_write(target)) in known:
                raise ArgumentError(
                    f"{self.task.operation} would write over {target}, which is one of its own inputs.", "Choose another name or folder."
                )

    def _target(self, pattern: str, source: str, n: int) -> Path:
        return self.files.to_write(_filled(pattern, n, Path(source).stem))


class _Detecting(_Reading):
    """Something found in images."""

    outputs = ("overlay",)

    def run_one(self, source: str, n: int, several: bool) -> Result:
        info = operation_info(self.task.operation)
        image = self.read(source)
        found = self.operation.find(image, self.params)
        rows = rounded(found, info.fields)
        fields = info.fields
        if several:
            rows, fields = [(*row, n) for row in rows], (*fields, "image")
        written: tuple[WrittenFile, ...] = ()
        if self.params.overlay:
            marked = self.operation.draw(image, found)
            written = (self.spelled(write_image(self._target(self.params.overlay, source, n), marked, limits=self.limits)),)
        return Result(info.kind, fields, tuple(rows), written)

    def finish(self, joined: Result) -> Result:
        return self.table(joined, image_names(joined.sources or (self.params.image,)))


class _Converting(_Reading):
    """Images made from other images."""

    outputs = ("output",)

    def run_one(self, source: str, n: int, several: bool) -> Result:  # noqa: ARG002 - a file needs no column for its image
        image = self.read(source)
        target = self._target(self.params.output, source, n)
        self.limits.check_picture(target.name, *target_size(*size_of(image), self.params.width, self.params.height))
        written = write_image(target, self.operation.apply(image, self.params), self.params.quality, self.limits)
        return Result(files=(self.spelled(written),))


_BATCHES: dict[type, Callable[[Task, FileRules], Batch]] = {
    Nothing: _Idle,
    Text: _Writing,
    Source: _Drawing,
    Detector: _Detecting,
    Filter: _Converting,
}


def _parts(count: int, slots: int, sources: tuple[str, ...] = ()) -> tuple[Part, ...]:
    """Cuts `count` items into contiguous parts of as equal a size as can be; with no slots into one."""
    number = max(1, min(count, slots * PARTS_PER_SLOT))
    bounds = [count * index // number for index in range(number + 1)]
    return tuple(Part(index, first, stop, sources[first:stop]) for index, (first, stop) in enumerate(itertools.pairwise(bounds)))


def _filled(pattern: str, n: int, name: str = "") -> str:
    """The pattern with {n} and {name} replaced in one go, so that a file called `{n}.png` does no harm; other braces stay."""
    return re.sub(r"\{(n|name)\}", lambda match: str(n) if match[1] == "n" else name, pattern)


def _check_pattern(operation: str, key: str, pattern: str, several: bool, places: tuple[str, ...]) -> None:
    if several and not any(place in pattern for place in places):
        wanted = " or ".join(places)
        raise ArgumentError(f"{operation}: {key} names one file for many images; put {wanted} into it, such as out/{places[0]}.png.")


def _claim(targets: dict[str, str], target: str, owner: str) -> None:
    other = targets.setdefault(target, owner)
    if other != owner:
        raise ArgumentError(f"{target} would be written twice: as {other} and as {owner}.", "{n} gives every file a number of its own.")


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, under whatever name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def rounded(rows: Rows, fields: tuple[str, ...]) -> list[tuple[float, ...]]:
    """The rows as plain numbers, of as many digits as mean something.

    >>> rounded(np.array([[1.23456, 0.000123456789]]), ("x", "response"))
    [(1.235, 0.000123457)]
    """
    columns = [
        np.round(column, _DIGITS[name]).tolist() if name in _DIGITS else [float(f"{value:.{_SIGNIFICANT}g}") for value in column.tolist()]
        for name, column in zip(fields, rows.T, strict=False)
    ]
    return list(zip(*columns, strict=True))


def image_names(sources: Iterable[str]) -> tuple[str, ...]:
    """The images' file names; their whole paths where two of them have the same name."""
    paths = tuple(sources)
    names = tuple(re.split(r"[/\\]", path)[-1] for path in paths)
    return names if len(set(names)) == len(names) else paths


def _items(result: Result, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows as objects; the last field of each is the name of its image."""
    fields = [name for name in result.fields if name != "image"]
    several = "image" in result.fields
    return [
        {**dict(zip(fields, row, strict=False)), "image": names[int(row[-1])] if several else names[0]}  # fields is the shorter one
        for row in result.rows
    ]


def _json(operation: str, result: Result, names: tuple[str, ...]) -> str:
    items = _items(result, names)
    fields = [name for name in result.fields if name != "image"]
    lines = ",\n".join("    " + json.dumps(item, ensure_ascii=False) for item in items)
    body = f"[\n{lines}\n  ]" if items else "[]"
    head = f'{{\n  "operation": {json.dumps(operation)},\n  "fields": {json.dumps([*fields, "image"])},\n'
    return f'{head}  "items": {body}\n}}\n'


def _csv(_operation: str, result: Result, names: tuple[str, ...]) -> str:
    text = io.StringIO(newline="")
    fields = [*(name for name in result.fields if name != "image"), "image"]
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_items(result, names))
    return text.getvalue()


_TABLES: dict[str, Callable[[str, Result, tuple[str, ...]], str]] = {".json": _json, ".csv": _csv}


def _check_table(name: str) -> None:
    if Path(name).suffix.lower() not in _TABLES:
        raise UnsupportedFormat(f"The table {name} must end in .json or .csv.")
