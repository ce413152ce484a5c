"""What a child does before its first task. Nothing heavy is imported at the top: the parent imports this file, too."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.catalog.table import CATALOG
from worker.executors import memory
from worker.executors.base import RunTask
from worker.files.paths import FileRules

if TYPE_CHECKING:
    from worker.operations.shapes import Operation

#: Where the functions of `worker.catalog.table.CATALOG` stand.
OPERATIONS = "worker.operations.table:OPERATIONS"


def make_run_task(rules: FileRules, catalog: Catalog = CATALOG, operations: str = OPERATIONS) -> RunTask:
    """Called in each child: imports OpenCV there, and only there. What bounds it must stand before.

    Args:
        rules: what may be read and written.
        catalog: the operations, as the parent knows them, too.
        operations: their functions, as "module:name", because only a child may import them.
    """
    memory.cap(rules.limits.child_mb)
    memory.keep_pages()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a broken picture is said in the report
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(rules.limits.megapixels * 1_000_000)
    import cv2

    from worker.tasks.run import run_task

    functions = load(operations)
    cv2.setNumThreads(1)  # the children share the cores between them
    return lambda task, progress: run_task(task, rules, progress, catalog, functions)


def load(operations: str) -> Mapping[str, Operation]:
    """Imports the functions of a catalogue, given as "module:name"."""
    module, _, name = operations.partition(":")
    functions: Mapping[str, Operation] = getattr(importlib.import_module(module), name)
    return functions
