"""The worker's own client plays the stories of delivery."""

from __future__ import annotations

import pytest

from tests.delivery_stories import STORIES, WELCOME, Story, play
from worker.client.core import ClientCore, Deliver, Effect, Ended, Transmit
from worker.protocol.messages import Cancel, Command, Failed, File, Hello, Job, Progress, Ready, Report, ResultRows

HELLO = Hello("test", 0, 0, "", "", 1)


class Client:
    """The core, whose timers ring exactly when they are due."""

    def __init__(self) -> None:
        self.sent: list[tuple[Command, ...]] = []
        self.told: list[str] = []
        self._now = 0.0
        self._core = ClientCore(HELLO, silence_s=60.0)
        self._core.connect(self._now, 3.0)
        self.happens(WELCOME)
        self.sent.clear()

    def until(self, at: float) -> None:
        while (deadline := self._core.next_deadline()) is not None and deadline <= at:
            self._now = max(self._now, deadline)
            self._carry_out(self._core.due(self._now))
        self._now = at

    def happens(self, event: Report | Job | Cancel) -> None:
        match event:
            case Job():
                self._carry_out(self._core.submit(event, self._now))
            case Cancel(id=job_id):
                self._carry_out(self._core.cancel(job_id, self._now))
            case _:
                self._carry_out(self._core.handle(event, self._now))

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit(commands):
                    self.sent.append(commands)
                case Ended(job_id, Ready(), found):
                    self.told.append(f"ready {job_id}" + ("" if found.complete else ", incomplete"))
                case Ended(job_id, Failed()):
                    self.told.append(f"failed {job_id}")
                case Deliver(_, File(path=path)):
                    self.told.append(f"file {path}")
                case Deliver(_, Progress(fraction=fraction) as report):
                    self.told.append(f"progress {report.id} {fraction:g}")
                case Deliver(job_id, report) if not isinstance(report, (Ready, Failed, ResultRows)):
                    self.told.append(f"{report.address.rpartition('/')[2]} {job_id}")


@pytest.mark.parametrize("story", STORIES, ids=[story.sentence for story in STORIES])
def test_story(story: Story) -> None:
    play(story, Client())
