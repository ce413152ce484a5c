"""`demo`: a real worker in a process of its own, and the jobs that would have blocked TouchDesigner, over real UDP."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.cli import examples, show
from worker.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from worker.client.client import Client
    from worker.protocol.messages import Report, Status

FRAME_MS = 1000 / 60
_STARTS = 15  # tries of a second each
_WORDS_S = 5.0
_END_S = 5.0


@click.command(
    epilog="""It starts a worker on a free port of 127.0.0.1, sends the jobs of three TouchDesigner scripts over UDP,
checks what stands on the disk afterwards, and ends the worker. It opens no window and needs no TouchDesigner.

\b
Exit codes:
  0    everything arrived and every file is as it should be
  1    something is missing; the last lines say what
  130  Ctrl-C
"""
)
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("demo-output"),
    show_default=True,
    metavar="DIR",
    help="Folder to write into.",
)
def demo(*, output: Path) -> None:
    """Watch a worker do TouchDesigner's slow jobs."""
    with contextlib.suppress(ValueError):  # not in the main thread, as in tests
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(_demo(output.resolve()))
    except KeyboardInterrupt:
        show.note("Interrupted; the worker of the demo has been ended.")
        sys.exit(show.INTERRUPTED)
    except OSError as error:
        show.complain(f"The demo cannot run: {error.strerror or error}" + (f": {error.filename}." if error.filename else "."))
        sys.exit(show.FAILED)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _demo(folder: Path) -> int:
    from worker.client.client import RemoteError

    folder.mkdir(parents=True, exist_ok=True)
    examples.remove_old(folder)
    port = _free_port()
    begin = time.monotonic()
    try:
        with _worker(folder, port) as worker:
            record = asyncio.run(_talk(folder, port, worker, begin))
    except RemoteError as error:
        show.complain(str(error), f"The worker's own words are in {folder / 'worker.log'}.")
        return show.FAILED
    show.say("The worker has ended. Now the same work in one plain process, to compare ...")
    _print_table(record, _blocked_ms(folder))
    for problem in record.problems:
        show.complain(problem)
    if record.problems:
        return show.FAILED
    show.say(f"Everything arrived. It stands in {folder}")
    return show.READY


# ---------------------------------------------------------------------------------------------------------- the worker


