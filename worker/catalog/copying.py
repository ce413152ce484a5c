"""The parameters of the operations that bring files to another place as they are."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import READ_FILES, WRITE, Params

_TO = "a folder, such as archive/, where the names stay; or a file, with {name} and {n} as in overlay and the same ending, or none"
_FROM = "a file, a folder with all that is in it, or a pattern such as takes/**/*.mov"
_OVER = "1 = replace what is there; 0 = leave it there, and skip the file unless both hold the same bytes"


class Copy(Params, frozen=True, kw_only=True):
    source: Annotated[str, Meta(min_length=1, extra=READ_FILES, description=_FROM)]
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description=_TO)]
    overwrite: Annotated[bool, Meta(description=_OVER)] = False


class Move(Params, frozen=True, kw_only=True):
    source: Annotated[str, Meta(min_length=1, extra=READ_FILES, description=f"{_FROM}; removed once it is whole there")]
    output: Annotated[str, Meta(min_length=1, extra=WRITE, description=_TO)]
    overwrite: Annotated[bool, Meta(description=_OVER)] = False

    def repeatable(self) -> bool:
        """A second run would also move what somebody has put in the place of the first files, over them."""
        return False
