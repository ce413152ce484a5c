"""Phrases that several packages share."""

from __future__ import annotations

import functools
import heapq
import itertools
from collections.abc import Iterable

#: The names among which one is looked for, and those that are compared letter by letter.
_MOST = 1000
_COMPARED = 8
_LONGEST = 100


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6, count: int = 1) -> list[str]:
    """The known names that look most like this one, at most `count`. Cheap, because it may be asked for by everybody who sends.

    Those that share most pairs of letters with it are compared as a whole: Ratcliff and Obershelp's ratio, of at least `cutoff`.
    """
    import difflib  # only here: most programs make no mistake

    name = name[:_LONGEST]
    candidates = list(itertools.islice(known, _MOST))
    if len(candidates) > _COMPARED:
        pairs = _pairs(name)
        candidates = heapq.nlargest(_COMPARED, candidates, key=lambda other: len(pairs & _pairs(other)) / (len(pairs) + len(_pairs(other))))
    return difflib.get_close_matches(name, candidates, n=count, cutoff=cutoff)


@functools.lru_cache(2 * _MOST)
def _pairs(name: str) -> frozenset[str]:
    """Its neighbouring letters, with its beginning and its end."""
    whole = f" {name[:_LONGEST]} "
    return frozenset(map("".join, itertools.pairwise(whole)))


def composed(name: str) -> str:
    r"""The name in the Unicode form NFC. A Mac stores ä as a and two dots (NFD), a keyboard sends one character.

    >>> composed("a\u0308.png") == "ä.png"
    True
    """
    if name.isascii():
        return name
    import unicodedata  # its tables are large, and most names need none

    return unicodedata.normalize("NFC", name)


def counted(count: int, noun: str) -> str:
    """A number of things, in words.

    >>> counted(1, "job"), counted(12_000, "job")
    ('1 job', '12,000 jobs')
    """
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", *, cutoff: float = 0.6, count: int = 1) -> str:
    """The end of a sentence about a name that is not known.

    >>> did_you_mean("find_circle", ["find_circles", "convert"])
    'did you mean find_circles?'
    >>> did_you_mean("zzz", ["a", "b"], "known are a and b.")
    'known are a and b.'
    """
    near = nearest(name, known, cutoff=cutoff, count=count)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
