"""How the names of files are spelled: their order, the stored name that was meant, and similar names."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from worker.files import handles
from worker.words import composed

#: How many similar names an error message offers.
MAX_NEAR = 3

#: How many folders are looked into for one name; somebody could make very many that differ in case only.
_MOST_FOLDERS = 100

#: Control characters, and bytes of a name that are no UTF-8 as Python spells them.
_UNSENT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

#: Two names with the same form are the same name, written in another way.
Form = Callable[[str], str]


def natural(parts: Iterable[str]) -> list[tuple[list[tuple[int, str]], str]]:
    """A key that sorts the parts of a path as people count: img2 before img10. A and a stand together.

    >>> sorted(["img10.png", "IMG2.png", "img1.png"], key=lambda name: natural([name]))
    ['img1.png', 'IMG2.png', 'img10.png']
    """
    return [([_number_or_word(piece) for piece in re.split(r"([0-9]+)", part.casefold())], part) for part in parts]


def _number_or_word(piece: str) -> tuple[int, str]:
    return (int(piece), "") if piece.isascii() and piece.isdigit() else (-1, piece)


def without_case(name: str) -> str:
    r"""The name in one case and one Unicode form.

    >>> without_case("A\u0308.PNG")
    'ä.png'
    """
    return composed(composed(name).casefold())


def as_stored(folder: Path, names: Iterable[str], forms: tuple[Form, ...]) -> Path:
    """The path below `folder` in which each missing name is replaced by the one stored name of the same form.

    The forms are tried in order. If several stored names have the same form, the name stays as it is; but if only one of them leads to
    all that follows, it is the one. Folders behind links are not listed: a link may lead anywhere.

    Args:
        folder: absolute, and free of links.
        names: what follows in the path, without "..".
        forms: for example `composed`.
    """
    names = [*names]
    path = folder
    for name in names:
        path /= name if os.path.lexists(path / name) else _stored_name(path, name, forms)
    if os.path.lexists(path):
        return path
    found = [*itertools.islice(_all_stored(folder, [*map(forms[-1], names)], forms[-1], iter(range(_MOST_FOLDERS))), 2)]
    return found[0] if len(found) == 1 else path


def _all_stored(folder: Path, wanted: list[str], form: Form, left: Iterator[int]) -> Iterator[Path]:
    """All stored paths of which the names have these forms; `left` gives one number for each folder that may still be looked into."""
    if not wanted:
        yield folder
    elif next(left, None) is not None:
        for other in _listed(folder):
            if form(other) == wanted[0]:
                yield from _all_stored(folder / other, wanted[1:], form, left)


def _stored_name(folder: Path, name: str, forms: tuple[Form, ...]) -> str:
    stored = _listed(folder)
    for form in forms:
        wanted = form(name)
        same = [other for other in stored if form(other) == wanted]
        if same:
            return same[0] if len(same) == 1 else name
    return name


def near(folder: Path, name: str) -> tuple[str, ...]:
    """Other visible names in a folder that look like `name` and can be sent, the most similar first; at most `MAX_NEAR`."""
    import difflib  # only for a name that is wrong

    others = [other for other in _listed(folder) if not other.startswith(".") and other != name and not _UNSENT.search(other)]
    forms: dict[str, list[str]] = {}
    for other in sorted(others):
        forms.setdefault(without_case(other), []).append(other)
    found = difflib.get_close_matches(without_case(name), forms, n=MAX_NEAR)
    return tuple(other for form in found for other in forms[form])[:MAX_NEAR]


def _listed(folder: Path) -> list[str]:
    try:
        return [name for name, _ in handles.entries(folder)]
    except OSError:  # not there, behind a link, or not ours to read
        return []
