"""Lets the n-th operation of a worker fail, or the worker die there, for n = 1, 2, ...; run as `python -m tests.reliability.faults`.

An operation is a statement of the journal's database (`commit`), a datagram (`send`), the opening of a file or pipe (`open`), a write to
one (`write`, among them the journal's commits), the shortening of a file (`truncate`), the start of a process (`fork`) or of a thread
(`thread`). Each case is a worker of its own, forked from this process, so that it begins in a moment. It has the real loop, journal,
socket and pool of children; only what the children do is a double (`light.py`).

A client sends the same few jobs each time, and again if it hears nothing. A worker that ended is started again on the same journal, without
a fault. Then it must hold that

- each job has one final, the same however often it comes, and no number is used twice or left out;
- a job that may not be repeated ran at most once, and once if it is ready;
- the worker still serves: one more job is ready, and it ends when it is asked to.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import logging
import os
import shutil
import signal
import socket
import sqlite3
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from pathlib import Path
from typing import Any

from tests.ports import free_port
from tests.reliability import light
from worker.config import Config
from worker.executors.pool import PoolExecutor
from worker.protocol import osc
from worker.protocol.messages import Accepted, Ack, Command, Failed, Final, Hello, Job, Quit, Ready, Set, Status, Welcome
from worker.service.loop import Service
from worker.storage import journal, writer
from worker.storage.journal import JournalError

KINDS = ("commit", "send", "open", "write", "truncate", "fork", "thread")
RESEND_S = 0.15
#: A case that takes longer has failed.
CASE_S = 20.0
ENDS_WITHIN_S = 8.0

# ------------------------------------------------------------------------------------------------- in the worker


@dataclass
class Fault:
    """Counts the operations of one kind, and does its harm at the n-th.

    Attributes:
        at: which one; 0 for none.
        dies: the process ends there, instead of the operation failing.
        reached: where the count is written to, so that the series knows its end.
    """

    kind: str
    at: int
    dies: bool
    reached: Path
    count: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, error: Callable[[], Exception]) -> None:
        with self._lock:
            self.count += 1
            is_now = self.count == self.at
        if is_now:
            self.reached.write_text("reached")
            if self.dies:
                os.kill(os.getpid(), signal.SIGKILL)
            raise error()

    def before(self, function: Callable[..., Any], error: Callable[[], Exception]) -> Callable[..., Any]:
        """The function, with the fault in front of it."""

        def faulty(*arguments: Any, **named: Any) -> Any:
            self(error)
            return function(*arguments, **named)

        return faulty

    def install(self) -> None:
        """Puts itself in front of the operations of its kind, in this process."""
        getattr(self, f"_install_{self.kind}")()

    def _install_commit(self) -> None:
        fault = self
        connect = sqlite3.connect

        class Faulty(sqlite3.Connection):
            def execute(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                if sql.split(maxsplit=1)[0] in ("BEGIN", "COMMIT", "INSERT", "UPDATE", "DELETE"):
                    fault(lambda: sqlite3.OperationalError("disk I/O error"))
                return super().execute(sql, *arguments)

            def executemany(self, sql: str, *arguments: Any) -> sqlite3.Cursor:
                fault(lambda: sqlite3.OperationalError("disk I/O error"))
                return super().executemany(sql, *arguments)

        sqlite3.connect = lambda *arguments, **named: connect(*arguments, **named, factory=Faulty)  # type: ignore[assignment]

    def _install_send(self) -> None:
        sendto = socket.socket.sendto
        fault = self

        def faulty(one: socket.socket, *arguments: Any) -> int:
            fault(lambda: OSError(errno.ENOBUFS, os.strerror(errno.ENOBUFS)))
            return sendto(one, *arguments)

        socket.socket.sendto = faulty  # type: ignore[method-assign,assignment]

    def _install_open(self) -> None:
        def full() -> OSError:
            return OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        os.open = self.before(os.open, full)
        os.pipe = self.before(os.pipe, full)
        socket.socketpair = self.before(socket.socketpair, full)

    def _install_write(self) -> None:
        def failed() -> OSError:
            return OSError(errno.EIO, os.strerror(errno.EIO))

        os.write = self.before(os.write, failed)
        connection.Connection._write = staticmethod(os.write)  # type: ignore[attr-defined]

    def _install_truncate(self) -> None:
        os.ftruncate = self.before(os.ftruncate, lambda: OSError(errno.EIO, os.strerror(errno.EIO)))

    def _install_fork(self) -> None:
        import _posixsubprocess

        _posixsubprocess.fork_exec = self.before(
            _posixsubprocess.fork_exec, lambda: BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        )

    def _install_thread(self) -> None:
        start = threading.Thread.start
        fault = self

        def faulty(one: threading.Thread) -> None:
            fault(lambda: RuntimeError("can't start new thread"))
            start(one)

        threading.Thread.start = faulty  # type: ignore[method-assign]


def _serve(config: Config, fault: Fault, log: Path) -> None:
    """What the forked process does. Ends it."""
    code = 70
    try:
        os.setsid()
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        logging.basicConfig(level=logging.INFO, stream=sys.stderr, force=True)
        sys.modules["__main__"].__spec__ = None  # type: ignore[assignment] # so that the children do not import this module
        del sys.modules["__main__"].__file__
        os.chdir(config.roots[0])
        journal._FOLD_BYTES, writer.CHECK_EVERY_S = 0, 0.05  # so that commits are brought into the database while the jobs run
        if fault.at:
            fault.install()
        try:
            service = Service(config, PoolExecutor(config.workers, light.make_run_task))
        except (JournalError, OSError) as error:  # as `serve` does
            print("refused to start:", error)
            code = 1
        else:
            service.run()
            code = 0
    except BaseException:  # noqa: BLE001 - to the log, whatever it is
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stderr.flush()
        os._exit(code)


# --------------------------------------------------------------------------------------------------- in the harness


@dataclass
class Worker:
    """The worker of one case: started with a fault, and again without one whenever it has ended."""

    config: Config
    fault: Fault
    log: Path
    pid: int = 0
    starts: int = 0
    codes: list[int] = field(default_factory=list)

    def ensure(self) -> None:
        """Starts it if it does not run."""
        if self.pid and not self._has_ended():
            return
        fault = self.fault if self.starts == 0 else Fault(self.fault.kind, 0, False, self.fault.reached)
        self.starts += 1
        self.pid = os.fork()
        if self.pid == 0:
            _serve(self.config, fault, self.log)

    def _has_ended(self) -> bool:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid:
            self.codes.append(os.waitstatus_to_exitcode(status))
        return pid != 0

    def ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self._has_ended():
                self.pid = 0
                return True
            time.sleep(0.01)
        return False

    def kill(self) -> None:
        if self.pid:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self.pid, 0)


JOBS = (
    Job("a", "write_text", (("output", "log.txt"), ("text", "a\n"), ("append", 1))),
    Job("b", "draw_circles", (("output", "b{n}.png"), ("count", 2))),
    Job("c", "write_text", (("output", "log.txt"), ("text", "c\n"), ("append", 1), ("after", "a"), ("retries", 2))),
    Job("d", "write_text", (("output", "d.txt"), ("text", "d\n"))),
)
#: It serves again at the latest so long after a fault, and says 502 `no-child` until then.
SERVES_WITHIN_S = 10.0


class Talker:
    """A client that follows the protocol: says hello to each start, and sends again what has no answer."""

    def __init__(self, port: int, *, acknowledges: bool) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.socket.setblocking(False)
        self.hello = Hello("faults", 0, 0, acknowledges=int(acknowledges))
        self.target = ("127.0.0.1", port)
        self.boot = 0
        self.accepted: set[str] = set()
        self.finals: dict[str, set[Final]] = defaultdict(set)
        self.stopping = False

    def send(self, *commands: Command) -> None:
        for command in commands:
            with contextlib.suppress(OSError):  # nobody listens at this moment
                self.socket.sendto(osc.encode(command), self.target)

    def send_with_hello(self, *commands: Command) -> None:
        """Each in one packet with a hello: if that is lost alone while a worker starts, the job is another client's."""
        for command in commands:
            with contextlib.suppress(OSError):
                self.socket.sendto(osc.encode_bundle([self.hello, command]), self.target)

    def hear(self) -> None:
        while True:
            try:
                datagram = self.socket.recv(65_535)
            except BlockingIOError:
                return
            except ConnectionRefusedError:
                continue
            for report in osc.decode_reports(datagram):
                if isinstance(report, Welcome):
                    self.boot = report.boot
                elif isinstance(report, Accepted):
                    self.accepted.add(report.id)
                elif isinstance(report, Ready | Failed) and report.seq:
                    self.finals[report.id].add(report)
                    if self.hello.acknowledges:
                        self.send(Ack(report.seq))
                elif isinstance(report, Status):
                    self.stopping = self.stopping or report.word in ("Draining", "Stopping")


