"""What a child does before its first task. Nothing heavy is imported at the top: the parent imports this file, too."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import stat
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.catalog.rows import NEEDS
from worker.catalog.table import CATALOG
from worker.executors import memory, priority, sandbox
from worker.executors.base import RunTask
from worker.files import handles
from worker.files.paths import FileRules

if TYPE_CHECKING:
    from worker.operations.shapes import Operation

log = logging.getLogger(__name__)

#: Where the functions of `worker.catalog.table.CATALOG` stand.
OPERATIONS = "worker.operations.table:OPERATIONS"
#: A file of OpenCV's own lives for as long as one picture is written.
_SCRATCH_KEPT_S = 3600.0

# NumPy's library for algebra starts its threads when it is imported. The children share the cores between them, and the sandbox binds only
# threads that start in it. It stands here because a catalogue may import NumPy while it comes to a child, before anything is called.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"


def make_run_task(
    rules: FileRules,
    catalog: Catalog = CATALOG,
    operations: str = OPERATIONS,
    *,
    confined: bool = True,
    own: Sequence[Path] = (),
    needs: frozenset[str] = frozenset(),
    nice: int = 0,
) -> RunTask:
    """Called in each child: imports OpenCV there, and only there. What bounds it must stand before.

    Args:
        rules: what may be read and written.
        catalog: the operations, as the parent knows them, too.
        operations: their functions, as "module:name", because only a child may import them.
        nice: how much lower the priority of this process becomes; see `worker.executors.priority`.
        confined: close this process in (`worker.executors.sandbox`) before it sees anything from outside.
        own: the folders of the files with operations of the artist's own. Nothing of them is run here.
        needs: what these operations may reach beside files, as `OperationInfo.needs`.
    """
    priority.lower(nice)
    memory.cap(rules.limits.child_mb)
    memory.end_first()
    memory.keep_pages()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a broken picture is said in the report
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(rules.limits.megapixels * 1_000_000)
    scratch = _scratch() if confined and sandbox.offer() else None
    if scratch is not None:
        os.environ["OPENCV_TEMP_PATH"] = str(scratch)
    import cv2

    from worker.tasks.own import OwnModules
    from worker.tasks.run import run_task

    functions = load(operations)
    cv2.setNumThreads(1)  # the children share the cores between them
    handles.hold(rules.places or ())
    sys.path += [str(folder) for folder in own]  # behind everything else, so that nothing there hides a package
    if own:
        import importlib.metadata  # noqa: F401 - so that nothing of it has to be found in the sandbox
    if confined and not rules.unrestricted:
        _confine(rules, catalog, operations, scratch, own, needs)
    modules = OwnModules(needs if confined else NEEDS)
    return lambda task, progress: run_task(task, rules, progress, catalog, functions, own=modules)


def find_missing(operations: str = OPERATIONS) -> Mapping[str, str]:
    """Called in each child after that: what cannot be done in this build, each with the reason."""
    from worker.operations.table import unavailable

    return unavailable(load(operations))


def _scratch() -> Path | None:
    """A folder for what OpenCV cannot do in memory (it writes JPEG 2000 to a file first), private to this user; None if there is none.

    All children of a user share it, because in the sandbox none can remove a folder. What killed ones left there goes after a while.
    """
    path = Path(tempfile.gettempdir()).resolve() / f"td-image-worker-{os.geteuid()}"
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        found = path.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            log.warning("%s is not private to this user, so JPEG 2000 cannot be written", path)
            return None
        for left in path.iterdir():
            with contextlib.suppress(OSError):
                if time.time() - left.lstat().st_mtime > _SCRATCH_KEPT_S:
                    left.unlink()
    except OSError as error:
        log.warning("%s cannot be used, so JPEG 2000 cannot be written: %s", path, error.strerror)
        return None
    return path


def _confine(  # noqa: PLR0917
    rules: FileRules, catalog: Catalog, operations: str, scratch: Path | None, own: Sequence[Path], more: frozenset[str]
) -> None:
    """Everything is imported by now, so that nothing of it has to be found, compiled or written in the sandbox."""
    needs = more.union(need for row in catalog.values() for need in row.needs)
    packages = {sys.modules[name.partition(".")[0]] for name in (__name__, operations)}
    programs = [*(Path(found).parent for package in packages if (found := package.__file__)), *own]
    with contextlib.ExitStack() as stack:
        write = opened(stack, (*rules.resolved_roots, *([scratch] if scratch else [])))
        read = opened(stack, rules.resolved_read_roots)
        sandbox.confine(sandbox.Reach(write, read, programs, needs))


def opened(stack: contextlib.ExitStack, folders: Sequence[Path]) -> list[int]:
    """Handles of the folders that are there, and are the ones that the worker started with."""
    found = []
    for path in folders:
        try:
            handle = stack.enter_context(handles.folder(path)).handle
        except OSError as error:
            log.warning("%s is not open to this child process: %s", path, error.strerror)
            continue
        if handle is not None:
            found.append(handle)
    return found


def load(operations: str) -> Mapping[str, Operation]:
    """Imports the functions of a catalogue, given as "module:name"."""
    module, _, name = operations.partition(":")
    functions: Mapping[str, Operation] = getattr(importlib.import_module(module), name)
    return functions
