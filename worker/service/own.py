"""Operations of an artist's own, seen from the parent: reads their files, has a child say what is in them, and reads them again when they
change. Nothing of them is ever run here, and nothing that comes over OSC can name another file.

    watching thread: looks at the files ---- text ---->  loop's thread: a task DESCRIBE  ---- Description ---->  CatalogChanged
"""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.own import OwnProblem, OwnValues, row_of, with_own
from worker.catalog.rows import OperationInfo, OwnFile
from worker.core.events import CatalogChanged, ChildrenChanged, Finished
from worker.core.jobs import Description, Failure, Phase, Task
from worker.errors import ChildDied
from worker.executors.base import Executor
from worker.poller import Poller

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.25
#: How long a file may take to be loaded, by the first child that is free.
LOADED_WITHIN_S = 20.0
#: After this time a worker takes jobs, even if its own files are not known yet.
KNOWN_WITHIN_S = 60.0
AGAIN_S = 5.0
LARGEST = 2**20
#: Above the numbers of all tasks of jobs.
_FIRST_TASK = 2**52


class _State(msgspec.Struct):
    """What is known of one file.

    Attributes:
        rows: its operations, of the last version that could be used.
        asked: the version that a child is describing now.
        newest: the newest version that was seen.
        settled: it has been described, or cannot be.
        timer: until when the task may take.
        overrun: it took longer.
        says: what there is to say about it now.
    """

    rows: tuple[OperationInfo, ...] = ()
    asked: OwnFile | None = None
    newest: OwnFile | None = None
    settled: bool = False
    timer: int | None = None
    overrun: bool = False
    says: str = ""


