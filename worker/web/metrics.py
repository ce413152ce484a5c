"""What Prometheus reads: jobs by operation and outcome, times, and how the worker is. Nothing here runs in the worker's own thread.

Every figure is read when Prometheus asks; the jobs from what `worker.web.tallies` has counted. This file is imported when it asks for the
first time.
"""

from __future__ import annotations

import contextlib
import itertools
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from worker.web.figures import Figures, serving
from worker.web.tallies import BUCKETS, Tallies

PREFIX: Final = "td_image_worker_"
#: How long a request waits for the free space of the disks. If it takes longer, the next one gets it.
LOOK_WITHIN_S: Final = 0.05
#: The journal's further files end so.
_BESIDE_JOURNAL: Final = ("-wal", "-commits-1", "-commits-2")


class Metrics:
    """See the module's docstring.

    Args:
        version: of the worker.
        workers: how many children serve.
        tallies: what was counted of all jobs.
        levels: the status word of the worker, and its numbers by name.
        figures: reads the worker's counters; may be called from any thread.
        folders: whose free space is shown.
        journal: the file of the journal; None without one.
    """

    def __init__(
        self,
        version: str,
        *,
        workers: int,
        tallies: Tallies,
        levels: Callable[[], tuple[str, Mapping[str, float]]],
        figures: Callable[[], Figures],
        folders: Sequence[Path] = (),
        journal: Path | None = None,
    ) -> None:
        self._version = version
        self._workers = workers
        self._tallies = tallies
        self._levels = levels
        self._figures = figures
        self._space = _Space(folders, journal)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._registry.register(_Read(self._families))

    def text(self, accept: str) -> tuple[bytes, str]:
        """Everything in the form that Prometheus wants, and its content type.

        Args:
            accept: the header of the request.
        """
        encode, content_type = choose_encoder(accept)
        self._space.look()
        return encode(self._registry), content_type

    def _jobs(self) -> Iterator[Metric]:
        ended = {key: float(count) for key, count in self._tallies.ended.items()}
        yield _counter("jobs", "Jobs that ended.", {("operation", "outcome"): ended})
        texts = ("From acceptance to the start of the last attempt.", "The last attempt.", "From acceptance to the end, over all attempts.")
        for number, (name, text) in enumerate(zip(("wait", "run", "round_trip"), texts, strict=True)):
            family = HistogramMetricFamily(f"{PREFIX}job_{name}_seconds", text, labels=("operation",))
            for operation, times in self._tallies.times.items():
                one = times[number]
                sums = [float(count) for count in itertools.accumulate(one.counts)]
                family.add_metric((operation,), list(zip(_BOUNDS, sums, strict=True)), one.total_s)
            yield family

    def _families(self) -> Iterator[Metric]:
        figures, (word, levels) = self._figures(), self._levels()
        yield from self._jobs()
        yield _gauge("info", "The version of the worker.", {("version",): {(self._version,): 1}})
        yield _gauge("status", "1 for the status word that holds, 0 for the others.", {("word",): _one_of(_WORDS, word)})
        for name, text in _LEVELS.items():
            if name in levels:
                yield _gauge(_NAMES.get(name, name), text, levels[name])
        if figures.children is not None:
            serve, busy = serving(figures.children, self._workers)
            states = {("busy",): busy, ("free",): serve - busy}
            yield _gauge("children_wanted", "Child processes that serve, if all are well; a spare one is not counted.", self._workers)
            yield _gauge("children", "Child processes that serve, by what they do; a spare one is not counted.", {("state",): states})
        yield _counter("children_ended", "Child processes that ended while the worker ran, and were replaced.", figures.children_ended)
        yield _counter("packets_received", "Datagrams that came to the OSC port.", figures.packets_in)
        yield _counter("received_bytes", "Bytes of these.", figures.bytes_in)
        yield _counter("packets_sent", "Datagrams that were sent.", figures.packets_out)
        yield _counter("sent_bytes", "Bytes of these.", figures.bytes_out)
        dropped = {(reason,): count for reason, count in figures.dropped.items()}
        yield _counter("packets_dropped", "Datagrams that were not read, by reason.", {("reason",): dropped})
        yield _gauge(
            "disk_free_bytes", "Free space where jobs read and write.", {("folder",): {(one,): n for one, n in self._space.free.items()}}
        )
        yield _gauge("journal_bytes", "Size of the journal; 0 without one.", self._space.journal_bytes)
        yield _gauge("journal_storing", "0 while the journal cannot be written, otherwise 1.", float(word != "NotStoring"))


_BOUNDS: Final = [*map(floatToGoString, BUCKETS), "+Inf"]
#: Of protocol.md.
_WORDS: Final = ("Starting", "Ready", "Processing", "NotStoring", "Draining", "Stopping")
_LEVELS: Final = {
    "queued": "Jobs that wait.",
    "running": "Jobs that run.",
    "canary_s": "Seconds since a child process last showed that it works.",
    "beat": "Seconds since the start.",
    "nodes": "Machines of the cluster that work for this worker.",
    "node_slots": "How many tasks these machines run at a time.",
}
_NAMES: Final = {"queued": "jobs_queued", "running": "jobs_running", "canary_s": "canary_age_seconds", "beat": "uptime_seconds"}

_Values = float | Mapping[tuple[str, ...], Mapping[Any, float]]


def _gauge(name: str, text: str, values: _Values) -> Metric:
    return _filled(GaugeMetricFamily, name, text, values)


def _counter(name: str, text: str, values: _Values) -> Metric:
    return _filled(CounterMetricFamily, name, text, values)


def _filled(family: Any, name: str, text: str, values: _Values) -> Metric:
    if not isinstance(values, Mapping):
        one: Metric = family(PREFIX + name, text, value=values)
        return one
    [(labels, samples)] = values.items()
    several = family(PREFIX + name, text, labels=labels)
    for sample, value in samples.items():
        several.add_metric(sample, value)
    found: Metric = several
    return found


def _one_of(words: Sequence[str], word: str) -> dict[tuple[str], float]:
    return {(one,): float(one == word) for one in words}


class _Read(Collector):
    """Reads figures when they are asked for."""

    def __init__(self, families: Callable[[], Iterator[Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """All families, by the name that the library gives this."""
        return self._families()


class _Space:
    """How much room there is, as a thread of its own has seen it last: a network drive that does not answer must not stop the server."""

    def __init__(self, folders: Sequence[Path], journal: Path | None) -> None:
        self._folders = folders
        self._journal = journal
        self._looking: threading.Thread | None = None
        self.free: dict[str, float] = {}
        self.journal_bytes = 0.0
        self.look()

    def look(self) -> None:
        """Looks again, if the last look has ended. What it finds is there at the next time at the latest."""
        if self._looking is None or not self._looking.is_alive():
            self._looking = threading.Thread(target=self._look, name="free-space", daemon=True)
            self._looking.start()
            self._looking.join(LOOK_WITHIN_S)

    def _look(self) -> None:
        for folder in self._folders:
            with contextlib.suppress(OSError):
                self.free[str(folder)] = float(shutil.disk_usage(folder).free)
        if self._journal is not None:
            beside = (self._journal.with_name(self._journal.name + ending) for ending in _BESIDE_JOURNAL)
            self.journal_bytes = float(sum(map(_size, (self._journal, *beside))))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
