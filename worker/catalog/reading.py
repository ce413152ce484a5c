"""The parameters of the operation that reads text in pictures."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import DataOut, ImageIn, ImageOut, Params, Region


class FindText(Params, frozen=True, kw_only=True):
    image: ImageIn
    region: Region = ""
    min_score: Annotated[float, Meta(ge=0, le=1, description="how sure the letters of a line must be, on average")] = 0.6
    max_side: Annotated[
        int,
        Meta(
            ge=320, le=4096, extra={"unit": "px"}, description="the picture is made this large to look for text; more finds smaller letters"
        ),
    ] = 1280
    max_items: Annotated[int, Meta(ge=1, le=1000, description="maximum number of lines per image, the surest places first")] = 100
    overlay: ImageOut = ""
    data: DataOut = ""
