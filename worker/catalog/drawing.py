"""The parameters of the operations that draw."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, Color, DataOut, Params, Pixels


class DrawCircles(Params, frozen=True, kw_only=True):
    output: Annotated[str, Meta(min_length=1, extra=WRITE_IMAGE, description="image files to write; {n} counts from 0")]
    count: Annotated[int, Meta(ge=1, le=100_000, description="how many images, or how many centres at most")] = 500
    width: Annotated[Pixels, Meta(description="image width")] = 512
    height: Annotated[Pixels, Meta(description="image height")] = 512
    radius: Annotated[int, Meta(ge=0, le=16384, extra={"unit": "px"}, description="circle radius")] = 63
    color: Annotated[Color, Meta(description="circle colour as #rrggbb")] = "#ff0000"
    background: Annotated[Color, Meta(description="background colour as #rrggbb")] = "#000000"
    thickness: Annotated[int, Meta(ge=-1, le=16384, extra={"unit": "px"}, description="line width; -1 fills the circle")] = -1
    seed: Annotated[int, Meta(ge=0, le=2**31 - 1, description="the same seed draws the same circles")] = 0
    centers: Annotated[str, Meta(description="centres in pixels as text, x y x y ...; one image for each, in place of the random ones")] = (
        ""
    )
    data: DataOut = ""
