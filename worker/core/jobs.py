"""The values that travel between the scheduler, the executors and the child processes. All frozen, all small."""

from __future__ import annotations

from enum import Enum

import msgspec

from worker.catalog.own import OwnOperation
from worker.catalog.params import Params
from worker.catalog.rows import OwnFile
from worker.errors import WorkerError
from worker.files.whole import WrittenFile


class Phase(Enum):
    """What a child is asked to do with a job.

    Every job starts with PLAN. A small job is done in that one step. A batch answers with a `Plan`; its parts then run
    side by side as PART tasks, and FINISH runs once over the joined result if the plan asks for it.
    DESCRIBE belongs to no job: it asks which operations are in an `OwnFile`.
    """

    PLAN = "plan"
    PART = "part"
    FINISH = "finish"
    DESCRIBE = "describe"


class Part(msgspec.Struct, frozen=True, gc=False):
    """The items `first` to `stop` - 1 of a batch. `sources` are their input files, empty if nothing is read."""

    index: int
    first: int
    stop: int
    sources: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        return self.stop - self.first


class Skipped(msgspec.Struct, frozen=True, gc=False):
    """An input image that was left out, because it could not be read or does not fit."""

    path: str
    why: Failure


class Result(msgspec.Struct, frozen=True, gc=False):
    """What an operation found and wrote.

    Attributes:
        kind: last part of the report's address (`/worker/result/<kind>`), empty if there are no rows.
        fields: names of the columns of `rows`.
        rows: one tuple of plain numbers per item found, in the order of the inputs.
        files: everything that was written, in the order of the inputs.
        sources: the input images, if there are several; the column `image` is an index into it.
        texts: the texts of each row, for tables; empty if the operation has none. Reports do not carry them.
        left_out: how many items were found beyond `max_items`, and are not among the rows.
        skipped: the input images that were left out, in order.
    """

    kind: str = ""
    fields: tuple[str, ...] = ()
    rows: tuple[tuple[int | float, ...], ...] = ()  # what is whole stays whole on its way between processes
    files: tuple[WrittenFile, ...] = ()
    sources: tuple[str, ...] = ()
    left_out: int = 0
    texts: tuple[tuple[str, ...], ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @property
    def items(self) -> int:
        """How many items a job produced: rows if the operation has rows, otherwise files."""
        return len(self.rows) if self.kind else len(self.files)

    def joined(self, other: Result) -> Result:
        """This result followed by another one of the same job."""
        if other is NOTHING or self is NOTHING:
            return self if other is NOTHING else other
        return Result(
            self.kind or other.kind,
            self.fields or other.fields,
            self.rows + other.rows,
            self.files + other.files,
            self.sources or other.sources,
            self.left_out + other.left_out,
            self.texts + other.texts,
            self.skipped + other.skipped,
        )


#: What a job has found that finds nothing, and any job before it has found something.
NOTHING = Result()


class Shipped(msgspec.Struct, frozen=True, gc=False):
    """The files of a task that came to a node together with it.

    Attributes:
        folder: where they are.
        inputs: by the name that the task has for it: the place of each in the folder.
        refused: why one could not come.
    """

    folder: str = ""
    inputs: dict[str, str] = {}
    refused: dict[str, Failure] = {}


class Task(msgspec.Struct, frozen=True, gc=False):
    """One call of a child process.

    Attributes:
        id: unique while the worker runs.
        slots: how many children may share the job, so that a plan can be cut to fit.
        part: which part, in phase PART.
        joined: the result so far, in phase FINISH.
        skips: whether images of a folder or pattern that cannot be read or do not fit are left out; otherwise the first one ends the job.
        own: the file that holds the operation, if it is not one of the worker's.
        step_s: how long one step of this operation has taken lately, in seconds; 0 if that is not known.
        next_id: the id of the next new object that a live job sees.
        part_bytes: how large the files of one part may be together, so that they can travel; 0 is no limit.
        shipped: its files, if they came with it; otherwise they are where their names say.
    """

    id: int
    operation: str
    params: Params
    phase: Phase = Phase.PLAN
    slots: int = 1
    part: Part | None = None
    joined: Result = NOTHING
    skips: bool = False
    own: OwnFile | None = None
    step_s: float = 0.0
    next_id: int = 1
    part_bytes: int = 0
    shipped: Shipped | None = None


class Plan(msgspec.Struct, frozen=True, gc=False):
    """A batch, cut into parts. `finish` asks for one FINISH task over the joined result.

    `base` holds what is known before the first part has run (kind, fields, sources); the parts' results are joined to it.
    """

    parts: tuple[Part, ...]
    finish: bool = False
    base: Result = NOTHING

    @property
    def steps(self) -> int:
        return sum(part.steps for part in self.parts)


def sayable(text: str) -> str:
    r"""The text, with what no report can carry written out: bytes of a file's name that are no UTF-8, as Linux allows them.

    >>> sayable("\udcff.png")
    '\\udcff.png'
    """
    return text if text.isascii() else text.encode(errors="backslashreplace").decode()


class Failure(msgspec.Struct, frozen=True, gc=False):
    """Why a task ended without a result. The words of a `WorkerError`, as a value that crosses processes."""

    code: int
    word: str
    message: str
    hint: str = ""
    transient: bool = False

    @classmethod
    def of(cls, error: WorkerError) -> Failure:
        return cls(error.code, error.word, sayable(error.message), sayable(error.hint), error.transient)


def nothing_read(plan: Plan, result: Result) -> Failure | None:
    """Why a batch has failed of which every file was skipped; None if one was used."""
    if not result.skipped or len(result.skipped) < plan.steps:
        return None
    first = result.skipped[0].why
    if plan.steps == 1:
        return first
    return msgspec.structs.replace(first, message=f"Each of the {plan.steps} files was skipped. The first: {first.message}")


class Description(msgspec.Struct, frozen=True, gc=False):
    """What is in an `OwnFile`."""

    operations: tuple[OwnOperation, ...]


#: How a task ended.
Outcome = Result | Plan | Failure | Description
