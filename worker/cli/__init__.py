"""The command line. Each command stands in a module of its own, which is imported only when it is called."""

from __future__ import annotations

import importlib
import io
import sys
from collections.abc import Mapping

import click

from worker.words import did_you_mean

PROGRAM = "td-image-worker"

#: Where the commands are, in the order of the help.
COMMANDS: Mapping[str, str] = {
    "serve": "worker.cli.serve",
    "demo": "worker.cli.demo",
    "send": "worker.cli.send",
    "run": "worker.cli.run",
    "ops": "worker.cli.ops",
    "presets": "worker.cli.presets",
    "watch": "worker.cli.watch",
    "replay": "worker.cli.replay",
    "health": "worker.cli.health",
    "doctor": "worker.cli.doctor",
    "component": "worker.cli.component",
    "card": "worker.cli.card",
    "node": "worker.cli.node",
    "cluster": "worker.cli.cluster",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is needed, so that `serve` does not wait for what `demo` needs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above says so
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does; an unknown command is answered with the near one."""
        if args and not args[0].startswith("-") and args[0] not in COMMANDS:
            advice = did_you_mean(args[0], COMMANDS, f"there are {', '.join(COMMANDS)}.")
            raise click.UsageError(f"There is no command {args[0]!r}; {advice}", ctx)
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, _param: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from worker.config import installed_version

    click.echo(f"{PROGRAM} {installed_version()}")
    ctx.exit()


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="""\b
Try it:    td-image-worker demo
Start it:  td-image-worker serve --root C:/show
Use it:    td-image-worker send find_circles image=smarties.png
""",
)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version, help="Show the version and exit.")
def cli() -> None:
    """OpenCV work and file writes for TouchDesigner, in a process of their own, driven over OSC."""


def run() -> None:
    """Runs the command line as a program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that cannot show a character gets a question mark and no crash
            stream.reconfigure(errors="replace")
    cli.main(prog_name=PROGRAM)