@dataclass(frozen=True)
class Case:
    """One fault, and what was wrong afterwards."""

    kind: str
    at: int
    dies: bool
    reached: bool
    wrong: tuple[str, ...]
    seconds: float
    log: str = ""

    def __str__(self) -> str:
        return f"{'dies at' if self.dies else 'fails:'} {self.kind} {self.at}"


def run_case(kind: str, at: int, *, dies: bool) -> Case:
    """One worker with one fault, from its start to its end."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="fault-"))
    try:
        config = Config(port=free_port(), text_port=1, number_port=1, workers=1, roots=(folder,), state=folder / "state")
        worker = Worker(config, Fault(kind, at, dies, folder / "reached"), folder / "worker.log")
        talkers = [Talker(config.port, acknowledges=acknowledges) for acknowledges in (False, True)]
        try:
            wrong = tuple(_story(worker, talkers, folder))
        finally:
            worker.kill()
            for talker in talkers:
                talker.socket.close()
        log = (folder / "worker.log").read_text(errors="replace") if wrong else ""
        return Case(kind, at, dies, (folder / "reached").exists(), wrong, time.monotonic() - began, log)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _story(worker: Worker, talkers: Sequence[Talker], folder: Path) -> Iterator[str]:
    plain, acknowledging = talkers
    deadline = time.monotonic() + CASE_S
    plain.send(Set("p", "operation", "noop"))
    if not _until_final(worker, {plain: JOBS, acknowledging: JOBS[1:2]}, deadline):
        missing = {job.id for job in JOBS} - {job_id for job_id, finals in plain.finals.items() if finals}
        yield f"no final within {CASE_S:g} s: {sorted(missing)} of one, {dict(acknowledging.finals)} of the other"
        return
    if not _serves_again(worker, plain):
        yield f"it does not serve any more: {[plain.finals[name] for name in plain.finals if name.startswith('last')]}"
        return
    yield from _finals_are_wrong(talkers)
    yield from _runs_are_wrong(plain, folder)
    for _ in range(int(ENDS_WITHIN_S / RESEND_S)):
        if not plain.stopping:
            plain.send(plain.hello, Quit())
        plain.hear()
        if worker.ends_within(RESEND_S):
            break
    else:
        yield f"it does not end within {ENDS_WITHIN_S:g} s"
    died_only_now = worker.fault.dies and worker.codes == [-signal.SIGKILL]  # all finals were in, and it was leaving
    if worker.codes[-1:] not in ([], [0]) and not died_only_now:
        yield f"exit code {worker.codes[-1]}"


def _serves_again(worker: Worker, talker: Talker) -> bool:
    """Whether a new job is ready; one that finds no child fails, and the next is tried."""
    deadline = time.monotonic() + SERVES_WITHIN_S
    for number in itertools.count():
        last = Job(f"last-{number}", "noop")
        if not _until_final(worker, {talker: (last,)}, deadline):
            return False
        if all(isinstance(final, Ready) for final in talker.finals[last.id]):
            return True
        time.sleep(RESEND_S)
    return False


def _until_final(worker: Worker, jobs: dict[Talker, Sequence[Job]], deadline: float) -> bool:
    """Sends the jobs, and again, until each has a final."""
    sent_at = float("-inf")
    while time.monotonic() < deadline:
        worker.ensure()
        for talker in jobs:
            talker.hear()
        open_jobs = {talker: [job for job in wanted if not talker.finals[job.id]] for talker, wanted in jobs.items()}
        if not any(open_jobs.values()):
            return True
        if time.monotonic() - sent_at >= RESEND_S:
            sent_at = time.monotonic()
            for talker, wanted in open_jobs.items():
                talker.send_with_hello(*wanted)
        time.sleep(0.005)
    return False


def _finals_are_wrong(talkers: Sequence[Talker]) -> Iterator[str]:
    for talker in talkers:
        time.sleep(0.01)
        talker.hear()
        for job_id, finals in talker.finals.items():
            if len(finals) != 1:
                yield f"{job_id} has {len(finals)} finals: {finals}"
        seqs = sorted(final.seq for finals in talker.finals.values() for final in finals)
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"the finals have the numbers {seqs}"


def _runs_are_wrong(talker: Talker, folder: Path) -> Iterator[str]:
    log = folder / "log.txt"
    ran = Counter(log.read_text().split()) if log.exists() else Counter[str]()
    for job_id in ("a", "c"):
        is_ready = any(isinstance(final, Ready) for final in talker.finals[job_id])
        if ran[job_id] > 1 or (is_ready and ran[job_id] != 1):
            yield f"{job_id} ran {ran[job_id]} times and is {'ready' if is_ready else 'failed'}"


def series(kinds: Sequence[str], first: int, last: int, step: int, budget_s: float) -> Iterator[Case]:
    """The cases, kinds in turn, each until its operation is not reached any more."""
    deadline = time.monotonic() + budget_s
    left = [(kind, dies) for dies in (False, True) for kind in kinds]
    for at in itertools.count(first, step):
        for kind, dies in tuple(left):
            if time.monotonic() >= deadline or at > last:
                return
            case = run_case(kind, at, dies=dies)
            yield case
            if not case.reached:
                left.remove((kind, dies))
        if not left:
            return


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--last", type=int, default=10_000)
    parser.add_argument("--step", type=int, default=1)
    parser.add_argument("--budget-s", type=float, default=3600.0, help="begin no case after this time")
    parser.add_argument("--verbose", action="store_true", help="the log of each worker with which something was wrong")
    options = parser.parse_args()
    cases = wrong = 0
    began = time.monotonic()
    for case in series(options.kinds, options.first, options.last, options.step, options.budget_s):
        cases += 1
        if case.wrong:
            wrong += 1
            print(f"{case}: {'; '.join(case.wrong)}", flush=True)
            if options.verbose:
                print(case.log)
        elif options.verbose:
            print(f"{case}: {case.seconds:.2f} s{'' if case.reached else ', not reached'}", flush=True)
    print(f"{cases} cases in {time.monotonic() - began:.1f} s, something was wrong in {wrong}")
    return 1 if wrong or not cases else 0


if __name__ == "__main__":
    sys.exit(main())
