"""The operations by name, and the parameters each of them takes. No numpy and no cv2 here: the parent process reads it.

`CATALOG` is the one table from which the command line's help, `/worker/describe`, and the tables in the docs are made.
The functions themselves stand in `worker.operations.OPERATIONS` under the same names; a test holds the two together.

Parameters arrive as OSC arguments (int, float, text, truth values), as text from a command line, or as JSON. `parse_params`
is the only place where they become a `Params` value, so that no operation checks its input again.
"""

from __future__ import annotations

import difflib
import functools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

from worker.errors import ArgumentError, UnknownOperation
from worker.protocol.messages import number_as_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

P = TypeVar("P", bound="Params")

#: What a parameter may arrive as.
Value = int | float | str | bool | None


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parameter classes. A field's `Meta` carries its range, its description and its role."""

    def repeatable(self) -> bool:
        """Whether running the job twice leaves the same as running it once, so that it may run again after a crash."""
        return True


# The role tells the command line, the path maps and the file rules which texts are paths.
READ = {"role": "read"}
WRITE = {"role": "write"}

Pixels = Annotated[int, Meta(ge=1, le=16384, extra={"unit": "px"})]
ImageIn = Annotated[str, Meta(min_length=1, extra=READ, description="an image file, a folder, or a pattern such as shots/*.png")]
ImageOut = Annotated[str, Meta(extra=WRITE, description="annotated picture to write; {name} and {n} stand for the input's name and number")]
DataOut = Annotated[str, Meta(extra=WRITE, description="table to write, JSON or CSV by its ending")]
Color = Annotated[str, Meta(pattern="^#[0-9a-fA-F]{6}$", description="colour as #rrggbb")]


class JobOptions(Params, frozen=True, kw_only=True):
    """The keys that every job may carry beside its operation's own."""

    priority: Annotated[Literal[0, 1, 2], Meta(description="0 live, 1 normal, 2 batch")] = 1
    timeout_ms: Annotated[int, Meta(ge=0, le=86_400_000, description="the job is stopped after this time; 0 = the worker's default")] = 0
    ttl_ms: Annotated[int, Meta(ge=0, le=86_400_000, description="the job is dropped if it has not started by then; 0 = never")] = 0
    retries: Annotated[int, Meta(ge=0, le=10, description="how often a job is tried again after an error that may pass")] = 0
    replace: Annotated[str, Meta(max_length=200, description="a newer job with the same key takes the place of the queued older one")] = ""
    after: Annotated[str, Meta(max_length=200, description="id of a job that must be ready first")] = ""


class Noop(Params, frozen=True, kw_only=True):
    """No parameters."""


class WriteText(Params, frozen=True, kw_only=True):
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description="text file to write")]
    text: Annotated[str, Meta(description="the whole text; leave it out to build one from header, line and footer")] = ""
    header: Annotated[str, Meta(description="first line")] = ""
    line: Annotated[str, Meta(description="repeated line; {n} counts from 0")] = ""
    footer: Annotated[str, Meta(description="last line")] = ""
    count: Annotated[int, Meta(ge=0, le=10_000_000, description="how often `line` is written")] = 0
    append: Annotated[bool, Meta(description="1 adds to the end of the file, in one piece")] = False

    def repeatable(self) -> bool:
        return not self.append


class DrawCircles(Params, frozen=True, kw_only=True):
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description="image files to write; {n} counts from 0")]
    count: Annotated[int, Meta(ge=1, le=100_000, description="how many images, or how many centres at most")] = 500
    width: Annotated[Pixels, Meta(description="image width")] = 512
    height: Annotated[Pixels, Meta(description="image height")] = 512
    radius: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="circle radius")] = 63
    color: Annotated[Color, Meta(description="circle colour as #rrggbb")] = "#ff0000"
    background: Annotated[Color, Meta(description="background colour as #rrggbb")] = "#000000"
    thickness: Annotated[int, Meta(ge=-1, le=16384, extra={"unit": "px"}, description="line width; -1 fills the circle")] = -1
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="the same seed draws the same circles")] = 0
    centers: Annotated[str, Meta(description="centres in pixels as text, x y x y ...; one image for each, in place of the random ones")] = (
        ""
    )
    data: DataOut = ""


