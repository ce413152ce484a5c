"""Batches over input images: each image gives a result of its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import msgspec

from worker.core.jobs import Failure, Part, Phase, Plan, Result, Skipped
from worker.errors import ArgumentError, LimitExceeded, MissingFile, PathError, UnfitImage, UnsupportedFormat
from worker.files.frames import FrameName
from worker.files.whole import WrittenFile, read_bytes
from worker.operations.shapes import Detector, Filter, Found
from worker.pictures.images import Loaded, check_ending, readable_endings, writable_endings, write_image
from worker.pictures.pixels import Image, size_of
from worker.tasks.base import BaseBatch, Progress, cut_by_size, cut_into_parts
from worker.tasks.names import check_pattern, claim, filled, identity, image_names, path_of, size_on_disk, stem_of
from worker.tasks.tables import rounded

if TYPE_CHECKING:
    from worker.catalog.fields import Field
    from worker.catalog.params import Params
    from worker.catalog.rows import OperationInfo
    from worker.files.limits import FileLimits
    from worker.files.paths import Inputs, Kind

T = TypeVar("T")
#: One picture, or the bytes of a file, for each parameter that may name one.
References = tuple[Image | bytes | None, ...]
#: What is wrong with one file, and need not be with the next.
UNREADABLE = (LimitExceeded, MissingFile, PathError, UnsupportedFormat)
#: Of JPEG, WebP and AVIF, if the operation has no parameter `quality`.
QUALITY = 90
#: If the file before an image is broken or has another size, the image is compared with the one before that. No further, so that parts of
#: a batch need few files beside their own.
_LOOK_BACK = 2


class Reading(BaseBatch):
    """What batches over input images have in common. A single image is never cut: only PLAN sees it, and no part of a plan does."""

    #: What its outputs are; a table apart.
    kind: ClassVar[Kind] = "a file"

    def plan(self) -> Plan:
        self.operation.check(self.params)
        inputs = self.inputs(single=getattr(self.operation, "single", False))
        self._check_outputs(inputs)
        sources = self.files.spell_all(inputs)
        fields = (*self.info.fields, "image") if inputs.several and self.info.fields else self.info.fields
        base = Result(self.info.kind, fields, sources=sources if inputs.several else ())
        parts = cut_into_parts(len(sources), self.task.slots if inputs.several else 0, sources, self.task.step_s)
        if self.task.part_bytes and inputs.several:
            parts = cut_by_size(
                parts, [size_on_disk(path) for path in inputs.paths], self.task.part_bytes // (1 + _LOOK_BACK if self.follows else 1)
            )
        if self.follows:
            if not inputs.several:
                raise ArgumentError(
                    f"{self.info.name} compares pictures; image names one, and {self.follows} is empty.",
                    f"Give {self.follows}=FILE, or a folder or a pattern such as shots/*.png as image.",
                )
            parts = tuple(msgspec.structs.replace(part, sources=sources[max(0, part.first - _LOOK_BACK) : part.stop]) for part in parts)
        return Plan(parts, finish=bool(self.data), base=base)

    def inputs(self, *, single: bool) -> Inputs:
        """The images that the job names. Raises ArgumentError if `single` and it names a folder or a pattern."""
        inputs = self.files.to_read_all(self.params.image, readable_endings())
        if single and inputs.several:
            raise ArgumentError(f"{self.info.name} takes one image file; image names {len(inputs.paths)} of them.")
        return inputs

    def is_small(self, plan: Plan) -> bool:
        return not plan.base.sources

    def run(self, part: Part, progress: Progress) -> Result:
        several = self.task.phase is Phase.PART
        references = {name: self.reference(name) for name in self.operation.references}
        result = Result()
        lead = len(part.sources) - part.steps  # those images before the part's own that come with it
        before: list[Image | None] = []
        for place, source in enumerate(part.sources, start=-lead):
            image = self.read_input(source) if not several else self.read_or_skip(source, self.read_input)
            if place < 0:
                pass  # the part before this one reports what it is
            elif isinstance(image, Skipped):
                result = result.joined(Result(skipped=(image,)))
            else:
                if self.follows:
                    references[self.follows] = _of_same_size(before, image)
                result = result.joined(self.run_or_skip(image, source, part.first + place, several, tuple(references.values())))
            if self.follows:
                before = [None if isinstance(image, Skipped) else image, *before][:_LOOK_BACK]
            self.limits.check_rows(self.info.name, len(result.rows))
            progress(max(0, place + 1))
        return result

    @property
    def follows(self) -> str:
        """The parameter in whose place the image before comes; empty if there is none, or if it names a picture of its own."""
        name: str = getattr(self.operation, "previous", "")
        return "" if name and getattr(self.params, name) else name

    def reference(self, name: str) -> Image | bytes | None:
        """The picture that a parameter names, or the bytes of another file; None if it names none."""
        return self.reference_of(self.info, self.params, name)

    def reference_of(self, info: OperationInfo, params: Params, name: str) -> Image | bytes | None:
        source = getattr(params, name)
        if not source:
            return None
        if next(field.holds for field in info.parameters if field.name == name) == "bytes":
            return read_bytes(self.files.to_read_file(source), self.limits)
        return self.read(source)

    def read_or_skip(self, source: str, read: Callable[[str], T]) -> T | Skipped:
        """The image, or why it is left out, if the job leaves out what cannot be read."""
        try:
            return read(source)
        except UNREADABLE as error:
            if not self.task.skips:
                raise
            return Skipped(source, Failure.of(error))

    def run_or_skip(self, image: Any, source: str, n: int, several: bool, references: References) -> Result:
        """What is made of an image; or, of one among several that does not fit, why it is left out."""
        try:
            return self.run_one(image, source, n, several, references)
        except UnfitImage as error:
            if not several or not self.task.skips:
                raise
            return Result(skipped=(Skipped(source, Failure.of(error)),))

    def run_one(self, image: Any, source: str, n: int, several: bool, references: References) -> Result:
        found = self.made(image, references, source, n)
        rows, fields = rounded(found.rows, self.info.digits), self.info.fields
        if several and fields:
            rows, fields = [(*row, n) for row in rows], (*fields, "image")
        written = tuple(self.write(found, name, self._target(name, source, n)) for name in self.wanted(found))
        return Result(self.info.kind, fields, tuple(rows), written, left_out=left_out(found), texts=found.texts)

    def read_input(self, source: str) -> Any:
        """What `made` needs of an image."""
        return self.read(source)

    def made(self, image: Any, references: References, source: str, n: int) -> Found:
        """What the operation makes of one image."""
        raise NotImplementedError

    def finish(self, joined: Result) -> Result:
        return self.table(joined, image_names(joined.sources or (self.params.image,)))

    # ---------------------------------------------------------------------------------------------------- outputs

    @property
    def outputs(self) -> tuple[Field, ...]:
        """The parameters that name a file to write and are given, the table of all rows apart."""
        return tuple(
            field for field in self.info.parameters if field.role == "write" and field.holds != "table" and getattr(self.params, field.name)
        )

    def wanted(self, found: Found) -> tuple[str, ...]:
        """Those outputs that the operation has made."""
        return tuple(field.name for field in self.outputs if field.name in found.images or field.name in found.files)

    def write(self, found: Found, name: str, path: Path) -> WrittenFile:
        if name in found.files:
            return self.written(path, (found.files[name],))
        quality = getattr(self.params, "quality", QUALITY)
        return self.spelled(write_image(path, found.images[name], quality, self.limits, profile=found.profile))

    def _target(self, name: str, source: str, n: int) -> Path:
        return self.files.to_write(filled(getattr(self.params, name), n, stem_of(source)))

    def _check_outputs(self, inputs: Inputs) -> None:
        """Before anything is written: every output has a place of its own, and none of them is an input."""
        targets: dict[str, str] = {}
        outputs = self.outputs
        self.limits.check_outputs(self.info.name, len(outputs) * len(inputs.paths) + bool(self.data))
        for field in outputs:
            pattern = getattr(self.params, field.name)
            check_pattern(self.info.name, field.name, pattern, inputs.several, ("{name}", "{n}"))
            self.check_output(field, filled(pattern, 0, inputs.paths[0].stem))
            for n, path in enumerate(inputs.paths):
                claim(targets, filled(pattern, n, path.stem), f"{field.name} of image {n} ({path.name})")
        self.check_table_and_inputs(inputs, targets)

    def further_inputs(self) -> tuple[str, ...]:
        """The files that are read beside `image`; those that are not given are empty."""
        return tuple(getattr(self.params, name) for name in getattr(self.operation, "references", ()))

    def check_output(self, field: Field, name: str) -> None:
        endings = writable_endings() if field.holds == "image" else _ENDINGS.get(field.holds, ())
        path = self.to_write(name, endings=endings)
        if field.holds == "image":
            check_ending(path)
        elif FrameName.of(name) is not None:
            raise ArgumentError(f"{self.info.name}: {field.name} is no picture, so it cannot be a frame.", "Name a file.")
        elif endings and path.suffix.lower() not in endings:
            raise ArgumentError(f"{self.info.name}: {field.name} must end in {' or '.join(endings)}; got {name[-80:]!r}.")

    def check_table_and_inputs(self, inputs: Inputs, targets: dict[str, str]) -> None:
        """The table has a place of its own, too. Files are compared themselves, not their names: a name has many spellings."""
        if self.data:
            self.check_table()
            claim(targets, self.data, "data")
        references = [self.files.to_read(path_of(source)) for source in self.further_inputs() if source]
        known = {identity(path) for path in (*inputs.paths, *references)} - {None}
        for target in targets:
            if identity(self.files.to_write(target, self.kind)) in known:
                raise ArgumentError(
                    f"{self.info.name} would write over {target}, which is one of its own inputs.", "Choose another name or folder."
                )


#: Of the files that are no pictures, by what they hold. The operation itself checks all others.
_ENDINGS = {"json": (".json",), "csv": (".csv",)}


def _of_same_size(before: Sequence[Image | None], image: Image) -> Image | None:
    """Of the images before this one, the nearest of its size; otherwise the nearest, which does not fit; None if there is none."""
    there = [one for one in before if one is not None]
    return next((one for one in there if size_of(one) == size_of(image)), there[0] if there else None)


#: The parameters that only a video has.
_OF_VIDEOS = ("every", "start", "end", "unit")


class Detecting(Reading):
    """Something found in images."""

    def plan(self) -> Plan:
        if self.operation.frames is not None:
            self._check_no_video()
        return super().plan()

    def _check_no_video(self) -> None:
        for field in self.info.parameters:
            if field.name in _OF_VIDEOS and getattr(self.params, field.name) != field.default:
                raise ArgumentError(f"{self.info.name}: {field.name} counts frames of a video; image names {self.params.image[:80]!r}.")

    def made(self, image: Image, references: References, source: str, n: int) -> Found:  # noqa: ARG002 - a detector names no file
        return detected(self.operation, image, references, self.params)


class Filtering(Reading):
    """Images made from other images."""

    def read_input(self, source: str) -> Loaded:
        return self.load(source, (lambda size: self.operation.size(size, self.params)) if self.operation.shrinks else None)

    def made(self, image: Loaded, references: References, source: str, n: int) -> Found:
        name = self._target("output", source, n).name
        return filtered(self.operation, image.image, references, self.params, limits=self.limits, name=name, profile=image.profile)


def detected(operation: Detector, image: Image, references: References, params: Any) -> Found:
    """What a detector finds, and its overlay if the params name one."""
    made = operation.find(image, *references, params)
    found = made if isinstance(made, Found) else Found(made)
    if not params.overlay or operation.draw is None:
        return found
    overlay = operation.draw(image, *references, found.rows)
    return dataclasses.replace(found, images={**found.images, "overlay": overlay})


def filtered(
    operation: Filter, image: Image, references: References, params: Any, *, limits: FileLimits, name: str, profile: bytes = b""
) -> Found:
    """What a filter makes. Raises LimitExceeded, with this name, if the picture would be too large."""
    width, height = operation.size(size_of(image), params)
    limits.check_picture(name, width, height)
    pictures = (image, profile) if operation.profiles else (image,)
    made = operation.apply(*pictures, *references, params)
    return made if isinstance(made, Found) else Found(images={"output": made})


def left_out(found: Found) -> int:
    """How many items were found, and are not among the rows."""
    return 0 if found.total is None else max(0, found.total - len(found.rows))
