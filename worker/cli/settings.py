"""Where a setting comes from: command line, environment, TOML file, default; the first one that has it counts."""

from __future__ import annotations

import difflib
import ipaddress
import tomllib
from pathlib import Path
from typing import Any

import click

from worker.core.presets import OPERATION, Presets
from worker.errors import WorkerError
from worker.network.gateways import own_gateways
from worker.protocol import addresses
from worker.protocol.addresses import Network, Peer

CONFIG_FILE = "td-image-worker.toml"
#: Where the presets of the file stand in click's context.
PRESETS = "td-image-worker.core.presets"
ENVIRONMENT_PREFIX = "TD_IMAGE_WORKER_"
#: Between the parts of a list in an environment variable. A colon stands in C:/show, a space may stand in any folder's name.
LIST_SEPARATOR = ";"


def variable(option: str) -> str:
    """The environment variable of an option.

    >>> variable("--queue-jobs")
    'TD_IMAGE_WORKER_QUEUE_JOBS'
    """
    return ENVIRONMENT_PREFIX + option.removeprefix("--").replace("-", "_").upper()


# `ParamType` is generic since click 8.4, and cannot be subscripted before.


class PeerType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """HOST:PORT; an IPv6 host stands in brackets."""

    name = "host:port"
    envvar_list_splitter = LIST_SEPARATOR

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Peer:
        if isinstance(value, tuple):
            return value
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
            self.fail(f"{value!r} is not HOST:PORT, such as 192.168.0.7:9461.", param, ctx)
        return host.removeprefix("[").removesuffix("]"), int(port)


class MapType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """SENDER=WORKER: how a path starts on the sender's machine, and on this one."""

    name = "sender=worker"
    envvar_list_splitter = LIST_SEPARATOR

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        sender, _, here = (part.strip() for part in str(value).partition("="))
        if not sender or not here:
            self.fail(f"{value!r} is not SENDER=WORKER, such as C:/show=/data.", param, ctx)
        return sender, here


class RootType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A folder that exists."""

    name = "dir"
    envvar_list_splitter = LIST_SEPARATOR

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        path = Path(value).expanduser()
        if not path.is_dir():
            self.fail(f"there is no folder {str(value)!r}; make it first.", param, ctx)
        return path.resolve()


class NetworkType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """An address or a network such as 192.168.0.0/24, or "gateway": whoever a container's packets seem to come from."""

    name = "network"
    envvar_list_splitter = LIST_SEPARATOR

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Network, ...]:
        if isinstance(value, tuple):
            return value
        try:
            if value == "gateway":
                return tuple(ipaddress.ip_network(address) for address in own_gateways())
            return (ipaddress.ip_network(str(value)),)
        except ValueError as error:
            self.fail(f"{value!r} is neither an address nor a network such as 192.168.0.0/24, nor the word gateway ({error}).", param, ctx)


PEER = PeerType()
NETWORK = NetworkType()
MAP = MapType()
ROOT = RootType()
PORT = click.IntRange(0, 2**16 - 1)


def worker_address(command: Any) -> Any:
    """The options of a command that talks to a running worker: where it is, and its token."""
    for option in (
        click.option("--token", default="", envvar=variable("--token"), metavar="TEXT", help="If the worker wants one."),
        click.option(
            "--port",
            type=PORT,
            default=addresses.COMMAND_PORT,
            envvar=variable("--port"),
            show_default=True,
            metavar="PORT",
            help="Its command port.",
        ),
        click.option(
            "--host", default="127.0.0.1", envvar=variable("--host"), show_default=True, metavar="HOST", help="Where the worker is."
        ),
    ):
        command = option(command)
    return command


def read_config_file(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Callback of an eager `--config`: makes the file's values the defaults of the other options."""
    path = Path(value or CONFIG_FILE)
    if value is None and not path.is_file():
        return None
    try:
        settings = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise click.UsageError(f"The settings file {path} cannot be read: {error.strerror}.", ctx) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise click.UsageError(f"The settings file {path} is not valid TOML: {error}.", ctx) from None
    ctx.meta[PRESETS] = _presets(ctx, path, settings.pop("presets", {}))
    ctx.default_map = {**(ctx.default_map or {}), **_checked(ctx, path, settings)}
    return str(path)


def _presets(ctx: click.Context, path: Path, tables: Any) -> tuple[tuple[str, str, Any], ...]:
    """The file's [presets.NAME] tables as name, key and value, each checked as if it had been sent."""
    presets = Presets()
    try:
        for name, table in tables.items():
            # The operation first, so that the others are checked against it.
            for key in sorted(table, key=lambda key: key != OPERATION):
                presets.set(name, key, table[key])
    except WorkerError as error:
        raise click.UsageError(f"{path}: [presets.{name}]: {error.message}", ctx) from None
    except (AttributeError, TypeError):
        raise click.UsageError(f'{path}: presets are tables such as [presets.logo] with operation = "noop".', ctx) from None
    return tuple((name, key, value) for name, pairs in presets.as_dict().items() for key, value in pairs.items())


def _checked(ctx: click.Context, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The file's values by parameter name; one sentence that names file and key where something is wrong."""
    options = {
        option.name: option
        for option in ctx.command.params
        if isinstance(option, click.Option) and option.name not in (None, "config", "help", "http")
    }
    checked = {}
    for key, value in settings.items():
        name = key.replace("-", "_")
        if name not in options:
            known = [str(option).replace("_", "-") for option in options]
            near = difflib.get_close_matches(key.replace("_", "-"), known, n=2, cutoff=0.7)
            suggestion = f"did you mean {' or '.join(near)}?" if near else "known are " + ", ".join(known) + "."
            raise click.UsageError(f"{path}: there is no setting {key!r}; {suggestion}", ctx)
        checked[name] = _value(ctx, path, key, options[name], value)
    return checked


def _value(ctx: click.Context, path: Path, key: str, option: click.Option, value: Any) -> Any:
    given = [value] if option.multiple and not isinstance(value, list) else value
    if isinstance(value, dict) or isinstance(value, bool) is not option.is_flag or (isinstance(value, list) and not option.multiple):
        raise click.UsageError(f"{path}: {key} cannot be {_toml_name(value)}.", ctx)
    try:
        option.type_cast_value(ctx, given)
    except click.BadParameter as error:
        raise click.UsageError(f"{path}: {key}: {error.message}", ctx) from None
    return given


def _toml_name(value: Any) -> str:
    return {dict: "a table", bool: "true or false", list: "a list"}.get(type(value), repr(value))
