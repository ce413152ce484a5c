"""A batch that makes one result from all its input images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from worker.core.jobs import Failure, Part, Plan, Result, Skipped
from worker.files.paths import Inputs
from worker.operations.shapes import Found, Picture
from worker.pictures.images import readable_endings
from worker.tasks.base import BaseBatch, Progress
from worker.tasks.names import claim, image_names, stem_of
from worker.tasks.reading import Reading, left_out
from worker.tasks.tables import rounded


class Combining(Reading):
    """One result from many images. It is never cut: one child sees all images, one after the other."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        inputs = self.files.to_read_all(self.params.image, readable_endings())
        self._check_outputs(inputs)
        sources = self.files.spell_all(inputs)
        base = Result(self.info.kind, self.info.fields, sources=sources if "image" in self.info.fields else ())
        return Plan((Part(0, 0, len(sources), sources),), finish=bool(self.data), base=base)

    def is_small(self, plan: Plan) -> bool:
        return BaseBatch.is_small(self, plan)

    def run(self, part: Part, progress: Progress) -> Result:
        skipped: list[Skipped] = []
        found = self.operation.combine(self._pictures(part, progress, skipped), self.params)
        return self.result(found, self._with_those_of(found, skipped, part))

    def result(self, found: Found, skipped: Sequence[Skipped] = ()) -> Result:
        """Writes what was made."""
        self.limits.check_rows(self.info.name, len(found.rows))
        rows = tuple(rounded(found.rows, self.info.digits))
        written = tuple(self.write(found, name, self.files.to_write(getattr(self.params, name))) for name in self.wanted(found))
        return Result(self.info.kind, self.info.fields, rows, written, left_out=left_out(found), texts=found.texts, skipped=tuple(skipped))

    def finish(self, joined: Result) -> Result:
        return self.table(joined, image_names(joined.sources))

    def _pictures(self, part: Part, progress: Progress, skipped: list[Skipped]) -> Iterator[Picture]:
        """The images that can be read; the others are noted as skipped. Raises the error of the first one if none can be."""
        for n, source in enumerate(part.sources):
            image = self.read_or_skip(source, self.read)
            if isinstance(image, Skipped):
                skipped.append(image)
                if len(skipped) == len(part.sources):
                    self.read(skipped[0].path)
            else:
                yield Picture(n, stem_of(source), image)
            progress(n + 1)

    def _with_those_of(self, found: Found, skipped: list[Skipped], part: Part) -> list[Skipped]:
        """All images that were left out, in their order. Raises the first reason of the operation's own if the job stops at errors."""
        if found.skipped and not self.task.skips:
            raise found.skipped[min(found.skipped)]
        own = [Skipped(part.sources[n], Failure.of(error)) for n, error in found.skipped.items()]
        return sorted(skipped + own, key=lambda one: part.sources.index(one.path))

    def _check_outputs(self, inputs: Inputs) -> None:
        targets: dict[str, str] = {}
        outputs = self.outputs
        self.limits.check_outputs(self.info.name, len(outputs) + bool(self.data))
        for field in outputs:
            name = getattr(self.params, field.name)
            self.check_output(field, name)
            claim(targets, name, field.name)
        self.check_table_and_inputs(inputs, targets)
