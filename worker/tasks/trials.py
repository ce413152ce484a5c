"""A batch that runs another operation on one image, again and again."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from typing import Any

from worker.catalog.catalog import Catalog
from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions, Params
from worker.catalog.rows import OperationInfo
from worker.core.jobs import Part, Plan, Result
from worker.errors import ArgumentError, WorkerError
from worker.files.paths import Inputs
from worker.operations.shapes import Detector, Filter, Found, Operation, Trial, Tried
from worker.pictures.images import is_out_of_memory, wanted_memory
from worker.pictures.pixels import Image
from worker.tasks.base import Progress
from worker.tasks.folder import Combining
from worker.tasks.reading import detected, filtered, left_out
from worker.words import did_you_mean

log = logging.getLogger(__name__)

#: What a parameter that names a file is set to, so that the operation makes what it would write there. Nothing is written.
_NAMED = "tried.png"
_now = time.monotonic


def can_be_tried(info: OperationInfo, operation: Operation | None) -> bool:
    """Whether an operation makes a picture of one picture."""
    return isinstance(operation, Detector | Filter) and bool(_pictures_of(info))


def _pictures_of(info: OperationInfo) -> tuple[str, ...]:
    """The parameters that name a picture to write, the one to show first."""
    names = [field.name for field in info.parameters if field.holds == "image"]
    return tuple(sorted(names, key=lambda name: (name not in ("overlay", "output"), names.index(name))))


@dataclasses.dataclass(frozen=True, slots=True)
class Trying(Combining):
    """One result of several calls. One child makes them all, one after the other, on the same image.

    Attributes:
        catalog: what there is to know of the other operations.
        operations: their functions.
    """

    catalog: Catalog
    operations: Mapping[str, Operation]

    def plan(self) -> Plan:
        self.operation.check(self.params)
        trials = self._trials()
        inputs = self.inputs(single=True)
        self._check_places(inputs)
        part = Part(0, 0, len(trials), self.files.spell_all(inputs))
        return Plan((part,), finish=bool(self.data), base=Result(self.info.kind, self.info.fields))

    def run(self, part: Part, progress: Progress) -> Result:
        image = self.read(part.sources[0])
        return self.result(self.operation.combine(self._tried(image, progress), self._item(), self.params))

    def finish(self, joined: Result) -> Result:
        return self.table(joined, ())

    @property
    def _other(self) -> OperationInfo:
        return self.catalog.find(self.params.target)

    def _item(self) -> str:
        return self._other.kind

    # ------------------------------------------------------------------------------------------------------ checks

    def _trials(self) -> tuple[tuple[Trial, Params], ...]:
        """All calls, each with its parameters. Raises ArgumentError for a name or a value that the operation does not take."""
        name, info = self.params.target, self._other
        if not can_be_tried(info, self.operations.get(name)):
            usable = ", ".join(row.name for row in self.catalog.values() if can_be_tried(row, self.operations.get(row.name)))
            raise ArgumentError(
                f"{self.info.name} needs an operation that makes a picture of one picture; {name} does not.", f"These do: {usable}."
            )
        trials = self.operation.plan(self.params)
        files = {field.name for field in info.parameters if field.role == "write" or field.name == "image"}
        job_keys = {field.name for field in fields_of(JobOptions)}
        for key, _ in trials[0].pairs:
            if key in job_keys:
                raise ArgumentError(f"{self.info.name}: {key} belongs to a job, not to {name}.", f"Give it to {self.info.name} itself.")
            if key in files:
                raise ArgumentError(f"{self.info.name}: {key} of {name} cannot be set here; only output and data are written.")
        fixed = {
            "image": self.params.image,
            **{field.name: _NAMED for field in info.parameters if field.role == "write" and field.required},
        }
        shown = {**fixed, self._shown(): _NAMED}
        parsed = [self.catalog.parse_job(name, [*shown.items(), *trial.pairs]) for trial in trials]
        return tuple(zip(trials, (params for params, _ in parsed), strict=True))

    def _shown(self) -> str:
        """The parameter that names the picture to show."""
        pictures = _pictures_of(self._other)
        if self.params.show and self.params.show not in pictures:
            near = did_you_mean(self.params.show, pictures, f"it makes {', '.join(pictures)}.")
            raise ArgumentError(f"{self.params.target} makes no picture {self.params.show!r}; {near}")
        return self.params.show or pictures[0]

    def _check_places(self, inputs: Inputs) -> None:
        targets: dict[str, str] = {}
        for field in self.outputs:
            self.check_output(field, getattr(self.params, field.name))
            targets[getattr(self.params, field.name)] = field.name
        self.check_table_and_inputs(inputs, targets)

    def further_inputs(self) -> tuple[str, ...]:
        names = getattr(self.operations[self.params.target], "references", ())
        return tuple({getattr(params, name) for _, params in self._trials() for name in names})

    # ------------------------------------------------------------------------------------------------------- calls

    def _tried(self, image: Image, progress: Progress) -> Iterator[Tried]:
        until = _now() + self.params.max_seconds
        for done, (trial, params) in enumerate(self._trials(), start=1):
            if _now() > until:
                yield Tried(trial.values, None, message=f"Not tried: max_seconds={self.params.max_seconds:g} are over.")
            else:
                yield self._call(image, trial, params)
            progress(done)

    def _call(self, image: Image, trial: Trial, params: Params) -> Tried:
        """One call. That it fails is a result, too."""
        try:
            found = self._made(image, params)
        except WorkerError as error:
            return Tried(trial.values, None, message=f"{error.message} {error.hint}".strip())
        except Exception as error:
            if is_out_of_memory(error):
                refused = self.limits.out_of_memory(self.params.target, wanted_memory(error))
                return Tried(trial.values, None, message=refused.message)
            log.exception("%s in %s", self.params.target, self.info.name)
            return Tried(trial.values, None, message=f"{self.params.target} failed inside the worker; the log says more.")
        picture = found.images.get(self._shown())
        if picture is None:
            return Tried(trial.values, None, message=f"{self.params.target} made no {self._shown()}.")
        return Tried(trial.values, picture, len(found.rows) if self._item() else None, left_out(found))

    def _made(self, image: Image, params: Any) -> Found:
        operation, info = self.operations[self.params.target], self._other
        assert isinstance(operation, Detector | Filter)  # noqa: S101 - `_trials` has made sure
        operation.check(params)
        references = tuple(self.reference_of(info, params, name) for name in operation.references)
        if isinstance(operation, Detector):
            return detected(operation, image, references, params)
        return filtered(operation, image, references, params, limits=self.limits, name=self.params.output)
