"""Which files a job may touch, and how the sender's spelling of a path becomes ours and back.

Every decision about a path is made here, and nowhere else. No numpy and no cv2: the parent process may ask, too.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from worker.errors import ArgumentError, MissingFile, PathError, UnsupportedFormat

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_WILDCARDS = re.compile(r"[*?\[]")
_DRIVE = re.compile(r"[A-Za-z]:(/|$)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_VIDEO = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".mxf"})


@dataclass(frozen=True, slots=True)
class Inputs:
    """The image files that a parameter names, in natural order. `several` is true for a folder and a pattern, also of one file."""

    paths: tuple[Path, ...]
    several: bool


@dataclass(frozen=True)
class FileRules:
    """What the worker may read and write, and the maps between the sender's paths and ours.

    Attributes:
        roots: the folders (`--root`) that jobs may read and write. Relative paths start at the first one.
        read_roots: further folders that jobs may only read.
        maps: pairs of a prefix as the sender spells it and as it is called here (`--map C:/show=/data`).
        unrestricted: for the local `run`, where the user's own rights are the only limit.
    """

    roots: tuple[Path, ...]
    read_roots: tuple[Path, ...] = ()
    maps: tuple[tuple[str, str], ...] = ()
    unrestricted: bool = False

    def to_read(self, text: str) -> Path:
        """The absolute path, free of links, that `text` names for reading; it need not exist.

        Raises:
            ArgumentError: `text` is empty or holds control characters.
            PathError: the path leads out of the roots.
        """
        return self._checked(text, (*self._roots, *self._read_roots), "read")

    def to_write(self, text: str) -> Path:
        """The absolute path, free of links, that `text` names for writing; it need not exist. Raises as `to_read`."""
        return self._checked(text, self._roots, "written")

    def to_read_all(self, text: str, endings: Collection[str]) -> Inputs:
        """The image files that `text` names: one file, those in a folder, or those that match a pattern.

        In folders and patterns only files with one of the `endings` (lower case, with the dot) count; hidden and unfinished
        (`.part`) files do not. `shots/img2.png` comes before `shots/img10.png`.

        Raises:
            ArgumentError, PathError: as `to_read`, for each file.
            MissingFile: nothing matches.
            UnsupportedFormat: `text` names a video.
        """
        spelled = _plain(text)
        if Path(spelled).suffix.lower() in _VIDEO:
            raise UnsupportedFormat(f"{text} is a video; this version reads single images only.", "Write its frames to a folder first.")
        found = _pattern_matches(self, spelled)
        if found is None:
            path = self.to_read(spelled)
            if not path.is_dir():
                return Inputs((path,), several=False)
            found = path.iterdir()
        images = sorted((path for path in found if _is_image(path, endings)), key=_natural)
        if not images:
            raise MissingFile(f"No image matches {text}.", "Images end in " + " ".join(sorted(endings)) + ".")
        return Inputs(tuple(self.to_read(self.spell(path)) for path in images), several=True)

    def spell(self, path: Path) -> str:
        """The path as the sender spells it, with forward slashes. `to_read` of it gives the path again."""
        text = path.as_posix()
        for sender, worker in self._maps_by(1):
            rest = _below(text, worker)
            if rest is not None:
                return sender + rest
        return text

    def _checked(self, text: str, roots: tuple[Path, ...], done: str) -> Path:
        path = self._translated(_plain(text))
        if not path.is_absolute():
            path = self._start / path
        path = Path(os.path.realpath(path))
        if self.unrestricted or any(path.is_relative_to(root) for root in roots):
            return path
        raise PathError(f"{text} lies outside the folders in which files may be {done}.", "The worker's --root names these folders.")

    def _translated(self, spelled: str) -> Path:
        for sender, worker in self._maps_by(0):
            rest = _below(spelled, sender)
            if rest is not None:
                return Path(worker + rest)
        if _DRIVE.match(spelled) and os.name != "nt":
            raise PathError(f"{spelled} is a path of another machine.", "Start the worker with --map, for example --map C:/show=/data.")
        return Path(spelled)

    def _maps_by(self, side: int) -> list[tuple[str, str]]:
        """The maps, the longest prefix first, so that the most special one wins."""
        plain = [(_prefix(sender), _prefix(worker)) for sender, worker in self.maps]
        return sorted(plain, key=lambda pair: len(pair[side]), reverse=True)

    @property
    def _start(self) -> Path:
        if self._roots:
            return self._roots[0]
        if self.unrestricted:
            return Path.cwd()
        raise PathError("This worker may not touch any file.", "Start the worker with --root FOLDER.")

    @cached_property
    def _roots(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(root)) for root in self.roots)

    @cached_property
    def _read_roots(self) -> tuple[Path, ...]:
        return tuple(Path(os.path.realpath(root)) for root in self.read_roots)


def _plain(text: str) -> str:
    """The path with forward slashes, once it is known to be speakable."""
    if not text:
        raise ArgumentError("A path is empty.")
    if _CONTROL.search(text):
        raise ArgumentError(f"The path {text[:80]!r} holds control characters.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ArgumentError(f"The path {text[:80]!a} is not valid Unicode.") from None
    return text.replace("\\", "/")


def _prefix(text: str) -> str:
    return text.replace("\\", "/").rstrip("/")


def _below(text: str, prefix: str) -> str | None:
    """What follows `prefix` in `text`, from the slash on; None if `text` is not below it. Drive letters have no case."""
    head, rest = text[: len(prefix)], text[len(prefix) :]
    same = head.casefold() == prefix.casefold() if _DRIVE.match(prefix) else head == prefix
    return rest if same and (not rest or rest.startswith("/")) else None


def _pattern_matches(rules: FileRules, spelled: str) -> Iterator[Path] | None:
    """The files that match a pattern; None if `spelled` is a plain path. A file whose name holds brackets is a plain path."""
    if not _WILDCARDS.search(spelled) or rules.to_read(spelled).exists():
        return None
    parts = spelled.split("/")
    first = next(index for index, part in enumerate(parts) if _WILDCARDS.search(part))
    if ".." in parts[first:]:
        raise ArgumentError(f"The pattern {spelled} has '..' after its first wildcard.")
    folder = rules.to_read("/".join(parts[:first]) or ("/" if first else "."))
    try:
        return iter(list(folder.glob("/".join(parts[first:]))))
    except (ValueError, NotImplementedError) as error:
        raise ArgumentError(f"The pattern {spelled} cannot be used: {error}.") from None


def _is_image(path: Path, endings: Collection[str]) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in endings and path.is_file()


def _natural(path: Path) -> list[tuple[list[tuple[int, str]], str]]:
    """Sorts img2 before img10, in every part of the path; of two names that differ in case only, the same comes first always."""
    return [([_number_or_word(piece) for piece in re.split(r"([0-9]+)", part.casefold())], part) for part in path.parts]


def _number_or_word(piece: str) -> tuple[int, str]:
    return (int(piece), "") if piece.isascii() and piece.isdigit() else (-1, piece)
