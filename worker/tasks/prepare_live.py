"""What the process of a live job does before its first picture. Nothing heavy is imported at the top: the parent imports this file, too."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from worker.catalog.catalog import Catalog
from worker.catalog.live import LiveParams, SourceName, source_of
from worker.core.jobs import Outcome, Task
from worker.executors import memory, priority, sandbox
from worker.files import handles
from worker.files.paths import FileRules
from worker.tasks.prepare import load, opened

if TYPE_CHECKING:
    from worker.executors.live_child import Follow, Mouth


def make_follow(rules: FileRules, catalog: Catalog, operations: str, task: Task, *, confined: bool = True, nice: int = 0) -> Follow:
    """Called in the process of a live job. What bounds it stands when it returns.

    Args:
        rules: what may be read.
        catalog: the operations, as the parent knows them, too.
        operations: their functions, as "module:name".
        task: the job: the source decides what stays open.
        confined: close this process in.
        nice: how much lower the priority of this process becomes.
    """
    priority.lower(nice)
    memory.cap(rules.limits.child_mb)
    memory.end_first()
    memory.keep_pages()
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    os.environ["OPENCV_FFMPEG_LOGLEVEL"] = "-8"  # what it says may hold addresses with passwords
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(rules.limits.megapixels * 1_000_000)
    import cv2

    from worker.pictures import images
    from worker.tasks.live import LiveJob
    from worker.tracking import loop, overlay, sources

    functions = load(operations)
    cv2.setNumThreads(1)
    handles.hold(rules.places or ())
    assert isinstance(task.params, LiveParams)  # noqa: S101 - the scheduler's
    source = source_of(task.params.source)
    job = LiveJob(rules, catalog, functions, task, source)
    if confined and not rules.unrestricted:
        _confine(rules, source, job.files, job.overlay)
    del loop, sources, images, overlay  # imported, so that nothing of them has to be found in the sandbox

    def follow(_task: Task, mouth: Mouth) -> Outcome:
        return job.run(mouth)

    return follow


def _confine(rules: FileRules, source: SourceName, files: tuple[Path, ...], overlay: Path | None) -> None:
    """A live job writes nothing but its overlay. One whose source is on the network reads no files but those that it names."""
    with contextlib.ExitStack() as stack:
        write = _writable(stack, overlay)
        if source.kind in ("stream", "ndi"):
            read = [stack.enter_context(handles.reading(path)) for path in files]
        else:
            read = opened(stack, (*rules.resolved_roots, *rules.resolved_read_roots))
        programs = [Path(found).parent for name in {__name__.partition(".")[0]} if (found := sys.modules[name].__file__)]
        if source.kind == "ndi":  # its settings say on which machines it looks for sources
            programs.append(Path(os.environ.get("NDI_CONFIG_DIR") or Path.home() / ".ndi"))
        sandbox.confine(sandbox.Reach(write, read, programs, source.needs))


def _writable(stack: contextlib.ExitStack, overlay: Path | None) -> list[int]:
    """The folder of the overlay, which is made if it is missing. If that cannot be done, writing the overlay says why."""
    if overlay is None:
        return []
    with contextlib.suppress(OSError):
        handle = stack.enter_context(handles.folder(overlay.parent, make=True)).handle
        return [] if handle is None else [handle]
    return []
