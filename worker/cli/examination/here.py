"""What a worker needs on this computer: Python and OpenCV, folders, room, journal, report targets, buffers, children."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from worker import extras
from worker.cli.examination.steps import Mark, Question, Step
from worker.errors import WorkerError
from worker.executors import sandbox
from worker.network.endpoint import Endpoint
from worker.network.names import address_of
from worker.protocol import osc
from worker.protocol.addresses import Peer
from worker.protocol.messages import Pong
from worker.service.life import ENOUGH_PACKETS
from worker.service.loop import BYTES_PER_PACKET
from worker.storage import commit_log, schema
from worker.storage.journal import JournalError, lost_rows

NONCE = 4711
_OLDEST_PYTHON = (3, 11)
_IMPORT_S = 60.0
_CHILD_S = 60.0
_LOOK_EVERY_S = 0.1
_IMPORTS = "import cv2, numpy; import worker.tasks.run; print('OpenCV', cv2.__version__ + ', NumPy', numpy.__version__)"


def settings(question: Question) -> Step:
    """The settings file."""
    if question.problem:
        return Step("settings", Mark.BROKEN, question.problem, "correct the file; the steps below are made without it.")
    file = question.file
    return Step("settings", Mark.OK, f"{file.resolve()}" if file else "no settings file here; options, environment and defaults count")


def python() -> Step:
    """Whether this Python can import what the children need. In a process of its own, as they do."""
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        return Step("Python", Mark.BROKEN, f"{sys.executable} is {version}", "the worker needs Python 3.11 or later.")
    try:
        done = subprocess.run(  # noqa: S603 - this Python, and words of our own
            [sys.executable, "-P", "-c", _IMPORTS], capture_output=True, text=True, timeout=_IMPORT_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Step("Python", Mark.BROKEN, f"{sys.executable} cannot be run: {error}", "install the worker again.")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        change = f"install the worker's packages again: {extras.install_again()}"
        return Step("Python", Mark.BROKEN, f"{sys.executable} ({version}) cannot import OpenCV: {last}", change)
    return Step("Python", Mark.OK, f"{version}, {done.stdout.strip()}, {sys.executable}")


def folders(question: Question) -> Iterator[Step]:
    """Writes and reads back below every root, and looks for free room; reads every folder that may only be read."""
    for root in question.config.roots:
        name = f"root {root}"
        try:
            _write_and_read(root)
            question.config.files.check_free(str(root), shutil.disk_usage(root).free)
        except OSError as error:
            yield Step(name, Mark.BROKEN, f"cannot be written: {error.strerror}", _WRITABLE)
        except WorkerError as error:
            yield Step(name, Mark.BROKEN, error.message, error.hint or "make room there.")
        else:
            yield Step(name, Mark.OK, f"written and read back; {shutil.disk_usage(root).free / 2**30:.1f} GB free")
    for root in question.config.read_roots:
        try:
            next(iter(root.iterdir()), None)
        except OSError as error:
            yield Step(
                f"read-root {root}", Mark.BROKEN, f"cannot be read: {error.strerror}", "give the worker's user the right to read it."
            )
        else:
            yield Step(f"read-root {root}", Mark.OK, "can be read")


_WRITABLE = "make the folder and let the worker's user write there, or name another --root."


def _write_and_read(folder: Path) -> None:
    """Raises OSError if that does not work. Nothing is left."""
    data = os.urandom(4096)
    path = folder / f".td-image-worker-doctor-{uuid.uuid4().hex[:12]}"
    try:
        with path.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if path.read_bytes() != data:
            raise OSError(0, "what was read back is not what was written")
    finally:
        with contextlib.suppress(OSError):
            path.unlink()


def journal(question: Question, *, in_use: bool) -> Step:
    """Whether the journal can be used. `in_use`: the worker that has it answers."""
    config = question.config
    if config.state is None:
        return Step("journal", Mark.SKIPPED, "none is wanted (--no-journal)")
    path = config.state / f"{config.port}.sqlite3"
    if in_use:
        if not path.exists():
            return Step("journal", Mark.OK, f"none at {path}; the worker that answers has it elsewhere (--state), or has none")
        return _without_lost_rows(path, f"{path}: the worker that answers has opened it")
    try:
        if not path.exists():
            folder = next(folder for folder in (config.state, *config.state.parents) if folder.is_dir())
            _write_and_read(folder)
            return Step("journal", Mark.OK, f"none yet; it can be made at {path}")
        return _examined(path)
    except OSError as error:
        return Step("journal", Mark.BROKEN, f"{path} cannot be written: {error.strerror}", "let the worker's user write there, or --state.")


def _examined(path: Path) -> Step:
    other = "end the program that holds it (another worker, a backup, a database browser), or name another --state."
    aside = "`serve` will put it aside and go on with what can be read of it; jobs that cannot be read are lost. Keep a copy first."
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=rw", uri=True, isolation_level=None, timeout=0.5)
        ) as found:
            found.execute("BEGIN IMMEDIATE")  # as a worker would have to
            (verdict,) = found.execute("PRAGMA quick_check(1)").fetchone()
            (version,) = found.execute("PRAGMA user_version").fetchone()
            found.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return Step("journal", Mark.BROKEN, f"{path} is locked by another program", other)
        return Step("journal", Mark.BROKEN, f"{path}: {error}", "let the worker's user write there, or name another --state.")
    except sqlite3.DatabaseError as error:
        return Step("journal", Mark.BROKEN, f"{path} is damaged: {error}", aside)
    if verdict != "ok":
        return Step("journal", Mark.BROKEN, f"{path} is damaged: {verdict.splitlines()[-1]}", aside)
    if version > schema.VERSION:
        seen = f"{path} has format {version}; this version knows formats up to {schema.VERSION}"
        return Step("journal", Mark.BROKEN, seen, "start the newer version of the worker again, or name another --state.")
    for name in filter(Path.exists, commit_log.names(path)):  # a worker that was killed has left them
        try:
            name.open("rb+").close()
        except OSError as error:
            return Step("journal", Mark.BROKEN, f"{name} cannot be written: {error.strerror}", "let the worker's user write there.")
    return _without_lost_rows(path, f"{path} is whole and free")


def _without_lost_rows(path: Path, well: str) -> Step:
    """What was put aside at earlier starts because it could not be read."""
    try:
        lost = lost_rows(path)
    except JournalError as error:  # a worker writes it at this moment
        return Step("journal", Mark.OK, f"{well}; {error}")
    if not lost:
        return Step("journal", Mark.OK, well)
    named = ", ".join(repr(row.job_id) for row in lost[:3] if row.job_id is not None)
    seen = f"{path}: {len(lost)} damaged entries were put aside{f', of the jobs {named}' if named else ''}: {lost[0].reason}"
    return Step("journal", Mark.NOTE, seen, "check the disk. The entries are in the journal's table `lost`; their jobs ended with 500.")


def targets(question: Question) -> Iterator[Step]:
    """The fixed targets of reports: names, routes, and whether somebody listens."""
    for host, port in dict.fromkeys((*question.config.report, *question.config.report_numbers)):
        yield target((host, port))


def target(peer: Peer) -> Step:
    """One fixed target."""
    host, port = peer
    address = address_of(host)
    if not address:
        change = "correct --report or --report-numbers; an address in numbers, such as 192.168.0.20, always works."
        return Step(f"reports to {host}:{port}", Mark.BROKEN, f"the name {host} is not known here", change)
    return reaches(address, port, named=host)


def reaches(address: str, port: int, named: str = "") -> Step:
    """Whether packets to this address are refused."""
    name = f"reports to {named or address}:{port}"
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as udp:
        try:
            udp.connect((address, port))
            for _ in range(3):  # the answer to one is met by the next
                udp.send(osc.encode(Pong(NONCE, 0, 0.0)))
                time.sleep(0.2)
        except ConnectionError:
            change = f"in TouchDesigner: an OSC In DAT with port {port} and no local address, active; on Linux also a firewall may refuse."
            return Step(name, Mark.BROKEN, "nobody listens there", change)
        except OSError as error:
            return Step(name, Mark.BROKEN, f"cannot be reached: {error.strerror}", "check the address and this computer's network.")
    seen = "sent, and not refused"
    return Step(name, Mark.OK, seen, f"an OSC In DAT on port {port} must show `/worker/pong {NONCE}` now; if not, a firewall took it.")


def receive_buffer() -> Step:
    """How many packets the system keeps while the worker is busy."""
    endpoint = Endpoint(("127.0.0.1", 0), lambda *_: None)
    packets = endpoint.receive_buffer_bytes // BYTES_PER_PACKET
    endpoint.close()
    seen = f"about {packets} packets at once"
    if packets >= ENOUGH_PACKETS:
        return Step("receive buffer", Mark.OK, seen)
    change = "more at once may be lost, and sent again. On Linux: sudo sysctl -w net.core.rmem_max=4194304"
    return Step("receive buffer", Mark.NOTE, f"{seen}; a burst may bring {ENOUGH_PACKETS}", change)


def child(question: Question) -> Step:
    """Whether a child process can start and run a job here. For the case that no worker runs that could show it."""
    import functools

    from worker.catalog.table import CATALOG
    from worker.core.events import Finished
    from worker.core.jobs import Failure, Task
    from worker.executors import pool
    from worker.files.paths import FileRules
    from worker.poller import Poller
    from worker.tasks.prepare import make_run_task

    rules = FileRules(roots=tuple(root.resolve() for root in question.config.roots), limits=question.config.files)
    executor = pool.PoolExecutor(1, functools.partial(make_run_task, rules, confined=question.config.sandbox == "on"), spares=0)
    poller = Poller()
    ended: list[Finished] = []
    log = logging.getLogger(pool.__name__)
    log.addHandler(quiet := logging.NullHandler())  # what it says is said here, in one sentence
    log.propagate = False
    started = time.monotonic()
    try:
        executor.start(lambda event: ended.append(event) if isinstance(event, Finished) else None, poller)
        executor.execute(Task(1, CATALOG.probe.name, CATALOG.probe.params()))
        while not ended and time.monotonic() < started + _CHILD_S:
            poller.wait(poller.now() + _LOOK_EVERY_S)
    finally:
        executor.close()
        poller.close()
        log.propagate = True
        log.removeHandler(quiet)
    if not ended:
        change = "is a virus scanner in the way, or memory short?"
        return Step("a child process", Mark.BROKEN, f"does not answer for {_CHILD_S:g} s", change)
    outcome = ended[0].outcome
    if isinstance(outcome, Failure):
        change = "is memory short, or the number of processes limited? `td-image-worker serve --log-level debug` prints the traceback."
        return Step("a child process", Mark.BROKEN, f"cannot start: {outcome.message}", change)
    return Step("a child process", Mark.OK, f"starts, and has run a job after {time.monotonic() - started:.1f} s")


def walls(question: Question) -> Step:
    """What the kernel would refuse a child process that was taken over."""
    if question.config.sandbox == "off":
        return Step("sandbox", Mark.SKIPPED, "none is wanted (--sandbox off)")
    found = sandbox.offer()
    whole = found.landlock and found.seccomp
    return Step(
        "sandbox", Mark.OK if whole else Mark.NOTE, str(found), "" if whole else "nothing must be done; SECURITY.md says what is missing."
    )
