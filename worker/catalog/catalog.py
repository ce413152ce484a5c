"""The catalogue: rows by name, as a value that is handed to whatever needs to know the operations."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from typing import final

import msgspec

from worker.catalog.fields import fields_of
from worker.catalog.params import JobOptions, Params, Value
from worker.catalog.parse import as_setting, parse_pairs, settings_of
from worker.catalog.rows import OperationInfo
from worker.errors import ArgumentError, UnknownOperation
from worker.words import did_you_mean


@functools.cache
def _decoder(params: type[Params]) -> msgspec.json.Decoder[tuple[str, Params, msgspec.Raw]]:
    return msgspec.json.Decoder(tuple[str, params, msgspec.Raw])  # type: ignore[valid-type]


@final
class Catalog(Mapping[str, OperationInfo]):
    """Operations by name. Never changes; `with_rows` makes a larger one. Crosses to child processes by pickling.

    Args:
        rows: in the order in which help and documents list them.

    Raises:
        ValueError: two rows have the same name, or two of one kind have different columns.
    """

    __slots__ = ("_rows",)

    def __init__(self, rows: Iterable[OperationInfo]) -> None:
        by_name: dict[str, OperationInfo] = {}
        by_kind: dict[str, OperationInfo] = {}
        for row in rows:
            if by_name.setdefault(row.name, row) is not row:
                raise ValueError(f"The catalogue has two operations with the name {row.name}.")
            same = by_kind.setdefault(row.kind, row)
            if row.kind and same.fields != row.fields:
                raise ValueError(f"{row.name} and {same.name} report {row.kind} with different fields.")
        self._rows = by_name

    def __getitem__(self, name: str) -> OperationInfo:
        return self._rows[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)

    def __hash__(self) -> int:
        return hash(tuple(self._rows.values()))

    def __repr__(self) -> str:
        return f"Catalog({', '.join(self._rows)})"

    def with_rows(self, *rows: OperationInfo) -> Catalog:
        """This catalogue and further operations.

        Raises:
            ValueError: as for the class.
        """
        return Catalog((*self._rows.values(), *rows))

    @property
    def probe(self) -> OperationInfo:
        """The operation that does nothing.

        Raises:
            LookupError: the catalogue has none.
        """
        for row in self._rows.values():
            if row.probe:
                return row
        raise LookupError("The catalogue has no operation that does nothing.")

    def find(self, name: str) -> OperationInfo:
        """The row of an operation.

        Raises:
            UnknownOperation: there is none; the message names the nearest one.
        """
        try:
            return self._rows[name]
        except KeyError:
            suggestion = did_you_mean(name, self._rows, f"known are {', '.join(self._rows)}.")
            raise UnknownOperation(f"There is no operation {name!r}; {suggestion}", "`td-image-worker ops` lists all operations.") from None

    def parse_job(self, operation: str, pairs: Iterable[tuple[str, Value]]) -> tuple[Params, JobOptions]:
        """Turns a job's key-value pairs into its operation's parameters and its own options.

        Args:
            operation: a name from the catalogue.
            pairs: as they came from OSC or from a command line: numbers may be text, ints may be floats.

        Raises:
            UnknownOperation: no such operation.
            ArgumentError: a key is unknown, double or missing, or a value is of the wrong type or out of range. The message is one
                sentence that says what was expected and what came.
        """
        row = self.find(operation)
        return parse_pairs(operation, row.params, self._passed_on(row, tuple(pairs)) if row.live else pairs)

    def _passed_on(self, row: OperationInfo, pairs: tuple[tuple[str, Value], ...]) -> Iterable[tuple[str, Value]]:
        """The pairs of a live job, those of the operation that searches checked and put into `settings`."""
        names = {field.name for field in (*row.parameters, *fields_of(JobOptions))}
        own, others = [pair for pair in pairs if pair[0] in names], [pair for pair in pairs if pair[0] not in names]
        given = dict(own)
        what = given.get("what") or next(field.default for field in row.parameters if field.name == "what")
        searcher = next((one for one in self.values() if one.followed and one.followed == what), None)
        if searcher is None:  # the field's own sentence says what there is
            return own
        held = settings_of(row.name, str(given.get("settings") or ""))
        known = {field.name for field in searcher.parameters if field.name != "image" and field.role != "write"}
        for key, _ in (*held, *others):
            if key not in known:
                advice = did_you_mean(key, {*names, *known}, f"{searcher.name} takes {', '.join(sorted(known))}.")
                raise ArgumentError(f"{row.name} what={what} has no parameter {key!r}; {advice}")
        parse_pairs(searcher.name, searcher.params, [("image", "-"), *held, *others])
        text = "; ".join(f"{key}={as_setting(row.name, key, value)}" for key, value in (*held, *others) if value is not None)
        return [*(pair for pair in own if pair[0] != "settings"), ("settings", text)]

    def unpacked(self, operation: str, content: bytes) -> Params:
        """A job's parameters, out of what `parse_job` has made of them: operation, parameters and options as JSON.

        Raises:
            UnknownOperation: no such operation.
            msgspec.ValidationError: the content is not of this catalogue.
        """
        _, params, _ = _decoder(self.find(operation).params).decode(content)
        return params

    def check_pair(self, operation: str, key: str, value: Value) -> None:
        """Checks one key-value pair by itself, whatever the job's other pairs will be.

        Raises:
            UnknownOperation, ArgumentError: as `parse_job` does.
        """
        others = [(field.name, "-") for field in self.find(operation).parameters if field.required and field.name != key]
        self.parse_job(operation, [*others, (key, value)])
