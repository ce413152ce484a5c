"""The parameters of the operations on circles."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from worker.catalog.params import WRITE_IMAGE, Color, DataOut, ImageIn, ImageOut, Params, Pixels


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


class FindCircles(Params, frozen=True, kw_only=True):
    image: ImageIn
    min_radius: Annotated[float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="smallest radius; 0 = automatic, 4.5")] = 0.0
    max_radius: Annotated[
        float, Meta(ge=0, le=16384, extra={"unit": "px"}, description="largest radius; 0 = automatic, half the longer side")
    ] = 0.0
    min_distance: Annotated[
        float,
        Meta(
            ge=0,
            le=16384,
            extra={"unit": "px"},
            description="smallest distance between two centres; 0 = automatic, none within another circle",
        ),
    ] = 0.0
    max_items: Annotated[int, Meta(ge=1, le=10_000, description="how many circles at most per image, the best first")] = 100
    sensitivity: Annotated[float, Meta(ge=0, le=1, description="0 = only perfect circles, 1 = anything roundish")] = 0.5
    overlay: ImageOut = ""
    data: DataOut = ""
