"""Which operations there are now. Those of the worker never change; those of an artist's own come, change and go while it runs. Pure."""

from __future__ import annotations

import msgspec

from worker.catalog.catalog import Catalog
from worker.catalog.rows import OperationInfo
from worker.errors import UnknownOperation


class Known(msgspec.Struct):
    """The catalogue of this moment.

    Attributes:
        catalog: the operations that jobs can ask for.
        changes: how often it has changed since the start; 0 if the worker has no operations but its own.
        message: what there is to say about the last change.
        problem: why a file cannot be used, if that was the last change.
        gone: for an operation that was there once, the name of its file.
    """

    catalog: Catalog
    changes: int = 0
    message: str = ""
    problem: str = ""
    gone: dict[str, str] = msgspec.field(default_factory=dict)

    def change(self, catalog: Catalog, message: str, *, usable: bool = True) -> None:
        """From now on there are these operations."""
        for name, row in self.catalog.items():
            if row.own is not None and name not in catalog:
                self.gone[name] = row.own.name
        self.catalog = catalog
        self.changes += 1
        self.message = message
        self.problem = "" if usable else message

    def find(self, name: str) -> OperationInfo:
        """The row of an operation.

        Raises:
            UnknownOperation: there is none, or none any more.
        """
        try:
            return self.catalog.find(name)
        except UnknownOperation as error:
            if name in self.gone:
                message = f"{self.gone[name]} has no operation {name!r} any more."
                raise UnknownOperation(message, "`describe` lists what there is.") from None
            raise UnknownOperation(error.message, self.problem or error.hint) from None
