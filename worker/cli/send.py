"""`send`: one job to a running worker."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from worker.cli import show
from worker.cli.arguments import HELP, parse_pairs
from worker.cli.settings import AnyNumber, worker_address
from worker.words import counted

if TYPE_CHECKING:
    from worker.client.client import Job, JobResult
    from worker.protocol.messages import File, Report

_PRIORITIES = {"live": 0, "normal": 1, "batch": 2}
_CANCEL_S = 3.0


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asks for."""

    operation: str
    params: dict[str, str]
    host: str
    port: int
    token: str
    id: str | None
    as_json: bool
    wait: bool
    timeout_s: float | None


@click.command(
    epilog=f"""\b
Examples:
  td-image-worker send find_circles image=smarties.png overlay=found.png
  td-image-worker send draw_circles "output=out/{{n}}.png" count=500 --priority batch
  td-image-worker send write_text output=a.txt text=@letter.txt --json

Relative paths start at the worker's first --root. Beside the operation's own parameters each job may carry priority, timeout_ms, ttl_ms,
retries, on_error, replace and after; `td-image-worker ops` explains them. {HELP}

{show.exit_codes_help()}
"""
)
@click.argument("operation")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@worker_address
@click.option("--id", "job_id", metavar="ID", help="The job's id.  [default: a new one]")
@click.option("--priority", type=click.Choice(list(_PRIORITIES)), help="Its place in the queue.  [default: normal]")
@click.option(
    "--timeout",
    "timeout_s",
    type=AnyNumber(0, min_open=True),
    metavar="S",
    help="Cancel the job if it has not ended after S seconds.",
)
@click.option("--no-wait", is_flag=True, help="Only wait until the worker has accepted the job; print its id.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def send(
    *,
    operation: str,
    pairs: tuple[str, ...],
    host: str,
    port: int,
    token: str,
    job_id: str | None,
    priority: str | None,
    timeout_s: float | None,
    no_wait: bool,
    as_json: bool,
) -> None:
    """Send a job to a running worker, wait for it, and print what it found."""
    params = parse_pairs(pairs)
    if priority is not None:
        params.setdefault("priority", str(_PRIORITIES[priority]))
    order = Order(operation, params, host, port, token, job_id, as_json, not no_wait, timeout_s)
    try:
        sys.exit(asyncio.run(_carry_out(order)))
    except KeyboardInterrupt:
        sys.exit(show.INTERRUPTED)


async def _carry_out(order: Order) -> int:
    from worker.client.client import Client, CommandRefused, JobFailed, WorkerSilent

    try:
        async with Client(order.host, order.port, "send", order.token) as client:
            job = await client.submit(order.operation, order.params, order.id)
            if not order.wait:
                _print_accepted(order, job)
                return show.READY
            return await _wait_for(order, client, job)
    except JobFailed as failed:
        return _report_failure(order, order.id or "", failed)
    except CommandRefused as refused:
        show.complain(str(refused))
        return show.exit_code(refused.code)
    except (WorkerSilent, ValueError) as error:
        show.complain(str(error))
        return show.SILENT if isinstance(error, WorkerSilent) else show.BAD_ARGUMENTS


async def _wait_for(order: Order, client: Any, job: Job) -> int:
    from worker.client.client import JobFailed, ResultIncomplete

    watching = asyncio.ensure_future(_watch(order, job))
    try:
        done, _ = await asyncio.wait([watching], timeout=order.timeout_s)
        if not done:
            client.cancel(job.id)
            show.note(f"The job did not end within {order.timeout_s:g} s, so it is cancelled.")
        await watching
        _print_result(order, job, await job.result())
    except JobFailed as failed:
        return _report_failure(order, job.id, failed)
    except ResultIncomplete as error:
        show.complain(str(error))
        return show.FAILED
    except asyncio.CancelledError:  # Ctrl-C
        watching.cancel()
        await _cancel(client, job)
        raise
    return show.READY


async def _cancel(client: Any, job: Job) -> None:
    client.cancel(job.id)
    try:
        async with asyncio.timeout(_CANCEL_S):
            final = await job.final()
    except TimeoutError:
        show.note(f"Job {job.id}: asked to cancel it, but the worker has not answered.")
    else:
        show.note(f"Job {job.id} is cancelled." if hasattr(final, "code") else f"Job {job.id} was ready already.")


async def _watch(order: Order, job: Job) -> None:
    """Shows the job's progress until its end."""
    with show.bars(quiet=order.as_json) as bars:
        bars.add(order.operation)
        async for report in job:
            _show(order.operation, report, bars)


def _show(name: str, report: Report, bars: show.Bars) -> None:
    from worker.protocol.messages import Accepted, Failed, Processing, Progress, Ready, Source

    match report:
        case Accepted(position=position) if position:
            bars.line(f"{name}: accepted behind {counted(position, 'job')}")
        case Processing(attempt=attempt) if attempt > 1:
            bars.line(f"{name}: attempt {attempt}")
        case Progress(step=step, steps=steps):
            bars.update(name, step, steps)
        case Source(word=word, message=message):
            bars.line(f"{name}: {word}: {message}")
        case Ready(wait_ms=wait_ms, run_ms=run_ms):
            bars.finish(name, f"ready in {show.duration(run_ms)}" + (f" after waiting {show.duration(wait_ms)}" if wait_ms > 50 else ""))
        case Failed(word=word):
            bars.finish(name, f"failed ({word})")


def _print_accepted(order: Order, job: Job) -> None:
    if order.as_json:
        show.print_json({"id": job.id, "outcome": "accepted", "operation": order.operation})
    else:
        show.say(job.id)


def _print_result(order: Order, job: Job, result: JobResult) -> None:
    files = [file_object(file) for file in result.files]
    skipped = [{"path": left.path, "code": left.code, "message": left.message} for left in result.skipped]
    if order.as_json:
        ready = result.ready
        show.print_json(
            {
                "id": job.id,
                "outcome": "ready",
                "operation": ready.operation,
                "items": result.items,
                "files": files,
                **({"left_out": ready.left_out} if ready.left_out else {}),
                **({"skipped": skipped} if skipped else {}),
                "wait_ms": ready.wait_ms,
                "run_ms": ready.run_ms,
            }
        )
    else:
        show.show_result(result.items, result.fields, files)
        for left in result.skipped:
            show.note(f"Skipped {left.path}: {left.message}")
        show.left_out(result.ready.items, result.ready.left_out)


def _report_failure(order: Order, job_id: str, failed: Any) -> int:
    if order.as_json:
        error = {"code": failed.code, "word": failed.word, "message": failed.message, "hint": failed.hint}
        outcome = "refused" if failed.refused else "failed"
        show.print_json({"id": job_id, "outcome": outcome, "operation": order.operation, "error": error})
    else:
        show.complain(failed.message, failed.hint)
    return show.exit_code(failed.code)


def file_object(file: File) -> dict[str, Any]:
    """A written file as it stands in JSON."""
    return {"path": file.path, "bytes": file.size_bytes, "width": file.width, "height": file.height}
