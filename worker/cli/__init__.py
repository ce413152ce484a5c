"""The command line. Each command stands in a module of its own, which is imported only when it is called."""

from __future__ import annotations

import importlib
import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

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


#: On a terminal that is narrower, click's help breaks words, and its columns leave no room.
_NARROW = 60


class NarrowHelp(click.HelpFormatter):
    """click's help, also for terminals of 40 columns."""

    def __init__(self, indent_increment: int = 2, width: int | None = None, max_width: int | None = None) -> None:
        columns = shutil.get_terminal_size().columns
        if width is None and columns < _NARROW:
            width = max(20, columns - 2)
        super().__init__(indent_increment, width, max_width)

    def write_dl(self, rows: Iterable[tuple[str, str]], col_max: int = 30, col_spacing: int = 2) -> None:
        """As click does; with a narrower first column if the second one would be too narrow."""
        super().write_dl(list(rows), col_max if self.width >= _NARROW else max(8, self.width // 4), col_spacing)

    def getvalue(self) -> str:
        """The help, in which lines with breaks of our own are broken again if need be. Examples stay whole, so that they can be copied."""
        text = super().getvalue()
        if self.width >= _NARROW:
            return text
        from worker.cli.show import filled

        return "\n".join(line if f"{PROGRAM} " in line else filled(line, self.width + 2) for line in text.split("\n"))


class NarrowContext(click.Context):
    """A context with help for narrow terminals."""

    formatter_class = NarrowHelp


def with_narrow_help(command: click.Command) -> click.Command:
    """The command, and those below it, with help for narrow terminals."""
    command.context_class = NarrowContext
    for below in command.commands.values() if isinstance(command, click.Group) else ():
        with_narrow_help(below)
    return command


class Mistake(click.UsageError):
    """A mistake on the command line, also for terminals of 40 columns."""

    def show(self, file: IO[Any] | None = None) -> None:
        """As click does."""
        from worker.cli.show import fitted

        said = io.StringIO()
        super().show(said)
        click.echo(fitted(said.getvalue().rstrip(), error=True), file=file, err=True)


@contextmanager
def _mistakes() -> Iterator[None]:
    try:
        yield
    except click.UsageError as error:
        if type(error).show is not click.UsageError.show:  # no mistake: without a command click shows the help
            raise
        raise Mistake(error.format_message(), error.ctx) from error


class SentenceGroup(click.Group):
    """A group whose help has a whole sentence for each command."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click does, but nothing is cut."""
        commands = {name: self.get_command(ctx, name) for name in self.list_commands(ctx)}
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.get_short_help_str(limit=200)) for name, command in commands.items() if command])


class LazyGroup(SentenceGroup):
    """A group that imports a command when it is needed, so that `serve` does not wait for what `demo` needs."""

    context_class = NarrowContext

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        command = getattr(importlib.import_module(COMMANDS[cmd_name]), cmd_name)
        assert isinstance(command, click.Command)  # noqa: S101 - the table above says so
        return with_narrow_help(command)

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        """As click does; what it says of a mistake is broken between words."""
        with _mistakes():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """As click does; what it says of a mistake is broken between words."""
        with _mistakes():
            return super().invoke(ctx)

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
