"""What a child process does with a task: reads the files, runs the operation, writes the files. It never raises.

Each shape of `worker.operations.shapes` becomes a kind of batch. Each can say how it would be cut into parts (PLAN), do one
part (PART), and write what can only be written when all parts are done (FINISH). A small batch is done within its PLAN.

In a batch over several images, one that is missing, broken or does not fit is left out and reported (`on_error=skip`), or fails the whole
job with that file's sentence (`on_error=stop`); what was written before stays. If none can be read, the job fails. No job may write over an
image that it reads.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.catalog.live import source_of
from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Outcome, Part, Phase, Plan, Result, Task
from worker.errors import InternalError, Unavailable, WorkerError
from worker.files.paths import names_video
from worker.operations.shapes import Detector, Film, Filter, Folder, Frames, Live, Nothing, Operation, Source, Text, Transfer, Trials
from worker.operations.table import OPERATIONS
from worker.pictures.images import is_out_of_memory, wanted_memory
from worker.tasks.base import BaseBatch, Batch, Progress, limits_of
from worker.tasks.copying import Copying
from worker.tasks.drawing import Drawing
from worker.tasks.folder import Combining
from worker.tasks.live import LiveJob, Nobody
from worker.tasks.own import OwnModules, failed
from worker.tasks.reading import Detecting, Filtering
from worker.tasks.shipped import ShippedRules
from worker.tasks.trials import Trying
from worker.tasks.video import Filming, Unreeling, Watching
from worker.tasks.writing import Writing

if TYPE_CHECKING:
    from worker.catalog.rows import OperationInfo
    from worker.files.paths import FileRules

log = logging.getLogger(__name__)


def run_task(
    task: Task,
    files: FileRules,
    progress: Progress,
    catalog: Catalog = CATALOG,
    operations: Mapping[str, Operation] = OPERATIONS,
    *,
    own: OwnModules | None = None,
) -> Outcome:
    """Runs one task to its end.

    Args:
        task: what to do.
        files: what may be read and written.
        progress: is called with the number of items done within this task, after each of them.
        catalog: what there is to know of each operation.
        operations: their functions.
        own: the files with operations of an artist's own that this process has loaded.

    Returns:
        In phase PLAN a `Plan`, or the `Result` of a job that is small; in phase DESCRIBE a `Description`; otherwise a `Result`. A `Failure`
        if anything went wrong.
    """
    try:
        own = own or OwnModules()
        if task.shipped is not None:
            files = ShippedRules.of(files, task.shipped)
        if task.own is not None and task.phase is Phase.DESCRIBE:
            return own.description(task.own)
        return _run(_batch(task, files, catalog, operations, own), task, progress)
    except WorkerError as error:
        return Failure.of(error)
    except Exception as error:
        if is_out_of_memory(error):
            return Failure.of(limits_of(files).out_of_memory(task.operation, wanted_memory(error)))
        log.exception("task %d, %s, phase %s", task.id, task.operation, task.phase.value)
        if task.own is not None and task.operation not in catalog:
            return Failure.of(failed(task, error))
        return Failure.of(InternalError(f"{task.operation} failed inside the worker; the log says more."))


def _batch(task: Task, files: FileRules, catalog: Catalog, operations: Mapping[str, Operation], own: OwnModules) -> Batch:
    if task.own is not None and task.operation not in catalog:
        task, info, operation = own.prepared(task, task.own)
    else:
        if task.own is not None:  # one of ours calls it
            catalog, operations = own.added(task, task.own, catalog, operations)
        info, operation = catalog.find(task.operation), operations[task.operation]
    reason = operation.unavailable().get("") if task.phase is Phase.PLAN else None
    if reason:
        raise Unavailable(f"{task.operation} is not available here: {reason}", "`td-image-worker ops` lists what is missing.")
    others = (catalog, operations) if isinstance(operation, Trials | Live) else ()
    return _BATCHES[type(operation)](task, files, info, operation, *others)


def _run(batch: Batch, task: Task, progress: Progress) -> Outcome:
    if task.phase is Phase.PART:
        if task.part is None:
            raise InternalError("A task in phase PART names no part.")
        return batch.run(task.part, progress)
    if task.phase is Phase.FINISH:
        return batch.finish(task.joined)
    plan = batch.plan()
    return _done_at_once(batch, plan, progress) if batch.is_small(plan) else plan


def _done_at_once(batch: Batch, plan: Plan, progress: Progress) -> Result:
    result = plan.base
    for part in plan.parts:
        result = result.joined(batch.run(part, progress))
    return result.joined(batch.finish(result)) if plan.finish else result


class Idle(BaseBatch):
    """A batch of nothing."""

    def plan(self) -> Plan:
        self.operation.check(self.params)
        return Plan((Part(0, 0, 1),))

    def is_small(self, _plan: Plan) -> bool:
        return True

    def run(self, _part: Part, _progress: Progress) -> Result:
        self.operation.do(self.params)
        return Result()


@dataclasses.dataclass(frozen=True, slots=True)
class Looking(Idle):
    """A live job without anybody who hears of each picture: finds what was to be seen last. For `run`; a worker has processes for them."""

    catalog: Catalog
    operations: Mapping[str, Operation]

    def plan(self) -> Plan:
        return Plan((Part(0, 0, 1),))

    def run(self, _part: Part, _progress: Progress) -> Result:
        job = LiveJob(self.files, self.catalog, self.operations, self.task, source_of(self.params.source))
        return Result(self.info.kind, self.info.fields, job.rows(Nobody()))


def _detecting(task: Task, files: FileRules, info: OperationInfo, operation: Detector) -> Batch:
    image = getattr(task.params, "image", "")
    return (Watching if operation.frames is not None and names_video(image) else Detecting)(task, files, info, operation)


_BATCHES: dict[type, Callable[..., Batch]] = {
    Nothing: Idle,
    Text: Writing,
    Transfer: Copying,
    Source: Drawing,
    Detector: _detecting,
    Filter: Filtering,
    Folder: Combining,
    Trials: Trying,
    Frames: Unreeling,
    Film: Filming,
    Live: Looking,
}
