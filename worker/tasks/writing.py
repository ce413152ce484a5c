"""A batch that writes text."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from worker.core.jobs import Part, Plan, Result
from worker.files.whole import append_bytes
from worker.tasks.base import BaseBatch, Progress


class Writing(BaseBatch):
    """One text file. A long one is a plan of one part, because only a plan can say how many steps its progress will have."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        self.to_write(self.params.output, "text")
        return Plan((Part(0, 0, self.operation.steps(self.params)),))

    def run(self, _part: Part, progress: Progress) -> Result:
        path = self.files.to_write(self.params.output)
        blocks = _reporting(self.operation.blocks(self.params), progress)
        if getattr(self.params, "append", False):
            between, head = self.operation.between(self.params), self.operation.head(self.params)
            written = self.spelled(append_bytes(path, blocks, between, self.limits, head=head))
        else:
            written = self.written(path, itertools.chain((self.operation.head(self.params),), blocks))
        return Result(files=(written,))


def _reporting(blocks: Iterable[tuple[int, bytes]], progress: Progress) -> Iterable[bytes]:
    for done, block in blocks:
        yield block
        progress(done)
