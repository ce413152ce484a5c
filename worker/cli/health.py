"""`health`: whether a worker works, for a container's health check, a service manager or a script."""

from __future__ import annotations

import contextlib
import sys
import time
import uuid
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.catalog.table import CATALOG
from worker.cli import show
from worker.cli.settings import AnyNumber, worker_address
from worker.client.line import ASK_AGAIN_S, Line, NobodyListens
from worker.errors import DeadlineExceeded, Draining, Expired, QueueFull
from worker.protocol import addresses
from worker.protocol.messages import Failed, Health, Hello, Job, Nodes, Ready, Welcome
from worker.words import counted

if TYPE_CHECKING:
    import psutil

#: A worker knows a limited number of clients by their port, so all checks use one port. If it is taken, any other is used.
_OUR_PORT = addresses.COMMAND_PORT - 1
_LAST_CHANCE_S = 1.0
#: The canary goes through a child every 5 s; after this time without a sign of life a worker does not recover by itself.
_DEAD_CANARY_S = 180.0
#: Behind Python, its own options (`-P -X utf8`) and `-m`.
_LAST_PLACE = 6


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the check has found.

    Attributes:
        hangs: it does not recover by itself.
    """

    well: bool
    sentence: str
    hangs: bool = False


@click.command(
    epilog="""\b
Examples:
  td-image-worker health
  td-image-worker health --host 192.168.0.20 --port 9470 --max-age-s 30

It sends a job that does nothing through the queue and a child process; its id begins with health-. If the worker is too busy for this
job, it is well if a child process showed a sign of life not longer than --max-age-s ago.

\b
Exit codes:
  0    well
  1    not well; one sentence says why
