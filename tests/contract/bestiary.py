"""Tasks that do what tasks should not, by name. Importable by spawned children as `tests.contract.bestiary`.

`Task.params` is not looked at; what to do stands in `Task.operation`, with an argument behind a colon. In the operation `as_told` it stands
in `Task.joined`, so that what behaves differently can have the same name.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from worker.core.jobs import Result, Task
from worker.files.whole import WrittenFile

Progress = Callable[[int], None]


def make_run_task() -> Callable[[Task, Progress], Any]:
    """What a child calls once at its start."""
    return run_task


def make_run_task_that_fails() -> Callable[[Task, Progress], Any]:
    """A child that cannot even start."""
    raise RuntimeError("This child cannot start.")


def make_run_task_after(marker: str) -> Callable[[Task, Progress], Any]:
    """A child that can start as soon as a file is there."""
    if not Path(marker).exists():
        raise RuntimeError("This child cannot start yet.")
    return run_task


def make_run_task_that_exits() -> Callable[[Task, Progress], Any]:
    """A child that ends while it starts."""
    os._exit(7)


def run_task(task: Task, progress: Progress) -> Any:
    """Does what the task's operation says."""
    name, _, argument = (task.joined.kind if task.operation == "as_told" else task.operation).partition(":")
    if name == "gives_back":
        return task.joined
    return BEASTS[name](argument, progress)


def works(argument: str, _progress: Progress) -> Result:
    """Gives its argument back, as the name of a file."""
    return Result(files=(WrittenFile(argument, os.getpid()),))


def works_slowly(argument: str, progress: Progress) -> Result:
    for step in range(1, 11):
        time.sleep(0.05)
        progress(step)
    return works(argument, progress)


def works_until(marker: str, _progress: Progress) -> Result:
    begun = Path(f"{marker}.begun.part")
    begun.write_text(str(os.getpid()))
    begun.rename(f"{marker}.begun")  # who sees it reads the whole number
    while not Path(marker).exists():
        time.sleep(0.01)
    return Result()


def gives_much(argument: str, _progress: Progress) -> Result:
    """More than any pipe holds."""
    return Result("circles", ("n",), tuple((float(n),) for n in range(int(argument))))


def leaves_a_line(argument: str, progress: Progress) -> Result:
    """As an append does: it leaves a trace each time it runs. Then it waits until another file says that it may go on."""
    path = Path(argument)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"{os.getpid()}\n")
    while not path.with_suffix(".go").exists():
        time.sleep(0.02)
    return works(argument, progress)


def segfaults(_argument: str, _progress: Progress) -> Result:
    ctypes.CDLL(None).raise_(signal.SIGSEGV) if hasattr(ctypes.CDLL(None), "raise_") else ctypes.string_at(0)
    return Result()


def is_killed(_argument: str, _progress: Progress) -> Result:
    """As by the system, for memory."""
    os.kill(os.getpid(), signal.SIGKILL)
    return Result()


def exits(argument: str, _progress: Progress) -> Result:
    os._exit(int(argument))


def exits_in_python(argument: str, _progress: Progress) -> Result:
    sys.exit(int(argument))


def sleeps_in_native_code(marker: str, _progress: Progress) -> Result:
    """For ever, without letting any other thread of its process run: PyDLL keeps the interpreter's lock."""
    Path(marker).touch()
    ctypes.PyDLL(None).sleep(10_000)
    return Result()


def ignores_termination(marker: str, _progress: Progress) -> Result:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Path(marker).touch()
    while True:
        time.sleep(10_000)


def closes_everything(_argument: str, _progress: Progress) -> Result:
    """The pipe to the parent is among what it closes."""
    os.closerange(3, 1000)
    time.sleep(10_000)
    return Result()


def allocates_without_end(_argument: str, _progress: Progress) -> Result:
    """Until the limit that it has set itself, so that the machine is safe."""
    import resource

    used = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    limit = used + 200 * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.getrlimit(resource.RLIMIT_AS)[1]))
    kept = []
    while True:
        kept.append(bytearray(2**20))


def prints_much(argument: str, progress: Progress) -> Result:
    """A hundred megabytes."""
    line = "x" * 1023 + "\n"
    for _ in range(50 * 1024):
        sys.stdout.write(line)
        os.write(1, line.encode())
    return works(argument, progress)


def tells_much(argument: str, progress: Progress) -> Result:
    """More progress than anybody wants."""
    for step in range(200_000):
        progress(step)
    return works(argument, progress)


def returns_a_lambda(_argument: str, _progress: Progress) -> Any:
    return lambda: None


class _Poison:
    """Can be packed, and not unpacked."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpack_poison, ()


def _unpack_poison() -> None:
    raise ValueError("This was never meant to be unpacked.")


def returns_poison(_argument: str, _progress: Progress) -> Any:
    return _Poison()


def speaks_for_itself(argument: str, _progress: Progress) -> Any:
    """As one that was taken over by a picture: it sends bytes of its own choice up to the parent."""
    import gc

    from worker.executors.child import Parent

    (parent,) = [one for one in gc.get_objects() if isinstance(one, Parent)]
    parent.say(bytes.fromhex(argument))
    time.sleep(10_000)


def stops_while_it_answers(argument: str, _progress: Progress) -> Any:
    """A large result whose child is stopped by the system when a part of it has left."""
    import threading

    pid = os.getpid()
    threading.Timer(0.2, lambda: os.kill(pid, signal.SIGSTOP)).start()
    path, _, count = argument.rpartition(":")
    Path(path).write_text(str(pid), encoding="ascii")
    return gives_much(count, _progress)


def raises(_argument: str, _progress: Progress) -> Any:
    raise RuntimeError("A task that raises.")


def recurses(argument: str, progress: Progress) -> Any:
    return recurses(argument, progress)


BEASTS: dict[str, Callable[[str, Progress], Any]] = {
    function.__name__: function
    for function in (
        works,
        works_slowly,
        works_until,
        gives_much,
        leaves_a_line,
        segfaults,
        is_killed,
        exits,
        exits_in_python,
        sleeps_in_native_code,
        ignores_termination,
        closes_everything,
        allocates_without_end,
        prints_much,
        tells_much,
        returns_a_lambda,
        returns_poison,
        raises,
        recurses,
        speaks_for_itself,
        stops_while_it_answers,
    )
}
