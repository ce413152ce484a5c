"""Where a setting comes from: command line, environment, TOML file, default; the first one that has it counts.

The options are made from the declarations in `worker/config.py`. All commands read the same file and the same environment.
"""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from worker.cli import show
from worker.config import PROGRAM, Config, DayTime, HttpPlace, OwnPlace, StreamHost
from worker.errors import UnknownOperation, WorkerError
from worker.protocol.addresses import Network, Peer
from worker.settings import ENVIRONMENT_PREFIX, Declared, build, declared, in_words, variable
from worker.words import composed, did_you_mean, nearest

CONFIG_FILE = f"{PROGRAM}.toml"
#: Between the parts of a list in an environment variable. A colon stands in C:/show, a space may stand in any folder's name.
LIST_SEPARATOR = ";"
#: Variables with our prefix that are no settings of the worker: the file's own, the scheduler's checks of itself, and those of the tests.
_OTHER_VARIABLES = tuple(map(variable, ("--config", "--validate", "--require-docker", "--docker-cluster")))
_OPERATION = "operation"
_OTHERS = "Other options"
_META = "worker.cli.settings."
#: Where the presets of the file stand in click's context, and what was wrong with the file if a command wants to say it itself.
PRESETS, PROBLEM, UNKNOWN = _META + "presets", _META + "problem", _META + "unknown"
#: Where the path of the file stands, if there is one.
FILE = _META + "file"

#: What the commands that talk to a worker say about its address, where `serve` speaks of its own.
_ADDRESS_HELP = {"host": "Where the worker is.", "port": "Its command port.", "token": "If the worker wants one."}  # nosec B105 - a sentence
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


# ------------------------------------------------------------------------------------------------------- types of values

# `ParamType` is generic since click 8.4, and cannot be subscripted before.


