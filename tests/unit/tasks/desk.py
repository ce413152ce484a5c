"""A place to run jobs without a scheduler."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from worker.catalog.table import CATALOG
from worker.core.jobs import Failure, Phase, Plan, Result, Task, nothing_read
from worker.files.paths import FileRules
from worker.pictures.images import write_image
from worker.tasks.run import run_task


class Desk:
    """A folder with rules, in which jobs are run as a scheduler would run them, without one."""

    def __init__(self, root, slots=2, maps=()):
        self.root, self.slots = root, slots
        self.files = FileRules((root,), maps=maps)
        self.progress = []

    def task(self, operation, phase=Phase.PLAN, part=None, joined=None, **values):
        params, options = CATALOG.parse_job(operation, values.items())
        task = Task(1, operation, params, phase, self.slots, part, joined or Result(), options.on_error == "skip")
        return run_task(task, self.files, self.progress.append)

    def job(self, operation, **values):
        """All phases, joined."""
        outcome = self.task(operation, **values)
        if not isinstance(outcome, Plan):
            return outcome
        result = outcome.base
        for part in outcome.parts:
            done = self.task(operation, Phase.PART, part, **values)
            if isinstance(done, Failure):
                return done
            result = result.joined(done)
        if (nothing := nothing_read(outcome, result)) is not None:
            return nothing
        if not outcome.finish:
            return result
        last = self.task(operation, Phase.FINISH, joined=result, **values)
        return last if isinstance(last, Failure) else result.joined(last)

    def names(self, folder="."):
        return sorted(path.name for path in (self.root / folder).iterdir())

    def discs(self, *names, x=60):
        """Images of one circle each, every next one 5 pixels further to the right."""
        for n, name in enumerate(names):
            image = np.zeros((100, 200, 3), np.uint8)
            cv2.circle(image, (x + 5 * n, 50), 20, (255, 255, 255), -1, cv2.LINE_AA)
            write_image(self.root / name, image)


def paths(result, root):
    return [Path(written.path).relative_to(root).as_posix() for written in result.files]
