"""The parameters of the operations that write text."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import WRITE, Params


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


class WriteJson(Params, frozen=True, kw_only=True):
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description="file to write; it ends in .json, .geojson, .jsonl or .ndjson")]
    value: Annotated[str, Meta(min_length=1, description="JSON text; it is checked, and written in a form that reads well")]
    indent: Annotated[int, Meta(ge=0, le=8, description="spaces before each level; 0 = all on one line; .jsonl and .ndjson always")] = 2
    sort: Annotated[bool, Meta(description="1 = the keys of each object in alphabetical order")] = False
    append: Annotated[bool, Meta(description="1 adds a line to the end of a .jsonl or .ndjson file, in one piece")] = False

    def repeatable(self) -> bool:
        return not self.append


class WriteCsv(Params, frozen=True, kw_only=True):
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description="file to write: .csv has commas, .tsv and .tab have tabs")]
    rows: Annotated[
        str, Meta(description="lines with tabs between the cells, as the text of a Table DAT; or JSON: a list of lists, or of objects")
    ]
    columns: Annotated[
        str,
        Meta(max_length=4000, description="names for the first row, with commas between them; of objects, which keys, in this order"),
    ] = ""
    append: Annotated[bool, Meta(description="1 adds rows to the end of the file, in one piece; columns stand only at its beginning")] = (
        False
    )

    def repeatable(self) -> bool:
        return not self.append
