"""What a child does before its first task. Nothing heavy is imported at the top: the parent imports this file, too."""

from __future__ import annotations

import os

from worker.executors import memory
from worker.executors.base import RunTask
from worker.files.paths import FileRules


def make_run_task(rules: FileRules) -> RunTask:
    """Called in each child: imports OpenCV there, and only there. What bounds it must stand before."""
    memory.cap(rules.limits.child_mb)
    memory.keep_pages()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a broken picture is said in the report
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(rules.limits.megapixels * 1_000_000)
    import cv2

    from worker.tasks.run import run_task

    cv2.setNumThreads(1)  # the children share the cores between them
    return lambda task, progress: run_task(task, rules, progress)
