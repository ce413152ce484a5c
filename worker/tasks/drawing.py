"""A batch that makes images from numbers."""

from __future__ import annotations

import msgspec

from worker.core.jobs import Part, Plan, Result
from worker.pictures.images import check_ending, writable_endings, write_image
from worker.tasks.base import BaseBatch, Progress, cut_into_parts
from worker.tasks.names import check_pattern, filled, image_names
from worker.tasks.tables import rounded


class Drawing(BaseBatch):
    """Images made from numbers."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        count = self.operation.count(self.params)
        check_pattern(self.info.name, "output", self.params.output, count > 1, ("{n}",))
        path = self.to_write(filled(self.params.output, 0), endings=writable_endings())
        check_ending(path)
        self.limits.check_outputs(self.info.name, count + bool(self.data))
        self.limits.check_picture(path.name, self.params.width, self.params.height)
        slots = self.task.slots if count >= self.info.few else 0
        if self.data:
            self.check_table()
        return Plan(cut_into_parts(count, slots, step_s=self.task.step_s), bool(self.data), Result(self.info.kind, self.info.fields))

    def run(self, part: Part, progress: Progress) -> Result:
        rows: list[tuple[float, ...]] = []
        written = []
        for done, n in enumerate(range(part.first, part.stop), start=1):
            image, found = self.operation.make(n, self.params)
            path = self.files.to_write(filled(self.params.output, n))
            written.append(self.spelled(write_image(path, image, limits=self.limits)))
            rows += rounded(found, self.info.digits)
            progress(done)
        return Result(self.info.kind, self.info.fields, tuple(rows), tuple(written))

    def finish(self, joined: Result) -> Result:
        numbered = tuple((*row, n) for n, row in enumerate(joined.rows))
        names = image_names(written.path for written in joined.files)
        return self.table(msgspec.structs.replace(joined, fields=(*joined.fields, "image"), rows=numbered), names)
