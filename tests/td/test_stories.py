"""The TouchDesigner component plays the stories of delivery, which the worker's own client plays, too."""

from __future__ import annotations

import pytest
from tests.delivery_stories import BOOT, STORIES, WELCOME, play
from tests.td.conftest import load
from worker.catalog.table import CATALOG
from worker.client import core
from worker.core import reports
from worker.protocol.messages import Cancel, Job, parse_command

pending = load("pending")

#: `look` is called every 100 ms in TouchDesigner; here more often, so that the stories can be as narrow as for the client.
LOOK_S = 0.01


class Component:
    def __init__(self):
        self.sent, self.told = [], []
        self._looks = 0
        self._now = 0.0
        self._pending = pending.Pending(session="j")
        self._pending.greet(0.0)
        self.happens(WELCOME)
        for description in reports.descriptions(CATALOG):
            self.happens(description)
        self.until(0.05)
        self.sent.clear()

    def until(self, at):
        while self._looks * LOOK_S < at:
            self._now = max(self._now, self._looks * LOOK_S)
            self._pending.look(self._now)
            self._collect()
            self._looks += 1
        self._now = at

    def happens(self, event):
        if isinstance(event, Job):
            assert self._pending.submit(event.operation, dict(event.pairs), self._now) == event.id
        elif isinstance(event, Cancel):
            self._pending.cancel(event.id, self._now)
        else:
            self._pending.received(event.full_address, list(event.arguments()), self._now)
        self._collect()

    def _collect(self):
        self.sent += [tuple(parse_command(address, args) for address, args in packet) for packet in self._pending.take_packets()]
        for word, what in self._pending.take_news():
            if word == "file":
                self.told.append(f"file {what[1][0]}")
            elif word == "progress":
                self.told.append(f"progress {what.id} {what.progress:g}")
            elif word == "ready":
                self.told.append(f"ready {what.id}" + ("" if what.complete else ", incomplete"))
            elif word in ("accepted", "processing", "failed", "old"):
                self.told.append(f"{word} {what.id}")


@pytest.mark.parametrize("story", STORIES, ids=[story.sentence for story in STORIES])
def test_story(story):
    play(story, Component())


def test_the_numbers_in_the_rules_are_the_same():
    """Of both: whatever constant they share has one value; those that are the component's own have names of their own."""

    def numbers(module):
        return {name: value for name, value in vars(module).items() if name.isupper() and isinstance(value, (int, float))}

    ours, theirs = numbers(pending), numbers(core)
    shared = {name for name in ours if name in theirs}
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}
    assert shared == set(theirs) - {"TICK_S", "WINDOW"}
    assert pending.BEAT_S == core.TICK_S
    assert WELCOME.boot == BOOT
