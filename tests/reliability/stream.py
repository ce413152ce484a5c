"""A stream that is cut off again and again, followed by `track`. Run as `python -m tests.reliability.stream --minutes 10`.

    python -m tests.reliability.stream --minutes 10                 over HTTP, then over RTSP, if their programs are installed
    python -m tests.reliability.stream --minutes 2 --over http --cuts 3

Programs that are not ours send a film whose circles each keep to a lane, so that places say which circle has which id. They are killed in
the middle, and started again after a while. An id is one circle for ever. A circle has one id from the moment at which a stream is there to
the one at which it is cut. Ids that are gone never come back. Memory and handles of the worker and of the job's process are compared
between the second connection and the last. On Debian: `apt-get install ffmpeg rtsp-server-perl`.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.ports import free_port
from tests.reliability import running, streams
from worker.catalog.table import CATALOG
from worker.protocol import osc
from worker.protocol.messages import Failed, Hello, Job, Ready, Source, Tracked

FIELDS = CATALOG.find("track").fields
ID, Y, ACTIVE, MISSING = (FIELDS.index(name) for name in ("id", "y", "active", "missing"))
#: Nothing that is waited for may take longer.
PATIENCE_S = 90.0
#: If so many pictures are left out at once, the machine stood still for so long that nobody can say who is who; that is as a cut.
STANDSTILL = round(1.5 * streams.FPS)
#: A source is taken for gone after so long.
SILENT_S = 3
#: How much larger something may be at the last connection than at the second.
ALLOWED_GROWTH = {"parent_mb": 1.05, "child_mb": 1.10, "parent_handles": 1.0, "child_handles": 1.0, "processes": 1.0}


class WrongIds(AssertionError):
    """An id is not what it should be."""


@dataclass
class Ids:
    """Which circle has which id, over all connections."""

    lane_of: dict[int, int] = field(default_factory=dict)
    now: dict[int, int] = field(default_factory=dict)  # lane to id, in this connection
    gone: set[int] = field(default_factory=set)

    def connected(self) -> None:
        """A new connection: circles may have moved on, so a new id for one is right."""
        self.now = {}

    def heard(self, rows: list[tuple[float, ...]]) -> None:
        """All rows of a picture.

        Raises:
            WrongIds: one of the rules of this module's docstring is broken.
        """
        active = [row for row in rows if row[ACTIVE]]
        there = {int(row[ID]) for row in active}
        if back := there & self.gone:
            raise WrongIds(f"{back} were gone, and are there again")
        self.gone |= self.lane_of.keys() - there
        for number, lane in [(int(row[ID]), streams.lane_of(row[Y])) for row in active if not row[MISSING]]:
            if self.lane_of.setdefault(number, lane) != lane:
                raise WrongIds(f"id {number} was circle {self.lane_of[number]}, and is circle {lane} now")
            if self.now.setdefault(lane, number) != number:
                raise WrongIds(f"circle {lane} was {self.now[lane]}, and is {number} now, with no cut between them")


@dataclass(frozen=True)
class Connection:
    """What was measured at the end of a connection."""

    opened_after_s: float
    pictures: int
    ids: int
    standstills: int
    parent_mb: float
    child_mb: float
    parent_handles: int
    child_handles: int
    processes: int


class Follower:
    """A client that starts one live job and listens."""

    def __init__(self, port: int, url: str) -> None:
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.connect(("127.0.0.1", port))
        self._udp.settimeout(0.2)
        self._greeted_at = 0.0
        self._rows: list[tuple[float, ...]] = []
        self.ids = Ids()
        self.pictures = 0
        self.standstills = 0
        self._number = 0
        self.words: list[str] = []
        self._greet()
        pairs = ("source", url), ("name", "film"), ("distance", 80.0), ("silent_s", float(SILENT_S))
        self._udp.send(osc.encode(Job("film", "track", pairs)))

    def close(self) -> None:
        self._udp.close()

    def has_seen_all(self, pictures: int) -> bool:
        """Whether so many pictures came, over all connections, and each circle was in one since the last cut."""
        return self.pictures > pictures and len(self.ids.now) == len(streams.RADII)

    def until(self, done: Callable[[], bool], least_s: float = 0.0) -> float:
        """Listens until it is so, and so long at least; gives the seconds that it took until it was so first.

        Raises:
            TimeoutError: it never was.
        """
        began, met = time.monotonic(), None
        while True:
            elapsed = time.monotonic() - began
            met = elapsed if met is None and done() else met
            if met is not None and elapsed >= least_s:
                return met
            if met is None and elapsed > max(PATIENCE_S, least_s):
                raise TimeoutError(f"the last word on the source: {self.words[-1:]}")
            self._listen()

    def _greet(self) -> None:
        if time.monotonic() - self._greeted_at > 3:
            self._udp.send(osc.encode(Hello("stream", 0, 0)))
            self._greeted_at = time.monotonic()

    def _listen(self) -> None:
        self._greet()
        with contextlib.suppress(TimeoutError, ConnectionRefusedError):
            for report in osc.decode_reports(self._udp.recv(65_535)):
                match report:
                    case Tracked():
                        self._tracked(report)
                    case Source(word=word, message=message):
                        self.words.append(f"{word}: {message}")
                    case Ready() | Failed():
                        raise RuntimeError(f"the job ended: {report}")
                    case _:
                        pass

    def _tracked(self, report: Tracked) -> None:
        numbers, width = report.numbers, report.fields
        if report.chunk == 0:
            self._rows = []
            if report.frame > self._number + STANDSTILL:
                self.standstills += 1
                self.ids.connected()
            self._number = report.frame
        self._rows += [tuple(numbers[place : place + width]) for place in range(0, len(numbers), width)]
        if report.chunk == report.chunks - 1:
            self.pictures += 1
            self.ids.heard(self._rows)


def measured(worker: psutil.Process, port: int, opened_after_s: float, counts: tuple[int, int, int]) -> Connection:
    """The worker and its processes now. The job's own process is the one that has a connection to the stream's port."""
    children = worker.children()
    (child,) = [one for one in children if any(link.raddr and link.raddr.port == port for link in one.net_connections("tcp"))]
    handles = psutil.Process.num_handles if sys.platform == "win32" else psutil.Process.num_fds
    return Connection(
        round(opened_after_s, 1),
        *counts,
        *(round(worker.memory_info().rss / 2**20, 1), round(child.memory_info().rss / 2**20, 1)),
        *(handles(worker), handles(child), len(children)),
    )


def follow(stream: streams.Stream, root: Path, cuts: int, on_s: float, off_s: float) -> Iterator[Connection]:
    """Starts a worker and lets it follow the stream, which is cut so often.

    Args:
        stream: already entered.
        root: an empty folder.
        cuts: how often.
        on_s: how long it is there each time, in seconds, at least.
        off_s: how long it is away, at least.
    """
    port = free_port()
    process = running.start(port, root, "--state", str(root / "state"), "--live-host", "127.0.0.1", "--workers", "1")
    try:
        running.wait_until_it_answers(port)
        stream.on()
        follower = Follower(port, stream.url)
        with contextlib.closing(follower):
            for number in range(cuts + 1):
                before = follower.pictures
                follower.ids.connected()
                opened = follower.until(lambda before=before: follower.has_seen_all(before + 10), on_s)
                counts = follower.pictures - before, len(follower.ids.lane_of), follower.standstills
                yield measured(psutil.Process(process.pid), stream.port, opened, counts)
                if number < cuts:
                    said = len(follower.words)
                    stream.off()
                    follower.until(lambda said=said: any(word.startswith("Lost") for word in follower.words[said:]), off_s)
                    stream.on()
    finally:
        process.terminate()
        process.wait(60)


def growth(connections: list[Connection]) -> dict[str, float]:
    """What grew from the second connection to the last, and by which factor. The first one is warm-up."""
    first, last = connections[1], connections[-1]
    return {name: getattr(last, name) / getattr(first, name) for name in ALLOWED_GROWTH}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10, help="of each stream")
    parser.add_argument("--cuts", type=int, default=10)
    parser.add_argument("--over", nargs="+", choices=["http", "rtsp"], default=["http", "rtsp"])
    options = parser.parse_args()
    failed = False
    for name in options.over:
        kind = {"http": streams.Stream, "rtsp": streams.Rtsp}[name]
        if missing := kind.missing():
            print(f"{name} is left out: {missing} is not installed")
            failed = True
            continue
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder) / "root"
            root.mkdir()
            cycle_s = options.minutes * 60 / (options.cuts + 1)
            with kind(streams.film(Path(folder) / "film.mp4"), Path(folder) / "stream.log") as stream:
                print(f"{stream.url}\nopened after s; pictures; ids and standstills so far; MB, handles: worker, job's process; processes")
                connections = []
                for one in follow(stream, root, options.cuts, 0.8 * cycle_s, 0.2 * cycle_s):
                    connections.append(one)
                    counts = f"{one.opened_after_s:6.1f} {one.pictures:6} {one.ids:4} {one.standstills:3}"
                    worker, child = f"{one.parent_mb:7.1f} {one.parent_handles:3}", f"{one.child_mb:7.1f} {one.child_handles:3}"
                    print(f"{counts}   {worker}   {child}   {one.processes}", flush=True)
        grown = growth(connections) if len(connections) > 1 else {}
        wrong = {key: round(value, 3) for key, value in grown.items() if value > ALLOWED_GROWTH[key]}
        print(f"grew by: {', '.join(f'{key} {value:.3f}' for key, value in grown.items())}" + (f"\nTOO MUCH: {wrong}" if wrong else ""))
        failed = failed or bool(wrong)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
