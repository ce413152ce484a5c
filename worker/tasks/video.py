"""Batches over videos: the frames of one become images, or are looked at, or images become one. One child goes through it from its
beginning to its end.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from worker.catalog.fields import Field
from worker.core.jobs import Part, Plan, Result, Skipped
from worker.errors import ArgumentError, Unavailable, UnsupportedFormat
from worker.files.paths import Inputs, Kind
from worker.files.whole import WrittenFile
from worker.operations.shapes import Frames
from worker.pictures import video
from worker.pictures.images import check_ending, writable_endings, write_image
from worker.pictures.pixels import Image, size_of
from worker.tasks.base import BaseBatch, Progress
from worker.tasks.drawing import Drawing
from worker.tasks.folder import Combining
from worker.tasks.names import check_pattern, claim, filled
from worker.tasks.reading import QUALITY, Detecting
from worker.tasks.tables import TABLES, rounded


def frames_of(source: Path, found: video.Video, frames: Frames, name: str, params: Any) -> Iterator[tuple[int, float, Callable[[], Image]]]:
    """The frames of a video that the params name, each with its number, when it is shown in seconds, and what decodes it.

    Raises:
        ArgumentError: there is none. The message names the operation.
        UnsupportedFormat: none can be decoded.
    """
    in_range, last = 0, (0, 0.0)
    for number, seconds, decoded in found.frames(params.start, counted=params.unit == "frames"):
        if frames.is_past(number, seconds, params):
            break
        last = (number, seconds)
        if frames.takes(number, seconds, params):
            if in_range % params.every == 0:
                yield number, seconds, decoded
            in_range += 1
    if in_range:
        return
    if not params.start and not last[0]:
        raise UnsupportedFormat(f"{source.name} has no frame that can be decoded.")
    raise ArgumentError(
        f"{name}: no frame of {source.name} lies in the range from {params.start:g} {params.unit} on; "
        f"it has {last[0] + 1} frames in {last[1]:.3f} s."
    )


class Unreeling(Drawing):
    """Frames of a video as images."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        source = self.files.to_read_file(self.params.video)
        with video.opened(source, self.limits) as found:
            clip = found.clip
        count = max(1, self.operation.expected(clip, self.params))
        self._check_name(count)
        path = self.to_write(filled(self.params.output, 0, source.stem), endings=writable_endings())
        check_ending(path)
        self.limits.check_outputs(self.info.name, count + bool(self.data))
        self.limits.check_picture(path.name, *self.operation.size((clip.width, clip.height), self.params))
        if self.data:
            self.check_table()
        return Plan((Part(0, 0, count),), bool(self.data), Result(self.info.kind, self.info.fields))

    def run(self, part: Part, progress: Progress) -> Result:
        source = self.files.to_read_file(self.params.video)
        taken: list[tuple[float, ...]] = []
        written: list[WrittenFile] = []
        with video.opened(source, self.limits) as found:
            for number, seconds, decoded in frames_of(source, found, self.operation, self.info.name, self.params):
                self._check_name(len(taken) + 1)
                self.limits.check_outputs(self.info.name, len(taken) + 1 + bool(self.data))
                path = self.files.to_write(filled(self.params.output, len(taken), source.stem))
                image = self.operation.make(decoded(), self.params)
                written.append(self.spelled(write_image(path, image, getattr(self.params, "quality", QUALITY), self.limits)))
                taken.append((number, seconds))
                progress(min(len(taken), part.steps))
        rows = tuple(rounded(np.array(taken, float), self.info.digits))
        return Result(self.info.kind, self.info.fields, rows, tuple(written))

    def _check_name(self, count: int) -> None:
        check_pattern(self.info.name, "output", self.params.output, count > 1, ("{n}",))


class Watching(Detecting):
    """Something found in the frames of a video. The column `image` and `{n}` are the number of the frame in the video."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        frames = self.operation.frames
        frames.check(self.params)
        if reason := frames.unavailable().get(""):
            raise Unavailable(f"{self.info.name} cannot read videos here: {reason}")
        source = self.files.to_read_file(self.params.image)
        with video.opened(source, self.limits) as found:
            count = max(1, frames.expected(found.clip, self.params))
        self._check_places(source, count)
        return Plan((Part(0, 0, count),), base=Result(self.info.kind, (*self.info.fields, "image")))

    def is_small(self, plan: Plan) -> bool:
        return BaseBatch.is_small(self, plan)

    def run(self, part: Part, progress: Progress) -> Result:
        source = self.files.to_read_file(self.params.image)
        references = {name: self.reference(name) for name in self.operation.references}
        made: list[Result] = []
        times: list[tuple[int, float]] = []
        rows = 0
        with video.opened(source, self.limits) as found:
            for number, seconds, decoded in frames_of(source, found, self.operation.frames, self.info.name, self.params):
                self._check_counts(len(made) + 1)
                image = self.operation.frames.make(decoded(), self.params)
                one = self.run_one(image, str(source), number, True, tuple(references.values()))
                made.append(one)
                times += [(number, round(seconds, 4))] * len(one.rows)
                rows += len(one.rows)
                self.limits.check_rows(self.info.name, rows)
                if self.follows:
                    references[self.follows] = image
                progress(min(len(made), part.steps))
        result = Result(
            self.info.kind,
            made[0].fields,
            tuple(row for one in made for row in one.rows),
            tuple(file for one in made for file in one.files),
            left_out=sum(one.left_out for one in made),
            texts=tuple(texts for one in made for texts in one.texts),
        )
        return result.joined(self._table(result, times)) if self.data else result

    def _table(self, result: Result, times: list[tuple[int, float]]) -> Result:
        """The table of all rows, with the number and the time of each row's frame."""
        rows = tuple((*row[:-1], *time) for row, time in zip(result.rows, times, strict=True))
        whole = Result(result.kind, (*self.info.fields, "frame", "seconds"), rows, texts=result.texts)
        path = self.files.to_write(self.data)
        return Result(files=(self.written(path, (TABLES[path.suffix.lower()](self.info, whole, ()).encode(),)),))

    def _check_places(self, source: Path, count: int) -> None:
        self._check_counts(count)
        targets: dict[str, str] = {}
        for field in self.outputs:
            name = filled(getattr(self.params, field.name), 0, source.stem)
            self.check_output(field, name)
            claim(targets, name, field.name)
        self.check_table_and_inputs(Inputs((source,), several=True), targets)

    def _check_counts(self, frames: int) -> None:
        """Raises ArgumentError or LimitExceeded if so many frames cannot be written under the names given."""
        for field in self.outputs:
            check_pattern(self.info.name, field.name, getattr(self.params, field.name), frames > 1, ("{n}",))
        self.limits.check_outputs(self.info.name, len(self.outputs) * frames + bool(self.data))


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
                    add, told = stack.enter_context(
                        video.film(path, codec, self.params.fps, size, self.limits, quality=self.params.quality)
                    )
                frame = self.operation.frame(picture.image, size, self.params)
                for _ in range(self.params.hold):
                    add(frame)
        return Result(files=(self.spelled(told()),), skipped=tuple(skipped))

    def check_output(self, field: Field, name: str) -> None:  # noqa: ARG002 - a film has one output
        self.to_write(name, self.kind)
