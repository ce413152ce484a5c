"""The parameters of the operations that find ellipses."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import DataOut, ImageIn, ImageOut, Params


class FindEllipses(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_size: Annotated[float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest longer axis; 0 = automatic, 12")] = 0.0
    max_size: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="largest longer axis; 0 = automatic, the longer side")
    ] = 0.0
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="how many ellipses at most per image, the best first")] = 1000
    sensitivity: Annotated[float, Meta(ge=0, le=1, description="0 = only perfect ellipses, 1 = anything that roughly is one")] = 0.5
    overlay: ImageOut = ""
    data: DataOut = ""
