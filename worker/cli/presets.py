"""`presets`: named jobs that are started by a number."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from worker.cli import SentenceGroup, show
from worker.cli.arguments import HELP, parse_pairs
from worker.cli.settings import WholeNumber, worker_address
from worker.words import did_you_mean

if TYPE_CHECKING:
    from worker.client.client import Client


class Address(NamedTuple):
    """Where the worker is, and the token that it may want."""

    host: str
    port: int
    token: str


class Presets(SentenceGroup):
    """The group; what it does not know is answered with what there is."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with another sentence."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            there_are = ", ".join(self.commands)
            advice = did_you_mean(args[0], self.commands, f"there are {there_are}. `{ctx.command_path}` alone lists the presets.")
            raise click.UsageError(f"There is no command {args[0]!r}; {advice}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Presets,
    invoke_without_command=True,
    epilog="""\b
Examples:
  td-image-worker presets
  td-image-worker presets set logo operation=find_circles image=logo.png overlay=found.png
  td-image-worker presets trigger logo
  td-image-worker presets unset logo overlay
  td-image-worker presets unset logo

A preset is started by /worker/trigger/NAME with a number that rises through 0.5, such as a button's channel of an OSC Out CHOP.
It survives restarts of the worker. Presets can also stand in the settings file of `serve`, as [presets.NAME].
""",
)
@worker_address
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_context
def presets(ctx: click.Context, *, host: str, port: int, token: str, as_json: bool) -> None:
    """List, set, delete or trigger the presets of a running worker."""
    ctx.obj = Address(host, port, token)
    if ctx.invoked_subcommand is None:
        _ask(ctx, lambda client: _list(client, as_json=as_json))


def _address_too(command: Any) -> Any:
    """The options of the address behind the command, too, which is where they stand with all other commands."""
    kinds = {"host": click.STRING, "port": WholeNumber(0, 65535), "token": click.STRING}
    for name, kind in kinds.items():
        command = click.option(f"--{name}", type=kind, callback=_noted, expose_value=False, help=f"As of `presets --{name}`.")(command)
    return command


def _noted(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    if value is not None:
        ctx.obj = ctx.obj._replace(**{str(param.name): value})


@presets.command("set", epilog=HELP)
@_address_too
@click.argument("name")
@click.argument("pairs", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.pass_context
def set_(ctx: click.Context, name: str, pairs: tuple[str, ...]) -> None:
    """Set values of a preset; the key `operation` names its operation."""
    values = parse_pairs(pairs)
    ordered = {key: values[key] for key in sorted(values, key=lambda key: key != "operation")}  # the others are checked against it
    _ask(ctx, lambda client: client.set_preset(name, ordered), f"Preset {name}: {', '.join(ordered)} set. {_start(name)}")


@presets.command()
@_address_too
@click.argument("name")
@click.pass_context
def trigger(ctx: click.Context, name: str) -> None:
    """Start a preset's job once."""
    _ask(ctx, lambda client: client.trigger(name), f"Preset {name}: its job was started.")


@presets.command()
@_address_too
@click.argument("name")
@click.argument("key", required=False, default="")
@click.pass_context
def unset(ctx: click.Context, name: str, key: str) -> None:
    """Delete a preset, or one KEY of it. One of the settings file is there again at the worker's next start."""
    _ask(ctx, lambda client: client.unset_preset(name, key), f"Preset {name}: {key or 'all of it'} deleted.")


def _start(name: str) -> str:
    return f"`td-image-worker presets trigger {name}` or /worker/trigger/{name} starts its job."


def _ask(ctx: click.Context, question: Callable[[Client], Awaitable[None]], done: str = "") -> None:
    """Asks the worker, says `done` if it did it, and ends."""
    code = asyncio.run(_asked(ctx.obj, question))
    if done and code == show.READY:
        show.say(done)
    sys.exit(code)


async def _asked(address: Address, question: Callable[[Client], Awaitable[None]]) -> int:
    from worker.client.client import Client, CommandRefused, WorkerSilent

    host, port, token = address
    try:
        async with Client(host, port, "presets", token) as client:
            await question(client)
    except WorkerSilent as error:
        show.complain(str(error))
        return show.SILENT
    except CommandRefused as refused:
        show.complain(str(refused))
        return show.exit_code(refused.code)
    return show.READY


async def _list(client: Client, *, as_json: bool) -> None:
    found = await client.presets()
    if as_json:
        show.print_json(found)
    elif not found:
        show.say("There are no presets. `td-image-worker presets set NAME operation=... key=value ...` makes one.")
    else:
        show.table("", ["preset", "key", "value"], [[name, key, value] for name, values in found.items() for key, value in values.items()])
