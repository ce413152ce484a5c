"""`run`: an operation right here, without a worker."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.cli import show
from worker.cli.arguments import HELP, parse_pairs
from worker.cli.own import all_operations
from worker.cli.settings import setting_options

if TYPE_CHECKING:
    from worker.catalog.catalog import Catalog
    from worker.catalog.params import Params
    from worker.catalog.rows import OperationInfo
    from worker.core.jobs import Failure, Outcome, Result, Task
    from worker.files.whole import WrittenFile
    from worker.operations.shapes import Operation

    #: All operations, if some are of files.
    Own = tuple[Catalog, Mapping[str, Operation]]
    #: Does one task.
    Run = Callable[[Task], Outcome]


@click.command(
    epilog=f"""\b
Examples:
  td-image-worker run find_circles image=smarties.png overlay=found.png
  td-image-worker run find_features "image=shots/*.png" method=sift --json
  td-image-worker run draw_circles "output=out/{{n}}.png" count=10
  td-image-worker run --operations my_ops.py glow image=night.jpg output=glow.jpg

Paths start at the current folder and may lead anywhere. {HELP}

{show.exit_codes_help(show.SILENT)}
"""
)
@click.argument("operation")
@click.argument("pairs", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--json", "as_json", is_flag=True, help='Print {"operation", "items": [...], "files": [...]} as one line.')
@setting_options("operations")
def run(*, operation: str, pairs: tuple[str, ...], as_json: bool, operations: tuple[str, ...]) -> None:
    """Run an operation right here, without a worker. For trying parameters out."""
    from worker.catalog.params import JobOptions
    from worker.catalog.table import CATALOG
    from worker.core.jobs import Failure
    from worker.errors import WorkerError

    try:
        own = all_operations(operations) if operations else None
    except ImportError as error:
        show.complain(f"OpenCV cannot be loaded: {error}.")
        sys.exit(show.exit_code(500))
    try:
        params, options = (own[0] if own else CATALOG).parse_job(operation, parse_pairs(pairs).items())
        if msgspec.structs.replace(options, on_error="skip") != JobOptions():
            show.note("There is no queue here, so the job's own keys (priority, timeout_ms, ...) are ignored, on_error apart.")
        with show.bars(quiet=as_json) as bars:
            outcome = run_here(operation, params, bars, skips=options.on_error == "skip", own=own)
    except WorkerError as error:
        outcome = Failure.of(error)
    except KeyboardInterrupt:
        show.note("Interrupted.")
        sys.exit(show.INTERRUPTED)
    info = (own[0] if own else CATALOG).get(operation)
    code = _report(operation, outcome, as_json, info)
    if code == show.READY and not as_json and info is not None and info.presets and getattr(params, "preset", ""):
        show.note(
            "There is no worker here to keep a preset; `td-image-worker send` asks one, or `td-image-worker presets set` takes the values."
        )
    sys.exit(code)


def run_here(operation: str, params: Params, bars: show.Bars, *, skips: bool = True, own: Own | None = None) -> Result | Failure:
    """Runs a job in this process, part after part."""
    from worker.core.jobs import Failure
    from worker.errors import InternalError

    try:
        run_task = _task_runner(own)
    except ImportError as error:
        return Failure.of(InternalError(f"OpenCV cannot be loaded: {error}."))
    bars.add(operation)
    outcome = run_job(operation, params, run_task, lambda step, steps: bars.update(operation, step, steps), skips=skips)
    bars.finish(operation, f"failed ({outcome.word})" if isinstance(outcome, Failure) else "ready")
    return outcome


def _task_runner(own: Own | None) -> Callable[[Task, Callable[[int], None]], Outcome]:
    from worker.files.paths import FileRules
    from worker.tasks.run import run_task

    rules = FileRules(roots=(Path.cwd(),), unrestricted=True)
    return lambda task, progress: run_task(task, rules, progress, *(own or ()))


def run_job(
    operation: str,
    params: Params,
    run_task: Callable[[Task, Callable[[int], None]], Outcome],
    progress: Callable[[int, int], None],
    *,
    skips: bool = True,
) -> Result | Failure:
    """PLAN, then the parts in order, then FINISH if the plan asks for it: what the scheduler does with children."""
    from worker.core.jobs import Failure, Phase, Plan, Result, Task, nothing_read

    outcome = run_task(Task(1, operation, params, skips=skips), lambda _: None)
    if isinstance(outcome, Result | Failure):
        return outcome
    assert isinstance(outcome, Plan)  # noqa: S101 - it was not asked for a description
    result, done = outcome.base, 0
    for part in outcome.parts:
        before = done
        found = run_task(
            Task(2 + part.index, operation, params, Phase.PART, part=part, skips=skips),
            lambda step, before=before: progress(before + step, outcome.steps),  # type: ignore[misc]
        )
        if isinstance(found, Failure):
            return found
        assert isinstance(found, Result)  # noqa: S101 - only PLAN answers with a plan
        result, done = result.joined(found), done + part.steps
    if (nothing := nothing_read(outcome, result)) is not None:
        return nothing
    if outcome.finish:
        finished = run_task(Task(0, operation, params, Phase.FINISH, joined=result), lambda _: None)
        if not isinstance(finished, Result):
            assert isinstance(finished, Failure)  # noqa: S101 - as above
            return finished
        result = result.joined(finished)
    return result


def _report(operation: str, outcome: Result | Failure, as_json: bool, row: OperationInfo | None) -> int:
    from worker.core.jobs import Failure

    if isinstance(outcome, Failure):
        error = {"code": outcome.code, "word": outcome.word, "message": outcome.message, "hint": outcome.hint}
        if as_json:
            show.print_json({"operation": operation, "error": error})
        else:
            show.complain(outcome.message, outcome.hint)
        return show.exit_code(outcome.code)
    texts = row.texts if row else ()
    items, files = _items(outcome, texts), [_file_object(file) for file in outcome.files]
    if as_json:
        left_out = {"left_out": outcome.left_out} if outcome.left_out else {}
        skipped = [
            {"path": left.path, "code": left.why.code, "message": left.why.message, "hint": left.why.hint} for left in outcome.skipped
        ]
        show.print_json({"operation": operation, "items": items, "files": files, **left_out, **({"skipped": skipped} if skipped else {})})
    else:
        show.show_result(items, (*outcome.fields, *texts), files)
        for left in outcome.skipped:
            show.note(f"Skipped {left.path}: {left.why.message}")
        show.left_out(outcome.items, outcome.left_out)
    return show.READY


def _items(result: Result, texts: tuple[str, ...]) -> list[dict[str, Any]]:
    """The rows by the names of their columns, numbers and texts. Of several images, `image` is the name of the file."""
    names = [re.split(r"[/\\]", source)[-1] for source in result.sources]
    items: list[dict[str, Any]] = [dict(zip(result.fields, row, strict=True)) for row in result.rows]
    for item in items:
        if names and "image" in item:
            item["image"] = names[int(item["image"])]
    for item, words in zip(items, result.texts, strict=False):  # an operation without texts has none for any row
        item.update(zip(texts, words, strict=True))
    return items


def _file_object(file: WrittenFile) -> dict[str, Any]:
    return {"path": os.fspath(file.path), "bytes": file.size_bytes, "width": file.width, "height": file.height}