class OwnOperations:
    """See the module's docstring. Everything but the watching happens in the thread of the poller.

    Args:
        wheres: absolute paths of files, and names of entry points.
        catalog: the operations of the worker itself.
        executor: its children describe the files.
        poller: gives the time.
        tell: takes `CatalogChanged`.
        loaded_within_s: how long a file may take to be loaded.
    """

    def __init__(
        self,
        wheres: Sequence[str],
        catalog: Catalog,
        executor: Executor,
        poller: Poller,
        tell: Callable[[CatalogChanged], None],
        *,
        loaded_within_s: float = LOADED_WITHIN_S,
    ) -> None:
        self._base = catalog
        self._executor = executor
        self._poller = poller
        self._tell = tell
        self._within_s = loaded_within_s
        self._states = {where: _State() for where in dict.fromkeys(wheres)}
        self._tasks: dict[int, str] = {}
        self._numbers = itertools.count(_FIRST_TASK)
        self._works = False
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def settled(self) -> bool:
        """Whether each file has been described, or cannot be."""
        return all(state.settled for state in self._states.values())

    def sentences(self) -> Iterator[tuple[str, bool, str]]:
        """Each file or package, whether there are operations of it, and what there is to say about it."""
        return ((where, bool(state.rows), state.says) for where, state in self._states.items())

    def start(self) -> None:
        """Begins to look at the files."""
        files = [Path(where) for where in self._states if not OwnFile(where, "").is_package]
        for where in self._states:
            if OwnFile(where, "").is_package:
                self._seen(OwnFile(where, f"package {where}"))
        if files:
            self._thread = threading.Thread(target=self._watch, args=(files,), name="own-operations", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Looks no longer. A disk that does not answer is not waited for."""
        self._ended.set()

    # -------------------------------------------------------------------------------------------- the watching thread

    def _watch(self, files: Iterable[Path]) -> None:
        read: dict[Path, object] = {}
        before: dict[Path, object] = {}
        while True:
            for path in files:
                stamp = _stamp(path)
                # Some editors write in several steps, so a change counts when two looks have seen the same.
                if read.get(path) != stamp and (path not in read or before[path] == stamp):
                    read[path] = stamp
                    self._read(path)
                before[path] = stamp
            if self._ended.wait(LOOK_EVERY_S):
                return

    def _read(self, path: Path) -> None:
        where = str(path)
        try:
            with path.open("rb") as file:
                text = file.read(LARGEST + 1)
        except OSError as error:
            why = f"{path.name} cannot be read: {error.strerror}."
            self._poller.call(lambda: self._unreadable(where, why))
            return
        if len(text) > LARGEST:
            self._poller.call(lambda: self._unreadable(where, f"{path.name} has more than {LARGEST // 2**20} MB, which is the limit."))
            return
        import hashlib  # not in the loop's way: few workers have operations of somebody's own

        found = OwnFile(where, hashlib.sha256(text).hexdigest(), text)
        self._poller.call(lambda: self._seen(found))

    # -------------------------------------------------------------------------------------------- the loop's thread

    def _seen(self, file: OwnFile) -> None:
        state = self._states[file.where]
        if state.newest is not None and state.newest.digest == file.digest:
            return
        state.newest = file
        if state.asked is None:  # otherwise the newest is asked about next
            self._ask(file)

    def _unreadable(self, where: str, why: str) -> None:
        """If it is there again, it is described again, also if it is the same as before."""
        self._states[where].newest = None
        self._unusable(where, why)

    def _ask(self, file: OwnFile) -> None:
        state = self._states[file.where]
        number = next(self._numbers)
        self._tasks[number] = file.where
        state.asked, state.overrun = file, False
        self._limit(number)
        self._executor.execute(Task(number, "", OwnValues(values={}), Phase.DESCRIBE, own=file))

    def _limit(self, number: int) -> None:
        """Begins the time that a file may take, if there are children."""
        if self._works and number in self._tasks:
            self._states[self._tasks[number]].timer = self._poller.at(self._poller.now() + self._within_s, lambda _: self._overrun(number))

    def children_changed(self, event: ChildrenChanged) -> None:
        """There is a first child, or none any more. How long the first one takes to start is not a file's fault."""
        self._works = event.working
        for number in self._tasks:
            self._limit(number)

    def _overrun(self, number: int) -> None:
        if number in self._tasks:
            self._states[self._tasks[number]].overrun = True
            self._executor.abort(number)

    def finished(self, event: Finished) -> bool:
        """Takes the outcome of a task of its own; whether it was one."""
        where = self._tasks.pop(event.task_id, None)
        if where is None:
            return False
        if self._ended.is_set():  # the children are being ended, and nobody wants to know
            return True
        state = self._states[where]
        file, state.asked = state.asked, None
        assert file is not None  # noqa: S101 - a task stands for a file
        if state.timer is not None:
            self._poller.cancel(state.timer)
        if state.newest is not None and state.newest.digest != file.digest:
            self._ask(state.newest)
        elif isinstance(event.outcome, Failure):
            self._failed(file, state, event.outcome)
        elif isinstance(event.outcome, Description):
            self._described(file, state, event.outcome)
        return True

    def _failed(self, file: OwnFile, state: _State, why: Failure) -> None:
        if why.transient:  # there is no child, or no node of a cluster
            self._poller.at(self._poller.now() + AGAIN_S, lambda _: None if state.asked else self._ask(file))
        elif state.overrun:
            at = "at its top level" if not file.is_package else "in it"
            self._unusable(file.where, f"{file.name} was not loaded within {self._within_s:g} s; is there a loop without an end {at}?")
        elif why.word == ChildDied.word:
            self._unusable(file.where, f"{file.name} ended the child process that loaded it; {why.message}")
        else:
            message = why.message if file.name in why.message else f"{file.name}: {why.message}"
            self._unusable(file.where, f"{message} {why.hint}".strip())

    def _described(self, file: OwnFile, state: _State, description: Description) -> None:
        before = state.rows
        try:
            state.rows = tuple(row_of(operation, file) for operation in description.operations)
            self._catalog(file.where)
        except OwnProblem as problem:
            state.rows = before
            self._unusable(file.where, f"{problem.message} {problem.hint}".strip())
            return
        gone = sorted({row.name for row in before} - {row.name for row in state.rows})
        state.says = f"{file.name} has {_names(state.rows)}" + (f", and no longer {', '.join(gone)}." if gone else ".")
        log.info("%s", state.says)
        self._settle(file.where, usable=True)

    def _unusable(self, where: str, why: str) -> None:
        state = self._states[where]
        state.says = why + (f" The version before it stays in use: {_names(state.rows)}." if state.rows else "")
        log.error("%s", state.says)
        self._settle(where, usable=False)

    def _settle(self, where: str, *, usable: bool) -> None:
        """Tells what there is now: of the file that has changed, then of the others."""
        self._states[where].settled = True
        catalog = self._catalog()
        says = [self._states[where].says, *(state.says for other, state in self._states.items() if other != where)]
        self._tell(CatalogChanged(catalog, " ".join(filter(None, says)), usable=usable))

    def _catalog(self, must_fit: str = "") -> Catalog:
        """The operations of all files; the file that was named first wins.

        Raises:
            OwnProblem: those of `must_fit` have names that are taken.
        """
        catalog = self._base
        for where, state in self._states.items():
            if not state.rows:
                continue
            try:
                catalog = with_own(catalog, OwnFile(where, ""), state.rows)
            except OwnProblem as problem:
                if where == must_fit:
                    raise
                state.rows, state.says = (), problem.message
                log.error("%s", problem.message)  # noqa: TRY400 - the sentence is enough
        return catalog


def _names(rows: Iterable[OperationInfo]) -> str:
    return ", ".join(row.name for row in rows)


def _stamp(path: Path) -> object:
    """Differs after each change, as far as the file system says."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_mtime_ns, found.st_size, found.st_ino
