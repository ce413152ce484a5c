"""Operations of the artist's own: what a child process, in its sandbox, says of their files."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path

from worker.catalog.table import CATALOG
from worker.cli.examination.steps import Mark, Question, Step
from worker.core.events import ChildrenChanged, Finished, Progressed
from worker.executors import pool
from worker.files.paths import FileRules
from worker.poller import Poller
from worker.service import own
from worker.service.children import needs_of, own_files
from worker.tasks.prepare import make_run_task

_LOOK_EVERY_S = 0.1


def steps(question: Question) -> Iterator[Step]:
    """One for each file or package."""
    config = question.config
    files = own_files(config.operations)
    rules = FileRules(roots=tuple(root.resolve() for root in config.roots), limits=config.files)
    folders, needs = tuple({path.parent for path in files}), needs_of(config.operations_need)
    make = functools.partial(make_run_task, rules, confined=config.sandbox == "on", own=folders, needs=needs)
    executor, poller = pool.PoolExecutor(1, make, spares=0), Poller()
    operations = own.OwnOperations(config.operations, CATALOG, executor, poller, lambda _: None)

    def deliver(event: Progressed | Finished | ChildrenChanged) -> None:
        if isinstance(event, Finished):
            operations.finished(event)
        elif isinstance(event, ChildrenChanged):
            operations.children_changed(event)

    with _quiet(pool.__name__), _quiet(own.__name__):
        try:
            executor.start(deliver, poller)
            operations.start()
            until = poller.now() + own.KNOWN_WITHIN_S
            while not operations.settled and poller.now() < until:
                poller.wait(poller.now() + _LOOK_EVERY_S)
        finally:
            operations.close()
            executor.close()
            poller.close()
    for where, usable, sentence in operations.sentences():
        yield _step(question, where, usable, sentence)


def _step(question: Question, where: str, usable: bool, sentence: str) -> Step:
    name = f"operations {Path(where).name}"
    if not usable:
        is_file = where.endswith(".py")
        change = "correct the file; a worker that runs reads it again by itself." if is_file else "install it into this Python."
        return Step(name, Mark.BROKEN, sentence or f"no child process has read it within {own.KNOWN_WITHIN_S:g} s", change)
    if any(Path(where).is_relative_to(root.resolve()) for root in question.config.roots) and where.endswith(".py"):
        return Step(
            name, Mark.NOTE, f"{sentence} It lies in a folder that jobs write", "move it: a child that was taken over could change it."
        )
    return Step(name, Mark.OK, sentence)


class _quiet:  # noqa: N801 - as contextlib's
    """What a logger says is said by the steps, in one sentence."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)
        self._handler = logging.NullHandler()

    def __enter__(self) -> None:
        self._log.addHandler(self._handler)
        self._log.propagate = False

    def __exit__(self, *_: object) -> None:
        self._log.propagate = True
        self._log.removeHandler(self._handler)
