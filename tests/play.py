"""Plays events to a scheduler and writes down what it wants, one line each, so that a test reads like a record of what happened.

    play = Play()
    play(0.0, job("a"))          # ['accepted a 0 0', 'processing a 1', 'run 1 noop plan']
    play(0.5, finished(1))       # ['ready a seq=1 run=500']

Times are seconds since the start. Before each event the scheduler is woken at all of its deadlines, as the service does.
Arguments of a final have names; those with their usual value (start number 7, 0 ms, 0 items, `noop`) are left out.
Reports to the client `TD` stand without their receiver; all others have it in front. Left out, unless asked for by their first word:
status, health, numbers, everything that is to be stored, commits, the operator's line about an ended job, and the canary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from worker.config import Config, Limits
from worker.core.events import (
    Abort,
    Commit,
    Effect,
    Event,
    Execute,
    Exit,
    Finished,
    Follow,
    JobEnded,
    Kept,
    NotStored,
    Received,
    Send,
    SendBytes,
    SendNumbers,
    StoreAttempt,
    StoreBegun,
    StoreClient,
    Stored,
    StoreFinal,
    StoreJob,
    StorePeer,
    StorePreset,
    StoreTold,
    StoreUnset,
    Unfollow,
    Woke,
)
from worker.core.jobs import Failure, Part, Plan, Result, Task
from worker.core.scheduler import Scheduler
from worker.errors import DecodeError
from worker.files.whole import WrittenFile
from worker.protocol.addresses import Peer
from worker.protocol.messages import Command, Failed, Job, Ready, Report, wire

#: Not 0, and nothing that floats hold exactly.
START = 1000.1
BOOT = 7
TD: Peer = ("10.0.0.1", 50_000)
TD_TEXT: Peer = ("10.0.0.1", 9461)
OTHER: Peer = ("10.0.0.2", 50_001)
QUIET = ("status", "health", "numbers", "store", "canary", "commit", "ended")


class Play:
    """A scheduler, and the record of what it wanted.

    Args:
        show: first words of lines that are usually left out.
        checked: whether the scheduler checks itself after each event.
        disk: answers a commit: "well" at once with `Stored`, "full" at once with `NotStored`, "slow" not at all, so that the test does it.
        settings: of the `Config`, or of its `Limits`.
    """

    def __init__(self, *, show: Iterable[str] = (), checked: bool = True, disk: str = "well", **settings: Any) -> None:
        limits = {name: settings.pop(name) for name in tuple(settings) if name in Limits.__slots__}
        self.config = Config(**{"workers": 2, "limits": Limits(**limits), **settings})
        self.scheduler = Scheduler(self.config, BOOT, START, "0.1.0", checked=checked)
        self.disk = disk
        self.effects: list[Effect] = []
        self._hidden = set(QUIET) - set(show)
        self._now = START

    def __call__(self, at: float, *events: Event | Command | DecodeError, peer: Peer = TD) -> list[str]:
        """Lets the events happen at a time; commands as one datagram each. Returns what is new in the record."""
        lines = self.until(at)
        for event in events:
            received = Received(peer, (event,)) if isinstance(event, (Command, DecodeError)) else event
            lines += self._carry_out(self.scheduler.handle(received, self._now))
        return lines

    def bundle(self, at: float, *commands: Command | DecodeError, peer: Peer = TD) -> list[str]:
        """Several commands in one datagram."""
        return self(at, Received(peer, commands))

    def until(self, at: float) -> list[str]:
        """Lets the time go on to `at`."""
        assert START + at >= self._now
        lines = []
        while (deadline := self.scheduler.next_deadline()) is not None and deadline <= START + at:
            self._now = max(self._now, deadline)
            lines += self._carry_out(self.scheduler.handle(Woke(), self._now))
        self._now = START + at
        return lines

    @property
    def tasks(self) -> list[Task]:
        """Everything that was to be run so far."""
        return [effect.task for effect in self.effects if isinstance(effect, Execute)]

    def restore(self, kept: Kept) -> list[str]:
        return self._carry_out(self.scheduler.restore(kept, self._now))

    def _carry_out(self, effects: list[Effect]) -> list[str]:
        new = effects
        while self.disk != "slow" and (commits := [effect.number for effect in new if isinstance(effect, Commit)]):
            answer = Stored(commits[-1]) if self.disk == "well" else NotStored(commits[-1], "no space left on device")
            new = self.scheduler.handle(answer, self._now)
            effects = [*effects, *new]
        self.effects += effects
        written = (self._line(effect) for effect in effects)
        return [line for line in written if line.split()[0] not in self._hidden]

    def _line(self, effect: Effect) -> str:
        match effect:
            case Send(peer, report):
                line = _told(report)
                to = "" if peer == TD_TEXT else f"{peer[0]}:{peer[1]} "
                return line if line.split()[0] in self._hidden else to + line
            case SendNumbers(peer, numbers):
                return f"numbers to {peer[0]}:{peer[1]} " + " ".join(f"{number.name}={number.value:g}" for number in numbers)
            case Execute(task) if self.scheduler.is_canary(task.id):
                return f"canary {task.id}"
            case Execute(task):
                return f"run {task.id} {task.operation} {task.phase.value}" + (f" {task.part.index}" if task.part else "")
            case Follow(task):
                return f"follow {task.id} from {task.next_id}"
            case Unfollow(session):
                return f"unfollow {session}"
            case SendBytes(peer, datagram):
                return f"bytes to {peer[0]}:{peer[1]} {len(datagram)}"
            case Abort(task_id):
                return f"abort {task_id}"
            case StoreJob(_, job_id, _):
                return f"store job {job_id}"
            case StoreBegun(_, job_id):
                return f"store begun {job_id}"
            case StoreAttempt(_, job_id, attempt):
                return f"store attempt {job_id} {attempt}"
            case StoreFinal(_, job_id, final):
                return f"store final {job_id} {final.seq}"
            case StoreTold(_, job_id):
                return f"store told {job_id}"
            case StoreClient(key, _, _, _, _, gone):
                return f"store client {key}" + " gone" * gone
            case StorePeer(peer, client):
                return f"store peer {peer[0]}:{peer[1]} {client}"
            case StorePreset(preset, key, value):
                return f"store preset {preset} {key} {value}"
            case StoreUnset(preset, key):
                return f"unset preset {preset} {key}".rstrip()
            case Commit(number):
                return f"commit {number}"
            case JobEnded(_, _, job_id, operation, word, code, wait_ms, run_ms, items, attempts):
                return f"ended {job_id} {operation} {word} {code} {wait_ms} {run_ms} {items} {attempts}"
            case Exit(reason):
                return f"exit {reason}"


def _told(report: Report) -> str:
    """A report as a line: its last word of address and its arguments. Those of a final have names.

    >>> _told(Ready("a", 3, BOOT, 0, 500, 0, "noop")), _told(Failed("b", 1, BOOT + 1, 408, "timeout", "It took too long.", ""))
    ('ready a seq=3 run=500', 'failed b seq=1 boot=8 408 timeout It took too long. ')
    """
    match report:
        case Ready(job_id, seq, boot, wait_ms, run_ms, items, operation, skipped, left_out):
            usual = {"boot": BOOT, "wait": 0, "run": 0, "items": 0, "skipped": 0, "left_out": 0}
            given = {"boot": boot, "wait": wait_ms, "run": run_ms, "items": items, "skipped": skipped, "left_out": left_out}
            labels = [f"{name}={value}" for name, value in given.items() if value != usual[name]]
            return " ".join([f"ready {job_id} seq={seq}", *labels, *([operation] if operation != "noop" else [])])
        case Failed(job_id, seq, boot, code, word, message, hint):
            start = f" boot={boot}" if boot != BOOT else ""
            return f"failed {job_id} seq={seq}{start} {code} {word} {message} {hint}"
    address, _, *arguments = wire(report).split(" ")
    return " ".join([address.removeprefix("/worker/"), *arguments])


# ------------------------------------------------------------------------------------------------- short for events


def job(job_id: str, operation: str = "noop", **pairs: Any) -> Job:
    return Job(job_id, operation, tuple(pairs.items()))


def circles(job_id: str, **pairs: Any) -> Job:
    """A job that finds something."""
    return job(job_id, "find_circles", **{"image": "shots", **pairs})


def finished(task_id: int, outcome: Result | Plan | Failure | None = None) -> Finished:
    return Finished(task_id, outcome or Result())


def died(task_id: int) -> Finished:
    return Finished(task_id, Failure(502, "child", "The child died.", "", False))


def disk_full(task_id: int) -> Finished:
    return Finished(task_id, Failure(507, "disk", "The disk is full.", "", True))


def plan(*sizes: int, finish: bool = False, kind: str = "circles", fields: tuple[str, ...] = ("x", "y")) -> Plan:
    """A plan of parts with so many items each."""
    bounds = [sum(sizes[:place]) for place in range(len(sizes) + 1)]
    parts = tuple(Part(place, bounds[place], bounds[place + 1]) for place in range(len(sizes)))
    return Plan(parts, finish, Result(kind, fields))


def found(*rows: tuple[float, ...], files: Iterable[str] = (), fields: tuple[str, ...] = ("x", "y")) -> Result:
    return Result("circles", fields, rows, tuple(WrittenFile(path, 10, 4, 3) for path in files))


def sent(lines: Iterable[str], keep: Callable[[str], bool] = lambda _: True) -> list[str]:
    """Only reports, without what is to be run or aborted."""
    return [line for line in lines if line.split()[0] not in ("run", "abort", "store") and keep(line)]


__all__ = ["BOOT", "OTHER", "START", "TD", "Play", "circles", "died", "disk_full", "finished", "found", "job", "plan", "sent"]