@contextlib.contextmanager
def _worker(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own, which is gone afterwards in any case."""
    command = [sys.executable, "-m", "worker", "serve", "--config", os.devnull, "--log-level", "warning"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--root", str(folder), "--no-journal"]
    command += ["--parent-pid", str(os.getpid())]  # it ends with us, whatever happens to us
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
        try:
            yield process
        except BaseException:
            process.terminate()
            raise
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """It has been asked already. If it does not end by itself, it is told to, and then made to."""
    for insist in (process.terminate, process.kill):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_END_S)
            return
        insist()
    process.wait()


def _free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


# ------------------------------------------------------------------------------------------------------------ the jobs


@dataclass(slots=True)
class _Done:
    """One example that has run."""

    name: str
    checked: examples.Checked
    run_ms: int


@dataclass(slots=True)
class _Record:
    """What the demo has seen."""

    done: list[_Done] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Watcher:
    """Prints each status word as it comes, and remembers it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self._bars: show.Bars | None = None
        self._changed = asyncio.Event()

    def hear(self, report: Report) -> None:
        from worker.protocol.messages import Status

        if not isinstance(report, Status):
            return
        if [report.word] != self.words[-1:]:
            self.words.append(report.word)
            self._changed.set()
            line = _stamped(f"/worker/status {report.word}{_load(report)}")
            if self._bars is None:
                show.say(line)
            else:
                self._bars.line(line)

    @contextlib.contextmanager
    def printing_above(self, bars: show.Bars) -> Iterator[None]:
        """The words stand above the live bars meanwhile."""
        self._bars = bars
        try:
            yield
        finally:
            self._bars = None

    async def wait_for_both(self, before: int) -> list[str]:
        """The words since there were `before` of them, as soon as they hold Processing and end with Ready."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WORDS_S):
                while "Processing" not in self.words[before:] or self.words[-1] != "Ready":
                    self._changed.clear()
                    await self._changed.wait()
        return self.words[before:]


async def _talk(folder: Path, port: int, worker: subprocess.Popen[bytes], begin: float) -> _Record:
    from worker.catalog.table import CATALOG
    from worker.client.client import WorkerSilent

    record, watcher = _Record(), _Watcher()
    show.say(f"Starting a worker on 127.0.0.1:{port} (UDP), which writes into {folder}")
    async with await _connected(port, worker, watcher) as client:
        show.say(_stamped(f"it answers, {time.monotonic() - begin:.2f} s after its start (process {worker.pid})"))
        await (await client.submit(CATALOG.probe.name)).result()
        show.say(_stamped(f"its first child process works, {time.monotonic() - begin:.2f} s after its start"))
        with show.bars(error=False) as bars, watcher.printing_above(bars):
            await _run_all(folder, client, bars, watcher, record)
        with contextlib.suppress(WorkerSilent):
            await client.quit()
    return record


async def _connected(port: int, worker: subprocess.Popen[bytes], watcher: _Watcher) -> Client:
    """A client of the worker, as soon as it answers.

    Raises:
        WorkerSilent: it has ended, or does not answer.
    """
    from worker.client.client import Client, WorkerSilent

    for _ in range(_STARTS):
        client = Client(port=port, name="demo", connect_s=1.0, on_report=watcher.hear)
        with contextlib.suppress(WorkerSilent):
            return await client.connect()
        if worker.poll() is not None:
            raise WorkerSilent("The worker ended right after its start.")
    raise WorkerSilent(f"The worker did not answer within {_STARTS} s.")


async def _run_all(folder: Path, client: Client, bars: show.Bars, watcher: _Watcher, record: _Record) -> None:
    drawn: Sequence[examples.Item] = ()
    for example in examples.examples():
        items = await _run_one(folder, client, bars, watcher, record, example=example)
        drawn = items or drawn
    if drawn:
        await _run_one(folder, client, bars, watcher, record, example=examples.looking_at(drawn))


async def _run_one(
    folder: Path, client: Client, bars: show.Bars, watcher: _Watcher, record: _Record, *, example: examples.Example
) -> Sequence[examples.Item]:
    """Sends one job, shows its life, and checks what it wrote."""
    from worker.client.client import JobFailed, RemoteError
    from worker.protocol.messages import Progress

    bars.add(example.name)
    before = len(watcher.words)
    try:
        job = await client.submit(example.operation, example.params)
        async for report in job:
            if isinstance(report, Progress):
                bars.update(example.name, report.step, report.steps)
        result = await job.result()
    except RemoteError as error:
        bars.finish(example.name, "failed")
        hint = error.hint if isinstance(error, JobFailed) else ""
        record.problems.append(f"{example.name}: {error} {hint}".strip())
        return ()
    bars.finish(example.name, f"ready in {show.duration(result.ready.run_ms)}")
    words = await watcher.wait_for_both(before)
    checked = example.check(folder, result.items)
    record.done.append(_Done(example.name, checked, result.ready.run_ms))
    told = sum(file.size_bytes for file in result.files)
    record.problems += problems(example.name, checked, told, words)
    return result.items


def problems(name: str, checked: examples.Checked, told_bytes: int, words: Sequence[str]) -> list[str]:
    """What is wrong after an example, each as a sentence.

    >>> problems("a", examples.Checked("a.txt", 5, "1 line"), 5, ["Processing", "Ready"])
    []
    >>> problems("a", examples.Checked("a.txt", 5, "1 line"), 4, ["Ready"])
    ['a: the worker told of 4 bytes, on the disk are 5.', 'a: the status word Processing did not come.']
    """
    found = [f"{name}: {checked.problem}"] if checked.problem else []
    if told_bytes != checked.size_bytes:
        found.append(f"{name}: the worker told of {told_bytes} bytes, on the disk are {checked.size_bytes}.")
    missing = [word for word in ("Processing", "Ready") if word not in words]
    return found + [f"{name}: the status word {word} did not come." for word in missing]


def _stamped(text: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S.%f}"[:-3] + "  " + text


def _load(status: Status) -> str:
    return f"  ({status.running} running, {status.queued} waiting)" if status.running or status.queued else ""


# ----------------------------------------------------------------------------------------------------------- the table


def _blocked_ms(folder: Path) -> dict[str, float]:
    """The same operations in a plain process without a worker; empty if that did not work."""
    command = [sys.executable, "-m", "worker.cli.blocking", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        show.note(f"The comparison did not work: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    return {str(name): float(ms) for name, ms in json.loads(done.stdout).items()}


def _print_table(record: _Record, blocked_ms: dict[str, float]) -> None:
    columns = ("example", "written", "bytes", "checked", "worker", "TD blocked", "frames")
    rows = [_row(done.name, done.checked, done.run_ms, blocked_ms.get(done.name)) for done in record.done]
    run_ms = sum(done.run_ms for done in record.done)
    total = examples.Checked("", sum(done.checked.size_bytes for done in record.done), "")
    rows.append(_row("together", total, run_ms, sum(blocked_ms.values()) if blocked_ms else None))
    caption = (
        "worker: from start to ready, by the worker's own clock. TD blocked: the same operations, measured just now in one plain process "
        "on one thread without a worker; so long TouchDesigner's main thread would have stood still. frames: of 16.7 ms (60 a second)."
    )
    show.table("", columns, rows, right=("bytes", "worker", "TD blocked", "frames"), caption=caption)


def _row(name: str, checked: examples.Checked, run_ms: float, blocked_ms: float | None) -> tuple[str, ...]:
    blocked = ("?", "?") if blocked_ms is None else (f"{blocked_ms:.0f} ms", f"{blocked_ms / FRAME_MS:.1f}")
    return (name, checked.what, f"{checked.size_bytes:,}", checked.found, f"{run_ms:.0f} ms", *blocked)
