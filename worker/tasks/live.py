"""A live job: how it opens its source and searches pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from worker.catalog.catalog import Catalog
from worker.catalog.live import SourceName
from worker.catalog.parse import parse_pairs, settings_of
from worker.core.jobs import Failure, Outcome, Result, Task
from worker.errors import ArgumentError, WorkerError
from worker.executors import framing
from worker.files.frames import ENDING
from worker.files.limits import NO_LIMITS
from worker.files.paths import FileRules
from worker.tasks.names import identity

if TYPE_CHECKING:
    from worker.executors.live_child import Mouth
    from worker.pictures.pixels import Image
    from worker.tracking.loop import Report
    from worker.tracking.overlay import Overlay
    from worker.tracking.session import Looked, Pace, Row, Session
    from worker.tracking.sources import LiveSource, Picture


class LiveJob:
    """One live job: how it opens its source and searches pictures."""

    def __init__(self, rules: FileRules, catalog: Catalog, functions: Any, task: Task, source: SourceName) -> None:
        params: Any = task.params
        self.rules, self.task, self.source, self.params = rules, task, source, params
        self.info, self.live = catalog.find(task.operation), functions[task.operation]
        self.searcher = next(row for row in catalog.values() if row.followed and row.followed == params.what)
        self.detector = functions[self.searcher.name]
        pairs = [("image", "-"), *settings_of(self.info.name, params.settings)]
        self.search, _ = parse_pairs(self.searcher.name, self.searcher.params, pairs)
        self.limits = NO_LIMITS if rules.unrestricted else rules.limits
        self.lens = self._file(params.lens)
        self.overlay = self._to_write(getattr(params, "overlay", ""))
        self.references = {name: self._file(getattr(self.search, name)) for name in self.detector.references}

    def _file(self, text: str) -> Path | None:
        """What a parameter names. The sentence for one that is missing comes when it is read."""
        try:
            return self.rules.to_read_file(text) if text else None
        except WorkerError:
            return Path(text)

    def _to_write(self, text: str) -> Path | None:
        """Where the overlay goes; None for nowhere, or where it may not go, which `rows` says."""
        try:
            return self.rules.to_write(text, "an image") if text else None
        except WorkerError:
            return None

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that it reads beside its source."""
        return tuple(path for path in (self.lens, *self.references.values()) if path is not None and path.is_file())

    def run(self, mouth: Mouth) -> Outcome:
        """Follows the source to its end, and tells `mouth` what it sees."""
        try:
            rows = self.rows(_Reports(mouth, self.task.id))
        except WorkerError as error:
            return Failure.of(error)
        return Result(self.info.kind, self.info.fields, rows)

    def rows(self, report: Report) -> tuple[Row, ...]:
        """As `run`; gives the rows of the last picture, and raises what went wrong."""
        from worker.tracking import loop

        self.live.check(self.params)
        self.detector.check(self.search)
        session, overlay = self._session(), self._overlay()
        return loop.Loop(self._opened, session, report, self.source.shown, self.source.kind != "file", overlay).run()

    def _overlay(self) -> Overlay | None:
        from worker.pictures.images import check_ending, write_image
        from worker.tracking.overlay import IMAGES_EVERY_S, Overlay

        text = self.params.overlay
        if not text:
            return None
        path = self.rules.to_write(text, "an image")
        check_ending(path)
        if self.source.needs & {"network"} and path.parent in self.rules.resolved_roots:
            raise ArgumentError(
                "The overlay of a source on the network goes into a folder of its own: its process may read and write what is there.",
                f"Name it live/{path.name}, with frame: before it if it is a frame.",
            )
        params, fields = self.params, self.info.fields

        def write(canvas: Image) -> None:
            write_image(path, canvas, limits=self.limits)

        return Overlay(
            fields,
            lambda canvas, rows, trails: self.live.draw(params, canvas, fields, rows, trails),
            write,
            0.0 if path.suffix.lower() == ENDING else IMAGES_EVERY_S,
        )

    def _apart(self, paths: Iterable[Path]) -> None:
        """Raises ArgumentError if the overlay would be written over one of these, the source."""
        if self.overlay is not None and identity(self.overlay) in {identity(path) for path in paths} - {None}:
            raise ArgumentError(
                f"{self.info.name} would write the overlay over its own source, {self.source.shown}.", "Choose another name or folder."
            )

    def _session(self) -> Session:
        from worker.files.whole import read_bytes
        from worker.pictures.images import read_image
        from worker.tracking.session import Session

        limits, params = self.limits, self.params
        lens = read_bytes(self.rules.to_read_file(params.lens), limits) if params.lens else None
        held = {field.name: field.holds for field in self.searcher.parameters}
        references: dict[str, Any] = {}
        for name in self.detector.references:
            text = getattr(self.search, name)
            read: Callable[..., Any] = read_bytes if held[name] == "bytes" else read_image
            references[name] = read(self.rules.to_read_file(text), limits=limits) if text else None
        before = self.detector.previous if self.detector.previous and references[self.detector.previous] is None else ""

        def find(image: Any) -> Any:
            if before and references[before] is not None and references[before].shape != image.shape:
                references[before] = None  # the source has another size now
            found = self.detector.find(image, *references.values(), self.search)
            if before:
                references[before] = image
            return getattr(found, "rows", found)

        return Session(
            params,
            lambda size: self.live.view(params, size, lens),
            lambda rows: self.live.places(rows, self.searcher.fields),
            find,
            self.info.fields,
            self.task.next_id,
        )

    def _opened(self) -> LiveSource:
        from worker.pictures.images import readable_endings
        from worker.tracking import sources

        params, limits, text = self.params, self.limits, self.source.text
        match self.source.kind:
            case "frame":
                path = self.rules.to_read_file(text)
                self._apart((path,))
                return sources.Frames(path, self.source.shown, limits, silent_s=params.silent_s)
            case "stream":
                from worker.tracking import streams

                return streams.stream(text, limits, silent_s=params.silent_s)
            case "ndi":
                from worker.tracking import ndi

                return ndi.ndi(text, limits, silent_s=params.silent_s)
            case "camera":
                return sources.camera(int(text), limits, silent_s=params.silent_s)
            case "file":
                if Path(text).suffix.lower() not in readable_endings() and self.rules.folder_of(text) is None:
                    path = self.rules.to_read_file(text)
                    self._apart((path,))
                    return sources.video_file(path, limits, speed=params.speed, loop=params.loop)
                paths = self.rules.to_read_all(text, readable_endings()).paths
                self._apart(paths)
                return sources.image_series(paths, limits, fps=params.fps, speed=params.speed, loop=params.loop)


class Nobody:
    """Hears nothing of a live job."""

    def may_send(self, wait_s: float = 0.0) -> bool:  # noqa: ARG002 - as others
        return True

    def looked(self, picture: Picture, looked: Looked, pace: Pace) -> None:
        """Nothing."""

    def say(self, word: str, message: str) -> None:
        """Nothing."""


class _Reports:
    """What a live job says, as frames for the parent."""

    def __init__(self, mouth: Mouth, number: int) -> None:
        self._mouth = mouth
        self._number = number

    def may_send(self, wait_s: float = 0.0) -> bool:
        return self._mouth.may_send(wait_s)

    def looked(self, picture: Picture, looked: Looked, pace: Pace) -> None:
        frame = min(picture.number, 2**31 - 1)
        self._mouth.send(
            framing.Looked(
                *(self._number, frame, picture.taken_at, min(pace.ratio, 1e6), min(pace.per_second, 1e6)),
                *(looked.next_id, looked.size, looked.rows, looked.count),
            )
        )

    def say(self, word: str, message: str) -> None:
        self._mouth.say(word, message)
