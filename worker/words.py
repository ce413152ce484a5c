"""Words that several rooms say in the same way."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], *, cutoff: float = 0.6, count: int = 1) -> list[str]:
    """The known names that look most like this one, at most `count`."""
    import difflib  # only here: most programs make no mistake

    return difflib.get_close_matches(name, list(known), n=count, cutoff=cutoff)


def did_you_mean(name: str, known: Iterable[str], otherwise: str = "", *, cutoff: float = 0.6, count: int = 1) -> str:
    """The end of a sentence about a name that is not known.

    >>> did_you_mean("find_circle", ["find_circles", "convert"])
    'did you mean find_circles?'
    >>> did_you_mean("zzz", ["a", "b"], "known are a and b.")
    'known are a and b.'
    """
    near = nearest(name, known, cutoff=cutoff, count=count)
    return f"did you mean {' or '.join(near)}?" if near else otherwise
