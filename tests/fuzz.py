"""Sends a worker whatever bytes there are, and looks whether it still works.

    python -m tests.fuzz --datagrams 1000000 --seed 1

Datagrams are recorded packets of every kind, changed at random: bytes flipped, cut, doubled and exchanged, numbers made huge or negative,
two packets joined, bundles nested; and some that are nothing but noise. Each goes through the decoder into a scheduler whose tasks end in
every way there is. Nothing may escape, no job may have two finals, from time to time a valid job must run, and memory must stay flat.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import random
import struct
import sys
import time
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence

import psutil

from tests.strategies import osc_bundle, osc_message
from worker.config import Config, Limits
from worker.core.events import Abort, Execute, Finished, Progressed, Received, Send, StoreFinal, StoreJob, Woke
from worker.core.jobs import Failure, Part, Plan, Result, Task
from worker.core.scheduler import Scheduler
from worker.files.whole import WrittenFile
from worker.protocol import messages as wire
from worker.protocol import osc
from worker.protocol.addresses import MAX_DATAGRAM_IN, Peer

VALID_EVERY = 1000
MEASURE_EVERY = 20_000
#: More than this between a measurement after a fifth of the run and the last one is a leak.
MOST_GROWTH_BYTES = 16 * 2**20

LIMITS = Limits(queue_jobs=200, remembered_jobs=300, clients=32, result_rows_kept=2000, timeout_ms=5000)

RECORDED: tuple[wire.Command, ...] = (
    wire.Hello("td", 9461, 9462),
    wire.Hello("td", 0, 0, "", "token", 1),
    wire.Bye(),
    wire.Ping(7),
    wire.Job("j1", "noop"),
    wire.Job("", "noop", (("priority", 0),)),
    wire.Job("j2", "write_text", (("output", "a.txt"), ("text", "hello"), ("append", 1))),
    wire.Job("j3", "draw_circles", (("output", "a{n}.png"), ("count", 500), ("centers", "1 2 3.5 4"))),
    wire.Job("j4", "find_circles", (("image", "shots/*.png"), ("sensitivity", 0.5), ("after", "j1"), ("retries", 2))),
    wire.Job("j5", "find_features", (("image", "a.png"), ("method", "sift"), ("replace", "k"), ("ttl_ms", 100))),
    wire.Job("j6", "convert", (("image", "a.png"), ("output", "b.jpg"), ("timeout_ms", 50))),
    wire.Cancel("j1"),
    wire.Clear(),
    wire.Query("j3"),
    wire.Ack(3),
    wire.Replay(1),
    wire.Sync(2),
    wire.GetStatus(),
    wire.Describe(),
    wire.Describe("noop"),
    wire.Set("logo", "operation", "draw_circles"),
    wire.Set("logo", "count", 12),
    wire.Trigger("logo", 1.0),
    wire.Trigger("logo", 0.0),
)
PACKETS = (
    *map(osc.encode, RECORDED),
    osc_message(
        "/worker/job", "sssTsFsN", *(text.ljust(4 - len(text) % 4 + len(text), "\0").encode() for text in ("a", "noop", "b", "c", "d"))
    ),
    osc_message("/worker/trigger/logo", "I"),
    osc_message("/worker/ping", "h", struct.pack(">q", 2**62)),
    osc_message("/worker/ping", "d", struct.pack(">d", 7.0)),
    osc_bundle(osc.encode(wire.Job("k1", "noop")), osc.encode(wire.Job("k2", "noop", (("after", "k1"),))), time_tag=2**63),
    osc_bundle(osc_bundle(osc.encode(wire.Ping(1))), osc.encode(wire.Ping(2))),
)
INTERESTING = (
    *(struct.pack(">i", number) for number in (0, 1, -1, 4, 16, 2**31 - 1, -(2**31))),
    *(b"#bundle\0", b"/worker/", b",[[I]]", b"\xff\xfe"),
)
#: What new jobs do.
WORK = tuple((job.operation, job.pairs) for job in RECORDED if isinstance(job, wire.Job) and "timeout_ms" not in dict(job.pairs))
#: Those who send: this computer, from a few ports, and later from many.
PEERS: Sequence[Peer] = tuple(("127.0.0.1", 50_000 + n) for n in range(20))


def datagrams(chance: random.Random) -> Iterator[bytes]:
    """Without end."""
    while True:
        packet = chance.choice(PACKETS)
        match chance.randrange(10):
            case 0:
                packet = chance.randbytes(chance.randrange(200))
            case 1:
                packet = osc_bundle(*[changed(chance.choice(PACKETS), chance) for _ in range(chance.randrange(1, 6))])
            case 2:
                packet = packet + chance.choice(PACKETS)
            case 3:
                packet = changed(osc_bundle(packet, chance.choice(PACKETS)), chance)
            case 4 if chance.random() < 0.02:
                packet = (packet * (MAX_DATAGRAM_IN // len(packet)))[:MAX_DATAGRAM_IN]
            case 5:
                operation, pairs = chance.choice(WORK)
                timeout = ("timeout_ms", chance.randrange(1000, 80_000_000))  # makes it new work, which is in no quarantine
                packet = osc.encode(wire.Job(f"f{chance.getrandbits(32)}", operation, (*pairs, timeout)))
            case 6:
                pass  # as it was recorded
            case _:
                packet = changed(packet, chance)
        yield packet


def changed(packet: bytes, chance: random.Random) -> bytes:
    """A packet with a few changes."""
    data = bytearray(packet)
    for _ in range(chance.randrange(1, 5)):
        place = chance.randrange(len(data) + 1)
        match chance.randrange(5):
            case 0 if place < len(data):
                data[place] ^= 1 << chance.randrange(8)
            case 1:
                del data[place : place + chance.randrange(1, 9)]
            case 2:
                data[place:place] = data[place : place + chance.randrange(1, 40)]
            case 3:
                place -= place % 4
                data[place : place + 4] = chance.choice(INTERESTING)
            case _:
                data[place : place + 1] = chance.randbytes(1)
    return bytes(data)


class Target:
    """A decoder and a scheduler, with tasks that end somehow and books about what was promised."""

    def __init__(self, chance: random.Random) -> None:
        self.now = 1000.0
        self.scheduler = Scheduler(Config(workers=2, limits=LIMITS), 7, self.now)
        self.tasks: OrderedDict[int, Task] = OrderedDict()
        self.open: set[tuple[str, str]] = set()
        self.counts: Counter[str] = Counter()
        self._chance = chance

    def send(self, datagram: bytes, peer: Peer) -> list[wire.Report]:
        """Lets a datagram come, some time pass, and a task go on. Returns what was answered."""
        self.now += self._chance.expovariate(2000)
        answers = self._handle(Received(peer, osc.decode_commands(datagram)))
        deadline = self.scheduler.next_deadline()
        if deadline is not None and deadline <= self.now:
            answers += self._handle(Woke())
        if self.tasks and self._chance.random() < 0.8:
            answers += self._handle(self._something(next(iter(self.tasks))))
        return answers

    def _something(self, task_id: int) -> Finished | Progressed:
        """What a task may do next."""
        rows, files = ((1.0, 2.0),) * self._chance.randrange(20), (WrittenFile("a.png", 10, 4, 3),)
        outcomes = {
            "progress": None,
            "result": Result("circles", ("x", "y"), rows, files),
            "plan": Plan((Part(0, 0, 3), Part(1, 3, 5)), finish=self._chance.random() < 0.5),
            "failure": Failure(404, "file", "There is no file.", ""),
            "disk": Failure(507, "disk", "The disk is full.", "", True),
            "child": Failure(502, "child", "The child died.", ""),
        }
        outcome = outcomes[self._chance.choices(tuple(outcomes), (2, 8, 3, 1, 1, 0.2))[0]]
        if outcome is None:
            return Progressed(task_id, self._chance.randrange(5))
        if isinstance(outcome, Plan) and self.tasks[task_id].phase.value != "plan":
            outcome = outcomes["result"]
        del self.tasks[task_id]
        return Finished(task_id, outcome)

    def _handle(self, event: Received | Finished | Progressed | Woke) -> list[wire.Report]:
        answers = []
        for effect in self.scheduler.handle(event, self.now):
            match effect:
                case Execute(task):
                    self.tasks[task.id] = task
                case Abort(task_id):
                    del self.tasks[task_id]
                case StoreJob(client, job_id):
                    self.counts["jobs"] += 1
                    self.open.add((client, job_id))
                case StoreFinal(client, job_id):
                    self.counts["finals"] += 1
                    self.open.remove((client, job_id))  # raises if there is a second one
                case Send(_, report):
                    self.counts[type(report).__name__] += 1
                    assert len(osc.encode(report)) <= 1200 or isinstance(report, wire.File)
                    answers.append(report)
        return answers


def run(count: int, seed: int, *, measure: bool = True) -> Counter[str]:
    """Sends so many datagrams.

    Raises:
        AssertionError: a promise was broken. Any other exception is one that escaped.
    """
    chance = random.Random(seed)
    target = Target(chance)
    sizes = []
    started = time.perf_counter()
    for number, datagram in enumerate(itertools.islice(datagrams(chance), count)):
        peer = chance.choice(PEERS)
        try:
            target.send(datagram, peer)
            if number % VALID_EVERY == VALID_EVERY - 1:
                _check_that_a_job_runs(target, number)
        except BaseException as error:
            error.add_note(f"seed {seed}, datagram {number} from {peer}: {datagram!r}")
            raise
        if measure and number % max(1, min(MEASURE_EVERY, count // 10)) == 0 and number:
            gc.collect()
            sizes.append(psutil.Process().memory_info().rss)
            rate = number / (time.perf_counter() - started)
            print(f"{number:>9} datagrams  {rate:7.0f}/s  {sizes[-1] / 2**20:6.2f} MB  {target.counts['jobs']} jobs", flush=True)
    if len(sizes) > 1:
        assert sizes[-1] - sizes[len(sizes) // 5] < MOST_GROWTH_BYTES, f"memory grows: {sizes}"
    assert target.counts["jobs"] == target.counts["finals"] + len(target.open)
    return target.counts


def _check_that_a_job_runs(target: Target, number: int) -> None:
    """The next valid job still runs, whatever came before."""
    peer = ("127.0.0.1", 60_000)
    job = wire.Job(f"valid{number}", "noop", (("priority", 0),))
    answers = target.send(osc.encode(wire.Hello("valid", 60_001, 0)), peer) + target.send(osc.encode(job), peer)
    for _ in range(10_000):
        if any(isinstance(answer, wire.Ready | wire.Failed) and answer.id == job.id for answer in answers):
            return
        if any(isinstance(answer, wire.Failed) and answer.code == 429 for answer in answers):
            return
        answers = target.send(b"", peer)
    raise AssertionError(f"{job.id} has no final")


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--datagrams", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(arguments)
    counts = run(options.datagrams, options.seed)
    print(", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
    print("Nothing escaped.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
