"""Batches over input images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from worker.catalog.table import operation_info
from worker.core.jobs import Part, Phase, Plan, Result
from worker.errors import ArgumentError
from worker.files.whole import WrittenFile
from worker.operations.convert import target_size
from worker.pictures.images import check_ending, readable_endings, write_image
from worker.pictures.pixels import size_of
from worker.tasks.base import BaseBatch, Progress, cut_into_parts
from worker.tasks.names import check_pattern, claim, filled, identity, image_names
from worker.tasks.tables import check_table, rounded

if TYPE_CHECKING:
    from worker.files.paths import Inputs


class Reading(BaseBatch):
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
        parts = cut_into_parts(len(sources), self.task.slots if inputs.several else 0, sources)
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
            check_pattern(self.task.operation, name, pattern, inputs.several, ("{name}", "{n}"))
            check_ending(self.to_write(filled(pattern, 0, inputs.paths[0].stem)))
            for n, path in enumerate(inputs.paths):
                claim(targets, filled(pattern, n, path.stem), f"{name} of image {n} ({path.name})")
        if self.data:
            self.to_write(self.data)
            check_table(self.data)
            claim(targets, self.data, "data")
        self._check_not_inputs(inputs, targets)

    def _check_not_inputs(self, inputs: Inputs, targets: dict[str, str]) -> None:
        """Compares the files themselves, not their names, because a name has many spellings."""
        known = {identity(path) for path in inputs.paths} - {None}
        for target in targets:
            if identity(self.files.to_write(target)) in known:
                raise ArgumentError(
                    f"{self.task.operation} would write over {target}, which is one of its own inputs.", "Choose another name or folder."
                )

    def _target(self, pattern: str, source: str, n: int) -> Path:
        return self.files.to_write(filled(pattern, n, Path(source).stem))


class Detecting(Reading):
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


class Converting(Reading):
    """Images made from other images."""

    outputs = ("output",)

    def run_one(self, source: str, n: int, several: bool) -> Result:  # noqa: ARG002 - a file needs no column for its image
        image = self.read(source)
        target = self._target(self.params.output, source, n)
        self.limits.check_picture(target.name, *target_size(*size_of(image), self.params.width, self.params.height))
        written = write_image(target, self.operation.apply(image, self.params), self.params.quality, self.limits)
        return Result(files=(self.spelled(written),))
