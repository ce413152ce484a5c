"""A parameter class as a list of fields, for the command line, `/worker/describe` and the docs."""

from __future__ import annotations

import functools
import re
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from worker.catalog.params import COLOR_PATTERN, Params, Value


class Field(msgspec.Struct, frozen=True):
    """One parameter, as the command line, `/worker/describe` and the docs show it."""

    name: str
    type: str
    default: Value
    required: bool
    description: str
    minimum: float | None = None
    maximum: float | None = None
    choices: tuple[Value, ...] = ()
    unit: str = ""
    role: str = ""
    holds: str = ""
    min_length: int | None = None
    max_length: int | None = None
    pattern: str = ""

    @property
    def expected(self) -> str:
        """What the parameter takes, as the middle of a sentence."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.type == "bool":
            return "0 or 1"
        if self.type == "str" and COLOR_PATTERN[2:-2] in self.pattern:
            return "a colour as #rrggbb, such as #ff8000" + (", or empty" if re.match(self.pattern, "") else "")
        if self.type == "str":
            return self.description.partition(";")[0] if self.required else f"text ({self.description.partition(';')[0]})"
        noun = "a whole number" if self.type == "int" else "a number"
        if self.minimum is not None and self.maximum is not None:
            return (
                f"{noun} from {self.minimum:g} to {self.maximum:g}"
                if self.maximum < 1e6
                else f"{noun} from {self.minimum:g} to {self.maximum:.0f}"
            )
        return noun

    def as_object(self) -> dict[str, Any]:
        """What `/worker/describe` and `ops --json` say about it. What does not apply is left out."""
        entry = {
            "type": self.type,
            "default": self.default,
            "required": self.required or None,
            "min": self.minimum,
            "max": self.maximum,
            "choices": self.choices or None,
            "unit": self.unit or None,
            "role": self.role or None,
            "help": self.description,
        }
        return {key: value for key, value in entry.items() if value is not None}


@functools.cache
def fields_of(params: type[Params]) -> tuple[Field, ...]:
    """The parameters of a class, in the order in which it declares them."""
    hints = get_type_hints(params, include_extras=True)
    return tuple(_field(info, hints[info.name]) for info in msgspec.structs.fields(params))


def _field(info: msgspec.structs.FieldInfo, hint: Any) -> Field:
    base, metas = _unwrapped(hint)
    description, minimum, maximum = "", None, None
    min_length, max_length, pattern = None, None, ""
    extra: dict[str, Any] = {}
    for meta in metas:  # inner first, so that an outer Meta overrides
        description = meta.description or description
        minimum = meta.ge if meta.ge is not None else minimum
        maximum = meta.le if meta.le is not None else maximum
        min_length = meta.min_length if meta.min_length is not None else min_length
        max_length = meta.max_length if meta.max_length is not None else max_length
        pattern = meta.pattern or pattern
        extra = {**extra, **(meta.extra or {})}
    choices = get_args(base) if get_origin(base) is Literal else ()
    return Field(
        name=info.name,
        type=type(choices[0]).__name__ if choices else base.__name__,
        default=None if info.required else info.default,
        required=info.required,
        description=description,
        minimum=minimum,
        maximum=maximum,
        choices=choices,
        unit=extra.get("unit", ""),
        role=extra.get("role", ""),
        holds=extra.get("holds", ""),
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
    )


def _unwrapped(hint: Any) -> tuple[Any, list[Meta]]:
    if get_origin(hint) is Annotated:
        base, *metas = get_args(hint)
        inner, inner_metas = _unwrapped(base)
        return inner, inner_metas + [meta for meta in metas if isinstance(meta, Meta)]
    return hint, []
