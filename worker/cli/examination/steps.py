"""What the doctor finds: one step after the other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from worker.config import Config


class Mark(StrEnum):
    OK = "ok"
    NOTE = "note"
    BROKEN = "BROKEN"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the table.

    Attributes:
        name: what was examined.
        mark: how it went; a note is worth a change and breaks nothing.
        seen: what was seen.
        change: what to change.
    """

    name: str
    mark: Mark
    seen: str
    change: str = ""


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be examined.

    Attributes:
        config: the settings, as `serve` would have them here.
        file: the settings file, if there is one.
        problem: what is wrong with the settings file, "" if nothing is.
        docker: the worker runs in a container.
        inside: and so do we.
    """

    config: Config
    file: Path | None = None
    problem: str = ""
    docker: bool = False
    inside: bool = False

    @property
    def where(self) -> str:
        """The worker's address."""
        return f"{self.config.host}:{self.config.port}"