class PartOfList(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """What may be given several times."""

    envvar_list_splitter = LIST_SEPARATOR

    def split_envvar_value(self, rv: str) -> Sequence[str]:
        """The parts of a variable, without empty ones: many people end a list with its separator."""
        return [part for part in super().split_envvar_value(rv) if part.strip()]


class WholeNumber(click.IntRange):
    """As click's, whose sentence speaks of an "integer range" and of 1<=x<=256."""

    name = "whole number"

    def _describe_range(self) -> str:
        return in_words(self.min, self.max)


class AnyNumber(click.FloatRange):
    """As click's, whose sentence speaks of a "float range" and of 0<x<=1."""

    name = "number"

    def _describe_range(self) -> str:
        return in_words(self.min, self.max, above=self.min_open)


class PeerType(PartOfList):
    """HOST:PORT; an IPv6 host stands in brackets."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Peer:
        if isinstance(value, tuple):
            return value
        peer = _host_and_port(str(value))
        if peer is None or not peer[1]:
            self.fail(f"{value!r} is not HOST:PORT, such as 192.168.0.7:9461.", param, ctx)
        return peer


def _host_and_port(text: str) -> Peer | None:
    """None if it is anything else, such as a whole URL or two ports."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or int(port) >= 2**16:
        return None
    address = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if ":" in address:
        try:
            ipaddress.IPv6Address(address)
        except ValueError:
            return None
    return (address, int(port)) if address and not re.search(r"[\s/\\@\[\]]", address) else None


class HttpType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """HOST:PORT, in which port 0 takes a free one; or "off", which is None."""

    name = "host:port"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Peer | None:
        if isinstance(value, tuple):
            return value
        if str(value).strip().lower() in ("off", "none", ""):
            return None
        peer = _host_and_port(str(value).strip())
        if peer is None:
            self.fail(f"{value!r} is neither HOST:PORT, such as 127.0.0.1:9463, nor off.", param, ctx)
        return peer


class DayTimeType(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """HH:MM as minutes after midnight; or "off", which is None."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | None:
        if isinstance(value, int):
            return value
        text = str(value).strip().lower()
        if text in ("off", "none", ""):
            return None
        found = re.fullmatch(r"(\d{1,2}):(\d{2})", text)
        if found is None or int(found[1]) > 23 or int(found[2]) > 59:
            self.fail(f"{value!r} is neither a time, such as 06:00, nor off.", param, ctx)
        return 60 * int(found[1]) + int(found[2])


class MapType(PartOfList):
    """SENDER=WORKER: how a path starts on the sender's machine, and on this one."""

    name = "sender=worker"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        if isinstance(value, tuple):
            return value
        sender, _, here = (part.strip() for part in str(value).partition("="))
        if not sender or not here:
            self.fail(f"{value!r} is not SENDER=WORKER, such as C:/show=/data.", param, ctx)
        return sender, here


class RootType(PartOfList):
    """A folder that exists."""

    name = "dir"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if not str(value).strip():  # a variable that is not set, in somebody's script; the current folder would be a surprise
            self.fail("it is empty; name a folder, or . for the current one.", param, ctx)
        text = str(value)
        path = _as_stored(Path(text).expanduser())
        if not path.is_dir():
            self.fail(_why_no_folder(text, path), param, ctx)
        return path.resolve()


def _as_stored(path: Path) -> Path:
    """The path as the disk has it, if it was typed in the other Unicode form, as of a folder that a Mac has made."""
    if path.is_dir() or str(path).isascii():
        return path
    from worker.files.spelling import as_stored  # only here: most names are right

    whole = path.absolute()
    return as_stored(Path(whole.anchor), whole.parts[1:], (composed,))


def _why_no_folder(text: str, path: Path) -> str:
    """A sentence. The path stands in it as it was typed, because `repr` would double its back-slashes."""
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return f"the path {text} stands in quotes; leave them out. At the Windows command prompt only double quotes hold a path together."
    if path.is_file():
        return f"{text} is a file; name the folder that holds it."
    return f"there is no folder '{text}'; make it first."


class NetworkType(PartOfList):
    """An address or a network such as 192.168.0.0/24, or "gateway": the address that a container's packets seem to come from."""

    name = "network"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Network, ...]:
        if isinstance(value, tuple):
            return value
        try:
            if value == "gateway":
                from worker.network.gateways import own_gateways  # only in a container

                return tuple(ipaddress.ip_network(address) for address in own_gateways())
            return (ipaddress.ip_network(str(value)),)
        except ValueError as error:
            self.fail(f"{value!r} is neither an address nor a network such as 192.168.0.0/24, nor the word gateway ({error}).", param, ctx)


class StreamHostType(PartOfList):
    """The name or the address of a computer, or a network. An address of a stream (rtsp://...) is none."""

    name = "host"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip().lower()
        try:
            return str(ipaddress.ip_network(text)) if "/" in text else str(ipaddress.ip_address(text))
        except ValueError:
            if not re.fullmatch(r"(?![\d.]*\.?$)[\w-]+(\.[\w-]+)*\.?", text):
                self.fail(f"{value!r} is no computer, such as 10.0.0.7 or desk.local, and no network, such as 10.0.0.0/24.", param, ctx)
        return text


class OwnType(PartOfList):
    """A Python file that exists, as an absolute path; or the name of an entry point."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        text = str(value).strip()
        path = Path(text).expanduser()
        if text.endswith(".py"):
            if not path.is_file():
                self.fail(f"there is no file '{text}'.", param, ctx)
            return str(path.resolve())
        if path.exists() or not re.fullmatch(r"[\w.-]+", text):
            self.fail(f"'{text}' is neither a file that ends in .py nor the name of an installed package's operations.", param, ctx)
        return text


_TYPES: Mapping[Any, Any] = {
    OwnPlace: OwnType(),
    StreamHost: StreamHostType(),
    str: click.STRING,
    bool: click.BOOL,
    Peer: PeerType(),
    HttpPlace: HttpType(),
    DayTime: DayTimeType(),
    Network: NetworkType(),
    tuple[str, str]: MapType(),
}  # type: ignore[type-arg,unused-ignore]


def _click_type(one: Declared) -> Any:
    setting = one.setting
    if one.choices:
        return click.Choice(one.choices, case_sensitive=False)
    if one.type is int:
        return WholeNumber(setting.minimum, setting.maximum)  # type: ignore[arg-type]  # whole numbers, as the setting is one
    if one.type is float:
        return AnyNumber(setting.minimum, setting.maximum, min_open=setting.above)
    if one.type is Path:
        is_file = setting.unit == "FILE"
        return RootType() if setting.existing else click.Path(file_okay=is_file, dir_okay=not is_file, path_type=Path)
    return _TYPES[one.type]


# --------------------------------------------------------------------------------------------------------------- options


class SettingOption(click.Option):
    """An option made from a declaration.

    Args:
        one: the declaration.
        text: a help of its own, if the command means the setting in another way.
    """

    def __init__(self, one: Declared, text: str = "") -> None:
        self.declared = one
        default = one.setting.default or one.default
        super().__init__(
            [one.option, one.name],
            type=_click_type(one),
            is_flag=one.is_flag,
            multiple=one.several,
            default=default,
            envvar=one.variable,
            metavar=None if one.is_flag or one.choices else one.setting.unit,
            help=text or one.setting.help,
        )

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Its name and value as click writes them; default and range in words."""
        record = super().get_help_record(ctx)
        if record is None:
            return None
        extra = [f"default: {self.declared.default_text}"] if self.declared.default_text else []
        extra += [self.declared.range] if self.declared.range else []
        return record[0], f"{self.help}  [{'; '.join(extra)}]" if extra else str(self.help)

    def process_value(self, ctx: click.Context, value: Any) -> Any:
        """As click does; a value of the environment is reported as the variable that has it."""
        try:
            return super().process_value(ctx, value)
        except click.BadParameter as error:
            if self.name and ctx.get_parameter_source(self.name) is ParameterSource.ENVIRONMENT:
                raise click.UsageError(f"The environment variable {self.declared.variable}: {error.message}", ctx) from None
            raise


class SettingsCommand(click.Command):
    """A command whose help shows the settings under their headings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The options of each group, then those that are no settings."""
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups.setdefault(param.declared.setting.group if isinstance(param, SettingOption) else _OTHERS, []).append(record)
        if others := groups.pop(_OTHERS, None):
            groups[_OTHERS] = others
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)


