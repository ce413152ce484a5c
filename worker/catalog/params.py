"""What the parameter classes of all operations are made of: their base, the keys of every job, and the fields that many of them have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

#: What a parameter may arrive as.
Value = int | float | str | bool | None


def as_value(value: Any) -> Value:
    """What somebody gives in Python or in a settings file as a value of a job.

    Numbers in a list, also in a list of lists, become a text of numbers, and words a text of words. Rows with other cells become
    JSON, because nothing else says which cells belong together, and so do dictionaries. Arrays of NumPy are lists.

    >>> as_value([[1, 2.5], [3, 4]]), as_value(["#102030", "#ffffff"]), as_value([["a b", 1]])
    ('1 2.5 3 4', '#102030 #ffffff', '[["a b",1]]')
    """
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)) and not _has_cells(value):
        return " ".join(str(as_value(part)) for part in value)
    if isinstance(value, (dict, list, tuple)):
        return msgspec.json.encode(value, enc_hook=_in_json).decode()
    return value if isinstance(value, (int, float, str)) or value is None else str(value)


def _in_json(value: Any) -> Any:
    return value.tolist() if hasattr(value, "tolist") else str(value)


def _has_cells(value: Sequence[Any]) -> bool:
    """Whether this is a table with cells that are not numbers."""
    cells = [cell for part in value if isinstance(part, (list, tuple)) for cell in part]
    return any(isinstance(part, dict) for part in value) or not all(isinstance(cell, (int, float, list, tuple)) for cell in cells)


class Params(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all parameter classes. A field's `Meta` carries its range, its description and its role."""

    def repeatable(self) -> bool:
        """Whether running the job twice leaves the same as running it once, so that it may run again after a crash."""
        return True

    def tries(self) -> str:
        """The other operation that this job calls; empty if it calls none."""
        return ""


# The role tells the command line, the path maps and the file rules which texts are paths.
READ = {"role": "read"}
WRITE = {"role": "write"}
# A file that is read whole and handed to the operation as bytes, such as a model. Other files that are read are pictures.
READ_BYTES = {**READ, "holds": "bytes"}
# Files that are not looked into, so they need not be pictures.
READ_FILES = {**READ, "holds": "files"}
# What a file holds tells the tasks how it is checked and written: a picture, the table of all rows, or the operation's own.
# Of the operation's own files the ending is checked if it says what they hold.
WRITE_IMAGE = {**WRITE, "holds": "image"}
WRITE_VIDEO = {**WRITE, "holds": "video"}
WRITE_TABLE = {**WRITE, "holds": "table"}
WRITE_JSON = {**WRITE, "holds": "json"}
WRITE_CSV = {**WRITE, "holds": "csv"}

#: Of pictures that are written.
Quality = Annotated[
    int, Meta(ge=1, le=100, description="JPEG, WebP and AVIF quality; PNG: below 50 = small, from 50 = fast, 100 = not compressed")
]
Pixels = Annotated[int, Meta(ge=1, le=16384, extra={"unit": "px"})]
ImageIn = Annotated[str, Meta(min_length=1, extra=READ, description="an image file, a folder, or a pattern such as shots/*.png")]
ReferenceIn = Annotated[str, Meta(min_length=1, extra=READ, description="one image file, the same for all images")]
ImageOut = Annotated[
    str, Meta(extra=WRITE_IMAGE, description="annotated picture to write; {name} and {n} stand for the input's name and number")
]
DataOut = Annotated[str, Meta(extra=WRITE_TABLE, description="table to write, JSON or CSV by its ending")]
Region = Annotated[str, Meta(description="part of the picture to look at: x y width height in pixels; empty = all of it")]
#: `$` would let a line end stand behind it.
COLOR_PATTERN = r"\A#[0-9a-fA-F]{6}\Z"
Color = Annotated[str, Meta(pattern=COLOR_PATTERN, description="colour as #rrggbb")]


class JobOptions(Params, frozen=True, kw_only=True):
    """The keys that every job may carry beside its operation's own."""

    priority: Annotated[Literal[0, 1, 2], Meta(description="0 live, 1 normal, 2 batch")] = 1
    timeout_ms: Annotated[int, Meta(ge=0, le=86_400_000, description="the job is stopped after this time; 0 = the worker's default")] = 0
    ttl_ms: Annotated[int, Meta(ge=0, le=86_400_000, description="the job is dropped if it has not started by then; 0 = never")] = 0
    retries: Annotated[int, Meta(ge=0, le=10, description="how often a job is tried again after an error that may pass")] = 0
    on_error: Annotated[
        Literal["skip", "stop"],
        Meta(description="folders and patterns: skip = leave out and report images that cannot be read or do not fit; stop = end the job"),
    ] = "skip"
    replace: Annotated[str, Meta(max_length=200, description="a newer job with the same key takes the place of the queued older one")] = ""
    after: Annotated[str, Meta(max_length=200, description="id of a job that must be ready first")] = ""
