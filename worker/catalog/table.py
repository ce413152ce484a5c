"""The operations by name: the one table from which help, `/worker/describe` and the tables in the docs are made."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from worker.catalog.circles import DrawCircles, FindCircles
from worker.catalog.convert import Convert
from worker.catalog.features import FindFeatures
from worker.catalog.fields import fields_of
from worker.catalog.params import Params
from worker.catalog.text import WriteText
from worker.errors import UnknownOperation

if TYPE_CHECKING:
    from collections.abc import Mapping


class Noop(Params, frozen=True, kw_only=True):
    """No parameters."""


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

    def as_object(self) -> dict[str, Any]:
        """What `/worker/describe` and `ops --json` say about it."""
        parameters = {field.name: field.as_object() for field in fields_of(self.params)}
        return {"name": self.name, "summary": self.summary, "result": self.kind, "fields": self.fields, "parameters": parameters}


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
