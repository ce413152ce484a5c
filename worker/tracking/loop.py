"""The life of a live job in its process: opens its source, looks at the newest pictures, and opens it again if it vanishes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from worker.errors import MissingFile, PathError, UnsupportedFormat, WorkerError
from worker.tracking.overlay import Overlay
from worker.tracking.session import Looked, Pace, Patience, Row, Session
from worker.tracking.sources import LiveSource, Picture, SourceEnded, SourceVanished

#: The interval between two looks whether the parent is still there.
_LOOK_EVERY_S = 0.25
#: A file that is not there yet, or is half written.
_MAY_PASS = (MissingFile, PathError, UnsupportedFormat)


class Report(Protocol):
    """Where what is seen goes."""

    def may_send(self, wait_s: float = 0.0) -> bool:
        """Whether the picture before has gone out; waits so long for that at most."""

    def looked(self, picture: Picture, looked: Looked, pace: Pace) -> None:
        """What was seen in a picture."""

    def say(self, word: str, message: str) -> None:
        """What has become of the source."""


@dataclass(slots=True)
class Loop:
    """Follows one source.

    Attributes:
        open_source: opens it.
        session: looks at its pictures.
        report: gets the reports.
        shown: the source as it may be shown.
        lasting: a source that cannot be opened at first is waited for: a camera may be plugged in later. Otherwise that ends the job.
        overlay: is shown each picture, after its report; None for none.
        rows: what was seen in the last picture.
    """

    open_source: Callable[[], LiveSource]
    session: Session
    report: Report
    shown: str
    lasting: bool
    overlay: Overlay | None = None
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    rows: tuple[Row, ...] = ()
    _pace: Pace = field(init=False)
    _patience: Patience = field(default_factory=Patience)
    _was_open: bool = False
    _shown_s: float = 0.0

    def __post_init__(self) -> None:
        self._pace = Pace(self.session.params.rate)

    def run(self) -> tuple[Row, ...]:
        """Follows it to its end; gives the rows of the last picture.

        Raises:
            WorkerError: the source cannot be used, or the operation refuses its pictures.
        """
        while True:
            self.report.say("Opening", self.shown)
            try:
                self._open_and_watch()
            except SourceEnded:
                if self.overlay is not None:
                    self.overlay.finish()
                self.report.say("Ended", f"{self.shown} has come to its end.")
                return self.rows
            except SourceVanished as error:
                why = str(error)
            except WorkerError as error:
                if not self._may_come_back(error):
                    raise
                why = f"{error.message} {error.hint}".strip()
            wait_s = self._patience.vanished(self.clock())
            self.report.say("Lost", f"{self.shown}: {why} It is opened again in {wait_s:g} s.")
            self._pace.begin_again()
            self.session.pause()
            self._wait(wait_s)

    def _may_come_back(self, error: WorkerError) -> bool:
        """Whether what is wrong may pass: a source that was there, or one that is waited for."""
        return isinstance(error, _MAY_PASS) and (self._was_open or self.lasting)

    def _open_and_watch(self) -> None:
        source = self.open_source()
        try:
            self._watch(source)
        finally:
            source.close()

    def _watch(self, source: LiveSource) -> None:
        """Looks at picture after picture, until the source raises."""
        is_live, came_at = False, self.clock()
        while True:
            until = self._pace.due_at - self.clock()
            if until > 0:
                self.sleep(min(until, _LOOK_EVERY_S))
                continue
            if not self.report.may_send(_LOOK_EVERY_S):
                continue
            picture = source.newest(_LOOK_EVERY_S)
            if picture is None:
                if is_live and 0 < source.silent_s < self.clock() - came_at:
                    is_live = False
                    self.report.say("Lost", f"{self.shown}: No picture came for {source.silent_s:g} s. It is waited for.")
                continue
            came_at = self.clock()
            began = self.clock()
            looked = self.session.look(picture.image, picture.seconds)
            if not is_live:
                is_live = self._was_open = True
                self.report.say("Live", source.about or self.shown)
            self.rows = looked.rows
            self._pace.looked(picture.number, began, self.clock() + self._shown_s)
            self._patience.came(self.clock())
            self.report.looked(picture, looked, self._pace)
            if self.overlay is not None:
                self._show(self.overlay, picture, looked, source.about or self.shown)

    def _show(self, overlay: Overlay, picture: Picture, looked: Looked, about: str) -> None:
        """Shows it, and says if that does not work, and if it does again. The time it takes counts with the next picture."""
        began, before = self.clock(), overlay.problem
        overlay.show(looked, lambda: self.session.picture(picture.image))
        self._shown_s = self.clock() - began
        if overlay.problem != before:
            self.report.say("Live", f"{self.shown}: {overlay.problem}" if overlay.problem else about)

    def _wait(self, seconds: float) -> None:
        """Waits, and ends with its parent."""
        until = self.clock() + seconds
        while (left := until - self.clock()) > 0:
            self.report.may_send()
            self.sleep(min(left, _LOOK_EVERY_S))