def setting_options(*names: str, texts: Mapping[str, str] | None = None, own_problem: bool = False) -> Callable[[Any], Any]:
    """The options of these settings, by `Declared.name`; of all if none is named. Before them stands `--config`.

    Args:
        names: which settings.
        texts: another help for some.
        own_problem: the command itself says what is wrong with the file; it finds the sentence in the context as `PROBLEM`.
    """
    wanted = [one for one in declared(Config) if not names or one.name in names]

    def decorate(command: Any) -> Any:
        options = [_config_option(own_problem=own_problem), *(SettingOption(one, (texts or {}).get(one.name, "")) for one in wanted)]
        if isinstance(command, click.Command):
            command.params[:0] = options
        else:
            command.__click_params__ = [*getattr(command, "__click_params__", []), *reversed(options)]
        return command

    return decorate


def worker_address(command: Any) -> Any:
    """The options of a command that talks to a running worker: where it is, and its token."""
    return setting_options(*_ADDRESS_HELP, texts=_ADDRESS_HELP)(command)


def config_of(values: Mapping[str, Any]) -> Config:
    """The settings that click has collected, as one value."""
    flat = dict(values)
    for one in declared(Config):
        if one.several and one.type == Network and one.name in flat:  # one word, such as gateway, may stand for several networks
            flat[one.name] = tuple(network for networks in flat[one.name] for network in networks)
    return build(Config, flat)