class FindCircles(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_radius: Annotated[float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest radius; 0 = automatic, 4.5")] = 0.0
    max_radius: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="largest radius; 0 = automatic, half the longer side")
    ] = 0.0
    min_distance: Annotated[
        float,
        Meta(
            ge=0,
            le=16384,
            extra={"unit": "px"},
            description="smallest distance between two centres; 0 = automatic, none within another circle",
        ),
    ] = 0.0
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="how many circles at most per image, the best first")] = 100
    sensitivity: Annotated[float, Meta(ge=0, le=1, description="0 = only perfect circles, 1 = anything roundish")] = 0.5
    overlay: ImageOut = ""
    data: DataOut = ""


class FindFeatures(Params, frozen=True, kw_only=True):
    image: ImageIn
    method: Annotated[Literal["orb", "sift", "fast", "corners", "akaze", "kaze", "brisk"], Meta(description="how features are found")] = (
        "orb"
    )
    max_items: Annotated[int, Meta(ge=1, le=100_000, description="how many features at most per image, the strongest first")] = 500
    overlay: ImageOut = ""
    data: DataOut = ""


class Convert(Params, frozen=True, kw_only=True):
    image: ImageIn
    output: Annotated[
        str, Meta(min_length=1, extra=WRITE, description="file to write, its ending names the format; {name} and {n} as in overlay")
    ]
    width: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="new width; 0 = keep, or follow the height")] = 0
    height: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="new height; 0 = keep, or follow the width")] = 0
    quality: Annotated[int, Meta(ge=1, le=100, description="JPEG, WebP and AVIF quality; PNG: higher is larger and faster")] = 90
    depth: Annotated[Literal[0, 8, 16], Meta(extra={"unit": "bits"}, description="bits per channel to write; 0 = as read")] = 0


@dataclass(frozen=True, slots=True)
class OperationInfo:
    """One row of the catalogue.

    Attributes:
        kind: last part of the result's address, empty where the operation only writes files.
        fields: the numbers in one row of the result.
    """

    name: str
    params: type[Params]
    summary: str
    kind: str = ""
    fields: tuple[str, ...] = ()


CATALOG: Mapping[str, OperationInfo] = {
    row.name: row
    for row in (
        OperationInfo("noop", Noop, "Does nothing; measures the way to a child process and back."),
        OperationInfo("write_text", WriteText, "Writes a text file."),
        OperationInfo(
            "draw_circles", DrawCircles, "Draws images with one circle each.", "circles", ("x", "y", "radius", "u", "v", "score")
        ),
        OperationInfo("find_circles", FindCircles, "Finds circles in images.", "circles", ("x", "y", "radius", "u", "v", "score")),
        OperationInfo(
            "find_features", FindFeatures, "Finds feature points in images.", "features", ("x", "y", "size", "angle", "response", "u", "v")
        ),
        OperationInfo("convert", Convert, "Reads images, resizes them if asked, and writes them in another format."),
    )
}


@dataclass(frozen=True, slots=True)
class Field:
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

    @property
    def expected(self) -> str:
        """What the parameter takes, as the middle of a sentence."""
        if self.choices:
            return "one of " + ", ".join(str(choice) for choice in self.choices)
        if self.type == "bool":
            return "0 or 1"
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


def operation_info(name: str) -> OperationInfo:
    """The catalogue's row for `name`.

    Raises:
        UnknownOperation: there is none; the message names the nearest one.
    """
    try:
        return CATALOG[name]
    except KeyError:
        near = difflib.get_close_matches(name, CATALOG, n=1)
        suggestion = f"did you mean {near[0]}?" if near else "known are " + ", ".join(CATALOG) + "."
        raise UnknownOperation(f"There is no operation {name!r}; {suggestion}", "`td-image-worker ops` lists all operations.") from None


@functools.cache
def fields_of(params: type[Params]) -> tuple[Field, ...]:
    """The parameters of a class, in the order in which it declares them."""
    hints = get_type_hints(params, include_extras=True)
    return tuple(_field(info, hints[info.name]) for info in msgspec.structs.fields(params))


