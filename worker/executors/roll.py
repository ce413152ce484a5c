"""Which nodes a cluster has, and which of them are missed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: A node that is not there any more is named for so long.
MISSED_S = 3600.0


@dataclass(frozen=True, slots=True)
class Nodes:
    """What is known of the cluster.

    Attributes:
        slots: by the address of each node: how many tasks it runs at a time.
        missing: what one of them cannot do, by operation or "operation key=value", each with the reason.
        reason: why there is none, in a sentence; "" if there is one.
        gone: the names of those that were there within `MISSED_S`, and are not now.
    """

    slots: Mapping[str, int]
    missing: Mapping[str, str]
    reason: str = ""
    gone: tuple[str, ...] = ()


class Roll:
    """Who was there, and is missed.

    A node that is started again has another name, because its process id is in it: `render-2-4711`. It takes the place of the one that was
    missed longest on its machine.

    >>> roll = Roll()
    >>> roll.call(["render-1-100", "render-2-200"], 0.0)
    >>> roll.call(["render-1-100"], 10.0)
    >>> roll.names(10.0), roll.names(MISSED_S + 1)
    (('render-2-200',), ())
    >>> roll.call(["render-1-100", "render-2-300"], 20.0)
    >>> roll.names(20.0)
    ()
    """

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self._here: set[str] = set()

    def call(self, names: Iterable[str], now: float) -> None:
        """These are there now."""
        here = set(map(str, names))
        for name in here - self._seen.keys():
            machine = _machine(name)
            gone = [other for other in self._seen if other not in here and _machine(other) == machine]
            if gone:
                del self._seen[min(gone, key=lambda other: self._seen[other])]
        self._seen = {name: at for name, at in self._seen.items() if now - at <= MISSED_S} | dict.fromkeys(here, now)
        self._here = here

    def names(self, now: float) -> tuple[str, ...]:
        """Those that are missed, in alphabetical order."""
        missed = (name for name, at in self._seen.items() if name not in self._here and now - at <= MISSED_S)
        return tuple(sorted(missed))


def _machine(name: str) -> str:
    return re.sub(r"-\d+$", "", name)
