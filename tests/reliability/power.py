"""What a loss of power leaves of the journal. Run as `python -m tests.reliability.power --states 5000` (Linux, with strace).

A journal is written, killed, opened again, killed and closed, while strace writes down what it asks the system for. Then the disk is
simulated: at random moments everything stops. Of what was written since a file was last synchronised, any blocks may be there and any not;
new names, removals and cuts go in order, as file systems with a journal keep them. From each state the next start must succeed, and find
what some commit left: all of it, and nothing of later ones. With durability "power" that is at least what was answered; and after a kill.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from worker.config import Limits
from worker.core.events import StoreFinal, StoreJob, StorePreset
from worker.protocol.messages import Ready
from worker.storage import commit_log
from worker.storage.journal import Journal, JournalError

CLIENT = "10.0.0.1:9461"
CONTENT = b'["write_text",{"output":"a.txt","text":"' + b"x" * 700 + b'"},{}]'
#: The number of jobs that are open at a time.
OPEN = 3
RUNS = 3
COMMITS = 60
#: The disk writes a block as a whole or not at all.
BLOCK = 512
DATABASE = "9460.sqlite3"
ANSWERED = "answered"


# --------------------------------------------------------------------------------------------------------- what is written down


def write(folder: Path, durability: str, seed: int, run: int) -> None:
    """One run of a worker; only the last one ends in order. Each answered commit is one byte in a file of its own."""
    chance = random.Random(seed + run)
    journal = Journal(folder / DATABASE, durability, Limits(), prune_every=20)
    journal.kept()
    answered = os.open(folder / ANSWERED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    tidier: threading.Thread | None = None
    for number in range(run * COMMITS + 1, (run + 1) * COMMITS + 1):
        journal.commit(records(number))
        os.write(answered, b".")
        if (tidier is None or not tidier.is_alive()) and chance.random() < 0.2 and journal.turn(idle=True):
            tidier = threading.Thread(target=journal.tidy)
            tidier.start()
    if tidier is not None:
        tidier.join()
    if run < RUNS - 1:
        os._exit(0)
    journal.close()


def records(number: int) -> list[StorePreset | StoreJob | StoreFinal]:
    """What the commit with this number holds: a job begins, another one ends, and a preset has the number."""
    found: list[StorePreset | StoreJob | StoreFinal] = [StorePreset("count", "commits", number), StoreJob(CLIENT, f"j{number}", CONTENT)]
    if number > OPEN:
        found.append(StoreFinal(CLIENT, f"j{number - OPEN}", Ready(f"j{number - OPEN}", number - OPEN, 1, 0, 0, 1, "write_text")))
    return found


# ----------------------------------------------------------------------------------------------------------- what strace has seen


@dataclass(frozen=True)
class Call:
    """One change of the folder: open, write, cut, sync, remove, rename. What does not apply is empty."""

    what: str
    name: str = ""
    to: str = ""
    data: bytes = b""
    at: int = 0


_LINE = re.compile(r"^(\d+) +(.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\) += (-?\d+)")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_TRACED = "openat,close,read,pread64,write,pwrite64,ftruncate,fsync,fdatasync,unlink,rename,lseek"


def traced(folder: Path, durability: str, seed: int) -> list[Call]:
    """Everything that changes the folder while a journal is written there, in order."""
    lines = folder.parent / "strace.txt"
    calls: list[Call] = []
    for run in range(RUNS):
        watched = [argument for name in (*_names(), ".") for argument in ("-P", str(folder / name))]
        command = ["strace", "-f", "-xx", "-s", "10000000", "-o", str(lines), "-e", f"trace={_TRACED}", *watched]
        ours = [sys.executable, "-m", __spec__.name, "--write", str(folder), "--run", str(run)]
        subprocess.run([*command, *ours, "--durability", durability, "--seed", str(seed)], check=True)
        calls += _calls(lines)
    return calls


def _names() -> tuple[str, ...]:
    logs = tuple(path.name for path in commit_log.names(Path(DATABASE)))
    return DATABASE, f"{DATABASE}-wal", f"{DATABASE}-journal", *logs, ANSWERED


def _whole_lines(lines: Path) -> Iterator[str]:
    """Strace cuts a call in two if another thread says something meanwhile."""
    begun: dict[str, str] = {}
    for line in lines.read_text(encoding="ascii").splitlines():
        if (found := _LINE.match(line)) is None:
            continue
        thread, text = found.groups()
        if text.endswith("<unfinished ...>"):
            begun[thread] = text.removesuffix("<unfinished ...>").rstrip()
        elif text.startswith("<... "):
            yield begun.pop(thread) + text.partition("resumed>")[2]
        else:
            yield text


def _calls(lines: Path) -> Iterator[Call]:
    names: dict[str, str] = {}
    places: dict[str, int] = {}
    for line in _whole_lines(lines):
        if (found := _CALL.match(line)) is None:
            continue
        what, arguments, result = found[1], found[2], int(found[3])
        if result < 0:
            continue
        texts = [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]
        file = arguments.partition(",")[0]
        if what == "openat":
            names[str(result)], places[str(result)] = Path(os.fsdecode(texts[0])).name, -1 if "O_APPEND" in arguments else 0
            if "O_CREAT" in arguments:
                yield Call("open", names[str(result)])
        elif what == "unlink":
            yield Call("remove", Path(os.fsdecode(texts[0])).name)
        elif what == "rename":
            yield Call("rename", *(Path(os.fsdecode(text)).name for text in texts))
        elif file not in names:
            continue
        elif what == "read":
            places[file] += result
        elif what == "lseek":
            places[file] = result
        elif what == "write":
            yield Call("write", names[file], data=texts[0][:result], at=places[file])
            places[file] += result if places[file] >= 0 else 0
        elif what == "pwrite64":
            yield Call("write", names[file], data=texts[0][:result], at=int(arguments.rpartition(",")[2]))
        elif what == "ftruncate":
            yield Call("cut", names[file], at=int(arguments.rpartition(",")[2]))
        elif what in ("fsync", "fdatasync"):
            yield Call("sync", names[file])


# ------------------------------------------------------------------------------------------------------------------- the disk


@dataclass(eq=False)
class _File:
    content: bytearray = field(default_factory=bytearray)
    is_frozen: bool = False

    def write(self, data: bytes, at: int) -> None:
        self.content.extend(bytes(max(0, at + len(data) - len(self.content))))
        self.content[at : at + len(data)] = data

    def cut(self, size: int) -> None:
        self.content.extend(bytes(max(0, size - len(self.content))))
        del self.content[size:]


def disk(calls: list[Call], chance: random.Random, *, kill: bool) -> tuple[dict[str, bytes], int]:
    """The files after these calls, and how many commits were answered."""
    answered = sum(call.what == "write" and call.name == ANSWERED for call in calls)
    synced = {call.name: index for index, call in enumerate(calls) if call.what == "sync"}
    kept = len(calls) if kill else chance.randint(max(synced.values(), default=0), len(calls))
    share = 1.0 if kill else chance.choice([0.0, 0.3, 0.7, 0.95, 1.0])
    names: dict[str, _File] = {}
    for index, call in enumerate(calls):
        file = names.get(call.name)
        is_safe = kill or index < synced.get(call.name, -1)
        if call.what == "open" and file is None and index < kept:
            names[call.name] = _File()
        elif call.what == "remove" and index < kept:
            names.pop(call.name, None)
        elif call.what == "rename" and index < kept and file is not None:
            names[call.to] = names.pop(call.name)
        elif call.what == "cut" and file is not None and not file.is_frozen:
            if is_safe or index < kept:
                file.cut(call.at)
            else:
                file.is_frozen = True  # what is written behind a cut stands in blocks of which nothing knows
        elif call.what == "write" and call.name != ANSWERED and file is not None and not file.is_frozen:
            for begin, piece in _blocks(call):
                if is_safe or chance.random() < share:
                    file.write(piece, begin)
    return {name: bytes(file.content) for name, file in names.items() if name != ANSWERED}, answered


def _blocks(call: Call) -> Iterator[tuple[int, bytes]]:
    at, data = call.at, call.data
    while data:
        size = BLOCK - at % BLOCK
        yield at, data[:size]
        at, data = at + size, data[size:]


# ------------------------------------------------------------------------------------------------------------- the next start


def found_wrong(folder: Path, durability: str, at_least: int, at_most: int) -> str:
    """What the next start does not find as it must, in a sentence; "" if all is right."""
    try:
        journal = Journal(folder / DATABASE, durability, Limits())
        kept = journal.kept()
    except JournalError as error:
        return f"the start was refused: {error}"
    try:
        newest = {preset.key: preset.value for preset in kept.presets}.get("commits", 0)
        assert isinstance(newest, int)
        if not at_least <= newest <= at_most:
            return f"the newest commit is {newest}, and {at_least} to {at_most} were answered"
        finals = [(job.job_id, job.final.seq) for job in kept.jobs if job.final is not None]
        if finals != [(f"j{number}", number) for number in range(1, newest - OPEN + 1)]:
            return f"after commit {newest} the finals are {finals[-5:]}"
        waiting = [job.job_id for job in kept.jobs if job.final is None]
        if waiting != [f"j{number}" for number in range(max(1, newest - OPEN + 1), newest + 1)]:
            return f"after commit {newest} the open jobs are {waiting}"
        if aside := [path.name for path in folder.glob("*.damaged-*")]:
            return f"{aside} were set aside"
        journal.commit(records(newest + 1))
        return ""
    finally:
        journal.close()


def run(states: int, durability: str, seed: int, folder: Path) -> tuple[list[str], int]:
    """Tries so many states of the disk; gives what was wrong, and how many calls of the system there were."""
    chance = random.Random(seed)
    source = folder / "source"
    source.mkdir()
    calls = traced(source, durability, seed)
    wrong = []
    for number in range(states):
        end, kill = chance.randint(1, len(calls)), number % 4 == 0
        files, answered = disk(calls[:end], chance, kill=kill)
        target = folder / "state"
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        for name, content in files.items():
            (target / name).write_bytes(content)
        sentence = found_wrong(target, durability, answered if kill or durability == "power" else 0, answered + 1)
        if sentence:
            wrong.append(f"state {number}, after call {end} of {len(calls)}, {'killed' if kill else 'no power'}: {sentence}")
    return wrong, len(calls)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--states", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--durability", choices=["process", "power"])
    parser.add_argument("--write", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--run", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.write is not None:
        write(asked.write, asked.durability, asked.seed, asked.run)
        return 0
    failed = False
    for durability in [asked.durability] if asked.durability else ["process", "power"]:
        with tempfile.TemporaryDirectory() as folder:
            wrong, calls = run(asked.states, durability, asked.seed, Path(folder))
        print(f"{durability}: {asked.states} states of {calls} calls, {len(wrong)} wrong")
        print(*wrong[:20], sep="\n")
        failed = failed or bool(wrong)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
