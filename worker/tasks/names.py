"""The names of the files of a batch: patterns filled, checked, and each claimed once."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from worker.errors import ArgumentError
from worker.files.frames import FrameName


def filled(pattern: str, n: int, name: str = "") -> str:
    """The pattern with {n} and {name} replaced in one go, so that a file called `{n}.png` does no harm; other braces stay."""
    return re.sub(r"\{(n|name)\}", lambda match: str(n) if match[1] == "n" else name, pattern)


def path_of(source: str) -> str:
    """The file of an image, which is a file itself or a frame in one."""
    frame = FrameName.of(source)
    return source if frame is None else frame.path


def stem_of(source: str) -> str:
    """What stands for {name}: the name of an image's file, without its folder and ending."""
    return Path(path_of(source)).stem


def check_pattern(operation: str, key: str, pattern: str, several: bool, places: tuple[str, ...], *, what: str = "images") -> None:
    if several and not any(place in pattern for place in places):
        wanted, ending = " or ".join(places), PurePosixPath(pattern).suffix
        fits = re.fullmatch(r"\.[A-Za-z0-9]{2,7}", ending)
        such = f"out/{places[0]}{ending if fits else '.png' if what == 'images' else ''}"
        raise ArgumentError(f"{operation}: {key} names one file for many {what}; put {wanted} into it, such as {such}.")


def claim(targets: dict[str, str], target: str, owner: str) -> None:
    other = targets.setdefault(target, owner)
    if other != owner:
        raise ArgumentError(f"{target} would be written twice: as {other} and as {owner}.", "{n} gives every file a number of its own.")


def identity(path: Path) -> tuple[int, int] | None:
    """Which file it is, under whatever name; None if there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def size_on_disk(path: Path) -> int:
    """How many bytes a file has; 0 if there is none."""
    try:
        return path.stat().st_size
    except OSError:
        return 0


def image_names(sources: Iterable[str]) -> tuple[str, ...]:
    """The images' file names; their whole paths if two of them have the same name."""
    paths = tuple(sources)
    names = tuple(re.split(r"[/\\]", path)[-1] for path in paths)
    return names if len(set(names)) == len(names) else paths
