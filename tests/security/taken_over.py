"""What a child process tries when somebody has taken it over. Every attempt is real; none of them destroys anything if it works."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

from worker.core.jobs import Failure, Outcome, Task
from worker.executors.base import RunTask
from worker.files.paths import FileRules
from worker.tasks import prepare

WORKS = "works"
_PTRACE_ATTACH = 16


def make_run_task(rules: FileRules, outside: Path, *, confined: bool = True) -> RunTask:
    """As the worker's own; but the text of `write_text` names an attempt, and the outcome says how it went."""
    run_task = prepare.make_run_task(rules, confined=confined)
    root = rules.resolved_roots[0]

    def run(task: Task, progress: Callable[[int], None]) -> Outcome:
        name = getattr(task.params, "text", "")
        if name not in ATTEMPTS:
            return run_task(task, progress)
        return Failure(500, name, how(lambda: ATTEMPTS[name](root, outside)), "", False)

    return run


def how(attempt: Callable[[], object]) -> str:
    """Which error came, or `WORKS`."""
    try:
        attempt()
    except OSError as error:
        return type(error).__name__
    return WORKS


def _in_a_thread(root: Path, outside: Path) -> None:
    """Threads that start later are closed in, too."""
    seen: list[str] = []
    thread = threading.Thread(target=lambda: seen.append(how((outside / "secret.txt").read_text)))
    thread.start()
    thread.join()
    if seen != [WORKS]:
        raise PermissionError(seen)


def _call(name: str, *arguments: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _terminal(root: Path, outside: Path) -> None:
    """Presses a key in the terminal; without one the kernel says ENOTTY, which is not what is looked for."""
    import fcntl
    import termios

    with (root / "a.txt").open("w") as file:
        try:
            fcntl.ioctl(file, termios.TIOCSTI, b"x")
        except PermissionError:
            raise
        except OSError:
            return


def _limit(root: Path, outside: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    try:
        resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
    except ValueError as error:  # as Python says it
        raise PermissionError from error


def _fork(root: Path, outside: Path) -> None:
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)


def _times(path: Path) -> None:
    with path.open("rb") as file:
        os.utime(file.fileno(), (1e9, 1e9))


ATTEMPTS: dict[str, Callable[[Path, Path], object]] = {
    "write outside": lambda _root, outside: (outside / "evil.txt").write_text("x"),
    "replace outside": lambda _root, outside: (outside / "old.txt").replace(outside / "new.txt"),
    "cut outside": lambda _root, outside: os.truncate(outside / "old.txt", 0),
    "remove outside": lambda _root, outside: (outside / "old.txt").unlink(),
    "make a folder outside": lambda _root, outside: (outside / "folder").mkdir(),
    "read outside": lambda _root, outside: (outside / "secret.txt").read_text(),
    "list outside": lambda _root, outside: list(outside.iterdir()),
    "read outside through its own link": lambda root, _outside: (root / "link.txt").read_text(),
    "read outside in a thread": _in_a_thread,
    "write into a read root": lambda root, _outside: (root.parent / "read" / "a.png").open("a").close(),
    "read the users": lambda *_: Path("/etc/passwd").read_text(),
    "read the command line of the parent": lambda *_: Path(f"/proc/{os.getppid()}/cmdline").read_bytes(),
    "read the memory of the parent": lambda *_: Path(f"/proc/{os.getppid()}/mem").open("rb").close(),
    "write code": lambda *_: Path(prepare.__file__).open("a").close(),
    "make a link": lambda root, outside: (root / "new.txt").symlink_to(outside / "secret.txt"),
    "make a pipe": lambda root, _outside: os.mkfifo(root / "pipe.txt"),
    "make a program": lambda root, _outside: (root / "a.txt").chmod(0o755),
    "change rights outside": lambda _root, outside: (outside / "secret.txt").chmod(0o777),
    "change times outside": lambda _root, outside: os.utime(outside / "secret.txt"),
    "change times below the root by name": lambda root, _outside: os.utime(root / "a.txt"),
    "open a UDP socket": lambda *_: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
    "open a TCP socket": lambda *_: socket.socket(socket.AF_INET6, socket.SOCK_STREAM).close(),
    "open a local socket": lambda *_: socket.socket(socket.AF_UNIX).close(),
    "run a program": lambda *_: subprocess.run(["/bin/true"], check=True),
    "replace itself by a program": lambda *_: os.execv("/bin/false", ["false"]),
    "fork": _fork,
    "signal to the parent": lambda *_: os.kill(os.getppid(), 0),
    "signal to everybody": lambda *_: os.kill(-1, 0),
    "signal through a handle": lambda *_: os.close(os.pidfd_open(os.getppid())),
    "trace the parent": lambda *_: _call("ptrace", _PTRACE_ATTACH, os.getppid(), None, None),
    "raise its own limit": _limit,
    "lower a limit of the parent": lambda *_: resource.prlimit(os.getppid(), resource.RLIMIT_CORE, (0, 0)),
    "outlive the parent": lambda *_: _call("prctl", 1, 0, 0, 0, 0),
    "a new root": lambda root, _outside: os.chroot(root),
    "a name space": lambda *_: _call("unshare", 0x10000000),
    "press a key in the terminal": _terminal,
    "make a device": lambda root, _outside: os.mknod(root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3)),
}

#: What the worker itself does, and what must go on.
ALLOWED: dict[str, Callable[[Path, Path], object]] = {
    "a signal to itself": lambda *_: os.kill(os.getpid(), 0),
    "a thread": lambda *_: threading.Thread(target=int).start(),
    "its own limits": lambda *_: resource.getrlimit(resource.RLIMIT_DATA),
    "its own memory": lambda *_: Path("/proc/self/status").read_text(),
    "a signal to its own thread": lambda *_: signal.raise_signal(signal.SIGINT),  # ignored in children
    "random numbers": lambda *_: os.close(os.open("/dev/urandom", os.O_RDONLY)),
    "nothing": lambda *_: Path(os.devnull).write_text("x"),
    "the times of an open file": lambda root, _outside: _times(root / "a.txt"),
    "a lazy import": lambda *_: __import__("xml.dom.minidom"),
}
ATTEMPTS |= ALLOWED
