"""One row of the catalogue: everything that is particular to an operation and needs neither NumPy nor OpenCV."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import msgspec

from worker.catalog.fields import Field, fields_of
from worker.catalog.params import Params

#: Significant digits of a column that names no number of digits of its own.
SIGNIFICANT = 6


class Column(msgspec.Struct, frozen=True):
    """One number in each row of a result.

    Attributes:
        name: as reports, tables and `describe` call it.
        digits: digits after the decimal point, as many as can be trusted; None gives six significant digits.
    """

    name: str
    digits: int | None = None


X = Column("x", 3)
Y = Column("y", 3)
RADIUS = Column("radius", 3)
SIZE = Column("size", 3)
ANGLE = Column("angle", 2)
U = Column("u", 6)
V = Column("v", 6)
SCORE = Column("score", 3)
RESPONSE = Column("response")
SHARE = Column("share", 5)
RED = Column("r", 4)
GREEN = Column("g", 4)
BLUE = Column("b", 4)
AREA = Column("area", 1)
BOX = (Column("left", 1), Column("top", 1), Column("width", 1), Column("height", 1))
#: What an operation can need beside files below the roots.
NEEDS = frozenset({"network", "devices"})
#: Which of several objects a row belongs to, from 0.
OBJECT = Column("object")


@dataclass(frozen=True, slots=True)
class OwnFile:
    """A file with operations of an artist's own, or the entry point of an installed package, in one version.

    Attributes:
        where: its absolute path, or the name of the entry point.
        digest: differs from that of any other version.
        text: what is in the file; empty for an entry point.
    """

    where: str
    digest: str
    text: bytes = field(default=b"", repr=False)

    @property
    def name(self) -> str:
        """For sentences: without its folder."""
        return self.where.replace("\\", "/").rpartition("/")[2]

    @property
    def is_package(self) -> bool:
        """It is an entry point."""
        return not self.where.endswith(".py")


class OperationInfo(msgspec.Struct, frozen=True):
    """One row of the catalogue.

    Whether a job may run a second time after a crash depends on its values, so the params class says it: `Params.repeatable`.
    How items are marked on a picture needs OpenCV, so the twin of this row in `worker.operations.table` says it.

    Attributes:
        name: what a job calls it.
        params: the class of its parameters.
        summary: what it does, as one short sentence.
        kind: last part of the result's address; empty if the operation only writes files.
        columns: the numbers in one row of the result.
        texts: the texts that belong to one row. Reports carry numbers only, so these stand in tables and in the output of `run`.
        item: what one item of the result is. "file": a file of its own, whether or not a row describes it, too. "row": a row; files
            such as an overlay or a table come on top.
        few: a job of fewer steps is done at once, without being cut into parts.
        needs: what it has to have beyond files below the roots, because the sandbox of the children leaves it open then: "network" for
            sockets (streams), "devices" for what is below /dev (cameras).
        presets: the operation for which its one row holds settings, as columns with the names of that operation's parameters. Then its
            parameter `preset` names a preset in which the worker keeps them when the job is ready.
        probe: this operation does nothing; the worker and its clients use it to see whether a child works.
        own: the file that it stands in, if it is not one of the worker's.
        live: a job of it lives until it is cancelled or its source ends, in a process of its own. It takes the parameters of the operation
            that its parameter `what` names, too.
        followed: what such a job calls what this operation finds; empty if it cannot be followed.
    """

    name: str
    params: type[Params]
    summary: str
    kind: str = ""
    columns: tuple[Column, ...] = ()
    texts: tuple[str, ...] = ()
    item: Literal["row", "file"] = "row"
    few: int = 2
    needs: tuple[Literal["network", "devices"], ...] = ()
    presets: str = ""
    probe: bool = False
    own: OwnFile | None = None
    live: bool = False
    followed: str = ""

    def __post_init__(self) -> None:
        """Finds mistakes in a table when it is imported, not when the operation is first used."""
        if bool(self.kind) != bool(self.columns):
            raise ValueError(f"{self.name}: a result has both a kind and columns, or neither.")
        if self.texts and not self.columns:
            raise ValueError(f"{self.name}: texts belong to rows, and it has no columns.")

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def digits(self) -> tuple[int | None, ...]:
        """The digits after the decimal point of each column."""
        return tuple(column.digits for column in self.columns)

    @property
    def family(self) -> str:
        """The file of `worker/catalog` that holds its parameters."""
        return self.params.__module__.rpartition(".")[2]

    @property
    def parameters(self) -> tuple[Field, ...]:
        """Its own parameters, in the order in which they are declared."""
        return fields_of(self.params)

    def as_object(self) -> dict[str, Any]:
        """What `/worker/describe` and `ops --json` say about it."""
        return {
            "name": self.name,
            "summary": self.summary,
            "result": self.kind,
            "fields": self.fields,
            **({"texts": self.texts} if self.texts else {}),
            "item": self.item,
            **({"own": self.own.name} if self.own else {}),
            **({"needs": self.needs} if self.needs else {}),
            "parameters": {field.name: field.as_object() for field in self.parameters},
        }
