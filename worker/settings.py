"""What a setting is: one declaration, from which command line, environment, TOML file, help and documentation are made.

A setting is a field of a frozen struct whose annotation carries a `Setting`. Type and default stand where Python has them:

    port: Annotated[int, Setting("Network", "UDP port for commands.", minimum=0, maximum=65535, unit="PORT")] = 9460

Nothing else is needed: option `--port`, variable `TD_IMAGE_WORKER_PORT`, key `port` and the row in `docs/settings.md` follow from it.

Why not a library: `cyclopts` takes 0.19 s to import and `pydantic-settings` 0.39 s, where click takes 0.09 s, and a worker has to be there
in 0.25 s. Neither reports a bad value by the door through which it came (option, variable, or key and file).
"""

from __future__ import annotations

import functools
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import msgspec

ENVIRONMENT_PREFIX = "TD_IMAGE_WORKER_"
#: The default of a setting that is empty unless somebody gives it.
NONE = "none"

T = TypeVar("T")


class Setting(msgspec.Struct, frozen=True):
    """What a field's type and default do not say.

    Attributes:
        group: the heading under which help and documentation show it.
        help: one or two sentences.
        option: its option on the command line; "" is the field's own name.
        unit: what stands for the value in the help, such as MB or HOST:PORT.
        minimum: the smallest number; None is no limit.
        maximum: the largest number; None is no limit.
        above: the number must be larger than `minimum`.
        existing: a folder that must be there.
        shown: the default in words, if it depends on the machine; `NONE` if there is none.
        default: makes the default of the command line, if it is not the field's.
    """

    group: str
    help: str
    option: str = ""
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    above: bool = False
    existing: bool = False
    shown: str = ""
    default: Callable[[], Any] | None = None


class Declared(msgspec.Struct, frozen=True):
    """A setting at its place.

    Attributes:
        path: the names of the fields that lead to it, such as ("limits", "queue_jobs").
        setting: its declaration.
        type: what one value is; of a list, what each of its values is.
        several: it is a list.
        default: the field's default.
    """

    path: tuple[str, ...]
    setting: Setting
    type: Any
    several: bool
    default: Any

    @property
    def option(self) -> str:
        """As it stands on the command line."""
        return self.setting.option or "--" + self.path[-1].replace("_", "-")

    @property
    def key(self) -> str:
        """As it stands in a settings file."""
        return self.option.removeprefix("--")

    @property
    def name(self) -> str:
        """As a parameter of a Python function."""
        return self.key.replace("-", "_")

    @property
    def variable(self) -> str:
        """As it stands in the environment."""
        return variable(self.option)

    @property
    def choices(self) -> tuple[str, ...]:
        """The words that are possible, if only some are."""
        return get_args(self.type) if get_origin(self.type) is Literal else ()

    @property
    def range(self) -> str:
        """Which numbers are possible, in words; "" if all are."""
        return in_words(self.setting.minimum, self.setting.maximum, above=self.setting.above)

    @property
    def default_text(self) -> str:
        """The default in words; "" for a flag, and if there is none."""
        if self.is_flag:
            return ""
        if self.setting.shown:
            return "" if self.setting.shown == NONE else self.setting.shown
        return f"{self.default:g}" if isinstance(self.default, float) else str(self.default)

    @property
    def is_flag(self) -> bool:
        """Yes or no."""
        return self.type is bool


def in_words(low: float | None, high: float | None, *, above: bool = False) -> str:
    """The numbers from `low` to `high`; "" if all are meant.

    >>> in_words(0, None, above=True)
    'more than 0'
    >>> in_words(1, 256)
    '1 to 256'
    """
    if low is None and high is None:
        return ""
    if low is None:
        return f"{high} or less"
    if high is None:
        return f"more than {low}" if above else f"{low} or more"
    return f"{low} to {high}"


def variable(option: str) -> str:
    """The environment variable of an option.

    >>> variable("--queue-jobs")
    'TD_IMAGE_WORKER_QUEUE_JOBS'
    """
    return ENVIRONMENT_PREFIX + option.removeprefix("--").replace("-", "_").upper()


@functools.cache
def declared(cls: type) -> tuple[Declared, ...]:
    """All settings of a struct and of the structs in its fields, in the order in which they are declared."""
    return tuple(_declared(cls, ()))


def by_group(cls: type) -> dict[str, list[Declared]]:
    """The settings under the heading that each names, headings in the order of their first setting."""
    groups: dict[str, list[Declared]] = {}
    for one in declared(cls):
        groups.setdefault(one.setting.group, []).append(one)
    return groups


def option_of(cls: type, attribute: str) -> str:
    """The option that sets an attribute of a struct, for sentences that name it."""
    return next(one.option for one in declared(cls) if one.path == (attribute,))


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """A struct with these values, by the names of `Declared.name`; all others have their defaults."""
    given: dict[str, Any] = {}
    for field in _fields(cast("Any", cls)):
        if _is_struct(field.type):
            given[field.name] = build(field.type, values)
        elif setting := _setting(field.type):
            name = (setting.option.removeprefix("--") or field.name).replace("-", "_")
            if name in values:
                given[field.name] = values[name]
    return cls(**given)


def _declared(cls: Any, path: tuple[str, ...]) -> Iterator[Declared]:
    for field in _fields(cls):
        if _is_struct(field.type):
            yield from _declared(field.type, (*path, field.name))
        elif setting := _setting(field.type):
            value_type, several = _element(get_args(field.type)[0])
            default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
            yield Declared((*path, field.name), setting, value_type, several, default)


@functools.cache
def _fields(cls: Any) -> tuple[msgspec.structs.FieldInfo, ...]:
    """The fields of a struct. Their types are found out once: to evaluate what stands in the source as text takes milliseconds."""
    return tuple(msgspec.structs.fields(cls))


def _is_struct(hint: Any) -> bool:
    return isinstance(hint, type(msgspec.Struct))


def _setting(hint: Any) -> Setting | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, Setting)), None)


def _element(hint: Any) -> tuple[Any, bool]:
    """What one value is, and whether there may be several.

    >>> _element(tuple[int, ...]), _element(str | None), _element(bool)
    ((<class 'int'>, True), (<class 'str'>, False), (<class 'bool'>, False))
    """
    inner = get_args(hint)
    if get_origin(hint) is tuple and inner[-1] is Ellipsis:
        return inner[0], True
    if get_origin(hint) in (Union, types.UnionType) and type(None) in inner:
        return next(one for one in inner if one is not type(None)), False
    return hint, False
