"""Loads the files with operations of an artist's own. Only a child does, in its sandbox, after the task that needs one has begun: whatever
such a file does, the parent goes on, and what it costs counts for that task.
"""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.own import OwnProblem, OwnValues, described, with_own
from worker.catalog.rows import NEEDS, OperationInfo, OwnFile
from worker.core.jobs import Description, Task
from worker.errors import ArgumentError, InternalError, Unavailable, UnknownOperation, WorkerError
from worker.operations.own import TABLE, checked
from worker.operations.returned import held_to_its_shape
from worker.operations.shapes import Operation

#: Entry points of installed packages, by name.
GROUP = "td_image_worker.operations"
_LONGEST = 400


class OwnModules:
    """The files that this process has loaded, each in its newest version.

    Args:
        needs: what their operations may need, as `OperationInfo.needs`.
    """

    def __init__(self, needs: frozenset[str] = NEEDS) -> None:
        self._needs = needs
        self._loaded: dict[str, tuple[str, Mapping[str, tuple[OperationInfo, Operation]]]] = {}

    def of(self, file: OwnFile) -> Mapping[str, tuple[OperationInfo, Operation]]:
        """The operations of a file, which is run if this version of it was not yet.

        Raises:
            OwnProblem: it cannot be used. The message names the file and, if it is known, the line.
        """
        digest, operations = self._loaded.get(file.where, ("", {}))
        if digest != file.digest:
            operations = _loaded(file, self._needs)
            self._loaded[file.where] = file.digest, operations
        return operations

    def description(self, file: OwnFile) -> Description:
        """What is in a file. Raises as `of`."""
        return Description(tuple(described(row) for row, _ in self.of(file).values()))

    def prepared(self, task: Task, file: OwnFile) -> tuple[Task, OperationInfo, Operation]:
        """The task with parameters of the real class, the row, and the functions.

        Raises:
            Unavailable: the file cannot be loaded.
            UnknownOperation: it has no such operation.
            ArgumentError: the class does not take these values.
        """
        operations = self._usable(task.operation, file)
        if task.operation not in operations:
            raise UnknownOperation(f"{file.name} has no operation {task.operation!r} any more.", "`describe` lists what there is.")
        row, operation = operations[task.operation]
        if not isinstance(task.params, OwnValues):  # it was not sent from another process
            return task, row, operation
        try:
            params = msgspec.convert(task.params.values, row.params, strict=False)
        except msgspec.ValidationError as error:
            raise ArgumentError(
                f"{task.operation}: {_lower(str(error))}.", f"`td-image-worker ops {task.operation}` shows them all."
            ) from None
        return msgspec.structs.replace(task, params=params), row, operation

    def added(
        self, task: Task, file: OwnFile, catalog: Catalog, operations: Mapping[str, Operation]
    ) -> tuple[Catalog, Mapping[str, Operation]]:
        """A catalogue and its functions, and the operations of a file, for a task that calls one of them.

        Raises:
            Unavailable: the file cannot be loaded.
        """
        found = self._usable(task.params.tries(), file)
        rows = tuple(row for row, _ in found.values())
        return with_own(catalog, file, rows), {**operations, **{name: operation for name, (_, operation) in found.items()}}

    def _usable(self, operation: str, file: OwnFile) -> Mapping[str, tuple[OperationInfo, Operation]]:
        try:
            return self.of(file)
        except OwnProblem as problem:
            raise Unavailable(f"{operation} is not available: {problem.message}", problem.hint) from None


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def failed(task: Task, error: Exception) -> WorkerError:
    """What a job is told if a function of the artist's own has raised an error."""
    assert task.own is not None  # noqa: S101 - the caller has looked
    return InternalError(f"{task.operation} failed: {_sentence(task.own, error)}", "The worker's log has the whole traceback.")


def _loaded(file: OwnFile, needs: frozenset[str]) -> Mapping[str, tuple[OperationInfo, Operation]]:
    try:
        table = _from_package(file.where) if file.is_package else _from_file(file)
    except OwnProblem:
        raise
    except BaseException as error:  # noqa: BLE001 - it is anybody's code
        raise OwnProblem(_sentence(file, error)) from None
    try:
        found = checked(table, needs)
    except OwnProblem as problem:
        raise OwnProblem(f"{file.name}: {problem.message}", problem.hint) from None
    return {name: (row, held_to_its_shape(row, operation)) for name, (row, operation) in found.items()}


def _from_file(file: OwnFile) -> Any:
    """Runs the text that the parent has read: what stands on the disk by now may be a newer version."""
    path = Path(file.where)
    name = "own_" + re.sub(r"\W", "_", path.stem)
    _forget_neighbours(path.parent)
    code = compile(file.text, file.where, "exec", dont_inherit=True)
    module = types.ModuleType(name)
    module.__file__ = file.where
    sys.modules[name] = module  # msgspec looks up the names in annotations there
    exec(code, module.__dict__)  # noqa: S102 # nosec B102 - what the operator has named with --operations, in a child
    if not hasattr(module, TABLE):
        raise OwnProblem(f"{file.name} has no table {TABLE}; docs/own_operations.md shows one.")
    return getattr(module, TABLE)


def _forget_neighbours(folder: Path) -> None:
    """Modules beside the file are loaded again together with it."""
    for name, module in list(sys.modules.items()):
        place = getattr(module, "__file__", None)
        if place and Path(place).parent == folder:
            del sys.modules[name]


def _from_package(name: str) -> Any:
    from importlib.metadata import entry_points

    found = [point for point in entry_points(group=GROUP) if point.name == name]
    if not found:
        others = ", ".join(sorted({point.name for point in entry_points(group=GROUP)}))
        raise OwnProblem(
            f"No installed package has the entry point {name} in {GROUP}; {f'there are {others}' if others else 'there is none at all'}.",
            "The name of a file ends in .py.",
        )
    return found[0].load()


def _sentence(file: OwnFile, error: BaseException) -> str:
    """What went wrong, with the last line of this file that had a part in it."""
    line = error.lineno if isinstance(error, SyntaxError) and error.filename == file.where else _line(file, error)
    what = error.msg if isinstance(error, SyntaxError) else str(error)
    text = f"{type(error).__name__}: {what}" if what else type(error).__name__
    place = f"{file.name}, line {line}" if line else file.name
    return f"{place}: {' '.join(text.split())[:_LONGEST].rstrip('.')}."


def _line(file: OwnFile, error: BaseException) -> int | None:
    line, traceback = None, error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename == file.where:
            line = traceback.tb_lineno
        traceback = traceback.tb_next
    return line
