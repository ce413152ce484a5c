"""Where a file goes when it is copied or moved. The bytes are the business of `worker.files.copying`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from worker.errors import ArgumentError

if TYPE_CHECKING:
    from worker.catalog.copying import Copy, Move

_PLACE = re.compile(r"\{(n|name)\}")


def names_folder(output: str, *, several: bool) -> bool:
    """Whether `output` is a folder by its spelling: it ends in a slash, or names nothing that could tell many files apart.

    >>> names_folder("archive/", several=False), names_folder("archive", several=True), names_folder("take{n}", several=True)
    (True, True, False)
    """
    plain = output.replace("\\", "/")
    return plain.endswith("/") or (several and not _PLACE.search(plain) and not _split(plain)[2])


def target_of(params: Copy | Move, below: str, n: int, *, folder: bool) -> str:
    """The file to write.

    Args:
        params: `output` is a folder, or a pattern for a file's name.
        below: the source, as seen from the folder or the pattern that the job names; of a single file its name.
        n: its number, from 0.
        folder: `output` is a folder.

    Raises:
        ArgumentError: the ending would change.

    >>> from worker.catalog.copying import Copy
    >>> target_of(Copy(source="takes", output="archive"), "day1/a.mov", 0, folder=True)
    'archive/day1/a.mov'
    >>> target_of(Copy(source="takes/*.mov", output="b/{n}-{name}"), "a.mov", 3, folder=False)
    'b/3-a.mov'
    """
    if folder:
        return f"{params.output.replace(chr(92), '/').rstrip('/')}/{below}"
    _, stem, ending = _split(below)
    named = _PLACE.sub(lambda match: str(n) if match[1] == "n" else stem, params.output)
    wanted = _split(re.sub(r"\{name\}$", "", params.output))[2]  # a dot in {name} is no ending
    if not wanted:
        return named + ending
    if wanted.lower() != ending.lower():
        raise ArgumentError(
            f"{stem}{ending} cannot become {''.join(_split(named)[1:])}: a copy keeps its ending, {ending or 'none'}.",
            "The operation convert writes a picture in another format.",
        )
    return named


def _split(path: str) -> tuple[str, str, str]:
    """Folder, name and ending.

    >>> _split("a.b/c.d.png"), _split("a.b/c"), _split(".hidden")
    (('a.b/', 'c.d', '.png'), ('a.b/', 'c', ''), ('', '.hidden', ''))
    """
    above, slash, name = path.replace("\\", "/").rpartition("/")
    stem, dot, ending = name.rpartition(".")
    return (above + slash, stem, dot + ending) if stem and ending else (above + slash, name, "")
