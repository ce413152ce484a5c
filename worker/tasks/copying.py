"""A batch that brings files to another place as they are."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from worker.core.jobs import Failure, Part, Plan, Result, Skipped
from worker.errors import ArgumentError, ClientError
from worker.files.copying import Occupied, blocks_of, copy_file
from worker.files.whole import WrittenFile
from worker.tasks.base import BaseBatch, Progress, cut_into_parts
from worker.tasks.names import check_pattern, claim, identity
from worker.tasks.reading import UNREADABLE


class Copying(BaseBatch):
    """Files copied or moved. Progress counts the files; of a single one its blocks."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        sources = self.files.to_copy_all(self.params.source)
        folder = self.files.folder_of(self.params.source)
        self.limits.check_outputs(self.info.name, len(sources))
        self._check_targets(sources, folder)
        if folder is None:
            path = self.files.to_read_file(sources[0])
            return Plan((Part(0, 0, blocks_of(path.stat().st_size if path.is_file() else 0), sources),))
        return Plan(cut_into_parts(len(sources), self.task.slots, sources, self.task.step_s))

    def is_small(self, plan: Plan) -> bool:
        return plan.steps < self.info.few and self.files.folder_of(self.params.source) is None

    def run(self, part: Part, progress: Progress) -> Result:
        folder = self.files.folder_of(self.params.source)
        to_folder = self._to_folder(several=folder is not None)
        if folder is None:
            return Result(files=(self._copied(part.sources[0], folder, 0, progress, to_folder=to_folder),))
        written, skipped = [], []
        for done, source in enumerate(part.sources, start=1):
            try:
                written.append(self._copied(source, folder, part.first + done - 1, lambda _: None, to_folder=to_folder))
            except (*UNREADABLE, Occupied) as error:
                if not self.task.skips:
                    raise
                skipped.append(Skipped(source, Failure.of(error)))
            progress(done)
        return Result(files=tuple(written), skipped=tuple(skipped))

    def _copied(self, source: str, folder: Path | None, n: int, progress: Progress, *, to_folder: bool) -> WrittenFile:
        path = self.files.to_write(source, "a copy") if self.operation.removes else self.files.to_read_file(source)
        target = self.files.to_write(self._target(source, folder, n, to_folder=to_folder), "a copy")
        made = {"overwrite": self.params.overwrite, "removes": self.operation.removes}
        return self.spelled(copy_file(path, target, self.limits, progress=progress, **made))

    def _to_folder(self, *, several: bool) -> bool:
        output = self.params.output
        if self.operation.names_folder(output, several=several):
            return True
        return "{" not in output and os.path.isdir(self.files.to_read(output))

    def _target(self, source: str, folder: Path | None, n: int, *, to_folder: bool) -> str:
        below = PurePosixPath(source.replace("\\", "/")).name if folder is None else self.files.below(source, folder)
        target: str = self.operation.target(self.params, below, n, folder=to_folder)
        return target

    def _check_targets(self, sources: tuple[str, ...], folder: Path | None) -> None:
        """Before anything is written: every file has a place of its own, and none of them is one that is read."""
        to_folder = self._to_folder(several=folder is not None)
        if not to_folder:
            check_pattern(self.info.name, "output", self.params.output, folder is not None, ("{name}", "{n}"), what="files")
        known = {identity(self.files.to_read(source)) for source in sources} - {None}
        targets: dict[str, str] = {}
        for n, source in enumerate(sources):
            target = self._target(source, folder, n, to_folder=to_folder)
            claim(targets, target, source)
            try:
                path = self.files.to_write(target, "a copy")
            except ClientError:  # of one of many this is said of that one
                if folder is None:
                    raise
                continue
            if identity(path) in known:
                raise ArgumentError(
                    f"{self.info.name} would write over {target}, which is one of its own inputs.", "Choose another name or folder."
                )
            if folder is not None and os.path.isdir(self.files.to_read(self.params.source)) and path.is_relative_to(folder):
                raise ArgumentError(f"{self.info.name} would put the folder {self.params.source} into itself.", "Choose another folder.")
        if folder is None:
            self.to_write(self._target(sources[0], folder, 0, to_folder=to_folder), "a copy")
            if self.operation.removes:
                self.files.to_write(sources[0], "a copy")
