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