def _field(info: msgspec.structs.FieldInfo, hint: Any) -> Field:
    base, metas = _unwrapped(hint)
    description, minimum, maximum = "", None, None
    extra: dict[str, Any] = {}
    for meta in metas:  # inner first, so that an outer Meta overrides
        description = meta.description or description
        minimum = meta.ge if meta.ge is not None else minimum
        maximum = meta.le if meta.le is not None else maximum
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
    )


def _unwrapped(hint: Any) -> tuple[Any, list[Meta]]:
    if get_origin(hint) is Annotated:
        base, *metas = get_args(hint)
        inner, inner_metas = _unwrapped(base)
        return inner, inner_metas + [meta for meta in metas if isinstance(meta, Meta)]
    return hint, []


def parse_job(operation: str, pairs: Iterable[tuple[str, Value]]) -> tuple[Params, JobOptions]:
    """Turns a job's key-value pairs into its operation's parameters and its own options.

    Args:
        operation: a name from the catalogue.
        pairs: as they came from OSC or from a command line: numbers may be text, ints may be floats.

    Raises:
        UnknownOperation: no such operation.
        ArgumentError: a key is unknown, double or missing, or a value is of the wrong type or out of range. The message is one
            sentence that says what was expected and what came.
    """
    info = operation_info(operation)
    own, options = fields_of(info.params), _OPTION_FIELDS
    given: dict[str, Value] = {}
    for key, value in pairs:
        if key in given:
            raise ArgumentError(f"{operation}: {key} was given twice.")
        given[key] = value
    known = {field.name for field in (*own, *options)}
    for key in given:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            takes = ", ".join(field.name for field in own) or "no parameters"
            raise ArgumentError(
                f"{operation} has no parameter {key!r}; " + (f"did you mean {near[0]}?" if near else f"it takes {takes}."),
                f"`td-image-worker ops {operation}` shows them all.",
            )
    return _convert(operation, info.params, own, given), _convert(operation, JobOptions, options, given)


def check_pair(operation: str, key: str, value: Value) -> None:
    """Checks one key-value pair by itself, whatever the job's other pairs will be.

    Raises:
        UnknownOperation, ArgumentError: as `parse_job` does.
    """
    others = [(field.name, "-") for field in fields_of(operation_info(operation).params) if field.required and field.name != key]
    parse_job(operation, [*others, (key, value)])


def _convert(operation: str, target: type[P], fields: tuple[Field, ...], given: dict[str, Value]) -> P:
    values = {}
    for field in fields:
        if field.name in given and given[field.name] is not None:  # OSC's nil stands for "the default"
            values[field.name] = _coerced(operation, field, given[field.name])
        elif field.required:
            raise ArgumentError(
                f"{operation} needs {field.name}: {field.description}.", f"`td-image-worker ops {operation}` shows them all."
            )
    try:
        return msgspec.convert(values, target, strict=False)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("$.")[2].rstrip("`")
        wrong = next(field for field in fields if field.name == name)
        raise _refusal(operation, wrong, given[name]) from None


def _coerced(operation: str, field: Field, value: Value) -> Value:
    """What msgspec's own lax mode leaves: numbers for text, 1.0 for true, and no infinities."""
    if field.type == "str" and not isinstance(value, str):
        return number_as_text(value) if isinstance(value, float) else str(value)
    if field.type == "bool" and value in (0.0, 1.0):
        return bool(value)
    if field.type in ("int", "float"):
        try:
            number = float(value) if not isinstance(value, bool) else int(value)  # type: ignore[arg-type]
        except ValueError:
            raise _refusal(operation, field, value) from None
        if not math.isfinite(number):
            raise _refusal(operation, field, value)
        return int(number) if field.type == "int" and number == int(number) else number
    return value


def _refusal(operation: str, field: Field, value: Value) -> ArgumentError:
    came = f"{value!r} (text)" if isinstance(value, str) else f"{value}"
    return ArgumentError(f"{operation}: {field.name} must be {field.expected}; got {came[:120]}.")


_OPTION_FIELDS = fields_of(JobOptions)