"""
)
@worker_address
@click.option(
    "--max-age-s",
    type=AnyNumber(0, min_open=True),
    default=20.0,
    show_default=True,
    metavar="S",
    help="Maximum age of the last sign of life from a child process, in seconds.",
)
@click.option(
    "--wait-s",
    type=AnyNumber(0, min_open=True),
    default=5.0,
    show_default=True,
    metavar="S",
    help="Maximum time to wait for the worker and for the job, in seconds.",
)
@click.option(
    "--end-after-s",
    type=AnyNumber(0),
    default=0.0,
    metavar="S",
    help="Kill a worker on this computer that says nothing for S seconds, so that its service starts it again.  [default: never]",
)
@click.option(
    "--start-s",
    type=AnyNumber(0),
    default=60.0,
    show_default=True,
    metavar="S",
    help="A worker younger than S seconds is not killed.",
)
def health(*, host: str, port: int, token: str, max_age_s: float, wait_s: float, end_after_s: float, start_s: float) -> None:
    """Check that a running worker works, by a job."""
    verdict = check(host, port, token, max_age_s=max_age_s, wait_s=wait_s, patience_s=end_after_s)
    show.say(verdict.sentence)
    if verdict.hangs and end_after_s:
        _end(port, start_s)
    sys.exit(0 if verdict.well else 1)


def check(host: str, port: int, token: str, *, max_age_s: float, wait_s: float, patience_s: float = 0.0) -> Verdict:
    """Says hello, sends a job, and waits for its final and for the age of the canary.

    Args:
        host: where the worker is.
        port: its command port.
        token: if the worker wants one.
        max_age_s: maximum age of the last sign of life from a child process.
        wait_s: maximum time to wait for the job.
        patience_s: maximum time to wait for a silent worker, which may be slow and not hang.
    """
    try:
        with _line(host, port) as line:
            hello = Hello("health", 0, 0, "", token)
            welcome = line.ask((hello,), lambda report: isinstance(report, Welcome), max(wait_s, patience_s))
            if welcome is None:  # asked once more: computer or container may have slept meanwhile, and this check with them
                welcome = line.ask((hello,), lambda report: isinstance(report, Welcome), _LAST_CHANCE_S)
            if welcome is None:
                advice = "`td-image-worker doctor` looks for the reason."
                return Verdict(False, f"The worker at {host}:{port} does not answer. {advice}", hangs=True)
            try:
                return _try_job(line, max_age_s, wait_s)
            finally:
                line.leave()
    except NobodyListens:
        advice = "`td-image-worker serve` starts a worker; --host and --port say where one is."
        return Verdict(False, f"Nobody listens at {host}:{port} (UDP). {advice}")
    except OSError as error:
        return Verdict(False, f"{host}:{port} cannot be reached: {error.strerror or error}.")


def _line(host: str, port: int) -> Line:
    with contextlib.suppress(OSError):
        return Line(host, port, local_port=_OUR_PORT)
    return Line(host, port)


def _try_job(line: Line, max_age_s: float, wait_s: float) -> Verdict:
    job_id = f"health-{uuid.uuid4().hex[:12]}"
    # A job of its own each time: one with the same content may be quarantined because of children that died for other reasons.
    job = Job(job_id, CATALOG.probe.name, (("priority", 0), ("ttl_ms", round(wait_s * 1000)), ("replace", job_id)))
    started = time.monotonic()
    canary_s: float | None = None
    nodes: Nodes | None = None
    final: Ready | Failed | None = None
    answered = False
    # A little longer than the job may wait, so that its end arrives; and longer than the beat, which has the canary's age.
    while (final is None or (canary_s is None and isinstance(final, Failed))) and time.monotonic() - started < wait_s + 1.5:
        if not answered:
            line.tell(job)
        for report in line.hear(ASK_AGAIN_S):
            if isinstance(report, Health):
                canary_s = report.canary_s
            elif isinstance(report, Nodes):
                nodes = report
            elif getattr(report, "id", "") == job.id:
                answered = True
                if isinstance(report, Ready | Failed):
                    final = report
                    break
    verdict = _judge(final, canary_s, max_age_s, time.monotonic() - started)
    return replace(verdict, sentence=f"{verdict.sentence} {_about(nodes)}") if nodes is not None else verdict


def _about(nodes: Nodes) -> str:
    """How it stands with the cluster.

    >>> _about(Nodes(2, 0, ""))
    '2 nodes of the cluster work.'
    >>> _about(Nodes(1, 1, "render-2-4711"))
    '1 node of the cluster works; missing for less than an hour: render-2-4711.'
    """
    count = f"{counted(nodes.working, 'node')} of the cluster work" + ("s" if nodes.working == 1 else "")
    count = count if nodes.working else "No node of the cluster works"
    return f"{count}; missing for less than an hour: {nodes.names}." if nodes.missing else f"{count}."


def _judge(final: Ready | Failed | None, canary_s: float | None, max_age_s: float, took_s: float) -> Verdict:
    """One sentence.

    >>> _judge(None, 2.0, 20.0, 5.0).sentence
    'The worker is well but busy: the job still waits, and a child showed a sign of life 2.0 s ago.'
    >>> _judge(None, 30.0, 20.0, 5.0).well
    False
    """
    if isinstance(final, Ready):
        return Verdict(True, f"The worker is well: a job took {show.duration(took_s * 1000)}.")
    if isinstance(final, Failed) and final.code == Draining.code:
        return Verdict(False, "The worker is shutting down and takes no new jobs.")
    if isinstance(final, Failed) and final.code not in (Expired.code, QueueFull.code, DeadlineExceeded.code):
        return Verdict(False, f"A job failed with {final.code} {final.word}: {final.message}")
    if canary_s is None:
        return Verdict(False, "The worker answers, but the job does not end and there is no report about its children.")
    if canary_s > max_age_s:
        sentence = f"The worker's children do not work: no sign of life for {canary_s:.1f} s; the limit is {max_age_s:g} s (--max-age-s)."
        return Verdict(False, sentence, hangs=canary_s > _DEAD_CANARY_S)
    return Verdict(True, f"The worker is well but busy: the job still waits, and a child showed a sign of life {canary_s:.1f} s ago.")


def _is_ours(process: psutil.Process) -> bool:
    """Whether this is a worker that the user of this check has started: by its user, and by what its command line runs."""
    import psutil

    try:
        if process.username() != psutil.Process().username():
            return False
        return _is_serve(process.cmdline())
    except psutil.Error:  # it has ended, or says nothing to us
        return False


def _is_serve(words: list[str]) -> bool:
    """Whether a command line is that of `serve`.

    >>> _is_serve(["/opt/worker/bin/python", "/opt/worker/bin/td-image-worker", "serve"])
    True
    >>> _is_serve(["python", "-m", "worker", "serve", "--port", "9460"])
    True
    >>> _is_serve(["python", "-c", "serve", "td-image-worker"]), _is_serve(["nc", "-u", "-l", "9460"])
    (False, False)
    """
    for at, word in enumerate(words[:-1]):
        name = word.replace("\\", "/").rpartition("/")[2].removesuffix(".exe")
        program = name in ("td-image-worker", "td-image-worker-script.py") or (word == "worker" and at > 0 and words[at - 1] == "-m")
        if program and at <= _LAST_PLACE and words[at + 1] == "serve":
            return True
    return False


def _end(port: int, start_s: float) -> None:
    """Kills the process that holds the port, unless it has only just started. Also writes a line into the container's log."""
    import psutil

    for connection in psutil.net_connections("udp"):
        if not connection.pid or not connection.laddr or connection.laddr.port != port or connection.raddr:
            continue
        process = psutil.Process(connection.pid)
        if not _is_ours(process):
            show.say(f"Process {process.pid} ({process.name()}) holds the port and is no worker of this user, so it is left alone.")
            continue
        if time.time() - process.create_time() < start_s:
            show.say(f"Process {process.pid} is still starting, so it is left alone.")
            continue
        sentence = f"health: process {process.pid} hangs and is killed, so that its service starts it again."
        show.say(sentence)
        with contextlib.suppress(OSError):
            Path("/proc/1/fd/2").write_text(sentence + "\n", encoding="utf-8")
        process.kill()