def _config_option(*, own_problem: bool) -> click.Option:
    return click.Option(
        ["--config"],
        is_eager=True,
        expose_value=False,
        callback=_read_for_doctor if own_problem else read_config_file,
        envvar=variable("--config"),
        metavar="FILE",
        help=f"TOML file with these settings.  [default: {CONFIG_FILE} in the current folder, if it is there]",
    )


# -------------------------------------------------------------------------------------------------- environment and file


def read_config_file(ctx: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """Callback of an eager `--config`: makes the file's values the defaults of the other options."""
    for line in unknown_variables(os.environ):
        show.note(line)
    path = Path(value or CONFIG_FILE)
    if value is None and not path.is_file():
        return None
    ctx.meta[FILE] = path
    try:
        settings = load(path)
        presets = settings.pop("presets", {})
        if _is_for_all(ctx):
            ctx.meta[PRESETS], ctx.meta[UNKNOWN] = _presets(path, presets)
        ctx.default_map = {**(ctx.default_map or {}), **_checked(ctx, path, settings)}
    except click.UsageError as error:
        error.ctx = ctx
        raise
    return str(path)


def _read_for_doctor(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """As `read_config_file`, but what is wrong is kept for the command, which goes on without the file."""
    try:
        read_config_file(ctx, param, value)
    except click.UsageError as error:
        ctx.meta[PROBLEM] = error.message
    return value


def _is_for_all(ctx: click.Context) -> bool:
    """Whether this command wants the presets too; the others need not import the catalogue."""
    return isinstance(ctx.command, SettingsCommand)


def unknown_variables(environment: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each variable that looks like a setting and is none."""
    known = {one.variable.removeprefix(ENVIRONMENT_PREFIX): one.variable for one in declared(Config)}
    for name in environment:
        if name.startswith(ENVIRONMENT_PREFIX) and name not in (*known.values(), *_OTHER_VARIABLES):
            near = nearest(name.removeprefix(ENVIRONMENT_PREFIX), known)
            advice = f"did you mean {known[near[0]]}?" if near else f"`{PROGRAM} serve --help` lists all settings."
            yield f"The environment variable {name} is no setting and does nothing; {advice}"


def load(path: Path) -> dict[str, Any]:
    """What stands in a settings file.

    Raises:
        click.UsageError: it cannot be read, or is not valid TOML; the sentence says why.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"The settings file {path} cannot be read: {error.strerror}.") from None
    if data.startswith(_UTF16):
        raise click.UsageError(f"The settings file {path} is saved as UTF-16; save it as UTF-8 (in Notepad: Save as, Encoding).")
    try:
        text = data.decode("utf-8-sig")  # Notepad and PowerShell write a byte order mark, which is no part of the text
    except UnicodeDecodeError as error:
        raise click.UsageError(f"The settings file {path} is not UTF-8 text (byte {error.start}); save it as UTF-8.") from None
    import tomllib  # only if there is such a file

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise click.UsageError(f"The settings file {path} is not valid TOML: {error}.{_about(text, str(error))}") from None


def _about(text: str, error: str) -> str:
    """What is meant, or what to write instead, if the line with the error holds a back-slash."""
    if error.startswith("Cannot overwrite a value"):
        return " The same key stands there twice."
    found = re.search(r"at line (\d+)", error)
    lines = text.split("\n")
    if found is None or int(found[1]) > len(lines) or "\\" not in lines[int(found[1]) - 1]:
        return ""
    return " " + _BACK_SLASH


_BACK_SLASH = "In TOML a back-slash between double quotes begins an escape such as \\n: write \"C:/show\", or 'C:\\show' in single quotes."


def check_presets(found: Mapping[str, Any], config: Config) -> None:
    """Presets may name operations that are not the worker's, if there are some. Whether they fit is seen when they are triggered.

    Raises:
        click.UsageError: there are none.
    """
    if found.get(UNKNOWN) and not config.operations:
        raise click.UsageError(found[UNKNOWN])


def _presets(path: Path, tables: Any) -> tuple[tuple[tuple[str, str, Any], ...], str]:
    """The file's [presets.NAME] tables as name, key and value, each checked as if it had been sent; and a sentence about the first
    operation that is not the worker's, whose preset is not checked.
    """
    from worker.catalog.params import as_value
    from worker.catalog.table import CATALOG
    from worker.core.presets import Presets

    presets = Presets(CATALOG)
    name = unknown = ""
    try:
        for name, table in tables.items():
            if not name or "/" in name:
                raise click.UsageError(f"{path}: {name!r} cannot name a preset: an address such as /worker/trigger/logo ends with it.")
            if _OPERATION not in table:
                near = nearest(_OPERATION, table)
                meant = f"; did you mean that by {near[0]!r}?" if near else "."
                raise click.UsageError(f"{path}: [presets.{name}] has no {_OPERATION}{meant}")
            # The operation first, so that the others are checked against it.
            for key in sorted(table, key=lambda key: key != _OPERATION):
                _check_text(path, f"[presets.{name}] {key}", table[key])
                value = as_value(table[key])
                try:
                    presets.set(name, key, value)
                except UnknownOperation as error:
                    unknown = unknown or f"{path}: [presets.{name}]: {error.message}"
                    presets.restore(name, key, value)
    except WorkerError as error:
        raise click.UsageError(f"{path}: [presets.{name}]: {error.message}") from None
    except (AttributeError, TypeError):
        raise click.UsageError(f'{path}: presets are tables such as [presets.logo] with operation = "{CATALOG.probe.name}".') from None
    return tuple((name, key, value) for name, pairs in presets.as_dict().items() for key, value in pairs.items()), unknown


def _checked(ctx: click.Context, path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The file's values for this command's options, by name; one sentence with file and key if something is wrong."""
    known = {one.name: one for one in declared(Config)}
    options = {option.name: option for option in ctx.command.params if isinstance(option, SettingOption)}
    checked = {}
    seen: dict[str, str] = {}
    for key, value in settings.items():
        name = key.replace("-", "_")
        if name not in known:
            keys = [*(one.key for one in known.values()), "presets"]
            advice = did_you_mean(key.replace("_", "-").lower(), keys, f"known are {', '.join(keys)}.", cutoff=0.7, count=2)
            raise click.UsageError(f"{path}: there is no setting {key!r}; {advice}")
        if name in seen:
            raise click.UsageError(f"{path}: {seen[name]} and {key} are the same setting; keep one of them.")
        seen[name] = key
        if name in options:
            checked[name] = _value(ctx, path, key, options[name], value)
    return checked


def _value(ctx: click.Context, path: Path, key: str, option: click.Option, value: Any) -> Any:
    given = [value] if option.multiple and not isinstance(value, list) else value
    if isinstance(value, dict) or isinstance(value, bool) is not option.is_flag or (isinstance(value, list) and not option.multiple):
        raise click.UsageError(f"{path}: {key} cannot be {_toml_name(value)}.")
    for one in given if isinstance(given, list) else [given]:
        _check_text(path, key, one)
    try:
        option.type_cast_value(ctx, given)
    except click.BadParameter as error:
        raise click.UsageError(f"{path}: {key}: {error.message}") from None
    return given


def _check_text(path: Path, key: str, value: Any) -> None:
    r"""In "D:\new" TOML reads a line break, so the folder would not be found, with a riddle for a message."""
    if isinstance(value, str) and re.search(r"(^|=)[A-Za-z]:[\t\n\r\f\b\x1b]", value):
        raise click.UsageError(f"{path}: {key} is {value!r}. {_BACK_SLASH}")


def _toml_name(value: Any) -> str:
    return {dict: "a table", bool: "true or false", list: "a list"}.get(type(value), repr(value))
