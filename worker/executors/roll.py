"""Which nodes a cluster has, and which of them are missed."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.executors.dask import INFORMATION, differences

log = logging.getLogger(__name__)

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


class Attendance:
    """Which workers of Dask there are, and which of them are nodes of ours. What is new and strange about one goes to the log.

    Args:
        address: of the scheduler.
        resource: nodes of ours have some of it.
        versions: of what works here, as `dask.versions` says them.
    """

    def __init__(self, address: str, resource: str, versions: str) -> None:
        self._address = address
        self._versions = versions
        self._resource = resource
        self._roll = Roll()
        self._known: set[str] = set()

    def begin(self) -> None:
        """The connection is new."""
        self._known = set()

    def nobody(self, reason: str, now: float) -> Nodes:
        """There is none, for a reason."""
        self._roll.call((), now)
        return Nodes({}, {}, reason, self._roll.names(now))

    def count(self, workers: Mapping[str, Mapping[str, Any]], now: float) -> Nodes:
        """These are there, by their addresses, as the scheduler knows them."""
        slots: dict[str, int] = {}
        missing: dict[str, str] = {}
        for address, worker in workers.items():
            about = worker.get(INFORMATION)
            count = int(worker.get("resources", {}).get(self._resource, 0))
            if count:
                slots[address] = count
                missing.update(about["missing"] if about else {})
            if address not in self._known:
                self._introduce(address, count, about)
        for address in self._known - workers.keys():
            log.warning("the node %s has left the cluster", address)
        self._known = set(workers)
        reason = (
            "" if slots else f"The cluster {self._address} has no node that takes our tasks; start `td-image-worker node` on its machines."
        )
        self._roll.call([worker["name"] for address, worker in workers.items() if address in slots], now)
        return Nodes(slots, missing, reason, self._roll.names(now))

    def _introduce(self, address: str, count: int, about: Mapping[str, Any] | None) -> None:
        """Before it gets its first task."""
        if about is None:
            log.warning("%s is a worker of Dask, and no node of ours: it gets no task. Start `td-image-worker node` there.", address)
        elif not count:
            log.error("the node %s has version %s of the worker, which does not fit ours: it gets no task", address, about["version"])
        elif others := differences(about["versions"], self._versions):
            log.warning(
                "the node %s has %d slots and other versions than this worker: %s. Its pictures may differ.", address, count, others
            )
        else:
            log.info("the node %s has %d slots; %s", address, count, about["versions"])
