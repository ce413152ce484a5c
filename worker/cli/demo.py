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

import worker
from worker.cli import examples, show
from worker.settings import ENVIRONMENT_PREFIX

if TYPE_CHECKING:
    from worker.client.client import Client
    from worker.protocol.messages import Report, Status

#: -P: a user's own queue.py or cv2.py in the current folder is not imported.
_PYTHON = (sys.executable, "-P")
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
@click.option("--gif", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Also make an animation of what happened.")
def demo(*, output: Path, gif: Path | None) -> None:
    """Watch a worker do TouchDesigner's slow jobs."""
    with contextlib.suppress(ValueError):  # not in the main thread, as in tests
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        sys.exit(_demo(output.resolve(), gif.resolve() if gif else None))
    except KeyboardInterrupt:
        show.note("Interrupted; the worker of the demo has been ended.")
        sys.exit(show.INTERRUPTED)
    except OSError as error:
        show.complain(f"The demo cannot run: {error.strerror or error}" + (f": {error.filename}." if error.filename else "."))
        sys.exit(show.FAILED)


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _demo(folder: Path, gif: Path | None) -> int:
    from worker.client.client import RemoteError

    folder.mkdir(parents=True, exist_ok=True)
    examples.remove_old(folder)
    examples.prepare(folder)
    port = _free_port()
    begin = time.monotonic()
    try:
        with _worker(folder, port) as worker:
            record = asyncio.run(_talk(folder, port, worker, begin))
    except RemoteError as error:
        show.complain(str(error), f"The worker's own words are in {folder / 'worker.log'}.")
        return show.FAILED
    show.say("The worker has ended. Now the same work in one plain process, to compare ...")
    blocked_ms = _blocked_ms(folder)
    _print_table(record, blocked_ms)
    record.problems += _pictures(folder, gif, _story(record, blocked_ms))
    for problem in record.problems:
        show.complain(problem)
    if record.problems:
        return show.FAILED
    _print_what_next(folder)
    return show.READY


# ---------------------------------------------------------------------------------------------------------- the worker


@contextlib.contextmanager
def _worker(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """A worker as a process of its own, which is gone afterwards in any case."""
    command = [*_PYTHON, "-m", "worker", "serve", "--config", os.devnull, "--log-level", "warning"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--root", str(folder), "--no-journal"]
    command += ["--parent-pid", str(os.getpid())]  # it ends with us, whatever happens to us
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, env=_environment())  # noqa: S603
        try:
            yield process
        except BaseException:
            process.terminate()
            raise
        finally:
            _end(process)


def _environment() -> dict[str, str]:
    """Ours without settings of a worker. Our package is found, and nothing that lies in the current folder."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(ENVIRONMENT_PREFIX)}
    paths = [str(Path(worker.__file__).parents[1]), ours.get("PYTHONPATH", "")]
    return ours | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


def _end(process: subprocess.Popen[bytes]) -> None:
    """The worker was already asked to end. If it does not, it gets a signal, and then it is killed."""
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
    """One example that has run.

    Attributes:
        run_ms: from its start to its end, by the worker's clock.
        waits_ms: how long a sender's thread is busy with it.
        lists_ms: and how long with all rows and files that it found and wrote, if it wants to read them.
        between_ms: when it was sent, and when its end was heard.
        steps: how many steps were done, and when that was heard.
    """

    name: str
    checked: examples.Checked
    run_ms: int
    waits_ms: float
    lists_ms: float
    between_ms: tuple[float, float]
    steps: list[tuple[float, int]]


@dataclass(slots=True)
class _Record:
    """What the demo has seen."""

    done: list[_Done] = field(default_factory=list)
    words: list[tuple[float, str]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class _Watcher:
    """Prints each status word as it comes, and remembers it."""

    def __init__(self) -> None:
        self.words: list[str] = []
        self.reports: list[Report] = []
        self.told: list[tuple[float, str]] = []
        self._bars: show.Bars | None = None
        self._changed = asyncio.Event()

    def hear(self, report: Report) -> None:
        from worker.protocol.messages import Status

        self.reports.append(report)
        if not isinstance(report, Status):
            return
        if [report.word] != self.words[-1:]:
            self.words.append(report.word)
            self.told.append((_now_ms(), report.word))
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
    await _run_one(folder, client, bars, watcher, record, example=examples.photograph())
    record.words = watcher.told


async def _run_one(
    folder: Path, client: Client, bars: show.Bars, watcher: _Watcher, record: _Record, *, example: examples.Example
) -> Sequence[examples.Item]:
    """Sends one job, shows its life, and checks what it wrote."""
    from worker.client.client import JobFailed, RemoteError
    from worker.protocol.messages import Progress

    bars.add(example.name)
    before, heard, began, steps = len(watcher.words), len(watcher.reports), _now_ms(), [(_now_ms(), 0)]
    try:
        job = await client.submit(example.operation, example.params)
        async for report in job:
            if isinstance(report, Progress):
                bars.update(example.name, report.step, report.steps)
                steps.append((_now_ms(), report.step))
        result = await job.result()
    except RemoteError as error:
        bars.finish(example.name, "failed")
        hint = error.hint if isinstance(error, JobFailed) else ""
        record.problems.append(f"{example.name}: {error} {hint}".strip())
        return ()
    bars.finish(example.name, f"ready in {show.duration(result.ready.run_ms)}")
    ended = _now_ms()
    words = await watcher.wait_for_both(before)
    checked = example.check(folder, result.items)
    waits_ms, lists_ms = busy_ms(example, watcher.reports[heard:])
    record.done.append(_Done(example.name, checked, result.ready.run_ms, waits_ms, lists_ms, (began, ended), steps))
    told = sum(file.size_bytes for file in result.files)
    record.problems += problems(example.name, checked, told, words)
    return result.items


def problems(name: str, checked: examples.Checked, told_bytes: int, words: Sequence[str]) -> list[str]:
    """What is wrong after an example, each as a sentence.

    >>> problems("a", examples.Checked("a.txt", 5, "1 line"), 5, ["Processing", "Ready"])
    []
    >>> problems("a", examples.Checked("a.txt", 5, "1 line"), 4, ["Ready"])
    ['a: the worker reported 4 bytes, on the disk are 5.', 'a: the status word Processing did not come.']
    """
    found = [f"{name}: {checked.problem}"] if checked.problem else []
    if told_bytes != checked.size_bytes:
        found.append(f"{name}: the worker reported {told_bytes} bytes, on the disk are {checked.size_bytes}.")
    missing = [word for word in ("Processing", "Ready") if word not in words]
    return found + [f"{name}: the status word {word} did not come." for word in missing]


def _stamped(text: str) -> str:
    return f"{datetime.now().astimezone():%H:%M:%S.%f}"[:-3] + "  " + text


def _load(status: Status) -> str:
    return f"  ({status.running} running, {status.queued} waiting)" if status.running or status.queued else ""


# ----------------------------------------------------------------------------------------------------------- the table


def busy_ms(example: examples.Example, reports: Sequence[Report]) -> tuple[float, float]:
    """How long a sender's thread is busy with one job, measured here and now.

    Returns:
        Milliseconds for encoding and sending the job, and decoding what is reported about it; and for decoding its rows and files.
    """
    from worker.protocol import osc
    from worker.protocol.messages import File, Job, ResultRows

    lists = [osc.encode(report) for report in reports if isinstance(report, File | ResultRows)]
    others = [osc.encode(report) for report in reports if not isinstance(report, File | ResultRows)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        sink.bind(("127.0.0.1", 0))
        begin = time.perf_counter()
        udp.sendto(osc.encode(Job("demo", example.operation, tuple(example.params.items()))), sink.getsockname())
        for datagram in others:
            osc.decode_reports(datagram)
        between = time.perf_counter()
        for datagram in lists:
            osc.decode_reports(datagram)
        return (between - begin) * 1000, (time.perf_counter() - between) * 1000


def _now_ms() -> float:
    return time.monotonic() * 1000


def _blocked_ms(folder: Path) -> dict[str, float]:
    """The same operations in a plain process without a worker; empty if that did not work."""
    command = [*_PYTHON, "-m", "worker.cli.blocking", str(folder)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=_environment())  # noqa: S603
    if done.returncode:
        show.note(f"The comparison did not work: {done.stderr.strip().splitlines()[-1:]}")
        return {}
    return {str(name): float(ms) for name, ms in json.loads(done.stdout).items()}


def _print_table(record: _Record, blocked_ms: dict[str, float]) -> None:
    columns = ("example", "checked on the disk", "TD waits with worker", "TD waits without", "frames lost without", "ready after")
    rows = [_row(done.name, done.checked.found, done.waits_ms, blocked_ms.get(done.name), done.run_ms) for done in record.done]
    waits_ms, run_ms = sum(done.waits_ms for done in record.done), sum(done.run_ms for done in record.done)
    files = sum(done.checked.size_bytes for done in record.done)
    without_ms = sum(blocked_ms.values()) if blocked_ms else None
    rows.append(_row("together", f"{files:,} bytes", waits_ms, without_ms, run_ms))
    caption = (
        "with worker: TouchDesigner's main thread sends the job and reads what is reported about it. "
        f"The lists of all rows and files, if they are wanted, take {sum(done.lists_ms for done in record.done):.0f} ms more. "
        "without: the same work on one thread, measured just now; TouchDesigner would wait as long, and lose so many frames of 16.7 ms. "
        "ready after: the worker's time, while TouchDesigner goes on drawing."
    )
    show.table("", columns, rows, right=columns[2:], caption=caption)
    if without_ms is not None:
        show.say(f"TouchDesigner waits {waits_ms:.1f} ms with the worker. Without it: {without_ms:.0f} ms, {_frames(without_ms)} frames.")
        show.say()


def _row(name: str, found: str, waits_ms: float, blocked_ms: float | None, run_ms: int) -> tuple[str, ...]:
    blocked = ("?", "?") if blocked_ms is None else (f"{blocked_ms:.0f} ms", _frames(blocked_ms))
    return (name, found, f"{waits_ms:.1f} ms", *blocked, f"{run_ms} ms")


def _frames(ms: float) -> str:
    return f"{ms / FRAME_MS:.0f}"


# -------------------------------------------------------------------------------------------------------- the pictures


def _story(record: _Record, blocked_ms: dict[str, float]) -> dict[str, object]:
    """What the animation shows; times in ms since the first job."""
    begin = record.done[0].between_ms[0] if record.done else 0.0
    drawn = [(*done.steps, (done.between_ms[1], examples.IMAGES)) for done in record.done if "{n}" in done.checked.what]
    return {
        "words": [(max(0.0, at - begin), f"/worker/status {word}") for at, word in record.words if at >= begin - FRAME_MS],
        "drawing": [(at - begin, count) for steps in drawn for at, count in steps] or [(0.0, 0)],
        "with_ms": sum(done.waits_ms for done in record.done),
        "without_ms": sum(blocked_ms.values()),
    }


def _pictures(folder: Path, gif: Path | None, story: dict[str, object]) -> list[str]:
    """Makes the contact sheet, and the animation if one is wanted. What is wrong, as sentences."""
    command = [*_PYTHON, "-m", "worker.cli.demo_pictures", str(folder), *([str(gif)] if gif else [])]
    done = subprocess.run(command, input=json.dumps(story), capture_output=True, text=True, check=False, env=_environment())  # noqa: S603
    if done.returncode:
        return [f"The pictures could not be made: {(done.stderr.strip().splitlines() or ['no reason given'])[-1]}"]
    return [f"{path} was not written." for path in (folder / examples.CONTACT_SHEET, *([gif] if gif else [])) if not path.is_file()]


def _print_what_next(folder: Path) -> None:
    show.say(f"Everything arrived. The files are in {folder}", whole=True)
    show.say(f"  all {examples.IMAGES} images   {folder / examples.CONTACT_SHEET}", whole=True)
    show.say(f"  circles found    {folder / examples.OVERLAY}", whole=True)
    show.say("")
    show.say("Next:")
    for command, why in examples.next_commands(folder):
        show.say(f"  {why}:")
        show.say(f"    {command}", whole=True)
