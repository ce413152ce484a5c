"""Batches over videos: the frames of one become images, or images become one. One child goes through it from its beginning to its end."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import ClassVar

import numpy as np

from worker.catalog.fields import Field
from worker.core.jobs import Part, Plan, Result, Skipped
from worker.errors import ArgumentError, UnsupportedFormat
from worker.files.paths import Kind
from worker.files.whole import WrittenFile
from worker.pictures import video
from worker.pictures.images import check_ending, write_image
from worker.pictures.pixels import size_of
from worker.tasks.base import Progress
from worker.tasks.drawing import Drawing
from worker.tasks.folder import Combining
from worker.tasks.names import check_pattern, filled
from worker.tasks.reading import QUALITY
from worker.tasks.tables import check_table, rounded


class Unreeling(Drawing):
    """Frames of a video as images."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        source = self.files.to_read_file(self.params.video)
        with video.opened(source, self.limits) as found:
            clip = found.clip
        count = max(1, self.operation.expected(clip, self.params))
        self._check_name(count)
        path = self.to_write(filled(self.params.output, 0, source.stem))
        check_ending(path)
        self.limits.check_outputs(self.info.name, count + bool(self.data))
        self.limits.check_picture(path.name, *self.operation.size((clip.width, clip.height), self.params))
        if self.data:
            self.to_write(self.data)
            check_table(self.data)
        return Plan((Part(0, 0, count),), bool(self.data), Result(self.info.kind, self.info.fields))

    def run(self, part: Part, progress: Progress) -> Result:
        source = self.files.to_read_file(self.params.video)
        taken: list[tuple[float, ...]] = []
        written: list[WrittenFile] = []
        in_range, last = 0, (0, 0.0)
        with video.opened(source, self.limits) as found:
            for number, seconds, decoded in found.frames():
                if self.operation.is_past(number, seconds, self.params):
                    break
                last = (number, seconds)
                if not self.operation.takes(number, seconds, self.params):
                    continue
                in_range += 1
                if (in_range - 1) % self.params.every:
                    continue
                self._check_name(len(taken) + 1)
                self.limits.check_outputs(self.info.name, len(taken) + 1 + bool(self.data))
                path = self.files.to_write(filled(self.params.output, len(taken), source.stem))
                image = self.operation.make(decoded(), self.params)
                written.append(self.spelled(write_image(path, image, getattr(self.params, "quality", QUALITY), self.limits)))
                taken.append((number, seconds))
                progress(min(len(taken), part.steps))
        if not taken:
            raise self._nothing(source, *last)
        rows = tuple(rounded(np.array(taken, float), self.info.digits))
        return Result(self.info.kind, self.info.fields, rows, tuple(written))

    def _check_name(self, count: int) -> None:
        check_pattern(self.info.name, "output", self.params.output, count > 1, ("{n}",))

    def _nothing(self, source: Path, number: int, seconds: float) -> ArgumentError | UnsupportedFormat:
        if not self.params.start and not number:
            return UnsupportedFormat(f"{source.name} has no frame that can be decoded.")
        return ArgumentError(
            f"{self.info.name}: no frame of {source.name} lies in the range from {self.params.start:g} {self.params.unit} on; "
            f"it has {number + 1} frames in {seconds:.3f} s."
        )


class Filming(Combining):
    """A video of images. It is whole or not there at all."""

    kind: ClassVar[Kind] = "a video"

    def run(self, part: Part, progress: Progress) -> Result:
        path = self.files.to_write(self.params.output, "a video")
        skipped: list[Skipped] = []
        size = None
        with contextlib.ExitStack() as stack:
            for picture in self._pictures(part, progress, skipped):
                if size is None:
                    size = self.operation.size(size_of(picture.image), self.params)
                    codec = self.operation.codec(self.params)
                    add, told = stack.enter_context(video.film(path, codec, self.params.fps, size, self.limits))
                frame = self.operation.frame(picture.image, size, self.params)
                for _ in range(self.params.hold):
                    add(frame)
        return Result(files=(self.spelled(told()),), skipped=tuple(skipped))

    def check_output(self, field: Field, name: str) -> None:  # noqa: ARG002 - a film has one output
        self.to_write(name, self.kind)
