"""`doctor`: proves the round trip step by step, looks at what work needs, and says what to change."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from msgspec.structs import replace

from worker.cli import show
from worker.cli.examination.steps import Mark, Question, Step
from worker.cli.settings import FILE, PROBLEM, SettingsCommand, check_presets, config_of, setting_options

_SETTINGS = {
    "host": "Where the worker is.",
    "port": "Its command port.",
    "token": "If the worker wants one.",  # nosec B105 - a sentence
    "text_port": "Where text reports are awaited; 0 = not.",
    "number_port": "Where number reports are awaited; 0 = not.",
    **dict.fromkeys(
        ("root", "read_root", "map", "min_free_mb", "report", "report_numbers", "state", "no_journal", "sandbox", "operations"), ""
    ),
}


@click.command(
    cls=SettingsCommand,
    epilog="""\b
Examples:
  td-image-worker doctor
  td-image-worker doctor --docker
  docker exec td-image-worker td-image-worker doctor --docker     (with nothing installed outside)

Call it in the folder in which you start the worker, so that it examines the same settings. It writes a small file below each root and
deletes it. Close TouchDesigner's OSC In operators first if their ports are to be tested from here. Exit code 1 if a step is broken.
""",
)
@setting_options(*_SETTINGS, texts=_SETTINGS, own_problem=True)
@click.option("--docker", is_flag=True, help="Also look at the container, from outside or from inside.")
def doctor(*, docker: bool, **values: Any) -> None:
    """Prove the round trip to a worker and back, and say what to change."""
    from worker.cli.examination import container

    config = config_of(values)
    config = replace(config, roots=config.roots or (Path.cwd(),), state=None if config.no_journal else config.state)
    found = click.get_current_context().meta
    try:
        check_presets(found, config)
    except click.UsageError as error:
        found[PROBLEM] = error.message
    question = Question(config, found.get(FILE), found.get(PROBLEM, ""), docker, inside=docker and container.is_inside())
    steps = list(examine(question))
    show.table("", ("step", "", "what was seen"), [(step.name, step.mark, step.seen) for step in steps])
    for step in steps:
        if step.change:
            show.say(f"{step.name}: {step.change}")
    broken = [step.name for step in steps if step.mark is Mark.BROKEN]
    show.say(f"Broken: {', '.join(broken)}." if broken else "The round trip works.")
    sys.exit(bool(broken))


def examine(question: Question) -> Iterator[Step]:
    """All steps, one after the other; those that cannot work after a broken one are left out."""
    from worker.cli.examination import container, here, own, wire

    if question.docker and not question.inside:
        yield from container.outside(question.config.port)
    is_here = wire.is_here(question)
    if is_here:
        yield here.settings(question)
        imports = here.python()
        yield imports
    boot = yield from wire.there_and_back(question)
    if question.inside:
        yield from container.out_of_it(question.config.text_port)
    elif boot:
        yield from wire.report_ports(question, boot)
    if is_here:
        yield from here.folders(question)
        yield here.journal(question, in_use=bool(boot))
        yield from here.targets(question)
        yield here.receive_buffer()
        yield here.walls(question)
        if question.config.operations and imports.mark is Mark.OK:
            yield from own.steps(question)
        if not boot and imports.mark is Mark.OK:
            yield here.child(question)
