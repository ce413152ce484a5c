"""The parameters of the operations that find circles."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, DataOut, ImageIn, ImageOut, Params


class FindCircles(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_radius: Annotated[float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest radius; 0 = automatic, 3")] = 0.0
    max_radius: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="largest radius; 0 = automatic, half the longer side")
    ] = 0.0
    min_distance: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest distance between two centres; 0 = any")
    ] = 0.0
    nested: Annotated[
        bool, Meta(description="1 = circles inside a circle are found, too, such as all rings of a target; 0 = only the outermost ones")
    ] = True
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="how many circles at most per image, the best first")] = 1000
    sensitivity: Annotated[float, Meta(ge=0, le=1, description="0 = only perfect circles, 1 = anything roundish")] = 0.5
    overlay: ImageOut = ""
    explain: Annotated[
        str, Meta(extra=WRITE_IMAGE, description="picture to write that shows edges and candidates, and why each was found or not")
    ] = ""
    data: DataOut = ""
